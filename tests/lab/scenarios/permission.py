"""Scenarios 17 and 18: a node that the cloud does not let act, and one whose source of credentials is down."""
import subprocess
import sys

from lab import demand, wait_until
from records import now
from scenarios import scenario

# In place of six hours. The daemon renews at half of what is left, so that they are good for 4 to 8 s when metadata goes down.
SHORT_LIFE_SECONDS = 8
LONG_LIFE_SECONDS = 6 * 3600
# How AWS answers calls with credentials that have ended. LocalStack looks at none, so the gateway answers for it.
EXPIRED = {"kind": "denied", "status": 400, "code": "RequestExpired"}
# The only door with `/readyz` is one of the node's own addresses. Prints the status and the text.
ASK_READYZ = """
import urllib.error, urllib.request
try:
    answer = urllib.request.urlopen("http://127.0.0.1:7401/readyz", timeout=5)
except urllib.error.HTTPError as refused:
    answer = refused
print(answer.status, answer.read().decode())
"""


@scenario(17, "standby without permission: seen before, stands all the same, told", metadata=True)
def standby_without_permission(lab):
    # Given a standby whose role does not permit the calls of a takeover,
    master, standby = lab["lb-a"], lab["lb-b"]
    denied = lab.cloud.fault("denied", node=standby, operations="mutating")
    serve_from(lab, master)
    # then that is seen before any failure, with the remedy;
    wait_until("the standby says what it lacks", lambda: warns(standby, "allow ec2:AssociateAddress to this node's role"))
    # when the master's host dies, it stands all the same, since nobody better is left: the claim is denied, and that is told;
    dead = now()
    master.die()
    wait_until("the claim is denied", lambda: standby.journal("call-finished", since=dead, operation="AssociateAddress", outcome="denied"))
    demand(standby.elections_won(since=dead)[-1]["cause"] == "master-crashed", f"{standby.elections_won(since=dead)}")
    wait_until("there is an alarm", lambda: "claim-failing" in standby.alarms())
    demand(lab.cloud.holder() == master.name and not lab.cloud.changes(since=dead), "something was changed without a permission")
    # and when the permission is given, the address arrives, and the alarms end.
    given = now()
    denied.heal()
    account = lab.moved(to=standby, since=dead, cause="master-crashed")
    lab.harmless_from_now()
    arrived = lab.cloud.moves(since=given)[0]["at"] - given
    demand(arrived < 3, f"the address came {arrived:.1f} s after the permission; retries are at most 2 s apart")
    wait_until("all is well", lambda: is_well(standby, besides={"redundancy-lost"}))
    return f"{account}; {arrived * 1000:.0f} ms after the permission"


@scenario(18, "metadata down: ids and credentials are kept, a failover works", metadata=True)
def metadata_down(lab):
    # Given a cluster that knows all of itself from instance metadata,
    master, standby = lab.start()
    # when metadata answers no more on any balancer,
    since = now()
    for node in lab.balancers:
        node.metadata_fault(stall=True)
    # then nothing moves, and a standby that tries its calls finds that it could still take over;
    lab.unmoved(since)
    tried = checks(standby)
    demand(tried.returncode == 0, f"{standby} could not take over: {tried.stderr}")
    demand(credentials_left(standby) > 3600, "the metric does not show how long the credentials are still good")
    # when the master's host dies, the standby has the address after one call;
    dead = now()
    master.die()
    account = lab.moved(to=standby, since=dead, cause="master-crashed")
    lab.outage_below(3 * lab.detection_ms, since=dead - 1)
    # and a host that starts meanwhile says what it does not know, and is well when metadata is back.
    master.start()
    wait_until("the host that started says what it does not know", lambda: warns(master, "instance metadata"), within=60)
    for node in lab.balancers:
        node.metadata_fault()
    lab.harmless_from_now()
    wait_until("all are well", lambda: all(is_well(node) for node in lab.balancers), within=60)
    return account


