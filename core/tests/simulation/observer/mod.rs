//! The judge. It sees real time, what goes into each core and what comes out, and nothing else:
//! it never asks a node what it believes. Invariants are those of design section 9.

mod calls;
mod gate;
mod journal;
mod lease;
mod local;
mod promise;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use vipward_core::{
    BootId, Config, Durable, Heartbeat, Input, NodeId, Output, Request, RoleName, Standing,
    TakeBack, TakeBackKind, VoteRequest,
};

use crate::clock::{Moment, Nanos};
use crate::host::Host;
use crate::plan::{ADDRESSES, GROUPS, VOTERS};

pub(crate) use calls::{Account, Takeover};
pub(crate) use lease::{Candidacy, Mastery};
pub(crate) use promise::Promise;

/// So many sends of a life are remembered: more than the core does.
const SENDS: usize = 512;

/// An invariant that was broken.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Violation {
    pub(crate) invariant: &'static str,
    pub(crate) what: String,
}

/// A request that waits for its answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) asker: usize,
    pub(crate) asker_life: u32,
    pub(crate) link: u8,
    pub(crate) send: u64,
}

/// What a life said in one send.
#[derive(Clone, Copy, Debug)]
struct Sent {
    number: u64,
    at: Moment,
    /// By group: the mastership that the heartbeat named.
    mastered: [Option<(u64, Nanos)>; GROUPS],
    /// The group, term and lease of a vote request.
    vote: Option<(usize, u64, Nanos)>,
}

/// A master heard, and until when it is to be believed.
#[derive(Clone, Copy, Debug, Default)]
struct Heard {
    from: usize,
    term: u64,
    send: u64,
    until: Nanos,
}

/// What one process has said and been told.
pub(crate) struct Life {
    number: u32,
    alive: bool,
    config: Arc<Config>,
    born: Moment,
    /// The lease of the configuration that it started with.
    first_lease: Nanos,
    /// Before this point of its clock its own vote does not count.
    mute_until: Nanos,
    sends: VecDeque<Sent>,
    boot: BootId,
    roles: [RoleName; GROUPS],
    role_known: [bool; GROUPS],
    pub(crate) masteries: [Option<Mastery>; GROUPS],
    candidacies: [Option<Candidacy>; GROUPS],
    /// The master heard last.
    heard: [Heard; GROUPS],
    resigned: [u64; GROUPS],
    released: [Vec<u64>; GROUPS],
    voluntary: [Vec<Nanos>; GROUPS],
    pub(crate) accounts: [[Account; ADDRESSES]; GROUPS],
    calls: Vec<calls::Ordered>,
    local: local::Local,
    passage: gate::Passage,
}

/// The judge of one seed.
pub(crate) struct Observer {
    quorum: usize,
    voters: usize,
    pub(crate) lives: Vec<Life>,
    /// By voter and group: what it promised, and to whom.
    promises: Vec<[[Option<Promise>; VOTERS]; GROUPS]>,
    /// By group: every election.
    pub(crate) elections: [Vec<Election>; GROUPS],
    /// By node and group: the highest term that it stood in.
    stood: [[u64; GROUPS]; VOTERS],
    /// By node: the highest term that it granted or used.
    pub(crate) used: [u64; VOTERS],
    /// By node: the longest promise that its disk knows of.
    pub(crate) on_disk: [Nanos; VOTERS],
    /// False once a disk was lost: terms may then begin anew.
    pub(crate) terms_last: bool,
    /// Promises, calls and ends of calls of the present step.
    made: Vec<promise::Made>,
    started: Vec<u64>,
    let_go: Option<(usize, u64)>,
    due: Option<journal::Due>,
    /// Every mutating call, in order.
    pub(crate) takeovers: Vec<Takeover>,
    gate: gate::Gate,
    /// By node: its clock when it last did something.
    now: [Nanos; VOTERS],
    pub(crate) violation: Option<Violation>,
}

/// One election.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Election {
    pub(crate) term: u64,
    pub(crate) node: usize,
    pub(crate) at: Nanos,
    pub(crate) cause: Option<vipward_core::Cause>,
}

