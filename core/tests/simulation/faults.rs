//! Faults: what strikes, whom, for how long; and how everything mends.

use vipward_core::{Answer, CheckId, GroupId, Input, Switchover, Vote};

use crate::clock::{MILLION, Nanos};
use crate::cloud::Owner;
use crate::host::Freeze;
use crate::plan::{Kind, Plan};
use crate::world::{Event, World};

/// A fault, or its end, at a set time.
pub(crate) enum Fault {
    /// Strikes that node, if faults still last.
    Strikes(Kind, usize),
    /// Ends a cut of these directed links.
    Heals(Vec<(usize, usize, u8)>),
    /// Ends the refusals on this directed link.
    Accepts(usize, usize, u8),
    Cures {
        node: usize,
        check: usize,
    },
    Reloads {
        node: usize,
        heartbeat: Nanos,
        misses: u32,
    },
    DiskMends {
        node: usize,
    },
    Allows {
        node: usize,
    },
    PreflightMends {
        node: usize,
    },
    KernelMends {
        node: usize,
    },
    // Of the gate.
    /// The node has another configuration from then on.
    Changes {
        node: usize,
        to: u8,
    },
    /// Its balancer is reloaded.
    Loads {
        node: usize,
    },
    /// An operator forces a handover.
    Forces {
        asked: usize,
        to: usize,
    },
    Admits {
        at: usize,
        node: usize,
    },
    /// From maintenance.
    Returns {
        at: usize,
        node: usize,
    },
}

impl World {
    /// A drawn fault strikes, and the next one is drawn.
    pub(crate) fn strike(&mut self) {
        if !self.faults {
            return;
        }
        let kind = self.dice.pick(&self.plan.mix.kinds);
        let node = self.dice.index(self.plan.voters());
        self.inflict(kind, node);
        let gap = self.plan.mix.gap;
        let next = self.now + self.dice.between(gap / 8, 2 * gap);
        self.queue.push(next, Event::Strike);
    }

    /// Strikes a node just after it did something that matters, in some seeds.
    pub(crate) fn maybe_strike(&mut self, node: usize) {
        if !self.faults || !self.dice.percent(self.plan.mix.trigger) {
            return;
        }
        let kind = self.dice.pick(&self.plan.mix.kinds);
        let soon = self.now + self.dice.spread(0, self.plan.heartbeat);
        self.queue.push(soon, Event::Fault(Fault::Strikes(kind, node)));
    }

    /// A vote may be followed by a fault of the voter.
    pub(crate) fn triggered(&mut self, node: usize, answer: &Answer) {
        if let Answer::Vote(answer) = answer
            && answer.vote == Vote::Granted
        {
            self.maybe_strike(node);
        }
    }

    pub(crate) fn fault(&mut self, fault: Fault) {
        match fault {
            Fault::Strikes(kind, node) => {
                if self.faults {
                    self.inflict(kind, node);
                }
            }
            Fault::Heals(links) => self.heal(&links),
            Fault::Accepts(from, to, link) => {
                let refused = &mut self.network.refused[from][to][link as usize];
                *refused = refused.saturating_sub(1);
            }
            Fault::Cures { node, check } => self.set_check(node, check, false),
            Fault::Reloads { node, heartbeat, misses } => self.reload(node, heartbeat, misses),
            Fault::DiskMends { node } => self.hosts[node].disk_fails = false,
            Fault::Allows { node } => {
                self.cloud.denied[node] = false;
                self.tell_preflight(node);
            }
            Fault::PreflightMends { node } => {
                self.hosts[node].preflight_bad = false;
                self.tell_preflight(node);
            }
            Fault::KernelMends { node } => self.hosts[node].kernel_fails = false,
            Fault::Changes { .. }
            | Fault::Loads { .. }
            | Fault::Forces { .. }
            | Fault::Admits { .. }
            | Fault::Returns { .. } => self.gate_fault(&fault),
        }
    }

    fn outage(&mut self) -> Nanos {
        self.dice.spread(self.plan.heartbeat / 20, self.plan.mix.outage)
    }

    fn other(&mut self, node: usize) -> usize {
        let other = self.dice.index(self.plan.voters() - 1);
        if other >= node { other + 1 } else { other }
    }

