//! The journal as a stream: what is on disk, then what happens.

use std::sync::Arc;
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
    /// Lines as asked for, each once and in order. The channel closes at the end, or when the
    /// reader is too slow. Needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`SinceError`] if `since` is not understood.
    pub fn stream(&self, query: &Query) -> Result<mpsc::Receiver<Arc<str>>, SinceError> {
        let since = query.since.as_deref().map(parse_since).transpose()?;
        // Subscribed first: what happens while the disk is read comes after it.
        let live = query.follow.then(|| self.inner.live.subscribe());
        let history = since.is_some() || !query.follow;
        let (lines, reader) = mpsc::channel(AHEAD);
        let journal = self.clone();
        tokio::spawn(async move {
            let mut newest = 0;
            if history {
                newest = journal.send_history(since, &lines).await;
            }
            if let Some(live) = live {
                journal.send_live(live, newest, &lines).await;
            }
        });
        Ok(reader)
    }

    /// Sends what is on disk; returns the last number sent.
    async fn send_history(
        &self,
        since: Option<super::Since>,
        lines: &mpsc::Sender<Arc<str>>,
    ) -> u64 {
        let (entries, mut found) = mpsc::channel::<Entry>(AHEAD);
        let journal = self.clone();
        // A thread of its own: a stuck disk holds up this reader and nothing else.
        let reading =
            std::thread::Builder::new().name("journal-read".to_owned()).spawn(move || {
                let _ = journal.flush(FLUSH);
                match read(&journal.inner.settings.directory, since) {
                    Ok(mut records) => {
                        let _ = records.try_for_each(|entry| entries.blocking_send(entry));
                    }
                    Err(error @ ReadError { .. }) => tracing::warn!("{error}"),
                }
            });
        if let Err(error) = reading {
            tracing::warn!(%error, "no thread to read the journal");
        }
        let mut newest = 0;
        loop {
            let next = tokio::select! {
                next = found.recv() => next,
                () = lines.closed() => None,
            };
            let Some(entry) = next else { break };
            newest = entry.seq;
            if !send(lines, entry.line.into()).await {
                break;
            }
        }
        newest
    }

    async fn send_live(
        &self,
        mut live: broadcast::Receiver<Live>,
        newest: u64,
        lines: &mpsc::Sender<Arc<str>>,
    ) {
        let mut last = newest;
        loop {
            let next = tokio::select! {
                next = live.recv() => next,
                () = lines.closed() => return,
            };
            let line = match next {
                Ok(Live { seq, .. }) if seq <= newest => continue,
                Ok(Live { seq, line }) => {
                    last = seq;
                    line
                }
                Err(RecvError::Lagged(lost)) => {
                    let node = &self.inner.settings.node;
                    let stamp = Stamp { seq: last + lost, node, boot: &self.inner.boot };
                    Record::gap(lost).line(&stamp).into()
                }
                Err(RecvError::Closed) => return,
            };
            if !send(lines, line).await {
                return;
            }
        }
    }
}

/// Whether the reader took it in time.
async fn send(lines: &mpsc::Sender<Arc<str>>, line: Arc<str>) -> bool {
    lines.send_timeout(line, SLOW_READER).await.is_ok()
}
