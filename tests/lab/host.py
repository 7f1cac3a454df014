"""One machine of the cluster: its daemon, its Nginx (on a balancer), its links, its metadata; and all that can befall them."""
import contextlib
import datetime
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

from balancer import CONFIGURATION, Files
from processor import prefer
from records import now, read_lines
from topology import API, Filter, link_address, run
from waiting import Unmet, demand, wait_until

BALANCERS = ("lb-a", "lb-b")
LINK_PORT = 7400
# Nothing of this machine's own configuration reaches a daemon.
CLEAN = {"PATH": os.environ["PATH"], "AWS_CONFIG_FILE": "/nonexistent", "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent", "RUST_BACKTRACE": "1"}
CLEAN |= {key: os.environ[key] for key in ("VIPWARD_MUTATION",) if key in os.environ}  # tests/lab/teeth


class Service:
    """One process group in a host's namespace, started and ended any number of times."""

    def __init__(self, host, what, command):
        self.host, self.what, self.command = host, what, command
        self.process = None
        self.environment = {}
        self.wrap = []  # For example ["faketime", "-f", "+1h"]

    def start(self):
        demand(not self.running(), f"{self.host.name}: {self.what} runs already")
        command = ["ip", "netns", "exec", self.host.name, *self.wrap, *map(str, self.command)]
        with (self.host.directory / ("log" if self.what == "vipward" else f"{self.what}.out")).open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
                env={**CLEAN, **self.environment},
            )  # fmt: skip
        prefer(self.process.pid)
        self.tell("started", self.process.pid, None)
        threading.Thread(target=self.reap, args=(self.process,), daemon=True).start()

    def reap(self, process):
        code = process.wait()
        self.tell("killed" if code == -signal.SIGKILL else "exited", process.pid, code)

    def tell(self, what, pid, code):
        if self.what == "vipward":
            self.host.processes.write(at=now(), node=self.host.name, what=what, pid=pid, code=code)

    def running(self):
        return self.process is not None and self.process.poll() is None

    def send(self, number):
        """A signal to all of it; it may just be ending."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def send_to_master(self, number):
        """A signal to the first process alone."""
        os.kill(self.process.pid, number)

    def kill(self):
        """SIGKILL to all of it; returns when it is gone."""
        if self.running():
            self.send(signal.SIGKILL)
            self.process.wait()

    def stop(self, number=signal.SIGTERM):
        """Stops it as systemd would, waits for its end, and returns its exit code."""
        self.send_to_master(number)
        wait_until(f"{self.host.name}: {self.what} stops on {signal.Signals(number).name}", lambda: not self.running())
        return self.process.returncode


class Host:
    """One node."""

    def __init__(self, name, binary, imds=None):
        self.name, self.binary, self.imds = name, binary, imds
        self.filter = Filter(name)
        self.daemon = self.nginx = self.files = self.directory = self.processes = self.faults = None

    def __repr__(self):
        return self.name

    # --- for the runner ------------------------------------------------------------------------

    def prepare(self, directory, sockets, configuration, environment, faults, processes):
        """A fresh machine: its files, its processes, not started yet."""
        self.directory, self.faults, self.processes = directory / self.name, faults, processes
        self.directory.mkdir(mode=0o700)
        self.state = self.directory / "state"
        self.state.mkdir(mode=0o700)
        self.socket = sockets / f"{self.name}.sock"
        self.config = self.directory / "vipward.toml"
        own = f'[admin]\nsocket = "{self.socket}"\nlisten = "127.0.0.1:7401"\n[state]\ndirectory = "{self.state}"\n[telemetry]\nlog = "text"\n'
        self.config.write_text(f'node = "{self.name}"\n{configuration}{own}', encoding="utf-8")
        self.daemon = Service(self, "vipward", [self.binary, "run", "--config", self.config, "--node", self.name])
        self.daemon.environment = dict(environment)
        self.nginx = None
        if self.name in BALANCERS:
            self.files = Files(self.name, self.directory)
            self.nginx = Service(self, "nginx", ["nginx", "-c", CONFIGURATION / "nginx.conf", "-e", CONFIGURATION / "run/nginx.log"])

    def end(self):
        """Nothing of it runs any more; its journal is kept where the judge looks."""
        for service in self.services():
            service.kill()
        self.filter.clear()
        for path in self.state.glob("journal*"):
            shutil.copy(path, self.directory / path.name)
        if self.name in BALANCERS:
            shown = json.loads(run("ip", "-n", self.name, "-j", "-4", "addr", "show", "dev", "eth0"))
            extra = [a["local"] for i in shown for a in i["addr_info"] if a["local"] != link_address(self.name, 0)]
            for address in extra:
                run("ip", "-n", self.name, "addr", "del", f"{address}/32", "dev", "eth0")

    def services(self):
        return [service for service in (self.daemon, self.nginx) if service]

    def tell(self, fault, on=True, **detail):
        self.faults.write(at=now(), fault=fault, node=self.name, on=on, detail=detail)

    # --- what befalls it -----------------------------------------------------------------------

    def start(self):
        """Whatever of it does not run."""
        for service in reversed(self.services()):
            if not service.running():
                service.start()

    def die(self):
        """Its power is cut: daemon and Nginx are killed at once."""
        self.tell("kill")
        for service in self.services():
            if service.running():
                service.send(signal.SIGKILL)
        for service in self.services():
            service.kill()

    def stop(self):
        """SIGTERM to the daemon alone; returns its exit code when it has ended."""
        self.tell("stop")
        return self.daemon.stop()

    def freeze(self):
        """All of it stands still; its kernel still accepts connections."""
        self.tell("freeze")
        for service in self.services():
            if service.running():
                service.send(signal.SIGSTOP)

    def thaw(self):
        self.tell("freeze", on=False)
        for service in self.services():
            if service.running():
                service.send(signal.SIGCONT)

    def stop_nginx(self):
        self.tell("nginx-stop")
        self.nginx.kill()

    def start_nginx(self):
        self.nginx.start()
        self.tell("nginx-stop", on=False)

    def reload_nginx(self):
        """Its operator lets Nginx load what is on disk; returns when a worker runs with it."""
        loads = self.files.loads()
        self.nginx.send_to_master(signal.SIGHUP)
        wait_until(f"{self.name}: Nginx loads its files", lambda: self.files.loads() > loads)

    def cut(self, *links):
        """Nothing comes or goes on these links; on none at all when none is named (no clients, no API either)."""
        for link in links or (0, 1):
            self.tell("cut", link=link)
            self.filter.add(("cut", link), into=[f'iifname "eth{link}" drop'], out=[f'oifname "eth{link}" drop'])

    def cut_calls_to(self, peer, *links):
        """This node's requests to a peer are lost, the peer's to this one are not: dropped by destination port, not by address."""
        for link in links or (0, 1):
            self.tell("one-way", to=peer.name, link=link)
            rule = f"ip daddr {link_address(peer.name, link)} tcp dport {LINK_PORT} drop"
            self.filter.add(("one-way", peer.name, link), out=[rule])

    def cut_from(self, peer, *links):
        """Nothing passes between this node and that peer, in either direction; everything else does."""
        for link in links or (0, 1):
            self.tell("cut", peer=peer.name, link=link)
            address = link_address(peer.name, link)
            self.filter.add(("peer", peer.name, link), into=[f"ip saddr {address} drop"], out=[f"ip daddr {address} drop"])

    def cut_from_api(self):
        """Its packets to the EC2 API are lost."""
        self.tell("cut", to="api")
        self.filter.add("api", out=[f"ip daddr {API} drop"])

    def heal(self):
        """All cuts of this node end."""
        self.filter.clear()
        self.tell("cut", on=False)

    def metadata_fault(self, **fault):
        """Of its instance metadata: stall=True (never answers), status=500, seconds=2 (late); nothing heals."""
        self.tell("metadata", on=bool(fault), **fault)
        self.imds.ask("fault", **fault)

    def credentials_last(self, seconds):
        """The life of credentials handed out from now on; less than nothing: they have expired already."""
        self.tell("metadata", credentials_seconds=seconds)
        self.imds.ask("life", seconds=seconds)

    # --- what it says --------------------------------------------------------------------------

    def running(self):
        return self.daemon.running()

    def command(self, *arguments, within=60):
        """Runs `vipward ARGUMENTS` against this node's daemon."""
        command = [self.binary, *arguments, "--socket", self.socket]
        return subprocess.run(command, capture_output=True, text=True, timeout=within, check=False, env=CLEAN)

    def get(self, path):
        """One document from the operators' socket. Raises `Unmet` while nobody answers."""
        connection = http.client.HTTPConnection("localhost", timeout=5)
        try:
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.settimeout(5)
            connection.sock.connect(str(self.socket))
            connection.request("GET", path)
            return connection.getresponse().read().decode()
        except (OSError, http.client.HTTPException) as error:
            raise Unmet(f"{self.name} does not answer {path}: {error!r}") from error
        finally:
            connection.close()

    def status(self):
        return json.loads(self.get("/v1/status"))

    def group(self, name="web"):
        return next(group for group in self.status()["groups"] if group["name"] == name)

    def metric(self, line):
        """The value of one series as /metrics writes it, for example 'vipward_term{group="web"}'; 0 if it is not there."""
        for text in self.get("/metrics").splitlines():
            if text.startswith(line + " "):
                return float(text.rpartition(" ")[2])
        return 0.0

    def alarms(self):
        return {alarm["name"] for alarm in self.status()["alarms"]}

    def rss_mib(self):
        """Resident memory of its daemon."""
        pages = int(Path(f"/proc/{self.daemon.process.pid}/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    def journal(self, event=None, since=0, **fields):
        """Its events so far, in order, of one kind and with these fields; each has `boottime` beside `at`. Rotated files included."""
        found = []
        paths = sorted(self.state.glob("journal*.jsonl*"), key=lambda path: path.stat().st_mtime)
        for path in paths:
            found += read_lines(path)
        found.sort(key=lambda line: line["seq"])
        for line in found:
            line["boottime"] = boottime_of(line["at"])
        wanted = {"event": event, **fields} if event else fields
        since -= 0.001  # The journal's times are cut to milliseconds.
        return [e for e in found if e["boottime"] >= since and all(e.get(key) == value for key, value in wanted.items())]

    def claims(self, since=0):
        """Calls that gave it an address, as its journal tells."""
        calls = self.journal("call-finished", since=since, outcome="ok")
        return [call for call in calls if call["operation"] in ("AssociateAddress", "AssignPrivateIpAddresses")]

    def elections_won(self, since=0):
        return self.journal("role-changed", since=since, to="master")

    def panicked(self):
        log = self.directory / "log"
        return log.exists() and "panicked" in log.read_text(encoding="utf-8", errors="replace")


def boottime_of(text):
    """When the journal's wall time was, on the lab's clock."""
    wall = datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
    return wall - time.time() + now()

