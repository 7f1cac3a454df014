//! What can happen to a node.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::command::Switchover;
use crate::config::Config;
use crate::message::{Answer, Request};
use crate::output::Presence;
use crate::reference::{Admission, Reference};
use crate::types::{
    AddressId, AssociationId, BootId, CallId, CheckId, Digest, GroupId, Holder, LinkId, NodeId,
    OperatorId, RequestId, Term,
};

/// Everything that can happen to a node. Nothing else changes its state.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Input {
    /// The deadline last returned by `Node::next_deadline` has come.
    DeadlineReached,
    /// A peer's request arrived, authenticated by the transport. Every request is to be answered
    /// by one `Output::Answer` with its id, at once or later.
    Request {
        /// Who sent it.
        from: NodeId,
        /// In which life.
        boot: BootId,
        /// Over which link.
        link: LinkId,
        /// Names the exchange.
        id: RequestId,
        /// What it says.
        request: Request,
    },
    /// A peer answered a request of ours.
    Answer {
        /// Who answered.
        from: NodeId,
        /// In which life.
        boot: BootId,
        /// The life of ours that it answers.
        to_boot: BootId,
        /// Over which link.
        link: LinkId,
        /// What it says.
        answer: Answer,
    },
    /// A peer answered a request of ours in a boot, without applying it: the answer (409) to a
    /// request that named another boot, or to a probe.
    BootAnswered {
        /// The peer.
        peer: NodeId,
        /// Its boot.
        boot: BootId,
        /// Over which link.
        link: LinkId,
    },
    /// A connection attempt to a peer was refused: nothing listens there.
    ConnectRefused {
        /// The peer.
        peer: NodeId,
        /// Over which link.
        link: LinkId,
    },
    /// So many authenticated connections with a peer are open now, both directions together.
    /// Told after each change.
    Connections {
        /// The peer.
        peer: NodeId,
        /// The count.
        open: u16,
    },
    /// A health check ran once.
    CheckResult {
        /// Which.
        check: CheckId,
        /// Whether it passed.
        passed: bool,
    },
    /// A cloud call ended, or was not made.
    CallFinished {
        /// Which.
        call: CallId,
        /// How.
        outcome: CallOutcome,
        /// The cloud's name for the request, for its support and for CloudTrail.
        request_id: Option<Arc<str>>,
        /// How long it took.
        took: Duration,
    },
    /// What the kernel has of an address changed, or an order of [`crate::Output::Kernel`] failed.
    Kernel {
        /// The group.
        group: GroupId,
        /// The address.
        address: AddressId,
        /// What is known.
        state: KernelState,
    },
    /// Something hints that a group's addresses moved: read now.
    OwnershipHint {
        /// The group.
        group: GroupId,
    },
    /// The preflight ran; without problems it is good.
    Preflight {
        /// One sentence each, with the remedy.
        problems: Vec<Arc<str>>,
    },
    /// What [`crate::Output::Persist`] ordered is on disk.
    Persisted(Durable),
    /// It could not be written.
    PersistFailed,
    /// An operator at this node asks for a planned handover.
    Switchover {
        /// Names the command; answered by `Output::OperatorDone`.
        id: OperatorId,
        /// What is asked.
        switchover: Switchover,
    },
    /// This node's configuration was scanned again; told after each change.
    Manifest(Inventory),
    /// What [`crate::Output::Compare`] asked for.
    Compared {
        /// With whom.
        with: NodeId,
        /// What differs.
        differences: Differences,
    },
    /// What [`crate::Output::Pull`] ordered ended; an [`Input::Manifest`] came before, if anything
    /// changed.
    PullFinished(PullOutcome),
    /// An operator at this node overrides the gate for a node's present configuration.
    Admit {
        /// Names the command; answered by `Output::OperatorDone`.
        id: OperatorId,
        /// Whom.
        node: NodeId,
    },
    /// An operator at this node takes a node out of candidacy, or brings it back.
    Maintenance {
        /// Names the command; answered by `Output::OperatorDone`.
        id: OperatorId,
        /// Whom.
        node: NodeId,
        /// Out, or back.
        on: bool,
    },
    /// The configuration was read again; the edge refused what a reload cannot change
    /// ([`crate::reload_refusals`]).
    Reload(Arc<Config>),
    /// The daemon is asked to stop: hand over, then [`crate::Output::Stopped`].
    Stop,
}

