//! Reading the journal's files, for people and when no daemon answers.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::Mark;

/// The file that grows.
pub(super) const CURRENT: &str = "journal.jsonl";
/// The file before it.
pub(super) const PREVIOUS: &str = "journal.jsonl.1";

/// No line is longer; what is, is not ours.
const LONGEST_LINE: usize = 1 << 20;
/// How much of a file's end is read for its last number.
const TAIL: u64 = 256 << 10;

/// From when on records are wanted.
pub type Since = Timestamp;

/// A `--since` that is neither a time nor a duration.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is neither a time (2026-01-01T00:00:00Z) nor a duration before now (10m, 2h)")]
pub struct SinceError(String);

/// The journal cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the journal {path} cannot be read: {source}; check [state] directory and permissions")]
pub struct ReadError {
    path: PathBuf,
    source: io::Error,
}

/// A point in time, or so long before now.
///
/// # Errors
///
/// [`SinceError`] for anything else.
pub fn parse_since(text: &str) -> Result<Since, SinceError> {
    let wrong = || SinceError(text.to_owned());
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    let ago = humantime::parse_duration(text).map_err(|_| wrong())?;
    let ago = SignedDuration::try_from(ago).map_err(|_| wrong())?;
    Timestamp::now().checked_sub(ago).map_err(|_| wrong())
}

/// One record as read.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its number.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// The life of the daemon that wrote it.
    pub boot: String,
    /// The line as written, without its end.
    pub line: String,
}

impl Entry {
    /// Takes a line apart; `None` if it is not a record.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        #[derive(Deserialize)]
        struct Head {
            seq: u64,
            at: String,
            #[serde(default)]
            boot: String,
        }
        let Head { seq, at, boot } = serde_json::from_str(line).ok()?;
        Some(Self { seq, at: at.parse().ok()?, boot, line: line.to_owned() })
    }

    /// Where a reader is that has it.
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark { seq: self.seq, boot: self.boot.clone() }
    }

    /// The record's fields.
    #[must_use]
    pub fn fields(&self) -> Map<String, Value> {
        serde_json::from_str(&self.line).unwrap_or_default()
    }
}

/// The records on disk, oldest first. Lines that are no records are passed over: a crash may
/// have torn one.
///
/// # Errors
///
/// [`ReadError`] if a file is there and cannot be opened, or if there is none at all.
pub fn read(
    directory: &Path,
    since: Option<Since>,
) -> Result<impl Iterator<Item = Entry> + use<>, ReadError> {
    // Opened before the first is read, so that a rotation meanwhile loses nothing.
    let current = open(&directory.join(CURRENT))?;
    let previous = open(&directory.join(PREVIOUS))?;
    if current.is_none() && previous.is_none() {
        let path = directory.join(CURRENT);
        return Err(ReadError { path, source: io::ErrorKind::NotFound.into() });
    }
    // Both names lead to one file if it was renamed between the two.
    let previous = previous
        .filter(|file| current.as_ref().is_none_or(|current| identity(current) != identity(file)));
    let lines = previous.into_iter().chain(current).flat_map(lines);
    let entries = lines.filter_map(|line| Entry::parse(&line));
    Ok(entries.filter(move |entry| since.is_none_or(|since| entry.at >= since)))
}

fn identity(file: &File) -> Option<(u64, u64)> {
    let metadata = file.metadata().ok()?;
    Some((metadata.dev(), metadata.ino()))
}

fn open(path: &Path) -> Result<Option<File>, ReadError> {
    // Looked at before it is opened: a pipe would wait for a writer, a device never ends.
    let opened = fs::metadata(path).and_then(|metadata| match metadata.is_file() {
        true => File::open(path),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file")),
    });
    match opened {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ReadError { path: path.to_owned(), source }),
    }
}

/// The lines of a file, up to its end or the first that cannot be read.
fn lines(file: File) -> impl Iterator<Item = String> {
    let mut reader = BufReader::new(file);
    std::iter::from_fn(move || {
        let mut line = Vec::new();
        let limit = LONGEST_LINE as u64;
        match io::Read::take(&mut reader, limit).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(String::from_utf8_lossy(line.trim_ascii_end()).into_owned()),
        }
    })
}

/// The number of the last record on disk.
pub(super) fn last_seq(directory: &Path) -> Option<u64> {
    [CURRENT, PREVIOUS].iter().find_map(|name| {
        let mut file = open(&directory.join(name)).ok()??;
        let length = file.metadata().ok()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL))).ok()?;
        lines(file).filter_map(|line| Entry::parse(&line)).map(|entry| entry.seq).max()
    })
}
