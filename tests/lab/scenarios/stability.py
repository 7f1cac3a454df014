"""Scenarios 20 to 24: what must not move anything, or no more than once, or within a budget."""
from configuration import Group
from lab import demand, hold_for, wait_until
from records import now
from scenarios import scenario
from topology import run
from world import OWN_SECONDARY

# A minute of an hour's troubles in half a minute: a link that is down for longer than the master-down interval of 400 ms, and up for longer than
# a preemption takes, over and over.
FLAPS, DOWN_SECONDS, UP_SECONDS = 12, 0.8, 1.2
MOVES = 4
AT_ONCE = {"preempt": True, "preempt_delay": "200ms"}  # Whoever leads first on a busy machine: the preferred node leads soon.
CROSSED = (
    Group("web", {"lb-a": 200, "lb-b": 100}, ("198.51.100.10",), keys=AT_ONCE),
    Group("api", {"lb-a": 100, "lb-b": 200}, ("198.51.100.11",), private_ip=OWN_SECONDARY, keys=AT_ONCE),
)
STALE_SECONDS = 8
REPAIRS = 2


@scenario(20, "flapping link: moves bounded by the budget", groups=(Group(keys=AT_ONCE),), limits={"moves_per_hour": MOVES}, client_ms=10)
def flapping(lab):
    # Given a cluster whose preferred master takes its place back as soon as it can, and a budget of moves,
    lab.start()
    preferred = lab["lb-a"]
    wait_until("the preferred node leads", lambda: leads(preferred, "web"))
    # when all links of that node go down and up again and again, for half a minute (a minute, compressed),
    for _ in range(FLAPS):
        preferred.cut()
        hold_for(DOWN_SECONDS, "the budget is kept", lambda: moves(lab) <= MOVES)
        preferred.heal()
        hold_for(UP_SECONDS, "the budget is kept", lambda: moves(lab) <= MOVES)
    # then the address moves as often as the budget allows, and no more; that is told,
    demand(moves(lab) == MOVES, f"it moved {moves(lab)} times; the budget is {MOVES}")
    wait_until("there is an alarm", lambda: all("moves-exhausted" in node.alarms() for node in lab.balancers))
    # and a master that is surely dead is replaced all the same: one that is seen to have crashed, or is silent for ten times as long as else.
    master, standby = lab.healthy()
    dead = now()
    master.die()
    account = lab.moved(to=standby, since=dead)
    lab.expect(moves={"web": [MOVES + 1, MOVES + 1]})
    lab.harmless_from_now()
    return f"{FLAPS} flaps, {MOVES} moves; then {account}"


@scenario(21, "two groups with crossed priorities: only the dead node's moves", groups=CROSSED)
def crossed_groups(lab):
    # Given two groups that prefer different nodes; the second one's elastic IP is bound to a secondary private address of each, since EC2 binds one
    # to each (the daemon does not put that into the kernel: here the operator has),
    for node in lab.balancers:
        own = OWN_SECONDARY[node.name]
        lab.cloud.assign(node, own)
        run("ip", "-n", node.name, "addr", "add", f"{own}/32", "dev", "eth0")
    lab.start()
    web_master, api_master = lab.balancers
    wait_until("each leads the group that prefers it", lambda: leads(web_master, "web") and leads(api_master, "api"))
    # when the host of one master dies,
    dead, before = now(), [moves(lab), moves(lab, "198.51.100.11")]
    web_master.die()
    # then its group comes to the other node by one call, and the other group's users notice nothing.
    account = lab.moved(to=api_master, since=dead, cause="master-crashed")
    lab.unmoved(since=now(), seconds=1)
    demand(not lab.cloud.moves("198.51.100.11", since=dead), "the other group's address moved")
    demand(not lab.users.lost(dead - 1, "198.51.100.11"), f"the other group's users lost {lab.users.lost(dead - 1, '198.51.100.11')}")
    demand(not api_master.journal("role-changed", since=dead, group="api"), "the other group's master changed its role")
    lab.stays_with(api_master, group="api")
    lab.expect(moves={"web": [before[0] + 1] * 2, "api": [before[1]] * 2})
    return account


