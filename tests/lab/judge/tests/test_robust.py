"""Recordings that are incomplete or unreadable: a clear finding, never a traceback."""
import contextlib
import io
import json
import tempfile
import unittest
from pathlib import Path

from ..__main__ import main
from .forge import NODES, good, started

LINES = (
    "[]", "null", "{}", "\x00\xff", '{"at": "soon"}', '{"at": true, "arrived": []}', '{"seq":1,"at":"soon","node":"a","boot":"b","event":"c"}',
)  # fmt: skip
FILES = ("client.jsonl", "cloud.jsonl", "holders.jsonl", "faults.jsonl", "processes.jsonl")


class Incomplete(unittest.TestCase):
    def finds(self, invariant, words, spoil, history=None):
        verdict = (history or good()).verdict(spoil)
        self.assertTrue(
            any(finding.invariant == invariant and words in finding.sentence for finding in verdict.findings), [str(f) for f in verdict.findings]
        )
        return verdict

    def test_a_missing_file(self):
        for name in FILES:
            self.finds("input", f"{name} cannot be read", lambda directory, name=name: (directory / name).unlink())

    def test_a_file_that_is_a_directory(self):
        def spoil(directory):
            (directory / "cloud.jsonl").unlink()
            (directory / "cloud.jsonl").mkdir()

        self.finds("input", "cloud.jsonl cannot be read", spoil)

    def test_no_scenario(self):
        self.finds("input", "nothing can be judged", lambda directory: (directory / "scenario.json").unlink())

    def test_a_scenario_that_lacks_something(self):
        for key in ("nodes", "groups", "clock", "started", "ended", "heartbeat_ms"):

            def spoil(directory, key=key):
                path = directory / "scenario.json"
                fields = json.loads(path.read_text())
                del fields[key]
                path.write_text(json.dumps(fields))

            self.finds("input", "nothing can be judged", spoil)

    def test_a_scenario_that_is_no_json(self):
        for text in ("", "{", "[]", "null", '{"nodes": 3}'):
            self.finds("input", "nothing can be judged", lambda directory, text=text: (directory / "scenario.json").write_text(text))

    def test_a_line_that_is_cut_off(self):
        for name in FILES:

            def spoil(directory, name=name):
                path = directory / name
                path.write_bytes(path.read_bytes()[:-9])

            self.finds("input", f"{name}:", spoil)

    def test_a_journal_line_that_is_cut_off(self):
        def spoil(directory):
            path = directory / "lb-b/journal.jsonl"
            path.write_bytes(path.read_bytes()[:-9])

        # Nobody killed lb-b: that is a finding.
        self.finds("input", "lb-b/journal.jsonl:", spoil)
        # The same of a node that was killed is only noted.
        history = started()
        history.kill("lb-b", 9.0)
        verdict = history.verdict(spoil)
        self.assertEqual([], [str(finding) for finding in verdict.findings])
        self.assertTrue(any("cut off" in note for note in verdict.notes))

    def test_an_empty_journal(self):
        for node in NODES:
            self.finds("I8", f"{node} ran but its journal is empty", lambda directory, node=node: (directory / node / "journal.jsonl").write_text(""))

    def test_a_missing_journal(self):
        for node in NODES:
            self.finds("input", "does not exist", lambda directory, node=node: (directory / node / "journal.jsonl").unlink())

    def test_lines_of_another_kind(self):
        for name in (*FILES, "lb-b/journal.jsonl"):
            for line in LINES:

                def spoil(directory, name=name, line=line):
                    path = directory / name
                    path.write_text(path.read_text() + line + "\n")

                self.finds("input", f"{name}:", spoil)

    def test_a_recording_without_daemons_is_none_of_the_judges(self):
        history = good()
        history.client, history.processes = [], []
        history.journals = {node: [] for node in NODES}

        def spoil(directory):
            for path in (directory / "client.jsonl", *directory.glob("*/journal.jsonl")):
                path.unlink()

        verdict = history.verdict(spoil)
        self.assertEqual([], [str(finding) for finding in verdict])
        self.assertTrue(any("no daemon ran" in note for note in verdict.notes))

    def test_all_files_empty(self):
        def spoil(directory):
            for name in FILES:
                (directory / name).write_text("")
            for node in NODES:
                (directory / node / "journal.jsonl").write_text("")

        self.finds("I3", "nobody is master", spoil)

    def test_a_clock_fault_that_does_not_say_by_how_much(self):
        history = good()
        history.fault("clock", "lb-b", 2.0)
        self.finds("input", "by how much", None, history)

    def test_rotated_journals_are_read_first(self):
        def spoil(directory):
            path = directory / "lb-b/journal.jsonl"
            first, *rest = path.read_text().splitlines(keepends=True)
            (directory / "lb-b/journal.jsonl.1").write_text(first)
            path.write_text("".join(rest))

        self.assertEqual([], [str(finding) for finding in good().verdict(spoil).findings])


class CommandLine(unittest.TestCase):
    def run_main(self, *words):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(list(map(str, words)))
        return code, out.getvalue(), err.getvalue()

    def test_exit_codes(self):
        with tempfile.TemporaryDirectory() as name:
            history = good()
            history.requests()
            history.write(Path(name))
            self.assertEqual((0, f"{name}: nothing found\n", ""), self.run_main(name))
            (Path(name) / "cloud.jsonl").unlink()
            code, out, _ = self.run_main(name)
            self.assertEqual(1, code)
            self.assertIn("input: cloud.jsonl cannot be read", out)
        self.assertEqual(2, self.run_main()[0])
        self.assertEqual(2, self.run_main("--help-me")[0])


if __name__ == "__main__":
    unittest.main()
