//! The addresses of one group: asserted, fenced, verified (design section 5).
//!
//! Only a master changes anything, and only towards itself. What is known comes from results of
//! typed calls; a time-out is not a result.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{AddressKind, ClaimMode, GroupConfig};
use crate::event::{AlarmName, Event, EventKind, OwnershipName};
use crate::group::{Group, Role};
use crate::input::{Association, CallOutcome, CallReply, Observation};
use crate::mutation::{Mutation, active};
use crate::output::{CloudCall, Operation, Output};
use crate::shared::Cx;
use crate::types::{
    AddressId, AssociationId, CallId, Cause, Holder, NodeId, SendNumber, Term, Timestamp,
};

/// Reads after a claim: at these times, then every [`GUARD_PACE`] for [`GUARD_WATCH`], the life
/// of a signed request (design 5.4).
const GUARD_READS: [Duration; 4] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(10),
];
const GUARD_PACE: Duration = Duration::from_secs(10);
const GUARD_WATCH: Duration = Duration::from_secs(300);
/// Where two reads must agree, they lie so far apart.
const AGREEMENT: Duration = Duration::from_secs(2);
/// For so long after a change that was acknowledged a read may still show the state before it.
const STALENESS: Duration = Duration::from_secs(15);
/// Retries are full jitter up to this.
const RETRY_MOST: Duration = Duration::from_secs(2);
const RETRY_LEAST: Duration = Duration::from_millis(100);
/// After so many failures in a row there is an alarm.
const FAILURES_ALARMED: u32 = 3;
/// After so many, a master whom somebody else could replace hands over.
const FAILURES_HANDED_OVER: u32 = 5;
const MINUTE: Duration = Duration::from_secs(60);
/// So many associations from before a claim are told from moves.
const REMEMBERED_ASSOCIATIONS: usize = 8;

/// The addresses of one group, as this node knows them.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Ownership {
    pub(crate) addresses: Vec<Address>,
    /// When the next reads are due: one for each kind of address.
    read_at: Timestamp,
    /// The reads under way.
    reading: Vec<Reading>,
    /// Whether one of those that were begun together has failed.
    read_failed: bool,
    /// How often in a row that was so.
    read_failures: u32,
    /// Since when a claim is watched for calls that land late.
    guarded_since: Option<Timestamp>,
}

/// A read under way.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
struct Reading {
    call: CallId,
    kind: AddressKind,
    began: Timestamp,
}

/// One address.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Address {
    kind: AddressKind,
    pub(crate) ip: Option<IpAddr>,
    pub(crate) known: Known,
    /// When the cloud last confirmed what is known.
    pub(crate) verified_at: Option<Timestamp>,
    /// The last association read, and when the read began.
    observed: Option<(Option<Association>, Timestamp)>,
    /// When the last read that could tell something began.
    looked_at: Option<Timestamp>,
    /// The mutating call under way.
    calling: Option<Calling>,
    /// What the master still has to do.
    plan: Plan,
    /// Whether this mastership has claimed it.
    claimed: bool,
    /// Whether a call of this term had an outcome that is not known.
    uncertain: bool,
    /// Not before: the pause after a failure.
    retry_at: Timestamp,
    failures: u32,
    /// When the last mutating call ended: reads begun before tell nothing.
    changed_at: Timestamp,
    /// Associations known from before our claims; `None` for "nobody held it".
    before: VecDeque<Option<AssociationId>>,
    /// When a claim of ours was last acknowledged.
    acknowledged_at: Option<Timestamp>,
    /// First seen then: a state that a second read must confirm.
    suspected_at: Option<Timestamp>,
    /// By a node that does not lead: when reads began to show it at another, and the last that
    /// did.
    elsewhere: Option<(Timestamp, Timestamp)>,
    /// Repairs within the last minute.
    repairs: VecDeque<Timestamp>,
}

/// What is known of an address. Never a bool.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Known {
    Owned(AssociationId),
    NotOwned(Option<Holder>),
    Unknown,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Calling {
    call: CallId,
    operation: Operation,
    term: Term,
}

/// What the master has to do about an address.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Plan {
    /// Nothing, or nothing before a read.
    Settled,
    /// Claim it.
    Claim { permit: Permit, why: &'static str },
}

/// What permits a mutating call (design 5.1).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Permit {
    /// The votes just won: only in the step that won them.
    Votes,
    /// A majority's renewal on a send after this one.
    After(SendNumber),
    /// Not decided yet.
    Undecided,
}

