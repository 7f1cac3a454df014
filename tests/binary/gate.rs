//! The gate as an operator meets it: a node that comes back different, `diff`, `admit`,
//! `maintenance`.

use serde_json::Value;

use crate::fixture::{Cluster, NAMES, Plan, WITNESS, get, vipward, wait_until};

/// A cluster that compares what `cat site.conf` prints in each node's own directory.
fn compared() -> Cluster {
    let plan = Plan::new()
        .with("[limits]", "[consistency]\ncommands = [\"cat site.conf\"]\n\n[limits]")
        .with("[security]", "restart_grace = \"1s\"\nprobation = \"1s\"\n\n[security]");
    for node in [0, 1] {
        site(&plan, node, "4");
    }
    let mut cluster = plan.start();
    cluster.wait_leads(0);
    cluster
}

fn site(plan: &Plan, node: usize, workers: &str) {
    let text = format!("listen 80;\nworkers {workers};\n");
    std::fs::write(plan.path(NAMES[node]).join("site.conf"), text).unwrap();
}

/// The standby is killed, and comes back with another configuration.
fn back_with_another() -> Cluster {
    let mut cluster = compared();
    cluster.kill(1);
    site(&cluster.plan, 1, "2");
    cluster.start_again(1);
    wait_standing(&cluster, 1, "quarantined");
    cluster
}

fn wait_standing(cluster: &Cluster, node: usize, standing: &str) -> Value {
    cluster.wait_status(node, standing, |status| status["standing"] == standing)
}

#[test]
fn a_node_that_comes_back_different_is_kept_out_until_it_is_equal() {
    let mut cluster = back_with_another();
    // It says what differs and what to do,
    let status = cluster.wait_status(1, "tells what differs", |status| {
        let reason = status["standing_reason"].as_str().unwrap_or_default();
        reason.contains("cat site.conf") && reason.contains("vipward diff lb-a")
    });
    assert_eq!(status["reference"]["consistent"], false, "{status:#}");
    assert!(status["alarms"].as_array().unwrap().iter().any(|it| it["name"] == "quarantined"));
    let ready = get(cluster.plan.admin(1), "/readyz").unwrap();
    assert_eq!(ready.status, 503);
    assert!(ready.text().contains("quarantined"), "{}", ready.text());
    // and cannot be switched to, nor forced.
    for force in [&[][..], &["--force"]] {
        let args = [&["switchover", "web", "--to", "lb-b"], force].concat();
        let ran = cluster.ask(0, &args).exits(1);
        assert!(ran.sentence().contains("quarantined"), "{ran:?}");
    }
    // Each side shows the lines.
    let shown = cluster.ask(1, &["diff", "lb-a"]).exits(0).stdout;
    for line in ["-workers 2;", "+workers 4;", " listen 80;"] {
        assert!(shown.contains(line), "{line} is not in\n{shown}");
    }
    let document = cluster.ask(0, &["diff", "lb-b", "--json"]).exits(0).json();
    assert_eq!((&document["equal"], &document["there"]), (&false.into(), &"lb-b".into()));
    // Put right, it is on probation and then ready, and nothing has moved.
    site(&cluster.plan, 1, "4");
    wait_standing(&cluster, 1, "probation");
    cluster.wait_leads(0);
    let equal = cluster.ask(1, &["diff", "lb-a", "--json"]).exits(0).json();
    assert_eq!(equal["equal"], true, "{equal:#}");
    let standings: Vec<Value> = cluster.journal(1).into_iter().rev().collect();
    let standings: Vec<&str> = standings
        .iter()
        .filter(|entry| entry["event"] == "standing-changed")
        .filter_map(|entry| entry["to"].as_str())
        .take(3)
        .collect();
    assert_eq!(standings, ["ready", "probation", "quarantined"]);
    cluster.assert_undisturbed();
}

#[test]
fn an_operator_admits_what_differs() {
    let mut cluster = back_with_another();
    // Whoever is asked, but only a balancer that is heard.
    for (node, says) in [("lb-x", "lb-x"), ("witness", "witness")] {
        let ran = cluster.ask(0, &["admit", node]).exits(1);
        assert!(ran.sentence().contains(says), "{ran:?}");
    }
    let done = cluster.ask(WITNESS, &["admit", "lb-b"]).exits(0);
    assert!(done.stdout.contains("lb-b is admitted"), "{done:?}");
    wait_standing(&cluster, 1, "ready");
    let admitted =
        cluster.wait_journal(WITNESS, "the admission", |entry| entry["event"] == "admitted");
    assert_eq!(admitted["peer"], "lb-b", "{admitted}");
    // It leads when the master dies: its configuration is the cluster's from then on.
    cluster.kill(0);
    cluster.wait_status(1, "leads", |status| status["groups"][0]["role"] == "master");
    cluster.wait_status(1, "is the reference", |status| status["reference"]["consistent"] == true);
    cluster.start_again(0);
    wait_standing(&cluster, 0, "quarantined");
}

#[test]
fn maintenance_takes_a_node_out_and_back() {
    let mut cluster = compared();
    let on = cluster.ask(0, &["maintenance", "on", "--node", "lb-b"]).exits(0);
    assert!(on.stdout.contains("lb-b is in maintenance"), "{on:?}");
    wait_standing(&cluster, 1, "maintenance");
    let ran = cluster.ask(0, &["switchover", "web"]).exits(1);
    assert!(!ran.sentence().is_empty());
    // A restart does not end it; nobody is left for the master to hand over to.
    cluster.kill(1);
    cluster.start_again(1);
    wait_standing(&cluster, 1, "maintenance");
    let ran = cluster.ask(0, &["maintenance", "on"]).exits(1);
    assert!(ran.sentence().contains("no other node"), "{ran:?}");
    cluster.assert_undisturbed();
    let off = cluster.ask(1, &["maintenance", "off"]).exits(0);
    assert!(off.stdout.contains("out of maintenance"), "{off:?}");
    cluster.wait_leads(0);
    // A master hands over first.
    cluster.ask(0, &["maintenance", "on"]).exits(0);
    wait_standing(&cluster, 0, "maintenance");
    let led = cluster.wait_journal(1, "its mastership", |entry| {
        entry["event"] == "role-changed" && entry["to"] == "master"
    });
    assert_eq!(led["cause"], "switchover", "{led}");
    wait_until("the other holds the address", || {
        cluster.cloud.holder().as_deref() == Some("eni-0bbb")
    });
    assert_eq!(cluster.cloud.done("AssociateAddress").len(), 2);
}

#[test]
fn what_cannot_be_compared_says_why() {
    let mut cluster = compared();
    for (args, says) in [
        (&["diff", "lb-x"][..], "lb-x"),
        (&["diff", "lb-a"], "this node"),
        (&["maintenance", "on", "--node", "lb-x"], "lb-x"),
    ] {
        let ran = cluster.ask(0, args).exits(1);
        assert!(ran.sentence().contains(says), "{ran:?}");
    }
    // A witness has vipward's own part only.
    let ran = cluster.ask(0, &["diff", "witness", "--json"]).exits(0);
    assert_eq!(ran.json()["equal"], true, "{ran:?}");
    cluster.kill(1);
    let ran = cluster.ask(0, &["diff", "lb-b"]).exits(1);
    assert!(ran.sentence().contains("lb-b"), "{ran:?}");
    for args in [&["diff", "lb-b"][..], &["admit", "lb-b"], &["maintenance", "off"]] {
        let nobody = ["--socket", "/nonexistent/admin.sock"];
        vipward([args, &nobody].concat()).exits(3);
    }
    vipward(["maintenance", "maybe"]).exits(2);
}
