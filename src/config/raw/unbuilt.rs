//! Tables whose part is not built yet. The format is whole from the first version.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::leaf::{Kind, Span};

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
