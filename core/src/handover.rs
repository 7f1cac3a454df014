//! Planned handover: switchover, preemption, stopping (design 3.7).

use std::time::Duration;

use crate::command::{Done, OperatorAnswer, OperatorRequest, OperatorResult, PeerCommand, Refusal};
use crate::event::{Event, EventKind};
use crate::group::{Group, Role};
use crate::message::{Answer, Rank, Request};
use crate::mutation::{Mutation, active};
use crate::output::Output;
use crate::shared::{Cx, Shared};
use crate::types::{
    BootId, Cause, NodeId, OperatorId, RequestId, SendNumber, Standing, Term, Timestamp,
};

/// A handover under way.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Handover {
    to: NodeId,
    cause: Cause,
    force: bool,
    /// Whom to tell the outcome.
    reply: Option<Reply>,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Phase {
    /// The successor's other configuration is being recorded as admitted.
    Admitting { until: Timestamp },
    /// The master's calls are being finished.
    Draining { until: Timestamp },
    /// The successor is being asked.
    Asking { send: SendNumber, until: Timestamp },
    /// Resigned in its favour; its election and its claim are awaited.
    Resigned {
        until: Timestamp,
        /// Whether the successor was seen to lead.
        led: bool,
    },
}

/// Who waits for the outcome of a command.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Reply {
    /// An operator at this node.
    Operator(OperatorId),
    /// A peer that passed the command on.
    Peer(RequestId, SendNumber),
    /// This node, on its way into maintenance.
    Leaving,
}

/// Tells the outcome of a command.
pub(crate) fn reply(cx: &mut Cx<'_>, to: Reply, result: OperatorResult) {
    match to {
        Reply::Operator(id) => cx.out.push(Output::OperatorDone { id, result }),
        Reply::Leaving => {
            if let Some(leaving) = &mut cx.s.gate.leaving {
                leaving.failed = leaving.failed.or(result.err());
            }
        }
        Reply::Peer(id, send) => {
            let command = cx.s.commands.iter_mut().find(|command| command.ids.first() == Some(&id));
            let ids = match command {
                Some(command) => {
                    command.result = Some(result);
                    command.ids.clone()
                }
                None => vec![id],
            };
            for id in ids {
                let answer = Answer::Operator(OperatorAnswer { send, result });
                cx.out.push(Output::Answer { id, answer });
            }
        }
    }
}

/// A peer's command, of which a copy comes over each link: carried out once.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Command {
    pub(crate) from: NodeId,
    pub(crate) boot: BootId,
    pub(crate) send: SendNumber,
    /// The exchanges to answer, the first copy's first.
    pub(crate) ids: Vec<RequestId>,
    pub(crate) result: Option<OperatorResult>,
}

impl Handover {
    /// Whether no new cloud call may start: the master is about to resign.
    pub(crate) fn is_before_resignation(&self) -> bool {
        match self.phase {
            Phase::Draining { .. } | Phase::Asking { .. } => true,
            Phase::Admitting { .. } | Phase::Resigned { .. } => false,
        }
    }

    pub(crate) fn deadline(&self) -> Timestamp {
        match self.phase {
            Phase::Admitting { until }
            | Phase::Draining { until }
            | Phase::Asking { until, .. }
            | Phase::Resigned { until, .. } => until,
        }
    }
}

impl Group {
    /// The best node to hand over to, by the order of candidates.
    pub(crate) fn best_successor(&self, s: &Shared, force: bool) -> Option<NodeId> {
        let able = |node: &NodeId| self.may_succeed(s, *node, force).is_ok();
        let ranked = s.config.peers().filter(able).filter_map(|node| {
            let rank: Rank = self.peer_rank(s, node)?;
            Some((rank, node))
        });
        ranked.max().map(|(_, node)| node)
    }

    /// Whether `node` could take over, as far as its heartbeats tell.
    fn may_succeed(&self, s: &Shared, node: NodeId, force: bool) -> Result<(), Refusal> {
        if s.config.priority(self.id, node).is_none() {
            return Err(Refusal::NotAMember(node));
        }
        if active(Mutation::SuccessorUnchecked) {
            return Ok(());
        }
        if !s.is_live(s.now, node) {
            return Err(Refusal::Silent(node));
        }
        let Some((beat, of_group)) = s.peer(node).and_then(|peer| peer.group(self.id)) else {
            return Err(Refusal::Silent(node));
        };
        if !is_fit(beat.standing) {
            return Err(Refusal::Standing(node, beat.standing));
        }
        if !of_group.healthy {
            return Err(Refusal::Unhealthy(node));
        }
        let wanted = s.gate.reference.map_or(s.digest(), |reference| reference.digest);
        if beat.digest != wanted && !force && !is_drift_ignored() {
            return Err(Refusal::Drift(node));
        }
        if !beat.preflight_ok && !force {
            return Err(Refusal::Preflight(node));
        }
        Ok(())
    }

