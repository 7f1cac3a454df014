//! Whatever reaches a running daemon from outside: it never ends, and the master stays.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::fixture::wire::{Forger, sign_answer};
use crate::fixture::{
    Asked, Cluster, NAMES, Plan, WITNESS, get, holds_for, http, request, serve, wait_until,
};

/// How often a node refused a message for this reason.
fn refused(cluster: &Cluster, node: usize, reason: &str) -> u64 {
    let text = get(cluster.plan.admin(node), "/metrics").unwrap().text();
    let name = format!("vipward_messages_rejected_total{{reason=\"{reason}\"}} ");
    text.lines().find_map(|line| line.strip_prefix(&name)?.parse().ok()).unwrap_or(0)
}

/// Says it, and hears what comes within a moment.
fn say(to: SocketAddr, bytes: &[u8]) {
    let Ok(mut stream) = TcpStream::connect(to) else { return };
    stream.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let _ = stream.write_all(bytes); // It may be hung up in the middle.
    let _ = stream.read(&mut [0; 256]);
}

fn garbage() -> Vec<Vec<u8>> {
    let mut random = vec![0; 4096];
    getrandom::fill(&mut random).unwrap();
    vec![
        random,
        Vec::new(),
        vec![0; 100_000],
        vec![b'A'; 1_000_000],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        b"GET / HTTP/9.9\r\n\r\n".to_vec(),
        b"GET /v1/status HTTP/1.1\r\n".to_vec(),
        b"POST /v1/heartbeat HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999999999999\r\n\r\n".to_vec(),
        b"POST /v1/vote HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFF\r\n".to_vec(),
        b"POST /v1/vote HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n{}".to_vec(),
        b"GET /v1/groups/%00%ff%2e%2e/master HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(),
        b"GET /v1/events?since=%ff HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(),
        [b"GET /".as_slice(), &vec![b'x'; 70_000], b" HTTP/1.1\r\nhost: x\r\n\r\n"].concat(),
        (0..2_000).fold(b"GET / HTTP/1.1\r\n".to_vec(), |mut head, index| {
            head.extend(format!("x-{index}: y\r\n").bytes());
            head
        }),
    ]
}

#[test]
fn garbage_at_every_door_changes_nothing() {
    let mut cluster = Cluster::settled();
    for node in 0..3 {
        for bytes in garbage() {
            for door in [cluster.plan.link(node), cluster.plan.admin(node)] {
                say(door, &bytes);
            }
            let mut socket = UnixStream::connect(cluster.socket(node)).unwrap();
            socket.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
            let _ = socket.write_all(&bytes);
        }
    }
    wait_until("it is counted", || refused(&cluster, 0, "malformed") > 0);
    cluster.wait_leads(0);
    cluster.assert_undisturbed();
}

#[test]
fn a_huge_body_is_refused_before_it_costs_anything() {
    let mut cluster = Cluster::settled();
    let huge = vec![b' '; 20 << 20];
    let mut forger = Forger::new(&cluster.plan.key, "lb-b", "lb-a");
    // Even signed with the key.
    if let Ok(reply) = forger.say(cluster.plan.link(0), "/v1/heartbeat", &huge) {
        assert_eq!(reply.status, 413, "{reply:?}");
    }
    wait_until("it is counted", || refused(&cluster, 0, "oversized") > 0);
    let at = cluster.plan.admin(0);
    if let Ok(reply) = request(at, "POST", "/v1/status", &[], &huge) {
        assert!((400..500).contains(&reply.status), "{}", reply.status);
    }
    let mut socket = UnixStream::connect(cluster.socket(0)).unwrap();
    socket.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
    let head = "POST /v1/switchover HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";
    let _ = write!(socket, "{head}content-length: {}\r\n\r\n", huge.len());
    let _ = socket.write_all(&huge);
    let mut told = String::new();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let _ = socket.read_to_string(&mut told);
    assert!(told.is_empty() || told.contains(" 413 "), "{told}");
    cluster.wait_leads(0);
    cluster.assert_undisturbed();
}

