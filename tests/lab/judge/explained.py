"""I8: every role change and every mutating call is in the journal with its cause, term and request id.

And the journals tell nothing that was not so, and no change of a holder is without somebody who tells of it."""
from . import tolerances
from .recording import GIVING, TAKING


def judge(recording, calls, verdict):
    if recording.cloud is not None:
        for row in recording.mutations():
            call = calls.get(id(row))
            if call is None:
                unexplained(recording, row, verdict)
            else:
                well_explained(row, call, verdict)
        for journal in recording.journals.values():
            for call in journal.calls:
                was_so(recording, call, verdict)
    for node, journal in recording.journals.items():
        for entry in journal.of("role-changed"):
            role_change_is_explained(entry, node, verdict)
        numbers_without_gaps(recording, node, journal, verdict)
    if recording.holders is not None:
        changes_are_explained(recording, verdict)


# --- calls ----------------------------------------------------------------------------------------------------------------------------------


def unexplained(recording, row, verdict):
    what = f"{row['node']}'s {row['operation']} for {row['address']} is not in its journal"
    if reason := recording.why_missing(row["node"], row["arrived"], tolerances.ARRIVAL):
        verdict.note(row["arrived"], f"{what}: {reason}")
    else:
        verdict.find("I8", row["arrived"], f"{what} (request id {row['request_id']}): nothing says why it was made", row)


def well_explained(row, call, verdict):
    what = f"{call.node}'s {call.operation} for {call.address}"
    absent = [word for word, value in (("cause", call.cause), ("term", call.term), ("group", call.group)) if value is None]
    if absent:
        verdict.find("I8", row["arrived"], f"{what} is in the journal without {' and '.join(absent)}", row, call.started, call.finished)
    if call.outcome == "ok" and call.request_id is None:
        verdict.find("I8", row["arrived"], f"{what} is in the journal without its request id", row, call.finished)
    if call.outcome == "ok" and not (row["status"] == 200 and row["landed"] is not None):
        verdict.find("I8", row["arrived"], f"{what} is journaled as ok, but the cloud did not carry it out", row, call.finished)
    known_refusal = call.outcome in ("refused", "denied", "throttled")
    if known_refusal and row["status"] == 200:
        verdict.find("I8", row["arrived"], f"{what} is journaled as {call.outcome}, but the cloud carried it out", row, call.finished)


def was_so(recording, call, verdict):
    """A call that the journal says took effect must be in the cloud's record."""
    if call.outcome != "ok" or call.cloud is not None or call.finished.at < recording.scenario.started:
        return
    sentence = f"{call.node} journaled a successful {call.operation} for {call.address} that the cloud never saw (request id {call.request_id})"
    verdict.find("I8", call.finished.at, sentence, call.finished)


# --- roles and numbers ----------------------------------------------------------------------------------------------------------------------


def role_change_is_explained(entry, node, verdict):
    absent = [key for key in ("group", "term", "cause", "from", "to", "reason") if entry[key] in (None, "")]
    if absent:
        verdict.find("I8", entry.at, f"a role change of {node} is journaled without {' and '.join(absent)}", entry)


def numbers_without_gaps(recording, node, journal, verdict):
    before = None
    for entry in journal.entries:
        if before is not None and entry.seq <= before.seq:
            verdict.find("I8", entry.at, f"{node}'s journal goes from seq {before.seq} to {entry.seq}: numbers must grow", before, entry)
        elif before is not None and entry.seq > before.seq + 1 and not told(entry, before):
            lost = entry.seq - before.seq - 1
            verdict.find("I8", entry.at, f"{node}'s journal lacks {lost} record(s) after seq {before.seq}, and no journal-gap says so", before, entry)
        if entry.event == "journal-gap" and not recording.faults.within(("disk",), node, 0, entry.at):
            verdict.find("I8", entry.at, f"{node} lost {entry['lost']} record(s) of its journal though its disk was never harmed", entry)
        before = entry
    if journal.entries and journal.entries[0].seq != 1 and not journal.entries[0].row.file.endswith(".1"):
        verdict.note(None, f"{node}'s journal begins at seq {journal.entries[0].seq}: what was before is not judged")


def told(entry, before):
    """A gap is told under the number of the last lost record, or under the next one."""
    return entry.event == "journal-gap" and entry.seq - before.seq <= (entry["lost"] or 0) + 1


# --- holders --------------------------------------------------------------------------------------------------------------------------------


def changes_are_explained(recording, verdict):
    mine = {address for group in recording.scenario.groups for address in group.addresses}
    for address in sorted(mine):
        for row in recording.changes(address)[1]:
            if row["by"] in recording.scenario.members:
                change_by_node(recording, row, verdict)
            elif not operator_told(recording, row):
                change = f"{address} went to {row['holder'] or 'nobody'} by {row['by'] or 'nobody'}"
                verdict.find("I8", row["at"], f"{change}, and no fault line says so", row)


def change_by_node(recording, row, verdict):
    what = f"{row['address']} went to {row['holder'] or 'nobody'}"
    if recording.cloud is None:
        return
    call = next((call for call in recording.mutations() if call["request_id"] and call["request_id"] == row["request_id"]), None)
    if call is None or call["node"] != row["by"]:
        verdict.find("I8", row["at"], f"{what} by {row['by']}, and no call of {row['by']} explains it", row, call)
    elif call["operation"] in TAKING and row["holder"] != (recording.scenario.owner_of(call["to"]) or call["to"]):
        verdict.find("I8", row["at"], f"{what}, but the call that is said to have done it was for {call['to']}", row, call)
    elif call["operation"] in GIVING and row["holder"] is not None:
        verdict.find("I8", row["at"], f"{what}, but the call that is said to have done it takes it away", row, call)


def operator_told(recording, row):
    return any(
        fault["fault"].startswith("operator") and fault["at"] - tolerances.OPERATOR <= row["at"] <= fault["at"] + tolerances.OPERATOR
        for fault in recording.faults.rows
    )
