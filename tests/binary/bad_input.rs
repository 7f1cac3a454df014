//! Bad input on the machine: key files, directories, ports, disks, names. One sentence each, with
//! the place and the remedy, exit code 1.

use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::fixture::{Cloud, Cluster, Plan, Process, Ran, WITNESS, get, vipward, wait_until};

/// That `run` and `check --cloud` both refuse it, in one sentence that has all that.
#[track_caller]
fn refused(plan: &Plan, says: &[&str]) {
    let says_it = |ran: &Ran| {
        let fits = |line: &&str| {
            line.starts_with("error: ") && says.iter().all(|part| line.contains(part))
        };
        let errors = ran.stderr.lines().filter(|line| line.starts_with("error: "));
        assert_eq!(errors.filter(fits).count(), 1, "no one sentence with {says:?}: {ran:#?}");
    };
    says_it(&plan.run(0).exits(1));
    // Silent peers make warnings beside it.
    says_it(&plan.check(0, &["--cloud"]).exits(1));
}

fn plan_with_cloud() -> (Plan, Cloud) {
    let plan = Plan::new();
    let cloud = plan.start_cloud();
    (plan, cloud)
}

#[test]
fn a_missing_key_file() {
    let (plan, _cloud) = plan_with_cloud();
    std::fs::remove_file(plan.path("cluster.key")).unwrap();
    refused(&plan, &["security.key_file: ", "/cluster.key does not exist", "vipward keygen"]);
}

#[test]
fn a_world_readable_key_file() {
    let (plan, _cloud) = plan_with_cloud();
    let key = plan.path("cluster.key");
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o644)).unwrap();
    refused(&plan, &["security.key_file: ", "readable by everybody", "0644", "chmod 600"]);
}

#[test]
fn a_key_file_without_a_key() {
    let (plan, _cloud) = plan_with_cloud();
    std::fs::write(plan.path("cluster.key"), "not base64!\n").unwrap();
    refused(&plan, &["security.key_file: ", "line 1 is not base64", "vipward keygen"]);
    std::fs::write(plan.path("cluster.key"), "c2hvcnQ=\n").unwrap();
    refused(&plan, &["security.key_file: ", "has 5 bytes, but 32 or more"]);
    std::fs::write(plan.path("cluster.key"), "\n").unwrap();
    refused(&plan, &["security.key_file: ", "no key", "vipward keygen"]);
}

#[test]
fn a_missing_state_directory() {
    let (plan, _cloud) = plan_with_cloud();
    std::fs::remove_dir(plan.path("lb-a/state")).unwrap();
    refused(&plan, &["state.directory: ", "/lb-a/state does not exist", "install -d -m 0700"]);
}

#[test]
fn a_state_directory_that_is_a_file() {
    let (plan, _cloud) = plan_with_cloud();
    let plan = plan.with("directory = \"", "directory = \"/dev/null\" # ");
    refused(&plan, &["state.directory: ", "/dev/null is no directory", "name another"]);
}

#[test]
fn a_link_port_in_use() {
    let (plan, _cloud) = plan_with_cloud();
    let _other = TcpListener::bind(plan.link(0)).unwrap();
    let link = plan.link(0);
    refused(&plan, &[&link.ip().to_string(), "7400", "in use"]);
}

#[test]
fn an_admin_port_in_use() {
    let (plan, _cloud) = plan_with_cloud();
    let _other = TcpListener::bind(plan.admin(0)).unwrap();
    refused(&plan, &["admin.listen", &plan.admin(0).ip().to_string(), "7401", "in use"]);
}

#[test]
fn a_link_that_is_no_address_of_this_machine() {
    let plan = Plan::new();
    let (a, b, witness) = (plan.link(0), plan.link(1), plan.link(WITNESS));
    // Documentation addresses (RFC 5737): nobody has them.
    let plan = plan.with(&a.to_string(), "192.0.2.1:7400");
    let plan = plan.with(&b.to_string(), "192.0.2.2:7400");
    let plan = plan.with(&witness.to_string(), "192.0.2.3:7400");
    let ran = plan.run(0).exits(1);
    let sentence = ran.stderr.lines().find(|line| line.starts_with("error: ")).unwrap();
    assert!(sentence.contains("192.0.2.1"), "{sentence}");
}

