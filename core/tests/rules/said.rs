//! What peers say: heartbeats and take-backs.

use std::time::Duration;

use vipward_core::*;

use crate::fixture::{LEASE, WEB};

/// What a peer's heartbeat says; by default that of an idle Ready node.
#[derive(Clone)]
pub(crate) struct Beat {
    pub(crate) mastered: Option<Mastered>,
    pub(crate) elected: Option<Elected>,
    pub(crate) standing: Standing,
    pub(crate) up_for: Duration,
    pub(crate) digest: Digest,
    pub(crate) shared: Digest,
    pub(crate) admissions: Vec<Admission>,
    pub(crate) preflight_ok: bool,
    pub(crate) healthy: bool,
    pub(crate) holds: bool,
    pub(crate) priority: Option<u8>,
    pub(crate) ceiling: Term,
    pub(crate) seen: Term,
    pub(crate) take_backs: Vec<TakeBack>,
}

impl Beat {
    pub(crate) fn idle() -> Self {
        Self {
            mastered: None,
            elected: None,
            standing: Standing::Ready,
            up_for: Duration::from_secs(3_600),
            digest: Digest([7; 32]),
            shared: Digest([7; 32]),
            admissions: Vec::new(),
            preflight_ok: true,
            healthy: true,
            holds: false,
            priority: None,
            ceiling: Term(0),
            seen: Term(0),
            take_backs: Vec::new(),
        }
    }

    pub(crate) fn master(term: u64) -> Self {
        Self { mastered: Some(Mastered { term: Term(term), lease: LEASE }), ..Self::idle() }
    }

    pub(crate) fn lease(mut self, lease: Duration) -> Self {
        self.mastered = self.mastered.map(|mastered| Mastered { lease, ..mastered });
        self
    }

    pub(crate) fn taking_back(mut self, take_back: TakeBack) -> Self {
        self.take_backs.push(take_back);
        self
    }
}

pub(crate) fn release(term: u64) -> TakeBack {
    TakeBack { group: WEB, term: Term(term), kind: TakeBackKind::Release }
}

pub(crate) fn resignation(term: u64, successor: Option<NodeId>) -> TakeBack {
    let kind = TakeBackKind::Resign { successor, cause: Cause::Resigned };
    TakeBack { group: WEB, term: Term(term), kind }
}
