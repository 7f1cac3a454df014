//! Terms and promises on disk (design 3.2): reserved ahead, learnt after a loss.

use vipward_core::*;

use crate::fixture::*;
use crate::reading::*;
use crate::scenes::*;

fn durable(ceiling: u64) -> Durable {
    Durable { ceiling: Term(ceiling), ..Durable::default() }
}

#[test]
fn reserves_terms_ahead_at_the_first_step() {
    let mut rig = Rig::start(config(B), 2, Some(durable(1_000)), at(0));
    let out = rig.give(Input::DeadlineReached);
    let first = persists(&out).remove(0);
    assert!(first.ceiling > Term(1_000), "{:?}", first.ceiling);
    assert!(first.longest_promise >= LEASE);
}

#[test]
fn a_restarted_node_stands_above_the_ceiling_of_its_disk() {
    let mut rig = Rig::start(config(B), 2, Some(durable(4_321)), at(0));
    rig.beat(W, Beat::idle());
    assert!(stand(&mut rig).term > Term(4_321));
}

#[test]
fn the_ceiling_is_raised_before_it_is_used_up() {
    // Given a node whose disk reserves some terms,
    let mut rig = backup();
    rig.pass(LEASE);
    rig.beat(W, Beat::idle());
    let ceiling = rig.disk.clone().unwrap().ceiling;
    // when it sees terms up to that ceiling, one by one in steps of a hundred,
    for term in (0..ceiling.0).step_by(100) {
        rig.ask(A, TERM + 1 + term);
        // then more are on disk before the ceiling is reached.
        assert!(rig.disk.clone().unwrap().ceiling > Term(TERM + 1 + term));
    }
    assert!(rig.disk.unwrap().ceiling > ceiling);
}

#[test]
fn no_disk_write_lies_on_the_failover_path() {
    // Given a backup whose disk stopped answering after its start,
    let mut rig = backup();
    rig.writes = false;
    // when its master is lost, then it stands and wins without a word from the disk.
    let request = stand(&mut rig);
    rig.vote(W, &request, Vote::Granted);
    assert_eq!(rig.role(), RoleName::Master);
}

#[test]
fn a_disk_that_cannot_be_written_is_alarmed_and_voting_goes_on() {
    let mut rig = Rig::start(config(W), 2, Some(durable(1_000)), at(0));
    rig.writes = false;
    let out = rig.give(Input::DeadlineReached);
    assert_eq!(persists(&out).len(), 1);
    rig.give(Input::PersistFailed);
    assert_eq!(rig.alarms(), [AlarmName::StateNotWritable]);
    rig.run_to(at(3_000));
    assert_eq!(votes(&rig.ask(B, 2_000)), [Vote::Granted]);
    // It is over when a write succeeds.
    rig.give(Input::Persisted(durable(3_000)));
    assert!(!rig.alarms().contains(&AlarmName::StateNotWritable));
}

#[test]
fn a_candidate_too_goes_on_with_a_disk_that_cannot_be_written() {
    let mut rig = Rig::start(config(B), 2, Some(durable(1_000)), at(0));
    rig.writes = false;
    rig.beat(W, Beat::idle());
    rig.give(Input::PersistFailed);
    assert!(stand(&mut rig).term > Term(1_000));
}

#[test]
fn heartbeats_carry_the_ceiling_that_is_on_disk() {
    // Given a node whose write has not been answered,
    let mut rig = Rig::start(config(B), 2, Some(durable(1_000)), at(0));
    rig.writes = false;
    let out = rig.give(Input::DeadlineReached);
    assert_eq!(beats(&out, W)[0].ceiling, Term(1_000));
    let ordered = persists(&out).remove(0);
    rig.give(Input::Persisted(ordered.clone()));
    assert_eq!(next_beat(&mut rig, W).ceiling, ordered.ceiling);
    let out = rig.beat(W, Beat::idle());
    assert_eq!(beat_answers(&out)[0].ceiling, ordered.ceiling);
}

#[test]
fn a_higher_ceiling_heard_is_reserved_too() {
    let mut rig = backup();
    rig.beat(W, Beat { ceiling: Term(50_000), ..Beat::idle() });
    assert!(rig.disk.unwrap().ceiling >= Term(50_000));
}

#[test]
fn the_highest_elected_term_is_written_in_the_background_and_survives() {
    // Given a voter that knows term 5 to have been elected,
    let mut rig = witness();
    assert_eq!(rig.disk.clone().unwrap().elected, [Term(TERM)]);
    // when it restarts, then it still renews no master of a lower term.
    rig.restart();
    rig.pass(LEASE);
    assert!(!renewed(&rig.beat(B, Beat::master(TERM - 1))));
    assert!(renewed(&rig.beat(A, Beat::master(TERM))));
}

