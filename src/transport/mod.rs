//! The links between the nodes: authenticated HTTP over kept-alive connections, both ways.
//!
//! ```text
//!             Transport::send ──> link.rs: per peer and link, connections used in turn (pool.rs)
//!   core                             │ exchange.rs: one request, one authenticated answer
//!    ▲  ▲                            ▼
//!    │  └── Input::Answer ──── HTTP between nodes ────┐
//!    │                                               ▼
//!    └── Input::Request <── receive.rs: MAC, boot, sequence <── server.rs, admission.rs
//!         (Transport::answer goes back the same way)
//!
//!   main runtime: Fetcher (fetch.rs, assemble.rs) ─── HTTP ──> receive.rs ──> serve.rs
//!                                                                                │ bounded queue
//!                                                                                ▼
//!                                                   main runtime: ManifestRequest, answered there
//! ```
//!
//! * `auth.rs` has the keys and what they sign; `header.rs` and `wire/` how it is written;
//!   `window.rs` lets each sequence number through once.
//! * Everything runs as small tasks on the runtime that [`bind`] was called in, which is to be a
//!   current-thread one of its own (the heartbeat thread). None blocks, each has a deadline, and
//!   every queue is bounded: what finds no room is lost, as on the wire.
//! * Manifests and contents never pass through the core, and cost the heartbeat thread no more
//!   than heartbeats do: the main runtimes at both ends read, write and sign them.
//! * Nothing is decided here. What was seen is told to the core: answers, refused connections,
//!   a peer's boot id, and how many connections are open.

mod admission;
mod assemble;
mod auth;
mod check;
mod exchange;
mod fetch;
mod header;
mod link;
mod pool;
mod receive;
mod serve;
mod server;
mod settings;
mod shared;
mod stats;
#[cfg(test)]
mod tests;
mod window;
mod wire;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use vipward_core::{Answer, Input, NodeId, Request, RequestId};

pub use assemble::Fetched;
pub use auth::{KeyError, Keys};
pub use check::{LinkError, LinkReport, check_links};
pub use fetch::{FetchError, FetchProblem, Fetcher, Session};
pub use serve::ManifestRequest;
pub use settings::{NodeLinks, Settings, Timeouts};
pub use stats::{Observer, Rejection, Stats};
pub use wire::{Asked, MAX_CHUNK, ManifestRefusal};

use link::Link;
use server::Server;
use shared::Shared;
use wire::Kind;

/// How long the end waits for answers and requests that are under way.
const GRACE: Duration = Duration::from_millis(250);

/// The links of this node. Dropping it ends everything at once.
#[derive(Debug)]
pub struct Transport {
    shared: Arc<Shared>,
    server: Arc<Server>,
    /// By node.
    links: Arc<[Vec<Arc<Link>>]>,
    /// The listeners and the helpers: they end last.
    listeners: TaskTracker,
}

/// Why the links could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}; {}", remedy(.source))]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Nothing to listen on.
    #[error("this node has no link to listen on; give it one in [[nodes]]")]
    NoLinks,
}

fn remedy(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::AddrInUse {
        "stop the process that uses it (another vipward?), or change this node's links"
    } else if error.kind() == io::ErrorKind::AddrNotAvailable {
        "this machine does not have that address; correct this node's links"
    } else {
        "correct this node's links"
    }
}

/// Listens on this node's links. What arrives is told to `inputs`, which is never waited for.
///
/// # Errors
///
/// [`BindError`] names the address that cannot be listened on.
#[allow(clippy::unused_async, reason = "it needs a runtime around it, and may come to wait")]
pub async fn bind(
    settings: Settings,
    inputs: mpsc::Sender<Input>,
    stats: Arc<Stats>,
) -> Result<Transport, BindError> {
    if settings.listen.is_empty() {
        return Err(BindError::NoLinks);
    }
    let mut listening = Vec::new();
    for address in &settings.listen {
        let listener = server::listen(*address)
            .map_err(|source| BindError::Listen { address: *address, source })?;
        listening.push(listener);
    }
    let shared = Arc::new(Shared::new(&settings, inputs, stats));
    let server = Server::new(&shared);
    let listeners = TaskTracker::new();
    for listener in listening {
        drop(listeners.spawn(Arc::clone(&server).accept(listener)));
    }
    drop(listeners.spawn(Arc::clone(&shared).tell_counts()));
    let nodes = (0..=u8::MAX).map(NodeId).take(settings.nodes.len());
    let links = nodes
        .map(|peer| settings.paths(peer).map(|path| Link::new(&shared, peer, path)).collect())
        .collect();
    Ok(Transport { shared, server, links, listeners })
}

impl Transport {
    /// Sends a request to a peer over every link. Returns at once; it may be lost.
    pub fn send(&self, to: NodeId, request: &Request) {
        if self.shared.closing.is_cancelled() {
            return;
        }
        let body = match wire::encode_request(request, &self.shared.names) {
            Ok(body) => Bytes::from(body),
            Err(error) => {
                tracing::error!(%error, "a request could not be written");
                return;
            }
        };
        for link in self.links_to(to) {
            link.send(Kind::of(request), body.clone());
        }
    }

    /// Answers a peer's request.
    pub fn answer(&self, id: RequestId, answer: Answer) {
        self.server.answer(id, answer);
    }

    /// Tries at once, on a new connection over every link, whether the peer's process is there,
    /// and in which life.
    pub fn probe(&self, peer: NodeId) {
        if self.shared.closing.is_cancelled() {
            return;
        }
        for link in self.links_to(peer) {
            link.probe();
        }
    }

    /// For the main runtime: fetches the peers' manifests, on connections of its own.
    #[must_use]
    pub fn fetcher(&self) -> Fetcher {
        Fetcher::new(&self.shared, &self.links)
    }

    /// For the main runtime: what peers ask of this node's manifest from now on. Until somebody
    /// listens, and after, they are told that nobody knows it.
    #[must_use]
    pub fn serve_manifests(&self) -> mpsc::Receiver<ManifestRequest> {
        self.server.manifests.serve()
    }

    /// Replaces the keys, when the key file was read again.
    pub fn set_keys(&self, keys: Keys) {
        self.shared.set_keys(keys);
    }

    /// Replaces the time-outs, when the configuration was read again.
    pub fn set_timeouts(&self, timeouts: Timeouts) {
        self.shared.set_timeouts(timeouts);
    }

    /// Lets requests and answers under way end, for at most a quarter of a second, and closes
    /// everything, the listeners last: while one listens, no peer takes this node for dead.
    pub async fn shutdown(&self) {
        self.shared.closing.cancel();
        for link in self.links.iter().flatten() {
            link.close();
        }
        self.server.forget_pending();
        self.shared.exchanges.close();
        self.shared.connections.close();
        self.listeners.close();
        if timeout(GRACE, self.shared.exchanges.wait()).await.is_err() {
            tracing::debug!("some exchanges were cut off by the end");
        }
        // The answers are handed to hyper by now; a connection ends once its last is written.
        let flushed = timeout(GRACE, self.shared.connections.wait()).await.is_ok();
        self.shared.closed.cancel();
        let closed = timeout(GRACE, self.listeners.wait()).await.is_ok();
        tracing::debug!(flushed, closed, "the links are closed");
    }

    fn links_to(&self, peer: NodeId) -> &[Arc<Link>] {
        self.links.get(peer.index()).map_or(&[], Vec::as_slice)
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        self.shared.closing.cancel();
        self.shared.closed.cancel();
    }
}
