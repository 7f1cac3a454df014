//! One node: where every input arrives and every order leaves.

mod commands;
mod drift;
mod maintenance;
mod messages;
mod reason;
mod reference;
mod repair;
mod settle;
mod standing;

use std::sync::Arc;
use std::time::Duration;

use crate::config::Config;
use crate::event::{AlarmName, Event, EventKind};
use crate::group::{Group, Role};
use crate::handover::{Forward, Reply};
use crate::health::Check;
use crate::input::{Durable, Input};
use crate::output::Output;
use crate::peer::Heard;
use crate::shared::{Cx, Shared};
use crate::types::{BootId, CheckId, Timestamp};

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
        self.lapse(now, &mut out);
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
                let first = self.s.peer(peer).is_some_and(|peer| peer.boot.is_none());
                if self.hear(now, peer, boot, link, how, out)
                    && self.s.peer(peer).is_some_and(|peer| first || peer.boot != Some(boot))
                {
                    // Perhaps a new life: one is new when it answers a numbered send. And a node
                    // that starts is not one interval late because it had to learn a boot first.
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
            Input::Manifest(inventory) => self.on_manifest(now, inventory, out),
            Input::Compared { with, differences } => self.on_compared(now, with, differences, out),
            Input::PullFinished(outcome) => self.on_pull_finished(now, outcome, out),
            Input::Admit { id, node } => self.on_admit(now, node, Reply::Operator(id), out),
            Input::Maintenance { id, node, on } => {
                self.on_maintenance(now, (node, on), Reply::Operator(id), out);
            }
            Input::Reload(config) => self.on_reload(now, config),
            Input::Stop => self.on_stop(now, out),
        }
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
        if let Some(leaving) = &self.s.gate.leaving {
            next = next.min(leaving.until);
        }
        for pending in &self.s.gate.pending {
            next = next.min(pending.until);
        }
        next = next.min(self.lapses_at());
        if self.probation_ends_at() > now {
            next = next.min(self.probation_ends_at());
        }
        for group in &self.groups {
            next = next.min(group.next_deadline(&self.s));
        }
        next
    }
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
