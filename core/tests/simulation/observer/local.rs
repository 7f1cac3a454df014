//! What a role means on its machine: the kernel's addresses and the operator's hooks follow it.

use vipward_core::{Event, EventKind, Hook, Presence, RoleName};

use crate::kernel::Place;
use crate::observer::{Observer, letter};
use crate::plan::{ADDRESSES, GROUPS};

/// What one life ordered on its machine.
#[derive(Clone, Debug, Default)]
pub(crate) struct Local {
    /// What the kernel is to have.
    pub(super) kernel: [[Option<Presence>; ADDRESSES]; GROUPS],
    /// The last read that told showed it at another.
    pub(super) elsewhere: [[bool; ADDRESSES]; GROUPS],
    /// What the hooks were last told.
    told: [Option<RoleName>; GROUPS],
    /// Alarms about the kernel that are raised.
    alarms: Vec<Place>,
    /// Alarms raised, and hooks run for them, in the present step.
    raised: u32,
    hooked: u32,
}

impl Observer {
    /// I6: a kernel loses an address only to somebody else.
    pub(super) fn kernel_ordered(&mut self, node: usize, place: Place, wanted: Presence) {
        let (group, address) = place;
        let life = &mut self.lives[node];
        let known = life.local.kernel[group][address].replace(wanted);
        let (role, who) = (life.roles[group], letter(node));
        if known == Some(wanted) {
            self.violate("local", || format!("{who} orders {wanted:?} twice for {place:?}"));
        }
        let right = match role {
            RoleName::Master => wanted == Presence::Present,
            RoleName::Backup | RoleName::Candidate => wanted == Presence::Absent,
            RoleName::Holding | RoleName::None => false,
        };
        if !right {
            let role = role.as_str();
            self.violate("I6", || format!("{who} orders {wanted:?} for {place:?} as {role}"));
        }
        if wanted == Presence::Absent && !self.is_elsewhere(node, place) {
            self.violate("I6", || format!("{who} drops {place:?}, though nobody else has it"));
        }
    }

    fn is_elsewhere(&self, node: usize, (group, address): Place) -> bool {
        self.another_was_elected(node, group) || self.lives[node].local.elsewhere[group][address]
    }

    fn another_was_elected(&self, node: usize, group: usize) -> bool {
        self.elections[group].iter().any(|election| election.node != node)
    }

    /// Each hook is told what is so, once.
    pub(super) fn hook_run(&mut self, node: usize, hook: &Hook) {
        let life = &mut self.lives[node];
        let (Some(group), Some(role)) = (hook.group, hook.role) else {
            life.local.hooked += 1;
            return;
        };
        let group = group.index();
        let told = life.local.told[group].replace(role);
        let is = life.roles[group];
        let who = letter(node);
        if told == Some(role) || hook.term.is_none() {
            self.violate("local", || format!("{who} tells its hooks again: {hook:?}"));
        }
        if role != told_as(is) {
            self.violate("local", || format!("{who} tells its hooks {role:?} as {is:?}"));
        }
        if role == RoleName::Backup && !self.another_was_elected(node, group) {
            self.violate("local", || format!("{who} is told to be a backup, and of nobody"));
        }
    }

    pub(super) fn alarm_journaled(&mut self, node: usize, event: &Event) {
        let local = &mut self.lives[node].local;
        let (name, raised) = match &event.kind {
            EventKind::AlarmRaised { name, .. } => (name, true),
            EventKind::AlarmCleared { name } => (name, false),
            _ => return,
        };
        local.raised += u32::from(raised);
        if let vipward_core::AlarmName::KernelAddress(group, address) = name {
            let place = (group.index(), address.index());
            local.alarms.retain(|known| *known != place);
            if raised {
                local.alarms.push(place);
            }
        }
    }

    /// When a step is over, the hooks know what the journal knows.
    pub(super) fn judge_hooks(&mut self, node: usize) {
        let life = &mut self.lives[node];
        let (raised, hooked) = (life.local.raised, life.local.hooked);
        (life.local.raised, life.local.hooked) = (0, 0);
        let wrong = (0..GROUPS).find(|group| match life.local.told[*group] {
            Some(told) => told != told_as(life.roles[*group]),
            None => told_as(life.roles[*group]) != RoleName::Backup,
        });
        let who = letter(node);
        if let Some(group) = wrong {
            let (role, told) = (life.roles[group], life.local.told[group]);
            self.violate("local", || {
                format!("{who} is {role:?} in group {group}, and its hooks know {told:?}")
            });
        }
        if raised != hooked {
            self.violate("local", || format!("{who} raises {raised} alarms, hooks {hooked}"));
        }
    }

    /// What is missing from "everybody's hooks know who leads, and no kernel is complained of".
    pub(crate) fn local_unsettled(&self, node: usize, group: usize) -> Option<String> {
        let life = &self.lives[node];
        // One whose disk knows of terms that the others lost follows nobody until they pass them.
        if life.local.told[group].is_none() && self.terms_last {
            return Some(format!("{} has told its hooks nothing of {group}", letter(node)));
        }
        let alarm = life.local.alarms.iter().find(|place| place.0 == group)?;
        Some(format!("{} has an alarm about its kernel's {alarm:?}", letter(node)))
    }
}

/// What a hook is told of a role: a candidate is a backup until it wins.
fn told_as(role: RoleName) -> RoleName {
    match role {
        RoleName::Candidate | RoleName::None => RoleName::Backup,
        RoleName::Backup | RoleName::Master | RoleName::Holding => role,
    }
}
