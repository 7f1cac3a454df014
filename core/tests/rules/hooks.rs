//! Hooks: the operator's programs are told what this node is, as a level; and of alarms.

use vipward_core::*;

use crate::fixture::*;
use crate::reading::*;
use crate::scenes::*;

/// The hooks about a role.
fn roles(out: &[Output]) -> Vec<RoleName> {
    let roles = hooks(out).into_iter().filter_map(|hook| {
        let expected = match hook.role? {
            RoleName::Master => "on_master",
            RoleName::Holding => "on_holding",
            RoleName::Backup => "on_backup",
            other @ (RoleName::None | RoleName::Candidate) => panic!("{other:?}"),
        };
        assert_eq!(hook.point.as_str(), expected);
        assert_eq!(hook.group, Some(WEB));
        hook.role
    });
    roles.collect()
}

#[test]
fn a_master_is_told_once_with_its_term_and_cause() {
    let (mut rig, out) = elected();
    let term = rig.group().term;
    let hook = Hook {
        point: HookPoint::Master,
        group: Some(WEB),
        role: Some(RoleName::Master),
        term: Some(term),
        cause: Some(Cause::Startup),
    };
    assert_eq!(hooks(&out), [hook]);
    claim(&mut rig, &out);
    assert_eq!(roles(&rig.pass(H * 60)), []);
}

#[test]
fn hooks_are_never_on_the_failover_path() {
    for config in [config(A), secondary(A)] {
        let (_, out) = elected_of(config);
        let told = out.iter().position(|it| matches!(it, Output::Hook(_))).unwrap();
        let called = out.iter().position(|it| matches!(it, Output::Call(_))).unwrap();
        assert!(called < told, "the call goes out first");
    }
}

#[test]
fn one_that_serves_on_is_told_and_told_again_when_it_leads_again() {
    let mut rig = master();
    rig.answering.clear();
    let mut out = rig.pass(LEASE * 2);
    assert_eq!(roles(&out), [RoleName::Holding]);
    rig.answering = vec![B, W];
    let request = stand(&mut rig);
    out = rig.vote(W, &request, Vote::Granted);
    assert_eq!(roles(&out), [RoleName::Master]);
    assert_eq!(hooks(&out)[0].term, Some(request.term));
    assert_eq!(hooks(&out)[0].cause, Some(Cause::MajorityRegained));
}

#[test]
fn a_backup_is_told_only_when_another_leads() {
    // Given a fresh life, of which nothing is known but what it led itself before,
    let mut rig = Rig::new(config(A));
    let elected = Some(Elected { term: Term(5), node: A });
    let mut out = rig.beat(W, Beat { elected, ..Beat::idle() });
    out.extend(rig.pass(millis(500)));
    assert_eq!(roles(&out), []);
    // when another is known to lead, then it is told, once.
    let mut out = rig.beat(B, Beat::master(6));
    assert_eq!(roles(&out), [RoleName::Backup]);
    assert_eq!(hooks(&out)[0].term, Some(Term(6)));
    out.clear();
    for _ in 0..20 {
        out.extend(rig.pass(H));
        out.extend(rig.beat(B, Beat::master(6)));
    }
    // And no more when the third leads: it is a backup still.
    let elected = Some(Elected { term: Term(7), node: W });
    out.extend(rig.beat(W, Beat { elected, ..Beat::idle() }));
    assert_eq!(roles(&out), []);
}

#[test]
fn a_candidate_that_fails_was_a_backup_all_the_time() {
    let (mut rig, request) = candidate();
    let mut out = rig.pass(H * 3);
    out.extend(rig.beat(A, Beat::master(request.term.0 + 10)));
    assert_eq!(roles(&out), []);
}

#[test]
fn a_deposed_master_is_told_that_it_is_a_backup() {
    let mut rig = master();
    let out = rig.beat(B, Beat::master(900));
    assert_eq!(roles(&out), [RoleName::Backup]);
    let mut rig = holding();
    let out = rig.beat(B, Beat::master(900));
    assert_eq!(roles(&out), [RoleName::Backup]);
}

#[test]
fn each_group_is_told_apart() {
    let both = with(config(A), |config| {
        let other = GroupConfig { name: "api".into(), ..config.groups[0].clone() };
        config.groups.push(other);
    });
    let mut rig = Rig::new(both);
    let out = rig.beat(B, Beat::master(5)); // It leads the first group.
    let told: Vec<_> = hooks(&out).into_iter().map(|hook| (hook.group, hook.role)).collect();
    assert_eq!(told, [(Some(WEB), Some(RoleName::Backup))]);
}

#[test]
fn an_alarm_runs_its_hook_once_each_time_that_it_is_raised() {
    let mut rig = master();
    let bad = || Input::Preflight { problems: vec!["no permission".into()] };
    let out = rig.give(bad());
    let point = HookPoint::Alarm { name: AlarmName::Preflight, message: "no permission".into() };
    let hook = Hook { point, group: None, role: None, term: None, cause: None };
    assert_eq!(hooks(&out), std::slice::from_ref(&hook));
    assert_eq!(hooks(&rig.give(bad())), [], "it is raised already");
    assert_eq!(hooks(&rig.give(Input::Preflight { problems: Vec::new() })), [], "it is over");
    assert_eq!(hooks(&rig.give(bad())), [hook]);
}

#[test]
fn an_alarm_about_a_group_names_it() {
    let mut rig = master_of(secondary(A));
    let state = KernelState::Failed { what: "device busy".into() };
    let out = rig.give(Input::Kernel { group: WEB, address: SIP, state });
    let hook = hooks(&out).pop().unwrap();
    assert_eq!((hook.group, hook.point.as_str()), (Some(WEB), "on_alarm"));
    // Every alarm of the journal has its hook, and the other way round.
    let raised = events(&out)
        .into_iter()
        .filter(|event| matches!(event.kind, EventKind::AlarmRaised { .. }));
    assert_eq!(raised.count(), hooks(&out).len());
}
