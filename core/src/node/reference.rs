//! The reference and what operators admitted: set here, learnt from others, forgotten (design
//! section 6).

use super::Node;
use crate::event::{AlarmName, Event, EventKind};
use crate::group::Role;
use crate::input::Inventory;
use crate::mutation::{Mutation, active};
use crate::output::Output;
use crate::reference::{Admission, Reference, ReferenceVersion};
use crate::shared::Cx;
use crate::types::{NodeId, Timestamp};

impl Node {
    /// The acting master of the first group sets the reference: under a valid lease, which the
    /// start of this step has tested.
    pub(super) fn update_reference(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        let term = match self.groups.first().map(|group| &group.role) {
            Some(Role::Master(master)) => master.term,
            Some(Role::Holding(holding)) if active(Mutation::ReferenceWithoutLease) => holding.term,
            Some(Role::None | Role::Backup | Role::Holding(_)) | None => return,
        };
        let known = self.s.gate.reference;
        let applied = self.s.is_applied() || active(Mutation::UnappliedSetsReference);
        let own = self.s.digest().known().filter(|_| applied);
        let Some(digest) = own.or(known.map(|known| known.digest)) else { return };
        let version = match known {
            Some(known) if known.version.term > term => return,
            Some(known) if known.version.term == term && known.digest == digest => return,
            Some(known) if known.version.term == term && active(Mutation::ReferenceStays) => return,
            Some(known) if known.version.term == term => self.s.gate.next_version(),
            Some(_) | None => ReferenceVersion { term, count: 0 },
        };
        let by = Some(self.s.config.me);
        self.s.gate.reference = Some(Reference { version, digest });
        self.s.beat_now = true;
        let kind = EventKind::ReferenceSet { version, digest, by };
        Cx { now, s: &mut self.s, out }.event(Event::node(kind));
        self.forget_void_admissions();
    }

    /// Takes over what another knows, if it is newer.
    pub(super) fn learn_reference(
        &mut self,
        now: Timestamp,
        reference: Option<Reference>,
        admissions: &[Admission],
        out: &mut Vec<Output>,
    ) {
        let before = self.s.gate.reference;
        if reference > before
            && let Some(reference) = reference
        {
            self.s.gate.reference = Some(reference);
            if before.is_none_or(|before| before.digest != reference.digest) {
                let elected = self.groups.first().and_then(|group| group.elected);
                let by = elected.filter(|it| it.term == reference.version.term);
                let by = by.map(|elected| elected.node);
                let Reference { version, digest } = reference;
                let kind = EventKind::ReferenceSet { version, digest, by };
                Cx { now, s: &mut self.s, out }.event(Event::node(kind));
            }
        }
        for admission in admissions {
            self.learn_admission(now, *admission, out);
        }
    }

    fn learn_admission(&mut self, now: Timestamp, admission: Admission, out: &mut Vec<Output>) {
        let Admission { node, digest, version, .. } = admission;
        let known = self.s.gate.admissions.iter().find(|known| known.node == node);
        if !self.s.config.is_balancer(node)
            || known.is_some_and(|known| known.version >= version)
            || self.is_obsolete(&admission)
        {
            return;
        }
        self.s.gate.admissions.retain(|known| known.node != node);
        self.s.gate.admissions.push(admission);
        self.s.gate.admissions.sort_unstable_by_key(|known| known.node);
        let kind = EventKind::Admitted { node, digest };
        Cx { now, s: &mut self.s, out }.event(Event::node(kind));
    }

    fn is_obsolete(&self, admission: &Admission) -> bool {
        let digest = self.s.digest_of(admission.node);
        admission.is_void(self.s.gate.reference)
            || digest.is_some_and(|digest| digest != admission.digest)
                && !active(Mutation::AdmissionForAnyDigest)
    }

    pub(super) fn forget_void_admissions(&mut self) {
        let mut admissions = std::mem::take(&mut self.s.gate.admissions);
        admissions.retain(|admission| !self.is_obsolete(admission));
        self.s.gate.admissions = admissions;
    }

    /// The configuration was scanned.
    pub(super) fn on_manifest(
        &mut self,
        now: Timestamp,
        inventory: Inventory,
        out: &mut Vec<Output>,
    ) {
        let before = self.s.gate.inventory.as_ref();
        if before.is_none_or(|before| before.digest != inventory.digest) {
            self.s.beat_now = true;
        }
        if before.is_some_and(|before| before.problems != inventory.problems) {
            Cx { now, s: &mut self.s, out }.clear(AlarmName::ConfigUnreadable);
        }
        self.s.gate.inventory = Some(inventory);
    }

    /// The node that has the reference's configuration and is heard: the master first.
    pub(super) fn reference_holder(&self) -> Option<NodeId> {
        let reference = self.s.gate.reference?;
        let has = |node: &NodeId| self.s.digest_of(*node) == Some(reference.digest);
        let leaders = self.groups.iter().filter_map(|group| group.leader(&self.s, self.s.now));
        let me = self.s.config.me;
        leaders.chain(self.s.other_balancers()).find(|node| *node != me && has(node))
    }
}
