//! One way to one peer: a few kept-alive connections, used in turn.
//!
//! HTTP/1 answers in order, so a connection carries one request at a time. A lost packet, which
//! TCP repeats only after 200 ms, blocks its connection; the next heartbeat takes another.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::SendRequest;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use vipward_core::{BootId, Input, NodeId};

use super::exchange::{self, DialError, ExchangeError, Reply, Target};
use super::header::Envelope;
use super::pool::{Checkout, Pool};
use super::settings::Path;
use super::shared::{Counted, Shared, lock};
use super::stats::Rejection;
use super::wire::{self, Kind};

/// How long after its time-out an exchange may still end: the answer of a slow peer is still
/// told, and the connection used again. A connection that is stuck for longer is replaced, since
/// TCP repeats ever more rarely and would be late when the path heals.
const STUCK: Duration = Duration::from_millis(500);

/// When too many heartbeats wait, the one that has for longer than this and four round trips
/// gives way: TCP has repeated a packet by then, and if that was lost as well it waits
/// twice as long the next time, while a new connection gets through as soon as the path does.
const PATIENCE: Duration = Duration::from_millis(250);

/// So many probes of one link at once; the core orders them when evidence changes.
const MAX_PROBES: usize = 4;

/// One way to one peer.
#[derive(Debug)]
pub(super) struct Link {
    shared: Arc<Shared>,
    peer: NodeId,
    path: Path,
    sequence: AtomicU64,
    pool: Mutex<Pool<Line>>,
    probes: Arc<Semaphore>,
}

/// A connection. Dropping it closes it.
#[derive(Debug)]
struct Line {
    sender: SendRequest<Full<Bytes>>,
    /// Filled once an answer was authenticated; emptied when the connection ends.
    counted: Arc<Mutex<Option<Counted>>>,
    _hangup: DropGuard,
}

/// A place in the pool, given back when the connection has ended.
struct Slot(Arc<Link>);

impl Drop for Slot {
    fn drop(&mut self) {
        lock(&self.0.pool).leave();
    }
}

/// How a request goes out.
enum Start {
    /// On a kept connection.
    Kept(Line),
    /// On a new one.
    Dial(Slot),
}

/// What became of a request that was answered.
enum Heard {
    /// It was applied, and the core has the answer.
    Answered,
    /// It named another life of the peer; the right one is known now.
    OtherBoot,
    /// It was refused, or the answer cannot be read.
    Refused,
}

impl Link {
    pub(super) fn new(shared: &Arc<Shared>, peer: NodeId, path: Path) -> Arc<Self> {
        Arc::new(Self {
            shared: Arc::clone(shared),
            peer,
            path,
            sequence: AtomicU64::new(0),
            pool: Mutex::default(),
            probes: Arc::new(Semaphore::new(MAX_PROBES)),
        })
    }

    /// Sends a request, now or never. What comes of it is told to the core.
    pub(super) fn send(self: &Arc<Self>, kind: Kind, body: Bytes) {
        let Some(start) = self.checkout(kind) else {
            self.lost(kind);
            return;
        };
        let limit = self.shared.timeouts().of(kind);
        let (number, replaced) = lock(&self.pool).begin(kind, Instant::now());
        let link = Arc::clone(self);
        let exchange = async move {
            let began = Instant::now();
            tokio::select! {
                () = link.deliver(kind, limit, &body, start) => {}
                () = replaced.cancelled() => {
                    if began.elapsed() < limit {
                        link.lost(kind);
                    }
                }
                () = link.shared.closed.cancelled() => {}
            }
            lock(&link.pool).end(number);
        };
        drop(self.shared.exchanges.spawn_on(exchange, &self.shared.runtime));
    }

    /// Tries at once whether the peer's process is there, on a connection of its own.
    pub(super) fn probe(self: &Arc<Self>) {
        // Each probe under way holds a permit.
        let Ok(permit) = Arc::clone(&self.probes).try_acquire_owned() else { return };
        let link = Arc::clone(self);
        let probe = async move {
            let limit = link.shared.timeouts().heartbeat + STUCK;
            tokio::select! {
                _ = timeout(limit, link.ask_boot()) => {}
                () = link.shared.closed.cancelled() => {}
            }
            drop(permit);
        };
        drop(self.shared.exchanges.spawn_on(probe, &self.shared.runtime));
    }

