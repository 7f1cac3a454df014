//! What a node shows of itself: plain data, made on request.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::event::{AlarmName, CheckState, OwnershipName, RoleName};
use crate::output::Presence;
use crate::reference::Reference;
use crate::types::{
    AddressId, BootId, Cause, Digest, GroupId, Holder, NodeId, Priority, Standing, Term, Timestamp,
};

/// A node's account of itself at one moment. In the order of the configuration.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Status {
    /// When, on this node's clock.
    pub at: Timestamp,
    /// Its right to stand.
    pub standing: Standing,
    /// Why it may not lead, or only behind others, and what would change that: one sentence.
    pub standing_reason: Option<Arc<str>>,
    /// How long it is still muted.
    pub muted: Duration,
    /// The digest of its configuration; of vipward's own part until the rest was scanned.
    pub digest: Digest,
    /// The cluster's reference, as far as known.
    pub reference: Option<Reference>,
    /// Whether its configuration is the reference's; `None` while that is not known.
    pub consistent: Option<bool>,
    /// Since when its configuration differs from the reference.
    pub drift_since: Option<Timestamp>,
    /// The groups.
    pub groups: Vec<GroupStatus>,
    /// Every other node.
    pub peers: Vec<PeerStatus>,
    /// The checks, and since when each is in its state.
    pub checks: Vec<(CheckState, Timestamp)>,
    /// What the last preflight found.
    pub preflight_problems: Vec<Arc<str>>,
    /// Alarms, each since when and with its sentence.
    pub alarms: Vec<(AlarmName, Timestamp, Arc<str>)>,
    /// The last takeover seen.
    pub last_failover: Option<Failover>,
}

/// One group.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GroupStatus {
    /// Which.
    pub group: GroupId,
    /// This node's role.
    pub role: RoleName,
    /// The highest term known to have been elected.
    pub term: Term,
    /// The master, as far as this node knows one.
    pub master: Option<NodeId>,
    /// Of this node's own lease; zero off the master.
    pub lease_left: Duration,
    /// This node's configured priority.
    pub priority: Option<Priority>,
    /// The same after its checks.
    pub effective_priority: Option<Priority>,
    /// Whether a majority of voters is heard, this node included.
    pub quorum: bool,
    /// The addresses.
    pub addresses: Vec<AddressStatus>,
}

/// One address.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AddressStatus {
    /// Which.
    pub address: AddressId,
    /// The public address, once read.
    pub ip: Option<IpAddr>,
    /// What is known.
    pub ownership: OwnershipName,
    /// Who holds it, if known.
    pub holder: Option<Holder>,
    /// How long ago the cloud said so.
    pub verified_ago: Option<Duration>,
    /// What this machine's kernel has of it; `None` where it is not asked, or not yet known.
    pub kernel: Option<Presence>,
}

/// One peer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PeerStatus {
    /// Who.
    pub node: NodeId,
    /// Its life, once heard.
    pub boot: Option<BootId>,
    /// Its standing, while heard.
    pub standing: Option<Standing>,
    /// Its digest, while heard.
    pub digest: Option<Digest>,
    /// Whether its configuration is the reference's; `None` while that is not known.
    pub consistent: Option<bool>,
    /// Since when its configuration differs from the reference, as this node saw it.
    pub drift_since: Option<Timestamp>,
    /// Whether it is heard.
    pub up: bool,
    /// By link: whether it is heard there, and how long ago.
    pub links: Vec<(bool, Option<Duration>)>,
}

/// The account of one takeover. Stages that this node did not see are absent.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Failover {
    /// The group.
    pub group: GroupId,
    /// The term won.
    pub term: Term,
    /// The master before, if one was known.
    pub from: Option<NodeId>,
    /// The master now.
    pub to: NodeId,
    /// Why.
    pub cause: Option<Cause>,
    /// From the last message heard of the old master to the candidacy.
    pub detect: Option<Duration>,
    /// From the candidacy to the majority.
    pub elect: Option<Duration>,
    /// From the majority to the last address's acknowledged call.
    pub claim: Option<Duration>,
    /// From there to the read that confirmed it.
    pub verify: Option<Duration>,
    /// When it was won, on this node's clock.
    pub at: Timestamp,
}
