//! `run`, `status`, `events`, and the signals.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::fixture::{
    ADDRESS, ALLOCATION, Cluster, GROUP, NAMES, PATIENCE, Plan, WITNESS, command, now, vipward,
    wait_until,
};

/// The keys of the contract's document, with the path to each object.
const KEYS: &[(&str, &[&str])] = &[
    (
        "",
        &[
            "cluster",
            "node",
            "version",
            "standing",
            "standing_reason",
            "digest",
            "groups",
            "peers",
            "checks",
            "preflight",
            "alarms",
            "last_failover",
        ],
    ),
    (
        "/groups/0",
        &[
            "name",
            "role",
            "term",
            "master",
            "lease_left_ms",
            "priority",
            "effective_priority",
            "addresses",
        ],
    ),
    ("/groups/0/addresses/0", &["kind", "id", "address", "ownership", "holder", "verified_ms_ago"]),
    ("/peers/0", &["name", "role", "standing", "digest", "links"]),
    ("/peers/0/links/0", &["address", "up", "rtt_us", "last_heard_ms"]),
    ("/preflight", &["ok", "checked_ms_ago", "problems"]),
];

#[track_caller]
pub(crate) fn assert_whole(document: &Value) {
    for (path, keys) in KEYS {
        let object = document.pointer(path).unwrap_or_else(|| panic!("{path} in {document:#}"));
        for key in *keys {
            assert!(object.get(key).is_some(), "{path}/{key} is not in {document:#}");
        }
    }
}

#[test]
fn status_has_every_key_on_every_node() {
    let cluster = Cluster::settled();
    for node in 0..3 {
        let ran = cluster.ask(node, &["status", "--json"]).exits(0);
        assert_eq!(ran.stderr, "");
        let status = ran.json();
        assert_whole(&status);
        assert_eq!(status["cluster"], "test");
        assert_eq!(status["node"], NAMES[node]);
        assert_eq!(status["standing"], "ready");
        assert!(status["digest"].as_str().unwrap().starts_with("sha256:"), "{status}");
        let group = &status["groups"][0];
        assert_eq!(group["name"], GROUP);
        assert_eq!(group["role"], ["master", "backup", "none"][node]);
        assert_eq!(group["master"], NAMES[0]);
        assert_eq!(group["priority"], [Value::from(200), 100.into(), Value::Null][node]);
        assert_eq!(group["lease_left_ms"].as_u64() == Some(0), node != 0, "{group}");
        let address = &group["addresses"][0];
        assert_eq!((&address["kind"], &address["id"]), (&"elastic-ip".into(), &ALLOCATION.into()));
        for peer in status["peers"].as_array().unwrap() {
            let witness = peer["name"] == NAMES[WITNESS];
            assert_eq!(peer["role"], if witness { "witness" } else { "balancer" });
            assert_eq!(peer["digest"], status["digest"]);
            assert!(peer["links"][0]["rtt_us"].as_u64().unwrap() > 0, "{peer}");
        }
        assert_eq!(status["preflight"]["ok"], true);
        assert_eq!(status["preflight"]["problems"], serde_json::json!([]));
    }
    let master = cluster.group(0).unwrap();
    let address = &master["addresses"][0];
    assert_eq!((&address["address"], &address["ownership"]), (&ADDRESS.into(), &"owned".into()));
    assert_eq!(address["holder"], NAMES[0]);
}

#[test]
fn status_for_people_names_what_matters_and_has_no_colour_in_a_pipe() {
    let cluster = Cluster::settled();
    let page = cluster.ask(1, &["status"]).exits(0).stdout;
    for word in ["lb-b", "test", "web", "backup", "master lb-a", ADDRESS, ALLOCATION, "witness"] {
        assert!(page.contains(word), "{word} is not in\n{page}");
    }
    assert!(!page.contains('\u{1b}'), "{page:?}");
}

