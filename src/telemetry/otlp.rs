//! Export to an OpenTelemetry collector: batches, bounded queues, deadlines. A dead collector
//! costs what it would have got.

use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{MetricExporter, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::PeriodicReader;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::registry::LookupSpan;

use super::{Metrics, Settings, TelemetryError};

/// How long one export may take.
const EXPORT: Duration = Duration::from_secs(5);
/// How often metrics are sent.
const INTERVAL: Duration = Duration::from_secs(10);
/// Spans that may wait for the collector.
const SPANS: usize = 2048;

/// The exporters.
pub(super) struct Otlp {
    endpoint: String,
    tracers: SdkTracerProvider,
    runtime: Handle,
    /// Dropping it ends the runtime.
    _alive: oneshot::Sender<()>,
}

/// Who sends: the same for traces and metrics.
pub(super) fn resource(settings: &Settings) -> Resource {
    Resource::builder_empty()
        .with_attributes([
            KeyValue::new("service.name", "vipward"),
            KeyValue::new("service.namespace", settings.cluster.clone()),
            KeyValue::new("service.instance.id", settings.node.clone()),
            KeyValue::new("service.version", settings.version.clone()),
        ])
        .build()
}

impl Otlp {
    pub(super) fn start(endpoint: &str, settings: &Settings) -> Result<Self, TelemetryError> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (alive, ended) = oneshot::channel();
        // A thread of its own, so that export never runs on the daemon's.
        std::thread::Builder::new().name("otlp".to_owned()).spawn(move || {
            let _ = runtime.block_on(ended);
            runtime.shutdown_background();
        })?;
        let _inside = handle.enter();
        let exporter = SpanExporter::builder()
            .with_tonic()
            .with_endpoint(endpoint)
            .with_timeout(EXPORT)
            .build()
            .map_err(|error| refused(endpoint, &error))?;
        let batch = BatchConfigBuilder::default().with_max_queue_size(SPANS).build();
        let spans = BatchSpanProcessor::builder(exporter).with_batch_config(batch).build();
        let tracers = SdkTracerProvider::builder()
            .with_span_processor(spans)
            .with_resource(resource(settings))
            .build();
        let endpoint = endpoint.to_owned();
        Ok(Self { endpoint, tracers, runtime: handle.clone(), _alive: alive })
    }

    /// What sends the metrics.
    pub(super) fn metrics(&self) -> Result<PeriodicReader<MetricExporter>, TelemetryError> {
        let _inside = self.runtime.enter();
        let exporter = MetricExporter::builder()
            .with_tonic()
            .with_endpoint(&self.endpoint)
            .with_timeout(EXPORT)
            .build()
            .map_err(|error| refused(&self.endpoint, &error))?;
        Ok(PeriodicReader::builder(exporter).with_interval(INTERVAL).build())
    }

    /// What makes spans of ours into traces. The exporter's own would feed on themselves.
    pub(super) fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: tracing::Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
    {
        let ours = Targets::new().with_target("vipward", tracing::Level::INFO);
        tracing_opentelemetry::layer().with_tracer(self.tracers.tracer("vipward")).with_filter(ours)
    }

    /// Sends what is left, for at most `patience`.
    pub(super) fn shutdown(self, metrics: &Metrics, patience: Duration) {
        let metrics = metrics.clone();
        let (done, ended) = std::sync::mpsc::sync_channel(2);
        let traces_done = done.clone();
        let tracers = self.tracers.clone();
        // Side by side, and on threads of their own: their own deadlines may be longer.
        let threads = [
            std::thread::Builder::new().name("otlp-end".to_owned()).spawn(move || {
                let _ = tracers.shutdown_with_timeout(patience);
                let _ = traces_done.send(());
            }),
            std::thread::Builder::new().name("otlp-end".to_owned()).spawn(move || {
                metrics.shutdown(patience);
                let _ = done.send(());
            }),
        ];
        for _ in threads.iter().flatten() {
            let _ = ended.recv_timeout(patience);
        }
    }
}

fn refused(endpoint: &str, error: &dyn std::fmt::Display) -> TelemetryError {
    TelemetryError::Endpoint(endpoint.to_owned(), error.to_string())
}
