//! The order of candidates and the skew (design 3.4), the timing's arithmetic.

use vipward_core::*;

use crate::fixture::*;
use crate::reading::*;
use crate::scenes::*;

/// How long after the master-down lease this backup stands.
fn skew_of(mut rig: Rig) -> std::time::Duration {
    let heard_at = rig.now;
    rig.pass(millis(2_900));
    rig.beat(W, Beat::idle());
    let out = rig.run_to(heard_at + LEASE - TICK);
    assert_eq!(requests(&out), []);
    loop {
        let next = rig.node.next_deadline();
        if !requests(&rig.run_to(next)).is_empty() {
            return rig.now.since(heard_at + LEASE);
        }
    }
}

#[test]
fn the_skew_is_not_rounded_away() {
    let timing = timing(H, 3);
    let nanos =
        |priority: u8, rank| timing.skew(Priority::try_from(priority).unwrap(), rank).as_nanos();
    assert_eq!(nanos(100, 0), 609_375_000);
    assert_eq!(nanos(254, 0), 7_812_500);
    assert_eq!(nanos(1, 0), 996_093_750);
    assert_eq!(nanos(100, 2), 609_375_000 + 125_000_000);
    assert_eq!(timing.master_down_interval(priority(100), 0).as_nanos(), 3_609_375_000);
    // Also at the shortest interval, where all priorities still differ.
    let shortest = self::timing(millis(10), 2);
    for priority in 1..254 {
        let skew = |value| shortest.skew(self::priority(value), 0);
        assert!(skew(priority) > skew(priority + 1), "{priority}");
    }
    assert_eq!(shortest.skew(self::priority(254), 0).as_nanos(), 78_125);
}

#[test]
fn the_lease_counted_by_the_master_is_a_tenth_less() {
    assert_eq!(own_lease(LEASE), OWN_LEASE);
    assert_eq!(own_lease(millis(20)), millis(18));
}

#[test]
fn timings_outside_their_bounds_are_refused() {
    let new = |heartbeat, misses| Timing::new(heartbeat, misses, millis(30_000), true);
    assert!(matches!(new(millis(9), 3), Err(TimingError::HeartbeatInterval(_))));
    assert!(matches!(new(millis(10_001), 3), Err(TimingError::HeartbeatInterval(_))));
    assert!(matches!(new(H, 1), Err(TimingError::Misses(1))));
    assert!(matches!(new(H, 11), Err(TimingError::Misses(11))));
    assert!(new(millis(10), 2).is_ok() && new(millis(10_000), 10).is_ok());
}

#[test]
fn a_higher_priority_stands_first() {
    let of = |value| {
        skew_of(backup_of(with(config(B), |config| {
            config.groups[0].priorities = vec![Some(priority(254)), Some(priority(value)), None];
        })))
    };
    assert_eq!(of(100), SKEW_B);
    assert_eq!(of(200), SKEW_A);
    assert!(of(101) < of(100));
}

#[test]
fn equal_priorities_do_not_collide() {
    // Given two backups of the same priority behind a dead master,
    let equal = |me| {
        let config = with(three_balancers(me), |config| {
            config.groups[0].priorities = vec![Some(priority(200)); 3];
        });
        let mut rig = Rig::new(config);
        let other = if me == B { W } else { B };
        for second in 1..=10 {
            rig.run_to(at(second * 1_000));
            rig.beat(other, Beat::idle());
            rig.beat(A, Beat::master(TERM));
        }
        rig.pass(millis(2_900));
        rig.beat(other, Beat::idle());
        let mut out = Vec::new();
        while requests(&out).is_empty() {
            let next = rig.node.next_deadline();
            out = rig.run_to(next);
        }
        rig.now.since(at(10_000) + LEASE)
    };
    // then the smaller name stands H/16 before the other.
    assert_eq!(equal(B), SKEW_A);
    assert_eq!(equal(W), SKEW_A + H / 16);
}

#[test]
fn one_with_a_bad_preflight_stands_as_the_least_priority() {
    let mut rig = backup();
    rig.give(Input::Preflight { problems: vec!["no permission for AssociateAddress".into()] });
    assert_eq!(skew_of(rig), millis(1_000) * 255 / 256);
}

