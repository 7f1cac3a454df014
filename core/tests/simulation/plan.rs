//! What one seed is made of: its cluster, its scenario and its mix of faults. Drawn per seed, so
//! that calm and wild runs both happen, each with some kinds of fault and without others.

use std::sync::Arc;
use std::time::Duration;

use vipward_core::{AddressKind, ClaimMode, Config, Timing};

use crate::clock::{MS, Nanos};
use crate::dice::Dice;
use crate::draw::{calm_mix, draw_configs, draw_mix, draw_scenario};
use crate::gate::GatePlan;

/// The most voters, groups and addresses of a group that a seed draws.
pub(crate) const VOTERS: usize = 5;
pub(crate) const GROUPS: usize = 3;
pub(crate) const ADDRESSES: usize = 2;

/// What happens in a seed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Scenario {
    /// Many faults, of the kinds that the seed drew, and then none.
    Swarm,
    /// A calm cluster and one failure that is not a master's own: nothing may move (I6).
    Bystander(Bystander),
    /// A calm cluster and one failure of a master: one successor, in time (I7, liveness).
    Master(MasterFault),
}

/// One failure beside a master.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Bystander {
    Crash,
    QuickRestart,
    HostDeath,
    Freeze,
    FreezeClock,
    Stop,
    OneLink,
    OneLinkOfAll,
    OneLinkRefused,
    PairCut,
    PairCutOneWay,
    PairSlow,
    CloudDown,
    Sick,
    DiskFails,
    Preflight,
    // Of the gate: configurations change, and operators act.
    Changes,
    Edits,
    AllChange,
    RestartsOther,
    Admitted,
    Maintained,
}

/// One failure of a master.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum MasterFault {
    Kill,
    KillQuickRestart,
    HostDeath,
    Freeze,
    FreezeClock,
    Isolate,
    Stop,
    Switchover,
    FatalCheck,
}

/// The kinds of fault of a swarm.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Crash,
    HostDeath,
    Pause,
    PauseClock,
    Stop,
    RestartAll,
    CutLink,
    CutPair,
    CutOneWay,
    Isolate,
    Split,
    Reset,
    RefusedLink,
    Sick,
    Switchover,
    Reload,
    Disk,
    Drift,
    Cloud,
    Denied,
    Thief,
    Preflight,
    Networkd,
    Kernel,
    // Of the gate.
    Change,
    Edit,
    Rollout,
    RestartOther,
    RestartAllNew,
    Admit,
    Maintain,
    Force,
}

pub(crate) const KINDS: [Kind; 24] = [
    Kind::Crash,
    Kind::HostDeath,
    Kind::Pause,
    Kind::PauseClock,
    Kind::Stop,
    Kind::RestartAll,
    Kind::CutLink,
    Kind::CutPair,
    Kind::CutOneWay,
    Kind::Isolate,
    Kind::Split,
    Kind::Reset,
    Kind::RefusedLink,
    Kind::Sick,
    Kind::Switchover,
    Kind::Reload,
    Kind::Disk,
    Kind::Drift,
    Kind::Cloud,
    Kind::Denied,
    Kind::Thief,
    Kind::Preflight,
    Kind::Networkd,
    Kind::Kernel,
];

pub(crate) const GATE_KINDS: [Kind; 8] = [
    Kind::Change,
    Kind::Edit,
    Kind::Rollout,
    Kind::RestartOther,
    Kind::RestartAllNew,
    Kind::Admit,
    Kind::Maintain,
    Kind::Force,
];

/// How bad this seed's world is.
pub(crate) struct Mix {
    /// One way through the network, when all is well.
    pub(crate) delay: (Nanos, Nanos),
    /// In 65,536ths of all messages: lost, slow, twice.
    pub(crate) loss: u64,
    pub(crate) slow: u64,
    pub(crate) twice: u64,
    pub(crate) slow_most: Nanos,
    /// How often an answer meant for an earlier boot is delivered all the same, in percent.
    pub(crate) hostile: u64,
    /// Whether the transport sends again what was refused for its boot id.
    pub(crate) resend: bool,
    pub(crate) rates: [u64; VOTERS],
    pub(crate) kinds: Vec<Kind>,
    /// The mean time between two faults, and the longest time that one lasts.
    pub(crate) gap: Nanos,
    pub(crate) outage: Nanos,
    /// How often a fault strikes just after a vote, an election or a call, in percent.
    pub(crate) trigger: u64,
    /// How late a deadline may be told.
    pub(crate) wake_late: Nanos,
    /// How often a restart finds its disk empty, in percent.
    pub(crate) lose_disk: u64,
    pub(crate) disk_delay: Nanos,
    /// How long an order to the kernel may take.
    pub(crate) kernel_delay: Nanos,
    pub(crate) cloud: CloudMix,
}

