"""What the judge says."""
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Finding:
    """An invariant that the recording breaks (`invariant` is `input` where the recording itself cannot be judged)."""

    invariant: str
    at: float | None
    sentence: str
    evidence: tuple = ()

    def __str__(self):
        lines = [f"{self.invariant}: {self.sentence}"]
        lines += [f"    {line}" for line in self.evidence]
        return "\n".join(lines)


@dataclass
class Verdict:
    """Findings are faults; notes are what was excused or could not be judged, and why. It is the collection of its findings: empty is well."""

    findings: list = field(default_factory=list)
    notes: list = field(default_factory=list)
    started: float = 0.0

    def find(self, invariant, at, sentence, *rows):
        """Adds a finding; `rows` are the lines that show it."""
        evidence = tuple(row.evidence() for row in rows if row is not None)
        self.findings.append(Finding(invariant, at, self._dated(at, sentence), evidence))

    def note(self, at, sentence):
        dated = self._dated(at, sentence)
        if dated not in self.notes:
            self.notes.append(dated)

    def _dated(self, at, sentence):
        return sentence if at is None else f"at {at - self.started:+.3f} s {sentence}"

    def broken(self):
        """The invariants that are broken."""
        return {finding.invariant for finding in self.findings}

    def __iter__(self):
        return iter(self.findings)

    def __len__(self):
        return len(self.findings)
