//! Vote requests, votes, and what is taken back.

use std::cmp::Reverse;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use vipward_core::{
    Denial, DenialReason, Evidence, Rank, SendNumber, TakeBack, TakeBackKind, TakeBacks, Term,
    Vote, VoteAnswer, VoteRequest,
};

use super::gate::{ExceptionWord, Mark};
use super::{CauseWord, Names, StandingWord, WireError, boot, digest, micros, priority};

/// A vote request.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Ballot {
    send: u64,
    group: String,
    term: u64,
    lease_us: u64,
    rank: Place,
    digest: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reference: Option<Mark>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exception: Option<ExceptionWord>,
    cause: CauseWord,
    evidence: Option<Dead>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Place {
    /// Whether its configuration is the reference's.
    reference: bool,
    standing: StandingWord,
    preflight_ok: bool,
    holds: bool,
    priority: u8,
    name: String,
}

#[derive(Debug, Deserialize, Serialize)]
struct Dead {
    node: String,
    boot: String,
}

impl Ballot {
    pub(super) fn encode(vote: &VoteRequest, names: &Names) -> Result<Self, WireError> {
        Ok(Self {
            send: vote.send.0,
            group: names.group(vote.group)?,
            term: vote.term.0,
            lease_us: micros(vote.lease),
            rank: Place {
                reference: vote.rank.reference,
                standing: vote.rank.standing.into(),
                preflight_ok: vote.rank.preflight_ok,
                holds: vote.rank.holds,
                priority: vote.rank.priority.into(),
                name: names.node(vote.rank.name.0)?,
            },
            digest: vote.digest.to_string(),
            reference: vote.reference.map(Mark::encode),
            exception: vote.exception.map(Into::into),
            cause: vote.cause.into(),
            evidence: vote
                .evidence
                .map(|dead| {
                    Ok::<_, WireError>(Dead {
                        node: names.node(dead.node)?,
                        boot: dead.boot.to_string(),
                    })
                })
                .transpose()?,
        })
    }

    pub(super) fn decode(self, names: &Names) -> Result<VoteRequest, WireError> {
        Ok(VoteRequest {
            send: SendNumber(self.send),
            group: names.group_id(&self.group)?,
            term: Term(self.term),
            lease: Duration::from_micros(self.lease_us),
            rank: Rank {
                reference: self.rank.reference,
                standing: self.rank.standing.into(),
                preflight_ok: self.rank.preflight_ok,
                holds: self.rank.holds,
                priority: priority(self.rank.priority)?,
                name: Reverse(names.node_id(&self.rank.name)?),
            },
            digest: digest(&self.digest)?,
            reference: self.reference.map(Mark::decode).transpose()?,
            exception: self.exception.map(Into::into),
            cause: self.cause.into(),
            evidence: self
                .evidence
                .map(|dead| {
                    Ok::<_, WireError>(Evidence {
                        node: names.node_id(&dead.node)?,
                        boot: boot(&dead.boot)?,
                    })
                })
                .transpose()?,
        })
    }
}

/// The answer to a vote request.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct BallotAnswer {
    send: u64,
    group: String,
    term: u64,
    vote: VoteWord,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
enum VoteWord {
    Granted,
    Denied { reason: Reason, seen: u64, left_us: u64 },
}

/// The journal's words, each with what it is about.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Reason {
    Muted,
    PromisedToMaster(String),
    PromisedToCandidate(String),
    ReservedForSuccessor(String),
    TermTooLow,
    BetterCandidate,
    Standing(StandingWord),
    Digest,
    ReferenceHeard(String),
    NotAMember,
    LeaseNotDurable,
    Withdrawn,
}

impl Reason {
    fn encode(reason: DenialReason, names: &Names) -> Result<Self, WireError> {
        Ok(match reason {
            DenialReason::Muted => Self::Muted,
            DenialReason::PromisedToMaster(node) => Self::PromisedToMaster(names.node(node)?),
            DenialReason::PromisedToCandidate(node) => Self::PromisedToCandidate(names.node(node)?),
            DenialReason::Reserved(node) => Self::ReservedForSuccessor(names.node(node)?),
            DenialReason::TermTooLow => Self::TermTooLow,
            DenialReason::BetterCandidate => Self::BetterCandidate,
            DenialReason::Standing(standing) => Self::Standing(standing.into()),
            DenialReason::Digest => Self::Digest,
            DenialReason::ReferenceHeard(node) => Self::ReferenceHeard(names.node(node)?),
            DenialReason::NotAMember => Self::NotAMember,
            DenialReason::LeaseNotDurable => Self::LeaseNotDurable,
            DenialReason::Withdrawn => Self::Withdrawn,
        })
    }

