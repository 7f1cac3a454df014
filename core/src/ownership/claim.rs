//! The calls of a claim: ordered under the lease, confirmed, fenced, their outcomes recorded
//! (design 5.1 to 5.3).

use std::sync::Arc;
use std::time::Duration;

use super::{Address, Calling, Known, Permit, Plan, RETRY_LEAST, RETRY_MOST};
use crate::config::{AddressKind, ClaimMode};
use crate::event::{AlarmName, Event, EventKind};
use crate::group::{Group, Role};
use crate::input::{Association, CallOutcome, CallReply};
use crate::mutation::{Mutation, active};
use crate::output::{CloudCall, Operation, Output};
use crate::shared::Cx;
use crate::types::{AddressId, CallId, Cause, Holder, NodeId, Timestamp};

/// After so many failures in a row there is an alarm.
const FAILURES_ALARMED: u32 = 3;
/// After so many, a master whom somebody else could replace hands over.
const FAILURES_HANDED_OVER: u32 = 5;

impl Group {
    /// Orders what is to be done about the addresses now.
    pub(crate) fn drive_addresses(&mut self, cx: &mut Cx<'_>) {
        if self.ownership.addresses.is_empty() {
            self.account_claim(cx);
            return;
        }
        if matches!(self.role, Role::None) {
            return;
        }
        if !active(Mutation::KernelAfterCall) {
            self.order_kernel(cx); // Before the cloud sends traffic here.
        }
        for index in 0..self.ownership.addresses.len() {
            self.drive_address(cx, AddressId(u8::try_from(index).unwrap_or(u8::MAX)));
        }
        if active(Mutation::KernelAfterCall) {
            self.order_kernel(cx);
        }
        self.read_if_due(cx);
    }

