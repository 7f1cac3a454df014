//! What the core knows of the configuration file: checked by the edge, then handed in whole.

use std::time::Duration;

use crate::timing::Timing;
use crate::types::{AddressId, CheckId, Digest, GroupId, NodeId, Priority};

/// The part of the configuration that decisions rest on. Nodes are sorted by name.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Config {
    /// This node.
    pub me: NodeId,
    /// Every voter, witnesses included, sorted by name.
    pub nodes: Vec<NodeConfig>,
    /// The cluster's durations.
    pub timing: Timing,
    /// The groups.
    pub groups: Vec<GroupConfig>,
    /// This node's health checks.
    pub checks: Vec<CheckConfig>,
    /// The digest of the part of vipward's own configuration that all nodes share.
    pub shared: Digest,
    /// Whether files, commands and packages are compared too, as `Input::Manifest` tells them.
    /// If not, `shared` is the digest of everything.
    pub scanned: bool,
    /// For how long a returning node must be healthy before it stands with its own priority.
    pub probation: Duration,
    /// A node away for longer has to prove its configuration anew, and goes on probation.
    pub restart_grace: Duration,
    /// Whether a quarantined node may lead when nobody else is left.
    pub last_resort: bool,
    /// What a quarantined node does about it by itself.
    pub repair: Repair,
    /// How long one cloud call may take.
    pub call_timeout: Duration,
    /// How addresses are claimed.
    pub claim: ClaimMode,
    /// The elections of a group in one hour beyond which only a dead master moves it.
    pub moves_per_hour: u32,
    /// The repairs of one address in one minute beyond which there is an alarm instead.
    pub repairs: u32,
}

impl Config {
    /// Every other node.
    pub fn peers(&self) -> impl Iterator<Item = NodeId> + '_ {
        (0..).map(NodeId).take(self.nodes.len()).filter(|node| *node != self.me)
    }

    /// Whether `node` is one that may hold addresses; `false` for one that does not exist.
    #[must_use]
    pub fn is_balancer(&self, node: NodeId) -> bool {
        self.nodes.get(node.index()).is_some_and(|node| !node.witness)
    }

    /// The name of a node, for a sentence.
    #[must_use]
    pub fn name(&self, node: NodeId) -> &str {
        self.nodes.get(node.index()).map_or("?", |node| node.name.as_str())
    }

    /// Every group.
    pub fn group_ids(&self) -> impl Iterator<Item = GroupId> + use<> {
        (0..).map(GroupId).take(self.groups.len())
    }

    /// The configuration of a group, if there is one of that id.
    #[must_use]
    pub fn group(&self, group: GroupId) -> Option<&GroupConfig> {
        self.groups.get(group.index())
    }

    /// The configured priority of `node` in `group`; `None` if it cannot hold it.
    #[must_use]
    pub fn priority(&self, group: GroupId, node: NodeId) -> Option<Priority> {
        self.group(group)?.priorities.get(node.index()).copied().flatten()
    }
}

/// One member of the cluster.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct NodeConfig {
    /// Its name.
    pub name: String,
    /// Whether it only votes.
    pub witness: bool,
    /// How many links lead from this node to it: at least one.
    pub links: u8,
}

/// One group of addresses.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct GroupConfig {
    /// Its name.
    pub name: String,
    /// By node; `None` where the node cannot hold the group.
    pub priorities: Vec<Option<Priority>>,
    /// Whether a better node takes a living master's place.
    pub preempt: bool,
    /// For how long it must have been better.
    pub preempt_delay: Duration,
    /// What moves.
    pub addresses: Vec<AddressKind>,
}

impl GroupConfig {
    /// Every address.
    pub fn address_ids(&self) -> impl Iterator<Item = AddressId> + use<> {
        (0..).map(AddressId).take(self.addresses.len())
    }
}

/// What an address is; its ids are the edge's business.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum AddressKind {
    /// An elastic IP: one association at a time, named by an id of its own.
    ElasticIp,
    /// A secondary private address: assigned to one network interface at a time, without an id of
    /// its own; the holder's kernel has it too.
    SecondaryIp,
}

impl AddressKind {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::ElasticIp, Self::SecondaryIp];

    /// Whether each change of the holder has an id of its own, so that a read from before a change
    /// can be told from a move.
    #[must_use]
    pub fn changes_have_ids(self) -> bool {
        match self {
            Self::ElasticIp => true,
            Self::SecondaryIp => false,
        }
    }

    /// Whether the holder's kernel has the address too.
    #[must_use]
    pub fn is_in_kernel(self) -> bool {
        match self {
            Self::ElasticIp => false,
            Self::SecondaryIp => true,
        }
    }
}

/// One health check of this node.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct CheckConfig {
    /// Its name.
    pub name: String,
    /// So many passes in a row make it pass.
    pub rise: u32,
    /// So many failures in a row make it fail.
    pub fall: u32,
    /// What failing does.
    pub effect: CheckEffect,
    /// For which groups; empty means all.
    pub groups: Vec<GroupId>,
}

impl CheckConfig {
    /// Whether the check concerns `group`.
    #[must_use]
    pub fn concerns(&self, group: GroupId) -> bool {
        self.groups.is_empty() || self.groups.contains(&group)
    }

    /// Its id in a list where it is the `index`-th.
    #[must_use]
    pub fn id(index: usize) -> CheckId {
        CheckId(u8::try_from(index).unwrap_or(u8::MAX))
    }
}

/// What a failing check does (design section 7).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum CheckEffect {
    /// Lowers the effective priority by so much.
    Weight(u32),
    /// Forbids to stand, and makes a master resign if a better node is Ready.
    Fatal,
}

/// What a quarantined node does by itself (contract `repair`).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Repair {
    /// Nothing: an operator makes its configuration equal.
    Off,
    /// It fetches what differs from the master.
    Pull,
}

/// How addresses are claimed (design 5.2, 5.3).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ClaimMode {
    /// One unconditional call, repaired if it lands late.
    Fast,
    /// One call more, refused if it lands late.
    Fenced,
}
