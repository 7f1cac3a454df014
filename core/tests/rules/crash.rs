//! Evidence of a crash (design 3.5b): what it takes, what ends it, what follows.

use vipward_core::*;

use crate::fixture::*;
use crate::reading::*;
use crate::scenes::*;

const SECOND: LinkId = LinkId(1);

fn refused(peer: NodeId, link: LinkId) -> Input {
    Input::ConnectRefused { peer, link }
}

/// `lb-b` with two links to each peer and two open connections with the master.
fn two_links() -> Rig {
    let config = with(config(B), |config| {
        config.nodes.iter_mut().for_each(|node| node.links = 2);
    });
    let mut rig = backup_of(config);
    rig.give(Input::Connections { peer: A, open: 2 });
    rig
}

#[test]
fn all_links_refused_and_all_connections_closed_prove_a_crash() {
    // Given a backup with open connections to its master over two links,
    let mut rig = two_links();
    // when they close, then it tries every link at once;
    let out = rig.give(Input::Connections { peer: A, open: 0 });
    assert_eq!(probes(&out), [A]);
    assert_eq!(requests(&out), []);
    // when one link is refused, that proves nothing; when both are, it stands at once.
    assert_eq!(requests(&rig.give(refused(A, LINK))), []);
    let out = rig.give(refused(A, SECOND));
    let request = candidacy(&out);
    assert_eq!(request.cause, Cause::MasterCrashed);
    assert_eq!(request.evidence, Some(Evidence { node: A, boot: boot(A, 1) }));
    assert!(
        events(&out)
            .iter()
            .any(|event| { matches!(event.kind, EventKind::PeerDown { peer: A, .. }) })
    );
}

#[test]
fn one_link_refused_is_no_evidence() {
    let mut rig = two_links();
    rig.give(Input::Connections { peer: A, open: 0 });
    let mut out = rig.give(refused(A, LINK));
    out.extend(rig.give(refused(A, LINK)));
    out.extend(rig.run_to(at(10_000) + LEASE + SKEW_B - TICK));
    assert_eq!(requests(&out), [], "the full interval is waited for");
}

#[test]
fn an_open_connection_contradicts_the_refusals() {
    let mut rig = two_links();
    rig.give(Input::Connections { peer: A, open: 1 });
    let mut out = rig.give(refused(A, LINK));
    out.extend(rig.give(refused(A, SECOND)));
    assert_eq!(requests(&out), []);
    // When that closes as well, the evidence is whole.
    let out = rig.give(Input::Connections { peer: A, open: 0 });
    assert_eq!(requests(&out).len(), 2);
}

#[test]
fn a_voter_with_an_open_connection_keeps_its_promise() {
    // Given a witness that promised the master, with a connection of it still open,
    let mut rig = witness();
    rig.beat(A, Beat::master(TERM));
    rig.give(Input::Connections { peer: A, open: 1 });
    // when every link is refused to it, then a firewall may have done that: it keeps its word,
    rig.give(refused(A, LINK));
    assert_eq!(denial(&rig.ask(B, TERM + 1)).reason, DenialReason::PromisedToMaster(A));
    // until the connection is closed as well.
    rig.give(Input::Connections { peer: A, open: 0 });
    assert_eq!(votes(&rig.ask(B, TERM + 2)), [Vote::Granted]);
}

#[test]
fn hearing_that_life_again_undoes_the_refusals() {
    let mut rig = two_links();
    rig.give(Input::Connections { peer: A, open: 0 });
    rig.give(refused(A, LINK));
    // When it is heard in between, what was refused before counts no more.
    rig.beat(A, Beat::master(TERM));
    assert_eq!(requests(&rig.give(refused(A, SECOND))), []);
    let out = rig.give(refused(A, LINK));
    assert_eq!(requests(&out).len(), 2, "both since it was last heard");
}

#[test]
fn silence_is_no_evidence() {
    let mut rig = two_links();
    let out = rig.give(Input::Connections { peer: A, open: 0 });
    assert_eq!(requests(&out), []);
    let out = rig.run_to(at(10_000) + LEASE);
    assert_eq!(requests(&out), []);
}