impl Ownership {
    pub(crate) fn new(now: Timestamp, config: &GroupConfig) -> Self {
        let address = |kind: &AddressKind| Address {
            kind: *kind,
            ip: None,
            known: Known::Unknown,
            verified_at: None,
            observed: None,
            looked_at: None,
            calling: None,
            plan: Plan::Settled,
            claimed: false,
            uncertain: false,
            retry_at: now,
            failures: 0,
            changed_at: Timestamp::default(),
            before: VecDeque::new(),
            acknowledged_at: None,
            suspected_at: None,
            elsewhere: None,
            repairs: VecDeque::new(),
        };
        Self {
            addresses: config.addresses.iter().map(address).collect(),
            read_at: now,
            reading: Vec::new(),
            read_failed: false,
            read_failures: 0,
            guarded_since: None,
        }
    }

    /// Whether a read has ended, well or not, or there is nothing to read.
    pub(crate) fn was_read(&self) -> bool {
        let observed = |address: &Address| address.observed.is_some();
        self.read_failures > 0 || self.addresses.iter().all(observed)
    }

    /// The node that holds every address, if one does, as far as known.
    pub(crate) fn holder(&self) -> Option<NodeId> {
        let mut holders = self.addresses.iter().map(|address| match &address.observed {
            Some((Some(Association { holder: Holder::Node(node), .. }), _)) => Some(*node),
            Some(_) | None => None,
        });
        let first = holders.next()??;
        holders.all(|holder| holder == Some(first)).then_some(first)
    }

    /// Whether this node holds every address; also true of a group without any.
    pub(crate) fn holds_all(&self) -> bool {
        self.addresses.iter().all(|address| matches!(address.known, Known::Owned(_)))
    }

    fn verified(&self) -> bool {
        self.addresses.iter().all(|address| {
            matches!(address.known, Known::Owned(_))
                && address.verified_at.is_some_and(|at| at >= address.changed_at)
        })
    }

    /// Whether a mutating call is under way.
    pub(crate) fn is_calling(&self) -> bool {
        self.addresses.iter().any(|address| address.calling.is_some())
    }

    /// Elected: claims every address; with `kept`, what is known to be here is only verified.
    pub(crate) fn mastership_won(&mut self, now: Timestamp, kept: bool) {
        // What is claimed is read when the claim has ended.
        let claims = !(kept && self.holds_all());
        self.read_at = if claims { now + GUARD_READS[0] } else { now };
        self.guarded_since = Some(now);
        for address in &mut self.addresses {
            address.claimed = false;
            address.uncertain = false;
            address.failures = 0;
            address.retry_at = now;
            address.suspected_at = None;
            address.elsewhere = None;
            address.plan = match address.known {
                Known::Owned(_) if kept => Plan::Settled,
                Known::Owned(_) | Known::NotOwned(_) | Known::Unknown => {
                    Plan::Claim { permit: Permit::Votes, why: "takeover" }
                }
            };
            if matches!((&address.plan, &address.known), (Plan::Claim { .. }, Known::Owned(_))) {
                address.known = Known::Unknown;
            }
        }
    }

    /// No longer master: nothing more is ordered; calls under way are awaited.
    pub(crate) fn mastership_lost(&mut self, now: Timestamp) {
        self.guarded_since = None;
        self.read_at = self.read_at.min(now + Duration::from_secs(1));
        for address in &mut self.addresses {
            address.plan = Plan::Settled;
        }
    }

    /// Another leads: what was held may be gone; look when its claim will have been made.
    pub(crate) fn doubt(&mut self, now: Timestamp) {
        self.read_at = self.read_at.min(now + AGREEMENT);
        for address in &mut self.addresses {
            if let Known::Owned(association) = &address.known {
                let association = association.clone();
                address.remember(Some(association));
                address.known = Known::Unknown;
                address.observed = None;
            }
        }
    }

    /// A hint that something moved.
    pub(crate) fn hint(&mut self, now: Timestamp) {
        self.read_at = now;
    }

