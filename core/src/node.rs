//! One node: the state machine itself.

use std::sync::Arc;

use crate::{BootId, Config, Durable, Input, Output, Status, Timestamp};

/// The state machine. See the crate's header for its contract.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Node {}

impl Node {
    /// A node that starts now, in a life of its own. `disk` is what an earlier life persisted,
    /// or `None` if there is nothing to be read; `seed` feeds the only randomness. The first
    /// deadline is `now`.
    #[must_use]
    pub fn new(
        config: Arc<Config>,
        boot: BootId,
        seed: u64,
        disk: Option<Durable>,
        now: Timestamp,
    ) -> Self {
        let _ = (config, boot, seed, disk, now);
        Self {}
    }

    /// Advances the machine by one input: the only function that changes its state.
    pub fn step(&mut self, now: Timestamp, input: Input) -> Vec<Output> {
        let _ = (now, input);
        Vec::new()
    }

    /// When to call `step` with `Input::DeadlineReached`, unless another input comes first.
    #[must_use]
    pub fn next_deadline(&self) -> Timestamp {
        Timestamp::NEVER
    }

    /// The node's account of itself.
    #[must_use]
    pub fn status(&self, now: Timestamp) -> Status {
        let _ = now;
        unimplemented!()
    }
}

/// What a reload may not change, one sentence each, naming the key: voters and their links, the
/// groups and their addresses. Empty: the reload is accepted.
#[must_use]
pub fn reload_refusals(current: &Config, new: &Config) -> Vec<String> {
    let _ = (current, new);
    Vec::new()
}
