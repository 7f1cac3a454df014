//! The traps of design 3.9 about copies, earlier lives and clocks: who counts what, from when.

use vipward_core::*;

use crate::fixture::*;
use crate::order::third;
use crate::reading::*;
use crate::scenes::*;

#[test]
fn a_duplicate_is_no_second_voter() {
    // Given a candidate of a cluster of five, where three must grant,
    let mut rig = Rig::new(five());
    for peer in [W, NodeId(3), NodeId(4)] {
        rig.beat(peer, Beat::idle());
    }
    let request = stand(&mut rig);
    // when one voter's grant arrives four times, over several links,
    for _ in 0..4 {
        rig.vote(W, &request, Vote::Granted);
    }
    // then it is one vote; a second voter's makes the majority.
    assert_eq!(rig.role(), RoleName::Candidate);
    rig.vote(NodeId(3), &request, Vote::Granted);
    assert_eq!(rig.role(), RoleName::Master);
}

/// `lb-b` with four more voters.
fn five() -> Config {
    with(config(B), |config| {
        for name in ["witness-2", "witness-3"] {
            config.nodes.push(NodeConfig { name: name.into(), witness: true, links: 1 });
            config.groups[0].priorities.push(None);
        }
    })
}

#[test]
fn a_duplicate_renews_no_lease_twice() {
    // Given a master of a cluster of five, where three must renew,
    let mut rig = Rig::new(five());
    for peer in [W, NodeId(3), NodeId(4)] {
        rig.beat(peer, Beat::idle());
    }
    let request = stand(&mut rig);
    rig.vote(W, &request, Vote::Granted);
    rig.vote(NodeId(3), &request, Vote::Granted);
    let end = rig.now + rig.group().lease_left;
    // when one voter's answer to its next heartbeat arrives four times,
    rig.pass(millis(900));
    let beat = next_beat(&mut rig, W);
    for _ in 0..4 {
        let input = rig.renewing(W, &beat);
        rig.give(input);
    }
    // then the lease ends as before; a second voter's answer renews it.
    assert_eq!(rig.now + rig.group().lease_left, end);
    let input = rig.renewing(NodeId(4), &beat);
    rig.give(input);
    assert_eq!(rig.now + rig.group().lease_left, beat.sent_at + OWN_LEASE);
}

#[test]
fn an_answer_meant_for_an_earlier_life_is_no_vote() {
    // Given a candidate,
    let (mut rig, request) = candidate();
    let answer =
        VoteAnswer { send: request.send, group: WEB, term: request.term, vote: Vote::Granted };
    // when a grant arrives that answers an earlier life of it, then it does not count.
    let (from, to_boot) = (W, boot(B, 77));
    let answer = Answer::Vote(answer);
    let boot = rig.boot(W);
    rig.give(Input::Answer { from, boot, to_boot, link: LINK, answer });
    assert_eq!(rig.role(), RoleName::Candidate);
}

#[test]
fn an_answer_meant_for_an_earlier_life_renews_no_lease() {
    let mut rig = master();
    rig.answering.clear();
    let beat = next_beat(&mut rig, W);
    let before = rig.now + rig.group().lease_left;
    let Input::Answer { from, boot: life, link, answer, .. } = rig.renewing(W, &beat) else {
        panic!("an answer")
    };
    let to_boot = boot(A, 77);
    rig.give(Input::Answer { from, boot: life, to_boot, link, answer: answer.clone() });
    assert_eq!(rig.now + rig.group().lease_left, before);
    let to_boot = rig.me();
    rig.give(Input::Answer { from, boot: life, to_boot, link, answer });
    assert_eq!(rig.now + rig.group().lease_left, beat.sent_at + OWN_LEASE);
}

#[test]
fn an_answer_of_a_voters_replaced_life_does_not_count() {
    // Given a master, and a voter whose second life has answered,
    let mut rig = master();
    rig.answering.clear();
    let beat = next_beat(&mut rig, W);
    let before = rig.now + rig.group().lease_left;
    let late = rig.renewing(W, &beat);
    rig.new_life_answers(W, 2, LINK);
    // when an answer of its first life arrives late, then nothing is renewed.
    rig.give(late);
    assert_eq!(rig.now + rig.group().lease_left, before);
}

