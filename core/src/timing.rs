//! The protocol's durations and the relations that keep them safe.

use std::time::Duration;

use crate::types::Priority;

/// The cluster's durations. Valid by construction; one interval and one count make all of them.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Timing {
    heartbeat_interval: Duration,
    misses: u32,
    /// How often addresses are compared with the cloud when nothing happens.
    pub reconcile_interval: Duration,
    /// Whether refused connections count as evidence of a crash (design 3.5).
    pub crash_detection: bool,
}

impl Timing {
    /// The shortest and the longest heartbeat interval.
    pub const HEARTBEAT_INTERVAL: (Duration, Duration) =
        (Duration::from_millis(10), Duration::from_secs(10));
    /// The fewest and the most misses.
    pub const MISSES: (u32, u32) = (2, 10);

    /// Checks and keeps the cluster's durations.
    ///
    /// `heartbeat_interval` is VRRP's advertisement interval; `misses` of them make the lease,
    /// that is how long one acknowledged heartbeat keeps every other candidate out.
    ///
    /// # Errors
    ///
    /// [`TimingError`] for a value outside its bounds. With fewer than two misses one lost
    /// heartbeat would end the lease.
    pub fn new(
        heartbeat_interval: Duration,
        misses: u32,
        reconcile_interval: Duration,
        crash_detection: bool,
    ) -> Result<Self, TimingError> {
        let (shortest, longest) = Self::HEARTBEAT_INTERVAL;
        if !(shortest..=longest).contains(&heartbeat_interval) {
            return Err(TimingError::HeartbeatInterval(heartbeat_interval));
        }
        let (fewest, most) = Self::MISSES;
        if !(fewest..=most).contains(&misses) {
            return Err(TimingError::Misses(misses));
        }
        Ok(Self { heartbeat_interval, misses, reconcile_interval, crash_detection })
    }

    /// Time between two heartbeats, `H`.
    #[must_use]
    pub fn heartbeat_interval(&self) -> Duration {
        self.heartbeat_interval
    }

    /// How long a voter keeps a promise: `misses * H`.
    #[must_use]
    pub fn lease(&self) -> Duration {
        self.heartbeat_interval * self.misses
    }

    /// By how much the order of candidates delays one: `(256 - priority)/256 * H + rank * H/16`.
    ///
    /// Source: RFC 9568 section 6.1, Skew_Time; the rank keeps equal priorities apart.
    #[must_use]
    pub fn skew(&self, priority: Priority, rank: u32) -> Duration {
        let priority = u32::from(u8::from(priority));
        self.heartbeat_interval * (256 - priority) / 256 + self.heartbeat_interval * rank / 16
    }

    /// How long a backup waits for a heartbeat before it stands: `misses * H + skew`.
    ///
    /// Source: RFC 9568 section 6.1, Active_Down_Interval.
    #[must_use]
    pub fn master_down_interval(&self, priority: Priority, rank: u32) -> Duration {
        self.lease() + self.skew(priority, rank)
    }
}

/// How long a master counts on a promise of `lease`: a tenth less, so that it stops first even
/// if its clock and the voter's are wrong by 4.5 % in opposite directions.
#[must_use]
pub fn own_lease(lease: Duration) -> Duration {
    lease * 9 / 10
}

/// A duration that cannot work.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TimingError {
    /// Outside 10 ms to 10 s.
    #[error("heartbeat_interval must be 10ms to 10s, not {0:?}")]
    HeartbeatInterval(Duration),
    /// Outside 2 to 10.
    #[error("misses must be 2 to 10, not {0}")]
    Misses(u32),
}
