//! Candidates and voters of one group (design 3.2, 3.4, 3.5).

use std::time::Duration;

use crate::event::{Event, EventKind};
use crate::gate::Shut;
use crate::group::{Candidacy, Group, KnownMaster, Mastership, Order, Renewed, Role, Wait};
use crate::message::{
    Answer, Denial, DenialReason, Request, TakeBack, TakeBackKind, Vote, VoteAnswer, VoteRequest,
};
use crate::mutation::{Mutation, active};
use crate::output::Output;
use crate::reference::Exception;
use crate::shared::{Cx, Shared};
use crate::status::Failover;
use crate::timing::own_lease;
use crate::types::{BootId, Cause, Elected, NodeId, RequestId, Term, Timestamp};
use crate::voter::{Denied, Reservation, Waiting};

/// So many copies of one waiting request are answered.
const COPIES: usize = 8;

/// What a voter makes of a request now.
enum Decision {
    Grant(Option<Exception>),
    Deny(DenialReason, Duration),
    /// The obstacle ends by then.
    Wait(DenialReason, Timestamp),
}

impl Group {
    /// Stands if it is time.
    pub(crate) fn stand_if_due(&mut self, cx: &mut Cx<'_>) {
        if self.stands_at(cx.s).is_some_and(|at| at <= cx.now) {
            self.stand(cx);
        }
    }

    /// Asks all voters at once, itself first.
    fn stand(&mut self, cx: &mut Cx<'_>) {
        let Some(rank) = self.own_rank(cx.s) else { return };
        let (me, boot) = (cx.s.config.me, cx.s.boot);
        let term = self.next_term();
        let sent = cx.s.new_send(cx.now);
        let nodes = cx.s.config.nodes.len();
        let cause = match self.role {
            Role::Holding(_) => Cause::MajorityRegained,
            Role::None | Role::Backup | Role::Master(_) => self.wait.cause,
        };
        let evidence = self.wait.evidence;
        let detect = self.master.map(|master| cx.now.since(master.heard_at));
        let mut granted = vec![false; nodes];
        if !cx.s.is_muted(cx.now) {
            self.voter.grant(cx.now, me, boot, (term, sent.lease, sent.number));
            if let Some(own) = granted.get_mut(me.index()) {
                *own = true;
            }
        }
        self.voter.seen = self.voter.seen.max(term);
        let denied = vec![None; nodes];
        let candidacy = Candidacy { term, sent, rank, cause, granted, denied, detect };
        self.change_role(cx, cause, "stands for election", |group, _| {
            group.candidacy = Some(candidacy);
        });
        let request = VoteRequest {
            send: sent.number,
            group: self.id,
            term,
            lease: sent.lease,
            rank,
            digest: cx.s.digest(),
            reference: cx.s.gate.reference,
            exception: self.may_stand(cx.s).and_then(|(_, exception)| exception),
            cause,
            evidence,
        };
        for to in cx.s.config.clone().peers() {
            cx.out.push(Output::Send { to, request: Request::Vote(request.clone()) });
        }
        self.count_votes(cx);
    }

    /// A voter's answer.
    pub(crate) fn on_vote_answer(&mut self, cx: &mut Cx<'_>, from: NodeId, answer: &VoteAnswer) {
        let current = self
            .candidacy
            .as_mut()
            .filter(|c| (c.term, c.sent.number) == (answer.term, answer.send));
        let Some(candidacy) = current else {
            return; // Of a candidacy that was given up or decided.
        };
        match answer.vote {
            Vote::Granted => {
                if let Some(granted) = candidacy.granted.get_mut(from.index()) {
                    *granted = true;
                }
            }
            Vote::Denied(denial) => {
                if let Some(denied) = candidacy.denied.get_mut(from.index()) {
                    *denied = Some((cx.now, denial));
                }
                self.voter.seen = self.voter.seen.max(denial.seen);
                let won = cx.s.electorate.is_majority(|voter| candidacy.has_grant_of(voter));
                if denial.reason == DenialReason::TermTooLow && !won {
                    // No use in waiting for the silent: stands again at once in a higher term.
                    self.fail(cx);
                    return;
                }
            }
        }
        self.count_votes(cx);
    }

