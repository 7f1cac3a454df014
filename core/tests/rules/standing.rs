//! Who must prove its configuration, and when it has (design section 6).

use vipward_core::*;

use crate::fixture::*;
use crate::handover::{answer_offer, offer, switchover};
use crate::reading::*;
use crate::rejoin::*;
use crate::scenes::*;

#[test]
fn what_is_merely_heard_proves_nothing_an_answer_to_what_was_sent_since_does() {
    // Given a node that just started, and heartbeats that may have lain in a buffer for long,
    let mut rig = rejoining(config(B), OURS);
    rig.hear(W, Beat::idle());
    rig.hear(A, leading(OURS));
    assert_eq!(standing(&rig), Standing::Joining);
    // when one answers what this life sent, then a majority has told what it knows.
    rig.beat(W, Beat::idle());
    assert_eq!(standing(&rig), Standing::Probation);
}

#[test]
fn a_brand_new_cluster_has_nothing_to_compare_with() {
    let mut rig = Rig::new(config(B));
    rig.give(Input::DeadlineReached);
    rig.beat(W, Beat::idle());
    assert_eq!(standing(&rig), Standing::Ready);
}

#[test]
fn one_with_the_references_configuration_goes_on_probation_and_is_then_ready() {
    let mut rig = rejoining(config(B), OURS);
    let out = hear_all(&mut rig, OURS);
    let changes: Vec<_> = standings(&out).into_iter().map(|it| (it.0, it.1)).collect();
    assert_eq!(changes, [(Standing::Joining, Standing::Probation)]);
    let since = rig.now;
    let out = hear_to(&mut rig, since + millis(29_900), OURS);
    assert_eq!(standings(&out), []);
    rig.run_to(since + millis(30_000));
    assert_eq!(standing(&rig), Standing::Ready);
    assert_eq!(reason(&rig), "");
}

#[test]
fn one_with_another_configuration_is_quarantined_and_says_why() {
    // Given a node that comes back with another configuration than the reference,
    let mut rig = rejoining(config(B), OTHER);
    rig.reference = Some(reference(SET_IN, 0, OTHER));
    let out = hear_all(&mut rig, OTHER);
    // then it is quarantined, journaled, alarmed, and asks the master for the difference,
    assert_eq!(standing(&rig), Standing::Quarantined);
    assert_eq!(rig.alarms(), [AlarmName::Quarantined]);
    assert!(out.contains(&Output::Compare { with: A }));
    assert!(!standings(&out)[0].2.is_empty());
    // and names the entries when it knows them.
    let differences = Differences { named: vec!["/etc/nginx/nginx.conf".into()], total: 3 };
    let out = rig.give(Input::Compared { with: A, differences });
    let why = reason(&rig);
    for part in ["/etc/nginx/nginx.conf", "2 more", "vipward diff lb-a", "vipward admit lb-b"] {
        assert!(why.contains(part), "{part:?} in {why:?}");
    }
    assert!(events(&out).iter().any(|event| {
        matches!(&event.kind, EventKind::AlarmRaised { message, .. } if message.contains("nginx"))
    }));
}

#[test]
fn a_quarantined_node_never_stands() {
    let mut rig = rejoined(config(B), OTHER);
    // Given that the master dies, however long it is gone,
    let mut out = Vec::new();
    for _ in 0..60 {
        out.extend(rig.pass(H));
        out.extend(rig.beat(W, Beat::idle()));
    }
    assert_eq!(requests(&out), []);
    assert_eq!(standing(&rig), Standing::Quarantined);
    assert!(rig.alarms().contains(&AlarmName::NoCandidate(WEB)));
}

#[test]
fn the_highest_reference_of_the_majority_counts() {
    // Given a witness that missed the last change, and a master that tells it,
    let mut rig = rejoining(config(B), OURS);
    rig.hear(W, Beat::idle());
    rig.reference = Some(reference(SET_IN, 1, OTHER));
    rig.hear(A, leading(OTHER));
    rig.reference = Some(reference(SET_IN, 0, OURS));
    rig.beat(W, Beat::idle());
    assert_eq!(standing(&rig), Standing::Quarantined);
}

