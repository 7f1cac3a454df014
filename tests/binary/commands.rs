//! Commands that need no daemon.

use std::process::Stdio;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::fixture::{NAMES, Plan, command, vipward};

#[test]
fn keygen_makes_another_key_each_time_and_check_takes_its_file() {
    let [first, second] = [0, 1].map(|_| vipward(["keygen"]).exits(0));
    for ran in [&first, &second] {
        assert_eq!(ran.stderr, "");
        assert_eq!(ran.stdout.lines().count(), 1, "{ran:?}");
        assert!(STANDARD.decode(ran.stdout.trim()).unwrap().len() >= 32, "{ran:?}");
    }
    assert_ne!(first.stdout, second.stdout);
    let plan = Plan::new();
    // Two lines: a key that is being replaced.
    std::fs::write(plan.path("cluster.key"), first.stdout + &second.stdout).unwrap();
    let _cloud = plan.start_cloud();
    plan.check(0, &["--cloud"]).exits(0);
}

#[test]
fn the_schema_is_json_and_knows_every_table() {
    let schema = vipward(["schema"]).exits(0).json();
    assert!(schema["$schema"].is_string(), "{schema}");
    let mut keys: Vec<_> = schema["properties"].as_object().unwrap().keys().collect();
    keys.sort();
    assert_eq!(
        keys,
        [
            "admin",
            "arbiter",
            "checks",
            "cloud",
            "cluster",
            "consistency",
            "groups",
            "hooks",
            "limits",
            "node",
            "nodes",
            "security",
            "state",
            "telemetry",
            "timing"
        ]
    );
}

#[test]
fn the_version_has_the_commit() {
    let version = vipward(["--version"]).exits(0).stdout;
    let (name, rest) = version.trim().split_once(' ').unwrap();
    assert_eq!(name, "vipward");
    assert!(rest.starts_with(env!("CARGO_PKG_VERSION")), "{version}");
    let commit = rest.trim_end_matches(')').rsplit_once('(').expect("a commit").1;
    let hex = commit.len() >= 7 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    // A source archive has none to tell.
    assert!(hex || commit == "unknown commit", "{version}");
}

#[test]
fn wrong_usage_is_2_and_help_is_0() {
    for args in [
        &["run"][..],
        &["check"],
        &["switchover"],
        &["nonsense"],
        &["status", "--jason"],
        &["demo", "--fault", "boredom"],
        &["events", "--since", "yesterday"],
        &["simulated-cloud", "--listen", "nowhere"],
        &[],
    ] {
        let ran = vipward(args.iter().copied()).exits(2);
        assert_eq!(ran.stdout, "", "{args:?}");
        assert_ne!(ran.stderr, "", "{args:?}");
    }
    let help = vipward(["--help"]).exits(0).stdout;
    for command in [
        "demo",
        "simulated-cloud",
        "run",
        "check",
        "status",
        "switchover",
        "events",
        "keygen",
        "schema",
    ] {
        assert!(help.contains(command), "{help}");
    }
}

#[test]
fn without_a_daemon_its_commands_end_with_3_and_a_sentence() {
    let nowhere = "/nonexistent/admin.sock";
    for args in [
        &["status"][..],
        &["status", "--json"],
        &["switchover", "web"],
        &["events", "--follow"],
        &["events", "--config", "/nonexistent/vipward.toml"],
    ] {
        let ran = vipward(args.iter().copied().chain(["--socket", nowhere])).exits(3);
        assert_eq!(ran.stdout, "", "{args:?}");
        let sentence = ran.sentence();
        assert!(sentence.contains(nowhere) && sentence.contains("vipward run"), "{sentence}");
    }
}

#[test]
fn check_takes_a_good_file_on_any_machine() {
    let plan = Plan::new();
    let ran = plan.check(0, &[]).exits(0);
    assert_eq!(ran.stderr, "");
    // Neither the key, nor the directory, nor the node's name is this machine's business.
    let plan = plan.with("/cluster.key", "/none.key").with("/NODE/state\"", "/none\"");
    plan.check(0, &[]).exits(0);
    let file = plan.file(0);
    vipward(["check", "--config", file.to_str().unwrap()]).exits(0);
}

#[test]
fn check_cloud_tries_what_a_takeover_needs() {
    let plan = Plan::new();
    let cloud = plan.start_cloud();
    // Peers that are silent are warnings: the others may not be up yet.
    let ran = plan.check(0, &["--cloud"]).exits(0);
    assert!(ran.stdout.contains("every call that a takeover needs is permitted"), "{ran:?}");
    for peer in [NAMES[1], NAMES[2]] {
        let named = |line: &str| line.starts_with("warning: ") && line.contains(peer);
        assert!(ran.stderr.lines().any(named), "{ran:?}");
    }
    assert!(cloud.record().iter().all(|call| call["outcome"] != "done"), "it changed something");
    cloud.faults(&serde_json::json!({"deny": ["AssociateAddress"]}));
    let ran = plan.check(0, &["--cloud"]).exits(1);
    assert!(ran.stderr.contains("ec2:AssociateAddress"), "{ran:?}");
    // A witness calls nothing.
    plan.check(2, &["--cloud"]).exits(0);
}

#[test]
fn a_result_that_cannot_be_written_is_a_failure_and_no_panic() {
    let plan = Plan::new();
    let file = plan.file(0);
    for args in [&["keygen"][..], &["schema"], &["check", "--config", file.to_str().unwrap()]] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let ended = command(args, &[]).stdout(full).stderr(Stdio::piped()).output().unwrap();
        let told = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(1), "{args:?}: {told}");
        assert!(told.starts_with("error: the result cannot be written to stdout: "), "{told}");
        assert_eq!(told.lines().count(), 1, "{told}");
        // Nobody who reads on is nobody who misses something.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let (silent, both) = (writer.try_clone().unwrap(), writer);
        let ended = command(args, &[]).stdout(both).stderr(silent).status().unwrap();
        assert_eq!(ended.code(), Some(0), "{args:?}");
    }
}
