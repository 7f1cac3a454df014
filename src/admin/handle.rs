//! The way from a route to the runtime: questions with their reply channels.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use vipward_manifest::DiffDocument;

use super::StatusDocument;

/// The core's loop answers in microseconds; if it takes this long, it does not turn.
const STATUS: Duration = Duration::from_secs(1);
/// The longest that a handover may take, all its own deadlines together, and a little.
pub(super) const ORDER: Duration = Duration::from_secs(120);
/// A manifest and the contents that differ have deadlines of their own.
pub(super) const DIFF: Duration = Duration::from_secs(100);
/// A preflight's calls have deadlines of their own.
const CHECK: Duration = Duration::from_secs(60);

/// A question to the runtime. A reply channel that is dropped means: no answer.
#[derive(Debug)]
pub enum Ask {
    /// The node's account of itself, made by the core's loop now.
    Status {
        /// Where to answer.
        reply: oneshot::Sender<StatusDocument>,
    },
    /// An operator's order, answered when its outcome is known: a sentence either way.
    Order {
        /// What is ordered.
        order: Order,
        /// Where to answer.
        reply: oneshot::Sender<Result<String, String>>,
    },
    /// What differs between this node's configuration and another's.
    Diff {
        /// The other.
        node: String,
        /// Where to answer; an error is a sentence.
        reply: oneshot::Sender<Result<DiffDocument, String>>,
    },
    /// The preflight of `check --cloud`, run by the daemon itself.
    Check {
        /// Where to answer.
        reply: oneshot::Sender<CheckReport>,
    },
}

/// What operators order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Order {
    /// A planned handover.
    Switchover(SwitchoverOrder),
    /// A node out of candidacy, or back.
    Maintenance(MaintenanceOrder),
    /// A node past the gate.
    Admit(AdmitOrder),
}

/// `vipward maintenance on|off [--node NODE]`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct MaintenanceOrder {
    /// Whose; that of the daemon asked if absent.
    #[serde(default)]
    pub node: Option<String>,
    /// Out of candidacy, or back.
    pub on: bool,
}

/// `vipward admit NODE`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AdmitOrder {
    /// Who may lead with the configuration that it has now.
    pub node: String,
}

/// `vipward switchover GROUP [--to NODE] [--force]`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SwitchoverOrder {
    /// The group's name.
    pub group: String,
    /// The successor's name; the best candidate if absent.
    #[serde(default)]
    pub to: Option<String>,
    /// Overrides drift and preflight.
    #[serde(default)]
    pub force: bool,
}

/// What a preflight found.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct CheckReport {
    /// One sentence each.
    pub findings: Vec<Finding>,
}

/// One thing found.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What it is about and what to do.
    pub message: String,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// As it should be.
    Ok,
    /// Worth knowing.
    Warning,
    /// This node could not do its work.
    Error,
}

/// Which records of the journal are wanted.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct EventQuery {
    /// From when on: RFC 3339, or a duration before now.
    pub since: Option<String>,
    /// After which line, by its id: where a reader that was cut off goes on.
    pub after: Option<String>,
    /// Whether to go on with what happens.
    #[serde(default)]
    pub follow: bool,
}

/// Lines of the journal, each after its id.
pub type EventReceiver = mpsc::Receiver<(String, Arc<str>)>;

/// Gives the journal's lines; an error is a sentence about the query.
pub type EventSource = Arc<dyn Fn(&EventQuery) -> Result<EventReceiver, String> + Send + Sync>;

/// Gives the Prometheus text.
pub type MetricsSource = Arc<dyn Fn() -> String + Send + Sync>;

/// What the routes know of the daemon.
#[derive(Clone)]
pub struct Handle {
    /// To the runtime, which answers each question or drops it. Bounded.
    pub asks: mpsc::Sender<Ask>,
    /// The journal.
    pub events: EventSource,
    /// The metrics.
    pub metrics: MetricsSource,
}

impl Handle {
    /// The status, unless the core's loop does not turn.
    pub async fn status(&self) -> Option<StatusDocument> {
        self.ask(STATUS, |reply| Ask::Status { reply }).await
    }

    /// Passes an order on and waits for its outcome: a sentence either way.
    ///
    /// # Errors
    ///
    /// The sentence that says why it was not carried out.
    pub async fn order(&self, order: Order) -> Result<String, String> {
        let outcome = self.ask(ORDER, |reply| Ask::Order { order, reply }).await;
        outcome.unwrap_or_else(|| {
            Err("the outcome is not known: the daemon did not tell it; see `vipward status`"
                .to_owned())
        })
    }

    /// Compares this node's configuration with another's.
    ///
    /// # Errors
    ///
    /// The sentence that says why they could not be compared.
    pub async fn diff(&self, node: String) -> Result<DiffDocument, String> {
        let outcome = self.ask(DIFF, |reply| Ask::Diff { node, reply }).await;
        outcome.unwrap_or_else(|| Err("the daemon did not compare them in time".to_owned()))
    }

    /// Runs the preflight.
    pub async fn check(&self) -> Option<CheckReport> {
        self.ask(CHECK, |reply| Ask::Check { reply }).await
    }

    async fn ask<T>(
        &self,
        patience: Duration,
        question: impl FnOnce(oneshot::Sender<T>) -> Ask,
    ) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        let asked = async {
            self.asks.send(question(reply)).await.ok()?;
            answer.await.ok()
        };
        timeout(patience, asked).await.ok().flatten()
    }
}
