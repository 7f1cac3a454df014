"""I5: histories of the gate, right ones and wrong ones."""
import unittest

from .forge import alone, away, good, started
from .spoiled import Spoiled, journaled


def takes_over(history, t, node="lb-a", term=3, cause="master-crashed", exception=None, voters=("witness",), old="backup"):
    history.exception = exception
    history.elect(node, t, term, cause, voters=voters, old=old)
    history.call(node, t + 0.001, term, cause=cause)
    return history


def resigns(history, t=15.0, node="lb-b", term=2):
    history.role(node, t, "master", "holding", term, "switchover", "handed over")
    return history


class Right(unittest.TestCase):
    def well(self, history):
        verdict = history.verdict()
        self.assertFalse([str(finding) for finding in verdict.findings if finding.invariant in ("I5", "input")])

    def test_back_with_the_same_and_handed_over_to(self):
        history = resigns(away())
        history.standing("lb-a", 9.0, "probation", "ready")
        self.well(takes_over(history, 15.01, cause="switchover", voters=("lb-b", "witness")))

    def test_back_with_another_and_kept_out(self):
        self.well(away("v2", "quarantined"))

    def test_repaired(self):
        history = away("v2", "quarantined")
        history.has("lb-a", 9.0, "v1", loaded="v2")
        history.has("lb-a", 9.1, "v1")
        history.standing("lb-a", 9.3, "quarantined", "probation")
        self.well(takes_over(alone(history), 15.05))

    def test_kept_out_for_what_is_not_loaded(self):
        history = away("v1", "quarantined")
        history.configurations[-1]["loaded"] = "v0"
        self.well(history)

    def test_admitted_when_nobody_is_left(self):
        history = alone(away("v2", "quarantined"))
        history.has("lb-a", 20.0, "v2", override="admitted")
        history.standing("lb-a", 20.1, "quarantined", "probation")
        self.well(takes_over(history, 20.3, exception="admitted"))

    def test_the_last_resort(self):
        history = alone(away("v2", "quarantined"))
        history.scenario["consistency"]["last_resort"] = True
        self.well(takes_over(history, 15.5, exception="last-resort"))

    def test_drift_in_service_and_nobody_better(self):
        history = away()
        history.has("lb-a", 10.0, "v2")
        self.well(takes_over(alone(history), 15.5, exception="drift"))

    def test_drift_because_the_master_changed(self):
        history = away()
        history.has("lb-b", 10.0, "v2")
        self.well(takes_over(alone(history), 15.5, exception="drift"))

    def test_a_rollout_by_force(self):
        history = away()
        history.has("lb-a", 10.0, "v2")
        history.has("lb-a", 14.9, "v2", override="forced")
        self.well(takes_over(resigns(history), 15.01, cause="switchover", exception="admitted", voters=("lb-b", "witness")))

    def test_all_came_back_with_the_same_new_one(self):
        history = alone(away("v2", "quarantined"))
        history.has("lb-b", 16.0, "v2")
        history.start("lb-b", 17.0, standing="probation")
        history.standing("lb-a", 17.5, "quarantined", "probation")
        self.well(takes_over(history, 18.0, exception="cold-start", voters=("lb-b", "witness")))

    def test_a_change_that_nobody_can_have_noticed_yet(self):
        history = away()
        history.has("lb-a", 15.0, "v2")
        self.well(takes_over(alone(history), 15.05))

    def test_without_consistency_files_are_not_judged(self):
        history = good()
        self.assertFalse(history.verdict())