    /// Wins, goes on waiting, or gives up.
    pub(crate) fn count_votes(&mut self, cx: &mut Cx<'_>) {
        let Some(candidacy) = &self.candidacy else { return };
        let granted = cx.s.electorate.is_majority(|voter| candidacy.has_grant_of(voter));
        // Each counts only while the lease that it would give is unexpired.
        let lease_until = candidacy.sent.at + own_lease(candidacy.sent.lease);
        let in_time = cx.now < lease_until || active(Mutation::LateGrantCounts);
        if granted && in_time {
            self.win(cx);
            return;
        }
        let muted = cx.s.is_muted(candidacy.sent.at);
        let possible = cx.s.electorate.is_majority(|voter| {
            let is_lost = candidacy.is_denied_by(voter) || (muted && voter == cx.s.config.me);
            candidacy.has_grant_of(voter) || !is_lost
        });
        if !possible || cx.now >= self.candidacy_ends_at(cx.s).unwrap_or(cx.now) {
            self.fail(cx);
        }
    }

    /// A candidacy lasts `2H` at most, and no longer than the lease that it would give.
    pub(crate) fn candidacy_ends_at(&self, s: &Shared) -> Option<Timestamp> {
        let candidacy = self.candidacy.as_ref()?;
        let longest = (s.interval() * 2).min(own_lease(candidacy.sent.lease));
        Some(candidacy.sent.at + longest)
    }

    /// Without a quorum: releases what was granted, and works out when to stand again.
    fn fail(&mut self, cx: &mut Cx<'_>) {
        let Some(candidacy) = self.candidacy.clone() else { return };
        self.give_up(cx, "no majority of votes");
        let interval = cx.s.interval();
        let muted = cx.s.muted_until.left(cx.now);
        let outdated = candidacy
            .denied
            .iter()
            .flatten()
            .any(|(_, denial)| denial.reason == DenialReason::TermTooLow);
        let free_in = |voter: NodeId| {
            Some(match candidacy.denied.get(voter.index())? {
                _ if voter == cx.s.config.me => muted,
                _ if candidacy.has_grant_of(voter) => Duration::ZERO,
                Some((at, denial)) => match denial.reason {
                    DenialReason::TermTooLow | DenialReason::Withdrawn => Duration::ZERO,
                    DenialReason::Muted
                    | DenialReason::PromisedToMaster(_)
                    | DenialReason::PromisedToCandidate(_)
                    | DenialReason::Reserved(_)
                    | DenialReason::BetterCandidate
                    | DenialReason::Standing(_)
                    | DenialReason::Digest
                    | DenialReason::ReferenceHeard(_)
                    | DenialReason::NotAMember
                    | DenialReason::LeaseNotDurable => {
                        denial.left.saturating_sub(cx.now.since(*at))
                    }
                },
                // Silent: not before it could have answered, unless only the term is wrong.
                None if outdated => Duration::ZERO,
                None => interval,
            })
        };
        let quorum_free = cx.s.electorate.within(free_in).unwrap_or(interval);
        let denials = || candidacy.denied.iter().flatten().map(|(_, denial)| denial.reason);
        let collided =
            denials().any(|reason| matches!(reason, DenialReason::PromisedToCandidate(_)));
        let pause = if collided {
            self.collisions = self.collisions.saturating_add(1).min(8);
            let most = (interval * (1 << self.collisions) / 2).min(cx.s.lease());
            cx.s.random.up_to(most)
        } else if outdated && quorum_free.is_zero() {
            Duration::ZERO
        } else {
            cx.s.random.up_to(interval / 8)
        };
        self.retry_at = cx.now + quorum_free + pause;
    }

    /// Gives a candidacy up: from here on it counts no grant, and what was granted is released.
    pub(crate) fn give_up(&mut self, cx: &mut Cx<'_>, reason: &'static str) {
        let Some(candidacy) = &self.candidacy else { return };
        let (term, cause) = (candidacy.term, candidacy.cause);
        self.change_role(cx, cause, reason, |group, _| group.candidacy = None);
        self.voter.release(cx.s.config.me, cx.s.boot, term);
        self.take_back(cx, TakeBack { group: self.id, term, kind: TakeBackKind::Release });
    }

