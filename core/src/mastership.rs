//! The lease of one group: heartbeats, renewals, Holding, resignation (design 3.1, 3.3, 3.8).

use std::time::Duration;

use crate::group::{Group, Holding, KnownMaster, Mastership, Order, Renewed, Role, Wait};
use crate::message::{
    GroupBeat, GroupBeatAnswer, Mastered, Promised, Renewal, TakeBack, TakeBackKind,
};
use crate::mutation::{Mutation, active};
use crate::peer::Copy as Which;
use crate::shared::{Cx, Sent, Shared};
use crate::timing::own_lease;
use crate::types::{BootId, Cause, Elected, NodeId, SendNumber, Timestamp};

impl Mastership {
    /// What a majority reaches of what `of` takes from each voter's newest promise.
    fn quorum_th<T: Ord>(&self, s: &Shared, of: impl Fn(&Renewed) -> T) -> Option<T> {
        s.electorate.reached(|voter| self.renewals.get(voter.index())?.as_ref().map(&of))
    }

    /// When the lease ends: the quorum-th latest of the promises counted.
    pub(crate) fn lease_until(&self, s: &Shared) -> Timestamp {
        self.quorum_th(s, |renewed| renewed.until).unwrap_or_default()
    }

    /// The newest send that a majority has renewed on.
    pub(crate) fn confirmed(&self, s: &Shared) -> SendNumber {
        self.quorum_th(s, |renewed| renewed.send).unwrap_or_default()
    }

    /// When that send went out.
    fn majority_sent_at(&self, s: &Shared) -> Timestamp {
        self.quorum_th(s, |renewed| renewed.sent_at).unwrap_or_default()
    }
}

impl Group {
    /// Ends a lease that has lapsed. Runs before any input is applied: a lapsed lease stays so.
    pub(crate) fn expire(&mut self, cx: &mut Cx<'_>) {
        if let Role::Master(mastership) = &self.role
            && mastership.lease_until(cx.s) <= cx.now
            && !active(Mutation::HoldingActs)
            && !active(Mutation::NeverDeposed)
        {
            let cause = mastership.cause;
            self.hold(cx, cause, "no majority renewed the lease", None);
        }
    }

    /// Master no more: serves on, and changes nothing in the cloud.
    fn hold(
        &mut self,
        cx: &mut Cx<'_>,
        cause: Cause,
        reason: &'static str,
        resigned_until: Option<Timestamp>,
    ) {
        let Role::Master(Mastership { term, .. }) = self.role else { return };
        self.change_role(cx, cause, reason, |group, _| {
            group.role = Role::Holding(Holding { term, cause, resigned_until });
        });
        self.retry_at = cx.now;
        self.wait = Wait {
            from: cx.now,
            interval: cx.s.lease(),
            order: Order::Skew,
            cause: Cause::MasterSilent,
            evidence: None,
        };
    }

    /// Gives the mastership up, in favour of `successor` if one is named.
    pub(crate) fn resign(&mut self, cx: &mut Cx<'_>, successor: Option<NodeId>, cause: Cause) {
        let Role::Master(Mastership { term, .. }) = self.role else { return };
        self.voter.resign(cx.s.config.me, cx.s.boot, term);
        if let Some(successor) = successor {
            let until = cx.now + cx.s.lease();
            self.voter.reserved = Some(crate::voter::Reservation { successor, until });
        }
        let until = cx.now + cx.s.lease();
        self.hold(cx, cause, "resigned", Some(until));
        let kind = TakeBackKind::Resign { successor, cause };
        self.take_back(cx, TakeBack { group: self.id, term, kind });
    }

