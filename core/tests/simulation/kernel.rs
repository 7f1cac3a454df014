//! The kernel of each machine, and the edge that keeps it as the core ordered: slow, refused now
//! and then, and something else removes an address behind its back.

use vipward_core::{AddressId, AddressKind, GroupId, Input, KernelState, Presence};

use crate::clock::Nanos;
use crate::plan::{ADDRESSES, GROUPS};
use crate::world::{Event, World};

/// What a kernel has: its addresses outlive the daemon, and not the machine.
pub(crate) type Kernel = [[bool; ADDRESSES]; GROUPS];

/// What one life's edge knows of an address.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Edge {
    wanted: Option<Presence>,
    /// What it told last.
    told: Option<Presence>,
}

/// One address of one group.
pub(crate) type Place = (usize, usize);

impl World {
    /// Every secondary address.
    pub(crate) fn secondary(&self) -> Vec<Place> {
        let config = &self.plan.configs[0];
        let groups = config.groups.iter().enumerate();
        let all = groups.flat_map(|(group, config)| {
            let kinds = config.addresses.iter().enumerate();
            kinds.map(move |(address, kind)| ((group, address), *kind))
        });
        all.filter(|(_, kind)| *kind == AddressKind::SecondaryIp).map(|(place, _)| place).collect()
    }

    /// A fresh life's edge looks at what is there.
    pub(crate) fn kernel_begins(&mut self, node: usize) {
        for place in self.secondary() {
            self.kernel_later(node, place, self.plan.heartbeat / 10);
        }
    }

    /// The core orders.
    pub(crate) fn kernel_ordered(&mut self, node: usize, place: Place, wanted: Presence) {
        let Some(process) = &mut self.hosts[node].process else { return };
        process.edges[place.0][place.1].wanted = Some(wanted);
        let slow = if self.faults { self.plan.mix.kernel_delay } else { self.plan.heartbeat / 10 };
        self.kernel_later(node, place, slow);
    }

    /// Something else removes an address.
    pub(crate) fn kernel_robbed(&mut self, node: usize) {
        let places = self.secondary();
        if places.is_empty() {
            return;
        }
        let (group, address) = self.dice.pick(&places);
        let host = &mut self.hosts[node];
        if std::mem::take(&mut host.kernel[group][address]) {
            self.trace.line(self.now, node, || format!("KERNEL loses {group}.{address}"));
            self.kernel_later(node, (group, address), self.plan.heartbeat / 10);
        }
    }

    fn kernel_later(&mut self, node: usize, place: Place, most: Nanos) {
        let at = self.now + self.dice.spread(0, most);
        let life = self.hosts[node].life;
        self.queue.push(at, Event::Kernel { node, life, place });
    }

    /// The edge looks at an address: tells what changed, and makes it as it was ordered.
    pub(crate) fn kernel_acts(&mut self, node: usize, life: u32, place: Place) {
        let host = &mut self.hosts[node];
        if !host.runs(life) {
            return;
        }
        if host.frozen.is_some() {
            host.backlog.push(Event::Kernel { node, life, place });
            return;
        }
        self.tell_kernel(node, place);
        let host = &mut self.hosts[node];
        let Some(process) = host.process.as_ref().filter(|_| host.life == life) else { return };
        let Some(wanted) = process.edges[place.0][place.1].wanted else { return };
        let has = &mut host.kernel[place.0][place.1];
        if *has == (wanted == Presence::Present) {
            return;
        }
        if host.kernel_fails {
            let what = "operation not permitted".into();
            self.give_kernel(node, place, KernelState::Failed { what });
            return self.kernel_later(node, place, self.plan.heartbeat);
        }
        *has = wanted == Presence::Present;
        self.trace.line(self.now, node, || {
            format!("KERNEL {}.{} is {}", place.0, place.1, wanted.as_str())
        });
        self.tell_kernel(node, place);
    }

    fn tell_kernel(&mut self, node: usize, place: Place) {
        let host = &mut self.hosts[node];
        let is = match host.kernel[place.0][place.1] {
            true => Presence::Present,
            false => Presence::Absent,
        };
        let Some(process) = &mut host.process else { return };
        let told = process.edges[place.0][place.1].told.replace(is);
        if told != Some(is) {
            self.give_kernel(node, place, KernelState::Is(is));
        }
    }

    fn give_kernel(&mut self, node: usize, (group, address): Place, state: KernelState) {
        let (group, address) = (GroupId(group as u8), AddressId(address as u8));
        self.step(node, Input::Kernel { group, address, state });
    }

    /// What is missing from "the master's kernel has the group's addresses, and no other".
    pub(crate) fn kernels_unsettled(&self, group: usize, master: usize) -> Option<String> {
        let of_group = self.secondary().into_iter().filter(|place| place.0 == group);
        for (_, address) in of_group {
            let has = |node: &usize| self.hosts[*node].kernel[group][address];
            let holders: Vec<usize> = (0..self.plan.voters()).filter(has).collect();
            if holders != [master] {
                return Some(format!("address {group}.{address} is in the kernels of {holders:?}"));
            }
        }
        None
    }
}
