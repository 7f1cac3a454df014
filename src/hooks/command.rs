//! One command: run to its end, or to that of its time.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Limits, Outcome};
use crate::program::{self, End};

/// So many bytes of what a command says are kept: its last.
pub(super) const KEPT: usize = 2 << 10;

/// Runs a command to its end, or to the end of its time, or until `ending`.
pub(super) async fn run(
    argv: &[String],
    environment: &[(&'static str, String)],
    limits: Limits,
    ending: &CancellationToken,
) -> (Outcome, Duration, String) {
    let began = Instant::now();
    let Limits { run, grace, .. } = limits;
    let limits = program::Limits { run, grace };
    let (end, said) = program::run(argv, environment, KEPT, limits, ending).await;
    let outcome = match end {
        End::Exited(status) if status.success() => Outcome::Ok,
        End::Exited(status) => Outcome::Failed(status),
        End::Ended(why) => Outcome::Timeout { why },
        End::NotStarted(error) => Outcome::NotStarted(error),
    };
    (outcome, began.elapsed(), said.text())
}
