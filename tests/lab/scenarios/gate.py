"""Scenarios 31 to 33: a node that was away proves that its configuration is the cluster's before it may lead again.

Also the words of the other scenarios of the gate.
"""
import time

from configuration import CONSISTENCY, GATE_TIMING
from lab import demand, hold_for, wait_until
from records import now
from scenarios import scenario

GATE = {"consistency": CONSISTENCY, "timing": GATE_TIMING}
AWAY_SECONDS = 1.3  # Longer than restart_grace.
PROBATION_SECONDS = 1.5
SITE = "/etc/nginx/conf.d/site.conf"
OLD, NEW = "keepalive_timeout 60s;", "keepalive_timeout 90s;"


# --- words -----------------------------------------------------------------------------------------


def died_and_replaced(lab):
    """A cluster that serves loses its master, and is served by the other, for longer than restart_grace. Returns both, and an account."""
    master, standby = lab.start()
    died = now()
    master.die()
    account = lab.moved(to=standby, since=died, cause="master-crashed")
    time.sleep(max(died + AWAY_SECONDS - now(), 0))
    return master, standby, account


def comes_back_different(lab):
    """The same, and it comes back with other files. Returns both nodes, and when it came back."""
    absent, leader, _ = died_and_replaced(lab)
    absent.files.edit(OLD, NEW)
    back = now()
    absent.start()
    becomes(absent, "quarantined")
    alarm(absent, "quarantined", SITE)
    return absent, leader, back


def leads_with_its_files(leader):
    """The master's operator lets Nginx load what he changed; waits until that is the reference."""
    changed = now()
    leader.reload_nginx()
    wait_until(f"what {leader} has is the reference", lambda: leader.journal("reference-set", since=changed, by=leader.name))


def becomes(node, *standings):
    """Waits until the node has one of these standings."""
    return wait_until(f"{node} becomes {' or '.join(standings)}", lambda: is_one_of(node.status(), standings))


def is_one_of(status, standings):
    demand(status["standing"] in standings, f"it is {status['standing']}: {status['standing_reason']}")
    return status["standing"]


def stations(node, since):
    """The standings that the node came through, by its journal."""
    return [event["to"] for event in node.journal("standing-changed", since=since)]


def went_through_probation(node, since):
    """It came to Ready by a probation of the length that is configured."""
    becomes(node, "ready")
    wait_until(f"{node}'s journal tells", lambda: stations(node, since)[-1:] == ["ready"])
    changes = node.journal("standing-changed", since=since)
    demand([change["to"] for change in changes[-2:]] == ["probation", "ready"], f"{node} came to Ready by {changes}")
    lasted = changes[-1]["boottime"] - changes[-2]["boottime"]
    demand(lasted >= PROBATION_SECONDS - 0.01, f"{node} was on probation for {lasted:.2f} s")


def alarm(node, name, *words):
    """Waits until the node has an alarm that speaks of these words."""

    def raised():
        messages = [alarm["message"] for alarm in node.status()["alarms"] if alarm["name"] == name]
        demand(messages, f"its alarms are {node.alarms()}")
        demand(all(word in messages[0] for word in words), f"it says: {messages[0]}")
        return messages[0]

    return wait_until(f"{node} raises {name} for {' and '.join(words)}", raised)


def cleared(node, *names):
    wait_until(f"{node} has no alarm {' or '.join(names)}", lambda: not node.alarms() & set(names))


def switches(lab, to, *options, cause="switchover", asked=None):
    """`vipward switchover` to a node, and what moved for it."""
    since = now()
    if "--force" in options:
        lab.truth.overridden(to, "forced")
    done = (asked or lab.witness).command("switchover", "web", "--to", to.name, *options)
    demand(done.returncode == 0, f"switchover to {to}: exit {done.returncode}: {done.stdout}{done.stderr}")
    account = lab.moved(to=to, since=since, cause=cause)
    lab.outage_below(lab.detection_ms, since=since - 1)
    return account


def refused(asked, *words):
    """The one line in which a command is refused."""
    done = asked.command(*words)
    lines = done.stderr.strip().splitlines()
    demand(done.returncode == 1 and len(lines) == 1, f"{' '.join(words)}: exit {done.returncode}: {done.stdout}{done.stderr}")
    return lines[0]


def admits(lab, asked, node):
    lab.truth.overridden(node, "admitted")
    done = asked.command("admit", node.name)
    demand(done.returncode == 0, f"admit {node}: exit {done.returncode}: {done.stdout}{done.stderr}")


def nobody_leads(node, seconds=1.5):
    """The node knows of no master, its status says so and why, and so it stays."""
    wait_until("no master is known", lambda: node.group()["master"] is None)
    told = alarm(node, "no-candidate", "nobody may lead", "quarantined", SITE)
    hold_for(seconds, "nobody leads", lambda: node.group()["master"] is None and node.group()["role"] != "master")
    done = node.command("status")
    demand(done.returncode == 4, f"status without a master: exit {done.returncode}")
    demand("nobody may lead" in done.stdout, f"status does not say why:\n{done.stdout}")
    return told


def nothing_lost(lab, since):
    """Of the gate itself users notice nothing."""
    lab.users.settled()
    lost = lab.users.lost(since)
    demand(not lost, f"{len(lost)} requests were lost: {lost[:3]}")