#[test]
fn without_a_master_status_exits_4_and_prints_the_whole_document() {
    let plan = Plan::new();
    let cloud = plan.start_cloud();
    let node = plan.start_node(0);
    let cluster = Cluster::new([Some(node), None, None], cloud, plan);
    cluster.wait_status(0, "answers", |_| true);
    let status = cluster.ask(0, &["status", "--json"]).exits(4).json();
    assert_whole(&status);
    let group = &status["groups"][0];
    assert_eq!((&group["master"], &group["lease_left_ms"]), (&Value::Null, &0.into()));
    for peer in status["peers"].as_array().unwrap() {
        assert_eq!((&peer["standing"], &peer["digest"]), (&Value::Null, &Value::Null), "{peer}");
        let link = &peer["links"][0];
        assert_eq!(link["up"], false);
        assert_eq!((&link["rtt_us"], &link["last_heard_ms"]), (&Value::Null, &Value::Null));
    }
    assert_eq!(status["last_failover"], Value::Null);
    assert!(cluster.ask(0, &["status"]).exits(4).stdout.contains("nobody"));
    assert_eq!(cluster.cloud.done("AssociateAddress").len(), 0, "one of three has no majority");
}

#[test]
fn events_come_from_the_daemon_and_from_its_file_when_none_answers() {
    let mut cluster = Cluster::settled();
    let told = cluster.ask(0, &["events", "--json"]).exits(0);
    assert_eq!(told.stderr, "");
    let told = told.json_lines();
    for entry in &told {
        for key in ["seq", "at", "node", "boot", "event"] {
            assert!(entry.get(key).is_some(), "{key} is not in {entry}");
        }
        assert_eq!(entry["node"], NAMES[0]);
        let at = entry["at"].as_str().unwrap();
        assert!(at.len() == "2026-01-01T00:00:00.000Z".len() && at.ends_with('Z'), "{at}");
    }
    assert_eq!(told[0]["event"], "started");
    let numbers: Vec<_> = told.iter().map(|entry| entry["seq"].as_u64().unwrap()).collect();
    assert!(numbers.windows(2).all(|two| two[0] < two[1]), "{numbers:?}");
    let people = cluster.ask(0, &["events"]).exits(0).stdout;
    assert!(people.contains("role-changed") && people.contains("master"), "{people}");
    assert!(cluster.ask(0, &["events", "--json", "--since", "1h"]).exits(0).stdout.len() > 100);
    let future = cluster.ask(0, &["events", "--json", "--since", "2999-01-01T00:00:00Z"]).exits(0);
    assert_eq!(future.stdout, "");

    let last = told.last().unwrap()["seq"].as_u64().unwrap();
    cluster.kill(0);
    let file = cluster.plan.file(0);
    let read = cluster.ask(0, &["events", "--json", "--config", file.to_str().unwrap()]).exits(0);
    assert!(read.json_lines().iter().any(|entry| entry["seq"].as_u64() == Some(last)));
}

#[test]
fn events_follow_what_happens() {
    let mut cluster = Cluster::settled();
    let socket = cluster.socket(1);
    let args = ["events", "--follow", "--since", "1h", "--json", "--socket"];
    let mut command = command(args, &[]);
    let said = cluster.plan.path("follow.err");
    command.arg(socket).stderr(std::fs::File::create(&said).unwrap());
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let boot = cluster.status(1).unwrap()["boot"].clone();
    let out = BufReader::new(child.stdout.take().unwrap());
    let (sender, heard) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        out.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
    });
    let mut lines = std::iter::from_fn(|| heard.recv_timeout(PATIENCE).ok());
    // What there is comes first; then the takeover.
    cluster.kill(0);
    let followed = lines.any(|line| {
        let entry: Value = serde_json::from_str(&line).unwrap();
        entry["event"] == "role-changed" && entry["to"] == "master"
    });
    assert!(followed, "the stream ended before");
    // It goes on with the daemon's next life, and misses nothing of it.
    cluster.kill(1);
    cluster.start_again(1);
    let mut last: Option<Value> = None;
    let started = lines.find(|line| {
        let entry: Value = serde_json::from_str(line).unwrap();
        let before = last.replace(entry.clone()).filter(|last| last["boot"] == entry["boot"]);
        // The killed life may not have written its last lines, whose numbers come again then.
        if let Some(before) = before {
            assert_eq!(entry["seq"].as_u64(), before["seq"].as_u64().map(|it| it + 1), "{entry}");
        }
        entry["event"] == "started" && entry["boot"] != boot
    });
    assert!(started.is_some(), "the stream ended before");
    assert!(child.try_wait().unwrap().is_none());
    child.kill().unwrap();
    child.wait().unwrap();
    let said = std::fs::read_to_string(said).unwrap();
    let mut told = said.lines();
    assert_eq!(told.next(), Some("warning: the daemon went away; waiting for it"), "{said}");
    assert_eq!(told.next(), Some("the daemon answers again"), "{said}");
    assert_eq!(told.next(), None, "{said}");
}

