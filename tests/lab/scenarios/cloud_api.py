"""Scenarios 11 to 14: the EC2 API is down, throttles, answers late, or lets a call take effect late, while a master is lost."""
import time

from lab import demand, wait_until
from records import now
from scenarios import scenario

DOWN_SECONDS = 10
THROTTLED_SECONDS = 3
WITHIN_SECONDS = 2
# Of calls that are repeated after a pause of full jitter, growing to 2 s: more in 3 s come less often than once in 100,000 times.
MOST_TRIES = 15
LATE_SECONDS = 3


def journaled(node, since, outcome):
    """Calls that would change something and ended so, as the node tells."""
    calls = node.journal("call-finished", since=since, outcome=outcome)
    return [call for call in calls if not call["operation"].startswith("Describe")]


def move_to(lab, node, since):
    """When the address came to the node, as the cloud tells."""
    return wait_until(f"the address comes to {node}", lambda: [m for m in lab.cloud.moves(since=since) if m["holder"] == node.name])[0]["at"]


@scenario(11, "API down during a failover")
def api_down(lab):
    # Given a cluster that serves,
    master, standby = lab.start()
    # when the master's host dies while the API refuses connections,
    dead = now()
    lab.cloud.down()
    master.die()
    wait_until(f"{standby} is elected", lambda: standby.elections_won(since=dead))
    time.sleep(max(0, dead + DOWN_SECONDS - now()))  # It goes on trying all the while.
    demand(journaled(standby, dead, "error") and not lab.cloud.changes(since=dead), "no call failed, so the API was not down")
    lab.cloud.up()
    up = now()
    # then the standby keeps its lease all the while, and has the address within 2 s of the API's return.
    took = move_to(lab, standby, dead) - up
    demand(took <= WITHIN_SECONDS, f"the address came {took:.2f} s after the API")
    account = lab.moved(to=standby, since=dead, cause="master-crashed", changes=None)
    demand(len(standby.elections_won(since=dead)) == 1, f"{standby} lost its lease: {standby.elections_won(since=dead)}")
    return f"{took * 1000:.0f} ms after the API, {account}"


@scenario(12, "API throttled during a failover", metadata=True)
def api_throttled(lab):
    # Given a cluster that serves,
    master, standby = lab.start()
    # when the master's host dies while the whole API throttles,
    dead = now()
    throttling = lab.cloud.fault("throttled")
    master.die()
    wait_until(f"{standby} is throttled", lambda: journaled(standby, dead, "throttled"))
    time.sleep(max(0, dead + THROTTLED_SECONDS - now()))
    tried = lab.cloud.calls(node=standby.name, since=dead) + lab.cloud.calls(node=standby.name, since=dead, dry_run=True)
    throttling.heal()
    freed = now()
    # then it has tried again, and without a storm,
    claims = [call for call in tried if call["operation"] == "AssociateAddress" and not call["dry_run"]]
    demand(2 <= len(claims) <= MOST_TRIES, f"{len(claims)} claims within {THROTTLED_SECONDS} s")
    demand(len(tried) <= 2 * MOST_TRIES, f"{len(tried)} calls within {THROTTLED_SECONDS} s: {[call['operation'] for call in tried]}")
    # and the address comes by one call soon: a throttled call is known to have changed nothing, so it is simply made again.
    took = move_to(lab, standby, dead) - freed
    demand(took <= WITHIN_SECONDS + 0.2, f"the address came {took:.2f} s after the throttling")
    account = lab.moved(to=standby, since=dead, cause="master-crashed")
    return f"{len(claims)} claims throttled, {took * 1000:.0f} ms after the throttling, {account}"


