//! Peers that ask for this node's manifest: recognised here, answered elsewhere.
//!
//! This is the heartbeat thread, which must never read a disk, hash a tree, or write a page of
//! JSON. So a request goes by a bounded queue to the main runtime, and that makes the whole
//! answer, its MAC included. What is left here costs about as much as a heartbeat.
//!
//! A manifest shows paths, owners and sizes of files: only proved members of the cluster get it.
//! Contents of `digest_only` entries never leave this node. That is decided where the files are
//! read: whoever answers a [`ManifestRequest`] refuses it with [`ManifestRefusal::DigestOnly`].

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use vipward_core::NodeId;
use vipward_manifest::{Hash, Manifest};

use super::auth::Mac;
use super::exchange::MAX_BODY;
use super::shared::{Shared, lock};
use super::wire::{Asked, Chunk, MAX_CHUNK, ManifestRefusal, Page};

/// So long a page or a chunk may take: files may lie on a slow disk.
pub(super) const SERVE_TIME: Duration = Duration::from_secs(5);

/// So many requests of one peer may wait at once: with 64 KiB each, a quarter of a mebibyte.
const WAITING_PER_PEER: usize = 4;

/// So many requests may wait for the main runtime, of all peers.
const QUEUE: usize = 32;

/// A peer's request for a part of this node's manifest, to be answered off the heartbeat thread.
/// Dropped without an answer, it is refused as [`ManifestRefusal::Unserved`].
#[derive(Debug)]
pub struct ManifestRequest {
    /// Who asks; proved.
    pub from: NodeId,
    /// For what.
    pub asked: Asked,
    shared: Arc<Shared>,
    mac: Mac,
    reply: oneshot::Sender<Signed>,
}

/// An answer with its MAC.
#[derive(Debug)]
pub(super) struct Signed {
    pub(super) status: u16,
    pub(super) body: Bytes,
    pub(super) mac: Mac,
}

impl ManifestRequest {
    /// Answers a request for a page from `manifest`, whose digest is `digest`; if the peer has
    /// begun to read another one, it is told to begin again. To a request for a content: refused.
    pub fn page(self, manifest: &Manifest, digest: Hash) {
        let Asked::Page { of, start } = self.asked else {
            return self.refuse(ManifestRefusal::Gone);
        };
        if of.is_some_and(|of| of != digest) {
            return self.refuse(ManifestRefusal::Changed);
        }
        match Page::encode(manifest, digest, start, MAX_BODY) {
            Ok(Some(body)) => self.reply(200, body),
            Ok(None) => self.refuse(ManifestRefusal::TooLarge),
            Err(error) => {
                tracing::error!(%error, "a page of the manifest could not be written");
                self.refuse(ManifestRefusal::Unserved);
            }
        }
    }

    /// Answers a request for a content of `total` bytes by those from the offset on: at most
    /// [`MAX_CHUNK`] of them are sent. To a request for a page: refused.
    pub fn chunk(self, total: u64, from_offset: &[u8]) {
        let Asked::Chunk { offset, .. } = self.asked else {
            return self.refuse(ManifestRefusal::Gone);
        };
        let part = from_offset.get(..MAX_CHUNK).unwrap_or(from_offset);
        match Chunk::encode(offset, total, part) {
            Ok(body) => self.reply(200, body),
            Err(error) => {
                tracing::error!(%error, "a part of an entry could not be written");
                self.refuse(ManifestRefusal::Unserved);
            }
        }
    }

    /// Refuses it.
    pub fn refuse(self, refusal: ManifestRefusal) {
        self.reply(refusal.status(), refusal.body());
    }

    fn reply(self, status: u16, body: Vec<u8>) {
        let signed = Signed::new(&self.shared, status, body, &self.mac);
        if self.reply.send(signed).is_err() {
            tracing::debug!("a part of the manifest came after the peer stopped waiting");
        }
    }
}

impl Signed {
    fn new(shared: &Shared, status: u16, body: Vec<u8>, request: &Mac) -> Self {
        let mac = shared.keys().sign_answer(status, &body, request);
        Self { status, body: Bytes::from(body), mac }
    }
}

/// The way to those who know this node's manifest.
#[derive(Debug)]
pub(super) struct Manifests {
    queue: Mutex<Option<mpsc::Sender<ManifestRequest>>>,
    /// By node, how many requests wait.
    waiting: Vec<AtomicUsize>,
}

/// A request that waits; counted while this lives.
struct Turn<'a>(&'a AtomicUsize);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Manifests {
    /// Nobody knows it yet.
    pub(super) fn new(nodes: usize) -> Self {
        Self { queue: Mutex::default(), waiting: (0..nodes).map(|_| 0.into()).collect() }
    }

    /// From now on requests come out of this queue.
    pub(super) fn serve(&self) -> mpsc::Receiver<ManifestRequest> {
        let (sender, requests) = mpsc::channel(QUEUE);
        *lock(&self.queue) = Some(sender);
        requests
    }

    /// The answer to a request of `from` that `mac` authenticated.
    pub(super) async fn ask(
        &self,
        shared: &Arc<Shared>,
        from: NodeId,
        mac: &Mac,
        asked: Asked,
    ) -> Signed {
        let refusal = match self.try_ask(shared, from, mac, asked).await {
            Ok(signed) => return signed,
            Err(refusal) => refusal,
        };
        Signed::new(shared, refusal.status(), refusal.body(), mac)
    }

    async fn try_ask(
        &self,
        shared: &Arc<Shared>,
        from: NodeId,
        mac: &Mac,
        asked: Asked,
    ) -> Result<Signed, ManifestRefusal> {
        let waiting = self.waiting.get(from.index()).ok_or(ManifestRefusal::Unserved)?;
        let before = waiting.fetch_add(1, Ordering::Relaxed);
        let _turn = Turn(waiting);
        if before >= WAITING_PER_PEER {
            return Err(ManifestRefusal::Busy);
        }
        let queue = lock(&self.queue).clone().ok_or(ManifestRefusal::Unserved)?;
        let (reply, answer) = oneshot::channel();
        let request = ManifestRequest { from, asked, shared: Arc::clone(shared), mac: *mac, reply };
        queue.try_send(request).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => ManifestRefusal::Busy,
            mpsc::error::TrySendError::Closed(_) => ManifestRefusal::Unserved,
        })?;
        tokio::select! {
            answered = timeout(SERVE_TIME, answer) => match answered {
                Ok(Ok(signed)) => Ok(signed),
                Ok(Err(_)) => Err(ManifestRefusal::Unserved),
                Err(_) => Err(ManifestRefusal::Busy),
            },
            () = shared.closing.cancelled() => Err(ManifestRefusal::Unserved),
        }
    }
}
