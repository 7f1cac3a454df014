"""What the lab did to the cluster, as spans of time."""
import math
from dataclasses import dataclass

LINKS = ("cut", "one-way")
OFFSET_KEYS = {"offset": 1, "offset_s": 1, "offset_seconds": 1, "seconds": 1, "shift": 1, "shift_s": 1, "hours": 3600}


@dataclass
class Fault:
    """One fault of one node."""

    kind: str
    detail: dict
    since: float
    until: float = math.inf

class Faults:
    """faults.jsonl, asked by kind, node and time."""

    def __init__(self, rows):
        self.rows = rows

    def first(self):
        """When the first fault began, or None."""
        return min((row["at"] for row in self.rows), default=None)

    def spans(self, kinds, node):
        """From when to when the node suffered one of these faults; what was never taken back lasts for ever."""
        return sorted((fault.since, fault.until) for fault in self.suffered(node) if fault.kind in kinds)

    def suffered(self, node):
        """Every fault of the node. One that is taken back without detail ends all of its kind; healing cuts ends one-way cuts as well."""
        faults = []
        for row in self.rows:
            if row["node"] not in (node, None):
                continue
            detail = row["detail"] or {}
            if row["on"] is not False:
                faults.append(Fault(row["fault"], detail, row["at"]))
                continue
            kinds = LINKS if row["fault"] == "cut" and not detail else (row["fault"],)
            same = [fault for fault in faults if fault.kind in kinds and fault.detail == detail]
            for fault in same or [fault for fault in faults if fault.kind in kinds]:
                fault.until = min(fault.until, row["at"])
        return faults

    def in_force(self, kinds, at):
        """The fault lines of these kinds that were still in force."""
        nodes = {row["node"] for row in self.rows}
        return [fault for node in nodes for fault in self.suffered(node) if fault.kind in kinds and fault.since <= at < fault.until]

    def within(self, kinds, node, begin, end):
        """Whether the node suffered one of these faults at some time in between."""
        return any(since <= end and until >= begin for since, until in self.spans(kinds, node))

    def frozen(self, node):
        return self.spans(("freeze",), node)

    def clock_steps(self, node, begin):
        """From when on the node's wall clock was ahead by how much: `(at, seconds)`, in order; and the rows that do not say by how much."""
        steps, unclear = [(begin, 0.0)], []
        for row in self.rows:
            if row["fault"] != "clock" or row["node"] != node:
                continue
            offset = 0.0 if row["on"] is False else offset_in(row["detail"] or {})
            if offset is None:
                unclear.append(row)
            else:
                steps.append((row["at"], offset))
        return steps, unclear


def offset_in(detail):
    for key, scale in OFFSET_KEYS.items():
        if isinstance(detail.get(key), (int, float)):
            return float(detail[key]) * scale
    return None
