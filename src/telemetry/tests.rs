use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};

use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use vipward_core::{
    AddressId, AddressStatus, AlarmName, CallId, Cause, CheckState, Digest, Event, EventKind,
    Failover, GroupId, GroupStatus, LinkId, NodeId, OwnershipName, PeerStatus, Reference,
    ReferenceVersion, RoleName, Standing, Status, Term, Timestamp,
};

use super::*;
use crate::names::tests::names;

fn settings() -> Settings {
    Settings {
        log: LogFormat::Json,
        level: "info".to_owned(),
        otlp_endpoint: None,
        cluster: "web-prod".to_owned(),
        node: "lb-a".to_owned(),
        version: "0.1.0".to_owned(),
    }
}

fn status() -> Status {
    Status {
        at: Timestamp::from_millis(1),
        standing: Standing::Ready,
        standing_reason: None,
        muted: Duration::ZERO,
        digest: Digest([1; 32]),
        reference: Some(Reference {
            version: ReferenceVersion::default(),
            digest: Digest([1; 32]),
        }),
        consistent: Some(true),
        drift_since: None,
        groups: vec![GroupStatus {
            group: GroupId(0),
            role: RoleName::Master,
            term: Term(42),
            master: Some(NodeId(0)),
            lease_left: Duration::from_millis(512),
            priority: None,
            effective_priority: None,
            quorum: true,
            addresses: vec![AddressStatus {
                address: AddressId(0),
                ip: Some(Ipv4Addr::LOCALHOST.into()),
                ownership: OwnershipName::Owned,
                holder: None,
                verified_ago: None,
                kernel: None,
            }],
        }],
        peers: vec![PeerStatus {
            node: NodeId(1),
            boot: None,
            standing: None,
            digest: Some(Digest([2; 32])),
            consistent: Some(false),
            drift_since: Some(Timestamp::from_millis(0)),
            up: true,
            links: vec![(true, None), (false, None)],
        }],
        checks: vec![(CheckState::Failing, Timestamp::from_millis(0))],
        preflight_problems: Vec::new(),
        alarms: vec![(AlarmName::ConfigDrift(NodeId(1)), Timestamp::from_millis(0), "x".into())],
        last_failover: None,
    }
}

fn observed() -> Metrics {
    let metrics = Metrics::local(&settings()).unwrap();
    let names = names();
    metrics.observe_status(&status(), &names);
    let millis = Duration::from_millis;
    let failover = Failover {
        group: GroupId(0),
        term: Term(42),
        from: None,
        to: NodeId(0),
        cause: Some(Cause::MasterSilent),
        detect: Some(millis(640)),
        elect: Some(millis(1)),
        claim: Some(millis(212)),
        verify: Some(millis(95)),
        at: Timestamp::from_millis(0),
    };
    let call = EventKind::CallFinished {
        call: CallId(1),
        operation: "AssociateAddress",
        address: None,
        outcome: "ok",
        detail: None,
        request_id: None,
        took: millis(200),
    };
    for kind in [EventKind::FailoverFinished(failover), call] {
        metrics.observe_event(&Event { group: None, term: None, cause: None, kind }, &names);
    }
    metrics.round_trip(&names, NodeId(1), LinkId(0), Duration::from_micros(310));
    metrics.heartbeat_lost(&names, NodeId(1), LinkId(1));
    metrics.rejected("replay");
    metrics.cloud_call("AssociateAddress", "ok", Duration::from_millis(212));
    metrics.loop_stall(Duration::from_micros(40));
    metrics.credentials_expiry(Duration::from_secs(3600));
    metrics
}

#[test]
fn every_metric_has_exactly_the_contracts_name_and_labels() {
    let text = observed().render();
    for line in [
        r#"vipward_role{group="web",role="master"} 1"#,
        r#"vipward_role{group="web",role="backup"} 0"#,
        r#"vipward_role{group="web",role="holding"} 0"#,
        r#"vipward_term{group="web"} 42"#,
        r#"vipward_lease_remaining_seconds{group="web"} 0.512"#,
        r#"vipward_standing{standing="ready"} 1"#,
        r#"vipward_standing{standing="quarantined"} 0"#,
        r#"vipward_quorum{group="web"} 1"#,
        r#"vipward_peer_up{link="0",peer="lb-b"} 1"#,
        r#"vipward_peer_up{link="1",peer="lb-b"} 0"#,
        r#"vipward_heartbeat_rtt_seconds_count{link="0",peer="lb-b"} 1"#,
        r#"vipward_heartbeat_rtt_seconds_bucket{link="0",peer="lb-b",le="0.00025"} 0"#,
        r#"vipward_heartbeat_rtt_seconds_bucket{link="0",peer="lb-b",le="0.0005"} 1"#,
        r#"vipward_heartbeats_lost_total{link="0",peer="lb-b"} 0"#,
        r#"vipward_heartbeats_lost_total{link="1",peer="lb-b"} 1"#,
        r#"vipward_failovers_total{cause="master-silent",group="web"} 1"#,
        r#"vipward_failover_stage_seconds_sum{group="web",stage="detect"} 0.64"#,
        r#"vipward_failover_stage_seconds_count{group="web",stage="verify"} 1"#,
        r#"vipward_address_owned{address="eipalloc-0abc",group="web"} 1"#,
        r#"vipward_cloud_calls_total{operation="AssociateAddress",outcome="ok"} 1"#,
        r#"vipward_cloud_call_seconds_count{operation="AssociateAddress"} 1"#,
        "vipward_preflight_ok 1",
        "vipward_credentials_expiry_seconds 3600",
        r#"vipward_config_consistent{peer="lb-b"} 0"#,
        r#"vipward_alarm{name="config-drift"} 1"#,
        r#"vipward_check_state{check="nginx"} 0"#,
        r#"vipward_messages_rejected_total{reason="replay"} 1"#,
        r#"vipward_messages_rejected_total{reason="bad-mac"} 0"#,
        "vipward_loop_stall_seconds_count 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in:\n{text}");
    }
    // Nothing beside the contract's names and one of our own, each with its help and type.
    let mut typed: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .filter_map(|line| line.split_once(' '))
        .filter(|(name, _)| *name != "vipward_config_drift_seconds")
        .collect();
    typed.sort_unstable();
    let names: Vec<_> = typed.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, CONTRACT);
    for (name, kind) in typed {
        let expected = match name {
            name if name.ends_with("_total") => "counter",
            "vipward_lease_remaining_seconds" | "vipward_credentials_expiry_seconds" => "gauge",
            name if name.ends_with("_seconds") => "histogram",
            _ => "gauge",
        };
        assert_eq!(kind, expected, "{name}");
        assert!(text.contains(&format!("# HELP {name} ")));
    }
    assert!(!text.contains("otel_") && !text.contains("target_info"));
}

