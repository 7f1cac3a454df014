//! Inputs and outputs in short form.

use vipward_core::{
    Admission, Answer, Association, CallOutcome, CallReply, CloudCall, Config, Digest, Durable,
    EventKind, GroupBeatAnswer, Heartbeat, HeartbeatAnswer, Holder, Input, Operation, Output,
    Reference, Renewal, Request, TakeBack, Vote,
};

use crate::gate::GatePlan;
use crate::observer::{id_letter, letter, nanos};
use crate::plan::Plan;

pub(crate) fn plan(plan: &Plan) -> String {
    let config = &plan.configs[0];
    let groups: Vec<String> = (config.groups.iter())
        .map(|group| {
            let priorities: Vec<String> = (group.priorities.iter())
                .map(|p| p.map_or("-".into(), |p| u8::from(p).to_string()))
                .collect();
            let (preempt, delay) = (group.preempt, group.preempt_delay);
            let addresses = group.addresses.len();
            format!(
                "{} [{}] preempt={preempt} after {delay:?}, {addresses} addresses",
                group.name,
                priorities.join(" ")
            )
        })
        .collect();
    format!(
        "{} voters, {:?}; {}; heartbeat {:?}, lease {:?}, call_timeout {:?}, reconcile {:?}, {:?}, \
         crash_detection={}, repairs={}, moves={}; kinds {:?}; {}",
        plan.voters(),
        plan.scenario,
        plan.gate.as_ref().map_or("no gate".into(), |gate| show_gate(config, gate)),
        config.timing.heartbeat_interval(),
        config.timing.lease(),
        config.call_timeout,
        config.timing.reconcile_interval,
        config.claim,
        config.timing.crash_detection,
        config.repairs,
        config.moves_per_hour,
        plan.mix.kinds,
        groups.join("; "),
    )
}

fn show_gate(config: &Config, gate: &GatePlan) -> String {
    format!(
        "probation {:?}, restart_grace {:?}, scanned={}, last_resort={}, repair {:?}, equal_end={}",
        config.probation,
        config.restart_grace,
        config.scanned,
        config.last_resort,
        config.repair,
        gate.equal_end
    )
}

pub(crate) fn input(plan: &Plan, input: &Input) -> String {
    match input {
        Input::Request { from, link, id, request, boot } => {
            let from = id_letter(*from);
            format!("{from}/{} #{} {boot:?} {}", link.0, id.0, show_request(request))
        }
        Input::Answer { from, boot, to_boot, link, answer } => {
            format!(
                "{}/{} {boot:?} answers {} to {to_boot:?}",
                id_letter(*from),
                link.0,
                show_answer(answer)
            )
        }
        Input::Reload(config) => format!(
            "reload: heartbeat {:?}, lease {:?}",
            config.timing.heartbeat_interval(),
            config.timing.lease()
        ),
        Input::BootAnswered { peer, boot, link } => {
            format!("{}/{} is {boot:?}", plan.name(peer.index()), link.0)
        }
        Input::ConnectRefused { peer, link } => {
            format!("{}/{} refuses", plan.name(peer.index()), link.0)
        }
        Input::Connections { peer, open } => {
            format!("{open} connections with {}", plan.name(peer.index()))
        }
        Input::CallFinished { call, outcome, .. } => {
            format!("call {} ends: {}", call.0, show_outcome(outcome))
        }
        Input::Manifest(inventory) => {
            let unapplied = if inventory.is_applied() { "" } else { ", not loaded" };
            format!("has {}{unapplied}", short(inventory.digest))
        }
        Input::Persisted(durable) => format!("persisted: {}", show_durable(durable)),
        other => format!("{other:?}"),
    }
}

pub(crate) fn show_durable(durable: &Durable) -> String {
    let elected: Vec<u64> = durable.elected.iter().map(|term| term.0).collect();
    let reference = show_reference(durable.reference);
    let admissions: Vec<String> = durable.admissions.iter().map(show_admission).collect();
    format!(
        "ceiling {}, elected {elected:?}, {:?}, {reference}, {admissions:?}, maintenance {}",
        durable.ceiling.0, durable.longest_promise, durable.maintenance
    )
}

fn show_admission(admission: &Admission) -> String {
    format!("{} with {}", id_letter(admission.node), short(admission.digest))
}

fn show_held(association: Option<&Association>) -> String {
    association.map_or("nobody".into(), |held| match &held.holder {
        Holder::Node(node) => format!("{} by {}", id_letter(*node), held.id.0),
        Holder::Outside(who) => format!("{who} by {}", held.id.0),
    })
}

pub(crate) fn show_outcome(outcome: &CallOutcome) -> String {
    match outcome {
        CallOutcome::Ok(CallReply::Described(seen)) => {
            let seen: Vec<String> = seen
                .iter()
                .map(|it| format!("{} at {}", it.address.0, show_held(it.association.as_ref())))
                .collect();
            format!("seen: {}", seen.join(", "))
        }
        CallOutcome::Ok(CallReply::Associated(id)) => format!("associated by {}", id.0),
        other => format!("{other:?}"),
    }
}

pub(crate) fn show_call(call: &CloudCall) -> String {
    let what = match &call.operation {
        Operation::Describe { .. } => "describe".to_owned(),
        Operation::Associate { address, reassociate: true } => format!("ASSOCIATE {}", address.0),
        Operation::Associate { address, reassociate: false } => {
            format!("ASSOCIATE {} unless held", address.0)
        }
        Operation::Disassociate { address, association } => {
            format!("DISASSOCIATE {} from {}", address.0, association.0)
        }
        Operation::Assign { address, reassign: true } => format!("ASSIGN {}", address.0),
        Operation::Assign { address, reassign: false } => {
            format!("ASSIGN {} unless held", address.0)
        }
        Operation::Unassign { address, interface } => {
            format!("UNASSIGN {} from {}", address.0, interface.0)
        }
    };
    format!("call {} g{} t{}: {what}", call.id.0, call.group.0, call.term.0)
}

