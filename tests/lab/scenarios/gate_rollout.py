"""Scenarios 37, 38 and 42: what operators do: change files, forget to load them, roll a change out, take a node out."""
from configuration import FATAL_NGINX
from lab import demand, hold_for, wait_until
from records import now
from scenarios import scenario
from scenarios.gate import (
    AWAY_SECONDS, GATE, NEW, OLD, SITE, alarm, becomes, cleared, leads_with_its_files, nothing_lost, refused, stations, switches, votes_by_exception,
    went_through_probation,
)  # fmt: skip


def wait_away(since):
    """A node stays away for longer than restart_grace."""
    wait_until("it was away for long enough", lambda: now() - since > AWAY_SECONDS)


def quarantined(lab, since):
    """Who was quarantined since then."""
    return [node.name for node in lab.balancers if "quarantined" in stations(node, since)]


@scenario(37, "a file changed and not loaded: named, quarantined after a restart, well after a reload", **GATE)
def not_applied(lab):
    # Given a change that was made on both nodes, and loaded on the master only,
    master, standby = lab.start()
    since = now()
    for node in (standby, master):
        node.files.edit(OLD, NEW)
    leads_with_its_files(master)
    # then the standby says which file is not loaded, the master that it differs, and both are in service.
    told = alarm(standby, "config-unapplied", SITE, "reload")
    alarm(master, "config-drift", standby.name)
    demand(standby.status()["standing"] == "ready" and not quarantined(lab, since), f"{standby} is {standby.status()['standing']}")
    # When the standby's daemon comes back like that, then it is quarantined, and leaves the master where it is;
    standby.tell("kill")
    died = now()
    standby.daemon.kill()
    wait_away(died)
    standby.daemon.start()
    becomes(standby, "quarantined")
    alarm(standby, "config-unapplied", SITE)
    hold_for(0.5, "it stays there", lambda: standby.status()["standing"] == "quarantined")
    # and when Nginx is let load its files, then all is well.
    standby.reload_nginx()
    went_through_probation(standby, died)
    cleared(standby, "config-unapplied", "quarantined", "config-drift")
    cleared(master, "config-drift")
    lab.unmoved(since, seconds=0.2)
    nothing_lost(lab, since)
    lab.stays_with(master)
    return told


@scenario(38, "a change rolled out node by node: nobody is quarantined, nothing is lost but for the switchover", checks=(FATAL_NGINX,), **GATE)
def rolled_out(lab):
    # Given a cluster that serves,
    master, standby = lab.start()
    since = now()
    # when an operator changes the backup,
    standby.files.edit(OLD, NEW)
    standby.reload_nginx()
    alarm(master, "config-drift", standby.name)
    said = refused(lab.witness, "switchover", "web", "--to", standby.name)
    demand("--force" in said, f"the refusal: {said}")
    lab.unmoved(since, seconds=0.2)
    nothing_lost(lab, since)
    # hands over to it,
    account = switches(lab, standby, "--force", asked=master)
    alarm(standby, "config-drift", master.name)
    # and changes the old master,
    moved = now()
    master.files.edit(OLD, NEW)
    master.reload_nginx()
    # then all is well, nobody was ever quarantined, and the group can go back.
    for node in lab:
        cleared(node, "config-drift")
    lab.healthy()
    nothing_lost(lab, moved)
    demand(not quarantined(lab, since), f"quarantined: {quarantined(lab, since)}")
    switches(lab, master)
    lab.expect(moves={"web": [2, 2]})
    return account


@scenario(38, "a change rolled out over both nodes at once: nothing moves, nothing is lost", checks=(FATAL_NGINX,), **GATE)
def all_at_once(lab):
    # Given a cluster that serves,
    master, standby = lab.start()
    # when an operator changes both nodes at once, several times,
    since = now()
    for old, new in ((OLD, NEW), (NEW, OLD), (OLD, NEW)):
        for node in (master, standby):
            node.files.edit(old, new)
        for node in (master, standby):
            node.reload_nginx()
    # then all is well, nobody was quarantined, and users notice nothing.
    sets = lambda: [event for event in master.journal("reference-set", since=since) if event.get("by") == master.name]  # noqa: E731
    wait_until("the reference followed", sets)
    for node in lab:
        wait_until(f"{node} sees no difference", lambda n=node: all(peer.get("consistent") is not False for peer in n.status()["peers"]))
        cleared(node, "config-drift", "config-unapplied")
    lab.unmoved(since, seconds=1, interrupted_ms=100)
    nothing_lost(lab, since)
    demand(not quarantined(lab, since), f"quarantined: {quarantined(lab, since)}")
    lab.healthy()
    lab.stays_with(master)


