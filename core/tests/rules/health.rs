//! Checks (design 7): rise, fall, weight, fatal, and what they do to a master.

use vipward_core::*;

use crate::fixture::*;
use crate::reading::*;
use crate::scenes::*;

const CHECK: CheckId = CheckId(0);

fn checked(me: NodeId, effect: CheckEffect, rise: u32, fall: u32) -> Config {
    with(config(me), |config| {
        let name = "nginx".into();
        config.checks.push(CheckConfig { name, rise, fall, effect, groups: Vec::new() });
    })
}

fn result(passed: bool) -> Input {
    Input::CheckResult { check: CHECK, passed }
}

fn state(rig: &Rig) -> CheckState {
    rig.node.status(rig.now).checks[0].0
}

fn effective(rig: &Rig) -> u8 {
    rig.group().effective_priority.unwrap().into()
}

#[test]
fn falls_after_so_many_failures_in_a_row_and_rises_after_so_many_passes() {
    let mut rig = Rig::new(checked(A, CheckEffect::Weight(50), 2, 3));
    assert_eq!(state(&rig), CheckState::Unknown);
    rig.give(result(true));
    assert_eq!(state(&rig), CheckState::Passing, "a healthy node need not wait to be so");
    // Two failures, a pass, two failures: never three in a row.
    for passed in [false, false, true, false, false] {
        rig.give(result(passed));
        assert_eq!(state(&rig), CheckState::Passing);
    }
    let out = rig.give(result(false));
    assert_eq!(state(&rig), CheckState::Failing);
    let kind = EventKind::CheckChanged { check: CHECK, state: CheckState::Failing };
    assert!(events(&out).iter().any(|event| event.kind == kind));
    for passed in [true, false, true] {
        rig.give(result(passed));
        assert_eq!(state(&rig), CheckState::Failing);
    }
    rig.give(result(true));
    assert_eq!(state(&rig), CheckState::Passing);
}

#[test]
fn a_check_that_never_passed_fails_after_fall_as_well() {
    let mut rig = Rig::new(checked(A, CheckEffect::Weight(50), 2, 3));
    for _ in 0..2 {
        rig.give(result(false));
        assert_eq!(state(&rig), CheckState::Unknown);
        assert_eq!(effective(&rig), 200);
    }
    rig.give(result(false));
    assert_eq!(state(&rig), CheckState::Failing);
    assert_eq!(effective(&rig), 150);
}

#[test]
fn weight_lowers_the_effective_priority_never_below_one() {
    for (weight, expected) in [(50, 150), (199, 1), (200, 1), (100_000, 1)] {
        let mut rig = Rig::new(checked(A, CheckEffect::Weight(weight), 1, 1));
        let out = rig.give(result(false));
        assert_eq!(effective(&rig), expected);
        // Peers are told at once.
        let beat = beats(&out, W).pop().expect("at once");
        assert_eq!(beat.groups[0].priority, Some(priority(expected)));
        assert!(beat.groups[0].healthy);
        rig.give(result(true));
        assert_eq!(effective(&rig), 200);
    }
}

#[test]
fn weights_add_up() {
    let config = with(checked(A, CheckEffect::Weight(50), 1, 1), |config| {
        let second = CheckConfig { name: "disk".into(), ..config.checks[0].clone() };
        config.checks.push(second);
    });
    let mut rig = Rig::new(config);
    rig.give(result(false));
    rig.give(Input::CheckResult { check: CheckId(1), passed: false });
    assert_eq!(effective(&rig), 100);
}

#[test]
fn a_check_concerns_its_groups_only() {
    let config = with(checked(A, CheckEffect::Weight(50), 1, 1), |config| {
        let mut second = config.groups[0].clone();
        second.name = "mail".into();
        config.groups.push(second);
        config.checks[0].groups = vec![GroupId(1)];
    });
    let mut rig = Rig::new(config);
    rig.give(result(false));
    let groups = rig.node.status(rig.now).groups;
    assert_eq!(groups[0].effective_priority, Some(priority(200)));
    assert_eq!(groups[1].effective_priority, Some(priority(150)));
}

#[test]
fn a_weight_alone_moves_nothing_without_preempt() {
    let mut rig = master_of(checked(A, CheckEffect::Weight(150), 1, 1));
    let mut out = rig.give(result(false));
    assert_eq!(effective(&rig), 50, "less than lb-b's 100");
    for _ in 0..200 {
        out.extend(rig.pass(H));
        beat_all(&mut rig);
    }
    assert_eq!(rig.role(), RoleName::Master);
    assert_eq!(take_backs(&out), []);
}

