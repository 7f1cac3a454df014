//! What a role means on this machine: addresses in its kernel, and the operator's hooks.
//!
//! Both follow from the role as a level, not from its changes: whatever was missed is made good
//! with the next step.

use crate::config::{AddressKind, GroupConfig};
use crate::event::{AlarmName, Event, EventKind, RoleName};
use crate::group::{Group, Role};
use crate::input::KernelState;
use crate::mutation::{Mutation, active};
use crate::output::{Hook, HookPoint, Output, Presence};
use crate::shared::{Cx, Shared};
use crate::types::{AddressId, Cause};

/// One group on this machine.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Local {
    addresses: Vec<InKernel>,
    /// What the hooks were last told that this node is.
    told: Option<RoleName>,
}

/// One address in the kernel.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct InKernel {
    kind: AddressKind,
    ordered: Option<Presence>,
    known: Option<Presence>,
    /// Whether this life ever ordered the kernel to have it.
    given: bool,
}

impl Local {
    pub(crate) fn new(config: &GroupConfig) -> Self {
        let address =
            |kind: &AddressKind| InKernel { kind: *kind, ordered: None, known: None, given: false };
        Self { addresses: config.addresses.iter().map(address).collect(), told: None }
    }

    /// What the kernel has of an address, as far as known.
    pub(crate) fn in_kernel(&self, id: AddressId) -> Option<Presence> {
        self.addresses.get(id.index())?.known
    }
}

impl Group {
    /// Orders what the kernel is to have (design 5.6). A Master's kernel has its addresses. A
    /// Holding one keeps what it has, and so does a node that just started: traffic may still
    /// come here, until another is known to lead or to hold the address.
    pub(crate) fn order_kernel(&mut self, cx: &mut Cx<'_>) {
        for index in 0..self.local.addresses.len() {
            let id = AddressId(u8::try_from(index).unwrap_or(u8::MAX));
            let wanted = self.wanted_in_kernel(cx, id);
            let Some(address) = self.local.addresses.get_mut(index) else { continue };
            let Some(wanted) = wanted.filter(|_| address.kind.is_in_kernel()) else { continue };
            if wanted == Presence::Present && active(Mutation::KernelNeverGiven) {
                continue;
            }
            if address.ordered != Some(wanted) {
                address.ordered = Some(wanted);
                address.given |= wanted == Presence::Present;
                cx.clear(AlarmName::KernelAddress(self.id, id)); // It was about another order.
                cx.out.push(Output::Kernel { group: self.id, address: id, wanted });
            }
        }
    }

    fn wanted_in_kernel(&self, cx: &Cx<'_>, id: AddressId) -> Option<Presence> {
        match &self.role {
            Role::Holding(_) if active(Mutation::HoldingDropsKernel) => Some(Presence::Absent),
            Role::None | Role::Holding(_) => None,
            Role::Master(_) => Some(Presence::Present),
            Role::Backup if active(Mutation::KernelKept) => None,
            Role::Backup => {
                let elsewhere = self.ownership.addresses.get(id.index())?.is_elsewhere();
                (elsewhere || self.another_leads(cx)).then_some(Presence::Absent)
            }
        }
    }

    /// Whether, while the daemon stops, addresses are still to be taken out of the kernel: as
    /// soon as a successor leads, and not before, since traffic comes here until then. The order
    /// would end with the process: it is carried out first.
    pub(crate) fn leaves_kernel_later(&self, s: &Shared) -> bool {
        if active(Mutation::StopLeavesKernel) {
            return false;
        }
        let leaving = |it: &InKernel| {
            it.ordered == Some(Presence::Absent)
                && (it.known == Some(Presence::Present) || it.given && it.known.is_none())
        };
        if self.local.addresses.iter().any(leaving) {
            return true;
        }
        let has = |it: &InKernel| it.ordered == Some(Presence::Present);
        matches!(self.role, Role::Holding(_))
            && self.local.addresses.iter().any(has)
            && s.hears_majority(s.now)
            && self.best_successor(s, true).is_some()
    }

    fn another_leads(&self, cx: &Cx<'_>) -> bool {
        self.elected.is_some_and(|elected| elected.node != cx.s.config.me)
    }

    /// The kernel's state of an address changed.
    pub(crate) fn on_kernel(&mut self, cx: &mut Cx<'_>, id: AddressId, state: &KernelState) {
        let Some(address) = self.local.addresses.get_mut(id.index()) else { return };
        let alarm = AlarmName::KernelAddress(self.id, id);
        match state {
            KernelState::Failed { what } => {
                cx.raise(alarm, || format!("the kernel does not do as ordered: {what}"));
            }
            KernelState::Is(presence) => {
                let before = address.known.replace(*presence);
                let as_wanted = address.ordered == Some(*presence);
                if as_wanted {
                    cx.clear(alarm);
                }
                // An address that was never here is no news.
                if before == Some(*presence) || before.is_none() && *presence == Presence::Absent {
                    return;
                }
                let reason = match (as_wanted, presence) {
                    (true, _) => "as this node's role wants it",
                    (false, Presence::Absent) => "something else removed it; it is put back",
                    (false, Presence::Present) => "it was here already",
                };
                let kind = EventKind::KernelChanged { address: id, presence: *presence, reason };
                cx.event(Event::group(self.id, self.term(), kind));
            }
        }
    }

    /// Tells the hooks what this node is in the group now. A Backup is one only when another
    /// leads: before, nothing is known that a hook could act upon.
    pub(crate) fn run_hooks(&mut self, cx: &mut Cx<'_>) {
        let (point, role, cause): (_, _, Option<Cause>) = match &self.role {
            Role::Holding(_) if active(Mutation::HoldingUntold) => return,
            Role::Master(_) | Role::Backup if active(Mutation::HooksUntold) => return,
            Role::Master(master) => (HookPoint::Master, RoleName::Master, Some(master.cause)),
            Role::Holding(it) => (HookPoint::Holding, RoleName::Holding, Some(it.cause)),
            Role::Backup if self.another_leads(cx) => (HookPoint::Backup, RoleName::Backup, None),
            Role::None | Role::Backup => return,
        };
        if self.local.told == Some(role) {
            return;
        }
        self.local.told = Some(role);
        let (group, term) = (Some(self.id), Some(self.term()));
        cx.out.push(Output::Hook(Hook { point, group, role: Some(role), term, cause }));
    }
}
