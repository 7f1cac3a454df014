"""One scenario's cluster, and the verbs that scenarios are written in: given, when, then."""
import json

from balancer import Truth
from cloud import Cloud
from host import BALANCERS, LINK_PORT
from records import Lines, both_clocks, now
from topology import MEMBERS
from users import Users
from waiting import Unmet, demand, hold_for, wait_until

# Well beyond the master-down interval of most scenarios: a move that is to come has come by then.
QUIET_SECONDS = 2
__all__ = ["BALANCERS", "LINK_PORT", "Lab", "QUIET_SECONDS", "Unmet", "demand", "hold_for", "wait_until"]


class Lab:
    """What a scenario gets: `lab["lb-a"]`, `lab.cloud`, `lab.users`."""

    def __init__(self, world, scenario, directory):
        self.world, self.scenario, self.settings, self.directory = world, scenario, scenario.settings, directory
        self.faults = Lines(directory / "faults.jsonl")
        self.processes = Lines(directory / "processes.jsonl")
        self.hosts = world.hosts
        for filter_ in (host.filter for host in self.hosts.values()):
            filter_.clear()
        world.clean()
        configuration = self.settings.toml(world)
        for host in self.hosts.values():
            environment = self.settings.daemon_environment(host.name)
            host.prepare(directory, world.sockets, configuration, environment, self.faults, self.processes)
        self.truth = Truth(self.balancers, directory / "configurations.jsonl") if self.settings.consistency else None
        self.cloud = Cloud(world, directory, self.faults)
        self.users = Users(world.client, directory, self.settings.client_ms)
        self.started, self.clock, self.faults_ended = now(), both_clocks(), None
        world.gateway.ask("begin", directory=str(directory), names={ids["interface"]: name for name, ids in world.nodes.items()})
        self.expected = {"moves": {group.name: [0, 0] for group in self.settings.groups}, "master": {}, "converges": True, "lost_requests_allowed": None}

    def __getitem__(self, name):
        return self.hosts[name]

    def __iter__(self):
        return iter(self.hosts.values())

    @property
    def balancers(self):
        return [self.hosts[name] for name in BALANCERS]

    @property
    def witness(self):
        return self.hosts["witness"]

    @property
    def detection_ms(self):
        """How long a silent master is waited for at least: misses * H."""
        return self.settings.heartbeat_ms * self.settings.misses

    # --- given ---------------------------------------------------------------------------------

    def start(self):
        """All hosts start; waits until the cluster is healthy and clients are served. Returns the master and the standby of the first group."""
        for host in self:
            host.start()
        master, standby = self.healthy()
        targets = [address for group in self.settings.groups for address in group.addresses]
        self.users.start(*targets)
        self.users.served_by(master, target=targets[0])
        return master, standby

    def healthy(self):
        """Waits until all three are well and agree; returns the master and the standby of the first group."""
        masters = wait_until("the cluster is healthy", self.masters_if_healthy)
        master = masters[self.settings.groups[0].name]
        return self[master], next(self[name] for name in BALANCERS if name != master)

    def masters_if_healthy(self):
        named = {}
        for node in self:
            demand(node.running(), f"{node.name} does not run; see {node.directory / 'log'}")
            status = node.status()
            demand(status["standing"] == "ready" or node is self.witness, f"{node.name} is {status['standing']}")
            demand(status["preflight"]["ok"], f"{node.name}: preflight: {status['preflight']['problems']}")
            for peer in status["peers"]:
                demand(all(link["up"] for link in peer["links"]), f"{node.name} does not hear {peer['name']} on every link")
            for group in status["groups"]:
                named.setdefault(group["name"], set()).add(group["master"])
        for name, masters in named.items():
            demand(len(masters) == 1 and None not in masters, f"the nodes name as master of {name}: {masters}")
        found = {name: masters.pop() for name, masters in named.items()}
        for group in self.settings.groups:
            self.demand_owned(group.name, found[group.name])
        return found

    def demand_owned(self, name, master):
        shown = self[master].group(name)
        demand(shown["role"] == "master", f"{master} is {shown['role']} of {name}")
        demand(all(address["ownership"] == "owned" for address in shown["addresses"]), f"{master}: {shown['addresses']}")
        for address in next(group.addresses for group in self.settings.groups if group.name == name):
            holder = self.cloud.holder(address)
            demand(holder == master, f"the cloud shows {address} at {holder}, the master is {master}")

    # --- when ----------------------------------------------------------------------------------

    def harmless_from_now(self):
        """Tells the judge that the last fault has ended."""
        self.faults_ended = now()

    # --- then ----------------------------------------------------------------------------------

    def expect(self, **expected):
        """For the judge: moves={"web": [1, 1]}, master={"web": "lb-b"}, converges=True, lost_requests_allowed=10."""
        for key, value in expected.items():
            demand(key in self.expected, f"nothing is expected by the name of {key}")
            self.expected[key] = {**value} if isinstance(value, dict) else value

    def moved(self, to, since, cause=None, group="web", changes=1, within=45):
        """The group came to `to` after `since`, by so many calls; users are served there, and its journal says why. Returns an account."""
        settings = next(g for g in self.settings.groups if g.name == group)
        for address in settings.addresses:
            wait_until(f"{address} comes to {to}", lambda a=address: self.cloud.holder(a) == to.name, within)
            if self.users.running:
                self.users.served_by(to, target=address, within=within)
        wait_until(f"{to} owns its addresses", lambda: all(a["ownership"] == "owned" for a in to.group(group)["addresses"]), within)
        made = self.cloud.changes(since=since)
        demand(changes is None or len(made) == changes * len(settings.addresses), f"calls that changed something: {made}, not {changes} for each address")
        won = [event for event in to.elections_won(since=since) if event["group"] == group]
        demand(won, f"the journal of {to} tells of no election won")
        demand(cause in (None, won[-1]["cause"]), f"the journal says {won[-1]['cause']!r}, not {cause!r}")
        self.expect(moves={**self.expected["moves"], group: [1, 1]}, master={**self.expected["master"], group: to.name})
        told = wait_until(f"{to} gives its account", lambda: self.account_of(to, group, won[-1]["term"]), within)
        stages = ", ".join(f"{stage} {told[f'{stage}_ms']:.0f}" for stage in ("detect", "elect", "claim", "verify") if told[f"{stage}_ms"] is not None)
        if self.users.running:
            self.users.settled()
        seen = f"outage {self.users.outage_ms(since - 1, settings.addresses[0]):.0f} ms ({len(self.users.lost(since - 1))} lost)" if self.users.running else "no users"
        return f"{seen}, {won[-1]['cause']}: {stages} ms"

    def account_of(self, node, group, term):
        """The status's last failover, once it is that of `term`: a takeover is told when it is verified, and until then the one before."""
        told = node.status()["last_failover"]
        demand(told and told["term"] == term and told["group"] == group, f"it tells of {told}")
        return told

    def unmoved(self, since, seconds=QUIET_SECONDS, interrupted_ms=None):
        """For so long nothing changes in the cloud, and nothing has since `since`; users are served without a gap longer than `interrupted_ms`."""
        holders = self.world.gateway.ask("holders")
        hold_for(seconds, "nothing moves", lambda: self.world.gateway.ask("holders") == holders)
        changes = self.cloud.changes(since=since)
        demand(not changes, f"something was changed: {changes}")
        if interrupted_ms is not None:
            outage = self.users.outage_ms(since)
            demand(outage <= interrupted_ms, f"users were not served for {outage:.0f} ms")

    def stays_with(self, node, group="web"):
        """The judge is told who leads at the end."""
        self.expect(master={**self.expected["master"], group: node.name})

    def outage_below(self, milliseconds, since):
        """Users were not without service for longer. What LocalStack took for the calls that changed something is no doing of the product's."""
        outage = self.users.outage_ms(since)
        cloud = sum(call["landed"] - call["passed"] for call in self.cloud.changes(since=since)) * 1000
        sentence = f"users were not served for {outage:.0f} ms, which is not below {milliseconds:.0f} ms, the cloud's {cloud:.0f} ms left out"
        demand(outage - cloud < milliseconds, sentence)

    def every_claim_is_explained(self):
        """The journals and the cloud's record agree on every change, each under an election with a cause; no term was won twice."""
        made = {c["request_id"]: c for c in self.cloud.changes() if c["node"] in BALANCERS}
        for node in self.balancers:
            claims = {claim.get("request_id"): claim for claim in node.journal("call-finished", outcome="ok")}
            elections = node.elections_won()
            mine = {number for number, call in made.items() if call["node"] == node.name}
            answered = {number for number in mine if made[number]["answered"]}
            lost = sum(gap["lost"] for gap in node.journal("journal-gap"))  # After a full disk; the judge looks whether there was one.
            untold = answered - claims.keys()
            demand(len(untold) <= lost, f"{node.name} changed something that its journal does not tell: {untold}")
            for number in mine & claims.keys():
                claim = claims[number]
                won = [event for event in elections if event["term"] == claim["term"] and event["seq"] < claim["seq"]]
                demand(won and won[-1].get("cause"), f"{node.name}: no election with a cause before {claim}")
        terms = [(event["group"], event["term"]) for node in self.balancers for event in node.elections_won()]
        demand(len(terms) == len(set(terms)), f"a term was won twice: {sorted(terms)}")

    def nobody_panicked(self):
        for node in self:
            demand(not node.panicked(), f"{node.name} panicked; see {node.directory / 'log'}")

    # --- the end -------------------------------------------------------------------------------

    def settle(self):
        """What every scenario demands when its own demands are met."""
        self.every_claim_is_explained()
        self.nobody_panicked()

    def end(self):
        """Ends all processes, and completes the record. Returns what the gateway says of itself."""
        self.users.stop()
        ended = now()  # Nothing after this is part of the record.
        for node in self:
            for service in node.services():
                service.kill()
        self.cloud.filter.clear()
        if self.truth:
            self.truth.end()
        told = self.world.gateway.ask("end")
        for node in self:
            node.end()
        self.write_scenario(ended)
        self.faults.close()
        return told

    def write_scenario(self, ended):
        nodes = {
            name: {
                "instance": self.world.nodes.get(name, {}).get("instance"), "interface": self.world.nodes.get(name, {}).get("interface"),
                "ip": f"10.0.1.{10 + MEMBERS.index(name)}", "role": "balancer" if name in BALANCERS else "witness",
            }
            for name in MEMBERS
        }  # fmt: skip
        document = {
            "number": self.scenario.number, "title": self.scenario.title, "cluster": "lab", **self.settings.recorded(self.world), "nodes": nodes,
            "started": self.started, "faults_ended": self.faults_ended, "ended": ended, "clock": self.clock, "expect": self.expected,
        }  # fmt: skip
        (self.directory / "scenario.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
