//! The traps of design 3.9 about what is taken back: resignations and releases that are late,
//! lost, or early.

use vipward_core::*;

use crate::fixture::*;
use crate::reading::*;
use crate::scenes::*;

#[test]
fn a_resignation_overtaken_by_an_older_heartbeat_stays_a_resignation() {
    // Given a voter whose master resigned,
    let mut rig = witness();
    let older = rig.heartbeat(A, Beat::master(TERM));
    rig.taking_back(A, resignation(TERM, None));
    // when a heartbeat from before the resignation arrives late,
    let out = rig.request(A, Request::Heartbeat(older));
    // then it promises nothing: the next candidate is granted at once.
    assert!(!renewed(&out));
    assert_eq!(votes(&rig.ask(B, TERM + 1)), [Vote::Granted]);
}

#[test]
fn a_late_resignation_drops_no_newer_promise() {
    // Given a master that resigned term 5, and has won term 7 since,
    let mut rig = free_witness();
    rig.ask(A, 7);
    rig.beat(A, Beat::master(7));
    // when the resignation of term 5 arrives late, then the promise stands.
    rig.taking_back(A, resignation(5, None));
    assert_eq!(rig.refused(B, 8).reason, DenialReason::PromisedToMaster(A));
    // Nor does a late heartbeat of term 5 age the promise so that it would match.
    rig.beat(A, Beat::master(5));
    rig.taking_back(A, resignation(6, None));
    assert_eq!(rig.refused(B, 9).reason, DenialReason::PromisedToMaster(A));
}

#[test]
fn a_release_drops_only_a_promise_of_exactly_its_term() {
    for term in [6, 8] {
        let mut rig = free_witness();
        rig.ask(A, 7);
        rig.taking_back(A, release(term));
        assert_eq!(rig.refused(B, 9).reason, DenialReason::PromisedToCandidate(A));
    }
    let mut rig = free_witness();
    rig.ask(A, 7);
    rig.taking_back(A, release(7));
    assert_eq!(votes(&rig.ask(B, 9)), [Vote::Granted]);
}

#[test]
fn nobody_takes_back_for_another() {
    // Given a promise to lb-a, when lb-b or another life of lb-a takes its term back,
    let mut rig = free_witness();
    rig.ask(A, 7);
    rig.taking_back(B, release(7));
    rig.taking_back(B, resignation(7, None));
    rig.lives[A.index()] = 2;
    rig.taking_back(A, release(7));
    rig.taking_back(A, resignation(7, None));
    // then it stands.
    assert_eq!(rig.refused(B, 9).reason, DenialReason::PromisedToCandidate(A));
}

#[test]
fn a_release_that_is_lost_is_repeated_in_each_heartbeat_until_answered() {
    // Given a candidate that gave up, whose releases were lost,
    let (mut rig, request) = candidate();
    let released = release(request.term.0);
    rig.pass(H * 2);
    assert_eq!(rig.role(), RoleName::Backup);
    // then each heartbeat carries it, to every peer,
    for _ in 0..2 {
        assert_eq!(next_beat(&mut rig, W).take_backs, [released]);
    }
    // until each peer has answered one that did: here the witness only,
    let beat = next_beat(&mut rig, W);
    let input = rig.renewing(W, &beat);
    rig.give(input);
    assert!(next_beat(&mut rig, A).take_backs.contains(&released), "lb-a did not answer yet");
    let beat = next_beat(&mut rig, A);
    let input = rig.renewing(A, &beat);
    rig.give(input);
    assert!(!next_beat(&mut rig, A).take_backs.contains(&released), "all answered");
}

#[test]
fn a_release_that_is_lost_is_repeated_also_when_another_was_elected_meanwhile() {
    // Given a candidate that gave up, whose release the witness has not answered,
    let (mut rig, request) = candidate();
    let released = release(request.term.0);
    rig.pass(H * 2);
    // when another is elected in a higher term and answers,
    let term = request.term.0 + 1;
    rig.beat(A, Beat::master(term));
    let beat = next_beat(&mut rig, A);
    let input = rig.renewing(A, &beat);
    rig.give(input);
    // then it goes on: the witness's promise to this node keeps it from renewing the new master.
    assert!(next_beat(&mut rig, W).take_backs.contains(&released));
}

#[test]
fn a_release_in_a_heartbeat_counts_as_one_by_itself() {
    let mut rig = free_witness();
    rig.ask(A, 7);
    rig.beat(A, Beat::idle().taking_back(release(7)));
    assert_eq!(votes(&rig.ask(B, 9)), [Vote::Granted]);
}

#[test]
fn a_release_that_arrives_before_its_request_refuses_it() {
    // Given a voter that heard the release of a candidacy first,
    let mut rig = free_witness();
    rig.taking_back(A, release(7));
    // when its request arrives, then nothing is promised.
    assert_eq!(denial(&rig.ask(A, 7)).reason, DenialReason::TermTooLow);
    assert_eq!(votes(&rig.ask(B, 8)), [Vote::Granted]);
}

#[test]
fn a_release_cancels_the_request_that_waits() {
    let mut rig = witness();
    rig.pass(millis(2_500));
    assert_eq!(votes(&rig.ask(B, 7)), []);
    let out = rig.taking_back(B, release(7));
    assert_eq!(denial(&out).reason, DenialReason::Withdrawn);
    rig.pass(H);
    assert_eq!(votes(&rig.ask(A, 8)), [Vote::Granted], "nothing was promised to lb-b");
}
