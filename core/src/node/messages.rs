//! What peers ask and answer: who is heard, and to whom it goes.

use std::sync::Arc;

use super::Node;
use crate::event::{AlarmName, Event, EventKind};
use crate::message::{
    Answer, GroupBeatAnswer, Heartbeat, HeartbeatAnswer, Request, TakeBack, TakeBacks,
};
use crate::mutation::{Mutation, active};
use crate::output::Output;
use crate::peer::{Copy, Heard};
use crate::shared::Cx;
use crate::types::{BootId, LinkId, NodeId, RequestId, Term, Timestamp};

/// So many requests of a replaced life mean that two processes speak under one name.
const STRAYS: u32 = 5;

impl Node {
    /// Notes that a peer was heard. False if the message is to be ignored.
    pub(super) fn hear(
        &mut self,
        now: Timestamp,
        from: NodeId,
        boot: BootId,
        link: LinkId,
        how: Heard,
        out: &mut Vec<Output>,
    ) -> bool {
        if from == self.s.config.me {
            return false;
        }
        let Some(peer) = self.s.peers.get_mut(from.index()) else { return false };
        let before = peer.boot;
        if !peer.heard(now, boot, link, how) {
            if peer.strays >= STRAYS {
                Cx { now, s: &mut self.s, out }.raise(AlarmName::DuplicateNode(from), || {
                    "two processes speak under this name: stop one of them".into()
                });
            }
            return false;
        }
        let unknown = before.is_some_and(|known| known != boot);
        if unknown && how == Heard::Spoke && peer.boot == before {
            // Perhaps a new life: it counts as one when it answers.
            self.s.beat_now = true;
        }
        let mut cx = Cx { now, s: &mut self.s, out };
        if cx.s.alarms.contains_key(&AlarmName::DuplicateNode(from)) {
            cx.clear(AlarmName::DuplicateNode(from));
        }
        self.note_link_up(now, from, boot, link, out);
        true
    }

    fn note_link_up(
        &mut self,
        now: Timestamp,
        from: NodeId,
        boot: BootId,
        link: LinkId,
        out: &mut Vec<Output>,
    ) {
        let Some(peer) = self.s.peers.get_mut(from.index()) else { return };
        let peer_was_up = std::mem::replace(&mut peer.up, true);
        let link_was_up =
            peer.links.get_mut(link.index()).is_none_or(|it| std::mem::replace(&mut it.up, true));
        let mut cx = Cx { now, s: &mut self.s, out };
        if !peer_was_up {
            cx.event(Event::node(EventKind::PeerUp { peer: from, boot }));
        }
        if !link_was_up {
            cx.event(Event::node(EventKind::LinkUp { peer: from, link }));
        }
    }

    pub(super) fn on_request(
        &mut self,
        now: Timestamp,
        from: (NodeId, BootId, LinkId),
        id: RequestId,
        request: Request,
        out: &mut Vec<Output>,
    ) {
        let (node, boot, link) = from;
        if !self.hear(now, node, boot, link, Heard::Spoke, out) {
            return; // The transport ends the exchange by itself.
        }
        match request {
            Request::Heartbeat(beat) => self.on_heartbeat(now, (node, boot), id, &beat, out),
            Request::Vote(request) => {
                self.learn_reference(now, request.reference, &[], out);
                let mut cx = Cx { now, s: &mut self.s, out };
                if let Some(group) = self.groups.get_mut(request.group.index()) {
                    group.on_vote_request(&mut cx, (node, boot), id, request);
                }
            }
            Request::TakeBack(TakeBacks { send, list }) => {
                self.on_take_backs(now, (node, boot), &list, out);
                out.push(Output::Answer { id, answer: Answer::TakenBack { send } });
            }
            Request::Operator(request) => self.on_operator(now, (node, boot), id, request, out),
        }
    }

