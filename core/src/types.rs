//! The nouns of the protocol, each its own type so that none can stand in for another.

use std::fmt;
use std::ops::{Add, Sub};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// A node of the cluster: its place in the list of nodes sorted by name, so that the order of
/// ids is the order of names. Names travel on the wire, ids never do.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct NodeId(pub u8);

/// A group of addresses that move together: its place in the configured list.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct GroupId(pub u8);

/// An address of a group: its place in the group's list.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct AddressId(pub u8);

/// A link to a peer: link `i` of this node speaks to link `i` of the peer.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct LinkId(pub u8);

/// A health check: its place in the configured list.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct CheckId(pub u8);

macro_rules! index {
    ($($id:ident),*) => {$(
        impl $id {
            /// The place in its list.
            #[must_use]
            pub fn index(self) -> usize {
                usize::from(self.0)
            }
        }
    )*};
}
index!(NodeId, GroupId, AddressId, LinkId, CheckId);

/// One life of a process: 128 random bits drawn at its start.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct BootId(pub u128);

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "boot:{:x}", self.0)
    }
}

/// Numbers the elections of a group; the fencing token of everything done in one.
/// At most one node is ever elected in a term.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Term(pub u64);

impl Term {
    /// The term after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// Numbers a node's sends within one boot, the same on all links. Strictly increasing.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SendNumber(pub u64);

/// Names one request of a peer that waits for its answer. Opaque to the core.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct RequestId(pub u64);

/// Names one command of a local operator that waits for its outcome. Opaque to the core.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct OperatorId(pub u64);

/// Names one cloud call of this boot.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct CallId(pub u64);

/// The SHA-256 of a node's configuration (design section 6).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// Of a configuration that was not scanned yet. Equal to no other.
    pub const UNKNOWN: Self = Self([0; 32]);

    /// This digest, unless it is [`Digest::UNKNOWN`].
    #[must_use]
    pub fn known(self) -> Option<Self> {
        (self != Self::UNKNOWN).then_some(self)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A text that is no digest.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a digest is sha256: and 64 hex digits, not {0:?}")]
pub struct DigestError(pub String);

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || DigestError(text.to_owned());
        let hex = text.strip_prefix("sha256:").ok_or_else(wrong)?;
        if hex.len() != 64 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        let mut bytes = [0; 32];
        for (index, byte) in bytes.iter_mut().enumerate() {
            let pair = hex.get(2 * index..2 * index + 2).ok_or_else(wrong)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
        }
        Ok(Self(bytes))
    }
}

/// How much a node wants to be master of a group: 1 (least) to 254 (most), as in VRRP
/// (RFC 9568 section 5.2.4, whose 0 and 255 have meanings that do not exist here).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Priority(u8);

impl Priority {
    /// The least priority: that of a node on probation, or one whose checks took the rest away.
    pub const LEAST: Self = Self(1);

    /// This priority less `weight`, never below [`Priority::LEAST`].
    #[must_use]
    pub fn less(self, weight: u32) -> Self {
        let weight = u8::try_from(weight).unwrap_or(u8::MAX);
        Self(self.0.saturating_sub(weight).max(1))
    }
}

impl TryFrom<u8> for Priority {
    type Error = PriorityError;

    fn try_from(value: u8) -> Result<Self, PriorityError> {
        match value {
            1..=254 => Ok(Self(value)),
            0 | 255 => Err(PriorityError(value)),
        }
    }
}

impl From<Priority> for u8 {
    fn from(priority: Priority) -> Self {
        priority.0
    }
}

/// A priority outside 1 to 254.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a priority must be 1 to 254, not {0}")]
pub struct PriorityError(u8);

/// A point on this machine's boot-time clock, which counts suspended time.
///
/// Not a time of day. Two nodes' timestamps are never compared.
#[derive(Clone, Copy, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The end of time: a deadline that never comes.
    pub const NEVER: Self = Self(u64::MAX);

    /// A point `nanos` nanoseconds after the clock's zero.
    #[must_use]
    pub fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// A point `millis` milliseconds after the clock's zero.
    #[must_use]
    pub fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// Nanoseconds since the clock's zero.
    #[must_use]
    pub fn as_nanos(self) -> u64 {
        self.0
    }

    /// How long ago `earlier` was; zero if it lies ahead.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// How long until this point; zero if it has passed.
    #[must_use]
    pub fn left(self, now: Self) -> Duration {
        self.since(now)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::NEVER {
            return f.write_str("never");
        }
        write!(f, "{}.{:06}s", self.0 / 1_000_000_000, self.0 % 1_000_000_000 / 1_000)
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, elapsed: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;

    fn sub(self, elapsed: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// The cloud's name of one association of an address with an interface. Of an elastic IP each
/// association gets a new one, so it tells a stale read from a move
/// (<https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_AssociateAddress.html>). A
/// secondary private address has none: there it is the interface's id
/// ([`crate::AddressKind::changes_have_ids`]).
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct AssociationId(pub Arc<str>);

/// Who holds an address, as the cloud shows it.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Holder {
    /// A node of the cluster.
    Node(NodeId),
    /// An instance or interface outside the cluster, by its id.
    Outside(Arc<str>),
}

/// Why an election was held, in the contract's words.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Cause {
    /// The master was silent for the master-down interval.
    MasterSilent,
    /// Refused connections or a new boot proved the master's process dead.
    MasterCrashed,
    /// The master stopped and resigned.
    Resigned,
    /// The master's own fatal check failed.
    CheckFailed,
    /// An operator asked for it.
    Switchover,
    /// A node of higher priority took its place.
    Preempt,
    /// The cloud announced the end of the master's machine.
    Preventive,
    /// No master was known since the node started.
    Startup,
    /// A Holding master heard a majority again.
    MajorityRegained,
}

impl Cause {
    /// Whether the master before gave its mastership up.
    #[must_use]
    pub fn is_given_up(self) -> bool {
        match self {
            Self::Resigned
            | Self::CheckFailed
            | Self::Switchover
            | Self::Preempt
            | Self::Preventive => true,
            Self::MasterSilent | Self::MasterCrashed | Self::Startup | Self::MajorityRegained => {
                false
            }
        }
    }

    /// The contract's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MasterSilent => "master-silent",
            Self::MasterCrashed => "master-crashed",
            Self::Resigned => "resigned",
            Self::CheckFailed => "check-failed",
            Self::Switchover => "switchover",
            Self::Preempt => "preempt",
            Self::Preventive => "preventive",
            Self::Startup => "startup",
            Self::MajorityRegained => "majority-regained",
        }
    }
}

/// A node's right to stand for election (design section 6).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Standing {
    /// Not yet compared with the cluster.
    Joining,
    /// Its configuration differs from the reference.
    Quarantined,
    /// Taken out by an operator.
    Maintenance,
    /// Back, and watched for a while: stands last.
    Probation,
    /// May stand.
    Ready,
}

impl Standing {
    /// The contract's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Joining => "joining",
            Self::Quarantined => "quarantined",
            Self::Maintenance => "maintenance",
            Self::Probation => "probation",
            Self::Ready => "ready",
        }
    }

    /// Whether a node of this standing may be voted for.
    #[must_use]
    pub fn may_lead(self) -> bool {
        match self {
            Self::Ready | Self::Probation => true,
            Self::Joining | Self::Quarantined | Self::Maintenance => false,
        }
    }
}

/// The last node known to have been elected in a group.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Elected {
    /// In this term.
    pub term: Term,
    /// This node.
    pub node: NodeId,
}
