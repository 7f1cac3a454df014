//! Probation: who serves it, who skips it, and what it takes (design section 6).

use vipward_core::*;

use crate::fixture::*;
use crate::handover::switchover;
use crate::network::Net;
use crate::reading::*;
use crate::rejoin::*;
use crate::scenes::*;

#[test]
fn one_back_within_restart_grace_skips_it() {
    for (away, expected) in [
        (Some(millis(15_000)), Standing::Ready),
        (Some(millis(15_001)), Standing::Probation),
        (None, Standing::Probation),
    ] {
        let mut rig = rejoining(config(B), OURS);
        rig.away = away;
        hear_all(&mut rig, OURS);
        assert_eq!(standing(&rig), expected, "{away:?}");
    }
}

#[test]
fn the_shortest_absence_that_is_told_counts_also_when_it_is_told_later() {
    let mut rig = rejoining(config(B), OURS);
    rig.beat(W, Beat::idle());
    assert_eq!(standing(&rig), Standing::Probation);
    rig.away = Some(H);
    let beat = next_beat(&mut rig, A);
    let answer = rig.answering_beat(A, &beat, Renewal::None, None);
    rig.give(answer);
    assert_eq!(standing(&rig), Standing::Ready);
}

#[test]
fn a_peer_tells_how_long_it_had_not_heard_this_node_before() {
    // Given a peer that hears a node for a while, then not for 7 s,
    let mut rig = witness();
    rig.run_to(at(17_000));
    // when a new life of it is heard and answers,
    rig.lives[B.index()] = 2;
    let told = |out: &[Output]| beat_answers(out)[0].away;
    assert_eq!(told(&rig.beat(B, Beat::idle())), None, "not known to be a new life");
    rig.new_life_answers(B, 2, LINK);
    // then it tells that life.
    let away = told(&rig.beat(B, Beat::idle())).expect("known");
    assert!((millis(7_000)..=millis(8_000)).contains(&away), "{away:?}");
    assert_eq!(told(&rig.beat(A, Beat::master(TERM))), None, "never another life");
}

#[test]
fn a_fatal_check_or_the_loss_of_the_majority_starts_it_anew() {
    let config = with(config(B), |config| {
        let (name, effect) = ("nginx".into(), CheckEffect::Fatal);
        config.checks.push(CheckConfig { name, rise: 1, fall: 1, effect, groups: Vec::new() });
    });
    let mut rig = rejoined(config, OURS);
    let hour = rig.now + millis(20_000);
    hear_to(&mut rig, hour, OURS);
    let check = CheckId(0);
    rig.give(Input::CheckResult { check, passed: false });
    rig.give(Input::CheckResult { check, passed: true });
    let well_since = rig.now;
    hear_to(&mut rig, well_since + millis(26_000), OURS);
    // Nobody is heard for a moment.
    rig.pass(LEASE + millis(100));
    assert_eq!(standing(&rig), Standing::Probation);
    hear_all(&mut rig, OURS);
    let well_since = rig.now;
    let out = hear_to(&mut rig, well_since + millis(29_000), OURS);
    eprintln!("{:?}", standings(&out));
    assert_eq!(standing(&rig), Standing::Probation);
    hear_to(&mut rig, well_since + millis(31_000), OURS);
    assert_eq!(standing(&rig), Standing::Ready);
}

#[test]
fn it_stands_behind_every_other_but_it_stands() {
    let mut rig = rejoined(config(B), OURS);
    let heard_at = rig.now;
    let request = stand(&mut rig);
    assert_eq!(request.rank.standing, Standing::Probation);
    let waited = rig.now.since(heard_at);
    assert_eq!(waited, LEASE + millis(1_000) * 255 / 256);
}

#[test]
fn it_neither_preempts_nor_is_handed_anything() {
    // Given a master of the lower priority, and the preferred node back on probation,
    let config = with(config(B), |config| {
        config.groups[0].preempt = true;
        config.groups[0].preempt_delay = H * 4;
    });
    let mut rig = Rig::new(config);
    rig.held = held_by("assoc-a", A);
    rig.beat(W, Beat::idle());
    let request = stand(&mut rig);
    rig.answering = vec![A, W];
    let out = rig.vote(W, &request, Vote::Granted);
    claim(&mut rig, &out);
    let probation = Beat { standing: Standing::Probation, ..Beat::idle() };
    let mut out = Vec::new();
    for _ in 0..30 {
        out.extend(rig.pass(H));
        out.extend(rig.hear(W, Beat::idle()));
        out.extend(rig.hear(A, probation.clone()));
    }
    assert_eq!(commands(&out), []);
    let refused = Err(Refusal::Standing(A, Standing::Probation));
    assert_eq!(outcomes(&rig.give(switchover(Some(A), true))), [refused]);
    // when it is Ready, then preempt_delay counts from there.
    rig.hear(A, Beat::idle());
    let ready_at = rig.now;
    let out = loop {
        let out = rig.pass(millis(100));
        rig.hear(A, Beat::idle());
        if !commands(&out).is_empty() {
            break out;
        }
        assert!(rig.now.since(ready_at) < H * 6, "it never preempts");
    };
    assert!(rig.now.since(ready_at) >= H * 4);
    assert_eq!(commands(&out)[0].0, A);
}

#[test]
fn one_on_probation_refuses_an_offer() {
    let mut rig = rejoined(config(B), OURS);
    let command = PeerCommand::Offer { group: WEB, term: Term(SET_IN), force: true };
    let request = OperatorRequest { send: SendNumber(9_000), command };
    let out = rig.request(A, Request::Operator(request));
    assert_eq!(operator_answers(&out), [Err(Refusal::Standing(B, Standing::Probation))]);
}

#[test]
fn when_all_nodes_restart_together_nobody_serves_it() {
    let mut net = Net::settled();
    for id in [A, B, W] {
        net.kill(id);
    }
    net.run(H * 60);
    for id in [A, B, W] {
        net.start(id);
    }
    net.run(H);
    assert_eq!((net.standing(A), net.standing(B)), (Standing::Ready, Standing::Ready));
    net.run(LEASE * 2);
    assert_eq!(net.masters(), [A]);
    assert_eq!(net.exceptions(), []);
}

#[test]
fn when_one_restarts_alone_after_long_it_does() {
    let mut net = Net::settled();
    net.kill(B);
    net.run(H * 60);
    net.start(B);
    net.run(H * 3);
    assert_eq!(net.standing(B), Standing::Probation);
    net.run(H * 30);
    assert_eq!(net.standing(B), Standing::Ready);
    assert_eq!(net.masters(), [A]);
}

#[test]
fn when_one_restarts_quickly_it_does_not() {
    let mut net = Net::settled();
    net.kill(B);
    net.run(H * 5);
    net.start(B);
    net.run(H * 3);
    assert_eq!(net.standing(B), Standing::Ready);
}

#[test]
fn every_link_is_cut_for_long_and_the_holder_leads_again_in_the_same_round() {
    let mut net = Net::settled();
    for (a, b) in [(A, B), (A, W), (B, W)] {
        net.cut(a, b);
    }
    net.run(H * 60);
    assert_eq!((net.standing(A), net.standing(B)), (Standing::Joining, Standing::Joining));
    net.forget();
    net.heal();
    let healed = net.now;
    net.run(H * 5);
    let (node, elected_at) = net.elected_at().expect("a master");
    assert_eq!(node, A);
    assert!(elected_at.since(healed) <= H + millis(20), "{:?}", elected_at.since(healed));
    assert_eq!((net.standing(A), net.standing(B)), (Standing::Ready, Standing::Probation));
    assert_eq!(net.moves, []);
}
