"""The faults of the gateway: which request meets which, and what it then costs.

A fault is one dictionary: `kind`, and whom it concerns: `nodes`, `operations` (patterns; "mutating" for all calls that change something), `dry_run`
(both kinds when absent), `times` (only so many requests). Kinds, and what they take:

    latency    seconds: the call is passed on so much later
    5xx        an InternalError at once (status, code: another one), not passed on
    throttled  RequestLimitExceeded, not passed on
    denied     UnauthorizedOperation, not passed on
    black-hole accepted, never answered, never passed on
    late       seconds: the caller gets no answer, and the call takes effect so much later
    lost       passed on at once, but the answer is lost: the caller gets none
    stale      seconds: reads are answered with the state of so long ago
"""
from fnmatch import fnmatchcase

import ec2_query

KINDS = ("latency", "5xx", "throttled", "denied", "black-hole", "late", "lost", "stale")


class Faults:
    """Those in force, in the order in which they were made; the first that fits is met, and latency beside any."""

    def __init__(self):
        self.rules = {}

    def add(self, name, rule):
        if rule["kind"] not in KINDS:
            raise ValueError(f"no such fault: {rule['kind']}")
        self.rules[name] = rule

    def remove(self, name):
        self.rules.pop(name, None)

    def met(self, node, query):
        """The latency in seconds, and the first other fault."""
        latency, other = 0, None
        for rule in list(self.rules.values()):
            if not fits(rule, node, query) or (rule["kind"] != "latency" and other):
                continue
            if rule.get("times") is not None:
                if rule["times"] == 0:
                    continue
                rule["times"] -= 1
            if rule["kind"] == "latency":
                latency += rule["seconds"]
            else:
                other = rule
        return latency, other

    def staleness(self):
        return max((rule["seconds"] for rule in self.rules.values() if rule["kind"] == "stale"), default=None)


def fits(rule, node, query):
    if rule["kind"] == "stale" and (query.dry_run or not query.operation.startswith("Describe")):
        return False
    if rule.get("nodes") and node not in rule["nodes"]:
        return False
    if rule.get("dry_run") is not None and rule["dry_run"] != query.dry_run:
        return False
    patterns = rule.get("operations") or ["*"]
    return any(query.operation in ec2_query.MUTATING if p == "mutating" else fnmatchcase(query.operation, p) for p in patterns)


def refusal(rule):
    """The answer of a fault that answers by itself: the bytes, status, code and request id."""
    status, reason, code, text = {
        "5xx": (500, "Internal Server Error", "InternalError", "An internal error has occurred"),
        "throttled": (503, "Service Unavailable", "RequestLimitExceeded", "Request limit exceeded."),
        "denied": (403, "Forbidden", "UnauthorizedOperation", "You are not authorized to perform this operation."),
    }[rule["kind"]]
    status, code = rule.get("status", status), rule.get("code", code)
    raw, number = ec2_query.error(status, reason, code, text)
    return raw, status, code, number