    fn next_read(&self, now: Timestamp, reconcile: Duration) -> Timestamp {
        let Some(since) = self.guarded_since else { return now + reconcile };
        if active(Mutation::NoGuardWatch) {
            return Timestamp::NEVER;
        }
        let elapsed = now.since(since);
        if let Some(next) = GUARD_READS.iter().find(|offset| **offset > elapsed) {
            return since + *next;
        }
        if elapsed < GUARD_WATCH { now + GUARD_PACE.min(reconcile) } else { now + reconcile }
    }
}

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

    fn drive_address(&mut self, cx: &mut Cx<'_>, id: AddressId) {
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
        if !permitted {
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

    fn read_if_due(&mut self, cx: &mut Cx<'_>) {
        if !self.ownership.reading.is_empty() || cx.now < self.ownership.read_at {
            return;
        }
        // What a read shows, a hint or a failure may bring the next one forward.
        let reconcile = cx.s.config.timing.reconcile_interval;
        self.ownership.read_at = self.ownership.next_read(cx.now, reconcile);
        for kind in AddressKind::ALL {
            let of_kind =
                |(id, address): (AddressId, &Address)| (address.kind == kind).then_some(id);
            let ids = (0..).map(AddressId);
            let addresses: Vec<_> =
                ids.zip(&self.ownership.addresses).filter_map(of_kind).collect();
            if addresses.is_empty() {
                continue;
            }
            let call = cx.s.new_call();
            self.ownership.reading.push(Reading { call, kind, began: cx.now });
            cx.out.push(Output::Call(CloudCall {
                id: call,
                group: self.id,
                term: self.term(),
                operation: Operation::Describe { kind, addresses },
                not_after: None,
                timeout: cx.s.config.call_timeout,
            }));
        }
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

    /// A read that failed is worth a line; one that went well is not.
    fn journal_read(
        &self,
        cx: &mut Cx<'_>,
        reading: Reading,
        outcome: &CallOutcome,
        request_id: Option<&Arc<str>>,
        took: Duration,
    ) {
        if matches!(outcome, CallOutcome::Ok(_)) {
            return;
        }
        let described = Operation::Describe { kind: reading.kind, addresses: Vec::new() };
        let kind = EventKind::CallFinished {
            call: reading.call,
            operation: described.as_str(),
            address: None,
            outcome: outcome.as_str(),
            detail: outcome.detail(),
            request_id: request_id.cloned(),
            took,
        };
        cx.event(Event::group(self.id, self.term(), kind));
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

    fn on_read(&mut self, cx: &mut Cx<'_>, reading: Reading, outcome: &CallOutcome) {
        let described = match outcome {
            CallOutcome::Ok(CallReply::Described(observations)) => Some(observations),
            CallOutcome::Ok(_)
            | CallOutcome::Refused { .. }
            | CallOutcome::Denied { .. }
            | CallOutcome::Throttled
            | CallOutcome::NotStarted
            | CallOutcome::Timeout
            | CallOutcome::Error { .. } => None,
        };
        self.ownership.read_failed |= described.is_none();
        if self.ownership.reading.is_empty() {
            self.reads_ended(cx);
        }
        let Some(observations) = described else { return };
        for observation in observations {
            self.observe(cx, reading.began, observation);
        }
        self.account_verification(cx);
    }

    /// One read of each kind has ended: after a failure of either there is a pause.
    fn reads_ended(&mut self, cx: &mut Cx<'_>) {
        if !std::mem::take(&mut self.ownership.read_failed) {
            self.ownership.read_failures = 0;
            return;
        }
        self.ownership.read_failures = self.ownership.read_failures.saturating_add(1);
        let pause = RETRY_LEAST * (1 << self.ownership.read_failures.min(5));
        let pause = cx.s.random.up_to(pause.min(RETRY_MOST));
        self.ownership.read_at = cx.now + RETRY_LEAST + pause;
    }

    /// One address as a read showed it.
    fn observe(&mut self, cx: &mut Cx<'_>, began: Timestamp, seen: &Observation) {
        let id = seen.address;
        let me = cx.s.config.me;
        let master = matches!(self.role, Role::Master(_));
        let Some(address) = self.ownership.addresses.get_mut(id.index()) else { return };
        address.ip = seen.ip.or(address.ip);
        if address.calling.is_some() || began < address.changed_at {
            // Begun before a change of ours: it tells nothing. Look again when that has ended.
            if master && address.calling.is_none() {
                self.ownership.read_at = cx.now;
            }
            return;
        }
        address.looked_at = Some(began);
        let before = address.known.name();
        match address.judge(cx.now, seen.association.as_ref(), me, master) {
            Judgement::Mine(association) => {
                address.known = Known::Owned(association);
                address.verified_at = Some(cx.now);
                address.suspected_at = None;
                address.elsewhere = None;
                address.observed = Some((seen.association.clone(), began));
                address.plan = Plan::Settled;
                address.uncertain = false;
                address.claimed |= master;
                address.failures = 0;
                cx.clear(AlarmName::ClaimFailing(self.id, id));
                cx.clear(AlarmName::AddressFight(self.id, id));
                self.owned_changed(cx, id, before, "the cloud shows it here");
                self.account_claim(cx);
            }
            Judgement::Stale => {}
            Judgement::LookAgain => {
                // However many reads hints bring meanwhile.
                let agreed_at = address.suspected_at.unwrap_or(cx.now) + AGREEMENT;
                self.ownership.read_at = self.ownership.read_at.min(agreed_at);
            }
            Judgement::Elsewhere => {
                let holder = seen.association.as_ref().map(|it| it.holder.clone());
                address.known = Known::NotOwned(holder);
                address.verified_at = Some(cx.now);
                address.suspected_at = None;
                address.observed = Some((seen.association.clone(), began));
                if !master {
                    let again = address.note_elsewhere(cx.now);
                    self.ownership.read_at = self.ownership.read_at.min(again);
                }
                self.owned_changed(cx, id, before, "the cloud shows it elsewhere");
                if master {
                    self.repair(cx, id);
                }
            }
        }
    }

    /// The master's address is elsewhere: claims it, within the budget.
    fn repair(&mut self, cx: &mut Cx<'_>, id: AddressId) {
        let now = cx.now;
        let most = usize::try_from(cx.s.config.repairs).unwrap_or(usize::MAX);
        let Some(address) = self.ownership.addresses.get_mut(id.index()) else { return };
        if matches!(address.plan, Plan::Claim { .. }) {
            return; // Being claimed already.
        }
        let why = if address.claimed { "repair: it moved" } else { "takeover" };
        if address.claimed {
            while address.repairs.front().is_some_and(|at| now.since(*at) >= MINUTE) {
                address.repairs.pop_front();
            }
            if address.repairs.len() >= most && !active(Mutation::UnboundedRepairs) {
                let until = address.repairs.front().map_or(now, |at| *at + MINUTE);
                self.ownership.read_at = self.ownership.read_at.max(until);
                cx.raise(AlarmName::AddressFight(self.id, id), || {
                    "something takes the address away again and again; find it in CloudTrail, \
                     or stop this daemon if it is meant"
                        .into()
                });
                return;
            }
            address.repairs.push_back(now);
        }
        address.plan = Plan::Claim { permit: Permit::Undecided, why };
        self.drive_address(cx, id);
    }

    fn owned_changed(
        &self,
        cx: &mut Cx<'_>,
        id: AddressId,
        before: (OwnershipName, Option<Holder>),
        reason: &'static str,
    ) {
        let Some(address) = self.ownership.addresses.get(id.index()) else { return };
        let (ownership, holder) = address.known.name();
        if (ownership, &holder) == (before.0, &before.1) {
            return;
        }
        let holder = match ownership {
            OwnershipName::Owned => Some(Holder::Node(cx.s.config.me)),
            OwnershipName::NotOwned | OwnershipName::Unknown => holder,
        };
        let kind = EventKind::OwnershipChanged { address: id, ownership, holder, reason };
        cx.event(Event::group(self.id, self.term(), kind));
    }

    /// The takeover's third stage: every address is acknowledged.
    pub(crate) fn account_claim(&mut self, cx: &mut Cx<'_>) {
        if let Some(failover) = &mut self.failover
            && failover.claim.is_none()
            && self.ownership.holds_all()
        {
            failover.claim = Some(cx.now.since(failover.at));
            cx.s.beat_now = true; // Tells whoever waits for the handover.
            if self.ownership.addresses.is_empty() {
                failover.verify = Some(Duration::ZERO);
                self.account(cx);
            }
        }
    }

    /// And its fourth: a read confirmed them.
    fn account_verification(&mut self, cx: &mut Cx<'_>) {
        if let Some(failover) = &mut self.failover
            && let Some(claim) = failover.claim
            && self.ownership.verified()
        {
            failover.verify = Some(cx.now.since(failover.at + claim));
            self.account(cx);
        }
    }

    fn account(&mut self, cx: &mut Cx<'_>) {
        let Some(failover) = self.failover.take() else { return };
        cx.s.last_failover = Some(failover.clone());
        let mut event =
            Event::group(self.id, failover.term, EventKind::FailoverFinished(failover.clone()));
        event.cause = failover.cause;
        cx.event(event);
    }

    /// When the addresses need a look.
    pub(crate) fn address_deadline(&self, now: Timestamp) -> Timestamp {
        if self.ownership.addresses.is_empty() || matches!(self.role, Role::None) {
            return Timestamp::NEVER;
        }
        let idle = self.ownership.reading.is_empty();
        let read = if idle { self.ownership.read_at } else { Timestamp::NEVER };
        let master = matches!(self.role, Role::Master(_));
        let retries = self.ownership.addresses.iter().filter(|_| master).map(|address| {
            let waits = matches!(address.plan, Plan::Claim { .. })
                && address.calling.is_none()
                && address.retry_at > now;
            if waits { address.retry_at } else { Timestamp::NEVER }
        });
        retries.min().unwrap_or(Timestamp::NEVER).min(read)
    }
}

/// What a read says of an address.
enum Judgement {
    Mine(AssociationId),
    /// The state from before our own claim, shown late.
    Stale,
    /// It may be stale: a second read decides.
    LookAgain,
    Elsewhere,
}

impl Address {
    fn judge(
        &mut self,
        now: Timestamp,
        seen: Option<&Association>,
        me: NodeId,
        master: bool,
    ) -> Judgement {
        let known = self.before.contains(&seen.map(|association| association.id.clone()));
        if let Some(association) = seen
            && association.holder == Holder::Node(me)
        {
            // One of ours from before another held it may be shown late.
            let current = matches!(&self.known, Known::Owned(id) if *id == association.id);
            if master && known && !current && !self.is_agreed(now) {
                return Judgement::LookAgain;
            }
            return Judgement::Mine(association.id.clone());
        }
        // While it is being claimed, whatever is shown is what the next call is fenced by.
        let claiming = self.uncertain || matches!(self.plan, Plan::Claim { .. });
        if !master || !self.claimed || claiming || active(Mutation::StaleReadIsMove) {
            return Judgement::Elsewhere;
        }
        // Reads are stale for a while after a change, and not for ever.
        let fresh = self.acknowledged_at.is_some_and(|at| now.since(at) < STALENESS);
        let ids = self.kind.changes_have_ids();
        match seen {
            Some(_) if ids && known && fresh => Judgement::Stale,
            // Where no id would tell a move from a stale read, two reads must agree.
            Some(_) if !ids && !active(Mutation::OneReadIsMove) && !self.is_agreed(now) => {
                Judgement::LookAgain
            }
            // Nobody held it before either.
            None if known && !self.is_agreed(now) => Judgement::LookAgain,
            Some(_) | None => Judgement::Elsewhere,
        }
    }

    /// Whether a second look, some time after the first, has shown the same doubtful state.
    fn is_agreed(&mut self, now: Timestamp) -> bool {
        let since = *self.suspected_at.get_or_insert(now);
        now.since(since) >= AGREEMENT
    }

    /// Notes that a node that does not lead was shown it at another. When to look again: the
    /// kernel lets go of a secondary address only when two reads agree, where an earlier life of
    /// this node may have claimed it just now.
    fn note_elsewhere(&mut self, now: Timestamp) -> Timestamp {
        if !matches!(self.known, Known::NotOwned(Some(_))) || !self.kind.is_in_kernel() {
            self.elsewhere = None;
            return Timestamp::NEVER;
        }
        let first = self.elsewhere.map_or(now, |(first, _)| first);
        self.elsewhere = Some((first, now));
        if self.is_elsewhere() { Timestamp::NEVER } else { first + AGREEMENT }
    }

    /// Whether reads some time apart agree that another has it.
    pub(crate) fn is_elsewhere(&self) -> bool {
        let agreed = |(first, last): (Timestamp, Timestamp)| {
            last.since(first) >= AGREEMENT || active(Mutation::OneReadEmptiesKernel)
        };
        self.elsewhere.is_some_and(agreed)
    }

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

    fn remember(&mut self, id: Option<AssociationId>) {
        if self.before.contains(&id) {
            return;
        }
        if self.before.len() >= REMEMBERED_ASSOCIATIONS {
            self.before.pop_front();
        }
        self.before.push_back(id);
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

impl Known {
    pub(crate) fn name(&self) -> (OwnershipName, Option<Holder>) {
        match self {
            Self::Owned(_) => (OwnershipName::Owned, None),
            Self::NotOwned(holder) => (OwnershipName::NotOwned, holder.clone()),
            Self::Unknown => (OwnershipName::Unknown, None),
        }
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
