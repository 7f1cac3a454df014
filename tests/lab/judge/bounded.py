"""I7: per address and takeover one mutating call (fenced: two) when nothing fails, then retries and repairs within their budgets; at most the
configured moves per hour.

A call beyond the first must have its reason outside the node: an outcome that was not ok, or an address that had left. What the node itself
calls a repair counts for nothing here.
"""
from . import tolerances
from .recording import GIVING, TAKING


def judge(recording, calls, verdict):
    repairs = []
    if recording.holders is not None:
        for journal in recording.journals.values():
            for mastership in journal.masterships:
                made = [call for call in journal.calls if call.mastership is mastership]
                for address in sorted({call.address for call in made if call.address}):
                    repairs += walk(recording, address, [call for call in made if call.address == address], verdict)
    repairs_within_budget(recording, repairs, verdict)
    no_storm(recording, verdict)
    for group in recording.scenario.groups:
        for address in group.addresses:
            moves_within_budget(recording, group, address, verdict)
            moves_as_expected(recording, group, address, verdict)


def walk(recording, address, made, verdict):
    """Follows one mastership's calls for one address; returns those that began a repair."""
    repairs, settled, failed, gave = [], None, False, None
    for call in made:
        if call.cloud is None and call.outcome != "ok":
            failed = failed or call.unknown  # It never reached the cloud; the node cannot know that.
            continue
        if settled is not None:
            left = left_since(recording, address, call, settled)
            if left is None:
                sentence = f"{call.node} made a needless {call.operation}: it held {address} since its call before, which had succeeded"
                verdict.find("I7", call.first.at, sentence, settled.first, call.first, call.cloud)
            else:
                repairs.append(call)
            settled = None
        if call.operation in GIVING:
            judge_first_step(recording, call, failed, gave, verdict)
        if call.outcome != "ok":
            failed = True
            gave = None
        elif call.operation in TAKING:
            settled, gave = call, None
        else:
            gave = call
    return repairs


def judge_first_step(recording, call, excused, gave, verdict):
    """The first call of a fenced claim: needed only when it must be fenced, and only once."""
    if gave is not None:
        verdict.find("I7", call.first.at, f"{call.node} took {call.address} away twice without claiming it in between", gave.first, call.first)
    elif not recording.scenario.fenced and not excused:
        sentence = f"{call.node} made two calls for {call.address} where one was enough: claim = \"fast\", and nothing had failed"
        verdict.find("I7", call.first.at, sentence, call.first, call.cloud)


def left_since(recording, address, call, settled):
    """The change that took the address away from the node between its claim and this call."""
    claimed = settled.cloud["landed"] or settled.cloud["arrived"] if settled.cloud is not None else settled.first.at
    slack = recording.tolerance(call.node)
    rows = recording.changes(address)[1]
    return next((row for row in rows if claimed - slack <= row["at"] <= call.first.at + slack and row["holder"] != call.node), None)


def repairs_within_budget(recording, repairs, verdict):
    budget = recording.scenario.repairs
    by_address = {}
    for call in sorted(repairs, key=lambda call: call.first.at):
        by_address.setdefault((call.node, call.address), []).append(call)
    for (node, address), made in by_address.items():
        for first, over in zip(made, made[budget:]):
            if over.first.at - first.first.at < tolerances.REPAIR_WINDOW:
                sentence = f"{node} repaired {address} {budget + 1} times within a minute; the budget is {budget}"
                verdict.find("I7", over.first.at, sentence, first.first, over.first)
                break


def no_storm(recording, verdict):
    arrivals = {}
    for row in recording.mutations():
        arrivals.setdefault((row["node"], row["address"]), []).append(row)
    for (node, address), rows in arrivals.items():
        for first, last in zip(rows, rows[tolerances.STORM_CALLS :]):
            if last["arrived"] - first["arrived"] < tolerances.STORM_WINDOW:
                many = f"more than {tolerances.STORM_CALLS} calls for {address} within {tolerances.STORM_WINDOW:.0f} s"
                sentence = f"{node} made {many}: retries do not pause"
                verdict.find("I7", last["arrived"], sentence, first, last)
                break


def moves_within_budget(recording, group, address, verdict):
    budget = recording.scenario.moves_per_hour
    moves = [move for move in recording.moves(address) if move[0]["by"] in recording.scenario.members]
    for (first, _, _), over in zip(moves, moves[budget:]):
        row, old, new = over
        if row["at"] - first["at"] >= tolerances.MOVE_WINDOW or surely_dead(recording, group, old, new, row["at"]):
            continue
        sentence = f"{address} moved from {old} to {new}, its move number {budget + 1} within an hour"
        sentence += f"; the budget is {budget}, and {old} was not surely dead"
        verdict.find("I7", row["at"], sentence, first, row)
        return


def moves_as_expected(recording, group, address, verdict):
    """Whoever made them; where none is expected, I6 judges more closely. That there are enough of them is for the scenario to ask."""
    expected = recording.scenario.expect.moves.get(group.name)
    if expected is None or expected == (0, 0) or recording.holders is None:
        return
    moves = recording.moves(address)
    if len(moves) > expected[1]:
        sentence = f"{address} moved {len(moves)} times where at most {expected[1]} are expected"
        verdict.find("I7", moves[expected[1]][0]["at"], sentence, *[row for row, _, _ in moves])


def surely_dead(recording, group, old, new, at):
    """Beyond the budget only evidence of a dead master moves the group: its process is gone, or nobody has heard of it for long."""
    won = [m for m in recording.masterships(group.name) if m.node == new and m.begin <= at]
    decided = won[-1].begin if won else at
    long_ago = decided - tolerances.SURELY_DEAD_LEASES * recording.scenario.lease
    silent = recording.faults.frozen(old) + recording.reach.unheard(old)
    if any(since <= long_ago and until >= decided for since, until in silent):
        return True
    journal = recording.journals.get(old)
    lives = journal.lives if journal else []
    return bool(lives) and not any(life.begun <= decided < life.ended for life in lives)