#[test]
fn requests_that_are_not_proved_are_counted_by_reason() {
    let mut cluster = Cluster::settled();
    let at = cluster.plan.link(0);
    let other_key = crate::fixture::vipward(["keygen"]).exits(0).stdout;
    let key = cluster.plan.key.clone();
    for (mut forger, reason) in [
        (Forger::new(&other_key, "lb-b", "lb-a"), "bad-mac"),
        (Forger::new(&key, "lb-x", "lb-a"), "stranger"),
        (Forger::new(&key, "lb-b", "witness"), "stranger"),
    ] {
        let before = refused(&cluster, 0, reason);
        let reply = forger.say(at, "/v1/heartbeat", b"{}").unwrap();
        assert_eq!(reply.status, 403, "{reason}: {reply:?}");
        assert!(reply.header("x-vipward-mac").is_none(), "{reply:?}");
        wait_until(reason, || refused(&cluster, 0, reason) > before);
    }
    // A recording, played again.
    let mut forger = Forger::new(&key, "lb-b", "lb-a");
    assert_eq!(forger.post(at, "/v1/vote", b"[]").status, 400);
    forger.sequence -= 1;
    assert_eq!(forger.say(at, "/v1/vote", b"[]").unwrap().status, 403);
    wait_until("the replay is counted", || refused(&cluster, 0, "replay") > 0);
    cluster.assert_undisturbed();
}

#[test]
fn wrong_json_from_a_peer_is_refused_with_a_sentence_in_the_log() {
    let mut cluster = Cluster::settled();
    let key = cluster.plan.key.clone();
    let bodies = [
        "",
        "{",
        "null",
        "[]",
        "{}",
        "\"x\"",
        "{\"send\":\"seven\"}",
        "{\"send\":-1}",
        "{\"send\":1e300}",
        "\u{0}",
        "{\"send\":1,\"list\":[{\"group\":\"web\"}]}",
    ];
    for node in [0, WITNESS] {
        let at = cluster.plan.link(node);
        let mut forger = Forger::new(&key, "lb-b", NAMES[node]);
        let before = refused(&cluster, node, "malformed");
        for path in ["/v1/heartbeat", "/v1/vote", "/v1/resign", "/v1/operator"] {
            for body in bodies {
                let reply = forger.post(at, path, body.as_bytes());
                assert_eq!(reply.status, 400, "{path} {body}: {reply:?}");
            }
            let deep = format!("{}{}", "[".repeat(30_000), "]".repeat(30_000));
            assert_eq!(forger.post(at, path, deep.as_bytes()).status, 400);
        }
        wait_until("all are counted", || refused(&cluster, node, "malformed") >= before + 48);
        let said = cluster.node(node).said();
        assert!(said.contains("a peer's request cannot be read"), "{said}");
    }
    cluster.wait_leads(0);
    cluster.assert_undisturbed();
}

/// The document with each part of it replaced by each of something else, one at a time.
fn mutations(document: &Value) -> Vec<Value> {
    let wrong = [
        json!(0),
        json!(u64::MAX),
        json!(u64::MAX / 2),
        json!(1),
        json!(-1),
        json!(255),
        json!(""),
        json!("web"),
        json!("lb-a"),
        json!("lb-x"),
        json!(null),
        json!([]),
        json!({}),
        json!(true),
        json!("0".repeat(32)),
        json!(vec!["lb-a"; 300]),
    ];
    let mut all = Vec::new();
    for path in paths(document, String::new()) {
        for value in &wrong {
            let mut mutant = document.clone();
            *mutant.pointer_mut(&path).unwrap() = value.clone();
            all.push(mutant);
        }
    }
    all
}