    /// One fault.
    pub(crate) fn inflict(&mut self, kind: Kind, node: usize) {
        let outage = self.outage();
        self.trace.line(self.now, node, || format!("FAULT {kind:?} for {outage} ns"));
        let back = self.now + outage;
        match kind {
            Kind::Crash => {
                // Now and then it is back at once: its supervisor restarts it.
                let quick = self.dice.percent(40);
                let soon = self.now + self.dice.between(0, self.plan.heartbeat / 4);
                self.crash(node, false);
                self.queue.push(if quick { soon } else { back }, Event::Boot { node });
            }
            Kind::HostDeath => {
                self.crash(node, true);
                self.queue.push(back, Event::Boot { node });
            }
            Kind::Pause => self.freeze(node, outage, false),
            Kind::PauseClock => self.freeze(node, outage, true),
            Kind::Stop => {
                self.stop(node);
                self.queue.push(back + 2 * self.plan.lease, Event::Boot { node });
            }
            Kind::RestartAll => {
                for node in 0..self.plan.voters() {
                    self.crash(node, false);
                    let back = self.now + self.dice.between(0, self.plan.heartbeat);
                    self.queue.push(back, Event::Boot { node });
                }
            }
            Kind::CutLink | Kind::CutPair | Kind::CutOneWay | Kind::Isolate | Kind::Split => {
                let links = self.draw_cut(kind, node);
                self.cut(&links);
                self.queue.push(back, Event::Fault(Fault::Heals(links)));
            }
            Kind::Reset => {
                let other = self.other(node);
                self.reset_connections(node, other);
            }
            Kind::RefusedLink => {
                // On every link at once it would be a crash, or a firewall that fakes one.
                let other = self.other(node);
                if self.plan.links(node, other) > 1 {
                    let link = self.dice.below(u64::from(self.plan.links(node, other))) as u8;
                    if self.network.refused[other][node].iter().all(|refused| *refused == 0) {
                        self.network.refused[other][node][link as usize] += 1;
                        let mends = Fault::Accepts(other, node, link);
                        self.queue.push(back, Event::Fault(mends));
                    }
                }
            }
            Kind::Sick => {
                let check = self.dice.index(2);
                self.set_check(node, check, true);
                self.queue.push(back, Event::Fault(Fault::Cures { node, check }));
            }
            Kind::Switchover => self.draw_switchover(node),
            Kind::Reload => self.draw_reload(),
            Kind::Disk => {
                self.stage.disk_trouble = true;
                self.hosts[node].disk_fails = true;
                self.queue.push(back, Event::Fault(Fault::DiskMends { node }));
            }
            Kind::Drift => {
                let rate = MILLION - 45_000 + self.dice.below(90_001);
                self.set_rate(node, rate);
            }
            Kind::Cloud => self.cloud.down_until = self.cloud.down_until.max(back),
            Kind::Denied => {
                self.cloud.denied[node] = true;
                self.tell_preflight(node);
                self.queue.push(back, Event::Fault(Fault::Allows { node }));
            }
            Kind::Thief => self.steal(),
            Kind::Preflight => {
                self.hosts[node].preflight_bad = true;
                self.tell_preflight(node);
                self.queue.push(back, Event::Fault(Fault::PreflightMends { node }));
            }
            Kind::Networkd => self.kernel_robbed(node),
            Kind::Kernel => {
                self.hosts[node].kernel_fails = true;
                self.queue.push(back, Event::Fault(Fault::KernelMends { node }));
            }
            Kind::Change
            | Kind::Edit
            | Kind::Rollout
            | Kind::RestartOther
            | Kind::RestartAllNew
            | Kind::Admit
            | Kind::Maintain
            | Kind::Force => self.inflict_gate(kind, node, outage),
        }
    }

    fn draw_cut(&mut self, kind: Kind, node: usize) -> Vec<(usize, usize, u8)> {
        let other = self.other(node);
        let all = |a: usize, b: usize, plan: &Plan| (0..plan.links(a, b)).map(move |l| (a, b, l));
        let plan = &self.plan;
        match kind {
            Kind::CutLink => {
                let link = self.dice.below(u64::from(plan.links(node, other))) as u8;
                vec![(node, other, link), (other, node, link)]
            }
            Kind::CutOneWay => all(node, other, plan).collect(),
            Kind::Isolate => {
                let others = (0..plan.voters()).filter(|other| *other != node);
                others.flat_map(|b| all(node, b, plan).chain(all(b, node, plan))).collect()
            }
            Kind::Split => {
                let side = self.dice.draw();
                let voters = plan.voters();
                let pairs = (0..voters).flat_map(|a| (0..voters).map(move |b| (a, b)));
                pairs
                    .filter(|(a, b)| (side >> a & 1) != (side >> b & 1))
                    .flat_map(|(a, b)| all(a, b, plan))
                    .collect()
            }
            _ => all(node, other, plan).chain(all(other, node, plan)).collect(),
        }
    }

    pub(crate) fn cut(&mut self, links: &[(usize, usize, u8)]) {
        for (from, to, link) in links {
            self.network.cut[*from][*to][*link as usize] += 1;
        }
    }

    fn heal(&mut self, links: &[(usize, usize, u8)]) {
        for (from, to, link) in links {
            let cut = &mut self.network.cut[*from][*to][*link as usize];
            *cut = cut.saturating_sub(1);
        }
    }

    /// The machine stands still; with `stops_clock`, its boot-time clock does too.
    pub(crate) fn freeze(&mut self, node: usize, outage: Nanos, stops_clock: bool) {
        let now = self.now;
        let host = &mut self.hosts[node];
        if host.frozen.is_some() || host.process.is_none() {
            return;
        }
        host.frozen = Some(Freeze { until: now + outage });
        host.wake += 1; // Nobody tells it deadlines meanwhile.
        if stops_clock {
            host.clock.set_stopped(now, true);
        }
        self.queue.push(now + outage, Event::Thaw { node });
    }

