"""I6: a single failure other than the master's own moves nothing; no failure makes a Holding master drop a working address.

Where the scenario says `moves: [0, 0]`, from the first fault on (and the first claim): the holder stays, nobody makes a mutating call, nobody
else becomes master, no master changes to anything but Holding unless its process ends, and no client loses a request.
"""
from . import tolerances


def judge(recording, calls, verdict):
    del calls
    for group in recording.scenario.groups:
        if recording.scenario.expect.moves.get(group.name) == (0, 0):
            group_is_stable(recording, group, verdict)


def group_is_stable(recording, group, verdict):
    begin = quiet_from(recording, group)
    for address in group.addresses:
        for row in recording.changes(address)[1]:
            if row["at"] > begin:
                verdict.find("I6", row["at"], f"{address} went to {row['holder'] or 'nobody'}, where nothing was to move", row)
    if asked_for(recording, group, begin):
        verdict.note(None, f"a switchover of {group.name} was asked for: only that its addresses stay is judged of I6")
        return
    for row in recording.mutations():
        if row["arrived"] > begin and recording.scenario.group_of(row["address"]) is group:
            verdict.find("I6", row["arrived"], f"{row['node']} made a {row['operation']} for {row['address']}, where nothing was to move", row)
    masters_stay(recording, group, begin, verdict)
    no_request_is_lost(recording, group, begin, verdict)


def asked_for(recording, group, begin):
    """A planned handover is no failure; it may be rolled back without a move, and that takes elections and calls."""
    return any(m.won["cause"] == "switchover" and m.begin > begin for m in recording.masterships(group.name))


def quiet_from(recording, group):
    """The first fault, but not before the first claim: that is no move."""
    first = recording.faults.first()
    started = recording.scenario.started
    held = [next((row["at"] for row in sum(recording.changes(address), []) if row["holder"]), started) for address in group.addresses]
    return max([started if first is None else first] + [at + tolerances.CLOCK for at in held])


def masters_stay(recording, group, begin, verdict):
    masterships = recording.masterships(group.name)
    before = [m for m in masterships if m.begin <= begin]
    leader = before[-1].node if before else None
    for mastership in masterships:
        slack = recording.tolerance(mastership.node)
        lost = mastership.lost
        if lost is not None and lost.at > begin + slack and lost["to"] not in ("holding", "master") and not ends_then(mastership):
            sentence = f"{mastership.node} went from master to {lost['to']} in {group.name}, where nothing was to move"
            verdict.find("I6", lost.at, sentence, lost)
        if mastership.begin > begin + slack and leader is not None and mastership.node != leader:
            sentence = f"{mastership.node} became master of {group.name} in place of {leader}, where nothing was to move"
            verdict.find("I6", mastership.begin, sentence, mastership.won)


def ends_then(mastership):
    """Whether the process stopped for good: then it must give its roles up."""
    return mastership.life.how in ("stopped", "exited", "killed")


def no_request_is_lost(recording, group, begin, verdict):
    scenario = recording.scenario
    allowed = scenario.expect.lost_requests_allowed
    if recording.client is None or allowed is None:
        return
    lost = [
        row
        for row in recording.client
        if row["error"] is not None and begin < row["at"] <= scenario.ended and scenario.address_behind(row["target"]) in group.addresses
    ]
    if len(lost) > allowed:
        sentence = f"clients lost {len(lost)} requests to {group.name}, where nothing was to move (allowed: {allowed:g})"
        verdict.find("I6", lost[0]["at"], sentence, lost[0], lost[-1])
