//! What the kernel has of an address (design 5.6): a level that follows the role. Traffic must
//! find the address where the cloud sends it, and nowhere else once somebody else serves.

use vipward_core::Presence::{Absent, Present};
use vipward_core::*;

use crate::fixture::*;
use crate::handover::{answer_offer, offer};
use crate::reading::*;
use crate::scenes::*;

fn is(presence: Presence) -> Input {
    Input::Kernel { group: WEB, address: SIP, state: KernelState::Is(presence) }
}

fn failed(what: &str) -> Input {
    let state = KernelState::Failed { what: what.into() };
    Input::Kernel { group: WEB, address: SIP, state }
}

/// What the journal says of the kernel.
fn changes(out: &[Output]) -> Vec<(Presence, &'static str)> {
    let changes = events(out).into_iter().filter_map(|event| {
        let EventKind::KernelChanged { presence, reason, .. } = event.kind else { return None };
        Some((presence, reason))
    });
    changes.collect()
}

/// A master of a secondary address that its kernel has.
fn served() -> Rig {
    let mut rig = master_of(secondary(A));
    rig.give(is(Present));
    rig
}

/// The same, since just now without its majority.
fn serving_on() -> Rig {
    let mut rig = served();
    rig.answering.clear();
    while rig.role() != RoleName::Holding {
        assert_eq!(kernel_orders(&rig.pass(millis(100))), []);
    }
    rig
}

/// What a peer says that knows of another's election.
fn elected_elsewhere(term: u64) -> Beat {
    let elected = Some(Elected { term: Term(term), node: B });
    Beat { elected, ..Beat::idle() }
}

#[test]
fn the_kernel_has_it_before_the_cloud_sends_traffic_here() {
    for claim in [ClaimMode::Fast, ClaimMode::Fenced] {
        let (_, out) = elected_of(with(secondary(A), |config| config.claim = claim));
        // In the very step that won the votes, and before its call.
        assert_eq!(kernel_orders(&out), [(SIP, Present)]);
        let place = |of: fn(&Output) -> bool| out.iter().position(of).unwrap();
        let ordered = place(|it| matches!(it, Output::Kernel { .. }));
        let called =
            place(|it| matches!(it, Output::Call(call) if call.operation.mutates().is_some()));
        assert!(ordered < called);
    }
}

#[test]
fn only_addresses_that_live_in_a_kernel_are_ordered() {
    let (_, out) = elected_of(mixed(A));
    assert_eq!(kernel_orders(&out), [(AddressId(1), Present)]);
    let (_, out) = elected();
    assert_eq!(kernel_orders(&out), []);
}

#[test]
fn an_order_stands_until_the_next_and_is_not_repeated() {
    let mut rig = served();
    let mut out = Vec::new();
    for _ in 0..60 {
        out.extend(rig.pass(H));
        beat_all(&mut rig);
        out.extend(rig.give(Input::OwnershipHint { group: WEB }));
    }
    assert_eq!(kernel_orders(&out), []);
}

#[test]
fn a_candidate_orders_nothing() {
    let mut rig = Rig::new(secondary(B));
    rig.held = held_by("eni-b", B);
    let mut out = rig.beat(W, Beat::idle());
    stand(&mut rig);
    assert_eq!(rig.role(), RoleName::Candidate);
    out.extend(rig.give(Input::DeadlineReached));
    assert_eq!(kernel_orders(&out), []);
}

#[test]
fn one_that_serves_on_without_a_majority_keeps_it() {
    let mut rig = serving_on();
    let mut out = rig.pass(H * 60);
    // Also when the cloud shows it elsewhere: nobody is known to serve it there.
    rig.held = held_by("eni-b", B);
    out.extend(rig.give(Input::OwnershipHint { group: WEB }));
    rig.held = None;
    out.extend(rig.give(Input::OwnershipHint { group: WEB }));
    out.extend(rig.pass(H * 60));
    assert_eq!(rig.role(), RoleName::Holding);
    assert_eq!(kernel_orders(&out), []);
}

#[test]
fn a_majority_lost_and_regained_orders_nothing() {
    let mut rig = serving_on();
    rig.answering = vec![B, W];
    let request = stand(&mut rig);
    let mut out = rig.vote(W, &request, Vote::Granted);
    assert_eq!(rig.role(), RoleName::Master);
    out.extend(rig.pass(H * 10));
    assert_eq!(kernel_orders(&out), [], "it has it already");
}

