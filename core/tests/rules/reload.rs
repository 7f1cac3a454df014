//! Reloading (design 3.10): what it may change, and what it refuses.

use std::sync::Arc;

use vipward_core::*;

use crate::fixture::*;
use crate::reading::*;
use crate::scenes::*;

fn reload(config: Config) -> Input {
    Input::Reload(Arc::new(config))
}

#[test]
fn refuses_every_change_of_voters_by_name() {
    type Change = fn(&mut Config);
    let changes: [(&str, Change); 6] = [
        ("one added", |config| {
            let more = NodeConfig { name: "z".into(), witness: true, links: 1 };
            config.nodes.push(more);
        }),
        ("one removed", |config| {
            config.nodes.pop();
        }),
        ("one renamed", |config| config.nodes[1].name = "lb-z".into()),
        ("another role", |config| config.nodes[2].witness = false),
        ("another number of links", |config| config.nodes[1].links = 2),
        ("another self", |config| config.me = B),
    ];
    for (name, change) in changes {
        let new = with(config(A), change);
        let refusals = reload_refusals(&config(A), &new);
        assert_eq!(refusals.len(), 1, "{name}");
        assert!(refusals[0].contains("nodes"), "{name}: {}", refusals[0]);
    }
}

#[test]
fn refuses_a_change_of_groups_and_addresses_by_name() {
    type Change = fn(&mut Config);
    let changes: [Change; 3] = [
        |config| config.groups[0].name = "mail".into(),
        |config| config.groups[0].addresses.push(AddressKind::ElasticIp),
        |config| config.groups.clear(),
    ];
    for change in changes {
        let refusals = reload_refusals(&config(A), &with(config(A), change));
        assert_eq!(refusals.len(), 1);
        assert!(refusals[0].contains("groups"), "{}", refusals[0]);
    }
}

#[test]
fn names_everything_that_it_refuses_at_once() {
    let new = with(config(A), |config| {
        config.nodes.pop();
        config.groups.clear();
    });
    assert_eq!(reload_refusals(&config(A), &new).len(), 2);
}

#[test]
fn accepts_timings_priorities_checks_and_limits() {
    let new = with(config(A), |config| {
        config.timing = timing(millis(500), 4);
        config.groups[0].priorities = vec![Some(priority(10)), Some(priority(20)), None];
        config.groups[0].preempt = true;
        config.shared = Digest([9; 32]);
        config.claim = ClaimMode::Fenced;
        config.moves_per_hour = 1;
        config.repairs = 9;
    });
    assert_eq!(reload_refusals(&config(A), &new), Vec::<String>::new());
}

#[test]
fn a_refused_reload_changes_nothing() {
    let mut rig = master();
    let before = rig.node.clone();
    let new = with(config(A), |config| {
        config.nodes.pop();
        config.timing = timing(millis(500), 2);
    });
    let out = rig.give(reload(new));
    assert_eq!(out, []);
    assert_eq!(rig.node, before);
}

#[test]
fn a_reload_is_told_to_the_peers_at_once() {
    let mut rig = master();
    let new = with(config(A), |config| {
        config.timing = timing(H, 5);
        config.shared = Digest([9; 32]);
        config.groups[0].priorities[0] = Some(priority(30));
    });
    let out = rig.give(reload(new));
    let beat = beats(&out, B).pop().expect("at once");
    assert_eq!(beat.digest, Digest([9; 32]));
    assert_eq!(beat.groups[0].priority, Some(priority(30)));
    assert_eq!(beat.groups[0].mastered.unwrap().lease, H * 5);
    assert_eq!(rig.role(), RoleName::Master, "nothing moves");
    assert_eq!(mutating(&out), []);
}

#[test]
fn a_reload_to_a_longer_interval_does_not_end_the_lease() {
    let mut rig = master();
    rig.give(reload(with(config(A), |config| config.timing = timing(H * 3, 3))));
    rig.pass(H * 60);
    assert_eq!(rig.role(), RoleName::Master);
}

#[test]
fn a_master_whose_priority_is_taken_away_resigns_to_a_ready_node() {
    let unnamed = || with(config(A), |config| config.groups[0].priorities[0] = None);
    let mut rig = master();
    let out = rig.give(reload(unnamed()));
    assert_eq!(rig.role(), RoleName::Holding);
    assert_eq!(take_backs(&out).len(), 2, "by a resignation, as any unfit master");
    // While nobody could take over, it serves on.
    let mut rig = master();
    rig.beat(B, Beat { healthy: false, ..Beat::idle() });
    rig.give(reload(unnamed()));
    assert_eq!(rig.role(), RoleName::Master);
}

#[test]
fn a_witness_that_gets_a_priority_may_stand() {
    let mut rig = witness();
    let new = with(config(W), |config| config.groups[0].priorities[2] = Some(priority(5)));
    rig.give(reload(new));
    assert_eq!(rig.role(), RoleName::Backup);
    stand(&mut rig);
}

#[test]
fn unchanged_checks_keep_their_state() {
    let checked = |fall| {
        with(config(A), |config| {
            let (name, effect) = ("nginx".into(), CheckEffect::Weight(50));
            config.checks.push(CheckConfig { name, rise: 1, fall, effect, groups: Vec::new() });
        })
    };
    let mut rig = master_of(checked(1));
    rig.give(Input::CheckResult { check: CheckId(0), passed: false });
    rig.give(reload(with(checked(1), |config| config.repairs = 9)));
    assert_eq!(rig.node.status(rig.now).checks[0].0, CheckState::Failing);
    // A changed list begins anew, and never indexes beyond itself.
    rig.give(reload(checked(2)));
    assert_eq!(rig.node.status(rig.now).checks[0].0, CheckState::Unknown);
    rig.give(reload(config(A)));
    rig.give(Input::CheckResult { check: CheckId(0), passed: false });
    assert_eq!(rig.node.status(rig.now).checks.len(), 0);
}
