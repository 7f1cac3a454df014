//! Where a reader is: the number of its last record, and the life of the daemon that wrote it. A
//! daemon that is killed may lose the last lines that readers have; the next life uses their
//! numbers again.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use super::{Entry, read};

/// The last record that a reader has. Written as `SEQ-BOOT`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Mark {
    /// Its number.
    pub seq: u64,
    /// The life that wrote it.
    pub boot: String,
}

/// A text that is no [`Mark`].
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no record's number and boot")]
pub struct MarkError(String);

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.seq, self.boot)
    }
}

impl FromStr for Mark {
    type Err = MarkError;

    fn from_str(text: &str) -> Result<Self, MarkError> {
        let wrong = || MarkError(text.to_owned());
        let (seq, boot) = text.trim().split_once('-').ok_or_else(wrong)?;
        Ok(Self { seq: seq.parse().map_err(|_| wrong())?, boot: boot.to_owned() })
    }
}

/// Tells which records, in the order of the journal, come after a mark.
pub(super) struct After {
    /// A life of which nothing is on disk any more is older than all that is.
    mark: Option<Mark>,
    /// Whether a record of the mark's life has passed: what is not of it comes later.
    met: bool,
}

impl After {
    pub(super) fn new(directory: &Path, mark: Option<Mark>) -> Self {
        let is_there = |mark: &Mark| {
            read(directory, None).is_ok_and(|mut all| all.any(|entry| entry.boot == mark.boot))
        };
        Self { mark: mark.filter(is_there), met: false }
    }

    pub(super) fn is_new(&mut self, entry: &Entry) -> bool {
        match &self.mark {
            None => true,
            Some(mark) if entry.boot == mark.boot => {
                self.met = true;
                entry.seq > mark.seq
            }
            Some(_) => self.met,
        }
    }
}
