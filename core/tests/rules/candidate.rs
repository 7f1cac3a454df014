//! The candidate (design 3.4): when it stands, whom it asks, how it ends, when it tries again.

use vipward_core::*;

use crate::fixture::*;
use crate::reading::*;
use crate::scenes::*;

fn denied(reason: DenialReason, seen: u64, left: std::time::Duration) -> Vote {
    Vote::Denied(Denial { reason, seen: Term(seen), left })
}

#[test]
fn stands_one_master_down_interval_after_the_last_heartbeat_and_no_earlier() {
    // Given a backup that heard its master last at 10 s,
    let mut rig = backup();
    // when it stays silent, then nothing is asked until misses*H + skew are over,
    rig.run_to(at(12_500));
    rig.beat(W, Beat::idle());
    let out = rig.run_to(at(10_000) + LEASE + SKEW_B - TICK);
    assert_eq!(requests(&out), []);
    assert_eq!(rig.role(), RoleName::Backup);
    // and then all voters are asked at once.
    let out = rig.pass(TICK);
    let asked: Vec<NodeId> = requests(&out).into_iter().map(|(to, _)| to).collect();
    assert_eq!(asked, [A, W]);
    assert_eq!(rig.role(), RoleName::Candidate);
    assert_eq!(
        role_changes(&out),
        [(RoleName::Backup, RoleName::Candidate, Some(Cause::MasterSilent))]
    );
}

#[test]
fn the_request_says_what_a_voter_must_know() {
    let (_, request) = candidate();
    assert!(request.term > Term(TERM));
    assert_eq!(request.lease, LEASE);
    assert_eq!(request.digest, Digest([7; 32]));
    assert_eq!(request.cause, Cause::MasterSilent);
    assert_eq!(request.evidence, None);
    assert_eq!(request.rank.priority, priority(100));
    assert_eq!(request.rank.standing, Standing::Ready);
    assert!(request.rank.preflight_ok);
}

#[test]
fn waits_for_the_longer_of_its_own_lease_and_the_one_that_the_master_named() {
    let mut rig = backup();
    rig.beat(A, Beat::master(TERM).lease(millis(5_000)));
    let heard_at = rig.now;
    rig.pass(millis(2_500));
    rig.beat(W, Beat::idle());
    let out = rig.run_to(heard_at + millis(5_000) + SKEW_B - TICK);
    assert_eq!(requests(&out), []);
    let out = rig.pass(TICK);
    assert_eq!(requests(&out).len(), 2);
}

#[test]
fn the_timer_runs_from_the_heartbeats_of_a_master_with_a_valid_lease_only() {
    // Given a backup whose master still speaks, but leads no more (it is Holding),
    let mut rig = backup();
    let mut out = Vec::new();
    while rig.now < at(10_000) + LEASE + SKEW_B {
        out.extend(rig.run_to((rig.now + millis(500)).min(at(10_000) + LEASE + SKEW_B)));
        rig.beat(A, Beat { holds: true, ..Beat::idle() });
        rig.beat(W, Beat::idle());
    }
    // then it stands all the same.
    assert!(!requests(&out).is_empty());
}

#[test]
fn hearing_the_master_ends_a_candidacy() {
    let (mut rig, request) = candidate();
    let out = rig.beat(A, Beat::master(TERM));
    assert_eq!(rig.role(), RoleName::Backup);
    assert_eq!(
        take_backs(&out),
        [(A, vec![release(request.term.0)]), (W, vec![release(request.term.0)])]
    );
    // Its own promise was to itself; released, the master is renewed.
    assert!(renewed(&out));
}

#[test]
fn does_not_stand_while_its_own_promise_to_another_runs() {
    // Given a backup that granted another just before its own time,
    let mut rig = backup();
    rig.pass(LEASE);
    rig.beat(W, Beat::idle());
    assert_eq!(votes(&rig.ask(A, 6)), [Vote::Granted]);
    // when that one resigns and another node is named, so that nothing else holds it back,
    let out = rig.pass(LEASE - TICK);
    assert_eq!(requests(&out), []);
}

