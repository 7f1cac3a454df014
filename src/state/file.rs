//! The file: terms under their groups' names, so that a changed order of groups mixes up none.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use vipward_core::{Durable, Term};

/// The file's name.
pub(super) const NAME: &str = "state.json";
const NEW: &str = "state.json.new";

/// The version written, and the newest one read.
const VERSION: u32 = 1;

/// The file's content.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct StateFile {
    version: u32,
    /// No term above was used or promised.
    ceiling: u64,
    /// Nanoseconds: exact, as it is compared.
    longest_promise_ns: u64,
    groups: BTreeMap<String, GroupState>,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
struct GroupState {
    /// The highest term known to have been elected.
    elected: u64,
}

impl Default for StateFile {
    fn default() -> Self {
        Self { version: VERSION, ceiling: 0, longest_promise_ns: 0, groups: BTreeMap::new() }
    }
}

impl StateFile {
    /// Reads the content; the error is for a person.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Head {
            version: u32,
        }
        let Head { version } = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
        if version != VERSION {
            return Err(format!("version {version}, where {VERSION} is known"));
        }
        serde_json::from_slice(bytes).map_err(|e| e.to_string())
    }

    pub(super) fn durable(&self, groups: &[String]) -> Durable {
        let elected = |name| self.groups.get(name).map_or(Term(0), |group| Term(group.elected));
        Durable {
            ceiling: Term(self.ceiling),
            elected: groups.iter().map(elected).collect(),
            longest_promise: Duration::from_nanos(self.longest_promise_ns),
        }
    }

    /// This content with new terms for `groups`; what it says of others stays.
    pub(super) fn with(&self, durable: &Durable, groups: &[String]) -> Self {
        let mut all = self.groups.clone();
        let named = groups.iter().zip(&durable.elected);
        all.extend(named.map(|(name, term)| (name.clone(), GroupState { elected: term.0 })));
        let longest = u64::try_from(durable.longest_promise.as_nanos()).unwrap_or(u64::MAX);
        Self {
            version: VERSION,
            ceiling: durable.ceiling.0,
            longest_promise_ns: longest,
            groups: all,
        }
    }

    /// Replaces the file as a whole: after a power cut there is the old one or the new one.
    pub(super) fn write(&self, directory: &Path) -> io::Result<()> {
        let new = directory.join(NEW);
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o640).open(&new)?;
        let mut bytes = serde_json::to_vec_pretty(self)?;
        bytes.push(b'\n');
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&new, directory.join(NAME))?;
        File::open(directory)?.sync_all()
    }
}
