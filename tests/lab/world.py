"""What one run of the lab has once: the namespaces, LocalStack with its resources, gateway, metadata and client."""
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import topology
from helper import Helper
from host import BALANCERS, Host
from processor import prefer
from waiting import Unmet, wait_until

REPOSITORY = Path(__file__).resolve().parents[2]
REGION = "eu-west-1"
PUBLIC = ("198.51.100.10", "198.51.100.11")
IMAGE = "ami-03cf127a"  # One that LocalStack knows.
# Secondary private addresses of each balancer, for elastic IPs that are bound to one: not there unless a scenario assigns them.
OWN_SECONDARY = {"lb-a": "10.0.1.20", "lb-b": "10.0.1.21"}


class World:
    """Built once; each scenario gets a clean one."""

    region = REGION

    def __init__(self, directory):
        self.directory = directory
        self.short = tempfile.TemporaryDirectory(prefix="vipward-lab-")  # A socket's path has at most 107 bytes.
        self.sockets = Path(self.short.name)
        self.binary = Path(os.environ.get("VIPWARD", REPOSITORY / "target/release/vipward")).resolve()
        self.key = directory / "cluster.key"
        self.key.touch(mode=0o600)
        self.key.write_text(subprocess.run([self.binary, "keygen"], capture_output=True, text=True, check=True).stdout, encoding="ascii")
        topology.build()
        self.localstack = self.start_localstack()
        self.helpers = []
        metadata_file = directory / "metadata.json"
        metadata_file.write_text("{}", encoding="ascii")
        self.client = self.helper("client", "client.py")
        self.imds = {name: self.helper(name, "imds.py", metadata_file) for name in BALANCERS}
        self.hosts = {name: Host(name, self.binary, self.imds.get(name)) for name in topology.MEMBERS}
        wait_until("LocalStack answers", self.localstack_answers, within=180)
        self.gateway = self.helper("api", "gateway.py", metadata_file)
        self.make_resources()

    def helper(self, namespace, program, *arguments):
        started = Helper(namespace, program, *arguments, log=self.directory / f"{program}-{namespace}.log")
        self.helpers.append(started)
        return started

    def start_localstack(self):
        environment = {**os.environ, "FILESYSTEM_ROOT": str(self.directory / "localstack"), "PORT": "4566"}
        with (self.directory / "localstack.log").open("wb") as log:
            command = ["ip", "netns", "exec", "api", str(REPOSITORY / "localstack/run"), "serve"]
            started = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment, start_new_session=True)
        prefer(started.pid)
        return started

    def localstack_answers(self):
        if self.localstack.poll() is not None:
            raise Unmet(f"LocalStack ended; see {self.directory / 'localstack.log'}")
        asked = subprocess.run(
            ["ip", "netns", "exec", "api", sys.executable, str(REPOSITORY / "localstack/ec2.py"), "health"], capture_output=True, check=False
        )
        return asked.returncode == 0

    def make_resources(self):
        """Two instances on the lab's machines and two elastic IPs, through the gateway: its record begins with the first scenario."""
        made = self.gateway.ask("resources", image=IMAGE, private={name: topology.link_address(name, 0) for name in BALANCERS}, public=PUBLIC)
        self.nodes = made["nodes"]  # name: {"instance", "interface", "mac"}
        self.allocations = dict(zip(PUBLIC, made["allocations"]))
        for name, ids in self.nodes.items():
            topology.set_mac(name, ids["mac"])

    def clean(self):
        """Nobody holds anything, nothing is harmed."""
        self.gateway.ask("clean")
        for name, imds in self.imds.items():
            imds.ask("reset", **self.nodes[name], region=REGION)

    def end(self):
        for host in self.hosts.values():
            for service in host.services() if host.daemon else ():
                service.kill()
        for helper in self.helpers:
            helper.end()
        self.localstack.kill()
        self.localstack.wait()
        self.short.cleanup()
