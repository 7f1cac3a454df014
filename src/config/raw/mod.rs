//! The file as written: one struct a table. Names, descriptions, bounds and kinds of value stand
//! here once; the JSON Schema is made of them, and `read` checks a file against that schema.
//!
//! Reading, a value that is wrong is reported and left out, so that the rest can still be
//! checked. That is why everything here is optional or has a default; what must be there says
//! `required`.

mod cluster;
mod consistency;
mod hooks;
mod local;
mod unbuilt;

use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::leaf::{Command, Kind, Span};

pub(super) use cluster::*;
pub(super) use consistency::*;
pub(super) use hooks::*;
pub(super) use local::*;
pub(super) use unbuilt::*;

/// The configuration of a vipward cluster: the same file on every node.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "vipward")]
pub(super) struct RawConfig {
    /// Name of the cluster. Nodes of another cluster are refused.
    #[schemars(required, extend("x-kind" = Kind::Name))]
    pub cluster: Option<String>,
    /// Which of `[[nodes]]` this machine is: a name, or "auto" for the one whose `instance_id` or
    /// hostname is this machine's. The one key that may differ between the nodes' files.
    #[schemars(extend("x-kind" = Kind::Name))]
    pub node: String,
    /// The protocol's durations.
    pub timing: RawTiming,
    /// How nodes recognise each other.
    pub security: RawSecurity,
    /// Every voter of the cluster: balancers and witnesses.
    #[schemars(required, length(min = 1, max = 9))]
    pub nodes: Option<Vec<RawNode>>,
    /// What moves together. Several groups with different priorities make active-active.
    #[schemars(required, length(min = 1, max = 64))]
    pub groups: Option<Vec<RawGroup>>,
    /// The cloud that holds the addresses.
    pub cloud: RawCloud,
    /// Budgets, so that a fault cannot make addresses fly back and forth.
    pub limits: RawLimits,
    /// A third vote in storage, for two balancers without a third voter. Not in this version.
    pub arbiter: Option<RawArbiter>,
    /// Health checks, run by every balancer of itself.
    #[schemars(length(max = 64))]
    pub checks: Vec<RawCheck>,
    /// What must be equal on all nodes beside this file, for a node to be elected.
    pub consistency: Option<RawConsistency>,
    /// Commands run when this node's role in a group changes, or an alarm is raised.
    pub hooks: Option<RawHooks>,
    /// Where operators and tools ask.
    pub admin: RawAdmin,
    /// What this node keeps on disk.
    pub state: RawState,
    /// What this node tells of itself.
    pub telemetry: RawTelemetry,
}

impl Default for RawConfig {
    fn default() -> Self {
        Self {
            cluster: None,
            node: "auto".to_owned(),
            timing: RawTiming::default(),
            security: RawSecurity::default(),
            nodes: None,
            groups: None,
            cloud: RawCloud::default(),
            limits: RawLimits::default(),
            arbiter: None,
            checks: Vec::new(),
            consistency: None,
            hooks: None,
            admin: RawAdmin::default(),
            state: RawState::default(),
            telemetry: RawTelemetry::default(),
        }
    }
}

/// `[cloud]`
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawCloud {
    /// Who is asked to move addresses.
    pub provider: RawProvider,
    /// The region. Read from the AWS SDK's own sources, instance metadata last, when absent.
    #[schemars(length(min = 1))]
    pub region: Option<String>,
    /// The API's URL: the AWS SDK's own rules when absent.
    #[schemars(extend("x-kind" = Kind::Url))]
    pub endpoint_url: Option<String>,
    /// How long one call may take.
    #[schemars(extend("x-minimum" = "100ms", "x-maximum" = "1min"))]
    pub call_timeout: Span,
    /// How addresses are claimed.
    pub claim: RawClaim,
}

impl Default for RawCloud {
    fn default() -> Self {
        Self {
            provider: RawProvider::Aws,
            region: None,
            endpoint_url: None,
            call_timeout: Span::from_secs(5),
            claim: RawClaim::Fast,
        }
    }
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RawProvider {
    /// Amazon EC2, or anything that speaks its API at `endpoint_url`.
    Aws,
    /// A `vipward simulated-cloud` at `endpoint_url`.
    Simulated,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RawClaim {
    /// One unconditional call, repaired if it lands late.
    Fast,
    /// One call more, refused if it lands late.
    Fenced,
}

/// `[limits]`
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawLimits {
    /// Moves of one group in an hour; beyond it an alarm, and only a dead master moves it.
    #[schemars(range(min = 1, max = 1000))]
    pub moves_per_hour: u32,
    /// Repairs of one address in a minute; beyond it an alarm instead of a fight.
    #[schemars(range(min = 1, max = 60))]
    pub repairs: u32,
}

impl Default for RawLimits {
    fn default() -> Self {
        Self { moves_per_hour: 12, repairs: 3 }
    }
}

/// `[[checks]]`
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawCheck {
    /// Its name: letters, digits, `.`, `-` and `_`.
    #[schemars(required, extend("x-kind" = Kind::Name))]
    pub name: Option<String>,
    /// Passes when a GET of this URL answers 2xx or 3xx.
    #[schemars(extend("x-kind" = Kind::Url))]
    pub http: Option<String>,
    /// Passes when a connection to this `IP:port` is accepted.
    #[schemars(extend("x-kind" = Kind::Socket))]
    pub tcp: Option<SocketAddr>,
    /// Passes when this command exits with 0. No shell runs it.
    pub command: Option<Command>,
    /// Passes while a process of this name runs.
    #[schemars(length(min = 1))]
    pub process: Option<String>,
    /// Passes while this systemd unit is active, as `systemctl is-active` sees it.
    #[schemars(length(min = 1))]
    pub unit: Option<String>,
    /// Passes while this network interface is up and has a carrier.
    #[schemars(length(min = 1))]
    pub interface: Option<String>,
    /// Time from one run to the next.
    #[schemars(extend("x-minimum" = "50ms", "x-maximum" = "1h"))]
    pub interval: Span,
    /// When a run counts as failed: 500ms when absent, or `interval` if that is shorter.
    #[schemars(extend("x-minimum" = "10ms", "x-maximum" = "10min"))]
    pub timeout: Option<Span>,
    /// So many passes in a row make it pass.
    #[schemars(range(min = 1, max = 100))]
    pub rise: u32,
    /// So many failures in a row make it fail.
    #[schemars(range(min = 1, max = 100))]
    pub fall: u32,
    /// Taken off the priority while it fails; the effective priority never falls below 1.
    #[schemars(range(min = 1, max = 253))]
    pub weight: Option<u32>,
    /// While it fails, the node stands for no election, and resigns if a better node is Ready.
    pub fatal: bool,
    /// The groups concerned: all when absent.
    #[schemars(length(min = 1))]
    pub groups: Option<Vec<String>>,
}

impl Default for RawCheck {
    fn default() -> Self {
        Self {
            name: None,
            http: None,
            tcp: None,
            command: None,
            process: None,
            unit: None,
            interface: None,
            interval: Span::from_secs(1),
            timeout: None,
            rise: 2,
            fall: 3,
            weight: None,
            fatal: false,
            groups: None,
        }
    }
}
