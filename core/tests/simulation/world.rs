//! A whole cluster in one thread, in virtual time: events in, the very `step` that ships, orders
//! out.

use std::sync::Arc;

use vipward_core::{
    BootId, CheckId, CloudCall, Durable, Input, Node, NodeId, OperatorId, Output, Switchover,
    Timestamp,
};

use crate::clock::{Clock, Nanos, SEC};
use crate::cloud::{Cloud, Owner};
use crate::dice::Dice;
use crate::faults::Fault;
use crate::host::{Host, LINKS, Process};
use crate::network::{Network, Route};
use crate::observer::{Asked, Observer, Violation};
use crate::plan::{Plan, VOTERS};
use crate::queue::Queue;
use crate::scenario::Stage;
use crate::show;
use crate::trace::Trace;

/// More steps, or more events under way, than any seed needs.
const ENDLESS: u64 = 2_000_000;
const MANY: usize = 100_000;

/// What is going to happen.
pub(crate) enum Event {
    Tick,
    Wake {
        node: usize,
        wake: u32,
    },
    /// Something within one host.
    Local {
        node: usize,
        life: u32,
        input: Input,
    },
    /// A request, or a probe.
    Request {
        route: Route,
        request: Option<vipward_core::Request>,
    },
    Answer {
        route: Route,
        answer: vipward_core::Answer,
    },
    Refused {
        route: Route,
    },
    BootAnswered {
        route: Route,
        life: u32,
        refused: Option<vipward_core::Request>,
    },
    ConnectionClosed {
        route: Route,
    },
    Written {
        node: usize,
        life: u32,
    },
    CallStarts {
        node: usize,
        life: u32,
        call: Box<CloudCall>,
    },
    CallLands {
        id: usize,
    },
    CallReturns {
        id: usize,
    },
    Boot {
        node: usize,
    },
    Thaw {
        node: usize,
    },
    /// A drawn fault strikes, and the next one is drawn.
    Strike,
    Fault(Fault),
}

/// A command that waits for its outcome.
pub(crate) struct Command {
    pub(crate) node: usize,
    pub(crate) life: u32,
    pub(crate) at: Nanos,
    pub(crate) done: Option<vipward_core::OperatorResult>,
}

/// The world of one seed.
pub(crate) struct World {
    pub(crate) now: Nanos,
    pub(crate) plan: Plan,
    pub(crate) dice: Dice,
    pub(crate) queue: Queue<Event>,
    pub(crate) hosts: Vec<Host>,
    /// By node and life.
    pub(crate) boots: Vec<Vec<BootId>>,
    pub(crate) network: Network,
    pub(crate) cloud: Cloud,
    pub(crate) observer: Observer,
    pub(crate) trace: Trace,
    /// Whether faults last.
    pub(crate) faults: bool,
    pub(crate) stage: Stage,
    pub(crate) asked: Vec<Option<Asked>>,
    pub(crate) commands: Vec<Command>,
    pub(crate) steps: u64,
    /// Deadlines told without time going on.
    restless: u32,
    over: bool,
}

impl World {
    pub(crate) fn new(seed: u64, traced: bool) -> Self {
        let mut dice = Dice::new(seed);
        let plan = Plan::draw(&mut dice);
        let observer = Observer::new(&plan.configs);
        let hosts = (plan.configs.iter().enumerate())
            .map(|(node, config)| {
                let clock = Clock::new(0, dice.between(SEC, 10_000 * SEC), plan.mix.rates[node]);
                Host::new(clock, Arc::clone(config))
            })
            .collect();
        let boots = plan.configs.iter().map(|_| vec![BootId(0)]).collect();
        let mut world = Self {
            now: 0,
            dice,
            queue: Queue::new(),
            hosts,
            boots,
            network: Network::default(),
            cloud: Cloud::default(),
            observer,
            trace: Trace::new(traced, &plan),
            faults: false,
            stage: Stage::new(&plan),
            asked: Vec::new(),
            commands: Vec::new(),
            steps: 0,
            restless: 0,
            over: false,
            plan,
        };
        world.begin();
        world
    }

