//! Roles and the doors between them (design section 4): what each role makes of each input.

use vipward_core::*;

use crate::fixture::*;
use crate::reading::*;
use crate::scenes::*;

#[test]
fn each_scene_is_in_its_role() {
    assert_eq!(backup().role(), RoleName::Backup);
    assert_eq!(candidate().0.role(), RoleName::Candidate);
    assert_eq!(master().role(), RoleName::Master);
    assert_eq!(holding().role(), RoleName::Holding);
    assert_eq!(witness().role(), RoleName::None);
}

type Act = fn(&mut Rig, NodeId) -> Vec<Output>;

/// Every kind of input; the second argument is the other balancer.
const INPUTS: [(&str, Act); 23] = [
    ("deadline", |rig, _| rig.give(Input::DeadlineReached)),
    ("idle heartbeat", |rig, other| rig.beat(other, Beat::idle())),
    ("master of a lower term", |rig, other| {
        // Below the one elected in every scene.
        let elected = rig.group().term.0;
        rig.beat(other, Beat::master(elected.saturating_sub(1)))
    }),
    ("master of term 900", |rig, other| rig.beat(other, Beat::master(900))),
    ("elected in 900, third", |rig, other| {
        let elected = Some(Elected { term: Term(900), node: other });
        let third = if rig.config.me == W { B } else { W };
        rig.beat(third, Beat { elected, ..Beat::idle() })
    }),
    ("vote for term 1", |rig, other| rig.ask(other, 1)),
    ("vote for term 900", |rig, other| rig.ask(other, 900)),
    ("release of 900", |rig, other| rig.taking_back(other, release(900))),
    ("resignation of 900", |rig, other| rig.taking_back(other, resignation(900, None))),
    ("offer in 900", |rig, other| {
        let command = PeerCommand::Offer { group: WEB, term: Term(900), force: false };
        let request = OperatorRequest { send: SendNumber(9_000), command };
        rig.request(other, Request::Operator(request))
    }),
    ("switchover of a peer", |rig, other| {
        let switchover = Switchover { group: WEB, to: Some(other), force: false };
        let command = PeerCommand::Switchover(switchover);
        let request = OperatorRequest { send: SendNumber(9_000), command };
        rig.request(other, Request::Operator(request))
    }),
    ("vote of the past", |rig, other| {
        let request = rig.vote_request(other, 3);
        rig.vote(other, &request, Vote::Granted)
    }),
    ("take-back answered", |rig, other| {
        let input = rig.answer_from(other, Answer::TakenBack { send: SendNumber(1) });
        rig.give(input)
    }),
    ("boot answered", |rig, other| {
        let boot = rig.boot(other);
        rig.give(Input::BootAnswered { peer: other, boot, link: LINK })
    }),
    ("connection refused", |rig, other| {
        rig.give(Input::ConnectRefused { peer: other, link: LINK })
    }),
    ("connections closed", |rig, other| {
        rig.give(Input::Connections { peer: other, open: 1 });
        rig.give(Input::Connections { peer: other, open: 0 })
    }),
    ("unknown check", |rig, _| rig.give(Input::CheckResult { check: CheckId(9), passed: false })),
    ("unknown call", |rig, _| {
        let outcome = CallOutcome::Timeout;
        let call = CallId(9_999);
        rig.give(Input::CallFinished { call, outcome, request_id: None, took: millis(1) })
    }),
    ("moved: read hint", |rig, other| {
        rig.held = held_by("assoc-new", other);
        rig.give(Input::OwnershipHint { group: WEB })
    }),
    ("bad preflight", |rig, _| rig.give(Input::Preflight { problems: vec!["no".into()] })),
    ("disk failed", |rig, _| rig.give(Input::PersistFailed)),
    ("switchover here", |rig, other| rig.give(crate::handover::switchover(Some(other), false))),
    ("stop", |rig, _| rig.give(Input::Stop)),
];

/// What it answered and began, in words.
fn words(out: &[Output]) -> String {
    let mut words = Vec::new();
    for answer in beat_answers(out) {
        let renewed = answer.groups[0].renewal != Renewal::None;
        words.push(if renewed { "renews".into() } else { "hears".into() });
    }
    for vote in votes(out) {
        words.push(match vote {
            Vote::Granted => "grants".into(),
            Vote::Denied(denial) => format!("denies: {}", denial.reason.as_str()),
        });
    }
    if out.iter().any(|it| matches!(it, Output::Answer { answer: Answer::TakenBack { .. }, .. })) {
        words.push("acknowledges".into());
    }
    for result in operator_answers(out).into_iter().chain(outcomes(out)) {
        words.push(match result {
            Ok(_) => "accepts".into(),
            Err(refusal) => format!("refuses: {refusal:?}"),
        });
    }
    let mut begins = |begun: bool, what: &str| {
        if begun {
            words.push(what.into());
        }
    };
    begins(!take_backs(out).is_empty(), "takes back");
    begins(!requests(out).is_empty(), "stands");
    begins(!commands(out).is_empty(), "asks a peer");
    begins(!probes(out).is_empty(), "probes");
    begins(!reads(out).is_empty(), "reads");
    begins(!mutating(out).is_empty(), "claims");
    begins(stopped(out), "stops");
    if words.is_empty() { "nothing".into() } else { words.join(", ") }
}

