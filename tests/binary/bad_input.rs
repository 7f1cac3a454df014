//! Bad input on the machine: key files, directories, ports, disks, names. One sentence each, with
//! the place and the remedy, exit code 1.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use crate::fixture::{Plan, Ran, WITNESS, wait_until};

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

fn plan_with_cloud() -> (Plan, crate::fixture::Cloud) {
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
    for command in [&["run"][..], &["check", "--cloud"]] {
        let more = ["--config", file.to_str().unwrap(), "--node", "lb-x"];
        let ran = crate::fixture::vipward(command.iter().copied().chain(more)).exits(1);
        let sentence = ran.sentence();
        assert!(sentence.contains("lb-x") && sentence.contains("lb-a"), "{sentence}");
    }
}

#[test]
fn a_second_daemon_of_the_same_node() {
    let (plan, _cloud) = plan_with_cloud();
    let mut first = plan.start_node(0);
    wait_until("it answers", || crate::fixture::get(plan.admin(0), "/healthz").is_some());
    let ran = plan.run(0).exits(1);
    let errors: Vec<_> = ran.stderr.lines().filter(|it| it.starts_with("error: ")).collect();
    assert!(matches!(errors[..], [one] if one.contains("in use")), "{ran:#?}");
    assert!(first.is_alive());
}
