//! An operator's switchover (contract): at the master, at a backup, and every refusal.

use vipward_core::*;

use crate::fixture::*;
use crate::handover::{offer, switchover};
use crate::network::Net;
use crate::reading::*;
use crate::scenes::*;

/// What a switchover at this node is told at once.
fn told(rig: &mut Rig, to: Option<NodeId>, force: bool) -> Vec<OperatorResult> {
    outcomes(&rig.give(switchover(to, force)))
}

#[test]
fn to_the_master_itself_is_done_already() {
    assert_eq!(told(&mut master(), Some(A), false), [Ok(Done::AlreadyMaster(A))]);
}

#[test]
fn without_a_name_the_best_candidate_is_asked() {
    let mut rig = master_of(three_balancers(A));
    assert_eq!(offer(&rig.give(switchover(None, false))).0, B);
    // The order of candidates: one with a bad preflight is not able at all.
    let mut rig = master_of(three_balancers(A));
    rig.beat(B, Beat { preflight_ok: false, ..Beat::idle() });
    assert_eq!(offer(&rig.give(switchover(None, false))).0, W);
}

#[test]
fn refused_with_the_reason() {
    type Change = fn(&mut Rig);
    let cases: [(&str, Option<NodeId>, bool, Change, Refusal); 12] = [
        ("a witness", Some(W), false, |_| {}, Refusal::NotAMember(W)),
        ("an unknown node", Some(NodeId(9)), false, |_| {}, Refusal::NotAMember(NodeId(9))),
        (
            "joining",
            Some(B),
            false,
            |rig| {
                rig.beat(B, Beat { standing: Standing::Joining, ..Beat::idle() });
            },
            Refusal::Standing(B, Standing::Joining),
        ),
        (
            "on probation",
            Some(B),
            false,
            |rig| {
                rig.beat(B, Beat { standing: Standing::Probation, ..Beat::idle() });
            },
            Refusal::Standing(B, Standing::Probation),
        ),
        (
            "quarantined, by force",
            Some(B),
            true,
            |rig| {
                rig.beat(B, Beat { standing: Standing::Quarantined, ..Beat::idle() });
            },
            Refusal::Standing(B, Standing::Quarantined),
        ),
        (
            "a fatal check, by force",
            Some(B),
            true,
            |rig| {
                rig.beat(B, Beat { healthy: false, ..Beat::idle() });
            },
            Refusal::Unhealthy(B),
        ),
        (
            "another configuration",
            Some(B),
            false,
            |rig| {
                rig.beat(B, Beat { digest: Digest([8; 32]), ..Beat::idle() });
            },
            Refusal::Drift(B),
        ),
        (
            "a bad preflight",
            Some(B),
            false,
            |rig| {
                rig.beat(B, Beat { preflight_ok: false, ..Beat::idle() });
            },
            Refusal::Preflight(B),
        ),
        (
            "silence",
            Some(B),
            false,
            |rig| {
                rig.answering = vec![W];
                rig.pass(LEASE + TICK);
            },
            Refusal::Silent(B),
        ),
        (
            "nobody able",
            None,
            false,
            |rig| {
                rig.beat(B, Beat { healthy: false, ..Beat::idle() });
            },
            Refusal::NoSuccessor,
        ),
        (
            "another under way",
            Some(B),
            false,
            |rig| {
                rig.give(switchover(Some(B), false));
            },
            Refusal::Busy,
        ),
        (
            "stopping",
            Some(B),
            false,
            |rig| {
                rig.give(Input::Stop);
            },
            Refusal::Stopping,
        ),
    ];
    for (name, to, force, change, refusal) in cases {
        let mut rig = master();
        change(&mut rig);
        let out = rig.give(switchover(to, force));
        assert_eq!(outcomes(&out), [Err(refusal)], "{name}");
        assert!(
            events(&out).iter().any(|it| matches!(it.kind, EventKind::HandoverRefused { .. })),
            "{name}: journaled"
        );
        assert_eq!(take_backs(&out), [], "{name}");
        assert!(!refusal.describe(|_| "lb-b".into()).is_empty());
    }
}

#[test]
fn force_overrides_drift_and_preflight() {
    let mut rig = master();
    rig.beat(B, Beat { digest: Digest([8; 32]), preflight_ok: false, ..Beat::idle() });
    let (to, request) = offer(&rig.give(switchover(Some(B), true)));
    assert_eq!(to, B);
    let term = rig.group().term;
    assert_eq!(request.command, PeerCommand::Offer { group: WEB, term, force: true });
    // Also where nobody is named.
    let mut rig = master();
    rig.beat(B, Beat { digest: Digest([8; 32]), ..Beat::idle() });
    assert_eq!(offer(&rig.give(switchover(None, true))).0, B);
}

#[test]
fn at_a_backup_it_is_passed_on_to_the_master() {
    // Given a backup that hears the master,
    let mut rig = backup();
    let out = rig.give(switchover(Some(B), false));
    let (to, request) = offer(&out);
    assert_eq!(to, A);
    let asked = Switchover { group: WEB, to: Some(B), force: false };
    assert_eq!(request.command, PeerCommand::Switchover(asked));
    assert_eq!(outcomes(&out), []);
    // when the master answers, then its word is the outcome.
    let result = Err(Refusal::MovesExhausted);
    let answer = Answer::Operator(OperatorAnswer { send: request.send, result });
    let input = rig.answer_from(A, answer);
    assert_eq!(outcomes(&rig.give(input)), [result]);
}

