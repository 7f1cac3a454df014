"""I5: no node becomes Master by preemption, handover or rejoin with a configuration other than the reference (design 6 and 9).

By each node's journal alone: who stands has the right to. By the lab's own record of what was on each balancer's disk and what Nginx had
loaded (configurations.jsonl; without it the rest is not judged): who came into service, was voted for or was kept out had a configuration that
called for it. The reference is what the acting master of the first group had loaded; an exception holds only where its conditions were true.
"""
from . import tolerances

SERVING = ("probation", "ready")
EXCEPTIONS = ("drift", "last-resort", "admitted", "cold-start")


def judge(recording, calls, verdict):
    del calls
    for journal in recording.journals.values():
        for life in journal.lives:
            stands_by_right(recording, life, verdict)
    if recording.configurations is None:
        return
    gate = Gate(recording)
    for mastership in recording.masterships():
        was_let_through(gate, mastership, verdict)
    for journal in recording.journals.values():
        if journal.node in gate.balancers:
            for life in journal.lives:
                standings_fit(gate, life, verdict)


# --- by the journals ------------------------------------------------------------------------------------------------------------------------


def stands_by_right(recording, life, verdict):
    """Only who is Ready or on probation stands; a quarantined node where the configuration allows that."""
    standing, since = "joining", None
    allowed = (*SERVING, "quarantined") if recording.scenario.last_resort else SERVING
    for entry in life.entries:
        if entry.event == "journal-gap":
            return
        if entry.event == "standing-changed":
            standing, since = entry["to"], entry
        elif entry.event == "role-changed" and entry["to"] in ("candidate", "master") and standing not in allowed:
            if since is None and life.entries[0].event != "started":
                return  # What was before is not known.
            verdict.find("I5", entry.at, f"{life.node} became {entry['to']} of {entry['group']} while it was {standing}", since, entry)


def standing_at(life, at):
    """The standing and since when, by the journal."""
    standing, since = "joining", None
    for entry in life.entries:
        if entry.at > at:
            break
        if entry.event == "standing-changed":
            standing, since = entry["to"], entry
    return standing, since


# --- by what was on the disks ---------------------------------------------------------------------------------------------------------------


class Gate:
    """What each balancer's configuration was, and what it had to be."""

    def __init__(self, recording):
        self.recording = recording
        self.balancers = [name for name, member in recording.scenario.members.items() if not member.witness]
        self.rows = {name: [row for row in recording.configurations if row["node"] == name] for name in self.balancers}
        self.first_group = recording.scenario.groups[0].name
        self.led = recording.masterships(self.first_group)

    def state_rows(self, node, since, until):
        """The states from the one in force at `since` to the one at `until`."""
        states = [row for row in self.rows[node] if row["override"] is None]
        before = [row for row in states if row["at"] <= since]
        return before[-1:] + [row for row in states if since < row["at"] <= until]

    def had(self, node, since, until):
        """The configurations that it had within that time: on disk and loaded alike, or with no Nginx that could have loaded anything else."""
        rows = self.state_rows(node, since, until)
        return {row["files"] for row in rows if row["loaded"] in (None, row["files"])}

    def loaded(self, node, since, until):
        """What its Nginx ran with; what is on disk where none ran."""
        return {row["loaded"] or row["files"] for row in self.state_rows(node, since, until)}

    def references(self, at, before=None):
        """What may have been the reference at a time: what the last acting master had loaded, give or take what it takes to notice.

        `before`: a mastership that does not count, because it is the one that is judged. Empty: there is none yet.
        """
        led = [m for m in self.led if m.begin < at and m is not before]
        if not led:
            return set()
        last = led[-1]
        end = min(last.end, at)
        since = max(last.begin, end - tolerances.NOTICES_CHANGE)
        return self.loaded(last.node, since, end)

    def equals_reference(self, node, at, life, before=None):
        """Whether it can be that the node had the reference: of this life, whose beginning reads everything, the last moments."""
        references = self.references(at, before)
        since = max(life.begun, at - tolerances.NOTICES_CHANGE)
        return not references or bool(self.had(node, since, at) & references)

    def clearly_in_service(self, node, at):
        """Another than that node that had the reference, was in service and could be heard for the last lease."""
        lease, recording = self.recording.scenario.lease, self.recording
        for other in self.balancers:
            if other == node or other not in recording.journals:
                continue
            life = next((life for life in recording.journals[other].lives if life.begun <= at - lease and at + lease < life.ended), None)
            if life is None or standing_at(life, at - lease)[0] not in SERVING or standing_at(life, at + lease)[0] not in SERVING:
                continue
            moments = (at - lease, at)
            heard = all(recording.reach.awake(other, moment) and recording.reach.answering(other, moment) for moment in moments)
            spare = self.references(at)
            if heard and not failing(life, at) and self.had(other, at - tolerances.NOTICES_CHANGE, at) == spare and len(spare) == 1:
                return other
        return None

    def overridden(self, node, at):
        """Whether an operator let the node lead with what it has: the last such order before, for the same files."""
        since = at - tolerances.NOTICES_CHANGE
        return any(row["override"] and row["at"] <= at and row["files"] in self.had_on_disk(node, since, at) for row in self.rows[node])

    def had_on_disk(self, node, since, until):
        return {row["files"] for row in self.state_rows(node, since, until)}

    def cold_start(self, at):
        """Whether nobody led, and all balancers may have had the same."""
        if any(m.begin < at < m.end for m in self.led):
            return False
        sets = [self.had(node, max(self.begun(node, at), at - tolerances.NOTICES_CHANGE), at) for node in self.balancers]
        return bool(set.intersection(*sets))

    def begun(self, node, at):
        """When the life began that the node was in."""
        lives = self.recording.journals[node].lives if node in self.recording.journals else []
        return max((life.begun for life in lives if life.begun <= at), default=at)


