//! The file: terms under their groups' names, so that a changed order of groups mixes up none.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use vipward_core::{Admission, Digest, Durable, NodeId, Reference, ReferenceVersion, Term};

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
    /// What a node's configuration must be before it may lead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reference: Option<ReferenceState>,
    /// What operators admitted instead, by node.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    admissions: BTreeMap<String, AdmissionState>,
    /// Whether an operator took this node out of candidacy.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    maintenance: bool,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
struct ReferenceState {
    term: u64,
    count: u64,
    digest: String,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
struct AdmissionState {
    term: u64,
    count: u64,
    digest: String,
    over: String,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
struct GroupState {
    /// The highest term known to have been elected.
    elected: u64,
}

impl Default for StateFile {
    fn default() -> Self {
        Self {
            version: VERSION,
            ceiling: 0,
            longest_promise_ns: 0,
            groups: BTreeMap::new(),
            reference: None,
            admissions: BTreeMap::new(),
            maintenance: false,
        }
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

    /// What the file says, in the core's words: `groups` and `nodes` are the names of its ids.
    pub(super) fn durable(&self, groups: &[String], nodes: &[String]) -> Durable {
        let elected = |name| self.groups.get(name).map_or(Term(0), |group| Term(group.elected));
        let admission = |(node, name): (NodeId, &String)| {
            let state = self.admissions.get(name)?;
            let version = ReferenceVersion { term: Term(state.term), count: state.count };
            let (digest, over) = (state.digest.parse().ok()?, state.over.parse().ok()?);
            Some(Admission { version, node, digest, over })
        };
        let reference = self.reference.as_ref().and_then(|state| {
            let version = ReferenceVersion { term: Term(state.term), count: state.count };
            Some(Reference { version, digest: state.digest.parse::<Digest>().ok()? })
        });
        Durable {
            ceiling: Term(self.ceiling),
            elected: groups.iter().map(elected).collect(),
            longest_promise: Duration::from_nanos(self.longest_promise_ns),
            reference,
            admissions: (0..).map(NodeId).zip(nodes).filter_map(admission).collect(),
            maintenance: self.maintenance,
        }
    }

    /// This content with what is new for `groups` and `nodes`; what it says of others stays.
    pub(super) fn with(&self, durable: &Durable, groups: &[String], nodes: &[String]) -> Self {
        let mut all = self.groups.clone();
        let named = groups.iter().zip(&durable.elected);
        all.extend(named.map(|(name, term)| (name.clone(), GroupState { elected: term.0 })));
        let longest = u64::try_from(durable.longest_promise.as_nanos()).unwrap_or(u64::MAX);
        let admission = |admission: &Admission| {
            let Admission { version, node, digest, over } = admission;
            let state = AdmissionState {
                term: version.term.0,
                count: version.count,
                digest: digest.to_string(),
                over: over.to_string(),
            };
            Some((nodes.get(node.index())?.clone(), state))
        };
        Self {
            version: VERSION,
            ceiling: durable.ceiling.0,
            longest_promise_ns: longest,
            groups: all,
            reference: durable.reference.map(|Reference { version, digest }| ReferenceState {
                term: version.term.0,
                count: version.count,
                digest: digest.to_string(),
            }),
            admissions: durable.admissions.iter().filter_map(admission).collect(),
            maintenance: durable.maintenance,
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
