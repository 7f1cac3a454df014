//! The configurations of the tests.

use std::time::Duration;

use vipward_core::*;

use crate::fixture::{H, priority, timing};

/// Two balancers and a witness, one link, one group with one elastic IP.
pub(crate) fn config(me: NodeId) -> Config {
    let node = |name: &str, witness| NodeConfig { name: name.into(), witness, links: 1 };
    Config {
        me,
        nodes: vec![node("lb-a", false), node("lb-b", false), node("witness", true)],
        timing: timing(H, 3),
        groups: vec![GroupConfig {
            name: "web".into(),
            priorities: vec![Some(priority(200)), Some(priority(100)), None],
            preempt: false,
            preempt_delay: Duration::from_secs(60),
            addresses: vec![AddressKind::ElasticIp],
        }],
        checks: Vec::new(),
        shared: Digest([7; 32]),
        scanned: false,
        probation: Duration::from_secs(30),
        restart_grace: Duration::from_secs(15),
        last_resort: false,
        repair: Repair::Off,
        call_timeout: Duration::from_secs(5),
        claim: ClaimMode::Fast,
        moves_per_hour: 12,
        repairs: 3,
    }
}

/// A third balancer in the place of the witness, of priority 50.
pub(crate) fn three_balancers(me: NodeId) -> Config {
    let mut config = config(me);
    config.nodes[2] = NodeConfig { name: "lb-c".into(), witness: false, links: 1 };
    config.groups[0].priorities[2] = Some(priority(50));
    config
}

/// The same with a secondary private address instead of the elastic IP.
pub(crate) fn secondary(me: NodeId) -> Config {
    with(config(me), |config| config.groups[0].addresses = vec![AddressKind::SecondaryIp])
}

/// The same with both: the elastic IP first.
pub(crate) fn mixed(me: NodeId) -> Config {
    with(config(me), |config| config.groups[0].addresses = AddressKind::ALL.to_vec())
}

pub(crate) fn with(mut config: Config, change: impl FnOnce(&mut Config)) -> Config {
    change(&mut config);
    config
}