def late_call(lab):
    """Given two masters, the first of which died while its claim was on its way; the second one serves when the claim lands."""
    late = lab.cloud.fault("late", node="lb-a", operations="Associate*", dry_run=False, seconds=LATE_SECONDS)
    for node in lab:
        node.start()
    wait_until("the first master claims", lambda: lab.cloud.attempts("lb-a"))
    lab.users.start()
    dead = now()
    lab["lb-a"].die()
    lab.moved(to=lab["lb-b"], since=dead)  # Whatever the cause: a process that is just writing to a slow disk dies late.
    demand(not lab.cloud.changes("lb-a"), "the old master's call has landed too early")
    # when it lands,
    landed = wait_until("the old master's call lands", lambda: [c for c in lab.cloud.attempts("lb-a") if c["landed"]])[0]
    late.heal()
    return landed


@scenario(13, "late call of the old master, fast claims: repaired", metadata=True)
def late_call_fast(lab):
    landed = late_call(lab)
    master = lab["lb-b"]
    # then the address is away,
    demand(landed["status"] == 200 and [m["holder"] for m in lab.cloud.moves()] == ["lb-b", "lb-a"], f"the late call moved nothing: {landed}")
    # but the master's metadata tells it within seconds: one call brings it back, and users with it,
    took = move_to(lab, master, landed["landed"]) - landed["landed"]
    demand(took <= 3, f"the address was away for {took:.2f} s")
    lab.users.served_by(master)
    demand(len(lab.cloud.changes(since=landed["landed"])) == 1, f"calls: {lab.cloud.changes(since=landed['landed'])}")
    # and the journal says what was repaired.
    wait_until("the repair is journaled", lambda: master.journal("call-finished", since=landed["landed"], outcome="ok"))
    told = [(e["event"], e.get("reason") or e.get("outcome")) for e in master.journal(group="web") if e["boottime"] >= landed["landed"]]
    wanted = [
        ("ownership-changed", "the cloud shows it elsewhere"), ("call-started", "repair: it moved"), ("call-finished", "ok"),
        ("ownership-changed", "claimed"),
    ]  # fmt: skip
    demand(told == wanted, f"the journal tells: {told}")
    demand(len(master.elections_won()) == 1, "it took an election")
    lab.unmoved(now(), seconds=1)
    lab.expect(moves={"web": [2, 2]})
    return f"back after {took * 1000:.0f} ms"


@scenario(13, "late call of the old master, fenced claims: refused", claim="fenced")
def late_call_fenced(lab):
    landed = late_call(lab)
    # then it is refused, and users notice nothing.
    demand(landed["reassociate"] is False, f"the late call was not fenced: {landed}")
    demand(landed["status"] == 400 and landed["code"] == "Resource.AlreadyAssociated", f"the late call: {landed}")
    demand([move["holder"] for move in lab.cloud.moves()] == ["lb-b"], f"the address moved: {lab.cloud.moves()}")
    lab.unmoved(landed["landed"], seconds=1)
    lost = lab.users.lost(since=landed["landed"])
    demand(not lost, f"requests were lost: {lost[:5]}")
    demand(not lab["lb-b"].journal(reason="repair: it moved"), "there was nothing to repair")
    return f"{landed['code']}"


@scenario(14, "API with 2 s latency: exactly one claim", metadata=True, call_timeout_ms=6000)
def api_slow(lab):
    # Given a cluster that serves,
    master, standby = lab.start()
    # when the master's host dies and each call takes 2 s,
    dead = now()
    with lab.cloud.fault("latency", seconds=2):
        master.die()
        # then the standby waits for its one call, its lease renewed meanwhile,
        account = lab.moved(to=standby, since=dead, cause="master-crashed")
        lab.unmoved(now(), seconds=1)
    claims = lab.cloud.attempts(since=dead)
    demand([claim["operation"] for claim in claims] == ["AssociateAddress"], f"calls to change something: {claims}")
    demand(len(standby.journal("call-started", since=dead)) == 1, "the journal tells of several")
    demand(len(standby.elections_won(since=dead)) == 1, f"{standby} lost its lease: {standby.elections_won(since=dead)}")
    # and users wait for little more than the call.
    lab.outage_below(2000 + 2 * lab.detection_ms, since=dead - 1)
    return account
