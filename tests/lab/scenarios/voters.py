"""Scenarios 9, 10 and 15: voters that are lost and come back, and what must not move for it."""
import signal

from lab import demand, wait_until
from records import now
from scenarios import scenario


def undisturbed(lab, since):
    """Users lost nothing, no node has begun a call that would change something, and nobody else was elected."""
    lost = lab.users.lost(since)
    demand(not lost, f"requests were lost: {lost[:5]}")
    begun = [call for node in lab for call in node.journal("call-started", since=since)]
    demand(not begun and not lab.cloud.attempts(since=since), f"calls were begun: {begun or lab.cloud.attempts(since=since)}")


@scenario(9, "witness dead: nothing moves", metadata=True)
def witness_dead(lab):
    # Given a cluster that serves,
    master, standby = lab.start()
    since = now()
    # when the witness dies,
    lab.witness.die()
    # then the others say that one more failure is too much,
    for node in lab.balancers:
        wait_until(f"{node} alarms", lambda n=node: n.journal("alarm-raised", since=since, name="redundancy-lost"))
    # and nothing moves, whether it stays away or comes back.
    lab.unmoved(since)
    lab.witness.start()
    lab.healthy()
    lab.unmoved(since, seconds=1)
    changed = [event for node in lab.balancers for event in node.journal("role-changed", since=since)]
    demand(not changed, f"roles changed: {changed}")
    undisturbed(lab, since)
    lab.stays_with(master)
    return f"{master} leads, nothing lost"


@scenario(10, "majority lost, and back: nothing moves")
def majority_lost(lab):
    # Given a cluster that serves,
    master, standby = lab.start()
    since = now()
    # when the witness is dead and the balancers do not hear each other,
    lab.witness.die()
    standby.cut_from(master)
    wait_until(f"{master} holds", lambda: master.journal("role-changed", since=since, to="holding"))
    # then the master serves on without a lease, the standby cannot take over, and neither makes a call;
    lab.unmoved(since)
    tried = [event for event in standby.journal("role-changed", since=since) if event["to"] == "candidate"]
    demand(tried, f"{standby} did not even stand: what kept it from taking over was not the majority")
    # and when the majority is back, the master leads again, without a call.
    back = now()
    lab.witness.start()
    standby.heal()
    lab.healthy()
    lab.unmoved(since, seconds=1)
    undisturbed(lab, since)
    demand(not standby.elections_won(since), f"{standby} was elected: {standby.elections_won(since)}")
    won = master.elections_won(since)
    demand([event["cause"] for event in won] == ["majority-regained"], f"{master} was elected so: {won}")
    lab.stays_with(master)
    return f"{master} leads again after {(won[0]['boottime'] - back) * 1000:.0f} ms"


def restart_all(lab, master):
    """Every daemon is killed before the first starts again; the master last: of those left nobody could take over."""
    together = sorted(lab, key=lambda node: node is master)
    for node in together:
        node.tell("daemon-kill")
        node.daemon.send(signal.SIGKILL)
    for node in together:
        node.daemon.kill()
    for node in lab:
        node.daemon.start()


def all_restarted(lab, holder):
    # Given an address that an operator gave to one of the balancers,
    lab.cloud.associate(holder)
    # when hosts start,
    began = now()
    master, _ = lab.start()
    demand(master.name == holder, f"{master} leads, and the address was at {holder}")
    # and when all daemons are killed and started at once,
    restart_all(lab, master)
    again, _ = lab.healthy()
    demand(again is master, f"{again} leads, and the address was at {master}")
    # then it leads each time without a call, and users notice nothing.
    lab.unmoved(began, seconds=1)
    undisturbed(lab, began)
    lab.stays_with(master)
    return f"{master} leads again"


scenario(15, "all restarted at once: the holder leads again", metadata=True)(lambda lab: all_restarted(lab, "lb-a"))
scenario(15, "all restarted at once, lower priority holds")(lambda lab: all_restarted(lab, "lb-b"))
scenario(15, "all restarted, lower priority holds, no ids", metadata=True)(lambda lab: all_restarted(lab, "lb-b"))
