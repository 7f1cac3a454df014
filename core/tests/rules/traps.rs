//! The traps of design 3.9 that one node shows, each by its name. Those of a whole cluster are
//! in `restart` and `handover`.

use vipward_core::*;

use crate::fixture::*;
use crate::reading::*;
use crate::scenes::*;

#[test]
fn a_term_at_or_below_one_seen_is_never_granted() {
    // Given a free voter that has seen term 9, by each way to see one:
    type Sight = fn(&mut Rig);
    let sights: [(&str, Sight); 6] = [
        ("a request that it granted, then released", |rig| {
            rig.ask(A, 9);
            rig.taking_back(A, release(9));
        }),
        ("a request that it denied", |rig| {
            let mut request = rig.vote_request(A, 9);
            request.rank.standing = Standing::Joining;
            rig.request(A, Request::Vote(request));
        }),
        ("a release", |rig| {
            rig.taking_back(A, release(9));
        }),
        ("a resignation", |rig| {
            rig.taking_back(A, resignation(9, None));
        }),
        ("news of an election", |rig| {
            let elected = Some(Elected { term: Term(9), node: A });
            rig.beat(A, Beat { elected, ..Beat::idle() });
        }),
        ("a heartbeat of one that has seen it", |rig| {
            rig.beat(A, Beat { seen: Term(9), ..Beat::idle() });
        }),
    ];
    for (sight, see) in sights {
        for term in [8, 9] {
            let mut rig = free_witness();
            see(&mut rig);
            // when it is asked for that term or a lower one, then it refuses, and names it;
            let denial = denial(&rig.ask(B, term));
            assert_eq!(denial.reason, DenialReason::TermTooLow, "{sight}, term {term}");
            assert_eq!(denial.seen, Term(9), "{sight}, term {term}");
        }
        // and the next term is granted.
        let mut rig = free_witness();
        see(&mut rig);
        assert_eq!(votes(&rig.ask(B, 10)), [Vote::Granted], "{sight}");
    }
}

#[test]
fn a_term_granted_is_never_granted_again_though_the_promise_ran_out() {
    let mut rig = free_witness();
    rig.ask(A, 9);
    rig.pass(LEASE);
    assert_eq!(denial(&rig.ask(B, 9)).reason, DenialReason::TermTooLow);
    assert_eq!(denial(&rig.ask(A, 9)).reason, DenialReason::TermTooLow, "nor to the same node");
}

#[test]
fn one_candidacy_one_term() {
    // Given a candidate that fails again and again,
    let (mut rig, first) = candidate();
    let mut terms = vec![first.term];
    for _ in 0..5 {
        terms.push(stand(&mut rig).term);
    }
    // then each candidacy has a term of its own, above all before.
    assert!(terms.is_sorted_by(|a, b| a < b), "{terms:?}");
}

#[test]
fn one_candidacy_one_term_also_across_a_restart() {
    // Given a candidate,
    let (mut rig, before) = candidate();
    // when its process is killed and starts again with its disk,
    rig.restart();
    let after = stand(&mut rig);
    // then it stands in a higher term.
    assert!(after.term > before.term, "{:?} after {:?}", after.term, before.term);
}

#[test]
fn one_candidacy_one_term_across_a_restart_that_the_disk_write_did_not_outrun() {
    // Given a node whose disk is so slow that nothing is written in its whole life,
    let disk = Some(Durable { ceiling: Term(1_000), ..Durable::default() });
    let terms: Vec<Term> = (1..=2)
        .filter_map(|life| {
            let mut rig = Rig::start(config(B), life, disk.clone(), at(0));
            rig.writes = false;
            rig.beat(W, Beat::idle());
            for _ in 0..60 {
                let out = rig.pass(millis(100));
                if let Some((_, request)) = requests(&out).pop() {
                    return Some(request.term);
                }
                rig.beat(W, Beat::idle());
            }
            None
        })
        .collect();
    // then two lives of it never stand in the same term.
    assert!(terms.is_sorted_by(|a, b| a < b), "both stood in {terms:?}");
}

#[test]
fn a_candidate_that_gave_up_counts_no_later_grant() {
    // Given a candidate that gave up because time was over,
    let (mut rig, request) = candidate();
    let out = rig.pass(H * 2);
    assert!(take_backs(&out).iter().any(|(_, list)| list == &[release(request.term.0)]));
    assert_eq!(rig.role(), RoleName::Backup);
    // when the grants come late, then they make nobody master.
    rig.vote(W, &request, Vote::Granted);
    rig.vote(A, &request, Vote::Granted);
    assert_eq!(rig.role(), RoleName::Backup);
}