    fn begin(&mut self) {
        self.trace.line(0, VOTERS, || show::plan(&self.plan));
        for group in 0..self.plan.groups() {
            for address in 0..self.plan.addresses(group) {
                let owner = match self.dice.below(4) {
                    0 => Some(Owner::Outside),
                    1 => Some(Owner::Node(self.dice.index(self.plan.voters()))),
                    _ => None,
                };
                self.take(group, address, owner);
            }
        }
        for node in 0..self.plan.voters() {
            let at = self.dice.between(0, self.plan.lease);
            self.queue.push(at, Event::Boot { node });
        }
        self.queue.push(self.plan.heartbeat, Event::Tick);
        self.stage_begins();
    }

    /// Runs to the end, or to the first violation.
    pub(crate) fn run(&mut self) -> Option<Violation> {
        while !self.over && self.observer.violation.is_none() {
            let Some((at, event)) = self.queue.pop() else { break };
            if at > self.now {
                self.restless = 0;
            }
            self.now = at;
            self.handle(event);
            if self.steps > ENDLESS || self.queue.len() > MANY {
                self.observer.violate("liveness", || "no end: too many steps or messages".into());
            }
        }
        self.observer.violation.clone()
    }

    /// Nothing is left to be seen.
    pub(crate) fn finish(&mut self) {
        self.over = true;
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Tick => {
                self.queue.push(self.now + self.plan.heartbeat, Event::Tick);
                self.stage_ticks();
            }
            Event::Wake { node, wake } => self.wake(node, wake),
            Event::Local { node, life, input } => self.local(node, life, input),
            Event::Request { route, request } => self.request_arrives(route, request),
            Event::Answer { route, answer } => self.answer_arrives(route, answer),
            Event::Refused { route } => self.refused_arrives(route),
            Event::BootAnswered { route, life, refused } => {
                self.boot_answered(route, life, refused);
            }
            Event::ConnectionClosed { route } => self.connection_closed(route),
            Event::Written { node, life } => self.written(node, life),
            Event::CallStarts { node, life, call } => self.call_starts(node, life, call),
            Event::CallLands { id } => self.call_lands(id),
            Event::CallReturns { id } => self.call_returns(id),
            Event::Boot { node } => self.boot(node),
            Event::Thaw { node } => self.thaw(node),
            Event::Strike => self.strike(),
            Event::Fault(fault) => self.fault(fault),
        }
    }

    /// Tells the core something.
    pub(crate) fn step(&mut self, node: usize, input: Input) {
        let host = &mut self.hosts[node];
        let at = host.clock.at(self.now);
        if host.process.is_none() {
            return;
        }
        self.steps += 1;
        self.trace.input(&self.plan, self.now, node, &input);
        self.observer.before(node, at, &self.hosts, &input);
        let Some(process) = &mut self.hosts[node].process else { return };
        let outputs = process.node.step(Timestamp::from_nanos(at.local), input);
        for output in outputs {
            self.trace.output(&self.plan, self.now, node, &output);
            self.observer.output(node, at, &self.hosts, &output);
            self.carry_out(node, output);
        }
        self.observer.after(node, self.now, &self.hosts);
        self.schedule_wake(node);
    }

    fn carry_out(&mut self, node: usize, output: Output) {
        let life = self.hosts[node].life;
        match output {
            Output::Send { to, request } => self.send(node, to.index(), Some(&request)),
            Output::Probe { peer } => self.send(node, peer.index(), None),
            Output::Answer { id, answer } => {
                self.triggered(node, &answer);
                self.answer(node, id, &answer);
            }
            Output::Call(call) => {
                let late = self.dice.between(0, self.plan.mix.cloud.edge);
                let call = Box::new(call);
                self.queue.push(self.now + late, Event::CallStarts { node, life, call });
                self.maybe_strike(node);
            }
            Output::Persist(durable) => self.write(node, durable),
            Output::OperatorDone { id, result } => self.command_done(node, id, result),
            Output::Event(event) => {
                if let vipward_core::EventKind::RoleChanged { .. } = event.kind {
                    self.maybe_strike(node);
                }
            }
            Output::Stopped => self.crash(node, false),
        }
    }

    /// Something that a host's own edges tell its core.
    pub(crate) fn local(&mut self, node: usize, life: u32, input: Input) {
        let host = &mut self.hosts[node];
        if !host.runs(life) {
            return;
        }
        if host.frozen.is_some() {
            host.backlog.push(Event::Local { node, life, input });
            return;
        }
        self.step(node, input);
    }

    pub(crate) fn schedule_wake(&mut self, node: usize) {
        let host = &mut self.hosts[node];
        let Some(process) = &host.process else { return };
        let deadline = process.node.next_deadline();
        let at = if deadline == Timestamp::NEVER {
            Nanos::MAX
        } else {
            host.clock.when(deadline.as_nanos()).max(self.now)
        };
        if at == host.wake_at {
            return;
        }
        host.wake_at = at;
        host.wake += 1;
        if at != Nanos::MAX {
            let late = if self.faults { self.dice.spread(0, self.plan.mix.wake_late) } else { 0 };
            self.queue.push(at + late, Event::Wake { node, wake: host.wake });
        }
    }

    fn wake(&mut self, node: usize, wake: u32) {
        let host = &mut self.hosts[node];
        if host.wake != wake || host.process.is_none() || host.frozen.is_some() {
            return;
        }
        host.wake_at = Nanos::MAX;
        self.restless += 1;
        if self.restless > 500 {
            let deadline = host.process.as_ref().map(|process| process.node.next_deadline());
            let local = host.clock.at(self.now).local;
            self.observer
                .violate("interface", || format!("a deadline never ends: {deadline:?} at {local}"));
        }
        self.step(node, Input::DeadlineReached);
    }

    /// A process starts.
    pub(crate) fn boot(&mut self, node: usize) {
        if self.hosts[node].process.is_some() {
            return;
        }
        let boot = BootId(u128::from(self.dice.draw()) << 64 | u128::from(self.dice.draw()));
        let seed = self.dice.draw();
        self.boots[node].push(boot);
        let lost = self.faults && self.dice.percent(self.plan.mix.lose_disk);
        let host = &mut self.hosts[node];
        host.up = true;
        host.life += 1;
        host.connections = Default::default();
        host.known = [[None; LINKS]; VOTERS];
        host.wake_at = Nanos::MAX;
        host.wake += 1;
        if lost && host.disk.take().is_some() {
            self.observer.terms_last = false;
        }
        let at = host.clock.at(self.now);
        let disk = host.disk.clone();
        self.trace.line(self.now, node, || format!("BOOTS as {boot:?} with {disk:?}"));
        let ceiling = disk.as_ref().map_or(0, |disk| disk.ceiling.0);
        let used = self.observer.used[node];
        let longest = disk.as_ref().map(|disk| disk.longest_promise).unwrap_or_default();
        if used > ceiling {
            self.observer.terms_last = false; // Used before the disk knew, and forgotten.
            self.observer.used[node] = ceiling;
        }
        let host = &mut self.hosts[node];
        let config = Arc::clone(&host.config);
        self.observer.born(node, (host.life, boot), at, &config, longest);
        let now = Timestamp::from_nanos(at.local);
        let machine = Node::new(config, boot, seed, disk, now);
        host.process =
            Some(Process { node: machine, writing: None, write_next: None, stopping: None });
        self.schedule_wake(node);
        self.tell_health(node);
    }

    /// Tells a fresh process what its checks and its preflight found.
    fn tell_health(&mut self, node: usize) {
        let (life, sick) = (self.hosts[node].life, self.hosts[node].sick);
        for (check, failing) in sick.into_iter().enumerate() {
            for _ in 0..2 {
                let check = CheckId(check as u8);
                let input = Input::CheckResult { check, passed: !failing };
                let soon = self.dice.between(0, self.plan.heartbeat / 2);
                self.queue.push(self.now + soon, Event::Local { node, life, input });
            }
        }
        let problems = self.problems(node);
        let input = Input::Preflight { problems };
        let soon = self.dice.between(0, self.plan.heartbeat);
        self.queue.push(self.now + soon, Event::Local { node, life, input });
    }

    pub(crate) fn problems(&self, node: usize) -> Vec<Arc<str>> {
        let bad = self.hosts[node].preflight_bad || self.cloud.denied[node];
        if bad { vec!["no permission for ec2:AssociateAddress".into()] } else { Vec::new() }
    }

    /// A process dies; its kernel closes its sockets unless the machine died with it.
    pub(crate) fn crash(&mut self, node: usize, silent: bool) {
        let host = &mut self.hosts[node];
        let Some(process) = host.process.take() else { return };
        self.trace.line(self.now, node, || (if silent { "HOST DIES" } else { "EXITS" }).into());
        host.backlog.clear();
        if host.frozen.take().is_some() {
            host.clock.set_stopped(self.now, false);
        }
        if let Some(durable) = process.writing
            && !host.disk_fails
            && self.dice.percent(50)
        {
            host.disk = Some(durable);
        }
        self.observer.died(node);
        self.close_sockets(node, silent);
        let host = &mut self.hosts[node];
        if silent {
            host.up = false;
            let since_boot = self.dice.between(SEC, 60 * SEC);
            host.clock.reboot(self.now, since_boot);
        }
    }

    fn write(&mut self, node: usize, durable: Durable) {
        let host = &mut self.hosts[node];
        let life = host.life;
        let Some(process) = &mut host.process else { return };
        if process.writing.is_some() {
            process.write_next = Some(durable);
            return;
        }
        process.writing = Some(durable);
        let slow = if self.faults { self.plan.mix.disk_delay } else { self.plan.heartbeat / 10 };
        let at = self.now + self.dice.spread(0, slow);
        self.queue.push(at, Event::Written { node, life });
    }

    fn written(&mut self, node: usize, life: u32) {
        let host = &mut self.hosts[node];
        if !host.runs(life) {
            return;
        }
        if host.frozen.is_some() {
            host.backlog.push(Event::Written { node, life });
            return;
        }
        let fails = host.disk_fails;
        let Some(process) = &mut host.process else { return };
        let Some(durable) = process.writing.take() else { return };
        let next = process.write_next.take();
        if !fails {
            host.disk = Some(durable.clone());
        }
        if let Some(next) = next {
            self.write(node, next);
        }
        let input = if fails { Input::PersistFailed } else { Input::Persisted(durable) };
        self.step(node, input);
    }

    /// An operator asks for a handover.
    pub(crate) fn ask_switchover(&mut self, node: usize, switchover: Switchover) {
        let host = &self.hosts[node];
        if host.process.is_none() || host.frozen.is_some() {
            return;
        }
        let id = OperatorId(self.commands.len() as u64);
        let (life, at) = (host.life, self.now);
        self.commands.push(Command { node, life, at, done: None });
        self.step(node, Input::Switchover { id, switchover });
    }

    fn command_done(&mut self, node: usize, id: OperatorId, result: vipward_core::OperatorResult) {
        let life = self.hosts[node].life;
        let command = self.commands.get_mut(id.0 as usize);
        let Some(command) = command.filter(|c| (c.node, c.life) == (node, life)) else {
            return self.observer.violate("interface", || format!("nobody asked for {id:?}"));
        };
        if command.done.is_some() {
            self.observer.violate("interface", || format!("{id:?} is done twice"));
        }
        command.done = Some(result);
    }

    /// The id of a node.
    pub(crate) fn id(node: usize) -> NodeId {
        NodeId(node as u8)
    }
}