    fn on_heartbeat(
        &mut self,
        now: Timestamp,
        from: (NodeId, BootId),
        id: RequestId,
        beat: &Arc<Heartbeat>,
        out: &mut Vec<Output>,
    ) {
        let (node, boot) = from;
        let Some(peer) = self.s.peers.get_mut(node.index()) else { return };
        let copy = peer.receive(now, boot, beat);
        self.learn_ceiling(node, beat.ceiling);
        // A resignation counts before the heartbeat that it may share a message with.
        self.on_take_backs(now, from, &beat.take_backs, out);
        self.learn_reference(now, beat.reference, &beat.admissions, out);
        if copy == Copy::First
            && let Some(peer) = self.s.peers.get_mut(node.index())
        {
            peer.admissions.clone_from(&beat.admissions);
        }
        let mut groups: Vec<GroupBeatAnswer> = Vec::with_capacity(beat.groups.len());
        let mut cx = Cx { now, s: &mut self.s, out };
        let whole = cx.s.peer(node).is_none_or(|peer| peer.links.iter().all(|link| link.up));
        for of_group in &beat.groups {
            if active(Mutation::OneLinkIsSilence) && !whole {
                break;
            }
            if let Some(group) = self.groups.get_mut(of_group.group.index()) {
                groups.push(group.on_beat(&mut cx, from, copy, beat.send, of_group));
            }
        }
        let answer = HeartbeatAnswer {
            send: beat.send,
            sent_at: beat.sent_at,
            muted: self.s.muted_until.left(now),
            ceiling: self.s.disk.ceiling,
            reference: self.s.gate.reference,
            admissions: self.s.gate.admissions.clone(),
            away: self.s.peer(node).filter(|it| it.boot == Some(boot)).and_then(|it| it.away),
            groups,
        };
        out.push(Output::Answer { id, answer: Answer::Heartbeat(answer) });
    }

    /// What an answer tells of this node itself: that it was heard, and for how long it was not.
    fn note_answer(&mut self, from: NodeId, sent_at: Timestamp, answer: &HeartbeatAnswer) {
        let Some(peer) = self.s.peers.get_mut(from.index()) else { return };
        peer.answered_to = peer.answered_to.max(Some(sent_at));
        peer.admissions.clone_from(&answer.admissions);
        let told = [self.s.gate.away, answer.away];
        self.s.gate.away = told.into_iter().flatten().min();
    }

    fn on_take_backs(
        &mut self,
        now: Timestamp,
        from: (NodeId, BootId),
        list: &[TakeBack],
        out: &mut Vec<Output>,
    ) {
        let mut cx = Cx { now, s: &mut self.s, out };
        for take_back in list {
            if let Some(group) = self.groups.get_mut(take_back.group.index()) {
                group.on_take_back(&mut cx, from, *take_back);
            }
        }
    }

    /// Terms reserved elsewhere: reserved here too, in the background; and after a lost disk,
    /// what terms are learnt from.
    fn learn_ceiling(&mut self, from: NodeId, ceiling: Term) {
        self.s.peer_ceiling = self.s.peer_ceiling.max(ceiling);
        let Some(taken_in) = &mut self.s.terms_lost else { return };
        if let Some(taken_in) = taken_in.get_mut(from.index()) {
            *taken_in = true;
        }
        let from_it = |voter: NodeId| taken_in.get(voter.index()).is_some_and(|taken| *taken);
        let learnt = self.s.electorate.is_majority(from_it);
        for group in &mut self.groups {
            group.voter.seen = group.voter.seen.max(ceiling);
        }
        if learnt {
            self.s.terms_lost = None;
        }
    }

    pub(super) fn on_answer(
        &mut self,
        now: Timestamp,
        from: NodeId,
        answer: Answer,
        out: &mut Vec<Output>,
    ) {
        match answer {
            Answer::Heartbeat(answer) => {
                // Only for a send that is remembered, and truly echoed.
                let Some(sent) = self.s.sent(answer.send).filter(|it| it.at == answer.sent_at)
                else {
                    return;
                };
                self.learn_ceiling(from, answer.ceiling);
                self.learn_reference(now, answer.reference, &answer.admissions, out);
                self.note_answer(from, sent.at, &answer);
                let mut cx = Cx { now, s: &mut self.s, out };
                for group in &mut self.groups {
                    group.acknowledge_take_backs(from, answer.send);
                }
                for of_group in &answer.groups {
                    if let Some(group) = self.groups.get_mut(of_group.group.index()) {
                        group.on_beat_answer(&mut cx, from, sent, of_group);
                    }
                }
            }
            Answer::Vote(answer) => {
                let mut cx = Cx { now, s: &mut self.s, out };
                if let Some(group) = self.groups.get_mut(answer.group.index()) {
                    group.on_vote_answer(&mut cx, from, &answer);
                }
            }
            Answer::TakenBack { send } => {
                for group in &mut self.groups {
                    group.acknowledge_take_backs(from, send);
                }
            }
            Answer::Operator(answer) => self.on_operator_answer(now, from, answer, out),
        }
    }
}
