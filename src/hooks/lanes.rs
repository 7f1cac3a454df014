//! Who waits for whom: the hooks of one group for each other, and the alarms for each other.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use vipward_core::{GroupId, Hook, HookPoint};

use super::{Finished, Observer, Outcome, Settings, command};

/// Hooks that may wait in one lane. Beyond it the oldest is dropped: the newest says what is.
pub(super) const WAITING: usize = 16;

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Name {
    /// What the roles of a group order.
    Group(Option<GroupId>),
    /// Alarms have one of their own: a page must not wait for a hook that hangs.
    Alarms,
}

impl Name {
    fn of(hook: &Hook) -> Self {
        match hook.point {
            HookPoint::Alarm { .. } => Self::Alarms,
            HookPoint::Master | HookPoint::Backup | HookPoint::Holding => Self::Group(hook.group),
        }
    }
}

#[derive(Default)]
struct Lane {
    busy: bool,
    waiting: VecDeque<Hook>,
}

pub(super) struct Lanes {
    settings: watch::Receiver<Arc<Settings>>,
    observer: Arc<dyn Observer>,
    lanes: BTreeMap<Name, Lane>,
    running: JoinSet<Name>,
    /// Ends what runs.
    ending: CancellationToken,
}

impl Lanes {
    pub(super) fn new(
        settings: watch::Receiver<Arc<Settings>>,
        observer: Arc<dyn Observer>,
    ) -> Self {
        let ending = CancellationToken::new();
        Self { settings, observer, lanes: BTreeMap::new(), running: JoinSet::new(), ending }
    }

    /// Runs a hook after those of its lane.
    pub(super) fn take(&mut self, hook: Hook) {
        let name = Name::of(&hook);
        let lane = self.lanes.entry(name).or_default();
        lane.waiting.push_back(hook);
        if lane.waiting.len() > WAITING
            && let Some(oldest) = lane.waiting.pop_front()
        {
            self.drop_hook(&oldest, "too many hooks wait; the oldest is left out");
        }
        self.start_next(name);
    }

    /// Waits until a lane is free, and starts its next. For ever while nothing runs.
    pub(super) async fn turn(&mut self) {
        match self.running.join_next().await {
            Some(Ok(name)) => {
                if let Some(lane) = self.lanes.get_mut(&name) {
                    lane.busy = false;
                }
                self.start_next(name);
            }
            // A task that ends otherwise ends the process, by the hook of `main`.
            Some(Err(error)) => tracing::error!(%error, "a hook's task ended"),
            None => std::future::pending().await,
        }
    }

    /// Lets what runs and waits go on for as long as `Limits::end` allows, and ends the rest.
    pub(super) async fn end(mut self) {
        let limits = self.settings.borrow().limits;
        let all = async {
            while !self.running.is_empty() {
                self.turn().await;
            }
        };
        if timeout(limits.end, all).await.is_ok() {
            return;
        }
        self.ending.cancel();
        for lane in std::mem::take(&mut self.lanes).into_values() {
            for hook in lane.waiting {
                self.drop_hook(&hook, "the daemon ended before its turn");
            }
        }
        let killed = async { while self.running.join_next().await.is_some() {} };
        let _ = timeout(limits.grace + Duration::from_secs(1), killed).await;
    }

    fn start_next(&mut self, name: Name) {
        let Some(lane) = self.lanes.get_mut(&name).filter(|lane| !lane.busy) else { return };
        let Some(hook) = lane.waiting.pop_front() else { return };
        lane.busy = true;
        let settings = Arc::clone(&self.settings.borrow());
        let (observer, ending) = (Arc::clone(&self.observer), self.ending.clone());
        self.running.spawn(async move {
            run_all(&settings, &hook, &*observer, &ending).await;
            name
        });
    }

    fn drop_hook(&self, hook: &Hook, why: &'static str) {
        for command in self.settings.borrow().commands(&hook.point) {
            tell_dropped(&*self.observer, hook, command, why);
        }
    }
}

/// The commands of one hook, one after another, whatever becomes of each.
async fn run_all(
    settings: &Settings,
    hook: &Hook,
    observer: &dyn Observer,
    ending: &CancellationToken,
) {
    let environment = settings.environment(hook);
    for argv in settings.commands(&hook.point) {
        if ending.is_cancelled() {
            tell_dropped(observer, hook, argv, "the daemon ended before its turn");
            continue;
        }
        let (outcome, took, output) =
            command::run(argv, &environment, settings.limits, ending).await;
        observer.finished(&Finished { hook, command: argv, outcome, took, output });
    }
}

fn tell_dropped(observer: &dyn Observer, hook: &Hook, command: &[String], why: &'static str) {
    let outcome = Outcome::Dropped { why };
    let (took, output) = (Duration::ZERO, String::new());
    observer.finished(&Finished { hook, command, outcome, took, output });
}
