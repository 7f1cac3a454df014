//! Every metric's name, with its help: the contract's list.

use std::collections::BTreeSet;
use std::sync::Mutex;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Gauge, Histogram, Meter};

/// From a round trip within a machine to a call that timed out, in seconds.
const BUCKETS: [f64; 16] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0,
];

/// The reasons of the contract for refusing a message: shown as 0 from the start.
const REJECTIONS: [&str; 7] =
    ["bad-mac", "replay", "stranger", "wrong-cluster", "oversized", "malformed", "version"];

/// All of them, by what they measure.
pub(super) struct Instruments {
    pub(super) gauges: Gauges,
    pub(super) counters: Counters,
    pub(super) histograms: Histograms,
    /// Alarms ever raised: a gauge keeps its last value until it is told another.
    pub(super) alarms: Mutex<BTreeSet<&'static str>>,
}

/// What is so now.
pub(super) struct Gauges {
    pub(super) role: Gauge<u64>,
    pub(super) term: Gauge<u64>,
    pub(super) lease_remaining: Gauge<f64>,
    pub(super) standing: Gauge<u64>,
    pub(super) quorum: Gauge<u64>,
    pub(super) peer_up: Gauge<u64>,
    pub(super) address_owned: Gauge<u64>,
    pub(super) preflight_ok: Gauge<u64>,
    pub(super) credentials_expiry: Gauge<f64>,
    pub(super) config_consistent: Gauge<u64>,
    pub(super) config_drift: Gauge<f64>,
    pub(super) alarm: Gauge<u64>,
    pub(super) check_state: Gauge<i64>,
}

/// How often something happened.
pub(super) struct Counters {
    pub(super) heartbeats_lost: Counter<u64>,
    pub(super) failovers: Counter<u64>,
    pub(super) cloud_calls: Counter<u64>,
    pub(super) hooks: Counter<u64>,
    pub(super) messages_rejected: Counter<u64>,
}

/// How long something took.
pub(super) struct Histograms {
    pub(super) heartbeat_rtt: Histogram<f64>,
    pub(super) failover_stage: Histogram<f64>,
    pub(super) cloud_call: Histogram<f64>,
    pub(super) loop_stall: Histogram<f64>,
}

impl Instruments {
    pub(super) fn new(meter: &Meter) -> Self {
        Self {
            gauges: Gauges::new(meter),
            counters: Counters::new(meter),
            histograms: Histograms::new(meter),
            alarms: Mutex::default(),
        }
    }
}

impl Gauges {
    fn new(meter: &Meter) -> Self {
        let gauge = |name, help| meter.u64_gauge(name).with_description(help).build();
        let seconds =
            |name, help| meter.f64_gauge(name).with_description(help).with_unit("s").build();
        Self {
            role: gauge("vipward_role", "1 for the node's role in the group, 0 for the others."),
            term: gauge("vipward_term", "The highest term known to have been elected."),
            lease_remaining: seconds(
                "vipward_lease_remaining_seconds",
                "How long this node's lease still lasts; 0 off the master.",
            ),
            standing: gauge("vipward_standing", "1 for the node's standing, 0 for the others."),
            quorum: gauge("vipward_quorum", "1 if a majority of voters is heard."),
            peer_up: gauge("vipward_peer_up", "1 if the peer is heard on the link."),
            address_owned: gauge(
                "vipward_address_owned",
                "1 if the cloud shows the address at this node.",
            ),
            preflight_ok: gauge("vipward_preflight_ok", "1 if this node could take over now."),
            credentials_expiry: seconds(
                "vipward_credentials_expiry_seconds",
                "How long the cloud credentials are still good.",
            ),
            config_consistent: gauge(
                "vipward_config_consistent",
                "1 if the node's configuration is the cluster's reference.",
            ),
            config_drift: seconds(
                "vipward_config_drift_seconds",
                "For how long the node's configuration has not been the reference; 0 if it is.",
            ),
            alarm: gauge("vipward_alarm", "1 while something needs a person."),
            check_state: meter
                .i64_gauge("vipward_check_state")
                .with_description("1 if the check passes, 0 if it fails, -1 if not known yet.")
                .build(),
        }
    }
}

impl Counters {
    fn new(meter: &Meter) -> Self {
        let counter = |name, help| meter.u64_counter(name).with_description(help).build();
        let messages_rejected =
            counter("vipward_messages_rejected_total", "Messages refused, by reason.");
        for reason in REJECTIONS {
            messages_rejected.add(0, &[KeyValue::new("reason", reason)]);
        }
        Self {
            heartbeats_lost: counter(
                "vipward_heartbeats_lost_total",
                "Heartbeats that were not answered in time.",
            ),
            failovers: counter("vipward_failovers_total", "Takeovers by this node, by cause."),
            cloud_calls: counter("vipward_cloud_calls_total", "Cloud calls, by outcome."),
            hooks: counter("vipward_hooks_total", "Commands of hooks, by outcome."),
            messages_rejected,
        }
    }
}

impl Histograms {
    fn new(meter: &Meter) -> Self {
        let histogram = |name, help| {
            let histogram = meter.f64_histogram(name).with_description(help).with_unit("s");
            histogram.with_boundaries(BUCKETS.to_vec()).build()
        };
        Self {
            heartbeat_rtt: histogram("vipward_heartbeat_rtt_seconds", "Round trips of heartbeats."),
            failover_stage: histogram(
                "vipward_failover_stage_seconds",
                "How long each stage of a takeover took.",
            ),
            cloud_call: histogram("vipward_cloud_call_seconds", "How long cloud calls took."),
            loop_stall: histogram(
                "vipward_loop_stall_seconds",
                "How much later than due the core's loop came.",
            ),
        }
    }
}
