//! Claims (design 5.1, 5.2): confirmed, fast; outcomes recorded, retries spaced.

use std::time::Duration;

use vipward_core::*;

use crate::fixture::*;
use crate::reading::*;
use crate::scenes::*;

pub(crate) fn code(name: &str) -> CallOutcome {
    CallOutcome::Refused { code: name.into() }
}

/// A master whose address the cloud shows elsewhere from now on; reads are answered by hand.
fn claiming_later() -> Rig {
    let mut rig = master();
    rig.reads = false;
    rig
}

/// Runs until a mutating call is ordered, within `most`; every other order is collected too.
pub(crate) fn until_call(rig: &mut Rig, most: Duration) -> (CloudCall, Vec<Output>) {
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
