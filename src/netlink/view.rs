//! What the kernel has, as far as anybody here asks.

use std::net::{IpAddr, Ipv4Addr};

use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkLayerType, LinkMessage};

/// The kernel's links and IPv4 addresses at one moment.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct View {
    pub(crate) links: Vec<Link>,
    pub(crate) held: Vec<Held>,
}

/// A network interface.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    /// Of an Ethernet interface; another kind speaks no ARP.
    pub(crate) mac: Option<[u8; 6]>,
    /// Up, and its lower layer can pass packets.
    pub(crate) running: bool,
    pub(crate) loopback: bool,
    /// A port of a bridge or a bond, which has the addresses in its place.
    pub(crate) port: bool,
}

/// An IPv4 address that a link has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Held {
    pub(crate) link: u32,
    pub(crate) ip: Ipv4Addr,
    pub(crate) prefix: u8,
    /// Whether it goes when the first address of its subnet goes.
    pub(crate) secondary: bool,
}

impl Held {
    /// Whether `other` is of the subnet of this address, and of its link.
    pub(crate) fn subnet_has(&self, other: &Self) -> bool {
        let shift = 32 - u32::from(self.prefix.min(32));
        let network = |ip: Ipv4Addr| u64::from(ip.to_bits()) >> shift;
        (self.link, self.prefix) == (other.link, other.prefix)
            && network(self.ip) == network(other.ip)
    }
}

impl Link {
    pub(super) fn read(message: &LinkMessage) -> Option<Self> {
        let LinkMessage { header, attributes, .. } = message;
        let name = attributes.iter().find_map(|it| {
            if let LinkAttribute::IfName(name) = it { Some(name.clone()) } else { None }
        })?;
        let mac = attributes.iter().find_map(|it| {
            let LinkAttribute::Address(bytes) = it else { return None };
            <[u8; 6]>::try_from(bytes.as_slice()).ok()
        });
        let ethernet = header.link_layer_type == LinkLayerType::Ether;
        Some(Self {
            index: header.index,
            name,
            mac: mac.filter(|_| ethernet),
            running: header.flags.contains(LinkFlags::Running),
            loopback: header.flags.contains(LinkFlags::Loopback),
            port: attributes.iter().any(|it| matches!(it, LinkAttribute::Controller(_))),
        })
    }
}

impl Held {
    pub(super) fn read(message: &AddressMessage) -> Option<Self> {
        let AddressMessage { header, attributes, .. } = message;
        let ip = attributes.iter().find_map(|it| {
            if let AddressAttribute::Local(IpAddr::V4(ip)) = it { Some(*ip) } else { None }
        })?;
        Some(Self {
            link: header.index,
            ip,
            prefix: header.prefix_len,
            secondary: header.flags.contains(AddressHeaderFlags::Secondary),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subnet_is_of_one_link_and_one_prefix() {
        let held =
            |link, ip: [u8; 4], prefix| Held { link, ip: ip.into(), prefix, secondary: false };
        let first = held(2, [10, 0, 1, 10], 24);
        for (other, expected) in [
            (held(2, [10, 0, 1, 50], 24), true),
            (held(2, [10, 0, 2, 50], 24), false),
            (held(2, [10, 0, 1, 50], 32), false),
            (held(3, [10, 0, 1, 50], 24), false),
        ] {
            assert_eq!(first.subnet_has(&other), expected, "{other:?}");
        }
        assert!(held(2, [10, 0, 1, 50], 0).subnet_has(&held(2, [192, 0, 2, 1], 0)));
    }
}