#[test]
fn a_candidate_that_gave_way_to_a_better_one_counts_no_later_grant() {
    // Given a candidate that a better one asked for its vote,
    let (mut rig, request) = candidate();
    let out = rig.ask(A, request.term.0 + 1);
    assert_eq!(votes(&out), [Vote::Granted]);
    assert_eq!(take_backs(&out).len(), 2, "it takes its candidacy back at once");
    // when its own grant comes, then it does not lead.
    rig.vote(W, &request, Vote::Granted);
    assert_eq!(rig.role(), RoleName::Backup);
}

#[test]
fn a_candidacy_below_an_elected_term_is_given_up() {
    // Given a candidate that hears from a third node that another was elected in a higher term,
    let (mut rig, request) = candidate();
    let elected = Some(Elected { term: Term(900), node: A });
    rig.beat(W, Beat { elected, ..Beat::idle() });
    // when its grant comes late, then it does not lead in a term that is over.
    rig.vote(W, &request, Vote::Granted);
    assert_eq!(rig.role(), RoleName::Backup);
}

#[test]
fn a_grant_after_the_lease_that_it_would_give_is_not_counted() {
    // Given two misses, so that a candidacy lasts as long as the lease that it would give,
    let short = with(config(B), |config| config.timing = timing(H, 2));
    let mut rig = Rig::new(short);
    rig.beat(W, Beat::idle());
    let request = stand(&mut rig);
    // when the process sleeps past that lease, and then finds the grant before the deadline,
    rig.sleep(H * 2 * 9 / 10);
    let out = rig.vote(W, &request, Vote::Granted);
    // then it never leads, not for an instant.
    assert_eq!(rig.role(), RoleName::Backup);
    assert!(role_changes(&out).iter().all(|change| change.1 != RoleName::Master));
}

#[test]
fn a_reload_to_a_shorter_lease_with_its_answers_lost_shrinks_no_promise() {
    // Given a voter that promised the master 3 s,
    let mut rig = witness();
    rig.beat(A, Beat::master(TERM));
    let promised_at = rig.now;
    // when both reload to a lease of 1 s, and the master's next heartbeats are heard, whose
    // answers are lost,
    let shorter = with(config(W), |config| config.timing = timing(millis(500), 2));
    rig.give(Input::Reload(std::sync::Arc::new(shorter)));
    for _ in 0..3 {
        rig.pass(millis(100));
        rig.beat(A, Beat::master(TERM).lease(H));
    }
    // and then the master is cut off: another gets no vote before the 3 s are over.
    rig.run_to(promised_at + LEASE - TICK);
    assert!(!votes(&rig.ask(B, 9)).contains(&Vote::Granted));
    rig.run_to(promised_at + LEASE);
    let out = rig.ask(B, 10);
    assert_eq!(votes(&out).last(), Some(&Vote::Granted));
}

#[test]
fn a_master_that_reloads_to_a_shorter_lease_counts_what_each_send_named() {
    // Given a master whose last heartbeat named 3 s, not answered yet,
    let mut rig = master();
    rig.answering.clear();
    let long = next_beat(&mut rig, W);
    // when it reloads to 1 s and both answers arrive,
    let shorter = with(config(A), |config| config.timing = timing(millis(500), 2));
    let out = rig.give(Input::Reload(std::sync::Arc::new(shorter)));
    let short = beats(&out, W).pop().expect("a reload is told at once");
    let input = rig.renewing(W, &short);
    rig.give(input);
    let input = rig.renewing(W, &long);
    rig.give(input);
    // then its lease is the longer of the two, each from its own send and as it named.
    assert_eq!(rig.now + rig.group().lease_left, long.sent_at + OWN_LEASE);
    assert_eq!(short.groups[0].mastered.unwrap().lease, H);
}

#[test]
fn the_mute_for_grants_a_voter_that_grants_restarts_and_is_asked_again() {
    // Given a voter that granted lb-a,
    let mut rig = free_witness();
    assert_eq!(votes(&rig.ask(A, 6)), [Vote::Granted]);
    let granted_at = rig.now;
    // when it restarts and lb-b asks, then it denies, says that it is muted, and for how long;
    rig.pass(millis(100));
    rig.restart();
    let denied = denial(&rig.ask(B, 2_000));
    assert_eq!(denied.reason, DenialReason::Muted);
    assert_eq!(denied.left, LEASE);
    // it grants again once the promise of before has run out for sure.
    let restarted_at = rig.now;
    assert!(restarted_at + LEASE > granted_at + LEASE);
    rig.run_to(restarted_at + LEASE - H);
    assert_eq!(votes(&rig.ask(B, 2_001)), [], "it ends within one H: the answer waits");
    let out = rig.run_to(restarted_at + LEASE - TICK);
    assert_eq!(votes(&out), []);
    let out = rig.pass(TICK);
    assert_eq!(votes(&out), [Vote::Granted]);
}

