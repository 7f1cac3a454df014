"""Scenario 16: an operator moves the group there and back, to a node that cannot take it, and to one that dies right then."""
from concurrent.futures import ThreadPoolExecutor

from configuration import FATAL_NGINX
from lab import demand, wait_until
from records import now
from scenarios import scenario


def switch(lab, asked, to):
    """`vipward switchover` at one node, and what moved for it."""
    since = now()
    done = asked.command("switchover", "web", "--to", to.name)
    demand(done.returncode == 0 and not done.stderr, f"switchover to {to}: exit {done.returncode}: {done.stdout}{done.stderr}")
    account = lab.moved(to=to, since=since, cause="switchover")
    lab.outage_below(lab.detection_ms, since=since - 1)
    return account


def refused(lab, asked, *to):
    """The one line on stderr that `vipward switchover` ends with; nothing has moved."""
    since = now()
    done = asked.command("switchover", "web", *(["--to", *to] if to else []))
    lines = done.stderr.strip().splitlines()
    demand(done.returncode == 1 and len(lines) == 1 and not done.stdout, f"switchover to {to}: exit {done.returncode}: {done.stdout}{done.stderr}")
    demand(not lab.cloud.attempts(since=since), f"a refused switchover made calls: {lab.cloud.attempts(since=since)}")
    changed = [event for node in lab.balancers for event in node.journal("role-changed", since=since)]
    demand(not changed, f"a refused switchover changed roles: {changed}")
    return lines[0]


@scenario(16, "switchover there and back", metadata=True)
def there_and_back(lab):
    # Given a cluster that serves,
    master, standby = lab.start()
    # when an operator asks any node to hand the group over, and back,
    there = switch(lab, lab.witness, standby)
    back = switch(lab, standby, master)
    # then each time it moved by one call, and a node that leads already has nothing to do.
    since = now()
    again = master.command("switchover", "web", "--to", master.name)
    demand(again.returncode == 0, f"to the master itself: exit {again.returncode}: {again.stderr}")
    lab.unmoved(since, seconds=0.5)
    lab.expect(moves={"web": [2, 2]})
    return f"there: {there}; back: {back}"


@scenario(16, "switchover to a node that cannot", checks=(FATAL_NGINX,))
def to_one_that_cannot(lab):
    # Given a cluster that serves, and a standby whose Nginx is dead,
    master, standby = lab.start()
    since = now()
    standby.stop_nginx()
    wait_until(f"{standby} fails its check", lambda: standby.journal("check-changed", since=since))
    wait_until(f"{master} knows", lambda: refused(lab, lab.witness, standby.name) == f"error: a fatal check of {standby} fails")
    # when an operator asks for what cannot be, then it is refused with the reason, and nothing moves:
    said = [refused(lab, node, *to) for node in (master, standby) for to in ((standby.name,), (), ("witness",), ("lb-z",))]
    for sentence, word in zip(said, 2 * (standby.name, "no other node is ready", "witness", "lb-z")):
        demand(word in sentence, f"the refusal does not speak of {word}: {sentence}")
    lab.unmoved(since, seconds=1)
    lost = lab.users.lost(since)
    demand(not lost, f"requests were lost: {lost[:5]}")
    # and when it can again, it is done.
    standby.start_nginx()
    wait_until(f"{standby} passes its check", lambda: len(standby.journal("check-changed", since=since)) == 2)
    wait_until(f"{master} knows", lambda: master.command("switchover", "web").returncode == 0)
    return lab.moved(to=standby, since=since, cause="switchover")


def asked_meanwhile(lab, master, standby, moment):
    """Asks for a switchover to the standby, and lets its host die at that moment; returns how the command ended, in one line."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        command = pool.submit(master.command, "switchover", "web", "--to", standby.name)
        wait_until("the moment comes", moment)
        standby.die()
        done = command.result()
    demand(done.returncode == 1 and len(done.stderr.strip().splitlines()) == 1, f"exit {done.returncode}: {done.stdout}{done.stderr}")
    return done.stderr.strip()


@scenario(16, "switchover to a node that dies claiming: rolled back")
def to_one_that_dies(lab):
    # Given a cluster that serves, and a standby whose calls are lost,
    master, standby = lab.start()
    since = now()
    lab.cloud.fault("black-hole", node=standby, operations="mutating", dry_run=False)
    # when it dies in the middle of its claim,
    told = asked_meanwhile(lab, master, standby, lambda: lab.cloud.attempts(standby.name, since))
    # then the operator is told, the old master leads again, and the address has never left it.
    demand(standby.name in told, f"the operator is told: {told}")
    wait_until(f"{master} leads again", lambda: master.elections_won(since))
    wait_until(f"{master} owns the address", lambda: master.group()["addresses"][0]["ownership"] == "owned")
    lab.unmoved(now(), seconds=1)
    demand(not lab.cloud.moves(since=since), f"it moved: {lab.cloud.moves(since=since)}")
    lost = lab.users.lost(since)
    demand(not lost, f"requests were lost: {lost[:5]}")
    lab.stays_with(master)
    return told


@scenario(16, "switchover to a node that is frozen: refused", metadata=True)
def to_one_that_is_frozen(lab):
    # Given a cluster that serves, and a standby that stands still, unnoticed yet,
    master, standby = lab.start()
    since = now()
    standby.freeze()
    # when an operator hands the group over to it,
    done = master.command("switchover", "web", "--to", standby.name)
    # then the operator is told why not, and nothing has moved.
    demand(done.returncode == 1 and f"{standby} did not answer" in done.stderr, f"exit {done.returncode}: {done.stdout}{done.stderr}")
    lab.unmoved(since, seconds=1)
    demand(not master.elections_won(since), "the master resigned in favour of one that had not answered")
    standby.thaw()
    lab.healthy()
    lab.unmoved(since, seconds=0.5)
    lost = lab.users.lost(since)
    demand(not lost, f"requests were lost: {lost[:5]}")
    lab.stays_with(master)
    return done.stderr.strip()
