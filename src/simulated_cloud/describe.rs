//! The describe calls: what is shown, and the filters.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use vipward_core::Timestamp;

use super::call::Filter;
use super::ec2_error::Ec2Error;
use super::reply::{AddressView, InstanceView, InterfaceView, Reply};
use super::state::{Association, Cloud, Interface};

impl Cloud {
    pub(crate) fn describe_addresses(
        &self,
        at: Timestamp,
        ids: &[String],
        public_ips: &[String],
        filters: &[Filter],
    ) -> Result<Reply, Ec2Error> {
        if let Some(id) = ids.iter().find(|id| !self.allocations.contains_key(*id)) {
            return Err(Ec2Error::allocation_not_found(id));
        }
        let known: Vec<_> = self.allocations.values().map(|it| it.public_ip.to_string()).collect();
        if let Some(ip) = public_ips.iter().find(|ip| !known.contains(*ip)) {
            return Err(Ec2Error::address_not_found(ip));
        }
        let mut shown = Vec::new();
        for (id, allocation) in &self.allocations {
            let view = AddressView {
                allocation: id.clone(),
                public_ip: allocation.public_ip,
                association: allocation.association(at).cloned(),
            };
            let named = named(ids, id) && named(public_ips, &view.public_ip.to_string());
            if named && matches(filters, |name| address_values(&view, name))? {
                shown.push(view);
            }
        }
        Ok(Reply::Addresses(shown))
    }

    pub(crate) fn describe_interfaces(
        &self,
        at: Timestamp,
        ids: &[String],
        filters: &[Filter],
    ) -> Result<Reply, Ec2Error> {
        if let Some(id) = ids.iter().find(|id| !self.interfaces.contains_key(*id)) {
            return Err(Ec2Error::interface_not_found(id));
        }
        let mut shown = Vec::new();
        for (id, interface) in &self.interfaces {
            let view = self.interface_view(at, id, interface);
            if named(ids, id) && matches(filters, |name| interface_values(&view, name))? {
                shown.push(view);
            }
        }
        Ok(Reply::Interfaces(shown))
    }

    pub(crate) fn describe_instances(
        &self,
        at: Timestamp,
        ids: &[String],
        filters: &[Filter],
    ) -> Result<Reply, Ec2Error> {
        let instances: BTreeSet<_> =
            self.interfaces.values().filter_map(|it| it.instance.clone()).collect();
        if let Some(id) = ids.iter().find(|id| !instances.contains(*id)) {
            return Err(Ec2Error::instance_not_found(id));
        }
        let mut shown = Vec::new();
        for id in instances {
            let attached =
                self.interfaces.iter().filter(|(_, it)| it.instance.as_ref() == Some(&id));
            let interfaces = attached
                .map(|(name, interface)| self.interface_view(at, name, interface))
                .collect();
            let view = InstanceView { id, interfaces };
            if named(ids, &view.id) && matches(filters, |name| instance_values(&view, name))? {
                shown.push(view);
            }
        }
        Ok(Reply::Instances(shown))
    }

    fn interface_view(&self, at: Timestamp, id: &str, interface: &Interface) -> InterfaceView {
        let associated = |ip: Ipv4Addr| {
            self.allocations.iter().find_map(|(allocation, it)| {
                let held = it.association(at)?;
                (held.interface == id && held.private_ip == ip).then(|| AddressView {
                    allocation: allocation.clone(),
                    public_ip: it.public_ip,
                    association: Some(held.clone()),
                })
            })
        };
        InterfaceView {
            id: id.to_owned(),
            instance: interface.instance.clone(),
            subnet: interface.subnet(),
            mac: interface.mac(),
            addresses: interface.private_ips(at).iter().map(|ip| (*ip, associated(*ip))).collect(),
        }
    }
}

/// Whether a list of names leaves everything in, or names this one.
fn named(names: &[String], name: &str) -> bool {
    names.is_empty() || names.iter().any(|it| it == name)
}

/// Whether all filters match. `values` gives the values that a resource has under a filter's
/// name, and nothing for a name that is no filter.
fn matches(
    filters: &[Filter],
    values: impl Fn(&str) -> Option<Vec<String>>,
) -> Result<bool, Ec2Error> {
    for filter in filters {
        let had = if filter.name.starts_with("tag:") || filter.name == "tag-key" {
            Vec::new() // Nothing here has a tag.
        } else {
            values(&filter.name).ok_or_else(|| {
                Ec2Error::invalid_parameter(format!("The filter '{}' is invalid", filter.name))
            })?
        };
        if !filter.values.iter().any(|value| had.contains(value)) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn address_values(view: &AddressView, name: &str) -> Option<Vec<String>> {
    let of = |pick: fn(&Association) -> Option<String>| {
        Some(view.association.as_ref().and_then(pick).into_iter().collect())
    };
    match name {
        "allocation-id" => Some(vec![view.allocation.clone()]),
        "public-ip" => Some(vec![view.public_ip.to_string()]),
        "domain" => Some(vec!["vpc".to_owned()]),
        "association-id" => of(|held| Some(held.id.clone())),
        "network-interface-id" => of(|held| Some(held.interface.clone())),
        "instance-id" => of(|held| held.instance.clone()),
        "private-ip-address" => of(|held| Some(held.private_ip.to_string())),
        _ => None,
    }
}

fn interface_values(view: &InterfaceView, name: &str) -> Option<Vec<String>> {
    let associated = || view.addresses.iter().filter_map(|(_, address)| address.as_ref());
    match name {
        "network-interface-id" => Some(vec![view.id.clone()]),
        "attachment.instance-id" => Some(view.instance.iter().cloned().collect()),
        "subnet-id" => Some(vec![view.subnet.clone()]),
        "mac-address" => Some(vec![view.mac.clone()]),
        "status" => Some(vec![view.status().to_owned()]),
        "private-ip-address" => Some(vec![view.primary().to_string()]),
        "addresses.private-ip-address" => {
            Some(view.addresses.iter().map(|(ip, _)| ip.to_string()).collect())
        }
        "association.public-ip" | "addresses.association.public-ip" => {
            Some(associated().map(|it| it.public_ip.to_string()).collect())
        }
        "association.allocation-id" => Some(associated().map(|it| it.allocation.clone()).collect()),
        "association.association-id" => Some(
            associated().filter_map(|it| it.association.as_ref()).map(|it| it.id.clone()).collect(),
        ),
        _ => None,
    }
}

fn instance_values(view: &InstanceView, name: &str) -> Option<Vec<String>> {
    let interfaces = || view.interfaces.iter();
    match name {
        "instance-id" => Some(vec![view.id.clone()]),
        "instance-state-name" => Some(vec!["running".to_owned()]),
        "network-interface.network-interface-id" => {
            Some(interfaces().map(|it| it.id.clone()).collect())
        }
        "private-ip-address" => Some(interfaces().map(|it| it.primary().to_string()).collect()),
        _ => None,
    }
}
