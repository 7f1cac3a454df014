//! The course of a seed, and what is expected of each: convergence after a swarm of faults (I3),
//! stability beside a single failure (I6), one takeover in time after a master's own.

use vipward_core::Standing;

use crate::clock::{Nanos, SEC};
use crate::cloud::Owner;
use crate::observer::nanos;
use crate::plan::{GROUPS, Plan, Scenario};
use crate::world::{Event, World};

/// Where a seed is in its course.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    /// Faults strike until then.
    Faults { until: Nanos },
    /// A calm cluster forms, or a shaken one heals; since when it looks healed.
    Settling { since: Nanos, stable: Option<Nanos> },
    /// A single failure is watched until then.
    Watching { until: Nanos },
}

/// The course of a seed.
pub(crate) struct Stage {
    phase: Phase,
    /// A disk failed or was slow: terms may have been used that it does not know.
    pub(crate) disk_trouble: bool,
    pub(crate) watch: Option<Watch>,
}

/// What a single failure is judged against.
pub(crate) struct Watch {
    pub(crate) at: Nanos,
    /// The one that fails.
    pub(crate) node: usize,
    /// By group: its master and term before.
    pub(crate) masters: [Option<(usize, u64)>; GROUPS],
    /// How many elections and mutating calls there were before.
    pub(crate) elections: [usize; GROUPS],
    pub(crate) calls: usize,
}

impl Stage {
    pub(crate) fn new(plan: &Plan) -> Self {
        let phase = match plan.scenario {
            Scenario::Swarm => Phase::Faults { until: plan.length },
            Scenario::Bystander(_) | Scenario::Master(_) => {
                Phase::Settling { since: 0, stable: None }
            }
        };
        let disk_trouble = plan.mix.disk_delay > plan.heartbeat;
        Self { phase, disk_trouble, watch: None }
    }
}

impl World {
    pub(crate) fn stage_begins(&mut self) {
        if self.plan.scenario == Scenario::Swarm {
            self.faults = true;
            self.queue.push(self.plan.mix.gap / 2, Event::Strike);
        }
    }

    /// Once each heartbeat interval of real time.
    pub(crate) fn stage_ticks(&mut self) {
        self.judge_stops();
        self.judge_ceilings();
        match self.stage.phase {
            Phase::Faults { until } => {
                if self.now >= until {
                    self.trace.line(self.now, usize::MAX, || "FAULTS END".into());
                    self.calm_down();
                    self.stage.phase = Phase::Settling { since: self.now, stable: None };
                }
            }
            Phase::Settling { since, stable } => {
                for node in 0..self.plan.voters() {
                    self.revive(node);
                }
                self.gate_settles();
                self.settles(since, stable);
            }
            Phase::Watching { until } => {
                self.watches();
                if self.now >= until {
                    self.judge_watch();
                    self.judge_exchanges();
                    self.finish();
                }
            }
        }
    }

    fn settles(&mut self, since: Nanos, stable: Option<Nanos>) {
        let calm = self.plan.scenario != Scenario::Swarm;
        let missing = self.unsettled();
        let mut dwell = 2 * self.plan.longest_lease + 2 * self.plan.heartbeat;
        if calm {
            // Until every standby has seen where the addresses are.
            let config = &self.plan.configs[0];
            let reconcile = nanos(config.timing.reconcile_interval);
            // One that was deposed looks again when the other's claim will have been made.
            let moved = self.observer.elections.iter().any(|elections| elections.len() > 1);
            let reads = if moved { reconcile.max(3 * SEC) } else { reconcile };
            dwell += reads + 3 * self.plan.mix.cloud.latency.1;
        }
        match (missing, stable) {
            (None, Some(stable)) if self.now >= stable + dwell => {
                if calm {
                    let until = self.fail_one();
                    self.stage.phase = Phase::Watching { until };
                } else {
                    self.judge_exchanges();
                    self.finish();
                }
            }
            (None, stable) => {
                let stable = stable.or(Some(self.now));
                self.stage.phase = Phase::Settling { since, stable };
            }
            (Some(why), _) => {
                self.stage.phase = Phase::Settling { since, stable: None };
                let from = since.max(self.cloud.last_landing);
                let bound = if calm { self.forming_bound() } else { self.healing_bound() };
                if self.now > from + bound {
                    self.observer.violate("I3", || {
                        format!("{why}, {} s after the last fault", (self.now - from) / SEC)
                    });
                }
            }
        }
    }

    /// What is still missing from "every address is owned by the one master".
    fn unsettled(&self) -> Option<String> {
        if self.now <= self.cloud.last_landing {
            return Some("a call may still take effect".into());
        }
        for group in 0..self.plan.groups() {
            let config = &self.plan.configs[0].groups[group];
            let candidates = config.priorities.iter().flatten().count();
            if candidates == 0 {
                continue;
            }
            let leads = |node: &usize| {
                self.observer.leads(*node, group, self.hosts[*node].clock.at(self.now))
            };
            let masters: Vec<usize> = (0..self.plan.voters()).filter(leads).collect();
            if masters.is_empty() && !self.must_have_master(group) {
                continue;
            }
            let [master] = masters[..] else {
                return Some(format!("group {group} has masters {masters:?}"));
            };
            for address in 0..self.plan.addresses(group) {
                let owner = self.cloud.addresses[group][address].owner();
                if owner != Some(Owner::Node(master)) {
                    return Some(format!("address {group}.{address} is at {owner:?}"));
                }
                if !self.observer.owns(master, group, address) {
                    return Some(format!("address {group}.{address} is not known to be owned"));
                }
            }
            if let Some(why) = self.kernels_unsettled(group, master) {
                return Some(why);
            }
            let members = (0..self.plan.voters()).filter(|node| config.priorities[*node].is_some());
            for node in members {
                if let Some(why) = self.observer.local_unsettled(node, group) {
                    return Some(why);
                }
            }
            let better = config.priorities.iter().flatten().max();
            if config.preempt
                && self.plan.scenario != Scenario::Swarm
                && config.priorities[master].as_ref() < better
            {
                return Some(format!("group {group} is not led by its best"));
            }
        }
        self.gate_unsettled()
    }

