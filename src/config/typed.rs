//! The configuration that the program runs on: only [`parse`](super::parse) makes one, so it
//! cannot be wrong.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use vipward_core as core;
use vipward_core::{CheckEffect, ClaimMode, Digest, GroupId, NodeId, Priority, Timing};

use super::problem::{Places, Problem, did_you_mean, either};

/// A whole configuration file, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Name of the cluster.
    pub cluster: String,
    /// Which node this machine is.
    pub node: NodeChoice,
    /// The protocol's durations.
    pub timing: Timing,
    /// How long a node that came back must be well before it is like the others again.
    pub probation: Duration,
    /// How long a node may be away and be taken back without probation.
    pub restart_grace: Duration,
    /// File with the cluster's keys.
    pub key_file: PathBuf,
    /// Every voter, sorted by name: a node's place here is its [`NodeId`].
    pub nodes: Vec<Node>,
    /// The groups, in the order of the file: the first keeps the reference (design section 6).
    pub groups: Vec<Group>,
    /// The cloud.
    pub cloud: Cloud,
    /// Budgets against moving to and fro.
    pub limits: Limits,
    /// The health checks of every balancer; see [`Config::checks_of`].
    pub checks: Vec<Check>,
    /// What must be equal on all balancers beside this file.
    pub consistency: Consistency,
    /// The operator's commands.
    pub hooks: Hooks,
    /// Where operators and tools ask.
    pub admin: Admin,
    /// What this node keeps on disk.
    pub state: State,
    /// What it tells of itself.
    pub telemetry: Telemetry,
    /// SHA-256 of the shared part, in its canonical form.
    pub digest: Digest,
    /// The same as text, for people who compare it.
    pub canonical: String,
    /// What is accepted, but has no effect.
    pub warnings: Vec<Problem>,
    pub(super) places: Places,
}

/// Which node this machine is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum NodeChoice {
    /// To be found out; see [`resolve_auto`](super::resolve_auto).
    Auto,
    /// This one, which is in the list of nodes.
    Named(String),
}

/// One voter.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Whether it only votes.
    pub witness: bool,
    /// Where it listens, one for each independent path: at least one.
    pub links: Vec<SocketAddr>,
    /// Its instance, if the file names it.
    pub instance_id: Option<String>,
    /// Its network interface, if the file names it.
    pub network_interface_id: Option<String>,
    /// Its key in the file.
    pub(super) path: String,
}

/// Addresses that move together.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// By [`NodeId`]; `None` where the node cannot hold the group.
    pub priorities: Vec<Option<Priority>>,
    /// Whether a better node takes a living master's place.
    pub preempt: bool,
    /// For how long it must have been better.
    pub preempt_delay: Duration,
    /// What moves.
    pub addresses: Vec<Address>,
}

/// One address of a group.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Address {
    /// An elastic IP.
    ElasticIp {
        /// Its allocation.
        allocation_id: String,
        /// By node's name, the private address that it is bound to; the primary one if absent.
        private_ip: BTreeMap<String, Ipv4Addr>,
    },
    /// A secondary private address of the subnet that the balancers share.
    SecondaryIp {
        /// The address.
        ip: Ipv4Addr,
        /// The kernel's interface; the one with the network interface's MAC if absent.
        interface: Option<String>,
    },
}

/// The cloud that holds the addresses.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Cloud {
    /// Who is asked.
    pub provider: Provider,
    /// The region, if the file names it.
    pub region: Option<String>,
    /// How long one call may take.
    pub call_timeout: Duration,
    /// How addresses are claimed.
    pub claim: ClaimMode,
}

/// Who is asked to move addresses.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Provider {
    /// EC2, or what speaks its API.
    Aws {
        /// The API's URL; the SDK's own rules when absent.
        endpoint_url: Option<String>,
    },
    /// A simulated cloud.
    Simulated {
        /// Its URL.
        endpoint_url: String,
    },
}

/// Budgets against moving to and fro.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Moves of a group in an hour.
    pub moves_per_hour: u32,
    /// Repairs of an address in a minute.
    pub repairs: u32,
}

