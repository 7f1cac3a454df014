//! The reference: who sets it, when, and which one counts (design section 6).

use vipward_core::*;

use crate::fixture::*;
use crate::reading::*;
use crate::rejoin::*;
use crate::scenes::*;

fn known(rig: &Rig) -> Option<Reference> {
    rig.node.status(rig.now).reference
}

#[test]
fn the_first_master_sets_it_and_tells_at_once() {
    let (rig, out) = elected();
    let term = rig.group().term.0;
    assert_eq!(known(&rig), Some(reference(term, 0, OURS)));
    // With the heartbeat that it sends for its election anyway.
    assert_eq!(beats(&out, B).len(), 1);
    assert_eq!(beats(&out, B)[0].reference, known(&rig));
    let set = EventKind::ReferenceSet {
        version: known(&rig).unwrap().version,
        digest: OURS,
        by: Some(A),
    };
    assert!(events(&out).iter().any(|event| event.kind == set));
    assert!(persists(&out).iter().any(|durable| durable.reference == known(&rig)));
}

#[test]
fn it_follows_the_masters_configuration() {
    let mut rig = master();
    let term = rig.group().term.0;
    reload(&mut rig, OTHER);
    assert_eq!(known(&rig), Some(reference(term, 1, OTHER)));
    reload(&mut rig, OURS);
    assert_eq!(known(&rig), Some(reference(term, 2, OURS)));
    assert_eq!(rig.alarms(), []);
}

#[test]
fn what_is_not_loaded_does_not_become_it() {
    let mut rig = Rig::new(scanned(A));
    rig.give(found(OURS));
    rig.beat(B, Beat::idle());
    rig.beat(W, Beat::idle());
    let request = stand(&mut rig);
    rig.answering = vec![B, W];
    rig.vote(W, &request, Vote::Granted);
    let term = rig.group().term.0;
    assert_eq!(known(&rig), Some(reference(term, 0, OURS)));
    // When its files change and the balancer does not run them,
    rig.give(unapplied(OTHER));
    rig.pass(H * 10);
    // then the reference stays as it is, and an alarm says why this node differs from it,
    assert_eq!(known(&rig), Some(reference(term, 0, OURS)));
    assert!(rig.alarms().contains(&AlarmName::ConfigUnapplied));
    // until it is loaded.
    rig.give(found(OTHER));
    assert_eq!(known(&rig), Some(reference(term, 1, OTHER)));
    rig.pass(H);
    assert_eq!(rig.alarms(), []);
}

#[test]
fn one_that_is_elected_with_something_not_loaded_keeps_the_digest_known() {
    let mut rig = Rig::new(scanned(A));
    rig.reference = Some(reference(1, 4, OURS));
    rig.away = Some(H);
    rig.give(found(OURS));
    rig.beat(B, Beat::idle());
    rig.beat(W, Beat::idle());
    rig.give(unapplied(OTHER));
    rig.reference = Some(reference(1, 4, OURS));
    // Nobody with the reference is left.
    for _ in 0..5 {
        rig.pass(H);
        rig.beat(W, Beat::idle());
    }
    let request = stand(&mut rig);
    assert_eq!(request.exception, Some(Exception::Drift));
    rig.vote(W, &request, Vote::Granted);
    let term = rig.group().term.0;
    assert_eq!(known(&rig), Some(reference(term, 0, OURS)));
}

#[test]
fn a_master_without_a_lease_sets_nothing() {
    let mut rig = holding();
    let before = known(&rig);
    reload(&mut rig, OTHER);
    rig.pass(H * 5);
    assert_eq!(rig.role(), RoleName::Holding);
    assert_eq!(known(&rig), before);
}

#[test]
fn only_the_master_of_the_first_group_sets_it() {
    // Given a node that leads the second group only,
    let config = with(config(A), |config| {
        let mut second = config.groups[0].clone();
        second.name = "mail".into();
        config.groups.push(second);
    });
    let mut rig = Rig::new(config);
    rig.answering = vec![B, W];
    for _ in 0..6 {
        rig.pass(H);
        rig.beat(W, Beat::idle());
        rig.beat(B, Beat::master(TERM));
    }
    let out = rig.pass(H * 2);
    let request = requests(&out).into_iter().find(|(_, it)| it.group == GroupId(1));
    if let Some((_, request)) = request {
        rig.vote(W, &request, Vote::Granted);
    }
    let groups = rig.node.status(rig.now).groups;
    assert_eq!((groups[0].role, groups[1].role), (RoleName::Backup, RoleName::Master));
    assert_eq!(known(&rig), None);
}

#[test]
fn the_higher_one_is_taken_over_by_everybody_and_kept_through_a_restart() {
    let mut rig = witness();
    rig.reference = Some(reference(6, 1, OURS));
    rig.beat(B, Beat::idle());
    assert_eq!(known(&rig), rig.reference);
    rig.reference = Some(reference(6, 0, OTHER));
    rig.beat(A, Beat::master(TERM));
    assert_eq!(known(&rig), Some(reference(6, 1, OURS)), "a lower one");
    rig.restart();
    assert_eq!(known(&rig), Some(reference(6, 1, OURS)), "from disk");
    // Also from a request for its vote.
    let mut request = rig.vote_request(B, 20);
    request.reference = Some(reference(7, 0, OTHER));
    rig.request(B, Request::Vote(request));
    assert_eq!(known(&rig), Some(reference(7, 0, OTHER)));
}

#[test]
fn what_a_master_cut_off_proposed_loses_against_the_next_terms() {
    // Given a master that changed its configuration when nobody heard it any more,
    let mut rig = master();
    let term = rig.group().term.0;
    rig.answering.clear();
    rig.pass(millis(500));
    reload(&mut rig, OTHER);
    assert_eq!(known(&rig), Some(reference(term, 1, OTHER)), "its lease is not over yet");
    rig.pass(H * 30);
    // when it hears that another was elected,
    rig.reference = Some(reference(term + 1, 0, OURS));
    rig.beat(B, Beat::master(term + 1));
    // then that one's counts, and it is quarantined.
    assert_eq!(known(&rig), Some(reference(term + 1, 0, OURS)));
    assert_eq!(standing(&rig), Standing::Quarantined);
}
