//! The journal as a stream: what is on disk, then what happens.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc};

use super::read::{Entry, ReadError, SinceError, parse_since, read};
use super::record::Stamp;
use super::{Journal, Live, Record};

/// What a reader wants.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// From when on: a time or a duration. Without it: everything, or with `follow` nothing,
    /// that is on disk.
    pub since: Option<String>,
    /// After which number: where a reader that was cut off goes on.
    pub after: Option<u64>,
    /// Whether to go on with what happens.
    pub follow: bool,
}

/// Lines that wait for a slow reader.
const AHEAD: usize = 64;
/// How long a reader may be slower than the journal before it is dropped.
const SLOW_READER: Duration = Duration::from_secs(30);
/// How long to wait for the disk before reading what it has.
const FLUSH: Duration = Duration::from_secs(1);

impl Journal {
    /// Lines as asked for and their numbers, each once and in order. The channel closes at the
    /// end, or when the reader is too slow. Needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`SinceError`] if `since` is not understood.
    pub fn stream(&self, query: &Query) -> Result<mpsc::Receiver<(u64, Arc<str>)>, SinceError> {
        let since = query.since.as_deref().map(parse_since).transpose()?;
        // Subscribed first: what happens while the disk is read comes after it.
        let (live, written) = self.subscribe();
        let history = since.is_some() || query.after.is_some() || !query.follow;
        // A journal that was begun anew has other numbers: all of it is new to the reader.
        let after = query.after.filter(|after| *after <= written).unwrap_or_default();
        let follow = query.follow;
        let (lines, reader) = mpsc::channel(AHEAD);
        let journal = self.clone();
        tokio::spawn(async move {
            let newest = match history {
                true => journal.send_history(since, after, &lines).await,
                false => Some(written),
            };
            if let Some(newest) = newest.filter(|_| follow) {
                journal.send_live(live, newest, &lines).await;
            }
        });
        Ok(reader)
    }

    /// Sends what is wanted of the disk's records; returns the last number found there, or
    /// `None` if the reader is gone or too slow.
    async fn send_history(
        &self,
        since: Option<super::Since>,
        after: u64,
        lines: &mpsc::Sender<(u64, Arc<str>)>,
    ) -> Option<u64> {
        let (entries, mut found) = mpsc::channel::<Entry>(AHEAD);
        let newest = Arc::new(AtomicU64::new(after));
        let (journal, last_found) = (self.clone(), Arc::clone(&newest));
        // A thread of its own: a stuck disk holds up this reader and nothing else.
        let reading =
            std::thread::Builder::new().name("journal-read".to_owned()).spawn(move || {
                let _ = journal.flush(FLUSH);
                match read(&journal.inner.settings.directory, None) {
                    Ok(records) => {
                        let wanted = |entry: &Entry| {
                            last_found.fetch_max(entry.seq, Ordering::Relaxed);
                            entry.seq > after && since.is_none_or(|since| entry.at >= since)
                        };
                        let mut new = records.filter(wanted);
                        let _ = new.try_for_each(|entry| entries.blocking_send(entry));
                    }
                    Err(error @ ReadError { .. }) => tracing::warn!("{error}"),
                }
            });
        if let Err(error) = reading {
            tracing::warn!(%error, "no thread to read the journal");
        }
        loop {
            let next = tokio::select! {
                next = found.recv() => next,
                () = lines.closed() => None,
            };
            let Some(entry) = next else { break };
            if !send(lines, entry.seq, entry.line.into()).await {
                return None;
            }
        }
        Some(newest.load(Ordering::Relaxed))
    }

    async fn send_live(
        &self,
        mut live: broadcast::Receiver<Live>,
        mut last: u64,
        lines: &mpsc::Sender<(u64, Arc<str>)>,
    ) {
        loop {
            let next = tokio::select! {
                next = live.recv() => next,
                () = lines.closed() => return,
            };
            match next {
                Ok(Live { seq, .. }) if seq <= last => {}
                Ok(Live { seq, line }) => {
                    // What is neither on disk nor came live: the reader lagged, or the disk did.
                    let missed = seq - last - 1;
                    if missed > 0 && !send(lines, seq - 1, self.gap(missed, seq - 1)).await {
                        return;
                    }
                    last = seq;
                    if !send(lines, seq, line).await {
                        return;
                    }
                }
                Err(RecvError::Lagged(_)) => {} // The next tells by its number how many.
                Err(RecvError::Closed) => return,
            }
        }
    }

    fn gap(&self, lost: u64, seq: u64) -> Arc<str> {
        let stamp = Stamp { seq, node: &self.inner.settings.node, boot: &self.inner.boot };
        Record::gap(lost).line(&stamp).into()
    }
}

/// Whether the reader took it in time.
async fn send(lines: &mpsc::Sender<(u64, Arc<str>)>, seq: u64, line: Arc<str>) -> bool {
    lines.send_timeout((seq, line), SLOW_READER).await.is_ok()
}