@scenario(42, "maintenance: the master hands over first, the last one stays, and it comes back by probation", **GATE)
def maintenance(lab):
    # Given a cluster that serves,
    master, standby = lab.start()
    # when an operator takes the master out,
    since = now()
    done = lab.witness.command("maintenance", "on", "--node", master.name)
    demand(done.returncode == 0, f"maintenance on: exit {done.returncode}: {done.stderr}")
    # then it has handed over, and is out;
    account = lab.moved(to=standby, since=since, cause="switchover")
    lab.outage_below(lab.detection_ms, since=since - 1)
    becomes(master, "maintenance")
    # nobody takes the last one out, and nobody hands over to the one that is out;
    said = refused(standby, "maintenance", "on")
    refused(standby, "switchover", "web", "--to", master.name, "--force")
    # it stays out through a restart;
    out = now()
    master.tell("kill")
    master.daemon.kill()
    master.daemon.start()
    becomes(master, "maintenance")
    hold_for(0.5, "it stays out", lambda: master.status()["standing"] == "maintenance")
    lab.unmoved(out, seconds=0.2)
    # and when it is brought back after a while, it is on probation, and then ready.
    wait_away(out)
    back = now()
    done = master.command("maintenance", "off")
    demand(done.returncode == 0, f"maintenance off: exit {done.returncode}: {done.stderr}")
    went_through_probation(master, back)
    lab.unmoved(out, seconds=0.2)
    nothing_lost(lab, out)
    lab.healthy()
    return f"{account}; the last one: {said}"


@scenario(42, "in maintenance when the master dies: it does not lead", **GATE)
def out_when_the_master_dies(lab):
    # Given a standby in maintenance,
    master, standby = lab.start()
    demand(standby.command("maintenance", "on").returncode == 0, "maintenance on failed")
    becomes(standby, "maintenance")
    # when the master dies, then the standby does not lead,
    died = now()
    master.die()
    wait_until("no master is known", lambda: standby.group()["master"] is None)
    hold_for(1, "it does not lead", lambda: standby.group()["role"] != "master")
    demand(standby.command("status").returncode == 4, "status does not say that there is no master")
    # until it is brought back.
    demand(standby.command("maintenance", "off").returncode == 0, "maintenance off failed")
    return lab.moved(to=standby, since=died)


@scenario(42, "drift in service, and then the master dies: the drifted one leads, and it is journaled why", **GATE)
def drifted(lab):
    # Given a standby whose files were changed and loaded while it was in service,
    master, standby = lab.start()
    since = now()
    standby.files.edit(OLD, NEW)
    standby.reload_nginx()
    alarm(standby, "config-drift", standby.name)
    alarm(master, "config-drift", standby.name)
    lab.unmoved(since, seconds=0.5)
    demand(standby.status()["standing"] == "ready", f"{standby} is {standby.status()['standing']}")
    # when the master dies,
    died = now()
    master.die()
    # then it leads, its configuration is the reference from here on, and the journals say by what exception;
    account = lab.moved(to=standby, since=died, cause="master-crashed")
    lab.outage_below(2 * lab.detection_ms, since=died)
    demand(votes_by_exception(lab, standby, died) == {"drift"}, f"voted for by {votes_by_exception(lab, standby, died)}")
    cleared(standby, "config-drift")
    # and the old master is the one that differs when it comes back.
    wait_away(died)
    master.start()
    becomes(master, "quarantined")
    alarm(master, "quarantined", SITE)
    lab.harmless_from_now()
    return account