class Wrong(Spoiled):
    def test_a_quarantined_node_stands(self):
        self.finds(takes_over(alone(away("v2", "quarantined")), 15.5), "I5", "while it was quarantined")

    def test_a_node_that_has_not_joined_stands(self):
        self.finds(takes_over(alone(away("v1", None)), 15.5), "I5", "while it was joining")

    def test_a_node_in_maintenance_preempts(self):
        history = resigns(away())
        history.standing("lb-a", 9.0, "probation", "maintenance")
        self.finds(takes_over(history, 15.01, cause="preempt", voters=("lb-b",)), "I5", "while it was maintenance")

    def test_back_with_another_and_let_in(self):
        self.finds(away("v2", "probation"), "I5", "came into service (probation) with a configuration that was not the reference")

    def test_let_in_with_what_is_not_loaded(self):
        history = away("v1", "ready")
        history.configurations[-1]["loaded"] = "v0"
        self.finds(history, "I5", "came into service")

    def test_the_reference_has_changed_meanwhile(self):
        history = away("v1", "ready")
        history.has("lb-b", 3.9, "v2")
        self.finds(history, "I5", "came into service")

    def test_a_voter_forgets_to_ask(self):
        history = away()
        history.has("lb-a", 10.0, "v2")
        self.finds(takes_over(resigns(history), 15.01, cause="switchover", voters=("lb-b", "witness")), "I5", "voted for it without an exception")

    def test_kept_out_for_nothing(self):
        self.finds(away("v1", "quarantined"), "I5", "was quarantined though its configuration had been the reference")

    def test_drift_though_a_better_one_is_in_service(self):
        history = resigns(away(), 15.0)
        history.has("lb-a", 10.0, "v2")
        self.finds(takes_over(history, 15.2, cause="preempt", exception="drift"), "I5", "'drift', which it was not: lb-b had the reference")

    def test_a_last_resort_that_is_not_allowed(self):
        self.finds(takes_over(alone(away("v2", "quarantined")), 15.5, exception="last-resort"), "I5", "last_resort is not set")

    def test_admitted_by_nobody(self):
        history = alone(away("v2", "quarantined"))
        history.standing("lb-a", 15.2, "quarantined", "probation")
        verdict = self.finds(takes_over(history, 15.5, exception="admitted"), "I5", "no operator admitted it")
        self.assertTrue(any("came into service" in finding.sentence for finding in verdict))

    def test_admitted_with_something_else(self):
        history = alone(away("v2", "quarantined"))
        history.has("lb-a", 10.0, "v2", override="admitted")
        history.has("lb-a", 11.0, "v3")
        history.standing("lb-a", 15.2, "quarantined", "probation")
        self.finds(takes_over(history, 15.5, exception="admitted"), "I5", "no operator admitted it")

    def test_a_cold_start_of_unlike_ones(self):
        history = alone(away("v2", "quarantined"))
        history.start("lb-b", 17.0, standing="probation")
        history.standing("lb-a", 17.5, "quarantined", "probation")
        self.finds(takes_over(history, 18.0, exception="cold-start", voters=("lb-b", "witness")), "I5", "the balancers had not all the same")

    def test_a_cold_start_while_somebody_leads(self):
        history = away("v2", "quarantined")
        history.has("lb-b", 10.0, "v2")
        history.standing("lb-a", 10.1, "quarantined", "probation")
        self.finds(takes_over(history, 12.0, cause="preempt", exception="cold-start"), "I5", "somebody led")

    def test_an_exception_that_there_is_not(self):
        history = away()
        history.has("lb-a", 10.0, "v2")
        self.finds(takes_over(alone(history), 15.5, exception="luck"), "I5", "there are only")

    def test_nobody_tells_why(self):
        history = away()
        history.has("lb-a", 10.0, "v2")
        takes_over(alone(history), 15.5)
        votes = journaled(history, "witness", "vote-granted", term=3)
        history.journals["witness"] = [record for record in history.journals["witness"] if record not in votes]
        self.finds(history, "I5", "no vote tells why")

    def test_the_record_of_the_files_is_missing(self):
        history = started()
        history.scenario["consistency"] = {"last_resort": False}
        verdict = history.verdict(lambda directory: (directory / "configurations.jsonl").unlink())
        self.assertTrue(any(finding.invariant == "input" for finding in verdict))
