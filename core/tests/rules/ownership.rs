//! Claims (design 5.1 to 5.3): confirmed, fast, fenced; outcomes that are not known.

use std::time::Duration;

use vipward_core::*;

use crate::fixture::*;
use crate::reading::*;
use crate::scenes::*;

fn code(name: &str) -> CallOutcome {
    CallOutcome::Refused { code: name.into() }
}

/// A master whose address the cloud shows elsewhere from now on; reads are answered by hand.
fn claiming_later() -> Rig {
    let mut rig = master();
    rig.reads = false;
    rig
}

/// Runs until a mutating call is ordered, within `most`; every other order is collected too.
fn until_call(rig: &mut Rig, most: Duration) -> (CloudCall, Vec<Output>) {
    let until = rig.now + most;
    let mut all = Vec::new();
    while rig.now < until {
        let next = rig.node.next_deadline().min(until);
        let out = rig.run_to(next);
        all.extend(out.clone());
        if let Some(call) = mutating(&out).pop() {
            return (call, all);
        }
    }
    panic!("no mutating call within {most:?}");
}

#[test]
fn the_first_call_of_a_takeover_follows_its_votes_directly() {
    // Given a candidate, when the vote that makes its majority arrives,
    let (rig, out) = elected();
    // then that very step orders one unconditional call, before its first heartbeat is answered,
    let call = mutation(&out);
    assert_eq!(call.operation, Operation::Associate { address: EIP, reassociate: true });
    assert_eq!(call.term, rig.group().term);
    assert_eq!(call.timeout, Duration::from_secs(5));
    // journaled with its cause and its reason.
    let started = events(&out)
        .into_iter()
        .find(|event| matches!(event.kind, EventKind::CallStarted { .. }))
        .unwrap();
    assert_eq!(started.term, Some(call.term));
    assert_eq!(started.cause, Some(Cause::Startup));
    let kind = EventKind::CallStarted {
        call: call.id,
        operation: "AssociateAddress",
        address: Some(EIP),
        reason: "takeover",
    };
    assert_eq!(started.kind, kind);
}

#[test]
fn a_call_must_not_start_after_the_lease_has_less_than_one_interval_left() {
    let mut rig = Rig::new(config(B));
    rig.held = held_by("assoc-a", A);
    rig.beat(W, Beat::idle());
    let request = stand(&mut rig);
    let stood_at = rig.now;
    rig.pass(millis(200));
    let out = rig.vote(W, &request, Vote::Granted);
    // The lease runs from the send of the request; the edge refuses to send later than that
    // less one H. Heartbeats answered meanwhile do not prolong an order already given.
    assert_eq!(mutation(&out).not_after, Some(stood_at + OWN_LEASE - H));
}

#[test]
fn votes_with_less_than_one_interval_of_lease_left_permit_no_call() {
    // Given votes that come so late that less than one H of the lease is left,
    let mut rig = Rig::new(config(B));
    rig.held = held_by("assoc-a", A);
    rig.beat(W, Beat::idle());
    let request = stand(&mut rig);
    rig.pass(OWN_LEASE - H + millis(1));
    let out = rig.vote(W, &request, Vote::Granted);
    assert_eq!(rig.role(), RoleName::Master);
    // then nothing is called; a heartbeat goes out at once, and when it is answered, the call.
    assert_eq!(mutating(&out), []);
    let beat = beats(&out, W).pop().expect("at once");
    let input = rig.renewing(W, &beat);
    assert_eq!(mutating(&rig.give(input)).len(), 1);
}

#[test]
fn all_addresses_are_claimed_at_once() {
    let three = with(config(A), |config| {
        config.groups[0].addresses = vec![AddressKind::ElasticIp; 3];
    });
    let (_, out) = elected_of(three);
    let claimed: Vec<_> = mutating(&out).iter().map(|call| call.operation.mutates()).collect();
    assert_eq!(claimed, [Some(AddressId(0)), Some(AddressId(1)), Some(AddressId(2))]);
}

#[test]
fn a_success_is_recorded_and_not_repeated() {
    let (mut rig, out) = elected();
    claim(&mut rig, &out);
    let address = rig.group().addresses.remove(0);
    assert_eq!(address.ownership, OwnershipName::Owned);
    assert_eq!(address.holder, Some(Holder::Node(A)));
    let out = rig.pass(H * 600);
    assert_eq!(mutating(&out), []);
}

