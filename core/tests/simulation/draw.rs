//! How a seed draws its scenario, its cluster and its mix of faults.

use std::sync::Arc;
use std::time::Duration;

use vipward_core::{
    AddressKind, CheckConfig, CheckEffect, ClaimMode, Config, Digest, GroupConfig, NodeConfig,
    NodeId, Priority, Repair, Timing,
};

use crate::clock::{MILLION, MS, Nanos, SEC};
use crate::dice::Dice;
use crate::plan::{Bystander, CloudMix, KINDS, Kind, MasterFault, Mix, Scenario, VOTERS};

pub(crate) fn draw_scenario(dice: &mut Dice) -> Scenario {
    match dice.weighted(&[66, 17, 17]) {
        0 => Scenario::Swarm,
        1 => Scenario::Bystander(dice.pick(&[
            Bystander::Crash,
            Bystander::QuickRestart,
            Bystander::HostDeath,
            Bystander::Freeze,
            Bystander::FreezeClock,
            Bystander::Stop,
            Bystander::OneLink,
            Bystander::OneLinkOfAll,
            Bystander::OneLinkRefused,
            Bystander::PairCut,
            Bystander::PairCutOneWay,
            Bystander::PairSlow,
            Bystander::CloudDown,
            Bystander::Sick,
            Bystander::DiskFails,
            Bystander::Preflight,
        ])),
        _ => Scenario::Master(dice.pick(&[
            MasterFault::Kill,
            MasterFault::KillQuickRestart,
            MasterFault::HostDeath,
            MasterFault::Freeze,
            MasterFault::FreezeClock,
            MasterFault::Isolate,
            MasterFault::Stop,
            MasterFault::Switchover,
            MasterFault::FatalCheck,
        ])),
    }
}

pub(crate) fn draw_configs(
    dice: &mut Dice,
    scenario: Scenario,
    voters: usize,
    links: &[u8],
    (heartbeat, misses): (Nanos, u32),
) -> Vec<Arc<Config>> {
    let witnesses = match voters {
        2 => 0,
        3 | 4 => dice.index(2),
        _ => dice.index(3),
    };
    let mut witness = vec![false; voters];
    for _ in 0..witnesses {
        witness[dice.index(voters)] = true;
    }
    let calm = scenario != Scenario::Swarm;
    let groups = [1, 2, 3][dice.weighted(&[65, 25, 10])];
    let groups: Vec<GroupConfig> =
        (0..groups).map(|group| draw_group(dice, group, &witness, heartbeat, calm)).collect();
    let scale = heartbeat.min(SEC);
    let reconcile = if heartbeat < 100 * MS {
        dice.between(30, 100) * heartbeat
    } else if calm {
        dice.between(3, 8) * SEC
    } else {
        dice.between(5, 30) * SEC
    };
    let call_timeout = if calm {
        dice.between(20 * scale, 30 * scale).max(SEC)
    } else {
        dice.between(3 * scale, 10 * scale)
    };
    let timing = Timing::new(
        Duration::from_nanos(heartbeat),
        misses,
        Duration::from_nanos(reconcile),
        dice.percent(85),
    )
    .expect("drawn within its bounds");
    let check = |name: &str, effect| CheckConfig {
        name: name.into(),
        rise: 2,
        fall: 2,
        effect,
        groups: Vec::new(),
    };
    let template = Config {
        me: NodeId(0),
        nodes: Vec::new(),
        timing,
        groups,
        checks: vec![check("weight", CheckEffect::Weight(50)), check("fatal", CheckEffect::Fatal)],
        shared: Digest([7; 32]),
        scanned: false,
        probation: Duration::ZERO,
        restart_grace: Duration::from_secs(3_600),
        last_resort: false,
        repair: Repair::Off,
        call_timeout: Duration::from_nanos(call_timeout),
        claim: if dice.percent(65) { ClaimMode::Fast } else { ClaimMode::Fenced },
        moves_per_hour: if calm || dice.percent(85) { 1_000 } else { 2 + dice.below(8) as u32 },
        repairs: 1 + dice.below(4) as u32,
    };
    let name = |node: usize| {
        let kind = if witness[node] { "witness" } else { "lb" };
        format!("{}-{kind}", ["a", "b", "c", "d", "e"][node])
    };
    let of = |me: usize| {
        let mut config = template.clone();
        config.me = NodeId(me as u8);
        config.nodes = (0..voters)
            .map(|node| NodeConfig {
                name: name(node),
                witness: witness[node],
                links: links[me].max(links[node]),
            })
            .collect();
        Arc::new(config)
    };
    (0..voters).map(of).collect()
}

