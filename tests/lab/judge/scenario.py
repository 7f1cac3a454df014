"""scenario.json: what was set up, what was asked of it, and how its clocks relate."""
import json
from dataclasses import dataclass


class Unusable(Exception):
    """scenario.json cannot be used; the text says why."""


@dataclass(frozen=True)
class Member:
    """A node of the cluster."""

    name: str
    interface: str | None
    ip: str | None
    witness: bool


@dataclass(frozen=True)
class Group:
    """Addresses that move together."""

    name: str
    priorities: dict
    addresses: tuple


@dataclass(frozen=True)
class Expect:
    """What the scenario says will be so."""

    moves: dict
    master: dict
    converges: bool
    lost_requests_allowed: float | None


@dataclass(frozen=True)
class Scenario:
    members: dict
    groups: tuple
    heartbeat: float
    misses: int
    fenced: bool
    call_timeout: float
    moves_per_hour: int
    repairs: int
    started: float
    faults_ended: float | None
    ended: float
    wall_ahead: float
    expect: Expect
    public: dict
    # Whether a quarantined node may lead when nobody else is left.
    last_resort: bool
    # Whether more is compared than the part of its own configuration that the lab keeps the same on every node.
    compares: bool

    @property
    def lease(self):
        """Design 3.3: `misses * H`."""
        return self.misses * self.heartbeat

    @property
    def quorum(self):
        """Design 3: of all voters, witnesses included."""
        return len(self.members) // 2 + 1

    def group_of(self, address):
        return next((group for group in self.groups if address in group.addresses), None)

    def owner_of(self, interface):
        """The node with that interface."""
        return next((member.name for member in self.members.values() if interface and member.interface == interface), None)

    def address_behind(self, target):
        """The cloud's id of the address that a client asked."""
        if any(target in group.addresses for group in self.groups):
            return target
        return self.public.get(target)


def read_scenario(path):
    try:
        fields = json.loads(path.read_text())
    except OSError as error:
        raise Unusable(f"scenario.json cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise Unusable(f"scenario.json is not JSON: {error}") from error
    try:
        return build(fields)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Unusable(f"scenario.json lacks something or has it in another form: {error!r}") from error


def build(fields):
    members = {name: member(name, node) for name, node in fields["nodes"].items()}
    groups = tuple(Group(g["name"], dict(g["priorities"]), tuple(g["addresses"])) for g in fields["groups"])
    limits, clock, expect = fields.get("limits") or {}, fields["clock"], fields.get("expect") or {}
    started, ended = float(fields["started"]), float(fields["ended"])
    faults_ended = fields.get("faults_ended")
    return Scenario(
        members=members,
        groups=groups,
        heartbeat=float(fields["heartbeat_ms"]) / 1000,
        misses=int(fields["misses"]),
        fenced=fields.get("claim") == "fenced",
        call_timeout=float(fields["call_timeout_ms"]) / 1000,
        moves_per_hour=int(limits.get("moves_per_hour", 12)),
        repairs=int(limits.get("repairs", 3)),
        started=started,
        faults_ended=None if faults_ended is None else float(faults_ended),
        ended=ended,
        wall_ahead=float(clock["realtime"]) - float(clock["boottime"]),
        expect=Expect(
            moves={group: tuple(bounds) for group, bounds in (expect.get("moves") or {}).items() if bounds is not None},
            master=dict(expect.get("master") or {}),
            converges=expect.get("converges", True) is not False,
            lost_requests_allowed=expect.get("lost_requests_allowed", 0),
        ),
        public=public_addresses(groups),
        last_resort=bool((fields.get("consistency") or {}).get("last_resort")),
        compares=fields.get("consistency") is not None,
    )


def member(name, node):
    return Member(name, node.get("interface"), node.get("ip"), node.get("role") == "witness")


def public_addresses(groups):
    """The lab gives the elastic IPs in this order: 198.51.100.10, 198.51.100.11."""
    elastic = [address for group in groups for address in group.addresses if address.startswith("eipalloc-")]
    return {f"198.51.100.{10 + place}": address for place, address in enumerate(elastic)}
