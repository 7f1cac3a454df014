//! A secondary private address, moved in the simulated cloud. The kernel's half fails in these
//! tests: the interface that the file names does not exist, so no test touches the machine's own.

use serde_json::Value;

use crate::fixture::{ALLOCATION, Cloud, Cluster, Plan, get, wait_until};

const IP: &str = "10.0.1.50";
const ASSIGN: &str = "AssignPrivateIpAddresses";
const UNASSIGN: &str = "UnassignPrivateIpAddresses";

fn plan() -> Plan {
    let elastic = format!("kind = \"elastic-ip\", allocation_id = \"{ALLOCATION}\"");
    let nowhere = format!("kind = \"secondary-ip\", ip = \"{IP}\", interface = \"no-such-link\"");
    Plan::new().with(&elastic, &nowhere)
}

/// The interfaces that have the address.
fn holders(cloud: &Cloud) -> Vec<String> {
    let resources = get(cloud.at, "/_vipward/resources").unwrap().json();
    let interfaces = resources["interfaces"].as_array().unwrap();
    let has = |it: &&Value| it["private_ips"].as_array().unwrap().iter().any(|ip| ip == IP);
    interfaces.iter().filter(has).map(|it| it["id"].as_str().unwrap().to_owned()).collect()
}

fn settled(plan: Plan) -> Cluster {
    let mut cluster = plan.start();
    cluster.wait_leads(0);
    assert_eq!(holders(&cluster.cloud), ["eni-0aaa"]);
    cluster
}

/// That a node's kernel half failed, was told, and was not waited for.
fn kernel_failed(cluster: &Cluster, node: usize) {
    let raised = cluster.wait_journal(node, "the alarm", |entry| {
        entry["event"] == "alarm-raised" && entry["name"] == "kernel-address"
    });
    assert!(raised["message"].as_str().unwrap().contains("no-such-link"), "{raised}");
}

#[test]
fn it_is_claimed_and_moves_by_one_call_when_its_master_is_killed() {
    // Given a cluster whose kernels cannot have the address, the cloud's half is carried out all
    // the same,
    let mut cluster = settled(plan());
    kernel_failed(&cluster, 0);
    // when its master is killed,
    cluster.kill(0);
    cluster.wait_leads(1);
    // then it is at the other, by one call that may take it from where it was,
    assert_eq!(holders(&cluster.cloud), ["eni-0bbb"]);
    let moved = cluster.cloud.done(ASSIGN);
    assert_eq!(moved.len(), 2, "{moved:#?}");
    assert_eq!(moved[1]["parameters"]["AllowReassignment"], "true");
    assert_eq!(moved[1]["parameters"]["NetworkInterfaceId"], "eni-0bbb");
    assert!(cluster.cloud.done(UNASSIGN).is_empty());
    // which the journal names.
    let call = cluster.wait_journal(1, "the end of its call", |entry| {
        entry["event"] == "call-finished" && entry["operation"] == ASSIGN
    });
    assert_eq!(call["outcome"], "ok", "{call}");
    assert_eq!(call["request_id"], moved[1]["request_id"]);
    kernel_failed(&cluster, 1);
    // What the preflights tried had no effect: it was refused for what it said.
    wait_until("every call has landed", || {
        cluster.cloud.record().iter().all(|call| call["outcome"] != "pending")
    });
    for call in cluster.cloud.record() {
        let tried = call["outcome"] == "refused" && call["error"] == "InvalidParameterValue";
        assert!(tried || call["parameters"]["PrivateIpAddress.1"] == IP, "{call:#}");
    }
}

#[test]
fn in_fenced_mode_it_is_taken_off_where_it_was_seen_and_assigned_without_reassignment() {
    let mut cluster = settled(plan().with("[limits]", "claim = \"fenced\"\n[limits]"));
    cluster.kill(0);
    cluster.wait_leads(1);
    assert_eq!(holders(&cluster.cloud), ["eni-0bbb"]);
    let off = cluster.cloud.done(UNASSIGN);
    assert_eq!(off.len(), 1, "{:#?}", cluster.cloud.record());
    assert_eq!(off[0]["parameters"]["NetworkInterfaceId"], "eni-0aaa");
    for call in cluster.cloud.done(ASSIGN) {
        assert_eq!(call["parameters"]["AllowReassignment"], "false", "{call:#}");
    }
}