#[test]
fn wins_with_a_majority_and_leads_from_before_the_request_was_sent() {
    let (mut rig, request) = candidate();
    let stood_at = rig.now;
    rig.pass(millis(300));
    let out = rig.vote(W, &request, Vote::Granted);
    assert_eq!(rig.role(), RoleName::Master);
    assert_eq!(rig.group().term, request.term);
    assert!(rig.group().lease_left <= OWN_LEASE - millis(300));
    assert!(rig.now + rig.group().lease_left <= stood_at + OWN_LEASE);
    assert_eq!(
        role_changes(&out),
        [(RoleName::Candidate, RoleName::Master, Some(Cause::MasterSilent))]
    );
    // It heartbeats at once, and says that it leads.
    let beat = &beats(&out, W)[0];
    let mastered = Mastered { term: request.term, lease: LEASE };
    assert_eq!(beat.groups[0].mastered, Some(mastered));
    assert_eq!(beats(&out, A).len(), 1);
}

#[test]
fn a_vote_for_another_term_or_another_send_does_not_count() {
    let (mut rig, request) = candidate();
    let other_term = VoteRequest { term: Term(request.term.0 - 1), ..request.clone() };
    let other_send = VoteRequest { send: SendNumber(request.send.0 - 1), ..request.clone() };
    rig.vote(W, &other_term, Vote::Granted);
    rig.vote(W, &other_send, Vote::Granted);
    assert_eq!(rig.role(), RoleName::Candidate);
}

#[test]
fn gives_up_when_a_quorum_has_become_impossible() {
    let (mut rig, request) = candidate();
    let vote = denied(DenialReason::PromisedToMaster(A), request.term.0, millis(2_000));
    rig.vote(W, &request, vote);
    assert_eq!(rig.role(), RoleName::Candidate, "lb-a may still grant");
    let out = rig.vote(A, &request, vote);
    assert_eq!(rig.role(), RoleName::Backup);
    assert_eq!(take_backs(&out).len(), 2, "and releases at once");
}

#[test]
fn gives_up_after_two_intervals() {
    let (mut rig, _) = candidate();
    let out = rig.pass(H * 2 - TICK);
    assert_eq!(take_backs(&out), []);
    assert_eq!(rig.role(), RoleName::Candidate);
    let out = rig.pass(TICK);
    assert_eq!(take_backs(&out).len(), 2);
}

#[test]
fn stands_again_when_by_the_denials_a_quorum_can_be_free() {
    // Given a candidate whom both voters denied, for 2 s and for 2.5 s,
    let (mut rig, request) = candidate();
    let denied_at = rig.now;
    let master = DenialReason::PromisedToMaster(A);
    rig.vote(W, &request, denied(master, request.term.0, millis(2_000)));
    rig.vote(A, &request, denied(master, request.term.0, millis(2_500)));
    // then it stands again when the first of them is free (its own vote is), plus at most H/8.
    rig.pass(millis(1_000));
    rig.beat(W, Beat::idle());
    let out = rig.run_to(denied_at + millis(2_000) - TICK);
    assert_eq!(requests(&out), []);
    let out = rig.run_to(denied_at + millis(2_000) + H / 8);
    assert_eq!(requests(&out).len(), 2);
}

#[test]
fn stands_again_at_once_if_its_term_was_too_low() {
    let (mut rig, request) = candidate();
    let out = rig.vote(W, &request, denied(DenialReason::TermTooLow, 900, millis(0)));
    assert_eq!(candidacy(&out).term, Term(901), "above the highest that the denial named");
    assert_eq!(rig.role(), RoleName::Candidate);
}

#[test]
fn a_candidacy_given_up_and_begun_anew_in_one_step_is_still_taken_back_at_once() {
    let (mut rig, request) = candidate();
    let out = rig.vote(W, &request, denied(DenialReason::TermTooLow, 900, millis(0)));
    assert_eq!(candidacy(&out).term, Term(901));
    let told = take_backs(&out);
    assert_eq!(told.len(), 2, "a release goes to all that were asked");
    assert!(told.iter().all(|(_, list)| list.contains(&release(request.term.0))));
}

#[test]
fn waits_at_random_after_meeting_promises_to_other_candidates_and_at_most_a_lease() {
    // Given a candidate that meets another's candidacy, again and again,
    let (mut rig, mut request) = candidate();
    for _ in 0..8 {
        let rival = DenialReason::PromisedToCandidate(A);
        let seen = request.term.0;
        rig.vote(W, &request, denied(rival, seen, millis(100)));
        rig.vote(A, &request, denied(rival, seen, millis(100)));
        let failed_at = rig.now;
        request = stand(&mut rig);
        // then it stands again after the denial is over, and no later than a lease after it.
        let waited = rig.now.since(failed_at);
        assert!(waited >= millis(100), "{waited:?}");
        assert!(waited <= millis(200) + LEASE, "{waited:?}");
    }
}

