//! Answers the admin interface's questions, and shows the core's state to the metrics.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use vipward_core::{Done, Status, Switchover, Timestamp};
use vipward_manifest::DiffDocument;

use super::clock;
use super::heart::{Ask, Command};
use super::manifests::OverLinks;
use crate::admin::{
    self, AdmitOrder, CheckReport, EventQuery, EventSource, Finding, Handle, MaintenanceOrder,
    MetricsSource, Order, Severity, StatusDocument, Surroundings, SwitchoverOrder,
};
use crate::checks::Reasons;
use crate::cloud::Cloud;
use crate::consistency::Consistency;
use crate::journal::{Journal, Query};
use crate::names::Names;
use crate::telemetry::Metrics;
use crate::transport::{Keys, Stats, Timeouts};

/// The core's loop answers in microseconds; if it takes this long, it does not turn.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often the gauges follow the core.
const OBSERVE: Duration = Duration::from_secs(1);
/// Questions that may wait.
const QUESTIONS: usize = 64;

/// What the admin interface asks, answered.
pub(crate) struct Runtime {
    heart: mpsc::Sender<Ask>,
    names: watch::Receiver<Arc<Names>>,
    stats: Arc<Stats>,
    cloud: Cloud,
    reasons: Reasons,
    consistency: Consistency<OverLinks>,
    member: bool,
    /// When the last preflight ended.
    preflight_at: Mutex<Option<Timestamp>>,
}

impl Runtime {
    pub(crate) fn new(
        heart: mpsc::Sender<Ask>,
        names: watch::Receiver<Arc<Names>>,
        stats: Arc<Stats>,
        cloud: Cloud,
        reasons: Reasons,
        consistency: Consistency<OverLinks>,
        member: bool,
    ) -> Self {
        let preflight_at = Mutex::new(None);
        Self { heart, names, stats, cloud, reasons, consistency, member, preflight_at }
    }

    /// Whether the core's loop turns.
    pub(crate) async fn is_alive(&self) -> bool {
        self.status().await.is_some()
    }

    /// Gives the links other keys and time-outs. False if the daemon is stopping.
    pub(crate) async fn set_links(&self, keys: Keys, timeouts: Timeouts) -> bool {
        self.heart.send(Ask::Links(Box::new(keys), timeouts)).await.is_ok()
    }

    /// A preflight has ended just now.
    pub(crate) fn preflight_ended(&self) {
        *self.preflight_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(clock::now());
    }

    async fn status(&self) -> Option<Status> {
        let (reply, answer) = oneshot::channel();
        let asked = async {
            self.heart.send(Ask::Status(reply)).await.ok()?;
            answer.await.ok()
        };
        tokio::time::timeout(PATIENCE, asked).await.ok().flatten()
    }

    async fn document(&self) -> Option<StatusDocument> {
        let status = self.status().await?;
        let names = Arc::clone(&self.names.borrow());
        let preflight_at = *self.preflight_at.lock().unwrap_or_else(PoisonError::into_inner);
        Some(StatusDocument::new(
            &status,
            &Surroundings {
                names: &names,
                wall: jiff::Timestamp::now(),
                round_trip: &|peer, link| self.stats.last_round_trip(peer, link),
                check_reason: &|check| self.reasons.of(check),
                preflight_checked_ago: preflight_at.map(|at| clock::now().since(at)),
            },
        ))
    }

