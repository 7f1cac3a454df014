//! What nodes say to one another. Every request gets one answer; either may be lost.
//!
//! The transport authenticates both and adds who sent it, in which boot, over which link.

use std::sync::Arc;
use std::time::Duration;

use crate::command::{OperatorAnswer, OperatorRequest};
use crate::reference::{Admission, Exception, Reference};
use crate::types::{
    BootId, Cause, Digest, Elected, GroupId, NodeId, Priority, SendNumber, Standing, Term,
    Timestamp,
};

/// A request from one node to another.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Request {
    /// `POST /v1/heartbeat`.
    Heartbeat(Arc<Heartbeat>),
    /// `POST /v1/vote`.
    Vote(VoteRequest),
    /// `POST /v1/resign`: everything taken back and not yet acknowledged by all.
    TakeBack(TakeBacks),
    /// `POST /v1/operator`.
    Operator(OperatorRequest),
}

/// The answer to a [`Request`] of the same kind.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Answer {
    /// To a heartbeat.
    Heartbeat(HeartbeatAnswer),
    /// To a vote request; it may wait up to one heartbeat interval.
    Vote(VoteAnswer),
    /// The take-backs of that send were applied.
    TakenBack {
        /// The send that carried them.
        send: SendNumber,
    },
    /// To an operator's request; it may take as long as the command.
    Operator(OperatorAnswer),
}

impl Answer {
    /// The send that is answered.
    #[must_use]
    pub fn send(&self) -> SendNumber {
        match self {
            Self::Heartbeat(answer) => answer.send,
            Self::Vote(answer) => answer.send,
            Self::TakenBack { send } => *send,
            Self::Operator(answer) => answer.send,
        }
    }
}

/// Sent by every node to every other each heartbeat interval, on every link (design 3.1).
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Heartbeat {
    /// Numbers this send; the same on all links.
    pub send: SendNumber,
    /// When it was sent, on the sender's clock. Echoed back; nobody else reads it.
    pub sent_at: Timestamp,
    /// How long the sender's process has been running.
    pub up_for: Duration,
    /// The sender's right to stand.
    pub standing: Standing,
    /// The digest of the sender's configuration; [`Digest::UNKNOWN`] until it was scanned.
    pub digest: Digest,
    /// The digest of the part of vipward's own configuration that witnesses have too.
    pub shared: Digest,
    /// The highest reference that the sender knows.
    pub reference: Option<Reference>,
    /// What operators admitted, as far as the sender knows.
    pub admissions: Vec<Admission>,
    /// Whether the sender's last preflight was good.
    pub preflight_ok: bool,
    /// Whom the sender currently hears.
    pub hears: Vec<NodeId>,
    /// The terms that the sender has reserved on its disk.
    pub ceiling: Term,
    /// One entry for each group that both know.
    pub groups: Vec<GroupBeat>,
    /// Repeated here until answered (design 3.4).
    pub take_backs: Vec<TakeBack>,
}

/// What a heartbeat says of one group.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct GroupBeat {
    /// The group.
    pub group: GroupId,
    /// The sender's priority after its checks; `None` if it cannot hold the group.
    pub priority: Option<Priority>,
    /// Whether no fatal check of the sender forbids it to lead.
    pub healthy: bool,
    /// Whether the cloud showed all the group's addresses at the sender.
    pub holds: bool,
    /// The highest term that the sender has seen, so that all have seen it before it matters.
    pub seen: Term,
    /// Present if the sender is master with a valid lease.
    pub mastered: Option<Mastered>,
    /// The highest term known to have been elected.
    pub elected: Option<Elected>,
}

/// A mastership under a valid lease.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Mastered {
    /// The term it was won in.
    pub term: Term,
    /// The lease that this message asks for.
    pub lease: Duration,
}

/// The answer to a heartbeat.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct HeartbeatAnswer {
    /// The send that is answered.
    pub send: SendNumber,
    /// Echo of the heartbeat's `sent_at`.
    pub sent_at: Timestamp,
    /// How long the voter is still muted; zero if it is not.
    pub muted: Duration,
    /// The terms that the voter has reserved on its disk.
    pub ceiling: Term,
    /// The highest reference that the voter knows.
    pub reference: Option<Reference>,
    /// What operators admitted, as far as the voter knows.
    pub admissions: Vec<Admission>,
    /// How long the voter had not heard the sender before its present boot; `None` if it never
    /// heard an earlier one.
    pub away: Option<Duration>,
    /// One entry for each group of the heartbeat.
    pub groups: Vec<GroupBeatAnswer>,
}

/// A voter's answer about one group.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct GroupBeatAnswer {
    /// The group.
    pub group: GroupId,
    /// Whether the promise to the sender was renewed by this send.
    pub renewal: Renewal,
    /// The voter's unexpired promise to another than the sender.
    pub promised: Option<Promised>,
    /// The highest term that the voter knows to have been elected.
    pub elected: Option<Elected>,
}

