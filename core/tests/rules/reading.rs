//! Reads orders: what was sent, answered, called and journaled.

use std::sync::Arc;

use vipward_core::*;

/// The votes given in answer to requests.
pub(crate) fn votes(out: &[Output]) -> Vec<Vote> {
    let votes = out.iter().filter_map(|output| match output {
        Output::Answer { answer: Answer::Vote(answer), .. } => Some(answer.vote),
        Output::Answer { .. }
        | Output::Send { .. }
        | Output::Probe { .. }
        | Output::Compare { .. }
        | Output::Pull { .. }
        | Output::Call(_)
        | Output::Persist(_)
        | Output::OperatorDone { .. }
        | Output::Kernel { .. }
        | Output::Hook(_)
        | Output::Event(_)
        | Output::Stopped => None,
    });
    votes.collect()
}

/// Why the one vote in `out` was denied.
pub(crate) fn denial(out: &[Output]) -> Denial {
    let votes = votes(out);
    let [Vote::Denied(denial)] = votes[..] else { panic!("one denial expected, not {votes:?}") };
    denial
}

/// This node's own requests for votes.
pub(crate) fn requests(out: &[Output]) -> Vec<(NodeId, VoteRequest)> {
    let requests = out.iter().filter_map(|output| {
        if let Output::Send { to, request: Request::Vote(request) } = output {
            return Some((*to, request.clone()));
        }
        None
    });
    requests.collect()
}

/// The one candidacy begun in `out`.
pub(crate) fn candidacy(out: &[Output]) -> VoteRequest {
    let mut requests = requests(out);
    requests.dedup_by(|a, b| a.1 == b.1);
    assert_eq!(requests.len(), 1, "one candidacy expected");
    requests.remove(0).1
}

/// The last heartbeat sent, to whomever.
pub(crate) fn last_beat(out: &[Output]) -> Option<Arc<Heartbeat>> {
    let mut beats = out.iter().filter_map(|output| {
        if let Output::Send { request: Request::Heartbeat(beat), .. } = output {
            return Some(Arc::clone(beat));
        }
        None
    });
    beats.next_back()
}

/// The heartbeats sent to `peer`.
pub(crate) fn beats(out: &[Output], peer: NodeId) -> Vec<Arc<Heartbeat>> {
    let beats = out.iter().filter_map(|output| {
        if let Output::Send { to, request: Request::Heartbeat(beat) } = output {
            return (*to == peer).then(|| Arc::clone(beat));
        }
        None
    });
    beats.collect()
}

/// The answers to heartbeats.
pub(crate) fn beat_answers(out: &[Output]) -> Vec<HeartbeatAnswer> {
    let answers = out.iter().filter_map(|output| {
        if let Output::Answer { answer: Answer::Heartbeat(answer), .. } = output {
            return Some(answer.clone());
        }
        None
    });
    answers.collect()
}

/// What the one heartbeat answered in `out` was told about the group.
pub(crate) fn beat_answer(out: &[Output]) -> GroupBeatAnswer {
    let answers = beat_answers(out);
    assert_eq!(answers.len(), 1, "one answer to a heartbeat expected");
    answers[0].groups[0].clone()
}

pub(crate) fn renewed(out: &[Output]) -> bool {
    beat_answer(out).renewal != Renewal::None
}

/// What was taken back, told by requests of their own, once for each peer.
pub(crate) fn take_backs(out: &[Output]) -> Vec<(NodeId, Vec<TakeBack>)> {
    let sent = out.iter().filter_map(|output| {
        if let Output::Send { to, request: Request::TakeBack(take_backs) } = output {
            return Some((*to, take_backs.list.clone()));
        }
        None
    });
    sent.collect()
}

/// The commands sent to peers.
pub(crate) fn commands(out: &[Output]) -> Vec<(NodeId, OperatorRequest)> {
    let sent = out.iter().filter_map(|output| {
        if let Output::Send { to, request: Request::Operator(request) } = output {
            return Some((*to, request.clone()));
        }
        None
    });
    sent.collect()
}

