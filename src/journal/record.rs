//! One record, and the contract's words for each of the core's events.

use serde::Serialize;
use serde_json::{Map, Value, json};
use vipward_core::{
    AlarmName, Cause, DenialReason, Event, EventKind, Exception, Failover, GroupId, NodeId,
    PullOutcome, RoleName, Term,
};

use crate::names::Names;

/// Something that happened, before it is numbered and dated.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    event: &'static str,
    group: Option<String>,
    term: Option<u64>,
    cause: Option<&'static str>,
    fields: Map<String, Value>,
    /// When it happened, if that was not just now.
    at: Option<jiff::Timestamp>,
}

/// What a record gets when it is written.
pub(super) struct Stamp<'a> {
    pub(super) seq: u64,
    pub(super) node: &'a str,
    pub(super) boot: &'a str,
}

/// The line. Fields that mean nothing for an event are absent.
#[derive(Serialize)]
struct Line<'a> {
    seq: u64,
    at: String,
    node: &'a str,
    boot: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    term: Option<u64>,
    event: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<&'a str>,
    #[serde(flatten)]
    fields: &'a Map<String, Value>,
}

impl Record {
    /// A record of an event that concerns no group.
    #[must_use]
    pub fn new(event: &'static str) -> Self {
        Self { event, group: None, term: None, cause: None, fields: Map::new(), at: None }
    }

    /// Dates it: wall time is for people, never for decisions.
    #[must_use]
    pub fn happened_at(mut self, at: std::time::SystemTime) -> Self {
        self.at = jiff::Timestamp::try_from(at).ok();
        self
    }

    /// Adds a field; null is left out.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        let value = value.into();
        if !value.is_null() {
            self.fields.insert(key.to_owned(), value);
        }
        self
    }

    /// Names the group that it concerns.
    #[must_use]
    pub fn of_group(mut self, group: &str) -> Self {
        self.group = Some(group.to_owned());
        self
    }

    /// The daemon started.
    #[must_use]
    pub fn started(version: &str) -> Self {
        Self::new("started").with("version", version).with("pid", std::process::id())
    }

    /// The daemon stops, and why.
    #[must_use]
    pub fn stopped(reason: &str) -> Self {
        Self::new("stopped").with("reason", reason)
    }

    /// An edge, not the core, needs a person.
    #[must_use]
    pub fn alarm_raised(name: &str, message: &str) -> Self {
        Self::new("alarm-raised").with("name", name).with("message", message)
    }

    /// That is over.
    #[must_use]
    pub fn alarm_cleared(name: &str) -> Self {
        Self::new("alarm-cleared").with("name", name)
    }

    /// What the core reports, in the contract's words.
    #[must_use]
    pub fn from_event(event: &Event, names: &Names) -> Self {
        let mut record = describe(event, names);
        record.group = event.group.map(|group| names.group(group).to_owned()).or(record.group);
        record.term = event.term.map(|term| term.0).or(record.term);
        record.cause = event.cause.map(Cause::as_str).or(record.cause);
        record
    }

    /// A record of an edge about what the core ordered it for.
    #[must_use]
    pub fn about(
        group: Option<GroupId>,
        term: Option<Term>,
        cause: Option<Cause>,
        names: &Names,
        event: &'static str,
    ) -> Self {
        Self {
            group: group.map(|group| names.group(group).to_owned()),
            term: term.map(|term| term.0),
            cause: cause.map(Cause::as_str),
            ..Self::new(event)
        }
    }

    /// Stands in for records that were lost.
    #[must_use]
    pub fn gap(lost: u64) -> Self {
        Self::new("journal-gap").with("lost", lost)
    }

    /// The same in the log, for those who read nothing else.
    pub(super) fn log(&self, seq: u64) {
        let Self { event, group, term, cause, fields, at: _ } = self;
        let detail = serde_json::to_string(fields).unwrap_or_default();
        tracing::info!(target: "vipward::journal", seq, group, term, cause, %detail, "{event}");
    }

    pub(super) fn line(&self, stamp: &Stamp<'_>) -> String {
        let line = Line {
            seq: stamp.seq,
            at: format!("{:.3}", self.at.unwrap_or_else(jiff::Timestamp::now)),
            node: stamp.node,
            boot: stamp.boot,
            group: self.group.as_deref(),
            term: self.term,
            event: self.event,
            cause: self.cause,
            fields: &self.fields,
        };
        // A map with text keys always serialises; an empty object would only be a lost line.
        serde_json::to_string(&line).unwrap_or_else(|_| "{}".to_owned())
    }
}

