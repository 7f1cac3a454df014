"""Finds for each mutating call that the cloud saw the call that its node's journal tells of."""
from . import tolerances

# How the journal may speak of a call that the cloud answered with this status.
REFUSALS = {"refused", "denied", "throttled"}
UNKNOWN = {None, "timeout", "error"}


def match_calls(recording):
    """Sets `cloud` of every journaled call that was found; returns `{id(row): call}`."""
    matched = {}
    by_node = {}
    for row in recording.mutations():
        by_node.setdefault(row["node"], []).append(row)
    for node, rows in by_node.items():
        journal = recording.journals.get(node)
        if journal is not None:
            match_node(recording, journal, rows, matched)
    return matched


def match_node(recording, journal, rows, matched):
    by_id = {call.request_id: call for call in journal.calls if call.request_id}

    def pair(row, call):
        matched[id(row)] = call
        call.cloud = row

    for row in rows:
        call = by_id.get(row["request_id"]) if row["request_id"] else None
        if call is not None and call.cloud is None:
            pair(row, call)
    for patience in (tolerances.ARRIVAL, tolerances.HELD_BACK):
        for row in rows:
            if id(row) in matched:
                continue
            call = next((call for call in journal.calls if call.cloud is None and could_be(recording, call, row, patience)), None)
            if call is not None:
                pair(row, call)


def could_be(recording, call, row, patience):
    """Whether a call whose request id the node never learnt is the one that the cloud saw."""
    if call.operation != row["operation"] or not same_address(call, row):
        return False
    if call.request_id is not None or not outcome_fits(call.outcome, row):
        return False
    slack = recording.tolerance(call.node)
    begin = call.started.at if call.started else call.finished.at - recording.scenario.call_timeout
    # A call that found the connection broken ended long before its time-out: what it sent may still be under way.
    deadline = begin + recording.scenario.call_timeout
    if not begin - slack <= row["arrived"] <= deadline + slack + patience:
        return False
    held_back = row["arrived"] > deadline + slack + tolerances.ARRIVAL
    return not held_back or recording.faults.within(("cut", "one-way", "freeze"), call.node, begin, row["arrived"])


def same_address(call, row):
    return call.address is None or row["address"] is None or call.address == row["address"]


def outcome_fits(outcome, row):
    if outcome in UNKNOWN:
        return True
    if outcome == "ok":
        return row["status"] == 200  # Its request id should be there; that it is not is another finding.
    return outcome in REFUSALS and row["status"] is not None and row["status"] >= 400
