//! Where an address belongs.

use std::net::Ipv4Addr;

use super::Address;
use crate::netlink::{Held, Link, View};

/// Why an address has no interface to go to.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum NoPlace {
    #[error(
        "{ip} has no place: there is no interface {name:?}; correct `interface` of the address, or \
         create the interface"
    )]
    Name { ip: Ipv4Addr, name: String },
    #[error(
        "{ip} has no place: the MAC of this node's network interface is not known, as neither \
         instance metadata nor the cloud told it; set `interface` of the address"
    )]
    UnknownMac { ip: Ipv4Addr },
    #[error(
        "{ip} has no place: no interface has the MAC {mac} of this node's network interface; \
         attach that, or set `interface` of the address", mac = hex(mac)
    )]
    Mac { ip: Ipv4Addr, mac: [u8; 6] },
}

fn hex(mac: &[u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// Where an address belongs, and where it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Seen {
    pub(super) link: Result<Link, NoPlace>,
    /// As the kernel has it, with whatever prefix.
    pub(super) held: Vec<Held>,
}

impl Seen {
    pub(super) fn of(address: &Address, view: &View, mac: Option<[u8; 6]>) -> Self {
        let link = place(address, view, mac).cloned();
        let loopback = |index| view.links.iter().any(|it| it.index == index && it.loopback);
        let counts = |held: &Held| match &link {
            Ok(link) => held.link == link.index,
            // As long as its interface is not known, it is wherever it is.
            Err(NoPlace::UnknownMac { .. }) => !loopback(held.link),
            Err(NoPlace::Name { .. } | NoPlace::Mac { .. }) => false,
        };
        let held = view.held.iter().filter(|it| it.ip == address.ip && counts(it));
        Self { held: held.copied().collect(), link }
    }
}

fn place<'a>(address: &Address, view: &'a View, mac: Option<[u8; 6]>) -> Result<&'a Link, NoPlace> {
    let ip = address.ip;
    if let Some(name) = &address.interface {
        let named = view.links.iter().find(|it| it.name == *name);
        return named.ok_or_else(|| NoPlace::Name { ip, name: name.clone() });
    }
    let mac = mac.ok_or(NoPlace::UnknownMac { ip })?;
    // A bridge or bond has the MAC of its port, and the addresses. What else shares a MAC was
    // made on top of the machine's own interface, and later.
    let same = view.links.iter().filter(|it| it.mac == Some(mac));
    same.min_by_key(|it| (it.port, it.index)).ok_or(NoPlace::Mac { ip, mac })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Keep;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 0xa];

    fn link(index: u32, name: &str, mac: Option<[u8; 6]>) -> Link {
        let name = name.to_owned();
        Link { index, name, mac, running: true, loopback: index == 1, port: false }
    }

    fn address(interface: Option<&str>) -> Address {
        let interface = interface.map(str::to_owned);
        Address { ip: [10, 0, 1, 50].into(), interface, keep: Keep::Always }
    }

    fn held(link: u32) -> Held {
        Held { link, ip: [10, 0, 1, 50].into(), prefix: 32, secondary: false }
    }

    #[test]
    fn an_address_belongs_to_the_interface_named_or_to_that_with_the_mac() {
        let port = Link { port: true, ..link(2, "eth0", Some(MAC)) };
        let view = View {
            links: vec![
                link(1, "lo", None),
                port,
                link(3, "br0", Some(MAC)),
                link(4, "br0.7", Some(MAC)),
            ],
            held: vec![held(1), held(2)],
        };
        let seen = |interface, mac| Seen::of(&address(interface), &view, mac);

        assert_eq!(seen(Some("eth0"), None).link.unwrap().index, 2);
        assert_eq!(seen(Some("eth0"), None).held, [held(2)]);
        assert_eq!(
            seen(None, Some(MAC)).link.unwrap().name,
            "br0",
            "not its port, nor what is on it"
        );
        assert_eq!(seen(None, Some(MAC)).held, [], "that is another interface's");
        assert_eq!(seen(None, None).held, [held(2)], "wherever it is, but on lo");
    }

    #[test]
    fn without_a_place_it_says_what_to_do() {
        let view = View { links: vec![link(2, "eth0", None)], held: vec![held(2)] };
        for (interface, mac, expected) in [
            (Some("eth1"), None, "there is no interface \"eth1\"; correct `interface`"),
            (None, None, "is not known, as neither instance metadata nor the cloud told it; set"),
            (None, Some(MAC), "no interface has the MAC 02:00:00:00:00:0a of this node's"),
        ] {
            let sentence = Seen::of(&address(interface), &view, mac).link.unwrap_err().to_string();
            assert!(sentence.contains(expected), "{sentence}");
        }
    }
}
