//! The voter (design 3.2): grants, renewals, waits, denials, the mute.

use std::time::Duration;

use vipward_core::*;

use crate::fixture::*;
use crate::reading::*;
use crate::scenes::*;

/// Whether the voter's promise is over at the end of `lease` after `from`, and no earlier.
fn assert_promise_lasts(rig: &Rig, other: NodeId, term: u64, from: Timestamp, lease: Duration) {
    let until = from + lease;
    let ask = |at: Timestamp| {
        let mut copy = Rig::start(config(W), 1, None, rig.now);
        copy.node = rig.node.clone();
        copy.sleep(at.since(rig.now));
        let asked = copy.ask(other, term);
        votes(&asked)
    };
    assert_eq!(ask(until), [Vote::Granted], "it is over at {until:?}");
    assert_eq!(ask(until - TICK), [], "just before it, the answer waits");
    let early = ask(until - H - TICK);
    assert!(!early.contains(&Vote::Granted), "well before it, it is not granted");
}

#[test]
fn grants_when_free_and_keeps_the_promise_for_the_lease_that_the_request_names() {
    // Given a voter that is free, and a request that names a lease shorter than its own,
    let mut rig = free_witness();
    let mut request = rig.vote_request(B, 6);
    request.lease = millis(2_000);
    // when it is asked,
    let out = rig.request(B, Request::Vote(request));
    // then it grants, and promises from the receipt on, for exactly that lease.
    assert_eq!(votes(&out), [Vote::Granted]);
    assert_promise_lasts(&rig, A, 7, rig.now, millis(2_000));
}

#[test]
fn a_grant_is_journaled_with_its_cause() {
    let mut rig = free_witness();
    let out = rig.ask(B, 6);
    let granted = events(&out);
    assert_eq!(granted.len(), 1);
    assert_eq!(granted[0].kind, EventKind::VoteGranted { candidate: B, exception: None });
    assert_eq!(granted[0].term, Some(Term(6)));
    assert_eq!(granted[0].cause, Some(Cause::MasterSilent));
}

#[test]
fn renews_from_the_receipt_for_the_lease_that_the_heartbeat_names() {
    let mut rig = witness();
    rig.pass(millis(700));
    let out = rig.beat(A, Beat::master(TERM).lease(millis(4_000)));
    // A longer lease than its own is promised only once that is on disk: not by this one.
    assert!(!renewed(&out));
    let out = rig.beat(A, Beat::master(TERM).lease(millis(4_000)));
    assert!(renewed(&out), "it was written in between");
    assert_promise_lasts(&rig, B, 9, rig.now, millis(4_000));
}

#[test]
fn a_grant_never_shortens_a_promise_to_the_same_life() {
    // Given a voter that granted lb-a a long lease,
    let mut rig = free_witness();
    let from = rig.now;
    rig.ask(A, 900);
    rig.pass(millis(500));
    // when the same life stands again and asks for a short one only,
    let mut request = rig.vote_request(A, 901);
    request.lease = millis(1_000);
    assert_eq!(votes(&rig.request(A, Request::Vote(request))), [Vote::Granted]);
    // then others wait for the end of the long one: that master may count on it.
    assert_promise_lasts(&rig, B, 902, from, LEASE);
}

#[test]
fn a_renewal_never_shortens_a_promise() {
    // Given a promise of 3 s,
    let mut rig = witness();
    rig.beat(A, Beat::master(TERM));
    let promised_at = rig.now;
    // when the master's next heartbeat names a lease of 2 s, a moment later,
    rig.pass(millis(100));
    let out = rig.beat(A, Beat::master(TERM).lease(millis(2_000)));
    // then it is renewed, and lasts as long as before.
    assert!(renewed(&out));
    assert_promise_lasts(&rig, B, 9, promised_at, LEASE);
}

#[test]
fn the_answer_says_whether_the_promise_had_run_out() {
    let mut rig = witness();
    rig.pass(millis(500));
    let out = rig.beat(A, Beat::master(TERM));
    assert_eq!(beat_answer(&out).renewal, Renewal::Renewed { had_run_out: false });
    rig.pass(LEASE - TICK);
    let out = rig.beat(A, Beat::master(TERM));
    assert_eq!(beat_answer(&out).renewal, Renewal::Renewed { had_run_out: false });
    rig.pass(LEASE);
    let out = rig.beat(A, Beat::master(TERM));
    assert_eq!(beat_answer(&out).renewal, Renewal::Renewed { had_run_out: true });
}

#[test]
fn denies_while_it_promised_a_master_and_says_how_long() {
    // Given a voter that heard the master 500 ms ago,
    let mut rig = witness();
    rig.pass(millis(500));
    // when another asks, more than one H before the promise ends,
    let out = rig.ask(B, 6);
    // then the denial names the reason, the term seen and the time left.
    let expected =
        Denial { reason: DenialReason::PromisedToMaster(A), seen: Term(6), left: millis(2_500) };
    assert_eq!(denial(&out), expected);
    assert_eq!(
        events(&out)[0].kind,
        EventKind::VoteDenied { candidate: B, reason: DenialReason::PromisedToMaster(A) }
    );
}