    pub(super) fn drive_address(&mut self, cx: &mut Cx<'_>, id: AddressId) {
        let draining = self.handover.as_ref().is_some_and(|h| h.is_before_resignation());
        let acts = match &self.role {
            Role::Master(mastership) => Some((
                mastership.term,
                mastership.lease_until(cx.s),
                mastership.confirmed(cx.s),
                mastership.cause,
            )),
            Role::None | Role::Backup | Role::Holding(_) => None,
        };
        let Some((term, lease_until, confirmed, cause)) = acts else { return };
        let Some(address) = self.ownership.addresses.get_mut(id.index()) else { return };
        let Plan::Claim { permit, why } = address.plan else { return };
        let calling = address.calling.is_some() && !active(Mutation::CallsOverlap);
        if draining || calling || cx.now < address.retry_at {
            if permit == Permit::Votes {
                // The votes permit a call in the step that won them, and no later one.
                address.plan = Plan::Claim { permit: Permit::Undecided, why };
            }
            return;
        }
        let uncertain = address.uncertain && !active(Mutation::RetryUnconditional);
        let fenced = cx.s.config.claim == ClaimMode::Fenced || uncertain;
        let Some(operation) = address.next_operation(id, fenced, cx.s.config.me) else {
            // Not without a fresh look, and then decided anew; after a read that failed, its pause.
            address.plan = Plan::Claim { permit: Permit::Undecided, why };
            let looked = address.looked_at.is_some_and(|at| at >= address.changed_at);
            let idle = self.ownership.reading.is_empty() && self.ownership.read_failures == 0;
            if idle && !looked {
                self.ownership.read_at = cx.now;
            }
            return;
        };
        let interval = cx.s.interval();
        let enough = lease_until.left(cx.now) >= interval || active(Mutation::CallWithoutLease);
        let permitted = match permit {
            Permit::Votes => enough,
            Permit::After(send) => {
                (confirmed > send || active(Mutation::CallUnconfirmed)) && enough
            }
            Permit::Undecided => active(Mutation::CallUnconfirmed) && enough,
        };
        let written = cx.s.disk.elected.get(self.id.index()).is_some_and(|known| *known >= term);
        let awaited = active(Mutation::DiskAwaited) && !written;
        if !permitted || awaited {
            if !matches!(permit, Permit::After(_)) {
                // Decided here: from now on a majority must answer, at once.
                address.plan = Plan::Claim { permit: Permit::After(cx.s.last_send), why };
                cx.s.beat_now = true;
            }
            return;
        }
        // Each later call is decided anew.
        address.plan = Plan::Claim { permit: Permit::Undecided, why };
        let not_after = Some(Timestamp::from_nanos(
            lease_until
                .as_nanos()
                .saturating_sub(u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX)),
        ));
        let call = cx.s.new_call();
        address.calling = Some(Calling { call, operation: operation.clone(), term });
        address.remember_before();
        if active(Mutation::CallsOverlap) {
            address.retry_at = cx.now + interval; // Or the faulty node would do nothing else.
        }
        let kind = EventKind::CallStarted {
            call,
            operation: operation.as_str(),
            address: Some(id),
            reason: why,
        };
        let mut event = Event::group(self.id, term, kind);
        event.cause = Some(cause);
        cx.event(event);
        let timeout = cx.s.config.call_timeout;
        let not_after = if active(Mutation::CallWithoutLease) { None } else { not_after };
        cx.out.push(Output::Call(CloudCall {
            id: call,
            group: self.id,
            term,
            operation,
            not_after,
            timeout,
        }));
    }

    /// A cloud call ended. Whether it was one of this group.
    pub(crate) fn on_call_finished(
        &mut self,
        cx: &mut Cx<'_>,
        call: CallId,
        outcome: &CallOutcome,
        request_id: Option<&Arc<str>>,
        took: Duration,
    ) -> bool {
        let reading = self.ownership.reading.iter().position(|reading| reading.call == call);
        if let Some(index) = reading {
            let reading = self.ownership.reading.remove(index);
            self.on_read(cx, reading, outcome);
            self.journal_read(cx, reading, outcome, request_id, took);
            return true;
        }
        let found = self.ownership.addresses.iter_mut().enumerate().find_map(|(index, address)| {
            let calling = address.calling.take_if(|calling| calling.call == call)?;
            Some((index, calling))
        });
        let Some((index, calling)) = found else { return false };
        let id = AddressId(u8::try_from(index).unwrap_or(u8::MAX));
        let kind = EventKind::CallFinished {
            call,
            operation: calling.operation.as_str(),
            address: Some(id),
            outcome: outcome.as_str(),
            detail: outcome.detail(),
            request_id: request_id.cloned(),
            took,
        };
        cx.event(Event::group(self.id, calling.term, kind));
        self.on_mutated(cx, id, &calling, outcome);
        true
    }

    fn on_mutated(
        &mut self,
        cx: &mut Cx<'_>,
        id: AddressId,
        calling: &Calling,
        outcome: &CallOutcome,
    ) {
        let now = cx.now;
        let Some(address) = self.ownership.addresses.get_mut(id.index()) else { return };
        let before = address.known.name();
        address.changed_at = now;
        match outcome {
            CallOutcome::Ok(CallReply::Associated(association)) => {
                address.known = Known::Owned(association.clone());
                let holder = Holder::Node(cx.s.config.me);
                address.observed =
                    Some((Some(Association { id: association.clone(), holder }), now));
                address.plan = if active(Mutation::ClaimNotSettled) {
                    Plan::Claim { permit: Permit::Undecided, why: "again" }
                } else {
                    Plan::Settled
                };
                address.claimed = true;
                address.acknowledged_at = Some(now);
                address.uncertain = false;
                address.failures = 0;
                address.suspected_at = None;
                cx.clear(AlarmName::ClaimFailing(self.id, id));
                if matches!(self.role, Role::Master(_)) {
                    self.ownership.guarded_since = Some(now);
                    self.ownership.read_at = now;
                }
                self.owned_changed(cx, id, before, "claimed");
                self.account_claim(cx);
                return;
            }
            CallOutcome::Ok(CallReply::Disassociated) => {
                address.known = Known::NotOwned(None);
                address.observed = Some((None, now));
                address.failures = 0;
            }
            // A reply of another kind is no reply.
            CallOutcome::Ok(CallReply::Described(_))
            | CallOutcome::Timeout
            | CallOutcome::Error { .. } => {
                address.known = Known::Unknown;
                address.uncertain = true;
                address.observed = None;
                address.failed(cx, true);
            }
            CallOutcome::NotStarted => {}
            CallOutcome::Refused { .. } => {
                address.observed = None; // What it was based on is no longer so.
                // A lost race is tried again soon; what is refused again and again is not.
                let again = address.failures >= 2;
                address.failed(cx, again);
            }
            CallOutcome::Denied { .. } | CallOutcome::Throttled => address.failed(cx, true),
        }
        if let Role::Master(mastership) = &self.role {
            // Of this mastership or an older one: either way the address is to be claimed.
            if matches!(address.plan, Plan::Settled) && mastership.term != calling.term {
                address.plan = Plan::Claim { permit: Permit::Undecided, why: "takeover" };
            }
        }
        let failures = address.failures;
        self.owned_changed(cx, id, before, "a call ended");
        self.on_failures(cx, id, failures, outcome);
    }

    fn on_failures(&mut self, cx: &mut Cx<'_>, id: AddressId, failures: u32, last: &CallOutcome) {
        if failures >= FAILURES_ALARMED {
            let what = last.detail().unwrap_or_else(|| last.as_str().into());
            cx.raise(AlarmName::ClaimFailing(self.id, id), || {
                format!("calls for the address keep failing ({what}); see `vipward events`")
            });
        }
        // If only this node fails, it hands over (design section 8).
        // A denial is no weather: trying again here cannot help.
        let enough = match last {
            CallOutcome::Denied { .. } => 1,
            CallOutcome::Ok(_)
            | CallOutcome::NotStarted
            | CallOutcome::Refused { .. }
            | CallOutcome::Throttled
            | CallOutcome::Timeout
            | CallOutcome::Error { .. } => FAILURES_HANDED_OVER,
        };
        if failures >= enough
            && matches!(self.role, Role::Master(_))
            && self.handover.is_none()
            && !cx.s.preflight_ok()
            && !self.moves_exhausted(cx.s, cx.now)
            && let Some(to) = self.best_successor(cx.s, false)
        {
            self.hand_over(cx, to, Cause::Preventive, false, None);
        }
    }
}

