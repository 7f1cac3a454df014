"""Scenarios 34 to 36: a node that differs fetches what differs from the master, or is as it was."""
import base64
import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

from balancer import KEY
from configuration import GATE_TIMING, PULL
from lab import demand, hold_for, wait_until
from records import now
from scenarios import scenario
from scenarios.gate import (
    NEW, OLD, alarm, becomes, cleared, died_and_replaced, leads_with_its_files, nothing_lost, stations, switches, went_through_probation,
)  # fmt: skip

REPAIRED = {"consistency": PULL, "timing": GATE_TIMING}
# `pause WORD COMMAND...` tells that it has begun, stands still for as long as it is asked to, and becomes the command.
PAUSE = """\
#!/bin/sh
word=$1
shift
echo $$ > /etc/nginx/run/at-$word.new && mv /etc/nginx/run/at-$word.new /etc/nginx/run/at-$word
while [ -e /etc/nginx/run/stop-$word ]; do sleep 0.01; done
exec "$@"
"""
WITH_PAUSES = {**PULL, **{key: f"/etc/nginx/run/pause {key[5:]} {PULL[key]}" for key in ("pull_test", "pull_reload")}}
MANY = 300
SNIFFER = Path(__file__).resolve().parents[1] / "sniffer.py"


class Sniffed:
    """What a node's links answered while this was entered."""

    def __init__(self, lab, node):
        self.path = lab.directory / "answers"
        self.command = ["ip", "netns", "exec", node.name, sys.executable, SNIFFER, self.path]

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, start_new_session=True)
        self.process.stdout.readline()
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def has(self, text):
        """Whether this text travelled: a part of it as it is, or as contents travel, in whatever place of a line."""
        seen, raw = self.path.read_bytes(), text.encode()
        encoded = [base64.b64encode(raw[shift:])[4:-4] for shift in range(3)]
        return any(part[at : at + 32] in seen for part in (raw, *encoded) for at in range(0, max(len(part) - 32, 1), 16))


def pulls(node, since, outcome):
    return node.journal("pull-finished", since=since, outcome=outcome)


def as_the_leader(absent, leader):
    demand(absent.files.digest() == leader.files.digest(), f"{absent}'s files are not those of {leader}")


@scenario(34, "repair by pull: what differs is fetched, tested, loaded", **REPAIRED)
def repaired(lab):
    # Given a node that comes back with a file changed, one too many, one too few, and another mode,
    for node in lab.balancers:
        node.files.write("conf.d/mode.conf", "# the same on all, but for its mode\n")
    absent, leader, _ = died_and_replaced(lab)
    absent.files.edit(OLD, NEW)
    absent.files.write("conf.d/stale.conf", "# of last month\n")
    (absent.files / "conf.d/mode.conf").chmod(0o600)
    leader.files.write("conf.d/fresh.conf", "# of this month, which the other node has never seen\n")
    leads_with_its_files(leader)
    back = now()
    with Sniffed(lab, leader) as sniffed:
        # when it starts,
        absent.start()
        # then it becomes like the master, its own name kept, by one repair, and is ready after a probation;
        went_through_probation(absent, back)
    as_the_leader(absent, leader)
    demand(stations(absent, back) == ["quarantined", "probation", "ready"], f"it went through {stations(absent, back)}")
    demand(len(pulls(absent, back, "ok")) == 1 and not pulls(absent, back, "failed"), f"repairs: {absent.journal('pull-finished', since=back)}")
    demand(f'return 200 "{absent}' in absent.files.read("conf.d/site.conf"), f"{absent} says that it is another")
    # what differs travelled, and nothing else;
    demand(sniffed.has(leader.files.read("conf.d/fresh.conf")), "the file that was fetched was not seen: the sniffer is blind")
    for name in ("nginx.conf", "ssl/site.key"):
        demand(not sniffed.has(leader.files.read(name)), f"{name} is the same on both, and travelled")
    # and users notice nothing, until it leads, and serves them.
    lab.unmoved(back, seconds=0.2)
    nothing_lost(lab, back)
    lab.healthy()
    account = switches(lab, absent)
    lab.expect(moves={"web": [2, 2]})
    repair = pulls(absent, back, "ok")[0]["boottime"] - absent.journal("standing-changed", since=back, to="quarantined")[0]["boottime"]
    return f"repaired in {repair * 1000:.0f} ms; then {account}"


@scenario(34, "repair by pull: a private key that differs never travels", **REPAIRED)
def key_differs(lab):
    # Given a node that comes back with the key of last month,
    absent, leader, _ = died_and_replaced(lab)
    key = leader.files.read("ssl/site.key")
    absent.files.write("ssl/site.key", KEY.format(name="the site of last month"), mode=0o600)
    before = absent.files.digest()
    back = now()
    with Sniffed(lab, leader) as sniffed:
        # when it starts, then the repair says what a person has to do, and nothing is changed;
        absent.start()
        told = alarm(absent, "pull-failed", "/etc/nginx/ssl/site.key")
        done = absent.command("diff", leader.name)
        content = absent.command("diff", leader.name, "--json")
    shown = done.stdout + content.stdout
    demand("site.key" in done.stdout, f"diff does not name it: exit {done.returncode}:\n{shown}{done.stderr}")
    demand("PRIVATE KEY" not in shown and "nobody else" not in shown, f"diff shows a key:\n{shown}")
    demand(not sniffed.has(key), "the key travelled")
    demand(absent.files.digest() == before, "the files were changed")
    becomes(absent, "quarantined")
    # when the person has done it, then it is ready.
    absent.files.write("ssl/site.key", key, mode=0o600)
    absent.reload_nginx()
    went_through_probation(absent, back)
    cleared(absent, "pull-failed", "quarantined")
    lab.unmoved(back, seconds=0.2)
    nothing_lost(lab, back)
    return told


