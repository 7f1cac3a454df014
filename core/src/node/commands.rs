//! Operators' commands: carried out here, or passed on to the master; copies told apart.

use std::time::Duration;

use super::Node;
use crate::config::Config;
use crate::group::Role;
use crate::handover::{Command, Forward, Reply, reply};
use crate::message::{
    Answer, OperatorAnswer, OperatorRequest, PeerCommand, Refusal, Request, Switchover,
};
use crate::output::Output;
use crate::shared::Cx;
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
        let send = cx.s.new_send(now).number;
        let until = now + operator_patience(&cx.s.config);
        let to = master.node;
        self.forwards.push(Forward { group: switchover.group, to, send, reply: answer_to, until });
        let command = PeerCommand::Switchover(switchover);
        let request = Request::Operator(OperatorRequest { send, command });
        cx.out.push(Output::Send { to, request });
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
fn operator_patience(config: &Config) -> Duration {
    config.call_timeout * 2 + config.timing.lease() * 5
}
