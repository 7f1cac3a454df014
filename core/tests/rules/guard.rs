//! The guard watch (design 5.4): when it reads, what it believes, what it repairs.

use std::time::Duration;

use vipward_core::*;

use crate::fixture::*;
use crate::ownership::until_call;
use crate::reading::*;
use crate::scenes::*;

/// A master whose claim has just succeeded; `lb-b` held the address before, as `assoc-b`.
fn claimed() -> Rig {
    let (mut rig, out) = elected();
    claim(&mut rig, &out);
    rig
}

/// When the reads of the next `duration` are ordered, counted from now; peers are heard.
fn read_times(rig: &mut Rig, duration: Duration) -> Vec<Duration> {
    let from = rig.now;
    let mut times = Vec::new();
    while rig.now < from + duration {
        let next = rig.node.next_deadline().min(from + duration);
        if !reads(&rig.run_to(next)).is_empty() {
            times.push(rig.now.since(from));
        }
    }
    times
}

/// Lets the next read show `seen`, whatever was asked; what that orders.
fn shows(rig: &mut Rig, seen: Option<Association>) -> Vec<Output> {
    rig.held = seen;
    rig.give(Input::OwnershipHint { group: WEB })
}

#[test]
fn a_claim_is_verified_at_once() {
    let (mut rig, out) = elected();
    let call = mutation(&out);
    rig.held = held_by("assoc-mine", A);
    let out = rig.finish(&call, associated("assoc-mine"));
    assert_eq!(reads(&out).len(), 1);
    assert_eq!(rig.group().addresses[0].verified_ago, Some(millis(0)));
    // The takeover's account is whole then: each stage, once.
    let finished = events(&out).into_iter().find_map(|event| {
        let EventKind::FailoverFinished(failover) = event.kind else { return None };
        Some(failover)
    });
    let failover = finished.expect("the account");
    assert_eq!((failover.to, failover.cause), (A, Some(Cause::Startup)));
    assert!(failover.elect.is_some() && failover.claim.is_some() && failover.verify.is_some());
    assert_eq!(rig.node.status(rig.now).last_failover, Some(failover));
}

#[test]
fn reads_at_1_2_5_and_10_seconds_then_every_10_for_five_minutes_then_seldom() {
    let mut rig = claimed();
    let times = read_times(&mut rig, Duration::from_secs(600));
    let seconds: Vec<u64> = times.iter().map(Duration::as_secs).collect();
    assert_eq!(seconds[..8], [1, 2, 5, 10, 20, 30, 40, 50]);
    let watched: Vec<u64> = seconds.iter().copied().filter(|second| *second <= 300).collect();
    assert!(watched.windows(2).skip(3).all(|pair| pair[1] - pair[0] == 10), "{watched:?}");
    let later: Vec<u64> = seconds.iter().copied().filter(|second| *second > 310).collect();
    assert!(later.windows(2).all(|pair| pair[1] - pair[0] == 30), "{later:?}");
}

#[test]
fn a_backup_reads_every_reconcile_interval() {
    let mut rig = backup();
    let from = rig.now;
    let mut times = Vec::new();
    while rig.now.since(from) < H * 300 {
        if !reads(&rig.pass(H)).is_empty() {
            times.push(rig.now);
        }
        rig.beat(A, Beat::master(TERM));
        rig.beat(W, Beat::idle());
    }
    assert!((9..=11).contains(&times.len()), "{times:?}");
}

#[test]
fn a_hint_reads_at_once() {
    let mut rig = claimed();
    rig.pass(millis(100));
    assert_eq!(reads(&rig.give(Input::OwnershipHint { group: WEB })).len(), 1);
    // While a read is under way another hint orders no second.
    rig.reads = false;
    assert_eq!(reads(&rig.give(Input::OwnershipHint { group: WEB })).len(), 1);
    assert_eq!(reads(&rig.give(Input::OwnershipHint { group: WEB })).len(), 0);
    // Nor does a hint about a group that there is not.
    assert_eq!(rig.give(Input::OwnershipHint { group: GroupId(9) }).len(), 0);
}

#[test]
fn a_read_that_shows_the_association_from_before_our_claim_is_stale_not_a_move() {
    let mut rig = claimed();
    rig.pass(millis(500));
    let mut out = shows(&mut rig, held_by("assoc-b", B));
    out.extend(rig.pass(H * 9));
    rig.held = held_by("assoc-mine", A);
    out.extend(rig.pass(H * 60));
    assert_eq!(mutating(&out), []);
    assert_eq!(rig.group().addresses[0].ownership, OwnershipName::Owned);
}