#[test]
fn a_reference_on_the_own_disk_counts_as_well() {
    let disk = Durable { reference: Some(reference(9, 0, OTHER)), ..Durable::default() };
    let mut rig = Rig::start(config(B), 2, Some(disk), at(100_000));
    rig.reference = Some(reference(SET_IN, 0, OURS));
    rig.give(Input::DeadlineReached);
    hear_all(&mut rig, OURS);
    assert_eq!(standing(&rig), Standing::Quarantined);
}

#[test]
fn after_a_lost_disk_the_majority_tells() {
    let mut rig = Rig::start(config(B), 2, None, at(100_000));
    rig.reference = Some(reference(SET_IN, 0, OTHER));
    rig.give(Input::DeadlineReached);
    hear_all(&mut rig, OTHER);
    assert_eq!(standing(&rig), Standing::Quarantined);
}

#[test]
fn one_that_is_scanned_joins_only_when_its_first_scan_is_done() {
    let mut rig = rejoining(scanned(B), OURS);
    hear_all(&mut rig, OURS);
    assert_eq!(standing(&rig), Standing::Joining);
    assert!(reason(&rig).contains("scanned"), "{}", reason(&rig));
    assert_eq!(next_beat(&mut rig, A).digest, Digest::UNKNOWN);
    rig.give(found(OURS));
    assert_eq!(standing(&rig), Standing::Probation);
    assert_eq!(next_beat(&mut rig, A).digest, OURS);
}

#[test]
fn what_is_not_loaded_is_a_difference() {
    let mut rig = rejoining(scanned(B), OURS);
    hear_all(&mut rig, OURS);
    // The digest of what is on disk and not loaded is another one.
    rig.give(unapplied(OTHER));
    assert_eq!(standing(&rig), Standing::Quarantined);
    rig.give(found(OURS));
    assert_eq!(standing(&rig), Standing::Probation);
}

#[test]
fn a_quarantined_node_is_judged_again_when_the_reference_changes() {
    let mut rig = rejoined(config(B), OTHER);
    assert_eq!(standing(&rig), Standing::Quarantined);
    rig.reference = Some(reference(SET_IN, 1, OURS));
    rig.beat(A, leading(OURS));
    assert_eq!(standing(&rig), Standing::Probation);
    assert_eq!(rig.alarms(), []);
}

#[test]
fn one_that_was_frozen_must_prove_itself_before_any_answer_is_believed() {
    // Given a Ready backup, frozen for a minute; the answer to its last heartbeat came before,
    let mut rig = Rig::new(config(B));
    rig.reference = Some(reference(SET_IN, 0, OURS));
    rig.away = Some(H);
    hear_master_to(&mut rig, at(10_000));
    let last = next_beat(&mut rig, W);
    let (from_w, from_a) = (
        rig.answering_beat(W, &last, Renewal::None, None),
        rig.answering_beat(A, &last, Renewal::None, None),
    );
    let old_beat = rig.heartbeat(A, leading(OURS));
    rig.sleep(H * 60);
    // when that is the first that it reads,
    rig.give(from_w);
    rig.give(from_a);
    rig.request(A, Request::Heartbeat(old_beat));
    // then it does not count,
    assert_eq!(standing(&rig), Standing::Joining);
    // but what answers a question of now does: meanwhile the reference is another.
    rig.reference = Some(reference(SET_IN + 1, 0, OTHER));
    hear_all(&mut rig, OTHER);
    assert_eq!(standing(&rig), Standing::Quarantined);
}

#[test]
fn one_that_was_frozen_with_the_references_configuration_goes_on_probation() {
    let mut rig = Rig::new(config(B));
    rig.reference = Some(reference(SET_IN, 0, OURS));
    rig.away = Some(H);
    hear_master_to(&mut rig, at(10_000));
    rig.sleep(H * 60);
    rig.give(Input::DeadlineReached);
    hear_all(&mut rig, OURS);
    assert_eq!(standing(&rig), Standing::Probation);
}

