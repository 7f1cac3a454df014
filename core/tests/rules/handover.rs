//! Planned handover (design 3.7), between real nodes and step by step; preemption.

use std::time::Duration;

use vipward_core::*;

use crate::fixture::*;
use crate::network::Net;
use crate::reading::*;
use crate::scenes::*;

pub(crate) fn switchover(to: Option<NodeId>, force: bool) -> Input {
    Input::Switchover { id: OperatorId(1), switchover: Switchover { group: WEB, to, force } }
}

/// The offer in `out`, and to whom it goes.
pub(crate) fn offer(out: &[Output]) -> (NodeId, OperatorRequest) {
    let mut offers = commands(out);
    assert_eq!(offers.len(), 1, "one offer expected");
    offers.remove(0)
}

pub(crate) fn answer_offer(
    rig: &mut Rig,
    from: NodeId,
    send: SendNumber,
    result: OperatorResult,
) -> Vec<Output> {
    let input = rig.answer_from(from, Answer::Operator(OperatorAnswer { send, result }));
    rig.give(input)
}

/// A master that has just resigned in favour of lb-b by a switchover.
fn handing_over() -> (Rig, Vec<Output>) {
    let mut rig = master();
    let (_, request) = offer(&rig.give(switchover(Some(B), false)));
    let out = answer_offer(&mut rig, B, request.send, Ok(Done::Accepted));
    (rig, out)
}

#[test]
fn the_master_asks_its_successor_then_resigns_in_its_favour() {
    // Given a settled master, when an operator asks for a switchover,
    let mut rig = master();
    let term = rig.group().term;
    let out = rig.give(switchover(Some(B), false));
    // then the successor is asked first, and nothing is given up yet;
    let (to, request) = offer(&out);
    assert_eq!(to, B);
    assert_eq!(request.command, PeerCommand::Offer { group: WEB, term, force: false });
    assert_eq!(rig.role(), RoleName::Master);
    // when it accepts, the master resigns in its favour, and serves on as Holding.
    let out = answer_offer(&mut rig, B, request.send, Ok(Done::Accepted));
    assert_eq!(rig.role(), RoleName::Holding);
    let kind = TakeBackKind::Resign { successor: Some(B), cause: Cause::Switchover };
    let resigned = TakeBack { group: WEB, term, kind };
    assert_eq!(take_backs(&out), [(B, vec![resigned]), (W, vec![resigned])]);
    assert_eq!(mutating(&out), []);
    assert_eq!(outcomes(&out), [], "the operator waits for the outcome");
}

#[test]
fn a_resignation_is_repeated_in_each_heartbeat_until_answered() {
    let mut rig = master();
    let (_, request) = offer(&rig.give(switchover(Some(B), false)));
    rig.answering.clear();
    answer_offer(&mut rig, B, request.send, Ok(Done::Accepted));
    for _ in 0..3 {
        let beat = next_beat(&mut rig, W);
        assert!(matches!(beat.take_backs[0].kind, TakeBackKind::Resign { .. }));
    }
}

#[test]
fn the_operator_is_told_when_the_successor_leads_and_holds_the_addresses() {
    let (mut rig, _) = handing_over();
    // The successor leads,
    rig.pass(millis(5));
    assert_eq!(outcomes(&rig.beat(B, Beat::master(900))), []);
    assert_eq!(rig.role(), RoleName::Backup);
    // and holds the address.
    let out = rig.beat(B, Beat { holds: true, ..Beat::master(900) });
    assert_eq!(outcomes(&out), [Ok(Done::Leads(B))]);
}

#[test]
fn another_elected_than_the_successor_is_told() {
    let mut rig = master_of(three_balancers(A));
    let (_, request) = offer(&rig.give(switchover(Some(B), false)));
    answer_offer(&mut rig, B, request.send, Ok(Done::Accepted));
    let out = rig.beat(W, Beat::master(900));
    assert_eq!(outcomes(&out), [Err(Refusal::OtherElected(B))]);
}

#[test]
fn a_successor_that_leads_without_the_addresses_is_told_in_the_end() {
    let (mut rig, _) = handing_over();
    let mut out = Vec::new();
    for _ in 0..200 {
        out.extend(rig.pass(millis(200)));
        out.extend(rig.beat(B, Beat::master(900)));
    }
    assert_eq!(outcomes(&out), [Err(Refusal::NotClaimed(B))]);
}

#[test]
fn a_successor_that_led_and_lost_it_again_is_told_as_rolled_back() {
    // Given a successor that led for a moment and died before it had the addresses,
    let (mut rig, _) = handing_over();
    let mut out = rig.beat(B, Beat::master(900));
    assert_eq!(rig.role(), RoleName::Backup);
    // when the old master is elected again,
    let request = stand(&mut rig);
    out.extend(rig.vote(W, &request, Vote::Granted));
    assert_eq!(rig.role(), RoleName::Master);
    out.extend(rig.pass(millis(10)));
    // then the operator hears that, and not that the other one leads.
    assert_eq!(outcomes(&out), [Err(Refusal::RolledBack(B))]);
}