#[test]
fn a_retry_waits_for_a_majoritys_answer_to_a_heartbeat_sent_after_its_decision() {
    // Given a takeover whose call was throttled, known to have done nothing,
    let (mut rig, out) = elected();
    let first = mutation(&out);
    rig.answering.clear();
    let mut out = rig.finish(&first, CallOutcome::Throttled);
    // when its pause is over, then a heartbeat goes out at once, and no call:
    let mut decided = None;
    for _ in 0..100 {
        if let Some(beat) = beats(&out, W).pop() {
            decided = Some(beat);
        }
        assert_eq!(mutating(&out), []);
        if rig.now > at(8_000) {
            break;
        }
        out = rig.pass(millis(20));
    }
    let beat = decided.expect("heartbeats");
    // only the answer to one sent after the decision permits it.
    let input = rig.renewing(W, &beat);
    let call = mutation(&rig.give(input));
    assert_eq!(call.operation, Operation::Associate { address: EIP, reassociate: true });
    assert_ne!(call.id, first.id);
}

#[test]
fn an_answer_to_an_older_heartbeat_does_not_permit_a_retry() {
    // Given a retry that waits, and a heartbeat from before its decision,
    let (mut rig, out) = elected();
    let older = beats(&out, W).pop().unwrap();
    rig.answering.clear();
    let mut all = rig.finish(&mutation(&out), CallOutcome::Throttled);
    while rig.now < at(7_000) {
        all.extend(rig.pass(millis(50)));
    }
    assert!(beats(&all, W).len() > 1);
    // when that is answered, then nothing is called.
    let input = rig.renewing(W, &older);
    assert_eq!(mutating(&rig.give(input)), []);
}

#[test]
fn a_machine_that_slept_with_its_clock_stopped_acts_only_after_fresh_answers() {
    // Given a master with a call to repeat, whose machine stops, clock and all; its lease looks
    // as long as before when it goes on,
    let mut rig = claiming_later();
    let read = reads(&rig.give(Input::OwnershipHint { group: WEB })).pop().unwrap();
    rig.answering.clear();
    let moved = Observation { address: EIP, ip: None, association: held_by("assoc-x", B) };
    let out = rig.finish(&read, CallOutcome::Ok(CallReply::Described(vec![moved])));
    // when a read shows the address elsewhere, then it asks before it acts.
    assert_eq!(mutating(&out), []);
    let beat = beats(&out, W).pop().expect("at once");
    // The voters' promise ran out long ago: the answer says so, and it is Holding.
    let late = Renewal::Renewed { had_run_out: true };
    let input = rig.answering_beat(W, &beat, late, None);
    let out = rig.give(input);
    assert_eq!(rig.role(), RoleName::Holding);
    assert_eq!(mutating(&out), []);
}

#[test]
fn refusals_and_throttles_are_known_and_the_retry_is_unconditional_again() {
    for outcome in [
        CallOutcome::Throttled,
        CallOutcome::NotStarted,
        CallOutcome::Denied { code: "UnauthorizedOperation".into() },
        code("InvalidParameterValue"),
    ] {
        let (mut rig, out) = elected();
        rig.reads = false;
        let mut out = rig.finish(&mutation(&out), outcome.clone());
        let again = mutating(&out).pop();
        let call = again.unwrap_or_else(|| {
            let (call, more) = until_call(&mut rig, H * 3);
            out.extend(more);
            call
        });
        let expected = Operation::Associate { address: EIP, reassociate: true };
        assert_eq!(call.operation, expected, "{outcome:?}");
        assert_eq!(rig.role(), RoleName::Master);
    }
}

#[test]
fn a_retry_after_an_unknown_outcome_reads_first_and_is_fenced() {
    for outcome in [CallOutcome::Timeout, CallOutcome::Error { what: "connection reset".into() }] {
        // Given a takeover whose call's outcome is not known,
        let (mut rig, out) = elected();
        rig.reads = false;
        let first = mutation(&out);
        let mut out = rig.finish(&first, outcome);
        assert_eq!(rig.group().addresses[0].ownership, OwnershipName::Unknown);
        // then it reads before anything else,
        while reads(&out).is_empty() {
            assert_eq!(mutating(&out), []);
            let next = rig.node.next_deadline();
            out = rig.run_to(next);
            assert!(rig.now < at(10_000), "it does not read");
        }
        let read = reads(&out).remove(0);
        // ends the association that the read showed, and no other,
        let seen = Observation { address: EIP, ip: None, association: held_by("assoc-b", B) };
        let mut out = rig.finish(&read, CallOutcome::Ok(CallReply::Described(vec![seen])));
        let call = mutating(&out).pop().unwrap_or_else(|| until_call(&mut rig, H * 3).0);
        let association = AssociationId("assoc-b".into());
        assert_eq!(call.operation, Operation::Disassociate { address: EIP, association });
        // and associates with reassociation off.
        out = rig.finish(&call, CallOutcome::Ok(CallReply::Disassociated));
        let call = mutating(&out).pop().unwrap_or_else(|| until_call(&mut rig, H * 3).0);
        assert_eq!(call.operation, Operation::Associate { address: EIP, reassociate: false });
        rig.finish(&call, associated("assoc-mine"));
        assert_eq!(rig.group().addresses[0].ownership, OwnershipName::Owned);
    }
}

