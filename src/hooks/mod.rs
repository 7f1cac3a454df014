//! The operator's commands, run when a role changes or an alarm is raised.
//!
//! ```text
//!  orders ──> run ──┬──> lane of a group   ──> one command after another ──> observer
//!                   └──> lane of the alarms
//! ```
//!
//! Nothing waits for a hook. Within a lane they run in the order of what happened; a hook that
//! hangs delays its own lane by its time limit, and no other.

mod command;
mod lanes;
#[cfg(test)]
mod tests;

use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use vipward_core::{Cause, Hook, HookPoint, RoleName};

use lanes::Lanes;

/// What the edge needs to know.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The cluster's name.
    pub cluster: String,
    /// This node's name.
    pub node: String,
    /// The groups' names, by `GroupId`.
    pub groups: Vec<String>,
    /// The commands of each point: a program and its arguments.
    pub commands: Commands,
    /// How long things may take.
    pub limits: Limits,
}

/// Programs and their arguments, by when they are run.
#[derive(Clone, Debug, Default)]
pub struct Commands {
    /// When this node became Master of a group.
    pub on_master: Vec<Vec<String>>,
    /// When another leads it.
    pub on_backup: Vec<Vec<String>>,
    /// When this node lost its majority, or gave its mastership up, and serves on.
    pub on_holding: Vec<Vec<String>>,
    /// When an alarm was raised.
    pub on_alarm: Vec<Vec<String>>,
}

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// One command, before its process group is asked to end.
    pub run: Duration,
    /// From there to being killed.
    pub grace: Duration,
    /// All that still runs or waits when the daemon ends.
    pub end: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            run: Duration::from_secs(30),
            grace: Duration::from_secs(2),
            end: Duration::from_secs(5),
        }
    }
}

impl Limits {
    /// How long [`run`] takes at most after `stop`.
    #[must_use]
    pub fn longest_end(self) -> Duration {
        // A second each for the kernel and for a busy machine.
        self.end + self.grace + Duration::from_secs(2)
    }
}

/// One command has ended, or was never started.
#[derive(Debug)]
pub struct Finished<'a> {
    /// What it was told.
    pub hook: &'a Hook,
    /// Program and arguments.
    pub command: &'a [String],
    /// What became of it.
    pub outcome: Outcome,
    /// How long it ran.
    pub took: Duration,
    /// The end of what it said.
    pub output: String,
}

/// What became of a command.
#[derive(Debug)]
pub enum Outcome {
    /// It ended with status 0.
    Ok,
    /// It ended with another, or by a signal.
    Failed(ExitStatus),
    /// It ran out of time, and was ended with all that it had started.
    Timeout {
        /// Which limit, in a sentence.
        why: &'static str,
    },
    /// It could not be started.
    NotStarted(std::io::Error),
    /// It was not even tried.
    Dropped {
        /// In a sentence.
        why: &'static str,
    },
}

impl Outcome {
    /// The word in journal and metrics.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed(_) => "failed",
            Self::Timeout { .. } => "timeout",
            Self::NotStarted(_) => "not-started",
            Self::Dropped { .. } => "dropped",
        }
    }
}

/// Who is told what becomes of hooks.
pub trait Observer: Send + Sync {
    /// A command has ended, or was dropped.
    fn finished(&self, finished: &Finished<'_>);
}

/// Runs hooks in their order until `stop`, and what waits then for a bounded time. New settings
/// are taken with the next hook.
pub async fn run(
    settings: watch::Receiver<Arc<Settings>>,
    mut orders: mpsc::Receiver<Hook>,
    observer: Arc<dyn Observer>,
    stop: CancellationToken,
) {
    let mut lanes = Lanes::new(settings, observer);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            order = orders.recv() => match order {
                Some(hook) => lanes.take(hook),
                None => break,
            },
            () = lanes.turn() => {}
        }
    }
    // What was ordered before the stop is not lost to it.
    orders.close();
    while let Ok(hook) = orders.try_recv() {
        lanes.take(hook);
    }
    lanes.end().await;
}

impl Settings {
    fn commands(&self, point: &HookPoint) -> &[Vec<String>] {
        match point {
            HookPoint::Master => &self.commands.on_master,
            HookPoint::Backup => &self.commands.on_backup,
            HookPoint::Holding => &self.commands.on_holding,
            HookPoint::Alarm { .. } => &self.commands.on_alarm,
        }
    }

    /// What a hook finds in its environment, beside `PATH`. What has no meaning is empty, so that
    /// a script may say `set -u`.
    fn environment(&self, hook: &Hook) -> Vec<(&'static str, String)> {
        let group = hook.group.and_then(|group| self.groups.get(group.index()));
        let mut environment = vec![
            ("VIPWARD_CLUSTER", self.cluster.clone()),
            ("VIPWARD_NODE", self.node.clone()),
            ("VIPWARD_GROUP", group.cloned().unwrap_or_default()),
            ("VIPWARD_ROLE", hook.role.map_or("", RoleName::as_str).to_owned()),
            ("VIPWARD_TERM", hook.term.map_or_else(String::new, |term| term.0.to_string())),
            ("VIPWARD_CAUSE", hook.cause.map_or("", Cause::as_str).to_owned()),
        ];
        if let HookPoint::Alarm { name, message } = &hook.point {
            environment.push(("VIPWARD_ALARM", name.as_str().to_owned()));
            // An environment cannot have a zero byte, whatever a cloud may have said.
            environment.push(("VIPWARD_MESSAGE", message.replace('\0', " ")));
        }
        environment
    }
}