#[test]
fn when_another_is_elected_it_goes() {
    // Given one that serves on, or leads still as far as it knows,
    for mut rig in [serving_on(), served()] {
        // when it hears of another's election in a higher term, from whomever,
        let out = rig.beat(W, elected_elsewhere(900));
        // then its kernel lets go of it, in that step and once.
        assert_eq!(rig.role(), RoleName::Backup);
        assert_eq!(kernel_orders(&out), [(SIP, Absent)]);
        let mut out = rig.give(is(Absent));
        assert_eq!(changes(&out), [(Absent, "as this node's role wants it")]);
        for _ in 0..20 {
            out.extend(rig.pass(H));
            out.extend(rig.beat(B, Beat::master(900)));
        }
        assert_eq!(kernel_orders(&out), []);
    }
}

#[test]
fn a_master_that_slept_through_its_successors_election_lets_go_of_it() {
    let mut rig = served();
    rig.answering.clear();
    rig.sleep(LEASE * 4);
    let out = rig.give(Input::DeadlineReached);
    assert_eq!(kernel_orders(&out), [], "nobody else is known to lead");
    let out = rig.beat(B, Beat::master(900));
    assert_eq!(kernel_orders(&out), [(SIP, Absent)]);
    assert_eq!(mutating(&out), []);
}

#[test]
fn one_that_leads_again_orders_it_again() {
    let mut rig = served();
    rig.beat(B, elected_elsewhere(900));
    rig.give(is(Absent));
    let request = stand(&mut rig);
    let out = rig.vote(W, &request, Vote::Granted);
    assert_eq!(rig.role(), RoleName::Master);
    assert_eq!(kernel_orders(&out), [(SIP, Present)]);
}

#[test]
fn one_that_just_started_orders_nothing_until_something_is_known() {
    // Given a fresh life, for all it knows the holder, whatever the reads cannot tell,
    for held in [held_by("eni-a", A), None] {
        let mut rig = Rig::new(secondary(A));
        rig.held = held;
        let mut out = rig.give(is(Present));
        out.extend(rig.beat(W, Beat::idle()));
        out.extend(rig.pass(millis(500)));
        out.extend(rig.give(Input::OwnershipHint { group: WEB }));
        // or told that it was itself elected last,
        let elected = Some(Elected { term: Term(900), node: A });
        out.extend(rig.beat(W, Beat { elected, ..Beat::idle() }));
        assert_eq!(rig.role(), RoleName::Backup);
        assert_eq!(kernel_orders(&out), []);
    }
    let mut rig = Rig::new(secondary(A));
    rig.reads = false;
    let mut out = rig.give(is(Present));
    out.extend(rig.pass(millis(500)));
    assert_eq!(kernel_orders(&out), [], "nothing is known");
}

#[test]
fn one_that_just_started_lets_go_of_what_another_leads_or_has() {
    // Given a fresh life whose kernel has an address from the life before,
    let start = || {
        let mut rig = Rig::new(secondary(A));
        rig.reads = false;
        rig.give(is(Present));
        rig
    };
    // when it hears who leads, then it goes;
    let mut rig = start();
    assert_eq!(kernel_orders(&rig.beat(W, elected_elsewhere(5))), [(SIP, Absent)]);
    let mut rig = start();
    assert_eq!(kernel_orders(&rig.beat(B, Beat::master(5))), [(SIP, Absent)]);
    // and when the cloud shows it elsewhere, also outside the cluster: by one read and another
    // two seconds later, for the first may show how it was before the life before claimed it.
    let outside = Association {
        id: AssociationId("eni-x".into()),
        holder: Holder::Outside("i-0stranger".into()),
    };
    for held in [held_by("eni-b", B), Some(outside)] {
        let mut rig = Rig::new(secondary(A));
        rig.held = held;
        let mut out = rig.give(is(Present));
        out.extend(rig.run_to(at(1_999)));
        assert_eq!(kernel_orders(&out), []);
        out.extend(rig.give(Input::OwnershipHint { group: WEB }));
        assert_eq!(kernel_orders(&out), []);
        out.extend(rig.pass(millis(1)));
        assert_eq!(rig.role(), RoleName::Backup);
        assert_eq!(kernel_orders(&out), [(SIP, Absent)]);
    }
}

