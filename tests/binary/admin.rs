//! The read-only HTTP of `admin.listen`.

use serde_json::Value;

use crate::daemon::assert_whole;
use crate::fixture::{Cluster, WITNESS, get, request, stream, wait_until};

/// Every name of the contract.
const METRICS: [&str; 20] = [
    "vipward_role",
    "vipward_term",
    "vipward_lease_remaining_seconds",
    "vipward_standing",
    "vipward_quorum",
    "vipward_peer_up",
    "vipward_heartbeat_rtt_seconds",
    "vipward_heartbeats_lost_total",
    "vipward_failovers_total",
    "vipward_failover_stage_seconds",
    "vipward_address_owned",
    "vipward_cloud_calls_total",
    "vipward_cloud_call_seconds",
    "vipward_preflight_ok",
    "vipward_config_consistent",
    "vipward_alarm",
    "vipward_check_state",
    "vipward_messages_rejected_total",
    "vipward_loop_stall_seconds",
    "vipward_credentials_expiry_seconds",
];

#[test]
fn health_readiness_status_and_master_answer_as_the_contract_says() {
    let cluster = Cluster::settled();
    for node in 0..3 {
        let at = cluster.plan.admin(node);
        assert_eq!(get(at, "/healthz").unwrap().status, 200);
        let ready = get(at, "/readyz").unwrap();
        assert_eq!(ready.status, 200, "{ready:?}");

        let status = get(at, "/v1/status").unwrap();
        assert_eq!(status.header("content-type"), Some("application/json"));
        assert_whole(&status.json());
        let by_command = cluster.ask(node, &["status", "--json"]).exits(0).json();
        assert_eq!(shape(&status.json()), shape(&by_command));

        let master = get(at, "/v1/groups/web/master").unwrap();
        assert_eq!(master.status, if node == 0 { 200 } else { 503 });
        let role = ["master", "backup", "none"][node];
        assert_eq!(master.header("x-vipward-role"), Some(role));
        assert_eq!(get(at, "/v1/groups/mail/master").unwrap().status, 404);
        assert_eq!(get(at, "/v1/nothing").unwrap().status, 404);
        // It is read-only.
        for (path, method) in [("/v1/status", "POST"), ("/v1/switchover", "POST"), ("/", "PUT")] {
            let reply = request(at, method, path, &[], b"{\"group\":\"web\"}").unwrap();
            assert!(matches!(reply.status, 404 | 405), "{method} {path}: {reply:?}");
        }
    }
    let page = get(cluster.plan.admin(1), "/").unwrap();
    assert!(page.header("content-type").unwrap().starts_with("text/html"));
    assert!(page.text().contains("vipward") && page.text().contains("/v1/"), "{}", page.text());
}

/// The keys, all the way down.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(object) => {
            object.iter().map(|(key, value)| (key.clone(), shape(value))).collect()
        }
        Value::Array(list) => list.iter().map(shape).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Value::Null,
    }
}

#[test]
fn a_failover_shows_in_the_metrics_the_stream_and_the_health_checks() {
    let mut cluster = Cluster::settled();
    let at = cluster.plan.admin(1);
    let mut events = stream(at, "/v1/events?since=1h").filter_map(|line| {
        let data = line.strip_prefix("data: ")?.to_owned();
        Some(serde_json::from_str::<Value>(&data).unwrap())
    });
    assert_eq!(get(at, "/v1/groups/web/master").unwrap().status, 503);
    cluster.kill(0);
    let led = events.find(|event| event["event"] == "role-changed" && event["to"] == "master");
    assert_eq!(led.expect("the stream goes on")["cause"], "master-crashed");
    wait_until("lb-b passes the health check", || {
        get(at, "/v1/groups/web/master").unwrap().status == 200
    });
    cluster.wait_leads(1);
    cluster.wait_status(1, "tells of the failover", |status| {
        status["last_failover"]["verify_ms"].is_number()
    });
    let failover = cluster.status(1).unwrap()["last_failover"].clone();
    for key in ["group", "term", "from", "to", "cause", "detect_ms", "elect_ms", "claim_ms", "at"] {
        assert!(!failover[key].is_null(), "{key} in {failover}");
    }
    assert_eq!((&failover["from"], &failover["to"]), (&"lb-a".into(), &"lb-b".into()));

    // The gauges follow within a second.
    wait_until("the gauges show the new role", || {
        metrics(at).contains("vipward_role{group=\"web\",role=\"master\"} 1")
    });
    let text = metrics(at);
    let static_credentials = "vipward_credentials_expiry_seconds"; // They never expire.
    let no_checks = "vipward_check_state";
    for name in METRICS.iter().filter(|name| ![static_credentials, no_checks].contains(name)) {
        assert!(text.contains(&format!("# TYPE {name} ")), "{name} is not in\n{text}");
    }
    for line in [
        "vipward_failovers_total{cause=\"master-crashed\",group=\"web\"} 1",
        "vipward_address_owned{address=\"eipalloc-0abc\",group=\"web\"} 1",
        "vipward_preflight_ok 1",
        "vipward_peer_up{link=\"0\",peer=\"lb-a\"} 0",
        "vipward_peer_up{link=\"0\",peer=\"witness\"} 1",
        "vipward_quorum{group=\"web\"} 1",
    ] {
        assert!(text.lines().any(|it| it == line), "{line} is not in\n{text}");
    }
    for stage in ["detect", "elect", "claim", "verify"] {
        let name =
            format!("vipward_failover_stage_seconds_count{{group=\"web\",stage=\"{stage}\"}} 1");
        assert!(text.contains(&name), "{name} is not in\n{text}");
    }
    assert!(
        text.contains("vipward_cloud_calls_total{operation=\"AssociateAddress\",outcome=\"ok\"} 1")
    );
}

fn metrics(at: std::net::SocketAddr) -> String {
    let reply = get(at, "/metrics").unwrap();
    assert!(reply.header("content-type").unwrap().starts_with("text/plain; version=0.0.4"));
    reply.text()
}

#[test]
fn checks_have_their_state_in_status_and_metrics() {
    let mut plan = crate::fixture::Plan::new();
    plan.config += "\n[[checks]]\nname = \"lamp\"\ncommand = [\"/bin/true\"]\ninterval = \"1s\"\n\
                    weight = 5\n";
    let mut cluster = plan.start();
    cluster.wait_leads(0);
    let status = cluster
        .wait_status(0, "its check passes", |status| status["checks"][0]["state"] == "passing");
    assert_eq!(status["checks"][0]["name"], "lamp");
    assert!(status["checks"][0]["since"].as_str().unwrap().ends_with('Z'), "{status}");
    let at = cluster.plan.admin(0);
    wait_until("the gauge shows it", || metrics(at).contains("vipward_check_state{"));
}

#[test]
fn a_muted_witness_is_not_ready() {
    let mut cluster = Cluster::settled();
    cluster.kill(WITNESS);
    cluster.start_again(WITNESS);
    let at = cluster.plan.admin(WITNESS);
    // It comes back muted for one lease, and then votes.
    wait_until("it is ready", || get(at, "/readyz").is_some_and(|reply| reply.status == 200));
    cluster.wait_leads(0);
    cluster.assert_undisturbed();
}