    /// Closes the connections that rest.
    pub(super) fn close(&self) {
        let idle = lock(&self.pool).take_idle();
        drop(idle);
    }

    fn checkout(self: &Arc<Self>, kind: Kind) -> Option<Start> {
        let patience = match self.shared.stats.last_round_trip(self.peer, self.path.link) {
            Some(took) => PATIENCE + took * 4,
            None => self.shared.timeouts().heartbeat,
        };
        let checkout = lock(&self.pool).checkout(
            kind,
            |line| !line.sender.is_closed(),
            || Instant::now().checked_sub(patience),
        );
        match checkout {
            Checkout::Kept { line, spare } => {
                if spare {
                    self.open_spare(Slot(Arc::clone(self)));
                }
                Some(Start::Kept(line))
            }
            Checkout::Dial => Some(Start::Dial(Slot(Arc::clone(self)))),
            Checkout::Full => None,
        }
    }

    /// Opens the second connection beside the first, so that no request waits for it.
    fn open_spare(self: &Arc<Self>, slot: Slot) {
        let link = Arc::clone(self);
        let open = async move {
            let limit = link.shared.timeouts().heartbeat + STUCK;
            tokio::select! {
                dialled = timeout(limit, link.dial(slot)) => {
                    if let Ok(Some(line)) = dialled {
                        link.keep(line);
                    }
                }
                () = link.shared.closed.cancelled() => {}
            }
        };
        drop(self.shared.exchanges.spawn_on(open, &self.shared.runtime));
    }

    fn keep(&self, line: Line) {
        if !line.sender.is_closed() && !self.shared.closing.is_cancelled() {
            lock(&self.pool).keep(line);
        }
    }

    async fn deliver(self: &Arc<Self>, kind: Kind, limit: Duration, body: &Bytes, start: Start) {
        let mut attempt = std::pin::pin!(self.attempt(kind, body, start));
        match timeout(limit, attempt.as_mut()).await {
            Ok(true) => {}
            Ok(false) => self.lost(kind),
            Err(_) => {
                self.lost(kind);
                // A late answer is an answer: what it is worth, the core knows.
                if timeout(STUCK, attempt).await.is_err() {
                    tracing::debug!(remote = %self.path.remote, "a stuck connection is replaced");
                }
            }
        }
    }

    /// Sends the request; once more if the kept connection was broken, and once more if the peer
    /// turns out to be in another life. Whether it was answered.
    async fn attempt(self: &Arc<Self>, kind: Kind, body: &Bytes, start: Start) -> bool {
        let (mut line, mut kept) = match start {
            Start::Kept(line) => (line, true),
            Start::Dial(slot) => match self.dial(slot).await {
                Some(line) => (line, false),
                None => return false,
            },
        };
        let mut resent = false;
        loop {
            let to_boot = self.shared.peer_boot(self.peer);
            match self.exchange(&mut line, kind, to_boot, body).await {
                Ok(reply) => match self.hear(kind, to_boot, &reply) {
                    Heard::OtherBoot if !resent => resent = true,
                    Heard::Answered => {
                        self.keep(line);
                        return true;
                    }
                    Heard::OtherBoot | Heard::Refused => {
                        self.keep(line);
                        return false;
                    }
                },
                Err(ExchangeError::Connection(_)) if kept => {
                    kept = false;
                    lock(&self.pool).enter();
                    match self.dial(Slot(Arc::clone(self))).await {
                        Some(fresh) => line = fresh,
                        None => return false,
                    }
                }
                Err(error) => {
                    self.dropped(&error);
                    return false;
                }
            }
        }
    }

    /// One request and its authenticated answer.
    async fn exchange(
        &self,
        line: &mut Line,
        kind: Kind,
        to_boot: Option<BootId>,
        body: &Bytes,
    ) -> Result<Reply, ExchangeError> {
        let envelope = self.envelope(to_boot).ok_or(ExchangeError::Name)?;
        let (keys, target) = (self.shared.keys(), Target::post(kind.path()));
        let reply =
            exchange::exchange(&mut line.sender, &keys, &envelope, &target, body.clone()).await?;
        let mut counted = lock(&line.counted);
        if counted.is_none() && !line.sender.is_closed() {
            *counted = Some(Counted::new(&self.shared, self.peer));
        }
        Ok(reply)
    }

