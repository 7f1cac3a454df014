//! What a node orders its surroundings to do.

use std::sync::Arc;
use std::time::Duration;

use crate::command::OperatorResult;
use crate::config::AddressKind;
use crate::event::{AlarmName, Event, RoleName};
use crate::input::Durable;
use crate::message::{Answer, Request};
use crate::types::{
    AddressId, AssociationId, CallId, Cause, Digest, GroupId, NodeId, OperatorId, RequestId, Term,
    Timestamp,
};

/// Orders from the core, to be carried out in the order given, none waited for.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[must_use]
pub enum Output {
    /// Send a request over every link to a peer; it may be lost. An answer comes back as
    /// `Input::Answer`, each copy of it.
    Send {
        /// To whom.
        to: NodeId,
        /// What.
        request: Request,
    },
    /// Answer a peer's request.
    Answer {
        /// The request.
        id: RequestId,
        /// The answer.
        answer: Answer,
    },
    /// Try at once to connect to a peer on every link, on new connections, and tell what each
    /// attempt met: `ConnectRefused`, or `BootAnswered`, or nothing.
    Probe {
        /// The peer.
        peer: NodeId,
    },
    /// Make a cloud call; its end comes back as `Input::CallFinished`.
    Call(CloudCall),
    /// From now on the kernel is to have an address, or not to have it; what becomes of it comes
    /// back as `Input::Kernel`, each time that it changes.
    Kernel {
        /// The group.
        group: GroupId,
        /// Which.
        address: AddressId,
        /// What is wanted until the next such order.
        wanted: Presence,
    },
    /// Fetch that node's manifest and tell by `Input::Compared` in what this node's differs.
    Compare {
        /// Whose.
        with: NodeId,
    },
    /// Fetch from that node what differs, if its manifest has that digest; test it, apply it and
    /// load it, or change nothing. The end comes back as `Input::PullFinished`.
    Pull {
        /// From whom.
        from: NodeId,
        /// The digest that this node is to have afterwards.
        digest: Digest,
    },
    /// Run the operator's hooks, after those ordered before.
    Hook(Hook),
    /// Write this to disk, in the background; only the newest matters.
    Persist(Durable),
    /// The outcome of a local operator's command.
    OperatorDone {
        /// The command.
        id: OperatorId,
        /// The outcome.
        result: OperatorResult,
    },
    /// Something to write into the journal, count and show.
    Event(Event),
    /// Everything is given up: close the listener and exit.
    Stopped,
}

/// Whether an address is there.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Presence {
    /// It is.
    Present,
    /// It is not.
    Absent,
}

impl Presence {
    /// In journal and status.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::Absent => "absent",
        }
    }
}

/// What the operator's hooks are told.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Hook {
    /// Which hooks.
    pub point: HookPoint,
    /// The group it concerns, if one.
    pub group: Option<GroupId>,
    /// This node's role there, where it is about that.
    pub role: Option<RoleName>,
    /// The term, where one has a meaning.
    pub term: Option<Term>,
    /// Why, where an election is concerned.
    pub cause: Option<Cause>,
}

/// When hooks are run (contract `[hooks]`).
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum HookPoint {
    /// This node became Master.
    Master,
    /// Another leads.
    Backup,
    /// This node lost its majority, or gave its mastership up, and serves on.
    Holding,
    /// An alarm was raised.
    Alarm {
        /// Its name.
        name: AlarmName,
        /// In one sentence, with the remedy.
        message: Arc<str>,
    },
}

impl HookPoint {
    /// The contract's key.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Master => "on_master",
            Self::Backup => "on_backup",
            Self::Holding => "on_holding",
            Self::Alarm { .. } => "on_alarm",
        }
    }
}

/// A cloud call. All of them act towards this node only.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct CloudCall {
    /// Its id.
    pub id: CallId,
    /// The group it is made for.
    pub group: GroupId,
    /// The term under whose lease it is made; of a read, the highest known.
    pub term: Term,
    /// What it does.
    pub operation: Operation,
    /// It must not be sent after this point on this node's clock; a read has no such point.
    pub not_after: Option<Timestamp>,
    /// How long to wait for its answer.
    pub timeout: Duration,
}

/// What a cloud call does.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Operation {
    /// Read who holds these addresses of the group. Changes nothing.
    Describe {
        /// What they all are.
        kind: AddressKind,
        /// Which.
        addresses: Vec<AddressId>,
    },
    /// Associate an elastic IP with this node's interface.
    Associate {
        /// Which.
        address: AddressId,
        /// Whether it may be taken from another interface (`AllowReassociation`).
        reassociate: bool,
    },
    /// End one association of an elastic IP, and no other.
    Disassociate {
        /// Which.
        address: AddressId,
        /// The association observed.
        association: AssociationId,
    },
    /// Assign a secondary private address to this node's interface.
    Assign {
        /// Which.
        address: AddressId,
        /// Whether it may be taken from another interface (`AllowReassignment`).
        reassign: bool,
    },
    /// Take a secondary private address off an interface.
    Unassign {
        /// Which.
        address: AddressId,
        /// The interface observed to have it.
        interface: AssociationId,
    },
}

impl Operation {
    /// The address that the call changes; `None` for a read.
    #[must_use]
    pub fn mutates(&self) -> Option<AddressId> {
        match self {
            Self::Describe { .. } => None,
            Self::Associate { address, .. }
            | Self::Disassociate { address, .. }
            | Self::Assign { address, .. }
            | Self::Unassign { address, .. } => Some(*address),
        }
    }

    /// The EC2 API's name of the operation.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Describe { kind: AddressKind::ElasticIp, .. } => "DescribeAddresses",
            Self::Describe { kind: AddressKind::SecondaryIp, .. } => "DescribeNetworkInterfaces",
            Self::Associate { .. } => "AssociateAddress",
            Self::Disassociate { .. } => "DisassociateAddress",
            Self::Assign { .. } => "AssignPrivateIpAddresses",
            Self::Unassign { .. } => "UnassignPrivateIpAddresses",
        }
    }
}