#[test]
fn denies_while_it_promised_another_candidate() {
    let mut rig = free_witness();
    rig.ask(B, 6);
    // A candidate may give up any moment: the answer waits for that, one H and no longer.
    let out = rig.ask(A, 7);
    assert_eq!(votes(&out), []);
    let denied = denial(&rig.pass(H));
    assert_eq!(denied.reason, DenialReason::PromisedToCandidate(B));
    assert_eq!(denied.left, LEASE - H);
}

#[test]
fn waits_when_the_promise_ends_within_one_interval() {
    // Given a promise that ends in 900 ms,
    let mut rig = witness();
    rig.pass(millis(2_100));
    // when another asks,
    let out = rig.ask(B, 6);
    // then nothing is answered until it ends, and then the vote is granted.
    assert_eq!(votes(&out), []);
    let out = rig.pass(millis(900) - TICK);
    assert_eq!(votes(&out), []);
    let out = rig.pass(TICK);
    assert_eq!(votes(&out), [Vote::Granted]);
}

#[test]
fn waits_for_exactly_one_interval_and_no_more() {
    let mut rig = witness();
    rig.pass(millis(2_000));
    assert_eq!(votes(&rig.ask(B, 6)), [], "exactly one H left: it waits");
    let mut rig = witness();
    rig.pass(millis(2_000) - TICK);
    assert_eq!(votes(&rig.ask(B, 6)).len(), 1, "a little more: it is denied");
}

#[test]
fn a_renewal_answers_the_waiting_request() {
    let mut rig = witness();
    rig.pass(millis(2_100));
    rig.ask(B, 6);
    // When the master is heard while a request waits,
    let out = rig.beat(A, Beat::master(TERM));
    // then the master is renewed and the request denied.
    assert!(renewed(&out));
    assert_eq!(denial(&out).reason, DenialReason::PromisedToMaster(A));
    assert_eq!(denial(&out).left, LEASE);
}

#[test]
fn a_release_answers_the_waiting_request() {
    // Given a promise to a candidate that ends within one H, and a request that waits for it,
    let mut rig = free_witness();
    rig.ask(B, 6);
    rig.pass(millis(2_500));
    assert_eq!(votes(&rig.ask(A, 7)), []);
    // when the candidate gives up, then the other is granted at once.
    let out = rig.taking_back(B, release(6));
    assert_eq!(votes(&out), [Vote::Granted]);
}

#[test]
fn every_copy_of_a_waiting_request_is_answered() {
    let mut rig = witness();
    rig.pass(millis(2_100));
    let request = rig.vote_request(B, 6);
    rig.request(B, Request::Vote(request.clone()));
    rig.request(B, Request::Vote(request));
    let out = rig.pass(millis(900));
    assert_eq!(votes(&out), [Vote::Granted, Vote::Granted]);
}

#[test]
fn a_copy_of_a_granted_request_is_granted_and_prolongs_nothing() {
    let mut rig = free_witness();
    let request = rig.vote_request(B, 6);
    rig.request(B, Request::Vote(request.clone()));
    let granted_at = rig.now;
    rig.pass(millis(400));
    let out = rig.request(B, Request::Vote(request));
    assert_eq!(votes(&out), [Vote::Granted], "the truth: the promise stands");
    assert_promise_lasts(&rig, A, 9, granted_at, LEASE);
}

#[test]
fn a_late_copy_of_an_older_request_does_not_displace_the_newer_one() {
    // Given a candidate whose second request waits,
    let mut rig = witness();
    rig.pass(millis(2_100));
    let older = rig.vote_request(B, 6);
    rig.request(B, Request::Vote(older.clone()));
    let newer = rig.vote_request(B, 7);
    rig.request(B, Request::Vote(newer));
    // when a slow link brings another copy of the first,
    let out = rig.request(B, Request::Vote(older));
    // then it is refused, and the newer one goes on waiting and is granted in its time.
    assert_eq!(votes(&out).len(), 1);
    assert!(matches!(votes(&out)[0], Vote::Denied(_)));
    assert!(!events(&out).iter().any(|event| event.term == Some(Term(7))), "7 still waits");
    let out = rig.pass(millis(900));
    assert_eq!(votes(&out), [Vote::Granted]);
}

#[test]
fn both_copies_of_a_request_are_denied_for_the_same_reason() {
    // Given a better candidate whose own candidacy starts within one H,
    let mut rig = Rig::new(config(A));
    rig.beat(W, Beat::idle());
    rig.run_to(at(3_100));
    rig.beat(W, Beat::idle());
    let request = rig.vote_request(B, 6);
    // when a worse one asks over two links,
    let first = rig.request(B, Request::Vote(request.clone()));
    let second = rig.request(B, Request::Vote(request));
    // then both copies name the same reason: the second must not read "ask again at once".
    assert_eq!(denial(&first).reason, DenialReason::BetterCandidate);
    assert_eq!(denial(&second).reason, DenialReason::BetterCandidate);
}