@scenario(22, "stale reads for 8 s after a claim: no needless repair", metadata=True, client_ms=10)
def stale_reads(lab):
    # Given a cluster that has been the same for eight seconds, and an API whose reads show what was true eight seconds ago,
    master, standby = lab.start()
    claimed = lab.cloud.moves()[-1]["at"]
    wait_until("the cluster is older than what is read", lambda: now() - claimed > STALE_SECONDS)
    stale = lab.cloud.fault("stale", seconds=STALE_SECONDS)
    # when the master's host dies,
    dead = now()
    master.die()
    # then the standby claims the address once, though its reads show the dead master as the holder; it is verified when they show itself,
    account = lab.moved(to=standby, since=dead, cause="master-crashed")
    stale.heal()
    lab.harmless_from_now()
    lab.unmoved(since=now())
    attempts = lab.cloud.attempts(since=dead)
    demand(len(attempts) == 1, f"calls that change something: {attempts}")
    # and that it was looked at meanwhile is on record.
    looks = [call for call in lab.cloud.calls("DescribeAddresses", standby.name, since=attempts[0]["landed"]) if call["fault"] == "stale"]
    misled = [call for call in looks if call["arrived"] < attempts[0]["landed"] + STALE_SECONDS]
    demand(len(misled) >= 3, f"the master looked only {len(misled)} times while the reads were stale")
    return f"{account}; {len(misled)} stale reads"


@scenario(24, "an operator moves the address by hand: repaired, then left, told", metadata=True, limits={"repairs": REPAIRS})
def operator_moves_it(lab):
    # Given a cluster that serves, and a budget of repairs,
    master, standby = lab.start()
    names = (standby.name, lab.world.nodes[standby.name]["interface"])  # Without ids in the configuration no node knows its peers' interfaces.
    # when an operator moves the address to the other node, then it is repaired, and the journal says why;
    for _ in range(REPAIRS):
        at = now()
        lab.cloud.associate(standby)
        wait_until("it is repaired", lambda: lab.cloud.holder() == master.name)
        lab.users.served_by(master)
        reasons = lambda since=at: [call["reason"] for call in master.journal("call-started", since=since)]  # noqa: E731
        wait_until("the journal tells of the repair", lambda told=reasons: told() == ["repair: it moved"])
        seen = master.journal("ownership-changed", since=at, ownership="not-owned")
        demand(seen and seen[0]["holder"] in names, f"{master}: the journal does not tell who held the address: {seen}")
    # when he does it once more, then it is left to him, and that is told;
    at = now()
    lab.cloud.associate(standby)
    wait_until("there is an alarm", lambda: "address-fight" in master.alarms() and master.metric('vipward_alarm{name="address-fight"}'))
    lab.users.served_by(standby)
    hold_for(3, "the address is left to the operator", lambda: lab.cloud.holder() == standby.name)
    demand(not lab.cloud.attempts(master.name, since=at), f"{master} fights on: {lab.cloud.attempts(master.name, since=at)}")
    shown = master.group()["addresses"][0]
    demand(shown["ownership"] == "not-owned" and shown["holder"] in names, f"{master} shows {shown}")
    demand(master.journal("alarm-raised", since=at, name="address-fight"), "the journal does not tell of the alarm")
    # and when he gives it back, the alarm ends.
    lab.cloud.associate(master)
    lab.harmless_from_now()
    wait_until("the alarm ends", lambda: "address-fight" not in master.alarms())
    lab.users.served_by(master)
    lab.stays_with(master)
    by_hand = REPAIRS + 2
    lab.expect(moves={"web": [by_hand + REPAIRS, by_hand + REPAIRS]})
    return f"{REPAIRS} repairs in {max(repair_times(lab)):.1f} s at most, then left"


def leads(node, group):
    shown = node.group(group)
    return shown["role"] == "master" and all(address["ownership"] == "owned" for address in shown["addresses"])


def moves(lab, address="198.51.100.10"):
    """So far; that it came to its first holder is none."""
    return len(lab.cloud.moves(address)) - 1


def repair_times(lab):
    """From each move by hand that was repaired to the repair."""
    changes = lab.cloud.moves()[1:]  # After the first claim.
    return [repair["at"] - move["at"] for move, repair in zip(changes[::2], changes[1::2]) if repair["by"] != "operator"]
