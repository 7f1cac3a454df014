//! The gate's world: the configuration of each node, what befalls it, and what its operators do.

use std::sync::Arc;
use std::time::Duration;

use vipward_core::{
    Config, Differences, Digest, GroupId, Input, Inventory, NodeId, OperatorId, PullOutcome,
    Repair, Switchover,
};

use crate::clock::{Nanos, SEC};
use crate::dice::Dice;
use crate::faults::Fault;
use crate::plan::{Bystander, GATE_KINDS, Kind, Mix, Scenario};
use crate::world::{Command, Event, World};

/// So few configurations exist, so that two nodes often have the same.
const CONFIGURATIONS: u8 = 4;

/// What one seed makes of the gate.
pub(crate) struct GatePlan {
    /// How long the first scan of a life and every later one take at most.
    first_scan: Nanos,
    scan: Nanos,
    /// In percent of the repairs: succeeds, fails; the others never end.
    pulls: (u64, u64),
    pull: Nanos,
    /// In percent of the comparisons: answered.
    compared: u64,
    /// How often a restart finds what its disk held before the last write, in percent.
    pub(crate) stale_disk: u64,
    /// How often the nodes do not start with the same configuration, in percent.
    unequal_start: bool,
    /// Whether all configurations are made equal when faults end.
    pub(crate) equal_end: bool,
}

/// The configuration of a node: what is on its disk, and what its balancer has loaded.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Files {
    disk: u8,
    loaded: u8,
}

impl Files {
    fn applied(configuration: u8) -> Self {
        Self { disk: configuration, loaded: configuration }
    }

    fn is_applied(self) -> bool {
        self.disk == self.loaded
    }

    fn digest(self) -> Digest {
        let byte =
            if self.is_applied() { 0x10 + self.disk } else { 0x80 | self.disk << 3 | self.loaded };
        Digest([byte; 32])
    }
}

/// The configuration of that digest; `None` for one that was not loaded.
fn configuration(digest: Digest) -> Option<u8> {
    (0..CONFIGURATIONS).find(|one| Files::applied(*one).digest() == digest)
}

impl GatePlan {
    /// Some seeds have no gate, and are what they were before there was one.
    pub(crate) fn draw(
        dice: &mut Dice,
        configs: &mut [Arc<Config>],
        (heartbeat, lease): (Nanos, Nanos),
        calm: bool,
    ) -> Option<Self> {
        if dice.percent(40) {
            return None;
        }
        let probation = match dice.below(3) {
            0 => 0,
            1 => dice.between(1, 10) * heartbeat,
            _ => dice.between(5, 30) * heartbeat,
        };
        let long = 3_600 * SEC;
        let choices =
            [heartbeat, dice.between(1, 4) * lease, dice.between(4, 20) * lease, long, long];
        let restart_grace = dice.pick(&choices);
        let scanned = dice.percent(75);
        let last_resort = dice.percent(25);
        let pull = dice.percent(25);
        for config in configs {
            let config = Arc::make_mut(config);
            config.probation = Duration::from_nanos(probation);
            config.restart_grace = Duration::from_nanos(restart_grace);
            config.scanned = scanned;
            config.last_resort = last_resort;
            config.repair = if pull { Repair::Pull } else { Repair::Off };
            if !scanned {
                config.shared = Files::default().digest();
            }
        }
        let quick = calm || dice.percent(70);
        Some(Self {
            first_scan: if quick { heartbeat } else { 4 * lease },
            scan: if quick { heartbeat } else { 2 * lease },
            pulls: dice.pick(&[(100, 0), (60, 30), (0, 60), (30, 70)]),
            pull: dice.between(heartbeat, 4 * lease),
            compared: dice.pick(&[100, 60, 0]),
            stale_disk: dice.pick(&[0, 0, 0, 30]),
            unequal_start: !calm && dice.percent(15),
            equal_end: calm || dice.percent(80),
        })
    }

    /// Faults of the gate beside the others.
    pub(crate) fn add_kinds(dice: &mut Dice, mix: &mut Mix) {
        let share = dice.pick(&[20, 40, 70]);
        let before = mix.kinds.len();
        while mix.kinds.len() == before {
            mix.kinds.extend(GATE_KINDS.into_iter().filter(|_| dice.percent(share)));
        }
        if dice.percent(30) {
            // Mostly a quiet world, in which operators work.
            mix.kinds.drain(..before.saturating_sub(2));
        }
    }

