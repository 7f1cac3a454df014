"""Histories that must be flagged: each a small edit of a good one."""
import unittest

from .forge import EIP, PUBLIC, START, frozen, good, quiet, started


def journaled(history, node, event, **fields):
    """The node's records of one kind, in the order told."""
    return [r for r in history.journals[node] if r["event"] == event and all(r.get(key) == value for key, value in fields.items())]


class Spoiled(unittest.TestCase):
    def finds(self, history, invariant, words):
        verdict = history.verdict()
        found = [finding for finding in verdict.findings if finding.invariant == invariant and words in finding.sentence]
        self.assertTrue(found, f"no {invariant} with {words!r} in {[str(finding) for finding in verdict.findings]}")
        self.assertTrue(all(finding.evidence or "moved 0 times" in finding.sentence for finding in found))
        return verdict


class OneActor(Spoiled):
    def test_two_nodes_win_one_term(self):
        history = good()
        for record in history.journals["lb-b"] + history.journals["witness"]:
            if record.get("term") == 2:
                record["term"] = 1
        self.finds(history, "I1", "also by lb-a")

    def test_one_node_wins_a_term_twice(self):
        history = good()
        history.role("lb-b", 8.0, "master", "holding", 2, "master-silent")
        history.role("lb-b", 9.0, "holding", "master", 2, "majority-regained")
        self.finds(history, "I1", "which was won twice")

    def test_two_masters_at_work_at_once(self):
        # Given a takeover from a master that was neither killed nor frozen and goes on,
        history = started()
        history.elect("lb-b", 3.5, 2, "master-silent")
        history.call("lb-b", 3.501, 2, cause="master-silent")
        history.tell("lb-a", 3.65, "link-down", peer="lb-b", link=0)
        history.role("lb-a", 3.9, "master", "backup", 2, "master-silent")
        self.finds(history, "I1", "went on working")

    def test_two_masters_for_long_without_a_freeze(self):
        history = frozen(thaw=5.0)
        for row in history.faults:
            if row["fault"] == "freeze" and row["on"] is False:
                row["at"] = START + 3.6
        self.finds(history, "I1", "was not frozen")

    def test_a_thawed_master_that_does_not_step_down(self):
        history = frozen()
        history.journals["lb-a"] = [r for r in history.journals["lb-a"] if not (r["event"] == "role-changed" and r["t"] > 5)]
        self.finds(history, "I1", "were both master")

    def test_a_call_of_an_older_term_begun_after_the_newer_was_won(self):
        history = frozen()
        history.call("lb-a", 5.001, 1)
        verdict = self.finds(history, "I1", "was not begun before")
        self.assertIn("I2", verdict.broken())

    def test_a_call_of_an_older_term_beyond_its_time_out(self):
        # Given a call that lb-a began in time and sends when it has long timed out, though nothing held it back,
        history = started()
        history.role("lb-a", 3.2, "master", "holding", 1, "master-silent")
        _, row, _ = history.call("lb-a", 3.1, 1, "timeout", takes=2.0, lands=6.1)
        row["arrived"] = START + 6.0
        history.elect("lb-b", 3.5, 2, "master-silent")
        history.call("lb-b", 3.501, 2, cause="master-silent")
        # when its node is said to have made it (its id is known by the record),
        journaled(history, "lb-a", "call-finished", call_id=2)[0].update(request_id=row["request_id"])
        self.finds(history, "I1", "beyond its time-out")

    def test_a_call_of_a_term_that_another_won(self):
        history = good()
        history.call("lb-a", 5.5, 2)
        self.finds(history, "I1", "which lb-b had won")

    def test_a_master_without_a_majority(self):
        history = good()
        history.journals["witness"] = [r for r in history.journals["witness"] if r.get("term") != 2]
        self.finds(history, "I1", "fewer than 2")

    def test_a_vote_that_came_after_the_victory(self):
        history = good()
        journaled(history, "witness", "vote-granted", term=2)[0]["t"] = 3.2
        self.finds(history, "I1", "fewer than 2")

    def test_a_voter_with_two_favourites(self):
        history = good()
        history.vote("witness", 3.06, "lb-a", 2)
        self.finds(history, "I1", "to lb-b and to lb-a")

    def test_a_candidate_that_votes_for_another_in_its_own_term(self):
        history = good()
        history.vote("lb-b", 3.06, "lb-a", 2)
        self.finds(history, "I1", "to lb-b and to lb-a")

    def test_a_voter_that_is_muted_and_votes(self):
        history = good()
        history.start("witness", 2.9)
        journaled(history, "witness", "vote-granted", term=2)[0]["boot"] = "witness-2"
        self.finds(history, "I1", "is muted")

    def test_a_candidate_that_counts_its_own_vote_while_muted(self):
        history = good()
        history.start("lb-b", 2.9)
        for record in history.journals["lb-b"]:
            if record["t"] > 2.9:
                record["boot"] = "lb-b-2"
        self.finds(history, "I1", "none of its own")


