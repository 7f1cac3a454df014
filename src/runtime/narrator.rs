//! Tells what happened: journal, log and metrics. Behind a bounded queue, off the failover path.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;
use tokio::sync::{mpsc, watch};
use vipward_core::{CheckState, Event, EventKind};

use super::heart::Happened;
use crate::checks::Reasons;
use crate::hooks::{self, Finished, Outcome};
use crate::journal::{Journal, Record};
use crate::names::Names;
use crate::telemetry::Metrics;

/// Writes down every event until the last has come; `lost` counts those that found no room.
pub(crate) async fn narrate(
    mut events: mpsc::Receiver<Happened>,
    names: watch::Receiver<Arc<Names>>,
    journal: Journal,
    metrics: Metrics,
    reasons: Reasons,
    lost: Arc<AtomicU64>,
) {
    while let Some(Happened { at, event }) = events.recv().await {
        let names = Arc::clone(&names.borrow());
        match lost.swap(0, Ordering::Relaxed) {
            0 => {}
            lost => journal.write(Record::gap(lost)),
        }
        metrics.observe_event(&event, &names);
        let record = Record::from_event(&event, &names).happened_at(at);
        journal.write(record.with("reason", failed_check(&event, &reasons)));
    }
}

/// Why the check fails that the event is about; null of any other event.
fn failed_check(event: &Event, reasons: &Reasons) -> Value {
    if let EventKind::CheckChanged { check, state: CheckState::Failing } = event.kind {
        return reasons.of(check).into();
    }
    Value::Null
}

/// Writes down what becomes of hooks.
pub(crate) struct HookTold {
    pub(crate) names: watch::Receiver<Arc<Names>>,
    pub(crate) journal: Journal,
    pub(crate) metrics: Metrics,
}

impl hooks::Observer for HookTold {
    fn finished(&self, finished: &Finished<'_>) {
        let Finished { hook, command, outcome, took, output } = finished;
        let point = hook.point.as_str();
        self.metrics.hook(point, outcome.as_str());
        let (status, reason) = match outcome {
            Outcome::Ok => (Some(0), None),
            Outcome::Failed(status) => (status.code(), Some(status.to_string())),
            Outcome::Timeout { why } | Outcome::Dropped { why } => (None, Some((*why).to_owned())),
            Outcome::NotStarted(error) => (None, Some(error.to_string())),
        };
        let names = self.names.borrow();
        let record = Record::about(hook.group, hook.term, hook.cause, &names, "hook-finished");
        self.journal.write(
            record
                .with("hook", point)
                .with("command", shown(command))
                .with("outcome", outcome.as_str())
                .with("status", status)
                .with("reason", reason)
                .with("ms", u64::try_from(took.as_millis()).unwrap_or(u64::MAX))
                .with("output", Some(output.as_str()).filter(|output| !output.is_empty())),
        );
    }
}

/// A command as it could be typed.
fn shown(command: &[String]) -> String {
    let words = command.iter().map(String::as_str);
    shlex::try_join(words).unwrap_or_else(|_| command.join(" "))
}
