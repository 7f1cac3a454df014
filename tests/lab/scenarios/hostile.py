"""Scenario 25: whatever reaches the links from outside changes nothing, delays nothing and costs little."""
import json
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

from lab import Unmet, demand
from processor import prefer
from records import now
from scenarios import scenario
from topology import link_address

FLOOD = Path(__file__).resolve().parents[1] / "flood.py"
SECONDS = 30
MOST_MIB = 16
# A connection without an authentic request is ended a second after it is accepted; it may wait for that behind a thousand others.
LONGEST_SECONDS = 15
# The reason under which a node counts each kind; one that only holds connections says nothing that could be counted.
REASONS = {
    "garbage": "malformed", "oversized": "oversized", "truncated": "malformed", "replayed": "replay", "wrong-key": "bad-mac",
    "wrong-cluster": "wrong-cluster", "wrong-version": "version", "stranger": "stranger", "slow-loris": None, "crowd": None,
}  # fmt: skip


@scenario(25, "hostile link traffic: nothing moves, nothing is late, little memory", metadata=True, heartbeat_ms=200, client_ms=10)
def hostile(lab):
    # Given a cluster that serves,
    master, _ = lab.start()
    interval, since, before = lab.settings.heartbeat_ms, now(), counts(lab)
    # when everything hostile comes from the witness's place to every link of both balancers, for half a minute at full speed,
    with Watch(lab) as seen:
        floods = {kind: start_flood(lab, kind) for kind in REASONS}
        lab.unmoved(since, seconds=SECONDS)
        sent = {kind: json.loads(flood.communicate(timeout=60)[0]) for kind, flood in floods.items()}
    # then nothing moves, no heartbeat is lost or late by more than an interval, the nodes answer all the time, and need little memory;
    lab.unmoved(since, seconds=0.5)
    new = counts(lab) - before
    lost = {line: count for line, count in new.items() if "heartbeats_lost_total" in line}
    demand(not lost, f"heartbeats were lost, or late by more than an interval: {lost}")
    demand(seen.silence_ms < 2 * interval, f"a peer was not heard for {seen.silence_ms} ms on its best link; the interval is {interval} ms")
    demand(not seen.unanswered, f"a node did not answer its operator: {seen.unanswered[:3]}")
    demand(seen.most_mib < MOST_MIB, f"memory grew by {seen.most_mib:.1f} MiB")
    # what was refused is counted by its reason, no less than was answered and no more than was sent; and what only holds on is let go.
    for reason in sorted(set(REASONS.values()) - {None}):
        of_reason = [sent[kind] for kind in REASONS if REASONS[kind] == reason]
        counted = sum(count for line, count in new.items() if f'messages_rejected_total{{reason="{reason}"}}' in line)
        answered = sum(count for told in of_reason for status, count in told.items() if status.isdigit())
        most = sum(told["sent"] for told in of_reason)
        demand(0 < answered <= counted <= most, f"{reason}: {most} sent, {answered} answered, {counted} counted")
    held = max(sent[kind]["longest"] for kind in ("slow-loris", "crowd"))
    demand(held < LONGEST_SECONDS, f"a connection that says nothing was kept for {held:.1f} s")
    lab.stays_with(master)
    lab.healthy()
    many = sum(told["sent"] for told in sent.values())
    return f"{many / SECONDS:.0f} a second, {seen.most_mib:.1f} MiB more, longest silence {seen.silence_ms} ms, longest connection {held:.1f} s"


def start_flood(lab, kind):
    """Hostile traffic of one kind. It gets the processor after everybody else: the machine that sends it has one of its own."""
    addresses = [link_address(node.name, link) for node in lab.balancers for link in (0, 1)]
    command = ["ip", "netns", "exec", "witness", sys.executable, str(FLOOD), kind, str(SECONDS), str(lab.world.key), *addresses]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    prefer(process.pid, nice=10)
    return process


def counts(lab):
    """What the nodes count of heartbeats lost and of messages refused: by node and series."""
    lines = [(node.name, *line.rpartition(" ")[::2]) for node in lab for line in node.get("/metrics").splitlines() if not line.startswith("#")]
    return Counter({f"{name} {series}": float(count) for name, series, count in lines if "lost_total" in series or "rejected_total" in series})


class Watch:
    """Looks at all nodes for as long as it is entered: how much their memory grew, the longest silence of a peer on its best link."""

    def __init__(self, lab):
        self.lab, self.before = lab, {node: node.rss_mib() for node in lab}
        self.most_mib, self.silence_ms, self.unanswered = 0, 0, []
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.look)

    def look(self):
        while not self.over.wait(0.05):
            for node in self.lab:
                self.most_mib = max(self.most_mib, node.rss_mib() - self.before[node])
                try:
                    peers = node.status()["peers"]
                except Unmet as unmet:
                    self.unanswered.append(str(unmet))
                    continue
                self.silence_ms = max(self.silence_ms, *(min(link["last_heard_ms"] for link in peer["links"]) for peer in peers))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()