    /// A majority has granted: leads from before the request was sent.
    fn win(&mut self, cx: &mut Cx<'_>) {
        let Some(candidacy) = self.candidacy.take() else { return };
        let Candidacy { term, sent, cause, granted, detect, .. } = candidacy.clone();
        self.candidacy = Some(candidacy); // Seen by change_role as what was before.
        let me = cx.s.config.me;
        let renewed =
            Renewed { send: sent.number, sent_at: sent.at, until: sent.at + own_lease(sent.lease) };
        let renewals = granted.iter().map(|granted| granted.then_some(renewed)).collect();
        let from = self.elected.map(|elected| elected.node);
        self.change_role(cx, cause, "elected by a majority", |group, _| {
            group.candidacy = None;
            group.role = Role::Master(Mastership { term, cause, since: sent.number, renewals });
        });
        self.learn_elected(cx, Elected { term, node: me });
        self.collisions = 0;
        self.denied_for_self = false;
        self.master = None;
        self.wait = Wait {
            from: cx.now,
            interval: cx.s.lease(),
            order: Order::Skew,
            cause: Cause::MasterSilent,
            evidence: None,
        };
        self.failover = Some(Failover {
            group: self.id,
            term,
            from,
            to: me,
            cause: Some(cause),
            detect,
            elect: Some(cx.now.since(sent.at)),
            claim: None,
            verify: None,
            at: cx.now,
        });
        cx.s.beat_now = true;
        // A read never decides a takeover (design 5.5): only what this node itself held before,
        // or what no master of this life has claimed, is merely verified.
        let kept = from.is_none_or(|from| from == me);
        self.ownership.mastership_won(cx.now, kept);
    }

    /// A candidate asks for this node's vote.
    pub(crate) fn on_vote_request(
        &mut self,
        cx: &mut Cx<'_>,
        from: (NodeId, BootId),
        id: RequestId,
        request: VoteRequest,
    ) {
        let (node, boot) = from;
        cx.s.hear_lease(cx.now, request.lease);
        if self.voter.has_granted(cx.now, node, boot, (request.term, request.lease)) {
            answer(cx, id, &request, Vote::Granted); // Another copy: the promise stands.
            return;
        }
        if let Some(waiting) = self.voter.waiting.iter_mut().find(|waiting| {
            (waiting.from, waiting.boot, waiting.request.send) == (node, boot, request.send)
        }) {
            if waiting.ids.len() < COPIES {
                waiting.ids.push(id);
            }
            return;
        }
        let repeated = self
            .voter
            .denied
            .iter()
            .find(|it| (it.node, it.boot, it.send) == (node, boot, request.send));
        if let Some(Denied { reason, until, .. }) = repeated {
            // Another copy: the same answer, or the candidate would take it for another reason.
            let left = until.left(cx.now);
            let denial = Denial { reason: *reason, seen: self.voter.seen, left };
            answer(cx, id, &request, Vote::Denied(denial));
            return;
        }
        let overtaken = self.voter.waiting.iter().any(|waiting| {
            (waiting.from, waiting.boot) == (node, boot) && waiting.request.send > request.send
        });
        if overtaken {
            let (reason, left) = (DenialReason::Withdrawn, Duration::ZERO);
            let denial = Denial { reason, seen: self.voter.seen, left };
            answer(cx, id, &request, Vote::Denied(denial));
            return;
        }
        if self.candidacy.as_ref().is_some_and(|own| request.rank > own.rank) {
            self.give_up(cx, "a better candidate stands");
            self.retry_at = cx.now + cx.s.interval() * 2; // Time for the better one.
        }
        if let Some(evidence) = request.evidence
            && cx.s.config.timing.crash_detection
            && evidence.node != cx.s.config.me
            && !cx.s.is_dead(evidence.node, evidence.boot)
        {
            cx.out.push(Output::Probe { peer: evidence.node });
        }
        let until = cx.now + cx.s.interval();
        // A newer request of the same node replaces the one that waits.
        self.withdraw(cx, node, None);
        self.voter.waiting.push(Waiting { from: node, boot, request, ids: vec![id], until });
        self.answer_waiting(cx);
    }

    /// Answers every waiting request whose time has come or whose obstacle is gone.
    pub(crate) fn answer_waiting(&mut self, cx: &mut Cx<'_>) {
        let mut index = 0;
        while let Some(waiting) = self.voter.waiting.get(index) {
            let late = waiting.until <= cx.now;
            let vote = match self.decide(cx.s, waiting) {
                Decision::Wait(_, _) if !late => {
                    index += 1;
                    continue;
                }
                Decision::Grant(exception) => Ok(exception),
                Decision::Deny(reason, left) => Err((reason, left)),
                Decision::Wait(reason, until) => Err((reason, until.left(cx.now))),
            };
            let waiting = self.voter.waiting.remove(index);
            match vote {
                Ok(exception) => self.grant(cx, &waiting, exception),
                Err((reason, left)) => self.deny(cx, &waiting, reason, left),
            }
        }
    }

