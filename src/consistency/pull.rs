//! The repair: this node's files become the master's, or stay as they were.
//!
//! `vipward_manifest::pull` does the work on the files, and keeps them whole through a crash at
//! any point; here contents are fetched, and the operator's commands run between its stages.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};
use vipward_core::NodeId;
use vipward_manifest::Hash;
use vipward_manifest::pull::{
    Plan, PullError, Recovered, RolledBack, Setup, Staging, Substitutions, Swapped, recover,
    settled,
};

use super::{Consistency, Known, Peers, Settings, commands};

/// How often the files are looked at after a reload.
const LOOK: Duration = Duration::from_millis(250);

impl<P: Peers> Consistency<P> {
    /// Makes this node's files those of `from`, whose manifest must have that digest.
    ///
    /// # Errors
    ///
    /// Why not, in a sentence; everything is as before then, or the sentence says what is not.
    pub(super) async fn pull(&self, from: NodeId, digest: Hash) -> Result<(), String> {
        let _guard = self.repairing.lock().await;
        let settings = self.settings();
        let state = settings.state.clone();
        self.finish_earlier(&settings).await?;
        let theirs = self.peers.manifest(from).await?;
        if theirs.digest() != digest {
            let name = settings.name(from);
            return Err(format!("the configuration of {name} has just changed; it is tried again"));
        }
        let own = self.scan_now().await?;
        let substitutions = match (settings.variables(from), settings.variables(settings.me)) {
            (Some(theirs), Some(own)) => Substitutions::new(theirs, own),
            (None, _) | (_, None) => Substitutions::default(),
        };
        let setup = Setup {
            state,
            settings: Arc::clone(&own.scanned),
            theirs: settings.rules(from)?.rules,
            substitutions,
        };
        let plan = Plan::new(&own.manifest, &theirs, &own.scanned).map_err(|it| it.to_string())?;
        let mut staging = blocking(move || Staging::begin(plan, setup)).await?;
        for wanted in staging.wanted() {
            let content = self.peers.content(from, &wanted.name, wanted.digest).await?;
            staging = blocking(move || {
                staging.add(&wanted.name, &content)?;
                Ok(staging)
            })
            .await?;
        }
        let swapped = blocking(move || staging.finish()?.swap()).await?;
        self.try_out(&settings, swapped).await
    }

    /// The new files are in place: they stay if they pass the test, are loaded, and make this node
    /// what it is to be.
    async fn try_out(&self, settings: &Settings, mut swapped: Swapped) -> Result<(), String> {
        if let Some(test) = &settings.pull_test
            && let Err(why) = commands::succeed(test, self.patience.repair).await
        {
            return self.undo(settings, swapped, format!("the fetched files fail {why}")).await;
        }
        if let Some(reload) = &settings.pull_reload {
            swapped = match recorded(swapped).await? {
                (swapped, Ok(())) => swapped,
                (swapped, Err(error)) => {
                    return self.undo(settings, swapped, error.to_string()).await;
                }
            };
            if let Err(why) = commands::succeed(reload, self.patience.repair).await {
                return self.undo(settings, swapped, format!("they were not loaded: {why}")).await;
            }
        }
        let until = Instant::now() + self.patience.reloaded;
        loop {
            let now: Arc<Known> = self.scan_now().await?;
            let verified = swapped.verify(&now.manifest);
            match verified {
                Ok(()) => break,
                Err(_) if Instant::now() < until => sleep(LOOK).await,
                Err(error) => return self.undo(settings, swapped, error.to_string()).await,
            }
        }
        blocking(move || swapped.commit()).await
    }

    /// Back to the old files; the balancer loads them again if it may have loaded the new ones.
    async fn undo(&self, settings: &Settings, swapped: Swapped, why: String) -> Result<(), String> {
        let back = blocking(move || swapped.rollback()).await;
        let back = back.map_err(|error| format!("{why}; and going back: {error}"))?;
        let displaced = displaced(&back);
        match self.reload_old(settings, &back).await {
            Ok(()) => Err(format!("{why}; the files are as before{displaced}")),
            Err(error) => Err(format!("{why}; the files are as before{displaced}, but {error}")),
        }
    }

    async fn reload_old(&self, settings: &Settings, back: &RolledBack) -> Result<(), String> {
        let (true, Some(reload)) = (back.reload, &settings.pull_reload) else { return Ok(()) };
        commands::succeed(reload, self.patience.repair)
            .await
            .map_err(|why| format!("they were not loaded again: {why}"))?;
        let state = settings.state.clone();
        blocking(move || settled(&state)).await
    }

    /// At the start: what an earlier life of this process left half done.
    pub(super) async fn recover(&self) {
        let settings = self.settings();
        if let Err(why) = self.finish_earlier(&settings).await {
            tracing::error!("a repair that was cut off could not be brought to an end: {why}");
        }
    }

    async fn finish_earlier(&self, settings: &Settings) -> Result<(), String> {
        let state = settings.state.clone();
        match blocking(move || recover(&state)).await? {
            Recovered::Nothing => Ok(()),
            Recovered::Cleaned | Recovered::Kept => {
                tracing::info!("an earlier repair was brought to an end");
                Ok(())
            }
            Recovered::RolledBack(back) => {
                let displaced = displaced(&back);
                tracing::warn!("a repair was cut off: the files are as before it{displaced}");
                self.reload_old(settings, &back).await
            }
        }
    }
}

/// Says in the record that the balancer is about to load the new files.
async fn recorded(mut swapped: Swapped) -> Result<(Swapped, Result<(), PullError>), String> {
    blocking(move || {
        let told = swapped.reloading();
        Ok((swapped, told))
    })
    .await
}

/// Files that somebody changed meanwhile, in the middle of a sentence.
fn displaced(back: &RolledBack) -> String {
    match back.displaced.as_slice() {
        [] => String::new(),
        files => format!(
            ", but for changes made meanwhile, kept in the state directory below pull/displaced: {}",
            files.join(", ")
        ),
    }
}

/// On a thread that may wait for a disk.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, PullError> + Send + 'static,
) -> Result<T, String> {
    match spawn_blocking(work).await {
        Ok(done) => done.map_err(|error| error.to_string()),
        Err(_) => Err("the daemon is stopping".to_owned()),
    }
}
