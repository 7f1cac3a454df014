"""Scenarios 20 to 24: what must not move anything, or no more than once, or within a budget."""
import itertools

from configuration import Group
from lab import demand, hold_for, wait_until
from records import now
from scenarios import scenario

# A minute of an hour's troubles in half a minute: a link that is down for longer than the master-down interval of 400 ms, and up for longer than
# a preemption takes, over and over.
FLAPS, DOWN_SECONDS, UP_SECONDS = 12, 0.8, 1.2
MOVES = 4
PREEMPTING = Group(keys={"preempt": True, "preempt_delay": "200ms"})
STALE_SECONDS = 8
REPAIRS = 2


@scenario(20, "flapping link: moves bounded by the budget", groups=(PREEMPTING,), limits={"moves_per_hour": MOVES}, client_ms=10)
def flapping(lab):
    # Given a cluster whose preferred master takes its place back as soon as it can, and a budget of moves,
    preferred, other = lab.start()
    # when all links of that node go down and up again and again, for half a minute (a minute, compressed),
    began = now()
    for _ in range(FLAPS):
        preferred.cut()
        hold_for(DOWN_SECONDS, "the cloud keeps its record", lambda: moves(lab, began) <= MOVES)
        preferred.heal()
        hold_for(UP_SECONDS, "the cloud keeps its record", lambda: moves(lab, began) <= MOVES)
    # then the address moves as often as the budget allows, and no more; that is told,
    demand(moves(lab, began) == MOVES, f"it moved {moves(lab, began)} times; the budget is {MOVES}")
    wait_until("there is an alarm", lambda: all("moves-exhausted" in node.alarms() for node in lab.balancers))
    # and a master that is surely dead is replaced all the same.
    master, standby = lab.healthy()
    dead = now()
    master.die()
    account = lab.moved(to=standby, since=dead, cause="master-crashed")
    lab.expect(moves={"web": [MOVES + 1, MOVES + 1]})
    lab.harmless_from_now()
    return f"{FLAPS} flaps, {MOVES} moves; then {account}"


def moves(lab, since):
    return len(lab.cloud.moves(since=since))
