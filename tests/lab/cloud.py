"""The cloud as a scenario sees it: its record of calls, who holds what, what an operator does, and how it fails."""
import itertools

from records import now, read_lines
from topology import Filter, link_address
from waiting import demand, wait_until

CHANGING = ("AssociateAddress", "DisassociateAddress", "AssignPrivateIpAddresses", "UnassignPrivateIpAddresses")


class Fault:
    """One fault of the API; ends by `heal`, or with the block that it guards."""

    def __init__(self, cloud, name, rule):
        self.cloud, self.name, self.rule = cloud, name, rule

    def heal(self):
        self.cloud.gateway.ask("fault", name=self.name, rule=None)
        self.cloud.tell(self.rule, on=False)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.heal()


class Cloud:
    """Asked through the gateway, which followed every call."""

    def __init__(self, world, directory, faults):
        self.world, self.gateway, self.directory, self.faults = world, world.gateway, directory, faults
        self.numbers = itertools.count(1)
        self.filter = Filter("api")

    def tell(self, rule, on):
        nodes = rule.get("nodes") or [None]
        for node in nodes:
            detail = {key: value for key, value in rule.items() if key != "nodes"}
            self.faults.write(at=now(), fault="gateway", node=node, on=on, detail=detail)

    # --- its record ----------------------------------------------------------------------------

    def holder(self, address="198.51.100.10"):
        """The node (or interface) that holds an address, or None."""
        return self.gateway.ask("holders").get(self.world.allocations.get(address, address))

    def calls(self, operation=None, node=None, since=0, dry_run=False):
        """Every request so far, in order of arrival, as in cloud.jsonl; dry runs only when asked for."""
        wanted = {"operation": operation, "node": node}
        calls = [c for c in self.gateway.ask("calls") if c["arrived"] >= since and c["dry_run"] == dry_run]
        return [c for c in calls if all(value is None or c[key] == value for key, value in wanted.items())]

    def attempts(self, node=None, since=0):
        """Requests to change something, whatever became of them."""
        return [c for c in self.calls(node=node, since=since) if c["operation"] in CHANGING]

    def changes(self, node=None, since=0):
        """Those that did change something."""
        return [c for c in self.attempts(node, since) if c["status"] == 200 and c["landed"]]

    def moves(self, address="198.51.100.10", since=0):
        """Every change of holder: lines of holders.jsonl after the state at the start."""
        key = self.world.allocations.get(address, address)
        lines = read_lines(self.directory / "holders.jsonl")
        return [line for line in lines if line["address"] == key and line["by"] != "start" and line["at"] >= since]

    def all_landed(self):
        """Waits until no call is still to land."""
        wait_until("the last call lands", lambda: self.gateway.ask("pending") == 0)

    # --- what befalls it -----------------------------------------------------------------------

    def fault(self, kind, node=None, operations=None, **detail):
        """Harms requests (see gateway_faults.py for the kinds): of one node or all, of some operations ("mutating", "Describe*") or all.

        More: seconds=2, dry_run=False (real calls only), times=1 (only the first that fits), status=, code=.
        """
        operations = [operations] if isinstance(operations, str) else operations
        rule = {"kind": kind, "nodes": [str(node)] if node else None, "operations": operations, **detail}
        fault = Fault(self, f"fault-{next(self.numbers)}", {key: value for key, value in rule.items() if value is not None})
        self.gateway.ask("fault", name=fault.name, rule=fault.rule)
        self.tell(fault.rule, on=True)
        return fault

    def down(self, node=None):
        """Refuses connections and resets those that are open: of one node, or of all."""
        self.tell({"kind": "down", "nodes": [str(node)] if node else None}, on=True)
        source = f"ip saddr {link_address(str(node), 0)} " if node else ""
        self.filter.add(("down", str(node)), into=[f'iifname "eth0" {source}tcp dport 4566 reject with tcp reset'])

    def up(self, node=None):
        self.filter.remove(("down", str(node)))
        self.tell({"kind": "down", "nodes": [str(node)] if node else None}, on=False)

    # --- an operator ---------------------------------------------------------------------------

    def associate(self, node, address="198.51.100.10"):
        """An operator moves an elastic IP to a node by hand."""
        self.faults.write(at=now(), fault="operator-move", node=str(node), on=True, detail={"address": address})
        parameters = {"AllocationId": self.world.allocations[address], "NetworkInterfaceId": self.world.nodes[str(node)]["interface"]}
        return self.operator("AssociateAddress", AllowReassociation="true", **parameters)

    def disassociate(self, address="198.51.100.10"):
        """An operator takes an elastic IP away from whoever has it."""
        self.faults.write(at=now(), fault="operator-move", node=None, on=True, detail={"address": address})
        return self.operator("DisassociateAddress", AssociationId=self.gateway.ask("associations")[self.world.allocations[address]])

    def assign(self, node, *addresses):
        """An operator gives a node's interface secondary private addresses."""
        for address in addresses:
            self.faults.write(at=now(), fault="operator-move", node=str(node), on=True, detail={"address": address})
        listed = {f"PrivateIpAddress.{n}": address for n, address in enumerate(addresses, 1)}
        interface = self.world.nodes[str(node)]["interface"]
        return self.operator("AssignPrivateIpAddresses", NetworkInterfaceId=interface, AllowReassignment="true", **listed)

    def operator(self, action, **parameters):
        answer = self.gateway.ask("call", action=action, parameters=parameters)
        demand(answer["status"] == 200, f"the operator's {action} failed: {answer}")
        return answer
