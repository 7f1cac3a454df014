//! I2 and I7: mutating calls are fenced, confirmed and few.

use std::collections::VecDeque;
use std::sync::Arc;

use vipward_core::{
    AddressKind, CallId, CallOutcome, CallReply, ClaimMode, CloudCall, Holder, Operation,
    OwnershipName, Presence,
};

use crate::clock::{Moment, Nanos, SEC};
use crate::cloud::{Owner, interface_of};
use crate::observer::journal::Due;
use crate::observer::{Observer, letter};

/// Where no id tells a move from a stale read, two reads so far apart must agree.
pub(super) const AGREEMENT: Nanos = 2 * SEC;
const MINUTE: Nanos = 60 * SEC;
/// Of a minute of repairs: a repair is decided before it is ordered.
const REPAIRS_WITHIN: Nanos = 45 * SEC;
/// More mutating calls for one address in a minute than any backoff allows.
const ENDLESS: usize = 150;

/// What one life did for one address.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    /// The term of its last mutating call.
    term: u64,
    in_flight: Option<CallId>,
    /// When its last mutating call of the term ended, and whether the address was then its own.
    finished: Option<(Nanos, bool)>,
    /// The first read since then that showed the address elsewhere, and the last one.
    moved: Option<Nanos>,
    moved_last: Nanos,
    /// One since then showed it with nobody.
    gone: bool,
    /// An outcome of this term is unknown, and nothing has shown since that it succeeded.
    unknown: bool,
    repairs: VecDeque<Nanos>,
    orders: VecDeque<Nanos>,
    /// As journaled.
    pub(crate) ownership: OwnershipName,
}

impl Default for Account {
    fn default() -> Self {
        Self {
            term: 0,
            in_flight: None,
            finished: None,
            moved: None,
            moved_last: 0,
            gone: false,
            unknown: false,
            repairs: VecDeque::new(),
            orders: VecDeque::new(),
            ownership: OwnershipName::Unknown,
        }
    }
}

/// A call under way.
#[derive(Clone, Debug)]
pub(crate) struct Ordered {
    id: CallId,
    group: usize,
    term: u64,
    operation: Operation,
}

/// One mutating call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Takeover {
    pub(crate) at: Nanos,
    pub(crate) node: usize,
    pub(crate) group: usize,
    pub(crate) term: u64,
    pub(crate) address: usize,
}

impl Observer {
    pub(super) fn call_ordered(&mut self, node: usize, at: Moment, call: &CloudCall) {
        let (group, term) = (call.group.index(), call.term.0);
        let known = self.lives[node].calls.iter().any(|other| other.id == call.id);
        if known {
            self.violate("interface", || format!("{:?} is used twice", call.id));
        }
        let operation = call.operation.clone();
        self.lives[node].calls.push(Ordered { id: call.id, group, term, operation });
        let Some(address) = call.operation.mutates() else { return };
        let address = address.index();
        if !self.started.contains(&call.id.0) {
            self.violate("I8", || format!("{} does not journal {:?}", letter(node), call.id));
        }
        if let Err(what) = self.judge_order(node, at, call, address) {
            let operation = call.operation.as_str();
            self.violate("I2", || format!("{} orders {operation}: {what}", letter(node)));
        }
        if let Err(what) = self.judge_budget(node, at, (group, term), address) {
            self.violate("I7", || format!("{}: {what}", letter(node)));
        }
        let account = &mut self.lives[node].accounts[group][address];
        if account.term != term {
            account.term = term;
            account.unknown = false;
            account.finished = None;
        }
        account.in_flight = Some(call.id);
        account.moved = None;
        account.gone = false;
        self.takeovers.push(Takeover { at: at.real, node, group, term, address });
    }