fn paths(value: &Value, path: String) -> Vec<String> {
    let below: Vec<_> = match value {
        Value::Object(object) => {
            object.iter().flat_map(|(key, value)| paths(value, format!("{path}/{key}"))).collect()
        }
        Value::Array(list) => {
            let items = list.iter().enumerate();
            items.flat_map(|(index, value)| paths(value, format!("{path}/{index}"))).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    };
    std::iter::once(path).chain(below).collect()
}

#[test]
fn a_peer_gone_mad_that_has_the_key_ends_no_daemon() {
    let plan = Plan::new();
    // In place of lb-b: an ear that keeps what it hears.
    let heard: Arc<Mutex<Option<Value>>> = Arc::default();
    let ear = Arc::clone(&heard);
    serve(plan.link(1), move |asked: &Asked| {
        if asked.path == "/v1/heartbeat" {
            *ear.lock().unwrap() = serde_json::from_str(&asked.body).ok();
        }
        http(500, "", "")
    });
    let cloud = plan.start_cloud();
    let nodes = [Some(plan.start_node(0)), None, Some(plan.start_node(WITNESS))];
    let mut cluster = Cluster::new(nodes, cloud, plan);
    cluster.wait_leads(0);
    // It knows no boot of lb-b's, so what it sends has no `to_boot`; the body is a real one.
    let heartbeat = crate::fixture::wait_for("a heartbeat", || heard.lock().unwrap().clone());
    let digest = heartbeat["digest"].clone();
    let rank = json!({"standing": "ready", "preflight_ok": true, "holds": false, "priority": 254,
                      "name": "lb-b"});
    let vote = json!({"send": 1, "group": "web", "term": 2, "lease_us": 300_000, "rank": rank,
                      "digest": digest, "cause": "master-silent",
                      "evidence": {"node": "lb-a", "boot": "0".repeat(32)}});
    let resign = json!({"send": 1, "list": [
        {"group": "web", "term": 2, "kind": {"resign": {"successor": "lb-a", "cause": "resigned"}}}]});
    let order = json!({"send": 1, "command": {"switchover": {"group": "web", "to": "lb-b", "force": true}}});
    let offer =
        json!({"send": 1, "command": {"offer": {"group": "web", "term": 2, "force": true}}});
    let documents = [
        ("/v1/heartbeat", heartbeat),
        ("/v1/resign", resign),
        ("/v1/operator", order),
        ("/v1/operator", offer),
        ("/v1/vote", vote),
    ];
    for node in [0, WITNESS] {
        let at = cluster.plan.link(node);
        let mut forger = Forger::new(&cluster.plan.key, "lb-b", NAMES[node]);
        for (path, document) in &documents {
            for mutant in mutations(document) {
                let reply = forger.post(at, path, mutant.to_string().as_bytes());
                let known = matches!(reply.status, 200 | 400 | 409 | 503);
                assert!(known, "{path} {mutant}: {reply:?}");
            }
        }
        assert!(cluster.node(node).is_alive(), "{}", NAMES[node]);
        assert!(get(cluster.plan.admin(node), "/healthz").unwrap().status == 200);
        let said = cluster.node(node).said();
        assert!(!said.contains("panicked"), "{said}");
    }
}

#[test]
fn a_peer_that_answers_rubbish_is_a_silent_peer() {
    let plan = Plan::new();
    let key = Forger::new(&plan.key, "", "").key;
    let turn = AtomicUsize::new(0);
    serve(plan.link(1), move |asked: &Asked| {
        let mac = asked.header("x-vipward-mac");
        let signed = |status: u16, body: &str| {
            let mac = sign_answer(&key, status, body.as_bytes(), mac);
            http(status, &format!("x-vipward-mac: {mac}\r\n"), body)
        };
        match turn.fetch_add(1, Ordering::Relaxed) % 12 {
            0 => Vec::new(),
            1 => b"rubbish\r\n\r\n".to_vec(),
            2 => http(200, "", "{}"),
            3 => signed(200, "{}"),
            4 => signed(200, "{\"send\":18446744073709551615}"),
            5 => signed(409, "{\"boot\":\"short\"}"),
            6 => signed(409, "{\"boot\":\"00000000000000000000000000000000\"}"),
            7 => signed(200, &"x".repeat(1 << 20)),
            8 => http(302, "location: http://127.0.0.1/\r\n", ""),
            9 => b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nFFFFFFFF\r\n".to_vec(),
            10 => signed(200, "not JSON"),
            _ => signed(500, "[]"),
        }
    });
    let cloud = plan.start_cloud();
    let nodes = [Some(plan.start_node(0)), None, Some(plan.start_node(WITNESS))];
    let mut cluster = Cluster::new(nodes, cloud, plan);
    cluster.wait_leads(0);
    holds_for(Duration::from_secs(3), "lb-a leads", || {
        cluster.group(0).is_some_and(|group| group["role"] == "master")
    });
    for node in [0, WITNESS] {
        assert!(cluster.node(node).is_alive());
        let status = cluster.status(node).unwrap();
        let peer = status["peers"].as_array().unwrap().iter().find(|it| it["name"] == "lb-b");
        assert_eq!(peer.unwrap()["standing"], Value::Null, "{status:#}");
    }
    assert_eq!(cluster.cloud.done("AssociateAddress").len(), 1);
}
