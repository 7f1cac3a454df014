//! From the configuration to the settings of each edge. Edges do not know the configuration, nor
//! one another.

use std::net::SocketAddr;
use std::time::Duration;

use vipward_core::{AddressId, BootId, GroupId, NodeId};
use vipward_manifest::{Hash, Shared, Variables, Wanted};

use crate::checks;
use crate::cloud;
use crate::config::{self, Address, Config};
use crate::consistency;
use crate::hooks;
use crate::journal;
use crate::kernel;
use crate::names::{AddressNames, GroupNames, Names, NodeNames};
use crate::state;
use crate::telemetry;
use crate::transport;

/// What may pass between neighbours one minor version apart.
const PROTOCOL: (u16, u16) = (1, 0);

/// The names of a configuration.
pub(crate) fn names(config: &Config, me: NodeId, boot: BootId) -> Names {
    Names {
        cluster: config.cluster.clone(),
        version: crate::VERSION.into(),
        me,
        boot,
        nodes: config
            .nodes
            .iter()
            .map(|node| NodeNames {
                name: node.name.clone(),
                witness: node.witness,
                links: node.links.iter().map(ToString::to_string).collect(),
            })
            .collect(),
        groups: config
            .groups
            .iter()
            .map(|group| GroupNames {
                name: group.name.clone(),
                addresses: group
                    .addresses
                    .iter()
                    .map(|address| match address {
                        Address::ElasticIp { allocation_id, .. } => {
                            AddressNames { kind: "elastic-ip", id: allocation_id.clone() }
                        }
                        Address::SecondaryIp { ip, .. } => {
                            AddressNames { kind: "secondary-ip", id: ip.to_string() }
                        }
                    })
                    .collect(),
            })
            .collect(),
        checks: config.checks.iter().map(|check| check.name.clone()).collect(),
    }
}

/// How long exchanges with peers may take.
pub(crate) fn timeouts(config: &Config) -> transport::Timeouts {
    let interval = config.timing.heartbeat_interval();
    // One slow answer is not to be cut off sooner than the lease that it may still renew.
    let heartbeat = config.timing.lease().max(Duration::from_millis(100));
    transport::Timeouts {
        heartbeat,
        vote: heartbeat.max(interval * 3),
        operator: config.cloud.call_timeout * 2 + config.timing.lease() * 6,
    }
}

pub(crate) fn links(
    config: &Config,
    me: NodeId,
    boot: BootId,
    keys: transport::Keys,
    listen: &[SocketAddr],
) -> transport::Settings {
    let own = config.nodes.get(me.index()).map_or(&[][..], |node| node.links.as_slice());
    let listen = if listen.is_empty() { own } else { listen };
    let mut nodes: Vec<transport::NodeLinks> = config
        .nodes
        .iter()
        .map(|node| transport::NodeLinks { name: node.name.clone(), links: node.links.clone() })
        .collect();
    // Behind a forwarder, what leaves this node leaves from where it listens.
    if let Some(node) = nodes.get_mut(me.index()) {
        node.links = listen.to_vec();
    }
    transport::Settings {
        cluster: config.cluster.clone(),
        version: PROTOCOL,
        me,
        boot,
        nodes,
        listen: listen.to_vec(),
        groups: config.groups.iter().map(|group| group.name.clone()).collect(),
        keys,
        timeouts: timeouts(config),
    }
}

pub(crate) fn cluster(config: &Config, me: NodeId) -> cloud::Cluster {
    cloud::Cluster {
        me: Some(me),
        nodes: config
            .nodes
            .iter()
            .map(|node| cloud::NodeIds {
                name: node.name.clone(),
                may_hold: !node.witness,
                instance_id: node.instance_id.clone(),
                network_interface_id: node.network_interface_id.clone(),
                links: node.links.iter().map(SocketAddr::ip).collect(),
            })
            .collect(),
        groups: config
            .groups
            .iter()
            .map(|group| cloud::GroupAddresses {
                name: group.name.clone(),
                mine: group.priorities.get(me.index()).is_some_and(Option::is_some),
                addresses: group
                    .addresses
                    .iter()
                    .map(|address| match address {
                        Address::ElasticIp { allocation_id, private_ip } => {
                            cloud::AddressIds::ElasticIp {
                                allocation_id: allocation_id.clone(),
                                private_ip: config
                                    .nodes
                                    .get(me.index())
                                    .and_then(|node| private_ip.get(&node.name))
                                    .map(ToString::to_string),
                            }
                        }
                        Address::SecondaryIp { ip, .. } => {
                            cloud::AddressIds::SecondaryIp { ip: *ip }
                        }
                    })
                    .collect(),
            })
            .collect(),
    }
}

