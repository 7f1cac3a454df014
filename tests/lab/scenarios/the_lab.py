"""The lab itself: its gateway, its data plane and its metadata do what the other scenarios rely on. No daemon runs here."""
import json
import subprocess
import sys

from lab import demand, wait_until
from records import now
from scenarios import scenario
from topology import run
from world import PUBLIC, REPOSITORY

# One call from a node's place; prints what came of it.
ASK = """
import json, sys, time
sys.path.insert(0, sys.argv[1])
import ec2
ec2.DEADLINE_SECONDS = float(sys.argv[3])
began = time.monotonic()
try:
    root = ec2.Ec2("http://10.0.1.13:4566").call(**json.loads(sys.argv[2]))
    told = {"holder": root.findtext(".//networkInterfaceId") or None}
except ec2.Refused as refused:
    told = {"code": refused.code}
except OSError as error:
    told = {"code": "refused" if "refused" in str(error) else "reset" if "reset" in str(error) else "timeout"}
print(json.dumps({"code": None, "holder": None, **told, "took": time.monotonic() - began}))
"""


def ask(node, action, within=5, **parameters):
    command = ["ip", "netns", "exec", str(node), sys.executable, "-c", ASK, str(REPOSITORY / "localstack")]
    asked = subprocess.run([*command, json.dumps({"action": action, **parameters}), str(within)], capture_output=True, text=True, check=True)
    return json.loads(asked.stdout)


def associate(lab, node, within=5):
    ids = {"AllocationId": lab.world.allocations[PUBLIC[0]], "NetworkInterfaceId": lab.world.nodes[node.name]["interface"]}
    return ask(node, "AssociateAddress", within, AllowReassociation="true", **ids)


def describe(lab, node):
    return ask(node, "DescribeAddresses", **{"AllocationId.1": lab.world.allocations[PUBLIC[0]]})


@scenario("lab", "the gateway harms as it says", judged=False)
def gateway(lab):
    first, second = lab.balancers
    for node in lab.balancers:
        node.nginx.start()
    # An address that is associated is served there.
    demand(associate(lab, first)["code"] is None, "a call without any fault failed")
    lab.users.start()
    lab.users.served_by(first)
    # Faults that answer by themselves, of one node and one operation.
    for kind, code in (("5xx", "InternalError"), ("throttled", "RequestLimitExceeded"), ("denied", "UnauthorizedOperation")):
        with lab.cloud.fault(kind, node=second, operations="mutating"):
            demand(associate(lab, second)["code"] == code, f"{kind} does not answer {code}")
            demand(describe(lab, second)["code"] is None, f"{kind} harms other operations")
            demand(describe(lab, first)["code"] is None, f"{kind} harms another node")
    with lab.cloud.fault("latency", node=first, seconds=0.3):
        demand(describe(lab, first)["took"] >= 0.3 > describe(lab, second)["took"], "latency is not as long, or not only for one node")
    with lab.cloud.fault("throttled", times=1):
        demand([describe(lab, first)["code"] for _ in range(2)] == ["RequestLimitExceeded", None], "times=1 does not mean once")
    # Faults without an answer.
    with lab.cloud.fault("black-hole"):
        demand(associate(lab, second, within=0.2)["code"] == "timeout", "a black hole answers")
    lab.cloud.down(second)
    demand(describe(lab, second)["code"] == "refused", "an API that is down does not refuse")
    demand(describe(lab, first)["code"] is None, "an API that is down for one node is down for another")
    lab.cloud.up(second)
    demand(lab.cloud.holder() == first.name and len(lab.cloud.changes()) == 1, "a fault changed something")
    late_and_stale(lab, first, second)


def late_and_stale(lab, first, second):
    # Late: the caller knows nothing, then the call takes effect, and the data plane follows.
    with lab.cloud.fault("late", operations="mutating", seconds=0.6):
        sent = now()
        demand(associate(lab, second, within=0.2)["code"] == "timeout", "a late call is answered")
    demand(lab.cloud.holder() == first.name, "a late call takes effect at once")
    lab.cloud.all_landed()
    lab.users.served_by(second)
    call = lab.cloud.calls("AssociateAddress", since=sent)[0]
    demand(call["landed"] - call["arrived"] >= 0.6 and call["answered"] is None and call["fault"] == "late", f"recorded: {call}")
    # Stale: reads show the state of before.
    describe(lab, first)
    with lab.cloud.fault("stale", seconds=1):
        moved = now()
        lab.cloud.associate(first)
        old, new = (lab.world.nodes[node.name]["interface"] for node in (second, first))
        demand(describe(lab, first)["holder"] == old, "a stale read shows the present")
        wait_until("a stale read shows the move after its time", lambda: describe(lab, first)["holder"] == new, within=5)
        demand(now() - moved >= 1, "a stale read was stale for too short a time")
    moves = [(line["holder"], line["by"]) for line in lab.cloud.moves()]
    demand(moves == [("lb-a", "lb-a"), ("lb-b", "lb-b"), ("lb-a", "operator")], f"recorded: {moves}")


