//! What holds for every sequence of valid inputs.

use proptest::prelude::*;
use vipward_core::*;

use crate::fixture::*;
use crate::judge::Judge;
use crate::ops::{Op, op};

fn run(me: NodeId, ops: &[Op]) -> Judge {
    let mut judge = Judge::new(me);
    ops.iter().for_each(|op| judge.apply(op));
    judge
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    /// It never panics and always rests; promises never shrink and are exclusive; terms never
    /// decrease and no candidacy repeats one; nothing is changed in the cloud off a lease;
    /// no request is answered twice; what is written never shrinks.
    #[test]
    fn the_rules_hold_whatever_happens(me in 0..3_u8, ops in prop::collection::vec(op(), 1..250)) {
        run(NodeId(me), &ops);
    }

    #[test]
    fn the_same_inputs_give_the_same_orders(
        me in 0..3_u8,
        ops in prop::collection::vec(op(), 1..80),
    ) {
        let (first, second) = (run(NodeId(me), &ops), run(NodeId(me), &ops));
        prop_assert_eq!(first.all, second.all);
        prop_assert!(first.rig.node == second.rig.node);
    }

    /// After anything at all, two peers that grant and renew get a master within ten leases.
    #[test]
    fn it_recovers_from_anything(ops in prop::collection::vec(op(), 1..120)) {
        let ops: Vec<Op> = ops.into_iter().filter(|op| !matches!(op, Op::Stop)).collect();
        let mut judge = run(A, &ops);
        let rig = &mut judge.rig;
        rig.give(Input::CheckResult { check: CheckId(0), passed: true });
        rig.give(Input::Preflight { problems: Vec::new() });
        (rig.writes, rig.reads) = (true, true);
        rig.answering = vec![B, W];
        for peer in rig.node.status(rig.now).peers {
            // In the life that it is known in: a replaced one never returns.
            let life = peer.boot.map_or(1, |boot| boot.0 % 1_000);
            rig.lives[peer.node.index()] = life;
        }
        let until = rig.now + LEASE * 10;
        while rig.now < until && rig.role() != RoleName::Master {
            let next = rig.node.next_deadline().min(until);
            for (to, request) in crate::reading::requests(&rig.run_to(next)) {
                rig.vote(to, &request, Vote::Granted);
            }
        }
        let led = rig.role() == RoleName::Master;
        let status = rig.node.status(rig.now);
        prop_assert!(led || status.standing != Standing::Ready, "{:?}", status);
    }

    /// The skew's fraction survives: a higher priority always stands strictly earlier.
    #[test]
    fn a_higher_priority_has_a_smaller_skew(
        heartbeat in 10..10_000_u64,
        (low, high) in (1..254_u8).prop_flat_map(|low| (Just(low), low + 1..=254)),
        rank in 0..5_u32,
    ) {
        let timing = timing(millis(heartbeat), 3);
        let skew = |value: u8, rank| timing.skew(Priority::try_from(value).unwrap(), rank);
        prop_assert!(skew(high, rank) < skew(low, rank));
        prop_assert!(skew(high, rank) < skew(high, rank + 1));
        prop_assert!(skew(low, 0) < timing.heartbeat_interval());
        let exact = u128::from(256 - u16::from(low)) * u128::from(heartbeat) * 1_000_000 / 256;
        prop_assert!(skew(low, 0).as_nanos().abs_diff(exact) <= 1);
        prop_assert_eq!(timing.master_down_interval(priority(low), 0), timing.lease() + skew(low, 0));
    }

    /// With clocks wrong by 4.5 % either way the master stops before the voter's promise ends.
    #[test]
    fn the_margin_covers_both_clocks(heartbeat in 10..10_000_u64, misses in 2..=10_u32) {
        let lease = timing(millis(heartbeat), misses).lease();
        let slowest_master = own_lease(lease).as_secs_f64() / 0.955;
        let fastest_voter = lease.as_secs_f64() / 1.045;
        prop_assert!(slowest_master < fastest_voter);
    }

    #[test]
    fn jitter_stays_within_its_bound(seed in any::<u64>(), most in 0..10_000_u64) {
        let mut random = Random::new(seed);
        for _ in 0..20 {
            prop_assert!(random.up_to(millis(most)) <= millis(most));
        }
        prop_assert_eq!(random.below(0), 0);
    }
}
