//! What a node's right to stand rests on (design section 6): its own configuration, the reference,
//! who answered since it has to prove itself, and for how long it was away.

use std::time::Duration;

use crate::command::Refusal;
use crate::handover::Reply;
use crate::input::{Differences, Inventory};
use crate::message::Heartbeat;
use crate::mutation::{Mutation, active};
use crate::peer::Peer;
use crate::reference::{Admission, Reference, ReferenceVersion};
use crate::shared::Shared;
use crate::types::{Digest, NodeId, Timestamp};

/// How a node came to have to prove itself.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Absence {
    /// Its process started: the others know for how long it was away.
    Restart,
    /// It knows itself for how long.
    Gap(Duration),
}

/// What the gate of this node knows.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Gate {
    /// What the last scan found.
    pub(crate) inventory: Option<Inventory>,
    /// The highest reference known.
    pub(crate) reference: Option<Reference>,
    /// By node the newest, none that is void.
    pub(crate) admissions: Vec<Admission>,
    /// Since when the standing is as it is.
    pub(crate) since: Timestamp,
    /// Since when this node has to prove itself: only answers to what it sent since then count,
    /// since what was under way before may be as old as its absence.
    pub(crate) joined_at: Timestamp,
    pub(crate) absence: Absence,
    /// After a restart: the shortest absence that a peer told.
    pub(crate) away: Option<Duration>,
    /// Another was elected while this node was away as a master.
    pub(crate) deposed: bool,
    /// From when probation counts.
    pub(crate) healthy_since: Timestamp,
    /// Whether probation may be skipped: not by one that was quarantined.
    pub(crate) skippable: bool,
    /// In service by an operator's word, with that configuration.
    pub(crate) admitted: Option<Digest>,
    /// Since when this node's own configuration differs from the reference.
    pub(crate) drift_since: Option<Timestamp>,
    /// Since when the balancer does not run what is on disk.
    pub(crate) unapplied_since: Option<Timestamp>,
    pub(crate) comparison: Option<Comparison>,
    pub(crate) pull: Pull,
    /// Commands to admit a node that wait for a majority.
    pub(crate) pending: Vec<PendingAdmission>,
    pub(crate) leaving: Option<Leaving>,
}

/// What this node's configuration was compared with, so that a sentence can name entries.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Comparison {
    pub(crate) with: NodeId,
    /// The digests compared: this node's and the other's.
    pub(crate) digests: (Digest, Digest),
    pub(crate) asked_at: Timestamp,
    pub(crate) found: Option<Differences>,
}

/// The repair of this node.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub(crate) struct Pull {
    /// Under way: from whom, since when.
    pub(crate) running: Option<(NodeId, Timestamp)>,
    /// The last failure.
    pub(crate) failed: Option<FailedPull>,
}

/// A repair that failed, or changed nothing that mattered.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct FailedPull {
    /// Why, in one sentence.
    pub(crate) what: std::sync::Arc<str>,
    pub(crate) at: Timestamp,
    /// In a row, with the same digests.
    pub(crate) times: u32,
    /// This node's digest and the reference's, at the time.
    pub(crate) digests: (Digest, Digest),
}

/// A command to admit a node, until a majority has recorded it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct PendingAdmission {
    pub(crate) reply: Reply,
    pub(crate) node: NodeId,
    pub(crate) digest: Digest,
    pub(crate) until: Timestamp,
}

/// A master on its way into maintenance: it hands over first.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Leaving {
    pub(crate) reply: Reply,
    /// By then it is out, or the command has failed.
    pub(crate) until: Timestamp,
    /// How a handover ended that did not succeed.
    pub(crate) failed: Option<Refusal>,
}

impl Gate {
    pub(crate) fn new(
        reference: Option<Reference>,
        admissions: Vec<Admission>,
        now: Timestamp,
    ) -> Self {
        Self {
            inventory: None,
            reference: reference.filter(|_| !active(Mutation::StaleReferenceAfterRestart)),
            admissions,
            since: now,
            joined_at: now,
            absence: Absence::Restart,
            away: None,
            deposed: false,
            healthy_since: now,
            skippable: true,
            admitted: None,
            drift_since: None,
            unapplied_since: None,
            comparison: None,
            pull: Pull::default(),
            pending: Vec::new(),
            leaving: None,
        }
    }

    /// A version above everything known.
    pub(crate) fn next_version(&self) -> ReferenceVersion {
        let admitted = self.admissions.iter().map(|admission| admission.version);
        let highest = admitted.chain(self.reference.map(|reference| reference.version)).max();
        let highest = highest.unwrap_or_default();
        ReferenceVersion { count: highest.count.saturating_add(1), ..highest }
    }

    /// The higher of the reference known here and another.
    pub(crate) fn highest(&self, other: Option<Reference>) -> Option<Reference> {
        self.reference.max(other)
    }
}

impl Admission {
    /// Whether it still means anything under that reference.
    pub(crate) fn is_void(&self, reference: Option<Reference>) -> bool {
        reference.is_some_and(|reference| {
            reference.digest == self.digest
                || reference.version > self.version && reference.digest != self.over
        })
    }
}

impl Shared {
    pub(crate) fn is_witness(&self) -> bool {
        !self.config.is_balancer(self.config.me)
    }