    /// A calm seed's single failure may be none of the election's.
    pub(crate) fn replace(dice: &mut Dice, scenario: &mut Scenario) {
        if let Scenario::Bystander(fault) = scenario
            && dice.percent(60)
        {
            *fault = dice.pick(&[
                Bystander::Changes,
                Bystander::Edits,
                Bystander::AllChange,
                Bystander::RestartsOther,
                Bystander::Admitted,
                Bystander::Maintained,
            ]);
        }
    }
}

impl World {
    /// Before anything starts.
    pub(crate) fn gate_begins(&mut self) {
        let unequal = self.plan.gate.as_ref().is_some_and(|gate| gate.unequal_start);
        if unequal {
            for node in 0..self.plan.voters() {
                let to = self.any_configuration();
                self.change(node, Files::applied(to));
            }
        }
    }

    fn any_configuration(&mut self) -> u8 {
        self.dice.below(u64::from(CONFIGURATIONS)) as u8
    }

    /// The files of a node are others from now on.
    pub(crate) fn change(&mut self, node: usize, files: Files) {
        self.trace.line(self.now, node, || format!("has {files:?}"));
        let host = &mut self.hosts[node];
        if host.config.scanned {
            host.files = files;
            self.notice(node);
            return;
        }
        // It is vipward's own file, which is read again at once.
        let mut config = host.config.as_ref().clone();
        config.shared = Files::applied(files.disk).digest();
        host.config = Arc::new(config);
        let (life, config) = (host.life, Arc::clone(&host.config));
        self.local(node, life, Input::Reload(config));
    }

    fn notice(&mut self, node: usize) {
        let Some(gate) = &self.plan.gate else { return };
        let most = if self.faults { gate.scan } else { self.plan.heartbeat };
        let at = self.now + self.dice.spread(0, most);
        let life = self.hosts[node].life;
        self.queue.push(at, Event::Scanned { node, life });
    }

    /// A life begins: its configuration is scanned for the first time.
    pub(crate) fn scan_first(&mut self, node: usize) {
        self.hosts[node].told = None;
        let Some(gate) = &self.plan.gate else { return };
        if self.hosts[node].config.scanned {
            let most = if self.faults { gate.first_scan } else { self.plan.heartbeat };
            let at = self.now + self.dice.spread(0, most);
            let life = self.hosts[node].life;
            self.queue.push(at, Event::Scanned { node, life });
        }
    }

    /// A scan ends: the core is told what is so, if that is news.
    pub(crate) fn scanned(&mut self, node: usize, life: u32) {
        let host = &mut self.hosts[node];
        if !host.runs(life) {
            return;
        }
        if host.frozen.is_some() {
            host.backlog.push(Event::Scanned { node, life });
            return;
        }
        let files = host.files;
        if host.told.replace(files) == Some(files) {
            return;
        }
        let unapplied =
            if files.is_applied() { Vec::new() } else { vec!["/etc/nginx/nginx.conf".into()] };
        let digest = files.digest();
        self.step(node, Input::Manifest(Inventory { digest, unapplied, problems: Vec::new() }));
    }

    /// A node wants to know what differs: for its sentences only.
    pub(crate) fn compare(&mut self, node: usize, with: NodeId) {
        let compared = self.plan.gate.as_ref().map_or(100, |gate| gate.compared);
        if !self.dice.percent(compared) {
            return;
        }
        let named = vec!["/etc/nginx/nginx.conf".into()];
        let differences = Differences { named, total: 1 };
        let life = self.hosts[node].life;
        let at = self.now + self.dice.spread(0, self.plan.lease);
        let input = Input::Compared { with, differences };
        self.queue.push(at, Event::Local { node, life, input });
    }

    /// A node repairs itself.
    pub(crate) fn pull(&mut self, node: usize, digest: Digest) {
        let Some(gate) = &self.plan.gate else { return };
        let (succeeds, fails) = gate.pulls;
        let luck = self.dice.below(100);
        let at = self.now + self.dice.spread(0, gate.pull);
        let life = self.hosts[node].life;
        if luck < succeeds {
            self.queue.push(at, Event::Pulled { node, life, digest });
        } else if luck < succeeds + fails {
            let what = "nginx -t failed".into();
            let input = Input::PullFinished(PullOutcome::Failed { what });
            self.queue.push(at, Event::Local { node, life, input });
        }
    }

