//! What survives a restart: the terms, in `state.json`, kept for one process at a time.
//!
//! Only the newest value matters, so a slow disk is never more than one write behind, and
//! nothing waits for it: the core orders, and learns later what is on disk.

mod file;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use vipward_core::{Durable, Input};

use file::StateFile;

/// How long to wait after a failed write.
const RETRY: Duration = Duration::from_secs(1);
/// A write that takes longer is reported as failed; its end is still waited for.
const SLOW: Duration = Duration::from_secs(5);

/// Where the state is and what the core's group ids mean.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The state directory.
    pub directory: PathBuf,
    /// The groups' names, in the order of `GroupId`: the file knows names.
    pub groups: Vec<String>,
    /// The nodes' names, in the order of `NodeId`.
    pub nodes: Vec<String>,
}

/// The state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// It is not there.
    #[error(
        "the state directory {0} does not exist: create it, or set [state] directory \
         (the systemd unit makes it by StateDirectory=vipward)"
    )]
    Missing(PathBuf),
    /// Another daemon uses it.
    #[error("the state directory {0} is in use by another vipward: one daemon, one directory")]
    InUse(PathBuf),
    /// It or its file may not be read.
    #[error("{path} cannot be read: {source}; the daemon needs to read and write there")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What was found at the start.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Loaded {
    /// What an earlier life wrote; `None` if there is nothing, or nothing legible.
    pub durable: Option<Durable>,
    /// One sentence for an alarm, if something was there and is lost.
    pub lost: Option<String>,
}

/// The state directory, held for this process until dropped.
#[derive(Debug)]
pub struct Store {
    settings: Settings,
    /// Terms of groups that the configuration does not name now; kept, should they come back.
    others: StateFile,
    /// The lock on the directory. It needs no write, so it works on a read-only disk too.
    _lock: File,
}

/// Takes the directory for this process and reads what is there. Blocks.
///
/// # Errors
///
/// [`StateError`], a sentence with the remedy. An illegible file is no error: it is moved aside
/// and counts as lost, and the terms are learnt from a majority (design 3.2).
pub fn open(settings: Settings) -> Result<(Store, Loaded), StateError> {
    let lock = lock(&settings.directory)?;
    let path = settings.directory.join(file::NAME);
    let (found, lost) = match std::fs::read(&path) {
        Ok(bytes) => match StateFile::parse(&bytes) {
            Ok(found) => (Some(found), None),
            Err(why) => (None, Some(set_aside(&path, &why))),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => (None, None),
        Err(source) if source.kind() == io::ErrorKind::PermissionDenied => {
            return Err(StateError::Unreadable { path, source });
        }
        Err(error) => (None, Some(set_aside(&path, &error.to_string()))),
    };
    let durable = found.as_ref().map(|found| found.durable(&settings.groups, &settings.nodes));
    let store = Store { settings, others: found.unwrap_or_default(), _lock: lock };
    Ok((store, Loaded { durable, lost }))
}

fn lock(directory: &Path) -> Result<File, StateError> {
    let path = directory.to_owned();
    let file = match File::open(directory) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(StateError::Missing(path));
        }
        Err(source) => return Err(StateError::Unreadable { path, source }),
    };
    let is_directory = file.metadata().is_ok_and(|metadata| metadata.is_dir());
    if !is_directory {
        return Err(StateError::Missing(path));
    }
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(StateError::InUse(path)),
        Err(error) => {
            // Some network file systems lock no directories; that is no reason not to guard.
            tracing::warn!(%error, path = %path.display(), "the state directory cannot be locked");
            Ok(file)
        }
    }
}

/// Keeps an illegible file for a person, and says so.
fn set_aside(path: &Path, why: &str) -> String {
    let aside = path.with_extension("json.corrupt");
    let moved = match std::fs::rename(path, &aside) {
        Ok(()) => format!("it was moved to {}", aside.display()),
        Err(error) => format!("and could not be moved aside: {error}"),
    };
    let path = path.display();
    format!("{path} is illegible ({why}) and counts as lost; {moved}; check the disk")
}

impl Store {
    /// Writes the newest value ordered, each time it changes, and tells the core. Ends when
    /// `stop` is cancelled, or when the orders end and the last of them is on disk.
    pub async fn run(
        self,
        mut orders: watch::Receiver<Option<Durable>>,
        inputs: mpsc::Sender<Input>,
        stop: CancellationToken,
    ) {
        let _ = stop.run_until_cancelled(self.write_newest(&mut orders, &inputs)).await;
    }

    async fn write_newest(
        &self,
        orders: &mut watch::Receiver<Option<Durable>>,
        inputs: &mpsc::Sender<Input>,
    ) {
        let mut written = None;
        loop {
            let newest = orders.borrow_and_update().clone();
            if newest != written
                && let Some(durable) = newest
            {
                if let Err(error) = self.write(&durable, inputs).await {
                    let path = self.settings.directory.join(file::NAME);
                    tracing::error!(%error, "{} cannot be written; trying again", path.display());
                    // The core may be gone; then so is the need to tell it.
                    let _ = inputs.send(Input::PersistFailed).await;
                    tokio::time::sleep(RETRY).await;
                    // Nobody is left who would order again: that was the last attempt.
                    if orders.has_changed().is_err() {
                        return;
                    }
                    continue;
                }
                written = Some(durable.clone());
                let _ = inputs.send(Input::Persisted(durable)).await;
                continue;
            }
            if orders.changed().await.is_err() {
                return;
            }
        }
    }

    /// One write on a thread of its own, so that a disk that hangs holds up nobody's exit.
    async fn write(&self, durable: &Durable, inputs: &mpsc::Sender<Input>) -> io::Result<()> {
        let content =
            Arc::new(self.others.with(durable, &self.settings.groups, &self.settings.nodes));
        let directory = self.settings.directory.clone();
        let (done, mut written) = oneshot::channel();
        std::thread::Builder::new().name("state".to_owned()).spawn(move || {
            let _ = done.send(content.write(&directory));
        })?;
        let result = match tokio::time::timeout(SLOW, &mut written).await {
            Ok(result) => result,
            Err(_) => {
                tracing::error!("the disk of the state directory has not answered for {SLOW:?}");
                let _ = inputs.send(Input::PersistFailed).await;
                written.await
            }
        };
        result.unwrap_or_else(|_| Err(io::Error::other("the writing thread died")))
    }
}
