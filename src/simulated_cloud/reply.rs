//! The answers, and how EC2 writes them as XML.

use std::net::Ipv4Addr;

use super::ec2_error::Ec2Error;
use super::state::Association;

/// The account that everything belongs to: the one of AWS's examples.
const ACCOUNT: &str = "123456789012";

/// What a call that was not refused answers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Reply {
    Associated {
        association_id: String,
    },
    /// Or unassigned: neither tells more than that it was done.
    Disassociated,
    Assigned {
        interface: String,
        private_ips: Vec<Ipv4Addr>,
    },
    Allocated {
        allocation_id: String,
        public_ip: Ipv4Addr,
    },
    Addresses(Vec<AddressView>),
    Interfaces(Vec<InterfaceView>),
    Instances(Vec<InstanceView>),
}

/// An elastic IP as shown.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct AddressView {
    pub(crate) allocation: String,
    pub(crate) public_ip: Ipv4Addr,
    pub(crate) association: Option<Association>,
}

/// A network interface as shown.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct InterfaceView {
    pub(crate) id: String,
    pub(crate) instance: Option<String>,
    pub(crate) subnet: String,
    pub(crate) mac: String,
    /// Its addresses, the primary one first, each with the elastic IP associated with it.
    pub(crate) addresses: Vec<(Ipv4Addr, Option<AddressView>)>,
}

/// An instance as shown.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct InstanceView {
    pub(crate) id: String,
    pub(crate) interfaces: Vec<InterfaceView>,
}

impl InterfaceView {
    pub(crate) fn primary(&self) -> Ipv4Addr {
        self.addresses.first().map_or(Ipv4Addr::UNSPECIFIED, |(ip, _)| *ip)
    }

    pub(crate) fn status(&self) -> &'static str {
        if self.instance.is_some() { "in-use" } else { "available" }
    }
}

impl Reply {
    /// The whole document, as an answer to `action`.
    pub(crate) fn to_xml(&self, action: &str, request_id: &str) -> String {
        let mut xml = Xml::new();
        let root = format!("{action}Response");
        xml.0.push_str(&format!("<{root} xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\">"));
        xml.text("requestId", request_id);
        match self {
            Self::Associated { association_id } => {
                xml.text("return", "true");
                xml.text("associationId", association_id);
            }
            Self::Disassociated => xml.text("return", "true"),
            Self::Assigned { interface, private_ips } => {
                xml.text("networkInterfaceId", interface);
                xml.list("assignedPrivateIpAddressesSet", private_ips, |ip, xml| {
                    xml.text("privateIpAddress", &ip.to_string());
                });
                xml.text("return", "true");
            }
            Self::Allocated { allocation_id, public_ip } => {
                xml.text("publicIp", &public_ip.to_string());
                xml.text("domain", "vpc");
                xml.text("allocationId", allocation_id);
            }
            Self::Addresses(addresses) => {
                xml.list("addressesSet", addresses, AddressView::write);
            }
            Self::Interfaces(interfaces) => {
                xml.list("networkInterfaceSet", interfaces, InterfaceView::write);
            }
            Self::Instances(instances) => {
                xml.list("reservationSet", instances, InstanceView::write);
            }
        }
        xml.0.push_str(&format!("</{root}>"));
        xml.0
    }
}

impl Ec2Error {
    /// The whole document.
    pub(crate) fn to_xml(&self, request_id: &str) -> String {
        let mut xml = Xml::new();
        xml.element("Response", |xml| {
            xml.element("Errors", |xml| {
                xml.element("Error", |xml| {
                    xml.text("Code", &self.code);
                    xml.text("Message", &self.message);
                });
            });
            xml.text("RequestID", request_id);
        });
        xml.0
    }
}

