//! Signals: SIGTERM and SIGINT stop, SIGHUP reads the configuration again.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use vipward_core::{BootId, Input};

use super::ask::Runtime;
use super::start::{Identified, identify, read_keys};
use super::translate;
use crate::checks;
use crate::cloud::Cloud;
use crate::consistency;
use crate::hooks;
use crate::journal::{Journal, Record};
use crate::names::Names;

/// What a reload changes.
pub(crate) struct Reloads {
    pub(crate) path: PathBuf,
    pub(crate) node: Option<String>,
    pub(crate) current: Identified,
    pub(crate) boot: BootId,
    pub(crate) inputs: mpsc::Sender<Input>,
    pub(crate) names: watch::Sender<Arc<Names>>,
    pub(crate) cloud: Cloud,
    pub(crate) journal: Journal,
    pub(crate) runtime: Arc<Runtime>,
    /// Who runs the checks, until when, and what ends the present ones.
    pub(crate) checks: (TaskTracker, CancellationToken, CancellationToken),
    pub(crate) reasons: checks::Reasons,
    pub(crate) hooks: watch::Sender<Arc<hooks::Settings>>,
    pub(crate) consistency: watch::Sender<Arc<consistency::Settings>>,
}

/// Obeys signals until the heart has stopped.
pub(crate) async fn obey_signals(
    mut reloads: Reloads,
    inputs: mpsc::Sender<Input>,
    mut ended: oneshot::Receiver<()>,
) {
    let listen = |kind| match signal(kind) {
        Ok(signal) => Some(signal),
        Err(error) => {
            tracing::error!(%error, "a signal cannot be listened to; the default applies");
            None
        }
    };
    let mut term = listen(SignalKind::terminate());
    let mut interrupt = listen(SignalKind::interrupt());
    let mut hangup = listen(SignalKind::hangup());
    tell_systemd(&[sd_notify::NotifyState::Ready]);
    let mut watchdog = watchdog();
    loop {
        tokio::select! {
            _ = &mut ended => return,
            () = arrived(&mut term) => stop(&inputs).await,
            () = arrived(&mut interrupt) => stop(&inputs).await,
            () = arrived(&mut hangup) => reloads.reload().await,
            () = tick(&mut watchdog) => {
                // Only while the core answers: a stuck loop is what the watchdog is for.
                if reloads.runtime.is_alive().await {
                    tell_systemd(&[sd_notify::NotifyState::Watchdog]);
                }
            }
        }
    }
}

async fn arrived(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

async fn tick(watchdog: &mut Option<tokio::time::Interval>) {
    match watchdog {
        Some(interval) => {
            interval.tick().await;
        }
        None => std::future::pending().await,
    }
}

fn watchdog() -> Option<tokio::time::Interval> {
    let every = sd_notify::watchdog_enabled()?;
    Some(tokio::time::interval(every / 3))
}

fn tell_systemd(state: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "systemd cannot be told");
    }
}

async fn stop(inputs: &mpsc::Sender<Input>) {
    tracing::info!("asked to stop");
    tell_systemd(&[sd_notify::NotifyState::Stopping]);
    let _ = inputs.send(Input::Stop).await; // The heart may have stopped already.
}

impl Reloads {
    async fn reload(&mut self) {
        match self.try_reload().await {
            Ok(()) => tracing::info!(path = %self.path.display(), "configuration reloaded"),
            Err(problems) => {
                for problem in problems.lines() {
                    tracing::error!("reload refused as a whole: {problem}");
                }
                let path = self.path.display().to_string();
                let record = Record::new("reload-refused").with("path", path);
                self.journal.write(record.with("reason", problems));
            }
        }
    }

    async fn try_reload(&mut self) -> Result<(), String> {
        let node = self.node.as_deref().unwrap_or(&self.current.name);
        let new = identify(&self.path, Some(node)).await.map_err(|error| error.to_string())?;
        let refusals = translate::fixed(&self.current.config, &new.config);
        if !refusals.is_empty() {
            return Err(refusals.join("\n"));
        }
        let checks = translate::checks(&new.config, new.me)?;
        let core = new.config.core(&new.name).map_err(|error| error.to_string())?;
        // The file keeps its name while the keys in it are replaced, one by one.
        let keys = read_keys(&new.config.key_file).map_err(|error| error.to_string())?;
        self.names.send_replace(Arc::new(translate::names(&new.config, new.me, self.boot)));
        self.cloud.reload(translate::cluster(&new.config, new.me));
        let told = self.runtime.set_links(keys, translate::timeouts(&new.config)).await
            && self.inputs.send(Input::Reload(Arc::new(core))).await.is_ok();
        if !told {
            return Err("the daemon is stopping".into());
        }
        let (tasks, stop, running) = &mut self.checks;
        running.cancel();
        *running = stop.child_token();
        let reasons = self.reasons.clone();
        tasks.spawn(checks::run(checks, self.inputs.clone(), reasons, running.clone()));
        self.hooks.send_replace(Arc::new(translate::hooks(&new.config, &new.name)));
        let consistency = translate::consistency(&new.config, new.me);
        self.consistency.send_replace(Arc::new(consistency));
        for warning in &new.config.warnings {
            tracing::warn!("{warning}");
        }
        self.current = new;
        Ok(())
    }
}
