//! What EC2 does with elastic IPs: pure, and told the time.
//!
//! An address is a register with one value, its association; it keeps its past, so that a read
//! can be answered from it. Nothing here fails by chance: see `faults`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use vipward_core::{Random, Timestamp};

use super::call::{Associate, Call, Target};
use super::ec2_error::Ec2Error;
use super::reply::Reply;

/// How many past associations an address remembers.
const HISTORY_MAX: usize = 1_024;

/// How many addresses, and how many interfaces, there can be.
const RESOURCES_MAX: usize = 10_000;

/// What exists in the cloud at its start, or is added later.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Resources {
    /// The elastic IPs.
    pub allocations: Vec<AllocationSpec>,
    /// The network interfaces, and the instances that they are attached to.
    pub interfaces: Vec<InterfaceSpec>,
}

/// An elastic IP.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AllocationSpec {
    /// Its allocation id.
    pub id: String,
    /// The address; `None`: the next free one of the [`PublicNetwork`].
    #[serde(default)]
    pub public_ip: Option<Ipv4Addr>,
}

/// A network interface.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct InterfaceSpec {
    /// Its id.
    pub id: String,
    /// The instance that it is attached to; `None`: to none.
    #[serde(default)]
    pub instance: Option<String>,
    /// Its addresses, the primary one first; empty: one is made up.
    #[serde(default)]
    pub private_ips: Vec<Ipv4Addr>,
}

/// Resources that cannot be added.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ResourceError {
    /// An allocation is there already, with another address.
    #[error("allocation {id} exists already with the address {held}; choose another id")]
    OtherAddress {
        /// The allocation.
        id: String,
        /// The address that it has.
        held: Ipv4Addr,
    },
    /// An address belongs to another allocation.
    #[error("the address {ip} belongs to {owner} already; choose another")]
    AddressTaken {
        /// The address.
        ip: Ipv4Addr,
        /// Whose it is.
        owner: String,
    },
    /// No address is left.
    #[error("no public address is left; choose a larger network with --public-network")]
    NoAddressLeft,
    /// There are too many.
    #[error("there are {RESOURCES_MAX} resources already, the most that are kept")]
    TooMany,
}

/// Where public addresses are taken from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PublicNetwork {
    first: u32,
    size: u32,
}

impl Default for PublicNetwork {
    /// TEST-NET-3 (RFC 5737): addresses that nobody has.
    fn default() -> Self {
        Self { first: u32::from(Ipv4Addr::new(203, 0, 113, 0)), size: 256 }
    }
}

impl FromStr for PublicNetwork {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a network such as 203.0.113.0/24 (/8 to /30)");
        let (address, length) = text.split_once('/').ok_or_else(wrong)?;
        let address: Ipv4Addr = address.parse().map_err(|_| wrong())?;
        let length: u32 = length.parse().map_err(|_| wrong())?;
        if !(8..=30).contains(&length) {
            return Err(wrong());
        }
        let size = 1 << (32 - length);
        Ok(Self { first: u32::from(address) & !(size - 1), size })
    }
}

impl PublicNetwork {
    /// Its addresses but the first and the last.
    fn hosts(self) -> impl Iterator<Item = Ipv4Addr> {
        (1..self.size - 1).map(move |n| Ipv4Addr::from(self.first + n))
    }
}

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
    /// It was made up when first named, so it has whatever address it is said to have.
    adopted: bool,
}

/// The state of the simulated cloud.
#[derive(Clone, Debug)]
pub(crate) struct Cloud {
    pub(crate) allocations: BTreeMap<String, Allocation>,
    pub(crate) interfaces: BTreeMap<String, Interface>,
    network: PublicNetwork,
    adopts: bool,
    /// Whether an association with the same interface keeps its id: AWS does not say.
    pub(crate) keeps_association: bool,
    /// Counts what changed the holders: cheaper than to compare them.
    pub(crate) revision: u64,
    random: Random,
}

impl Cloud {
    /// An empty cloud. One that `adopts` takes any id of the right form for one of its own when
    /// it is first named.
    pub(crate) fn new(network: PublicNetwork, adopts: bool, seed: u64) -> Self {
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
        if self.adopts {
            self.adopt(call);
        }
        match call {
            Call::AssociateAddress(associate) => self.associate(now, associate),
            Call::DisassociateAddress { association } => self.disassociate(now, association),
            Call::AllocateAddress => self.allocate(),
            Call::DescribeAddresses { ids, public_ips, filters } => {
                self.describe_addresses(now, ids, public_ips, filters)
            }
            Call::DescribeNetworkInterfaces { ids, filters } => {
                self.describe_interfaces(now, ids, filters)
            }
            Call::DescribeInstances { ids, filters } => self.describe_instances(now, ids, filters),
        }
    }

    /// Adds resources, all of them or none. An interface that is there already takes its new form.
    pub(crate) fn add(&mut self, resources: &Resources) -> Result<(), ResourceError> {
        let mut next = self.clone();
        for spec in &resources.allocations {
            next.add_allocation(spec)?;
        }
        for spec in &resources.interfaces {
            next.add_interface(spec)?;
        }
        *self = next;
        Ok(())
    }