    /// What the next request is wrapped in. It takes a sequence number, whoever sends it.
    pub(super) fn envelope(&self, to_boot: Option<BootId>) -> Option<Envelope> {
        let envelope = self.shared.envelope(self.peer, self.path.link)?;
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed) + 1;
        Some(Envelope { to_boot, sequence, ..envelope })
    }

    /// The way it goes.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Notes in which life the peer is, as an authenticated answer says.
    pub(super) fn learn_boot(&self, boot: BootId) {
        self.shared.set_peer_boot(self.peer, boot);
        self.shared.tell(Input::BootAnswered { peer: self.peer, boot, link: self.path.link });
    }

    /// Tells the core what an authenticated answer says.
    fn hear(&self, kind: Kind, to_boot: Option<BootId>, reply: &Reply) -> Heard {
        match (reply.status, to_boot) {
            (200, Some(boot)) => {
                let answer = match wire::decode_answer(kind, &reply.body, &self.shared.names) {
                    Ok(answer) => answer,
                    Err(error) => {
                        tracing::debug!(remote = %self.path.remote, %error, "unreadable answer");
                        self.shared.stats.rejected(Rejection::Malformed);
                        return Heard::Refused;
                    }
                };
                if kind == Kind::Heartbeat {
                    self.shared.stats.round_trip(self.peer, self.path.link, reply.took);
                }
                self.shared.tell(Input::Answer {
                    from: self.peer,
                    boot,
                    to_boot: self.shared.boot,
                    link: self.path.link,
                    answer,
                });
                Heard::Answered
            }
            (409, _) => match wire::Boot::decode(&reply.body) {
                Ok(boot) => {
                    self.learn_boot(boot);
                    Heard::OtherBoot
                }
                Err(_) => {
                    self.shared.stats.rejected(Rejection::Malformed);
                    Heard::Refused
                }
            },
            (status, _) => {
                tracing::debug!(remote = %self.path.remote, status, "a request was refused");
                Heard::Refused
            }
        }
    }

    async fn ask_boot(self: &Arc<Self>) {
        let (mut line, to_boot) = match self.connect(None).await {
            Ok(line) => (line, None),
            Err(error) => return self.refused(&error),
        };
        // Names no life, so that it is answered by 409 and changes nothing.
        match self.exchange(&mut line, Kind::Heartbeat, to_boot, &Bytes::new()).await {
            Ok(reply) => drop(self.hear(Kind::Heartbeat, to_boot, &reply)),
            Err(error) => self.dropped(&error),
        }
    }

    async fn dial(self: &Arc<Self>, slot: Slot) -> Option<Line> {
        match self.connect(Some(slot)).await {
            Ok(line) => Some(line),
            Err(error) => {
                self.refused(&error);
                None
            }
        }
    }

    async fn connect(self: &Arc<Self>, slot: Option<Slot>) -> Result<Line, DialError> {
        let stream = exchange::dial(&self.path).await?;
        let (sender, connection) = exchange::handshake(stream).await?;
        let counted = Arc::new(Mutex::new(None));
        let hangup = CancellationToken::new();
        let drive = {
            let (counted, hangup) = (Arc::clone(&counted), hangup.clone());
            let closed = self.shared.closed.clone();
            async move {
                tokio::select! {
                    _ = connection => {}
                    () = hangup.cancelled() => {}
                    () = closed.cancelled() => {}
                }
                drop(slot);
                drop(lock(&counted).take());
            }
        };
        drop(self.shared.connections.spawn_on(drive, &self.shared.runtime));
        Ok(Line { sender, counted, _hangup: hangup.drop_guard() })
    }

    fn refused(&self, error: &DialError) {
        match error {
            DialError::Refused => {
                let link = self.path.link;
                self.shared.tell(Input::ConnectRefused { peer: self.peer, link });
            }
            DialError::Failed(_) | DialError::Http(_) => {
                tracing::debug!(remote = %self.path.remote, %error, "not connected");
            }
        }
    }

    fn dropped(&self, error: &ExchangeError) {
        tracing::debug!(remote = %self.path.remote, %error, "no answer");
        self.shared.count_bad_answer(error);
    }

    fn lost(&self, kind: Kind) {
        if kind == Kind::Heartbeat {
            self.shared.stats.lost(self.peer, self.path.link);
        }
    }
}
