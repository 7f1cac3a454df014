//! What is measured, and with which labels; the names are in `instruments`.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry_otlp::MetricExporter;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use prometheus::{Registry, TextEncoder};
use vipward_core::{
    Cause, CheckState, Event, EventKind, Failover, GroupStatus, LinkId, NodeId, OwnershipName,
    PeerStatus, RoleName, Standing, Status, Timestamp,
};

use super::instruments::Instruments;
use super::otlp::resource;
use super::{Settings, TelemetryError};
use crate::names::Names;

/// Every standing, for the gauge that is 1 at one of them.
const STANDINGS: [Standing; 5] = [
    Standing::Joining,
    Standing::Probation,
    Standing::Ready,
    Standing::Quarantined,
    Standing::Maintenance,
];

/// The metrics. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    provider: SdkMeterProvider,
    instruments: Arc<Instruments>,
}

impl Metrics {
    /// The metrics, shown by [`Metrics::render`] and sent by `exporter` if there is one.
    pub(super) fn new(
        settings: &Settings,
        exporter: Option<PeriodicReader<MetricExporter>>,
    ) -> Result<Self, TelemetryError> {
        let registry = Registry::new();
        // The contract's names are whole: nothing is to be added to them.
        let reader = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .without_units()
            .without_counter_suffixes()
            .without_target_info()
            .scope_info_enabled(false)
            .build()
            .map_err(|error| TelemetryError::Metrics(error.to_string()))?;
        let mut provider =
            SdkMeterProvider::builder().with_reader(reader).with_resource(resource(settings));
        if let Some(exporter) = exporter {
            provider = provider.with_reader(exporter);
        }
        let provider = provider.build();
        let instruments = Arc::new(Instruments::new(&provider.meter("vipward")));
        Ok(Self { registry, provider, instruments })
    }

    /// Metrics that are only shown, for tools and tests.
    ///
    /// # Errors
    ///
    /// [`TelemetryError::Metrics`] if the registry refuses them.
    pub fn local(settings: &Settings) -> Result<Self, TelemetryError> {
        Self::new(settings, None)
    }

    /// The Prometheus text.
    #[must_use]
    pub fn render(&self) -> String {
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_default()
    }

    /// Counts what the core reports: failovers and their stages. Cloud calls are counted where
    /// they are made, by [`Metrics::cloud_call`]: the core does not report a read that succeeds.
    pub fn observe_event(&self, event: &Event, names: &Names) {
        match &event.kind {
            EventKind::FailoverFinished(failover) => self.failover(failover, names),
            EventKind::CallFinished { .. }
            | EventKind::StandingChanged { .. }
            | EventKind::RoleChanged { .. }
            | EventKind::VoteGranted { .. }
            | EventKind::VoteDenied { .. }
            | EventKind::CallStarted { .. }
            | EventKind::OwnershipChanged { .. }
            | EventKind::KernelChanged { .. }
            | EventKind::PeerUp { .. }
            | EventKind::PeerDown { .. }
            | EventKind::LinkUp { .. }
            | EventKind::LinkDown { .. }
            | EventKind::CheckChanged { .. }
            | EventKind::ConfigDrift { .. }
            | EventKind::ReferenceSet { .. }
            | EventKind::Admitted { .. }
            | EventKind::PullFinished { .. }
            | EventKind::HandoverRefused { .. }
            | EventKind::AlarmRaised { .. }
            | EventKind::AlarmCleared { .. } => {}
        }
    }

    fn failover(&self, failover: &Failover, names: &Names) {
        let group = names.group(failover.group);
        let cause = failover.cause.map_or("unknown", Cause::as_str);
        self.instruments.counters.failovers.add(1, &[label("group", group), label("cause", cause)]);
        for (stage, took) in [
            ("detect", failover.detect),
            ("elect", failover.elect),
            ("claim", failover.claim),
            ("verify", failover.verify),
        ] {
            if let Some(took) = took {
                let labels = [label("group", group), label("stage", stage)];
                self.instruments.histograms.failover_stage.record(took.as_secs_f64(), &labels);
            }
        }
    }

    /// Sets every gauge that the core's account of itself determines.
    pub fn observe_status(&self, status: &Status, names: &Names) {
        let all = &self.instruments;
        for group in &status.groups {
            self.group(group, names);
        }
        for standing in STANDINGS {
            let labels = [label("standing", standing.as_str())];
            all.gauges.standing.record(u64::from(standing == status.standing), &labels);
        }
        for peer in &status.peers {
            self.peer(peer, status, names);
        }
        self.consistent(names.my_name(), status.consistent, status.drift_since, status.at);
        for ((state, _), check) in status.checks.iter().zip(&names.checks) {
            let state = match state {
                CheckState::Passing => 1,
                CheckState::Failing => 0,
                CheckState::Unknown => -1,
            };
            all.gauges.check_state.record(state, &[label("check", check)]);
        }
        all.gauges.preflight_ok.record(u64::from(status.preflight_problems.is_empty()), &[]);
        let mut known = all.alarms.lock().unwrap_or_else(PoisonError::into_inner);
        known.extend(status.alarms.iter().map(|(name, ..)| name.as_str()));
        for known in known.iter() {
            let raised = status.alarms.iter().any(|(name, ..)| name.as_str() == *known);
            all.gauges.alarm.record(u64::from(raised), &[label("name", known)]);
        }
    }