#[test]
fn reads_are_not_stale_for_ever() {
    // Given a claim acknowledged longer ago than any read is stale,
    let mut rig = claimed();
    rig.pass(H * 16);
    // when a read shows the association from before it, then something is wrong: it is claimed.
    let out = shows(&mut rig, held_by("assoc-b", B));
    assert_eq!(rig.group().addresses[0].ownership, OwnershipName::NotOwned);
    let call = mutation(&out);
    assert_eq!(call.operation, Operation::Associate { address: EIP, reassociate: true });
}

#[test]
fn a_read_that_shows_our_own_association_from_before_anothers_is_no_proof() {
    // Given a master that held the address, was replaced, and leads again, with a claim of
    // which the outcome is not known,
    let mut rig = claimed();
    let elected = Some(Elected { term: Term(900), node: B });
    rig.held = held_by("assoc-b-again", B);
    rig.beat(B, Beat { elected, ..Beat::idle() });
    let request = stand(&mut rig);
    rig.reads = false;
    let out = rig.vote(W, &request, Vote::Granted);
    let mut out = rig.finish(&mutation(&out), CallOutcome::Timeout);
    while reads(&out).is_empty() {
        out = rig.run_to(rig.node.next_deadline());
    }
    // when a read shows its own association of then, then that may be stale: it is not Owned,
    rig.held = held_by("assoc-mine", A);
    let shown = rig.read();
    let seen_at = rig.now;
    let mut out = rig.finish(&reads(&out)[0], shown);
    assert_ne!(rig.group().addresses[0].ownership, OwnershipName::Owned);
    // and is read again: when that shows where it truly is, it is claimed from there.
    while reads(&out).is_empty() {
        assert_eq!(mutating(&out), []);
        out = rig.run_to(rig.node.next_deadline());
    }
    assert!(rig.now.since(seen_at) <= Duration::from_secs(2));
    rig.held = held_by("assoc-b-again", B);
    let shown = rig.read();
    let out = rig.finish(&reads(&out)[0], shown);
    let call = mutating(&out).pop().unwrap_or_else(|| until_call(&mut rig, H).0);
    let association = AssociationId("assoc-b-again".into());
    assert_eq!(call.operation, Operation::Disassociate { address: EIP, association });
}

#[test]
fn a_read_that_shows_a_new_association_elsewhere_is_a_move_and_is_repaired() {
    let mut rig = claimed();
    rig.pass(millis(500));
    rig.answering.clear();
    let out = shows(&mut rig, held_by("assoc-late", B));
    assert_eq!(rig.group().addresses[0].ownership, OwnershipName::NotOwned);
    assert_eq!(rig.group().addresses[0].holder, Some(Holder::Node(B)));
    // The repair is a later call: confirmed first.
    assert_eq!(mutating(&out), []);
    let beat = beats(&out, W).pop().expect("at once");
    let input = rig.renewing(W, &beat);
    let call = mutation(&rig.give(input));
    assert_eq!(call.operation, Operation::Associate { address: EIP, reassociate: true });
}

#[test]
fn an_address_that_nobody_holds_is_claimed_at_once() {
    // Given a claim over lb-b's association, when a read shows nobody, then that is no state
    // from before: it is claimed with one round trip to the voters, not two seconds later.
    let mut rig = claimed();
    rig.pass(millis(500));
    let from = rig.now;
    let mut out = shows(&mut rig, None);
    if mutating(&out).is_empty() {
        out = until_call(&mut rig, millis(100)).1;
    }
    assert_eq!(mutating(&out).len(), 1);
    assert!(rig.now.since(from) <= millis(100));
}

#[test]
fn where_nobody_held_it_before_two_reads_two_seconds_apart_must_agree() {
    // Given a claim of an address that nobody held,
    let mut rig = Rig::new(config(A));
    rig.beat(B, Beat::idle());
    rig.beat(W, Beat::idle());
    let request = stand(&mut rig);
    rig.answering = vec![B, W];
    let out = rig.vote(W, &request, Vote::Granted);
    claim(&mut rig, &out);
    rig.pass(millis(500));
    // when a read shows nobody, then it may be stale: nothing is called,
    let mut out = shows(&mut rig, None);
    let seen_at = rig.now;
    assert_eq!(mutating(&out), []);
    // until a second read, two seconds later, agrees.
    while mutating(&out).is_empty() {
        let next = rig.node.next_deadline();
        out = rig.run_to(next);
        assert!(rig.now.since(seen_at) < H * 10, "it is never claimed");
    }
    let waited = rig.now.since(seen_at);
    assert!(waited >= Duration::from_secs(2), "{waited:?}");
    assert!(waited <= Duration::from_secs(4), "{waited:?}");
}