impl Address {
    /// The next call of a claim; `None` if that needs a fresh read first.
    fn next_operation(&self, address: AddressId, fenced: bool, me: NodeId) -> Option<Operation> {
        let claim = |over: bool| match self.kind {
            AddressKind::ElasticIp => Operation::Associate { address, reassociate: over },
            AddressKind::SecondaryIp => Operation::Assign { address, reassign: over },
        };
        if !fenced {
            return Some(claim(true));
        }
        match &self.observed {
            None => None,
            Some((Some(held), _))
                if held.holder == Holder::Node(me) && !active(Mutation::UnassignOwn) =>
            {
                None
            }
            Some((Some(held), _)) => Some(match self.kind {
                AddressKind::ElasticIp => {
                    Operation::Disassociate { address, association: held.id.clone() }
                }
                AddressKind::SecondaryIp => {
                    Operation::Unassign { address, interface: held.id.clone() }
                }
            }),
            Some((None, _)) => Some(claim(false)),
        }
    }

    /// Remembers what a stale read may still show after this call.
    fn remember_before(&mut self) {
        let Some((association, _)) = &self.observed else { return };
        let id = association.as_ref().map(|association| association.id.clone());
        self.remember(id);
    }

    /// A pause before the next try: full jitter, longer with each failure.
    fn failed(&mut self, cx: &mut Cx<'_>, backs_off: bool) {
        self.failures = self.failures.saturating_add(1);
        if active(Mutation::NoRetry) {
            self.retry_at = Timestamp::NEVER;
            return;
        }
        if active(Mutation::RetryAtOnce) {
            return;
        }
        let exponent = if backs_off { self.failures.min(5) } else { 0 };
        let most = (RETRY_LEAST * (1 << exponent)).min(RETRY_MOST);
        self.retry_at = cx.now + cx.s.random.up_to(most);
    }
}

impl CallOutcome {
    /// The error's code or text, where there is one.
    pub(crate) fn detail(&self) -> Option<Arc<str>> {
        match self {
            Self::Ok(_) | Self::Timeout | Self::Throttled => None,
            Self::NotStarted => Some("not sent: the lease had too little left".into()),
            Self::Refused { code } | Self::Denied { code } => Some(Arc::clone(code)),
            Self::Error { what } => Some(Arc::clone(what)),
        }
    }
}