    fn group(&self, group: &GroupStatus, names: &Names) {
        let all = &self.instruments;
        let name = names.group(group.group);
        let labels = [label("group", name)];
        for role in RoleName::ALL {
            let labels = [label("group", name), label("role", role.as_str())];
            all.gauges.role.record(u64::from(role == group.role), &labels);
        }
        all.gauges.term.record(group.term.0, &labels);
        all.gauges.lease_remaining.record(group.lease_left.as_secs_f64(), &labels);
        all.gauges.quorum.record(u64::from(group.quorum), &labels);
        for address in &group.addresses {
            let id = names.address(group.group, address.address);
            let labels = [label("group", name), label("address", id)];
            let owned = address.ownership == OwnershipName::Owned;
            all.gauges.address_owned.record(u64::from(owned), &labels);
        }
    }

    fn peer(&self, peer: &PeerStatus, status: &Status, names: &Names) {
        for (link, (up, _)) in (0..=u8::MAX).zip(&peer.links) {
            let labels = link_labels(names, peer.node, LinkId(link));
            self.instruments.gauges.peer_up.record(u64::from(*up), &labels);
            self.instruments.counters.heartbeats_lost.add(0, &labels);
        }
        // A peer that is not heard is not known to differ.
        self.consistent(names.node(peer.node), peer.consistent, peer.drift_since, status.at);
    }

    fn consistent(
        &self,
        node: &str,
        equal: Option<bool>,
        drift_since: Option<Timestamp>,
        now: Timestamp,
    ) {
        let labels = [label("peer", node)];
        if let Some(equal) = equal {
            self.instruments.gauges.config_consistent.record(u64::from(equal), &labels);
        }
        let age = drift_since.map_or(Duration::ZERO, |since| now.since(since));
        self.instruments.gauges.config_drift.record(age.as_secs_f64(), &labels);
    }

    /// A heartbeat was answered.
    pub fn round_trip(&self, names: &Names, peer: NodeId, link: LinkId, took: Duration) {
        let labels = link_labels(names, peer, link);
        self.instruments.histograms.heartbeat_rtt.record(took.as_secs_f64(), &labels);
    }

    /// A heartbeat was not answered in time.
    pub fn heartbeat_lost(&self, names: &Names, peer: NodeId, link: LinkId) {
        self.instruments.counters.heartbeats_lost.add(1, &link_labels(names, peer, link));
    }

    /// A message was refused, for one of the contract's reasons.
    pub fn rejected(&self, reason: &'static str) {
        self.instruments.counters.messages_rejected.add(1, &[label("reason", reason)]);
    }

    /// A cloud call ended.
    pub fn cloud_call(&self, operation: &'static str, outcome: &'static str, took: Duration) {
        let labels = [label("operation", operation), label("outcome", outcome)];
        self.instruments.counters.cloud_calls.add(1, &labels);
        let labels = [label("operation", operation)];
        self.instruments.histograms.cloud_call.record(took.as_secs_f64(), &labels);
    }

    /// A hook's command ended, or was dropped.
    pub fn hook(&self, hook: &'static str, outcome: &'static str) {
        let labels = [label("hook", hook), label("outcome", outcome)];
        self.instruments.counters.hooks.add(1, &labels);
    }

    /// The core's loop came so much later than it should have.
    pub fn loop_stall(&self, late: Duration) {
        self.instruments.histograms.loop_stall.record(late.as_secs_f64(), &[]);
    }

    /// The credentials are good for so long.
    pub fn credentials_expiry(&self, left: Duration) {
        self.instruments.gauges.credentials_expiry.record(left.as_secs_f64(), &[]);
    }

    /// Sends what is left and stops.
    pub(super) fn shutdown(&self, patience: Duration) {
        // Whoever stops has no other place to tell of it.
        let _ = self.provider.shutdown_with_timeout(patience);
    }
}

fn label(key: &'static str, value: &str) -> KeyValue {
    KeyValue::new(key, value.to_owned())
}

fn link_labels(names: &Names, peer: NodeId, link: LinkId) -> [KeyValue; 2] {
    [label("peer", names.node(peer)), KeyValue::new("link", link.0.to_string())]
}