#[test]
fn an_unknown_outcome_that_turns_out_a_success_is_not_repeated() {
    let (mut rig, out) = elected();
    let first = mutation(&out);
    rig.held = held_by("assoc-mine", A);
    let mut out = rig.finish(&first, CallOutcome::Timeout);
    out.extend(rig.pass(H * 30));
    assert_eq!(mutating(&out), []);
    assert_eq!(rig.group().addresses[0].ownership, OwnershipName::Owned);
}

#[test]
fn in_the_next_term_the_first_call_is_unconditional_again() {
    // Given a call of unknown outcome, and a master that lost its lease before it repeated it,
    let (mut rig, out) = elected();
    rig.reads = false;
    rig.finish(&mutation(&out), CallOutcome::Timeout);
    rig.answering.clear();
    rig.sleep(LEASE);
    rig.give(Input::DeadlineReached);
    assert_eq!(rig.role(), RoleName::Holding);
    // when it is elected again, then the first call of that takeover is not fenced.
    rig.answering = vec![B, W];
    let request = candidacy(&rig.pass(H * 2));
    let out = rig.vote(W, &request, Vote::Granted);
    let expected = Operation::Associate { address: EIP, reassociate: true };
    assert_eq!(mutation(&out).operation, expected);
}

#[test]
fn a_fenced_claim_disassociates_what_was_observed_and_associates_without_reassociation() {
    let fenced = with(config(A), |config| config.claim = ClaimMode::Fenced);
    let (mut rig, out) = elected_of(fenced);
    // The association was observed before: the first call follows the votes directly.
    let call = mutation(&out);
    let association = AssociationId("assoc-b".into());
    assert_eq!(call.operation, Operation::Disassociate { address: EIP, association });
    rig.answering.clear();
    rig.held = None;
    let out = rig.finish(&call, CallOutcome::Ok(CallReply::Disassociated));
    // The second step is confirmed by a majority first.
    assert_eq!(mutating(&out), []);
    let beat = beats(&out, W).pop().expect("at once");
    let input = rig.renewing(W, &beat);
    let call = mutation(&rig.give(input));
    assert_eq!(call.operation, Operation::Associate { address: EIP, reassociate: false });
    rig.finish(&call, associated("assoc-mine"));
    assert_eq!(rig.group().addresses[0].ownership, OwnershipName::Owned);
}

#[test]
fn a_fenced_claim_that_loses_the_race_reads_again_and_goes_on_under_its_lease() {
    let fenced = with(config(A), |config| config.claim = ClaimMode::Fenced);
    let (mut rig, out) = elected_of(fenced);
    // Given that another took the address in between,
    rig.held = held_by("assoc-x", W);
    let first = mutation(&out);
    let out = rig.finish(&first, code("InvalidAssociationID.NotFound"));
    assert_eq!(mutating(&out), []);
    // then it reads again, and disassociates what it sees now.
    let (call, out) = until_call(&mut rig, H * 5);
    assert!(!reads(&out).is_empty() || rig.reads);
    let association = AssociationId("assoc-x".into());
    assert_eq!(call.operation, Operation::Disassociate { address: EIP, association });
}

#[test]
fn a_fenced_claim_of_what_was_never_read_reads_first() {
    let fenced = with(config(B), |config| config.claim = ClaimMode::Fenced);
    let mut rig = Rig::new(fenced);
    rig.reads = false;
    let mut out = rig.beat(W, Beat::idle());
    let read = reads(&out).remove(0);
    let request = stand(&mut rig);
    rig.answering = vec![A, W];
    out = rig.vote(W, &request, Vote::Granted);
    assert_eq!(mutating(&out), []);
    // The read of before is still under way; when it ends, its answer is what it is fenced by.
    let seen = Observation { address: EIP, ip: None, association: held_by("assoc-a", A) };
    out = rig.finish(&read, CallOutcome::Ok(CallReply::Described(vec![seen])));
    let call = mutating(&out).pop().unwrap_or_else(|| until_call(&mut rig, H * 3).0);
    let association = AssociationId("assoc-a".into());
    assert_eq!(call.operation, Operation::Disassociate { address: EIP, association });
}

