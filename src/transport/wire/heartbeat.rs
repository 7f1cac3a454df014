//! Heartbeats and their answers.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use vipward_core::{
    Elected, GroupBeat, GroupBeatAnswer, Heartbeat, HeartbeatAnswer, Mastered, Promised, Renewal,
    SendNumber, Term, Timestamp,
};

use super::election::Return;
use super::gate::{Mark, Pass};
use super::{Names, StandingWord, WireError, digest, micros, priority};

/// A heartbeat.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Beat {
    send: u64,
    /// On the sender's clock; only ever echoed, so to the nanosecond.
    sent_at_ns: u64,
    /// How long its process has been running.
    #[serde(default)]
    up_for_us: u64,
    standing: StandingWord,
    digest: String,
    /// Of the part that witnesses have too; absent where it is the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shared: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reference: Option<Mark>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    admissions: Vec<Pass>,
    preflight_ok: bool,
    hears: Vec<String>,
    ceiling: u64,
    groups: Vec<Group>,
    take_backs: Vec<Return>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Group {
    group: String,
    priority: Option<u8>,
    healthy: bool,
    holds: bool,
    mastered: Option<Lease>,
    /// The highest term seen.
    #[serde(default)]
    seen: u64,
    elected: Option<Winner>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Lease {
    term: u64,
    lease_us: u64,
}

#[derive(Debug, Deserialize, Serialize)]
struct Winner {
    term: u64,
    node: String,
}

impl Winner {
    fn encode(elected: Elected, names: &Names) -> Result<Self, WireError> {
        Ok(Self { term: elected.term.0, node: names.node(elected.node)? })
    }

    fn decode(self, names: &Names) -> Result<Elected, WireError> {
        Ok(Elected { term: Term(self.term), node: names.node_id(&self.node)? })
    }
}

impl Beat {
    pub(super) fn encode(beat: &Heartbeat, names: &Names) -> Result<Self, WireError> {
        Ok(Self {
            send: beat.send.0,
            sent_at_ns: beat.sent_at.as_nanos(),
            up_for_us: micros(beat.up_for),
            standing: beat.standing.into(),
            digest: beat.digest.to_string(),
            shared: (beat.shared != beat.digest).then(|| beat.shared.to_string()),
            reference: beat.reference.map(Mark::encode),
            admissions: Pass::encode_all(&beat.admissions, names)?,
            preflight_ok: beat.preflight_ok,
            hears: beat.hears.iter().map(|node| names.node(*node)).collect::<Result<_, _>>()?,
            ceiling: beat.ceiling.0,
            groups: beat
                .groups
                .iter()
                .map(|group| Group::encode(group, names))
                .collect::<Result<_, _>>()?,
            take_backs: beat
                .take_backs
                .iter()
                .map(|taken| Return::encode(taken, names))
                .collect::<Result<_, _>>()?,
        })
    }

    pub(super) fn decode(self, names: &Names) -> Result<Heartbeat, WireError> {
        Ok(Heartbeat {
            send: SendNumber(self.send),
            sent_at: Timestamp::from_nanos(self.sent_at_ns),
            up_for: Duration::from_micros(self.up_for_us),
            standing: self.standing.into(),
            digest: digest(&self.digest)?,
            shared: digest(self.shared.as_ref().unwrap_or(&self.digest))?,
            reference: self.reference.map(Mark::decode).transpose()?,
            admissions: Pass::decode_known(self.admissions, names)?,
            preflight_ok: self.preflight_ok,
            // Hearing somebody whom we do not know concerns nobody here.
            hears: self.hears.iter().filter_map(|name| names.node_id(name).ok()).collect(),
            ceiling: Term(self.ceiling),
            groups: self
                .groups
                .into_iter()
                .filter(|group| names.knows_group(&group.group))
                .map(|group| group.decode(names))
                .collect::<Result<_, _>>()?,
            take_backs: Return::decode_known(self.take_backs, names)?,
        })
    }
}

impl Group {
    fn encode(beat: &GroupBeat, names: &Names) -> Result<Self, WireError> {
        Ok(Self {
            group: names.group(beat.group)?,
            priority: beat.priority.map(u8::from),
            healthy: beat.healthy,
            holds: beat.holds,
            mastered: beat
                .mastered
                .map(|held| Lease { term: held.term.0, lease_us: micros(held.lease) }),
            seen: beat.seen.0,
            elected: beat.elected.map(|elected| Winner::encode(elected, names)).transpose()?,
        })
    }

    fn decode(self, names: &Names) -> Result<GroupBeat, WireError> {
        Ok(GroupBeat {
            group: names.group_id(&self.group)?,
            priority: self.priority.map(priority).transpose()?,
            healthy: self.healthy,
            holds: self.holds,
            mastered: self.mastered.map(|held| Mastered {
                term: Term(held.term),
                lease: Duration::from_micros(held.lease_us),
            }),
            seen: Term(self.seen),
            elected: self.elected.map(|winner| winner.decode(names)).transpose()?,
        })
    }
}

/// The answer to a heartbeat.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct BeatAnswer {
    send: u64,
    sent_at_ns: u64,
    muted_us: u64,
    ceiling: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reference: Option<Mark>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    admissions: Vec<Pass>,
    /// How long it had not heard the sender before its present life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    away_us: Option<u64>,
    groups: Vec<GroupAnswer>,
}

