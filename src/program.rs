//! Programs that the operator names, for checks, hooks and comparisons: run without a shell, in a process
//! group of their own, and with nothing of the daemon's environment but `PATH`. That may hold
//! cloud credentials, which are no business of a check.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{self, PipeWriter};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// Where programs are looked for when the daemon's own environment does not say.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How often a program that was asked to end is looked at.
const POLL: Duration = Duration::from_millis(20);
/// How long the kernel may take to end what was killed; it may hang on a disk.
const REAP: Duration = Duration::from_secs(1);
/// Reads that are still made when a program has ended, without waiting: a pipe has 64 KiB.
const LAST_READS: usize = 32;

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

/// How long a program may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Before its process group is asked to end.
    pub(crate) run: Duration,
    /// From there to being killed.
    pub(crate) grace: Duration,
}

/// How a program ended.
#[derive(Debug)]
pub(crate) enum End {
    /// By itself, or by a signal.
    Exited(ExitStatus),
    /// It was ended with all that it had started; why.
    Ended(&'static str),
    /// It could not be started.
    NotStarted(io::Error),
}

/// What a program said.
#[derive(Debug)]
pub(crate) struct Said {
    /// The last of it.
    last: VecDeque<u8>,
    kept: usize,
    /// How many bytes it was in all.
    pub(crate) length: u64,
}

/// Runs a program to its end, or to the end of its time, or until `ending`. Of what it says the
/// last `kept` bytes are kept, errors where they came.
pub(crate) async fn run(
    argv: &[String],
    environment: &[(&'static str, String)],
    kept: usize,
    limits: Limits,
    ending: &CancellationToken,
) -> (End, Said) {
    let mut said = Said { last: VecDeque::new(), kept, length: 0 };
    let (mut program, mut pipe) = match start_piped(argv, environment) {
        Ok(started) => started,
        Err(error) => return (End::NotStarted(error), said),
    };
    let ended = tokio::select! {
        status = said.listen(&mut program, &mut pipe) => Ok(status),
        () = sleep(limits.run) => Err("it ran longer than its limit"),
        () = ending.cancelled() => Err("the daemon ended"),
    };
    let end = match ended {
        Ok(Ok(status)) => End::Exited(status),
        Ok(Err(error)) => End::NotStarted(error),
        Err(why) => {
            program.end(limits.grace).await;
            End::Ended(why)
        }
    };
    said.rest(&pipe);
    (end, said)
}

fn start_piped(
    argv: &[String],
    environment: &[(&'static str, String)],
) -> io::Result<(Program, Receiver)> {
    // One pipe for both, so that errors stand where they came.
    let (reader, writer) = io::pipe()?;
    let pipe = Receiver::from_owned_fd(reader.into())?;
    Ok((Program::start(argv, environment, Some(writer))?, pipe))
}

impl Said {
    /// Listens until the program has ended. Whatever it left running may keep the pipe.
    async fn listen(
        &mut self,
        program: &mut Program,
        pipe: &mut Receiver,
    ) -> io::Result<ExitStatus> {
        let mut buffer = [0; 4096];
        let mut open = true;
        let ended = program.wait();
        tokio::pin!(ended);
        loop {
            tokio::select! {
                status = &mut ended => return status,
                read = pipe.read(&mut buffer), if open => match read {
                    Ok(0) | Err(_) => open = false,
                    Ok(length) => self.add(buffer.get(..length).unwrap_or_default()),
                }
            }
        }
    }

    /// Takes what is in the pipe, and waits for nothing.
    fn rest(&mut self, pipe: &Receiver) {
        let mut buffer = [0; 4096];
        for _ in 0..LAST_READS {
            match pipe.try_read(&mut buffer) {
                Ok(0) | Err(_) => return,
                Ok(length) => self.add(buffer.get(..length).unwrap_or_default()),
            }
        }
    }

    fn add(&mut self, bytes: &[u8]) {
        self.length += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.last.extend(bytes);
        self.last.drain(..self.last.len().saturating_sub(self.kept));
    }

    /// The bytes that were kept.
    pub(crate) fn bytes(self) -> Vec<u8> {
        self.last.into()
    }

    /// The same as text.
    pub(crate) fn text(self) -> String {
        String::from_utf8_lossy(&self.bytes()).trim().to_owned()
    }
}