#[test]
fn a_name_that_is_no_node() {
    let (plan, _cloud) = plan_with_cloud();
    let file = plan.file(0);
    for command in [&["run"][..], &["check"], &["check", "--cloud"]] {
        let more = ["--config", file.to_str().unwrap(), "--node", "lb-x"];
        // The machine has nothing to do with it: it is wrong usage.
        let ran = vipward(command.iter().copied().chain(more)).exits(2);
        let sentence = ran.sentence();
        assert!(sentence.contains("lb-x") && sentence.contains("lb-a"), "{sentence}");
    }
}

#[test]
fn a_second_daemon_of_the_same_node() {
    let (plan, _cloud) = plan_with_cloud();
    let mut first = plan.start_node(0);
    wait_until("it answers", || get(plan.admin(0), "/healthz").is_some());
    let ran = plan.run(0).exits(1);
    let errors: Vec<_> = ran.stderr.lines().filter(|it| it.starts_with("error: ")).collect();
    assert!(matches!(errors[..], [one] if one.contains("in use")), "{ran:#?}");
    assert!(first.is_alive());
}

/// A shell in a mount namespace of its own, where only root may mount.
fn unshared(script: &str, plan: &Plan) -> Option<Process> {
    let possible = Command::new("unshare").args(["-m", "true"]).status();
    if !possible.is_ok_and(|status| status.success()) {
        eprintln!("skipped: mounting needs root and `unshare`");
        return None;
    }
    let file = plan.file(1);
    let state = plan.path("lb-b/state");
    let script = format!("state={}\n{script}", state.display());
    let mut shell = Command::new("unshare");
    shell.args(["-m", "sh", "-ec", &script, "sh", env!("CARGO_BIN_EXE_vipward"), "run"]);
    shell.args(["--node", "lb-b", "--config"]).arg(file);
    shell.envs(Plan::environment(1));
    Some(Process::spawn(shell, &plan.path("lb-b.log")))
}

#[test]
fn a_read_only_disk() {
    let (plan, _cloud) = plan_with_cloud();
    let script = "mount -t tmpfs -o ro none $state; exec \"$@\"";
    let Some(mut process) = unshared(script, &plan) else { return };
    assert_eq!(process.wait_end(), Some(1));
    let said = process.said();
    let errors: Vec<_> = said.lines().filter(|line| line.starts_with("error: ")).collect();
    let [sentence] = errors[..] else { panic!("{said}") };
    for part in ["state.directory: ", "/lb-b/state", "read-only", "mount it writable"] {
        assert!(sentence.contains(part), "{sentence}");
    }
}

#[test]
fn a_disk_that_turns_full_under_a_daemon_stops_no_takeover_and_leaves_a_gap() {
    let plan = Plan::new();
    let script = "mount -t tmpfs -o size=256k none $state; exec \"$@\"";
    let Some(process) = unshared(script, &plan) else { return };
    let cloud = plan.start_cloud();
    let inside = process.id();
    let nodes = [Some(plan.start_node(0)), Some(process), Some(plan.start_node(WITNESS))];
    let mut cluster = Cluster::new(nodes, cloud, plan);
    let master = cluster.wait_master();
    cluster.wait_leads(master);
    if master == 1 {
        cluster.ask(0, &["switchover", "web"]).exits(0);
        cluster.wait_leads(0);
    }
    let seen = format!("/proc/{inside}/root{}", cluster.plan.path("lb-b/state").display());
    let filler = format!("{seen}/filler");
    let mut file = std::fs::File::create(&filler).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
    cluster.kill(0);
    cluster.wait_leads(1);
    cluster.start_again(0);
    cluster.wait_leads(1);
    // Enough to write for what is left of the last block.
    for master in [0, 1] {
        cluster.ask(0, &["switchover", "web"]).exits(0);
        cluster.wait_leads(master);
    }
    drop(file);
    std::fs::remove_file(filler).unwrap();
    cluster.ask(0, &["switchover", "web"]).exits(0);
    wait_until("the journal tells of its gap", || {
        let text = std::fs::read_to_string(format!("{seen}/journal.jsonl")).unwrap_or_default();
        text.lines().any(|it| it.contains("\"journal-gap\"") && it.contains("\"lost\":"))
    });
    // Every number is there once: as a line, or in the gap that says how many are missing.
    let mut expected = 1;
    for entry in std::fs::read_to_string(format!("{seen}/journal.jsonl")).unwrap().lines() {
        let entry: serde_json::Value = serde_json::from_str(entry).expect("no torn line");
        let lost = entry["lost"].as_u64().unwrap_or(1);
        assert_eq!(entry["seq"].as_u64(), Some(expected + lost - 1), "{entry}");
        expected += lost;
    }
    let said = cluster.node(1).said();
    assert!(!said.contains("panicked"), "{said}");
}
