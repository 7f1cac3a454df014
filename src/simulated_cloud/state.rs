//! What EC2 does with elastic IPs: pure, and told the time.
//!
//! An address is a register with one value, its association; it keeps its past, so that a read
//! can be answered from it. Nothing here fails by chance: see `faults`.

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;

use serde::Serialize;
use vipward_core::{Random, Timestamp};

use super::call::{Associate, Call, Target};
use super::ec2_error::Ec2Error;
use super::reply::Reply;
use super::resources::{Adopt, AllocationSpec, PublicNetwork};

/// How many past associations an address remembers.
pub(crate) const HISTORY_MAX: usize = 1_024;

/// One association of an address with an interface.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Association {
    /// Its id, `eipassoc-...`.
    pub id: String,
    /// The interface.
    pub interface: String,
    /// The instance that the interface is attached to.
    pub instance: Option<String>,
    /// The address of the interface.
    pub private_ip: Ipv4Addr,
}

/// Who holds an elastic IP.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Holding {
    /// The address.
    pub public_ip: Ipv4Addr,
    /// Its association; `None`: nobody holds it.
    pub association: Option<Association>,
    /// Since when it is so; `None`: since the start.
    pub since: Option<Timestamp>,
}

/// Who holds which elastic IP, by allocation id.
pub type Holders = BTreeMap<String, Holding>;

#[derive(Clone, Debug)]
pub(crate) struct Allocation {
    pub(crate) public_ip: Ipv4Addr,
    /// Each association, or none, with the time from which it held; the newest last.
    history: VecDeque<(Timestamp, Option<Association>)>,
}

impl Allocation {
    /// One that nobody ever held.
    pub(crate) fn new(public_ip: Ipv4Addr) -> Self {
        Self { public_ip, history: VecDeque::new() }
    }

    /// The association as it was at a point in time.
    pub(crate) fn association(&self, at: Timestamp) -> Option<&Association> {
        self.history
            .iter()
            .rev()
            .find(|(since, _)| *since <= at)
            .and_then(|(_, held)| held.as_ref())
    }

    fn current(&self) -> Option<&Association> {
        self.history.back().and_then(|(_, held)| held.as_ref())
    }

