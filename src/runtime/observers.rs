//! What edges tell of themselves, on its way to metrics and journal.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use vipward_core::{BootId, NodeId};

use super::start::{Identified, RunOptions};
use super::translate;
use crate::cloud;
use crate::hooks::{self, Finished, Outcome};
use crate::journal::{Journal, Record};
use crate::names::Names;
use crate::telemetry::{Metrics, Telemetry};
use crate::transport::{self, Keys, Rejection, Stats};

/// Links: their counters, told to the metrics.
pub(super) fn stats(
    identified: &Identified,
    boot: BootId,
    keys: &Keys,
    options: &RunOptions,
    telemetry: &Telemetry,
    names: &watch::Sender<Arc<Names>>,
) -> Arc<Stats> {
    let Identified { config, me, .. } = identified;
    let links = translate::links(config, *me, boot, keys.clone(), &options.listen_links);
    let told = Told { metrics: telemetry.metrics().clone(), names: names.subscribe() };
    Arc::new(Stats::new(&links.link_counts(), Some(Arc::new(told))))
}

/// What the links tell.
struct Told {
    metrics: Metrics,
    names: watch::Receiver<Arc<Names>>,
}

impl transport::Observer for Told {
    fn round_trip(&self, peer: NodeId, link: vipward_core::LinkId, took: Duration) {
        self.metrics.round_trip(&self.names.borrow(), peer, link, took);
    }

    fn lost(&self, peer: NodeId, link: vipward_core::LinkId) {
        self.metrics.heartbeat_lost(&self.names.borrow(), peer, link);
    }

    fn rejected(&self, reason: Rejection) {
        self.metrics.rejected(reason.as_str());
    }
}

/// Cloud calls.
pub(super) struct Counted(pub(super) Metrics);

impl cloud::Observer for Counted {
    fn call(&self, operation: &'static str, outcome: &'static str, took: Duration) {
        self.0.cloud_call(operation, outcome, took);
    }
}

/// Hooks: what becomes of each command.
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