#[test]
fn a_voter_that_restarts_twice_within_a_lease_is_muted_from_its_last_start() {
    let mut rig = free_witness();
    rig.ask(A, 6);
    for _ in 0..2 {
        rig.pass(millis(1_500));
        rig.restart();
        rig.pass(millis(1));
    }
    let restarted_at = rig.now - millis(1);
    rig.run_to(restarted_at + LEASE - H - TICK);
    assert_eq!(denial(&rig.ask(B, 3_000)).reason, DenialReason::Muted);
    rig.run_to(restarted_at + LEASE);
    assert_eq!(votes(&rig.ask(B, 3_001)), [Vote::Granted]);
}

#[test]
fn a_muted_voter_acknowledges_and_does_not_renew() {
    let mut rig = witness();
    rig.restart();
    rig.pass(millis(500));
    let out = rig.beat(A, Beat::master(TERM));
    assert!(!renewed(&out));
    assert_eq!(beat_answers(&out)[0].muted, millis(2_500), "it says so, and for how long");
    rig.pass(millis(2_500) - TICK);
    assert!(!renewed(&rig.beat(A, Beat::master(TERM))));
    rig.pass(TICK);
    assert!(renewed(&rig.beat(A, Beat::master(TERM))));
}

#[test]
fn the_mute_lasts_as_long_as_the_longest_lease_ever_promised_and_any_heard_meanwhile() {
    // Given a voter whose disk says that it once promised 5 s,
    let disk = Durable { longest_promise: millis(5_000), ..Durable::default() };
    let mut rig = Rig::start(config(W), 2, Some(disk), at(0));
    assert_eq!(rig.node.status(rig.now).muted, millis(5_000));
    // when it hears a master name 7 s, then it is muted for 7 s from its start;
    rig.run_to(at(1_000));
    rig.beat(A, Beat::master(TERM).lease(millis(7_000)));
    assert_eq!(rig.node.status(rig.now).muted, millis(6_000));
    // a candidate's request counts as well.
    let mut request = rig.vote_request(B, 9_000);
    request.lease = millis(8_000);
    rig.request(B, Request::Vote(request));
    assert_eq!(rig.node.status(rig.now).muted, millis(7_000));
    // Once the mute is over nothing revives it.
    rig.run_to(at(8_000));
    rig.beat(A, Beat::master(TERM).lease(millis(9_000)));
    assert_eq!(rig.node.status(rig.now).muted, millis(0));
}

#[test]
fn a_better_candidate_that_cannot_stand_denies_nobody() {
    // Given the best balancer just before its own time, unable to stand by
    let fatal = with(config(A), |config| {
        let name = "nginx".into();
        let effect = CheckEffect::Fatal;
        config.checks.push(CheckConfig { name, rise: 1, fall: 1, effect, groups: Vec::new() });
    });
    let mut rig = Rig::new(fatal);
    rig.beat(W, Beat::idle());
    // a fatal check,
    rig.give(Input::CheckResult { check: CheckId(0), passed: false });
    rig.run_to(at(3_100));
    rig.beat(W, Beat::idle());
    assert_eq!(votes(&rig.ask(B, 6)), [Vote::Granted]);

    // a bad preflight,
    let mut rig = Rig::new(config(A));
    rig.beat(W, Beat::idle());
    rig.give(Input::Preflight { problems: vec!["no permission".into()] });
    rig.run_to(at(3_100));
    rig.beat(W, Beat::idle());
    assert_eq!(votes(&rig.ask(B, 6)), [Vote::Granted]);

    // its standing: it hears nobody but the candidate, for the first time,
    let mut rig = Rig::new(config(A));
    rig.run_to(at(3_100));
    let mut request = rig.vote_request(B, 6);
    request.rank.priority = priority(1);
    let out = rig.request(B, Request::Vote(request));
    let first = votes(&out);
    // or anything else: it denies once, and then never again.
    if first != [Vote::Granted] {
        assert_eq!(denial(&out).reason, DenialReason::BetterCandidate);
        assert_eq!(votes(&rig.ask(B, 7)), [Vote::Granted]);
    }
}
