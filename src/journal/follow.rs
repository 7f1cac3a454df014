//! The journal as a stream: what is on disk, then what happens.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc};

use super::mark::{After, Mark};
use super::read::{Entry, ReadError, SinceError, parse_since, read};
use super::record::Stamp;
use super::{Journal, Live, Record};

/// What a reader wants.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// From when on: a time or a duration. Without it: everything, or with `follow` nothing,
    /// that is on disk.
    pub since: Option<String>,
    /// After which record: where a reader that was cut off goes on.
    pub after: Option<Mark>,
    /// Whether to go on with what happens.
    pub follow: bool,
}

/// A line, after the text of the [`Mark`] where its reader is with it.
pub type Sent = (String, Arc<str>);

/// Lines that wait for a slow reader.
const AHEAD: usize = 64;
/// How long a reader may be slower than the journal before it is dropped.
const SLOW_READER: Duration = Duration::from_secs(30);
/// How long to wait for the disk before reading what it has.
const FLUSH: Duration = Duration::from_secs(1);

impl Journal {
    /// Lines as asked for, each once and in order. The channel closes at the
    /// end, or when the reader is too slow. Needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`SinceError`] if `since` is not understood.
    pub fn stream(&self, query: &Query) -> Result<mpsc::Receiver<Sent>, SinceError> {
        let since = query.since.as_deref().map(parse_since).transpose()?;
        // Subscribed first: what happens while the disk is read comes after it.
        let (live, written) = self.subscribe();
        let history = since.is_some() || query.after.is_some() || !query.follow;
        let (after, follow) = (query.after.clone(), query.follow);
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
        after: Option<Mark>,
        lines: &mpsc::Sender<Sent>,
    ) -> Option<u64> {
        let (entries, mut found) = mpsc::channel::<Entry>(AHEAD);
        // What the reader has of this life need not be on disk.
        let has = after.as_ref().filter(|mark| mark.boot == self.inner.boot);
        let newest = Arc::new(AtomicU64::new(has.map_or(0, |mark| mark.seq)));
        let (journal, last_found) = (self.clone(), Arc::clone(&newest));
        // A thread of its own: a stuck disk holds up this reader and nothing else.
        let reading =
            std::thread::Builder::new().name("journal-read".to_owned()).spawn(move || {
                let _ = journal.flush(FLUSH);
                let directory = &journal.inner.settings.directory;
                match read(directory, None) {
                    Ok(records) => {
                        let mut after = After::new(directory, after);
                        let wanted = |entry: &Entry| {
                            last_found.fetch_max(entry.seq, Ordering::Relaxed);
                            after.is_new(entry) && since.is_none_or(|since| entry.at >= since)
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
            if !send(lines, (entry.mark().to_string(), entry.line.into())).await {
                return None;
            }
        }
        Some(newest.load(Ordering::Relaxed))
    }

    async fn send_live(
        &self,
        mut live: broadcast::Receiver<Live>,
        mut last: u64,
        lines: &mpsc::Sender<Sent>,
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
                    if missed > 0 && !send(lines, self.gap(missed, seq - 1)).await {
                        return;
                    }
                    last = seq;
                    if !send(lines, (self.mark(seq), line)).await {
                        return;
                    }
                }
                Err(RecvError::Lagged(_)) => {} // The next tells by its number how many.
                Err(RecvError::Closed) => return,
            }
        }
    }

    fn gap(&self, lost: u64, seq: u64) -> Sent {
        let stamp = Stamp { seq, node: &self.inner.settings.node, boot: &self.inner.boot };
        (self.mark(seq), Record::gap(lost).line(&stamp).into())
    }

    fn mark(&self, seq: u64) -> String {
        Mark { seq, boot: self.inner.boot.clone() }.to_string()
    }
}

/// Whether the reader took it in time.
async fn send(lines: &mpsc::Sender<Sent>, line: Sent) -> bool {
    lines.send_timeout(line, SLOW_READER).await.is_ok()
}