#[test]
fn an_answer_that_names_no_send_of_ours_does_not_count() {
    let mut rig = master();
    rig.answering.clear();
    let beat = next_beat(&mut rig, W);
    let before = rig.now + rig.group().lease_left;
    let unknown = Heartbeat { send: SendNumber(beat.send.0 + 50), ..(*beat).clone() };
    let untrue = Heartbeat { sent_at: beat.sent_at + TICK, ..(*beat).clone() };
    for answered in [unknown, untrue] {
        let input = rig.renewing(W, &answered);
        rig.give(input);
        assert_eq!(rig.now + rig.group().lease_left, before);
    }
}

#[test]
fn the_second_copy_of_a_heartbeat_on_a_slower_link_renews_nothing_though_its_answer_is_true() {
    // Given a voter that renewed on a heartbeat,
    let mut rig = witness();
    let beat = rig.heartbeat(A, Beat::master(TERM));
    assert!(renewed(&rig.request(A, Request::Heartbeat(beat.clone()))));
    let renewed_at = rig.now;
    // when its second copy comes 900 ms later, then the answer is true: it was renewed;
    rig.pass(millis(900));
    let out = rig.request(A, Request::Heartbeat(beat));
    assert_eq!(beat_answer(&out).renewal, Renewal::Renewed { had_run_out: false });
    // but the promise ends as if it had not come.
    rig.run_to(renewed_at + LEASE - TICK);
    assert_eq!(votes(&rig.ask(B, 9)), []);
    assert_eq!(votes(&rig.pass(TICK)), [Vote::Granted]);
}

#[test]
fn a_copy_that_an_newer_heartbeat_overtook_renews_nothing() {
    let mut rig = witness();
    let older = rig.heartbeat(A, Beat::master(TERM));
    rig.beat(A, Beat::master(TERM));
    let renewed_at = rig.now;
    rig.pass(millis(900));
    assert!(!renewed(&rig.request(A, Request::Heartbeat(older))));
    rig.run_to(renewed_at + LEASE);
    assert_eq!(votes(&rig.ask(B, 9)), [Vote::Granted]);
}

#[test]
fn the_second_copy_after_the_promise_ran_out_renews_nothing() {
    let mut rig = witness();
    let beat = rig.heartbeat(A, Beat::master(TERM));
    rig.request(A, Request::Heartbeat(beat.clone()));
    rig.pass(LEASE);
    assert!(!renewed(&rig.request(A, Request::Heartbeat(beat))));
    assert_eq!(votes(&rig.ask(B, 9)), [Vote::Granted]);
}

#[test]
fn the_master_counts_from_before_the_send() {
    // Given a master whose voters' answers take 800 ms,
    let mut rig = master();
    rig.answering.clear();
    let beat = next_beat(&mut rig, W);
    let sent_at = beat.sent_at;
    rig.sleep(millis(800));
    // when one arrives, then the lease runs from the send, not from the answer,
    let input = rig.renewing(W, &beat);
    rig.give(input);
    assert_eq!(rig.now + rig.group().lease_left, sent_at + OWN_LEASE);
}

#[test]
fn the_voter_counts_from_the_receipt_and_reads_no_clock_but_its_own() {
    // Given a heartbeat whose sender's clock is a day ahead,
    let mut rig = witness();
    let beat = rig.heartbeat(A, Beat::master(TERM));
    let beat = Heartbeat { sent_at: at(86_400_000), ..(*beat).clone() };
    rig.pass(millis(600));
    rig.request(A, Request::Heartbeat(std::sync::Arc::new(beat)));
    // then the promise lasts one lease from the receipt.
    let received_at = rig.now;
    rig.run_to(received_at + LEASE - TICK);
    assert_eq!(votes(&rig.ask(B, 9)), []);
    assert_eq!(votes(&rig.pass(TICK)), [Vote::Granted]);
}

#[test]
fn a_late_copy_of_a_request_is_not_granted_for_the_sake_of_a_shorter_renewal() {
    // Given a voter that never saw the request, for a long lease, by which lb-a was elected,
    let mut rig = third(W);
    let request = VoteRequest { lease: LEASE * 2, ..rig.vote_request(B, TERM + 1) };
    rig.pass(LEASE * 2);
    // and that renews lb-b's mastership with heartbeats of a shorter one,
    rig.beat(B, Beat::master(TERM + 1));
    // when a copy of that request comes late, then it is not granted: the promise is shorter.
    let out = rig.request(B, Request::Vote(request));
    assert_ne!(votes(&out), [Vote::Granted]);
}
