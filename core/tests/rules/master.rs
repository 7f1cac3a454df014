//! The master (design 3.3): its lease, its pace, when it steps down; Holding (3.8).

use vipward_core::*;

use crate::fixture::*;
use crate::reading::*;
use crate::scenes::*;

/// When the lease ends.
fn lease_end(rig: &Rig) -> Timestamp {
    rig.now + rig.group().lease_left
}

#[test]
fn the_lease_is_the_quorum_th_latest_of_send_time_plus_nine_tenths() {
    // Given a master of three whose heartbeats are answered by nobody from here on,
    let mut rig = master();
    rig.answering.clear();
    let first = next_beat(&mut rig, W);
    rig.pass(millis(1));
    let second = next_beat(&mut rig, W);
    // when one voter renews on the first and then on the second, then with its own that is two;
    let before = lease_end(&rig);
    let input = rig.renewing(W, &first);
    rig.give(input);
    assert_eq!(lease_end(&rig), first.sent_at + OWN_LEASE);
    assert!(lease_end(&rig) > before);
    let input = rig.renewing(B, &second);
    rig.give(input);
    assert_eq!(lease_end(&rig), second.sent_at + OWN_LEASE);
    // an older answer that comes late shortens nothing.
    let input = rig.renewing(B, &first);
    rig.give(input);
    assert_eq!(lease_end(&rig), second.sent_at + OWN_LEASE);
}

#[test]
fn an_answer_that_renews_nothing_counts_for_nothing() {
    let mut rig = master();
    rig.answering.clear();
    let before = lease_end(&rig);
    for _ in 0..2 {
        let beat = next_beat(&mut rig, W);
        let input = rig.answering_beat(W, &beat, Renewal::None, None);
        rig.give(input);
    }
    assert_eq!(lease_end(&rig), before);
}

#[test]
fn a_lapsed_lease_stays_lapsed_no_late_answer_revives_it() {
    // Given a master that slept past the end of its lease,
    let mut rig = master();
    rig.answering.clear();
    let beat = next_beat(&mut rig, W);
    let end = lease_end(&rig);
    rig.sleep(end.since(rig.now));
    assert_eq!(rig.role(), RoleName::Holding, "it shows so before any step");
    assert_eq!(rig.group().lease_left, millis(0));
    // when the renewal of a heartbeat of before arrives first,
    let input = rig.renewing(W, &beat);
    let out = rig.give(input);
    // then it is Holding all the same.
    assert_eq!(rig.role(), RoleName::Holding);
    assert_eq!(role_changes(&out)[0].1, RoleName::Holding);
    assert_eq!(mutating(&out), []);
}

#[test]
fn steps_down_when_another_was_elected_in_a_higher_term_by_any_news() {
    let elected = Some(Elected { term: Term(900), node: B });
    type News = fn(&mut Rig, Option<Elected>);
    let news: [(&str, News); 3] = [
        ("a heartbeat of the other", |rig, _| {
            rig.beat(B, Beat::master(900));
        }),
        ("a heartbeat of a third", |rig, elected| {
            rig.beat(W, Beat { elected, ..Beat::idle() });
        }),
        ("an answer of a third", |rig, elected| {
            rig.answering.clear();
            let beat = next_beat(rig, W);
            let groups = vec![GroupBeatAnswer {
                group: WEB,
                renewal: Renewal::None,
                promised: None,
                elected,
            }];
            let answer = HeartbeatAnswer {
                send: beat.send,
                sent_at: beat.sent_at,
                muted: millis(0),
                ceiling: Term(0),
                reference: None,
                admissions: Vec::new(),
                away: None,
                groups,
            };
            let input = rig.answer_from(W, Answer::Heartbeat(answer));
            rig.give(input);
        }),
    ];
    for (name, tell) in news {
        let mut rig = master();
        tell(&mut rig, elected);
        assert_eq!(rig.role(), RoleName::Backup, "{name}");
        assert_eq!(rig.group().term, Term(900), "{name}");
    }
}

#[test]
fn a_higher_term_merely_seen_changes_nothing() {
    let mut rig = master();
    // A candidacy in a higher term, its release, and a voter's promise to another,
    rig.ask(B, 900);
    rig.taking_back(B, release(901));
    rig.answering.clear();
    let beat = next_beat(&mut rig, W);
    let promised = Some(Promised { node: B, term: Term(902), left: LEASE });
    let input = rig.answering_beat(W, &beat, Renewal::None, promised);
    rig.give(input);
    // leave the master what it is.
    assert_eq!(rig.role(), RoleName::Master);
    assert!(rig.group().term < Term(900));
}

#[test]
fn the_lease_survives_one_lost_heartbeat_by_hurrying() {
    // Given a master of which one round of heartbeats is lost,
    let mut rig = master();
    let last = next_beat(&mut rig, W).sent_at;
    rig.answering.clear();
    let lost = rig.run_to(last + H);
    assert_eq!(beats(&lost, W).len(), 1);
    // then from 1.1 H after the last renewed send on it sends every H/4,
    let out = rig.run_to(last + H * 2);
    let sent: Vec<Timestamp> = beats(&out, W).iter().map(|beat| beat.sent_at).collect();
    assert_eq!(sent.first(), Some(&(last + H + H / 4)), "the first one after 1.1 H, H/4 apart");
    assert!(sent.windows(2).all(|pair| pair[1].since(pair[0]) == H / 4), "{sent:?}");
    assert!(sent.len() >= 4);
    // until a majority answers.
    rig.answering = vec![W];
    let beat = next_beat(&mut rig, W);
    assert_eq!(rig.role(), RoleName::Master);
    let out = rig.run_to(beat.sent_at + H - TICK);
    assert_eq!(beats(&out, W), []);
}

