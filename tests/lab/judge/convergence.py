"""I3: once faults stop, within a stated bound every address is held by the one master, and the clients are served by it.

The bound, from design 3 to 5, after the last fault and after the last time that anything else than the master moved the address:
- the last promises and mutes run out, skew, a candidacy that fails and its random pause, and one more: `3 * lease + 6 * H` in all;
- a call under way ends: `call_timeout`; the pause before its retry: 2 s at most;
- the guard watch looks every 10 s (every second at first), and two looks may have to agree, 2 s apart;
- the answers of the cloud to a look and two calls: 3 s on a busy machine.
A fight that used up the budget of repairs may leave the address elsewhere for as long as its alarm stands.
"""
from . import tolerances

# Faults that may keep a cluster from converging for as long as they last. The dead stay dead, and need not be waited for.
LASTING = ("cut", "one-way", "freeze", "gateway", "metadata")


def bound(scenario):
    """Seconds, and the sentence that says why."""
    election = 3 * scenario.lease + 6 * scenario.heartbeat
    guard = tolerances.GUARD_READ + tolerances.GUARD_AGREEMENT
    seconds = election + scenario.call_timeout + tolerances.RETRY_PAUSE + guard + tolerances.CLOUD_ANSWERS
    reason = (
        f"election {election:.1f} s + call_timeout {scenario.call_timeout:.1f} s + retry {tolerances.RETRY_PAUSE:.0f} s"
        f" + guard watch {guard:.0f} s + answers {tolerances.CLOUD_ANSWERS:.0f} s"
    )
    return seconds, reason


def judge(recording, calls, verdict):
    del calls
    scenario = recording.scenario
    if not scenario.expect.converges:
        verdict.note(None, "I3 is not judged: the scenario does not expect convergence")
        return
    if reason := never_calm(recording):
        verdict.note(None, f"I3 is not judged: {reason}")
        return
    for group in scenario.groups:
        converged_since = group_converges(recording, group, verdict)
        if converged_since is not None:
            clients_are_served(recording, group, converged_since, verdict)


def never_calm(recording):
    """Why nobody can ask for convergence, or None."""
    scenario = recording.scenario
    awake = [node for node in scenario.members if recording.reach.awake(node, scenario.ended)]
    if len(awake) < scenario.quorum:
        return "fewer than a majority of the nodes run at the end"
    lasting = recording.faults.in_force(LASTING, scenario.ended) if scenario.faults_ended is None else []
    if lasting:
        return f"a fault lasts to the end of the recording ({lasting[0].kind} {lasting[0].detail})"
    return None


def faults_ended(recording):
    """When the scenario says so, or else with the last thing that was done to anybody."""
    scenario = recording.scenario
    if scenario.faults_ended is not None:
        return scenario.faults_ended
    return max([scenario.started] + [row["at"] for row in recording.faults.rows if row["at"] <= scenario.ended])


def group_converges(recording, group, verdict):
    """Returns since when all is well, or None after a finding."""
    scenario = recording.scenario
    masters = masters_at(recording, group.name, scenario.ended)
    if len(masters) != 1 and (lossy := [node for node in group.priorities if recording.lost_lines(node)]):
        verdict.note(scenario.ended, f"I3 is not judged for {group.name}: its roles are not known, for the journal of {lossy[0]} lost lines")
        return None
    if len(masters) != 1:
        named = " and ".join(m.node for m in masters) or "nobody"
        sentence = f"{named} is master of {group.name} at the end of the recording{left_over(scenario, faults_ended(recording))}"
        last = [m.lost for m in recording.masterships(group.name)[-1:]]
        verdict.find("I3", scenario.ended, sentence, *([m.won for m in masters] or last))
        return None
    master = masters[0]
    wanted = scenario.expect.master.get(group.name)
    if wanted is not None and master.node != wanted:
        verdict.find("I3", scenario.ended, f"{master.node} is master of {group.name} at the end, expected is {wanted}", master.won)
        return None
    if recording.holders is None:
        return None
    settled = [address_converges(recording, group, master, address, verdict) for address in group.addresses]
    return None if None in settled else max([master.begin, *settled])