@scenario("lab", "secondary addresses need the cloud and the kernel", judged=False)
def secondary(lab):
    first, second = lab.balancers
    for node in lab.balancers:
        node.nginx.start()
    lab.users.start("10.0.1.50")
    # In the cloud alone it is not served,
    lab.cloud.assign(first, "10.0.1.50")
    demand(lab.cloud.holder("10.0.1.50") == first.name, "the cloud does not show the secondary address")
    lab.users.settled()
    demand(not any(line["server"] for line in lab.users.requests()), "an address that no kernel has is served")
    # in a kernel too it is,
    run("ip", "-n", first.name, "addr", "add", "10.0.1.50/32", "dev", "eth0")
    lab.users.served_by(first)
    # and the other kernel alone does not help.
    lab.cloud.assign(second, "10.0.1.50")
    since = now()
    lab.users.settled()
    demand(not any(line["server"] for line in lab.users.requests(since)), "an address is served by a node that the cloud does not show")
    run("ip", "-n", second.name, "addr", "add", "10.0.1.50/32", "dev", "eth0")
    lab.users.served_by(second)


@scenario("lab", "instance metadata as the cloud has it", judged=False)
def metadata(lab):
    node = lab["lb-a"]
    ids = lab.world.nodes[node.name]
    demand(fetch(node, "/latest/meta-data/instance-id", token=False) == "401", "a token is not needed")
    demand(fetch(node, "/latest/meta-data/instance-id") == ids["instance"], "the instance id differs")
    mac = fetch(node, "/latest/meta-data/mac")
    shown = json.loads(run("ip", "-n", node.name, "-j", "link", "show", "dev", "eth0"))[0]["address"]
    demand(mac == shown == ids["mac"], f"the kernel has {shown}, metadata {mac}, the cloud {ids['mac']}")
    path = f"/latest/meta-data/network/interfaces/macs/{mac}"
    demand(fetch(node, f"{path}/interface-id") == ids["interface"], "the interface differs")
    lab.cloud.associate(node)
    lab.cloud.assign(node, "10.0.1.50")
    wait_until("metadata shows the elastic IP", lambda: fetch(node, f"{path}/public-ipv4s") == PUBLIC[0])
    wait_until("metadata shows the secondary address", lambda: fetch(node, f"{path}/local-ipv4s").split() == ["10.0.1.10", "10.0.1.50"])
    role = fetch(node, "/latest/meta-data/iam/security-credentials/")
    node.credentials_last(60)
    one, other = (json.loads(fetch(node, f"/latest/meta-data/iam/security-credentials/{role}")) for _ in range(2))
    demand(one["AccessKeyId"] != other["AccessKeyId"], "credentials do not rotate")
    node.metadata_fault(status=503)
    demand(fetch(node, "/latest/meta-data/mac") == "503", "metadata does not fail")
    node.metadata_fault(stall=True)
    demand(fetch(node, "/latest/meta-data/mac") == "timeout", "metadata does not stall")


FETCH = """
import sys, urllib.request, urllib.error
def get(path, method="GET", **headers):
    request = urllib.request.Request("http://169.254.169.254" + path, method=method, headers=headers)
    return urllib.request.urlopen(request, timeout=0.5).read().decode()
try:
    token = get("/latest/api/token", "PUT", **{"X-aws-ec2-metadata-token-ttl-seconds": "60"}) if sys.argv[2] == "True" else "none"
    print(get(sys.argv[1], **{"X-aws-ec2-metadata-token": token}))
except urllib.error.HTTPError as error:
    print(error.code)
except OSError:
    print("timeout")
"""


def fetch(node, path, token=True):
    command = ["ip", "netns", "exec", node.name, sys.executable, "-c", FETCH, path, str(token)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
