//! The thread that owns the file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::Duration;

use super::read::{CURRENT, PREVIOUS};
use super::record::Stamp;
use super::{Lost, Record, Settings};

/// How often to tell of lost records, and to sync, when nothing is written.
const IDLE: Duration = Duration::from_secs(1);

/// What the thread is told.
pub(super) enum Item {
    /// Write a line, after a gap for those that found the queue full.
    Line { after: Option<Lost>, seq: u64, line: Arc<str> },
    /// Say when all before is on disk.
    Flush(SyncSender<()>),
}

pub(super) struct Writer {
    directory: PathBuf,
    node: String,
    boot: String,
    /// Half of the journal: one file.
    limit: u64,
    file: Option<Open>,
    /// Records that could not be written, since the last that could.
    lost: Option<Lost>,
    failing: bool,
    unsynced: bool,
}

/// The current file and the length of its whole lines.
struct Open {
    file: File,
    length: u64,
}

impl Writer {
    pub(super) fn new(settings: &Settings, boot: &str) -> Self {
        Self {
            directory: settings.directory.clone(),
            node: settings.node.clone(),
            boot: boot.to_owned(),
            limit: settings.size / 2,
            file: None,
            lost: None,
            failing: false,
            unsynced: false,
        }
    }

    pub(super) fn run(mut self, items: &Receiver<Item>) {
        loop {
            match items.recv_timeout(IDLE) {
                Ok(Item::Line { after, seq, line }) => {
                    if let Some(Lost { count, last_seq }) = after {
                        let before = self.lost.map_or(0, |lost| lost.count);
                        self.lost = Some(Lost { count: before + count, last_seq });
                    }
                    self.write(seq, &line);
                }
                Ok(Item::Flush(done)) => {
                    self.sync();
                    // Whoever asked may have lost patience.
                    let _ = done.try_send(());
                }
                Err(RecvTimeoutError::Timeout) => {
                    if self.lost.is_some() && self.write_gap().is_ok() {
                        self.recovered();
                    }
                    self.sync();
                }
                Err(RecvTimeoutError::Disconnected) => return self.sync(),
            }
        }
    }

    fn write(&mut self, seq: u64, line: &str) {
        match self.write_gap().and_then(|()| self.append(line)) {
            Ok(()) => self.recovered(),
            Err(error) => {
                self.lost = Lost::add(self.lost, seq);
                if !self.failing {
                    self.failing = true;
                    let directory = self.directory.display();
                    tracing::error!(%error, "the journal in {directory} cannot be written; \
                         its records are lost until there is room and permission");
                }
            }
        }
    }

    fn recovered(&mut self) {
        if self.failing {
            self.failing = false;
            tracing::info!("the journal can be written again");
        }
    }

    /// Names the records lost so far, under the number of the last of them.
    fn write_gap(&mut self) -> io::Result<()> {
        let Some(Lost { count, last_seq }) = self.lost else { return Ok(()) };
        let stamp = Stamp { seq: last_seq, node: &self.node, boot: &self.boot };
        let line = Record::gap(count).line(&stamp);
        self.append(&line)?;
        self.lost = None;
        Ok(())
    }

    /// Appends a whole line or, on failure, nothing.
    fn append(&mut self, line: &str) -> io::Result<()> {
        let mut open = match self.file.take() {
            Some(open) => open,
            None => self.open()?,
        };
        let added = line.len() as u64 + 1;
        if open.length > 0 && open.length + added > self.limit {
            fs::rename(self.directory.join(CURRENT), self.directory.join(PREVIOUS))?;
            open = self.open()?;
        }
        let mut bytes = Vec::with_capacity(line.len() + 1);
        bytes.extend_from_slice(line.as_bytes());
        bytes.push(b'\n');
        if let Err(error) = open.file.write_all(&bytes) {
            // Cut what was written of the line; if that fails too, opening again ends it.
            let _ = open.file.set_len(open.length);
            return Err(error);
        }
        open.length += added;
        self.file = Some(open);
        self.unsynced = true;
        Ok(())
    }

    fn open(&self) -> io::Result<Open> {
        let path = self.directory.join(CURRENT);
        let mut file =
            OpenOptions::new().read(true).append(true).create(true).mode(0o640).open(path)?;
        let mut length = file.seek(SeekFrom::End(0))?;
        if length > 0 {
            // A process that died in the middle of a line left it open.
            let mut last = [0];
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                file.write_all(b"\n")?;
                length += 1;
            }
        }
        Ok(Open { file, length })
    }

    fn sync(&mut self) {
        if let Some(open) = self.file.as_ref().filter(|_| self.unsynced) {
            // What cannot be synced now may still reach the disk; there is nothing to repeat.
            let _ = open.file.sync_data();
            self.unsynced = false;
        }
    }
}
