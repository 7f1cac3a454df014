"""A scenario's settings, and the configuration file that they make."""
from dataclasses import dataclass, field

from host import BALANCERS, LINK_PORT
from topology import API, MEMBERS, link_address

# What a balancer's operator declares of Nginx; the line by which a user knows the node differs on every one.
CONSISTENCY = {
    "files": ["/etc/nginx/nginx.conf", "/etc/nginx/conf.d/**/*", "/etc/nginx/ssl/*"], "commands": ["nginx -v"],
    "ignore": ['return 200 "{{node}}'], "applied": {"pid_file": "/etc/nginx/run/nginx.pid"},
}  # fmt: skip
PULL = {**CONSISTENCY, "repair": "pull", "pull_test": "nginx -t -q -e stderr", "pull_reload": "nginx -e stderr -s reload"}
# As long as they have to be for what they guard, and short enough for a test.
GATE_TIMING = {"probation": "1500ms", "restart_grace": "1s"}
FATAL_NGINX = {"name": "nginx", "http": "http://127.0.0.1:80/healthz", "interval": "100ms", "timeout": "100ms", "rise": 1, "fall": 2, "fatal": True}


@dataclass
class Group:
    """Addresses that move together: public ones as 198.51.100.10, secondary private ones as 10.0.1.50."""

    name: str = "web"
    priority: dict = field(default_factory=lambda: {"lb-a": 200, "lb-b": 100})
    addresses: tuple = ("198.51.100.10",)
    private_ip: dict | None = None  # Binds the elastic IPs to a secondary address of each node.
    keys: dict = field(default_factory=dict)  # Further keys of the table: {"preempt": True, "preempt_delay": "1s"}


@dataclass
class Settings:
    """What can differ from scenario to scenario."""

    heartbeat_ms: int = 100
    misses: int = 3
    claim: str = "fast"
    call_timeout_ms: int = 2000
    metadata: bool = False  # True: no ids, no region and no credentials are configured; all comes from instance metadata.
    groups: tuple = (Group(),)
    checks: tuple = ()  # For example (FATAL_NGINX,)
    limits: dict = field(default_factory=dict)  # moves_per_hour, repairs
    timing: dict = field(default_factory=dict)  # Further keys of [timing].
    consistency: dict | None = None  # Keys of [consistency], for example CONSISTENCY: the gate compares Nginx's files.
    cloud: dict = field(default_factory=dict)  # Further keys of [cloud].
    extra: str = ""  # Further TOML, the same on every node.
    client_ms: int = 5
    environment: dict = field(default_factory=dict)  # Of every daemon.
    judged: bool = True  # False where no daemon runs: there is nothing to judge.

    def toml(self, world):
        """The part that is the same on every node."""
        tables = [
            'cluster = "lab"',
            table("[timing]", {"heartbeat_interval": f"{self.heartbeat_ms}ms", "misses": self.misses, **self.timing}),
            table("[security]", {"key_file": str(world.key)}),
            *(self.node(name, world) for name in MEMBERS),
            *(self.group(group, world) for group in self.groups),
            table("[cloud]", self.cloud_keys(world)),
            table("[limits]", self.limits) if self.limits else "",
            *(table("[[checks]]", check) for check in self.checks),
            table("[consistency]", self.consistency) if self.consistency else "",
            self.extra,
        ]
        return "\n".join(tables) + "\n"

    def node(self, name, world):
        keys = {"name": name, "links": [f"{link_address(name, link)}:{LINK_PORT}" for link in (0, 1)]}
        if name not in BALANCERS:
            keys["role"] = "witness"
        elif not self.metadata:
            ids = world.nodes[name]
            keys |= {"instance_id": ids["instance"], "network_interface_id": ids["interface"]}
        return table("[[nodes]]", keys)

    def group(self, group, world):
        addresses = [address_entry(address, group.private_ip, world) for address in group.addresses]
        return table("[[groups]]", {"name": group.name, "priority": group.priority, "addresses": addresses, **group.keys})

    def cloud_keys(self, world):
        keys = {"provider": "aws", "endpoint_url": f"http://{API}:4566", "call_timeout": f"{self.call_timeout_ms}ms", "claim": self.claim}
        return keys | ({} if self.metadata else {"region": world.region}) | self.cloud

    def daemon_environment(self, name):
        if self.metadata and name in BALANCERS:
            return self.environment
        credentials = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true"}
        return {**({} if self.metadata else credentials), **self.environment}

    def recorded(self, world):
        """What scenario.json says of them."""
        return {
            "heartbeat_ms": self.heartbeat_ms, "misses": self.misses, "claim": self.claim, "call_timeout_ms": self.call_timeout_ms,
            "limits": {"moves_per_hour": 12, "repairs": 3, **self.limits},
            "consistency": {"last_resort": self.consistency.get("last_resort", False)} if self.consistency else None,
            "preempt": any(group.keys.get("preempt", False) for group in self.groups),
            "groups": [
                {"name": g.name, "priorities": g.priority, "addresses": [world.allocations.get(address, address) for address in g.addresses]}
                for g in self.groups
            ],
        }  # fmt: skip


def address_entry(address, private_ip, world):
    if address not in world.allocations:
        return {"kind": "secondary-ip", "ip": address}
    entry = {"kind": "elastic-ip", "allocation_id": world.allocations[address]}
    return {**entry, "private_ip": private_ip} if private_ip else entry


def table(header, keys):
    return "\n".join([header, *(f"{name} = {toml_value(value)}" for name, value in keys.items())])


def toml_value(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {toml_value(inner)}" for name, inner in value.items()) + " }"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(toml_value(inner) for inner in value) + "]"
    return str(value)
