//! Who votes, who may hold what, and how fast: what makes the cluster.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::unbuilt::RawTls;
use crate::config::leaf::{Kind, Span};

/// `[timing]`
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct RawTiming {
    /// Time between two heartbeats: VRRP's advertisement interval.
    #[schemars(extend("x-minimum" = "10ms", "x-maximum" = "10s"))]
    pub heartbeat_interval: Span,
    /// So many heartbeats make the lease, `misses * heartbeat_interval`: how long a silent master
    /// is waited for.
    #[schemars(range(min = 2, max = 10))]
    pub misses: u32,
    /// How long a node that came back must be well, and stands behind all others.
    #[schemars(extend("x-minimum" = "0s", "x-maximum" = "1day"))]
    pub probation: Span,
    /// How often addresses are compared with the cloud when nothing happens.
    #[schemars(extend("x-minimum" = "1s", "x-maximum" = "1h"))]
    pub reconcile_interval: Span,
    /// How long a node may be away and be taken back without probation.
    #[schemars(extend("x-minimum" = "1s", "x-maximum" = "1h"))]
    pub restart_grace: Span,
    /// Whether refused connections are evidence of a crash, so that nobody waits for the lease.
    /// Switch it off where a proxy or firewall refuses connections in a node's name.
    pub crash_detection: bool,
    /// What a stopped master does with its groups.
    pub on_stop: RawOnStop,
}

impl Default for RawTiming {
    fn default() -> Self {
        Self {
            heartbeat_interval: Span::from_millis(200),
            misses: 3,
            probation: Span::from_secs(30),
            reconcile_interval: Span::from_secs(30),
            restart_grace: Span::from_secs(15),
            crash_detection: true,
            on_stop: RawOnStop::Handover,
        }
    }
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::config) enum RawOnStop {
    /// Hand them over, so that another node leads at once.
    Handover,
    /// Keep them over a short restart. Not in this version: hands over.
    Hold,
}

/// `[security]`
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct RawSecurity {
    /// File with the cluster's keys, one base64 key of 32 bytes or more a line (`vipward keygen`).
    /// The first signs, all verify, so that a key can be changed without an outage.
    #[schemars(extend("x-kind" = Kind::Path))]
    pub key_file: PathBuf,
    /// Mutual TLS between nodes. Not in this version.
    pub tls: Option<RawTls>,
}

impl Default for RawSecurity {
    fn default() -> Self {
        Self { key_file: PathBuf::from("/etc/vipward/cluster.key"), tls: None }
    }
}

/// `[[nodes]]`
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct RawNode {
    /// Its name: letters, digits, `.`, `-` and `_`.
    #[schemars(required, extend("x-kind" = Kind::Name))]
    pub name: Option<String>,
    /// A balancer may hold addresses, a witness only votes.
    pub role: RawRole,
    /// Its `IP:port`, one for each independent network path. The node listens on its own; link i
    /// speaks to link i of a peer.
    #[schemars(required, length(min = 1, max = 8), extend("x-item-kind" = Kind::Socket))]
    pub links: Option<Vec<SocketAddr>>,
    /// Its EC2 instance. Read from instance metadata when absent.
    #[schemars(extend("x-kind" = Kind::InstanceId))]
    pub instance_id: Option<String>,
    /// The network interface that addresses are moved to. Read from instance metadata when absent.
    #[schemars(extend("x-kind" = Kind::InterfaceId))]
    pub network_interface_id: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::config) enum RawRole {
    /// May hold addresses.
    #[default]
    Balancer,
    /// Only votes.
    Witness,
}

/// `[[groups]]`
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct RawGroup {
    /// Its name: letters, digits, `.`, `-` and `_`.
    #[schemars(required, extend("x-kind" = Kind::Name))]
    pub name: Option<String>,
    /// Who may hold the group, and how much it is preferred: 1 (least) to 254 (most). A node that
    /// is not named cannot hold it. Among equals the lexicographically smaller name wins.
    #[schemars(required)]
    pub priority: Option<BTreeMap<String, RawPriority>>,
    /// Whether a better node takes a living master's place.
    pub preempt: bool,
    /// For how long it must have been better.
    #[schemars(extend("x-minimum" = "0s", "x-maximum" = "1day"))]
    pub preempt_delay: Span,
    /// What a master without a majority does.
    pub on_isolation: RawOnIsolation,
    /// What moves. A group without addresses still elects a master.
    #[schemars(length(max = 64))]
    pub addresses: Vec<RawAddress>,
}

impl Default for RawGroup {
    fn default() -> Self {
        Self {
            name: None,
            priority: None,
            preempt: false,
            preempt_delay: Span::from_secs(60),
            on_isolation: RawOnIsolation::Hold,
            addresses: Vec::new(),
        }
    }
}

/// 1 (least) to 254 (most), as in VRRP.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[schemars(extend("minimum" = 1, "maximum" = 254))]
pub(in crate::config) struct RawPriority(pub u8);

#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::config) enum RawOnIsolation {
    /// Keep the addresses and change nothing in the cloud.
    Hold,
    /// Drop them. Not in this version.
    Release,
}

/// One entry of `groups.addresses`.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub(in crate::config) enum RawAddress {
    /// An elastic IP.
    ElasticIp {
        /// Its allocation.
        #[schemars(required, extend("x-kind" = Kind::AllocationId))]
        allocation_id: Option<String>,
        /// By node, the secondary private address to bind it to; the primary one when absent.
        private_ip: Option<BTreeMap<String, String>>,
    },
    /// A secondary private address of the subnet that the balancers share.
    SecondaryIp {
        /// The address.
        #[schemars(required, extend("x-kind" = Kind::Ip))]
        ip: Option<std::net::IpAddr>,
        /// The kernel's interface: the one with the MAC of `network_interface_id` when absent.
        #[schemars(length(min = 1))]
        interface: Option<String>,
    },
    /// A route to an overlay address. Not in this version.
    Route {
        /// A prefix, or a managed prefix list.
        #[schemars(required)]
        destination: Option<String>,
        /// The tables that have it.
        #[schemars(required, length(min = 1))]
        route_tables: Option<Vec<String>>,
    },
}
