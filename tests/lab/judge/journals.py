"""A node's journal on the clock of the recording, and what can be read off it: lives, masterships, calls."""
import math
from dataclasses import dataclass, field
from datetime import datetime, timezone

from . import tolerances

MASTER = "master"


class Entry:
    """One record: its line, and when it was written by the clock of the recording."""

    def __init__(self, row, at):
        self.row = row
        self.at = at
        self.seq = row["seq"]
        self.event = row["event"]

    def __getitem__(self, key):
        return self.row[key]

    def evidence(self):
        return self.row.evidence()


@dataclass
class Life:
    """What one process wrote."""

    node: str
    boot: str
    entries: list = field(default_factory=list)
    # When the process ended and how: "killed", "exited", "stopped", "succeeded" (by another life), or "ran on".
    ended: float = math.inf
    how: str = "ran on"

    @property
    def begun(self):
        return self.entries[0].at

    @property
    def pid(self):
        return next((entry["pid"] for entry in self.entries if entry.event == "started"), None)


@dataclass
class Mastership:
    """One node's role of master in one group, by its own journal."""

    node: str
    group: str
    term: int | None
    life: Life
    won: Entry
    # The change away from it, if there was one.
    lost: Entry | None = None

    @property
    def begin(self):
        return self.won.at

    @property
    def end(self):
        """When it was over, at the latest with the process."""
        return min(self.life.ended, self.lost.at if self.lost else math.inf)

    def covers(self, seq):
        return self.won.seq < seq and (self.lost is None or seq < self.lost.seq)


@dataclass
class JournalCall:
    """A mutating call as its node tells it."""

    node: str
    life: Life
    call_id: int | None
    operation: str
    started: Entry | None = None
    finished: Entry | None = None
    mastership: Mastership | None = None
    cloud: object = None

    def _either(self, key):
        for entry in (self.started, self.finished):
            if entry is not None and entry[key] is not None:
                return entry[key]
        return None

    @property
    def first(self):
        return self.started or self.finished

    @property
    def address(self):
        return self._either("address")

    @property
    def group(self):
        return self._either("group")

    @property
    def term(self):
        return self._either("term")

    @property
    def cause(self):
        return self._either("cause")

    @property
    def outcome(self):
        return self.finished["outcome"] if self.finished else None

    @property
    def request_id(self):
        return self.finished["request_id"] if self.finished else None

    @property
    def unknown(self):
        """Whether it may have taken effect without the node's knowing (design 5)."""
        return self.outcome in (None, "timeout", "error")


class Journal:
    """All that one node wrote, in order."""

    def __init__(self, node, rows, clock, mutates):
        self.node = node
        self.entries = [Entry(row, clock(row["at"])) for row in rows]
        self.lives = split_by_boot(node, self.entries)
        self.masterships = [mastership for life in self.lives for mastership in masterships_of(life)]
        self.calls = [call for life in self.lives for call in calls_of(life, mutates)]
        for call in self.calls:
            call.mastership = self.mastership_at(call)

    def of(self, event):
        return [entry for entry in self.entries if entry.event == event]

    def mastership_at(self, call):
        """The mastership during which the call was started, going by the order of the lines, not by clocks."""
        candidates = (m for m in self.masterships if m.life is call.life and m.group == call.group)
        return next((m for m in candidates if m.covers(call.first.seq)), None)

    def gap_before(self, call):
        """Whether records were lost between the life's begin and this call, so that roles are not known."""
        return any(entry.event == "journal-gap" and entry.seq <= call.first.seq for entry in call.life.entries)


def split_by_boot(node, entries):
    lives = {}
    for entry in entries:
        life = lives.setdefault(entry["boot"], Life(node, entry["boot"]))
        life.entries.append(entry)
    ordered = list(lives.values())
    for life, successor in zip(ordered, ordered[1:]):
        life.ended, life.how = successor.begun, "succeeded"
    for life in ordered:
        stopped = next((entry for entry in life.entries if entry.event == "stopped"), None)
        if stopped:
            life.ended, life.how = min(life.ended, stopped.at), "stopped"
    return ordered


def masterships_of(life):
    found, current = [], {}
    for entry in life.entries:
        if entry.event != "role-changed":
            continue
        group = entry["group"]
        if group in current and entry["to"] != MASTER:
            current.pop(group).lost = entry
        elif entry["to"] == MASTER:
            if group in current:
                current[group].lost = entry
            current[group] = Mastership(life.node, group, entry["term"], life, entry)
            found.append(current[group])
    return found


def calls_of(life, mutates):
    calls, under_way = [], {}
    for entry in life.entries:
        if entry.event not in ("call-started", "call-finished") or not mutates(entry["operation"]):
            continue
        key = entry["call_id"]
        if entry.event == "call-started":
            call = JournalCall(life.node, life, key, entry["operation"], started=entry)
            calls.append(call)
            under_way[key] = call
        elif key in under_way:
            under_way.pop(key).finished = entry
        else:
            calls.append(JournalCall(life.node, life, key, entry["operation"], finished=entry))
    return calls


class WallClock:
    """Maps a node's wall time to the recording's clock, whatever the lab did to the former."""

    def __init__(self, ahead, steps):
        begins = [at for at, _ in steps]
        # Ahead of the recording's clock by how much, from when to when.
        self.readings = [(ahead + offset, begin, end) for (begin, offset), end in zip(steps, [*begins[1:], math.inf])]
        self.tolerance = tolerances.CLOCK if len(steps) == 1 else tolerances.SHIFTED_CLOCK

    def __call__(self, text):
        """`ValueError` if the text is no time."""
        wall = datetime.fromisoformat(text)
        seconds = (wall if wall.tzinfo else wall.replace(tzinfo=timezone.utc)).timestamp()
        candidates = [(seconds - ahead, begin, end) for ahead, begin, end in self.readings]
        # Of the clock's settings the one that was in force at the time that it gives.
        return min(candidates, key=lambda it: max(it[1] - it[0], it[0] - it[2], 0.0))[0]
