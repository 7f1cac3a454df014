//! A cloud that is eventually consistent, slow, throttled, and late: a call whose outcome was
//! never told may take effect minutes after.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use vipward_core::{
    AddressKind, Association, AssociationId, CallOutcome, CallReply, CloudCall, GroupId, Holder,
    Input, NodeId, Observation, Operation,
};

use crate::clock::Nanos;
use crate::kernel::Place;
use crate::observer::nanos;
use crate::plan::{ADDRESSES, GROUPS, Scenario, VOTERS};
use crate::show;
use crate::world::{Event, World};

/// Who holds an address.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Owner {
    Node(usize),
    Outside,
}

/// One address, and its past.
#[derive(Clone, Debug, Default)]
pub(crate) struct Address {
    /// Since when, with whom, under which association.
    past: Vec<(Nanos, Option<(Owner, u32)>)>,
}

impl Address {
    pub(crate) fn owner(&self) -> Option<Owner> {
        Some(self.now()?.0)
    }

    fn now(&self) -> Option<(Owner, u32)> {
        self.past.last()?.1
    }

    fn then(&self, at: Nanos) -> Option<(Owner, u32)> {
        self.past.iter().rev().find(|(since, _)| *since <= at)?.1
    }
}

/// The cloud.
#[derive(Default)]
pub(crate) struct Cloud {
    pub(crate) addresses: [[Address; ADDRESSES]; GROUPS],
    associations: u32,
    pub(crate) calls: Vec<InFlight>,
    /// Until then nothing works.
    pub(crate) down_until: Nanos,
    /// By node: denied every call.
    pub(crate) denied: [bool; VOTERS],
    /// By node: no call gets through.
    pub(crate) unreachable: [bool; VOTERS],
    /// When the last call takes effect that is under way.
    pub(crate) last_landing: Nanos,
}

/// A call that was sent.
pub(crate) struct InFlight {
    node: usize,
    life: u32,
    call: CloudCall,
    started: Nanos,
    outcome: Option<CallOutcome>,
}

impl World {
    /// The edge sends a call, unless it is too late.
    pub(crate) fn call_starts(&mut self, node: usize, life: u32, call: Box<CloudCall>) {
        let host = &mut self.hosts[node];
        if !host.runs(life) {
            return;
        }
        if host.frozen.is_some() {
            host.backlog.push(Event::CallStarts { node, life, call });
            return;
        }
        let local = host.clock.at(self.now).local;
        let late = call.not_after.is_some_and(|at| at.as_nanos() < local);
        let id = self.cloud.calls.len();
        let timeout = nanos(call.timeout);
        let mutating = call.operation.mutates().is_some();
        let outcome = late.then_some(CallOutcome::NotStarted);
        let started = self.now;
        self.cloud.calls.push(InFlight { node, life, call: *call, started, outcome });
        if late {
            return self.queue.push(self.now, Event::CallReturns { id });
        }
        let latency = self.plan.mix.cloud.latency;
        let (there, back) =
            (self.dice.between(latency.0, latency.1), self.dice.between(latency.0, latency.1));
        let (known, lands) = self.luck_of_call(node, there);
        let lands = lands.map(|after| self.now + after);
        if let Some(at) = lands {
            self.queue.push(at, Event::CallLands { id });
            if mutating {
                self.cloud.last_landing = self.cloud.last_landing.max(at);
            }
        }
        let answered = (there + back).min(timeout);
        match known {
            Some(outcome) => self.cloud.calls[id].outcome = Some(outcome),
            None if there + back > timeout => {
                self.cloud.calls[id].outcome = Some(CallOutcome::Timeout);
            }
            None => {}
        }
        let timed_out = self.cloud.calls[id].outcome == Some(CallOutcome::Timeout);
        let answered = if timed_out { timeout } else { answered };
        self.queue.push(self.now + answered, Event::CallReturns { id });
    }

    /// What a call meets, if not success; and after what time it takes effect, if ever.
    fn luck_of_call(&mut self, node: usize, there: Nanos) -> (Option<CallOutcome>, Option<Nanos>) {
        if self.cloud.unreachable[node] || self.now < self.cloud.down_until {
            let what = "connection refused".into();
            return (Some(CallOutcome::Error { what }), None);
        }
        if self.cloud.denied[node] {
            let code = "UnauthorizedOperation".into();
            return (Some(CallOutcome::Denied { code }), None);
        }
        if !self.faults {
            return (None, Some(there));
        }
        let (unknown, throttled, refused, effect, late_most) = {
            let mix = &self.plan.mix.cloud;
            (mix.unknown, mix.throttled, mix.refused, mix.effect, mix.late_most)
        };
        if self.dice.percent(throttled) {
            return (Some(CallOutcome::Throttled), None);
        }
        if self.dice.percent(refused) {
            let code = "IncorrectInstanceState".into();
            return (Some(CallOutcome::Refused { code }), None);
        }
        if self.dice.percent(unknown) {
            let outcome = if self.dice.percent(60) {
                CallOutcome::Timeout
            } else {
                CallOutcome::Error { what: "503 ServiceUnavailable".into() }
            };
            let late = self.dice.percent(effect).then(|| self.dice.spread(there, late_most));
            return (Some(outcome), late);
        }
        (None, Some(there))
    }

