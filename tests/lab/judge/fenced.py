"""I2: no mutating call without a valid lease of its own node and term; no retry after an unknown outcome is unconditional; only towards oneself.

Not judged, because heartbeats are not recorded: that a majority answered one between the decision and the sending of a later call. What can be
seen of it is: no call of a mastership that slept, or that no majority could answer, for longer than its lease.
"""
from . import tolerances
from .recording import GIVING, TAKING


def judge(recording, calls, verdict):
    for row in recording.mutations():
        towards_itself(recording, row, verdict)
        by_a_balancer(recording, row, verdict)
        if recording.scenario.fenced and row["operation"] in TAKING and row["reassociate"]:
            verdict.find("I2", row["arrived"], f"{row['node']} made an unconditional {row['operation']} although claim = \"fenced\"", row)
        if (call := calls.get(id(row))) is not None:
            started_before(recording, row, call, verdict)
    for journal in recording.journals.values():
        for call in journal.calls:
            under_mastership(recording, journal, call, verdict)
            not_after_a_sleep(recording, call, verdict)
            not_when_nobody_answers(recording, call, verdict)
        for mastership in journal.masterships:
            retries_are_fenced(journal, mastership, verdict)


def towards_itself(recording, row, verdict):
    member = recording.scenario.members[row["node"]]
    if row["operation"] in TAKING and row["to"] is not None and row["to"] != member.interface:
        other = recording.scenario.owner_of(row["to"]) or row["to"]
        verdict.find("I2", row["arrived"], f"{row['node']} made a call that moves {row['address']} to {other} instead of to itself", row)


def by_a_balancer(recording, row, verdict):
    group = recording.scenario.group_of(row["address"])
    if recording.scenario.members[row["node"]].witness:
        verdict.find("I2", row["arrived"], f"{row['node']} is a witness and made a mutating call", row)
    elif row["address"] is not None and group is None:
        verdict.find("I2", row["arrived"], f"{row['node']} changed {row['address']}, which belongs to no group", row)
    elif group is not None and row["node"] not in group.priorities:
        verdict.find("I2", row["arrived"], f"{row['node']} may not hold {group.name} and changed {row['address']}", row)


def started_before(recording, row, call, verdict):
    if call.started is None:
        if not recording.journals[call.node].gap_before(call):
            verdict.find("I2", row["arrived"], f"{call.node} tells of no beginning of the {row['operation']} that the cloud saw", row, call.finished)
    elif call.started.at > row["arrived"] + recording.tolerance(call.node):
        late = (call.started.at - row["arrived"]) * 1000
        verdict.find("I2", row["arrived"], f"the cloud saw {call.node}'s {row['operation']} {late:.0f} ms before it began", row, call.started)


def under_mastership(recording, journal, call, verdict):
    if call.started is None:
        return
    if call.mastership is None:
        if journal.gap_before(call):
            verdict.note(call.started.at, f"{call.node} began a call; its journal has a gap before, so its role is not known")
        else:
            sentence = f"{call.node} began a {call.operation} for {call.address} without being master"
            verdict.find("I2", call.started.at, sentence, call.started, call.cloud)
    elif call.term != call.mastership.term:
        sentence = f"{call.node} began a {call.operation} of term {call.term} while master in term {call.mastership.term}"
        verdict.find("I2", call.started.at, sentence, call.started, call.mastership.won)


def not_after_a_sleep(recording, call, verdict):
    """A mastership that slept past its lease is over, whatever the node believes when it wakes."""
    if call.started is None or call.mastership is None:
        return
    for frozen, thawed in recording.faults.frozen(call.node):
        slept = thawed - frozen - 2 * tolerances.SIGNAL > recording.scenario.lease
        slack = recording.tolerance(call.node)
        if slept and call.mastership.begin < frozen - slack and call.started.at > frozen + tolerances.SIGNAL + slack:
            sentence = f"{call.node} began a {call.operation} under the mastership of term {call.term}, whose lease had ended while it was frozen"
            verdict.find("I2", call.started.at, sentence, call.mastership.won, call.started, call.cloud)
            return


def not_when_nobody_answers(recording, call, verdict):
    """Nobody renews the lease of a node that no majority can answer."""
    if call.started is None or call.mastership is None:
        return
    for since, until in recording.reach.starved(call.node):
        # A victory within the span is from votes that were given before it.
        begun = max(since + tolerances.CUT_TAKES, call.mastership.begin)
        if begun + recording.scenario.lease + recording.tolerance(call.node) < call.started.at < until:
            sentence = f"{call.node} began a {call.operation} in term {call.term} when no majority could have answered it for longer than its lease"
            verdict.find("I2", call.started.at, sentence, call.mastership.won, call.started, call.cloud)
            return


def retries_are_fenced(journal, mastership, verdict):
    unknown = {}
    for call in journal.calls:
        if call.mastership is not mastership or call.started is None:
            continue
        before = unknown.get(call.address)
        if before is not None and seen_owned(mastership, call, before):
            before = unknown[call.address] = None
        if before is not None and call.operation in TAKING and call.cloud is not None and call.cloud["reassociate"]:
            sentence = f"{call.node} repeated {call.operation} for {call.address} unconditionally after a call of unknown outcome in the same term"
            verdict.find("I2", call.cloud["arrived"], sentence, before.finished or before.started, call.cloud, call.started)
        if call.unknown:
            unknown[call.address] = call
        elif call.outcome == "ok" and call.operation not in GIVING:
            unknown[call.address] = None


def seen_owned(mastership, call, before):
    """Whether between two calls the node learnt that the address is its own: then nothing is unknown any more."""
    return any(
        entry.event == "ownership-changed"
        and entry["ownership"] == "owned"
        and entry["address"] == call.address
        and before.first.seq < entry.seq < call.started.seq
        for entry in mastership.life.entries
    )