    /// An operator's planned handover, at the master.
    pub(crate) fn switch_over(
        &mut self,
        cx: &mut Cx<'_>,
        to: Option<NodeId>,
        force: bool,
        answer_to: Reply,
    ) {
        let me = cx.s.config.me;
        let exhausted = self.moves_exhausted(cx.s, cx.now) && !force;
        let refusal = if !matches!(self.role, Role::Master(_)) {
            Some(Refusal::NotMaster)
        } else if to == Some(me) {
            reply(cx, answer_to, Ok(Done::AlreadyMaster(me)));
            return;
        } else if cx.s.stopping.is_some() {
            Some(Refusal::Stopping)
        } else if self.handover.is_some() {
            Some(Refusal::Busy)
        } else if exhausted {
            Some(Refusal::MovesExhausted)
        } else {
            None
        };
        let successor = match (refusal, to) {
            (Some(refusal), _) => Err(refusal),
            (None, Some(to)) => self.may_succeed(cx.s, to, force).map(|()| to),
            (None, None) => self.best_successor(cx.s, force).ok_or(Refusal::NoSuccessor),
        };
        match successor {
            Ok(to) => {
                self.hand_over(cx, to, Cause::Switchover, force, Some(answer_to));
                self.admit_successor(cx, to);
            }
            Err(refusal) => {
                self.handover_refused(cx, refusal);
                reply(cx, answer_to, Err(refusal));
            }
        }
    }

    /// Begins a handover: calls are finished first.
    pub(crate) fn hand_over(
        &mut self,
        cx: &mut Cx<'_>,
        to: NodeId,
        cause: Cause,
        force: bool,
        reply: Option<Reply>,
    ) {
        let until = cx.now + cx.s.config.call_timeout;
        self.handover =
            Some(Handover { to, cause, force, reply, phase: Phase::Draining { until } });
    }

    /// An operator forces a handover to a node whose configuration is not the reference's: that
    /// is recorded first, or the voters would not let it through.
    fn admit_successor(&mut self, cx: &mut Cx<'_>, to: NodeId) {
        let Some(reference) = cx.s.gate.reference else { return };
        let Some(digest) = cx.s.digest_of(to).filter(|digest| *digest != reference.digest) else {
            return;
        };
        cx.s.admit(to, digest, reference.digest);
        cx.event(Event::node(EventKind::Admitted { node: to, digest }));
        let until = cx.now + cx.s.lease() * 2;
        if let Some(handover) = &mut self.handover {
            handover.phase = Phase::Admitting { until };
        }
    }

    /// Whether a majority and the successor itself know that it is admitted.
    fn is_successor_admitted(&self, s: &Shared, to: NodeId) -> bool {
        s.digest_of(to).is_some_and(|digest| {
            let equal = s.gate.reference.is_none_or(|reference| reference.digest == digest);
            let itself = s.peer(to).is_some_and(|peer| peer.knows_admitted(to, digest));
            equal || itself && s.is_recorded(to, digest)
        })
    }

    /// On the way into maintenance a master hands over.
    pub(crate) fn leave(&mut self, cx: &mut Cx<'_>) {
        if let Role::Master(_) = self.role
            && let Some(to) = self.best_successor(cx.s, false)
        {
            self.hand_over(cx, to, Cause::Switchover, false, Some(Reply::Leaving));
        }
    }

    /// Takes the handover as far as it goes now.
    pub(crate) fn advance_handover(&mut self, cx: &mut Cx<'_>) {
        let Some(handover) = &self.handover else { return };
        let (to, force) = (handover.to, handover.force);
        let Role::Master(mastership) = &self.role else {
            self.await_successor(cx);
            return;
        };
        let term = mastership.term;
        match handover.phase {
            Phase::Admitting { .. } if self.is_successor_admitted(cx.s, to) => {
                let until = cx.now + cx.s.config.call_timeout;
                if let Some(handover) = &mut self.handover {
                    handover.phase = Phase::Draining { until };
                }
                self.advance_handover(cx);
            }
            Phase::Admitting { until } if until <= cx.now => {
                self.end_handover(cx, Err(Refusal::NoMajority));
            }
            Phase::Draining { .. } if !self.ownership.is_calling() => {
                self.ask_successor(cx, to, term, force);
            }
            Phase::Draining { until } if until <= cx.now => {
                self.end_handover(cx, Err(Refusal::CallsPending));
            }
            Phase::Asking { until, .. } if until <= cx.now => {
                self.end_handover(cx, Err(Refusal::NoAnswer(to)));
            }
            Phase::Admitting { .. } | Phase::Draining { .. } | Phase::Asking { .. } => {}
            // Resigned, and elected again: rolled back.
            Phase::Resigned { led: true, .. } => {
                self.end_handover(cx, Err(Refusal::RolledBack(to)));
            }
            Phase::Resigned { led: false, .. } => {
                self.end_handover(cx, Err(Refusal::NotElected(to)));
            }
        }
    }