    fn set(&mut self, now: Timestamp, association: Option<Association>) {
        if self.history.len() >= HISTORY_MAX {
            self.history.pop_front();
        }
        self.history.push_back((now, association));
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Interface {
    pub(crate) instance: Option<String>,
    /// The primary one first; never empty.
    pub(crate) private_ips: Vec<Ipv4Addr>,
    /// What they were before, each with the time until which it was so; the newest last.
    pub(crate) past: VecDeque<(Timestamp, Vec<Ipv4Addr>)>,
    /// It was made up when first named, so it has whatever address it is said to have.
    pub(crate) adopted: bool,
}

/// The state of the simulated cloud.
#[derive(Clone, Debug)]
pub(crate) struct Cloud {
    pub(crate) allocations: BTreeMap<String, Allocation>,
    pub(crate) interfaces: BTreeMap<String, Interface>,
    pub(crate) network: PublicNetwork,
    pub(crate) adopts: Adopt,
    /// Whether an association with the same interface keeps its id: AWS does not say.
    pub(crate) keeps_association: bool,
    /// Counts what changed the holders: cheaper than to compare them.
    pub(crate) revision: u64,
    random: Random,
}

impl Cloud {
    /// An empty cloud.
    pub(crate) fn new(network: PublicNetwork, adopts: Adopt, seed: u64) -> Self {
        Self {
            allocations: BTreeMap::new(),
            interfaces: BTreeMap::new(),
            network,
            adopts,
            keeps_association: false,
            revision: 0,
            random: Random::new(seed),
        }
    }

    /// Carries out one call. A describe call shows the state as it was at `now`, which may lie in
    /// the past.
    pub(crate) fn apply(&mut self, now: Timestamp, call: &Call) -> Result<Reply, Ec2Error> {
        self.adopt(call);
        match call {
            Call::AssociateAddress(associate) => self.associate(now, associate),
            Call::DisassociateAddress { association } => self.disassociate(now, association),
            Call::AllocateAddress => self.allocate(),
            Call::AssignPrivateIpAddresses(assign) => self.assign(now, assign),
            Call::UnassignPrivateIpAddresses { interface, private_ips } => {
                self.unassign(now, interface, private_ips)
            }
            Call::DescribeAddresses { ids, public_ips, filters } => {
                self.describe_addresses(now, ids, public_ips, filters)
            }
            Call::DescribeNetworkInterfaces { ids, filters } => {
                self.describe_interfaces(now, ids, filters)
            }
            Call::DescribeInstances { ids, filters } => self.describe_instances(now, ids, filters),
        }
    }

    /// Who holds what now.
    pub(crate) fn holders(&self) -> Holders {
        let holding = |allocation: &Allocation| Holding {
            public_ip: allocation.public_ip,
            association: allocation.current().cloned(),
            since: allocation.history.back().map(|(since, _)| *since),
        };
        self.allocations.iter().map(|(id, allocation)| (id.clone(), holding(allocation))).collect()
    }

    /// The interfaces attached to an instance.
    pub(crate) fn interfaces_of(&self, instance: &str) -> Vec<&String> {
        let attached = |interface: &Interface| interface.instance.as_deref() == Some(instance);
        self.interfaces.iter().filter(|(_, it)| attached(it)).map(|(id, _)| id).collect()
    }

    fn associate(&mut self, now: Timestamp, call: &Associate) -> Result<Reply, Ec2Error> {
        let id = &call.allocation;
        let allocation =
            self.allocations.get(id).ok_or_else(|| Ec2Error::allocation_not_found(id))?;
        let (interface_id, interface) = self.target(&call.target)?;
        let private_ip = call.private_ip.unwrap_or(interface.primary());
        if !interface.private_ips.contains(&private_ip) {
            return Err(Ec2Error::invalid_parameter(format!(
                "Address {private_ip} is not assigned to interface {interface_id}"
            )));
        }
        let held = allocation.current();
        let same = held.is_some_and(|held| held.interface == *interface_id);
        if let Some(held) = held
            && !same
            && !call.reassociate
        {
            return Err(Ec2Error::already_associated(id, &held.id));
        }
        let kept =
            held.filter(|held| same && self.keeps_association && held.private_ip == private_ip);
        let association = Association {
            id: kept.map_or_else(String::new, |held| held.id.clone()),
            interface: interface_id.clone(),
            instance: interface.instance.clone(),
            private_ip,
        };
        Ok(self.point(now, id, association))
    }

    /// Gives an address to an interface. The address that was there before loses its place, as
    /// one private address has at most one elastic IP.
    fn point(&mut self, now: Timestamp, id: &str, mut association: Association) -> Reply {
        for (other, allocation) in &mut self.allocations {
            let there = allocation.current().is_some_and(|held| {
                held.interface == association.interface && held.private_ip == association.private_ip
            });
            if there && other != id {
                allocation.set(now, None);
            }
        }
        if association.id.is_empty() {
            association.id = self.new_id("eipassoc");
        }
        let association_id = association.id.clone();
        self.revision += 1;
        if let Some(allocation) = self.allocations.get_mut(id) {
            allocation.set(now, Some(association));
        }
        Reply::Associated { association_id }
    }

    fn disassociate(&mut self, now: Timestamp, id: &str) -> Result<Reply, Ec2Error> {
        let held = |it: &Allocation| it.current().is_some_and(|held| held.id == id);
        let allocation = self
            .allocations
            .values_mut()
            .find(|it| held(it))
            .ok_or_else(|| Ec2Error::association_not_found(id))?;
        allocation.set(now, None);
        self.revision += 1;
        Ok(Reply::Disassociated)
    }

    /// Lets the elastic IP of a private address follow it to another interface, or go.
    pub(crate) fn rebind(
        &mut self,
        now: Timestamp,
        from: &str,
        private_ip: Ipv4Addr,
        to: Option<(&String, Option<&String>)>,
    ) {
        for allocation in self.allocations.values_mut() {
            let Some(held) = allocation.current() else { continue };
            if held.interface != from || held.private_ip != private_ip {
                continue;
            }
            let moved = to.map(|(interface, instance)| Association {
                id: held.id.clone(),
                interface: interface.clone(),
                instance: instance.cloned(),
                private_ip,
            });
            allocation.set(now, moved);
        }
    }

    fn allocate(&mut self) -> Result<Reply, Ec2Error> {
        let id = self.new_id("eipalloc");
        let spec = AllocationSpec { id: id.clone(), public_ip: None };
        self.add_allocation(&spec).map_err(|_| Ec2Error::address_limit_exceeded())?;
        let allocation =
            self.allocations.get(&id).ok_or_else(|| Ec2Error::allocation_not_found(&id))?;
        Ok(Reply::Allocated { allocation_id: id, public_ip: allocation.public_ip })
    }

    fn target(&self, target: &Target) -> Result<(&String, &Interface), Ec2Error> {
        let id = match target {
            Target::Interface(id) => id,
            Target::Instance(instance) => match self.interfaces_of(instance).as_slice() {
                [] => return Err(Ec2Error::instance_not_found(instance)),
                [only] => *only,
                [_, _, ..] => return Err(Ec2Error::several_interfaces(instance)),
            },
        };
        self.interfaces.get_key_value(id).ok_or_else(|| Ec2Error::interface_not_found(id))
    }

    /// An id of AWS's form: 17 hexadecimal digits.
    fn new_id(&mut self, kind: &str) -> String {
        format!("{kind}-0{:016x}", self.random.draw())
    }
}