pub(crate) fn cloud(config: &Config, me: NodeId) -> cloud::Settings {
    cloud::Settings {
        provider: match config.cloud.provider {
            config::Provider::Aws { .. } => cloud::Provider::Aws,
            config::Provider::Simulated { .. } => cloud::Provider::Simulated,
        },
        region: config.cloud.region.clone(),
        endpoint_url: config.cloud.endpoint_url().map(Into::into),
        call_timeout: config.cloud.call_timeout,
        keep_warm: cloud::KEEP_WARM,
        cluster: cluster(config, me),
    }
}

/// The checks, or the sentence that says which one cannot be made.
pub(crate) fn checks(config: &Config, me: NodeId) -> Result<checks::Settings, String> {
    let of_node = config.nodes.get(me.index()).map_or(&[][..], |node| config.checks_of(node));
    let checks = of_node.iter().map(|check| {
        let kind = match &check.kind {
            config::CheckKind::Http { url } => checks::CheckKind::Http(
                url.parse().map_err(|error| format!("check {:?}: {error}", check.name))?,
            ),
            config::CheckKind::Tcp { addr } => checks::CheckKind::Tcp(addr.to_string()),
            config::CheckKind::Command { argv } => checks::CheckKind::Command(argv.clone()),
            config::CheckKind::Process { name } => checks::CheckKind::Process(name.clone()),
            config::CheckKind::Interface { name } => checks::CheckKind::Interface(name.clone()),
            config::CheckKind::Unit { name } => {
                checks::CheckKind::Unit { name: name.clone(), system_bus: checks::system_bus() }
            }
        };
        let (interval, timeout) = (check.interval, check.timeout);
        Ok(checks::Check { name: check.name.clone(), kind, interval, timeout })
    });
    Ok(checks::Settings { checks: checks.collect::<Result<_, String>>()? })
}

/// What the kernel may have: secondary addresses as the core orders, and the private addresses of
/// this node that elastic IPs are bound to, always.
pub(crate) fn kernel(config: &Config, me: NodeId, mac: kernel::Mac) -> kernel::Settings {
    let name = config.nodes.get(me.index()).map(|node| node.name.as_str());
    let mut addresses = Vec::new();
    for (id, group) in (0..).map(GroupId).zip(&config.groups) {
        if !group.priorities.get(me.index()).is_some_and(Option::is_some) {
            continue;
        }
        for (address, kind) in (0..).map(AddressId).zip(&group.addresses) {
            addresses.extend(match kind {
                Address::ElasticIp { private_ip, .. } => {
                    name.and_then(|name| private_ip.get(name)).map(|ip| kernel::Address {
                        ip: *ip,
                        interface: None,
                        keep: kernel::Keep::Always,
                    })
                }
                Address::SecondaryIp { ip, interface } => Some(kernel::Address {
                    ip: *ip,
                    interface: interface.clone(),
                    keep: kernel::Keep::Ordered(id, address),
                }),
            });
        }
    }
    kernel::Settings { addresses, mac }
}

pub(crate) fn hooks(config: &Config, node: &str) -> hooks::Settings {
    let config::Hooks { on_master, on_backup, on_holding, on_alarm } = config.hooks.clone();
    hooks::Settings {
        cluster: config.cluster.clone(),
        node: node.into(),
        groups: config.groups.iter().map(|group| group.name.clone()).collect(),
        commands: hooks::Commands { on_master, on_backup, on_holding, on_alarm },
        limits: hooks::Limits::default(),
    }
}

pub(crate) fn state(config: &Config) -> state::Settings {
    state::Settings {
        directory: config.state.directory.clone(),
        groups: config.groups.iter().map(|group| group.name.clone()).collect(),
        nodes: config.nodes.iter().map(|node| node.name.clone()).collect(),
    }
}

/// What this node's configuration is made of. A witness has vipward's own part only.
pub(crate) fn consistency(config: &Config, me: NodeId) -> consistency::Settings {
    let variables = |node: &config::Node| Variables {
        node: node.name.clone(),
        links: node.links.iter().map(SocketAddr::ip).collect(),
    };
    let nodes: Vec<Variables> = config.nodes.iter().map(variables).collect();
    let own = nodes.get(me.index()).cloned();
    let unnamed = || Variables { node: String::new(), links: Vec::new() };
    let ids = (0..).map(NodeId).zip(&config.nodes);
    let witnesses: Vec<NodeId> = ids.filter(|(_, node)| node.witness).map(|(id, _)| id).collect();
    let none = config::Consistency::default();
    let said = if witnesses.contains(&me) { &none } else { &config.consistency };
    let (pull_test, pull_reload) = match &said.repair {
        config::Repair::Off => (None, None),
        config::Repair::Pull { test, reload } => (test.clone(), reload.clone()),
    };
    consistency::Settings {
        wanted: Wanted {
            files: said.files.clone(),
            ignore: said.ignore.clone(),
            digest_only: said.digest_only.clone(),
            pid_file: said.pid_file.clone(),
            variables: own.unwrap_or_else(unnamed),
        },
        commands: said.commands.clone(),
        packages: said.packages.clone(),
        shared: Shared { digest: Hash(config.digest.0), text: config.canonical.clone() },
        nodes,
        me,
        witnesses,
        pull_test,
        pull_reload,
        state: config.state.directory.clone(),
    }
}