@scenario(35, "a repair that fails its test: files as before, few retries", **REPAIRED)
def fails_its_test(lab):
    # Given a master whose files need one that is not declared, and a node that comes back without it,
    absent, leader, _ = died_and_replaced(lab)
    leader.files.write("run/secret.conf", "# declared nowhere\n")
    leader.files.edit("server {", "server {\n    include /etc/nginx/run/secret.conf;")
    leads_with_its_files(leader)
    before = absent.files.digest()
    back = now()
    # when it starts, then the repair fails by what Nginx says of it,
    absent.start()
    told = alarm(absent, "pull-failed", "secret.conf", "the files are as before")
    first = now()
    # nothing is changed or loaded, and it is tried again only now and then;
    hold_for(2.5, "the files stay as they are between two tries", lambda: absent.status()["standing"] == "quarantined")
    demand(absent.files.loads() == 2, f"in two lives Nginx loaded its files {absent.files.loads()} times")
    failed = pulls(absent, back, "failed")
    demand(1 <= len(failed) <= 4, f"{len(failed)} repairs in {now() - first:.1f} s")
    wait_until("no repair is under way", lambda: absent.files.digest() == before, within=5)
    # and when it can succeed, it does.
    absent.files.write("run/secret.conf", "# declared nowhere\n")
    went_through_probation(absent, back)
    as_the_leader(absent, leader)
    cleared(absent, "pull-failed", "quarantined")
    lab.unmoved(back, seconds=0.2)
    nothing_lost(lab, back)
    return f"{len(failed)} tries: {told}"


def many_differ(lab):
    """A node is away while many of its files change on the others. Returns both nodes and the digests of before and of the master's."""
    for node in lab.balancers:
        node.files.write("run/pause", PAUSE, mode=0o755)
    absent, leader, _ = died_and_replaced(lab)
    for number in range(MANY):
        absent.files.write(f"conf.d/many-{number:03}.conf", f"# {number} of last month\n")
        leader.files.write(f"conf.d/many-{number:03}.conf", f"# {number} of this month\n")
    leads_with_its_files(leader)
    return absent, leader, (absent.files.digest(), leader.files.digest())


def fetching(node):
    """Some of the files are there, beside the old ones."""
    return len(list((node.files / "conf.d").glob(".vipward-pull/*"))) > 3


def at(node, word):
    """The pause of that word has begun."""
    path = node.files / f"run/at-{word}"
    return path.read_text(encoding="ascii").strip() if path.exists() else None


@scenario(36, "the daemon is killed while it repairs, at every stage: one whole tree", consistency=WITH_PAUSES, timing=GATE_TIMING)
def killed(lab):
    # Given a node with many files to fetch,
    absent, leader, (old, new) = many_differ(lab)
    back = now()
    absent.nginx.start()
    said = []
    absent.daemon.start()
    for word, begun in (("fetch", lambda: fetching(absent)), ("test", lambda: at(absent, "test")), ("reload", lambda: at(absent, "reload"))):
        # when its daemon is killed in that stage,
        (absent.files / f"run/stop-{word}").touch()
        absent.heal()
        wait_until(f"{absent} is at {word}", begun)
        absent.tell("kill")
        absent.daemon.kill()
        said.append(f"{word}: {({old: 'old', new: 'new'}).get(absent.files.digest(), 'both')}")
        for paused in filter(None, (at(absent, "test"), at(absent, "reload"))):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(paused), signal.SIGKILL)
        for path in (absent.files / "run").glob("[as]t*-*"):
            path.unlink()
        # then it is the old tree as soon as it runs again, before it can fetch anew.
        absent.cut_from(leader)
        absent.daemon.start()
        wait_until(f"{absent} has its old files again", lambda: absent.files.digest() == old, within=10)
        becomes(absent, "quarantined")
        demand(absent.files.digest() == old, "the old files did not stay")
    # At last it is left alone: then it is like the master.
    absent.heal()
    went_through_probation(absent, back)
    as_the_leader(absent, leader)
    left_over = [path for path in absent.files.root.rglob("*") if ".vipward" in str(path) and not path.is_dir()]
    demand(not left_over, f"left over: {left_over[:3]}")
    lab.unmoved(back, seconds=0.2)
    nothing_lost(lab, back)
    return ", ".join(said)


@scenario(36, "the master is cut off, and then dies, while it is fetched from: files as before", consistency=WITH_PAUSES, timing=GATE_TIMING)
def cut_off(lab):
    # Given a node that fetches many files from the master,
    absent, leader, (old, _) = many_differ(lab)
    back = now()
    absent.start()
    wait_until(f"{absent} fetches", lambda: fetching(absent))
    # when the two are cut off from each other,
    absent.cut_from(leader)
    cut = now()
    # then nothing is changed, and it says why;
    told = alarm(absent, "pull-failed", f"of {leader}")
    demand(absent.files.digest() == old, "the files were changed")
    # when they are together again, and the master dies while it is fetched from,
    absent.heal()
    wait_until(f"{absent} fetches again", lambda: fetching(absent))
    died = now()
    leader.die()
    # then as well.
    wait_until(f"{absent} gives up", lambda: pulls(absent, died, "failed"))
    demand(absent.files.digest() == old, "the files were changed")
    becomes(absent, "quarantined")
    # When the master is back, then it leads, and all is repaired.
    leader.start()
    went_through_probation(absent, back)
    as_the_leader(absent, leader)
    lab.users.served_by(leader)
    lab.stays_with(leader)
    return f"after {pulls(absent, cut, 'failed')[0]['boottime'] - cut:.1f} s: {told}"
