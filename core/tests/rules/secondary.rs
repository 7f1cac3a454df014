//! Secondary private addresses (design 5.2 to 5.4): nothing but the interface that has one names
//! it, so a fence is what was observed, and one read is no proof of a move.

use std::time::Duration;

use vipward_core::*;

use crate::fixture::*;
use crate::ownership::{code, until_call};
use crate::reading::*;
use crate::scenes::*;

const BOTH: [AddressId; 2] = [AddressId(0), AddressId(1)];

fn eni(name: &str) -> AssociationId {
    AssociationId(name.into())
}

fn ours() -> Option<Association> {
    held_by("eni-a", A)
}

fn theirs() -> Option<Association> {
    held_by("eni-b", B)
}

fn fenced() -> Config {
    with(secondary(A), |config| config.claim = ClaimMode::Fenced)
}

fn ownership(rig: &Rig) -> OwnershipName {
    rig.group().addresses[0].ownership
}

/// A master whose claim has just succeeded; `lb-b` had the address before.
fn claimed() -> Rig {
    let (mut rig, out) = elected_of(secondary(A));
    claim(&mut rig, &out);
    rig
}

/// Lets the next read show `seen`; what that orders.
fn shows(rig: &mut Rig, seen: Option<Association>) -> Vec<Output> {
    rig.held = seen;
    rig.give(Input::OwnershipHint { group: WEB })
}

/// The next mutating call, in `out` or soon.
fn next_call(rig: &mut Rig, out: &[Output]) -> CloudCall {
    mutating(out).pop().unwrap_or_else(|| until_call(rig, H * 3).0)
}

/// Runs until something is read, without a mutating call before.
fn until_reads(rig: &mut Rig, mut out: Vec<Output>) -> Vec<CloudCall> {
    let from = rig.now;
    while reads(&out).is_empty() {
        assert_eq!(mutating(&out), []);
        out = rig.run_to(rig.node.next_deadline());
        assert!(rig.now.since(from) < H * 5, "it does not read");
    }
    assert_eq!(mutating(&out), []);
    reads(&out)
}

#[test]
fn a_fast_claim_is_one_assignment_that_takes_it_from_whoever_has_it() {
    let (mut rig, out) = elected_of(secondary(A));
    let call = mutation(&out);
    assert_eq!(call.operation, Operation::Assign { address: SIP, reassign: true });
    assert_eq!(call.operation.as_str(), "AssignPrivateIpAddresses");
    claim(&mut rig, &out);
    assert_eq!(ownership(&rig), OwnershipName::Owned);
    assert_eq!(mutating(&rig.pass(H * 600)), []);
}

#[test]
fn a_fenced_claim_takes_it_off_the_interface_observed_then_assigns_it_if_free() {
    let (mut rig, out) = elected_of(fenced());
    // The holder was observed before: the first call follows the votes directly.
    let call = mutation(&out);
    assert_eq!(call.operation, Operation::Unassign { address: SIP, interface: eni("eni-b") });
    assert_eq!(call.operation.as_str(), "UnassignPrivateIpAddresses");
    rig.answering.clear();
    rig.held = None;
    let out = rig.finish(&call, CallOutcome::Ok(CallReply::Disassociated));
    // The second step is confirmed by a majority first.
    assert_eq!(mutating(&out), []);
    let beat = beats(&out, W).pop().expect("at once");
    let input = rig.renewing(W, &beat);
    let call = mutation(&rig.give(input));
    assert_eq!(call.operation, Operation::Assign { address: SIP, reassign: false });
    rig.held = ours();
    rig.finish(&call, associated("eni-a"));
    assert_eq!(ownership(&rig), OwnershipName::Owned);
}

#[test]
fn a_fenced_claim_of_what_nobody_has_is_one_assignment() {
    let (_, out) = elected_over(fenced(), None);
    assert_eq!(mutation(&out).operation, Operation::Assign { address: SIP, reassign: false });
}

#[test]
fn a_fenced_claim_takes_it_off_an_interface_outside_the_cluster_too() {
    let holder = Holder::Outside("i-0stranger".into());
    let held = Some(Association { id: eni("eni-x"), holder });
    let (_, out) = elected_over(fenced(), held);
    let expected = Operation::Unassign { address: SIP, interface: eni("eni-x") };
    assert_eq!(mutation(&out).operation, expected);
}

