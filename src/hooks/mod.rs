//! The operator's commands, run when a role changes or an alarm is raised.

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use vipward_core::Hook;

/// What the edge needs to know.
#[derive(Clone, Debug, Default)]
pub struct Settings {}

/// Runs hooks in their order until `stop`.
pub async fn run(_settings: Settings, mut orders: mpsc::Receiver<Hook>, stop: CancellationToken) {
    while let Some(Some(_hook)) = stop.run_until_cancelled(orders.recv()).await {}
}
