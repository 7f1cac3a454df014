//! Fenced claims (design 5.3): by configuration, and after an outcome that is not known.

use vipward_core::*;

use crate::fixture::*;
use crate::ownership::{code, until_call};
use crate::reading::*;
use crate::scenes::*;

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
