//! One fault and what came of it: measured from outside, on one clock.

use std::time::Duration;

use anyhow::{Context, bail};
use serde::Serialize;
use vipward_core::Timestamp;

use super::client::{PACE, Shot, first_answer, outage};
use super::lab::{Lab, NAMES};
use super::rejoin::Rejoin;
use crate::runtime::clock;
use crate::simulated_cloud::{Entry, Outcome};

/// What happens to the master.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    /// SIGKILL of its process group.
    Crash,
    /// SIGSTOP of its process group, and SIGCONT after the takeover.
    Freeze,
    /// Its links, clients and cloud cut, and healed after the takeover.
    Partition,
    /// SIGTERM of its daemon; its web service goes on.
    Stop,
    /// A planned handover.
    Switchover,
    /// As a crash; afterwards it comes back with another configuration.
    Rejoin,
}

impl Fault {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::Freeze => "freeze",
            Self::Partition => "partition",
            Self::Stop => "stop",
            Self::Switchover => "switchover",
            Self::Rejoin => "rejoin",
        }
    }
}

/// One cloud call that could change something.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Call {
    pub(crate) node: String,
    pub(crate) operation: String,
    pub(crate) outcome: String,
    pub(crate) ms: f64,
    #[serde(skip)]
    pub(crate) arrived: Timestamp,
    #[serde(skip)]
    pub(crate) landed: Option<Timestamp>,
    #[serde(skip)]
    pub(crate) request_id: String,
}

/// Requests of the client.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Requests {
    pub(crate) sent: usize,
    pub(crate) lost: usize,
}

/// The outcome; its JSON is the contract's.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Trial {
    pub(crate) fault: &'static str,
    pub(crate) old_master: String,
    pub(crate) new_master: Option<String>,
    pub(crate) term: Option<u64>,
    pub(crate) cause: Option<String>,
    /// From the fault to the candidacy.
    pub(crate) detect_ms: Option<f64>,
    pub(crate) elect_ms: Option<f64>,
    pub(crate) claim_ms: Option<f64>,
    /// From the cloud's answer to the first request that the new master served.
    pub(crate) visible_ms: Option<f64>,
    pub(crate) outage_ms: f64,
    pub(crate) requests: Requests,
    pub(crate) calls: Vec<Call>,
    /// What a default keepalived waits before its hook runs: 3 x 1 s + skew.
    pub(crate) keepalived_ms: f64,
    pub(crate) served_again: bool,
    pub(crate) moves: usize,
    /// What became of the old master, where it came back with another configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rejoin: Option<Rejoin>,
    /// Neither detection nor the cloud's answer: from the candidacy to the moment the address
    /// moved, less the time the cloud took.
    #[serde(skip)]
    pub(crate) own_overhead_ms: Option<f64>,
    #[serde(skip)]
    pub(crate) faulted: Timestamp,
    #[serde(skip)]
    pub(crate) shots: Vec<Shot>,
}

impl Trial {
    /// Whether the address moved once and the new master serves.
    pub(crate) fn passed(&self) -> bool {
        let rejoined = self.rejoin.as_ref().is_none_or(Rejoin::passed);
        self.moves == 1 && self.served_again && self.new_master.is_some() && rejoined
    }
}

/// How long the takeover may take before the trial gives up.
const PATIENCE: Duration = Duration::from_secs(10);
/// The client is watched for so long before the fault and after the takeover.
const BEFORE: Duration = Duration::from_millis(300);
const AFTER: Duration = Duration::from_millis(500);
/// And longer where a healed master must be seen to leave the address alone.
const AFTER_HEALING: Duration = Duration::from_millis(1500);

/// Injects `fault` into the master and watches.
pub(crate) async fn run(lab: &Lab, master: usize, fault: Fault) -> anyhow::Result<Trial> {
    tokio::time::sleep(BEFORE).await;
    let host = lab.hosts.get(master).context("no such host")?;
    let faulted = clock::now();
    match fault {
        Fault::Crash | Fault::Rejoin => host.crash()?,
        Fault::Freeze => host.freeze()?,
        Fault::Partition => lab.partition(master, true),
        Fault::Stop => host.stop_daemon()?,
        Fault::Switchover => super::switch_over(lab, master).await?,
    }
    let standby = 1 - master.min(1);
    let taken = taken_over(lab, master, faulted).await;
    let settle = match fault {
        Fault::Freeze => {
            host.thaw()?;
            AFTER_HEALING
        }
        Fault::Partition => {
            lab.partition(master, false);
            AFTER_HEALING
        }
        Fault::Crash | Fault::Stop | Fault::Switchover | Fault::Rejoin => AFTER,
    };
    tokio::time::sleep(settle).await;
    let status = lab.status(standby).await;
    let calls = calls_since(lab, faulted);
    let shots = lab.client.shots();
    if shots.is_empty() {
        bail!("the client sent nothing");
    }
    Ok(account(fault, (master, faulted), taken, status.as_ref(), calls, shots))
}