    /// All resources there are.
    pub(crate) fn resources(&self) -> Resources {
        let allocations = self.allocations.iter().map(|(id, allocation)| AllocationSpec {
            id: id.clone(),
            public_ip: Some(allocation.public_ip),
        });
        let interfaces = self.interfaces.iter().map(|(id, interface)| InterfaceSpec {
            id: id.clone(),
            instance: interface.instance.clone(),
            private_ips: interface.private_ips.clone(),
        });
        Resources { allocations: allocations.collect(), interfaces: interfaces.collect() }
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

    fn add_allocation(&mut self, spec: &AllocationSpec) -> Result<(), ResourceError> {
        if let Some(there) = self.allocations.get(&spec.id) {
            return match spec.public_ip {
                Some(ip) if ip != there.public_ip => {
                    Err(ResourceError::OtherAddress { id: spec.id.clone(), held: there.public_ip })
                }
                Some(_) | None => Ok(()),
            };
        }
        if self.allocations.len() >= RESOURCES_MAX {
            return Err(ResourceError::TooMany);
        }
        let public_ip = match spec.public_ip {
            Some(ip) => match self.allocations.iter().find(|(_, it)| it.public_ip == ip) {
                Some((owner, _)) => {
                    return Err(ResourceError::AddressTaken { ip, owner: owner.clone() });
                }
                None => ip,
            },
            None => self.free_public_ip().ok_or(ResourceError::NoAddressLeft)?,
        };
        let allocation = Allocation { public_ip, history: VecDeque::new() };
        self.allocations.insert(spec.id.clone(), allocation);
        self.revision += 1;
        Ok(())
    }

    fn add_interface(&mut self, spec: &InterfaceSpec) -> Result<(), ResourceError> {
        if self.interfaces.len() >= RESOURCES_MAX && !self.interfaces.contains_key(&spec.id) {
            return Err(ResourceError::TooMany);
        }
        let private_ips = if spec.private_ips.is_empty() {
            vec![self.free_private_ip()]
        } else {
            spec.private_ips.clone()
        };
        let interface = Interface { instance: spec.instance.clone(), private_ips, adopted: false };
        self.interfaces.insert(spec.id.clone(), interface);
        Ok(())
    }

    fn associate(&mut self, now: Timestamp, call: &Associate) -> Result<Reply, Ec2Error> {
        let id = &call.allocation;
        let allocation =
            self.allocations.get(id).ok_or_else(|| Ec2Error::allocation_not_found(id))?;
        let (interface_id, interface) = self.target(&call.target)?;
        let primary = interface.private_ips.first().copied().unwrap_or(Ipv4Addr::UNSPECIFIED);
        let private_ip = call.private_ip.unwrap_or(primary);
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

    /// Takes the ids that a call names for resources that were always there. Those that cannot be
    /// added stay unknown, and the call says so.
    fn adopt(&mut self, call: &Call) {
        match call {
            Call::AssociateAddress(associate) => {
                self.adopt_allocation(&associate.allocation);
                match &associate.target {
                    Target::Interface(id) => self.adopt_interface(id, associate.private_ip),
                    Target::Instance(id) => self.adopt_instance(id, associate.private_ip),
                }
            }
            Call::DescribeAddresses { ids, .. } => {
                ids.iter().for_each(|id| self.adopt_allocation(id));
            }
            Call::DescribeNetworkInterfaces { ids, .. } => {
                ids.iter().for_each(|id| self.adopt_interface(id, None));
            }
            Call::DescribeInstances { ids, .. } => {
                ids.iter().for_each(|id| self.adopt_instance(id, None));
            }
            Call::DisassociateAddress { .. } | Call::AllocateAddress => {}
        }
    }

    fn adopt_allocation(&mut self, id: &str) {
        if suffix(id, "eipalloc-").is_some() {
            let spec = AllocationSpec { id: id.to_owned(), public_ip: None };
            let _full = self.add_allocation(&spec);
        }
    }

    /// An interface is attached to the instance of the same number: `eni-0aaa` to `i-0aaa`.
    fn adopt_interface(&mut self, id: &str, private_ip: Option<Ipv4Addr>) {
        let Some(number) = suffix(id, "eni-") else { return };
        if !self.interfaces.contains_key(id) && self.interfaces.len() < RESOURCES_MAX {
            let instance = Some(format!("i-{number}"));
            let private_ips = vec![self.free_private_ip()];
            let interface = Interface { instance, private_ips, adopted: true };
            self.interfaces.insert(id.to_owned(), interface);
        }
        if let (Some(ip), Some(interface)) = (private_ip, self.interfaces.get_mut(id))
            && interface.adopted
            && !interface.private_ips.contains(&ip)
            && interface.private_ips.len() < 256
        {
            interface.private_ips.push(ip);
        }
    }

    fn adopt_instance(&mut self, id: &str, private_ip: Option<Ipv4Addr>) {
        let Some(number) = suffix(id, "i-") else { return };
        let interface = match self.interfaces_of(id).as_slice() {
            [] => format!("eni-{number}"),
            [first, ..] => (*first).clone(),
        };
        self.adopt_interface(&interface, private_ip);
    }

    fn free_public_ip(&self) -> Option<Ipv4Addr> {
        let taken: BTreeSet<_> = self.allocations.values().map(|it| it.public_ip).collect();
        self.network.hosts().find(|ip| !taken.contains(ip))
    }

    fn free_private_ip(&self) -> Ipv4Addr {
        let taken: BTreeSet<_> =
            self.interfaces.values().flat_map(|it| it.private_ips.iter().copied()).collect();
        let first = u32::from(Ipv4Addr::new(10, 0, 1, 10));
        (first..).map(Ipv4Addr::from).find(|ip| !taken.contains(ip)).unwrap_or(Ipv4Addr::LOCALHOST)
    }

    /// An id of AWS's form: 17 hexadecimal digits.
    fn new_id(&mut self, kind: &str) -> String {
        format!("{kind}-0{:016x}", self.random.draw())
    }
}

/// The part of an id after its kind, if it has the form of one.
fn suffix<'a>(id: &'a str, kind: &str) -> Option<&'a str> {
    id.strip_prefix(kind).filter(|number| {
        (1..=32).contains(&number.len())
            && number.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    })
}
