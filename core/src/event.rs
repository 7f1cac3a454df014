//! What is worth a line in the journal. Words are the contract's.

use std::sync::Arc;
use std::time::Duration;

use crate::input::PullOutcome;
use crate::message::DenialReason;
use crate::output::Presence;
use crate::reference::{Exception, ReferenceVersion};
use crate::types::{
    AddressId, BootId, CallId, Cause, CheckId, Digest, GroupId, Holder, LinkId, NodeId, Standing,
    Term,
};

/// One line of the journal.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Event {
    /// The group it concerns, if one.
    pub group: Option<GroupId>,
    /// The term, where one has a meaning.
    pub term: Option<Term>,
    /// Why, where an election is concerned.
    pub cause: Option<Cause>,
    /// What happened.
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum EventKind {
    /// The node's right to stand changed.
    StandingChanged {
        /// Before.
        from: Standing,
        /// After.
        to: Standing,
        /// In one sentence.
        reason: Arc<str>,
    },
    /// The node's role in the group changed.
    RoleChanged {
        /// Before.
        from: RoleName,
        /// After.
        to: RoleName,
        /// In one sentence.
        reason: &'static str,
    },
    /// This node voted for a candidate.
    VoteGranted {
        /// The candidate.
        candidate: NodeId,
        /// Why, although its configuration is not the reference's.
        exception: Option<Exception>,
    },
    /// This node denied a candidate its vote.
    VoteDenied {
        /// The candidate.
        candidate: NodeId,
        /// Why.
        reason: DenialReason,
    },
    /// A cloud call was ordered.
    CallStarted {
        /// Which.
        call: CallId,
        /// The EC2 API's name of the operation.
        operation: &'static str,
        /// The address it changes; `None` for a read.
        address: Option<AddressId>,
        /// Why it is made, for a mutating call.
        reason: &'static str,
    },
    /// A cloud call ended.
    CallFinished {
        /// Which.
        call: CallId,
        /// The EC2 API's name of the operation.
        operation: &'static str,
        /// The address it changes; `None` for a read.
        address: Option<AddressId>,
        /// `ok`, `refused`, `denied`, `throttled`, `timeout` or `error`.
        outcome: &'static str,
        /// The error's code or text.
        detail: Option<Arc<str>>,
        /// The cloud's name for the request.
        request_id: Option<Arc<str>>,
        /// How long it took.
        took: Duration,
    },
    /// What is known of an address changed.
    OwnershipChanged {
        /// Which.
        address: AddressId,
        /// What is known now.
        ownership: OwnershipName,
        /// Who holds it, if known.
        holder: Option<Holder>,
        /// In one sentence.
        reason: &'static str,
    },
    /// What this machine's kernel has of an address changed.
    KernelChanged {
        /// Which.
        address: AddressId,
        /// What it has now.
        presence: Presence,
        /// In one sentence.
        reason: &'static str,
    },
    /// A peer is heard.
    PeerUp {
        /// Who.
        peer: NodeId,
        /// In which life.
        boot: BootId,
    },
    /// A peer is silent on all links, or its process is known to be dead.
    PeerDown {
        /// Who.
        peer: NodeId,
        /// In one sentence.
        reason: &'static str,
    },
    /// A link is heard.
    LinkUp {
        /// To whom.
        peer: NodeId,
        /// Which.
        link: LinkId,
    },
    /// A link is silent.
    LinkDown {
        /// To whom.
        peer: NodeId,
        /// Which.
        link: LinkId,
    },
    /// A check changed its state.
    CheckChanged {
        /// Which.
        check: CheckId,
        /// Its new state.
        state: CheckState,
    },
    /// A node's configuration differs from the reference, or equals it again.
    ConfigDrift {
        /// Whose; this node's own as well.
        peer: NodeId,
        /// Whether it is equal now.
        equal: bool,
    },
    /// The reference changed, as far as this node knows.
    ReferenceSet {
        /// Its version.
        version: ReferenceVersion,
        /// Its digest.
        digest: Digest,
        /// Who set it, if known.
        by: Option<NodeId>,
    },
    /// An operator admitted a node with its present configuration.
    Admitted {
        /// Who.
        node: NodeId,
        /// With which configuration.
        digest: Digest,
    },
    /// A repair by fetching what differs ended.
    PullFinished {
        /// From whom.
        from: NodeId,
        /// How.
        outcome: PullOutcome,
    },
    /// A handover was not made.
    HandoverRefused {
        /// In one sentence.
        reason: Arc<str>,
    },
    /// Something needs a person.
    AlarmRaised {
        /// Its name.
        name: AlarmName,
        /// In one sentence, with the remedy.
        message: Arc<str>,
    },
    /// It is over.
    AlarmCleared {
        /// Its name.
        name: AlarmName,
    },
    /// An address is claimed and verified for the first time in a term: the takeover's account.
    FailoverFinished(crate::status::Failover),
}