fn describe(event: &Event, names: &Names) -> Record {
    let node = |node: NodeId| names.node(node);
    let address = |address| event.group.map(|group| names.address(group, address));
    match &event.kind {
        EventKind::StandingChanged { from, to, reason } => {
            changed("standing-changed", from.as_str(), to.as_str(), reason)
        }
        EventKind::RoleChanged { from, to, reason } => {
            changed("role-changed", RoleName::as_str(*from), RoleName::as_str(*to), reason)
        }
        EventKind::VoteGranted { candidate, exception } => Record::new("vote-granted")
            .with("candidate", node(*candidate))
            .with("exception", exception.map(Exception::as_str)),
        EventKind::VoteDenied { candidate, reason } => denied(node(*candidate), *reason, names),
        EventKind::CallStarted { call, operation, address: changed, reason } => {
            Record::new("call-started")
                .with("call_id", call.0)
                .with("operation", *operation)
                .with("address", changed.and_then(address))
                .with("reason", Some(*reason).filter(|reason| !reason.is_empty()))
        }
        EventKind::CallFinished {
            call,
            operation,
            address: changed,
            outcome,
            detail,
            request_id,
            took,
        } => Record::new("call-finished")
            .with("call_id", call.0)
            .with("operation", *operation)
            .with("address", changed.and_then(address))
            .with("outcome", *outcome)
            .with("detail", detail.as_deref())
            .with("request_id", request_id.as_deref())
            .with("ms", millis(*took)),
        EventKind::KernelChanged { address: changed, presence, reason } => {
            Record::new("kernel-changed")
                .with("address", address(*changed))
                .with("kernel", presence.as_str())
                .with("reason", *reason)
        }
        EventKind::OwnershipChanged { address: changed, ownership, holder, reason } => {
            Record::new("ownership-changed")
                .with("address", address(*changed))
                .with("ownership", ownership.as_str())
                .with("holder", holder.as_ref().map(|holder| names.holder(holder)))
                .with("reason", *reason)
        }
        EventKind::PeerUp { peer, boot } => {
            Record::new("peer-up").with("peer", node(*peer)).with("peer_boot", boot.to_string())
        }
        EventKind::PeerDown { peer, reason } => {
            Record::new("peer-down").with("peer", node(*peer)).with("reason", *reason)
        }
        EventKind::LinkUp { peer, link } => on_link("link-up", names, *peer, *link),
        EventKind::LinkDown { peer, link } => on_link("link-down", names, *peer, *link),
        EventKind::CheckChanged { check, state } => Record::new("check-changed")
            .with("check", names.check(*check))
            .with("state", state.as_str()),
        EventKind::ConfigDrift { peer, equal } => {
            Record::new("config-drift").with("peer", node(*peer)).with("equal", *equal)
        }
        EventKind::ReferenceSet { version, digest, by } => Record::new("reference-set")
            .with("version", format!("{}.{}", version.term.0, version.count))
            .with("digest", digest.to_string())
            .with("by", by.map(node)),
        EventKind::Admitted { node: admitted, digest } => {
            Record::new("admitted").with("peer", node(*admitted)).with("digest", digest.to_string())
        }
        EventKind::PullFinished { from, outcome } => pulled(node(*from), outcome),
        EventKind::HandoverRefused { reason } => {
            Record::new("handover-refused").with("reason", &**reason)
        }
        EventKind::AlarmRaised { name, message } => {
            about(Record::alarm_raised(name.as_str(), message), *name, names)
        }
        EventKind::AlarmCleared { name } => {
            about(Record::alarm_cleared(name.as_str()), *name, names)
        }
        EventKind::FailoverFinished(failover) => finished(failover, names),
    }
}