#[test]
fn at_a_witness_too() {
    let mut rig = witness();
    assert_eq!(offer(&rig.give(switchover(None, false))).0, A);
}

#[test]
fn a_master_that_does_not_answer_a_command_passed_on_is_told_in_the_end() {
    let mut rig = backup();
    rig.give(switchover(Some(B), false));
    let mut out = Vec::new();
    for _ in 0..40 {
        out.extend(rig.pass(H));
        out.extend(rig.beat(A, Beat::master(TERM)));
    }
    assert_eq!(outcomes(&out), [Err(Refusal::NoAnswer(A))]);
}

#[test]
fn without_a_master_there_is_nothing_to_hand_over() {
    let mut rig = Rig::new(config(B));
    assert_eq!(told(&mut rig, Some(A), false), [Err(Refusal::NoMaster)]);
    let mut rig = backup();
    rig.pass(LEASE + TICK);
    rig.beat(W, Beat::idle());
    assert_eq!(told(&mut rig, Some(A), false), [Err(Refusal::NoMaster)], "it is silent");
}

#[test]
fn an_unknown_group_is_refused() {
    let mut rig = master();
    let switchover = Switchover { group: GroupId(7), to: None, force: false };
    let out = rig.give(Input::Switchover { id: OperatorId(1), switchover });
    assert_eq!(outcomes(&out).len(), 1);
    assert!(outcomes(&out)[0].is_err());
}

#[test]
fn a_command_passed_on_to_one_that_leads_no_more_is_refused_not_passed_on_again() {
    let mut rig = backup();
    let switchover = Switchover { group: WEB, to: Some(B), force: false };
    let command = PeerCommand::Switchover(switchover);
    let request = OperatorRequest { send: SendNumber(9_000), command };
    let out = rig.request(W, Request::Operator(request));
    assert_eq!(operator_answers(&out), [Err(Refusal::NotMaster)]);
    assert_eq!(commands(&out), []);
}

#[test]
fn asked_at_the_backup_the_outcome_arrives_there() {
    let mut net = Net::settled();
    net.give(B, switchover(Some(B), false));
    net.run(millis(200));
    assert_eq!(net.told, [Ok(Done::Leads(B))]);
    assert_eq!(net.moves, [B]);
}

#[test]
fn moves_per_hour_refuses_a_switchover_unless_forced() {
    let few = |me| with(config(me), |config| config.moves_per_hour = 2);
    let mut net = Net::new([few(A), few(B), few(W)]);
    net.run(H * 20);
    for to in [B, A] {
        let from = net.masters()[0];
        net.give(from, switchover(Some(to), false));
        net.run(H * 5);
        assert_eq!(net.masters(), [to]);
    }
    net.told.clear();
    net.give(A, switchover(Some(B), false));
    net.run(H * 5);
    assert_eq!(net.told, [Err(Refusal::MovesExhausted)]);
    net.give(A, switchover(Some(B), true));
    net.run(H * 5);
    assert_eq!(net.told[1], Ok(Done::Leads(B)));
}

#[test]
fn beyond_moves_per_hour_only_evidence_of_a_dead_master_moves_it() {
    let few = |me| with(config(me), |config| config.moves_per_hour = 2);
    let mut net = Net::new([few(A), few(B), few(W)]);
    net.run(H * 20);
    for to in [B, A] {
        let from = net.masters()[0];
        net.give(from, switchover(Some(to), false));
        net.run(H * 5);
    }
    net.forget();
    // Silence alone does not, for a long while,
    net.vanish(A);
    net.run(LEASE * 5);
    assert_eq!(net.moves, []);
    net.heal();
    net.run(H * 20);
    assert_eq!(net.masters(), [A]);
    // a killed process does at once.
    net.kill(A);
    net.run(H * 2);
    assert_eq!(net.masters(), [B]);
    assert_eq!(net.moves, [B]);
}

#[test]
fn the_budget_of_moves_is_per_hour() {
    let few = |me| with(config(me), |config| config.moves_per_hour = 2);
    let mut net = Net::new([few(A), few(B), few(W)]);
    net.run(H * 20);
    for to in [B, A] {
        let from = net.masters()[0];
        net.give(from, switchover(Some(to), false));
        net.run(H * 5);
    }
    net.run(std::time::Duration::from_secs(3_600));
    net.told.clear();
    net.give(A, switchover(Some(B), false));
    net.run(H * 5);
    assert_eq!(net.told, [Ok(Done::Leads(B))]);
}

#[test]
fn a_command_passed_on_over_two_links_is_carried_out_once() {
    // Given a master, when a peer's command arrives over two links,
    let mut rig = master();
    let switchover = Switchover { group: WEB, to: Some(B), force: false };
    let command = PeerCommand::Switchover(switchover);
    let request = Request::Operator(OperatorRequest { send: SendNumber(9_000), command });
    let first = rig.request(B, request.clone());
    let (_, offered) = offer(&first);
    let second = rig.request(B, request.clone());
    // then the copy begins nothing and is not refused as another handover;
    assert_eq!(commands(&second), []);
    assert_eq!(operator_answers(&second), []);
    // both are answered alike, and so is one that comes later still.
    let refusal = Err(Refusal::Preflight(B));
    let out = crate::handover::answer_offer(&mut rig, B, offered.send, refusal);
    assert_eq!(operator_answers(&out), [refusal, refusal]);
    assert_eq!(operator_answers(&rig.request(B, request)), [refusal]);
}
