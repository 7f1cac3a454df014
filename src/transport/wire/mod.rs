//! The JSON of requests and answers between nodes.
//!
//! Names travel instead of ids, boots as 32 hex digits, durations as microseconds (rounded up,
//! so that "not quite over" never reads as "over") in fields that end in `_us`. Unknown fields
//! are ignored and groups that only the other side has are skipped, so that neighbours one minor
//! version or one roll-out apart work together. A node that is not in the list is an error
//! wherever leaving it out would change what the message means.

mod election;
mod gate;
mod heartbeat;
mod manifest;
mod operator;
#[cfg(test)]
pub(super) mod tests;

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use vipward_core::{
    Answer, BootId, Cause, Digest, DigestError, GroupId, NodeId, Priority, PriorityError, Request,
    Standing,
};

pub use manifest::{Asked, MAX_CHUNK, ManifestRefusal};
pub(super) use manifest::{Chunk, Page};

/// What a body could not be read as, or a message not be written as.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    /// Not the JSON that the path asks for.
    #[error("the body is not what the path asks for: {0}")]
    Json(#[from] serde_json::Error),
    /// A node that this node's list does not have.
    #[error("no node is named {0:?} here; the lists of nodes differ")]
    UnknownNode(String),
    /// A group that this node does not have, where one is needed.
    #[error("no group is named {0:?} here; the lists of groups differ")]
    UnknownGroup(String),
    /// An id of ours that names nothing.
    #[error("node or group {0} is not in the settings")]
    UnknownId(u8),
    /// A priority outside 1 to 254.
    #[error(transparent)]
    Priority(#[from] PriorityError),
    /// Not `sha256:` and 64 hex digits.
    #[error(transparent)]
    Digest(#[from] DigestError),
    /// Not 32 hex digits.
    #[error("a boot id is 32 hex digits, not {0:?}")]
    Boot(String),
    /// Not base64.
    #[error("a content is base64")]
    Content,
}

/// The paths of requests.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// `POST /v1/heartbeat`.
    Heartbeat,
    /// `POST /v1/vote`.
    Vote,
    /// `POST /v1/resign`.
    Resign,
    /// `POST /v1/operator`.
    Operator,
}

impl Kind {
    /// Every kind.
    const ALL: [Self; 4] = [Self::Heartbeat, Self::Vote, Self::Resign, Self::Operator];

    /// Where requests of this kind go.
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Heartbeat => "/v1/heartbeat",
            Self::Vote => "/v1/vote",
            Self::Resign => "/v1/resign",
            Self::Operator => "/v1/operator",
        }
    }

    /// The kind of request that goes to `path`.
    pub(super) fn of_path(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.path() == path)
    }

    /// The kind of `request`.
    pub(super) fn of(request: &Request) -> Self {
        match request {
            Request::Heartbeat(_) => Self::Heartbeat,
            Request::Vote(_) => Self::Vote,
            Request::TakeBack(_) => Self::Resign,
            Request::Operator(_) => Self::Operator,
        }
    }
}

/// The names of nodes and groups, by id.
#[derive(Clone, Debug)]
pub(super) struct Names {
    /// Sorted; the index is the [`NodeId`].
    pub(super) nodes: Vec<String>,
    /// The index is the [`GroupId`].
    pub(super) groups: Vec<String>,
}

impl Names {
    /// A node's name.
    pub(super) fn node(&self, id: NodeId) -> Result<String, WireError> {
        self.nodes.get(id.index()).cloned().ok_or(WireError::UnknownId(id.0))
    }

    /// The node of that name.
    pub(super) fn node_id(&self, name: &str) -> Result<NodeId, WireError> {
        position(&self.nodes, name)
            .map(NodeId)
            .ok_or_else(|| WireError::UnknownNode(name.to_owned()))
    }

    fn group(&self, id: GroupId) -> Result<String, WireError> {
        self.groups.get(id.index()).cloned().ok_or(WireError::UnknownId(id.0))
    }

    fn group_id(&self, name: &str) -> Result<GroupId, WireError> {
        position(&self.groups, name)
            .map(GroupId)
            .ok_or_else(|| WireError::UnknownGroup(name.to_owned()))
    }

    fn knows_group(&self, name: &str) -> bool {
        self.groups.iter().any(|group| group == name)
    }
}

fn position(names: &[String], name: &str) -> Option<u8> {
    names.iter().position(|known| known == name).and_then(|index| u8::try_from(index).ok())
}