#[test]
fn a_weight_moves_with_preempt_after_its_delay() {
    let config = with(checked(A, CheckEffect::Weight(150), 1, 1), |config| {
        config.groups[0].preempt = true;
    });
    let mut rig = master_of(config);
    let mut out = rig.give(result(false));
    let failed_at = rig.now;
    while commands(&out).is_empty() {
        let next = rig.node.next_deadline().min(rig.now + H);
        out = rig.run_to(next);
        rig.beat(B, Beat::idle());
        assert!(rig.now.since(failed_at) < H * 70);
    }
    assert!(rig.now.since(failed_at) >= H * 60, "{:?}", rig.now.since(failed_at));
    assert_eq!(crate::handover::offer(&out).0, B);
}

#[test]
fn a_fatal_check_makes_a_master_resign_if_a_better_node_is_ready() {
    let mut rig = master_of(checked(A, CheckEffect::Fatal, 1, 1));
    let term = rig.group().term;
    let out = rig.give(result(false));
    assert_eq!(rig.role(), RoleName::Holding);
    let kind = TakeBackKind::Resign { successor: None, cause: Cause::CheckFailed };
    assert_eq!(take_backs(&out)[0].1, [TakeBack { group: WEB, term, kind }]);
    assert_eq!(role_changes(&out).len(), 1, "no detour: {:?}", role_changes(&out));
    // It stands no more while the check fails.
    let out = rig.pass(H * 20);
    assert_eq!(requests(&out), []);
}

#[test]
fn a_fatal_check_does_not_make_it_resign_to_a_peer_that_is_no_better() {
    type Change = fn(&mut Rig);
    let cases: [(&str, Change); 5] = [
        ("its own fatal check fails", |rig| {
            rig.beat(B, Beat { healthy: false, ..Beat::idle() });
        }),
        ("it is not Ready", |rig| {
            rig.beat(B, Beat { standing: Standing::Probation, ..Beat::idle() });
        }),
        ("its configuration differs", |rig| {
            rig.beat(B, Beat { digest: Digest([8; 32]), ..Beat::idle() });
        }),
        ("its preflight fails", |rig| {
            rig.beat(B, Beat { preflight_ok: false, ..Beat::idle() });
        }),
        ("it is silent", |rig| {
            rig.answering = vec![W];
            rig.pass(LEASE + TICK);
        }),
    ];
    for (name, change) in cases {
        let mut rig = master_of(checked(A, CheckEffect::Fatal, 1, 1));
        change(&mut rig);
        let out = rig.give(result(false));
        assert_eq!(rig.role(), RoleName::Master, "{name}");
        assert_eq!(take_backs(&out), [], "{name}");
        // When it becomes better later, the master resigns then.
        rig.answering = vec![B, W];
        rig.beat(B, Beat::idle());
        rig.pass(H);
        assert_eq!(rig.role(), RoleName::Holding, "{name}");
    }
}

#[test]
fn a_node_whose_fatal_check_fails_does_not_stand() {
    let mut rig = backup_of(checked(B, CheckEffect::Fatal, 1, 1));
    rig.give(result(false));
    let mut out = Vec::new();
    for _ in 0..20 {
        out.extend(rig.pass(H));
        out.extend(rig.beat(W, Beat::idle()));
    }
    assert_eq!(requests(&out), []);
    // When it recovers, it does.
    rig.give(result(true));
    stand(&mut rig);
}

#[test]
fn the_preflight_is_told_and_alarmed_and_its_recovery_too() {
    let mut rig = backup();
    let problems = vec!["AssociateAddress is not permitted; add it to the role".into()];
    let out = rig.give(Input::Preflight { problems });
    assert_eq!(rig.alarms(), [AlarmName::Preflight]);
    assert!(!beats(&out, A)[0].preflight_ok, "peers judge by it: told at once");
    assert_eq!(rig.node.status(rig.now).standing, Standing::Ready, "it stays Ready");
    let out = rig.give(Input::Preflight { problems: Vec::new() });
    assert_eq!(rig.alarms(), []);
    assert!(beats(&out, A)[0].preflight_ok);
}

#[test]
fn an_unknown_check_is_ignored() {
    let mut rig = backup();
    let out = rig.give(Input::CheckResult { check: CheckId(200), passed: false });
    assert_eq!(out, []);
}
