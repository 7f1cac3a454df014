//! Single failures of a calm cluster, and what they may cost.

use vipward_core::{Cause, ClaimMode, GroupId, Switchover};

use crate::clock::Nanos;
use crate::cloud::Owner;
use crate::observer::nanos;
use crate::plan::{Bystander, GROUPS, MasterFault, Plan, Scenario};
use crate::scenario::Watch;
use crate::world::{Event, World};

impl World {
    /// One failure strikes. Returns until when it is watched.
    pub(crate) fn fail_one(&mut self) -> Nanos {
        let leader = |group: usize| {
            let node = self.leader_of(group)?;
            Some((node, self.observer.term_of(node, group)?))
        };
        let masters: [Option<(usize, u64)>; GROUPS] =
            std::array::from_fn(
                |group| if group < self.plan.groups() { leader(group) } else { None },
            );
        let elections = std::array::from_fn(|group| self.observer.elections[group].len());
        let master = masters[0].map_or(0, |(node, _)| node);
        let node = match self.plan.scenario {
            Scenario::Swarm | Scenario::Master(_) => master,
            Scenario::Bystander(_) => {
                let other = self.dice.index(self.plan.voters() - 1);
                if other >= master { other + 1 } else { other }
            }
        };
        let calls = self.observer.takeovers.len();
        self.stage.watch = Some(Watch { at: self.now, node, masters, elections, calls });
        self.trace.line(self.now, node, || format!("FAILS: {:?}", self.plan.scenario));
        match self.plan.scenario {
            Scenario::Swarm => self.now,
            Scenario::Bystander(fault) => self.fail_bystander(fault, node, master),
            Scenario::Master(fault) => self.fail_master(fault, node),
        }
    }

    fn fail_bystander(&mut self, fault: Bystander, node: usize, master: usize) -> Nanos {
        let lease = self.plan.lease;
        let outage = self.dice.spread(self.plan.heartbeat / 10, 4 * lease);
        let end = self.now + outage + 4 * lease;
        let pair = |plan: &Plan, a: usize, b: usize| {
            (0..plan.links(a, b)).map(move |link| (a, b, link)).collect::<Vec<_>>()
        };
        match fault {
            Bystander::Crash => {
                self.crash(node, false);
                self.queue.push(self.now + outage, Event::Boot { node });
            }
            Bystander::QuickRestart => {
                self.crash(node, false);
                let soon = self.dice.between(0, self.plan.heartbeat / 4);
                self.queue.push(self.now + soon, Event::Boot { node });
            }
            Bystander::HostDeath => {
                self.crash(node, true);
                self.queue.push(self.now + outage, Event::Boot { node });
            }
            Bystander::Freeze => self.freeze(node, outage, false),
            Bystander::FreezeClock => self.freeze(node, outage, true),
            Bystander::Stop => {
                self.stop(node);
                let later = self.now + outage + 2 * lease;
                self.queue.push(later, Event::Boot { node });
            }
            Bystander::OneLink => self.cut(&[(node, master, 0), (master, node, 0)]),
            Bystander::OneLinkOfAll => {
                let voters = self.plan.voters();
                let links: Vec<_> =
                    (0..voters).flat_map(|a| (0..voters).map(move |b| (a, b, 1))).collect();
                self.cut(&links);
            }
            Bystander::OneLinkRefused => {
                self.network.refused[node][master][1] = 1;
                self.network.refused[master][node][1] = 1;
            }
            Bystander::PairCut => {
                let mut links = pair(&self.plan, node, master);
                links.extend(pair(&self.plan, master, node));
                self.cut(&links);
            }
            Bystander::PairCutOneWay => {
                let (from, to) =
                    if self.dice.percent(50) { (node, master) } else { (master, node) };
                let links = pair(&self.plan, from, to);
                self.cut(&links);
            }
            Bystander::PairSlow => {
                let slow = self.dice.between(0, 3 * self.plan.heartbeat);
                self.network.slowed[node][master] = slow;
                self.network.slowed[master][node] = slow;
            }
            Bystander::CloudDown => self.cloud.unreachable[node] = true,
            Bystander::Sick => {
                let check = self.dice.index(2);
                self.set_check(node, check, true);
            }
            Bystander::DiskFails => self.hosts[node].disk_fails = true,
            Bystander::Changes
            | Bystander::Edits
            | Bystander::AllChange
            | Bystander::RestartsOther
            | Bystander::Admitted
            | Bystander::Maintained => return self.fail_gate(fault, node, end),
            Bystander::Preflight => {
                self.hosts[node].preflight_bad = true;
                self.tell_preflight(node);
            }
        }
        end
    }

