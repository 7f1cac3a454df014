//! The guard watch: reads, what they prove, and repairs within their budget (design 5.4).

use std::sync::Arc;
use std::time::Duration;

use super::{
    AGREEMENT, Address, Known, Ownership, Permit, Plan, READ_RETRY_MOST, RETRY_LEAST, Reading,
};
use crate::config::AddressKind;
use crate::event::{AlarmName, Event, EventKind};
use crate::group::{Group, Role};
use crate::input::{Association, CallOutcome, CallReply, Observation};
use crate::mutation::{Mutation, active};
use crate::output::{CloudCall, Operation, Output};
use crate::shared::Cx;
use crate::types::{AddressId, AssociationId, Holder, NodeId, Timestamp};

/// Reads after a claim: at these times, then every [`GUARD_PACE`] for [`GUARD_WATCH`], the life
/// of a signed request (design 5.4).
pub(super) const GUARD_READS: [Duration; 4] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(10),
];
const GUARD_PACE: Duration = Duration::from_secs(10);
const GUARD_WATCH: Duration = Duration::from_secs(300);
/// For so long after a change that was acknowledged a read may still show the state before it.
const STALENESS: Duration = Duration::from_secs(15);
const MINUTE: Duration = Duration::from_secs(60);

impl Ownership {
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
    pub(super) fn read_if_due(&mut self, cx: &mut Cx<'_>) {
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

    /// A read that failed is worth a line; one that went well is not.
    pub(super) fn journal_read(
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

    pub(super) fn on_read(&mut self, cx: &mut Cx<'_>, reading: Reading, outcome: &CallOutcome) {
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
        let pause = cx.s.random.up_to(pause.min(READ_RETRY_MOST));
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
}
