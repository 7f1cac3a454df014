//! A program as a check: its exit status counts, its output does not.

use super::Failure;
use crate::program::Program;

/// Runs the program. Dropping the future kills it and all that it started.
pub(super) async fn run(argv: &[String]) -> Result<(), Failure> {
    let mut program = Program::start(argv, &[], None)?;
    match program.wait().await? {
        status if status.success() => Ok(()),
        status => Err(Failure::Exit(status)),
    }
}
