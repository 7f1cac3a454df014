"""What tests of spoiled histories share."""
import unittest


def journaled(history, node, event, **fields):
    """The node's records of one kind, in the order told."""
    return [r for r in history.journals[node] if r["event"] == event and all(r.get(key) == value for key, value in fields.items())]


class Spoiled(unittest.TestCase):
    def finds(self, history, invariant, words):
        verdict = history.verdict()
        found = [finding for finding in verdict.findings if finding.invariant == invariant and words in finding.sentence]
        self.assertTrue(found, f"no {invariant} with {words!r} in {[str(finding) for finding in verdict.findings]}")
        self.assertTrue(all(finding.evidence for finding in found))
        return verdict
