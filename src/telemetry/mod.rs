//! Logs, traces and metrics. None of them can slow the daemon down.
//!
//! ```text
//!  tracing ──┬──> bounded queue ──> thread ──> stderr          (full: dropped and counted)
//!            └──> batch of spans ──┐
//!  metrics ──┬──> periodic export ─┴──> OTLP, on a runtime of its own, only if configured
//!            └──> /metrics
//! ```

mod instruments;
mod log;
mod metrics;
mod otlp;
#[cfg(test)]
mod tests;

use std::time::Duration;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

pub use metrics::Metrics;

use log::LogQueue;
use otlp::Otlp;

/// What is told, and to whom.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How a log line looks.
    pub log: LogFormat,
    /// The least important level logged, such as `info`; or directives as in `RUST_LOG`, which
    /// comes first if it is set.
    pub level: String,
    /// Where traces and metrics go by OTLP over gRPC; nowhere if absent.
    pub otlp_endpoint: Option<String>,
    /// The cluster, the node and the version, for the collector.
    pub cluster: String,
    /// See `cluster`.
    pub node: String,
    /// See `cluster`.
    pub version: String,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// Telemetry cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The level.
    #[error(
        "telemetry.level {0:?} is neither a level (error, warn, info, debug, trace) nor directives: {1}"
    )]
    Level(String, String),
    /// The endpoint.
    #[error(
        "telemetry.otlp_endpoint {0:?} cannot be used: {1}; it must be a URL like http://127.0.0.1:4317"
    )]
    Endpoint(String, String),
    /// The metrics registry.
    #[error("the metrics cannot be set up: {0}")]
    Metrics(String),
    /// No thread.
    #[error("no thread for telemetry: {0}")]
    Thread(#[from] std::io::Error),
    /// Set up already.
    #[error("logging is set up already")]
    Twice,
}

/// What is to be flushed at the end.
pub struct Telemetry {
    metrics: Metrics,
    log: LogQueue,
    otlp: Option<Otlp>,
}

/// Sets up logging for the whole process, and the exporters.
///
/// # Errors
///
/// [`TelemetryError`], a sentence naming the key. A collector that does not answer is no error.
pub fn init(settings: &Settings) -> Result<Telemetry, TelemetryError> {
    let log = LogQueue::start(std::io::stderr())?;
    let otlp = settings.otlp_endpoint.as_deref();
    let otlp = otlp.map(|endpoint| Otlp::start(endpoint, settings)).transpose()?;
    let metrics = Metrics::new(settings, otlp.as_ref().map(Otlp::metrics).transpose()?)?;
    let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let subscriber = tracing_subscriber::registry()
        .with(otlp.as_ref().map(Otlp::layer))
        .with(log_layer(settings, ansi, log.clone())?);
    subscriber.try_init().map_err(|_| TelemetryError::Twice)?;
    Ok(Telemetry { metrics, log, otlp })
}

/// The layer that writes log lines.
fn log_layer<S>(
    settings: &Settings,
    ansi: bool,
    log: LogQueue,
) -> Result<Box<dyn Layer<S> + Send + Sync>, TelemetryError>
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
{
    let filter = filter(&settings.level, std::env::var("RUST_LOG").ok())?;
    let layer = tracing_subscriber::fmt::layer().with_writer(log);
    Ok(match settings.log {
        LogFormat::Json => layer.json().flatten_event(true).with_filter(filter).boxed(),
        LogFormat::Text => layer.with_ansi(ansi).with_filter(filter).boxed(),
    })
}

/// A bare level is ours; libraries speak up from `warn` on.
fn filter(level: &str, environment: Option<String>) -> Result<EnvFilter, TelemetryError> {
    let directives = match environment.filter(|directives| !directives.is_empty()) {
        Some(directives) => directives,
        None if level.contains(['=', ',']) => level.to_owned(),
        None => {
            let ours: tracing::Level =
                level.parse().map_err(|error: tracing::metadata::ParseLevelError| {
                    TelemetryError::Level(level.to_owned(), error.to_string())
                })?;
            let others = ours.min(tracing::Level::WARN);
            format!("{others},vipward={ours},vipward_core={ours}")
        }
    };
    EnvFilter::try_new(&directives)
        .map_err(|error| TelemetryError::Level(directives, error.to_string()))
}

impl Telemetry {
    /// The metrics.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Log lines dropped because nobody took them.
    #[must_use]
    pub fn log_lines_dropped(&self) -> u64 {
        self.log.dropped()
    }

    /// Sends what is left, for at most `patience`. Blocks.
    pub fn shutdown(self, patience: Duration) {
        if let Some(otlp) = self.otlp {
            otlp.shutdown(&self.metrics, patience);
        }
        self.log.flush(patience);
    }
}
