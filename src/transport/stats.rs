//! What the links count. Read by the metrics and the status; counted without locks.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use vipward_core::{LinkId, NodeId};

/// Why a request or an answer was refused. Refused ones change nothing but these counts.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Rejection {
    /// Not made with one of the cluster's keys.
    BadMac,
    /// Its sequence number was used before.
    Replay,
    /// From or to a node that is not in the list.
    Stranger,
    /// For another cluster.
    WrongCluster,
    /// More than 64 KiB.
    Oversized,
    /// Not HTTP, not a path of ours, or not the JSON that the path asks for.
    Malformed,
    /// Of a version too far from this one.
    Version,
}

impl Rejection {
    /// Every reason.
    pub const ALL: [Self; 7] = [
        Self::BadMac,
        Self::Replay,
        Self::Stranger,
        Self::WrongCluster,
        Self::Oversized,
        Self::Malformed,
        Self::Version,
    ];

    /// The contract's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadMac => "bad-mac",
            Self::Replay => "replay",
            Self::Stranger => "stranger",
            Self::WrongCluster => "wrong-cluster",
            Self::Oversized => "oversized",
            Self::Malformed => "malformed",
            Self::Version => "version",
        }
    }
}

/// Told of each measurement as it is made, on the heartbeat thread: must not block.
pub trait Observer: Send + Sync {
    /// A heartbeat was answered after so long.
    fn round_trip(&self, peer: NodeId, link: LinkId, took: Duration);
    /// A heartbeat was not answered in time, or could not be sent.
    fn lost(&self, peer: NodeId, link: LinkId);
    /// A request or an answer was refused.
    fn rejected(&self, reason: Rejection);
}

/// Counts since the start.
pub struct Stats {
    /// By peer and link.
    links: Vec<Vec<LinkStats>>,
    rejected: [AtomicU64; Rejection::ALL.len()],
    inputs_dropped: AtomicU64,
    observer: Option<Arc<dyn Observer>>,
}

/// Counts of one link.
struct LinkStats {
    /// In nanoseconds; [`u64::MAX`] before the first.
    round_trip: AtomicU64,
    lost: AtomicU64,
}

impl fmt::Debug for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stats").field("rejected", &self.rejected).finish_non_exhaustive()
    }
}

impl Stats {
    /// Nothing counted yet. `links` has, by node, how many links lead there
    /// ([`super::Settings::link_counts`]).
    #[must_use]
    pub fn new(links: &[u8], observer: Option<Arc<dyn Observer>>) -> Self {
        let of_node = |count: &u8| {
            let none = || LinkStats { round_trip: AtomicU64::new(u64::MAX), lost: 0.into() };
            (0..*count).map(|_| none()).collect()
        };
        Self {
            links: links.iter().map(of_node).collect(),
            rejected: Default::default(),
            inputs_dropped: 0.into(),
            observer,
        }
    }

    /// How long the last answered heartbeat took.
    #[must_use]
    pub fn last_round_trip(&self, peer: NodeId, link: LinkId) -> Option<Duration> {
        let nanos = self.link(peer, link)?.round_trip.load(Ordering::Relaxed);
        (nanos != u64::MAX).then(|| Duration::from_nanos(nanos))
    }

    /// How many heartbeats were not answered in time.
    #[must_use]
    pub fn lost_heartbeats(&self, peer: NodeId, link: LinkId) -> u64 {
        self.link(peer, link).map_or(0, |link| link.lost.load(Ordering::Relaxed))
    }

    /// How many requests and answers were refused for that reason.
    #[must_use]
    pub fn rejections(&self, reason: Rejection) -> u64 {
        Rejection::ALL
            .iter()
            .zip(&self.rejected)
            .find(|(known, _)| **known == reason)
            .map_or(0, |(_, count)| count.load(Ordering::Relaxed))
    }

    /// How many inputs the core's queue had no room for.
    #[must_use]
    pub fn inputs_dropped(&self) -> u64 {
        self.inputs_dropped.load(Ordering::Relaxed)
    }

    pub(super) fn round_trip(&self, peer: NodeId, link: LinkId, took: Duration) {
        if let Some(link) = self.link(peer, link) {
            let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX - 1);
            link.round_trip.store(nanos, Ordering::Relaxed);
        }
        if let Some(observer) = &self.observer {
            observer.round_trip(peer, link, took);
        }
    }

    pub(super) fn lost(&self, peer: NodeId, link: LinkId) {
        if let Some(link) = self.link(peer, link) {
            link.lost.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(observer) = &self.observer {
            observer.lost(peer, link);
        }
    }

    pub(super) fn rejected(&self, reason: Rejection) {
        for (known, count) in Rejection::ALL.iter().zip(&self.rejected) {
            if *known == reason {
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
        if let Some(observer) = &self.observer {
            observer.rejected(reason);
        }
    }

    pub(super) fn input_dropped(&self) {
        self.inputs_dropped.fetch_add(1, Ordering::Relaxed);
    }

    fn link(&self, peer: NodeId, link: LinkId) -> Option<&LinkStats> {
        self.links.get(peer.index())?.get(link.index())
    }
}
