//! What must be equal on all nodes beside this file.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::leaf::{Command, Kind};

/// `[consistency]`
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct RawConsistency {
    /// Files to compare, as shell patterns: content, mode, owner and, of links, where they lead.
    #[schemars(length(max = 64))]
    pub files: Vec<String>,
    /// Commands whose output to compare.
    #[schemars(length(max = 16))]
    pub commands: Vec<Command>,
    /// Packages whose installed version to compare, by dpkg or rpm.
    #[schemars(length(max = 16))]
    pub packages: Vec<String>,
    /// Regular expressions of lines to drop before hashing: what must differ between nodes.
    /// `{{node}}` stands for this node's name, `{{link:0}}` for the address of its first link.
    #[schemars(length(max = 64))]
    pub ignore: Vec<String>,
    /// How it is known that a file is in use, and not only on disk.
    pub applied: Option<RawApplied>,
    /// Files of which only the hash travels. Private keys never do.
    #[schemars(length(max = 64))]
    pub digest_only: Vec<String>,
    /// Whether a quarantined node may lead when nobody else is left.
    pub last_resort: bool,
    /// What a node that differs does about it.
    pub repair: RawRepair,
    /// Run before fetched files are applied.
    pub pull_test: Option<Command>,
    /// Run after they were.
    pub pull_reload: Option<Command>,
}

/// `consistency.applied`
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct RawApplied {
    /// The balancer's: a file newer than its last load or reload counts as different.
    #[schemars(required, extend("x-kind" = Kind::Path))]
    pub pid_file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::config) enum RawRepair {
    /// Nothing.
    #[default]
    Off,
    /// Fetches the master's files, tests and applies them.
    Pull,
}