#[test]
fn a_fenced_claim_never_takes_it_off_its_own_interface() {
    // Given a node that still has the address, as every read shows, when it is elected after
    // another was,
    let config = with(fenced(), |config| config.nodes[2].witness = true);
    let mut rig = Rig::new(config);
    rig.held = ours();
    let led_by_b = Beat { elected: Some(Elected { term: Term(4), node: B }), ..Beat::idle() };
    rig.beat(B, led_by_b);
    rig.beat(W, Beat::idle());
    for _ in 0..40 {
        rig.pass(H);
        rig.beat(W, Beat::idle());
        if rig.role() == RoleName::Candidate {
            break;
        }
    }
    let request = stand(&mut rig);
    rig.answering = vec![B, W];
    let mut out = rig.vote(W, &request, Vote::Granted);
    assert_eq!(rig.role(), RoleName::Master);
    // then it looks, and changes nothing.
    out.extend(rig.pass(H * 30));
    assert_eq!(mutating(&out), []);
    assert_eq!(ownership(&rig), OwnershipName::Owned);
}

#[test]
fn a_retry_after_an_unknown_outcome_reads_first_and_is_fenced() {
    for outcome in [CallOutcome::Timeout, CallOutcome::Error { what: "connection reset".into() }] {
        // Given a takeover whose assignment has an outcome that is not known,
        let (mut rig, out) = elected_of(secondary(A));
        rig.reads = false;
        let out = rig.finish(&mutation(&out), outcome);
        assert_eq!(ownership(&rig), OwnershipName::Unknown);
        // then it reads, takes the address off the interface that the read showed,
        let read = until_reads(&mut rig, out).remove(0);
        let shown = rig.read_of(&read);
        let out = rig.finish(&read, shown);
        let call = next_call(&mut rig, &out);
        let expected = Operation::Unassign { address: SIP, interface: eni("eni-b") };
        assert_eq!(call.operation, expected);
        // and assigns it with reassignment off.
        let out = rig.finish(&call, CallOutcome::Ok(CallReply::Disassociated));
        let call = next_call(&mut rig, &out);
        assert_eq!(call.operation, Operation::Assign { address: SIP, reassign: false });
        rig.finish(&call, associated("eni-a"));
        assert_eq!(ownership(&rig), OwnershipName::Owned);
    }
}

#[test]
fn an_unknown_outcome_of_either_fenced_step_reads_first() {
    let (mut rig, out) = elected_of(fenced());
    rig.reads = false;
    // Given that the first step's outcome is not known, then what a read shows is the fence;
    let out = rig.finish(&mutation(&out), CallOutcome::Timeout);
    let read = until_reads(&mut rig, out).remove(0);
    rig.held = None;
    let shown = rig.read_of(&read);
    let out = rig.finish(&read, shown);
    let call = next_call(&mut rig, &out);
    assert_eq!(call.operation, Operation::Assign { address: SIP, reassign: false });
    // and given that the second's is not, again.
    let out = rig.finish(&call, CallOutcome::Timeout);
    let read = until_reads(&mut rig, out).remove(0);
    rig.held = ours();
    let shown = rig.read_of(&read);
    let mut out = rig.finish(&read, shown);
    assert_eq!(ownership(&rig), OwnershipName::Owned);
    rig.reads = true;
    out.extend(rig.pass(H * 30));
    assert_eq!(mutating(&out), []);
}

#[test]
fn an_assignment_that_loses_the_race_reads_again() {
    let (mut rig, out) = elected_over(fenced(), None);
    let first = mutation(&out);
    // Given that another took it in between, then what is seen now is the fence.
    rig.held = theirs();
    let out = rig.finish(&first, code("InvalidParameterValue"));
    assert_eq!(mutating(&out), []);
    let (call, _) = until_call(&mut rig, H * 5);
    let expected = Operation::Unassign { address: SIP, interface: eni("eni-b") };
    assert_eq!(call.operation, expected);
}

#[test]
fn one_read_is_no_proof_of_a_move() {
    for held in [theirs(), held_by("eni-w", W)] {
        let mut rig = claimed();
        rig.pass(millis(500));
        // Given a read that shows it elsewhere, when the next shows it here, then nothing moved,
        let mut out = shows(&mut rig, held.clone());
        assert_eq!(ownership(&rig), OwnershipName::Owned);
        out.extend(rig.pass(H));
        out.extend(shows(&mut rig, ours()));
        out.extend(rig.pass(H * 2));
        // and the first of two is again the first.
        out.extend(shows(&mut rig, held));
        assert_eq!(mutating(&out), []);
        out.extend(shows(&mut rig, ours()));
        out.extend(rig.pass(H * 30));
        assert_eq!(mutating(&out), []);
        assert_eq!(ownership(&rig), OwnershipName::Owned);
    }
}

