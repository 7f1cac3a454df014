//! Which node's configuration is not the reference's: shown and alarmed, and nothing else
//! (design section 6).

use std::sync::Arc;

use super::Node;
use crate::event::{AlarmName, Event, EventKind};
use crate::output::Output;
use crate::shared::{Cx, Shared};
use crate::types::{Digest, NodeId, Standing, Timestamp};

/// So many intervals a difference lasts before it is alarmed: a change that is made on all nodes
/// at once, or a new master's, is over by then.
const SETTLING: u32 = 5;

impl Shared {
    /// Whether a node's configuration is the reference's; `None` while that is not known.
    pub(crate) fn is_consistent(&self, node: NodeId) -> Option<bool> {
        let me = self.config.me;
        if !self.config.is_balancer(node) {
            return Some(self.shared_of(node)? == self.shared_wanted(node)?);
        }
        let joining = if node == me {
            self.standing == Standing::Joining
        } else {
            self.live_beat(node)?.standing == Standing::Joining
        };
        let digest = self.digest_of(node).filter(|_| !joining)?;
        match self.gate.reference {
            Some(reference) => Some(reference.digest == digest),
            // Before there is a reference, this node's own is what there is to compare with.
            None if self.is_witness() => Some(self.shared_of(node)? == self.config.shared),
            None => Some(self.digest().known()? == digest),
        }
    }

    fn shared_of(&self, node: NodeId) -> Option<Digest> {
        if node == self.config.me {
            return Some(self.config.shared);
        }
        Some(self.live_beat(node)?.shared)
    }

    /// What a witness ought to have: the part that the balancers with the reference have.
    fn shared_wanted(&self, witness: NodeId) -> Option<Digest> {
        let reference = self.gate.reference.map(|reference| reference.digest);
        let has = |node: &NodeId| {
            *node != witness && reference.is_some() && self.digest_of(*node) == reference
        };
        let mut balancers = self
            .other_balancers()
            .chain(Some(self.config.me))
            .filter(|n| self.config.is_balancer(*n));
        match balancers.find(has) {
            Some(node) => self.shared_of(node),
            None if witness == self.config.me => None,
            None => Some(self.config.shared),
        }
    }
}

impl Node {
    /// Notes who differs, this node included.
    pub(super) fn note_drift(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        let config = Arc::clone(&self.s.config);
        for index in 0..config.nodes.len() {
            let node = NodeId(u8::try_from(index).unwrap_or(u8::MAX));
            let Some(equal) = self.s.is_consistent(node) else { continue };
            let since = if node == config.me {
                Some(&mut self.s.gate.drift_since)
            } else {
                self.s.peers.get_mut(index).map(|peer| &mut peer.drift_since)
            };
            let Some(since) = since else { continue };
            if since.is_some() == equal {
                *since = (!equal).then_some(now);
                let kind = EventKind::ConfigDrift { peer: node, equal };
                out.push(Output::Event(Event::node(kind)));
            }
            let lasts = since.is_some_and(|at| now.since(at) >= self.s.interval() * SETTLING);
            let alarmed = lasts
                && self.s.standing_of(node).is_none_or(|standing| match standing {
                    // Taken out, or told of by its own alarm.
                    Standing::Maintenance => false,
                    Standing::Quarantined => node != config.me,
                    Standing::Joining | Standing::Probation | Standing::Ready => true,
                });
            let mut cx = Cx { now, s: &mut self.s, out };
            cx.alarm(AlarmName::ConfigDrift(node), alarmed, || {
                let name = config.name(node);
                format!(
                    "the configuration of {name} differs from the reference; see `vipward diff \
                     {name}`, and make it equal"
                )
            });
        }
        self.note_scan(now, out);
    }

    /// What the last scan found wrong.
    fn note_scan(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        let settling = self.s.interval() * SETTLING;
        let Some(inventory) = self.s.gate.inventory.as_ref().filter(|_| self.s.config.scanned)
        else {
            return;
        };
        let since = self.s.gate.unapplied_since.or(Some(now)).filter(|_| !inventory.is_applied());
        let lasts = since.is_some_and(|at| now.since(at) >= settling);
        let unapplied = lasts.then(|| inventory.unapplied.join(", "));
        let problems = inventory.problems.join("; ");
        self.s.gate.unapplied_since = since;
        let mut cx = Cx { now, s: &mut self.s, out };
        cx.alarm(AlarmName::ConfigUnapplied, lasts, || {
            let unapplied = unapplied.unwrap_or_default();
            format!("on disk, but not loaded by the balancer: {unapplied}; reload it")
        });
        cx.alarm(AlarmName::ConfigUnreadable, !problems.is_empty(), || problems);
    }
}

impl Shared {
    fn standing_of(&self, node: NodeId) -> Option<Standing> {
        if node == self.config.me {
            return Some(self.standing);
        }
        Some(self.live_beat(node)?.standing)
    }
}