#[test]
fn a_new_life_that_answers_proves_the_old_one_dead() {
    // Given a backup, when a new boot of its master answers a request of ours on one link,
    let mut rig = two_links();
    rig.give(Input::Connections { peer: A, open: 0 });
    let out = rig.new_life_answers(A, 2, LINK);
    assert_eq!(requests(&out), []);
    // and on the other, or that one is refused,
    let out = rig.new_life_answers(A, 2, SECOND);
    // then the life that led is dead.
    assert_eq!(candidacy(&out).evidence, Some(Evidence { node: A, boot: boot(A, 1) }));
    let mut rig = two_links();
    rig.give(Input::Connections { peer: A, open: 0 });
    rig.new_life_answers(A, 2, LINK);
    let out = rig.give(refused(A, SECOND));
    assert_eq!(candidacy(&out).evidence, Some(Evidence { node: A, boot: boot(A, 1) }));
}

#[test]
fn a_new_life_that_only_asks_is_no_evidence_and_is_tried_at_once() {
    // Given a backup, when a request comes from another boot under its master's name,
    let mut rig = backup();
    rig.pass(millis(300));
    rig.lives[A.index()] = 2;
    let out = rig.beat(A, Beat::idle());
    // then it is asked at once, and nothing is proven until it answers.
    let beat = beats(&out, A).pop().expect("a heartbeat at once");
    assert_eq!(requests(&out), []);
    let input = rig.answering_beat(A, &beat, Renewal::None, None);
    assert_eq!(candidacy(&rig.give(input)).cause, Cause::MasterCrashed);
}

#[test]
fn a_bare_boot_id_is_no_evidence_and_is_tried_at_once() {
    let mut rig = backup();
    rig.pass(millis(300));
    let out = rig.give(Input::BootAnswered { peer: A, boot: boot(A, 2), link: LINK });
    assert_eq!(beats(&out, A).len(), 1);
    assert_eq!(requests(&out), []);
}

#[test]
fn a_slow_answer_of_the_life_before_does_not_bring_it_back() {
    // Given a heartbeat that the first life of lb-a received, and a second that answers since,
    let mut rig = backup();
    let old = next_beat(&mut rig, A);
    rig.new_life_answers(A, 2, LINK);
    // when the first life's answer arrives late, then the second stays the one that lives.
    rig.lives[A.index()] = 1;
    let late = rig.answering_beat(A, &old, Renewal::None, None);
    rig.give(late);
    assert_eq!(rig.node.status(rig.now).peers[0].boot, Some(boot(A, 2)));
}

#[test]
fn a_slow_answer_of_a_life_never_heard_of_replaces_nobody() {
    // Given a heartbeat that a life of lb-a received, which is over by now; the first that this
    // node ever hears of lb-a is its next life, and what that asks.
    let mut rig = Rig::new(config(B));
    let old = next_beat(&mut rig, A);
    rig.pass(millis(10));
    rig.lives[A.index()] = 2;
    rig.beat(A, Beat::idle());
    // when the dead life's answer arrives late, then it proves nothing about the living one:
    rig.lives[A.index()] = 1;
    let late = rig.answering_beat(A, &old, Renewal::None, None);
    rig.give(late);
    assert_eq!(rig.node.status(rig.now).peers[0].boot, Some(boot(A, 2)));
    // what that says is heard and answered.
    rig.lives[A.index()] = 2;
    assert_eq!(beat_answers(&rig.beat(A, Beat::idle())).len(), 1);
}

#[test]
fn a_replaced_life_never_returns() {
    let mut rig = backup();
    rig.new_life_answers(A, 2, LINK);
    // When a heartbeat of the old life arrives, then it is not even answered.
    rig.lives[A.index()] = 1;
    let out = rig.beat(A, Beat::master(TERM));
    assert_eq!(beat_answers(&out), []);
    // And a process that goes on speaking so is alarmed: two under one name.
    for _ in 0..5 {
        rig.beat(A, Beat::master(TERM));
    }
    assert!(rig.alarms().contains(&AlarmName::DuplicateNode(A)));
}

#[test]
fn the_voter_drops_its_promise_to_that_life_at_once() {
    // Given a witness that promised the master,
    let mut rig = witness();
    rig.beat(A, Beat::master(TERM));
    // when it has the evidence, then the next candidate is granted at once.
    rig.give(refused(A, LINK));
    assert_eq!(votes(&rig.ask(B, TERM + 1)), [Vote::Granted]);
}

#[test]
fn the_evidence_is_about_one_life() {
    // Given a witness that promised the second life of lb-a, when its first is proven dead,
    let mut rig = Rig::new(config(W));
    rig.run_to(at(3_000));
    rig.beat(A, Beat::idle());
    rig.new_life_answers(A, 2, LINK);
    rig.beat(A, Beat::master(TERM));
    // then the promise to the second stands.
    assert_eq!(denial(&rig.ask(B, TERM + 1)).reason, DenialReason::PromisedToMaster(A));
}

