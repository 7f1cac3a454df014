//! One node: where every input arrives and every order leaves.

use std::sync::Arc;
use std::time::Duration;

use crate::config::Config;
use crate::event::{AlarmName, Event, EventKind};
use crate::group::{Group, Role};
use crate::handover::{Command, Forward, Reply, reply};
use crate::health::Check;
use crate::input::{Durable, Input};
use crate::message::{
    Answer, GroupBeatAnswer, Heartbeat, HeartbeatAnswer, OperatorAnswer, OperatorRequest,
    PeerCommand, Refusal, Request, Switchover, TakeBack, TakeBacks,
};
use crate::output::Output;
use crate::peer::{Copy, Heard};
use crate::shared::{Cx, Shared};
use crate::types::{
    BootId, CheckId, LinkId, NodeId, RequestId, SendNumber, Standing, Term, Timestamp,
};

/// So many commands passed on to a master are awaited at once.
const FORWARDS: usize = 16;
/// So many commands of peers are remembered, and so many copies of each.
const COMMANDS: usize = 16;
/// So many requests of a replaced life mean that two processes speak under one name.
const STRAYS: u32 = 5;

/// The state machine. See the crate's header for its contract.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Node {
    pub(crate) s: Shared,
    pub(crate) groups: Vec<Group>,
    forwards: Vec<Forward>,
}

impl Node {
    /// A node that starts now, in a life of its own. `disk` is what an earlier life persisted,
    /// or `None` if there is nothing to be read; `seed` feeds the only randomness. The first
    /// deadline is `now`.
    #[must_use]
    pub fn new(
        config: Arc<Config>,
        boot: BootId,
        seed: u64,
        disk: Option<Durable>,
        now: Timestamp,
    ) -> Self {
        let s = Shared::new(config, boot, seed, disk, now);
        let groups = (s.config.group_ids().zip(&s.config.groups))
            .map(|(id, config)| Group::new(&s, id, config))
            .collect();
        Self { s, groups, forwards: Vec::new() }
    }

    /// Advances the machine by one input: the only function that changes its state.
    pub fn step(&mut self, now: Timestamp, input: Input) -> Vec<Output> {
        let now = now.max(self.s.now);
        self.s.now = now;
        let mut out = Vec::new();
        let late = crate::mutation::active(crate::mutation::Mutation::LateAnswerRevives)
            && matches!(input, Input::Answer { .. });
        if !late {
            self.each_group(now, &mut out, Group::expire);
        }
        self.apply(now, input, &mut out);
        self.settle(now, &mut out);
        out
    }

    fn each_group(
        &mut self,
        now: Timestamp,
        out: &mut Vec<Output>,
        mut act: impl FnMut(&mut Group, &mut Cx<'_>),
    ) {
        let mut cx = Cx { now, s: &mut self.s, out };
        for group in &mut self.groups {
            act(group, &mut cx);
        }
    }

    fn apply(&mut self, now: Timestamp, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::DeadlineReached => {}
            Input::Request { from, boot, link, id, request } => {
                self.on_request(now, (from, boot, link), id, request, out);
            }
            Input::Answer { from, boot, to_boot, link, answer } => {
                let ours = to_boot == self.s.boot
                    || crate::mutation::active(crate::mutation::Mutation::AnyAnswerCounts);
                let asked_at = self.s.sent(answer.send()).map(|sent| sent.at);
                let how = Heard::Answered { asked_at };
                // One meant for an earlier life of this node tells nothing of now.
                if ours && self.hear(now, from, boot, link, how, out) {
                    self.on_answer(now, from, answer, out);
                }
            }
            Input::BootAnswered { peer, boot, link } => {
                let how = Heard::Answered { asked_at: None };
                if self.hear(now, peer, boot, link, how, out)
                    && self.s.peer(peer).is_some_and(|peer| peer.boot != Some(boot))
                {
                    // Perhaps a new life: one is new when it answers a numbered send.
                    self.s.beat_now = true;
                }
            }
            Input::ConnectRefused { peer, link } => {
                if let Some(peer) = self.s.peers.get_mut(peer.index()) {
                    peer.connect_refused(link);
                }
            }
            Input::Connections { peer, open } => {
                if let Some(peer) = self.s.peers.get_mut(peer.index()) {
                    peer.connections(now, open);
                }
            }
            Input::CheckResult { check, passed } => self.on_check(now, check, passed, out),
            Input::CallFinished { call, outcome, request_id, took } => {
                let mut cx = Cx { now, s: &mut self.s, out };
                for group in &mut self.groups {
                    if group.on_call_finished(&mut cx, call, &outcome, request_id.as_ref(), took) {
                        break;
                    }
                }
            }
            Input::Kernel { group, address, state } => {
                let mut cx = Cx { now, s: &mut self.s, out };
                if let Some(group) = self.groups.get_mut(group.index()) {
                    group.on_kernel(&mut cx, address, &state);
                }
            }
            Input::OwnershipHint { group } => {
                if let Some(group) = self.groups.get_mut(group.index()) {
                    group.ownership.hint(now);
                }
            }
            Input::Preflight { problems } => self.on_preflight(now, problems, out),
            Input::Persisted(durable) => {
                self.s.disk = durable;
                self.s.write_ended = true;
                if self.s.is_written() {
                    self.s.writing_since = None;
                }
                Cx { now, s: &mut self.s, out }.clear(AlarmName::StateNotWritable);
            }
            Input::PersistFailed => {
                self.s.write_ended = true;
                Cx { now, s: &mut self.s, out }.raise(AlarmName::StateNotWritable, || {
                    "the state directory cannot be written: terms go on within the ceiling \
                     reserved; free space or make it writable"
                        .into()
                });
            }
            Input::Switchover { id, switchover } => {
                self.on_switchover(now, switchover, Reply::Operator(id), out);
            }
            Input::Reload(config) => self.on_reload(now, config),
            Input::Stop => self.on_stop(now, out),
        }
    }