    /// When a Holding master stands again: a majority has answered within `2H`, and none of them
    /// names a promise to another.
    pub(crate) fn holding_stands_at(&self, s: &Shared, holding: Holding) -> Option<Timestamp> {
        let recent = s.interval() * 2;
        let answer = |voter: NodeId| {
            let (at, promised) = self.answers.get(voter.index()).copied().flatten()?;
            (s.now.since(at) <= recent).then_some(promised)
        };
        if s.config.peers().filter_map(answer).any(|promised| promised.is_some()) {
            return None;
        }
        let answered = |voter| voter == s.config.me || answer(voter).is_some();
        s.electorate.is_majority(answered).then(|| holding.resigned_until.unwrap_or(self.wait.from))
    }

    /// What this node's heartbeat says of the group, and the renewal of its own promise.
    pub(crate) fn beat(&mut self, cx: &mut Cx<'_>, sent: Sent) -> GroupBeat {
        let s = &*cx.s;
        let (me, boot) = (s.config.me, s.boot);
        let mut mastered = None;
        let term = self.term();
        if let Role::Master(mastership) = &mut self.role {
            mastered = Some(Mastered { term: mastership.term, lease: sent.lease });
            let beat = (mastership.term, sent.lease, sent.number);
            if !s.is_muted(cx.now)
                && self.voter.renew(cx.now, me, boot, beat, term) != Renewal::None
            {
                count(mastership, me, sent, cx.now);
            }
        }
        GroupBeat {
            group: self.id,
            priority: s.effective_priority(self.id),
            healthy: s.is_healthy(self.id) && s.stopping.is_none(),
            holds: match &self.role {
                Role::Master(_) => self.ownership.holds_all(),
                Role::None | Role::Backup | Role::Holding(_) => self.ownership.holder() == Some(me),
            },
            seen: self.voter.seen,
            mastered,
            elected: self.elected,
        }
    }

    /// A peer's heartbeat about this group.
    pub(crate) fn on_beat(
        &mut self,
        cx: &mut Cx<'_>,
        from: (NodeId, BootId),
        copy: Which,
        send: SendNumber,
        beat: &GroupBeat,
    ) -> GroupBeatAnswer {
        let (node, boot) = from;
        self.voter.seen = self.voter.seen.max(beat.seen);
        if let Some(elected) = beat.elected {
            self.learn_elected(cx, elected);
        }
        let renewal = match beat.mastered {
            Some(mastered) => self.on_mastered(cx, from, copy, send, mastered),
            None => Renewal::None,
        };
        let promised = self.voter.promised_to_other(cx.now, node, boot).map(|promise| Promised {
            node: promise.node,
            term: promise.term,
            left: promise.until.left(cx.now),
        });
        GroupBeatAnswer { group: self.id, renewal, promised, elected: self.elected }
    }

    /// A master's heartbeat: renews the promise, restarts the timer.
    fn on_mastered(
        &mut self,
        cx: &mut Cx<'_>,
        from: (NodeId, BootId),
        copy: Which,
        send: SendNumber,
        mastered: Mastered,
    ) -> Renewal {
        let (node, boot) = from;
        let Mastered { term, lease } = mastered;
        cx.s.hear_lease(cx.now, lease);
        match copy {
            Which::Stale => return Renewal::None,
            Which::Repeat => return self.voter.renewed_by(cx.now, node, boot, send),
            Which::First => {}
        }
        self.learn_elected(cx, Elected { term, node });
        if term < self.term() || term <= self.voter.resigned {
            return Renewal::None; // A mastership that is over.
        }
        if matches!(self.role, Role::Backup) {
            self.give_up(cx, "the master is heard");
            let lease = lease.max(cx.s.lease());
            self.wait = Wait {
                from: cx.now,
                interval: lease,
                order: Order::Skew,
                cause: Cause::MasterSilent,
                evidence: None,
            };
            self.retry_at = cx.now;
        }
        self.master = Some(KnownMaster { node, boot, term, heard_at: cx.now, lease });
        self.denied_for_self = false;
        self.collisions = 0;
        if cx.s.is_muted(cx.now) || !cx.s.lease_is_durable(lease) {
            return Renewal::None;
        }
        self.voter.renew(cx.now, node, boot, (term, lease, send), self.term())
    }