    /// What was fetched is applied, on a machine that may have died or frozen meanwhile.
    pub(crate) fn pulled(&mut self, node: usize, life: u32, digest: Digest) {
        let host = &mut self.hosts[node];
        if !host.runs(life) {
            return;
        }
        if host.frozen.is_some() {
            host.backlog.push(Event::Pulled { node, life, digest });
            return;
        }
        let Some(to) = configuration(digest) else {
            let what = "the master's configuration is not applied".into();
            return self.step(node, Input::PullFinished(PullOutcome::Failed { what }));
        };
        if host.config.scanned {
            host.files = Files::applied(to);
            self.scanned(node, life);
        } else {
            self.change(node, Files::applied(to));
        }
        self.step(node, Input::PullFinished(PullOutcome::Applied));
    }

    /// One fault of the gate.
    pub(crate) fn inflict_gate(&mut self, kind: Kind, node: usize, outage: Nanos) {
        let to = self.any_configuration();
        let back = self.now + outage;
        match kind {
            Kind::Change => self.change(node, Files::applied(to)),
            Kind::Edit => self.edit(node, to, back),
            Kind::Rollout => self.roll_out(to),
            Kind::RestartOther => {
                self.crash(node, false);
                self.change(node, Files::applied(to));
                self.queue.push(back, Event::Boot { node });
            }
            Kind::RestartAllNew => {
                for node in 0..self.plan.voters() {
                    self.crash(node, false);
                    self.change(node, Files::applied(to));
                    let back = self.now + self.dice.between(0, self.plan.heartbeat);
                    self.queue.push(back, Event::Boot { node });
                }
            }
            Kind::Admit => {
                let at = self.dice.index(self.plan.voters());
                self.ask_admit(at, node);
            }
            Kind::Maintain => {
                let at = self.dice.index(self.plan.voters());
                self.ask_maintenance(at, node, true);
                self.queue.push(back, Event::Fault(Fault::Returns { at, node }));
            }
            Kind::Force => {
                let group = GroupId(self.dice.index(self.plan.groups()) as u8);
                let to = self.dice.percent(80).then(|| self.dice.index(self.plan.voters()));
                let to = to.map(Self::id);
                let force = self.may_force();
                self.ask_switchover(node, Switchover { group, to, force });
            }
            _ => {}
        }
    }

    /// Where moves are scarce, forced ones would spend them.
    fn may_force(&self) -> bool {
        self.plan.configs[0].moves_per_hour >= 1_000
    }

    /// What is on disk is not loaded, until somebody reloads the balancer.
    pub(crate) fn edit(&mut self, node: usize, to: u8, loaded_at: Nanos) {
        let loaded = self.hosts[node].files.loaded;
        self.change(node, Files { disk: to, loaded });
        self.queue.push(loaded_at, Event::Fault(Fault::Loads { node }));
    }

    /// The balancer is reloaded.
    pub(crate) fn load(&mut self, node: usize) {
        let disk = self.hosts[node].files.disk;
        if self.hosts[node].config.scanned {
            self.change(node, Files::applied(disk));
        }
    }

    /// An operator brings a change to all nodes: in the right order, in another, or at once.
    fn roll_out(&mut self, to: u8) {
        let voters = self.plan.voters();
        let master = self.leader_of(0).unwrap_or(0);
        let pace = self.dice.spread(0, 2 * self.plan.lease);
        let mut order: Vec<usize> = (0..voters).collect();
        order.sort_by_key(|_| self.dice.draw());
        let right = self.dice.percent(50);
        if right {
            order.retain(|node| *node != master);
        }
        let mut at = self.now;
        for node in &order {
            self.queue.push(at, Event::Fault(Fault::Changes { node: *node, to }));
            at += pace;
        }
        if right {
            let asked = self.dice.index(voters);
            self.queue.push(at, Event::Fault(Fault::Forces { asked, to: order[0] }));
            at += pace + self.plan.lease;
            self.queue.push(at, Event::Fault(Fault::Changes { node: master, to }));
        }
    }

