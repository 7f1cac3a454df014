//! What a node's configuration is made of (design section 6): read, hashed, compared, repaired.
//!
//! Plain files and plain functions: nothing here is asynchronous, speaks to a peer, or runs a
//! program. Its surroundings call it from a thread that may block, hand in what commands printed,
//! and carry entries between nodes.

mod applied;
mod compare;
mod content;
mod digest;
mod entry;
mod lines;
mod normalise;
mod outside;
mod owners;
mod paint;
mod patterns;
mod printable;
pub mod pull;
mod read;
mod scan;
mod settings;
mod stamp;
mod unified;
mod walk;
mod watch;

pub use compare::*;
pub use content::{Refused, content};
pub use entry::*;
pub use normalise::{Hasher, LONGEST, Rules, Variables};
pub use outside::{LARGEST_OUTPUT, Outcome, Outside, Shared};
pub use patterns::Patterns;
pub use printable::*;
pub use scan::Scanner;
pub use settings::{Mistake, Settings, Wanted};
pub use unified::*;
pub use watch::{Seen, Watch};