    pub(crate) fn thaw(&mut self, node: usize) {
        let now = self.now;
        let host = &mut self.hosts[node];
        if host.frozen.is_none_or(|freeze| freeze.until > now) {
            return;
        }
        host.frozen = None;
        host.clock.set_stopped(now, false);
        host.wake_at = Nanos::MAX;
        self.trace.line(now, node, || "THAWS".into());
        let deadline_first = self.dice.percent(50);
        if deadline_first {
            self.schedule_wake(node);
        }
        for event in std::mem::take(&mut self.hosts[node].backlog) {
            self.queue.push(now, event);
        }
        if !deadline_first {
            self.schedule_wake(node);
        }
    }

    pub(crate) fn stop(&mut self, node: usize) {
        let now = self.now;
        let host = &mut self.hosts[node];
        let life = host.life;
        if let Some(process) = &mut host.process {
            process.stopping.get_or_insert(now);
            self.local(node, life, Input::Stop);
        }
    }

    pub(crate) fn set_check(&mut self, node: usize, check: usize, fails: bool) {
        let life = self.hosts[node].life;
        self.hosts[node].sick[check] = fails;
        for _ in 0..2 {
            let check = CheckId(check as u8);
            self.local(node, life, Input::CheckResult { check, passed: !fails });
        }
    }

    pub(crate) fn tell_preflight(&mut self, node: usize) {
        let life = self.hosts[node].life;
        let problems = self.problems(node);
        self.local(node, life, Input::Preflight { problems });
    }

    pub(crate) fn set_rate(&mut self, node: usize, rate: u64) {
        let now = self.now;
        let host = &mut self.hosts[node];
        host.clock.set_rate(now, rate);
        host.wake_at = Nanos::MAX;
        if host.frozen.is_none() {
            self.schedule_wake(node);
        }
    }

    fn draw_switchover(&mut self, node: usize) {
        let group = GroupId(self.dice.index(self.plan.groups()) as u8);
        let to = self.dice.percent(50).then(|| self.dice.index(self.plan.voters()));
        let scarce = self.plan.configs[0].moves_per_hour < 1_000;
        let force = !scarce && self.dice.percent(30);
        self.ask_switchover(node, Switchover { group, to: to.map(Self::id), force });
    }

    /// A new lease, rolled out node by node.
    fn draw_reload(&mut self) {
        let misses = self.dice.pick(&[2, 3, 4, 5]);
        let factor = self.dice.pick(&[5, 10, 10, 20]);
        let heartbeat = (self.plan.heartbeat * factor / 10).max(10_000_000);
        let lease = heartbeat * Nanos::from(misses);
        self.plan.longest_lease = self.plan.longest_lease.max(lease);
        self.plan.shortest_lease = self.plan.shortest_lease.min(lease);
        for node in 0..self.plan.voters() {
            let at = self.now + self.dice.between(0, 3 * self.plan.lease);
            self.queue.push(at, Event::Fault(Fault::Reloads { node, heartbeat, misses }));
        }
    }

    fn reload(&mut self, node: usize, heartbeat: Nanos, misses: u32) {
        let host = &mut self.hosts[node];
        let config = Plan::retimed(&host.config, heartbeat, misses);
        host.config = config.clone();
        let life = host.life;
        self.local(node, life, Input::Reload(config));
    }

    /// Somebody outside takes an address, or it is let go.
    fn steal(&mut self) {
        let group = self.dice.index(self.plan.groups());
        let addresses = self.plan.addresses(group);
        if addresses > 0 {
            let address = self.dice.index(addresses);
            let owner = self.dice.percent(60).then_some(Owner::Outside);
            self.take(group, address, owner);
        }
    }

    /// Every fault ends; what is on its way still arrives.
    pub(crate) fn calm_down(&mut self) {
        self.faults = false;
        self.network = Default::default();
        // A round trip fits into the shortest lease that was configured.
        let (low, high) = self.plan.mix.delay;
        self.plan.mix.delay = (low, high.min(self.plan.shortest_lease / 6).max(low));
        self.cloud.down_until = 0;
        for node in 0..self.plan.voters() {
            self.hosts[node].disk_fails = false;
            self.hosts[node].preflight_bad = false;
            self.hosts[node].kernel_fails = false;
            self.cloud.denied[node] = false;
            self.cloud.unreachable[node] = false;
            if self.hosts[node].frozen.is_some() {
                self.hosts[node].frozen = Some(Freeze { until: self.now });
                self.thaw(node);
            }
            for check in 0..2 {
                if self.hosts[node].sick[check] {
                    self.set_check(node, check, false);
                }
            }
            self.tell_preflight(node);
            self.revive(node);
        }
        self.gate_mends();
    }

    /// A host without a process gets one.
    pub(crate) fn revive(&mut self, node: usize) {
        if self.hosts[node].process.is_none() {
            let soon = self.now + self.dice.between(0, self.plan.lease);
            self.queue.push(soon, Event::Boot { node });
        }
    }
}