impl AddressView {
    fn write(&self, xml: &mut Xml) {
        xml.text("publicIp", &self.public_ip.to_string());
        xml.text("allocationId", &self.allocation);
        xml.text("domain", "vpc");
        if let Some(held) = &self.association {
            xml.optional("instanceId", held.instance.as_deref());
            xml.text("associationId", &held.id);
            xml.text("networkInterfaceId", &held.interface);
            xml.text("networkInterfaceOwnerId", ACCOUNT);
            xml.text("privateIpAddress", &held.private_ip.to_string());
        }
        xml.text("publicIpv4Pool", "amazon");
    }

    /// As part of the interface that it is associated with.
    fn write_association(&self, xml: &mut Xml) {
        xml.element("association", |xml| {
            xml.text("publicIp", &self.public_ip.to_string());
            xml.text("ipOwnerId", ACCOUNT);
            xml.text("allocationId", &self.allocation);
            xml.optional("associationId", self.association.as_ref().map(|held| held.id.as_str()));
        });
    }
}

impl InterfaceView {
    fn write(&self, xml: &mut Xml) {
        xml.text("networkInterfaceId", &self.id);
        xml.text("ownerId", ACCOUNT);
        xml.text("subnetId", &self.subnet);
        xml.text("macAddress", &self.mac);
        xml.text("status", self.status());
        xml.text("sourceDestCheck", "true");
        xml.text("interfaceType", "interface");
        xml.text("privateIpAddress", &self.primary().to_string());
        if let Some(instance) = &self.instance {
            xml.element("attachment", |xml| {
                xml.text("instanceId", instance);
                xml.text("instanceOwnerId", ACCOUNT);
                xml.text("deviceIndex", "0");
                xml.text("status", "attached");
            });
        }
        if let Some((_, Some(address))) = self.addresses.first() {
            address.write_association(xml);
        }
        let mut primary = true;
        xml.list("privateIpAddressesSet", &self.addresses, |(ip, address), xml| {
            xml.text("privateIpAddress", &ip.to_string());
            xml.text("primary", if primary { "true" } else { "false" });
            primary = false;
            if let Some(address) = address {
                address.write_association(xml);
            }
        });
    }
}

impl InstanceView {
    fn write(&self, xml: &mut Xml) {
        let primary = self.interfaces.first();
        let address = primary.and_then(|it| it.addresses.first()).and_then(|it| it.1.as_ref());
        xml.text("reservationId", &self.id.replacen("i-", "r-", 1));
        xml.text("ownerId", ACCOUNT);
        xml.list("instancesSet", std::slice::from_ref(self), |_, xml| {
            xml.text("instanceId", &self.id);
            xml.element("instanceState", |xml| {
                xml.text("code", "16");
                xml.text("name", "running");
            });
            let private_ip = primary.map(|it| it.primary().to_string());
            xml.optional("privateIpAddress", private_ip.as_deref());
            let public_ip = address.map(|it| it.public_ip.to_string());
            xml.optional("ipAddress", public_ip.as_deref());
            xml.list("networkInterfaceSet", &self.interfaces, InterfaceView::write);
        });
    }
}

/// A document being written.
struct Xml(String);

impl Xml {
    fn new() -> Self {
        Self("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".to_owned())
    }

    fn element(&mut self, name: &str, write: impl FnOnce(&mut Self)) {
        self.0.extend(["<", name, ">"]);
        write(self);
        self.0.extend(["</", name, ">"]);
    }

    fn text(&mut self, name: &str, text: &str) {
        self.element(name, |xml| {
            for character in text.chars() {
                match character {
                    '&' => xml.0.push_str("&amp;"),
                    '<' => xml.0.push_str("&lt;"),
                    '>' => xml.0.push_str("&gt;"),
                    // XML 1.0 has no place for the other control characters, not even escaped.
                    '\t' | '\n' | '\r' => xml.0.push(character),
                    control if control.is_control() => xml.0.push('\u{fffd}'),
                    other => xml.0.push(other),
                }
            }
        });
    }

    fn optional(&mut self, name: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.text(name, text);
        }
    }

    fn list<T>(&mut self, name: &str, items: &[T], mut write: impl FnMut(&T, &mut Self)) {
        self.element(name, |xml| {
            for item in items {
                xml.element("item", |xml| write(item, xml));
            }
        });
    }
}
