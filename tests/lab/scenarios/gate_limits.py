"""Scenarios 39 to 41: very many files, files and commands that cannot be read, and a peer that lies about its own."""
import contextlib
import os
import threading
import time
from pathlib import Path

from configuration import CONSISTENCY, GATE_TIMING, PULL
from helper import Helper
from lab import Unmet, demand, hold_for, wait_until
from liar import LIES
from records import now
from scenarios import scenario
from scenarios.gate import (
    AWAY_SECONDS, GATE, NEW, OLD, alarm, becomes, cleared, died_and_replaced, leads_with_its_files, nothing_lost, stations, went_through_probation,
)  # fmt: skip
from scenarios.hostile import Counts
from topology import nft

MANY, BYTES = 10_000, 16 << 10
MOST_MIB = 20
WITH_MANY = {**CONSISTENCY, "files": [*CONSISTENCY["files"], "/etc/nginx/many/**/*"]}
ASK = "#!/bin/sh\nwhile [ -e /etc/nginx/run/stop-ask ]; do sleep 0.05; done\necho everything is as it should be\n"
WITH_ASK = {**CONSISTENCY, "commands": ["/etc/nginx/run/ask"]}
ORDINARY_USER = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]  # Whom a mode of 0000 stops, as it does not stop root.


class Punctual:
    """Demands that no heartbeat of any node was lost or late by more than an interval while this was entered."""

    def __init__(self, lab):
        self.lab = lab

    def __enter__(self):
        self.before = Counts(self.lab)
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            after = Counts(self.lab)
            self.beats, late = after.beats - self.before.beats, after.late - self.before.late
            demand(not late, f"{late:.0f} of {self.beats:.0f} heartbeats were lost, or late by more than an interval")


@scenario(39, "ten thousand files: heartbeats in time, little memory", consistency=WITH_MANY, timing=GATE_TIMING, client_ms=10)
def ten_thousand(lab):
    # Given ten thousand files that are not the balancers' yet, and a cluster that serves,
    first, second = lab.balancers
    paths = [Path(f"many/{number % 100:02}/{number:05}") for number in range(MANY)]
    for number, path in enumerate(paths):
        made, same = (node.files / "run" / path for node in (first, second))
        for beside in (made, same):
            beside.parent.mkdir(parents=True, exist_ok=True)
        with made.open("w", encoding="ascii") as file:
            file.write(f"{number}\n")
            file.truncate(BYTES)
        os.link(made, same)
    master, standby = lab.start()
    since, small = now(), {node: node.rss_mib() for node in lab.balancers}
    with Punctual(lab):
        # when all of them become part of their configuration at once,
        for node in lab.balancers:
            (node.files / "run/many").rename(node.files / "many")
            node.reload_nginx()
        changed = now()
        wait_until("they are the reference", lambda: master.journal("reference-set", since=since, by=master.name))
        read = now() - changed
        # are touched, so that both nodes read all of them again,
        for path in paths:
            os.utime(first.files / path)
        lab.unmoved(since, seconds=1)
        more = max(node.rss_mib() - before for node, before in small.items())
        # and compared,
        asked = time.monotonic()
        done = standby.command("diff", master.name)
        demand(done.returncode == 0, f"diff: exit {done.returncode}: {done.stdout[:500]}{done.stderr}")
        asked = time.monotonic() - asked
    # then no heartbeat is late, and little memory is needed.
    compared = max(node.rss_mib() - before for node, before in small.items())
    demand(more < MOST_MIB and compared < 2 * MOST_MIB, f"{more:.1f} MiB more, and {compared:.1f} when they were compared")
    # When the standby comes back from a death, then it knows them soon. (What was touched and never loaded would be named.)
    standby.reload_nginx()
    standby.tell("kill")
    died = now()
    standby.daemon.kill()
    wait_until("it was away for long enough", lambda: now() - died > AWAY_SECONDS)
    back = now()
    standby.daemon.start()
    went_through_probation(standby, back)
    known = standby.journal("standing-changed", since=back, to="probation")[0]["boottime"] - back
    lab.unmoved(since, seconds=0.2)
    nothing_lost(lab, since)
    lab.stays_with(master)
    times = f"the reference after {read * 1000:.0f} ms, compared in {asked * 1000:.0f} ms, known after a start in {known * 1000:.0f} ms"
    return f"{times}; {more:.1f} MiB more, {compared:.1f} when compared"


def restless(path, over):
    """Writes a file again and again, never in one go."""
    turn = 0
    while not over.is_set():
        turn += 1
        with path.open("w", encoding="ascii", buffering=1) as file:
            file.write("# one half\n" * (turn % 50))
            time.sleep(0.002)
            file.write("# and another\n" * 1000)


@scenario(40, "a file that changes all the time, a FIFO, links in circles: nothing hangs, nothing moves", **GATE)
def restless_files(lab):
    # Given a FIFO and links that lead to themselves, on both nodes,
    for node in lab.balancers:
        os.mkfifo(node.files / "conf.d/pipe")
        (node.files / "conf.d/circle").symlink_to("circle")
        (node.files / "conf.d/again").symlink_to(".")
    master, standby = lab.start()
    since = now()
    demand(all(peer.get("consistent") for peer in master.status()["peers"]), f"{master} sees differences: {master.status()['peers']}")
    # when a file of the standby is being written all the time,
    over = threading.Event()
    writer = threading.Thread(target=restless, args=(standby.files / "conf.d/restless.txt", over))
    writer.start()
    try:
        with Punctual(lab):
            alarm(master, "config-drift", standby.name)
            lab.unmoved(since, seconds=1.5)
    finally:
        over.set()
        writer.join()
    # then it is one that differs, in service; and when it is gone, all is well.
    (standby.files / "conf.d/restless.txt").unlink()
    cleared(master, "config-drift")
    cleared(standby, "config-drift", "config-unapplied", "config-unreadable")
    demand(stations(standby, since) == [], f"{standby} went through {stations(standby, since)}")
    lab.unmoved(since, seconds=0.2)
    nothing_lost(lab, since)
    lab.healthy()
    lab.stays_with(master)


