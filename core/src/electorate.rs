//! Who votes, and what a majority of them is (design section 3).
//!
//! The one place where voters are counted: whoever needs a majority asks here, with what each
//! voter has.

use std::cmp::Reverse;

use crate::config::Config;
use crate::mutation::{Mutation, active};
use crate::types::NodeId;

/// The voters of the cluster.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Electorate {
    voters: Vec<NodeId>,
}

impl Electorate {
    /// Every node of the configuration votes, witnesses included.
    pub(crate) fn new(config: &Config) -> Self {
        Self { voters: (0..).map(NodeId).take(config.nodes.len()).collect() }
    }

    /// The smallest number of voters of which any two sets share a member.
    fn quorum(&self) -> usize {
        if active(Mutation::QuorumIsAll) { self.voters.len() } else { self.voters.len() / 2 + 1 }
    }

    /// Whether one voter alone is a majority.
    pub(crate) fn is_single(&self) -> bool {
        self.quorum() <= 1
    }

    /// Whether those that `agree` are a majority.
    pub(crate) fn is_majority(&self, agree: impl Fn(NodeId) -> bool) -> bool {
        self.voters.iter().filter(|voter| agree(**voter)).count() >= self.quorum()
    }

    /// The greatest value that a majority reaches: the quorum-th greatest of what each voter has.
    pub(crate) fn reached<T: Ord>(&self, of: impl Fn(NodeId) -> Option<T>) -> Option<T> {
        let mut values: Vec<T> = self.voters.iter().filter_map(|voter| of(*voter)).collect();
        values.sort_unstable_by(|a, b| b.cmp(a));
        values.into_iter().nth(self.quorum().checked_sub(1)?)
    }

    /// The least value within which a majority lies: the quorum-th least of what each voter has.
    pub(crate) fn within<T: Ord>(&self, of: impl Fn(NodeId) -> Option<T>) -> Option<T> {
        self.reached(|voter| of(voter).map(Reverse)).map(|Reverse(value)| value)
    }
}
