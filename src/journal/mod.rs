//! The journal: what happened and why, one JSON object a line.
//!
//! ```text
//!  write(record) ──> seq, time ──┬──> bounded queue ──> writer thread ──> journal.jsonl, .1
//!                                └──> live followers (each may lag, and is told so)
//! ```
//!
//! Nobody waits for the disk: a full queue or a full disk costs lines, which are counted and
//! named by a `journal-gap` record as soon as writing works again.

mod follow;
mod mark;
mod read;
mod record;
#[cfg(test)]
mod tests;
mod writer;

use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::broadcast;
use vipward_core::BootId;

pub use follow::{Query, Sent};
pub use mark::{Mark, MarkError};
pub use read::{Entry, ReadError, Since, SinceError, parse_since, read};
pub use record::Record;

use record::Stamp;
use writer::{Item, Writer};

/// Lines that may wait for the disk: a minute of the busiest failover.
const QUEUE: usize = 4096;

/// Lines that a follower may lag behind.
const FOLLOWER_LAG: usize = 1024;

/// How often a full queue is looked at again.
const POLL: Duration = Duration::from_millis(5);

/// Where the journal is and who writes it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The state directory.
    pub directory: PathBuf,
    /// How many bytes both files together may take.
    pub size: u64,
    /// This node's name.
    pub node: String,
    /// The life of this process.
    pub boot: BootId,
}

/// The journal. Cheap to clone; writing never blocks.
#[derive(Clone)]
pub struct Journal {
    inner: Arc<Inner>,
}

struct Inner {
    settings: Settings,
    boot: String,
    queue: Mutex<Queue>,
    live: broadcast::Sender<Live>,
}

/// A line and its number, for followers.
#[derive(Clone)]
struct Live {
    seq: u64,
    line: Arc<str>,
}

/// Numbering and queueing happen under one lock, so that the file is in order.
struct Queue {
    next_seq: u64,
    /// `None` once closed, or if the thread could not be started.
    sender: Option<SyncSender<Item>>,
    /// Records that found the queue full, since the last that did not.
    overflow: Option<Lost>,
    lost: u64,
}

/// Records that were not written: how many, and the number of the last.
#[derive(Clone, Copy)]
struct Lost {
    count: u64,
    last_seq: u64,
}

impl Lost {
    fn add(so_far: Option<Self>, seq: u64) -> Option<Self> {
        Some(Self { count: so_far.map_or(0, |lost| lost.count) + 1, last_seq: seq })
    }
}

impl Journal {
    /// Opens the journal and continues its numbers. Never fails: what cannot be written is
    /// counted, and the reason is logged.
    #[must_use]
    pub fn open(settings: Settings) -> Self {
        Self::start(settings, |writer, items| writer.run(items))
    }

    fn start(
        settings: Settings,
        run: impl FnOnce(Writer, &Receiver<Item>) + Send + 'static,
    ) -> Self {
        let next_seq = read::last_seq(&settings.directory).map_or(1, |seq| seq + 1);
        let boot = settings.boot.to_string();
        let (sender, items) = mpsc::sync_channel(QUEUE);
        let writer = Writer::new(&settings, &boot);
        let thread = std::thread::Builder::new().name("journal".to_owned());
        let sender = match thread.spawn(move || run(writer, &items)) {
            Ok(_) => Some(sender),
            Err(error) => {
                tracing::error!(%error, "no thread for the journal; its records are lost");
                None
            }
        };
        let queue = Mutex::new(Queue { next_seq, sender, overflow: None, lost: 0 });
        let live = broadcast::Sender::new(FOLLOWER_LAG);
        Self { inner: Arc::new(Inner { settings, boot, queue, live }) }
    }

    /// Numbers, dates and queues a record. Never blocks on the disk.
    pub fn write(&self, record: Record) {
        let Settings { node, .. } = &self.inner.settings;
        let mut queue = self.inner.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let seq = queue.next_seq;
        queue.next_seq += 1;
        let stamp = Stamp { seq, node, boot: &self.inner.boot };
        let line: Arc<str> = record.line(&stamp).into();
        record.log(seq);
        let item = Item::Line { after: queue.overflow, seq, line: Arc::clone(&line) };
        match queue.sender.as_ref().map(|sender| sender.try_send(item)) {
            Some(Ok(())) => queue.overflow = None,
            Some(Err(TrySendError::Full(_) | TrySendError::Disconnected(_))) | None => {
                queue.overflow = Lost::add(queue.overflow, seq);
                queue.lost += 1;
            }
        }
        // Under the lock, so that followers see the numbers in order; nobody listening is fine.
        let _ = self.inner.live.send(Live { seq, line });
    }

    /// What happens from now on, and the number of the last record before it.
    fn subscribe(&self) -> (broadcast::Receiver<Live>, u64) {
        // Under the lock, so that nothing comes in between.
        let queue = self.inner.queue.lock().unwrap_or_else(PoisonError::into_inner);
        (self.inner.live.subscribe(), queue.next_seq - 1)
    }

    /// How many records found the queue full since the start.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.inner.queue.lock().unwrap_or_else(PoisonError::into_inner).lost
    }

    /// Waits until what was written so far is on disk, at most `patience`. Blocks.
    pub fn flush(&self, patience: Duration) -> bool {
        let (done, flushed) = mpsc::sync_channel(1);
        let sender = {
            let queue = self.inner.queue.lock().unwrap_or_else(PoisonError::into_inner);
            queue.sender.clone()
        };
        let Some(sender) = sender else { return false };
        let mut left = patience;
        // A full queue is given the same patience.
        while sender.try_send(Item::Flush(done.clone())).is_err() {
            if left.is_zero() {
                return false;
            }
            std::thread::sleep(POLL);
            left = left.saturating_sub(POLL);
        }
        flushed.recv_timeout(left).is_ok()
    }
}
