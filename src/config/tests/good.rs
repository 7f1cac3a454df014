//! Files without a fault, and what comes of them.

use std::time::Duration;

use vipward_core::{AddressKind, CheckEffect, ClaimMode, GroupId, NodeId};

use super::*;

fn warnings(text: &str) -> Vec<String> {
    good(text).warnings.iter().map(ToString::to_string).collect()
}

#[test]
fn the_shipped_examples_are_good_and_warn_of_nothing() {
    for (name, text) in [
        ("witness", include_str!("../../../config/two-balancers-and-witness.toml")),
        ("three", include_str!("../../../config/three-balancers.toml")),
        ("active", include_str!("../../../config/active-active.toml")),
        ("secondary", include_str!("../../../config/secondary-address.toml")),
    ] {
        let config = good(text);
        assert_eq!(config.warnings, [], "{name}");
        assert_eq!(config.nodes.len(), 3, "{name}");
        for node in &config.nodes {
            assert!(config.core(&node.name).is_ok(), "{name}");
        }
    }
}

#[test]
fn the_shipped_policy_names_every_call_and_no_other() {
    let policy: serde_json::Value =
        serde_json::from_str(include_str!("../../../config/iam-policy.json")).expect("JSON");
    let mut actions: Vec<_> = policy["Statement"]
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(|statement| statement["Action"].as_array().cloned().unwrap_or_default())
        .filter_map(|action| action.as_str().map(str::to_owned))
        .collect();
    actions.sort();
    assert_eq!(
        actions,
        [
            "ec2:AssignPrivateIpAddresses",
            "ec2:AssociateAddress",
            "ec2:DescribeAddresses",
            "ec2:DescribeNetworkInterfaces",
            "ec2:DisassociateAddress",
            "ec2:UnassignPrivateIpAddresses",
        ]
    );
}

#[test]
fn what_is_left_out_has_the_contracts_defaults() {
    let config = good(
        "cluster = \"c\"\n\
         nodes = [{ name = \"b\", links = [\"10.0.0.2:1\"] }, { name = \"a\", links = \
         [\"10.0.0.1:1\"] }, { name = \"w\", role = \"witness\", links = [\"10.0.0.3:1\"] }]\n\
         groups = [{ name = \"g\", priority = { a = 2, b = 1 } }]\n",
    );
    assert_eq!(config.node, NodeChoice::Auto);
    assert_eq!(config.timing.heartbeat_interval(), Duration::from_millis(200));
    assert_eq!(config.timing.lease(), Duration::from_millis(600));
    assert_eq!(config.timing.reconcile_interval, Duration::from_secs(30));
    assert!(config.timing.crash_detection);
    assert_eq!(config.key_file.to_str(), Some("/etc/vipward/cluster.key"));
    assert_eq!(config.groups[0].preempt_delay, Duration::from_secs(60));
    assert!(!config.groups[0].preempt && config.groups[0].addresses.is_empty());
    assert_eq!(config.cloud.provider, Provider::Aws { endpoint_url: None });
    assert_eq!(config.cloud.call_timeout, Duration::from_secs(5));
    assert_eq!(config.cloud.claim, ClaimMode::Fast);
    assert_eq!(config.limits, Limits { moves_per_hour: 12, repairs: 3 });
    assert_eq!(config.admin.socket.to_str(), Some("/run/vipward/admin.sock"));
    assert_eq!(config.admin.listen.to_string(), "127.0.0.1:7401");
    assert_eq!(config.state.directory.to_str(), Some("/var/lib/vipward"));
    assert_eq!(config.state.journal_size, 64 << 20);
    assert_eq!((config.telemetry.log, config.telemetry.level), (LogFormat::Json, Level::Info));
    assert_eq!(config.telemetry.otlp_endpoint, None);
    assert!(config.warnings.is_empty());
}

#[test]
fn the_core_gets_nodes_by_name_priorities_by_node_and_links_by_the_longer_side() {
    // Given a file whose nodes are not in order, and a witness with one link of two,
    let text = with("name = \"lb-a\"", "name = \"lb-z\"").replace("lb-a =", "lb-z =");
    let config = good(&text.replace("node = \"lb-a\"", "node = \"lb-z\""));
    let core = config.core("lb-z").expect("a node");
    let names: Vec<_> =
        core.nodes.iter().map(|node| (&*node.name, node.witness, node.links)).collect();
    assert_eq!(names, [("lb-b", false, 2), ("lb-z", false, 2), ("witness", true, 2)]);
    assert_eq!(core.me, NodeId(1));
    let priorities: Vec<_> = core.groups[0].priorities.iter().map(|p| p.map(u8::from)).collect();
    assert_eq!(priorities, [Some(100), Some(200), None]);
    assert_eq!(core.checks.len(), 1);
    assert_eq!(core.shared, config.digest);
    // then the witness's one link speaks to both of a balancer's, and it checks nothing.
    let (_, witness) = config.node("witness").expect("a node");
    let (_, balancer) = config.node("lb-b").expect("a node");
    let links: Vec<_> = witness.links_to(balancer).map(|(a, b)| format!("{a} {b}")).collect();
    assert_eq!(links, ["10.0.2.5:7400 10.0.1.11:7400", "10.0.2.5:7400 10.0.9.11:7400"]);
    assert!(config.core("witness").expect("a node").checks.is_empty());
}