/// One health check.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Check {
    /// Its name.
    pub name: String,
    /// What is tried.
    pub kind: CheckKind,
    /// Time from one run to the next.
    pub interval: Duration,
    /// When a run counts as failed: at most `interval`.
    pub timeout: Duration,
    /// So many passes in a row make it pass.
    pub rise: u32,
    /// So many failures in a row make it fail.
    pub fall: u32,
    /// What failing does.
    pub effect: CheckEffect,
    /// For which groups; empty means all.
    pub groups: Vec<GroupId>,
}

/// What a health check tries.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum CheckKind {
    /// A GET answers 2xx or 3xx.
    Http {
        /// Plain `http://`.
        url: String,
    },
    /// A connection is accepted.
    Tcp {
        /// By this address.
        addr: SocketAddr,
    },
    /// A command exits with 0.
    Command {
        /// Program and arguments: not empty.
        argv: Vec<String>,
    },
    /// A process runs.
    Process {
        /// Its name.
        name: String,
    },
    /// A network interface can pass packets.
    Interface {
        /// Its name.
        name: String,
    },
    /// A systemd unit is active.
    Unit {
        /// Its name, with its type: `nginx.service`.
        name: String,
    },
}

/// What must be equal on all balancers, for one to be elected (design section 6).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Consistency {
    /// Files, as shell patterns.
    pub files: Vec<String>,
    /// Those of which only the hash travels, as shell patterns.
    pub digest_only: Vec<String>,
    /// Lines that may differ, as regular expressions with variables.
    pub ignore: Vec<String>,
    /// Commands whose output counts, each a program and its arguments: not empty.
    pub commands: Vec<Vec<String>>,
    /// Packages whose version counts.
    pub packages: Vec<String>,
    /// The balancer's: what is newer than its last load is not applied.
    pub pid_file: Option<PathBuf>,
    /// Whether a quarantined node may lead when nobody else is left.
    pub last_resort: bool,
    /// What a node that differs does about it.
    pub repair: Repair,
}

/// What a node that differs does about it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Repair {
    /// Nothing.
    #[default]
    Off,
    /// Fetches the master's files.
    Pull {
        /// Run before they are kept.
        test: Option<Vec<String>>,
        /// Run after.
        reload: Option<Vec<String>>,
    },
}

/// The operator's commands, each a program and its arguments: not empty. By when they are run.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Hooks {
    /// This node became Master.
    pub on_master: Vec<Vec<String>>,
    /// Another leads.
    pub on_backup: Vec<Vec<String>>,
    /// This node lost its majority, or gave its mastership up, and serves on.
    pub on_holding: Vec<Vec<String>>,
    /// An alarm was raised.
    pub on_alarm: Vec<Vec<String>>,
}

/// Where operators and tools ask.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Admin {
    /// Unix socket for operators.
    pub socket: PathBuf,
    /// Read-only HTTP.
    pub listen: SocketAddr,
}

/// What a node keeps on disk.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct State {
    /// Directory of the terms and the journal.
    pub directory: PathBuf,
    /// Bytes at which the journal is rotated.
    pub journal_size: u64,
}

/// What a node tells of itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Telemetry {
    /// The form of log lines.
    pub log: LogFormat,
    /// The least level that is logged.
    pub level: Level,
    /// Where traces and metrics are sent.
    pub otlp_endpoint: Option<String>,
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For reading.
    Text,
}

/// The least level that is logged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Level {
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