    fn ask_successor(&mut self, cx: &mut Cx<'_>, to: NodeId, term: Term, force: bool) {
        let send = cx.s.new_send(cx.now).number;
        let until = cx.now + (cx.s.interval() * 2).max(Duration::from_millis(200));
        let command = PeerCommand::Offer { group: self.id, term, force };
        let request = Request::Operator(OperatorRequest { send, command });
        cx.out.push(Output::Send { to, request });
        if let Some(handover) = &mut self.handover {
            handover.phase = Phase::Asking { send, until };
        }
    }

    /// The successor's word. Whether the answer was for this group.
    pub(crate) fn on_offer_answer(
        &mut self,
        cx: &mut Cx<'_>,
        from: NodeId,
        send: SendNumber,
        result: OperatorResult,
    ) -> bool {
        let Some(handover) = &mut self.handover else { return false };
        let (to, cause) = (handover.to, handover.cause);
        match handover.phase {
            Phase::Asking { send: asked, .. } if asked == send && to == from => {}
            Phase::Admitting { .. }
            | Phase::Asking { .. }
            | Phase::Draining { .. }
            | Phase::Resigned { .. } => return false,
        }
        match result {
            Ok(_) if matches!(self.role, Role::Master(_)) => {
                let until = cx.now + cx.s.config.call_timeout + cx.s.lease() * 3;
                handover.phase = Phase::Resigned { until, led: false };
                self.resign(cx, Some(to), cause);
            }
            Ok(_) => self.end_handover(cx, Err(Refusal::NotMaster)),
            Err(refusal) => self.end_handover(cx, Err(refusal)),
        }
        true
    }

    /// After the resignation: waits until the successor leads and holds the addresses.
    fn await_successor(&mut self, cx: &mut Cx<'_>) {
        let Some(handover) = &self.handover else { return };
        let to = handover.to;
        let Phase::Resigned { until, led } = handover.phase else {
            self.end_handover(cx, Err(Refusal::NotMaster));
            return;
        };
        let beat = cx.s.peer(to).and_then(|peer| peer.group(self.id)).map(|(_, beat)| beat);
        let leads = beat.is_some_and(|beat| beat.mastered.is_some());
        let led = led || leads;
        if let Some(handover) = &mut self.handover {
            handover.phase = Phase::Resigned { until, led };
        }
        let other = self.elected.is_some_and(|e| e.node != to && e.node != cx.s.config.me);
        if leads && beat.is_some_and(|beat| beat.holds) {
            self.end_handover(cx, Ok(Done::Leads(to)));
        } else if other {
            self.end_handover(cx, Err(Refusal::OtherElected(to)));
        } else if until <= cx.now {
            let refusal = if led { Refusal::NotClaimed(to) } else { Refusal::NotElected(to) };
            self.end_handover(cx, Err(refusal));
        }
    }

    fn end_handover(&mut self, cx: &mut Cx<'_>, result: OperatorResult) {
        let Some(handover) = self.handover.take() else { return };
        if let Err(refusal) = result {
            self.handover_refused(cx, refusal);
            self.better = None; // A preemption is tried again after its delay.
            if cx.s.stopping.is_some() && matches!(self.role, Role::Master(_)) {
                // Nobody takes over by name: whoever can may stand at once.
                self.resign(cx, None, handover.cause);
            }
        }
        if let Some(to) = handover.reply {
            reply(cx, to, result);
        }
    }

    fn handover_refused(&self, cx: &mut Cx<'_>, refusal: Refusal) {
        let reason = refusal.sentence(cx.s).into();
        cx.event(Event::group(self.id, self.term(), EventKind::HandoverRefused { reason }));
    }