const CONTRACT: [&str; 20] = [
    "vipward_address_owned",
    "vipward_alarm",
    "vipward_check_state",
    "vipward_cloud_call_seconds",
    "vipward_cloud_calls_total",
    "vipward_config_consistent",
    "vipward_credentials_expiry_seconds",
    "vipward_failover_stage_seconds",
    "vipward_failovers_total",
    "vipward_heartbeat_rtt_seconds",
    "vipward_heartbeats_lost_total",
    "vipward_lease_remaining_seconds",
    "vipward_loop_stall_seconds",
    "vipward_messages_rejected_total",
    "vipward_peer_up",
    "vipward_preflight_ok",
    "vipward_quorum",
    "vipward_role",
    "vipward_standing",
    "vipward_term",
];

#[test]
fn an_alarm_that_is_over_shows_zero() {
    let metrics = observed();
    let over = Status { alarms: Vec::new(), ..status() };
    metrics.observe_status(&over, &names());
    assert!(metrics.render().contains("vipward_alarm{name=\"config-drift\"} 0\n"));
}

#[test]
fn a_level_is_checked() {
    for (level, good) in
        [("info", true), ("DEBUG", true), ("warn,vipward=trace", true), ("loud", false)]
    {
        assert_eq!(filter(level, None).is_ok(), good, "{level}");
    }
    let ours = filter("debug", None).unwrap().to_string();
    assert!(ours.contains("vipward=debug") && ours.contains("warn"), "{ours}");
    assert_eq!(filter("debug", Some("error".to_owned())).unwrap().to_string(), "error");
}

/// A sink that takes nothing until it is told to.
struct Stuck(mpsc::Receiver<()>, Arc<Mutex<Vec<u8>>>);

impl Write for Stuck {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Once the gate is gone, everything passes.
        let _ = self.0.recv();
        self.1.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_stuck_sink_blocks_nobody_and_lines_are_whole() {
    let (gate, closed) = mpsc::channel();
    let written = Arc::new(Mutex::new(Vec::new()));
    let log = LogQueue::start(Stuck(closed, Arc::clone(&written))).unwrap();
    let layer = log_layer(&settings(), false, log.clone()).unwrap();
    let subscriber = tracing_subscriber::registry().with(layer);
    tracing::subscriber::with_default(subscriber, || {
        for number in 0..10_000 {
            tracing::info!(target: "vipward::test", number, "a line");
        }
    });
    assert!(log.dropped() > 5_000);
    drop(gate);
    log.flush(Duration::from_secs(10));
    let text = String::from_utf8(written.lock().unwrap().clone()).unwrap();
    let first: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!((&first["number"], &first["message"]), (&0.into(), &"a line".into()));
    assert!(text.lines().any(|line| line.contains("log_lines_dropped")));
}

#[tokio::test]
async fn a_collector_that_never_answers_costs_a_deadline() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let settings = Settings { otlp_endpoint: Some(endpoint.clone()), ..settings() };
    let otlp = Otlp::start(&endpoint, &settings).unwrap();
    let metrics = Metrics::new(&settings, Some(otlp.metrics().unwrap())).unwrap();
    let subscriber = tracing_subscriber::registry().with(otlp.layer());
    tracing::subscriber::with_default(subscriber, || {
        for _ in 0..10_000 {
            tracing::info_span!(target: "vipward::test", "a span").in_scope(|| {});
        }
    });
    metrics.rejected("replay");
    let (mut stream, _) = silent.accept().await.unwrap();
    let started = tokio::time::Instant::now();
    tokio::task::spawn_blocking(move || otlp.shutdown(&metrics, Duration::from_millis(200)))
        .await
        .unwrap();
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    // What was sent is gRPC.
    let mut preface = [0; 14];
    stream.read_exact(&mut preface).await.unwrap();
    assert_eq!(&preface, b"PRI * HTTP/2.0");
}

#[test]
fn an_endpoint_must_be_a_url() {
    let refused = Otlp::start("not a url", &settings()).err().unwrap().to_string();
    assert!(refused.contains("otlp_endpoint"), "{refused}");
}
