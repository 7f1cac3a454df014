"""Histories that break I1, I2 or I4, and must be flagged: each a small edit of a good one."""
import unittest

from .forge import START, frozen, good, started
from .spoiled import Spoiled, journaled


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

    def test_a_master_without_a_majority_right_after_a_death(self):
        # Given a successor that stands within milliseconds of the death, so that the dead one might have voted just before,
        history = started()
        history.kill("lb-a", 3.0)
        history.elect("lb-b", 3.006, 2, "master-crashed", voters=())
        # when it had itself found the other dead,
        history.tell("lb-b", 3.001, "peer-down", peer="lb-a", reason="its process is dead")
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
        dead = lambda history: history.kill("witness", 3.0)  # noqa: E731
        frozen = lambda history: history.fault("freeze", "witness", 3.0)  # noqa: E731
        cut = lambda history: history.fault("cut", "witness", 3.0, peer="lb-a")  # noqa: E731
        for spoil in (dead, frozen, cut):
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

    def test_a_call_for_an_address_of_no_group(self):
        history = good()
        history.call("lb-b", 4.0, 2, address="eipalloc-stranger")
        self.finds(history, "I2", "belongs to no group")

    def test_a_balancer_that_may_not_hold_the_group(self):
        history = good()
        del history.scenario["groups"][0]["priorities"]["lb-b"]
        self.finds(history, "I2", "may not hold web")

    def test_a_call_of_which_the_journal_tells_only_the_end(self):
        history = good()
        history.journals["lb-b"].remove(journaled(history, "lb-b", "call-started")[0])
        self.finds(history, "I2", "tells of no beginning")

    def test_a_call_that_arrives_before_it_is_begun(self):
        history = good()
        history.cloud[-1]["arrived"] -= 0.5
        self.finds(history, "I2", "before it began")


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


if __name__ == "__main__":
    unittest.main()
