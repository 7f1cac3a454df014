//! What both directions share: the way to the core, what is known of the peers, the keys.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use vipward_core::{BootId, Input, NodeId};

use super::auth::Keys;
use super::exchange::ExchangeError;
use super::header::Envelope;
use super::settings::{Settings, Timeouts};
use super::stats::{Rejection, Stats};
use super::wire::Names;

/// Shared by the links, the server and the handle.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) cluster: String,
    pub(super) version: (u16, u16),
    pub(super) me: NodeId,
    pub(super) boot: BootId,
    pub(super) names: Names,
    /// By node.
    pub(super) link_counts: Vec<u8>,
    pub(super) stats: Arc<Stats>,
    /// The heartbeat thread's runtime.
    pub(super) runtime: Handle,
    /// Requests under way, both directions: awaited at the end.
    pub(super) exchanges: TaskTracker,
    /// One for each open connection, and for the helpers.
    pub(super) connections: TaskTracker,
    /// Cancelled first: nothing new is sent, incoming connections end after their answer.
    pub(super) closing: CancellationToken,
    /// Cancelled last: everything ends.
    pub(super) closed: CancellationToken,
    keys: Mutex<Arc<Keys>>,
    timeouts: Mutex<Timeouts>,
    inputs: mpsc::Sender<Input>,
    peers: Vec<Mutex<Peer>>,
    untold: Notify,
}

/// What is known of one peer.
#[derive(Debug, Default)]
struct Peer {
    /// The life it last answered in.
    boot: Option<BootId>,
    /// Authenticated connections open now, both directions.
    open: u16,
    /// Whether the core's queue had no room for the last change of `open`.
    untold: bool,
}

/// Nothing is left half-changed where a lock is held, so a poisoned one is as good.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(super) fn new(settings: &Settings, inputs: mpsc::Sender<Input>, stats: Arc<Stats>) -> Self {
        Self {
            cluster: settings.cluster.clone(),
            version: settings.version,
            me: settings.me,
            boot: settings.boot,
            names: settings.names(),
            link_counts: settings.link_counts(),
            stats,
            runtime: Handle::current(),
            exchanges: TaskTracker::new(),
            connections: TaskTracker::new(),
            closing: CancellationToken::new(),
            closed: CancellationToken::new(),
            keys: Mutex::new(Arc::new(settings.keys.clone())),
            timeouts: Mutex::new(settings.timeouts),
            inputs,
            peers: settings.nodes.iter().map(|_| Mutex::default()).collect(),
            untold: Notify::new(),
        }
    }

    pub(super) fn keys(&self) -> Arc<Keys> {
        Arc::clone(&lock(&self.keys))
    }

    pub(super) fn set_keys(&self, keys: Keys) {
        *lock(&self.keys) = Arc::new(keys);
    }

    pub(super) fn timeouts(&self) -> Timeouts {
        *lock(&self.timeouts)
    }

    pub(super) fn set_timeouts(&self, timeouts: Timeouts) {
        *lock(&self.timeouts) = timeouts;
    }

    /// The life that `peer` last answered in.
    pub(super) fn peer_boot(&self, peer: NodeId) -> Option<BootId> {
        self.peers.get(peer.index()).and_then(|known| lock(known).boot)
    }

    pub(super) fn set_peer_boot(&self, peer: NodeId, boot: BootId) {
        if let Some(known) = self.peers.get(peer.index()) {
            lock(known).boot = Some(boot);
        }
    }

    /// Tells the core. Without room in its queue the input is dropped, as if lost on the way.
    pub(super) fn tell(&self, input: Input) -> bool {
        match self.inputs.try_send(input) {
            Ok(()) => true,
            Err(_) => {
                self.stats.input_dropped();
                false
            }
        }
    }

    /// Counts an answer that is not what it should be.
    pub(super) fn count_bad_answer(&self, error: &ExchangeError) {
        match error {
            ExchangeError::Unauthenticated { .. } => self.stats.rejected(Rejection::BadMac),
            ExchangeError::Oversized => self.stats.rejected(Rejection::Oversized),
            ExchangeError::Connection(_) | ExchangeError::Name => {}
        }
    }

    /// The headers of a request from this node, in this life.
    pub(super) fn envelope(&self, to: NodeId, link: vipward_core::LinkId) -> Option<Envelope> {
        Some(Envelope {
            version: self.version,
            cluster: self.cluster.clone(),
            from: self.names.node(self.me).ok()?,
            to: self.names.node(to).ok()?,
            link,
            boot: self.boot,
            to_boot: None,
            sequence: 0,
        })
    }

    /// Changes the count of connections with `peer` and tells the core the new one. A count that
    /// finds no room is told later by [`Shared::tell_counts`]: unlike a message, it is not sent
    /// again.
    fn count(&self, peer: NodeId, change: impl FnOnce(u16) -> u16) {
        let Some(known) = self.peers.get(peer.index()) else { return };
        let mut known = lock(known);
        known.open = change(known.open);
        if self.inputs.try_send(Input::Connections { peer, open: known.open }).is_err() {
            known.untold = true;
            self.untold.notify_one();
        }
    }

    /// Tells the counts that found no room, until the end.
    pub(super) async fn tell_counts(self: Arc<Self>) {
        loop {
            tokio::select! {
                () = self.closed.cancelled() => return,
                () = self.untold.notified() => {}
            }
            for (peer, known) in (0..=u8::MAX).map(NodeId).zip(&self.peers) {
                if !lock(known).untold {
                    continue;
                }
                let room = tokio::select! {
                    () = self.closed.cancelled() => return,
                    room = self.inputs.reserve() => room,
                };
                // An error means that the core is gone, and that nobody is to be told.
                let Ok(room) = room else { return };
                let mut known = lock(known);
                known.untold = false;
                room.send(Input::Connections { peer, open: known.open });
            }
        }
    }
}

/// One authenticated connection with a peer, counted while this lives.
#[derive(Debug)]
pub(super) struct Counted {
    shared: Arc<Shared>,
    peer: NodeId,
}

impl Counted {
    pub(super) fn new(shared: &Arc<Shared>, peer: NodeId) -> Self {
        shared.count(peer, |open| open.saturating_add(1));
        Self { shared: Arc::clone(shared), peer }
    }

    pub(super) fn peer(&self) -> NodeId {
        self.peer
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.shared.count(self.peer, |open| open.saturating_sub(1));
    }
}