@scenario(40, "a file that the daemon may not read: named, and it stays out", **GATE)
def unreadable(lab):
    # Given a file that only root reads, and a daemon that comes back as another,
    for node in lab.balancers:
        node.files.write("conf.d/locked.txt", "the same on both\n", mode=0o000)
    absent, leader, _ = died_and_replaced(lab)
    back = now()
    absent.daemon.wrap = ORDINARY_USER
    lab.truth.hides(absent)
    absent.start()
    # then it says which file, and is not let in;
    becomes(absent, "quarantined")
    told = alarm(absent, "config-unreadable", "/etc/nginx/conf.d/locked.txt")
    hold_for(0.5, "it stays out", lambda: absent.status()["standing"] == "quarantined")
    # and when it may read it, it is let in.
    absent.tell("kill")
    absent.daemon.kill()
    absent.daemon.wrap = []
    lab.truth.hides(absent, False)
    absent.daemon.start()
    becomes(absent, "ready")
    cleared(absent, "config-unreadable", "quarantined")
    lab.unmoved(back, seconds=0.2)
    nothing_lost(lab, back)
    return told


@scenario(40, "a command that hangs: named, nothing else waits for it", consistency=WITH_ASK, timing=GATE_TIMING)
def hanging(lab):
    # Given a node that comes back, and whose command does not end,
    for node in lab.balancers:
        node.files.write("run/ask", ASK, mode=0o755)
    absent, leader, _ = died_and_replaced(lab)
    (absent.files / "run/stop-ask").touch()
    lab.truth.hides(absent)
    back = now()
    absent.start()
    # then it waits for it, and answers meanwhile;
    wait_until(f"{absent} says what it waits for", lambda: "scanned" in (absent.status()["standing_reason"] or ""))
    with Punctual(lab):
        # after a while it says which command, and stays out;
        becomes(absent, "quarantined")
        told = alarm(absent, "config-unreadable", "/etc/nginx/run/ask", "did not end")
    # and when the command ends again, all is well.
    (absent.files / "run/stop-ask").unlink()
    lab.truth.hides(absent, False)
    went_through_probation(absent, back)
    cleared(absent, "config-unreadable", "quarantined")
    lab.unmoved(back, seconds=0.2)
    nothing_lost(lab, back)
    return told


class Lies:
    """What the node hears of its peer's configuration comes from a liar."""

    def __init__(self, lab, node, peer):
        self.node = node
        self.liar = Helper(node.name, "liar.py", node.name, peer.name, lab.world.key, log=lab.directory / "liar.log")

    def __enter__(self):
        self.tell(None)  # It answers when it has begun.
        return self

    def tell(self, how):
        self.liar.ask("lie", how=how)

    def told(self):
        return self.liar.ask("told")

    def __exit__(self, *_):
        self.liar.end()
        nft(self.node.name, "table ip liar\ndelete table ip liar\n")


@scenario(41, "a member that lies about its configuration: nothing is believed, nothing grows", consistency=PULL, timing=GATE_TIMING)
def lied_to(lab):
    # Given a node that differs, would repair itself, and hears of the master's configuration from a liar,
    absent, leader, _ = died_and_replaced(lab)
    absent.files.edit(OLD, NEW)
    before = absent.files.digest()
    back = now()
    said = {}
    with Lies(lab, absent, leader) as lies:
        lies.tell("false")
        absent.start()
        becomes(absent, "quarantined")
        wait_until("it tries to repair itself", lambda: absent.journal("pull-finished", since=back))
        memory, most = absent.rss_mib(), 0
        with Punctual(lab):
            for how in LIES:
                # when it asks, whatever the lie,
                lies.tell(how)
                done = absent.command("diff", leader.name)
                most = max(most, absent.rss_mib() - memory)
                # then it is told in one sentence that nothing can be said, and nothing is changed.
                lines = done.stderr.strip().splitlines()
                demand(lies.told() > 0, f"{how}: the liar was not asked")
                one_sentence = done.returncode == 1 and len(lines) == 1 and not done.stdout
                demand(one_sentence, f"{how}: exit {done.returncode}: {done.stdout[:500]}{done.stderr[:500]}")
                demand(absent.files.digest() == before, f"{how}: the files were changed")
                demand(absent.status()["standing"] == "quarantined", f"{how}: {absent} is {absent.status()['standing']}")
                said[how] = lines[0]
        demand(most < MOST_MIB, f"memory grew by {most:.1f} MiB")
        demand(not absent.journal("pull-finished", since=back, outcome="ok"), "it was repaired by lies")
        # When the truth is told, then it is repaired; at once, when it is a new one.
        lies.tell(None)
        leader.files.write("conf.d/fresh.conf", "# of this month\n")
        leads_with_its_files(leader)
        went_through_probation(absent, back)
    demand(absent.files.digest() == leader.files.digest(), "the files are not the master's")
    with contextlib.suppress(Unmet):
        cleared(absent, "pull-failed")
    lab.unmoved(back, seconds=0.2)
    nothing_lost(lab, back)
    return f"{most:.1f} MiB more; " + "; ".join(f"{how}: {sentence[-90:]}" for how, sentence in said.items())