def failing(life, at):
    """Whether a check of it failed; then it is no better."""
    states = {entry["check"]: entry["state"] for entry in life.entries if entry.event == "check-changed" and entry.at <= at}
    return "failing" in states.values()


# --- elections ------------------------------------------------------------------------------------------------------------------------------


def was_let_through(gate, mastership, verdict):
    """A new master had the reference, or an exception that held."""
    node, at = mastership.node, mastership.begin
    if not gate.references(at, before=mastership):
        return  # A brand-new cluster: what it has becomes the reference.
    votes = votes_for(gate.recording, mastership)
    equal = gate.equals_reference(node, at, mastership.life, before=mastership)
    what = f"{node} became master of {mastership.group} in term {mastership.term} by {mastership.won['cause']}"
    for voter, vote in votes:
        exception = vote["exception"]
        if exception is None and not equal:
            verdict.find("I5", at, f"{what} with a configuration that was not the reference, and {voter} voted for it without an exception", vote)
        elif exception is not None and not holds(gate, exception, mastership):
            verdict.find("I5", at, f"{what} by {voter}'s vote for {exception!r}, which it was not: {why_not(gate, exception, mastership)}", vote)
    if not votes and not equal:
        missing = [reason for other in gate.recording.scenario.members if (reason := gate.recording.why_missing(other, at))]
        sentence = f"{what} with a configuration that was not the reference, and no vote tells why"
        if missing:
            verdict.note(at, f"{sentence}: {missing[0]}")
        else:
            verdict.find("I5", at, sentence, mastership.won)


def votes_for(recording, mastership):
    found = []
    for voter, journal in recording.journals.items():
        for entry in journal.of("vote-granted"):
            if (entry["group"], entry["term"], entry["candidate"]) == (mastership.group, mastership.term, mastership.node):
                found.append((voter, entry))
    return found


def holds(gate, exception, mastership):
    node, at = mastership.node, mastership.begin
    if exception == "drift":
        return standing_at(mastership.life, at)[0] in SERVING and gate.clearly_in_service(node, at) is None
    if exception == "last-resort":
        return gate.recording.scenario.last_resort and gate.clearly_in_service(node, at) is None
    if exception == "admitted":
        return gate.overridden(node, at)
    if exception == "cold-start":
        return gate.cold_start(at)
    return False


def why_not(gate, exception, mastership):
    other = gate.clearly_in_service(mastership.node, mastership.begin)
    if exception in ("drift", "last-resort") and other:
        return f"{other} had the reference, was in service and could be heard"
    return {
        "drift": "it was not in service",
        "last-resort": "last_resort is not set",
        "admitted": "no operator admitted it with that configuration",
        "cold-start": "somebody led, or the balancers had not all the same",
    }.get(exception, f"there are only {', '.join(EXCEPTIONS)}")


# --- standings ------------------------------------------------------------------------------------------------------------------------------


def standings_fit(gate, life, verdict):
    """Into service comes who has the reference; out of it, to quarantine, who has not."""
    for entry in life.entries:
        if entry.event != "standing-changed":
            continue
        node, at = life.node, entry.at
        equal = gate.equals_reference(node, at + 0.001, life)  # A mastership of the same millisecond may be its reason.
        if entry["to"] in SERVING and entry["from"] not in SERVING and not equal:
            if not gate.overridden(node, at) and not gate.cold_start(at):
                sentence = f"{node} came into service ({entry['to']}) with a configuration that was not the reference"
                verdict.find("I5", at, sentence, entry, *gate.state_rows(node, at, at))
        if entry["to"] == "quarantined" and was_surely_equal(gate, life, at):
            sentence = f"{node} was quarantined though its configuration had been the reference for {tolerances.NOTICES_CHANGE:g} s"
            verdict.find("I5", at, sentence, entry, *gate.state_rows(node, at, at))


def was_surely_equal(gate, life, at):
    """Whether it had nothing else in this life's last moments, and nothing else was the reference."""
    since = max(life.begun - tolerances.STALL, at - tolerances.NOTICES_CHANGE)
    references = gate.references(at)
    rows = gate.state_rows(life.node, since, at)
    return len(references) == 1 and bool(rows) and all({row["files"], row["loaded"] or row["files"]} == references for row in rows)
