//! Repair: makes this node's files those of the master, or leaves them as they were.
//!
//! ```text
//!   Plan::new -> Staging::begin -> add … -> finish -> Staged::swap -> Swapped
//!                    |                        |            |            | pull_test
//!                    v                        v            v            | reloading, pull_reload
//!                 abandon                  abandon     rolled back      | verify
//!                                                                       v
//!                                                              commit, or rollback
//! ```
//!
//! Nothing here runs a program or asks a peer: the surroundings fetch contents and run commands
//! between the stages, on a thread that may block.
//!
//! * **Beside**: the new files are written into a directory `.vipward-pull` of each pattern's fixed
//!   directory, so that a rename, and no copy, brings them into place. (The state directory cannot
//!   serve: it is another file system, or another mount of it, on most machines.)
//! * **Atomic**: a record in the state directory names every change before the first one is made.
//!   Each file is exchanged with its successor in one step; what comes out must be what was
//!   compared, or everything goes back. Whatever happens in between, [`recover`] makes one whole
//!   tree of it, the old one, or once committed the new one. Between the first rename and the last
//!   the disk shows some of both for a moment: the running balancer has read its files long ago.
//! * **Tested in place**: `pull_test` sees the new tree where the balancer will read it. A mount of
//!   its own for the test would take rights that the daemon does not have.
//! * **Beneath**: a file is reached from its pattern's fixed directory, component by component,
//!   never through a symbolic link.

mod accounts;
mod merge;
mod place;
mod plan;
mod record;
mod stage;
mod step;
mod swap;
mod undo;
mod work;

use std::io;

pub use merge::Substitutions;
pub use plan::{Plan, Refusal, Wanted};
pub use stage::{Setup, Staged, Staging};
pub use swap::Swapped;
pub use undo::{Recovered, RolledBack, recover, settled};

use crate::printable;

/// The directory of staged files below a pattern's fixed directory. No scan may see it.
pub const STAGING: &str = ".vipward-pull";

/// Why a pull did not happen.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// The files are as before. The same will be refused again, until either node's files change.
    #[error("{0}")]
    Refused(String),
    /// The files are as before. Something of this machine failed, and may be mended.
    #[error("{what}: {source}")]
    Failed {
        /// What was tried, as the beginning of a sentence.
        what: String,
        /// What came of it.
        #[source]
        source: io::Error,
    },
    /// The files could not be brought back: some may be old and some new. The record is kept, and
    /// [`recover`] tries again.
    #[error("{what}; the earlier files could not all be brought back, and are kept: {source}")]
    Torn {
        /// What was tried.
        what: String,
        /// What came of it.
        #[source]
        source: io::Error,
    },
}

impl PullError {
    fn failed(what: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self::Failed { what: what.into(), source: source.into() }
    }

    fn torn(what: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self::Torn { what: what.into(), source: source.into() }
    }
}

/// "it was changed", of a file.
fn changed_meanwhile(path: &str) -> PullError {
    PullError::Refused(format!(
        "file {} was changed by somebody else after it was compared; it is compared again",
        printable(path)
    ))
}

#[cfg(test)]
mod fault_tests;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod kill_tests;
#[cfg(test)]
mod meanwhile_tests;
#[cfg(test)]
mod plan_tests;
#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod tests;
