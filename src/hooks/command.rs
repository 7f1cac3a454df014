//! One command: started, listened to, and ended when its time is over.

use std::collections::VecDeque;
use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{Limits, Outcome};
use crate::program::Program;

/// So many bytes of what a command says are kept: its last.
pub(super) const KEPT: usize = 2 << 10;
/// Reads that are still made when the command has ended, without waiting: a pipe has 64 KiB.
const LAST_READS: usize = 32;

/// Runs a command to its end, or to the end of its time, or until `ending`.
pub(super) async fn run(
    argv: &[String],
    environment: &[(&'static str, String)],
    limits: Limits,
    ending: &CancellationToken,
) -> (Outcome, Duration, String) {
    let began = Instant::now();
    let mut said = Said::default();
    let started = start(argv, environment);
    let outcome = match started {
        Err(error) => Outcome::NotStarted(error),
        Ok((mut program, mut pipe)) => {
            let status = tokio::select! {
                status = said.listen(&mut program, &mut pipe) => Ok(status),
                () = sleep(limits.run) => Err("it ran longer than its limit"),
                () = ending.cancelled() => Err("the daemon ended"),
            };
            let outcome = match status {
                Ok(Ok(status)) if status.success() => Outcome::Ok,
                Ok(Ok(status)) => Outcome::Failed(status),
                Ok(Err(error)) => Outcome::NotStarted(error),
                Err(why) => {
                    program.end(limits.grace).await;
                    Outcome::Timeout { why }
                }
            };
            said.rest(&pipe);
            outcome
        }
    };
    (outcome, began.elapsed(), said.text())
}

fn start(
    argv: &[String],
    environment: &[(&'static str, String)],
) -> io::Result<(Program, Receiver)> {
    // One pipe for both, so that errors stand where they came.
    let (reader, writer) = io::pipe()?;
    let pipe = Receiver::from_owned_fd(reader.into())?;
    Ok((Program::start(argv, environment, Some(writer))?, pipe))
}

/// The last of what a command said.
#[derive(Default)]
struct Said(VecDeque<u8>);

impl Said {
    /// Listens until the command has ended. Whatever it left running may keep the pipe.
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
        self.0.extend(bytes);
        self.0.drain(..self.0.len().saturating_sub(KEPT));
    }

    fn text(self) -> String {
        let bytes: Vec<u8> = self.0.into();
        String::from_utf8_lossy(&bytes).trim().to_owned()
    }
}
