"""Histories that break I3, I6, I7 or I8, and must be flagged: each a small edit of a good one."""
import unittest

from .forge import EIP, PUBLIC, START, good, quiet, started
from .spoiled import Spoiled, journaled


class Convergence(Spoiled):
    def test_an_address_that_stays_with_the_dead(self):
        history = good()
        history.holders = [row for row in history.holders if row["holder"] != "lb-b"]
        self.finds(history, "I3", "not at the master lb-b")

    def test_an_address_that_nobody_holds(self):
        history = good()
        history.operator(20.0, None)
        self.finds(history, "I3", "is at nobody")

    def test_an_address_that_comes_too_late(self):
        history = good()
        history.operator(5.5, "eni-x")
        history.call("lb-b", 29.0, 2)
        self.finds(history, "I3", "the bound is")

    def test_nobody_leads_in_the_end(self):
        history = good()
        history.role("lb-b", 6.0, "master", "holding", 2, "master-silent")
        self.finds(history, "I3", "nobody is master")

    def test_two_lead_in_the_end(self):
        history = good()
        history.elect("lb-a", 8.0, 3, "preempt")
        self.finds(history, "I3", "and")

    def test_another_leads_than_the_scenario_says(self):
        history = good()
        history.scenario["expect"]["master"] = {"web": "lb-a"}
        self.finds(history, "I3", "expected is lb-a")

    def test_clients_that_are_served_by_another(self):
        history = good()
        history.requests()
        for row in history.client[-20:]:
            row["server"] = "lb-a"
        self.finds(history, "I3", "lb-a served")

    def test_the_only_request_after_the_move_is_served_by_another(self):
        history = good()
        history.requests()
        history.scenario.update(faults_ended=None, ended=START + 5.12)
        history.client = [row for row in history.client if row["at"] <= START + 5.1]
        history.client[-1]["server"] = "lb-a"
        self.finds(history, "I3", "lb-a served")

    def test_clients_that_are_not_served(self):
        history = good()
        history.requests()
        for row in history.client[-60:]:
            row.update(server=None, error="timeout")
        self.finds(history, "I3", "were lost although")

    def test_a_recording_that_ends_before_it_has_converged(self):
        history = good()
        history.holders = [row for row in history.holders if row["holder"] != "lb-b"]
        history.scenario["ended"] = START + 6
        self.finds(history, "I3", "let it run")


class Stability(Spoiled):
    def test_an_address_that_moves(self):
        history = quiet()
        history.elect("lb-b", 3.5, 2, "master-silent", voters=("lb-a", "witness"))
        history.call("lb-b", 3.501, 2)
        verdict = self.finds(history, "I6", "went to lb-b")
        self.assertTrue(any("in place of lb-a" in finding.sentence for finding in verdict.findings))

    def test_a_needless_call_that_changes_nothing(self):
        history = quiet()
        history.call("lb-a", 3.5, 1)
        history.holders.pop()
        self.finds(history, "I6", "made a AssociateAddress")

    def test_a_call_that_failed_is_a_call(self):
        history = quiet()
        history.call("lb-a", 3.5, 1, "denied")
        self.finds(history, "I6", "made a AssociateAddress")

    def test_a_master_that_becomes_a_backup(self):
        history = quiet()
        history.role("lb-a", 3.5, "master", "backup", 1, "check-failed")
        self.finds(history, "I6", "from master to backup")

    def test_another_that_becomes_master(self):
        history = quiet()
        history.role("lb-a", 3.2, "master", "holding", 1, "master-silent")
        history.elect("lb-b", 3.5, 2, "master-silent")
        self.finds(history, "I6", "in place of lb-a")

    def test_a_holding_master_that_drops_its_address(self):
        history = quiet()
        history.role("lb-a", 3.2, "master", "holding", 1, "master-silent")
        history.call("lb-a", 3.5, 1, operation="DisassociateAddress")
        self.finds(history, "I6", "went to nobody")

    def test_a_request_that_is_lost(self):
        history = quiet()
        history.requests()
        row = next(row for row in history.client if row["at"] > START + 3.3)
        row.update(server=None, error="timeout")
        self.finds(history, "I6", "clients lost 1 requests")


