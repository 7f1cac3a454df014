"""I1: at any instant of real time at most one node of a group holds a valid lease.

A lease is not recorded; what is recorded is who won which term by whose votes, how long it called itself master, and what it did in that time.
"""
from . import tolerances


def judge(recording, calls, verdict):
    for group in recording.scenario.groups:
        one_winner_a_term(recording, group.name, verdict)
        no_overlap(recording, group.name, verdict)
        for mastership in recording.masterships(group.name):
            won_by_a_majority(recording, mastership, verdict)
    for journal in recording.journals.values():
        one_vote_a_term(journal, verdict)
        no_vote_while_muted(recording, journal, verdict)
    calls_of_the_winner(recording, calls, verdict)
    no_call_of_an_older_term(recording, calls, verdict)


def one_winner_a_term(recording, group, verdict):
    winners = {}
    for mastership in recording.masterships(group):
        other = winners.setdefault(mastership.term, mastership)
        if other is not mastership:
            again = "twice" if other.node == mastership.node else f"also by {other.node}"
            verdict.find(
                "I1", mastership.begin, f"{mastership.node} won term {mastership.term} of {group}, which was won {again}", other.won, mastership.won
            )


def no_overlap(recording, group, verdict):
    masterships = recording.masterships(group)
    for place, old in enumerate(masterships):
        for new in masterships[place + 1 :]:
            if new.node != old.node and new.begin < old.end:
                judge_overlap(recording, old, new, verdict)


def judge_overlap(recording, old, new, verdict):
    """Both call themselves master: a fault unless the older one did not run meanwhile (frozen, starved) and did nothing."""
    slack = recording.tolerance(old.node, new.node)
    end = min(old.end, new.end)
    awake = awake_between(recording, old.node, new.begin, end)
    longest = max((until - since for since, until in awake), default=0.0)
    both = f"{old.node} (term {old.term}) and {new.node} (term {new.term}) were both master of {new.group}"
    acted = next((entry for entry in old.life.entries if acts_in(entry, old, new, awake, slack)), None)
    if acted is not None and longest > slack:
        sentence = f"{both}, and {old.node} went on working at {acted.at - new.begin:+.3f} s without stepping down"
        verdict.find("I1", new.begin, sentence, old.won, new.won, acted, old.lost)
    elif longest > tolerances.STALL + slack:
        sentence = f"{both} for {longest:.3f} s in which {old.node} was not frozen"
        verdict.find("I1", new.begin, sentence, old.won, new.won, old.lost)
    elif longest > tolerances.LATE_STEP_DOWN + slack:
        verdict.note(new.begin, f"{old.node} journaled the end of its mastership {longest * 1000:.0f} ms late; it did nothing meanwhile")


def awake_between(recording, node, begin, end):
    """The parts of a span in which the node was not frozen, nor just thawing."""
    parts, since = [], begin
    for frozen, thawed in recording.faults.frozen(node):
        if thawed < since or frozen > end:
            continue
        if frozen > since:
            parts.append((since, frozen + tolerances.SIGNAL))
        since = max(since, thawed + tolerances.SIGNAL)
    if since < end:
        parts.append((since, end))
    return parts


# What only the loop that owns the leases writes: it tests the lease before it does anything else.
OF_THE_LOOP = {"vote-granted", "vote-denied", "call-started", "call-finished", "peer-up", "peer-down", "link-up", "link-down", "ownership-changed"}


def acts_in(entry, old, new, awake, slack):
    if entry.event not in OF_THE_LOOP or entry.seq <= old.won.seq or (old.lost and entry.seq >= old.lost.seq):
        return False
    # What happens in the very step in which the node steps down is not more of the old mastership.
    end = (old.lost.at if old.lost else new.end) - tolerances.CLOCK
    return new.begin + slack < entry.at < end and any(since + slack <= entry.at <= until for since, until in awake)


def won_by_a_majority(recording, mastership, verdict):
    node, scenario = mastership.node, recording.scenario
    votes, perhaps, stood = [], [], stood_at(recording, mastership)
    for voter in scenario.members:
        if voter == node:
            continue
        journal = recording.journals.get(voter)
        vote = vote_of(journal, mastership) if journal else None
        if vote is not None and vote.at <= mastership.begin + recording.tolerance(voter, node):
            votes.append(vote)
        elif not known_dead(mastership, voter, stood) and (reason := recording.why_missing(voter, stood)):
            perhaps.append(reason)
    own = 0 if muted(recording, mastership) else 1
    if len(votes) + own >= scenario.quorum:
        return
    told = f"{node} became master of {mastership.group} in term {mastership.term} with {len(votes)} journaled vote(s) of others"
    if len(votes) + own + len(perhaps) >= scenario.quorum:
        verdict.note(mastership.begin, f"{told}; a line may be missing: {'; '.join(perhaps)}")
    else:
        own_vote = "its own" if own else "none of its own, for it was muted after its start,"
        verdict.find("I1", mastership.begin, f"{told} and {own_vote}: fewer than {scenario.quorum}", mastership.won, *votes)


