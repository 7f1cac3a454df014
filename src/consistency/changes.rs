//! Changes that the kernel tells, from the thread that waits for them.

use std::time::Duration;

use tokio::sync::mpsc;
use vipward_manifest::{Patterns, Seen, Watch};

/// So often the thread looks whether anybody still listens.
const LISTENING: Duration = Duration::from_millis(500);

/// Says when something may have changed; several changes may be one. It never says anything where
/// nothing can be watched, so it is no reason not to look from time to time.
pub(super) struct Changes(mpsc::Receiver<()>);

impl Changes {
    /// Begins to watch. A scan that is asked for afterwards misses nothing.
    pub(super) async fn of(patterns: Patterns) -> Self {
        let (tell, changes) = mpsc::channel(1);
        let (begun, beginning) = tokio::sync::oneshot::channel();
        let work = move || {
            let mut watch = Watch::new(patterns);
            if let Some(why) = watch.limited() {
                tracing::warn!("changes of files may be noticed some seconds late: {why}");
            }
            let _ = begun.send(()); // Nobody waits any more: that ends the loop below.
            while !tell.is_closed() {
                if watch.wait(LISTENING) == Seen::Change {
                    let _ = tell.try_send(()); // One that is still to be heard says the same.
                }
            }
        };
        // A thread of its own, for which no end of the daemon waits.
        let thread = std::thread::Builder::new().name("watch".to_owned()).spawn(work);
        if let Err(error) = thread {
            tracing::warn!("changes of files are noticed some seconds late: no thread: {error}");
        }
        let _ = beginning.await; // It could not begin: then it never tells anything.
        Self(changes)
    }

    /// The next change; for ever, if none can be told.
    pub(super) async fn next(&mut self) {
        if self.0.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}