fn changed(event: &'static str, from: &str, to: &str, reason: &str) -> Record {
    Record::new(event).with("from", from).with("to", to).with("reason", reason)
}

fn pulled(from: &str, outcome: &PullOutcome) -> Record {
    let (word, detail) = match outcome {
        PullOutcome::Applied => ("ok", None),
        PullOutcome::Failed { what } => ("failed", Some(&**what)),
    };
    Record::new("pull-finished").with("peer", from).with("outcome", word).with("detail", detail)
}

fn denied(candidate: &str, reason: DenialReason, names: &Names) -> Record {
    let record =
        Record::new("vote-denied").with("candidate", candidate).with("reason", reason.as_str());
    match reason {
        DenialReason::PromisedToMaster(node)
        | DenialReason::PromisedToCandidate(node)
        | DenialReason::Reserved(node) => record.with("promised_to", names.node(node)),
        DenialReason::Standing(standing) => record.with("standing", standing.as_str()),
        DenialReason::ReferenceHeard(node) => record.with("heard", names.node(node)),
        DenialReason::Muted
        | DenialReason::Digest
        | DenialReason::TermTooLow
        | DenialReason::BetterCandidate
        | DenialReason::NotAMember
        | DenialReason::LeaseNotDurable
        | DenialReason::Withdrawn => record,
    }
}

fn on_link(event: &'static str, names: &Names, peer: NodeId, link: vipward_core::LinkId) -> Record {
    Record::new(event)
        .with("peer", names.node(peer))
        .with("link", link.0)
        .with("link_address", names.link(peer, link))
}

/// What the alarm is about, beside its name.
fn about(record: Record, name: AlarmName, names: &Names) -> Record {
    let of = |record: Record, group: GroupId| record.of_group(names.group(group));
    match name {
        AlarmName::NoMajority(group)
        | AlarmName::MovesExhausted(group)
        | AlarmName::NoCandidate(group) => of(record, group),
        AlarmName::ClaimFailing(group, address)
        | AlarmName::AddressFight(group, address)
        | AlarmName::KernelAddress(group, address) => {
            of(record, group).with("address", names.address(group, address))
        }
        AlarmName::ConfigDrift(peer) | AlarmName::DuplicateNode(peer) => {
            record.with("peer", names.node(peer))
        }
        AlarmName::RedundancyLost
        | AlarmName::Preflight
        | AlarmName::StateNotWritable
        | AlarmName::Quarantined
        | AlarmName::PullFailed
        | AlarmName::ConfigUnapplied
        | AlarmName::ConfigUnreadable => record,
    }
}

fn finished(failover: &Failover, names: &Names) -> Record {
    let stage = |stage: Option<std::time::Duration>| stage.map(millis);
    let record = Record {
        term: Some(failover.term.0),
        cause: failover.cause.map(Cause::as_str),
        ..Record::new("failover-finished").of_group(names.group(failover.group))
    };
    record
        .with("from", failover.from.map(|node| names.node(node)))
        .with("to", names.node(failover.to))
        .with("detect_ms", stage(failover.detect))
        .with("elect_ms", stage(failover.elect))
        .with("claim_ms", stage(failover.claim))
        .with("verify_ms", stage(failover.verify))
}

/// Milliseconds with three decimals: a number that JSON prints short.
fn millis(duration: std::time::Duration) -> Value {
    let micros = u32::try_from(duration.as_micros()).unwrap_or(u32::MAX);
    json!(f64::from(micros) / 1000.0)
}
