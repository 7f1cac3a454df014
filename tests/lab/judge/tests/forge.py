"""Forges recordings: one good history, told event by event, and the means to spoil it.

A history is lists of lines, as the lab writes them; journals carry `t`, the recording's clock, which becomes the node's wall time and its
sequence when they are written. Tests append, change or drop lines and let the judge read the result.
"""
import json
import tempfile
from datetime import datetime, timezone
from pathlib import Path

from .. import judge

START = 1000.0
WALL = 1_790_000_000.0
EIP = "eipalloc-1"
PUBLIC = "198.51.100.10"
NODES = ("lb-a", "lb-b", "witness")
LEASE = 0.3


class History:
    """A recording in the making. Times are seconds since its start."""

    def __init__(self):
        self.scenario = {
            "number": 2, "title": "master's host dies", "cluster": "lab", "heartbeat_ms": 100, "misses": 3, "claim": "fast",
            "call_timeout_ms": 2000, "limits": {"moves_per_hour": 12, "repairs": 3}, "preempt": False,
            "nodes": {
                "lb-a": {"instance": "i-a", "interface": "eni-a", "ip": "10.0.1.10", "role": "balancer"},
                "lb-b": {"instance": "i-b", "interface": "eni-b", "ip": "10.0.1.11", "role": "balancer"},
                "witness": {"instance": None, "interface": None, "ip": "10.0.1.12", "role": "witness"},
            },
            "groups": [{"name": "web", "priorities": {"lb-a": 200, "lb-b": 100}, "addresses": [EIP]}],
            "started": START, "faults_ended": START + 5, "ended": START + 30, "clock": {"boottime": START, "realtime": WALL},
            "expect": {"moves": {}, "master": {"web": None}, "converges": True, "lost_requests_allowed": 100},
        }  # fmt: skip
        self.client, self.cloud, self.faults, self.processes, self.configurations = [], [], [], [], []
        self.holders = [{"at": START, "address": EIP, "holder": None, "by": "start", "request_id": None}]
        self.journals = {node: [] for node in NODES}
        self.lives = dict.fromkeys(NODES, 0)
        self.calls = 0
        self.wall_ahead = {}
        self.exception = None  # Of the votes told from here on.

    # --- what happens -----------------------------------------------------------------------------------------------------------------------

    def tell(self, node, t, event, **fields):
        """A record of the node's journal."""
        record = {"t": t, "node": node, "boot": f"{node}-{self.lives[node]}", "event": event, **fields}
        self.journals[node].append(record)
        return record

    def start(self, node, t, standing="ready"):
        self.lives[node] += 1
        pid = 100 * self.lives[node] + NODES.index(node)
        self.processes.append({"at": START + t, "node": node, "what": "started", "pid": pid, "code": None})
        told = self.tell(node, t + 0.03, "started", version="0.1.0", pid=pid)
        if standing:
            self.standing(node, t + 0.04, "joining", standing)
        return told

    def standing(self, node, t, old, new):
        return self.tell(node, t, "standing-changed", **{"from": old, "to": new, "reason": "for a reason"})

    def has(self, node, t, files, loaded=None, **more):
        """What is on the node's disk, and loaded: the same unless told."""
        row = {"at": START + t, "node": node, "files": files, "loaded": loaded or files, **more}
        self.configurations.append(row)
        return row

    def pid(self, node):
        return 100 * self.lives[node] + NODES.index(node)

    def kill(self, node, t):
        self.fault("kill", node, t)
        self.processes.append({"at": START + t, "node": node, "what": "killed", "pid": self.pid(node), "code": -9})

    def fault(self, fault, node, t, on=True, **detail):
        row = {"at": START + t, "fault": fault, "node": node, "on": on, "detail": detail}
        self.faults.append(row)
        return row

    def role(self, node, t, old, new, term, cause, reason="for a reason", group="web"):
        fields = {"from": old, "to": new, "reason": reason}
        return self.tell(node, t, "role-changed", group=group, term=term, cause=cause, **fields)

    def vote(self, voter, t, candidate, term, cause="startup", group="web"):
        exception = {} if self.exception is None else {"exception": self.exception}
        return self.tell(voter, t, "vote-granted", group=group, term=term, cause=cause, candidate=candidate, **exception)

    def elect(self, node, t, term, cause="startup", voters=("witness",), old="backup", group="web"):
        """A candidacy that is won at `t`."""
        stood = self.role(node, t - 0.004, old, "candidate", term, cause, group=group) if old == "backup" else None
        votes = [self.vote(voter, t - 0.002, node, term, cause, group) for voter in voters]
        won = self.role(node, t, "candidate" if stood else old, "master", term, cause, "elected by a majority", group)
        return won, votes

    def call(self, node, t, term, outcome="ok", operation="AssociateAddress", reassociate=True, takes=0.010, **more):
        """A mutating call: in the journal, in the cloud's record, and in the holders when it takes effect (`lands`: when, if not at once)."""
        self.calls += 1
        number, request_id = self.calls, f"req-{self.calls}"
        address, group, lands = more.get("address", EIP), more.get("group", "web"), more.get("lands", t + takes * 0.8)
        about = {"group": group, "term": term, "call_id": number, "operation": operation, "address": address}
        started = self.tell(node, t, "call-started", cause=more.get("cause", "startup"), **about)
        known = request_id if outcome not in ("timeout", "error") else None
        finished = self.tell(node, t + takes, "call-finished", outcome=outcome, request_id=known, ms=takes * 1000, **about)
        status = {"ok": 200, "refused": 400, "denied": 403, "throttled": 503, "timeout": None, "error": 500}[outcome]
        effect = outcome == "ok" or "lands" in more
        row = {
            "arrived": START + t + 0.001, "passed": None, "landed": START + lands if effect else None,
            "answered": START + t + takes - 0.001 if outcome not in ("timeout",) else None, "node": node, "operation": operation,
            "dry_run": False, "address": address, "to": self.scenario["nodes"][node]["interface"] if operation == "AssociateAddress" else None,
            "reassociate": reassociate if operation == "AssociateAddress" else None, "association": None, "status": 200 if effect else status,
            "code": None, "request_id": request_id, "fault": more.get("fault"),
        }  # fmt: skip
        self.cloud.append(row)
        if effect:
            self.moved(lands, address, node if operation == "AssociateAddress" else None, node, request_id)
        return started, row, finished

    def moved(self, t, address, holder, by, request_id):
        row = {"at": START + t, "address": address, "holder": holder, "by": by, "request_id": request_id}
        self.holders.append(row)
        return row

    def operator(self, t, holder, address=EIP):
        """Moves the address by hand."""
        self.fault("operator-move", None, t - 0.02)
        return self.moved(t, address, holder, "operator", f"operator-{t}")

    def requests(self, until=30.0, every=0.05, target=PUBLIC, address=EIP):
        """The clients' view follows the holder."""
        steps = int(until / every)
        for step in range(steps):
            at = START + step * every
            held = [row["holder"] for row in sorted(self.holders, key=lambda row: row["at"]) if row["address"] == address and row["at"] <= at]
            server = held[-1] if held and self.serves(held[-1], at) else None
            self.client.append({"at": at, "took": 0.001, "server": server, "error": None if server else "timeout", "target": target})

    def serves(self, node, at):
        """Its host is not dead or frozen: whatever is on is named with a node."""
        if node is None:
            return False
        down = {}
        for row in self.faults:
            if row["node"] == node and row["at"] <= at and row["fault"] in ("kill", "freeze"):
                down[row["fault"]] = row["on"]
        return not any(down.values())

    # --- what is made of it -----------------------------------------------------------------------------------------------------------------

    def write(self, directory):
        (directory / "scenario.json").write_text(json.dumps(self.scenario))
        for name in ("client", "cloud", "holders", "faults", "processes", "configurations"):
            rows = sorted(getattr(self, name), key=lambda row: row.get("at", row.get("arrived")))
            lines(directory / f"{name}.jsonl", rows)
        for node, records in self.journals.items():
            (directory / node).mkdir()
            lines(directory / node / "journal.jsonl", self.numbered(node, records))

    def numbered(self, node, records):
        """In the order of time; a record may ask for records to be lost before it (`skip`)."""
        seq, done = 0, []
        for record in sorted(records, key=lambda record: record["t"]):
            fields = dict(record)
            seq += 1 + fields.pop("skip", 0)
            t = fields.pop("t")
            ahead = max(((since, by) for since, by in self.wall_ahead.get(node, [(-1.0, 0.0)]) if since <= t), default=(0, 0.0))[1]
            at = datetime.fromtimestamp(WALL + t + ahead, timezone.utc)
            done.append({"seq": seq, "at": at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03}Z", **fields})
        return done

    def verdict(self, spoil=None):
        """What the judge says; `spoil` may harm the files before."""
        if not self.client:
            self.requests()
        with tempfile.TemporaryDirectory() as name:
            self.write(Path(name))
            if spoil:
                spoil(Path(name))
            return judge(name)


def lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def started():
    """Three daemons, and lb-a leads in term 1."""
    history = History()
    for node in NODES:
        history.start(node, 0.0)
    history.elect("lb-a", 0.9, 1, voters=("lb-b", "witness"))
    history.call("lb-a", 0.901, 1)
    return history


def quiet(fault="witness-kill"):
    """One failure that moves nothing: the witness dies and comes back."""
    history = started()
    history.scenario["expect"]["moves"] = {"web": [0, 0]}
    history.scenario["expect"]["lost_requests_allowed"] = 0
    history.fault(fault, "witness", 3.0)
    history.processes.append({"at": START + 3.0, "node": "witness", "what": "killed", "pid": history.pid("witness"), "code": -9})
    history.start("witness", 4.5)
    return history


def good():
    """lb-a's host dies, lb-b takes over at once, lb-a comes back as a backup."""
    history = started()
    history.kill("lb-a", 3.0)
    history.tell("lb-b", 3.03, "peer-down", peer="lb-a", reason="crashed")
    history.elect("lb-b", 3.05, 2, "master-crashed")
    history.call("lb-b", 3.051, 2, cause="master-crashed")
    history.start("lb-a", 4.9)
    history.fault("kill", "lb-a", 5.0, on=False)
    history.scenario["expect"].update(moves={"web": [1, 1]}, master={"web": "lb-b"})
    return history


def frozen(thaw=5.0):
    """lb-a is frozen past its lease, lb-b takes over, lb-a thaws and steps down."""
    history = started()
    history.fault("freeze", "lb-a", 3.0)
    history.elect("lb-b", 3.5, 2, "master-silent")
    history.call("lb-b", 3.501, 2, cause="master-silent")
    history.fault("freeze", "lb-a", thaw, on=False)
    history.role("lb-a", thaw + 0.003, "master", "holding", 1, "master-silent", "the lease ended")
    history.role("lb-a", thaw + 0.02, "holding", "backup", 2, "master-silent", "another was elected")
    return history


def away(files="v1", standing="probation"):
    """lb-a's host dies, lb-b takes over, and lb-a comes back with these files and into that standing; v1 is what all had, and the reference."""
    history = started()
    history.scenario["consistency"] = {"last_resort": False}
    for node in ("lb-a", "lb-b"):
        history.has(node, 0.0, "v1")
    history.kill("lb-a", 3.0)
    history.elect("lb-b", 3.05, 2, "master-crashed")
    history.call("lb-b", 3.051, 2, cause="master-crashed")
    history.has("lb-a", 6.0, files)
    history.start("lb-a", 7.0, standing)
    history.fault("kill", "lb-a", 7.0, on=False)
    history.scenario["expect"].update(moves={"web": [1, 2]}, master={"web": None})
    history.scenario["faults_ended"] = START + 25
    return history


def alone(history, t=15.0):
    """lb-b's host dies as well."""
    history.kill("lb-b", t)
    return history
