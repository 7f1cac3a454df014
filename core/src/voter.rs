//! The voter's half of a group: one promise in time to one node (design 3.2).
//!
//! Exclusive promises in time make two masters impossible; no message shortens one.

use std::time::Duration;

use crate::message::{DenialReason, Renewal, VoteRequest};
use crate::mutation::{Mutation, active};
use crate::types::{BootId, NodeId, RequestId, SendNumber, Term, Timestamp};

/// "For so long I vote for nobody else."
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Promise {
    pub(crate) term: Term,
    pub(crate) node: NodeId,
    /// The life that it was given to: a restarted node is another.
    pub(crate) boot: BootId,
    /// The longest lease that was asked for in that term.
    lease: Duration,
    pub(crate) until: Timestamp,
    /// The send that last renewed it.
    renewed_by: SendNumber,
}

/// A resignation's wish: until then nobody but the successor.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Reservation {
    pub(crate) successor: NodeId,
    pub(crate) until: Timestamp,
}

/// A vote request whose answer waits for a promise or a mute to end, or for evidence.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Waiting {
    pub(crate) from: NodeId,
    pub(crate) boot: BootId,
    pub(crate) request: VoteRequest,
    /// The exchanges to answer: one a copy.
    pub(crate) ids: Vec<RequestId>,
    /// By then at the latest.
    pub(crate) until: Timestamp,
}

/// The voter of one group.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub(crate) struct Voter {
    pub(crate) promise: Option<Promise>,
    /// The highest term seen: nothing at or below it is granted.
    pub(crate) seen: Term,
    /// The highest term resigned: its late heartbeats promise nothing.
    pub(crate) resigned: Term,
    pub(crate) reserved: Option<Reservation>,
    pub(crate) waiting: Vec<Waiting>,
    /// By node: the last request denied, so that its copies get the same answer.
    pub(crate) denied: Vec<Denied>,
}

/// A denial, for the copies of the request that come later.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Denied {
    pub(crate) node: NodeId,
    pub(crate) boot: BootId,
    pub(crate) send: SendNumber,
    pub(crate) reason: DenialReason,
    pub(crate) until: Timestamp,
}

impl Voter {
    /// The unexpired promise, if there is one.
    pub(crate) fn running(&self, now: Timestamp) -> Option<&Promise> {
        self.promise.as_ref().filter(|promise| promise.until > now)
    }

    /// The unexpired promise to another than this life of this node.
    pub(crate) fn promised_to_other(
        &self,
        now: Timestamp,
        node: NodeId,
        boot: BootId,
    ) -> Option<&Promise> {
        self.running(now).filter(|promise| (promise.node, promise.boot) != (node, boot))
    }

    /// The running reservation for another than `node`.
    pub(crate) fn reserved_for_other(&self, now: Timestamp, node: NodeId) -> Option<&Reservation> {
        self.reserved.as_ref().filter(|r| r.until > now && r.successor != node)
    }

    /// Whether exactly this candidacy holds the promise, for as long as it asks. A promise that
    /// came about by heartbeats alone may be for a shorter lease.
    pub(crate) fn has_granted(
        &self,
        now: Timestamp,
        node: NodeId,
        boot: BootId,
        (term, lease): (Term, Duration),
    ) -> bool {
        self.running(now)
            .is_some_and(|p| (p.node, p.boot, p.term) == (node, boot, term) && p.lease >= lease)
    }

    /// Gives the promise. The caller has made sure that it may.
    pub(crate) fn grant(
        &mut self,
        now: Timestamp,
        node: NodeId,
        boot: BootId,
        request: (Term, Duration, SendNumber),
    ) {
        let (term, lease, renewed_by) = request;
        // No message shortens a promise: the same life may have been promised more before.
        let running = self.running(now).filter(|old| (old.node, old.boot) == (node, boot));
        let until = running.map_or(now, |old| old.until).max(now + lease);
        self.promise = Some(Promise { term, node, boot, lease, until, renewed_by });
        self.seen = self.seen.max(term);
        if self.reserved.is_some_and(|reserved| reserved.successor == node) {
            self.reserved = None;
        }
    }

    /// Renews the promise for the first copy of a master's heartbeat.
    ///
    /// The highest term *seen* does not matter here: a failed candidacy deposes no master.
    pub(crate) fn renew(
        &mut self,
        now: Timestamp,
        node: NodeId,
        boot: BootId,
        beat: (Term, Duration, SendNumber),
        elected: Term,
    ) -> Renewal {
        let (term, lease, send) = beat;
        let other = self.promised_to_other(now, node, boot).is_some()
            && !active(Mutation::RenewIgnoresPromise);
        if other || term < elected || term <= self.resigned {
            return Renewal::None;
        }
        let had_run_out = self.running(now).is_none();
        let (term, lease, until) = match self.promise {
            Some(old) if (old.node, old.boot) == (node, boot) => {
                let longest = if old.term >= term { old.lease.max(lease) } else { lease };
                (old.term.max(term), longest, old.until.max(now + lease))
            }
            Some(_) | None => (term, lease, now + lease),
        };
        self.promise = Some(Promise { term, node, boot, lease, until, renewed_by: send });
        Renewal::Renewed { had_run_out }
    }

    /// What to tell a further copy of the newest heartbeat: the truth, and nothing is renewed.
    pub(crate) fn renewed_by(
        &self,
        now: Timestamp,
        node: NodeId,
        boot: BootId,
        send: SendNumber,
    ) -> Renewal {
        let renewed =
            self.running(now).is_some_and(|p| (p.node, p.boot, p.renewed_by) == (node, boot, send));
        if renewed { Renewal::Renewed { had_run_out: false } } else { Renewal::None }
    }

    /// A candidacy is given up: drops a promise of exactly that term.
    pub(crate) fn release(&mut self, node: NodeId, boot: BootId, term: Term) {
        let drop = self.promise.is_some_and(|p| {
            (p.node, p.boot) == (node, boot)
                && (p.term == term || active(Mutation::ReleaseDropsAny))
        });
        if drop {
            self.promise = None;
        }
    }

    /// A mastership is given up: drops a promise of a term up to that one. Whether it is news.
    pub(crate) fn resign(&mut self, node: NodeId, boot: BootId, term: Term) -> bool {
        if self.promise.is_some_and(|p| (p.node, p.boot) == (node, boot) && p.term <= term) {
            self.promise = None;
        }
        let news = term > self.resigned;
        self.resigned = self.resigned.max(term);
        news
    }

    /// That life is known to be dead: what was promised to it is free.
    pub(crate) fn forget(&mut self, node: NodeId, boot: BootId) {
        if self.promise.is_some_and(|p| (p.node, p.boot) == (node, boot)) {
            self.promise = None;
        }
        if self.reserved.is_some_and(|reserved| reserved.successor == node) {
            self.reserved = None;
        }
    }
}
