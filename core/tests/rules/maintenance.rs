//! A node is taken out of candidacy by an operator, and brought back (design section 6).

use vipward_core::*;

use crate::fixture::*;
use crate::handover::{answer_offer, offer};
use crate::network::Net;
use crate::reading::*;
use crate::rejoin::*;
use crate::scenes::*;

fn maintenance(node: NodeId, on: bool) -> Input {
    Input::Maintenance { id: OperatorId(1), node, on }
}

#[test]
fn a_backup_is_taken_out_votes_on_and_does_not_stand() {
    let mut rig = backup();
    let out = rig.give(maintenance(B, true));
    assert_eq!(outcomes(&out), [Ok(Done::Maintenance(B, true))]);
    assert!(persists(&out).iter().any(|durable| durable.maintenance));
    assert_eq!(standing(&rig), Standing::Maintenance);
    assert!(reason(&rig).contains("maintenance off"), "{}", reason(&rig));
    let mut out = Vec::new();
    for _ in 0..20 {
        out.extend(rig.pass(H));
        out.extend(rig.beat(W, Beat::idle()));
    }
    assert_eq!(requests(&out), []);
    assert_eq!(votes(&rig.ask(A, 50)), [Vote::Granted]);
    // Asked again, it is so already.
    assert_eq!(outcomes(&rig.give(maintenance(B, true))), [Ok(Done::Maintenance(B, true))]);
}

#[test]
fn a_restart_stays_in_it_and_off_joins_again() {
    let mut rig = backup();
    rig.reference = Some(reference(TERM, 0, OURS));
    rig.beat(A, Beat::master(TERM));
    rig.give(maintenance(B, true));
    rig.restart();
    rig.give(Input::DeadlineReached);
    rig.beat(W, Beat::idle());
    assert_eq!(standing(&rig), Standing::Maintenance);
    hear_to(&mut rig, at(60_000), OURS);
    let out = rig.give(maintenance(B, false));
    assert_eq!(outcomes(&out), [Ok(Done::Maintenance(B, false))]);
    assert_eq!(standing(&rig), Standing::Joining);
    assert!(persists(&out).iter().any(|durable| !durable.maintenance));
    rig.beat(W, Beat::idle());
    assert_eq!(standing(&rig), Standing::Probation);
}

#[test]
fn after_a_short_one_there_is_no_probation() {
    let mut rig = backup();
    rig.reference = Some(reference(TERM, 0, OURS));
    rig.beat(A, Beat::master(TERM));
    rig.give(maintenance(B, true));
    hear_master_to(&mut rig, at(20_000));
    rig.give(maintenance(B, false));
    rig.beat(W, Beat::idle());
    assert_eq!(standing(&rig), Standing::Ready);
}

#[test]
fn a_master_hands_over_first_asked_at_any_node() {
    for asked_at in [A, B, W] {
        let mut net = Net::settled();
        net.give(asked_at, maintenance(A, true));
        net.run(H * 2);
        assert_eq!(net.told, [Ok(Done::Maintenance(A, true))], "{asked_at:?}");
        assert_eq!((net.masters(), net.standing(A)), (vec![B], Standing::Maintenance));
        assert_eq!(net.moves, [B]);
        // The other dies: nobody is left, and that is said.
        net.kill(B);
        net.run(H * 20);
        assert_eq!(net.masters(), []);
        assert!(net.alarms(W).contains(&AlarmName::NoCandidate(WEB)));
        net.give(asked_at, maintenance(A, false));
        if asked_at != B {
            net.run(H * 40);
            assert_eq!(net.masters(), [A]);
        }
    }
}

#[test]
fn a_master_without_a_successor_is_refused_and_leads_on() {
    let mut rig = master();
    rig.hear(B, Beat { standing: Standing::Probation, ..Beat::idle() });
    let out = rig.give(maintenance(A, true));
    assert_eq!(outcomes(&out), [Err(Refusal::NoSuccessor)]);
    assert_eq!((rig.role(), standing(&rig)), (RoleName::Master, Standing::Ready));
    assert_eq!(commands(&out), []);
}

