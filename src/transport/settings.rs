//! What the links need to know, and what follows from it.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use vipward_core::{BootId, LinkId, NodeId};

use super::auth::Keys;
use super::wire::{Kind, Names};

/// What the links need to know. The lists are those of the configuration, in its order.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The cluster's name.
    pub cluster: String,
    /// The protocol's version: major, minor. Neighbours one minor version apart understand each
    /// other.
    pub version: (u16, u16),
    /// This node.
    pub me: NodeId,
    /// This process's life: 128 bits drawn at its start.
    pub boot: BootId,
    /// Every node, sorted by name; the index is the [`NodeId`].
    pub nodes: Vec<NodeLinks>,
    /// Where to listen: this node's own links, unless a forwarder stands before them.
    pub listen: Vec<SocketAddr>,
    /// The groups' names; the index is the `GroupId`.
    pub groups: Vec<String>,
    /// The cluster's keys.
    pub keys: Keys,
    /// How long exchanges may take.
    pub timeouts: Timeouts,
}

/// One node's name and links.
#[derive(Clone, Debug)]
pub struct NodeLinks {
    /// Its name.
    pub name: String,
    /// One address for each independent network path; at least one.
    pub links: Vec<SocketAddr>,
}

/// How long exchanges may take.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Timeouts {
    /// A heartbeat or a resignation, and its answer. Normally one heartbeat interval.
    pub heartbeat: Duration,
    /// A vote, which the voter may hold back for one heartbeat interval: at least two.
    pub vote: Duration,
    /// An operator's command, which lasts as long as it takes.
    pub operator: Duration,
}

impl Timeouts {
    pub(super) fn of(&self, kind: Kind) -> Duration {
        match kind {
            Kind::Heartbeat | Kind::Resign => self.heartbeat,
            Kind::Vote => self.vote,
            Kind::Operator => self.operator,
        }
    }

    /// How long a peer's connection may be quiet before it counts as forgotten. Two connections
    /// used in turn are each quiet for two intervals.
    pub(super) fn idle(&self) -> Duration {
        self.heartbeat * 4 + Duration::from_secs(5)
    }
}

/// One way to a peer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Path {
    /// Its number, the same at both ends.
    pub(super) link: LinkId,
    /// This node's own address.
    pub(super) local: IpAddr,
    /// The peer's.
    pub(super) remote: SocketAddr,
}

impl Settings {
    /// By node, how many links lead there: as many as the side with more has.
    #[must_use]
    pub fn link_counts(&self) -> Vec<u8> {
        let count = |index| u8::try_from(self.paths(NodeId(index)).count()).unwrap_or(u8::MAX);
        (0..=u8::MAX).take(self.nodes.len()).map(count).collect()
    }

    /// The ways to `peer`: link `i` to link `i`; where one side has fewer, its last is used.
    /// None to this node itself.
    pub(super) fn paths(&self, peer: NodeId) -> impl Iterator<Item = Path> + '_ {
        let links = |node: NodeId| {
            self.nodes.get(node.index()).map_or(&[][..], |node| node.links.as_slice())
        };
        let (mine, theirs) = (links(self.me), links(peer));
        let count = if peer == self.me { 0 } else { mine.len().max(theirs.len()) };
        (0..=u8::MAX).take(count).map(LinkId).filter_map(move |link| {
            let at = |links: &[SocketAddr]| links.get(link.index()).or(links.last()).copied();
            Some(Path { link, local: at(mine)?.ip(), remote: at(theirs)? })
        })
    }

    /// Every other node.
    pub(super) fn peers(&self) -> impl Iterator<Item = NodeId> + '_ {
        (0..=u8::MAX).map(NodeId).take(self.nodes.len()).filter(|node| *node != self.me)
    }

    /// The names of nodes and groups.
    pub(super) fn names(&self) -> Names {
        Names {
            nodes: self.nodes.iter().map(|node| node.name.clone()).collect(),
            groups: self.groups.clone(),
        }
    }
}
