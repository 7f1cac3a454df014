//! Whatever is due at the end of each step, whatever the input was.

use std::sync::Arc;

use super::Node;
use crate::event::{AlarmName, Event, EventKind};
use crate::group::{Group, Role};
use crate::message::{Heartbeat, Request, TakeBack, TakeBacks};
use crate::output::Output;
use crate::shared::Cx;
use crate::types::{LinkId, NodeId, Term, Timestamp};

impl Node {
    /// Does everything that is due, whatever the input was.
    pub(super) fn settle(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        self.note_crashes(now, out);
        self.note_silence(now, out);
        self.update_standing(now, out);
        self.note_drift(now, out);
        self.repair(now, out);
        self.each_group(now, out, |group, cx| {
            group.forget_old_moves(cx);
            group.answer_waiting(cx);
            group.count_votes(cx);
            group.stand_if_due(cx);
            group.resign_if_unhealthy(cx);
            group.preempt_if_due(cx);
            group.advance_handover(cx);
            group.drive_addresses(cx);
            group.run_hooks(cx);
        });
        self.update_reference(now, out);
        self.end_forwards(now, out);
        self.end_admissions(now, out);
        self.persist(out);
        self.send_take_backs(now, out);
        self.send_heartbeats(now, out);
        self.finish_stop(now, out);
    }

    fn note_crashes(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        if !self.s.config.timing.crash_detection {
            return;
        }
        let interval = self.s.interval();
        for index in 0..self.s.peers.len() {
            let node = NodeId(u8::try_from(index).unwrap_or(u8::MAX));
            if self.s.peers.get_mut(index).is_some_and(|peer| peer.probe_due(now, interval)) {
                out.push(Output::Probe { peer: node });
            }
            while let Some(boot) = self.s.peers.get_mut(index).and_then(|peer| peer.new_death()) {
                let mut cx = Cx { now, s: &mut self.s, out };
                let current = cx.s.peer(node).is_some_and(|peer| peer.boot == Some(boot));
                if current {
                    if let Some(peer) = cx.s.peers.get_mut(index) {
                        peer.up = false;
                    }
                    let reason = "its process is dead: connections are refused";
                    cx.event(Event::node(EventKind::PeerDown { peer: node, reason }));
                }
                for group in &mut self.groups {
                    group.on_crash(&mut cx, node, boot);
                }
            }
        }
    }

    fn note_silence(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        let patience = self.s.lease();
        let mut events = Vec::new();
        for (index, peer) in self.s.peers.iter_mut().enumerate() {
            let node = NodeId(u8::try_from(index).unwrap_or(u8::MAX));
            for (link, state) in peer.links.iter_mut().enumerate() {
                if state.up && state.heard_at.is_none_or(|at| now.since(at) > patience) {
                    state.up = false;
                    let link = LinkId(u8::try_from(link).unwrap_or(u8::MAX));
                    events.push(EventKind::LinkDown { peer: node, link });
                }
            }
            if peer.up && peer.heard_at.is_none_or(|at| now.since(at) > patience) {
                peer.up = false;
                let reason = "silent on every link";
                events.push(EventKind::PeerDown { peer: node, reason });
            }
        }
        out.extend(events.into_iter().map(|kind| Output::Event(Event::node(kind))));
    }

    fn persist(&mut self, out: &mut Vec<Output>) {
        let seen = self.groups.iter().map(|group| group.voter.seen).max().unwrap_or_default();
        let disk = &self.s.disk.elected;
        let known = |(index, group): (usize, &Group)| {
            group.term().max(disk.get(index).copied().unwrap_or_default())
        };
        let elected: Vec<Term> = self.groups.iter().enumerate().map(known).collect();
        if let Some(durable) = self.s.reserve(seen, &elected) {
            out.push(Output::Persist(durable));
        }
    }

    /// Tells at once what was just given up; heartbeats repeat it.
    fn send_take_backs(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        let told = self.s.take_backs_told;
        let news = |group: &Group| group.take_backs.iter().any(|pending| pending.since > told);
        if !self.groups.iter().any(news) {
            return;
        }
        let list = self.pending_take_backs();
        let send = self.s.new_send(now).number;
        self.s.take_backs_told = send;
        for to in self.s.config.peers() {
            let request = Request::TakeBack(TakeBacks { send, list: list.clone() });
            out.push(Output::Send { to, request });
        }
    }