/// How bad the cloud is while faults last.
pub(crate) struct CloudMix {
    /// One way to the cloud and back.
    pub(crate) latency: (Nanos, Nanos),
    /// The edge's delay between an order and its sending.
    pub(crate) edge: Nanos,
    /// In percent of the calls.
    pub(crate) unknown: u64,
    pub(crate) throttled: u64,
    pub(crate) refused: u64,
    /// Of those with an unknown outcome, in percent: takes effect, at most so late.
    pub(crate) effect: u64,
    pub(crate) late_most: Nanos,
    /// Of the reads, in percent: shows the past, at most so long ago.
    pub(crate) stale: u64,
    pub(crate) stale_most: Nanos,
    /// Whether the metadata service hints at moves.
    pub(crate) hints: bool,
}

/// A seed's cluster and scenario.
pub(crate) struct Plan {
    pub(crate) scenario: Scenario,
    pub(crate) mix: Mix,
    /// What the gate's world is like, in the seeds that have a gate.
    pub(crate) gate: Option<GatePlan>,
    /// The configuration of each node.
    pub(crate) configs: Vec<Arc<Config>>,
    links: Vec<u8>,
    pub(crate) heartbeat: Nanos,
    pub(crate) lease: Nanos,
    /// The longest and the shortest lease that a reload brings.
    pub(crate) longest_lease: Nanos,
    pub(crate) shortest_lease: Nanos,
    /// How long faults last.
    pub(crate) length: Nanos,
}

impl Plan {
    pub(crate) fn voters(&self) -> usize {
        self.configs.len()
    }

    pub(crate) fn groups(&self) -> usize {
        self.configs[0].groups.len()
    }

    pub(crate) fn kind(&self, group: usize, address: usize) -> AddressKind {
        self.configs[0].groups[group].addresses[address]
    }

    pub(crate) fn addresses(&self, group: usize) -> usize {
        self.configs[0].groups[group].addresses.len()
    }

    pub(crate) fn name(&self, node: usize) -> &str {
        &self.configs[0].nodes[node].name
    }

    /// How many links there are between two nodes.
    pub(crate) fn links(&self, a: usize, b: usize) -> u8 {
        self.links[a].max(self.links[b])
    }

    /// Draws everything. The gate has dice of its own, so that a seed without one is the same as
    /// it would be if there were no gate at all.
    pub(crate) fn draw(dice: &mut Dice, gate_dice: &mut Dice) -> Self {
        let mut scenario = draw_scenario(dice);
        let voters = [2, 3, 4, 5][dice.weighted(&[6, 60, 12, 22])];
        let most_links = if voters > 3 { 1 } else { [1, 2, 3][dice.weighted(&[60, 30, 10])] };
        let needs_links = matches!(
            scenario,
            Scenario::Bystander(
                Bystander::OneLink | Bystander::OneLinkOfAll | Bystander::OneLinkRefused
            )
        );
        let links: Vec<u8> = (0..voters)
            .map(|_| match (needs_links, dice.percent(80)) {
                (true, _) => 2,
                (false, true) => most_links,
                (false, false) => 1,
            })
            .collect();
        let heartbeat = dice.pick(&[10, 20, 50, 100, 200, 200, 500, 1_000, 1_000, 2_000]) * MS;
        let misses = dice.pick(&[2, 3, 3, 3, 4, 5]);
        let lease = heartbeat * Nanos::from(misses);
        let mut configs = draw_configs(dice, scenario, voters, &links, (heartbeat, misses));
        let mut mix = match scenario {
            Scenario::Swarm => draw_mix(dice, heartbeat, lease),
            Scenario::Bystander(_) | Scenario::Master(_) => {
                let fast = configs[0].claim == ClaimMode::Fast;
                let by_id = !configs[0]
                    .groups
                    .iter()
                    .any(|group| group.addresses.contains(&AddressKind::SecondaryIp));
                calm_mix(dice, heartbeat, fast, by_id)
            }
        };
        let calm = scenario != Scenario::Swarm;
        let gate = GatePlan::draw(gate_dice, &mut configs, (heartbeat, lease), calm);
        if gate.is_some() && calm {
            GatePlan::replace(gate_dice, &mut scenario);
        } else if gate.is_some() {
            GatePlan::add_kinds(gate_dice, &mut mix);
        }
        let voters = voters as u64;
        let copies: u64 = u64::from(links.iter().copied().max().unwrap_or(1));
        let steps = voters * (voters - 1) * copies * 2 + voters * 2;
        let intervals = (6_000 / steps).clamp(30, 300) * if dice.percent(4) { 3 } else { 1 };
        let length = heartbeat * intervals;
        Self {
            scenario,
            mix,
            gate,
            configs,
            links,
            heartbeat,
            lease,
            longest_lease: lease,
            shortest_lease: lease,
            length,
        }
    }

    /// The same node's configuration with another heartbeat interval.
    pub(crate) fn retimed(config: &Config, heartbeat: Nanos, misses: u32) -> Arc<Config> {
        let timing = Timing::new(
            Duration::from_nanos(heartbeat),
            misses,
            config.timing.reconcile_interval,
            config.timing.crash_detection,
        );
        let mut config = config.clone();
        config.timing = timing.expect("drawn within its bounds");
        Arc::new(config)
    }
}
