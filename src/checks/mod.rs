//! Health checks: each runs in a task of its own, and every verdict becomes an input.
//!
//! What a number of verdicts means (`rise`, `fall`, `weight`, `fatal`) is the core's business.

mod bus;
mod command;
mod http;
mod interface;
mod process;
mod reasons;
#[cfg(test)]
mod tests;
mod unit;

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_util::sync::CancellationToken;
use vipward_core::{CheckId, Input, Random};

pub use bus::system_bus;
pub use http::{HttpTarget, HttpTargetError};
pub use reasons::Reasons;

use bus::BusError;
use process::ProcessCheck;
use unit::UnitCheck;

/// The checks of this node, in the order of `CheckId`.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// One entry each.
    pub checks: Vec<Check>,
}

/// One check.
#[derive(Clone, Debug)]
pub struct Check {
    /// Its name, for the log.
    pub name: String,
    /// What is tried.
    pub kind: CheckKind,
    /// From one start to the next.
    pub interval: Duration,
    /// After which it counts as failed.
    pub timeout: Duration,
}

/// What a check tries.
#[derive(Clone, Debug)]
pub enum CheckKind {
    /// GET on a fresh connection: 2xx and 3xx pass.
    Http(HttpTarget),
    /// A connection to `host:port`.
    Tcp(String),
    /// A program and its arguments, without a shell: exit status 0 passes.
    Command(Vec<String>),
    /// A process of exactly that name runs.
    Process(String),
    /// The network interface of that name is up, and its lower layer can pass packets.
    Interface(String),
    /// A systemd unit is active.
    Unit {
        /// Its name, with its type.
        name: String,
        /// The socket of the system bus.
        system_bus: PathBuf,
    },
}

/// Why a check did not pass.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("no verdict within {0:?}")]
    Timeout(Duration),
    #[error("status {0}")]
    Status(u16),
    #[error("{0}")]
    Http(#[from] hyper::Error),
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("the program ended with {0}")]
    Exit(std::process::ExitStatus),
    #[error("the unit is {active}{}", loaded.as_ref().map(|it| format!(" ({it})")).unwrap_or_default())]
    Unit { active: String, loaded: Option<String> },
    #[error("{0}")]
    Bus(#[from] BusError),
    #[error("no process of that name runs")]
    NoProcess,
    #[error("there is no interface of that name")]
    NoInterface,
    #[error("the interface is down or has no carrier")]
    LinkDown,
    #[error("the process list has not been read since the last run")]
    Stuck,
}

/// The first run of a check comes within this time, so that not all start at once.
const JITTER: Duration = Duration::from_millis(500);

/// Runs all checks until `stop` is cancelled. None delays another, none overlaps itself. Why one
/// fails is in `reasons` before its verdict is an input.
pub async fn run(
    settings: Settings,
    inputs: mpsc::Sender<Input>,
    reasons: Reasons,
    stop: CancellationToken,
) {
    reasons.forget();
    // Without randomness they start together, which only costs a moment's load.
    let mut random = Random::new(getrandom::u64().unwrap_or_default());
    let mut tasks = JoinSet::new();
    for (index, check) in (0..=u8::MAX).zip(settings.checks) {
        let wait = random.up_to(check.interval.min(JITTER));
        tasks.spawn(repeat(CheckId(index), check, wait, inputs.clone(), reasons.clone()));
    }
    drop(inputs);
    let _ = stop.run_until_cancelled(async { while tasks.join_next().await.is_some() {} }).await;
    tasks.shutdown().await;
}

/// One check, again and again, until nobody wants its verdicts.
async fn repeat(
    id: CheckId,
    check: Check,
    wait: Duration,
    inputs: mpsc::Sender<Input>,
    reasons: Reasons,
) {
    let mut runner = Runner::new(check.kind);
    let mut last = None;
    let mut ticks =
        interval_at(Instant::now() + wait, check.interval.max(Duration::from_millis(1)));
    // A run that took long is not made up for.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let verdict = match timeout(check.timeout, runner.attempt()).await {
            Ok(verdict) => verdict,
            Err(_) => Err(Failure::Timeout(check.timeout)),
        };
        let passed = verdict.is_ok();
        reasons.set(id, verdict.as_ref().err().map(ToString::to_string));
        if last.replace(passed) != Some(passed) {
            match verdict {
                Ok(()) => tracing::info!(check = check.name, "the check passes"),
                Err(error) => tracing::warn!(check = check.name, %error, "the check fails"),
            }
        }
        if inputs.send(Input::CheckResult { check: id, passed }).await.is_err() {
            return;
        }
    }
}

/// A check and what it keeps from run to run.
enum Runner {
    Http(HttpTarget),
    Tcp(String),
    Command(Vec<String>),
    Process(ProcessCheck),
    Interface(String),
    Unit(UnitCheck),
}

impl Runner {
    fn new(kind: CheckKind) -> Self {
        match kind {
            CheckKind::Http(target) => Self::Http(target),
            CheckKind::Tcp(target) => Self::Tcp(target),
            CheckKind::Command(argv) => Self::Command(argv),
            CheckKind::Process(name) => Self::Process(ProcessCheck::new(name)),
            CheckKind::Interface(name) => Self::Interface(name),
            CheckKind::Unit { name, system_bus } => Self::Unit(UnitCheck::new(&system_bus, &name)),
        }
    }

    /// One run. Dropped when its time is over, and then leaves nothing behind.
    async fn attempt(&mut self) -> Result<(), Failure> {
        match self {
            Self::Http(target) => http::get(target).await,
            Self::Tcp(target) => {
                tokio::net::TcpStream::connect(target.as_str()).await?;
                Ok(())
            }
            Self::Command(argv) => command::run(argv).await,
            Self::Process(check) => check.run().await,
            Self::Interface(name) => interface::can_pass(name).await,
            Self::Unit(check) => check.run().await,
        }
    }
}
