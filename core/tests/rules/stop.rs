//! Stopping (design 3.5a): hand over, let go, and only then exit.

use vipward_core::*;

use crate::fixture::*;
use crate::handover::{answer_offer, offer};
use crate::network::Net;
use crate::reading::*;
use crate::scenes::*;

#[test]
fn a_backup_stops_at_once() {
    assert!(stopped(&backup().give(Input::Stop)));
    assert!(stopped(&witness().give(Input::Stop)));
}

#[test]
fn a_candidate_releases_first_and_stops_when_a_majority_has_answered() {
    let (mut rig, request) = candidate();
    let out = rig.give(Input::Stop);
    assert!(!stopped(&out));
    assert_eq!(take_backs(&out)[0].1, [release(request.term.0)]);
    let beat = next_beat(&mut rig, W);
    let input = rig.answering_beat(W, &beat, Renewal::None, None);
    assert!(stopped(&rig.give(input)), "this node and the witness are a majority");
}

#[test]
fn a_master_hands_over_and_stops_only_after_a_majority_acknowledged() {
    // Given a master that is asked to stop,
    let mut rig = master();
    let out = rig.give(Input::Stop);
    assert!(!stopped(&out));
    // then it offers the group to the best, resigns in its favour when that accepts,
    let (to, request) = offer(&out);
    assert_eq!(to, B);
    rig.answering.clear();
    let out = answer_offer(&mut rig, B, request.send, Ok(Done::Accepted));
    let kind = TakeBackKind::Resign { successor: Some(B), cause: Cause::Resigned };
    assert_eq!(take_backs(&out)[0].1[0].kind, kind);
    assert_eq!(rig.role(), RoleName::Holding);
    assert!(!stopped(&out));
    // and exits only when a majority knows.
    assert!(!stopped(&rig.pass(H)));
    let beat = next_beat(&mut rig, W);
    let input = rig.answering_beat(W, &beat, Renewal::None, None);
    assert!(stopped(&rig.give(input)));
}

#[test]
fn a_master_without_a_successor_lets_go_all_the_same() {
    let mut rig = master();
    rig.beat(B, Beat { healthy: false, ..Beat::idle() });
    let out = rig.give(Input::Stop);
    assert_eq!(commands(&out), []);
    let kind = TakeBackKind::Resign { successor: None, cause: Cause::Resigned };
    assert_eq!(take_backs(&out)[0].1[0].kind, kind);
    assert!(stopped(&out), "both voters acknowledged at once here");
}

#[test]
fn a_master_whose_successor_refuses_or_is_silent_lets_go_all_the_same() {
    let mut rig = master();
    let (_, request) = offer(&rig.give(Input::Stop));
    let refusal = Err(Refusal::Standing(B, Standing::Joining));
    let out = answer_offer(&mut rig, B, request.send, refusal);
    let kind = TakeBackKind::Resign { successor: None, cause: Cause::Resigned };
    assert_eq!(take_backs(&out)[0].1[0].kind, kind);
    assert!(stopped(&out));
    let mut rig = master();
    rig.give(Input::Stop);
    assert!(stopped(&rig.pass(H * 3)));
}

#[test]
fn a_master_that_stops_hands_over_also_in_spite_of_drift() {
    let mut rig = master();
    rig.beat(B, Beat { digest: Digest([8; 32]), ..Beat::idle() });
    let (to, request) = offer(&rig.give(Input::Stop));
    assert_eq!(to, B);
    assert!(matches!(request.command, PeerCommand::Offer { force: true, .. }));
}

#[test]
fn a_call_under_way_is_awaited() {
    let (mut rig, out) = elected();
    let call = mutation(&out);
    beat_all(&mut rig);
    let mut out = rig.give(Input::Stop);
    out.extend(rig.pass(millis(500)));
    assert!(!stopped(&out));
    assert_eq!(commands(&out), []);
    rig.held = held_by("assoc-mine", A);
    let out = rig.finish(&call, associated("assoc-mine"));
    assert_eq!(offer(&out).0, B);
}

#[test]
fn stopping_ends_in_any_case() {
    // Given a master whose call never ends and whose peers are silent,
    let (mut rig, _) = elected();
    rig.answering.clear();
    rig.give(Input::Stop);
    let asked_at = rig.now;
    let mut out = Vec::new();
    while !stopped(&out) {
        let next = rig.node.next_deadline();
        out = rig.run_to(next);
        assert!(rig.now.since(asked_at) < H * 30, "it never stops");
    }
}

#[test]
fn one_that_stops_stands_no_more_and_says_so() {
    let mut rig = holding();
    rig.give(Input::Stop);
    rig.answering = vec![B, W];
    let out = rig.pass(H * 3);
    assert_eq!(requests(&out), []);
    let mut rig = master();
    rig.reads = false;
    let out = rig.give(Input::Stop);
    assert!(!beats(&out, B)[0].groups[0].healthy);
}

#[test]
fn a_stop_is_asked_for_once() {
    let mut rig = master();
    rig.give(Input::Stop);
    let out = rig.give(Input::Stop);
    assert_eq!(commands(&out), []);
}

#[test]
fn a_stop_between_real_nodes_costs_milliseconds_and_one_call() {
    let mut net = Net::settled();
    let asked_at = net.now;
    net.give(A, Input::Stop);
    net.run(millis(100));
    assert_eq!(net.masters(), [B]);
    assert_eq!(net.moves, [B]);
    assert_eq!(net.stopped, [A]);
    let (_, elected_at) = net.elected_at().unwrap();
    assert!(elected_at.since(asked_at) <= millis(10), "{:?}", elected_at.since(asked_at));
    net.run(H * 30);
    assert_eq!(net.moves, [B]);
}

#[test]
fn stopping_all_in_turn_and_starting_all_again_moves_no_more_than_needed() {
    let mut net = Net::settled();
    net.give(A, Input::Stop);
    net.run(H * 2);
    net.give(B, Input::Stop);
    net.run(H * 20);
    assert_eq!(net.stopped, [A, B]);
    assert_eq!(net.holder(), Some(B), "nobody is left to take it");
    net.start(A);
    net.start(B);
    net.run(H * 20);
    assert_eq!(net.masters(), [B], "the holder that the cloud shows");
    assert_eq!(net.moves, [B]);
}

#[test]
fn one_that_hears_no_majority_stops_without_an_answer() {
    // Given a Holding master that nobody can acknowledge anything to, then it does not wait.
    let mut rig = holding();
    rig.pass(LEASE * 2);
    assert!(stopped(&rig.give(Input::Stop)));
}