#[test]
fn a_watched_status_survives_a_restart_and_ends_at_a_signal() {
    let mut cluster = Cluster::settled();
    let socket = cluster.socket(1);
    let (said, shown) = (cluster.plan.path("watch.err"), cluster.plan.path("watch.out"));
    let mut command = command(["status", "--watch", "--json", "--socket"], &[]);
    command.arg(socket).stderr(std::fs::File::create(&said).unwrap());
    let mut child = command.stdout(std::fs::File::create(&shown).unwrap()).spawn().unwrap();
    let boots = || -> Vec<Value> {
        let text = std::fs::read_to_string(&shown).unwrap();
        let whole = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut boots: Vec<Value> = whole.map(|status| status["boot"].clone()).collect();
        boots.dedup();
        boots
    };
    wait_until("it shows the status", || boots().len() == 1);
    cluster.kill(1);
    wait_until("it says that nobody answers", || {
        std::fs::read_to_string(&said).unwrap().contains("no daemon answers")
    });
    cluster.start_again(1);
    wait_until("it shows the next life", || boots().len() == 2);
    let text = std::fs::read_to_string(&said).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    let pid = rustix::process::Pid::from_raw(child.id().try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, Signal::INT).unwrap();
    let mut ended = None;
    wait_until("it ends", || {
        ended = child.try_wait().unwrap();
        ended.is_some()
    });
    assert_eq!(ended.unwrap().code(), Some(0));
}

#[test]
fn sigterm_hands_over_and_exits_0() {
    let mut cluster = Cluster::settled();
    cluster.node(0).signal(Signal::TERM);
    assert_eq!(cluster.node(0).wait_end(), Some(0), "{}", cluster.node(0).said());
    cluster.nodes[0] = None;
    cluster.wait_leads(1);
    assert_eq!(cluster.cloud.holder().as_deref(), Some("eni-0bbb"));
    assert_eq!(cluster.cloud.done("AssociateAddress").len(), 2, "one claim each");
    let led = cluster.wait_journal(1, "its mastership", |entry| {
        entry["event"] == "role-changed" && entry["to"] == "master"
    });
    assert_eq!(led["cause"], "resigned", "{led}");
    let last = cluster.journal(0).pop().unwrap();
    assert_eq!(last["event"], "stopped", "{last}");
    assert!(!cluster.socket(0).exists(), "its socket stays behind");
}

#[test]
fn a_backup_and_a_witness_stop_at_once_and_nothing_moves() {
    let mut cluster = Cluster::settled();
    for node in [WITNESS, 1] {
        let began = now();
        cluster.node(node).signal(Signal::INT);
        assert_eq!(cluster.node(node).wait_end(), Some(0));
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        cluster.start_again(node);
        cluster.wait_leads(0);
    }
    cluster.assert_undisturbed();
}

#[test]
fn the_name_on_the_command_line_beats_the_file_also_when_that_is_auto() {
    let plan = Plan::new().with("cluster = \"test\"", "cluster = \"test\"\nnode = \"auto\"");
    let mut cluster = plan.start();
    cluster.wait_leads(0);
    let plan = Plan::new().with("cluster = \"test\"", "cluster = \"test\"\nnode = \"witness\"");
    let cloud = plan.start_cloud();
    let node = plan.start_node(1);
    let cluster = Cluster::new([None, Some(node), None], cloud, plan);
    cluster.wait_status(1, "is lb-b", |status| status["node"] == "lb-b");
}

#[test]
fn auto_without_a_fitting_name_is_one_sentence() {
    let plan = Plan::new().with("cluster = \"test\"", "cluster = \"test\"\nnode = \"auto\"");
    let file = plan.file(0);
    let args = ["run", "--config", file.to_str().unwrap()];
    let ran = crate::fixture::vipward_with(args, &Plan::environment(0)).exits(1);
    let sentence = ran.sentence();
    assert!(sentence.contains("node: \"auto\" finds no node"), "{sentence}");
    assert!(sentence.contains("--node"), "{sentence}");
    vipward(["check", "--config", file.to_str().unwrap()]).exits(0);
}