    fn decode(self, names: &Names) -> Result<DenialReason, WireError> {
        Ok(match self {
            Self::Muted => DenialReason::Muted,
            Self::PromisedToMaster(node) => DenialReason::PromisedToMaster(names.node_id(&node)?),
            Self::PromisedToCandidate(node) => {
                DenialReason::PromisedToCandidate(names.node_id(&node)?)
            }
            Self::ReservedForSuccessor(node) => DenialReason::Reserved(names.node_id(&node)?),
            Self::TermTooLow => DenialReason::TermTooLow,
            Self::BetterCandidate => DenialReason::BetterCandidate,
            Self::Standing(standing) => DenialReason::Standing(standing.into()),
            Self::Digest => DenialReason::Digest,
            Self::ReferenceHeard(node) => DenialReason::ReferenceHeard(names.node_id(&node)?),
            Self::NotAMember => DenialReason::NotAMember,
            Self::LeaseNotDurable => DenialReason::LeaseNotDurable,
            Self::Withdrawn => DenialReason::Withdrawn,
        })
    }
}

impl BallotAnswer {
    pub(super) fn encode(answer: &VoteAnswer, names: &Names) -> Result<Self, WireError> {
        Ok(Self {
            send: answer.send.0,
            group: names.group(answer.group)?,
            term: answer.term.0,
            vote: match answer.vote {
                Vote::Granted => VoteWord::Granted,
                Vote::Denied(denial) => VoteWord::Denied {
                    reason: Reason::encode(denial.reason, names)?,
                    seen: denial.seen.0,
                    left_us: micros(denial.left),
                },
            },
        })
    }

    pub(super) fn decode(self, names: &Names) -> Result<VoteAnswer, WireError> {
        Ok(VoteAnswer {
            send: SendNumber(self.send),
            group: names.group_id(&self.group)?,
            term: Term(self.term),
            vote: match self.vote {
                VoteWord::Granted => Vote::Granted,
                VoteWord::Denied { reason, seen, left_us } => Vote::Denied(Denial {
                    reason: reason.decode(names)?,
                    seen: Term(seen),
                    left: Duration::from_micros(left_us),
                }),
            },
        })
    }
}

/// Everything taken back.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Returns {
    send: u64,
    list: Vec<Return>,
}

/// The answer to it.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Returned {
    pub(super) send: u64,
}

/// One candidacy or mastership taken back.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Return {
    group: String,
    term: u64,
    kind: ReturnKind,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
enum ReturnKind {
    Release,
    Resign { successor: Option<String>, cause: CauseWord },
}

impl Return {
    pub(super) fn encode(taken: &TakeBack, names: &Names) -> Result<Self, WireError> {
        Ok(Self {
            group: names.group(taken.group)?,
            term: taken.term.0,
            kind: match taken.kind {
                TakeBackKind::Release => ReturnKind::Release,
                TakeBackKind::Resign { successor, cause } => ReturnKind::Resign {
                    successor: successor.map(|node| names.node(node)).transpose()?,
                    cause: cause.into(),
                },
            },
        })
    }

    /// Those of groups that this node has.
    pub(super) fn decode_known(list: Vec<Self>, names: &Names) -> Result<Vec<TakeBack>, WireError> {
        list.into_iter()
            .filter(|taken| names.knows_group(&taken.group))
            .map(|taken| taken.decode(names))
            .collect()
    }

    fn decode(self, names: &Names) -> Result<TakeBack, WireError> {
        Ok(TakeBack {
            group: names.group_id(&self.group)?,
            term: Term(self.term),
            kind: match self.kind {
                ReturnKind::Release => TakeBackKind::Release,
                ReturnKind::Resign { successor, cause } => TakeBackKind::Resign {
                    successor: successor.map(|name| names.node_id(&name)).transpose()?,
                    cause: cause.into(),
                },
            },
        })
    }
}

impl Returns {
    pub(super) fn encode(taken: &TakeBacks, names: &Names) -> Result<Self, WireError> {
        let list = taken.list.iter().map(|one| Return::encode(one, names));
        Ok(Self { send: taken.send.0, list: list.collect::<Result<_, _>>()? })
    }

    pub(super) fn decode(self, names: &Names) -> Result<TakeBacks, WireError> {
        let list = Return::decode_known(self.list, names)?;
        Ok(TakeBacks { send: SendNumber(self.send), list })
    }
}
