//! Programs that the operator names, for checks and hooks: run without a shell, in a process
//! group of their own, and with nothing of the daemon's environment but `PATH`. That may hold
//! cloud credentials, which are no business of a check.

use std::ffi::OsString;
use std::io::{self, PipeWriter};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

/// Where programs are looked for when the daemon's own environment does not say.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How often a program that was asked to end is looked at.
const POLL: Duration = Duration::from_millis(20);
/// How long the kernel may take to end what was killed; it may hang on a disk.
const REAP: Duration = Duration::from_secs(1);

/// A running program. Dropped while it runs, its whole process group is killed.
pub(crate) struct Program {
    child: Child,
    /// `None` once its leader was waited for: its number may belong to another from there on.
    group: Option<Pid>,
}

impl Program {
    /// Starts a program with an empty stdin. What it says goes to `output`, or nowhere.
    pub(crate) fn start(
        argv: &[String],
        environment: &[(&'static str, String)],
        output: Option<PipeWriter>,
    ) -> io::Result<Self> {
        let Some((program, arguments)) = argv.split_first() else {
            return Err(io::Error::other("the command is empty"));
        };
        let mut command = Command::new(program);
        let path = std::env::var_os("PATH").unwrap_or_else(|| OsString::from(PATH));
        command.args(arguments).process_group(0).kill_on_drop(true);
        command.env_clear().env("PATH", path).envs(environment.iter().cloned());
        command.stdin(Stdio::null());
        match output {
            Some(pipe) => command.stdout(pipe.try_clone()?).stderr(pipe),
            None => command.stdout(Stdio::null()).stderr(Stdio::null()),
        };
        let child = command.spawn()?;
        let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        Ok(Self { child, group: pid })
    }

    /// Waits for its end. What it started itself and left behind is left alone.
    pub(crate) async fn wait(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait().await;
        self.group = None;
        status
    }

    /// Asks the whole group to end, and kills what is left of it when the leader has ended or
    /// `grace` is over.
    pub(crate) async fn end(mut self, grace: Duration) {
        self.signal(Signal::TERM);
        let _ = timeout(grace, self.ended()).await; // It is killed either way.
        self.signal(Signal::KILL);
        if timeout(REAP, self.child.wait()).await.is_ok() {
            self.group = None;
        }
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            let _ = kill_process_group(group, signal); // It may just have ended.
        }
    }

    /// Waits for the leader's end, but leaves its number taken: the rest of the group goes by it.
    async fn ended(&self) {
        let Some(pid) = self.group else { return };
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        while matches!(waitid(WaitId::Pid(pid), look), Ok(None)) {
            sleep(POLL).await;
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}