impl Observer {
    pub(crate) fn new(configs: &[Arc<Config>]) -> Self {
        let voters = configs.len();
        let life = |config: &Arc<Config>| {
            Life::new(0, BootId(0), Arc::clone(config), Moment::default(), 0)
        };
        let mut lives: Vec<Life> = configs.iter().map(life).collect();
        for life in &mut lives {
            life.alive = false;
        }
        Self {
            quorum: voters / 2 + 1,
            voters,
            lives,
            promises: vec![[[None; VOTERS]; GROUPS]; voters],
            elections: [const { Vec::new() }; GROUPS],
            stood: [[0; GROUPS]; VOTERS],
            used: [0; VOTERS],
            on_disk: [0; VOTERS],
            terms_last: true,
            made: Vec::new(),
            started: Vec::new(),
            let_go: None,
            due: None,
            takeovers: Vec::new(),
            gate: gate::Gate::default(),
            now: [0; VOTERS],
            violation: None,
        }
    }

    /// Records the first violation.
    pub(crate) fn violate(&mut self, invariant: &'static str, what: impl FnOnce() -> String) {
        if self.violation.is_none() {
            self.violation = Some(Violation { invariant, what: what() });
        }
    }

    /// A process starts.
    pub(crate) fn born(
        &mut self,
        node: usize,
        (number, boot): (u32, BootId),
        at: Moment,
        config: &Arc<Config>,
        disk: Option<&Durable>,
    ) {
        let longest_promise = disk.map(|disk| disk.longest_promise).unwrap_or_default();
        let mute = config.timing.lease().max(longest_promise);
        let mute_until = at.local + nanos(mute);
        self.lives[node] = Life::new(number, boot, Arc::clone(config), at, mute_until);
        self.lives[node].local = local::Local::new(disk);
        self.gate_born(node, disk);
    }

    /// A process ends, and with it every lease it had.
    pub(crate) fn died(&mut self, node: usize, real: Nanos) {
        self.lives[node].alive = false;
        self.gate_died(node, real);
    }

    /// Something is about to be told to a core.
    pub(crate) fn before(&mut self, node: usize, at: Moment, hosts: &[Host], input: &Input) {
        self.now[node] = at.local;
        self.gate_before(node, at, input);
        match input {
            Input::Answer { from, boot, to_boot, answer, .. }
                if *to_boot == self.lives[node].boot =>
            {
                let ghost = self.lives[from.index()].boot != *boot;
                for mastery in self.lives[node].masteries.iter_mut().flatten() {
                    mastery.ghosts |= ghost;
                }
                self.on_answer(node, at, hosts, from.index(), answer);
            }
            Input::CallFinished { call, outcome, request_id, .. } => {
                self.call_finished(node, at, *call, outcome, request_id.as_ref());
            }
            Input::Request { from, boot, request, .. } => {
                // What a dead life still says promises nothing.
                let speaker = &self.lives[from.index()];
                if speaker.alive && speaker.boot == *boot {
                    self.hear_lease(node, at, request);
                    self.hear_master(node, at, from.index(), request);
                }
            }
            Input::Reload(config) => self.lives[node].config = Arc::clone(config),
            _ => {}
        }
    }

    /// A core said something.
    pub(crate) fn output(&mut self, node: usize, at: Moment, hosts: &[Host], output: &Output) {
        match output {
            Output::Send { request, .. } => match request {
                Request::Heartbeat(beat) => {
                    self.beat_sent(node, at, hosts, beat);
                    self.gate_beat(node, at, beat);
                }
                Request::Vote(request) => self.vote_sent(node, at, hosts, request),
                Request::TakeBack(list) => {
                    for take_back in &list.list {
                        self.taken_back(node, at, take_back);
                    }
                }
                Request::Operator(_) => {}
            },
            Output::Call(call) => self.call_ordered(node, at, call),
            Output::Event(event) => self.journaled(node, at, hosts, event),
            Output::Kernel { group, address, wanted } => {
                self.kernel_ordered(node, (group.index(), address.index()), *wanted);
            }
            Output::Hook(hook) => self.hook_run(node, hook),
            Output::Persist(durable) => self.gate_persists(node, at, durable),
            Output::Answer { .. }
            | Output::Probe { .. }
            | Output::Compare { .. }
            | Output::Pull { .. }
            | Output::OperatorDone { .. }
            | Output::Stopped => {}
        }
    }

    /// Everything that a core said in one step was seen.
    pub(crate) fn after(&mut self, node: usize, real: Nanos, hosts: &[Host]) {
        self.judge_promises(real, hosts);
        self.judge_grants();
        self.judge_let_go(node);
        self.judge_hooks(node);
        self.finished_journaled(node);
    }