def address_converges(recording, group, master, address, verdict):
    scenario = recording.scenario
    initial, changes = recording.changes(address)
    rows = [row for row in initial + changes if row["at"] <= scenario.ended]
    holder = rows[-1]["holder"] if rows else None
    if holder != master.node:
        if fought_over(recording, master, group, address):
            verdict.note(scenario.ended, f"{address} is at {holder}; {master.node} used up its repairs, and said so by an alarm")
            return None
        disturbed = max([faults_ended(recording)] + [row["at"] for row in rows if row["by"] != master.node])
        sentence = f"{address} of {group.name} is at {holder or 'nobody'}, not at the master {master.node}{left_over(scenario, disturbed)}"
        verdict.find("I3", scenario.ended, sentence, *rows[-1:], master.won)
        return None
    late = arrived_late(recording, rows, master)
    if late is not None:
        seconds, reason = bound(scenario)
        row, disturbed = late
        sentence = f"{address} came to {master.node} {row['at'] - disturbed:.1f} s after the last fault or disturbance"
        sentence += f"; the bound is {seconds:.1f} s ({reason})"
        verdict.find("I3", row["at"], sentence, row)
        return None
    return rows[-1]["at"]


def arrived_late(recording, rows, master):
    """The change by which the address came to the master later than the bound after what disturbed it, and when that was."""
    disturbed, seconds = faults_ended(recording), bound(recording.scenario)[0]
    for row in rows:
        if row["holder"] == master.node and row["by"] == master.node and row["at"] > disturbed + seconds:
            return row, disturbed
        if row["by"] != master.node:
            disturbed = max(disturbed, row["at"])
    return None


def masters_at(recording, group, at):
    return [m for m in recording.masterships(group) if m.begin <= at < m.end]


def left_over(scenario, disturbed):
    seconds, reason = bound(scenario)
    since = f"{scenario.ended - disturbed:.1f} s after the last fault or disturbance"
    if scenario.ended - disturbed >= seconds:
        return f", {since}; the bound is {seconds:.1f} s ({reason})"
    return f"; the recording ends {since}, before the bound of {seconds:.1f} s: let it run until it has converged"


def fought_over(recording, master, group, address):
    raised = [
        entry
        for entry in master.life.entries
        if entry.event in ("alarm-raised", "alarm-cleared")
        and entry["name"] == "address-fight"
        and entry["group"] in (group.name, None)
        and entry["address"] in (address, None)
    ]
    return bool(raised) and raised[-1].event == "alarm-raised"


def clients_are_served(recording, group, since, verdict):
    """By the master, in the last seconds of the recording."""
    if recording.client is None:
        return
    scenario = recording.scenario
    begin = max(since + tolerances.CLIENT_SETTLES, faults_ended(recording), scenario.ended - tolerances.CLIENT_WINDOW)
    master = masters_at(recording, group.name, scenario.ended)[0].node
    for address in group.addresses:
        rows = [row for row in recording.client if begin <= row["at"] <= scenario.ended and scenario.address_behind(row["target"]) == address]
        wrong = [row for row in rows if row["server"] not in (master, None)]
        lost = [row for row in rows if row["error"] is not None]
        if wrong:
            verdict.find("I3", wrong[0]["at"], f"{wrong[0]['server']} served {address} although {master} is the one master and holds it", wrong[0])
        elif len(rows) < tolerances.CLIENT_LEAST_REQUESTS:
            verdict.note(None, f"only {len(rows)} requests to {address} after it came to {master}: that none are lost is not judged")
        elif len(lost) > tolerances.CLIENT_ERROR_SHARE * len(rows):
            sentence = f"{len(lost)} of the last {len(rows)} requests to {address} were lost although {master} holds it"
            verdict.find("I3", lost[0]["at"], sentence, lost[0], lost[-1])
