//! The record of every call that could change something.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use vipward_core::Timestamp;

/// How many calls are remembered.
const ENTRIES_MAX: usize = 10_000;

/// One call of an action that changes something; dry runs are not among them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// Its place among all such calls since the start.
    pub sequence: u64,
    /// The id that the caller was told, or would have been.
    pub request_id: String,
    /// Who called.
    pub caller: Caller,
    /// The action.
    pub action: String,
    /// Its parameters as they came.
    pub parameters: BTreeMap<String, String>,
    /// When the call came, on the machine's boot-time clock.
    pub arrived: Timestamp,
    /// When it took effect, or was found to have none.
    pub landed: Option<Timestamp>,
    /// When it was answered.
    pub answered: Option<Timestamp>,
    /// What became of it.
    pub outcome: Outcome,
    /// The error code that the caller was told, `ok` for success, or nothing yet.
    pub answer: Option<String>,
}

/// Who makes a call.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Caller {
    /// The access key id of the signature, which is not verified.
    pub access_key: Option<String>,
    /// The address that the call came from.
    pub source: Option<IpAddr>,
}

/// What became of a call, whatever the caller was told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// It will land.
    Pending,
    /// It took effect.
    Done {
        /// The association that it made.
        association: Option<String>,
    },
    /// It was refused, and has no effect.
    Refused {
        /// The error code.
        code: String,
    },
    /// A fault swallowed it: it has no effect.
    Lost,
}

/// The newest calls, oldest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record {
    entries: VecDeque<Entry>,
    next: u64,
}

impl Record {
    /// Writes a new entry, and gives the sequence number to name it by.
    pub(crate) fn push(&mut self, mut entry: Entry) -> u64 {
        let sequence = self.next;
        self.next += 1;
        entry.sequence = sequence;
        if self.entries.len() >= ENTRIES_MAX {
            self.entries.pop_front();
        }
        self.entries.push_back(entry);
        sequence
    }

    /// The entry of that number, unless it was forgotten.
    pub(crate) fn entry(&mut self, sequence: u64) -> Option<&mut Entry> {
        let first = self.entries.front()?.sequence;
        let place = usize::try_from(sequence.checked_sub(first)?).ok()?;
        self.entries.get_mut(place)
    }

    /// All that is remembered.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }
}