class Bounded(Spoiled):
    def test_a_second_claim_without_need(self):
        history = good()
        history.call("lb-b", 4.0, 2)
        self.finds(history, "I7", "needless")

    def test_two_calls_for_a_claim_that_is_not_fenced(self):
        history = started()
        history.kill("lb-a", 3.0)
        history.elect("lb-b", 3.05, 2, "master-crashed")
        history.call("lb-b", 3.051, 2, operation="DisassociateAddress")
        history.call("lb-b", 3.07, 2, reassociate=False)
        self.finds(history, "I7", "where one was enough")

    def test_three_calls_for_a_claim_that_is_fenced(self):
        history = started()
        history.scenario["claim"] = "fenced"
        history.kill("lb-a", 3.0)
        history.elect("lb-b", 3.05, 2, "master-crashed")
        history.call("lb-b", 3.051, 2, operation="DisassociateAddress")
        history.call("lb-b", 3.07, 2, operation="DisassociateAddress")
        history.call("lb-b", 3.09, 2, reassociate=False)
        self.finds(history, "I7", "twice without claiming")

    def test_more_repairs_than_the_budget(self):
        history = started()
        for t in (2.0, 4.0, 6.0, 8.0):
            history.operator(t, "lb-b")
            history.call("lb-a", t + 0.6, 1)
        self.finds(history, "I7", "4 times within a minute")

    def test_a_storm_of_retries(self):
        history = started()
        history.kill("lb-a", 3.0)
        history.elect("lb-b", 3.05, 2, "master-crashed")
        for step in range(40):
            history.call("lb-b", 3.06 + step * 0.05, 2, "throttled")
        history.call("lb-b", 8.0, 2)
        self.finds(history, "I7", "do not pause")

    def test_more_moves_than_the_budget(self):
        history = started()
        history.scenario["limits"]["moves_per_hour"] = 2
        holder, other = "lb-a", "lb-b"
        for term, t in enumerate((3.0, 4.0, 5.0), start=2):
            history.role(holder, t, "master", "holding", term - 1, "check-failed")
            history.elect(other, t + 0.05, term, "check-failed")
            history.call(other, t + 0.051, term)
            holder, other = other, holder
        self.finds(history, "I7", "its move number 3")

    def test_more_moves_than_the_scenario_expects(self):
        history = good()
        history.operator(7.0, "lb-a")
        history.call("lb-b", 7.5, 2)
        self.finds(history, "I7", "at most 1 are expected")