#[test]
fn after_a_lost_disk_terms_are_learnt_from_a_majority_before_standing() {
    // Given a node whose disk was lost, in a cluster that has reserved 5,000 terms,
    let mut rig = Rig::start(config(B), 2, None, at(0));
    // which is not heard yet: it may not stand,
    let out = rig.run_to(at(10_000));
    assert_eq!(requests(&out), []);
    assert_eq!(rig.node.status(rig.now).standing, Standing::Joining);
    // when it hears its peers, then it stands above what they have reserved.
    rig.beat(W, Beat { ceiling: Term(5_000), ..Beat::idle() });
    rig.beat(A, Beat { ceiling: Term(5_000), healthy: false, ..Beat::idle() });
    assert!(stand(&mut rig).term > Term(5_000));
}

#[test]
fn after_a_lost_disk_a_bare_boot_id_teaches_no_term() {
    // Given a node whose disk was lost,
    let mut rig = Rig::start(config(B), 2, None, at(0));
    // when its peers first answer with nothing but their boot ids (as the transport's 409 does),
    for peer in [A, W] {
        let boot = rig.boot(peer);
        rig.give(Input::BootAnswered { peer, boot, link: LINK });
    }
    // and only then with heartbeats that tell the terms they have reserved,
    rig.pass(millis(10));
    rig.beat(W, Beat { ceiling: Term(5_000), ..Beat::idle() });
    rig.beat(A, Beat { ceiling: Term(5_000), healthy: false, ..Beat::idle() });
    // then it stands above those.
    let term = stand(&mut rig).term;
    assert!(term > Term(5_000), "it stands in {term:?}");
}

#[test]
fn promises_a_longer_lease_only_once_that_is_on_disk() {
    // Given a voter whose disk does not answer,
    let mut rig = witness();
    rig.writes = false;
    // when the master names a longer lease than the voter's own, then it is not renewed;
    let longer = || Beat::master(TERM).lease(millis(4_000));
    let out = rig.beat(A, longer());
    assert!(!renewed(&out));
    // the length is ordered to disk, and renewed once it is there.
    let ordered = persists(&out).pop().expect("a write");
    assert_eq!(ordered.longest_promise, millis(4_000));
    assert!(!renewed(&rig.beat(A, longer())));
    rig.give(Input::Persisted(ordered));
    assert!(renewed(&rig.beat(A, longer())));
}

#[test]
fn grants_a_longer_lease_only_once_that_is_on_disk() {
    let mut rig = witness();
    rig.pass(LEASE);
    rig.writes = false;
    let mut request = rig.vote_request(B, 9);
    request.lease = millis(4_000);
    let out = rig.request(B, Request::Vote(request.clone()));
    assert_eq!(votes(&out), [], "it waits for the disk");
    let ordered = persists(&out).pop().expect("a write");
    let out = rig.give(Input::Persisted(ordered));
    assert_eq!(votes(&out), [Vote::Granted]);
    // Where the disk fails, it is denied after one H.
    let mut rig = witness();
    rig.pass(LEASE);
    rig.writes = false;
    rig.request(B, Request::Vote(request));
    assert_eq!(denial(&rig.pass(H)).reason, DenialReason::LeaseNotDurable);
}

#[test]
fn a_reload_to_a_longer_lease_promises_it_only_once_that_is_on_disk() {
    // Given a voter that reloads from 3 s to 5 s while its disk does not answer,
    let mut rig = witness();
    rig.writes = false;
    let longer = with(config(W), |config| config.timing = timing(H, 5));
    let out = rig.give(Input::Reload(std::sync::Arc::new(longer)));
    // when the master names 5 s, then nothing of that length is promised: a restart with the
    // old file would be muted for 3 s only.
    assert!(!renewed(&rig.beat(A, Beat::master(TERM).lease(millis(5_000)))));
    let ordered = persists(&out).pop().expect("a write");
    assert_eq!(ordered.longest_promise, millis(5_000));
    rig.give(Input::Persisted(ordered));
    assert!(renewed(&rig.beat(A, Beat::master(TERM).lease(millis(5_000)))));
}

#[test]
fn a_reload_to_a_shorter_lease_keeps_the_longest_promise_on_disk() {
    let mut rig = witness();
    let shorter = with(config(W), |config| config.timing = timing(millis(500), 2));
    rig.give(Input::Reload(std::sync::Arc::new(shorter)));
    rig.pass(H);
    assert_eq!(rig.disk.unwrap().longest_promise, LEASE);
}

#[test]
fn a_reload_before_the_first_write_keeps_the_longest_promise() {
    // Given a node whose first write is still under way,
    let mut rig = Rig::start(config(W), 2, Some(durable(1_000)), at(0));
    rig.writes = false;
    let mut ordered = persists(&rig.give(Input::DeadlineReached));
    // when it reloads to a shorter lease, then it still writes the lease of before.
    let shorter = with(config(W), |config| config.timing = timing(millis(500), 2));
    ordered.extend(persists(&rig.give(Input::Reload(std::sync::Arc::new(shorter)))));
    ordered.extend(persists(&rig.pass(H)));
    assert!(ordered.iter().all(|durable| durable.longest_promise == LEASE), "{ordered:?}");
}