#[test]
fn the_masters_calls_are_finished_first() {
    // Given a master with a call under way,
    let (mut rig, out) = elected();
    let call = mutation(&out);
    beat_all(&mut rig);
    let out = rig.give(switchover(Some(B), false));
    // then the successor is not asked yet,
    assert_eq!(commands(&out), []);
    // but when the call has ended.
    rig.held = held_by("assoc-mine", A);
    let out = rig.finish(&call, associated("assoc-mine"));
    assert_eq!(offer(&out).0, B);
}

#[test]
fn calls_that_do_not_end_refuse_the_handover_after_call_timeout() {
    let (mut rig, _) = elected();
    beat_all(&mut rig);
    let mut out = rig.give(switchover(Some(B), false));
    let asked_at = rig.now;
    while outcomes(&out).is_empty() {
        out = rig.pass(millis(100));
        assert!(rig.now.since(asked_at) <= Duration::from_secs(6));
    }
    assert_eq!(outcomes(&out), [Err(Refusal::CallsPending)]);
    assert!(rig.now.since(asked_at) >= Duration::from_secs(5));
    assert_eq!(rig.role(), RoleName::Master);
}

#[test]
fn no_call_starts_while_the_master_is_about_to_resign() {
    let mut rig = master();
    rig.give(switchover(Some(B), false));
    rig.held = held_by("assoc-x", W);
    let out = rig.give(Input::OwnershipHint { group: WEB });
    assert_eq!(mutating(&out), []);
}

#[test]
fn a_successor_that_says_no_leaves_the_master_in_place() {
    let mut rig = master();
    let (_, request) = offer(&rig.give(switchover(Some(B), false)));
    let refusal = Refusal::Preflight(B);
    let out = answer_offer(&mut rig, B, request.send, Err(refusal));
    assert_eq!(outcomes(&out), [Err(refusal)]);
    assert_eq!(rig.role(), RoleName::Master);
    assert!(
        events(&out)
            .iter()
            .any(|event| { matches!(&event.kind, EventKind::HandoverRefused { .. }) })
    );
    assert_eq!(take_backs(&out), []);
}

#[test]
fn a_successor_that_does_not_answer_leaves_the_master_in_place() {
    let mut rig = master();
    rig.give(switchover(Some(B), false));
    let out = rig.pass(H * 3);
    assert_eq!(outcomes(&out), [Err(Refusal::NoAnswer(B))]);
    assert_eq!(rig.role(), RoleName::Master);
}

#[test]
fn only_the_answer_of_the_successor_to_that_very_offer_counts() {
    let mut rig = master();
    let (_, request) = offer(&rig.give(switchover(Some(B), false)));
    answer_offer(&mut rig, W, request.send, Ok(Done::Accepted));
    answer_offer(&mut rig, B, SendNumber(request.send.0 - 1), Ok(Done::Accepted));
    assert_eq!(rig.role(), RoleName::Master);
}

#[test]
fn a_resigned_master_whose_successor_fails_stands_after_one_lease_and_is_rolled_back() {
    // Given a master that resigned, whose successor never stands,
    let (mut rig, _) = handing_over();
    let resigned_at = rig.now;
    // then it stands with skew zero after one lease, and no earlier;
    let mut out = rig.run_to(resigned_at + LEASE - TICK);
    assert_eq!(requests(&out), []);
    out = rig.run_to(resigned_at + LEASE);
    let request = candidacy(&out);
    // elected again, the operator is told, and no address was moved.
    let out = rig.vote(W, &request, Vote::Granted);
    assert_eq!(outcomes(&out), [Err(Refusal::NotElected(B))]);
    assert_eq!(rig.role(), RoleName::Master);
    assert_eq!(mutating(&out), []);
}

#[test]
fn a_resigned_master_reserves_its_own_vote_as_well() {
    // Given a resignation in favour of lb-b, when lb-c asks the one that resigned,
    let mut rig = master_of(three_balancers(A));
    let (_, request) = offer(&rig.give(switchover(Some(B), false)));
    answer_offer(&mut rig, B, request.send, Ok(Done::Accepted));
    // then its vote is reserved; lb-b has it at once.
    assert_eq!(denial(&rig.ask(W, 900)).reason, DenialReason::Reserved(B));
    assert_eq!(votes(&rig.ask(B, 901)), [Vote::Granted]);
}

