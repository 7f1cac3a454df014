//! This node's contents, for peers that may see them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use vipward_manifest::{EntryName, Hash, Refused};

use super::Known;

/// A content that was asked for is asked for again, part by part.
const KEPT: Duration = Duration::from_secs(10);

/// The content read last, kept while a peer fetches it part by part: at most 16 MiB.
#[derive(Clone, Debug, Default)]
pub struct Content {
    last: Arc<Mutex<Option<Last>>>,
}

#[derive(Debug)]
struct Last {
    name: EntryName,
    digest: Hash,
    content: Arc<Vec<u8>>,
    until: Instant,
}

impl Content {
    /// The content of an entry as it is on disk.
    ///
    /// # Errors
    ///
    /// Why it is not told; also where it changed since `known`.
    pub async fn of(
        &self,
        known: &Arc<Known>,
        name: &EntryName,
        digest: Hash,
    ) -> Result<Arc<Vec<u8>>, Refused> {
        let mut last = self.last.lock().await;
        let now = Instant::now();
        if let Some(kept) = last.as_mut()
            && kept.until > now
            && (&kept.name, kept.digest) == (name, digest)
            // What the manifest does not name any more is not told any more.
            && known.manifest.entries.get(name).is_some_and(|entry| entry.digest == digest)
        {
            kept.until = now + KEPT;
            return Ok(Arc::clone(&kept.content));
        }
        *last = None;
        let content = Arc::new(known.content(name, digest).await?);
        *last = Some(Last {
            name: name.clone(),
            digest,
            content: Arc::clone(&content),
            until: now + KEPT,
        });
        Ok(content)
    }

    /// Lets go of what nobody has asked for lately.
    pub async fn forget(&self) {
        let mut last = self.last.lock().await;
        if last.as_ref().is_some_and(|kept| kept.until <= Instant::now()) {
            *last = None;
        }
    }
}

impl Known {
    pub(super) async fn content(
        self: &Arc<Self>,
        name: &EntryName,
        digest: Hash,
    ) -> Result<Vec<u8>, Refused> {
        let (known, name) = (Arc::clone(self), name.clone());
        let read = spawn_blocking(move || {
            let Known { manifest, outside, scanned, .. } = &*known;
            vipward_manifest::content(scanned, outside, manifest, &name, digest)
        });
        read.await.unwrap_or(Err(Refused::Gone))
    }
}
