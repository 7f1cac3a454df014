//! Rules of `[[nodes]]`: who votes, and over which links.

use std::net::SocketAddr;

use super::super::problem::{Findings, did_you_mean, either, shown};
use super::super::raw::{RawConfig, RawNode, RawRole};
use super::super::typed::Node;
use super::unique;

/// Every node that could be read whole, sorted by name.
pub(super) fn nodes(raw: &RawConfig, findings: &mut Findings) -> Vec<Node> {
    let raw_nodes = raw.nodes.as_deref().unwrap_or_default();
    voters(raw, findings);
    let mut nodes: Vec<_> =
        raw_nodes.iter().enumerate().filter_map(|n| node(n, findings)).collect();
    let each = |key: &'static str, value: fn(&RawNode) -> Option<&String>| {
        let entries = raw_nodes.iter().enumerate();
        entries.filter_map(move |(i, node)| Some((format!("nodes[{i}].{key}"), value(node)?)))
    };
    unique(findings, each("name", |node| node.name.as_ref()), "give every node its own name");
    unique(
        findings,
        each("instance_id", |node| node.instance_id.as_ref()),
        "every node is an instance of its own",
    );
    unique(
        findings,
        each("network_interface_id", |node| node.network_interface_id.as_ref()),
        "every node has a network interface of its own",
    );
    links(raw_nodes, findings);
    families(&nodes, findings);
    nodes.sort_by(|a, b| a.name.cmp(&b.name));
    nodes
}

fn node((index, raw): (usize, &RawNode), findings: &mut Findings) -> Option<Node> {
    let path = format!("nodes[{index}]");
    let name = raw.name.clone()?;
    if name == "auto" {
        findings.error(
            &format!("{path}.name"),
            "\"auto\" is what `node` says to find the name out; give the node another name",
        );
    }
    Some(Node {
        name,
        witness: raw.role == RawRole::Witness,
        links: raw.links.clone()?,
        instance_id: raw.instance_id.clone(),
        network_interface_id: raw.network_interface_id.clone(),
        path,
    })
}

/// Whether a majority can outlive one failure.
fn voters(raw: &RawConfig, findings: &mut Findings) {
    let Some(nodes) = &raw.nodes else { return };
    match nodes.len() {
        1 => findings.error(
            "nodes",
            "one voter is no cluster: nobody could take over from it; name two balancers and a \
             witness (role = \"witness\"), or three balancers",
        ),
        2 if raw.arbiter.is_none() => findings.error(
            "nodes",
            "two voters without an arbiter cannot outlive a failure: a majority of two is two, so \
             when either node or the link between them is lost, nothing moves; add a third node \
             with role = \"witness\" on another machine (any small one: it only votes)",
        ),
        _ => {}
    }
    let balancers: Vec<_> = nodes.iter().filter(|node| node.role == RawRole::Balancer).collect();
    if let ([only], true) = (balancers.as_slice(), nodes.len() > 1) {
        let name = only.name.as_deref().unwrap_or("one node");
        findings.warn("nodes", format!("only {name} is a balancer: nobody can take over from it"));
    }
}

fn links(nodes: &[RawNode], findings: &mut Findings) {
    let all: Vec<(String, SocketAddr)> = nodes
        .iter()
        .enumerate()
        .flat_map(|(i, node)| {
            let links = node.links.iter().flatten().enumerate();
            links.map(move |(j, link)| (format!("nodes[{i}].links[{j}]"), *link))
        })
        .collect();
    for (path, link) in &all {
        if link.ip().is_unspecified() || link.ip().is_multicast() {
            let message = format!("{link} is no address of one machine; name the node's own");
            findings.error(path, message);
        }
    }
    unique(findings, all, "every link has an IP:port of its own");
}

/// Link i speaks to link i: both ends must be of one family, and both or neither on loopback.
fn families(nodes: &[Node], findings: &mut Findings) {
    for (index, node) in nodes.iter().enumerate() {
        for peer in &nodes[..index] {
            let unequal = |(own, other): &(SocketAddr, SocketAddr)| {
                own.is_ipv4() != other.is_ipv4()
                    || own.ip().is_loopback() != other.ip().is_loopback()
            };
            if let Some((i, (own, other))) =
                node.links_to(peer).enumerate().find(|(_, l)| unequal(l))
            {
                let i = i.min(node.links.len().saturating_sub(1));
                let message = format!(
                    "{own} cannot speak to {other} of {}: link i of a node speaks to link i of \
                     its peers, so list the networks in the same order on every node",
                    peer.name
                );
                findings.error(&format!("{}.links[{i}]", node.path), message);
            }
        }
    }
}

/// The names of all nodes; `None` while one of them is unknown, lest a name that could not be
/// read makes other errors.
pub(super) fn names(raw: &RawConfig) -> Option<Vec<&str>> {
    raw.nodes.as_ref()?.iter().map(|node| node.name.as_deref()).collect()
}

/// Whether a node of that name exists; else the end of a sentence.
pub(super) fn known(name: &str, names: &[&str]) -> Result<(), String> {
    if names.contains(&name) {
        return Ok(());
    }
    let hint = did_you_mean(name, names.iter().copied());
    let all: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
    let all = either(&all);
    Err(format!("no such node {}{hint}; take {all}, or add it to [[nodes]]", shown(name)))
}
