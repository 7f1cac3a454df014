//! Rules of `[[groups]]`: who may hold what.

use vipward_core::Priority;

use super::super::problem::{Findings, join};
use super::super::raw::{RawAddress, RawConfig, RawGroup, RawOnIsolation, RawRole};
use super::super::typed::{Address, Group, Node};
use super::nodes::{known, names};
use super::unique;

/// Every group that could be read whole.
pub(super) fn groups(raw: &RawConfig, nodes: &[Node], findings: &mut Findings) -> Vec<Group> {
    let raw_groups = raw.groups.as_deref().unwrap_or_default();
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
            .filter_map(|(i, raw)| address(&format!("{path}.addresses[{i}]"), raw, findings))
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

fn address(path: &str, raw: &RawAddress, findings: &mut Findings) -> Option<Address> {
    let unbuilt = |kind: &str| {
        format!(
            "kind {kind:?} is not in this version, and an address that is not moved would be lost \
             in a failover; take an \"elastic-ip\""
        )
    };
    match raw {
        RawAddress::ElasticIp { allocation_id, private_ip } => {
            if private_ip.is_some() || findings.places.has(&format!("{path}.private_ip")) {
                findings.error(
                    &format!("{path}.private_ip"),
                    "is not in this version, and without it the address would be bound to another \
                     private address than the one named; leave it out to bind it to the primary \
                     one",
                );
            }
            Some(Address::ElasticIp { allocation_id: allocation_id.clone()? })
        }
        RawAddress::SecondaryIp { .. } => {
            findings.error(&format!("{path}.kind"), unbuilt("secondary-ip"));
            None
        }
        RawAddress::Route { .. } => {
            findings.error(&format!("{path}.kind"), unbuilt("route"));
            None
        }
    }
}
