//! Log lines go through a bounded queue to a thread, because a log sink can hang for minutes.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// Lines that may wait.
const QUEUE: usize = 4096;

/// How often a full queue is looked at again.
const POLL: Duration = Duration::from_millis(5);

enum Item {
    Line(Vec<u8>),
    Flush(SyncSender<()>),
}

/// The queue's sending end. Never blocks.
#[derive(Clone)]
pub(super) struct LogQueue {
    sender: SyncSender<Item>,
    dropped: Arc<AtomicU64>,
}

impl LogQueue {
    /// Starts the thread that writes to `sink`.
    pub(super) fn start(sink: impl Write + Send + 'static) -> io::Result<Self> {
        let (sender, items) = mpsc::sync_channel(QUEUE);
        let dropped = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&dropped);
        let thread = std::thread::Builder::new().name("log".to_owned());
        thread.spawn(move || write_all(sink, &items, &count))?;
        Ok(Self { sender, dropped })
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Waits until what was logged so far is written, at most `patience`.
    pub(super) fn flush(&self, patience: Duration) {
        let (done, flushed) = mpsc::sync_channel(1);
        let mut left = patience;
        // A full queue is given the same patience.
        while self.sender.try_send(Item::Flush(done.clone())).is_err() {
            if left.is_zero() {
                return;
            }
            std::thread::sleep(POLL);
            left = left.saturating_sub(POLL);
        }
        // A sink that hangs keeps its lines.
        let _ = flushed.recv_timeout(left);
    }
}

fn write_all(mut sink: impl Write, items: &Receiver<Item>, dropped: &AtomicU64) {
    let mut told = 0;
    while let Ok(item) = items.recv() {
        // A sink that fails (a closed pipe) has nobody to be told to.
        match item {
            Item::Line(line) => {
                let _ = sink.write_all(&line);
            }
            Item::Flush(done) => {
                let _ = sink.flush();
                let _ = done.try_send(());
            }
        }
        let lost = dropped.load(Ordering::Relaxed);
        if lost > told {
            let _ = writeln!(sink, "{{\"level\":\"WARN\",\"log_lines_dropped\":{}}}", lost - told);
            told = lost;
        }
    }
}

impl<'a> MakeWriter<'a> for LogQueue {
    type Writer = LogLine<'a>;

    fn make_writer(&'a self) -> LogLine<'a> {
        LogLine(self)
    }
}

/// Takes one line: the formatter writes each event in one call.
pub(super) struct LogLine<'a>(&'a LogQueue);

impl Write for LogLine<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.0.sender.try_send(Item::Line(line.to_vec())).is_err() {
            self.0.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