    fn fail_master(&mut self, fault: MasterFault, node: usize) -> Nanos {
        let lease = self.plan.lease;
        let mut back = self.now + 3 * lease + self.dice.between(0, 2 * lease);
        match fault {
            MasterFault::Kill => self.crash(node, false),
            MasterFault::KillQuickRestart => {
                self.crash(node, false);
                back = self.now + self.dice.between(0, self.plan.heartbeat / 4);
            }
            MasterFault::HostDeath => self.crash(node, true),
            MasterFault::Freeze => self.freeze(node, back - self.now, false),
            MasterFault::FreezeClock => self.freeze(node, back - self.now, true),
            MasterFault::Isolate => {
                let plan = &self.plan;
                let others = (0..plan.voters()).filter(|other| *other != node);
                let links: Vec<_> = others
                    .flat_map(|b| {
                        (0..plan.links(node, b)).flat_map(move |l| [(node, b, l), (b, node, l)])
                    })
                    .collect();
                self.cut(&links);
                self.queue.push(back, Event::Fault(crate::faults::Fault::Heals(links)));
            }
            MasterFault::Stop => self.stop(node),
            MasterFault::Switchover => {
                let asked = self.dice.index(self.plan.voters());
                let switchover = Switchover { group: GroupId(0), to: None, force: false };
                self.ask_switchover(asked, switchover);
            }
            MasterFault::FatalCheck => self.set_check(node, 1, true),
        }
        if matches!(
            fault,
            MasterFault::Kill | MasterFault::KillQuickRestart | MasterFault::HostDeath
        ) {
            self.queue.push(back, Event::Boot { node });
        }
        let config = &self.plan.configs[0];
        let claims = 4 * self.plan.mix.cloud.latency.1 + 4 * self.plan.heartbeat;
        back.max(self.now + 3 * lease + claims)
            + 4 * lease
            + claims
            + nanos(config.call_timeout) / 4
    }

    /// The groups that the failure is no affair of.
    fn is_judged(&self, watch: &Watch, group: usize) -> bool {
        let Scenario::Bystander(fault) = self.plan.scenario else { return false };
        let Some((master, _)) = watch.masters[group] else { return false };
        let few = self.plan.voters() < 3;
        match fault {
            Bystander::OneLink
            | Bystander::OneLinkOfAll
            | Bystander::OneLinkRefused
            | Bystander::DiskFails
            | Bystander::Changes
            | Bystander::Edits
            | Bystander::AllChange => true,
            Bystander::PairCut | Bystander::PairCutOneWay | Bystander::PairSlow => !few,
            Bystander::Crash
            | Bystander::QuickRestart
            | Bystander::HostDeath
            | Bystander::Freeze
            | Bystander::FreezeClock
            | Bystander::Stop
            | Bystander::RestartsOther
            | Bystander::Admitted
            | Bystander::Maintained => !few && master != watch.node,
            Bystander::CloudDown | Bystander::Sick | Bystander::Preflight => master != watch.node,
        }
    }

    /// I6, all the while: the same master in the same term, and not one mutating call.
    pub(crate) fn watches(&mut self) {
        let Some(watch) = &self.stage.watch else { return };
        let mut broken = None;
        for group in 0..self.plan.groups() {
            if !self.is_judged(watch, group) {
                continue;
            }
            let Some((master, term)) = watch.masters[group] else { continue };
            let at = self.hosts[master].clock.at(self.now);
            if !self.observer.leads(master, group, at)
                || self.observer.term_of(master, group) != Some(term)
            {
                broken = Some(format!("{} lost group {group}", self.plan.name(master)));
            }
            if !self.has_all_in_kernel(master, group) {
                let master = self.plan.name(master);
                broken = Some(format!("the kernel of {master} lost an address of {group}"));
            }
            if self.observer.takeovers[watch.calls..].iter().any(|call| call.group == group) {
                broken = Some(format!("calls were made for group {group}"));
            }
        }
        if let Some(what) = broken {
            let scenario = self.plan.scenario;
            self.observer.violate("I6", || format!("{what}, for {scenario:?}"));
        }
    }