@scenario(18, "metadata down until the credentials have ended: told, and recovered", metadata=True)
def credentials_end(lab):
    # Given a cluster with short-lived credentials,
    for node in lab.balancers:
        node.credentials_last(SHORT_LIFE_SECONDS)
    master, standby = lab.start()
    # when metadata is down for longer than they last (ten minutes and more of a real outage: only their life is shortened here),
    down = now()
    for node in lab.balancers:
        node.metadata_fault(status=500)
    wait_until("the credentials end", lambda: all(credentials_left(node) <= 0 for node in lab.balancers))
    ended = lab.cloud.fault(**EXPIRED)
    # then nothing moves, and every node says that it could not take over, and why;
    for node in lab.balancers:
        checks(node)  # Else it tries within a minute.
        wait_until(f"{node} says that its credentials have ended", lambda n=node: warns(n, "credentials (RequestExpired)"))
    lab.unmoved(since=down)
    # when the master's host dies, the standby stands all the same, and says that its claim is denied;
    dead = now()
    master.die()
    wait_until("the claim is denied", lambda: standby.journal("call-finished", since=dead, outcome="denied", detail="RequestExpired"))
    wait_until("there is an alarm", lambda: "claim-failing" in standby.alarms())
    # and when metadata is back, so is the service.
    back = now()
    for node in lab.balancers:
        node.credentials_last(LONG_LIFE_SECONDS)
        node.metadata_fault()
    wait_until("the standby has new credentials", lambda: credentials_left(standby) > 3600)
    ended.heal()
    account = lab.moved(to=standby, since=dead, cause="master-crashed")
    lab.harmless_from_now()
    wait_until("all is well", lambda: is_well(standby, besides={"redundancy-lost"}))
    return f"{account}; metadata down for {back - down:.0f} s, served {lab.cloud.moves(since=back)[0]['at'] - back:.1f} s after it was back"


def serve_from(lab, master):
    """Starts the other balancer when this one leads, and the users; `lab.start` would wait until all are well."""
    for host in (lab.witness, master):
        host.start()
    wait_until(f"{master} leads", lambda: leads(lab, master))
    for host in lab.balancers:
        host.start()
    lab.users.start()
    lab.users.served_by(master)


def leads(lab, master):
    lab.demand_owned("web", master.name)
    return True


def warns(node, sentence):
    """Preflight, `/readyz` and alarm say that the node could not take over, and why; so do the metrics."""
    status, sentence = node.status(), sentence.lower()
    problems = " ".join(status["preflight"]["problems"]).lower()
    demand(not status["preflight"]["ok"] and sentence in problems, f"{node}: preflight: {status['preflight']}")
    code, text = readiness(node)
    demand(code == 503 and sentence in text.lower(), f"{node}: /readyz says {code} {text!r}")
    alarm = next((alarm["message"] for alarm in status["alarms"] if alarm["name"] == "preflight"), "")
    demand(sentence in alarm.lower(), f"{node}: alarms: {status['alarms']}")
    return node.metric("vipward_preflight_ok") == 0 and node.metric('vipward_alarm{name="preflight"}') == 1


def is_well(node, besides=frozenset()):
    """No alarm but those expected, `/readyz` is 200, and the metrics agree."""
    alarms = node.alarms() - besides
    demand(not alarms, f"{node}: alarms: {alarms}")
    code, text = readiness(node)
    demand(code == 200, f"{node}: /readyz says {code} {text!r}")
    return node.metric("vipward_preflight_ok") == 1 and node.metric('vipward_alarm{name="preflight"}') == 0


def readiness(node):
    """Status and text of `/readyz`, asked from the node's own place."""
    command = ["ip", "netns", "exec", node.name, sys.executable, "-c", ASK_READYZ]
    asked = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    demand(asked.returncode == 0, f"{node} does not answer /readyz: {asked.stderr[-200:]}")
    code, _, text = asked.stdout.partition(" ")
    return int(code), text.strip()


def credentials_left(node):
    """Seconds, as the metric shows them."""
    name = "vipward_credentials_expiry_seconds"
    demand(name in node.get("/metrics"), f"{node} does not show how long its credentials last")
    return node.metric(name)


def checks(node):
    """`vipward check --cloud` beside the daemon: it tries the calls of a takeover now."""
    command = [node.binary, "check", "--config", node.config, "--node", node.name, "--cloud"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
