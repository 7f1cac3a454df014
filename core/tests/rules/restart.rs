//! The traps of design 3.9 that take a whole cluster: restarts and cut links.

use vipward_core::*;

use crate::fixture::*;
use crate::network::Net;

#[test]
fn all_nodes_restart_at_once_one_mute_and_one_skew_and_then_a_master() {
    // Given a settled cluster,
    let mut net = Net::settled();
    // when every process is killed and starts again at once,
    for id in [A, B, W] {
        net.kill(id);
    }
    for id in [A, B, W] {
        net.start(id);
    }
    let started = net.now;
    net.run(LEASE * 4);
    // then one mute (a lease) and one skew later there is a master: the holder, with skew zero,
    let (node, elected_at) = net.elected_at().expect("a master");
    assert_eq!(node, A);
    let waited = elected_at.since(started);
    assert!(waited >= LEASE, "{waited:?}");
    assert!(waited <= LEASE + H / 4, "{waited:?}");
    // and the address is not moved without need.
    assert_eq!(net.moves, []);
    assert_eq!(net.holder(), Some(A));
}

#[test]
fn a_brand_new_cluster_elects_the_best_after_one_mute_and_one_skew() {
    let mut net = Net::new([config(A), config(B), config(W)]);
    let started = net.now;
    net.run(LEASE * 4);
    let (node, elected_at) = net.elected_at().expect("a master");
    assert_eq!(node, A);
    assert!(elected_at.since(started) <= LEASE + SKEW_A + H / 4);
    assert_eq!(net.moves, [A], "one call");
}

#[test]
fn only_the_link_between_the_two_balancers_is_cut_nothing_moves() {
    // Given a settled cluster, when only the balancers' link is cut, at any phase of the
    // heartbeats, so that either side notices first,
    for phase in 0..4 {
        let mut net = Net::settled();
        net.run(millis(phase * 250));
        net.forget();
        net.cut(A, B);
        net.run(H * 60);
        // then the master leads on and nothing moves,
        assert_eq!(net.masters(), [A]);
        assert_eq!(net.moves, []);
        let of_a = net.role_changes().into_iter().filter(|change| change.0 == A);
        assert_eq!(of_a.count(), 0);
        // nor does the healing move anything.
        net.heal();
        net.run(H * 20);
        assert_eq!(net.masters(), [A]);
        assert_eq!(net.moves, []);
    }
}

#[test]
fn only_one_way_between_the_two_balancers_is_cut_nothing_moves() {
    for (from, to) in [(A, B), (B, A)] {
        let mut net = Net::settled();
        net.cut_one_way(from, to);
        net.run(H * 60);
        assert_eq!(net.masters(), [A]);
        assert_eq!(net.moves, []);
    }
}

#[test]
fn the_backup_restarts_nothing_moves() {
    restarts_and_nothing_moves(B);
}

#[test]
fn the_witness_restarts_nothing_moves() {
    restarts_and_nothing_moves(W);
}

fn restarts_and_nothing_moves(id: NodeId) {
    let mut net = Net::settled();
    for _ in 0..3 {
        net.kill(id);
        net.run(millis(700));
        net.start(id);
        net.run(H * 5);
    }
    net.run(H * 10);
    assert_eq!(net.masters(), [A]);
    assert_eq!(net.moves, []);
    assert_eq!(net.role_changes(), [], "nobody even stood");
}

#[test]
fn the_backup_is_gone_for_good_nothing_moves() {
    let mut net = Net::settled();
    net.kill(B);
    net.run(H * 60);
    assert_eq!(net.masters(), [A]);
    assert_eq!(net.moves, []);
    assert_eq!(net.role_changes(), []);
}

#[test]
fn the_masters_process_is_killed_and_the_backup_leads_within_milliseconds() {
    let mut net = Net::settled();
    let killed = net.now;
    net.kill(A);
    net.run(H * 2);
    let (node, elected_at) = net.elected_at().expect("a master");
    assert_eq!(node, B);
    assert!(elected_at.since(killed) <= millis(20), "{:?}", elected_at.since(killed));
    assert_eq!(net.moves, [B], "one call");
    assert_eq!(net.holder(), Some(B));
    // The old master returns and moves nothing: no preemption is configured.
    net.start(A);
    net.run(H * 20);
    assert_eq!(net.masters(), [B]);
    assert_eq!(net.moves, [B]);
}