class Explained(Spoiled):
    def test_a_call_that_no_journal_tells_of(self):
        history = good()
        history.journals["lb-b"] = [r for r in history.journals["lb-b"] if not r["event"].startswith("call-")]
        self.finds(history, "I8", "is not in its journal")

    def test_a_call_under_another_request_id(self):
        history = good()
        journaled(history, "lb-b", "call-finished")[0]["request_id"] = "another"
        verdict = self.finds(history, "I8", "is not in its journal")
        self.assertTrue(any("never saw" in finding.sentence for finding in verdict.findings))

    def test_a_call_without_cause_term_or_request_id(self):
        for key in ("cause", "term"):
            history = good()
            for event in ("call-started", "call-finished"):
                journaled(history, "lb-b", event)[0].pop(key, None)
            self.finds(history, "I8", f"without {key}")
        history = good()
        journaled(history, "lb-b", "call-finished")[0].pop("request_id")
        self.finds(history, "I8", "without its request id")

    def test_a_success_that_the_cloud_never_saw(self):
        history = good()
        history.cloud.pop()
        self.finds(history, "I8", "never saw")

    def test_a_success_that_the_cloud_refused(self):
        history = good()
        history.cloud[-1].update(status=503, landed=None)
        self.finds(history, "I8", "did not carry it out")

    def test_a_refusal_that_the_cloud_carried_out(self):
        history = good()
        journaled(history, "lb-b", "call-finished")[0]["outcome"] = "refused"
        self.finds(history, "I8", "but the cloud carried it out")

    def test_numbers_that_begin_anew(self):
        history = good()
        journaled(history, "lb-b", "role-changed", to="master")[0]["skip"] = -3
        self.finds(history, "I8", "numbers must grow")

    def test_a_call_that_takes_away_and_a_holder_that_stays(self):
        history = good()
        history.call("lb-b", 8.0, 2, operation="DisassociateAddress")
        history.holders[-1]["holder"] = "lb-a"
        self.finds(history, "I8", "takes it away")

    def test_a_role_change_without_cause_or_reason(self):
        for key in ("cause", "reason", "term"):
            history = good()
            journaled(history, "lb-b", "role-changed", to="candidate")[0].pop(key)
            self.finds(history, "I8", f"without {key}")

    def test_a_journal_with_a_hole(self):
        history = good()
        journaled(history, "lb-b", "role-changed", to="master")[0]["skip"] = 2
        self.finds(history, "I8", "lacks 2 record(s)")

    def test_a_gap_that_is_told_too_small(self):
        history = good()
        history.fault("disk", "lb-b", 5.0)
        history.tell("lb-b", 6.0, "journal-gap", lost=2, skip=9)
        self.finds(history, "I8", "lacks 9 record(s)")

    def test_records_lost_for_no_reason(self):
        history = good()
        history.tell("lb-b", 6.0, "journal-gap", lost=3, skip=2)
        self.finds(history, "I8", "never harmed")

    def test_a_change_of_the_holder_that_no_call_explains(self):
        history = good()
        history.moved(8.0, EIP, "lb-a", "lb-a", "unheard-of")
        self.finds(history, "I8", "no call of lb-a explains it")

    def test_a_change_by_an_operator_that_no_fault_line_tells(self):
        history = good()
        history.moved(8.0, EIP, "lb-a", "operator", "unheard-of")
        self.finds(history, "I8", "no fault line")

    def test_a_change_to_another_than_the_call_was_for(self):
        history = good()
        history.holders[-1]["holder"] = "lb-a"
        self.finds(history, "I8", "was for eni-b")


class TwoGroups(Spoiled):
    """What moves in one group is no matter of the other."""

    def history(self):
        history = started()
        history.scenario["groups"].append({"name": "api", "priorities": {"lb-a": 100, "lb-b": 200}, "addresses": ["eipalloc-2"]})
        history.scenario["expect"].update(moves={"web": [1, 1], "api": [0, 0]}, lost_requests_allowed=0)
        history.elect("lb-b", 1.0, 1, group="api")
        history.call("lb-b", 1.001, 1, group="api", address="eipalloc-2")
        history.kill("lb-a", 3.0)
        history.elect("lb-b", 3.05, 2, "master-crashed")
        history.call("lb-b", 3.051, 2, cause="master-crashed")
        history.requests()
        history.requests(target="198.51.100.11", address="eipalloc-2")
        return history

    def test_only_the_dead_nodes_moves(self):
        self.assertEqual([], [str(finding) for finding in self.history().verdict().findings])

    def test_the_other_moves_as_well(self):
        history = self.history()
        history.moved(3.1, "eipalloc-2", None, "lb-b", "unheard-of")
        self.finds(history, "I6", "eipalloc-2 went to nobody")

    def test_a_request_to_the_other_is_lost(self):
        history = self.history()
        row = next(row for row in history.client if row["at"] > START + 3.3 and row["target"] != PUBLIC)
        row.update(server=None, error="timeout")
        self.finds(history, "I6", "requests to api")


if __name__ == "__main__":
    unittest.main()
