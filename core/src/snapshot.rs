//! A node's account of itself, made from its state on request.

use std::time::Duration;

use crate::group::{Group, Role};
use crate::node::Node;
use crate::peer::Peer;
use crate::shared::Shared;
use crate::status::{AddressStatus, GroupStatus, PeerStatus, Status};
use crate::types::{AddressId, Holder, NodeId, Timestamp};

impl Node {
    /// The node's account of itself at `now`.
    #[must_use]
    pub fn status(&self, now: Timestamp) -> Status {
        let s = &self.s;
        let now = now.max(s.now);
        Status {
            at: now,
            standing: s.standing,
            standing_reason: self.standing_reason(now).map(Into::into),
            muted: s.muted_until.left(now),
            digest: s.digest().known().unwrap_or(s.config.shared),
            reference: s.gate.reference,
            consistent: s.is_consistent(s.config.me),
            drift_since: s.gate.drift_since,
            groups: self.groups.iter().map(|group| group_status(group, s, now)).collect(),
            peers: s
                .config
                .peers()
                .filter_map(|node| Some(peer_status(s, node, s.peer(node)?, now)))
                .collect(),
            checks: s.checks.iter().map(|check| (check.state, check.since)).collect(),
            preflight_problems: s.preflight.clone(),
            alarms: s
                .alarms
                .iter()
                .map(|(name, (since, message))| (*name, *since, message.clone()))
                .collect(),
            last_failover: s.last_failover.clone(),
        }
    }
}

fn group_status(group: &Group, s: &Shared, now: Timestamp) -> GroupStatus {
    let lease_left = group.lease_left(s, now);
    let me = s.config.me;
    GroupStatus {
        group: group.id,
        role: match (&group.role, lease_left.is_zero()) {
            // Its end is noticed at the next step at the latest; it is over already.
            (Role::Master(_), true) => crate::event::RoleName::Holding,
            (Role::None | Role::Backup | Role::Master(_) | Role::Holding(_), _) => {
                group.role_name()
            }
        },
        term: group.term(),
        master: group.leader(s, now),
        lease_left,
        priority: s.config.priority(group.id, me),
        effective_priority: s.effective_priority(group.id),
        quorum: s.hears_majority(now),
        addresses: addresses(group, me, now),
    }
}

fn addresses(group: &Group, me: NodeId, now: Timestamp) -> Vec<AddressStatus> {
    let ids = (0..).map(AddressId);
    let statuses = ids.zip(&group.ownership.addresses).map(|(id, address)| {
        let (ownership, holder) = address.known.name();
        let owned = ownership == crate::event::OwnershipName::Owned;
        AddressStatus {
            address: id,
            ip: address.ip,
            ownership,
            holder: if owned { Some(Holder::Node(me)) } else { holder },
            verified_ago: address.verified_at.map(|at| now.since(at)),
            kernel: group.local.in_kernel(id),
        }
    });
    statuses.collect()
}

fn peer_status(s: &Shared, node: NodeId, peer: &Peer, now: Timestamp) -> PeerStatus {
    let patience: Duration = s.lease();
    let up = peer.is_live(now, patience);
    let beat = peer.beat.as_ref().filter(|_| up).map(|(beat, _, _)| beat);
    PeerStatus {
        node,
        boot: peer.boot,
        standing: beat.map(|beat| beat.standing),
        digest: beat.and_then(|beat| beat.digest.known()),
        consistent: s.is_consistent(node),
        drift_since: peer.drift_since,
        up,
        links: peer
            .links
            .iter()
            .map(|link| {
                let ago = link.heard_at.map(|at| now.since(at));
                (up && ago.is_some_and(|ago| ago <= patience), ago)
            })
            .collect(),
    }
}