#[test]
fn one_stale_read_takes_nothing_from_a_kernel() {
    // Given a master that had just claimed its address when its daemon was restarted, when a read
    // shows how it was before, and the next how it is,
    let mut rig = Rig::new(secondary(A));
    rig.held = held_by("eni-b", B);
    let mut out = rig.give(is(Present));
    assert_eq!(reads(&out).len(), 1);
    rig.held = held_by("eni-a", A);
    out.extend(rig.pass(millis(2_000)));
    assert!(reads(&out).len() >= 2, "it looks again");
    // and then again how it was, then its kernel keeps it.
    rig.held = held_by("eni-b", B);
    out.extend(rig.give(Input::OwnershipHint { group: WEB }));
    assert_eq!(rig.role(), RoleName::Backup);
    assert_eq!(kernel_orders(&out), []);
}

#[test]
fn a_restarted_master_that_is_elected_again_is_given_it_again() {
    let mut rig = served();
    rig.restart();
    rig.answering.clear();
    rig.lives[A.index()] = 2;
    rig.beat(B, Beat::idle());
    rig.beat(W, Beat::idle());
    let request = stand(&mut rig);
    rig.answering = vec![B, W];
    let out = rig.vote(W, &request, Vote::Granted);
    assert_eq!(rig.role(), RoleName::Master);
    assert_eq!(kernel_orders(&out), [(SIP, Present)], "the edge forgot with the life before");
}

#[test]
fn a_witness_orders_nothing() {
    let mut rig = Rig::new(secondary(W));
    let mut out = Vec::new();
    for _ in 0..10 {
        out.extend(rig.pass(H));
        out.extend(rig.beat(A, Beat::master(TERM)));
    }
    assert_eq!(kernel_orders(&out), []);
}

#[test]
fn an_order_that_fails_is_alarmed_until_it_is_carried_out() {
    let alarm = AlarmName::KernelAddress(WEB, SIP);
    let (mut rig, out) = elected_of(secondary(A));
    claim(&mut rig, &out);
    rig.give(failed("no permission to change addresses: give the unit CAP_NET_ADMIN"));
    assert!(rig.alarms().contains(&alarm));
    let status = rig.node.status(rig.now);
    let (_, _, message) = status.alarms.iter().find(|(name, _, _)| *name == alarm).unwrap();
    assert!(message.contains("CAP_NET_ADMIN"), "{message}");
    // It stays while the kernel has not what was ordered, and is over when it has.
    rig.give(is(Absent));
    assert!(rig.alarms().contains(&alarm));
    rig.give(is(Present));
    assert!(!rig.alarms().contains(&alarm));
    // Of an address that must go likewise.
    rig.beat(B, elected_elsewhere(900));
    rig.give(failed("device busy"));
    assert!(rig.alarms().contains(&alarm));
    rig.give(is(Absent));
    assert!(!rig.alarms().contains(&alarm));
}

#[test]
fn an_alarm_about_an_order_ends_with_the_order() {
    // Given a kernel that could not be given an address,
    let (mut rig, out) = elected_of(secondary(A));
    claim(&mut rig, &out);
    rig.give(is(Absent));
    rig.give(failed("device busy"));
    assert!(rig.alarms().contains(&AlarmName::KernelAddress(WEB, SIP)));
    // when it is not to have it any more, then all is well: the edge has nothing to tell.
    let out = rig.beat(B, elected_elsewhere(900));
    assert_eq!(kernel_orders(&out), [(SIP, Absent)]);
    assert!(!rig.alarms().contains(&AlarmName::KernelAddress(WEB, SIP)));
}

#[test]
fn what_something_else_does_to_the_kernel_is_journaled() {
    let (mut rig, out) = elected_of(secondary(A));
    claim(&mut rig, &out);
    // That it was never here is no news.
    assert_eq!(changes(&rig.give(is(Absent))), []);
    assert_eq!(changes(&rig.give(is(Present))), [(Present, "as this node's role wants it")]);
    assert_eq!(changes(&rig.give(is(Present))), [], "once");
    let put_back = "something else removed it; it is put back";
    assert_eq!(changes(&rig.give(is(Absent))), [(Absent, put_back)]);
    assert_eq!(changes(&rig.give(is(Present))), [(Present, "as this node's role wants it")]);
    // And what a life before left there.
    let mut rig = Rig::new(secondary(A));
    assert_eq!(changes(&rig.give(is(Present))), [(Present, "it was here already")]);
}

#[test]
fn the_status_shows_what_the_kernel_has() {
    let shown = |rig: &Rig| rig.group().addresses[0].kernel;
    let (mut rig, _) = elected_of(secondary(A));
    assert_eq!(shown(&rig), None);
    for presence in [Absent, Present] {
        rig.give(is(presence));
        assert_eq!(shown(&rig), Some(presence));
    }
}