    /// Whether somebody may lead a group, once all are heard: not where all configurations
    /// are left different from the reference.
    fn must_have_master(&self, group: usize) -> bool {
        let priorities = &self.plan.configs[0].groups[group].priorities;
        let may = |node: &usize| priorities[*node].is_some() && self.observer.has_reference(*node);
        self.is_equal_at_end() || (0..self.plan.voters()).any(|node| may(&node))
    }

    fn is_equal_at_end(&self) -> bool {
        self.plan.gate.as_ref().is_none_or(|gate| gate.equal_end)
    }

    /// What is missing from "every balancer is in service".
    fn gate_unsettled(&self) -> Option<String> {
        if !self.is_equal_at_end() {
            return None;
        }
        if self.leader_of(0).is_some_and(|master| !self.observer.is_in_force(master)) {
            return Some("the reference is not what the master has".into());
        }
        let node = (0..self.plan.voters()).find(|node| {
            !self.hosts[*node].runs(self.hosts[*node].life)
                || self.observer.standing(*node) != Standing::Ready
        })?;
        Some(format!("{} is {:?}", self.plan.name(node), self.observer.standing(node)))
    }

    /// After the last fault, and the last late call: the mute of those that restart, a failed
    /// round or two, the calls under way; then the guard watch (10 s), the reconciliation, or the
    /// minute that a spent budget of repairs lasts.
    fn healing_bound(&self) -> Nanos {
        let config = &self.plan.configs[0];
        let down = self.plan.longest_lease + 2 * self.plan.heartbeat;
        let patience = if config.moves_per_hour < 1_000 { 11 * down } else { down };
        let call = nanos(config.call_timeout);
        let reconcile = nanos(config.timing.reconcile_interval);
        3 * nanos(config.probation)
            + 8 * self.plan.longest_lease
            + 2 * patience
            + 40 * self.plan.heartbeat
            + 6 * call
            + 75 * SEC
            + 2 * reconcile
            + nanos(config.groups[0].preempt_delay)
    }

    /// A calm start: one mute, one skew, a claim; and where the best must lead, its delay.
    fn forming_bound(&self) -> Nanos {
        let config = &self.plan.configs[0];
        let delay = config.groups.iter().map(|group| nanos(group.preempt_delay)).max();
        2 * nanos(config.probation)
            + 5 * self.plan.lease
            + 20 * self.plan.heartbeat
            + 2 * nanos(config.call_timeout)
            + delay.unwrap_or(0)
            + 6 * SEC
    }

    /// Terms in use are reserved on disk, in the background but soon (I4).
    fn judge_ceilings(&mut self) {
        let patience = 2 * self.plan.mix.disk_delay + 4 * self.plan.heartbeat;
        for node in 0..self.plan.voters() {
            let host = &mut self.hosts[node];
            let ceiling = host.disk.as_ref().map_or(0, |disk| disk.ceiling.0);
            let used = self.observer.used[node];
            if used <= ceiling || host.process.is_none() || host.disk_fails || host.frozen.is_some()
            {
                host.short_since = None;
                continue;
            }
            let since = *host.short_since.get_or_insert(self.now);
            if self.now > since + patience && !self.stage.disk_trouble {
                let name = self.plan.name(node);
                let what = || format!("{name} used term {used}, and {ceiling} are reserved");
                self.observer.violate("I4", what);
            }
        }
    }

    /// A daemon that is asked to stop does.
    fn judge_stops(&mut self) {
        let config = &self.plan.configs[0];
        let patience =
            3 * self.plan.longest_lease + 2 * nanos(config.call_timeout) + 4 * self.plan.heartbeat;
        for node in 0..self.plan.voters() {
            let host = &self.hosts[node];
            let asked = host.process.as_ref().and_then(|process| process.stopping);
            if asked.is_some_and(|at| host.frozen.is_none() && self.now > at + patience)
                && !self.faults
            {
                self.observer
                    .violate("liveness", || format!("{} does not stop", self.plan.name(node)));
            }
        }
    }

    /// Every request was answered, and every command told its outcome.
    fn judge_exchanges(&mut self) {
        let call = nanos(self.plan.configs[0].call_timeout);
        let patience = 8 * self.plan.longest_lease + 8 * self.plan.heartbeat + 6 * call;
        let overdue = |at: Nanos| self.now > at + patience;
        let forgotten = self.commands.iter().position(|command| {
            command.done.is_none()
                && overdue(command.at)
                && self.hosts[command.node].runs(command.life)
        });
        if let Some(id) = forgotten {
            self.observer.violate("liveness", || format!("command {id} was never done"));
        }
    }
}