/// One row for each input: what that role does, and what it is then.
fn rows(scene: fn() -> Rig) -> String {
    let mut rows = String::new();
    for (name, act) in INPUTS {
        let mut rig = scene();
        let other = if rig.config.me == A { B } else { A };
        let out = act(&mut rig, other);
        let role = rig.role().as_str();
        rows.push_str(&format!("{name:24} {}; {role}\n", words(&out)));
    }
    rows
}

fn assert_rows(scene: fn() -> Rig, expected: &str) {
    let rows = rows(scene);
    let expected: String =
        expected.trim().lines().map(|line| format!("{}\n", line.trim())).collect();
    assert_eq!(rows, expected, "\n{rows}");
}

#[test]
fn what_a_backup_makes_of_each_input() {
    let rows = "
        deadline                 nothing; backup
        idle heartbeat           hears; backup
        master of a lower term   hears; backup
        master of term 900       renews; backup
        elected in 900, third    hears; backup
        vote for term 1          denies: term-too-low; backup
        vote for term 900        grants; backup
        release of 900           acknowledges; backup
        resignation of 900       acknowledges, stands; candidate
        offer in 900             accepts; backup
        switchover of a peer     refuses: NotMaster; backup
        vote of the past         nothing; backup
        take-back answered       nothing; backup
        boot answered            nothing; backup
        connection refused       stands; candidate
        connections closed       probes; backup
        unknown check            nothing; backup
        unknown call             nothing; backup
        moved: read hint         reads; backup
        bad preflight            nothing; backup
        disk failed              nothing; backup
        switchover here          asks a peer; backup
        stop                     stops; backup
    ";
    assert_rows(backup, rows);
}

#[test]
fn what_a_candidate_makes_of_each_input() {
    let rows = "
        deadline                 nothing; candidate
        idle heartbeat           hears; candidate
        master of a lower term   hears; candidate
        master of term 900       renews, takes back; backup
        elected in 900, third    hears, takes back; backup
        vote for term 1          denies: term-too-low, takes back; backup
        vote for term 900        grants, takes back; backup
        release of 900           acknowledges; candidate
        resignation of 900       acknowledges, takes back, stands; candidate
        offer in 900             accepts; candidate
        switchover of a peer     refuses: NotMaster; candidate
        vote of the past         nothing; candidate
        take-back answered       nothing; candidate
        boot answered            nothing; candidate
        connection refused       nothing; candidate
        connections closed       probes; candidate
        unknown check            nothing; candidate
        unknown call             nothing; candidate
        moved: read hint         reads; candidate
        bad preflight            nothing; candidate
        disk failed              nothing; candidate
        switchover here          refuses: NoMaster; candidate
        stop                     takes back; backup
    ";
    assert_rows(|| candidate().0, rows);
}

#[test]
fn what_a_master_makes_of_each_input() {
    let rows = "
        deadline                 nothing; master
        idle heartbeat           hears; master
        master of a lower term   hears; master
        master of term 900       hears; backup
        elected in 900, third    hears; backup
        vote for term 1          denies: promised-to-master; master
        vote for term 900        denies: promised-to-master; master
        release of 900           acknowledges; master
        resignation of 900       acknowledges; master
        offer in 900             accepts; master
        switchover of a peer     asks a peer; master
        vote of the past         nothing; master
        take-back answered       nothing; master
        boot answered            nothing; master
        connection refused       nothing; master
        connections closed       probes; master
        unknown check            nothing; master
        unknown call             nothing; master
        moved: read hint         reads, claims; master
        bad preflight            nothing; master
        disk failed              nothing; master
        switchover here          asks a peer; master
        stop                     asks a peer; master
    ";
    assert_rows(master, rows);
}

#[test]
fn what_a_holding_master_makes_of_each_input() {
    let rows = "
        deadline                 nothing; holding
        idle heartbeat           hears; holding
        master of a lower term   hears; holding
        master of term 900       hears; backup
        elected in 900, third    hears; backup
        vote for term 1          denies: promised-to-master; holding
        vote for term 900        denies: promised-to-master; holding
        release of 900           acknowledges; holding
        resignation of 900       acknowledges; holding
        offer in 900             accepts; holding
        switchover of a peer     refuses: NotMaster; holding
        vote of the past         nothing; holding
        take-back answered       nothing; holding
        boot answered            nothing; holding
        connection refused       nothing; holding
        connections closed       probes; holding
        unknown check            nothing; holding
        unknown call             nothing; holding
        moved: read hint         reads; holding
        bad preflight            nothing; holding
        disk failed              nothing; holding
        switchover here          refuses: NoMaster; holding
        stop                     stops; holding
    ";
    assert_rows(holding, rows);
}

#[test]
fn what_a_witness_makes_of_each_input() {
    let rows = "
        deadline                 nothing; none
        idle heartbeat           hears; none
        master of a lower term   hears; none
        master of term 900       renews; none
        elected in 900, third    hears; none
        vote for term 1          denies: term-too-low; none
        vote for term 900        grants; none
        release of 900           acknowledges; none
        resignation of 900       acknowledges; none
        offer in 900             refuses: NotAMember(NodeId(2)); none
        switchover of a peer     refuses: NotMaster; none
        vote of the past         nothing; none
        take-back answered       nothing; none
        boot answered            nothing; none
        connection refused       nothing; none
        connections closed       probes; none
        unknown check            nothing; none
        unknown call             nothing; none
        moved: read hint         nothing; none
        bad preflight            nothing; none
        disk failed              nothing; none
        switchover here          asks a peer; none
        stop                     stops; none
    ";
    assert_rows(witness, rows);
}