#[test]
fn a_short_silence_takes_no_standing_away() {
    let mut rig = Rig::new(config(B));
    rig.reference = Some(reference(SET_IN, 0, OURS));
    rig.away = Some(H);
    hear_master_to(&mut rig, at(10_000));
    rig.answering = vec![A, W];
    rig.pass(H);
    rig.answering.clear();
    rig.pass(millis(14_000));
    assert_eq!(standing(&rig), Standing::Ready);
    rig.pass(millis(2_000));
    assert_eq!(standing(&rig), Standing::Joining);
}

#[test]
fn a_former_master_that_was_replaced_while_away_must_prove_itself() {
    for (digest, expected) in [(OURS, Standing::Ready), (OTHER, Standing::Quarantined)] {
        // Given a master that lost its majority a moment ago,
        let mut rig = holding();
        let term = rig.group().term;
        // when another was elected meanwhile, with that configuration,
        rig.reference = Some(reference(term.0 + 1, 0, digest));
        let beat = Beat { digest, ..Beat::master(term.0 + 1) };
        let out = rig.hear(B, beat.clone());
        assert_eq!(standings(&out)[0].1, Standing::Joining);
        // then it is compared anew; it was away only briefly.
        rig.beat(B, beat);
        assert_eq!(standing(&rig), expected);
    }
}

#[test]
fn one_that_handed_over_need_not() {
    let mut rig = master();
    let (_, request) = offer(&rig.give(switchover(Some(B), false)));
    answer_offer(&mut rig, B, request.send, Ok(Done::Accepted));
    let term = rig.group().term;
    let out = rig.hear(B, Beat { holds: true, ..Beat::master(term.0 + 1) });
    assert_eq!(rig.role(), RoleName::Backup);
    assert_eq!(standings(&out), []);
}

#[test]
fn a_holding_one_is_ready_in_the_round_in_which_it_hears_a_majority_again() {
    // Given a master that was cut off for so long that it must prove itself,
    let mut rig = holding();
    rig.pass(H * 60);
    assert_eq!((rig.role(), standing(&rig)), (RoleName::Holding, Standing::Joining));
    // when a majority answers again, then it is Ready and stands in that very step.
    let beat = next_beat(&mut rig, W);
    let answer = rig.answering_beat(W, &beat, Renewal::None, None);
    let out = rig.give(answer);
    assert_eq!(standing(&rig), Standing::Ready);
    assert_eq!(candidacy(&out).cause, Cause::MajorityRegained);
}

#[test]
fn a_holding_one_with_another_configuration_serves_on_and_does_not_stand() {
    let mut rig = holding();
    rig.pass(H * 20);
    let term = rig.group().term.0;
    rig.reference = Some(reference(term, 7, OTHER));
    rig.answering = vec![B, W];
    let mut out = Vec::new();
    for _ in 0..10 {
        out.extend(rig.pass(H));
        out.extend(rig.hear(B, Beat { digest: OTHER, ..Beat::idle() }));
    }
    assert_eq!((rig.role(), standing(&rig)), (RoleName::Holding, Standing::Quarantined));
    assert_eq!(requests(&out), []);
    assert_eq!(kernel_orders(&out), []);
}

#[test]
fn a_candidacy_ends_with_the_right_to_stand() {
    // Given a candidate whose process sleeps for long,
    let (mut rig, request) = candidate();
    rig.sleep(H * 60);
    // when a late grant is the first that it reads, then it does not win.
    rig.vote(W, &request, Vote::Granted);
    assert_eq!((rig.role(), standing(&rig)), (RoleName::Backup, Standing::Joining));
}

#[test]
fn a_witness_is_ready_whatever_its_configuration_is() {
    let mut rig = Rig::new(with(config(W), |config| config.shared = OTHER));
    rig.reference = Some(reference(SET_IN, 0, OURS));
    rig.give(Input::DeadlineReached);
    rig.beat(A, leading(OURS));
    assert_eq!(standing(&rig), Standing::Ready);
    rig.pass(H * 60);
    assert_eq!(standing(&rig), Standing::Ready);
}
