//! The heartbeat thread: the loop and the links, at real-time priority where permitted.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tokio::sync::{mpsc, oneshot, watch};
use vipward_core::{CloudCall, Durable, Hook, Input, Node};

use super::heart::{Ask, Hands, Happened, Heart};
use super::realtime;
use super::start::RunError;
use crate::consistency;
use crate::kernel::Wanted;
use crate::telemetry::Metrics;
use crate::transport::{self, Fetcher, ManifestRequest, Stats, Transport};

/// Everything that moves to the heartbeat thread.
pub(crate) struct HeartThread {
    pub(crate) node: Node,
    pub(crate) links: transport::Settings,
    pub(crate) inputs: mpsc::Sender<Input>,
    pub(crate) stats: Arc<Stats>,
    pub(crate) calls: mpsc::Sender<CloudCall>,
    pub(crate) kernel: watch::Sender<Wanted>,
    pub(crate) hooks: mpsc::Sender<Hook>,
    pub(crate) consistency: mpsc::Sender<consistency::Order>,
    pub(crate) persist: watch::Sender<Option<Durable>>,
    pub(crate) events: mpsc::Sender<Happened>,
    pub(crate) events_lost: Arc<AtomicU64>,
    pub(crate) metrics: Metrics,
}

/// What others than the core use of the links: to fetch manifests, and to be asked for them.
type Links = (Fetcher, mpsc::Receiver<ManifestRequest>);

/// The thread runs and the links listen.
pub(crate) struct Started {
    /// Tells its end.
    pub(crate) end: oneshot::Receiver<()>,
    pub(crate) fetcher: Fetcher,
    pub(crate) requests: mpsc::Receiver<ManifestRequest>,
}

impl HeartThread {
    /// Starts the thread; returns when the links listen.
    pub(crate) async fn start(
        self,
        inputs: mpsc::Receiver<Input>,
        asks: mpsc::Receiver<Ask>,
    ) -> Result<Started, RunError> {
        let (bound, listening) = oneshot::channel();
        let (ended, end) = oneshot::channel();
        let thread = std::thread::Builder::new().name("heartbeat".into());
        thread
            .spawn(move || {
                self.run(bound, inputs, asks);
                let _ = ended.send(()); // Nobody waits if the start failed.
            })
            .map_err(|source| RunError::System { what: "start the heartbeat thread", source })?;
        match listening.await {
            Ok(Ok((fetcher, requests))) => Ok(Started { end, fetcher, requests }),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(RunError::Machine("error: the heartbeat thread ended at once".into())),
        }
    }

    fn run(
        self,
        bound: oneshot::Sender<Result<Links, RunError>>,
        inputs: mpsc::Receiver<Input>,
        asks: mpsc::Receiver<Ask>,
    ) {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(source) => {
                let what = "start the heartbeat thread";
                let _ = bound.send(Err(RunError::System { what, source }));
                return;
            }
        };
        if std::env::var_os("VIPWARD_REALTIME").is_none_or(|value| value != "off") {
            let realtime::Permitted { priority, memory } = realtime::request();
            tracing::info!(
                priority = priority.as_ref().map_or_else(String::as_str, |()| "real-time"),
                memory = memory.as_ref().map_or_else(String::as_str, |()| "locked"),
                "the heartbeat thread"
            );
        }
        runtime.block_on(async move {
            let bind = transport::bind(self.links, self.inputs, self.stats);
            let transport: Transport = match bind.await {
                Ok(transport) => transport,
                Err(error) => {
                    let _ = bound.send(Err(error.into()));
                    return;
                }
            };
            let links = (transport.fetcher(), transport.serve_manifests());
            let _ = bound.send(Ok(links)); // The daemon waits for this.
            let metrics = self.metrics;
            let hands = Hands {
                transport,
                calls: self.calls,
                kernel: self.kernel,
                hooks: self.hooks,
                consistency: self.consistency,
                persist: self.persist,
                events: self.events,
                events_lost: self.events_lost,
                stalled: Box::new(move |by| metrics.loop_stall(by)),
            };
            let transport = Heart::new(self.node, hands).beat(inputs, asks).await;
            // Last of all: while the listener is open, no peer takes this process for dead.
            transport.shutdown().await;
        });
    }
}