    fn taken_back(&mut self, node: usize, at: Moment, take_back: &TakeBack) {
        let (group, term) = (take_back.group.index(), take_back.term.0);
        let life = &mut self.lives[node];
        match take_back.kind {
            TakeBackKind::Release => {
                if !life.released[group].contains(&term) {
                    life.released[group].push(term);
                }
                if life.candidacies[group].as_ref().is_some_and(|c| c.term == term) {
                    life.candidacies[group] = None;
                }
            }
            TakeBackKind::Resign { cause, successor } => {
                if life.resigned[group] < term {
                    life.resigned[group] = term;
                    let successor = successor.map(|node| node.index());
                    self.gate_handed(group, successor, cause, at.real);
                    self.count_move(node, at, group, cause);
                }
                let life = &mut self.lives[node];
                if life.masteries[group].as_ref().is_some_and(|m| m.term <= term) {
                    life.masteries[group] = None;
                }
            }
        }
    }

    /// A backup hears a master that leads at that moment.
    fn hear_master(&mut self, node: usize, at: Moment, from: usize, request: &Request) {
        let Request::Heartbeat(beat) = request else { return };
        for group in &beat.groups {
            let index = group.group.index();
            let leads = |term| self.term_of(from, index) == Some(term);
            if let Some(mastered) = group.mastered
                && leads(mastered.term.0)
            {
                let (term, send) = (mastered.term.0, beat.send.0);
                let until = at.local + nanos(mastered.lease);
                let heard = &mut self.lives[node].heard[index];
                if (heard.term, heard.send) < (term, send) {
                    *heard = Heard { from, term, send, until };
                }
            }
        }
    }

    fn hear_lease(&mut self, node: usize, at: Moment, request: &Request) {
        let life = &mut self.lives[node];
        if at.local >= life.mute_until {
            return;
        }
        let heard = match request {
            Request::Heartbeat(beat) => {
                beat.groups.iter().filter_map(|g| g.mastered).map(|m| nanos(m.lease)).max()
            }
            Request::Vote(request) => Some(nanos(request.lease)),
            Request::TakeBack(_) | Request::Operator(_) => None,
        };
        if let Some(lease) = heard {
            life.mute_until = life.mute_until.max(life.born.local + lease);
        }
    }
}

impl Life {
    fn new(
        number: u32,
        boot: BootId,
        config: Arc<Config>,
        born: Moment,
        mute_until: Nanos,
    ) -> Self {
        let first_lease = nanos(config.timing.lease());
        Self {
            number,
            alive: true,
            config,
            born,
            first_lease,
            mute_until,
            sends: VecDeque::new(),
            boot,
            roles: [RoleName::Backup; GROUPS],
            role_known: [false; GROUPS],
            masteries: [const { None }; GROUPS],
            candidacies: [const { None }; GROUPS],
            heard: [Heard::default(); GROUPS],
            resigned: [0; GROUPS],
            released: [const { Vec::new() }; GROUPS],
            voluntary: [const { Vec::new() }; GROUPS],
            accounts: std::array::from_fn(|_| std::array::from_fn(|_| Account::default())),
            calls: Vec::new(),
            local: local::Local::default(),
            passage: gate::Passage::new(Standing::Joining),
        }
    }

    fn heartbeat(&self) -> Nanos {
        nanos(self.config.timing.heartbeat_interval())
    }

    fn remember(&mut self, sent: Sent) {
        if self.sends.back().is_some_and(|last| last.number >= sent.number) {
            return; // The same send, to another peer.
        }
        if self.sends.len() >= SENDS {
            self.sends.pop_front();
        }
        self.sends.push_back(sent);
    }

    fn sent(&self, number: u64) -> Option<&Sent> {
        let index = self.sends.binary_search_by_key(&number, |sent| sent.number).ok()?;
        self.sends.get(index)
    }
}

fn beat_record(at: Moment, beat: &Heartbeat) -> Sent {
    let mut mastered = [None; GROUPS];
    for group in &beat.groups {
        mastered[group.group.index()] = group.mastered.map(|m| (m.term.0, nanos(m.lease)));
    }
    Sent { number: beat.send.0, at, mastered, vote: None }
}

fn vote_record(at: Moment, request: &VoteRequest) -> Sent {
    let vote = Some((request.group.index(), request.term.0, nanos(request.lease)));
    Sent { number: request.send.0, at, mastered: [None; GROUPS], vote }
}

/// A duration as the simulation counts it.
pub(crate) fn nanos(duration: Duration) -> Nanos {
    u64::try_from(duration.as_nanos()).unwrap_or(Nanos::MAX)
}

/// A node's letter.
pub(crate) fn letter(node: usize) -> char {
    char::from(b'a' + u8::try_from(node).unwrap_or(25))
}

/// A node's letter.
pub(crate) fn id_letter(node: NodeId) -> char {
    letter(node.index())
}