def known_dead(mastership, voter, stood):
    """Whether the candidate itself had told that the voter was gone: then it has no vote of it."""
    told = [e for e in mastership.life.entries if e.event in ("peer-up", "peer-down") and e["peer"] == voter and e.at <= stood]
    return bool(told) and told[-1].event == "peer-down"


def stood_at(recording, mastership):
    """When the candidacy began; a Holding master's is not journaled, but it lasts 2 H at most (design 3.4)."""
    before = [e for e in mastership.life.entries if e.event == "role-changed" and e["to"] == "candidate" and e["group"] == mastership.group]
    of_term = [entry for entry in before if entry["term"] == mastership.term and entry.seq < mastership.won.seq]
    return of_term[-1].at if of_term else mastership.begin - 2 * recording.scenario.heartbeat


def vote_of(journal, mastership):
    wanted = mastership.group, mastership.term, mastership.node
    return next((e for e in journal.of("vote-granted") if (e["group"], e["term"], e["candidate"]) == wanted), None)


def muted(recording, mastership):
    """Design 3.2: a node that started less than a lease ago has no vote, not even for itself."""
    started = next((entry for entry in mastership.life.entries if entry.event == "started"), None)
    return started is not None and mastership.begin - started.at < recording.scenario.lease - recording.tolerance(mastership.node)


def one_vote_a_term(journal, verdict):
    """A voter's own candidacy is a vote as well."""
    given = {}
    for entry in journal.entries:
        if entry.event == "vote-granted":
            candidate = entry["candidate"]
        elif entry.event == "role-changed" and entry["to"] == "candidate":
            candidate = journal.node
        else:
            continue
        first = given.setdefault((entry["group"], entry["term"]), (candidate, entry))
        if first[0] != candidate:
            sentence = f"{journal.node} gave its vote in term {entry['term']} of {entry['group']} to {first[0]} and to {candidate}"
            verdict.find("I1", entry.at, sentence, first[1], entry)


def no_vote_while_muted(recording, journal, verdict):
    for life in journal.lives:
        started = next((entry for entry in life.entries if entry.event == "started"), None)
        if started is None:
            continue
        mute = recording.scenario.lease - recording.tolerance(journal.node)
        for entry in life.entries:
            if entry.event == "vote-granted" and entry.at - started.at < mute:
                age = (entry.at - started.at) * 1000
                sentence = f"{journal.node} granted a vote {age:.0f} ms after its start, within the lease in which a restarted voter is muted"
                verdict.find("I1", entry.at, sentence, started, entry)


def calls_of_the_winner(recording, calls, verdict):
    for row in recording.mutations():
        call = calls.get(id(row))
        if call is None or call.term is None:
            continue
        winner = next((m for m in recording.masterships(call.group) if m.term == call.term), None)
        if winner is not None and winner.node != call.node:
            sentence = f"{call.node} made a call of term {call.term}, which {winner.node} had won"
            verdict.find("I1", row["arrived"], sentence, row, call.first, winner.won)


def no_call_of_an_older_term(recording, calls, verdict):
    for row in recording.mutations():
        call = calls.get(id(row))
        if call is None or call.term is None:
            continue
        newer = next(
            (
                m
                for m in recording.masterships(call.group)
                if m.node != call.node and m.term is not None and m.term > call.term and m.begin < row["arrived"] - recording.tolerance(m.node)
            ),
            None,
        )
        if newer is not None:
            judge_overtaken(recording, row, call, newer, verdict)


def judge_overtaken(recording, row, call, newer, verdict):
    """The design allows what was begun before and is still within its time-out: a call is never cut because the lease ended."""
    what = f"{call.node}'s {row['operation']} of term {call.term} arrived after {newer.node} had won term {newer.term} of {call.group}"
    slack = recording.tolerance(call.node, newer.node)
    began = call.started.at if call.started else None
    if began is None or began > newer.begin + slack:
        verdict.find("I1", row["arrived"], f"{what}, and was not begun before", row, call.first, newer.won)
        return
    if row["arrived"] <= began + recording.scenario.call_timeout + tolerances.ARRIVAL:
        verdict.note(row["arrived"], f"{what}; it was begun before, and the design never cuts a call")
    elif recording.faults.within(("cut", "one-way", "freeze"), call.node, began, row["arrived"]):
        verdict.note(row["arrived"], f"{what}; it was begun before, and a fault of the lab held it back")
    else:
        late = row["arrived"] - began
        verdict.find("I1", row["arrived"], f"{what}, {late:.3f} s after its beginning, which is beyond its time-out", row, call.started, newer.won)
