//! What exists in the cloud: given at its start, added later, or adopted when first named.

use std::collections::{BTreeSet, VecDeque};
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::call::{Call, Target};
use super::state::{Allocation, Cloud, Interface};

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

/// Which ids are taken for those of existing resources when a call first names them, if they
/// have the right form; all others do not exist.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Adopt {
    /// Those of elastic IPs.
    pub allocations: bool,
    /// Those of interfaces and instances.
    pub interfaces: bool,
}

impl Adopt {
    /// Any id.
    pub const ALL: Self = Self { allocations: true, interfaces: true };
}

impl Cloud {
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

    /// Takes the ids that a call names for resources that were always there. Those that cannot be
    /// added stay unknown, and the call says so.
    pub(crate) fn adopt(&mut self, call: &Call) {
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
            Call::AssignPrivateIpAddresses(assign) => self.adopt_interface(&assign.interface, None),
            Call::UnassignPrivateIpAddresses { interface, .. } => {
                self.adopt_interface(interface, None);
            }
            Call::DisassociateAddress { .. } | Call::AllocateAddress => {}
        }
    }

    fn adopt_allocation(&mut self, id: &str) {
        if self.adopts.allocations && suffix(id, "eipalloc-").is_some() {
            let spec = AllocationSpec { id: id.to_owned(), public_ip: None };
            let _full = self.add_allocation(&spec);
        }
    }

    /// An interface is attached to the instance of the same number: `eni-0aaa` to `i-0aaa`.
    fn adopt_interface(&mut self, id: &str, private_ip: Option<Ipv4Addr>) {
        let Some(number) = suffix(id, "eni-").filter(|_| self.adopts.interfaces) else { return };
        if !self.interfaces.contains_key(id) && self.interfaces.len() < RESOURCES_MAX {
            let instance = Some(format!("i-{number}"));
            let private_ips = vec![self.free_private_ip()];
            let past = VecDeque::new();
            let interface = Interface { instance, private_ips, past, adopted: true };
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

    pub(crate) fn add_allocation(&mut self, spec: &AllocationSpec) -> Result<(), ResourceError> {
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
        self.allocations.insert(spec.id.clone(), Allocation::new(public_ip));
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
        let (instance, past) = (spec.instance.clone(), VecDeque::new());
        let interface = Interface { instance, private_ips, past, adopted: false };
        self.interfaces.insert(spec.id.clone(), interface);
        Ok(())
    }
}

/// The part of an id after its kind, if it has the form of one.
fn suffix<'a>(id: &'a str, kind: &str) -> Option<&'a str> {
    id.strip_prefix(kind).filter(|number| {
        (1..=32).contains(&number.len())
            && number.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    })
}
