//! What a node orders its surroundings to do.

use std::time::Duration;

use crate::event::Event;
use crate::input::Durable;
use crate::message::{Answer, OperatorResult, Request};
use crate::types::{
    AddressId, AssociationId, CallId, GroupId, NodeId, OperatorId, RequestId, Term, Timestamp,
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
        /// Which.
        addresses: Vec<AddressId>,
    },
    /// Associate an address with this node's interface.
    Associate {
        /// Which.
        address: AddressId,
        /// Whether it may be taken from another interface (`AllowReassociation`).
        reassociate: bool,
    },
    /// End one association of an address, and no other.
    Disassociate {
        /// Which.
        address: AddressId,
        /// The association observed.
        association: AssociationId,
    },
}

impl Operation {
    /// The address that the call changes; `None` for a read.
    #[must_use]
    pub fn mutates(&self) -> Option<AddressId> {
        match self {
            Self::Describe { .. } => None,
            Self::Associate { address, .. } | Self::Disassociate { address, .. } => Some(*address),
        }
    }

    /// The EC2 API's name of the operation.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Describe { .. } => "DescribeAddresses",
            Self::Associate { .. } => "AssociateAddress",
            Self::Disassociate { .. } => "DisassociateAddress",
        }
    }
}
