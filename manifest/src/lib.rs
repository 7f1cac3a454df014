//! What a node's configuration is made of (design section 6): read, hashed, compared, repaired.
//!
//! Plain files and plain functions: nothing here is asynchronous, speaks to a peer, or runs a
//! program. Its surroundings call it from a thread that may block, hand in what commands printed,
//! and carry entries between nodes.

mod compare;
mod entry;
mod paint;
mod printable;
pub mod pull;
mod rules;
mod unified;

pub use compare::*;
pub use entry::*;
pub use printable::*;
pub use rules::Rules;
pub use unified::*;