/// Waits until another host serves the client. Which.
async fn taken_over(lab: &Lab, master: usize, faulted: Timestamp) -> Option<usize> {
    let wait = async {
        loop {
            let shots = lab.client.shots();
            let other = (0..2).filter(|host| *host != master).find(|host| {
                let name = NAMES.get(*host).copied().unwrap_or_default();
                first_answer(&shots, name, faulted).is_some()
            });
            if let Some(other) = other {
                return other;
            }
            tokio::time::sleep(PACE).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.ok()
}

fn calls_since(lab: &Lab, faulted: Timestamp) -> Vec<Call> {
    let record = lab.cloud.record();
    record.iter().filter(|entry| entry.arrived >= faulted).map(|entry| call(lab, entry)).collect()
}

fn call(lab: &Lab, entry: &Entry) -> Call {
    let node = entry
        .parameters
        .get("NetworkInterfaceId")
        .and_then(|id| lab.host_of(id))
        .and_then(|host| NAMES.get(host));
    let outcome = match &entry.outcome {
        Outcome::Pending => "pending".to_owned(),
        Outcome::Done { .. } => "ok".to_owned(),
        Outcome::Refused { code } => code.clone(),
        Outcome::Lost => "lost".to_owned(),
    };
    Call {
        node: node.map_or_else(|| "?".into(), |name| (*name).to_owned()),
        operation: entry.action.clone(),
        outcome,
        ms: entry.answered.map_or(0.0, |at| ms(at.since(entry.arrived))),
        arrived: entry.arrived,
        landed: entry.landed,
        request_id: entry.request_id.clone(),
    }
}

fn account(
    fault: Fault,
    (master, faulted): (usize, Timestamp),
    taken: Option<usize>,
    status: Option<&serde_json::Value>,
    calls: Vec<Call>,
    shots: Vec<Shot>,
) -> Trial {
    let name = |host: usize| NAMES.get(host).copied().unwrap_or_default().to_owned();
    let failover = status.map(|status| &status["last_failover"]);
    let stage = |key: &str| failover.and_then(|failover| failover[key].as_f64());
    let (elect, claim) = (stage("elect_ms"), stage("claim_ms"));
    let landed = |call: &&Call| call.outcome == "ok" && call.landed.is_some();
    let won = calls.iter().filter(landed).find(|call| call.operation == "AssociateAddress");
    // The stages on the demo's own clock: the claim's answer less what the daemon measured.
    let claimed = won.map(|call| call.arrived + Duration::from_secs_f64(call.ms / 1e3));
    let stood = claimed.zip(elect.zip(claim)).map(|(at, (elect, claim))| {
        at - Duration::from_secs_f64(elect / 1e3) - Duration::from_secs_f64(claim / 1e3)
    });
    let served = taken.and_then(|host| first_answer(&shots, &name(host), faulted));
    let overhead = won.zip(stood).and_then(|(call, stood)| {
        let moved = call.landed?.since(stood);
        Some((ms(moved) - call.landed.map_or(0.0, |at| ms(at.since(call.arrived)))).max(0.0))
    });
    // Requests from before the address was claimed for the first time are not the fault's.
    let watched = faulted - BEFORE;
    let sent = shots.iter().filter(|shot| shot.sent >= watched);
    let lost = sent.clone().filter(|shot| shot.answered.is_none());
    let moves = moves(&calls);
    Trial {
        fault: fault.as_str(),
        old_master: name(master),
        new_master: taken.map(name),
        term: failover.and_then(|failover| failover["term"].as_u64()),
        cause: failover.and_then(|failover| failover["cause"].as_str()).map(Into::into),
        detect_ms: stood.map(|at| ms(at.since(faulted))),
        elect_ms: elect,
        claim_ms: claim,
        visible_ms: served.zip(claimed).map(|(served, claimed)| ms(served.since(claimed))),
        outage_ms: ms(outage(&shots, faulted)),
        requests: Requests { sent: sent.count(), lost: lost.count() },
        calls,
        keepalived_ms: keepalived_ms(),
        served_again: served.is_some(),
        moves,
        rejoin: None,
        own_overhead_ms: overhead,
        faulted,
        shots,
    }
}

/// How often the address changed its holder.
fn moves(calls: &[Call]) -> usize {
    let mut holder: Option<&str> = None;
    let mut moves = 0;
    for call in calls.iter().filter(|call| call.outcome == "ok") {
        if call.operation == "AssociateAddress" && holder != Some(&call.node) {
            holder = Some(&call.node);
            moves += 1;
        }
    }
    moves
}

/// The master-down interval of a default keepalived with the standby's priority of 100:
/// `3 * advert_int + (256 - priority) / 256 * advert_int` (keepalived.conf(5), RFC 9568 6.1).
fn keepalived_ms() -> f64 {
    3.0 * 1000.0 + f64::from(256 - 100) / 256.0 * 1000.0
}

/// Milliseconds, to the microsecond.
pub(crate) fn ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