    /// The digest of this node's configuration: a witness has vipward's own part only.
    pub(crate) fn digest(&self) -> Digest {
        if self.is_witness() || !self.config.scanned {
            return self.config.shared;
        }
        self.gate.inventory.as_ref().map_or(Digest::UNKNOWN, |inventory| inventory.digest)
    }

    /// Whether the balancer runs what is on disk.
    pub(crate) fn is_applied(&self) -> bool {
        !self.config.scanned || self.gate.inventory.as_ref().is_some_and(Inventory::is_applied)
    }

    /// Whether a quarantined node may lead when nobody else is left.
    pub(crate) fn is_last_resort(&self) -> bool {
        self.config.last_resort || active(Mutation::LastResortUnasked)
    }

    /// Whether this node's configuration is the reference's; so is any before there is one.
    pub(crate) fn is_as_reference(&self) -> bool {
        self.gate.reference.is_none_or(|reference| reference.digest == self.digest())
    }

    /// For how long a node may be away without having to prove itself anew. Never less than a
    /// lease: a single lost message must not take a right away.
    pub(crate) fn grace(&self) -> Duration {
        self.config.restart_grace.max(self.lease())
    }

    /// The newest time at which something was sent that a majority has answered, this node
    /// included.
    pub(crate) fn answered_at(&self) -> Timestamp {
        self.electorate.reached(|voter| self.answered_to(voter)).unwrap_or(self.started)
    }

    /// When the newest message was sent that this voter has answered; the own one always has.
    fn answered_to(&self, voter: NodeId) -> Option<Timestamp> {
        if voter == self.config.me { Some(self.now) } else { self.peer(voter)?.answered_to }
    }

    /// Whether a majority, this node included, has told what it knows since this node has to
    /// prove itself.
    pub(crate) fn is_reported(&self) -> bool {
        let since = self.gate.joined_at;
        let has_told = |voter| self.answered_to(voter).is_some_and(|at| at >= since);
        self.electorate.is_majority(has_told) || active(Mutation::JoiningAsksNobody)
    }

    /// What a peer says of itself: its newest heartbeat, unless that is older than a lease. An
    /// answer shows that it lives, not what it is.
    pub(crate) fn live_beat(&self, node: NodeId) -> Option<&Heartbeat> {
        let patience = self.lease();
        let peer = self.peer(node).filter(|peer| peer.is_live(self.now, patience))?;
        let (beat, at, _) = peer.beat.as_ref()?;
        (self.now.since(*at) <= patience).then_some(beat.as_ref())
    }

    /// Every balancer but this node.
    pub(crate) fn other_balancers(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.config.peers().filter(|peer| self.config.is_balancer(*peer))
    }

    /// Whether an operator admitted that node with that configuration, as far as this node knows.
    pub(crate) fn is_admitted(
        &self,
        node: NodeId,
        digest: Digest,
        reference: Option<Reference>,
    ) -> bool {
        self.gate.admissions.iter().any(|admission| {
            admission.node == node
                && (admission.digest == digest || active(Mutation::AdmissionForAnyDigest))
                && !admission.is_void(reference)
        })
    }

    /// Whether a majority has recorded that admission, this node included.
    pub(crate) fn is_recorded(&self, node: NodeId, digest: Digest) -> bool {
        self.electorate.is_majority(|voter| {
            voter == self.config.me
                || self.peer(voter).is_some_and(|peer| peer.knows_admitted(node, digest))
        })
    }

    /// The digest of a balancer's configuration, as far as it is known now.
    pub(crate) fn digest_of(&self, node: NodeId) -> Option<Digest> {
        if node == self.config.me {
            return self.digest().known();
        }
        self.live_beat(node)?.digest.known()
    }

    /// Records what an operator admits.
    pub(crate) fn admit(&mut self, node: NodeId, digest: Digest, over: Digest) -> Admission {
        let version = self.gate.next_version();
        let admission = Admission { version, node, digest, over };
        self.gate.admissions.retain(|old| old.node != node);
        self.gate.admissions.push(admission);
        self.beat_now = true;
        admission
    }

    /// For how long the others had not heard this node before it came back, at least as the one
    /// tells that heard it last.
    pub(crate) fn was_away_briefly(&self) -> bool {
        let grace = self.config.restart_grace;
        match self.gate.absence {
            Absence::Restart => self.gate.away.is_some_and(|away| away <= grace),
            Absence::Gap(gap) => gap <= self.grace(),
        }
    }

    /// Whether every balancer is heard and has just started, or is not past its own joining.
    pub(crate) fn all_restarted(&self) -> bool {
        let grace = self.config.restart_grace;
        self.gate.absence == Absence::Restart
            && self.now.since(self.started) < grace
            && self.other_balancers().all(|node| {
                self.live_beat(node).is_some_and(|beat| {
                    beat.up_for < grace || beat.standing == crate::types::Standing::Joining
                })
            })
    }
}

impl Peer {
    /// Whether it said that it knows of that admission.
    pub(crate) fn knows_admitted(&self, node: NodeId, digest: Digest) -> bool {
        self.admissions.iter().any(|it| (it.node, it.digest) == (node, digest))
    }
}
