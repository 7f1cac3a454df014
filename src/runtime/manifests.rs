//! Between the links and the configuration: peers' manifests fetched, this node's served.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::interval;
use vipward_core::NodeId;
use vipward_manifest::{EntryName, Hash, Manifest, Refused};

use crate::consistency::{Consistency, Content, Known, Peers};
use crate::transport::{Asked, Fetcher, ManifestRefusal, ManifestRequest};

/// How often contents that nobody asks for any more are let go.
const FORGET: Duration = Duration::from_secs(10);

/// The other nodes, over the links.
#[derive(Clone)]
pub(crate) struct OverLinks(pub(crate) Fetcher);

impl Peers for OverLinks {
    async fn manifest(&self, node: NodeId) -> Result<Manifest, String> {
        let fetched = self.0.fetch_manifest(node).await.map_err(|error| error.to_string())?;
        Ok(fetched.manifest)
    }

    async fn content(
        &self,
        node: NodeId,
        name: &EntryName,
        digest: Hash,
    ) -> Result<Vec<u8>, String> {
        self.0.fetch_entry(node, name, digest).await.map_err(|error| error.to_string())
    }
}

/// Answers peers, one after another: each gets a page or a part at a time.
pub(crate) async fn serve<P: Peers>(
    consistency: Consistency<P>,
    mut requests: mpsc::Receiver<ManifestRequest>,
) {
    let content = Content::default();
    let mut pace = interval(FORGET);
    loop {
        let request = tokio::select! {
            request = requests.recv() => request,
            _ = pace.tick() => {
                content.forget().await;
                continue;
            }
        };
        let Some(request) = request else { return };
        match consistency.known() {
            Some(known) => answer(&content, &known, request).await,
            None => request.refuse(ManifestRefusal::Unserved),
        }
    }
}

async fn answer(content: &Content, known: &Arc<Known>, request: ManifestRequest) {
    let Asked::Chunk { name, digest, offset } = request.asked.clone() else {
        request.page(&known.manifest, known.digest);
        return;
    };
    match content.of(known, &name, digest).await {
        Ok(whole) => {
            let offset = usize::try_from(offset).unwrap_or(usize::MAX);
            let total = u64::try_from(whole.len()).unwrap_or(u64::MAX);
            request.chunk(total, whole.get(offset..).unwrap_or_default());
        }
        Err(Refused::Gone) => request.refuse(ManifestRefusal::Gone),
        Err(Refused::Changed) => request.refuse(ManifestRefusal::Changed),
        Err(Refused::DigestOnly) => request.refuse(ManifestRefusal::DigestOnly),
        Err(Refused::None(why)) => {
            tracing::info!(entry = name.words(), "its content cannot be told: {why}");
            request.refuse(ManifestRefusal::Gone);
        }
    }
}
