"""What the lab's scenarios are made of: a LocalStack, three daemons, and waiting for conditions. Python's standard library alone.

Nothing here asks a daemon whether all is well and believes it: where the address is, and how often it was moved, comes from LocalStack.
"""
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "localstack"))
from ec2 import Ec2, health  # noqa: E402

BINARY = Path(os.environ.get("VIPWARD", REPOSITORY / "target/release/vipward")).resolve()
GROUP = "web"
BALANCERS = ("lb-a", "lb-b")
NODES = (*BALANCERS, "witness")

# Generous on purpose: a deadline is for a machine that is busy with other things, a condition for one that works.
DEADLINE_SECONDS = 60
POLL_SECONDS = 0.02


class Unmet(Exception):
    """A condition that did not come true."""


def wait_until(what, condition, within=DEADLINE_SECONDS):
    """Returns what `condition` returns as soon as that is true; the reasons it gives for "not yet" (as `Unmet`) go into the failure."""
    deadline = time.monotonic() + within
    reason = ""
    while time.monotonic() < deadline:
        try:
            if found := condition():
                return found
        except Unmet as unmet:
            reason = f": {unmet}"
        time.sleep(POLL_SECONDS)
    raise Unmet(f"{what}: not within {within} s{reason}")


def hold_for(seconds, what, condition):
    """Checks that `condition` stays true all the time: the only way to see that something does not happen."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        demand(condition(), f"{what}: not for {seconds} s")
        time.sleep(POLL_SECONDS)


def demand(condition, sentence):
    if not condition:
        raise Unmet(sentence)


class Cloud:
    """A LocalStack with two instances and an elastic IP."""

    def __init__(self, directory):
        self.log = directory / "localstack.log"
        environment = {**os.environ, "FILESYSTEM_ROOT": str(directory / "localstack")}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [REPOSITORY / "localstack/run", "serve"], stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment
            )
        wait_until("LocalStack answers", self.answers, within=180)
        made = subprocess.run([REPOSITORY / "localstack/resources", "--json"], check=True, capture_output=True, text=True)
        self.made = json.loads(made.stdout)
        self.ec2 = Ec2(self.made["endpoint"], self.made["region"])

    def answers(self):
        demand(self.process.poll() is None, f"LocalStack ended; see {self.log}")
        try:
            return health()
        except OSError as error:
            raise Unmet(str(error)) from error

    def association(self):
        """The id of the address's association and the node that it leads to, or `(None, None)`."""
        association, instance, interface = self.ec2.address(self.made["address"]["allocation_id"])
        for name in BALANCERS:
            if (instance, interface) == (self.made[name]["instance_id"], self.made[name]["network_interface_id"]):
                return association, name
        demand(association is None, f"the address is at {instance} {interface}, which is no node")
        return None, None

    def holder(self):
        return self.association()[1]

    def changes(self):
        """How many calls have changed the association since LocalStack started, by its own request log."""
        return len(re.findall(r"AWS ec2\.(?:Dis)?[Aa]ssociateAddress => 200", self.log.read_text(errors="replace")))


