//! What a role means on its machine: the kernel's addresses and the operator's hooks follow it.

use vipward_core::{Durable, Event, EventKind, Hook, Presence, RoleName};

use crate::clock::Nanos;
use crate::kernel::Place;
use crate::observer::calls::AGREEMENT;
use crate::observer::{Observer, letter};
use crate::plan::{ADDRESSES, GROUPS};

/// What one life ordered on its machine.
#[derive(Clone, Debug, Default)]
pub(crate) struct Local {
    /// What the kernel is to have.
    pub(super) kernel: [[Option<Presence>; ADDRESSES]; GROUPS],
    /// The first and the last read in a row that showed it at another.
    elsewhere: [[Option<(Nanos, Nanos)>; ADDRESSES]; GROUPS],
    /// The highest election that its disk knew of when it started.
    floor: [u64; GROUPS],
    /// What the hooks were last told.
    told: [Option<RoleName>; GROUPS],
    /// Alarms about the kernel that are raised.
    alarms: Vec<Place>,
    /// Alarms raised, and hooks run for them, in the present step.
    raised: u32,
    hooked: u32,
}

impl Local {
    /// Of a life that starts with this on its disk.
    pub(super) fn new(disk: Option<&Durable>) -> Self {
        let mut local = Self::default();
        let elected = disk.into_iter().flat_map(|disk| &disk.elected);
        for (floor, term) in local.floor.iter_mut().zip(elected) {
            *floor = term.0;
        }
        local
    }

    /// A read showed an address at this node, at another, or at nobody.
    pub(super) fn seen(&mut self, at: Nanos, (group, address): Place, elsewhere: bool) {
        let seen = &mut self.elsewhere[group][address];
        *seen = elsewhere.then(|| (seen.map_or(at, |(first, _)| first), at));
    }
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
        let seen = self.lives[node].local.elsewhere[group][address];
        let agreed = seen.is_some_and(|(first, last)| last >= first + AGREEMENT);
        agreed || self.another_was_elected_since(node, group)
    }

    /// Whether another was elected in a higher term than this node ever was, as far as it can
    /// know: by itself or from its disk.
    fn another_was_elected_since(&self, node: usize, group: usize) -> bool {
        let life = &self.lives[node];
        let own = self.elections[group].iter().filter(|election| {
            let known = election.at >= life.born.real || election.term <= life.local.floor[group];
            election.node == node && known
        });
        let own = own.map(|election| election.term).max().unwrap_or(0);
        let others = || self.elections[group].iter().filter(|election| election.node != node);
        others().any(|election| election.term > own || !self.terms_last)
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