#[test]
fn the_random_wait_differs_by_seed_and_repeats_by_seed() {
    let wait = |seed: u64| {
        let mut rig = backup();
        rig.held = None;
        // The same node with another seed, which is handed in at the start.
        let config = std::sync::Arc::clone(&rig.config);
        rig.node = Node::new(config, rig.me(), seed, rig.disk.clone(), rig.now);
        rig.beat(W, Beat::idle());
        let request = stand(&mut rig);
        let rival = DenialReason::PromisedToCandidate(A);
        rig.vote(W, &request, denied(rival, request.term.0, millis(0)));
        rig.vote(A, &request, denied(rival, request.term.0, millis(0)));
        let failed_at = rig.now;
        loop {
            let next = rig.node.next_deadline();
            let out = rig.run_to(next);
            if !requests(&out).is_empty() {
                return rig.now.since(failed_at);
            }
        }
    };
    assert_eq!(wait(1), wait(1));
    let waits: Vec<_> = (1..6).map(wait).collect();
    assert!(waits.iter().any(|other| *other != waits[0]), "{waits:?}");
}

#[test]
fn gives_way_to_a_better_candidate_and_grants_its_next_term() {
    let (mut rig, request) = candidate();
    // A better one that asks for the same term is too late for this one,
    let out = rig.ask(A, request.term.0);
    assert_eq!(rig.role(), RoleName::Backup, "but it gives up");
    assert_eq!(denial(&out).reason, DenialReason::TermTooLow);
    // and the next term is granted.
    assert_eq!(votes(&rig.ask(A, request.term.0 + 1)), [Vote::Granted]);
}

#[test]
fn does_not_give_way_to_a_worse_candidate() {
    let mut rig = Rig::new(config(A));
    rig.beat(W, Beat::idle());
    let request = stand(&mut rig);
    let out = rig.ask(B, request.term.0 + 1);
    assert_eq!(rig.role(), RoleName::Candidate);
    assert_eq!(votes(&out), [], "its own candidacy may fail: the answer waits");
}

#[test]
fn a_holding_master_is_a_candidate_like_any_other() {
    // Given a Holding master that a majority answers again,
    let mut rig = holding();
    rig.answering = vec![B, W];
    let out = rig.pass(H * 2);
    let request = candidacy(&out);
    assert_eq!(rig.role(), RoleName::Holding, "it serves on meanwhile");
    assert_eq!(request.cause, Cause::MajorityRegained);
    rig.vote(W, &request, Vote::Granted);
    assert_eq!(rig.role(), RoleName::Master);
}

#[test]
fn stands_only_when_a_majority_is_heard_once() {
    // Given a node that starts and hears nobody,
    let mut rig = Rig::new(config(A));
    let out = rig.run_to(at(20_000));
    assert_eq!(requests(&out), []);
    assert_eq!(rig.node.status(rig.now).standing, Standing::Joining);
    // when it hears one peer, then it is Ready, journaled, and stands.
    let out = rig.beat(W, Beat::idle());
    let (from, to) = (Standing::Joining, Standing::Ready);
    let reason = "the cluster is new: no configuration is the reference yet".into();
    let changed = EventKind::StandingChanged { from, to, reason };
    assert!(events(&out).iter().any(|event| event.kind == changed));
    assert_eq!(stand(&mut rig).cause, Cause::Startup);
}

#[test]
fn a_witness_and_a_node_without_a_priority_never_stand() {
    let mut rig = witness();
    let mut out = Vec::new();
    for _ in 0..20 {
        out.extend(rig.pass(H));
        rig.beat(B, Beat::idle());
    }
    assert_eq!(requests(&out), []);
    assert_eq!(calls(&out), [], "nor does it read the cloud");
}

#[test]
fn a_muted_balancer_stands_without_its_own_vote() {
    // Given a balancer that restarted, and a master that died a moment later, by evidence,
    let mut rig = backup();
    rig.restart();
    rig.beat(W, Beat::idle());
    rig.beat(A, Beat::master(TERM));
    rig.pass(millis(100));
    let out = rig.give(Input::ConnectRefused { peer: A, link: LINK });
    // then it may stand, but the witness's vote alone is no majority,
    let request = candidacy(&out);
    rig.vote(W, &request, Vote::Granted);
    assert_eq!(rig.role(), RoleName::Candidate);
    // and with lb-a's it is.
    rig.vote(A, &request, Vote::Granted);
    assert_eq!(rig.role(), RoleName::Master);
}