/// What operators at this node were told.
pub(crate) fn outcomes(out: &[Output]) -> Vec<OperatorResult> {
    let done = out.iter().filter_map(|output| {
        if let Output::OperatorDone { result, .. } = output {
            return Some(*result);
        }
        None
    });
    done.collect()
}

/// What peers that passed commands on were told.
pub(crate) fn operator_answers(out: &[Output]) -> Vec<OperatorResult> {
    let answers = out.iter().filter_map(|output| {
        if let Output::Answer { answer: Answer::Operator(answer), .. } = output {
            return Some(answer.result);
        }
        None
    });
    answers.collect()
}

pub(crate) fn calls(out: &[Output]) -> Vec<CloudCall> {
    let calls = out.iter().filter_map(|output| {
        if let Output::Call(call) = output {
            return Some(call.clone());
        }
        None
    });
    calls.collect()
}

pub(crate) fn mutating(out: &[Output]) -> Vec<CloudCall> {
    calls(out).into_iter().filter(|call| call.operation.mutates().is_some()).collect()
}

pub(crate) fn reads(out: &[Output]) -> Vec<CloudCall> {
    calls(out).into_iter().filter(|call| call.operation.mutates().is_none()).collect()
}

/// The one mutating call in `out`.
pub(crate) fn mutation(out: &[Output]) -> CloudCall {
    let mut calls = mutating(out);
    assert_eq!(calls.len(), 1, "one mutating call expected, not {calls:?}");
    calls.remove(0)
}

/// What the kernel is ordered to have.
pub(crate) fn kernel_orders(out: &[Output]) -> Vec<(AddressId, Presence)> {
    let orders = out.iter().filter_map(|output| {
        if let Output::Kernel { group: GroupId(0), address, wanted } = output {
            return Some((*address, *wanted));
        }
        None
    });
    orders.collect()
}

/// The hooks that are run.
pub(crate) fn hooks(out: &[Output]) -> Vec<Hook> {
    let hooks = out.iter().filter_map(|output| {
        if let Output::Hook(hook) = output {
            return Some(hook.clone());
        }
        None
    });
    hooks.collect()
}

pub(crate) fn probes(out: &[Output]) -> Vec<NodeId> {
    let probes = out.iter().filter_map(|output| {
        if let Output::Probe { peer } = output {
            return Some(*peer);
        }
        None
    });
    probes.collect()
}

pub(crate) fn persists(out: &[Output]) -> Vec<Durable> {
    let persists = out.iter().filter_map(|output| {
        if let Output::Persist(durable) = output {
            return Some(durable.clone());
        }
        None
    });
    persists.collect()
}

pub(crate) fn events(out: &[Output]) -> Vec<Event> {
    let events = out.iter().filter_map(|output| {
        if let Output::Event(event) = output {
            return Some(event.clone());
        }
        None
    });
    events.collect()
}

/// The changes of the node's standing, each with its reason.
pub(crate) fn standings(out: &[Output]) -> Vec<(Standing, Standing, Arc<str>)> {
    let changes = events(out).into_iter().filter_map(|event| {
        if let EventKind::StandingChanged { from, to, reason } = event.kind {
            return Some((from, to, reason));
        }
        None
    });
    changes.collect()
}

/// The role changes of the first group, each with its cause.
pub(crate) fn role_changes(out: &[Output]) -> Vec<(RoleName, RoleName, Option<Cause>)> {
    let changes = events(out).into_iter().filter_map(|event| {
        if let EventKind::RoleChanged { from, to, .. } = event.kind {
            return Some((from, to, event.cause));
        }
        None
    });
    changes.collect()
}

pub(crate) fn stopped(out: &[Output]) -> bool {
    out.contains(&Output::Stopped)
}