    /// A voter's answer to a heartbeat of ours.
    pub(crate) fn on_beat_answer(
        &mut self,
        cx: &mut Cx<'_>,
        from: NodeId,
        sent: Sent,
        answer: &GroupBeatAnswer,
    ) {
        if let Some(known) = self.answers.get_mut(from.index()) {
            *known = Some((cx.now, answer.promised));
        }
        if active(Mutation::DeposedByTermSeen)
            && let (Role::Master(mastership), Some(promised)) = (&self.role, answer.promised)
            && promised.term > mastership.term
        {
            let cause = mastership.cause;
            self.hold(cx, cause, "a higher term was seen", None);
        }
        if let Some(elected) = answer.elected {
            self.learn_elected(cx, elected);
        }
        let Renewal::Renewed { had_run_out } = answer.renewal else { return };
        let now = cx.now;
        let Role::Master(mastership) = &mut self.role else { return };
        if sent.number <= mastership.since {
            return; // It named an earlier term, and perhaps another lease.
        }
        let counted = mastership.renewals.get(from.index()).copied().flatten();
        let contradicted = had_run_out
            && counted.is_some_and(|counted| counted.send < sent.number && counted.until > now);
        if contradicted {
            // The voter's promise had run out while this node still counted on it: this node's
            // clock stopped for a while, or a firewall spoke in its name.
            let (cause, reason) =
                (mastership.cause, "a voter's promise had run out: this machine's clock stopped");
            self.hold(cx, cause, reason, None);
            return;
        }
        count(mastership, from, sent, now);
    }

    /// When the next heartbeat is due for the sake of this group: every `H/4` while the last
    /// majority of renewals is older than `1.1 H`, since the lease survives one lost heartbeat.
    pub(crate) fn beat_due(&self, s: &Shared, last: Timestamp) -> Timestamp {
        let interval = s.interval();
        match &self.role {
            Role::Master(mastership) => {
                let anxious = mastership.majority_sent_at(s) + interval * 11 / 10;
                (last + interval).min(anxious.max(last + interval / 4))
            }
            Role::None | Role::Backup | Role::Holding(_) => last + interval,
        }
    }

    /// Resigns for a failed fatal check if, and only if, a better node is Ready (design 7).
    pub(crate) fn resign_if_unhealthy(&mut self, cx: &mut Cx<'_>) {
        if !matches!(self.role, Role::Master(_))
            || self.handover.is_some()
            || (cx.s.is_healthy(self.id) && cx.s.effective_priority(self.id).is_some())
            || active(Mutation::FatalIgnored)
            || self.moves_exhausted(cx.s, cx.now)
        {
            return;
        }
        if self.best_successor(cx.s, false).is_some() {
            self.resign(cx, None, Cause::CheckFailed);
        }
    }

    /// How much of the own lease is left; zero off the master.
    pub(crate) fn lease_left(&self, s: &Shared, now: Timestamp) -> Duration {
        match &self.role {
            Role::Master(mastership) => mastership.lease_until(s).left(now),
            Role::None | Role::Backup | Role::Holding(_) => Duration::ZERO,
        }
    }
}

/// Counts a voter's promise, from before the send that it answers (design 3.3).
fn count(mastership: &mut Mastership, voter: NodeId, sent: Sent, now: Timestamp) {
    let Some(counted) = mastership.renewals.get_mut(voter.index()) else { return };
    let from = if active(Mutation::LeaseFromAnswer) { now } else { sent.at };
    let lease = if active(Mutation::LeaseWithoutMargin) {
        sent.lease * 11 / 10
    } else {
        own_lease(sent.lease)
    };
    let until = from + lease;
    let newer = Renewed { send: sent.number, sent_at: sent.at, until };
    *counted = Some(match *counted {
        Some(old) => Renewed {
            send: old.send.max(newer.send),
            sent_at: old.sent_at.max(newer.sent_at),
            until: old.until.max(newer.until),
        },
        None => newer,
    });
}