#[derive(Debug, Deserialize, Serialize)]
struct GroupAnswer {
    group: String,
    renewal: RenewalWord,
    promised: Option<Promise>,
    elected: Option<Winner>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
enum RenewalWord {
    None,
    Renewed { had_run_out: bool },
}

#[derive(Debug, Deserialize, Serialize)]
struct Promise {
    node: String,
    term: u64,
    left_us: u64,
}

impl BeatAnswer {
    pub(super) fn encode(answer: &HeartbeatAnswer, names: &Names) -> Result<Self, WireError> {
        Ok(Self {
            send: answer.send.0,
            sent_at_ns: answer.sent_at.as_nanos(),
            muted_us: micros(answer.muted),
            ceiling: answer.ceiling.0,
            reference: answer.reference.map(Mark::encode),
            admissions: Pass::encode_all(&answer.admissions, names)?,
            away_us: answer.away.map(micros),
            groups: answer
                .groups
                .iter()
                .map(|group| GroupAnswer::encode(group, names))
                .collect::<Result<_, _>>()?,
        })
    }

    pub(super) fn decode(self, names: &Names) -> Result<HeartbeatAnswer, WireError> {
        Ok(HeartbeatAnswer {
            send: SendNumber(self.send),
            sent_at: Timestamp::from_nanos(self.sent_at_ns),
            muted: Duration::from_micros(self.muted_us),
            ceiling: Term(self.ceiling),
            reference: self.reference.map(Mark::decode).transpose()?,
            admissions: Pass::decode_known(self.admissions, names)?,
            away: self.away_us.map(Duration::from_micros),
            groups: self
                .groups
                .into_iter()
                .filter(|group| names.knows_group(&group.group))
                .map(|group| group.decode(names))
                .collect::<Result<_, _>>()?,
        })
    }
}

impl GroupAnswer {
    fn encode(answer: &GroupBeatAnswer, names: &Names) -> Result<Self, WireError> {
        Ok(Self {
            group: names.group(answer.group)?,
            renewal: match answer.renewal {
                Renewal::None => RenewalWord::None,
                Renewal::Renewed { had_run_out } => RenewalWord::Renewed { had_run_out },
            },
            promised: answer
                .promised
                .map(|promised| {
                    Ok::<_, WireError>(Promise {
                        node: names.node(promised.node)?,
                        term: promised.term.0,
                        left_us: micros(promised.left),
                    })
                })
                .transpose()?,
            elected: answer.elected.map(|elected| Winner::encode(elected, names)).transpose()?,
        })
    }

    fn decode(self, names: &Names) -> Result<GroupBeatAnswer, WireError> {
        Ok(GroupBeatAnswer {
            group: names.group_id(&self.group)?,
            renewal: match self.renewal {
                RenewalWord::None => Renewal::None,
                RenewalWord::Renewed { had_run_out } => Renewal::Renewed { had_run_out },
            },
            promised: self
                .promised
                .map(|promise| {
                    Ok::<_, WireError>(Promised {
                        node: names.node_id(&promise.node)?,
                        term: Term(promise.term),
                        left: Duration::from_micros(promise.left_us),
                    })
                })
                .transpose()?,
            elected: self.elected.map(|winner| winner.decode(names)).transpose()?,
        })
    }
}