#[test]
fn a_kernel_that_tells_of_an_address_that_is_not_here_is_ignored() {
    let mut rig = served();
    let address = AddressId(7);
    let state = KernelState::Failed { what: "?".into() };
    rig.give(Input::Kernel { group: WEB, address, state: state.clone() });
    rig.give(Input::Kernel { group: GroupId(7), address: SIP, state });
    assert_eq!(rig.alarms(), []);
}

/// A master that stops and has resigned in favour of `lb-b`, all acknowledged.
fn stopping() -> Rig {
    let mut rig = served();
    let (_, request) = offer(&rig.give(Input::Stop));
    let out = answer_offer(&mut rig, B, request.send, Ok(Done::Accepted));
    assert_eq!(rig.role(), RoleName::Holding);
    assert!(!stopped(&out), "traffic comes here still");
    assert_eq!(kernel_orders(&out), []);
    rig
}

#[test]
fn one_that_stops_waits_until_another_leads_and_lets_go_of_it_first() {
    let mut rig = stopping();
    // Given that every take-back is acknowledged,
    let out = rig.pass(H);
    assert!(!stopped(&out));
    // when its successor is heard, then its kernel is to let go of it;
    let out = rig.beat(B, Beat::master(900));
    assert_eq!(kernel_orders(&out), [(SIP, Absent)]);
    assert!(!stopped(&out), "the order would end with the process");
    // and when it has, the daemon has stopped.
    assert!(stopped(&rig.give(is(Absent))));
}

#[test]
fn one_that_stops_waits_no_longer_than_its_patience() {
    let patience = config(A).call_timeout + LEASE * 2;
    // Given a successor that is never elected, or a kernel that does not let go,
    for elected in [false, true] {
        let mut rig = stopping();
        let asked_at = rig.now;
        let mut out = Vec::new();
        if elected {
            out = rig.beat(B, Beat::master(900));
            out.extend(rig.give(failed("device busy")));
        }
        while !stopped(&out) {
            assert!(rig.now.since(asked_at) <= patience, "it does not stop");
            out = rig.run_to((rig.now + millis(500)).min(rig.node.next_deadline()));
            if !stopped(&out) {
                out.extend(rig.beat(W, Beat::idle()));
                out.extend(rig.beat(B, Beat::idle()));
            }
        }
        assert_eq!(rig.now, asked_at + patience);
    }
}

#[test]
fn one_that_stops_waits_also_for_a_successor_of_another_configuration() {
    // Given that the only one that can take over has another configuration: on a stop it may,
    let mut rig = served();
    let drifted = Beat { digest: Digest([8; 32]), ..Beat::idle() };
    rig.beat(B, drifted.clone());
    let (_, request) = offer(&rig.give(Input::Stop));
    let out = answer_offer(&mut rig, B, request.send, Ok(Done::Accepted));
    // then its election is awaited like any other's.
    assert!(!stopped(&out));
    let out = rig.beat(B, Beat { digest: drifted.digest, ..Beat::master(900) });
    assert_eq!(kernel_orders(&out), [(SIP, Absent)]);
    assert!(stopped(&rig.give(is(Absent))));
}

#[test]
fn one_that_stops_without_a_successor_or_a_majority_keeps_it() {
    // Given that nobody can take over, then it does not wait, and traffic goes on.
    let mut rig = served();
    rig.beat(B, Beat { healthy: false, ..Beat::idle() });
    let out = rig.give(Input::Stop);
    assert!(stopped(&out));
    assert_eq!(kernel_orders(&out), []);
    let mut rig = serving_on();
    rig.pass(LEASE * 2);
    let out = rig.give(Input::Stop);
    assert!(stopped(&out));
    assert_eq!(kernel_orders(&out), []);
}

#[test]
fn one_whose_kernel_has_nothing_does_not_wait() {
    // A backup, and a master of an elastic IP only: as before.
    let mut rig = Rig::new(secondary(B));
    rig.beat(A, Beat::master(TERM));
    rig.give(is(Absent));
    assert!(stopped(&rig.give(Input::Stop)));
    let mut rig = master();
    let (_, request) = offer(&rig.give(Input::Stop));
    assert!(stopped(&answer_offer(&mut rig, B, request.send, Ok(Done::Accepted))));
}
