//! Operators' commands: carried out here, or passed on to the master; copies told apart.

use std::time::Duration;

use super::Node;
use crate::command::{Done, OperatorAnswer, OperatorRequest, PeerCommand, Refusal, Switchover};
use crate::config::Config;
use crate::event::{Event, EventKind};
use crate::group::Role;
use crate::handover::{Command, Forward, Reply, reply};
use crate::message::{Answer, Request};
use crate::output::Output;
use crate::shared::Cx;
use crate::standing::PendingAdmission;
use crate::types::{BootId, NodeId, RequestId, SendNumber, Timestamp};

/// So many commands passed on to a master are awaited at once.
const FORWARDS: usize = 16;
/// So many commands of peers are remembered, and so many copies of each.
const COMMANDS: usize = 16;

impl Node {
    pub(super) fn on_operator(
        &mut self,
        now: Timestamp,
        (from, boot): (NodeId, BootId),
        id: RequestId,
        request: OperatorRequest,
        out: &mut Vec<Output>,
    ) {
        let OperatorRequest { send, command } = request;
        match command {
            PeerCommand::Switchover(switchover) => {
                if self.is_copy(from, boot, send, id, out) {
                    return;
                }
                let answer_to = Reply::Peer(id, send);
                let mut cx = Cx { now, s: &mut self.s, out };
                match self.groups.get_mut(switchover.group.index()) {
                    Some(group) => {
                        group.switch_over(&mut cx, switchover.to, switchover.force, answer_to);
                    }
                    None => reply(&mut cx, answer_to, Err(Refusal::NoMaster)),
                }
            }
            PeerCommand::Maintenance { on } => {
                if !self.is_copy(from, boot, send, id, out) {
                    self.set_maintenance(now, on, Reply::Peer(id, send), out);
                }
            }
            PeerCommand::Offer { group, term, force } => {
                let mut cx = Cx { now, s: &mut self.s, out };
                let result = match self.groups.get(group.index()) {
                    Some(group) => group.on_offer(cx.s, from, term, force),
                    None => Err(Refusal::NotAMember(cx.s.config.me)),
                };
                reply(&mut cx, Reply::Peer(id, send), result);
            }
        }
    }

    /// Whether this command came over another link before: then it gets the same answer, now or
    /// when that is known.
    fn is_copy(
        &mut self,
        from: NodeId,
        boot: BootId,
        send: SendNumber,
        id: RequestId,
        out: &mut Vec<Output>,
    ) -> bool {
        let known = self
            .s
            .commands
            .iter_mut()
            .find(|known| (known.from, known.boot, known.send) == (from, boot, send));
        if let Some(known) = known {
            match known.result {
                Some(result) => {
                    let answer = Answer::Operator(OperatorAnswer { send, result });
                    out.push(Output::Answer { id, answer });
                }
                None if known.ids.len() < COMMANDS => known.ids.push(id),
                None => {}
            }
            return true;
        }
        if self.s.commands.len() >= COMMANDS {
            self.s.commands.pop_front();
        }
        self.s.commands.push_back(Command { from, boot, send, ids: vec![id], result: None });
        false
    }

    pub(super) fn on_operator_answer(
        &mut self,
        now: Timestamp,
        from: NodeId,
        answer: OperatorAnswer,
        out: &mut Vec<Output>,
    ) {
        let mut cx = Cx { now, s: &mut self.s, out };
        let OperatorAnswer { send, result } = answer;
        if let Some(index) =
            self.forwards.iter().position(|forward| (forward.to, forward.send) == (from, send))
        {
            let forward = self.forwards.remove(index);
            reply(&mut cx, forward.reply, result);
            return;
        }
        for group in &mut self.groups {
            if group.on_offer_answer(&mut cx, from, send, result) {
                break;
            }
        }
    }

    /// A planned handover asked for at this node: carried out here if it is the master, passed
    /// on to the master otherwise.
    pub(super) fn on_switchover(
        &mut self,
        now: Timestamp,
        switchover: Switchover,
        answer_to: Reply,
        out: &mut Vec<Output>,
    ) {
        let mut cx = Cx { now, s: &mut self.s, out };
        let Some(group) = self.groups.get_mut(switchover.group.index()) else {
            reply(&mut cx, answer_to, Err(Refusal::NoMaster));
            return;
        };
        if matches!(group.role, Role::Master(_)) {
            group.switch_over(&mut cx, switchover.to, switchover.force, answer_to);
            return;
        }
        let master = group
            .master
            .filter(|master| master.term == group.term() && cx.s.is_live(now, master.node));
        let Some(master) = master.filter(|_| self.forwards.len() < FORWARDS) else {
            reply(&mut cx, answer_to, Err(Refusal::NoMaster));
            return;
        };
        self.pass_on(now, master.node, PeerCommand::Switchover(switchover), answer_to, out);
    }