#[test]
fn two_reads_two_seconds_apart_that_agree_are_repaired() {
    let outside = Some(Association { id: eni("eni-x"), holder: Holder::Outside("i-0x".into()) });
    for held in [theirs(), outside] {
        // Given a read that shows it elsewhere,
        let mut rig = claimed();
        rig.pass(millis(500));
        let mut out = shows(&mut rig, held.clone());
        let seen_at = rig.now;
        // when others soon after agree, then that proves nothing yet;
        while rig.now.since(seen_at) < millis(1_900) {
            assert_eq!(mutating(&out), []);
            out = rig.pass(millis(100));
            out.extend(shows(&mut rig, held.clone()));
        }
        assert_eq!(mutating(&out), []);
        // but two seconds after the first it is claimed, without being asked for another read.
        let (call, _) = until_call(&mut rig, H);
        assert_eq!(call.operation, Operation::Assign { address: SIP, reassign: true });
        assert!(rig.now.since(seen_at) >= Duration::from_secs(2));
    }
}

#[test]
fn what_nobody_has_is_claimed_at_once() {
    let mut rig = claimed();
    rig.pass(millis(500));
    let out = shows(&mut rig, None);
    // At once: as soon as a majority has answered.
    assert_eq!(mutation(&out).operation, Operation::Assign { address: SIP, reassign: true });
}

#[test]
fn a_repair_is_fenced_where_claims_are() {
    let (mut rig, out) = elected_of(fenced());
    claim(&mut rig, &out);
    rig.pass(H * 20);
    shows(&mut rig, theirs());
    let (call, _) = until_call(&mut rig, H * 4);
    let expected = Operation::Unassign { address: SIP, interface: eni("eni-b") };
    assert_eq!(call.operation, expected);
}

#[test]
fn repairs_are_budgeted() {
    let mut rig = claimed();
    let from = rig.now;
    let mut repaired = 0;
    while rig.now.since(from) < Duration::from_secs(55) {
        let mut out = shows(&mut rig, theirs());
        out.extend(rig.pass(millis(2_500)));
        if !mutating(&out).is_empty() {
            repaired += 1;
            claim(&mut rig, &out);
        }
    }
    assert_eq!(repaired, 3);
    assert!(rig.alarms().contains(&AlarmName::AddressFight(WEB, SIP)));
}

#[test]
fn a_group_of_both_kinds_makes_one_read_of_each() {
    let config = with(mixed(A), |config| {
        let kinds = [AddressKind::SecondaryIp, AddressKind::ElasticIp, AddressKind::SecondaryIp];
        config.groups[0].addresses = kinds.to_vec();
    });
    let mut rig = Rig::new(config);
    let out = rig.beat(B, Beat::idle());
    let read: Vec<_> = reads(&out).into_iter().map(|call| call.operation).collect();
    let elastic =
        Operation::Describe { kind: AddressKind::ElasticIp, addresses: vec![AddressId(1)] };
    let secondary = Operation::Describe {
        kind: AddressKind::SecondaryIp,
        addresses: vec![AddressId(0), AddressId(2)],
    };
    assert_eq!(read, [elastic.clone(), secondary]);
    assert_eq!(elastic.as_str(), "DescribeAddresses");
    // And none of a kind that it does not have.
    let mut rig = Rig::new(secondary_only());
    let out = rig.beat(B, Beat::idle());
    assert_eq!(reads(&out).len(), 1);
    assert_eq!(reads(&out)[0].operation.as_str(), "DescribeNetworkInterfaces");
}

fn secondary_only() -> Config {
    secondary(A)
}

#[test]
fn addresses_of_both_kinds_are_claimed_at_once() {
    let (mut rig, out) = elected_of(mixed(A));
    let claimed: Vec<_> = mutating(&out).into_iter().map(|call| call.operation).collect();
    let elastic = Operation::Associate { address: BOTH[0], reassociate: true };
    let secondary = Operation::Assign { address: BOTH[1], reassign: true };
    assert_eq!(claimed, [elastic, secondary]);
    // The takeover's account is whole when each kind was read.
    rig.reads = false;
    let mut read = Vec::new();
    rig.held = held_by("assoc-mine", A);
    rig.held_else.insert(BOTH[1], ours());
    for (call, id) in mutating(&out).iter().zip(["assoc-mine", "eni-a"]) {
        read.extend(reads(&rig.finish(call, associated(id))));
    }
    let finished = |out: &[Output]| {
        events(out).iter().any(|event| matches!(event.kind, EventKind::FailoverFinished(_)))
    };
    let mut accounts = 0;
    for _ in 0..8 {
        let Some(call) = read.pop() else { break };
        let shown = rig.read_of(&call);
        let out = rig.finish(&call, shown);
        accounts += usize::from(finished(&out));
        let verified = rig.group().addresses.iter().all(|it| it.verified_ago.is_some());
        assert!(!finished(&out) || verified);
        read.extend(reads(&out));
    }
    assert_eq!(accounts, 1);
}

