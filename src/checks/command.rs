//! A program as a check: its exit status counts, its output does not.

use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::Command;

use super::Failure;

/// A process group that is killed when dropped, unless its leader ended by itself.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // It may just have ended.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Runs the program in a process group of its own. Dropping the future kills the whole group.
pub(super) async fn run(argv: &[String]) -> Result<(), Failure> {
    let Some((program, arguments)) = argv.split_first() else {
        return Err(std::io::Error::other("the command is empty").into());
    };
    let mut command = Command::new(program);
    command.args(arguments).process_group(0).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn()?;
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    let mut group = Group(pid);
    let status = child.wait().await;
    // Its number may belong to another from here on.
    group.0 = None;
    match status? {
        status if status.success() => Ok(()),
        status => Err(Failure::Exit(status)),
    }
}