    /// I2: a valid lease with one interval left, confirmed, and no blind retry.
    fn judge_order(
        &self,
        node: usize,
        at: Moment,
        call: &CloudCall,
        address: usize,
    ) -> Result<(), String> {
        let life = &self.lives[node];
        let (group, term) = (call.group.index(), call.term.0);
        let Some(mastery) = life.masteries[group].as_ref().filter(|m| m.term == term) else {
            return Err(format!("it is not master in term {term}"));
        };
        let last = mastery.ends(self.quorum).saturating_sub(life.heartbeat());
        if at.local > last {
            return Err("less than one interval of its lease is left".into());
        }
        let not_after = call.not_after.map_or(Nanos::MAX, |at| at.as_nanos());
        if not_after > last {
            return Err("it may be sent with less than one interval of lease left".into());
        }
        let account = &life.accounts[group][address];
        if let Some(id) = account.in_flight {
            return Err(format!("{id:?} for the same address is under way"));
        }
        if let Operation::Unassign { interface, .. } = &call.operation
            && *interface == interface_of(Owner::Node(node))
        {
            return Err("from its own interface".into());
        }
        let same = account.term == term;
        let secondary = life.config.groups[group].addresses[address] == AddressKind::SecondaryIp;
        if secondary && life.local.kernel[group][address] != Some(Presence::Present) {
            return Err("before its kernel has the address".into());
        }
        if secondary
            && same
            && let (Some((_, true)), Some(moved)) = (account.finished, account.moved)
            && !account.gone
            && account.moved_last < moved + AGREEMENT
        {
            return Err("though only one read shows that it moved".into());
        }
        let reassociate = match call.operation {
            Operation::Associate { reassociate, .. } => reassociate,
            Operation::Assign { reassign, .. } => reassign,
            Operation::Disassociate { .. }
            | Operation::Unassign { .. }
            | Operation::Describe { .. } => false,
        };
        if reassociate && life.config.claim == ClaimMode::Fenced {
            return Err("unconditional, though claims are fenced".into());
        }
        if reassociate && same && account.unknown {
            return Err("unconditional, after an unknown outcome".into());
        }
        // The first call of a takeover follows its votes directly; each later one is confirmed.
        let decided = match account.finished.filter(|_| same) {
            Some((finished, false)) => finished,
            Some((finished, true)) => account.moved.unwrap_or(finished),
            None if at.local == mastery.elected.local => return Ok(()),
            None => mastery.elected.local,
        };
        let fresh = mastery.stamps.iter().flatten().filter(|stamp| stamp.sent >= decided).count();
        if fresh < self.quorum {
            return Err(format!("only {fresh} voters answered since it was decided"));
        }
        Ok(())
    }

    /// I7: repairs within their budget, and no endless loop.
    fn judge_budget(
        &mut self,
        node: usize,
        at: Moment,
        (group, term): (usize, u64),
        address: usize,
    ) -> Result<(), String> {
        let life = &mut self.lives[node];
        let most = life.config.repairs as usize;
        let account = &mut life.accounts[group][address];
        if account.term != term {
            account.orders.clear(); // Operators may move it as often as they like.
        }
        account.orders.push_back(at.local);
        while account.orders.front().is_some_and(|then| at.local - *then >= MINUTE) {
            account.orders.pop_front();
        }
        if account.orders.len() > ENDLESS {
            return Err("calls for one address without end".into());
        }
        if account.term == term
            && let Some((_, true)) = account.finished
        {
            if account.moved.is_none() {
                return Err("it claims again what nothing took away".into());
            }
            account.repairs.push_back(at.local);
            while account.repairs.front().is_some_and(|then| at.local - *then >= REPAIRS_WITHIN) {
                account.repairs.pop_front();
            }
            if account.repairs.len() > most {
                return Err(format!("{} repairs in a minute", account.repairs.len()));
            }
        }
        Ok(())
    }

    pub(super) fn call_finished(
        &mut self,
        node: usize,
        at: Moment,
        call: CallId,
        outcome: &CallOutcome,
        request_id: Option<&Arc<str>>,
    ) {
        let life = &mut self.lives[node];
        let Some(index) = life.calls.iter().position(|ordered| ordered.id == call) else { return };
        let Ordered { group, term, operation, .. } = life.calls.swap_remove(index);
        let accounts = &mut life.accounts[group];
        let Some(address) = operation.mutates() else {
            let CallOutcome::Ok(CallReply::Described(observed)) = outcome else { return };
            for seen in observed {
                let own = seen.association.as_ref().is_some_and(
                    |association| matches!(association.holder, Holder::Node(n) if n.index() == node),
                );
                let account = &mut accounts[seen.address.index()];
                if account.in_flight.is_some() {
                    continue;
                }
                if own {
                    account.unknown = false;
                } else {
                    account.moved.get_or_insert(at.local);
                    account.moved_last = at.local;
                    account.gone |= seen.association.is_none();
                }
                let place = (group, seen.address.index());
                life.local.seen(at.local, place, !own && seen.association.is_some());
            }
            return;
        };
        let account = &mut accounts[address.index()];
        account.in_flight = None;
        account.moved = None;
        account.gone = false;
        self.due = Some(Due { node, call: call.0, request_id: request_id.cloned() });
        if account.term != term {
            return;
        }
        let owned = matches!(outcome, CallOutcome::Ok(CallReply::Associated(_)));
        account.unknown |= outcome.is_unknown();
        account.unknown &= !owned;
        account.finished = Some((at.local, owned));
    }

    /// Whether the node has journaled that it holds the address.
    pub(crate) fn owns(&self, node: usize, group: usize, address: usize) -> bool {
        self.lives[node].accounts[group][address].ownership == OwnershipName::Owned
    }

    /// How many mutating calls a node made for an address in a term.
    pub(crate) fn calls_in(&self, group: usize, term: u64, address: usize) -> usize {
        let of = |t: &&Takeover| (t.group, t.term, t.address) == (group, term, address);
        self.takeovers.iter().filter(of).count()
    }
}
