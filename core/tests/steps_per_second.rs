//! How fast the core is: `cargo test --release --test steps_per_second -- --ignored --nocapture`
//! prints the steps that one core of this machine makes in a second. It is a measurement, not a
//! test, and so it runs only when asked for.

#![allow(clippy::expect_used)] // It is a test.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use vipward_core::{
    BootId, ClaimMode, Config, Digest, GroupConfig, Input, LinkId, Node, NodeConfig, NodeId,
    Output, Priority, Repair, RequestId, Timestamp, Timing,
};

const NODES: u8 = 3;
const ROUNDS: u64 = 200_000;

fn config(me: u8) -> Arc<Config> {
    let interval = Duration::from_millis(200);
    let priority = |node: u8| Some(Priority::try_from(200 - node).expect("1 to 254"));
    Arc::new(Config {
        me: NodeId(me),
        nodes: (0..NODES)
            .map(|node| NodeConfig { name: format!("lb-{node}"), witness: false, links: 1 })
            .collect(),
        timing: Timing::new(interval, 3, Duration::from_secs(30), true).expect("valid"),
        groups: vec![GroupConfig {
            name: "web".into(),
            priorities: (0..NODES).map(priority).collect(),
            preempt: false,
            preempt_delay: Duration::ZERO,
            addresses: Vec::new(),
        }],
        checks: Vec::new(),
        shared: Digest([7; 32]),
        scanned: false,
        probation: Duration::ZERO,
        restart_grace: Duration::from_secs(3_600),
        last_resort: false,
        repair: Repair::Off,
        call_timeout: Duration::from_secs(5),
        claim: ClaimMode::Fast,
        moves_per_hour: 12,
        repairs: 3,
    })
}

/// Three nodes, a perfect network, nothing but heartbeats once one of them leads.
#[test]
#[ignore = "a measurement"]
#[allow(clippy::disallowed_methods)] // It measures.
fn steps_per_second() {
    let boot = |node: u8| BootId(u128::from(node) + 1);
    let mut nodes: Vec<Node> = (0..NODES)
        .map(|me| Node::new(config(me), boot(me), u64::from(me), None, Timestamp::default()))
        .collect();
    let mut post: VecDeque<(u8, Input)> = VecDeque::new();
    let mut asked: VecDeque<(u64, u8)> = VecDeque::new();
    let (mut requests, mut steps) = (0, 0_u64);
    let started = std::time::Instant::now();
    for _ in 0..ROUNDS {
        let now = nodes.iter().map(Node::next_deadline).min().expect("three nodes");
        for me in 0..NODES {
            post.push_back((me, Input::DeadlineReached));
        }
        while let Some((me, input)) = post.pop_front() {
            steps += 1;
            for output in nodes[usize::from(me)].step(now, input) {
                match output {
                    Output::Send { to, request } => {
                        requests += 1;
                        asked.push_back((requests, me));
                        let (id, link) = (RequestId(requests), LinkId(0));
                        let (from, boot) = (NodeId(me), boot(me));
                        post.push_back((to.0, Input::Request { from, boot, link, id, request }));
                    }
                    Output::Answer { id, answer } => {
                        let place = asked.iter().position(|(known, _)| *known == id.0);
                        let asker = place.and_then(|place| asked.remove(place));
                        let Some((_, asker)) = asker else { continue };
                        let (from, to_boot, link) = (NodeId(me), boot(asker), LinkId(0));
                        let boot = boot(me);
                        post.push_back((
                            asker,
                            Input::Answer { from, boot, to_boot, link, answer },
                        ));
                    }
                    Output::Probe { .. }
                    | Output::Compare { .. }
                    | Output::Pull { .. }
                    | Output::Call(_)
                    | Output::Persist(_)
                    | Output::OperatorDone { .. }
                    | Output::Kernel { .. }
                    | Output::Hook(_)
                    | Output::Event(_)
                    | Output::Stopped => {}
                }
            }
        }
    }
    let took = started.elapsed().as_secs_f64();
    let masters = nodes.iter().filter(|node| {
        let status = node.status(Timestamp::default());
        status.groups.iter().any(|group| group.role == vipward_core::RoleName::Master)
    });
    assert_eq!(masters.count(), 1, "they do elect");
    println!("{steps} steps in {took:.2} s: {:.0} steps/s on one core", steps as f64 / took);
}