fn draw_group(
    dice: &mut Dice,
    group: usize,
    witness: &[bool],
    heartbeat: Nanos,
    calm: bool,
) -> GroupConfig {
    let balancers = witness.iter().filter(|witness| !**witness).count();
    let mut priorities: Vec<Option<Priority>> = Vec::new();
    for witness in witness {
        let outside = !calm && balancers > 2 && dice.percent(15);
        let priority = dice.pick(&[1, 50, 100, 100, 150, 200, 254]);
        let named = !witness && !outside;
        priorities.push(named.then(|| Priority::try_from(priority).expect("1 to 254")));
    }
    let addresses = (0..dice.weighted(&[15, 60, 25])).map(|_| match dice.percent(35) {
        true => AddressKind::SecondaryIp,
        false => AddressKind::ElasticIp,
    });
    let addresses = addresses.collect();
    GroupConfig {
        name: ["web", "api", "mail"][group].into(),
        priorities,
        preempt: dice.percent(25),
        preempt_delay: Duration::from_nanos(dice.between(0, 20) * heartbeat),
        addresses,
    }
}

fn rates(dice: &mut Dice) -> [u64; VOTERS] {
    let wrong = if dice.percent(50) { 45_000 } else { 500 };
    std::array::from_fn(|_| match dice.below(3) {
        0 => MILLION - wrong,
        1 => MILLION + wrong,
        _ => MILLION - wrong + dice.below(2 * wrong),
    })
}

pub(crate) fn draw_mix(dice: &mut Dice, heartbeat: Nanos, lease: Nanos) -> Mix {
    let kinds = loop {
        let share = dice.pick(&[10, 25, 50]);
        let kinds: Vec<Kind> = KINDS.into_iter().filter(|_| dice.percent(share)).collect();
        if !kinds.is_empty() {
            break kinds;
        }
    };
    let scale = heartbeat.min(SEC);
    let often = |dice: &mut Dice, choices: &[u64]| dice.pick(choices);
    let cloud = CloudMix {
        latency: (scale / 20, scale * dice.between(1, 40) / 10),
        edge: if dice.percent(70) { heartbeat / 100 } else { lease },
        unknown: often(dice, &[0, 0, 10, 30, 60]),
        throttled: often(dice, &[0, 0, 5, 30]),
        refused: often(dice, &[0, 0, 0, 5]),
        effect: often(dice, &[0, 50, 90]),
        late_most: (heartbeat * dice.between(1, 150)).min(180 * SEC),
        stale: often(dice, &[0, 0, 20, 60]),
        stale_most: (heartbeat * dice.between(1, 20)).min(10 * SEC),
        hints: dice.percent(60),
    };
    let reloads = kinds.contains(&Kind::Reload);
    Mix {
        delay: (heartbeat / 1_000, heartbeat * dice.between(1, 40) / 100),
        loss: often(dice, &[0, 0, 600, 3_000, 12_000]),
        slow: often(dice, &[0, 0, 600, 6_000]),
        twice: often(dice, &[0, 0, 2_000, 12_000]),
        slow_most: dice.between(heartbeat, 3 * lease),
        hostile: often(dice, &[0, 50]),
        resend: dice.percent(70),
        rates: rates(dice),
        kinds,
        gap: heartbeat * dice.between(2, 16),
        outage: dice.between(heartbeat, 6 * lease),
        trigger: often(dice, &[0, 0, 5, 20, 50]),
        wake_late: if dice.percent(70) { heartbeat / 50 } else { heartbeat / 2 },
        lose_disk: if reloads { 0 } else { often(dice, &[0, 0, 0, 50]) },
        disk_delay: if dice.percent(80) { heartbeat / 10 } else { 2 * lease },
        kernel_delay: if dice.percent(80) { heartbeat / 10 } else { 2 * lease },
        cloud,
    }
}

pub(crate) fn calm_mix(dice: &mut Dice, heartbeat: Nanos, fast: bool, by_id: bool) -> Mix {
    let scale = heartbeat.min(SEC);
    let latency = (scale / 20, scale * dice.between(1, 20) / 10);
    // Where no id tells a stale read, two reads two seconds apart are not both stale.
    let consistent = if by_id { 5 * SEC } else { (2 * SEC).saturating_sub(latency.1) };
    let cloud = CloudMix {
        latency,
        edge: heartbeat / 100,
        unknown: 0,
        throttled: 0,
        refused: 0,
        effect: 0,
        late_most: 0,
        // Eventual consistency is no failure; but a fence is only as good as what was read.
        stale: if fast { dice.pick(&[0, 20, 60]) } else { 0 },
        stale_most: (heartbeat * dice.between(1, 10)).min(consistent),
        hints: dice.percent(80),
    };
    Mix {
        delay: (heartbeat / 1_000, heartbeat * dice.between(1, 5) / 100),
        loss: 0,
        slow: 0,
        twice: 0,
        slow_most: 0,
        hostile: 0,
        resend: true,
        rates: rates(dice),
        kinds: Vec::new(),
        gap: 0,
        outage: 0,
        trigger: 0,
        wake_late: heartbeat / 100,
        lose_disk: 0,
        disk_delay: heartbeat / 10,
        kernel_delay: heartbeat / 10,
        cloud,
    }
}