def votes_by_exception(lab, node, since):
    """For what exceptions the node was voted for, by the others' journals."""
    return {vote.get("exception") for other in lab for vote in other.journal("vote-granted", since=since, candidate=node.name)}


# --- scenarios -------------------------------------------------------------------------------------


@scenario(31, "back with the same configuration: probation, ready, may lead", **GATE)
def rejoin_equal(lab):
    # Given a master that died and was replaced,
    absent, leader, _ = died_and_replaced(lab)
    # when it comes back as it was,
    back = now()
    absent.start()
    # then it is on probation, and not handed over to;
    becomes(absent, "probation")
    said = refused(lab.witness, "switchover", "web", "--to", absent.name)
    went_through_probation(absent, back)
    demand(stations(absent, back) == ["probation", "ready"], f"it went through {stations(absent, back)}")
    lab.unmoved(back, seconds=0.5)
    nothing_lost(lab, back)
    # and then it may lead.
    lab.healthy()
    account = switches(lab, absent)
    lab.expect(moves={"web": [2, 2]})
    return f"{said}; then {account}"


@scenario(32, "back with another configuration: quarantined, explained, put right", **GATE)
def rejoin_different(lab):
    # Given a node that comes back with other files than the cluster's,
    absent, leader, back = comes_back_different(lab)
    # then its alarm and its status name the entry and what to do,
    told = alarm(absent, "quarantined", SITE)
    reason = absent.status()["standing_reason"]
    for word in (SITE, f"vipward diff {leader}", f"vipward admit {absent}"):
        demand(word in reason, f"standing_reason does not speak of {word!r}: {reason}")
    # `vipward diff` shows the line, on either side,
    for asked, other in ((absent, leader), (leader, absent)):
        done = asked.command("diff", other.name)
        shown = [line[0] for line in done.stdout.splitlines() if "keepalive_timeout" in line]
        demand(sorted(shown) == ["+", "-"] and SITE in done.stdout, f"diff at {asked}: exit {done.returncode}:\n{done.stdout}{done.stderr}")
    # nobody hands over to it, forced or not,
    for options in ((), ("--force",)):
        said = refused(lab.witness, "switchover", "web", "--to", absent.name, *options)
        demand(absent.name in said, f"the refusal: {said}")
    # and users notice nothing.
    lab.unmoved(back, seconds=0.5)
    # When the file is put right, but not loaded, nothing changes; when it is loaded,
    absent.files.edit(NEW, OLD)
    alarm(absent, "config-unapplied", SITE)
    hold_for(0.5, f"{absent} stays where it is", lambda: absent.status()["standing"] == "quarantined")
    absent.reload_nginx()
    # then it goes through probation and is ready.
    went_through_probation(absent, back)
    demand(stations(absent, back) == ["quarantined", "probation", "ready"], f"it went through {stations(absent, back)}")
    cleared(absent, "quarantined", "config-unapplied")
    cleared(leader, "config-drift")
    lab.unmoved(back, seconds=0.5)
    nothing_lost(lab, back)
    return told


@scenario(33, "the quarantined node is left alone: nobody leads until it is admitted", **GATE)
def left_alone(lab):
    # Given a quarantined node,
    absent, leader, _ = comes_back_different(lab)
    # when the master dies,
    died = now()
    leader.die()
    # then nobody leads, and it is said why;
    told = nobody_leads(absent)
    demand(not absent.elections_won(died), f"{absent} was elected")
    # when an operator admits it, at any node, then it leads.
    admits(lab, lab.witness, absent)
    lab.moved(to=absent, since=died)
    demand(votes_by_exception(lab, absent, died) == {"admitted"}, f"voted for by {votes_by_exception(lab, absent, died)}")
    cleared(absent, "no-candidate", "quarantined")
    lab.expect(moves={"web": [2, 2]})
    return told


@scenario(33, "the quarantined node is left alone: the old master comes back and leads", **GATE)
def left_alone_until_the_other_is_back(lab):
    # Given a quarantined node, and a master that died,
    absent, leader, _ = comes_back_different(lab)
    died = now()
    leader.die()
    nobody_leads(absent)
    # when the old master comes back, then it leads, as it did.
    leader.start()
    wait_until(f"{leader} leads", lambda: leader.elections_won(died))
    wait_until(f"{leader} owns its address", lambda: leader.group()["addresses"][0]["ownership"] == "owned")
    lab.users.served_by(leader)
    lab.stays_with(leader)
    demand(absent.status()["standing"] == "quarantined", f"{absent} is {absent.status()['standing']}")
    cleared(absent, "no-candidate")


@scenario(33, "the quarantined node is left alone: last_resort lets it lead", consistency={**CONSISTENCY, "last_resort": True}, timing=GATE_TIMING)
def last_resort(lab):
    # Given a quarantined node in a cluster that allows it as the last resort,
    absent, leader, back = comes_back_different(lab)
    lab.unmoved(back, seconds=1)
    # when the master dies, then it leads.
    died = now()
    leader.die()
    account = lab.moved(to=absent, since=died, cause="master-crashed")
    demand(votes_by_exception(lab, absent, died) == {"last-resort"}, f"voted for by {votes_by_exception(lab, absent, died)}")
    lab.expect(moves={"web": [2, 2]})
    return account
