//! The document of `status --json`: the contract's keys, each always present.

#[cfg(test)]
pub(super) mod tests;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use vipward_core::{
    AddressStatus, Cause, CheckId, Digest, Failover, GroupStatus, LinkId, NodeId, PeerStatus,
    Priority, Standing, Status, Timestamp,
};

use crate::names::Names;

/// What a node says of itself.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the contract's keys, explained there")]
pub struct StatusDocument {
    pub cluster: String,
    pub node: String,
    pub version: String,
    /// The life of its process.
    #[serde(default)]
    pub boot: String,
    pub standing: String,
    pub standing_reason: Option<String>,
    /// How long this node still votes for nobody, because it restarted.
    #[serde(default)]
    pub muted_ms: u64,
    pub digest: String,
    /// What a node's configuration must be before it may lead.
    #[serde(default)]
    pub reference: Option<ReferenceDocument>,
    pub groups: Vec<GroupDocument>,
    pub peers: Vec<PeerDocument>,
    pub checks: Vec<CheckDocument>,
    pub preflight: PreflightDocument,
    pub alarms: Vec<AlarmDocument>,
    pub last_failover: Option<FailoverDocument>,
}

/// What a node's configuration must be before it may lead.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct ReferenceDocument {
    /// Its digest.
    pub digest: String,
    /// Term and count; the highest counts.
    pub version: String,
    /// Whether this node's configuration is the same; null while that is not known.
    pub consistent: Option<bool>,
}

/// One group.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the contract's keys, explained there")]
pub struct GroupDocument {
    pub name: String,
    pub role: String,
    pub term: u64,
    pub master: Option<String>,
    pub lease_left_ms: u64,
    pub priority: Option<u8>,
    pub effective_priority: Option<u8>,
    /// Whether a majority of voters is heard.
    #[serde(default)]
    pub quorum: bool,
    pub addresses: Vec<AddressDocument>,
}

/// One address.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the contract's keys, explained there")]
pub struct AddressDocument {
    pub kind: String,
    pub id: String,
    pub address: Option<String>,
    pub ownership: String,
    pub holder: Option<String>,
    pub verified_ms_ago: Option<u64>,
    /// What this machine's kernel has of it, `present` or `absent`; null where it is not asked.
    pub kernel: Option<String>,
}

/// One peer.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the contract's keys, explained there")]
pub struct PeerDocument {
    pub name: String,
    pub role: String,
    pub standing: Option<String>,
    pub digest: Option<String>,
    /// Whether its configuration is the reference's; null while that is not known.
    #[serde(default)]
    pub consistent: Option<bool>,
    pub links: Vec<LinkDocument>,
}

/// One link to a peer.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the contract's keys, explained there")]
pub struct LinkDocument {
    pub address: String,
    pub up: bool,
    pub rtt_us: Option<u64>,
    pub last_heard_ms: Option<u64>,
}

/// One health check.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the contract's keys, explained there")]
pub struct CheckDocument {
    pub name: String,
    pub state: String,
    pub since: String,
    /// Why its last run failed; null if it passed.
    #[serde(default)]
    pub reason: Option<String>,
}

/// Whether this node could take over.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the contract's keys, explained there")]
pub struct PreflightDocument {
    pub ok: bool,
    pub checked_ms_ago: Option<u64>,
    pub problems: Vec<String>,
}

/// Something that needs a person.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the contract's keys, explained there")]
pub struct AlarmDocument {
    pub name: String,
    pub since: String,
    pub message: String,
}

/// The last takeover.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the contract's keys, explained there")]
pub struct FailoverDocument {
    pub group: String,
    pub term: u64,
    pub from: Option<String>,
    pub to: String,
    pub cause: Option<String>,
    pub detect_ms: Option<f64>,
    pub elect_ms: Option<f64>,
    pub claim_ms: Option<f64>,
    pub verify_ms: Option<f64>,
    pub at: String,
}

/// What the core does not know and the document shows.
pub struct Surroundings<'a> {
    /// The names of the configuration that the status was made under.
    pub names: &'a Names,
    /// The wall time at the moment of the status: ages become times of day by it.
    pub wall: jiff::Timestamp,
    /// The last round trip measured on a link.
    pub round_trip: &'a dyn Fn(NodeId, LinkId) -> Option<Duration>,
    /// Why a check's last run failed, if it did.
    pub check_reason: &'a dyn Fn(CheckId) -> Option<String>,
    /// How long ago the preflight ran; `None` before the first.
    pub preflight_checked_ago: Option<Duration>,
}