/// A backup with both reads under way: the elastic IP's, then the secondary address's.
fn reading_both(me: NodeId) -> (Rig, CloudCall, CloudCall) {
    let mut rig = Rig::new(mixed(me));
    rig.reads = false;
    rig.held = held_by("assoc-b", B);
    let mut both = reads(&rig.give(Input::DeadlineReached));
    let secondary = both.pop().expect("of each kind");
    (rig, both.pop().expect("of each kind"), secondary)
}

#[test]
fn a_failed_read_of_one_kind_does_not_spoil_the_other() {
    for elastic_fails in [false, true] {
        for failed_first in [false, true] {
            // Given one read that fails and one that does not,
            let (mut rig, elastic, secondary) = reading_both(A);
            let (bad, good) =
                if elastic_fails { (elastic, secondary) } else { (secondary, elastic) };
            let shown = rig.read_of(&good);
            let mut ends = vec![(good, shown), (bad.clone(), CallOutcome::Throttled)];
            if failed_first {
                ends.reverse();
            }
            let mut out = Vec::new();
            for (call, outcome) in ends {
                assert_eq!(reads(&out), [], "not while the other is under way");
                out = rig.finish(&call, outcome);
            }
            // then what the good one showed is known, the other is not,
            let known: Vec<_> = rig.group().addresses.iter().map(|it| it.ownership).collect();
            let (is, is_not) = (OwnershipName::NotOwned, OwnershipName::Unknown);
            let expected = if elastic_fails { [is_not, is] } else { [is, is_not] };
            assert_eq!(known, expected);
            // and both are read again soon, not in the same step.
            assert_eq!(reads(&out), []);
            let failed_at = rig.now;
            let again = until_reads(&mut rig, out);
            assert_eq!(again.len(), 2);
            assert!(rig.now.since(failed_at) >= millis(100));
            assert!(rig.now.since(failed_at) <= Duration::from_secs(2));
        }
    }
}

#[test]
fn the_failed_read_is_journaled_by_its_own_name() {
    let (mut rig, _, secondary) = reading_both(A);
    let out = rig.finish(&secondary, CallOutcome::Throttled);
    let named = events(&out).into_iter().find_map(|event| {
        let EventKind::CallFinished { operation, .. } = event.kind else { return None };
        Some(operation)
    });
    assert_eq!(named, Some("DescribeNetworkInterfaces"));
}

#[test]
fn reads_of_one_kind_that_fail_are_spaced_though_the_other_kind_is_read() {
    // Given a fenced retry that needs a read, and reads of its kind that are throttled, while
    // those of the other kind go well,
    for failed_first in [false, true] {
        let (mut rig, out) = elected_of(mixed(A));
        rig.reads = false;
        rig.held_else.insert(BOTH[1], theirs());
        let calls = mutating(&out);
        rig.held = held_by("assoc-mine", A);
        let mut out = rig.finish(&calls[0], associated("assoc-mine"));
        out.extend(rig.finish(&calls[1], CallOutcome::Timeout));
        let from = rig.now;
        let mut began = Vec::new();
        while rig.now.since(from) < H * 10 {
            let mut both = reads(&out);
            out.clear();
            if !both.is_empty() {
                began.push(rig.now);
                if failed_first {
                    both.reverse();
                }
                rig.sleep(millis(10));
            }
            for read in both {
                let secondary = read.operation.as_str() == "DescribeNetworkInterfaces";
                let shown = if secondary { CallOutcome::Throttled } else { rig.read_of(&read) };
                out.extend(rig.finish(&read, shown));
            }
            if reads(&out).is_empty() {
                out.extend(rig.run_to(rig.node.next_deadline()));
            }
        }
        // then they come further and further apart.
        let times = began.len();
        assert!((4..30).contains(&times), "{times} reads in ten seconds");
        let later: Vec<_> = began.windows(2).skip(1).map(|pair| pair[1].since(pair[0])).collect();
        let least = later.iter().min().unwrap();
        assert!(*least >= millis(100), "{least:?} apart");
        let longest = later.iter().max().unwrap();
        assert!(*longest >= millis(500), "never more than {longest:?} apart");
    }
}