class Node:
    """One daemon, its configuration file, its journal and its log."""

    def __init__(self, cluster, name, configuration):
        self.name = name
        self.socket = cluster.sockets / f"{name}.sock"
        self.config = cluster.directory / f"{name}.toml"
        self.log = cluster.directory / f"{name}.log"
        self.state = cluster.directory / f"{name}.state"
        self.state.mkdir(mode=0o700)
        port = 7501 + NODES.index(name)
        self.config.write_text(
            f'node = "{name}"\n{configuration}\n'
            f'[admin]\nsocket = "{self.socket}"\nlisten = "127.0.0.1:{port}"\n'
            f'[state]\ndirectory = "{self.state}"\n'
            '[telemetry]\nlog = "text"\n'
        )
        self.process = None

    def start(self):
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [BINARY, "run", "--config", self.config, "--node", self.name], stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )

    def running(self):
        return self.process is not None and self.process.poll() is None

    def send(self, number):
        self.process.send_signal(number)

    def kill(self):
        self.send(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        """Stops it as systemd would, and returns its exit code."""
        self.send(signal.SIGTERM)
        wait_until(f"{self.name} stops on SIGTERM", lambda: not self.running())
        return self.process.returncode

    def command(self, *arguments):
        """Runs a command that asks this daemon."""
        return vipward(*arguments, "--socket", self.socket)

    def status(self):
        answer = self.command("status", "--json")
        demand(answer.returncode in (0, 4), f"{self.name}: vipward status exited with {answer.returncode}: {answer.stderr.strip()}")
        try:
            return json.loads(answer.stdout)
        except ValueError as error:
            raise Unmet(f"{self.name}: vipward status printed no JSON document: {answer.stdout[:200]!r}") from error

    def group(self):
        return next(group for group in self.status()["groups"] if group["name"] == GROUP)

    def journal(self):
        """Every event so far. A last line that is still being written is left out."""
        path = self.state / "journal.jsonl"
        lines = path.read_text().split("\n")[:-1] if path.exists() else []
        return [json.loads(line) for line in lines]

    def claims(self):
        """The calls that gave the address to this node, as its journal tells."""
        return [
            event
            for event in self.journal()
            if event["event"] == "call-finished" and event["operation"] == "AssociateAddress" and event["outcome"] == "ok"
        ]

    def elections_won(self):
        return [event for event in self.journal() if event["event"] == "role-changed" and event["to"] == "master"]


class Cluster:
    """Two balancers and a witness on loopback, two links each, and their cloud."""

    def __init__(self, directory):
        self.directory = directory
        self.short = tempfile.TemporaryDirectory(prefix="vipward-lab-")  # A socket's path has at most 107 bytes.
        self.sockets = Path(self.short.name)
        self.cloud = Cloud(directory)
        key = directory / "cluster.key"
        key.touch(mode=0o600)
        key.write_text(vipward("keygen", check=True).stdout)
        configuration = self.configuration(key)
        self.nodes = {name: Node(self, name, configuration) for name in NODES}

    def __getitem__(self, name):
        return self.nodes[name]

    def __iter__(self):
        return iter(self.nodes.values())

    def configuration(self, key):
        """The part that is the same on every node."""
        lines = ['cluster = "lab"', "[security]", f'key_file = "{key}"']
        for number, name in enumerate(NODES):
            lines += ["[[nodes]]", f'name = "{name}"', f'links = ["127.0.1.1{number}:7400", "127.0.2.1{number}:7400"]']
            if name in BALANCERS:
                made = self.cloud.made[name]
                lines += [f'instance_id = "{made["instance_id"]}"', f'network_interface_id = "{made["network_interface_id"]}"']
            else:
                lines += ['role = "witness"']
        lines += ["[[groups]]", f'name = "{GROUP}"', "priority = { lb-a = 200, lb-b = 100 }"]
        lines += [f'addresses = [{{ kind = "elastic-ip", allocation_id = "{self.cloud.made["address"]["allocation_id"]}" }}]']
        lines += ["[cloud]", 'provider = "aws"', f'region = "{self.cloud.made["region"]}"', f'endpoint_url = "{self.cloud.made["endpoint"]}"']
        return "\n".join(lines)

    def start(self, *names):
        for name in names or NODES:
            if not self[name].running():
                self[name].start()

    def end(self):
        """Ends everything; what they wrote stays, but for the sockets."""
        for process in (*(node.process for node in self if node.running()), self.cloud.process):
            process.kill()
            process.wait()
        self.short.cleanup()

    def recover(self):
        """After a scenario that failed half-way: all three run again."""
        for node in self:
            if node.running():
                node.send(signal.SIGCONT)
        self.start()

    def healthy(self):
        """Waits until all three are well and agree; returns the master and the standby."""
        master = wait_until("the cluster is healthy", self.master_if_healthy)
        standby = next(self[name] for name in BALANCERS if name != master)
        return self[master], standby

    def master_if_healthy(self):
        masters = set()
        for node in self:
            demand(node.running(), f"{node.name} does not run; see {node.log}")
            status = node.status()
            demand(status["standing"] == "ready" or node.name == "witness", f"{node.name} is {status['standing']}")
            demand(status["preflight"]["ok"], f"{node.name}: preflight: {status['preflight']['problems']}")
            for peer in status["peers"]:
                demand(all(link["up"] for link in peer["links"]), f"{node.name} does not hear {peer['name']} on every link")
            masters.update(group["master"] for group in status["groups"])
        demand(len(masters) == 1 and None not in masters, f"the nodes name as master: {masters}")
        master = masters.pop()
        group = self[master].group()
        demand(group["role"] == "master", f"{master} is {group['role']}")
        demand(all(address["ownership"] == "owned" for address in group["addresses"]), f"{master}: {group['addresses']}")
        demand(self.cloud.holder() == master, f"LocalStack shows the address at {self.cloud.holder()}, the master is {master}")
        return master


def vipward(*arguments, check=False):
    return subprocess.run([BINARY, *arguments], capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=check)


def fresh_directory():
    """Where this run's files go: kept, so that a failure can be looked into."""
    directory = REPOSITORY / "target/test-logs/lab"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    return directory