#[test]
fn the_call_after_a_read_is_confirmed_anew() {
    // Given a fenced retry that was confirmed and then had to read, and a machine that stopped
    // while the read was under way,
    let (mut rig, out) = elected();
    rig.reads = false;
    let mut out = rig.finish(&mutation(&out), CallOutcome::Timeout);
    while reads(&out).is_empty() {
        let next = rig.node.next_deadline();
        out = rig.run_to(next);
    }
    let read = reads(&out).remove(0);
    rig.answering.clear();
    // when the read ends, then what it decides waits for an answer to a heartbeat sent after it.
    let seen = Observation { address: EIP, ip: None, association: held_by("assoc-b", B) };
    let out = rig.finish(&read, CallOutcome::Ok(CallReply::Described(vec![seen])));
    assert_eq!(mutating(&out), []);
    let beat = beats(&out, W).pop().expect("at once");
    let input = rig.renewing(W, &beat);
    assert_eq!(mutating(&rig.give(input)).len(), 1);
}

#[test]
fn an_outcome_is_recorded_though_the_lease_was_lost_meanwhile() {
    // Given a master whose call is under way when its lease ends,
    let (mut rig, out) = elected();
    let call = mutation(&out);
    rig.answering.clear();
    rig.pass(LEASE);
    assert_eq!(rig.role(), RoleName::Holding);
    // when the call succeeds, then that is recorded and journaled, and nothing is called.
    let out = rig.finish(&call, associated("assoc-mine"));
    assert_eq!(rig.group().addresses[0].ownership, OwnershipName::Owned);
    assert!(events(&out).iter().any(|event| {
        matches!(&event.kind, EventKind::CallFinished { outcome: "ok", .. })
            && event.term == Some(call.term)
    }));
    assert_eq!(mutating(&out), []);
}

#[test]
fn one_queue_per_address_one_call_at_a_time() {
    let (mut rig, out) = elected();
    let call = mutation(&out);
    // While it is under way nothing else is called for that address, whatever is read.
    let mut out = rig.give(Input::OwnershipHint { group: WEB });
    out.extend(rig.pass(H * 4));
    assert_eq!(mutating(&out), []);
    // An outcome that is told twice counts once.
    rig.held = held_by("assoc-mine", A);
    rig.finish(&call, associated("assoc-mine"));
    let out = rig.finish(&call, CallOutcome::Timeout);
    assert_eq!(out.len(), 0);
    assert_eq!(rig.group().addresses[0].ownership, OwnershipName::Owned);
}

#[test]
fn retries_are_at_most_two_seconds_apart_and_alarmed_after_a_few() {
    let (mut rig, out) = elected();
    let mut call = mutation(&out);
    for failure in 1..=8 {
        let failed_at = rig.now;
        rig.finish(&call, CallOutcome::Throttled);
        assert_eq!(
            rig.alarms().contains(&AlarmName::ClaimFailing(WEB, EIP)),
            failure >= 3,
            "after {failure} failures"
        );
        call = until_call(&mut rig, H * 3).0;
        assert!(rig.now.since(failed_at) <= Duration::from_secs(2), "retry {failure}");
    }
    rig.held = held_by("assoc-mine", A);
    rig.finish(&call, associated("assoc-mine"));
    assert!(!rig.alarms().contains(&AlarmName::ClaimFailing(WEB, EIP)));
}

#[test]
fn reads_that_fail_are_spaced_too() {
    // Given a fenced retry whose reads are throttled,
    let (mut rig, out) = elected();
    rig.reads = false;
    let mut out = rig.finish(&mutation(&out), CallOutcome::Timeout);
    let mut began = Vec::new();
    let from = rig.now;
    while rig.now.since(from) < H * 10 {
        for read in reads(&out.clone()) {
            began.push(rig.now);
            out = rig.finish(&read, CallOutcome::Throttled);
            assert_eq!(reads(&out), [], "not again in the same step");
        }
        let next = rig.node.next_deadline();
        out = rig.run_to(next);
    }
    let apart = began.windows(2).map(|pair| pair[1].since(pair[0])).min().unwrap();
    assert!(apart >= millis(100), "{apart:?} apart, {} reads in ten seconds", began.len());
}

#[test]
fn backups_and_witnesses_never_mutate() {
    let mut rig = backup();
    rig.held = None;
    let mut out = rig.give(Input::OwnershipHint { group: WEB });
    for _ in 0..40 {
        out.extend(rig.pass(H));
        out.extend(rig.beat(A, Beat::master(TERM)));
        out.extend(rig.beat(W, Beat::idle()));
    }
    assert_eq!(mutating(&out), []);
    assert!(!reads(&out).is_empty(), "a backup observes");
}
