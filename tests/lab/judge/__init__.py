"""The independent judge of the lab's recorded runs: reads one scenario's directory and says which invariants of the design (section 9) it breaks.

Written from the design and the contract alone: it shares no code with the product, and believes no node's status. Its witnesses are the
client's view, the cloud's record with the holders, what the lab did (faults, processes), what the balancers' files truly were, and the journals.

    judge(directory) -> Verdict        python3 -m judge DIRECTORY...

Judged are I1 (one actor), I2 (fenced), I3 (convergence), I4 (monotonic terms), I5 (gate), I6 (stability), I7 (bounded), I8 (explained), and
`input`: a recording that cannot be judged.
"""
from pathlib import Path

from . import bounded, convergence, explained, fenced, gate, monotonic, one_actor, stability
from .calls import match_calls
from .recording import Recording
from .scenario import Unusable
from .verdict import Finding, Verdict

__all__ = ["Finding", "Verdict", "judge"]

INVARIANTS = (one_actor, fenced, convergence, monotonic, gate, stability, bounded, explained)


def judge(directory):
    """Judges one scenario's run. Never raises for what the directory lacks or what its files say: that is a finding."""
    verdict = Verdict()
    try:
        recording = Recording(Path(directory), verdict)
    except Unusable as unusable:
        verdict.find("input", None, f"{unusable}: nothing can be judged")
        return verdict
    if not recording.any_daemon_ran():
        verdict.note(None, "no daemon ran: there is nothing to judge")
        verdict.findings.clear()
        return verdict
    calls = match_calls(recording)
    for invariant in INVARIANTS:
        invariant.judge(recording, calls, verdict)
    verdict.findings.sort(key=lambda finding: (finding.at is None, finding.at or 0.0))
    return verdict