#[test]
fn the_best_stands_at_once_and_the_nth_a_quarter_interval_later_each() {
    let stands_after = |me: NodeId| {
        let mut rig = Rig::new(three_balancers(me));
        let other = if me == B { W } else { B };
        for second in 1..=10 {
            rig.run_to(at(second * 1_000));
            rig.beat(other, Beat::idle());
            rig.beat(A, Beat::master(TERM));
        }
        let mut out = rig.give(refused(A, LINK));
        let from = rig.now;
        while requests(&out).is_empty() {
            let next = rig.node.next_deadline();
            out = rig.run_to(next);
        }
        rig.now.since(from)
    };
    assert_eq!(stands_after(B), millis(0));
    assert_eq!(stands_after(W), H / 4);
}

#[test]
fn a_voter_without_the_evidence_probes_and_answers_when_it_knows() {
    // Given a witness that promised the master and knows of no crash,
    let mut rig = witness();
    rig.beat(A, Beat::master(TERM));
    let mut request = rig.vote_request(B, TERM + 1);
    request.evidence = Some(Evidence { node: A, boot: boot(A, 1) });
    // when a request names the evidence, then it probes, and answers nothing yet;
    let out = rig.request(B, Request::Vote(request));
    assert_eq!(probes(&out), [A]);
    assert_eq!(votes(&out), []);
    // once refused itself, it grants.
    rig.pass(millis(1));
    assert_eq!(votes(&rig.give(refused(A, LINK))), [Vote::Granted]);
}

#[test]
fn a_voter_that_hears_the_master_denies_within_one_interval() {
    let mut rig = witness();
    rig.beat(A, Beat::master(TERM));
    let mut request = rig.vote_request(B, TERM + 1);
    request.evidence = Some(Evidence { node: A, boot: boot(A, 1) });
    rig.request(B, Request::Vote(request.clone()));
    // The probe met silence: it is denied after one H, not later.
    assert_eq!(votes(&rig.pass(H - TICK)), []);
    let denied = denial(&rig.pass(TICK));
    assert_eq!(denied.reason, DenialReason::PromisedToMaster(A));
    assert_eq!(denied.left, LEASE - H);
}

#[test]
fn evidence_against_another_life_than_the_one_promised_helps_nothing() {
    let mut rig = witness();
    rig.beat(A, Beat::master(TERM));
    let mut request = rig.vote_request(B, TERM + 1);
    request.evidence = Some(Evidence { node: A, boot: boot(A, 9) });
    let out = rig.request(B, Request::Vote(request));
    assert_eq!(denial(&out).reason, DenialReason::PromisedToMaster(A));
}

#[test]
fn nobody_is_talked_into_its_own_death() {
    let mut rig = master();
    let mut request = rig.vote_request(B, 900);
    request.evidence = Some(Evidence { node: A, boot: rig.me() });
    let out = rig.request(B, Request::Vote(request));
    assert_eq!(denial(&out).reason, DenialReason::PromisedToMaster(A));
    assert_eq!(probes(&out), []);
    assert_eq!(rig.role(), RoleName::Master);
}

#[test]
fn without_crash_detection_refusals_prove_nothing() {
    let off = |me| {
        with(config(me), |config| {
            config.timing = Timing::new(H, 3, millis(30_000), false).unwrap();
        })
    };
    let mut rig = backup_of(off(B));
    rig.give(Input::Connections { peer: A, open: 2 });
    let mut out = rig.give(Input::Connections { peer: A, open: 0 });
    out.extend(rig.give(refused(A, LINK)));
    out.extend(rig.run_to(at(10_000) + LEASE + SKEW_B - TICK));
    assert_eq!(requests(&out), []);
    assert_eq!(probes(&out), []);
    // And a request that names evidence is a request like any other.
    let mut rig = backup_of(off(B));
    let mut request = rig.vote_request(A, 900);
    request.evidence = Some(Evidence { node: A, boot: boot(A, 1) });
    assert_eq!(votes(&rig.request(A, Request::Vote(request))), [Vote::Granted], "its own promise");
}

#[test]
fn the_crash_of_a_backup_moves_nothing() {
    let mut rig = master();
    let out = rig.give(refused(B, LINK));
    assert_eq!(rig.role(), RoleName::Master);
    assert_eq!(mutating(&out), []);
    let mut rig = backup();
    let out = rig.give(refused(W, LINK));
    assert_eq!(requests(&out), []);
    assert_eq!(rig.role(), RoleName::Backup);
}