pub(crate) fn output(plan: &Plan, output: &Output) -> String {
    match output {
        Output::Send { to, request } => {
            format!("to {}: {}", plan.name(to.index()), show_request(request))
        }
        Output::Answer { id, answer } => format!("answer #{}: {}", id.0, show_answer(answer)),
        Output::Event(event) => {
            let group = event.group.map_or(String::new(), |group| format!(" g{}", group.0));
            let term = event.term.map_or(String::new(), |term| format!(" t{}", term.0));
            let cause = event.cause.map_or("", |cause| cause.as_str());
            let kind = match &event.kind {
                EventKind::RoleChanged { from, to, reason } => {
                    format!("ROLE {} -> {}: {reason}", from.as_str(), to.as_str())
                }
                EventKind::ReferenceSet { version, digest, by } => {
                    let reference = Reference { version: *version, digest: *digest };
                    let by = by.map(id_letter);
                    format!("REFERENCE {} by {by:?}", show_reference(Some(reference)))
                }
                EventKind::Admitted { node, digest } => {
                    format!("ADMITTED {} with {}", id_letter(*node), short(*digest))
                }
                EventKind::StandingChanged { from, to, reason } => {
                    format!("STANDING {from:?} -> {to:?}: {reason}")
                }
                other => format!("{other:?}"),
            };
            format!("journal{group}{term} {cause} {kind}")
        }
        Output::Call(call) => format!("{}, not after {:?}", show_call(call), call.not_after),
        Output::Persist(durable) => format!("persist: {}", show_durable(durable)),
        other => format!("{other:?}"),
    }
}

/// Digests of the simulation are told apart by their first byte.
fn short(digest: Digest) -> String {
    format!("{:x}", digest.0[0])
}

fn show_reference(reference: Option<Reference>) -> String {
    reference.map_or("none".into(), |Reference { version, digest }| {
        format!("{}.{}:{}", version.term.0, version.count, short(digest))
    })
}

fn show_take_back(take_back: &TakeBack) -> String {
    format!("g{} t{} {:?}", take_back.group.0, take_back.term.0, take_back.kind)
}

fn show_beat(beat: &Heartbeat) -> String {
    let groups: Vec<String> = (beat.groups.iter())
        .map(|group| {
            let elected = group.elected.map_or(String::new(), |elected| {
                format!("elected {} t{}", id_letter(elected.node), elected.term.0)
            });
            let lead = group.mastered.map_or(String::new(), |mastered| {
                format!(" MASTERED t{} for {:?}", mastered.term.0, mastered.lease)
            });
            format!("g{} {elected}{lead}", group.group.0)
        })
        .collect();
    let hears: String = beat.hears.iter().map(|node| letter(node.index())).collect();
    let back: Vec<String> = beat.take_backs.iter().map(show_take_back).collect();
    let (digest, reference) = (short(beat.digest), show_reference(beat.reference));
    format!(
        "heartbeat {} {:?} with {digest} under {reference} hears {hears} {groups:?} {back:?}",
        beat.send.0, beat.standing
    )
}

fn show_request(request: &Request) -> String {
    match request {
        Request::Heartbeat(beat) => show_beat(beat),
        Request::Vote(vote) => format!(
            "vote {} g{} t{} for {:?}, {:?}, prio {:?}, {:?}, {:?} with {} under {} by {:?}",
            vote.send.0,
            vote.group.0,
            vote.term.0,
            vote.lease,
            vote.cause,
            vote.rank.priority,
            vote.evidence,
            vote.rank.standing,
            short(vote.digest),
            show_reference(vote.reference),
            vote.exception
        ),
        Request::TakeBack(list) => {
            let back: Vec<String> = list.list.iter().map(show_take_back).collect();
            format!("take-back {} {back:?}", list.send.0)
        }
        Request::Operator(operator) => {
            format!("operator {} {:?}", operator.send.0, operator.command)
        }
    }
}

fn show_group_answer(group: &GroupBeatAnswer) -> String {
    let renewal = match group.renewal {
        Renewal::None => "-",
        Renewal::Renewed { had_run_out: false } => "renewed",
        Renewal::Renewed { had_run_out: true } => "renewed, had run out",
    };
    let promised = group.promised.map_or(String::new(), |promised| {
        format!(" promised {} t{} {:?}", id_letter(promised.node), promised.term.0, promised.left)
    });
    format!("g{} {renewal}{promised}", group.group.0)
}

fn show_answer(answer: &Answer) -> String {
    match answer {
        Answer::Heartbeat(HeartbeatAnswer { send, muted, groups, .. }) => {
            let groups: Vec<String> = groups.iter().map(show_group_answer).collect();
            let muted = match nanos(*muted) {
                0 => String::new(),
                _ => format!(" muted {muted:?}"),
            };
            format!("heartbeat {}{muted} {groups:?}", send.0)
        }
        Answer::Vote(vote) => {
            let word = match vote.vote {
                Vote::Granted => "GRANTED".to_owned(),
                Vote::Denied(denial) => format!("denied: {denial:?}"),
            };
            format!("vote {} g{} t{} {word}", vote.send.0, vote.group.0, vote.term.0)
        }
        Answer::TakenBack { send } => format!("taken back {}", send.0),
        Answer::Operator(answer) => format!("operator {} {:?}", answer.send.0, answer.result),
    }
}