/// Writes a node's file anew and asks it to read it.
fn reload(cluster: &mut Cluster, node: usize) {
    cluster.plan.file(node);
    cluster.node(node).signal(Signal::HUP);
}

#[test]
fn sighup_takes_a_new_priority_and_new_timing() {
    let mut cluster = Cluster::settled();
    let before = cluster.status(0).unwrap()["digest"].clone();
    let text = cluster.plan.config.replace("lb-a = 200", "lb-a = 150");
    cluster.plan.config = text.replace("\"100ms\"", "\"120ms\"");
    reload(&mut cluster, 0);
    cluster.wait_status(0, "has the new priority", |status| {
        let group = &status["groups"][0];
        group["priority"] == 150 && group["effective_priority"] == 150
    });
    // The longer lease is seen where it is counted.
    let lease = |status: &Value| status["groups"][0]["lease_left_ms"].as_u64().unwrap();
    cluster.wait_status(0, "has the longer lease", |status| lease(status) > 300);
    cluster.wait_status(1, "shows the difference", |status| {
        let mut peers = status["peers"].as_array().unwrap().iter();
        peers.any(|peer| peer["name"] == "lb-a" && peer["digest"] != status["digest"])
    });
    assert_ne!(cluster.status(0).unwrap()["digest"], before);
    cluster.wait_journal(1, "config-drift", |entry| entry["event"] == "config-drift");
    for node in [1, 2] {
        reload(&mut cluster, node);
    }
    cluster.wait_leads(0);
    cluster.assert_undisturbed();
}

#[test]
fn sighup_is_refused_as_a_whole_and_names_what_a_reload_cannot_change() {
    let mut cluster = Cluster::settled();
    let good = cluster.plan.config.clone();
    let link = cluster.plan.link(2).to_string();
    for (old, new, named) in [
        ("cluster = \"test\"", "cluster = \"other\"", "cluster cannot be changed"),
        (&link, "127.0.0.1:7999", "[[nodes]]"),
        ("name = \"web\"", "name = \"mail\"", "[[groups]]"),
        (ALLOCATION, "eipalloc-0def", "[[groups]]"),
        ("/state\"", "/elsewhere\"", "[state]"),
        ("log = \"text\"", "log = \"json\"", "[telemetry]"),
        ("lb-b = 100", "lb-x = 100", "groups[0].priority.lb-x"),
        ("[limits]", "[limits", "is not TOML"),
    ] {
        assert!(good.contains(old), "{old}");
        // A change that would be possible comes with it, and is refused too.
        cluster.plan.config = good.replacen(old, new, 1).replace("lb-a = 200", "lb-a = 199");
        let before = cluster.node(0).said().len();
        reload(&mut cluster, 0);
        wait_until(&format!("{named} is refused"), || {
            let said = cluster.node(0).said();
            let new = said.get(before..).unwrap_or_default();
            new.lines().any(|it| it.contains("refused as a whole") && it.contains(named))
        });
        let group = cluster.group(0).unwrap();
        assert_eq!(group["priority"], 200, "{named}");
    }
    let refusals = cluster.journal(0).into_iter().filter(|it| it["event"] == "reload-refused");
    assert!(refusals.count() >= 8);
    cluster.assert_undisturbed();
    // The good file is good still.
    cluster.plan.config = good.replace("lb-a = 200", "lb-a = 199");
    reload(&mut cluster, 0);
    cluster.wait_status(0, "reloads", |status| status["groups"][0]["priority"] == 199);
}

#[test]
fn a_new_key_is_rolled_out_by_reloads() {
    let mut cluster = Cluster::settled();
    let (old, new) = (cluster.plan.key.clone(), vipward(["keygen"]).exits(0).stdout);
    let key_file = cluster.plan.path("cluster.key");
    // As config/ says: the new key second, then first, then alone.
    for keys in [format!("{old}{new}"), format!("{new}{old}"), new] {
        std::fs::write(&key_file, keys).unwrap();
        for node in 0..3 {
            let before = cluster.node(node).said().matches("configuration reloaded").count();
            reload(&mut cluster, node);
            wait_until("it reloads", || {
                cluster.node(node).said().matches("configuration reloaded").count() > before
            });
        }
    }
    // A node that knows the new key only joins: the others have it as well.
    cluster.kill(1);
    cluster.start_again(1);
    cluster.wait_leads(0);
    cluster.assert_undisturbed();
}