    /// Passes the order on to the core, and puts its outcome into a sentence.
    async fn order(&self, order: Order) -> Result<String, String> {
        let names = Arc::clone(&self.names.borrow());
        let node = |name: &str| {
            names
                .node_named(name)
                .ok_or_else(|| format!("no node is named {name:?}; see `vipward status`"))
        };
        let (command, group) = match &order {
            Order::Switchover(SwitchoverOrder { group, to, force }) => {
                let id = names
                    .group_named(group)
                    .ok_or_else(|| format!("no group is named {group:?}; see `vipward status`"))?;
                let to = to.as_deref().map(node).transpose()?;
                let switchover = Switchover { group: id, to, force: *force };
                (Command::Switchover(switchover), group.as_str())
            }
            Order::Maintenance(MaintenanceOrder { node: name, on }) => {
                let node = node(name.as_deref().unwrap_or(names.my_name()))?;
                (Command::Maintenance(node, *on), "")
            }
            Order::Admit(AdmitOrder { node: name }) => (Command::Admit(node(name)?), ""),
        };
        let (reply, outcome) = oneshot::channel();
        let stopping = || "the daemon is stopping".to_owned();
        self.heart.send(Ask::Operator(command, reply)).await.map_err(|_| stopping())?;
        let done = outcome.await.map_err(|_| stopping())?;
        let done = done.map_err(|refusal| refusal.describe(|node| names.node(node).to_owned()))?;
        Ok(match done {
            Done::Leads(node) => {
                format!("{} leads {group} now and holds its addresses", names.node(node))
            }
            Done::AlreadyMaster(node) => {
                format!("{} is the master of {group} already", names.node(node))
            }
            Done::Accepted => "accepted".into(),
            Done::Admitted(node) => format!(
                "{} is admitted with its present configuration; a majority has recorded it",
                names.node(node)
            ),
            Done::Maintenance(node, true) => {
                format!("{} is in maintenance: it does not stand for election", names.node(node))
            }
            Done::Maintenance(node, false) => {
                format!("{} is out of maintenance: it joins as after a restart", names.node(node))
            }
        })
    }

    async fn diff(&self, node: &str) -> Result<DiffDocument, String> {
        let named = self.names.borrow().node_named(node);
        let with =
            named.ok_or_else(|| format!("no node is named {node:?}; see `vipward status`"))?;
        self.consistency.diff(with).await
    }

    async fn check(&self) -> CheckReport {
        if !self.member {
            let message = "a witness makes no calls".to_owned();
            return CheckReport { findings: vec![Finding { severity: Severity::Ok, message }] };
        }
        let problems = self.cloud.preflight().await;
        if !problems.is_empty() {
            self.cloud.doubt_preflight(); // The daemon must not go on believing in the last one.
        }
        let mut findings: Vec<Finding> = problems
            .into_iter()
            .map(|message| Finding { severity: Severity::Error, message })
            .collect();
        if findings.is_empty() {
            let message = "every call that a takeover needs is permitted".to_owned();
            findings.push(Finding { severity: Severity::Ok, message });
        }
        CheckReport { findings }
    }

    async fn answer(&self, ask: admin::Ask) {
        // A reply that nobody waits for any more is no loss.
        match ask {
            admin::Ask::Status { reply } => {
                if let Some(document) = self.document().await {
                    let _ = reply.send(document);
                }
            }
            admin::Ask::Order { order, reply } => {
                let _ = reply.send(self.order(order).await);
            }
            admin::Ask::Diff { node, reply } => {
                let _ = reply.send(self.diff(&node).await);
            }
            admin::Ask::Check { reply } => {
                let _ = reply.send(self.check().await);
            }
        }
    }
}

/// What the admin interface holds on to, and the task that answers it.
pub(crate) fn handle(
    runtime: Arc<Runtime>,
    journal: Journal,
    metrics: Metrics,
) -> (Handle, impl Future<Output = ()> + Send) {
    let (asks, mut questions) = mpsc::channel(QUESTIONS);
    let events: EventSource = Arc::new(move |query| {
        let EventQuery { since, after, follow } = query.clone();
        // A reader with an id that is not ours gets what comes from now on.
        let after = after.and_then(|after| after.parse().ok());
        let query = Query { since, after, follow };
        journal.stream(&query).map_err(|error| error.to_string())
    });
    let metrics: MetricsSource = Arc::new(move || metrics.render());
    let answer = async move {
        while let Some(ask) = questions.recv().await {
            let runtime = Arc::clone(&runtime);
            // Each in a task: a handover that takes its time delays no status.
            tokio::spawn(async move { runtime.answer(ask).await });
        }
    };
    (Handle { asks, events, metrics }, answer)
}

/// Keeps the gauges up to date.
pub(crate) async fn observe(runtime: Arc<Runtime>, metrics: Metrics) {
    let mut pace = tokio::time::interval(OBSERVE);
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        pace.tick().await;
        if let Some(status) = runtime.status().await {
            let names = Arc::clone(&runtime.names.borrow());
            metrics.observe_status(&status, &names);
        }
        if let Some(left) = runtime.cloud.credentials_expiry() {
            metrics.credentials_expiry(left);
        }
    }
}
