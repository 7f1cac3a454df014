"""Scenario 23: a clock that is wrong. Never the machine's own: libfaketime shows it to one process."""
import os
from pathlib import Path

from lab import demand
from records import now
from scenarios import scenario

HOURS = 7  # Longer than the six hours that credentials last.


@scenario(23, "a clock set back and forth by hours: nothing moves, failover works", metadata=True)
def wrong_clock(lab):
    # Given a cluster that serves, whose balancers' wall clocks can be set,
    for node in lab.balancers:
        wear_a_watch(node)
    master, standby = lab.start()
    # when the clock of one is set forth and back by hours, then nothing moves;
    since = now()
    for node in lab.balancers:
        for hours in (HOURS, -HOURS, 0):
            set_clock(node, hours)
            lab.unmoved(since, seconds=0.7)
    demand(not lab.users.lost(since), f"users lost {lab.users.lost(since)}")
    # when the standby's clock is wrong by hours and the master's host dies, then the standby has the address after one call (AWS would refuse a
    # request signed by such a clock, as `RequestExpired`: LocalStack does not look. Elections, leases and claims do not care),
    set_clock(standby, HOURS)
    dead = now()
    master.die()
    account = lab.moved(to=standby, since=dead, cause="master-crashed")
    lab.outage_below(3 * lab.detection_ms, since=dead - 1)
    shown = (standby.elections_won(since=dead)[-1]["boottime"] - dead) / 3600
    demand(abs(shown - HOURS) < 0.1, f"the journal's clock is wrong by {shown:.1f} h, set was {HOURS} h")
    # and when the clock is set right again, nothing moves either.
    set_clock(standby, 0)
    lab.harmless_from_now()
    lab.unmoved(since=now())
    return account


def wear_a_watch(node):
    """From its next start on the daemon's wall clock is what `set_clock` says; all other clocks are the machine's."""
    library = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    node.daemon.wrap = ["env", f"LD_PRELOAD={library}"]
    show(node, 0)
    watch = {"FAKETIME_TIMESTAMP_FILE": watch_of(node), "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    node.daemon.environment |= {name: str(value) for name, value in watch.items()}


def set_clock(node, hours):
    if hours:
        node.tell("clock", offset=3600 * hours)
    else:
        node.tell("clock", on=False)
    show(node, hours)


def show(node, hours):
    new = watch_of(node).with_suffix(".new")
    new.write_text(f"{hours:+}h\n", encoding="ascii")
    os.replace(new, watch_of(node))


def watch_of(node):
    return node.directory / "watch"
