//! Rules of `[[groups]]`: who may hold what.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use vipward_core::Priority;

use super::super::problem::{Findings, join};
use super::super::raw::{RawAddress, RawConfig, RawGroup, RawOnIsolation, RawRole};
use super::super::typed::{Address, Group, Node};
use super::checks::is_interface;
use super::nodes::{known, names};
use super::unique;

/// Every group that could be read whole.
pub(super) fn groups(raw: &RawConfig, nodes: &[Node], findings: &mut Findings) -> Vec<Group> {
    let raw_groups = raw.groups.as_deref().unwrap_or_default();
    let node_names: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
    let mut groups = Vec::new();
    for (index, raw_group) in raw_groups.iter().enumerate() {
        let path = format!("groups[{index}]");
        members(&path, raw_group, raw, findings);
        if raw_group.on_isolation == RawOnIsolation::Release {
            findings.error(
                &format!("{path}.on_isolation"),
                "\"release\" is not in this version; a master without a majority holds its \
                 addresses: write \"hold\", or leave the key out",
            );
        }
        let addresses: Vec<_> = raw_group
            .addresses
            .iter()
            .enumerate()
            .filter_map(|(i, raw)| {
                address(&format!("{path}.addresses[{i}]"), raw, &node_names, findings)
            })
            .collect();
        groups.extend(group(raw_group, nodes, addresses));
    }
    let named = raw_groups.iter().enumerate();
    unique(
        findings,
        named.filter_map(|(i, group)| Some((format!("groups[{i}].name"), group.name.as_ref()?))),
        "give every group its own name",
    );
    unique(
        findings,
        raw_groups.iter().enumerate().flat_map(|(i, group)| {
            let addresses = group.addresses.iter().enumerate();
            addresses.filter_map(move |(j, address)| {
                Some((format!("groups[{i}].addresses[{j}]"), identity(address)?))
            })
        }),
        "an address belongs to one group, and to it once",
    );
    if findings.errors.is_empty() {
        one_each(&groups, nodes, findings);
        apart(&groups, nodes, findings);
    }
    groups
}

fn group(raw: &RawGroup, nodes: &[Node], addresses: Vec<Address>) -> Option<Group> {
    let priorities = raw.priority.as_ref()?;
    let of = |node: &Node| Priority::try_from(priorities.get(&node.name)?.0).ok();
    Some(Group {
        name: raw.name.clone()?,
        priorities: nodes.iter().map(of).collect(),
        preempt: raw.preempt,
        preempt_delay: raw.preempt_delay.0,
        addresses,
    })
}

fn members(path: &str, group: &RawGroup, raw: &RawConfig, findings: &mut Findings) {
    let Some(priorities) = &group.priority else { return };
    let path = format!("{path}.priority");
    if priorities.is_empty() && !findings.places.has_below(&path) {
        findings.error(
            &path,
            "names no node, so nobody could hold the group; write it like { lb-a = 200, lb-b = \
             100 }",
        );
    }
    let Some(names) = names(raw) else { return };
    for name in priorities.keys() {
        let path = join(&path, name);
        let node = raw.nodes.iter().flatten().find(|node| node.name.as_ref() == Some(name));
        if let Err(fault) = known(name, &names) {
            findings.error(&path, fault);
        } else if node.is_some_and(|node| node.role == RawRole::Witness) {
            findings.error(
                &path,
                format!(
                    "{name} is a witness, which only votes and can hold nothing; take it out of \
                     the priorities, or make it a balancer"
                ),
            );
        }
    }
    if let ([only], true) = (priorities.keys().collect::<Vec<_>>().as_slice(), names.len() > 1) {
        findings.warn(
            &path,
            format!("only {only} can hold the group: nobody can take it over; name a second node"),
        );
    }
}

/// What tells an address from all others.
fn identity(address: &RawAddress) -> Option<String> {
    match address {
        RawAddress::ElasticIp { allocation_id, .. } => allocation_id.clone(),
        RawAddress::SecondaryIp { ip, .. } => ip.map(|ip| ip.to_string()),
        RawAddress::Route { destination, .. } => destination.clone(),
    }
}

/// The private addresses that an elastic IP is bound to, by node.
fn private_ips(
    path: &str,
    raw: Option<&BTreeMap<String, String>>,
    names: &[&str],
    findings: &mut Findings,
) -> BTreeMap<String, Ipv4Addr> {
    let mut private_ips = BTreeMap::new();
    for (name, ip) in raw.into_iter().flatten() {
        let path = join(&format!("{path}.private_ip"), name);
        if let Err(fault) = known(name, names) {
            findings.error(&path, fault);
            continue;
        }
        match ip.parse() {
            Ok(ip) => {
                private_ips.insert(name.clone(), ip);
            }
            Err(_) => findings.error(
                &path,
                format!(
                    "{ip:?} is no IPv4 address; give a secondary private address of the node's \
                     interface, like \"10.0.1.20\""
                ),
            ),
        }
    }
    private_ips
}

