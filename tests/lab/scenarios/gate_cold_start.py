"""Scenario 43: all nodes restart together, with the files that they had, or others."""
from lab import demand, hold_for, wait_until
from records import now
from scenarios import scenario
from scenarios.gate import GATE, NEW, OLD, SITE, admits, alarm, becomes, cleared, nobody_leads, stations

OTHER = "keepalive_timeout 75s;"


def all_die(lab):
    """A cluster that serves, whose power is cut. Returns its master and its standby."""
    master, standby = lab.start()
    wait_until("the reference is recorded", lambda: all(node.journal("reference-set") for node in lab))
    for node in (lab.witness, standby, master):  # The master last, so that nobody is left to take over.
        node.die()
    return master, standby


def all_start(lab):
    since = now()
    for node in lab:
        node.start()
    return since


@scenario(43, "all restart, the holder with other files: the one with the cluster's leads", **GATE)
def holder_differs(lab):
    # Given a cluster that was without power, while the files of its master were changed,
    master, standby = all_die(lab)
    master.files.edit(OLD, NEW)
    # when all come back at once, then the other leads, and the old master is kept out;
    since = all_start(lab)
    account = lab.moved(to=standby, since=since)
    becomes(master, "quarantined")
    alarm(master, "quarantined", SITE)
    demand(not master.elections_won(since), f"{master} was elected")
    # and is well when its files are.
    master.files.edit(NEW, OLD)
    master.reload_nginx()
    becomes(master, "ready")
    lab.unmoved(now(), seconds=0.2)
    lab.harmless_from_now()
    return account


@scenario(43, "all restart with the same new files: the holder leads, nobody is kept out", **GATE)
def all_new(lab):
    # Given a cluster that was without power, while the files of all were changed alike,
    master, standby = all_die(lab)
    for node in lab.balancers:
        node.files.edit(OLD, NEW)
    # when all come back at once, then the holder leads with them, and nothing moves.
    since = all_start(lab)
    wait_until(f"{master} leads", lambda: master.elections_won(since))
    lab.healthy()
    lab.unmoved(now(), seconds=0.2)
    demand(not lab.cloud.moves(since=since), f"it moved: {lab.cloud.moves(since=since)}")
    for node in lab.balancers:
        demand("quarantined" not in stations(node, since), f"{node} went through {stations(node, since)}")
        cleared(node, "config-drift", "quarantined")
    lab.users.served_by(master)
    lab.stays_with(master)


@scenario(43, "all restart, each with other files: nobody leads, until one is admitted", **GATE)
def all_differ(lab):
    # Given a cluster that was without power, while the files of all were changed, and not alike,
    master, standby = all_die(lab)
    master.files.edit(OLD, NEW)
    standby.files.edit(OLD, OTHER)
    # when all come back at once, then nobody leads, the address stays where it is, users are served on, and it is said why;
    since = all_start(lab)
    for node in lab.balancers:
        becomes(node, "quarantined")
    told = nobody_leads(master)
    lab.users.served_by(master)
    lab.unmoved(since, seconds=0.2)
    hold_for(0.5, "nobody leads", lambda: not master.elections_won(since) and not standby.elections_won(since))
    # and when an operator admits one, then that one leads.
    admits(lab, lab.witness, standby)
    lab.moved(to=standby, since=since)
    cleared(standby, "no-candidate", "quarantined")
    alarm(master, "quarantined", SITE)
    return told