/// What a scan of this node's configuration found.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Inventory {
    /// Of everything, `Config::shared` included. An entry that is on disk but not loaded by the
    /// balancer counts into it, so that it differs from the same entry applied.
    pub digest: Digest,
    /// The entries on disk that the balancer has not loaded: a few names. Empty: all is applied.
    pub unapplied: Vec<Arc<str>>,
    /// What could not be read or run, one sentence each.
    pub problems: Vec<Arc<str>>,
}

impl Inventory {
    /// Whether the balancer runs what is on disk.
    #[must_use]
    pub fn is_applied(&self) -> bool {
        self.unapplied.is_empty()
    }
}

/// In what two configurations differ: for sentences only, nothing is decided by it.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Differences {
    /// The names of at most five entries.
    pub named: Vec<Arc<str>>,
    /// Of how many.
    pub total: u32,
}

/// How a repair ended.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum PullOutcome {
    /// What differed was fetched, tested, applied and loaded.
    Applied,
    /// It was not, and everything is as before.
    Failed {
        /// Why, in one sentence with the remedy.
        what: Arc<str>,
    },
}

/// What is known of an address in this machine's kernel.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum KernelState {
    /// It is as told.
    Is(Presence),
    /// It could not be made as ordered; the edge tries on.
    Failed {
        /// What the kernel said, in one line with the remedy.
        what: Arc<str>,
    },
}

/// What a node keeps on disk. Everything else is learnt anew (design 3.2).
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Durable {
    /// No term above this one was used or promised before a restart.
    pub ceiling: Term,
    /// By group: the highest term known to have been elected.
    pub elected: Vec<Term>,
    /// The longest lease ever promised.
    pub longest_promise: Duration,
    /// The cluster's reference, as last known.
    pub reference: Option<Reference>,
    /// What operators admitted, as last known.
    pub admissions: Vec<Admission>,
    /// Whether an operator has taken this node out of candidacy.
    pub maintenance: bool,
}

/// How a cloud call ended. Sorted by what is known afterwards (design section 5).
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum CallOutcome {
    /// It took effect.
    Ok(CallReply),
    /// It was not sent: its `not_after` had passed. Known to have no effect.
    NotStarted,
    /// The cloud refused it for its content. Known to have no effect.
    Refused {
        /// The cloud's error code, such as `Resource.AlreadyAssociated`.
        code: Arc<str>,
    },
    /// The cloud refused it for want of a permission. Known to have no effect.
    Denied {
        /// The cloud's error code.
        code: Arc<str>,
    },
    /// The cloud refused it for its rate. Known to have no effect.
    Throttled,
    /// No answer in time: it may still take effect, minutes later.
    Timeout,
    /// A broken connection or a server error: it may have taken effect.
    Error {
        /// What the client saw, in one line.
        what: Arc<str>,
    },
}

impl CallOutcome {
    /// The contract's name.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Ok(_) => "ok",
            Self::NotStarted | Self::Refused { .. } => "refused",
            Self::Denied { .. } => "denied",
            Self::Throttled => "throttled",
            Self::Timeout => "timeout",
            Self::Error { .. } => "error",
        }
    }

    /// Whether the call may have taken effect, or may yet.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        match self {
            Self::Timeout | Self::Error { .. } => true,
            Self::Ok(_)
            | Self::NotStarted
            | Self::Refused { .. }
            | Self::Denied { .. }
            | Self::Throttled => false,
        }
    }
}

/// What the cloud replied.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum CallReply {
    /// To a describe call: one observation for each address asked for.
    Described(Vec<Observation>),
    /// The address is associated with, or assigned to, this node.
    Associated(AssociationId),
    /// The association, or the assignment, is gone.
    Disassociated,
}

/// What a describe call showed of one address.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Observation {
    /// Which.
    pub address: AddressId,
    /// The public address itself.
    pub ip: Option<IpAddr>,
    /// With whom it is associated; `None`: with nobody.
    pub association: Option<Association>,
}

/// An association of an address, as read.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Association {
    /// Its id.
    pub id: AssociationId,
    /// Whom it points at.
    pub holder: Holder,
}
