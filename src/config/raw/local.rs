//! What each node may have for itself.

use std::net::SocketAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::leaf::{Kind, Size};

/// `[admin]`
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct RawAdmin {
    /// Unix socket for operators; its file permissions are the access control.
    #[schemars(extend("x-kind" = Kind::Path))]
    pub socket: PathBuf,
    /// `IP:port` of the read-only HTTP pages: health, status, metrics.
    #[schemars(extend("x-kind" = Kind::Socket))]
    pub listen: SocketAddr,
}

impl Default for RawAdmin {
    fn default() -> Self {
        Self {
            socket: PathBuf::from("/run/vipward/admin.sock"),
            listen: SocketAddr::from(([127, 0, 0, 1], 7401)),
        }
    }
}

/// `[state]`
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct RawState {
    /// Directory of the terms and the journal.
    #[schemars(extend("x-kind" = Kind::Path))]
    pub directory: PathBuf,
    /// When the journal is rotated.
    #[schemars(extend("x-minimum" = "1MiB", "x-maximum" = "16GiB"))]
    pub journal_size: Size,
}

impl Default for RawState {
    fn default() -> Self {
        Self { directory: PathBuf::from("/var/lib/vipward"), journal_size: Size::from_mib(64) }
    }
}

/// `[telemetry]`
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct RawTelemetry {
    /// The form of log lines.
    pub log: RawLog,
    /// The least level that is logged.
    pub level: RawLevel,
    /// Where traces and metrics are sent (OTLP over gRPC); nowhere when absent.
    #[schemars(extend("x-kind" = Kind::Url))]
    pub otlp_endpoint: Option<String>,
}

impl Default for RawTelemetry {
    fn default() -> Self {
        Self { log: RawLog::Json, level: RawLevel::Info, otlp_endpoint: None }
    }
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::config) enum RawLog {
    /// One JSON object a line.
    Json,
    /// For reading.
    Text,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::config) enum RawLevel {
    /// Only what failed.
    Error,
    /// And what is odd.
    Warn,
    /// And what happened.
    Info,
    /// And why.
    Debug,
    /// Everything.
    Trace,
}