    /// When the next waiting request must be looked at.
    pub(crate) fn waiting_deadline(&self, s: &Shared) -> Timestamp {
        let next = self.voter.waiting.iter().map(|waiting| match self.decide(s, waiting) {
            Decision::Wait(_, until) => until.min(waiting.until),
            Decision::Grant(_) | Decision::Deny(..) => s.now,
        });
        next.min().unwrap_or(Timestamp::NEVER)
    }

    fn decide(&self, s: &Shared, waiting: &Waiting) -> Decision {
        let Waiting { from, boot, request, .. } = waiting;
        let (now, interval) = (s.now, s.interval());
        let wait = |reason, until: Timestamp| {
            if until.left(now) <= interval {
                Decision::Wait(reason, until)
            } else {
                Decision::Deny(reason, until.left(now))
            }
        };
        if s.config.priority(self.id, *from).is_none() {
            return Decision::Deny(DenialReason::NotAMember, Duration::ZERO);
        }
        if s.is_muted(now) {
            return wait(DenialReason::Muted, s.muted_until);
        }
        if let Some(promise) = self.voter.promised_to_other(now, *from, *boot)
            && !active(Mutation::GrantIgnoresPromise)
        {
            let elected = self.elected.is_some_and(|elected| elected.term >= promise.term);
            let reason = if elected {
                DenialReason::PromisedToMaster(promise.node)
            } else {
                DenialReason::PromisedToCandidate(promise.node)
            };
            let evident = request.evidence.is_some_and(|evidence| {
                (evidence.node, evidence.boot) == (promise.node, promise.boot)
                    && evidence.node != s.config.me
                    && s.config.timing.crash_detection
            });
            // Answers when it knows: the probe is out, or the take-back is on its way.
            if evident || !elected || request.cause.is_given_up() {
                return Decision::Wait(reason, promise.until);
            }
            return wait(reason, promise.until);
        }
        if let Some(reserved) = self.voter.reserved_for_other(now, *from) {
            return wait(DenialReason::Reserved(reserved.successor), reserved.until);
        }
        if request.term <= self.voter.seen && !active(Mutation::GrantAnyTerm) {
            return Decision::Deny(DenialReason::TermTooLow, Duration::ZERO);
        }
        let exception = match self.lets_through(s, *from, request) {
            Ok(exception) => exception,
            // Perhaps what it is refused for is over in a moment.
            Err(Shut { reason, until: Some(until) }) => return Decision::Wait(reason, until),
            Err(Shut { reason, until: None }) => return Decision::Deny(reason, interval),
        };
        if let Some(own) = self.stands_better_at(s, request) {
            return Decision::Deny(DenialReason::BetterCandidate, own.left(now) + interval / 4);
        }
        if !s.lease_is_durable(request.lease) {
            return Decision::Wait(DenialReason::LeaseNotDurable, waiting.until);
        }
        Decision::Grant(exception)
    }

    /// If this node is a better candidate and its own candidacy starts within one `H`: when. At
    /// most once per lost master, so that one that cannot stand does not deny others for ever.
    fn stands_better_at(&self, s: &Shared, request: &VoteRequest) -> Option<Timestamp> {
        let better = self.own_rank(s).is_some_and(|own| own > request.rank);
        if self.denied_for_self || !better {
            return None;
        }
        self.stands_at(s).filter(|at| at.left(s.now) <= s.interval())
    }

    fn grant(&mut self, cx: &mut Cx<'_>, waiting: &Waiting, exception: Option<Exception>) {
        let Waiting { from, boot, request, ids, .. } = waiting;
        self.voter.grant(cx.now, *from, *boot, (request.term, request.lease, request.send));
        self.voted = Some((request.term, request.cause));
        let interval = request.lease.max(cx.s.lease());
        self.wait = Wait { from: cx.now, interval, order: Order::Skew, ..self.wait };
        if self.wait.cause != Cause::Startup {
            self.wait.cause = Cause::MasterSilent;
        }
        self.wait.evidence = None;
        let kind = EventKind::VoteGranted { candidate: *from, exception };
        let mut event = Event::group(self.id, request.term, kind);
        event.cause = Some(request.cause);
        cx.event(event);
        for id in ids {
            answer(cx, *id, request, Vote::Granted);
        }
    }