impl Level {
    /// The name, as filters of log lines spell it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

impl Cloud {
    /// The API's URL, if the file names it.
    #[must_use]
    pub fn endpoint_url(&self) -> Option<&str> {
        match &self.provider {
            Provider::Aws { endpoint_url } => endpoint_url.as_deref(),
            Provider::Simulated { endpoint_url } => Some(endpoint_url),
        }
    }
}

impl Node {
    /// Every link to a peer: the own address, which is bound, and the peer's. Where one side has
    /// fewer, its last is used.
    pub fn links_to(&self, peer: &Self) -> impl Iterator<Item = (SocketAddr, SocketAddr)> {
        let of =
            |links: &[SocketAddr], index: usize| links.get(index).or_else(|| links.last()).copied();
        (0..self.links.len().max(peer.links.len()))
            .filter_map(move |index| Some((of(&self.links, index)?, of(&peer.links, index)?)))
    }
}

/// A name that no node of the file has.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("no node is named {name:?}{hint}; the nodes are {nodes}")]
pub struct UnknownNode {
    name: String,
    hint: String,
    nodes: String,
}

impl Config {
    /// The node of that name.
    ///
    /// # Errors
    ///
    /// [`UnknownNode`] if there is none.
    pub fn node(&self, name: &str) -> Result<(NodeId, &Node), UnknownNode> {
        let found = (0..).map(NodeId).zip(&self.nodes).find(|(_, node)| node.name == name);
        found.ok_or_else(|| UnknownNode {
            name: name.to_owned(),
            hint: did_you_mean(name, self.nodes.iter().map(|node| node.name.as_str())),
            nodes: self.node_names(),
        })
    }

    pub(super) fn node_names(&self) -> String {
        let names: Vec<_> = self.nodes.iter().map(|node| node.name.clone()).collect();
        either(&names).replace(" or ", " and ")
    }

    /// The same configuration, for the node of that name (`--node`).
    ///
    /// # Errors
    ///
    /// [`UnknownNode`] if there is none.
    pub fn for_node(mut self, name: &str) -> Result<Self, UnknownNode> {
        self.node(name)?;
        self.node = NodeChoice::Named(name.to_owned());
        Ok(self)
    }

    /// Whether files, commands or packages of `node` are compared beside this file.
    #[must_use]
    pub fn scans(&self, node: &Node) -> bool {
        let Consistency { files, commands, packages, .. } = &self.consistency;
        let nothing = files.is_empty() && commands.is_empty() && packages.is_empty();
        !(node.witness || nothing)
    }

    /// The health checks that `node` runs of itself: a witness has nothing to check.
    #[must_use]
    pub fn checks_of(&self, node: &Node) -> &[Check] {
        if node.witness { &[] } else { &self.checks }
    }

    /// What the core of the node `me` rests its decisions on.
    ///
    /// # Errors
    ///
    /// [`UnknownNode`] if there is no such node.
    pub fn core(&self, me: &str) -> Result<core::Config, UnknownNode> {
        let (id, me) = self.node(me)?;
        let count = |links: usize| u8::try_from(links).unwrap_or(u8::MAX);
        let nodes = self.nodes.iter().map(|node| core::NodeConfig {
            name: node.name.clone(),
            witness: node.witness,
            links: count(me.links_to(node).count()),
        });
        let groups = self.groups.iter().map(|group| core::GroupConfig {
            name: group.name.clone(),
            priorities: group.priorities.clone(),
            preempt: group.preempt,
            preempt_delay: group.preempt_delay,
            addresses: group.addresses.iter().map(Address::kind).collect(),
        });
        let checks = self.checks_of(me).iter().map(|check| core::CheckConfig {
            name: check.name.clone(),
            rise: check.rise,
            fall: check.fall,
            effect: check.effect,
            groups: check.groups.clone(),
        });
        Ok(core::Config {
            me: id,
            nodes: nodes.collect(),
            timing: self.timing,
            groups: groups.collect(),
            checks: checks.collect(),
            shared: self.digest,
            scanned: self.scans(me),
            probation: self.probation,
            restart_grace: self.restart_grace,
            last_resort: self.consistency.last_resort,
            repair: match self.consistency.repair {
                Repair::Off => core::Repair::Off,
                Repair::Pull { .. } => core::Repair::Pull,
            },
            call_timeout: self.cloud.call_timeout,
            claim: self.cloud.claim,
            moves_per_hour: self.limits.moves_per_hour,
            repairs: self.limits.repairs,
        })
    }
}

impl Address {
    fn kind(&self) -> core::AddressKind {
        match self {
            Self::ElasticIp { .. } => core::AddressKind::ElasticIp,
            Self::SecondaryIp { .. } => core::AddressKind::SecondaryIp,
        }
    }
}