#[test]
fn ranks_order_standing_preflight_holder_priority_and_name() {
    let rank = |standing, preflight_ok, holds, value, name| Rank {
        reference: true,
        standing,
        preflight_ok,
        holds,
        priority: priority(value),
        name: std::cmp::Reverse(name),
    };
    let best_first = [
        rank(Standing::Ready, true, true, 1, B),
        rank(Standing::Ready, true, false, 200, A),
        rank(Standing::Ready, true, false, 100, A),
        rank(Standing::Ready, true, false, 100, B),
        rank(Standing::Ready, false, false, 254, A),
        rank(Standing::Probation, true, true, 254, A),
        rank(Standing::Joining, true, true, 254, A),
        Rank { reference: false, ..rank(Standing::Ready, true, true, 254, A) },
    ];
    assert!(best_first.is_sorted_by(|a, b| a > b));
}

/// `lb-b` or `lb-c` behind `lb-a`, three balancers, all heard at 10 s.
pub(crate) fn third(me: NodeId) -> Rig {
    let mut rig = Rig::new(three_balancers(me));
    let other = if me == B { W } else { B };
    for second in 1..=10 {
        rig.run_to(at(second * 1_000));
        rig.beat(other, Beat::idle());
        rig.beat(A, Beat::master(TERM));
    }
    rig
}

/// How long after its next step it asks for votes.
fn stands_after(rig: &mut Rig, out: &[Output]) -> std::time::Duration {
    let from = rig.now;
    let mut out = out.to_vec();
    while requests(&out).is_empty() {
        let next = rig.node.next_deadline();
        out = rig.run_to(next);
        assert!(rig.now.since(from) < H * 30, "it does not stand");
    }
    rig.now.since(from)
}

#[test]
fn after_a_resignation_the_best_stands_at_once_and_the_next_a_quarter_later() {
    let mut rig = third(B);
    let out = rig.taking_back(A, resignation(TERM, None));
    let request = candidacy(&out);
    assert_eq!(request.cause, Cause::Resigned);
    let mut rig = third(W);
    let out = rig.taking_back(A, resignation(TERM, None));
    assert_eq!(stands_after(&mut rig, &out), H / 4, "lb-c is second: lb-a does not count");
}

#[test]
fn the_cause_of_a_resignation_is_the_cause_of_the_election() {
    for cause in [Cause::CheckFailed, Cause::Switchover, Cause::Preempt, Cause::Preventive] {
        let mut rig = third(B);
        let kind = TakeBackKind::Resign { successor: None, cause };
        let out = rig.taking_back(A, TakeBack { group: WEB, term: Term(TERM), kind });
        assert_eq!(candidacy(&out).cause, cause);
    }
}

#[test]
fn one_that_cannot_stand_does_not_count_in_the_order() {
    // Given lb-c, and an lb-b whose fatal check fails,
    let mut rig = third(W);
    rig.beat(B, Beat { healthy: false, ..Beat::idle() });
    // when the master resigns, then lb-c is the best and stands at once.
    let out = rig.taking_back(A, resignation(TERM, None));
    assert_eq!(stands_after(&mut rig, &out), millis(0));
    // So it is behind one that is silent,
    let mut rig = third(W);
    rig.pass(LEASE + millis(100));
    rig.beat(A, Beat::master(TERM));
    let out = rig.taking_back(A, resignation(TERM, None));
    assert_eq!(stands_after(&mut rig, &out), millis(0));
    // and before one whose preflight fails.
    let mut rig = third(W);
    rig.beat(B, Beat { preflight_ok: false, ..Beat::idle() });
    let out = rig.taking_back(A, resignation(TERM, None));
    assert_eq!(stands_after(&mut rig, &out), millis(0));
}

#[test]
fn a_favoured_successor_stands_at_once_whatever_its_place() {
    let mut rig = third(W);
    let out = rig.taking_back(A, resignation(TERM, Some(W)));
    assert_eq!(stands_after(&mut rig, &out), millis(0));
}

#[test]
fn a_vote_reserved_for_a_successor_is_no_other_candidates_for_one_lease() {
    // Given a voter that heard a resignation in favour of lb-b,
    let mut rig = third(W);
    rig.taking_back(A, resignation(TERM, Some(B)));
    let reserved_at = rig.now;
    // when another asks, then the vote is reserved;
    let denied = denial(&rig.ask(A, TERM + 1));
    assert_eq!(denied.reason, DenialReason::Reserved(B));
    assert_eq!(denied.left, LEASE);
    // the successor is granted at once;
    let mut granted = third(W);
    granted.taking_back(A, resignation(TERM, Some(B)));
    assert_eq!(votes(&granted.ask(B, TERM + 1)), [Vote::Granted]);
    // and after one lease anybody is, this node itself included.
    let out = rig.run_to(reserved_at + LEASE - TICK);
    assert_eq!(requests(&out), []);
    rig.pass(TICK);
    assert_eq!(votes(&rig.ask(A, TERM + 2)), [Vote::Granted]);
}