impl StatusDocument {
    /// Translates the core's account of itself.
    #[must_use]
    pub fn new(status: &Status, around: &Surroundings<'_>) -> Self {
        let Surroundings { names, .. } = around;
        let time = |at| around.time_of_day(status.at.since(at));
        let checks = status.checks.iter().zip(&names.checks).zip((0..=u8::MAX).map(CheckId));
        let alarms = status.alarms.iter();
        Self {
            cluster: names.cluster.clone(),
            node: names.my_name().to_owned(),
            version: names.version.clone(),
            boot: names.boot.to_string(),
            standing: Standing::as_str(status.standing).to_owned(),
            standing_reason: status.standing_reason.as_deref().map(str::to_owned),
            muted_ms: millis(status.muted),
            digest: status.digest.to_string(),
            reference: status.reference.map(|it| ReferenceDocument {
                digest: it.digest.to_string(),
                version: format!("{}.{}", it.version.term.0, it.version.count),
                consistent: status.consistent,
            }),
            groups: status.groups.iter().map(|group| around.group(group)).collect(),
            peers: status.peers.iter().map(|peer| around.peer(peer)).collect(),
            checks: checks
                .map(|(((state, since), name), id)| CheckDocument {
                    name: name.clone(),
                    state: state.as_str().to_owned(),
                    since: time(*since),
                    reason: (around.check_reason)(id),
                })
                .collect(),
            preflight: PreflightDocument {
                ok: status.preflight_problems.is_empty(),
                checked_ms_ago: around.preflight_checked_ago.map(millis),
                problems: status.preflight_problems.iter().map(ToString::to_string).collect(),
            },
            alarms: alarms
                .map(|(name, since, message)| AlarmDocument {
                    name: name.as_str().to_owned(),
                    since: time(*since),
                    message: message.to_string(),
                })
                .collect(),
            last_failover: status
                .last_failover
                .as_ref()
                .map(|last| around.failover(last, status.at)),
        }
    }

    /// The group of that name.
    #[must_use]
    pub fn group(&self, name: &str) -> Option<&GroupDocument> {
        self.groups.iter().find(|group| group.name == name)
    }

    /// Whether this node could take over now; of a witness, whether it can vote.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let witness = self.groups.iter().all(|group| group.priority.is_none());
        if witness {
            return self.muted_ms == 0;
        }
        self.standing == Standing::Ready.as_str() && self.preflight.ok
    }
}

impl Surroundings<'_> {
    fn time_of_day(&self, ago: Duration) -> String {
        let at = self.wall.checked_sub(jiff::SignedDuration::try_from(ago).unwrap_or_default());
        format!("{:.3}", at.unwrap_or(self.wall))
    }

    fn name(&self, node: NodeId) -> String {
        self.names.node(node).to_owned()
    }

    fn group(&self, group: &GroupStatus) -> GroupDocument {
        let addresses = group.addresses.iter();
        GroupDocument {
            name: self.names.group(group.group).to_owned(),
            role: group.role.as_str().to_owned(),
            term: group.term.0,
            master: group.master.map(|node| self.name(node)),
            lease_left_ms: millis(group.lease_left),
            priority: group.priority.map(Priority::into),
            effective_priority: group.effective_priority.map(Priority::into),
            quorum: group.quorum,
            addresses: addresses.map(|address| self.address(group, address)).collect(),
        }
    }

    fn address(&self, group: &GroupStatus, address: &AddressStatus) -> AddressDocument {
        let holder = address.holder.as_ref();
        AddressDocument {
            kind: self.names.address_kind(group.group, address.address).to_owned(),
            id: self.names.address(group.group, address.address).to_owned(),
            address: address.ip.map(|ip| ip.to_string()),
            ownership: address.ownership.as_str().to_owned(),
            holder: holder.map(|holder| self.names.holder(holder).to_owned()),
            verified_ms_ago: address.verified_ago.map(millis),
            kernel: address.kernel.map(|it| it.as_str().into()),
        }
    }

    fn peer(&self, peer: &PeerStatus) -> PeerDocument {
        let link = |(link, (up, heard_ago)): (u8, &(bool, Option<Duration>))| LinkDocument {
            address: self.names.link(peer.node, LinkId(link)).to_owned(),
            up: *up,
            rtt_us: (self.round_trip)(peer.node, LinkId(link)).map(micros),
            last_heard_ms: heard_ago.map(millis),
        };
        let role = if self.names.is_witness(peer.node) { "witness" } else { "balancer" };
        PeerDocument {
            name: self.name(peer.node),
            role: role.to_owned(),
            standing: peer.standing.map(|standing| Standing::as_str(standing).to_owned()),
            digest: peer.digest.as_ref().map(Digest::to_string),
            consistent: peer.consistent,
            links: (0..=u8::MAX).zip(&peer.links).map(link).collect(),
        }
    }

    fn failover(&self, last: &Failover, now: Timestamp) -> FailoverDocument {
        let stage = |stage: Option<Duration>| stage.map(tenths);
        FailoverDocument {
            group: self.names.group(last.group).to_owned(),
            term: last.term.0,
            from: last.from.map(|node| self.name(node)),
            to: self.name(last.to),
            cause: last.cause.map(|cause| Cause::as_str(cause).to_owned()),
            detect_ms: stage(last.detect),
            elect_ms: stage(last.elect),
            claim_ms: stage(last.claim),
            verify_ms: stage(last.verify),
            at: self.time_of_day(now.since(last.at)),
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Milliseconds to one decimal: what a failover's stages are told in.
fn tenths(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 10_000.0).round() / 10.0
}
