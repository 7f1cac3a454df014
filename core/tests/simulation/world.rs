//! A whole cluster in one thread, in virtual time: events in, the very `step` that ships, orders
//! out.

use std::sync::Arc;

use vipward_core::{BootId, CloudCall, Input, Output, Timestamp};

use crate::clock::{Clock, Nanos, SEC};
use crate::cloud::{Cloud, Owner};
use crate::dice::Dice;
use crate::faults::Fault;
use crate::host::Host;
use crate::kernel::Place;
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
    /// A host's edge looks at an address in its kernel.
    Kernel {
        node: usize,
        life: u32,
        place: Place,
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
    /// A scan of a node's configuration ends.
    Scanned {
        node: usize,
        life: u32,
    },
    /// A repair of it succeeds.
    Pulled {
        node: usize,
        life: u32,
        digest: vipward_core::Digest,
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
        let mut gate_dice = Dice::new(seed ^ 0x6761_7465);
        let plan = Plan::draw(&mut dice, &mut gate_dice);
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
        self.gate_begins();
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
            Event::Kernel { node, life, place } => self.kernel_acts(node, life, place),
            Event::CallStarts { node, life, call } => self.call_starts(node, life, call),
            Event::CallLands { id } => self.call_lands(id),
            Event::CallReturns { id } => self.call_returns(id),
            Event::Scanned { node, life } => self.scanned(node, life),
            Event::Pulled { node, life, digest } => self.pulled(node, life, digest),
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
            Output::Kernel { group, address, wanted } => {
                self.kernel_ordered(node, (group.index(), address.index()), wanted);
            }
            Output::Compare { with } => self.compare(node, with),
            Output::Pull { digest, .. } => self.pull(node, digest),
            Output::Hook(_) => {}
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
        let input = match input {
            // A file is read, and a check runs, when it does, not when that was asked for.
            Input::Reload(_) => Input::Reload(Arc::clone(&host.config)),
            Input::CheckResult { check, .. } => {
                Input::CheckResult { check, passed: !host.sick[check.index()] }
            }
            input => input,
        };
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
}