#[test]
fn evidence_of_the_successors_crash_ends_the_reservation() {
    let mut rig = third(W);
    rig.taking_back(A, resignation(TERM, Some(B)));
    assert_eq!(denial(&rig.ask(A, TERM + 1)).reason, DenialReason::Reserved(B));
    rig.give(Input::ConnectRefused { peer: B, link: LINK });
    assert_eq!(votes(&rig.ask(A, TERM + 2)), [Vote::Granted]);
}

#[test]
fn a_later_resignation_replaces_the_reservation_of_an_earlier_one() {
    // Given a resignation in favour of lb-b, whom lb-c did not vote for, but hears lead,
    let mut rig = third(W);
    rig.taking_back(A, resignation(TERM, Some(B)));
    rig.pass(millis(100));
    rig.beat(B, Beat::master(TERM + 1));
    // when lb-b at once hands over to lb-c, then lb-c stands at once.
    let out = rig.taking_back(B, resignation(TERM + 1, Some(W)));
    assert_eq!(stands_after(&mut rig, &out), millis(0));
}

#[test]
fn at_a_start_the_holder_that_the_cloud_shows_stands_first_with_skew_zero() {
    // Given a cold start, where the cloud shows the address at lb-b,
    let mut rig = Rig::new(config(B));
    rig.held = held_by("assoc-b", B);
    rig.beat(A, Beat::idle());
    rig.beat(W, Beat::idle());
    rig.run_to(at(2_900));
    rig.beat(W, Beat::idle());
    let out = rig.run_to(at(3_000) - TICK);
    assert_eq!(requests(&out), []);
    // then lb-b stands one lease after its start, when its mute is over.
    let out = rig.pass(TICK);
    let request = candidacy(&out);
    assert!(request.rank.holds);
    assert_eq!(request.cause, Cause::Startup);
}

#[test]
fn at_a_start_a_better_node_leaves_the_holder_its_chance_and_then_stands() {
    let mut rig = Rig::new(config(A));
    rig.held = held_by("assoc-b", B);
    rig.beat(B, Beat::idle());
    rig.beat(W, Beat::idle());
    rig.run_to(at(2_900));
    rig.beat(B, Beat::idle());
    let out = rig.run_to(at(3_000) + H);
    assert_eq!(requests(&out), []);
    stand(&mut rig);
    assert!(rig.now <= at(3_000) + H * 2);
    // A holder that is not heard, or not yet, is waited for a little longer, and not for ever.
    let mut rig = Rig::new(config(A));
    rig.held = held_by("assoc-b", B);
    rig.beat(W, Beat::idle());
    stand(&mut rig);
    assert!(rig.now <= at(3_000) + H * 2 + SKEW_A + H / 4);
}

#[test]
fn at_a_start_a_holder_whose_daemon_starts_later_still_comes_first() {
    // Given a cold start of the better node, where only the other one knows that it is the holder,
    let mut rig = Rig::new(config(A));
    rig.held = Some(Association {
        id: AssociationId("assoc-b".into()),
        holder: Holder::Outside("eni-b".into()),
    });
    rig.beat(W, Beat::idle());
    // when that one's daemon starts two intervals later,
    let mut out = rig.run_to(at(2_000));
    let beat = |rig: &mut Rig| rig.beat(B, Beat { holds: true, ..Beat::idle() });
    for _ in 0..7 {
        out.extend(beat(&mut rig));
        rig.beat(W, Beat::idle());
        out.extend(rig.pass(H / 2));
    }
    // then it has its own lease and one interval more to stand.
    out.extend(rig.run_to(at(2_000) + LEASE + H));
    assert_eq!(requests(&out), []);
    beat(&mut rig);
    rig.beat(W, Beat::idle());
    stand(&mut rig);
    assert!(rig.now <= at(2_000) + LEASE + H + SKEW_A + H / 4);
}