#[test]
fn the_successors_side_accepts_or_says_why_not() {
    let offer = |rig: &mut Rig, from, term, force| {
        let command = PeerCommand::Offer { group: WEB, term: Term(term), force };
        let request = OperatorRequest { send: SendNumber(9_000), command };
        let answers = operator_answers(&rig.request(from, Request::Operator(request)));
        assert_eq!(answers.len(), 1);
        answers[0]
    };
    assert_eq!(offer(&mut backup(), A, TERM, false), Ok(Done::Accepted));
    assert_eq!(offer(&mut backup(), A, TERM - 1, false), Err(Refusal::NotMaster), "of the past");
    assert_eq!(offer(&mut backup(), W, TERM, false), Err(Refusal::NotMaster), "not the master");
    assert_eq!(offer(&mut witness(), A, TERM, false), Err(Refusal::NotAMember(W)));
    let mut joining = Rig::new(config(B));
    let refusal = Refusal::Standing(B, Standing::Joining);
    assert_eq!(offer(&mut joining, A, TERM, true), Err(refusal), "it heard nobody before");
    let mut stopping = backup();
    stopping.give(Input::Stop);
    assert_eq!(offer(&mut stopping, A, TERM, false), Err(Refusal::Stopping));
    let bad = || {
        let mut rig = backup();
        rig.give(Input::Preflight { problems: vec!["no permission".into()] });
        rig
    };
    assert_eq!(offer(&mut bad(), A, TERM, false), Err(Refusal::Preflight(B)));
    assert_eq!(offer(&mut bad(), A, TERM, true), Ok(Done::Accepted), "force overlooks it");
    let drifted = || {
        let mut rig = backup();
        rig.beat(A, Beat { digest: Digest([8; 32]), ..Beat::master(TERM) });
        rig
    };
    assert_eq!(offer(&mut drifted(), A, TERM, false), Err(Refusal::Drift(B)));
    assert_eq!(offer(&mut drifted(), A, TERM, true), Ok(Done::Accepted));
    let sick = with(config(B), |config| {
        let (name, effect) = ("nginx".into(), CheckEffect::Fatal);
        config.checks.push(CheckConfig { name, rise: 1, fall: 1, effect, groups: Vec::new() });
    });
    let mut sick = backup_of(sick);
    sick.give(Input::CheckResult { check: CheckId(0), passed: false });
    assert_eq!(offer(&mut sick, A, TERM, true), Err(Refusal::Unhealthy(B)), "never overlooked");
}

#[test]
fn a_handover_between_real_nodes_moves_the_address_once_within_milliseconds() {
    let mut net = Net::settled();
    let asked_at = net.now;
    net.give(A, switchover(Some(B), false));
    net.run(millis(100));
    assert_eq!(net.told, [Ok(Done::Leads(B))]);
    assert_eq!(net.masters(), [B]);
    assert_eq!(net.moves, [B]);
    let (_, elected_at) = net.elected_at().unwrap();
    assert!(elected_at.since(asked_at) <= millis(10), "{:?}", elected_at.since(asked_at));
    // And back again, at once.
    net.give(B, switchover(Some(A), false));
    net.run(millis(200));
    assert_eq!(net.masters(), [A]);
    assert_eq!(net.moves, [B, A]);
    net.run(H * 30);
    assert_eq!(net.moves, [B, A], "and it stays");
}

#[test]
fn a_handover_whose_successor_dies_is_rolled_back() {
    let mut net = Net::settled();
    net.give(A, switchover(Some(B), false));
    // The offer takes one way, its answer another: the master resigns after two.
    net.run(millis(2));
    net.kill(B);
    net.run(LEASE * 4);
    assert_eq!(net.masters(), [A]);
    assert_eq!(net.moves, []);
    assert_eq!(net.told.len(), 1);
    assert!(net.told[0].is_err());
}

/// `lb-b`, which leads, and prefers to give way to lb-a.
fn preempting() -> Net {
    let preempt = |me| with(config(me), |config| config.groups[0].preempt = true);
    let mut net = Net::new([preempt(A), preempt(B), preempt(W)]);
    net.run(H * 20);
    net.kill(A);
    net.run(H * 5);
    assert_eq!(net.masters(), [B]);
    net.forget();
    net
}

#[test]
fn a_better_node_preempts_after_preempt_delay_and_no_earlier() {
    let mut net = preempting();
    net.start(A);
    let back_at = net.now;
    net.run(Duration::from_secs(59));
    assert_eq!(net.masters(), [B]);
    net.run(Duration::from_secs(5));
    assert_eq!(net.masters(), [A]);
    assert_eq!(net.moves, [A]);
    let (_, elected_at) = net.elected_at().unwrap();
    assert!(elected_at.since(back_at) >= Duration::from_secs(60));
    let cause = net.journal.iter().find_map(|(_, _, event)| {
        let elected = matches!(event.kind, EventKind::RoleChanged { to: RoleName::Master, .. });
        if elected { event.cause } else { None }
    });
    assert_eq!(cause, Some(Cause::Preempt));
}

#[test]
fn the_delay_of_a_preemption_begins_anew_when_the_better_node_was_away() {
    let mut net = preempting();
    net.start(A);
    net.run(Duration::from_secs(50));
    net.kill(A);
    net.run(Duration::from_secs(5));
    net.start(A);
    net.run(Duration::from_secs(50));
    assert_eq!(net.masters(), [B]);
    net.run(Duration::from_secs(15));
    assert_eq!(net.masters(), [A]);
}

#[test]
fn without_preempt_a_better_node_waits() {
    let mut net = Net::settled();
    net.kill(A);
    net.run(H * 5);
    net.start(A);
    net.forget();
    net.run(Duration::from_secs(600));
    assert_eq!(net.masters(), [B]);
    assert_eq!(net.moves, []);
}