/// The body of a request.
pub(super) fn encode_request(request: &Request, names: &Names) -> Result<Vec<u8>, WireError> {
    Ok(match request {
        Request::Heartbeat(beat) => serde_json::to_vec(&heartbeat::Beat::encode(beat, names)?),
        Request::Vote(vote) => serde_json::to_vec(&election::Ballot::encode(vote, names)?),
        Request::TakeBack(list) => serde_json::to_vec(&election::Returns::encode(list, names)?),
        Request::Operator(command) => serde_json::to_vec(&operator::Order::encode(command, names)?),
    }?)
}

/// The request in a body.
pub(super) fn decode_request(kind: Kind, body: &[u8], names: &Names) -> Result<Request, WireError> {
    Ok(match kind {
        Kind::Heartbeat => Request::Heartbeat(Arc::new(
            serde_json::from_slice::<heartbeat::Beat>(body)?.decode(names)?,
        )),
        Kind::Vote => {
            Request::Vote(serde_json::from_slice::<election::Ballot>(body)?.decode(names)?)
        }
        Kind::Resign => {
            Request::TakeBack(serde_json::from_slice::<election::Returns>(body)?.decode(names)?)
        }
        Kind::Operator => {
            Request::Operator(serde_json::from_slice::<operator::Order>(body)?.decode(names)?)
        }
    })
}

/// The body of an answer.
pub(super) fn encode_answer(answer: &Answer, names: &Names) -> Result<Vec<u8>, WireError> {
    Ok(match answer {
        Answer::Heartbeat(answer) => {
            serde_json::to_vec(&heartbeat::BeatAnswer::encode(answer, names)?)
        }
        Answer::Vote(answer) => serde_json::to_vec(&election::BallotAnswer::encode(answer, names)?),
        Answer::TakenBack { send } => serde_json::to_vec(&election::Returned { send: send.0 }),
        Answer::Operator(answer) => {
            serde_json::to_vec(&operator::OrderAnswer::encode(answer, names)?)
        }
    }?)
}

/// The answer in a body, to a request of that kind.
pub(super) fn decode_answer(kind: Kind, body: &[u8], names: &Names) -> Result<Answer, WireError> {
    Ok(match kind {
        Kind::Heartbeat => {
            Answer::Heartbeat(serde_json::from_slice::<heartbeat::BeatAnswer>(body)?.decode(names)?)
        }
        Kind::Vote => {
            Answer::Vote(serde_json::from_slice::<election::BallotAnswer>(body)?.decode(names)?)
        }
        Kind::Resign => {
            let returned: election::Returned = serde_json::from_slice(body)?;
            Answer::TakenBack { send: vipward_core::SendNumber(returned.send) }
        }
        Kind::Operator => {
            Answer::Operator(serde_json::from_slice::<operator::OrderAnswer>(body)?.decode(names)?)
        }
    })
}

/// The body of the answer (409, or 200 to a check) that tells in which life its sender is.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Boot {
    boot: String,
}

impl Boot {
    /// Tells `boot`.
    pub(super) fn encode(boot: BootId) -> Vec<u8> {
        format!("{{\"boot\":\"{boot}\"}}").into_bytes()
    }

    /// Reads it.
    pub(super) fn decode(body: &[u8]) -> Result<BootId, WireError> {
        boot(&serde_json::from_slice::<Self>(body)?.boot)
    }
}

/// A boot id from its 32 hex digits.
pub(super) fn boot(text: &str) -> Result<BootId, WireError> {
    let wrong = || WireError::Boot(text.to_owned());
    if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    u128::from_str_radix(text, 16).map(BootId).map_err(|_| wrong())
}

fn digest(text: &str) -> Result<Digest, WireError> {
    Ok(text.parse()?)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000)).unwrap_or(u64::MAX)
}

fn priority(value: u8) -> Result<Priority, WireError> {
    Ok(Priority::try_from(value)?)
}

/// An enum of plain words, mirrored so that the core's cannot grow unnoticed.
macro_rules! mirror {
    ($(#[$doc:meta])* $wire:ident = $core:ident { $($variant:ident),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Deserialize, Serialize)]
        #[serde(rename_all = "kebab-case")]
        enum $wire { $($variant),* }
        impl From<$core> for $wire {
            fn from(core: $core) -> Self {
                match core { $($core::$variant => Self::$variant),* }
            }
        }
        impl From<$wire> for $core {
            fn from(wire: $wire) -> Self {
                match wire { $($wire::$variant => Self::$variant),* }
            }
        }
    };
}

mirror!(
    /// A right to stand.
    StandingWord = Standing { Joining, Quarantined, Maintenance, Probation, Ready }
);
mirror!(
    /// Why an election was held.
    CauseWord = Cause {
        MasterSilent,
        MasterCrashed,
        Resigned,
        CheckFailed,
        Switchover,
        Preempt,
        Preventive,
        Startup,
        MajorityRegained,
    }
);
