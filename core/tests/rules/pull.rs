//! A quarantined node repairs itself from the master (design section 6).

use std::time::Duration;

use vipward_core::*;

use crate::fixture::*;
use crate::reading::*;
use crate::rejoin::*;
use crate::scenes::*;

fn pulls(out: &[Output]) -> Vec<(NodeId, Digest)> {
    let pulls = out.iter().filter_map(|output| {
        if let Output::Pull { from, digest } = output {
            return Some((*from, *digest));
        }
        None
    });
    pulls.collect()
}

fn pulling() -> Config {
    with(scanned(B), |config| config.repair = Repair::Pull)
}

/// Quarantined, with what it ordered when it became so.
fn quarantined() -> (Rig, Vec<Output>) {
    let mut rig = rejoining(pulling(), OTHER);
    rig.give(found(OURS));
    let out = hear_all(&mut rig, OTHER);
    assert_eq!(standing(&rig), Standing::Quarantined);
    (rig, out)
}

fn failed(what: &str) -> Input {
    Input::PullFinished(PullOutcome::Failed { what: what.into() })
}

#[test]
fn from_the_master_that_has_the_references_one_at_a_time() {
    let (mut rig, out) = quarantined();
    assert_eq!(pulls(&out), [(A, OTHER)]);
    let minute = rig.now + Duration::from_secs(60);
    assert_eq!(pulls(&hear_to(&mut rig, minute, OTHER)), []);
    // When it ends well, then the node is compared again and goes on probation.
    rig.give(found(OTHER));
    assert_eq!(standing(&rig), Standing::Probation);
    let out = rig.give(Input::PullFinished(PullOutcome::Applied));
    let applied = EventKind::PullFinished { from: A, outcome: PullOutcome::Applied };
    assert!(events(&out).iter().any(|event| event.kind == applied));
    assert_eq!(rig.alarms(), []);
}

#[test]
fn only_where_the_file_says_so() {
    let mut rig = rejoining(scanned(B), OTHER);
    rig.give(found(OURS));
    assert_eq!(pulls(&hear_all(&mut rig, OTHER)), []);
}

#[test]
fn not_while_no_master_has_the_references() {
    // Given a master that has another configuration than the reference itself,
    let mut rig = rejoining(pulling(), OTHER);
    rig.give(found(OURS));
    let third = Digest([9; 32]);
    let mut out = rig.beat(W, Beat::idle());
    out.extend(rig.beat(A, leading(third)));
    assert_eq!((standing(&rig), pulls(&out)), (Standing::Quarantined, vec![]));
    // when it has it again, then this node repairs itself.
    assert_eq!(pulls(&rig.beat(A, leading(OTHER))), [(A, OTHER)]);
}

#[test]
fn after_a_failure_the_pauses_grow() {
    let (mut rig, _) = quarantined();
    let mut pauses = Vec::new();
    for _ in 0..12 {
        let out = rig.give(failed("nginx -t: unknown directive"));
        assert_eq!(pulls(&out), []);
        assert_eq!(rig.alarms(), [AlarmName::Quarantined, AlarmName::PullFailed]);
        let failed_at = rig.now;
        while pulls(&rig.pass(millis(500))).is_empty() {
            hear_all(&mut rig, OTHER);
            assert!(rig.now.since(failed_at) < Duration::from_secs(400), "never again");
        }
        pauses.push(rig.now.since(failed_at).as_secs());
    }
    assert_eq!(pauses[..5], [1, 2, 4, 8, 16]);
    assert_eq!(pauses[10..], [300, 300]);
    assert!(reason(&rig).contains("unknown directive"), "{}", reason(&rig));
}

#[test]
fn when_something_changed_it_is_tried_again_soon() {
    let (mut rig, _) = quarantined();
    for _ in 0..6 {
        rig.give(failed("no"));
        let later = rig.now + Duration::from_secs(40);
        hear_to(&mut rig, later, OTHER);
    }
    rig.give(failed("no"));
    rig.give(found(Digest([9; 32])));
    let mut out = rig.pass(millis(900));
    assert_eq!(pulls(&out), []);
    for _ in 0..2 {
        out.extend(hear_all(&mut rig, OTHER));
        out.extend(rig.pass(H));
    }
    assert_eq!(pulls(&out), [(A, OTHER)]);
}

#[test]
fn what_was_applied_and_still_differs_is_a_failure() {
    let (mut rig, _) = quarantined();
    rig.give(found(Digest([9; 32])));
    rig.give(Input::PullFinished(PullOutcome::Applied));
    assert_eq!(rig.alarms(), [AlarmName::Quarantined, AlarmName::PullFailed]);
    assert!(reason(&rig).contains("still differs"), "{}", reason(&rig));
}

#[test]
fn one_that_never_ends_is_given_up() {
    let (mut rig, _) = quarantined();
    let later = rig.now + Duration::from_secs(601);
    let out = hear_to(&mut rig, later, OTHER);
    let gave_up = |event: &vipward_core::Event| {
        matches!(event.kind, EventKind::PullFinished { outcome: PullOutcome::Failed { .. }, .. })
    };
    assert!(events(&out).iter().any(gave_up));
}

#[test]
fn an_end_that_nobody_waits_for_changes_nothing() {
    let mut rig = backup();
    let out = rig.give(failed("what?"));
    assert_eq!((events(&out), rig.alarms()), (vec![], vec![]));
}

#[test]
fn a_comparison_is_asked_for_again_when_it_changes_or_is_not_answered() {
    let compared = |out: &[Output]| {
        out.iter().filter(|output| matches!(output, Output::Compare { with: A })).count()
    };
    let (mut rig, out) = quarantined();
    assert_eq!(compared(&out), 1);
    let later = rig.now + Duration::from_secs(9);
    assert_eq!(compared(&hear_to(&mut rig, later, OTHER)), 0);
    let later = rig.now + Duration::from_secs(2);
    assert_eq!(compared(&hear_to(&mut rig, later, OTHER)), 1, "not answered");
    let differences = Differences { named: vec!["vipward".into()], total: 1 };
    rig.give(Input::Compared { with: A, differences });
    let later = rig.now + Duration::from_secs(60);
    assert_eq!(compared(&hear_to(&mut rig, later, OTHER)), 0);
    let mut out = rig.give(found(Digest([9; 32])));
    let later = rig.now + Duration::from_secs(2);
    out.extend(hear_to(&mut rig, later, OTHER));
    assert_eq!(compared(&out), 1, "changed");
}