pub(crate) fn journal(config: &Config, node: &str, boot: BootId) -> journal::Settings {
    journal::Settings {
        directory: config.state.directory.clone(),
        size: config.state.journal_size,
        node: node.into(),
        boot,
    }
}

pub(crate) fn telemetry(config: &Config, node: &str) -> telemetry::Settings {
    telemetry::Settings {
        log: match config.telemetry.log {
            config::LogFormat::Json => telemetry::LogFormat::Json,
            config::LogFormat::Text => telemetry::LogFormat::Text,
        },
        level: config.telemetry.level.as_str().into(),
        otlp_endpoint: config.telemetry.otlp_endpoint.clone(),
        cluster: config.cluster.clone(),
        node: node.into(),
        version: crate::VERSION.into(),
    }
}

/// What a reload cannot change, one sentence each, naming the key.
pub(crate) fn fixed(current: &Config, new: &Config) -> Vec<String> {
    let mut refusals = Vec::new();
    let mut refuse = |key: &str, same: bool| {
        if !same {
            refusals.push(format!("{key} cannot be changed by a reload; restart the daemon"));
        }
    };
    refuse("cluster", current.cluster == new.cluster);
    refuse("[[nodes]] (the voters and their links)", current.nodes == new.nodes);
    let addresses = |config: &Config| -> Vec<(String, Vec<Address>)> {
        config.groups.iter().map(|it| (it.name.clone(), it.addresses.clone())).collect()
    };
    refuse("[[groups]] (their names and addresses)", addresses(current) == addresses(new));
    refuse("security.key_file", current.key_file == new.key_file);
    refuse("cloud.provider, cloud.endpoint_url", current.cloud.provider == new.cloud.provider);
    refuse("cloud.region", current.cloud.region == new.cloud.region);
    refuse("[admin]", current.admin == new.admin);
    refuse("[state]", current.state == new.state);
    refuse("[telemetry]", current.telemetry == new.telemetry);
    refusals
}

#[cfg(test)]
mod tests {
    use tokio::sync::watch;

    use super::*;

    #[test]
    fn the_edges_get_of_each_address_what_they_need() {
        // Given a node that may hold one address of each kind, and another that it may not,
        let text = r#"cluster = "c"
nodes = [
  { name = "a", links = ["10.0.1.10:1"] },
  { name = "b", links = ["10.0.1.11:1"] },
  { name = "w", role = "witness", links = ["10.0.1.12:1"] },
]
[[groups]]
name = "g"
priority = { a = 2, b = 1 }
addresses = [
  { kind = "elastic-ip", allocation_id = "eipalloc-0a", private_ip = { a = "10.0.1.20" } },
  { kind = "secondary-ip", ip = "10.0.1.50", interface = "eth1" },
]
[[groups]]
name = "h"
priority = { b = 1 }
addresses = [{ kind = "secondary-ip", ip = "10.0.1.51" }]
"#;
        let config = config::parse(text, "vipward.toml").unwrap();
        let mac = watch::channel(None).1;
        // then its kernel may have its own ones, each when it should,
        let settings = kernel(&config, NodeId(0), mac);
        let own = |ip: [u8; 4], interface: Option<&str>, keep| kernel::Address {
            ip: ip.into(),
            interface: interface.map(str::to_owned),
            keep,
        };
        let ordered = kernel::Keep::Ordered(GroupId(0), AddressId(1));
        let expected = [
            own([10, 0, 1, 20], None, kernel::Keep::Always),
            own([10, 0, 1, 50], Some("eth1"), ordered),
        ];
        assert_eq!(settings.addresses, expected);
        // and the cloud knows every group, and which are its own.
        let groups = cluster(&config, NodeId(0)).groups;
        assert_eq!(groups.iter().map(|group| group.mine).collect::<Vec<_>>(), [true, false]);
        let [
            cloud::AddressIds::ElasticIp { private_ip, .. },
            cloud::AddressIds::SecondaryIp { ip },
        ] = groups[0].addresses.as_slice()
        else {
            panic!("{groups:?}");
        };
        assert_eq!(private_ip.as_deref(), Some("10.0.1.20"));
        assert_eq!(ip.to_string(), "10.0.1.50");
    }
}
