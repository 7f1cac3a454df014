//! Tells what happened: journal, log and metrics. Behind a bounded queue, off the failover path.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;
use tokio::sync::{mpsc, watch};
use vipward_core::{CheckState, Event, EventKind};

use super::heart::Happened;
use crate::checks::Reasons;
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
