"""Histories that must not be flagged."""
import unittest

from .forge import EIP, START, frozen, good, quiet, started


class Clean(unittest.TestCase):
    def nothing(self, history):
        verdict = history.verdict()
        self.assertEqual([], [str(finding) for finding in verdict.findings])
        return verdict

    def test_a_takeover_after_a_crash(self):
        self.assertEqual([], self.nothing(good()).notes)

    def test_a_witness_that_dies_and_returns(self):
        self.nothing(quiet())

    def test_a_frozen_master_that_thaws_and_steps_down(self):
        self.nothing(frozen())

    def test_a_call_begun_before_the_lease_ended_that_arrives_after_the_takeover(self):
        # Given a repair that lb-a began just before its links were cut, and that reaches the cloud after lb-b was elected,
        history = started()
        history.operator(2.80, "eni-x")
        _, row, _ = history.call("lb-a", 2.95, 1, takes=1.2, lands=3.55)
        row["arrived"] = START + 3.52
        history.fault("cut", "lb-a", 3.0, link=0)
        history.fault("cut", "lb-a", 3.0, link=1)
        history.role("lb-a", 3.28, "master", "holding", 1, "master-silent")
        history.elect("lb-b", 3.5, 2, "master-silent")
        history.call("lb-b", 3.501, 2, cause="master-silent")
        history.fault("cut", "lb-a", 5.0, on=False)
        # when lb-b repairs what it did, then nothing is wrong with that.
        history.call("lb-b", 4.6, 2, cause="master-silent")
        self.nothing(history)

    def test_a_late_landing_that_is_repaired(self):
        # Given a repair by lb-a that is never answered and lands long after lb-b took over, when lb-b repairs that,
        history = started()
        history.operator(1.8, "lb-b")
        history.call("lb-a", 2.0, 1, "timeout", takes=2.0, lands=6.0, fault="late")
        history.kill("lb-a", 4.5)
        history.elect("lb-b", 4.55, 2, "master-crashed")
        history.call("lb-b", 4.551, 2, cause="master-crashed")
        history.call("lb-b", 6.9, 2, cause="master-crashed")
        # then nothing is wrong.
        self.nothing(history)

    def test_a_master_killed_in_the_middle_of_a_call(self):
        # Given a repair whose node dies before its journal has it,
        history = started()
        history.operator(2.9, "eni-x")
        begun, _, ended = history.call("lb-a", 2.98, 1, takes=0.015)
        history.journals["lb-a"].remove(begun)
        history.journals["lb-a"].remove(ended)
        history.kill("lb-a", 3.0)
        history.elect("lb-b", 3.05, 2, "master-crashed")
        history.call("lb-b", 3.051, 2, cause="master-crashed")
        verdict = self.nothing(history)
        # then that is noted, not found.
        self.assertTrue(any("not in its journal" in note for note in verdict.notes))

    def test_a_call_without_an_end_because_its_node_died(self):
        history = started()
        history.operator(2.9, "eni-x")
        _, row, ended = history.call("lb-a", 2.95, 1, takes=0.5)
        history.journals["lb-a"].remove(ended)
        row["answered"] = None
        history.kill("lb-a", 3.0)
        history.elect("lb-b", 3.05, 2, "master-crashed")
        history.call("lb-b", 3.6, 2, cause="master-crashed")
        self.nothing(history)

    def test_a_retry_that_is_fenced(self):
        history = started()
        history.kill("lb-a", 3.0)
        history.elect("lb-b", 3.05, 2, "master-crashed")
        history.call("lb-b", 3.051, 2, "error", takes=0.1, fault="5xx")
        history.call("lb-b", 3.4, 2, operation="DisassociateAddress")
        history.call("lb-b", 3.45, 2, reassociate=False)
        self.nothing(history)

    def test_a_fenced_claim(self):
        history = good()
        history.scenario["claim"] = "fenced"
        first = history.cloud[0]
        first["reassociate"] = False
        last = history.cloud.pop()
        for journal in history.journals.values():
            journal[:] = [record for record in journal if record.get("call_id") != 2]
        history.holders = [row for row in history.holders if row["request_id"] != last["request_id"]]
        history.call("lb-b", 3.051, 2, operation="DisassociateAddress", cause="master-crashed")
        history.call("lb-b", 3.07, 2, reassociate=False, cause="master-crashed")
        self.nothing(history)

    def test_an_operator_whose_moves_are_repaired_within_the_budget(self):
        history = started()
        for t in (2.0, 4.0, 6.0):
            history.operator(t, "lb-b")
            history.call("lb-a", t + 0.6, 1)
        history.scenario["faults_ended"] = START + 6.0
        self.nothing(history)

    def test_a_fight_that_ends_in_an_alarm(self):
        history = started()
        for t in (2.0, 4.0, 6.0):
            history.operator(t, "lb-b")
            history.call("lb-a", t + 0.6, 1)
        history.operator(8.0, "lb-b")
        history.tell("lb-a", 8.6, "alarm-raised", name="address-fight", group="web", address=EIP, message="it moves again and again")
        self.nothing(history)

    def test_a_master_that_holds_without_a_majority_and_leads_again(self):
        # Given a master that loses its majority, holds, and gets it back in a new term,
        history = started()
        history.scenario["expect"].update(moves={"web": [0, 0]}, lost_requests_allowed=0)
        for peer in ("lb-b", "witness"):
            history.fault("cut", "lb-a", 3.0, peer=peer)
        history.role("lb-a", 3.27, "master", "holding", 1, "master-silent", "no majority answers")
        history.fault("cut", "lb-a", 5.0, on=False)
        history.elect("lb-a", 5.2, 4, "majority-regained", voters=("lb-b", "witness"), old="holding")
        self.nothing(history)

    def test_a_node_whose_clock_is_set_back_and_forth(self):
        for offset in (3600.0, -7200.0):
            history = good()
            history.fault("clock", "lb-b", 2.0, offset=offset)
            history.fault("clock", "lb-b", 4.0, on=False)
            history.wall_ahead["lb-b"] = [(-1.0, 0.0), (2.0, offset), (4.0, 0.0)]
            self.nothing(history)

    def test_a_node_whose_clock_is_wrong_from_the_start(self):
        history = good()
        history.fault("clock", "lb-b", -0.5, offset=-18000)
        history.wall_ahead["lb-b"] = [(-1.0, -18000.0)]
        self.nothing(history)

    def test_a_master_that_steps_down_late_because_nothing_ran(self):
        history = started()
        history.role("lb-a", 3.7, "master", "backup", 2, "master-silent")
        history.elect("lb-b", 3.5, 2, "master-silent")
        history.call("lb-b", 3.501, 2, cause="master-silent")
        verdict = self.nothing(history)
        self.assertTrue(any("late" in note for note in verdict.notes))

    def test_a_full_disk_and_the_gap_that_tells_of_it(self):
        history = quiet()
        history.fault("disk", "lb-a", 2.0)
        history.fault("disk", "lb-a", 4.0, on=False)
        history.tell("lb-a", 4.1, "journal-gap", lost=7, skip=6)
        self.nothing(history)

    def test_a_takeover_by_a_node_whose_disk_is_full(self):
        # Given a successor whose journal cannot tell that it leads,
        history = good()
        history.fault("disk", "lb-b", 2.0)
        history.journals["lb-b"] = [record for record in history.journals["lb-b"] if record["t"] < 2.0]
        # then what it did is not held against it.
        verdict = self.nothing(history)
        self.assertTrue(any("roles are not known" in note for note in verdict.notes))

    def test_dry_runs_and_probes_are_no_mutations(self):
        history = quiet()
        common = {"passed": None, "landed": None, "answered": START + 3.9, "association": None, "code": "DryRunOperation", "fault": None}
        history.cloud += [
            {"arrived": START + 3.8, "node": node, "operation": "AssociateAddress", "dry_run": True, "address": EIP, "to": eni,
             "reassociate": True, "status": 412, "request_id": f"dry-{node}", **common}
            for node, eni in (("lb-a", "eni-a"), ("lb-b", "eni-b"))
        ]  # fmt: skip
        history.cloud.append(
            {"arrived": START + 3.9, "node": "lb-b", "operation": "AssignPrivateIpAddresses", "dry_run": False, "address": "10.0.1.11",
             "to": "eni-b", "reassociate": False, "status": 400, "request_id": "probe", **common}
        )  # fmt: skip
        history.cloud.append(
            {"arrived": START + 3.9, "node": "lb-b", "operation": "UnassignPrivateIpAddresses", "dry_run": False, "address": "169.254.169.254",
             "to": "eni-b", "reassociate": None, "status": 400, "request_id": "probe-2", **common}
        )  # fmt: skip
        self.nothing(history)

    def test_a_handover_on_request(self):
        history = started()
        history.role("lb-a", 3.0, "master", "holding", 1, "switchover", "handed over")
        history.elect("lb-b", 3.01, 2, "switchover", voters=("lb-a", "witness"))
        history.call("lb-b", 3.011, 2, cause="switchover")
        history.role("lb-a", 3.05, "holding", "backup", 2, "switchover", "another was elected")
        self.nothing(history)

    def test_throttled_retries(self):
        history = started()
        history.kill("lb-a", 3.0)
        history.elect("lb-b", 3.05, 2, "master-crashed")
        for t in (3.06, 3.3, 4.1, 5.0):
            history.call("lb-b", t, 2, "throttled", fault="throttled")
        history.call("lb-b", 6.0, 2)
        self.nothing(history)

    def test_a_scenario_that_does_not_converge_and_says_so(self):
        history = started()
        history.scenario["expect"]["converges"] = False
        history.kill("lb-a", 3.0)
        self.nothing(history)

    def test_what_comes_of_clearing_up_after_the_end(self):
        # Given a quiet run after whose end the lab kills the nodes one after the other, the master first,
        history = quiet()
        history.kill("lb-a", 30.01)
        history.elect("lb-b", 30.05, 2, "master-crashed")
        history.call("lb-b", 30.051, 2, cause="master-crashed")
        # then the takeover is no part of the run.
        self.nothing(history)

    def test_a_death_that_the_lab_notices_late(self):
        history = good()
        for row in history.processes:
            row["at"] += 1.5 if row["what"] == "killed" else 0
        self.nothing(history)

    def test_a_switchover_that_is_rolled_back(self):
        history = started()
        history.scenario["expect"]["moves"] = {"web": [0, 0]}
        history.fault("gateway", "lb-b", 2.5, kind="black-hole")
        history.role("lb-a", 3.0, "master", "holding", 1, "switchover", "handed over")
        history.elect("lb-b", 3.01, 2, "switchover", voters=("lb-a", "witness"))
        history.call("lb-b", 3.011, 2, "timeout", takes=0.2, cause="switchover", fault="black-hole")
        history.role("lb-b", 3.3, "master", "holding", 2, "preventive", "handed over")
        history.elect("lb-a", 3.31, 3, "preventive", voters=("lb-b", "witness"), old="holding")
        history.fault("gateway", "lb-b", 4.0, on=False, kind="black-hole")
        self.nothing(history)

    def test_a_fenced_takeover_before_the_old_masters_first_call_lands(self):
        history = started()
        history.scenario["expect"]["moves"] = {"web": [1, 1]}
        self.nothing(history)

    def test_a_fault_that_lasts_to_the_end(self):
        history = started()
        history.scenario["faults_ended"] = None
        for link in (0, 1):
            history.fault("cut", "lb-a", 3.0, link=link)
        history.role("lb-a", 3.27, "master", "holding", 1, "master-silent")
        verdict = self.nothing(history)
        self.assertTrue(any("a fault lasts" in note for note in verdict.notes))

    def test_a_majority_that_stays_dead(self):
        history = started()
        history.kill("lb-b", 3.0)
        history.kill("witness", 3.0)
        history.role("lb-a", 3.27, "master", "holding", 1, "master-silent")
        verdict = self.nothing(history)
        self.assertTrue(any("fewer than a majority" in note for note in verdict.notes))

    def test_moves_beyond_the_budget_because_the_master_is_dead(self):
        history = started()
        history.scenario["limits"]["moves_per_hour"] = 1
        history.role("lb-a", 2.0, "master", "holding", 1, "switchover")
        history.elect("lb-b", 2.01, 2, "switchover")
        history.call("lb-b", 2.02, 2)
        history.kill("lb-b", 3.0)
        history.elect("lb-a", 5.0, 3, "master-crashed", old="holding")
        history.call("lb-a", 5.01, 3)
        self.nothing(history)


if __name__ == "__main__":
    unittest.main()