    /// When the watch is over.
    pub(crate) fn judge_watch(&mut self) {
        let Some(watch) = self.stage.watch.take() else { return };
        if let Scenario::Master(fault) = self.plan.scenario {
            for group in 0..self.plan.groups() {
                let hit = watch.masters[group].is_some_and(|(node, _)| node == watch.node);
                let asked = fault != MasterFault::Switchover || group == 0;
                if hit && asked && self.has_successor(&watch, group) {
                    self.judge_takeover(&watch, fault, group);
                    self.judge_kernels(fault, group);
                }
            }
        }
        if self.plan.scenario == Scenario::Master(MasterFault::Switchover)
            && self.has_successor(&watch, 0)
        {
            let told = self.commands.first().and_then(|command| command.done);
            if !matches!(told, Some(Ok(_))) {
                let what = || format!("the operator was told {told:?}");
                self.observer.violate("liveness", what);
            }
        }
        if let Scenario::Bystander(_) = self.plan.scenario
            && self.plan.voters() == 2
        {
            self.judge_pair(&watch);
        }
        self.judge_counts(&watch);
    }

    fn has_successor(&self, watch: &Watch, group: usize) -> bool {
        let priorities = &self.plan.configs[0].groups[group].priorities;
        let others = priorities.iter().enumerate().filter(|(n, p)| *n != watch.node && p.is_some());
        others.count() > 0 && self.plan.voters() > 2
    }

    /// One successor, in time, that claims at once.
    fn judge_takeover(&mut self, watch: &Watch, fault: MasterFault, group: usize) {
        let elections = &self.observer.elections[group][watch.elections[group]..];
        let bound = self.election_bound(watch, fault, group);
        let Some(first) = elections.first().copied() else {
            let what = || format!("no successor for group {group} after {fault:?}");
            return self.observer.violate("liveness", what);
        };
        let took = first.at - watch.at;
        let back_at_once = fault == MasterFault::KillQuickRestart;
        if first.node == watch.node && !back_at_once {
            let what = || format!("the failed master of group {group} leads again first");
            return self.observer.violate("liveness", what);
        }
        if took > bound {
            let what = || {
                format!(
                    "group {group} was without master for {took} ns after {fault:?}, not {bound}"
                )
            };
            return self.observer.violate("liveness", what);
        }
        if let Some(cause) = self.expected_cause(fault)
            && first.cause != Some(cause)
        {
            let what = || format!("{fault:?} is journaled as {:?}", first.cause);
            return self.observer.violate("I8", what);
        }
        let next = elections.get(1).map_or(Nanos::MAX, |next| next.at);
        if first.node == watch.node || next < first.at + self.plan.heartbeat {
            return; // The addresses never left it, or were preempted at once.
        }
        let calls = &self.observer.takeovers[watch.calls..];
        for address in 0..self.plan.addresses(group) {
            let of = |c: &&crate::observer::Takeover| {
                (c.group, c.term, c.address) == (group, first.term, address)
            };
            let started = calls.iter().find(of).map(|call| call.at);
            if started.is_none_or(|at| at > first.at + self.plan.heartbeat) {
                let what = || format!("address {group}.{address} was not claimed at once");
                return self.observer.violate("liveness", what);
            }
        }
    }

    fn has_all_in_kernel(&self, node: usize, group: usize) -> bool {
        let kernel = &self.hosts[node].kernel[group];
        self.secondary().iter().all(|place| place.0 != group || kernel[place.1])
    }