class Fenced(Spoiled):
    def test_a_call_without_mastership(self):
        history = good()
        history.call("lb-b", 2.0, 1)
        self.finds(history, "I2", "without being master")

    def test_a_call_after_stepping_down(self):
        history = frozen()
        history.call("lb-a", 5.01, 1)
        self.finds(history, "I2", "without being master")

    def test_a_call_of_another_term_than_the_masters(self):
        history = started()
        history.operator(2.0, "lb-b")
        history.call("lb-a", 2.5, 7)
        self.finds(history, "I2", "of term 7 while master in term 1")

    def test_a_call_right_after_a_thaw(self):
        # Given a master that thaws before anybody else was elected, when it acts first and looks later,
        history = started()
        history.fault("freeze", "lb-a", 3.0)
        history.fault("freeze", "lb-a", 3.6, on=False)
        history.operator(2.9, "eni-x")
        history.call("lb-a", 3.601, 1)
        history.role("lb-a", 3.64, "master", "holding", 1, "master-silent")
        self.finds(history, "I2", "while it was frozen")

    def test_a_call_of_a_master_that_was_cut_off(self):
        history = started()
        for link in (0, 1):
            history.fault("cut", "lb-a", 3.0, link=link)
        history.call("lb-a", 3.9, 1)
        self.finds(history, "I2", "no majority could have answered")

    def test_a_call_of_a_master_whose_heartbeats_are_lost(self):
        history = started()
        for peer in ("lb-b", "witness"):
            for link in (0, 1):
                history.fault("one-way", "lb-a", 3.0, to=peer, link=link)
        history.call("lb-a", 3.9, 1)
        self.finds(history, "I2", "no majority could have answered")

    def test_a_call_of_a_master_whose_peers_are_dead_frozen_or_cut_off(self):
        for spoil in (lambda h: h.kill("witness", 3.0), lambda h: h.fault("freeze", "witness", 3.0), lambda h: h.fault("cut", "witness", 3.0, peer="lb-a")):
            history = started()
            history.kill("lb-b", 3.0)
            spoil(history)
            history.call("lb-a", 3.9, 1)
            self.finds(history, "I2", "no majority could have answered")

    def test_an_unconditional_retry_after_an_unknown_outcome(self):
        for outcome in ("timeout", "error"):
            history = started()
            history.kill("lb-a", 3.0)
            history.elect("lb-b", 3.05, 2, "master-crashed")
            history.call("lb-b", 3.051, 2, outcome, takes=0.1)
            history.call("lb-b", 3.4, 2, reassociate=True)
            self.finds(history, "I2", "unconditionally")

    def test_an_unconditional_retry_after_a_call_in_between(self):
        history = started()
        history.kill("lb-a", 3.0)
        history.elect("lb-b", 3.05, 2, "master-crashed")
        history.call("lb-b", 3.051, 2, "timeout", takes=0.1)
        history.call("lb-b", 3.4, 2, "throttled", reassociate=False)
        history.call("lb-b", 3.9, 2, reassociate=True)
        self.finds(history, "I2", "unconditionally")

    def test_an_unconditional_call_where_fenced_claims_are_asked_for(self):
        history = good()
        history.scenario["claim"] = "fenced"
        self.finds(history, "I2", "although claim")

    def test_a_call_that_moves_the_address_to_another(self):
        history = good()
        history.cloud[-1]["to"] = "eni-a"
        self.finds(history, "I2", "to lb-a instead of to itself")

    def test_a_witness_that_acts(self):
        history = good()
        history.cloud[-1]["node"] = "witness"
        self.finds(history, "I2", "is a witness")

    def test_a_call_of_which_the_journal_tells_only_the_end(self):
        history = good()
        history.journals["lb-b"].remove(journaled(history, "lb-b", "call-started")[0])
        self.finds(history, "I2", "tells of no beginning")

    def test_a_call_that_arrives_before_it_is_begun(self):
        history = good()
        history.cloud[-1]["arrived"] -= 0.5
        self.finds(history, "I2", "before it began")


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


    def test_an_address_that_does_not_move(self):
        history = quiet()
        history.scenario["expect"]["moves"] = {"web": [1, 1]}
        self.finds(history, "I3", "at least 1 are expected")


class Monotonic(Spoiled):
    def test_a_term_that_goes_backwards(self):
        history = good()
        for record in history.journals["lb-b"] + history.journals["witness"]:
            if record.get("term") == 2:
                record["term"] = 0
        self.finds(history, "I4", "after it")

    def test_a_voter_that_forgot_a_higher_term(self):
        history = good()
        history.vote("witness", 2.0, "lb-b", 9)
        self.finds(history, "I4", "voted in term 2")

    def test_a_candidacy_repeated_across_a_restart(self):
        history = good()
        for t in (7.0, 8.0):
            history.role("lb-a", t, "backup", "candidate", 3, "master-silent")
            history.role("lb-a", t + 0.2, "candidate", "backup", 3, "master-silent")
        self.finds(history, "I4", "stood in term 3")


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
        self.finds(history, "I8", "is not in its journal")

    def test_a_success_that_the_cloud_never_saw(self):
        history = good()
        history.cloud.pop()
        self.finds(history, "I8", "never saw")

    def test_a_success_that_the_cloud_refused(self):
        history = good()
        history.cloud[-1].update(status=503, landed=None)
        self.finds(history, "I8", "did not carry it out")

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