#[test]
fn renews_whatever_term_it_has_merely_seen() {
    // Given a voter that denied term 9,
    let mut rig = witness();
    rig.ask(B, 9);
    // when the master of term 5 is heard, then it is renewed: a failed candidacy deposes nobody.
    assert!(renewed(&rig.beat(A, Beat::master(TERM))));
}

#[test]
fn does_not_renew_a_term_below_one_known_to_have_been_elected() {
    let mut rig = free_witness();
    rig.beat(B, Beat { elected: Some(Elected { term: Term(8), node: B }), ..Beat::idle() });
    let out = rig.beat(A, Beat::master(TERM));
    assert!(!renewed(&out));
    let elected = Some(Elected { term: Term(8), node: B });
    assert_eq!(beat_answer(&out).elected, elected, "and it says why");
}

#[test]
fn does_not_renew_one_while_it_promised_another_and_names_it() {
    let mut rig = free_witness();
    rig.ask(B, 6);
    let out = rig.beat(A, Beat::master(TERM));
    assert!(!renewed(&out));
    let promised = Promised { node: B, term: Term(6), left: LEASE };
    assert_eq!(beat_answer(&out).promised, Some(promised));
}

#[test]
fn a_promise_is_to_one_life_of_a_node() {
    // Given a voter that promised the first life of lb-b,
    let mut rig = free_witness();
    rig.ask(B, 6);
    // when its second life asks, then it is denied like any other.
    rig.lives[B.index()] = 2;
    let denied = rig.refused(B, 7);
    assert_eq!(denied.reason, DenialReason::PromisedToCandidate(B));
}

#[test]
fn the_same_life_may_stand_again_in_a_higher_term() {
    let mut rig = free_witness();
    rig.ask(B, 6);
    assert_eq!(votes(&rig.ask(B, 7)), [Vote::Granted]);
}

#[test]
fn votes_for_no_node_without_a_priority_in_the_group() {
    let mut rig = backup();
    rig.pass(LEASE);
    assert_eq!(denial(&rig.ask(W, 6)).reason, DenialReason::NotAMember);
}

#[test]
fn votes_for_no_node_whose_standing_forbids_it() {
    for standing in [Standing::Joining, Standing::Quarantined, Standing::Maintenance] {
        let mut rig = free_witness();
        let mut request = rig.vote_request(B, 6);
        request.rank.standing = standing;
        let out = rig.request(B, Request::Vote(request));
        assert_eq!(denial(&out).reason, DenialReason::Standing(standing));
    }
    let mut rig = free_witness();
    let mut request = rig.vote_request(B, 6);
    request.rank.standing = Standing::Probation;
    assert_eq!(votes(&rig.request(B, Request::Vote(request))), [Vote::Granted]);
}

#[test]
fn a_better_candidate_denies_a_worse_one_that_is_about_to_be_overtaken() {
    // Given the best balancer, which stands within one H,
    let mut rig = Rig::new(config(A));
    rig.beat(W, Beat::idle());
    rig.run_to(at(3_100));
    rig.beat(W, Beat::idle());
    // when the other asks first, then it is told to wait for the better one, once.
    assert_eq!(denial(&rig.ask(B, 6)).reason, DenialReason::BetterCandidate);
    assert_eq!(votes(&rig.ask(B, 7)), [Vote::Granted], "at most once per lost master");
}

#[test]
fn a_balancer_that_granted_another_restarts_its_timer() {
    // Given a backup that is about to stand,
    let mut rig = backup();
    rig.pass(LEASE + millis(500));
    rig.beat(W, Beat::idle());
    // when it grants another,
    assert_eq!(votes(&rig.ask(A, 6)), [Vote::Granted]);
    let granted_at = rig.now;
    // then it stands one master-down interval later at the earliest.
    let out = rig.run_to(granted_at + LEASE + SKEW_B - TICK);
    assert_eq!(requests(&out), []);
    let out = rig.pass(millis(100));
    assert_eq!(requests(&out).len(), 2);
}

#[test]
fn two_groups_promise_apart() {
    // Given a voter of two groups, free in both,
    let two = with(config(W), |config| {
        let mut second = config.groups[0].clone();
        second.name = "mail".into();
        config.groups.push(second);
    });
    let mut rig = Rig::new(two);
    rig.run_to(at(4_000));
    // when it grants one group to one node,
    assert_eq!(votes(&rig.ask(A, 6)), [Vote::Granted]);
    // then the other group is still free.
    let mut request = rig.vote_request(B, 6);
    request.group = GroupId(1);
    assert_eq!(votes(&rig.request(B, Request::Vote(request))), [Vote::Granted]);
}