    /// Notes that a peer was heard. False if the message is to be ignored.
    fn hear(
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

    fn on_request(
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
        if copy == Copy::First {
            self.note_drift(now, node, beat, out);
        }
        let mut groups: Vec<GroupBeatAnswer> = Vec::with_capacity(beat.groups.len());
        let mut cx = Cx { now, s: &mut self.s, out };
        let whole = cx.s.peer(node).is_none_or(|peer| peer.links.iter().all(|link| link.up));
        for of_group in &beat.groups {
            if crate::mutation::active(crate::mutation::Mutation::OneLinkIsSilence) && !whole {
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
            groups,
        };
        out.push(Output::Answer { id, answer: Answer::Heartbeat(answer) });
    }

    fn note_drift(
        &mut self,
        now: Timestamp,
        node: NodeId,
        beat: &Heartbeat,
        out: &mut Vec<Output>,
    ) {
        let equal = beat.digest == self.s.config.digest;
        let Some(peer) = self.s.peers.get_mut(node.index()) else { return };
        if peer.drifted == equal {
            peer.drifted = !equal;
            let mut cx = Cx { now, s: &mut self.s, out };
            cx.event(Event::node(EventKind::ConfigDrift { peer: node, equal }));
            let name = cx.s.config.nodes.get(node.index()).map(|node| node.name.clone());
            cx.alarm(AlarmName::ConfigDrift(node), !equal, || {
                format!(
                    "the configuration of {} differs from this node's; make the files equal",
                    name.unwrap_or_default()
                )
            });
        }
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
        let learnt = taken_in.iter().filter(|taken| **taken).count() >= self.s.config.quorum();
        for group in &mut self.groups {
            group.voter.seen = group.voter.seen.max(ceiling);
        }
        if learnt {
            self.s.terms_lost = None;
        }
    }

    fn on_answer(&mut self, now: Timestamp, from: NodeId, answer: Answer, out: &mut Vec<Output>) {
        match answer {
            Answer::Heartbeat(answer) => {
                // Only for a send that is remembered, and truly echoed.
                let Some(sent) = self.s.sent(answer.send).filter(|it| it.at == answer.sent_at)
                else {
                    return;
                };
                self.learn_ceiling(from, answer.ceiling);
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

    fn on_operator(
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

    fn on_operator_answer(
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
    fn on_switchover(
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

    fn on_check(&mut self, now: Timestamp, check: CheckId, passed: bool, out: &mut Vec<Output>) {
        let config = Arc::clone(&self.s.config);
        let (Some(state), Some(of_check)) =
            (self.s.checks.get_mut(check.index()), config.checks.get(check.index()))
        else {
            return;
        };
        if state.result(now, passed, of_check) {
            let state = state.state;
            out.push(Output::Event(Event::node(EventKind::CheckChanged { check, state })));
            self.s.beat_now = true; // Peers judge by the priorities that they were told last.
        }
    }

    fn on_preflight(&mut self, now: Timestamp, problems: Vec<Arc<str>>, out: &mut Vec<Output>) {
        if self.s.preflight.is_empty() != problems.is_empty() {
            self.s.beat_now = true;
        }
        let changed = self.s.preflight != problems;
        self.s.preflight = problems;
        let mut cx = Cx { now, s: &mut self.s, out };
        if changed {
            cx.clear(AlarmName::Preflight);
        }
        let problems = cx.s.preflight.join("; ");
        cx.alarm(AlarmName::Preflight, !problems.is_empty(), || problems);
    }

    fn on_reload(&mut self, now: Timestamp, config: Arc<Config>) {
        if !reload_refusals(&self.s.config, &config).is_empty() {
            return; // The edge has told the operator already.
        }
        if self.s.config.checks != config.checks {
            self.s.checks = config.checks.iter().map(|_| Check::new(now)).collect();
        }
        self.s.config = config;
        for group in &mut self.groups {
            let member = self.s.config.priority(group.id, self.s.config.me).is_some();
            match (&group.role, member) {
                (Role::None, true) => group.role = Role::Backup,
                // One that lost its priority while it leads hands over as any unfit master.
                (Role::None, false) | (Role::Backup | Role::Master(_) | Role::Holding(_), _) => {}
            }
        }
        self.s.beat_now = true;
    }

    fn on_stop(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        if self.s.stopping.is_some() {
            return;
        }
        let patience = self.s.config.call_timeout + self.s.lease() * 2;
        self.s.stopping = Some(now + patience);
        self.s.beat_now = true;
        self.each_group(now, out, Group::stop);
    }

    /// Does everything that is due, whatever the input was.
    fn settle(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        self.note_crashes(now, out);
        self.note_silence(now, out);
        self.update_standing(now, out);
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
        self.end_forwards(now, out);
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

    /// Joining until compared with the cluster. The full gate (design section 6) belongs here.
    fn update_standing(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        if self.s.standing == Standing::Joining
            && self.s.hears_majority(now)
            && self.s.terms_lost.is_none()
        {
            let from = std::mem::replace(&mut self.s.standing, Standing::Ready);
            self.s.standing_reason = None;
            self.s.beat_now = true;
            let reason = "heard by a majority";
            let kind = EventKind::StandingChanged { from, to: Standing::Ready, reason };
            out.push(Output::Event(Event::node(kind)));
        }
    }

    fn end_forwards(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        while let Some(index) = self.forwards.iter().position(|forward| forward.until <= now) {
            let forward = self.forwards.remove(index);
            let mut cx = Cx { now, s: &mut self.s, out };
            reply(&mut cx, forward.reply, Err(Refusal::NoAnswer(forward.to)));
        }
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

    fn heartbeat_due(&self) -> Timestamp {
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
            standing: self.s.standing,
            digest: self.s.config.digest,
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
            .filter_map(|peer| self.s.config.nodes.get(peer.index()).map(|it| it.name.clone()))
            .collect();
        let majority = self.s.hears_majority(now);
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

    /// When to call `step` with `Input::DeadlineReached`, unless another input comes first.
    #[must_use]
    pub fn next_deadline(&self) -> Timestamp {
        // `Cx` wants what it may change; nothing is changed here.
        let now = self.s.now;
        let stopping = self.s.stopping.filter(|_| !self.s.stopped).unwrap_or(Timestamp::NEVER);
        let mut next = self.heartbeat_due().min(stopping);
        if self.s.write_deadline() > now {
            next = next.min(self.s.write_deadline());
        }
        if self.s.beat_now {
            next = now;
        }
        let patience = self.s.lease() + Duration::from_nanos(1);
        for peer in &self.s.peers {
            if self.s.config.timing.crash_detection {
                next = next.min(peer.probe_at.unwrap_or(Timestamp::NEVER));
            }
            for link in &peer.links {
                if let (true, Some(at)) = (link.up, link.heard_at) {
                    next = next.min(at + patience);
                }
            }
        }
        for forward in &self.forwards {
            next = next.min(forward.until);
        }
        for group in &self.groups {
            next = next.min(group.next_deadline(&self.s));
        }
        next
    }
}

/// How long a command passed on to the master may take.
fn operator_patience(config: &Config) -> Duration {
    config.call_timeout * 2 + config.timing.lease() * 5
}

/// What a reload may not change, one sentence each, naming the key: voters and their links, the
/// groups and their addresses (design 3.10). Empty: the reload is accepted.
#[must_use]
pub fn reload_refusals(current: &Config, new: &Config) -> Vec<String> {
    let mut refusals = Vec::new();
    let mut refuse = |key: &str, what: &str| {
        refusals.push(format!("{key}: {what} cannot be changed by a reload; restart the daemon"));
    };
    if current.nodes != new.nodes || current.me != new.me {
        refuse("nodes", "the voters and their links");
    }
    let names = |config: &Config| -> Vec<(String, usize)> {
        config.groups.iter().map(|group| (group.name.clone(), group.addresses.len())).collect()
    };
    if names(current) != names(new) {
        refuse("groups", "the groups and their addresses");
    }
    refusals
}