    /// A call takes effect, or is refused for its content.
    pub(crate) fn call_lands(&mut self, id: usize) {
        let InFlight { node, call, .. } = &self.cloud.calls[id];
        let (node, group) = (*node, call.group.index());
        let outcome = match &call.operation {
            Operation::Describe { kind, addresses } => {
                let stale = {
                    let mix = &self.plan.mix.cloud;
                    let settled = !self.faults && self.plan.scenario == Scenario::Swarm;
                    let stale = !settled && self.dice.percent(mix.stale);
                    if stale { self.dice.spread(0, mix.stale_most) } else { 0 }
                };
                let at = self.now.saturating_sub(stale);
                let cloud = &self.cloud;
                let seen = addresses.iter().map(|address| {
                    let known = cloud.addresses[group][address.index()].then(at);
                    observation(*address, *kind, group, known)
                });
                CallOutcome::Ok(CallReply::Described(seen.collect()))
            }
            Operation::Associate { address, reassociate: over }
            | Operation::Assign { address, reassign: over } => {
                let (place, over) = ((group, address.index()), *over);
                self.give(node, place, over)
            }
            Operation::Disassociate { address, association }
            | Operation::Unassign { address, interface: association } => {
                let (place, association) = ((group, address.index()), association.clone());
                self.let_go(place, &association)
            }
        };
        let lands = self.now;
        self.trace.line(lands, node, || {
            let (what, state) = (&self.cloud.calls[id].call, &self.cloud.addresses[group]);
            let owners: Vec<_> = state.iter().map(Address::owner).collect();
            let (call, outcome) = (show::show_call(what), show::show_outcome(&outcome));
            format!("CLOUD {call} lands: {outcome}; owners now {owners:?}")
        });
        let known = &mut self.cloud.calls[id].outcome;
        if known.is_none() {
            *known = Some(outcome);
        }
    }

    /// An address is to be associated with a node, or assigned to it.
    fn give(&mut self, node: usize, place: Place, over: bool) -> CallOutcome {
        let (group, address) = place;
        let kind = self.plan.kind(group, address);
        let code = match kind {
            AddressKind::ElasticIp => "Resource.AlreadyAssociated",
            AddressKind::SecondaryIp => "InvalidParameterValue",
        };
        let owner = Owner::Node(node);
        let association = match self.cloud.addresses[group][address].now() {
            Some((held, association)) if held == owner => association,
            Some(_) if !over => return CallOutcome::Refused { code: code.into() },
            Some(_) | None => self.take(group, address, Some(owner)),
        };
        CallOutcome::Ok(CallReply::Associated(name(kind, owner, association)))
    }

    /// One association is to end, or an address to be taken off one interface.
    fn let_go(&mut self, place: Place, id: &AssociationId) -> CallOutcome {
        let (group, address) = place;
        let kind = self.plan.kind(group, address);
        let now = self.cloud.addresses[group][address].now();
        if now.is_some_and(|(owner, association)| name(kind, owner, association) == *id) {
            self.take(group, address, None);
            return CallOutcome::Ok(CallReply::Disassociated);
        }
        let code = match kind {
            AddressKind::ElasticIp => "InvalidAssociationID.NotFound",
            AddressKind::SecondaryIp => "InvalidParameterValue",
        };
        CallOutcome::Refused { code: code.into() }
    }

    /// The address goes to `owner`, under a new association.
    pub(crate) fn take(&mut self, group: usize, address: usize, owner: Option<Owner>) -> u32 {
        self.cloud.associations += 1;
        let association = self.cloud.associations;
        let known = &mut self.cloud.addresses[group][address];
        let before = known.owner();
        known.past.push((self.now, owner.map(|owner| (owner, association))));
        for node in [before, owner] {
            if let Some(Owner::Node(node)) = node
                && self.plan.mix.cloud.hints
            {
                let soon = self.dice.between(0, (1_000_000_000).min(3 * self.plan.heartbeat));
                let life = self.hosts[node].life;
                let input = Input::OwnershipHint { group: GroupId(group as u8) };
                self.queue.push(self.now + soon, Event::Local { node, life, input });
            }
        }
        association
    }

    /// The edge tells how a call ended.
    pub(crate) fn call_returns(&mut self, id: usize) {
        let InFlight { node, life, call, started, outcome } = &self.cloud.calls[id];
        let outcome = outcome.clone().unwrap_or(CallOutcome::Timeout);
        let named = match outcome {
            CallOutcome::NotStarted | CallOutcome::Timeout | CallOutcome::Error { .. } => false,
            CallOutcome::Ok(_)
            | CallOutcome::Refused { .. }
            | CallOutcome::Denied { .. }
            | CallOutcome::Throttled => true,
        };
        let request_id: Option<Arc<str>> = named.then(|| format!("req-{id}").into());
        let took = Duration::from_nanos(self.now - started);
        let input = Input::CallFinished { call: call.id, outcome, request_id, took };
        let (node, life) = (*node, *life);
        self.local(node, life, input);
    }
}

/// What names an association in reads and calls: each of an elastic IP has an id of its own, that
/// of a secondary address is only known by the interface, which is the same each time.
fn name(kind: AddressKind, owner: Owner, association: u32) -> AssociationId {
    match kind {
        AddressKind::ElasticIp => AssociationId(format!("eipassoc-{association}").into()),
        AddressKind::SecondaryIp => interface_of(owner),
    }
}

pub(crate) fn interface_of(owner: Owner) -> AssociationId {
    AssociationId(match owner {
        Owner::Node(node) => format!("eni-{node}").into(),
        Owner::Outside => "eni-outside".into(),
    })
}

fn observation(
    address: vipward_core::AddressId,
    kind: AddressKind,
    group: usize,
    known: Option<(Owner, u32)>,
) -> Observation {
    let association = known.map(|(owner, association)| Association {
        id: name(kind, owner, association),
        holder: match owner {
            Owner::Node(node) => Holder::Node(NodeId(node as u8)),
            Owner::Outside => Holder::Outside("i-outside".into()),
        },
    });
    let ip = IpAddr::V4(Ipv4Addr::new(198, 51, group as u8, address.0));
    Observation { address, ip: Some(ip), association }
}
