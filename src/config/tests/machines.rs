//! What only the machine can tell.

use std::fs::Permissions;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::*;

fn auto(nodes: &str) -> Config {
    good(&format!(
        "cluster = \"c\"\nnodes = [{nodes}]\n[[groups]]\nname = \"g\"\npriority = {{ lb-a = 1, \
         \"lb-b.example\" = 2 }}\n"
    ))
}

#[test]
fn auto_is_the_node_of_this_instance_or_hostname() {
    let config = auto(
        "{ name = \"lb-a\", links = [\"10.0.0.1:1\"], instance_id = \"i-0a\" },\
         { name = \"lb-b.example\", links = [\"10.0.0.2:1\"] },\
         { name = \"w\", role = \"witness\", links = [\"10.0.0.3:1\"] }",
    );
    let resolve = |hostname: &str, instance: Option<&str>| {
        resolve_auto(&config, hostname, instance).map_err(|problem| problem.to_string())
    };
    assert_eq!(resolve("ip-10-0-0-1", Some("i-0a")).as_deref(), Ok("lb-a"));
    assert_eq!(resolve("lb-a", None).as_deref(), Ok("lb-a"));
    assert_eq!(resolve("LB-A.eu-west-1.compute.internal", None).as_deref(), Ok("lb-a"));
    assert_eq!(resolve("lb-b.example", None).as_deref(), Ok("lb-b.example"));
    assert_eq!(resolve("lb-b", Some("i-0b")).as_deref(), Ok("lb-b.example"));
    // The instance is the better witness of the two.
    assert_eq!(resolve("w", Some("i-0a")).as_deref(), Ok("lb-a"));
    let error = resolve("lb-a", Some("i-0c")).expect_err("another instance");
    assert!(error.contains("node: this machine (hostname \"lb-a\", instance i-0c) has the name"));
    let error = resolve("other", None).expect_err("no such node");
    assert!(error.contains("lb-a, lb-b.example and w") && error.contains("--node"), "{error}");
}

#[test]
fn auto_does_not_guess_between_two() {
    let config = auto(
        "{ name = \"lb-a\", links = [\"10.0.0.1:1\"] },\
         { name = \"lb-b.example\", links = [\"10.0.0.2:1\"] },\
         { name = \"lb-b.test\", role = \"witness\", links = [\"10.0.0.3:1\"] }",
    );
    let error = resolve_auto(&config, "lb-b", None).expect_err("two fit").to_string();
    assert!(error.contains("cannot tell lb-b.example from lb-b.test"), "{error}");
    assert_eq!(resolve_auto(&config, "lb-b.test", None).as_deref(), Ok("lb-b.test"));
}

fn in_directory(path: &Path) -> Config {
    let text = with("/etc/vipward/cluster.key", &path.join("key").display().to_string())
        .replace("[state]", &format!("[state]\ndirectory = \"{}\"", path.join("state").display()))
        .replace("[admin]", &format!("[admin]\nsocket = \"{}\"", path.join("admin").display()));
    good(&text)
}

fn key_syntax(text: &str) -> Result<(), String> {
    if text.starts_with("good") { Ok(()) } else { Err("line 1 is no base64".to_owned()) }
}

#[test]
fn key_file_and_state_directory() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = in_directory(directory.path());
    let told = || -> Vec<String> {
        machine_problems(&config, &key_syntax).iter().map(ToString::to_string).collect()
    };
    let (key, state) = (directory.path().join("key"), directory.path().join("state"));

    let problems = told();
    assert_eq!(problems.len(), 2, "{problems:#?}");
    assert!(problems[0].starts_with("vipward.toml:7: security.key_file: "), "{problems:#?}");
    assert!(problems[0].contains("does not exist") && problems[0].contains("keygen"));
    assert!(problems[1].contains(": state.directory: ") && problems[1].contains("install -d"));

    std::fs::create_dir(&state).expect("a directory");
    std::fs::write(&key, "good").expect("a key");
    for (mode, who) in [(0o644, "everybody"), (0o640, "its group"), (0o602, "everybody")] {
        std::fs::set_permissions(&key, Permissions::from_mode(mode)).expect("a mode");
        let problems = told();
        assert_eq!(problems.len(), 1, "{problems:#?}");
        assert!(problems[0].contains(&format!("able by {who} (mode {mode:04o})")), "{problems:?}");
        assert!(problems[0].contains("chmod 600"), "{problems:?}");
    }
    std::fs::set_permissions(&key, Permissions::from_mode(0o600)).expect("a mode");
    assert_eq!(told(), [""; 0]);
    assert_eq!(std::fs::read_dir(&state).expect("a directory").count(), 0, "nothing is left");

    std::fs::write(&key, "bad").expect("a key");
    assert!(told()[0].ends_with("key: line 1 is no base64"));
    std::fs::remove_dir(&state).expect("removed");
    std::fs::write(&state, "").expect("a file");
    assert!(told()[1].contains("is no directory"));
}

/// `/proc` is a directory in which not even root can make a file.
#[test]
fn a_directory_that_cannot_be_written() {
    let config = good(&with("[state]", "[state]\ndirectory = \"/proc\""));
    let problems = machine_problems(&config, &key_syntax);
    let problem = problems.iter().find(|problem| problem.path() == "state.directory");
    assert!(problem.is_some_and(|problem| problem.message().contains("/proc")), "{problems:?}");
}

#[test]
fn ports_in_use_and_addresses_of_other_machines() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = (taken.local_addr().expect("an address"), taken);
    let text = with("127.0.0.1:7401", &taken.0.to_string())
        .replace("\"10.0.1.10:7400\", \"10.0.9.10:7400\"", "\"192.0.2.1:7400\"");
    let config = good(&text);
    let (_, me) = config.node("lb-a").expect("a node");
    let problems: Vec<_> = port_problems(&config, me).iter().map(ToString::to_string).collect();
    assert_eq!(problems.len(), 2, "{problems:#?}");
    assert!(problems[0].starts_with("vipward.toml:10: nodes[0].links[0]: 192.0.2.1 is no address"));
    assert!(problems[1].starts_with("vipward.toml:34: admin.listen: port "), "{problems:#?}");
    assert!(problems[1].contains("is in use by another process"), "{problems:#?}");
}
