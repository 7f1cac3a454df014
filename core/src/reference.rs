//! The reference: what a node's configuration must be before it may lead (design section 6), and
//! what operators admitted instead.

use crate::types::{Digest, NodeId, Term};

/// Orders the references of a cluster: the highest counts.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ReferenceVersion {
    /// The term of the first group in which it was set.
    pub term: Term,
    /// Counts the changes within that term.
    pub count: u64,
}

/// The digest that the acting master of the first group had applied.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Reference {
    /// The highest counts.
    pub version: ReferenceVersion,
    /// The digest.
    pub digest: Digest,
}

/// An operator's override of the gate: that node may lead with that configuration.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Admission {
    /// Above every reference and admission known where it was given.
    pub version: ReferenceVersion,
    /// Who.
    pub node: NodeId,
    /// With which configuration.
    pub digest: Digest,
    /// The reference's digest that it overrides: void as soon as another one is set.
    pub over: Digest,
}

/// Why a candidate may stand although its configuration is not the reference's.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Exception {
    /// It was in service when the difference arose, and no other is left.
    Drift,
    /// It is quarantined, the configuration allows that, and no other is left.
    LastResort,
    /// An operator admitted it.
    Admitted,
    /// There is no master, and every balancer has the same configuration.
    ColdStart,
}

impl Exception {
    /// The name in the journal.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Drift => "drift",
            Self::LastResort => "last-resort",
            Self::Admitted => "admitted",
            Self::ColdStart => "cold-start",
        }
    }
}