#[test]
fn heartbeats_go_out_each_interval_to_every_peer_with_rising_numbers() {
    let mut rig = backup();
    let out = rig.pass(H * 5);
    for peer in [A, W] {
        let sent = beats(&out, peer);
        assert_eq!(sent.len(), 5);
        assert!(sent.windows(2).all(|pair| pair[1].sent_at.since(pair[0].sent_at) == H));
        assert!(sent.windows(2).all(|pair| pair[1].send > pair[0].send));
    }
    assert_eq!(beats(&out, A), beats(&out, W), "the same to all");
}

#[test]
fn a_heartbeat_claims_mastership_only_under_a_valid_lease() {
    let mut rig = master();
    let term = rig.group().term;
    assert_eq!(next_beat(&mut rig, B).groups[0].mastered, Some(Mastered { term, lease: LEASE }));
    let mut rig = holding();
    let beat = next_beat(&mut rig, B);
    assert_eq!(beat.groups[0].mastered, None);
    assert_eq!(beat.groups[0].elected, Some(Elected { term: rig.group().term, node: A }));
}

#[test]
fn a_voter_whose_promise_had_run_out_shows_that_this_clock_stopped() {
    // Given a master that counts on the witness,
    let mut rig = master();
    rig.answering.clear();
    let beat = next_beat(&mut rig, W);
    // when the witness says that its promise had run out before this renewal,
    let input = rig.answering_beat(W, &beat, Renewal::Renewed { had_run_out: true }, None);
    let out = rig.give(input);
    // then it is Holding at once.
    assert_eq!(rig.role(), RoleName::Holding);
    assert_eq!(mutating(&out), []);
}

#[test]
fn a_voter_not_counted_may_have_run_out() {
    // Given a master that has not heard the witness for longer than a lease,
    let mut rig = master();
    rig.answering = vec![B];
    rig.pass(LEASE * 2);
    let beat = next_beat(&mut rig, W);
    // when the witness is back and renews a promise that had run out, then all is well.
    let input = rig.answering_beat(W, &beat, Renewal::Renewed { had_run_out: true }, None);
    rig.give(input);
    assert_eq!(rig.role(), RoleName::Master);
}

#[test]
fn a_lease_that_ends_makes_it_holding_and_nothing_is_called() {
    let mut rig = master();
    rig.answering.clear();
    let end = lease_end(&rig);
    let out = rig.run_to(end - TICK);
    assert_eq!(rig.role(), RoleName::Master);
    assert_eq!(role_changes(&out), []);
    let out = rig.pass(TICK);
    assert_eq!(rig.role(), RoleName::Holding);
    assert_eq!(role_changes(&out).len(), 1);
    // Nothing changes in the cloud from here on, whatever it shows.
    rig.held = None;
    let out = rig.pass(H * 60);
    assert_eq!(mutating(&out), []);
    assert_eq!(rig.role(), RoleName::Holding);
}

#[test]
fn a_holding_master_stands_when_a_majority_answers_with_skew_zero() {
    let mut rig = holding();
    rig.answering = vec![W];
    let beat_at = rig.node.next_deadline();
    let out = rig.run_to(beat_at);
    let request = candidacy(&out);
    assert_eq!(request.cause, Cause::MajorityRegained);
}

#[test]
fn a_holding_master_does_not_stand_while_one_of_them_names_a_promise_to_another() {
    let mut rig = holding();
    let mut out = Vec::new();
    for _ in 0..5 {
        let beat = next_beat(&mut rig, W);
        let promised = Some(Promised { node: B, term: Term(900), left: LEASE });
        let input = rig.answering_beat(W, &beat, Renewal::None, promised);
        out.extend(rig.give(input));
        let input = rig.answering_beat(B, &beat, Renewal::None, None);
        out.extend(rig.give(input));
    }
    assert_eq!(requests(&out), []);
    // When none does any more, it stands.
    let beat = next_beat(&mut rig, W);
    let input = rig.answering_beat(W, &beat, Renewal::None, None);
    assert_eq!(requests(&rig.give(input)).len(), 2);
}

#[test]
fn a_holding_masters_majority_must_have_answered_within_two_intervals() {
    // Given a Holding master that one voter answered long ago,
    let mut rig = holding();
    let beat = next_beat(&mut rig, W);
    let promised = Some(Promised { node: B, term: Term(900), left: LEASE });
    let input = rig.answering_beat(W, &beat, Renewal::None, promised);
    rig.give(input);
    // when that answer is older than 2H, then it neither hinders nor helps.
    let out = rig.pass(H * 10);
    assert_eq!(requests(&out), []);
}

#[test]
fn a_holding_master_that_hears_of_another_is_a_backup() {
    let mut rig = holding();
    rig.beat(B, Beat::master(900));
    assert_eq!(rig.role(), RoleName::Backup);
    // Its promise to itself still runs; then it promises the new one.
    rig.pass(LEASE);
    assert!(renewed(&rig.beat(B, Beat::master(900))));
    assert_eq!(rig.group().master, Some(B));
}

#[test]
fn elected_again_it_makes_no_needless_call() {
    // Given a Holding master whose address is still here,
    let mut rig = holding();
    rig.answering = vec![B, W];
    let out = rig.pass(H * 2);
    let request = candidacy(&out);
    // when it is elected again, then the address is read and not claimed.
    let mut out = rig.vote(W, &request, Vote::Granted);
    out.extend(rig.pass(H * 20));
    assert_eq!(rig.role(), RoleName::Master);
    assert_eq!(mutating(&out), []);
    assert!(!reads(&out).is_empty());
    assert_eq!(rig.group().addresses[0].ownership, OwnershipName::Owned);
}