    /// Passes a command on, and awaits what comes of it.
    fn pass_on(
        &mut self,
        now: Timestamp,
        to: NodeId,
        command: PeerCommand,
        answer_to: Reply,
        out: &mut Vec<Output>,
    ) {
        let send = self.s.new_send(now).number;
        let until = now + operator_patience(&self.s.config);
        self.forwards.push(Forward { to, send, reply: answer_to, until });
        let request = Request::Operator(OperatorRequest { send, command });
        out.push(Output::Send { to, request });
    }

    /// An operator takes a node out of candidacy or brings it back: this one, or by its own
    /// daemon another.
    pub(super) fn on_maintenance(
        &mut self,
        now: Timestamp,
        (node, on): (NodeId, bool),
        answer_to: Reply,
        out: &mut Vec<Output>,
    ) {
        if node == self.s.config.me {
            self.set_maintenance(now, on, answer_to, out);
            return;
        }
        let refusal = if !self.s.config.is_balancer(node) {
            Refusal::NotABalancer(node)
        } else if !self.s.is_live(now, node) {
            Refusal::Silent(node)
        } else if self.forwards.len() >= FORWARDS {
            Refusal::Busy
        } else {
            self.pass_on(now, node, PeerCommand::Maintenance { on }, answer_to, out);
            return;
        };
        reply(&mut Cx { now, s: &mut self.s, out }, answer_to, Err(refusal));
    }

    /// An operator overrides the gate for a node's present configuration: done when a majority
    /// has recorded it.
    pub(super) fn on_admit(
        &mut self,
        now: Timestamp,
        node: NodeId,
        answer_to: Reply,
        out: &mut Vec<Output>,
    ) {
        let mut cx = Cx { now, s: &mut self.s, out };
        let reference = cx.s.gate.reference;
        let silent = node != cx.s.config.me && !cx.s.is_live(now, node);
        let refusal = match cx.s.digest_of(node) {
            _ if !cx.s.config.is_balancer(node) => Refusal::NotABalancer(node),
            _ if silent => Refusal::Silent(node),
            _ if cx.s.gate.pending.len() >= FORWARDS => Refusal::Busy,
            None => Refusal::NotScanned(node),
            Some(digest) => {
                match reference.filter(|reference| reference.digest != digest) {
                    // Nothing to override.
                    None => reply(&mut cx, answer_to, Ok(Done::Admitted(node))),
                    Some(reference) => {
                        cx.s.admit(node, digest, reference.digest);
                        cx.event(Event::node(EventKind::Admitted { node, digest }));
                        let until = now + cx.s.lease() * 2;
                        let pending = PendingAdmission { reply: answer_to, node, digest, until };
                        cx.s.gate.pending.push(pending);
                    }
                }
                return;
            }
        };
        reply(&mut cx, answer_to, Err(refusal));
    }

    pub(super) fn end_admissions(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        let pending = std::mem::take(&mut self.s.gate.pending);
        let mut cx = Cx { now, s: &mut self.s, out };
        for command in pending {
            let PendingAdmission { reply: answer_to, node, digest, until } = command;
            let led = cx.s.gate.reference.is_some_and(|reference| reference.digest == digest);
            if led || cx.s.is_recorded(node, digest) {
                reply(&mut cx, answer_to, Ok(Done::Admitted(node)));
            } else if until <= now {
                reply(&mut cx, answer_to, Err(Refusal::NoMajority));
            } else {
                cx.s.gate.pending.push(command);
            }
        }
    }

    pub(super) fn end_forwards(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        while let Some(index) = self.forwards.iter().position(|forward| forward.until <= now) {
            let forward = self.forwards.remove(index);
            let mut cx = Cx { now, s: &mut self.s, out };
            reply(&mut cx, forward.reply, Err(Refusal::NoAnswer(forward.to)));
        }
    }
}

/// How long a command passed on to the master may take.
pub(super) fn operator_patience(config: &Config) -> Duration {
    config.call_timeout * 2 + config.timing.lease() * 5
}