    /// Who leads a group under a valid lease.
    pub(crate) fn leader_of(&self, group: usize) -> Option<usize> {
        let leads =
            |node: &usize| self.observer.leads(*node, group, self.hosts[*node].clock.at(self.now));
        (0..self.plan.voters()).find(leads)
    }

    /// A fault of the gate at a set time.
    pub(crate) fn gate_fault(&mut self, fault: &Fault) {
        match *fault {
            Fault::Changes { node, to } if self.faults || self.stage.watch.is_some() => {
                self.change(node, Files::applied(to))
            }
            Fault::Forces { asked, to } if self.faults => {
                let to = Some(Self::id(to));
                for group in 0..self.plan.groups() {
                    let group = GroupId(group as u8);
                    let force = self.may_force();
                    self.ask_switchover(asked, Switchover { group, to, force });
                }
            }
            Fault::Loads { node } => self.load(node),
            Fault::Returns { at, node } => self.ask_maintenance(at, node, false),
            Fault::Admits { at, node } => self.ask_admit(at, node),
            _ => {}
        }
    }

    /// Puts an operator's command, if there is a daemon to put it to.
    pub(crate) fn ask(&mut self, node: usize, input: impl FnOnce(OperatorId) -> Input) {
        let host = &self.hosts[node];
        if host.process.is_none() || host.frozen.is_some() {
            return;
        }
        let id = OperatorId(self.commands.len() as u64);
        let (life, at) = (host.life, self.now);
        self.commands.push(Command { node, life, at, done: None });
        self.step(node, input(id));
    }

    pub(crate) fn ask_admit(&mut self, at: usize, node: usize) {
        self.ask(at, |id| Input::Admit { id, node: Self::id(node) });
    }

    pub(crate) fn ask_maintenance(&mut self, at: usize, node: usize, on: bool) {
        self.ask(at, |id| Input::Maintenance { id, node: Self::id(node), on });
    }

    /// Faults end: configurations are made equal, unless the seed leaves them as they are.
    pub(crate) fn gate_mends(&mut self) {
        let Some(gate) = &self.plan.gate else { return };
        if gate.equal_end {
            let to = self.any_configuration();
            for node in 0..self.plan.voters() {
                self.change(node, Files::applied(to));
            }
        }
    }

    /// Nobody stays in maintenance.
    pub(crate) fn gate_settles(&mut self) {
        for node in 0..self.plan.voters() {
            if self.observer.is_maintained(node) {
                self.ask_maintenance(node, node, false);
            }
        }
    }

    /// A single failure that is none of the election's. Until when it is watched.
    pub(crate) fn fail_gate(&mut self, fault: Bystander, node: usize, end: Nanos) -> Nanos {
        let to = 1 + self.dice.below(u64::from(CONFIGURATIONS) - 1) as u8;
        let soon = self.now + self.dice.between(0, self.plan.lease);
        match fault {
            Bystander::Changes => {
                // It may as well be the master.
                let node = self.dice.index(self.plan.voters());
                self.change(node, Files::applied(to));
            }
            Bystander::Edits => {
                let node = self.dice.index(self.plan.voters());
                self.edit(node, to, soon);
            }
            Bystander::AllChange => {
                for node in 0..self.plan.voters() {
                    let at = self.now + self.dice.between(0, self.plan.lease);
                    self.queue.push(at, Event::Fault(Fault::Changes { node, to }));
                }
            }
            Bystander::RestartsOther | Bystander::Admitted => {
                self.crash(node, false);
                self.change(node, Files::applied(to));
                self.queue.push(soon, Event::Boot { node });
                if fault == Bystander::Admitted {
                    let at = self.dice.index(self.plan.voters());
                    let later = soon + self.plan.lease;
                    self.queue.push(later, Event::Fault(Fault::Admits { at, node }));
                }
            }
            _ => {
                let at = self.dice.index(self.plan.voters());
                self.ask_maintenance(at, node, true);
                if self.dice.percent(50) {
                    self.queue.push(soon, Event::Fault(Fault::Returns { at, node }));
                }
            }
        }
        let probation = crate::observer::nanos(self.plan.configs[0].probation);
        end + 2 * self.plan.lease + probation
    }
}
