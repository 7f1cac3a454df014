"""One scenario's directory, read and checked: what all invariants are judged on."""
from . import schemas, tolerances
from .faults import Faults
from .journals import Journal, WallClock
from .reach import Reach
from .rows import read_rows
from .scenario import read_scenario

TAKING = {"AssociateAddress", "AssignPrivateIpAddresses", "AssignIpv6Addresses", "ReplaceRoute", "CreateRoute", "ModifyManagedPrefixList"}
GIVING = {"DisassociateAddress", "UnassignPrivateIpAddresses", "UnassignIpv6Addresses", "DeleteRoute"}

def mutates(operation):
    return operation in TAKING or operation in GIVING


class Recording:
    """Everything recorded. A file that is missing is `None`, and has been complained about."""

    def __init__(self, directory, verdict):
        self.scenario = read_scenario(directory / "scenario.json")
        verdict.started = self.scenario.started
        self.verdict = verdict
        self.directory = directory
        self.client = self._rows("client.jsonl", schemas.CLIENT)
        self.cloud = self._until_end(self._rows("cloud.jsonl", schemas.CLOUD), "arrived")
        self.holders = self._until_end(self._rows("holders.jsonl", schemas.HOLDERS), "at")
        self.processes = self._rows("processes.jsonl", schemas.PROCESSES)
        self.faults = Faults(self._rows("faults.jsonl", schemas.FAULTS) or [])
        # Without [consistency] nothing is compared that differs in the lab.
        rows = self._rows("configurations.jsonl", schemas.CONFIGURATIONS) if self.scenario.compares else None
        self.configurations = self._until_end(rows, "at")
        self.journals = {}
        for node in self.scenario.members:
            if (journal := self._journal(node)) is not None:
                self.journals[node] = journal
        self._end_lives()
        self.reach = Reach(self.scenario, self.faults, self.processes)

    # --- reading ----------------------------------------------------------------------------------------------------------------------------

    def _rows(self, name, schema):
        try:
            rows, complaints = read_rows(self.directory / name, name, schema)
        except OSError as error:
            self.verdict.find("input", None, f"{name} cannot be read ({error.strerror}): what rests on it is not judged")
            return None
        for complaint in complaints:
            self.verdict.find("input", None, f"{complaint.sentence}; the line is left out")
        return rows

    def _until_end(self, rows, key):
        """What the lab's own clearing up causes after the end is no part of the run."""
        return rows and [row for row in rows if row[key] <= self.scenario.ended]

    def _journal(self, node):
        files = self._journal_files(node)
        if not files:
            if self.ran(node):
                self.verdict.find("input", None, f"{node} ran but {node}/journal.jsonl does not exist: what it did cannot be explained")
            return None
        rows, torn = [], []
        for path in files:
            shown = f"{node}/{path.name}"
            try:
                more, complaints = read_rows(path, shown, schemas.JOURNAL)
            except OSError as error:
                self.verdict.find("input", None, f"{shown} cannot be read: {error.strerror}")
                continue
            rows += more
            torn += complaints
        clock = self._clock(node)
        rows = [row for row in rows if self._dated(row, clock)]
        self._complain_of_journal(node, rows, torn)
        return Journal(node, [row for row in rows if clock(row["at"]) <= self.scenario.ended], clock, mutates)

    def _journal_files(self, node):
        """The rotated ones first, the oldest (the highest number) before all."""
        rotated = [path for path in (self.directory / node).glob("journal.jsonl.*") if path.suffix[1:].isdigit()]
        rotated.sort(key=lambda path: -int(path.suffix[1:]))
        current = self.directory / node / "journal.jsonl"
        return rotated + ([current] if current.exists() else [])

    def _clock(self, node):
        steps, unclear = self._clock_steps(node)
        for row in unclear:
            self.verdict.find("input", row["at"], f"the fault line does not say by how much {node}'s clock was set (detail: offset, in seconds)", row)
        return WallClock(self.scenario.wall_ahead, steps)

    def _clock_steps(self, node):
        return self.faults.clock_steps(node, self.scenario.started - tolerances.STALL)

    def _dated(self, row, clock):
        try:
            clock(row["at"])
        except (ValueError, OverflowError):
            self.verdict.find("input", None, f"{row.file}:{row.number} has no readable time: {row['at']!r}; the line is left out")
            return False
        return True

    def _complain_of_journal(self, node, rows, complaints):
        """A process that dies in the middle of a line leaves it torn (the next one ends it); else whatever is unreadable is a finding."""
        killed = self.processes is None or any(row["node"] == node and row["what"] in ("killed", "exited") for row in self.processes)
        harmed = bool(self.faults.spans(("disk",), node))
        for complaint in complaints:
            if killed or harmed:
                self.verdict.note(None, f"{complaint.sentence}; the line is left out, for its process was killed or its disk was harmed")
            else:
                self.verdict.find("input", None, f"{complaint.sentence}, though nobody killed the process; the line is left out")
        if not rows and self.ran(node) and not harmed:
            self.verdict.find("I8", None, f"{node} ran but its journal is empty: nothing that it did is explained")

    # --- processes --------------------------------------------------------------------------------------------------------------------------

    def ran(self, node):
        """Whether the daemon of the node ran at all; in doubt, it did."""
        return self.processes is None or any(row["node"] == node and row["what"] == "started" for row in self.processes)

    def any_daemon_ran(self):
        """The lab tests itself as well, without daemons. Without a record of processes, or with journals, some did."""
        return any(self.ran(node) for node in self.scenario.members) or bool(self.journals)

    def _end_lives(self):
        """A journal does not know that its process was killed; processes.jsonl does."""
        for node, journal in self.journals.items():
            ends = [row for row in self.processes or [] if row["node"] == node and row["what"] in ("killed", "exited")]
            pids = {row["pid"] for row in self.processes or [] if row["node"] == node}
            for life in journal.lives:
                own = [row for row in ends if row["pid"] == life.pid] if life.pid in pids else ends
                # A pid is used again, and the end may be recorded a little before the last line was dated.
                row = next((row for row in own if row["at"] >= life.begun), None)
                if row is not None and row["at"] <= life.ended:
                    life.ended, life.how = max(self._died(row, life), life.entries[-1].at), row["what"]

    def _died(self, row, life):
        """The lab notices a death a moment late; its own order to kill this life, and no earlier one, came just before."""
        orders = [f["at"] for f in self.faults.rows if (f["fault"], f["node"]) == ("kill", row["node"]) and f["on"] is not False and f["at"] >= life.begun]
        return max((at for at in orders if row["at"] - tolerances.DEATH_NOTICED <= at <= row["at"]), default=row["at"])

    def ends(self, node):
        """When processes of the node ended otherwise than by stopping in good order."""
        ends = [life.ended for life in self.journals[node].lives if life.how in ("killed", "exited", "succeeded")] if node in self.journals else []
        return ends + [row["at"] for row in self.processes or [] if row["node"] == node and row["what"] == "killed"]

    def lost_lines(self, node):
        """Whether the node's disk was harmed, so that it may have changed roles without a line."""
        spans = self.faults.spans(("disk",), node)
        to_the_end = any(until >= self.scenario.ended - tolerances.JOURNAL_TAIL for _, until in spans)
        told = node in self.journals and bool(self.journals[node].of("journal-gap"))
        return bool(spans) and (told or to_the_end)

    def why_missing(self, node, at, delay=0.0):
        """Why a line that belongs to this time may be missing in the node's journal without fault, or None. `delay`: how much earlier it
        may belong."""
        if node not in self.journals:
            return f"{node} left no journal"
        for end in self.ends(node):
            if end - tolerances.JOURNAL_TAIL <= at <= end + tolerances.CLOCK + delay:
                return f"{node} was killed {max(end - at, 0) * 1000:.0f} ms later, and journals are written a moment after the fact"
        if at >= self.scenario.ended - tolerances.JOURNAL_TAIL:
            return "the recording ended within a second"
        if self.faults.within(("disk",), node, at - tolerances.JOURNAL_TAIL, at + tolerances.JOURNAL_TAIL):
            return f"{node}'s disk was harmed"
        before = None
        for entry in self.journals[node].entries:
            if entry.event == "journal-gap" and (before is None or before.at - tolerances.CLOCK <= at) and at <= entry.at + tolerances.JOURNAL_TAIL:
                return f"{node}'s journal names a gap there"
            before = entry
        return None

    # --- what several invariants ask --------------------------------------------------------------------------------------------------------

    def tolerance(self, *nodes):
        """How far the times of these nodes' journals may be off."""
        return max((self._clock_tolerance(node) for node in nodes), default=tolerances.CLOCK)

    def _clock_tolerance(self, node):
        return tolerances.SHIFTED_CLOCK if len(self._clock_steps(node)[0]) > 1 else tolerances.CLOCK

    def masterships(self, group=None):
        """All of them, in the order of their begin."""
        found = [m for journal in self.journals.values() for m in journal.masterships if group is None or m.group == group]
        return sorted(found, key=lambda m: m.begin)

    def is_probe(self, row):
        """The preflight of an API without DryRun (design 5.7): calls that can change nothing.

        The node's own primary address, to its own interface; or an address that no interface ever has (link-local), off its own.
        """
        member = self.scenario.members.get(row["node"])
        if member is None or row["to"] not in (member.interface, None):
            return False
        nowhere = row["operation"] == "UnassignPrivateIpAddresses" and str(row["address"]).startswith("169.254.") and (row["status"] or 0) >= 400
        return nowhere or (member.ip is not None and row["address"] == member.ip)

    def mutations(self):
        """The cluster's mutating calls as the cloud saw them, in order of arrival."""
        return [
            row
            for row in self.cloud or []
            if mutates(row["operation"]) and not row["dry_run"] and row["node"] in self.scenario.members and not self.is_probe(row)
        ]

    def changes(self, address):
        """How the holder of an address changed: the state at the start (empty: nobody held it), then the changes."""
        rows = sorted((row for row in self.holders or [] if row["address"] == address), key=lambda row: row["at"])
        at_start = 1 if rows and rows[0]["by"] in ("start", None) else 0
        return rows[:at_start], rows[at_start:]

    def moves(self, address):
        """The changes that brought the address from one holder to another, whether or not nobody held it in between: `(row, from, to)`."""
        initial, changes = self.changes(address)
        last = initial[0]["holder"] if initial else None
        moves = []
        for row in changes:
            holder = row["holder"]
            if holder is not None and last is not None and holder != last:
                moves.append((row, last, holder))
            last = holder or last
        return moves