    fn deny(&mut self, cx: &mut Cx<'_>, waiting: &Waiting, reason: DenialReason, left: Duration) {
        let Waiting { from, boot, request, ids, .. } = waiting;
        if reason == DenialReason::BetterCandidate {
            self.denied_for_self = true;
        }
        self.voter.seen = self.voter.seen.max(request.term);
        self.voter.denied.retain(|denied| denied.node != *from);
        let (node, boot, send) = (*from, *boot, request.send);
        self.voter.denied.push(Denied { node, boot, send, reason, until: cx.now + left });
        let kind = EventKind::VoteDenied { candidate: *from, reason };
        let mut event = Event::group(self.id, request.term, kind);
        event.cause = Some(request.cause);
        cx.event(event);
        let denial = Denial { reason, seen: self.voter.seen, left };
        for id in ids {
            answer(cx, *id, request, Vote::Denied(denial));
        }
    }

    /// Denies what waits of `node`, up to `term` if one is given.
    fn withdraw(&mut self, cx: &mut Cx<'_>, node: NodeId, up_to: Option<Term>) {
        let withdrawn = |waiting: &Waiting| {
            waiting.from == node && up_to.is_none_or(|term| waiting.request.term <= term)
        };
        while let Some(index) = self.voter.waiting.iter().position(withdrawn) {
            let waiting = self.voter.waiting.remove(index);
            self.deny(cx, &waiting, DenialReason::Withdrawn, Duration::ZERO);
        }
    }

    /// A candidacy or a mastership of a peer is given up.
    pub(crate) fn on_take_back(
        &mut self,
        cx: &mut Cx<'_>,
        from: (NodeId, BootId),
        take_back: TakeBack,
    ) {
        let (node, boot) = from;
        let term = take_back.term;
        // Before the request it may overtake: that one is then too late.
        self.withdraw(cx, node, Some(term));
        self.voter.seen = self.voter.seen.max(term);
        match take_back.kind {
            TakeBackKind::Release => self.voter.release(node, boot, term),
            TakeBackKind::Resign { successor, cause } => {
                if self.candidacy.as_ref().is_some_and(|own| own.term <= term) {
                    self.give_up(cx, "a higher term was resigned");
                }
                let news = self.voter.resign(node, boot, term);
                if news && term >= self.term() {
                    self.on_resignation(cx, node, successor, cause);
                }
            }
        }
    }

    fn on_resignation(
        &mut self,
        cx: &mut Cx<'_>,
        from: NodeId,
        successor: Option<NodeId>,
        cause: Cause,
    ) {
        let me = cx.s.config.me;
        let lease = cx.s.lease();
        self.denied_for_self = false;
        self.retry_at = cx.now;
        self.voter.reserved = None;
        let (interval, order) = match successor {
            Some(successor) if successor == me => (Duration::ZERO, Order::First),
            Some(successor) => {
                let until = cx.now + lease;
                self.voter.reserved = Some(Reservation { successor, until });
                (lease, Order::Skew)
            }
            None => (Duration::ZERO, Order::Position { without: from }),
        };
        if matches!(self.role, Role::Backup) {
            self.wait = Wait { from: cx.now, interval, order, cause, evidence: None };
        }
    }

    /// The process of a peer is known to be dead: what it was promised is free, and if it was
    /// the master, the best candidate stands at once.
    pub(crate) fn on_crash(&mut self, cx: &mut Cx<'_>, node: NodeId, boot: BootId) {
        if active(Mutation::CrashIgnored) {
            return;
        }
        let holder = self.voter.promise.filter(|p| (p.node, p.boot) == (node, boot));
        self.voter.forget(node, boot);
        let led = self.master.is_some_and(|m: KnownMaster| (m.node, m.boot) == (node, boot));
        if !matches!(self.role, Role::Backup) || !(led || holder.is_some()) {
            return;
        }
        let resigned = self.master.is_some_and(|m| m.term <= self.voter.resigned);
        if led && !resigned {
            self.retry_at = cx.now;
            self.wait = Wait {
                from: cx.now,
                interval: Duration::ZERO,
                order: Order::Position { without: node },
                cause: Cause::MasterCrashed,
                evidence: Some(crate::message::Evidence { node, boot }),
            };
        }
    }
}

fn answer(cx: &mut Cx<'_>, id: RequestId, request: &VoteRequest, vote: Vote) {
    let answer = VoteAnswer { send: request.send, group: request.group, term: request.term, vote };
    cx.out.push(Output::Answer { id, answer: Answer::Vote(answer) });
}
