//! Operators' commands, as they travel between nodes, and what comes of them.

use crate::shared::Shared;
use crate::types::{GroupId, NodeId, SendNumber, Standing, Term};

/// A command that one node passes to another.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct OperatorRequest {
    /// Numbers this send.
    pub send: SendNumber,
    /// What is asked.
    pub command: PeerCommand,
}

/// What one node asks of another outside the election.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum PeerCommand {
    /// An operator's planned handover, passed on to the master.
    Switchover(Switchover),
    /// The master asks its successor whether it would take over.
    Offer {
        /// The group.
        group: GroupId,
        /// The master's term.
        term: Term,
        /// Whether drift and a bad preflight are to be overlooked.
        force: bool,
    },
    /// An operator takes the receiver out of candidacy, or brings it back.
    Maintenance {
        /// Out, or back.
        on: bool,
    },
}

/// An operator's planned handover.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Switchover {
    /// The group.
    pub group: GroupId,
    /// The successor; the best candidate if absent.
    pub to: Option<NodeId>,
    /// Overrides drift and preflight, never fatal checks or Quarantined.
    pub force: bool,
}

/// The answer to an [`OperatorRequest`].
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct OperatorAnswer {
    /// The send that is answered.
    pub send: SendNumber,
    /// What came of it.
    pub result: OperatorResult,
}

/// The outcome of an operator's command: one sentence for a person either way.
pub type OperatorResult = Result<Done, Refusal>;

/// A command that was carried out.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Done {
    /// That node leads and holds the addresses now.
    Leads(NodeId),
    /// That node was the master already; nothing was done.
    AlreadyMaster(NodeId),
    /// The successor accepts.
    Accepted,
    /// The gate is open for that node's present configuration: a majority has recorded it.
    Admitted(NodeId),
    /// That node is out of candidacy, or back.
    Maintenance(NodeId, bool),
}

/// Why a command was refused, or how it failed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Refusal {
    /// No master is known.
    NoMaster,
    /// This node is not the master of that term any more.
    NotMaster,
    /// The group cannot be held by that node.
    NotAMember(NodeId),
    /// No node could take over.
    NoSuccessor,
    /// The successor is not heard.
    Silent(NodeId),
    /// The successor may not lead.
    Standing(NodeId, Standing),
    /// A fatal check of the successor fails.
    Unhealthy(NodeId),
    /// The successor's configuration differs.
    Drift(NodeId),
    /// The successor's preflight fails.
    Preflight(NodeId),
    /// The group has moved as often as `moves_per_hour` allows.
    MovesExhausted,
    /// Another handover of the group is under way.
    Busy,
    /// The daemon is stopping.
    Stopping,
    /// Calls of the master did not finish in time.
    CallsPending,
    /// The successor was not elected in time.
    NotElected(NodeId),
    /// Another node was elected.
    OtherElected(NodeId),
    /// The successor leads, but the cloud has not given it the addresses yet.
    NotClaimed(NodeId),
    /// The successor led, and did not keep it: the old master leads again.
    RolledBack(NodeId),
    /// The peer did not answer.
    NoAnswer(NodeId),
    /// Not a balancer of this cluster: there is no gate for it.
    NotABalancer(NodeId),
    /// A node's configuration is not known yet.
    NotScanned(NodeId),
    /// No majority of voters answered in time.
    NoMajority,
}

impl Refusal {
    /// One sentence for a person.
    pub(crate) fn sentence(self, s: &Shared) -> String {
        self.describe(|node| s.config.name(node).into())
    }

    /// One sentence for a person; `name` tells a node's name.
    #[must_use]
    pub fn describe(self, name: impl Fn(NodeId) -> String) -> String {
        match self {
            Self::NoMaster => "no master is known; nothing to hand over".into(),
            Self::NotMaster => "this node is not the master any more; ask again".into(),
            Self::NotAMember(n) => {
                format!("{} cannot hold this group: it has no priority in it", name(n))
            }
            Self::NoSuccessor => "no other node is ready, healthy, equal in configuration and \
                                  able to make the cloud calls; see `vipward status`"
                .into(),
            Self::Silent(n) => format!("{} is not heard; check its daemon and links", name(n)),
            Self::Standing(n, standing) => {
                format!("{} is {}, not ready", name(n), standing.as_str())
            }
            Self::Unhealthy(n) => format!("a fatal check of {} fails", name(n)),
            Self::Drift(n) => {
                format!("{} has another configuration; make it equal, or use --force", name(n))
            }
            Self::Preflight(n) => format!(
                "the preflight of {} fails; see its `vipward status`, or use --force",
                name(n)
            ),
            Self::MovesExhausted => "the group has moved as often as moves_per_hour allows; wait, \
                                     or use --force"
                .into(),
            Self::Busy => "another handover of this group is under way".into(),
            Self::Stopping => "the daemon is stopping".into(),
            Self::CallsPending => {
                "the master's cloud calls did not finish within call_timeout; try again".into()
            }
            Self::NotElected(n) => {
                format!("{} was not elected in time; the old master stands again", name(n))
            }
            Self::OtherElected(n) => format!("another node than {} was elected", name(n)),
            Self::RolledBack(n) => format!(
                "{} was elected and lost it again; the old master leads as before: see the events of {}",
                name(n),
                name(n)
            ),
            Self::NotClaimed(n) => format!(
                "{} leads, but the cloud has not given it the addresses yet; see its events",
                name(n)
            ),
            Self::NoAnswer(n) => format!("{} did not answer in time", name(n)),
            Self::NotABalancer(n) => {
                format!("{} is not a balancer of this cluster: it never leads", name(n))
            }
            Self::NotScanned(n) => {
                format!("the configuration of {} is not known yet; try again", name(n))
            }
            Self::NoMajority => {
                "no majority of voters answered in time; see `vipward status`, and try again".into()
            }
        }
    }
}
