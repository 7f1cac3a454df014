//! In what this node differs from another: for the core's sentences, and for operators.

use std::sync::Arc;

use vipward_core::{Differences, NodeId};
use vipward_manifest::{
    Contents, DiffDocument, Difference, Entry, EntryName, Manifest, Nodes, Refused, compare,
};

use super::{Consistency, Known, Peers};

/// So many entries the core hears the names of.
const NAMED: usize = 5;
/// Of so many entries contents are fetched and shown.
const SHOWN: usize = 100;

impl<P: Peers> Consistency<P> {
    /// For the core. `None` where they cannot be compared: the core asks again.
    pub(super) async fn differences(&self, with: NodeId) -> Option<Differences> {
        let compared = match self.compared(with).await {
            Ok((_, _, differences)) => differences,
            Err(why) => {
                tracing::warn!("this node's configuration cannot be compared: {why}");
                return None;
            }
        };
        let words = |difference: &Difference| difference.name.words().into();
        Some(Differences {
            named: compared.iter().take(NAMED).map(words).collect(),
            total: u32::try_from(compared.len()).unwrap_or(u32::MAX),
        })
    }

    /// For operators: entry by entry, line by line.
    ///
    /// # Errors
    ///
    /// Why they cannot be compared, in a sentence.
    pub async fn diff(&self, with: NodeId) -> Result<DiffDocument, String> {
        let settings = self.settings();
        if with == settings.me {
            return Err(format!("{} is this node: name another", settings.name(with)));
        }
        let (own, theirs, differences) = self.compared(with).await?;
        let there = settings.rules(with)?;
        let nodes = Nodes {
            here: settings.name(settings.me),
            there: settings.name(with),
            own: &own.scanned.rules,
            theirs: &there.rules,
        };
        let mut document = DiffDocument::new(&nodes);
        let mut fetched = 0;
        for difference in differences {
            let contents = if !difference.wants_content() || difference.is_hidden() {
                Ok(Contents::default())
            } else if fetched >= SHOWN {
                Err(format!("more than {SHOWN} entries differ: this one was not fetched"))
            } else {
                fetched += 1;
                self.contents(with, &own, &theirs, &difference.name).await
            };
            document.add(&nodes, difference, contents);
        }
        Ok(document)
    }

    async fn compared(
        &self,
        with: NodeId,
    ) -> Result<(Arc<Known>, Manifest, Vec<Difference>), String> {
        let own = self.scan_now().await?;
        let theirs = self.peers.manifest(with).await?;
        // A witness has vipward's own part only.
        let only_shared =
            |manifest: &Manifest| manifest.entries.keys().all(|name| *name == EntryName::Shared);
        let differences = if only_shared(&theirs) && self.is_witness(with) {
            compare(&shared(&own.manifest), &theirs)
        } else if self.is_witness(self.settings().me) {
            compare(&own.manifest, &shared(&theirs))
        } else {
            compare(&own.manifest, &theirs)
        };
        Ok((own, theirs, differences))
    }

    fn is_witness(&self, node: NodeId) -> bool {
        self.settings().witnesses.contains(&node)
    }

    /// The contents of an entry, on the sides that have it.
    async fn contents(
        &self,
        with: NodeId,
        own: &Arc<Known>,
        theirs: &Manifest,
        name: &EntryName,
    ) -> Result<Contents, String> {
        let digest = |entry: &Entry| entry.digest;
        let here = match own.manifest.entries.get(name).map(digest) {
            Some(digest) => Some(own.content(name, digest).await.map_err(sentence)?),
            None => None,
        };
        let there = match theirs.entries.get(name).map(digest) {
            Some(digest) => Some(self.peers.content(with, name, digest).await?),
            None => None,
        };
        Ok(Contents { here, there })
    }
}

fn shared(manifest: &Manifest) -> Manifest {
    let entries = manifest.entries.iter().filter(|(name, _)| **name == EntryName::Shared);
    Manifest { entries: entries.map(|(name, entry)| (name.clone(), entry.clone())).collect() }
}

/// Why a content of this node is not told.
fn sentence(refused: Refused) -> String {
    match refused {
        Refused::Gone => "it is not there any more".to_owned(),
        Refused::Changed => "it has just changed: compare again".to_owned(),
        Refused::DigestOnly => "it never leaves its node".to_owned(),
        Refused::None(why) => why,
    }
}