#[test]
fn a_stale_read_of_nobody_is_forgotten_when_the_next_shows_it_here() {
    let mut rig = Rig::new(config(A));
    rig.beat(B, Beat::idle());
    rig.beat(W, Beat::idle());
    let request = stand(&mut rig);
    rig.answering = vec![B, W];
    let out = rig.vote(W, &request, Vote::Granted);
    claim(&mut rig, &out);
    rig.pass(millis(500));
    shows(&mut rig, None);
    rig.pass(H);
    shows(&mut rig, held_by("assoc-mine", A));
    rig.pass(H * 2);
    let out = shows(&mut rig, None);
    assert_eq!(mutating(&out), [], "the first of two again");
    let mut out = shows(&mut rig, held_by("assoc-mine", A));
    out.extend(rig.pass(H * 30));
    assert_eq!(mutating(&out), []);
}

#[test]
fn a_read_begun_before_a_change_of_ours_tells_nothing() {
    // Given a repair under way, and a read that began before it ended,
    let mut rig = claimed();
    rig.pass(millis(500));
    let out = shows(&mut rig, held_by("assoc-late", B));
    let call = mutating(&out).pop().unwrap_or_else(|| until_call(&mut rig, H).0);
    rig.reads = false;
    let read = reads(&rig.give(Input::OwnershipHint { group: WEB })).pop().unwrap();
    rig.pass(millis(10));
    rig.finish(&call, associated("assoc-again"));
    // when it ends and shows the address with yet another, then that is not believed.
    rig.held = held_by("assoc-other", W);
    let shown = rig.read();
    rig.finish(&read, shown);
    assert_eq!(rig.group().addresses[0].ownership, OwnershipName::Owned);
}

#[test]
fn repairs_are_budgeted_and_a_fight_ends_in_an_alarm() {
    // Given something that takes the address away again after each repair,
    let mut rig = claimed();
    let from = rig.now;
    let mut repaired = Vec::new();
    let mut fight = 0;
    while rig.now.since(from) < Duration::from_secs(55) {
        fight += 1;
        let mut out = shows(&mut rig, held_by(&format!("assoc-thief-{fight}"), B));
        out.extend(rig.pass(millis(500)));
        if let Some(call) = mutating(&out).pop() {
            repaired.push(rig.now);
            let mine = format!("assoc-mine-{fight}");
            rig.held = held_by(&mine, A);
            rig.finish(&call, associated(&mine));
        }
    }
    // then within a minute three repairs are made, and then an alarm is raised,
    assert_eq!(repaired.len(), 3);
    assert!(rig.alarms().contains(&AlarmName::AddressFight(WEB, EIP)));
    assert_eq!(rig.role(), RoleName::Master);
    // and when the minute is over it is repaired once more, and stays: the alarm is over.
    rig.held = held_by("assoc-thief-last", B);
    let (call, _) = until_call(&mut rig, Duration::from_secs(70));
    rig.held = held_by("assoc-mine-last", A);
    rig.finish(&call, associated("assoc-mine-last"));
    rig.pass(Duration::from_secs(60));
    assert_eq!(rig.group().addresses[0].ownership, OwnershipName::Owned);
    assert!(!rig.alarms().contains(&AlarmName::AddressFight(WEB, EIP)));
}

#[test]
fn a_takeover_is_never_decided_from_a_read() {
    // Given a backup whose reads show the address with nobody, or at a stranger's,
    for seen in [None, held_by("assoc-x", W)] {
        let mut rig = backup();
        rig.held = seen;
        let mut out = rig.give(Input::OwnershipHint { group: WEB });
        out.extend(rig.run_to(at(10_000) + LEASE - TICK));
        // then it stays a backup.
        assert_eq!(requests(&out), []);
        assert_eq!(mutating(&out), []);
        assert_eq!(rig.role(), RoleName::Backup);
    }
}

#[test]
fn an_address_outside_the_cluster_is_shown_by_whom() {
    let mut rig = backup();
    let holder = Holder::Outside("i-0stranger".into());
    rig.held = Some(Association { id: AssociationId("assoc-x".into()), holder: holder.clone() });
    rig.give(Input::OwnershipHint { group: WEB });
    let address = rig.group().addresses.remove(0);
    assert_eq!(address.ownership, OwnershipName::NotOwned);
    assert_eq!(address.holder, Some(holder));
}

#[test]
fn a_group_without_addresses_elects_and_calls_nothing() {
    let bare = with(config(A), |config| config.groups[0].addresses.clear());
    let mut rig = master_of(bare);
    let out = rig.pass(H * 60);
    assert_eq!(calls(&out), []);
    assert!(next_beat(&mut rig, B).groups[0].holds, "there is nothing left to take");
}