    /// The successor's side: whether it would take over, or why not.
    pub(crate) fn on_offer(
        &self,
        s: &Shared,
        from: NodeId,
        term: Term,
        force: bool,
    ) -> OperatorResult {
        let me = s.config.me;
        let known =
            self.elected.is_none_or(|e| e.term <= term && (e.term < term || e.node == from));
        if !known {
            return Err(Refusal::NotMaster);
        }
        if active(Mutation::SuccessorUnchecked) {
            return Ok(Done::Accepted);
        }
        if s.stopping.is_some() {
            return Err(Refusal::Stopping);
        }
        if s.gate.leaving.is_some() {
            return Err(Refusal::Standing(me, Standing::Maintenance));
        }
        if !is_fit(s.standing) {
            return Err(Refusal::Standing(me, s.standing));
        }
        if s.effective_priority(self.id).is_none() {
            return Err(Refusal::NotAMember(me));
        }
        if !s.is_healthy(self.id) {
            return Err(Refusal::Unhealthy(me));
        }
        // Before there is a reference, the master's own is what there is to compare with.
        let beat = s.peer(from).and_then(|peer| peer.beat.as_ref());
        let masters = beat.map(|(beat, _, _)| beat.digest);
        let wanted = s.gate.reference.map(|reference| reference.digest).or(masters);
        let drift = wanted.is_some_and(|wanted| wanted != s.digest());
        if drift && !force && !is_drift_ignored() {
            return Err(Refusal::Drift(me));
        }
        if !s.preflight_ok() && !force {
            return Err(Refusal::Preflight(me));
        }
        Ok(Done::Accepted)
    }

    /// A better node takes a living master's place after `preempt_delay`, if `preempt` is set.
    pub(crate) fn preempt_if_due(&mut self, cx: &mut Cx<'_>) {
        let Some(config) = cx.s.config.group(self.id) else { return };
        let (preempt, delay) = (config.preempt, config.preempt_delay);
        if !preempt
            || self.handover.is_some()
            || cx.s.stopping.is_some()
            || !matches!(self.role, Role::Master(_))
            || !self.ownership.holds_all()
        {
            self.better = None; // The delay counts from the end of the claim.
            return;
        }
        let recent = cx.s.interval() * 2;
        let own = cx.s.effective_priority(self.id);
        let better = self.best_successor(cx.s, false).filter(|node| {
            let theirs = self.peer_rank(cx.s, *node).map(|rank| rank.priority);
            // Not one whose silence may have brought this node here.
            theirs > own && cx.s.is_heard_within(*node, recent)
        });
        self.better = match (better, self.better) {
            (Some(node), Some((known, since))) if node == known => Some((node, since)),
            (Some(node), _) => Some((node, cx.now)),
            (None, _) => None,
        };
        if let Some((node, since)) = self.better
            && since + delay <= cx.now
            && !self.moves_exhausted(cx.s, cx.now)
        {
            self.hand_over(cx, node, Cause::Preempt, false, None);
            self.advance_handover(cx);
        }
    }

    pub(crate) fn preempt_deadline(&self, s: &Shared) -> Timestamp {
        match (self.better, s.config.group(self.id)) {
            (Some((_, since)), Some(config))
                if self.handover.is_none() && since + config.preempt_delay > s.now =>
            {
                since + config.preempt_delay
            }
            _ => Timestamp::NEVER,
        }
    }

    /// The daemon stops: hands over, or at least lets go.
    pub(crate) fn stop(&mut self, cx: &mut Cx<'_>) {
        self.give_up(cx, "the daemon stops");
        if active(Mutation::StopsSilently) {
            return;
        }
        if !matches!(self.role, Role::Master(_)) || self.handover.is_some() {
            return;
        }
        match self.best_successor(cx.s, false).or_else(|| self.best_successor(cx.s, true)) {
            Some(to) => self.hand_over(cx, to, Cause::Resigned, true, None),
            None => self.resign(cx, None, Cause::Resigned),
        }
    }
}

/// Whether a node of that standing may be handed a group: not one on probation.
fn is_fit(standing: Standing) -> bool {
    match standing {
        Standing::Ready => true,
        Standing::Probation => active(Mutation::ProbationPreempts),
        Standing::Quarantined => active(Mutation::QuarantinedPreempts),
        Standing::Joining | Standing::Maintenance => false,
    }
}

/// Two deliberate faults hand over to another configuration.
fn is_drift_ignored() -> bool {
    active(Mutation::QuarantinedPreempts) || active(Mutation::HandoverIgnoresDrift)
}

/// A command passed on to the master, whose outcome is awaited.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Forward {
    pub(crate) to: NodeId,
    pub(crate) send: SendNumber,
    pub(crate) reply: Reply,
    pub(crate) until: Timestamp,
}