#[test]
fn a_killed_master_that_is_back_before_anybody_noticed_is_replaced_or_leads_again() {
    let mut net = Net::settled();
    net.kill(A);
    net.start(A);
    net.run(H * 20);
    assert_eq!(net.masters().len(), 1);
    assert!(net.moves.len() <= 1, "{:?}", net.moves);
    assert_eq!(net.holder(), Some(net.masters()[0]));
}

#[test]
fn the_masters_machine_vanishes_and_the_full_interval_is_waited_for() {
    let mut net = Net::settled();
    let gone = net.now;
    net.vanish(A);
    net.run(LEASE + H * 3);
    let (node, elected_at) = net.elected_at().expect("a master");
    assert_eq!(node, B);
    let waited = elected_at.since(gone);
    // From its last heartbeat on: at most one H before the cut.
    assert!(waited >= LEASE + SKEW_B - H, "{waited:?}");
    assert!(waited <= LEASE + SKEW_B + H / 8 + millis(20), "{waited:?}");
    assert_eq!(net.moves, [B]);
}

#[test]
fn the_master_is_cut_off_holds_and_comes_back_as_a_backup() {
    let mut net = Net::settled();
    net.vanish(A);
    net.run(LEASE - millis(1));
    assert_eq!(net.status(A).unwrap().role, RoleName::Holding);
    net.run(H * 20);
    assert_eq!(net.masters(), [B]);
    net.heal();
    net.run(H * 20);
    assert_eq!(net.masters(), [B]);
    assert_eq!(net.status(A).unwrap().role, RoleName::Backup);
    assert_eq!(net.moves, [B]);
}

#[test]
fn every_link_is_cut_and_the_master_leads_again_when_they_heal() {
    let mut net = Net::settled();
    for (a, b) in [(A, B), (A, W), (B, W)] {
        net.cut(a, b);
    }
    net.run(H * 20);
    assert_eq!(net.masters(), []);
    assert_eq!(net.status(A).unwrap().role, RoleName::Holding);
    assert_eq!(net.moves, [], "a working address is not dropped");
    let healed = net.now;
    net.heal();
    net.run(H * 20);
    assert_eq!(net.masters(), [A]);
    assert_eq!(net.moves, []);
    let (_, elected_at) = net.elected_at().expect("a master");
    assert!(elected_at.since(healed) <= H * 3, "{:?}", elected_at.since(healed));
}

#[test]
fn terms_never_go_back_through_restarts() {
    let mut net = Net::settled();
    let mut last = net.term(A).unwrap();
    for _ in 0..4 {
        for id in [A, B, W] {
            net.kill(id);
            net.start(id);
        }
        net.run(H * 10);
        let term = net.term(W).unwrap();
        assert!(term > last, "{term:?} after {last:?}");
        last = term;
    }
}

#[test]
fn at_a_start_the_first_read_of_the_cloud_is_waited_for_but_not_for_ever() {
    // Given the preferred node after a restart of all, whose first read of the cloud takes long,
    let mut rig = Rig::new(config(A));
    rig.reads = false;
    rig.beat(B, Beat::idle());
    rig.beat(W, Beat::idle());
    // when its mute and its skew are over, then it does not stand yet: another may hold the address,
    let quiet = |rig: &mut Rig, until: Timestamp| {
        while rig.now < until {
            rig.pass(H / 2);
            rig.beat(B, Beat::idle());
            rig.beat(W, Beat::idle());
        }
    };
    quiet(&mut rig, at(0) + LEASE + H);
    assert_eq!(rig.role(), RoleName::Backup);
    // and when the read does not come, it stands all the same.
    quiet(&mut rig, at(0) + LEASE + H * 3);
    assert_eq!(rig.role(), RoleName::Candidate);
}
