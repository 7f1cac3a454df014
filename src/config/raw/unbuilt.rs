//! Tables whose part is not built yet. The format is whole from the first version.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::leaf::{Command, Kind, Span};

/// `security.tls`
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct RawTls {
    /// This node's certificate.
    #[schemars(required, extend("x-kind" = Kind::Path))]
    pub cert: Option<PathBuf>,
    /// Its private key.
    #[schemars(required, extend("x-kind" = Kind::Path))]
    pub key: Option<PathBuf>,
    /// The authority that signed the peers' certificates.
    #[schemars(required, extend("x-kind" = Kind::Path))]
    pub ca: Option<PathBuf>,
}

/// `[arbiter]`
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct RawArbiter {
    /// Where the record is kept.
    #[schemars(required)]
    pub kind: Option<RawArbiterKind>,
    /// The bucket, for S3.
    pub bucket: Option<String>,
    /// The table, for DynamoDB.
    pub table: Option<String>,
    /// How long the record's vote lasts.
    #[schemars(extend("x-minimum" = "1s", "x-maximum" = "1min"))]
    pub lease: Option<Span>,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum RawArbiterKind {
    /// An object in S3.
    S3,
    /// An item in DynamoDB.
    DynamoDb,
}

/// `[consistency]`
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct RawConsistency {
    /// Files to compare, as shell patterns.
    pub files: Vec<String>,
    /// Commands whose output to compare.
    pub commands: Vec<Command>,
    /// Regular expressions of lines to drop before hashing: what must differ between nodes.
    pub ignore: Vec<String>,
    /// How it is known that a file is in use, and not only on disk.
    pub applied: Option<RawApplied>,
    /// Files of which only the hash travels. Private keys never do.
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