    fn pending_take_backs(&self) -> Vec<TakeBack> {
        let pending = self.groups.iter().flat_map(|group| &group.take_backs);
        pending.map(|pending| pending.take_back).collect()
    }

    pub(super) fn heartbeat_due(&self) -> Timestamp {
        let Some(last) = self.s.beat_at else { return self.s.started };
        let due = self.groups.iter().map(|group| group.beat_due(&self.s, last));
        due.min().unwrap_or(last + self.s.interval()).min(last + self.s.interval())
    }

    fn send_heartbeats(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        if !self.s.beat_now && self.heartbeat_due() > now {
            return;
        }
        self.s.beat_now = false;
        self.s.beat_at = Some(now);
        let sent = self.s.new_send(now);
        self.s.take_backs_told = sent.number;
        let take_backs = self.pending_take_backs();
        let mut cx = Cx { now, s: &mut self.s, out };
        let groups = self.groups.iter_mut().map(|group| group.beat(&mut cx, sent)).collect();
        let beat = Arc::new(Heartbeat {
            send: sent.number,
            sent_at: now,
            up_for: now.since(self.s.started),
            standing: self.s.standing,
            digest: self.s.digest(),
            shared: self.s.config.shared,
            reference: self.s.gate.reference,
            admissions: self.s.gate.admissions.clone(),
            preflight_ok: self.s.preflight_ok(),
            hears: self.s.heard(now),
            ceiling: self.s.disk.ceiling,
            groups,
            take_backs,
        });
        for to in self.s.config.peers() {
            out.push(Output::Send { to, request: Request::Heartbeat(Arc::clone(&beat)) });
        }
        self.judge_redundancy(now, out);
    }

    /// Alarms about voters that are not heard. Once a heartbeat is often enough.
    fn judge_redundancy(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        let settling = now.since(self.s.started) < self.s.lease() * 3;
        let silent: Vec<String> = self
            .s
            .config
            .peers()
            .filter(|peer| !self.s.is_live(now, *peer))
            .map(|peer| self.s.config.name(peer).to_owned())
            .collect();
        let majority = self.s.hears_majority(now);
        let mut nobody: Vec<Option<String>> =
            self.groups.iter().map(|group| self.why_no_candidate(group, now)).collect();
        let mut cx = Cx { now, s: &mut self.s, out };
        let lost = !silent.is_empty() && !settling;
        cx.alarm(AlarmName::RedundancyLost, lost, || {
            format!("not heard: {}; one more failure and nobody can take over", silent.join(", "))
        });
        for group in &self.groups {
            cx.alarm(AlarmName::NoMajority(group.id), !majority && !settling, || {
                "no majority of voters is heard: nobody can take over; the addresses stay where \
                 they are"
                    .into()
            });
            let nobody = nobody.get_mut(group.id.index()).and_then(Option::take);
            cx.alarm(AlarmName::NoCandidate(group.id), nobody.is_some() && !settling, || {
                nobody.unwrap_or_default()
            });
            let exhausted = group.moves_exhausted(cx.s, now);
            cx.alarm(AlarmName::MovesExhausted(group.id), exhausted, || {
                "the group moved as often as moves_per_hour allows: only a dead master is \
                 replaced until an hour has passed; find out why it moves"
                    .into()
            });
        }
    }

    fn finish_stop(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        let Some(until) = self.s.stopping else { return };
        let given_up = self.groups.iter().all(|group| {
            !matches!(group.role, Role::Master(_))
                && group.candidacy.is_none()
                // Where no majority is heard, nobody can acknowledge, and nobody can take over.
                && (group.taken_back(&self.s) || !self.s.hears_majority(now))
                && !group.ownership.is_calling()
                && !group.leaves_kernel_later(&self.s)
        });
        if (given_up || until <= now) && !self.s.stopped {
            self.s.stopped = true;
            out.push(Output::Stopped);
        }
    }
}