    /// Once somebody leads for a while, the master's kernel has the addresses and no other; also
    /// where the old master's daemon has stopped.
    fn judge_kernels(&mut self, fault: MasterFault, group: usize) {
        let long = 2 * self.plan.lease + 2 * self.plan.heartbeat;
        let last = self.observer.elections[group].last();
        let Some(last) = last.filter(|last| last.at + long < self.now) else { return };
        if let Some(why) = self.kernels_unsettled(group, last.node) {
            self.observer.violate("I6", || format!("{why}, after {fault:?}"));
        }
    }

    /// Why the successor leads, in the journal's words; `None` where more than one is right.
    fn expected_cause(&self, fault: MasterFault) -> Option<Cause> {
        let detects = self.plan.configs[0].timing.crash_detection;
        match fault {
            MasterFault::Kill if detects => Some(Cause::MasterCrashed),
            MasterFault::Kill
            | MasterFault::HostDeath
            | MasterFault::Freeze
            | MasterFault::FreezeClock
            | MasterFault::Isolate => Some(Cause::MasterSilent),
            MasterFault::KillQuickRestart => None,
            MasterFault::Stop => Some(Cause::Resigned),
            MasterFault::Switchover => Some(Cause::Switchover),
            MasterFault::FatalCheck => Some(Cause::CheckFailed),
        }
    }

    /// From the failure to the election.
    fn election_bound(&self, watch: &Watch, fault: MasterFault, group: usize) -> Nanos {
        let config = &self.plan.configs[0];
        let heartbeat = self.plan.heartbeat;
        let hop = self.plan.mix.delay.1 + self.plan.mix.wake_late;
        let priorities = config.groups[group].priorities.iter().enumerate();
        let best = priorities.filter(|(node, _)| *node != watch.node).filter_map(|(_, p)| *p).max();
        let Some(best) = best else { return Nanos::MAX };
        let timer = nanos(config.timing.master_down_interval(best, 0));
        // The slowest clock; the last heartbeat may have been under way; the order of candidates.
        let silent = timer.max(self.plan.lease) * 1_000 / 955 + heartbeat / 8 + 5 * hop;
        match fault {
            MasterFault::Kill | MasterFault::KillQuickRestart => {
                if config.timing.crash_detection {
                    heartbeat + 10 * hop
                } else {
                    silent + heartbeat
                }
            }
            MasterFault::HostDeath
            | MasterFault::Freeze
            | MasterFault::FreezeClock
            | MasterFault::Isolate => silent + heartbeat,
            MasterFault::Stop | MasterFault::FatalCheck | MasterFault::Switchover => {
                heartbeat + 12 * hop
            }
        }
    }

    /// Two voters: the loss of one leaves a Holding master, and the addresses where they are.
    fn judge_pair(&mut self, watch: &Watch) {
        for group in 0..self.plan.groups() {
            let Some((master, _)) = watch.masters[group] else { continue };
            if master == watch.node || self.plan.configs[0].groups[group].preempt {
                continue;
            }
            for address in 0..self.plan.addresses(group) {
                let owner = self.cloud.addresses[group][address].owner();
                if owner != Some(Owner::Node(master)) {
                    let what = || format!("address {group}.{address} moved to {owner:?}");
                    self.observer.violate("I6", what);
                }
            }
        }
    }

    /// I7: per address and takeover one mutating call, or two where claims are fenced.
    fn judge_counts(&mut self, watch: &Watch) {
        let most = match self.plan.configs[0].claim {
            ClaimMode::Fast => 1,
            ClaimMode::Fenced => 2,
        };
        let calls: Vec<_> = self.observer.takeovers[watch.calls..].to_vec();
        for call in calls {
            // A second takeover on the heels of the first may meet what its reads did not show.
            let first = self.observer.elections[call.group].get(watch.elections[call.group]);
            if first.is_none_or(|first| first.term != call.term) {
                continue;
            }
            let made = self.observer.calls_in(call.group, call.term, call.address);
            if made > most {
                self.observer.violate("I7", || {
                    let (group, address, term) = (call.group, call.address, call.term);
                    let who = self.plan.name(call.node);
                    format!("{made} calls of {who} for address {group}.{address} in term {term}")
                });
            }
        }
    }
}
