//! A start without any master, when configurations are not the reference's (design section 6).

use vipward_core::*;

use crate::fixture::*;
use crate::network::Net;
use crate::rejoin::*;

const THIRD: Digest = Digest([9; 32]);

fn reference_of(net: &Net, id: NodeId) -> Digest {
    net.whole(id).reference.expect("a reference").digest
}

/// Compared, and never repaired: that is not configured.
fn compared(net: &Net) -> Vec<NodeId> {
    net.ordered
        .iter()
        .map(|(node, output)| {
            assert!(matches!(output, Output::Compare { .. }), "{output:?}");
            *node
        })
        .collect()
}

#[test]
fn all_balancers_restart_with_the_same_new_configuration() {
    for witness_too in [true, false] {
        let mut net = Net::settled();
        let all = if witness_too { vec![A, B, W] } else { vec![A, B] };
        for id in &all {
            net.kill(*id);
            net.reconfigure(*id, OTHER);
        }
        all.iter().for_each(|id| net.start(*id));
        net.run(LEASE * 3);
        // Their configuration becomes the reference, without a needless move or alarm.
        assert_eq!(net.masters(), [A]);
        assert_eq!(net.moves, []);
        assert_eq!((net.standing(A), net.standing(B)), (Standing::Ready, Standing::Ready));
        assert_eq!(reference_of(&net, B), OTHER);
        assert!(net.exceptions().iter().all(|it| *it == Exception::ColdStart));
        assert!(!net.exceptions().is_empty());
        net.reload(W, OTHER);
        net.run(H);
        assert_eq!((net.alarms(A), net.alarms(B)), (vec![], vec![]));
    }
}

#[test]
fn one_waits_a_moment_for_the_other_before_it_complains() {
    let mut net = Net::settled();
    for id in [A, B] {
        net.kill(id);
        net.reconfigure(id, OTHER);
    }
    net.run(H * 30);
    net.start(A);
    net.run(H * 3);
    assert_eq!(net.standing(A), Standing::Joining);
    net.start(B);
    net.run(LEASE * 3);
    assert_eq!(net.masters(), [A]);
    let quarantined = |event: &vipward_core::Event| {
        matches!(event.kind, EventKind::StandingChanged { to: Standing::Quarantined, .. })
    };
    assert!(!net.journal.iter().any(|(_, _, event)| quarantined(event)));
}

#[test]
fn all_have_different_configurations_and_nobody_leads_until_an_operator_decides() {
    // Given that both balancers come back with other configurations than the reference,
    let mut net = Net::settled();
    for (id, digest) in [(A, OTHER), (B, THIRD)] {
        net.kill(id);
        net.reconfigure(id, digest);
    }
    net.run(H);
    net.start(A);
    net.start(B);
    net.forget();
    net.run(H * 30);
    // then nobody leads, the address stays where it is, and everybody says so;
    assert_eq!(net.masters(), []);
    assert_eq!((net.standing(A), net.standing(B)), (Standing::Quarantined, Standing::Quarantined));
    assert_eq!((net.holder(), net.moves.len()), (Some(A), 0));
    for id in [A, B, W] {
        assert!(net.alarms(id).contains(&AlarmName::NoCandidate(WEB)), "{id:?}");
    }
    // each is compared with the other, so that the alarm can name entries.
    assert!(compared(&net).contains(&A) && compared(&net).contains(&B));
    // When an operator admits one, at any node,
    net.give(W, Input::Admit { id: OperatorId(1), node: B });
    net.run(LEASE * 3);
    // then that one leads, and its configuration is the reference.
    assert_eq!(net.told, [Ok(Done::Admitted(B))]);
    assert_eq!(net.masters(), [B]);
    assert!(net.exceptions().iter().all(|it| *it == Exception::Admitted));
    assert_eq!(reference_of(&net, A), THIRD);
    assert_eq!(net.standing(A), Standing::Quarantined);
    assert!(!net.alarms(W).contains(&AlarmName::NoCandidate(WEB)));
}

#[test]
fn one_alone_with_another_configuration_does_not_lead_and_the_other_decides() {
    let mut net = Net::settled();
    net.kill(A);
    net.kill(B);
    net.reconfigure(B, OTHER);
    net.start(B);
    net.run(H * 30);
    assert_eq!((net.masters(), net.standing(B)), (vec![], Standing::Quarantined));
    // When the other returns with the reference's, then that one leads.
    let mut equal = net;
    equal.start(A);
    equal.run(LEASE * 3);
    assert_eq!((equal.masters(), equal.standing(B)), (vec![A], Standing::Quarantined));
}

#[test]
fn one_alone_leads_when_the_other_returns_with_the_same() {
    let mut net = Net::settled();
    net.kill(A);
    net.kill(B);
    net.reconfigure(A, OTHER);
    net.reconfigure(B, OTHER);
    net.start(B);
    net.run(H * 30);
    assert_eq!(net.standing(B), Standing::Quarantined);
    net.start(A);
    net.run(LEASE * 4);
    assert_eq!(net.masters().len(), 1);
    assert_eq!(net.standing(B), Standing::Probation);
    assert_eq!(reference_of(&net, W), OTHER);
}

#[test]
fn one_comes_back_with_the_references_and_leads_at_once() {
    let mut net = Net::settled();
    net.restart_with(A, OTHER);
    net.restart_with(B, OURS);
    net.run(LEASE * 4);
    assert_eq!(net.masters(), [B]);
    assert_eq!((net.standing(A), net.standing(B)), (Standing::Quarantined, Standing::Ready));
    assert_eq!(net.exceptions(), []);
}

#[test]
fn another_groups_master_with_the_same_new_configuration_keeps_nobody_out() {
    // Given that only A can lead the first group, whose master's configuration is the reference,
    // and that C leads another one,
    let of = |me| {
        with(three_balancers(me), |config| {
            config.groups[0].priorities = vec![Some(priority(200)), None, None];
            let mut api = config.groups[0].clone();
            api.name = "api".into();
            api.addresses.clear();
            api.priorities = vec![None, Some(priority(100)), Some(priority(200))];
            config.groups.push(api);
        })
    };
    let mut net = Net::new([of(A), of(B), of(W)]);
    net.run(H * 20);
    assert_eq!(net.masters(), [A]);
    // when A is away, all change, and A comes back with the same,
    net.kill(A);
    net.reload(B, OTHER);
    net.reload(W, OTHER);
    net.reconfigure(A, OTHER);
    net.run(H * 40);
    net.start(A);
    net.run(H * 60);
    // then it leads, and what all have is the reference.
    assert_eq!(net.masters(), [A]);
    assert_eq!(reference_of(&net, B), OTHER);
    assert_eq!(net.standing(A), Standing::Ready);
}