/// Whether a heartbeat renewed the voter's promise.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Renewal {
    /// Nothing was asked, or it was refused.
    None,
    /// Renewed.
    Renewed {
        /// Whether the promise had run out before. While the master still counted on it, this
        /// shows that the master's clock stopped (design 3.2).
        had_run_out: bool,
    },
}

/// An unexpired promise, as told to somebody else.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Promised {
    /// To whom.
    pub node: NodeId,
    /// In which term.
    pub term: Term,
    /// How long it still lasts, on the voter's clock.
    pub left: Duration,
}

/// "Let me be master of `term`."
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct VoteRequest {
    /// Numbers this send.
    pub send: SendNumber,
    /// The group.
    pub group: GroupId,
    /// Above every term that the candidate has seen.
    pub term: Term,
    /// How long the promise is to last.
    pub lease: Duration,
    /// Where the candidate stands in the order of candidates.
    pub rank: Rank,
    /// The digest of the candidate's configuration.
    pub digest: Digest,
    /// The highest reference that the candidate knows.
    pub reference: Option<Reference>,
    /// Why it may stand although the gate is closed to it, if so.
    pub exception: Option<Exception>,
    /// Why it stands.
    pub cause: Cause,
    /// The crash that lets it stand early, if one does.
    pub evidence: Option<Evidence>,
}

/// A candidate's place in the order of candidates; the greater stands first (design 3.4).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Rank {
    /// The reference's digest before any other (design section 6).
    pub reference: bool,
    /// Ready before Probation.
    pub standing: Standing,
    /// A good preflight before a bad one.
    pub preflight_ok: bool,
    /// At a start without any master: the one whom the cloud shows as the holder.
    pub holds: bool,
    /// The effective priority.
    pub priority: Priority,
    /// Of equals, the smaller name.
    pub name: std::cmp::Reverse<NodeId>,
}

/// A process that is known to be dead.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Evidence {
    /// Whose process.
    pub node: NodeId,
    /// Which one.
    pub boot: BootId,
}

/// The answer to a [`VoteRequest`].
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct VoteAnswer {
    /// The send that is answered.
    pub send: SendNumber,
    /// The group.
    pub group: GroupId,
    /// The term asked for.
    pub term: Term,
    /// The vote.
    pub vote: Vote,
}

/// A vote.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Vote {
    /// "For the lease that you named I vote for nobody else."
    Granted,
    /// "Not now."
    Denied(Denial),
}

/// Why a vote was denied, and when asking again may help.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Denial {
    /// The reason.
    pub reason: DenialReason,
    /// The highest term that the voter has seen.
    pub seen: Term,
    /// How long the promise, mute or reservation that forbids the vote still lasts.
    pub left: Duration,
}

/// Why a voter denies its vote.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum DenialReason {
    /// The voter restarted and may have promised before.
    Muted,
    /// It promised another, who is known to have been elected.
    PromisedToMaster(NodeId),
    /// It promised another candidate.
    PromisedToCandidate(NodeId),
    /// A resignation reserved the vote for another.
    Reserved(NodeId),
    /// It has seen that term or a higher one.
    TermTooLow,
    /// It is a better candidate itself and stands within one heartbeat interval.
    BetterCandidate,
    /// The candidate may not lead: its standing.
    Standing(Standing),
    /// Its configuration is not the reference's, and no exception applies.
    Digest,
    /// Its configuration is not the reference's, and this node with it is heard and may lead.
    ReferenceHeard(NodeId),
    /// The voter does not know the candidate as a member of the group.
    NotAMember,
    /// The lease named is longer than the voter could keep track of through a restart.
    LeaseNotDurable,
    /// The request was taken back.
    Withdrawn,
}

impl DenialReason {
    /// The name in the journal.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Muted => "muted",
            Self::PromisedToMaster(_) => "promised-to-master",
            Self::PromisedToCandidate(_) => "promised-to-candidate",
            Self::Reserved(_) => "reserved-for-successor",
            Self::TermTooLow => "term-too-low",
            Self::BetterCandidate => "better-candidate",
            Self::Standing(_) => "standing",
            Self::Digest => "digest",
            Self::ReferenceHeard(_) => "reference-heard",
            Self::NotAMember => "not-a-member",
            Self::LeaseNotDurable => "lease-not-durable",
            Self::Withdrawn => "withdrawn",
        }
    }
}

/// Everything that a node takes back, in one request.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct TakeBacks {
    /// Numbers this send.
    pub send: SendNumber,
    /// What is taken back.
    pub list: Vec<TakeBack>,
}

/// A candidacy or a mastership given up; repeated as state until answered (design 3.4).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct TakeBack {
    /// The group.
    pub group: GroupId,
    /// The term given up.
    pub term: Term,
    /// What is given up.
    pub kind: TakeBackKind,
}

/// What is given up.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum TakeBackKind {
    /// A candidacy: drops a promise of exactly that term.
    Release,
    /// A mastership: drops a promise of a term up to that one.
    Resign {
        /// For whom the vote is reserved for one lease, if for anybody.
        successor: Option<NodeId>,
        /// Why.
        cause: Cause,
    },
}