#[test]
fn a_master_whose_successor_refuses_tells_why_and_leads_on() {
    let mut rig = master();
    let (_, request) = offer(&rig.give(maintenance(A, true)));
    let asked_again = outcomes(&rig.give(maintenance(A, true)));
    assert_eq!(asked_again, [Err(Refusal::Busy)]);
    let out = answer_offer(&mut rig, B, request.send, Err(Refusal::Preflight(B)));
    assert_eq!(outcomes(&out), [Err(Refusal::Preflight(B))]);
    assert_eq!((rig.role(), standing(&rig)), (RoleName::Master, Standing::Ready));
    // And it may be asked again.
    assert_eq!(offer(&rig.give(maintenance(A, true))).0, B);
}

#[test]
fn a_holding_one_is_not_taken_out() {
    let mut rig = holding();
    rig.pass(LEASE);
    assert_eq!(outcomes(&rig.give(maintenance(A, true))), [Err(Refusal::NoMajority)]);
    assert_eq!(rig.role(), RoleName::Holding);
}

#[test]
fn refused_with_the_reason() {
    let mut rig = backup();
    assert_eq!(outcomes(&rig.give(maintenance(W, true))), [Err(Refusal::NotABalancer(W))]);
    let mut rig = witness();
    assert_eq!(outcomes(&rig.give(maintenance(W, true))), [Err(Refusal::NotABalancer(W))]);
    rig.pass(LEASE * 2);
    assert_eq!(outcomes(&rig.give(maintenance(A, true))), [Err(Refusal::Silent(A))]);
    let mut rig = backup();
    assert_eq!(outcomes(&rig.give(maintenance(B, false))), [Ok(Done::Maintenance(B, false))]);
}

#[test]
fn passed_on_once_and_its_copies_get_the_same_answer() {
    let mut rig = backup();
    let out = rig.give(maintenance(A, true));
    assert_eq!(commands(&out)[0].0, A);
    assert_eq!(commands(&out)[0].1.command, PeerCommand::Maintenance { on: true });
    let command = PeerCommand::Maintenance { on: true };
    let request = OperatorRequest { send: SendNumber(9_000), command };
    for _ in 0..2 {
        let out = rig.request(A, Request::Operator(request.clone()));
        assert_eq!(operator_answers(&out), [Ok(Done::Maintenance(B, true))]);
    }
}

/// Two groups without addresses, each led by one of the two balancers.
fn active_active(me: NodeId) -> Config {
    with(config(me), |config| {
        config.groups[0].addresses.clear();
        let mut api = config.groups[0].clone();
        api.name = "api".into();
        api.priorities = vec![Some(priority(100)), Some(priority(200)), None];
        config.groups.push(api);
    })
}

#[test]
fn two_that_are_taken_out_at_once_do_not_pass_their_groups_to_and_fro() {
    let mut net = Net::new([active_active(A), active_active(B), active_active(W)]);
    net.run(H * 20);
    for (node, id) in [(A, 1), (B, 2)] {
        net.give(node, Input::Maintenance { id: OperatorId(id), node, on: true });
    }
    net.run(H * 30);
    // Each is refused by the other, who is on its way out, and leads on.
    let refused = |node| Err(Refusal::Standing(node, Standing::Maintenance));
    assert_eq!(net.told.len(), 2, "{:?}", net.told);
    assert!(net.told.contains(&refused(A)) && net.told.contains(&refused(B)), "{:?}", net.told);
    assert_eq!((net.standing(A), net.standing(B)), (Standing::Ready, Standing::Ready));
}

#[test]
fn one_that_is_elected_on_its_way_out_tells_so_in_the_end() {
    // Given a master that hands one group over while another is about to be handed to it,
    for delay in 0..8 {
        let mut net = Net::new([active_active(A), active_active(B), active_active(W)]);
        net.run(H * 20);
        let switchover = Switchover { group: GroupId(1), to: Some(A), force: false };
        net.give(B, Input::Switchover { id: OperatorId(1), switchover });
        net.run(millis(delay));
        net.give(A, Input::Maintenance { id: OperatorId(2), node: A, on: true });
        net.run(H * 60);
        // then both commands are answered, and A is out only if it leads nothing.
        assert_eq!(net.told.len(), 2, "{delay}: {:?}", net.told);
        let out = net.standing(A) == Standing::Maintenance;
        assert_eq!(out, net.told.contains(&Ok(Done::Maintenance(A, true))), "{delay}");
    }
}