#[test]
fn a_node_can_be_chosen_over_the_file() {
    let config = good(GOOD).for_node("lb-b").expect("a node");
    assert_eq!(config.node, NodeChoice::Named("lb-b".to_owned()));
    let error = config.for_node("lb-d").expect_err("no such node").to_string();
    assert!(error.contains("no node is named \"lb-d\" (did you mean \"lb-a\"?)"), "{error}");
    assert!(error.contains("lb-a, lb-b and witness"), "{error}");
}

#[test]
fn checks_of_every_kind() {
    let http = "http = \"http://127.0.0.1:80/healthz\"\n";
    let kind = |line: &str| good(&with(http, line)).checks[0].kind.clone();
    let argv = |words: &[&str]| CheckKind::Command {
        argv: words.iter().map(|&word| word.to_owned()).collect(),
    };
    assert_eq!(kind(http), CheckKind::Http { url: "http://127.0.0.1:80/healthz".to_owned() });
    let addr = std::net::SocketAddr::from(([127, 0, 0, 1], 80));
    assert_eq!(kind("tcp = \"127.0.0.1:80\"\n"), CheckKind::Tcp { addr });
    assert_eq!(kind("process = \"nginx\"\n"), CheckKind::Process { name: "nginx".to_owned() });
    assert_eq!(kind("interface = \"eth0\"\n"), CheckKind::Interface { name: "eth0".to_owned() });
    let unit = |name: &str| CheckKind::Unit { name: name.to_owned() };
    assert_eq!(kind("unit = \"nginx.service\"\n"), unit("nginx.service"));
    assert_eq!(kind("unit = \"nginx\"\n"), unit("nginx.service"));
    assert_eq!(kind("unit = \"web.target\"\n"), unit("web.target"));
    assert_eq!(kind("command = [\"a\", \"b c\", \"$HOME\"]\n"), argv(&["a", "b c", "$HOME"]));
    assert_eq!(
        kind("command = \"a 'b c' $HOME ; rm *\"\n"),
        argv(&["a", "b c", "$HOME", ";", "rm", "*"])
    );
    // The default time-out is never longer than the interval.
    assert_eq!(good(GOOD).checks[0].timeout, Duration::from_millis(500));
    let text = with("interval = \"1s\"", "interval = \"200ms\"\ngroups = [\"web\"]");
    let check = &good(&text).checks[0];
    assert_eq!(check.timeout, Duration::from_millis(200));
    assert_eq!(check.groups, [GroupId(0)]);
    assert_eq!(check.effect, CheckEffect::Fatal);
}

#[test]
fn hooks_are_argvs_and_warn_of_nothing() {
    let text = with(
        "[limits]",
        "[hooks]\non_master = [[\"/bin/a\", \"b c\"], \"d 'e f' $HOME\"]\non_alarm = [\"a b\"]\n\
         on_backup = []\n[limits]",
    );
    let config = good(&text);
    let argv = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
    assert_eq!(config.hooks.on_master, [argv(&["/bin/a", "b c"]), argv(&["d", "e f", "$HOME"])]);
    assert_eq!(config.hooks.on_alarm, [argv(&["a", "b"])]);
    assert!(config.hooks.on_backup.is_empty() && config.hooks.on_holding.is_empty());
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    assert_eq!(good(GOOD).hooks, Hooks::default());
}

#[test]
fn what_is_not_in_this_version_and_harmless_is_named() {
    assert_eq!(warnings(GOOD), [""; 0]);
    let one = |old: &str, new: &str, wanted: &str| {
        let warnings = warnings(&with(old, new));
        assert_eq!(warnings.len(), 1, "{warnings:#?}");
        assert!(warnings[0].starts_with(&format!("vipward.toml:{wanted}")), "{warnings:?}");
    };
    one("misses = 3", "on_stop = \"hold\"", "5: timing.on_stop: \"hold\" is not in this version");
    one("fatal = true", "weight = 50", "32: checks[0].weight: moves nothing unless preempt = true");
    one("lb-a = 200, lb-b = 100", "lb-a = 200", "22: groups[0].priority: only lb-a can hold");
    assert!(
        warnings(
            &with("fatal = true", "weight = 50").replace("[cloud]", "preempt = true\n[cloud]")
        )
        .is_empty()
    );
}

#[test]
fn a_secondary_address_with_and_without_its_interface() {
    // Given a group of both kinds,
    let config = good(&with(
        "\"eipalloc-0abc\" }]",
        "\"eipalloc-0abc\" }, { kind = \"secondary-ip\", ip = \"10.0.1.50\" }, \
         { kind = \"secondary-ip\", ip = \"10.0.1.51\", interface = \"eth1\" }]",
    ));
    // then each is what the file says, and the core knows its kind.
    let secondary = |last: u8, interface: Option<&str>| Address::SecondaryIp {
        ip: [10, 0, 1, last].into(),
        interface: interface.map(str::to_owned),
    };
    let addresses = &config.groups[0].addresses;
    assert_eq!(addresses[1..], [secondary(50, None), secondary(51, Some("eth1"))]);
    let kinds = &config.core("lb-a").expect("a node").groups[0].addresses;
    let [elastic, moving] = [AddressKind::ElasticIp, AddressKind::SecondaryIp];
    assert_eq!(*kinds, [elastic, moving, moving]);
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
}

#[test]
fn a_simulated_cloud_has_its_url() {
    let config = good(&with("\"aws\"", "\"simulated\"\nendpoint_url = \"http://127.0.0.1:4566\""));
    assert_eq!(config.cloud.endpoint_url(), Some("http://127.0.0.1:4566"));
    let endpoint_url = "http://127.0.0.1:4566".to_owned();
    assert_eq!(config.cloud.provider, Provider::Simulated { endpoint_url });
}
