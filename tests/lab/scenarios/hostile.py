"""Scenario 25: whatever reaches the links from outside changes nothing, delays nothing and costs little."""
import json
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

from flood import HELD
from lab import Unmet, demand
from records import now
from scenarios import scenario
from topology import link_address

PROGRAM = ["ip", "netns", "exec", "witness", sys.executable, Path(__file__).resolve().parents[1] / "flood.py"]
SECONDS = 30
MOST_MIB = 16
# The reason under which a node counts each kind; one that only holds connections says nothing that could be counted.
REASONS = {
    "garbage": "malformed", "oversized": "oversized", "truncated": "malformed", "replayed": "replay", "wrong-key": "bad-mac",
    "wrong-cluster": "wrong-cluster", "wrong-version": "version", "stranger": "stranger", "slow-loris": None, "crowd": None,
}  # fmt: skip


@scenario(25, "hostile link traffic: nothing moves, nothing is late, little memory", metadata=True, client_ms=10)
def hostile(lab):
    # Given a cluster that serves,
    master, _ = lab.start()
    since, before = now(), Counts(lab)
    # when everything hostile comes from the witness's place to every link of both balancers, for half a minute at full speed,
    with Watch(lab) as seen, Floods(lab) as floods:
        lab.unmoved(since, seconds=SECONDS)
        sent = floods.ended()
    # then nothing moves, no heartbeat is lost or late by more than an interval, the nodes answer all the time, and need little memory;
    lab.unmoved(since, seconds=0.5)
    after = Counts(lab)
    late, beats = after.late - before.late, after.beats - before.beats
    demand(not late, f"{late:.0f} of {beats:.0f} heartbeats were lost, or late by more than an interval")
    demand(seen.silence_ms < 2 * lab.settings.heartbeat_ms, f"a peer was not heard for {seen.silence_ms} ms on its best link")
    demand(not seen.unanswered, f"a node did not answer its operator: {seen.unanswered[:3]}")
    demand(seen.most_mib < MOST_MIB, f"memory grew by {seen.most_mib:.1f} MiB")
    # what was refused is counted by its reason, no less than was answered and no more than was sent; and what only holds on is let go.
    for reason in sorted(set(REASONS.values()) - {None}):
        of_reason = [sent[kind] for kind in REASONS if REASONS[kind] == reason]
        counted = after.refused[reason] - before.refused[reason]
        answered = sum(count for told in of_reason for status, count in told.items() if status.isdigit())
        most = sum(told["sent"] for told in of_reason)
        demand(0 < answered <= counted <= most, f"{reason}: {most} sent, {answered} answered, {counted:.0f} counted")
    for kind, (crowd, _) in HELD.items():
        demand(sent[kind]["sent"] > crowd, f"{kind}: {crowd} connections at once were kept for {SECONDS} s")
    lab.stays_with(master)
    lab.healthy()
    many = sum(told["sent"] for told in sent.values()) / SECONDS
    return f"{many:.0f} a second, {seen.most_mib:.1f} MiB more, longest silence {seen.silence_ms} ms"


class Floods:
    """Hostile traffic of every kind, each a process. They get what the cluster leaves of the processors, as everything beside the lab does."""

    def __init__(self, lab):
        letters = lab.directory / "letters.json"
        addresses = [link_address(node.name, link) for node in lab.balancers for link in (0, 1)]
        with letters.open("wb") as file:
            subprocess.run([*PROGRAM, "overhear", *addresses], stdout=file, timeout=30, check=True)
        self.commands = {kind: [*PROGRAM, kind, str(SECONDS), lab.world.key, letters] for kind in REASONS}

    def __enter__(self):
        start = lambda command: subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)  # noqa: E731
        self.running = {kind: start(command) for kind, command in self.commands.items()}
        return self

    def ended(self):
        """What each sent and got."""
        return {kind: json.loads(process.communicate(timeout=60)[0]) for kind, process in self.running.items()}

    def __exit__(self, *_):
        for process in self.running.values():
            process.kill()
            process.wait()
            process.stdout.close()


class Counts:
    """What all nodes together have counted: heartbeats, those that were lost or late by more than an interval, messages refused by reason."""

    def __init__(self, lab):
        self.refused, self.beats, self.late = Counter(), 0, 0
        interval = f'le="{lab.settings.heartbeat_ms / 1000:g}"'  # One of the histogram's own bounds.
        for line in (line for node in lab for line in node.get("/metrics").splitlines()):
            series, _, count = line.rpartition(" ")
            if series.startswith("vipward_messages_rejected_total{"):
                self.refused[series.split('"')[1]] += float(count)
            elif series.startswith("vipward_heartbeats_lost_total{"):
                self.late += float(count)
            elif series.startswith("vipward_heartbeat_rtt_seconds_bucket{") and 'le="+Inf"' in series:
                self.beats, self.late = self.beats + float(count), self.late + float(count)
            elif series.startswith("vipward_heartbeat_rtt_seconds_bucket{") and interval in series:
                self.late -= float(count)


class Watch:
    """Looks at every node for as long as it is entered: how much its memory grew, the longest silence of a peer on its best link."""

    def __init__(self, lab):
        self.most_mib, self.silence_ms, self.unanswered = 0, 0, []
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self.look, args=(node,)) for node in lab]

    def look(self, node):
        before = node.rss_mib()
        while not self.over.wait(0.05):
            self.most_mib = max(self.most_mib, node.rss_mib() - before)
            try:
                peers = node.status()["peers"]
            except Unmet as unmet:
                self.unanswered.append(str(unmet))
                continue
            self.silence_ms = max(self.silence_ms, *(min(link["last_heard_ms"] for link in peer["links"]) for peer in peers))

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join()
