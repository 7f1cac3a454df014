//! Listens on this node's links and serves the connections that come in.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use vipward_core::{Answer, NodeId, RequestId};

use super::admission::{Admission, STRANGER_TIME};
use super::exchange::{self, BUFFER};
use super::serve::Manifests;
use super::shared::{Counted, Shared, lock};
use super::stats::Rejection;
use super::window::Windows;

/// So many connections wait in the kernel for their turn.
const BACKLOG: u32 = 1024;

/// After so many connections accepted in a row those that are open get their turn: a peer's
/// first request is read long before a crowd of strangers can push it out.
const ACCEPTED_IN_A_ROW: u32 = 16;

/// Ours has 12.
const MAX_HEADERS: usize = 32;

/// Everything that the incoming connections share.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) shared: Arc<Shared>,
    /// By node.
    pub(super) windows: Vec<Mutex<Windows>>,
    /// Requests that wait for the core's answer: at most one for each connection.
    pub(super) pending: Mutex<HashMap<RequestId, oneshot::Sender<Answer>>>,
    pub(super) requests: AtomicU64,
    pub(super) manifests: Manifests,
    admission: Mutex<Admission>,
    visits: AtomicU64,
}

/// One incoming connection.
#[derive(Debug)]
pub(super) struct Visit {
    id: u64,
    state: Mutex<VisitState>,
}

#[derive(Debug)]
struct VisitState {
    /// When it is closed, unless something authentic comes first.
    deadline: Instant,
    /// Whose it is, once that is proved.
    counted: Option<Counted>,
}

impl Visit {
    fn deadline(&self) -> Instant {
        lock(&self.state).deadline
    }
}

/// Opens a listener.
pub(super) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

impl Server {
    pub(super) fn new(shared: &Arc<Shared>) -> Arc<Self> {
        Arc::new(Self {
            windows: shared.names.nodes.iter().map(|_| Mutex::default()).collect(),
            pending: Mutex::default(),
            requests: AtomicU64::new(0),
            manifests: Manifests::new(shared.names.nodes.len()),
            admission: Mutex::new(Admission::new(&shared.link_counts)),
            visits: AtomicU64::new(0),
            shared: Arc::clone(shared),
        })
    }

    /// Answers a request that waits; one that waits no more is not answered.
    pub(super) fn answer(&self, id: RequestId, answer: Answer) {
        let waiting = lock(&self.pending).remove(&id);
        if waiting.is_none_or(|waiting| waiting.send(answer).is_err()) {
            tracing::debug!(request = id.0, "an answer came after the peer stopped waiting");
        }
    }

    /// The core has stopped: what still waits for it is told so at once.
    pub(super) fn forget_pending(&self) {
        lock(&self.pending).clear();
    }

    /// Accepts connections until the very end.
    pub(super) async fn accept(self: Arc<Self>, listener: TcpListener) {
        let closed = self.shared.closed.clone();
        let mut in_a_row = 0;
        loop {
            let accepted = tokio::select! {
                () = closed.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => self.admit(stream),
                Err(error) => {
                    // Out of descriptors, most likely: the connection stays in the backlog.
                    tracing::warn!(%error, "a connection could not be accepted; trying again");
                    sleep(Duration::from_millis(10)).await;
                }
            }
            in_a_row += 1;
            if in_a_row % ACCEPTED_IN_A_ROW == 0 {
                tokio::task::yield_now().await;
            }
        }
    }

    fn admit(self: &Arc<Self>, stream: TcpStream) {
        exchange::tune(&stream);
        let visit = Arc::new(Visit {
            id: self.visits.fetch_add(1, Ordering::Relaxed),
            state: Mutex::new(VisitState {
                deadline: Instant::now() + STRANGER_TIME,
                counted: None,
            }),
        });
        let hangup = CancellationToken::new();
        lock(&self.admission).admit(visit.id, hangup.clone());
        let serve = Arc::clone(self).serve(visit, hangup, stream);
        drop(self.shared.connections.spawn_on(serve, &self.shared.runtime));
    }

    async fn serve(
        self: Arc<Self>,
        visit: Arc<Visit>,
        hangup: CancellationToken,
        stream: TcpStream,
    ) {
        let service = service_fn(|request| {
            let (server, visit) = (Arc::clone(&self), Arc::clone(&visit));
            let tracked = self.shared.exchanges.token();
            async move {
                let response = server.receive(&visit, request).await;
                drop(tracked);
                Ok::<_, Infallible>(response)
            }
        });
        let connection = Builder::new()
            .max_buf_size(BUFFER)
            .max_headers(MAX_HEADERS)
            // The visit's own deadline covers head and body.
            .header_read_timeout(None)
            .auto_date_header(false)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let mut leaving = false;
        loop {
            tokio::select! {
                ended = connection.as_mut() => {
                    if ended.is_err_and(|error| error.is_parse()) {
                        self.shared.stats.rejected(Rejection::Malformed);
                    }
                    break;
                }
                () = hangup.cancelled() => break,
                () = self.shared.closed.cancelled() => break,
                () = self.shared.closing.cancelled(), if !leaving => {
                    leaving = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = sleep_until(visit.deadline()) => {
                    if visit.deadline() <= Instant::now() {
                        break;
                    }
                }
            }
        }
        lock(&self.admission).forget(visit.id);
        drop(lock(&visit.state).counted.take());
    }

    /// The connection proved to be of `peer`, which may now take until `deadline`. False if it
    /// was another peer's before.
    pub(super) fn recognise(&self, visit: &Visit, peer: NodeId, deadline: Instant) -> bool {
        let mut state = lock(&visit.state);
        match &state.counted {
            Some(counted) if counted.peer() != peer => return false,
            Some(_) => {}
            None => {
                lock(&self.admission).recognise(visit.id, peer);
                state.counted = Some(Counted::new(&self.shared, peer));
            }
        }
        state.deadline = deadline;
        true
    }
}
