//! The addresses of one group: asserted, fenced, verified (design section 5).
//!
//! Only a master changes anything, and only towards itself. What is known comes from results of
//! typed calls; a time-out is not a result.

mod claim;
mod guard;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use self::guard::GUARD_READS;
use crate::config::{AddressKind, GroupConfig};
use crate::event::{Event, EventKind, OwnershipName};
use crate::group::{Group, Role};
use crate::input::Association;
use crate::mutation::{Mutation, active};
use crate::output::Operation;
use crate::shared::Cx;
use crate::types::{AddressId, AssociationId, CallId, Holder, NodeId, SendNumber, Term, Timestamp};

/// Where two reads must agree, they lie so far apart.
const AGREEMENT: Duration = Duration::from_secs(2);
/// Retries are full jitter up to this.
const RETRY_MOST: Duration = Duration::from_secs(2);
/// A fenced claim needs a read and two calls: all of it within two seconds of the cloud's return.
const READ_RETRY_MOST: Duration = Duration::from_millis(1_400);
const RETRY_LEAST: Duration = Duration::from_millis(100);
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

    /// Whether somebody holds an address, as the last reads showed.
    pub(crate) fn is_held(&self) -> bool {
        self.addresses.iter().any(|address| matches!(address.observed, Some((Some(_), _))))
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
                address.looked_at = None; // A fenced claim looks first.
            }
        }
    }

    /// A hint that something moved.
    pub(crate) fn hint(&mut self, now: Timestamp) {
        if self.guarded_since.is_some() && active(Mutation::NoGuardWatch) {
            return;
        }
        self.read_at = now;
    }
}

impl Group {
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

impl Address {
    fn remember(&mut self, id: Option<AssociationId>) {
        if self.before.contains(&id) {
            return;
        }
        if self.before.len() >= REMEMBERED_ASSOCIATIONS {
            self.before.pop_front();
        }
        self.before.push_back(id);
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