/// The contract's names of the roles.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum RoleName {
    /// Leads, under a valid lease.
    Master,
    /// Waits.
    Backup,
    /// Asks for votes.
    Candidate,
    /// Lost its majority: serves on and changes nothing.
    Holding,
    /// A witness, or not in the group.
    None,
}

impl RoleName {
    /// Every role.
    pub const ALL: [Self; 5] =
        [Self::Master, Self::Backup, Self::Candidate, Self::Holding, Self::None];

    /// The contract's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Master => "master",
            Self::Backup => "backup",
            Self::Candidate => "candidate",
            Self::Holding => "holding",
            Self::None => "none",
        }
    }
}

/// The contract's names of ownership.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum OwnershipName {
    /// This node holds it.
    Owned,
    /// Another, or nobody.
    NotOwned,
    /// Not known: never read, or a call whose outcome is not known.
    Unknown,
}

impl OwnershipName {
    /// The contract's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Owned => "owned",
            Self::NotOwned => "not-owned",
            Self::Unknown => "unknown",
        }
    }
}

/// A check's state after `rise` and `fall`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum CheckState {
    /// It passes.
    Passing,
    /// It fails.
    Failing,
    /// It has not run often enough to tell.
    Unknown,
}

impl CheckState {
    /// The contract's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passing => "passing",
            Self::Failing => "failing",
            Self::Unknown => "unknown",
        }
    }
}

/// What an alarm is about.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum AlarmName {
    /// No majority is heard: no takeover is possible.
    NoMajority(GroupId),
    /// A voter is not heard: one more failure, and no takeover is possible.
    RedundancyLost,
    /// The preflight fails.
    Preflight,
    /// Calls for an address keep failing.
    ClaimFailing(GroupId, AddressId),
    /// Something takes an address away again and again.
    AddressFight(GroupId, AddressId),
    /// The kernel cannot be given an address, or cannot be rid of it.
    KernelAddress(GroupId, AddressId),
    /// The group moved as often as `moves_per_hour` allows.
    MovesExhausted(GroupId),
    /// Terms cannot be written to disk.
    StateNotWritable,
    /// The configuration of a node in service differs from the reference.
    ConfigDrift(NodeId),
    /// This node's configuration differs from the reference: it may not lead.
    Quarantined,
    /// No balancer may lead the group.
    NoCandidate(GroupId),
    /// This node could not repair its configuration.
    PullFailed,
    /// The balancer of this node does not run what is on its disk.
    ConfigUnapplied,
    /// A part of this node's configuration cannot be read.
    ConfigUnreadable,
    /// Two processes speak under one name.
    DuplicateNode(NodeId),
}

impl AlarmName {
    /// The group it is about, if one.
    #[must_use]
    pub fn group(self) -> Option<GroupId> {
        match self {
            Self::NoMajority(group)
            | Self::ClaimFailing(group, _)
            | Self::AddressFight(group, _)
            | Self::KernelAddress(group, _)
            | Self::MovesExhausted(group)
            | Self::NoCandidate(group) => Some(group),
            Self::RedundancyLost
            | Self::Preflight
            | Self::StateNotWritable
            | Self::ConfigDrift(_)
            | Self::Quarantined
            | Self::PullFailed
            | Self::ConfigUnapplied
            | Self::ConfigUnreadable
            | Self::DuplicateNode(_) => None,
        }
    }

    /// The name in status, journal and metric.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoMajority(_) => "no-majority",
            Self::RedundancyLost => "redundancy-lost",
            Self::Preflight => "preflight",
            Self::ClaimFailing(..) => "claim-failing",
            Self::AddressFight(..) => "address-fight",
            Self::KernelAddress(..) => "kernel-address",
            Self::MovesExhausted(_) => "moves-exhausted",
            Self::StateNotWritable => "state-not-writable",
            Self::ConfigDrift(_) => "config-drift",
            Self::Quarantined => "quarantined",
            Self::NoCandidate(_) => "no-candidate",
            Self::PullFailed => "pull-failed",
            Self::ConfigUnapplied => "config-unapplied",
            Self::ConfigUnreadable => "config-unreadable",
            Self::DuplicateNode(_) => "duplicate-node",
        }
    }
}