/// EC2 binds one elastic IP to a private address: a second one displaces the first, and the two
/// would fight at every node that can hold both.
fn one_each(groups: &[Group], nodes: &[Node], findings: &mut Findings) {
    for (index, node) in nodes.iter().enumerate() {
        let mut taken: BTreeMap<Option<Ipv4Addr>, &str> = BTreeMap::new();
        for (i, group) in groups.iter().enumerate() {
            if !group.priorities.get(index).is_some_and(Option::is_some) {
                continue;
            }
            for (j, address) in group.addresses.iter().enumerate() {
                let Address::ElasticIp { allocation_id, private_ip } = address else { continue };
                let bound = private_ip.get(&node.name).copied();
                let Some(other) = taken.insert(bound, allocation_id) else { continue };
                let at = bound.map_or_else(
                    || "its primary private address".to_owned(),
                    |ip| format!("its private address {ip}"),
                );
                findings.error(
                    &format!("groups[{i}].addresses[{j}]"),
                    format!(
                        "{} can come to hold {other} and {allocation_id}, both bound to {at}, \
                         which EC2 lets carry one elastic IP only; give one of them a secondary \
                         address of the node: private_ip = {{ {} = \"...\" }}",
                        node.name, node.name
                    ),
                );
            }
        }
    }
}

/// The address, if it is one that can move within a subnet.
fn secondary(path: &str, ip: IpAddr, findings: &mut Findings) -> Option<Ipv4Addr> {
    let IpAddr::V4(ip) = ip else {
        let message = format!("{ip} is IPv6, which is not in this version; give an IPv4 address");
        findings.error(path, message);
        return None;
    };
    let special =
        ip.is_loopback() || ip.is_link_local() || ip.is_multicast() || ip.octets()[0] == 0;
    if special || ip.is_broadcast() {
        findings.error(
            path,
            format!(
                "{ip} is no address that an interface of EC2 can have; give a free address of the \
                 balancers' subnet, like \"10.0.1.50\""
            ),
        );
        return None;
    }
    Some(ip)
}

/// What moves and what stays with a node are different addresses: with the former the latter
/// would go.
fn apart(groups: &[Group], nodes: &[Node], findings: &mut Findings) {
    for (i, group) in groups.iter().enumerate() {
        for (j, address) in group.addresses.iter().enumerate() {
            let Address::SecondaryIp { ip, .. } = address else { continue };
            let path = format!("groups[{i}].addresses[{j}].ip");
            let own = |link: &&SocketAddr| link.ip() == IpAddr::V4(*ip);
            let linked = |node: &Node| node.links.iter().find(own).map(|_| node.name.clone());
            if let Some(name) = nodes.iter().find_map(linked) {
                findings.error(
                    &path,
                    format!(
                        "{ip} is an address of {name}'s links, by which the nodes hear each other, \
                         so it cannot move; give a free address of the balancers' subnet"
                    ),
                );
            }
            if let Some((name, id)) = groups.iter().find_map(|group| bound(group, *ip)) {
                findings.error(
                    &path,
                    format!(
                        "{ip} moves, but {id} is bound to it at {name} (private_ip); give one of \
                         the two another address"
                    ),
                );
            }
        }
    }
}

/// The node and the elastic IP that is bound to this address there.
fn bound(group: &Group, ip: Ipv4Addr) -> Option<(&str, &str)> {
    group.addresses.iter().find_map(|address| match address {
        Address::ElasticIp { allocation_id, private_ip } => {
            let found = private_ip.iter().find(|(_, bound)| **bound == ip)?;
            Some((found.0.as_str(), allocation_id.as_str()))
        }
        Address::SecondaryIp { .. } => None,
    })
}

fn address(
    path: &str,
    raw: &RawAddress,
    names: &[&str],
    findings: &mut Findings,
) -> Option<Address> {
    let unbuilt = |kind: &str| {
        format!(
            "kind {kind:?} is not in this version, and an address that is not moved would be lost \
             in a failover; take an \"elastic-ip\" or a \"secondary-ip\""
        )
    };
    match raw {
        RawAddress::ElasticIp { allocation_id, private_ip } => {
            let private_ip = private_ips(path, private_ip.as_ref(), names, findings);
            Some(Address::ElasticIp { allocation_id: allocation_id.clone()?, private_ip })
        }
        RawAddress::SecondaryIp { ip, interface } => {
            if let Some(name) = interface {
                is_interface(&format!("{path}.interface"), name, findings);
            }
            let ip = secondary(&format!("{path}.ip"), *ip.as_ref()?, findings)?;
            Some(Address::SecondaryIp { ip, interface: interface.clone() })
        }
        RawAddress::Route { .. } => {
            findings.error(&format!("{path}.kind"), unbuilt("route"));
            None
        }
    }
}
