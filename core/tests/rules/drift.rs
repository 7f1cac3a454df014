//! A configuration that changes in service: shown and alarmed, and nobody is quarantined for it
//! (design section 6).

use vipward_core::*;

use crate::fixture::*;
use crate::network::Net;
use crate::reading::*;
use crate::rejoin::*;
use crate::scenes::*;

fn drifts(out: &[Output]) -> Vec<(NodeId, bool)> {
    let drifts = events(out).into_iter().filter_map(|event| {
        if let EventKind::ConfigDrift { peer, equal } = event.kind {
            return Some((peer, equal));
        }
        None
    });
    drifts.collect()
}

#[test]
fn a_peers_is_journaled_at_once_and_alarmed_when_it_lasts() {
    let mut rig = master();
    let other = Beat { digest: OTHER, ..Beat::idle() };
    assert_eq!(drifts(&rig.beat(B, other.clone())), [(B, false)]);
    let since = rig.now;
    let shown = rig.node.status(rig.now).peers.remove(0);
    assert_eq!((shown.consistent, shown.drift_since), (Some(false), Some(since)));
    assert_eq!(rig.alarms(), []);
    for _ in 0..5 {
        rig.pass(H);
        rig.beat(B, other.clone());
    }
    assert_eq!(rig.alarms(), [AlarmName::ConfigDrift(B)]);
    assert_eq!(drifts(&rig.beat(B, Beat::idle())), [(B, true)]);
    assert_eq!(rig.alarms(), []);
    assert_eq!(rig.node.status(rig.now).peers[0].drift_since, None);
}

#[test]
fn the_own_is_shown_too_and_takes_no_standing_away() {
    let mut rig = drifted(config(B));
    let since = rig.now;
    assert_eq!(rig.node.status(since).drift_since, Some(since));
    hear_master_to(&mut rig, since + H * 6);
    assert_eq!(rig.alarms(), [AlarmName::ConfigDrift(B)]);
    assert_eq!(standing(&rig), Standing::Ready);
    assert!(reason(&rig).contains("not the reference's"), "{}", reason(&rig));
    reload(&mut rig, OURS);
    assert_eq!((rig.alarms(), reason(&rig).as_str()), (vec![], ""));
}

#[test]
fn all_are_changed_at_once_and_nobody_complains() {
    for order in [[A, B, W], [W, B, A], [B, A, W]] {
        let mut net = Net::settled();
        for id in order {
            net.reload(id, OTHER);
            net.run(millis(900));
        }
        net.run(H * 10);
        assert_eq!(net.masters(), [A]);
        assert_eq!(net.moves, []);
        let wrong = |event: &vipward_core::Event| {
            matches!(event.kind, EventKind::AlarmRaised { .. } | EventKind::StandingChanged { .. })
        };
        assert!(!net.journal.iter().any(|(_, _, event)| wrong(event)), "{order:?}");
        assert_eq!(net.whole(B).reference.map(|it| it.digest), Some(OTHER));
        assert!(net.whole(W).peers.iter().all(|peer| peer.consistent == Some(true)));
    }
}

#[test]
fn a_witness_is_compared_by_vipwards_own_part() {
    // Given balancers whose files are compared, and a witness that has none,
    let mut rig = rejoining(scanned(B), OTHER);
    rig.away = Some(H);
    rig.give(found(OTHER));
    hear_all(&mut rig, OTHER);
    let of = |rig: &Rig, node: NodeId| {
        let status = rig.node.status(rig.now);
        status.peers.iter().find(|peer| peer.node == node).unwrap().consistent
    };
    assert_eq!((of(&rig, A), of(&rig, W)), (Some(true), Some(true)));
    rig.beat(W, Beat { shared: Digest([9; 32]), digest: Digest([9; 32]), ..Beat::idle() });
    assert_eq!((of(&rig, A), of(&rig, W)), (Some(true), Some(false)));
}

#[test]
fn one_that_joins_is_not_judged_and_a_quarantined_one_is() {
    let mut rig = master();
    rig.beat(B, Beat { digest: OTHER, standing: Standing::Joining, ..Beat::idle() });
    assert_eq!(rig.node.status(rig.now).peers[0].consistent, None);
    let quarantined = Beat { digest: OTHER, standing: Standing::Quarantined, ..Beat::idle() };
    for _ in 0..7 {
        rig.beat(B, quarantined.clone());
        rig.pass(H);
    }
    assert_eq!(rig.alarms(), [AlarmName::ConfigDrift(B)]);
    // One that was taken out is an operator's business.
    rig.beat(B, Beat { digest: OTHER, standing: Standing::Maintenance, ..Beat::idle() });
    assert_eq!(rig.alarms(), []);
}

#[test]
fn what_cannot_be_read_is_alarmed() {
    let mut rig = rejoining(scanned(B), OURS);
    let problem = |text: &str| {
        let problems = vec![text.into()];
        Input::Manifest(Inventory { digest: OURS, unapplied: Vec::new(), problems })
    };
    let said = |rig: &Rig| rig.node.status(rig.now).alarms[0].2.to_string();
    rig.give(problem("cannot read /etc/nginx/a"));
    assert_eq!(rig.alarms(), [AlarmName::ConfigUnreadable]);
    rig.give(problem("cannot read /etc/nginx/b"));
    assert!(said(&rig).contains("/etc/nginx/b"));
    rig.give(found(OURS));
    assert_eq!(rig.alarms(), []);
}
