//! The gate at the voters, and the same test at the candidate (design section 6).

use vipward_core::*;

use crate::fixture::*;
use crate::reading::*;
use crate::rejoin::*;
use crate::scenes::*;

/// The witness, free to vote: it knows the reference and hears `lb-b` only.
fn voter(config: Config) -> Rig {
    let mut rig = Rig::new(config);
    rig.reference = Some(reference(SET_IN, 0, OURS));
    rig.run_to(at(3_000) + LEASE);
    rig.beat(B, Beat { digest: OTHER, ..Beat::idle() });
    rig
}

/// `lb-b` asks for a vote, as a node with that standing, digest and exception.
fn request(
    rig: &mut Rig,
    standing: Standing,
    digest: Digest,
    exception: Option<Exception>,
) -> VoteRequest {
    let mut request = rig.vote_request(B, 0);
    request.term = Term(100 + request.send.0); // Above all before.
    request.rank.standing = standing;
    request.rank.reference = digest == OURS;
    (request.digest, request.exception) = (digest, exception);
    request
}

/// The vote, at once or after the voter's wait.
fn vote(rig: &mut Rig, request: VoteRequest) -> (Vote, Vec<Output>) {
    let mut out = rig.request(B, Request::Vote(request));
    if votes(&out).is_empty() {
        out.extend(rig.pass(H));
    }
    (votes(&out)[0], out)
}

fn denied(rig: &mut Rig, request: VoteRequest) -> DenialReason {
    match vote(rig, request).0 {
        Vote::Denied(denial) => denial.reason,
        Vote::Granted => panic!("granted"),
    }
}

fn granted(out: &[Output]) -> Option<Exception> {
    let mut granted = events(out).into_iter().filter_map(|event| {
        if let EventKind::VoteGranted { exception, .. } = event.kind {
            return Some(exception);
        }
        None
    });
    granted.next().expect("granted")
}

#[test]
fn with_the_references_configuration_it_is_open() {
    for standing in [Standing::Ready, Standing::Probation] {
        let mut rig = voter(config(W));
        let request = request(&mut rig, standing, OURS, None);
        let out = rig.request(B, Request::Vote(request));
        assert_eq!(votes(&out), [Vote::Granted], "at once");
        assert_eq!(granted(&out), None);
    }
}

#[test]
fn with_another_it_is_shut_whoever_asks() {
    let mut rig = voter(config(W));
    let of_ready = request(&mut rig, Standing::Ready, OTHER, None);
    assert_eq!(denied(&mut rig, of_ready), DenialReason::Digest);
    for standing in [Standing::Joining, Standing::Maintenance, Standing::Quarantined] {
        for exception in [None, Some(Exception::Drift), Some(Exception::LastResort)] {
            for digest in [OURS, OTHER] {
                let mut rig = voter(config(W));
                let request = request(&mut rig, standing, digest, exception);
                assert_eq!(denied(&mut rig, request), DenialReason::Standing(standing));
            }
        }
    }
}

#[test]
fn before_there_is_a_reference_it_is_open() {
    let mut rig = free_witness();
    let request = request(&mut rig, Standing::Ready, OTHER, None);
    assert_eq!(vote(&mut rig, request).0, Vote::Granted);
}

#[test]
fn the_highest_reference_of_voter_and_candidate_counts() {
    // The candidate knows of a newer one, which it has not.
    let mut rig = voter(config(W));
    let mut newer = request(&mut rig, Standing::Ready, OURS, None);
    newer.reference = Some(reference(SET_IN + 1, 0, OTHER));
    assert_eq!(denied(&mut rig, newer), DenialReason::Digest);
    // The candidate knows of a newer one, which it has.
    let mut rig = voter(config(W));
    let mut newer = request(&mut rig, Standing::Ready, OTHER, None);
    newer.reference = Some(reference(SET_IN + 1, 0, OTHER));
    assert_eq!(vote(&mut rig, newer).0, Vote::Granted);
    // An older one is no excuse.
    let mut rig = voter(config(W));
    let mut older = request(&mut rig, Standing::Ready, OTHER, None);
    older.reference = Some(reference(SET_IN - 1, 9, OTHER));
    assert_eq!(denied(&mut rig, older), DenialReason::Digest);
}

#[test]
fn a_drifted_one_may_lead_when_nobody_with_the_references_is_left() {
    let mut rig = voter(config(W));
    let request = request(&mut rig, Standing::Ready, OTHER, Some(Exception::Drift));
    let (vote, out) = vote(&mut rig, request);
    assert_eq!((vote, granted(&out)), (Vote::Granted, Some(Exception::Drift)));
}

#[test]
fn a_drifted_one_may_not_while_another_in_service_is_heard() {
    for standing in [Standing::Ready, Standing::Probation] {
        let mut rig = voter(config(W));
        rig.beat(A, Beat { standing, ..Beat::idle() });
        let heard_at = rig.now;
        let drift = request(&mut rig, Standing::Ready, OTHER, Some(Exception::Drift));
        assert_eq!(denied(&mut rig, drift), DenialReason::ReferenceHeard(A));
        // when that one was silent for a master-down interval, it may.
        rig.run_to(heard_at + LEASE);
        rig.beat(B, Beat { digest: OTHER, ..Beat::idle() });
        let drift = request(&mut rig, Standing::Ready, OTHER, Some(Exception::Drift));
        let (vote, out) = vote(&mut rig, drift);
        assert_eq!((vote, granted(&out)), (Vote::Granted, Some(Exception::Drift)));
    }
}

#[test]
fn a_better_node_that_cannot_stand_does_not_deny_the_others_for_ever() {
    let cannot: [(&str, Beat); 5] = [
        ("a fatal check", Beat { healthy: false, ..Beat::idle() }),
        ("quarantined", Beat { standing: Standing::Quarantined, ..Beat::idle() }),
        ("joining", Beat { standing: Standing::Joining, ..Beat::idle() }),
        ("taken out", Beat { standing: Standing::Maintenance, ..Beat::idle() }),
        ("drifted too", Beat { digest: OTHER, ..Beat::idle() }),
    ];
    for (name, beat) in cannot {
        let mut rig = voter(config(W));
        rig.beat(A, beat);
        let drift = request(&mut rig, Standing::Ready, OTHER, Some(Exception::Drift));
        assert_eq!(vote(&mut rig, drift).0, Vote::Granted, "{name}");
    }
    // Nor does one whose process is known to be dead.
    let mut rig = voter(config(W));
    rig.give(Input::Connections { peer: A, open: 1 });
    rig.beat(A, Beat::idle());
    rig.give(Input::Connections { peer: A, open: 0 });
    rig.give(Input::ConnectRefused { peer: A, link: LINK });
    let drift = request(&mut rig, Standing::Ready, OTHER, Some(Exception::Drift));
    assert_eq!(vote(&mut rig, drift).0, Vote::Granted, "dead");
}

#[test]
fn a_voter_counts_itself() {
    // Given a balancer with the reference's configuration that votes,
    let mut rig = Rig::new(three_balancers(W));
    rig.reference = Some(reference(SET_IN, 0, OURS));
    rig.away = Some(H);
    rig.run_to(at(3_000));
    rig.beat(B, Beat { digest: OTHER, ..Beat::idle() });
    assert_eq!(standing(&rig), Standing::Ready);
    let drift = request(&mut rig, Standing::Ready, OTHER, Some(Exception::Drift));
    assert_eq!(denied(&mut rig, drift), DenialReason::ReferenceHeard(W));
}

#[test]
fn a_quarantined_one_leads_as_a_last_resort_only_where_the_voters_own_file_says_so() {
    let allowed = with(config(W), |config| config.last_resort = true);
    let mut rig = voter(allowed.clone());
    let last = request(&mut rig, Standing::Quarantined, OTHER, Some(Exception::LastResort));
    let (vote, out) = vote(&mut rig, last);
    assert_eq!((vote, granted(&out)), (Vote::Granted, Some(Exception::LastResort)));
    // Not while another is heard, and not by its own word.
    let mut rig = voter(allowed);
    rig.beat(A, Beat::idle());
    let last = request(&mut rig, Standing::Quarantined, OTHER, Some(Exception::LastResort));
    assert_eq!(denied(&mut rig, last), DenialReason::ReferenceHeard(A));
}

#[test]
fn what_an_operator_admitted_passes_and_nothing_else() {
    let admitted = |digest| Admission {
        version: ReferenceVersion { term: Term(SET_IN), count: 1 },
        node: B,
        digest,
        over: OURS,
    };
    let knows = |rig: &mut Rig, admission| {
        rig.beat(A, Beat { admissions: vec![admission], ..Beat::idle() });
    };
    // Without any condition: another in service is heard.
    let mut rig = voter(config(W));
    knows(&mut rig, admitted(OTHER));
    let of_b = request(&mut rig, Standing::Probation, OTHER, Some(Exception::Admitted));
    let (vote, out) = vote(&mut rig, of_b);
    assert_eq!((vote, granted(&out)), (Vote::Granted, Some(Exception::Admitted)));
    // Another configuration of that node.
    let mut rig = voter(config(W));
    knows(&mut rig, admitted(OTHER));
    let changed = Digest([9; 32]);
    let of_b = request(&mut rig, Standing::Probation, changed, Some(Exception::Admitted));
    assert_eq!(denied(&mut rig, of_b), DenialReason::ReferenceHeard(A));
    // A voter that does not know of it.
    let mut rig = voter(config(W));
    rig.beat(A, Beat::idle());
    let of_b = request(&mut rig, Standing::Probation, OTHER, Some(Exception::Admitted));
    assert_eq!(denied(&mut rig, of_b), DenialReason::ReferenceHeard(A));
    // Another reference was set since.
    let mut rig = voter(config(W));
    knows(&mut rig, admitted(OTHER));
    rig.reference = Some(reference(SET_IN, 2, Digest([9; 32])));
    rig.beat(A, Beat { digest: Digest([9; 32]), ..Beat::idle() });
    let of_b = request(&mut rig, Standing::Probation, OTHER, Some(Exception::Admitted));
    assert_eq!(denied(&mut rig, of_b), DenialReason::ReferenceHeard(A));
}

#[test]
fn at_a_cold_start_the_configuration_of_all_passes() {
    let ask = |rig: &mut Rig| {
        let cold = request(rig, Standing::Ready, OTHER, Some(Exception::ColdStart));
        vote(rig, cold)
    };
    let mut rig = voter(config(W));
    rig.beat(A, Beat { standing: Standing::Joining, digest: OTHER, ..Beat::idle() });
    let (vote, out) = ask(&mut rig);
    assert_eq!((vote, granted(&out)), (Vote::Granted, Some(Exception::ColdStart)));
    // Not while another balancer has the reference's.
    let mut rig = voter(config(W));
    rig.beat(A, Beat::idle());
    let Vote::Denied(denial) = ask(&mut rig).0 else { panic!("granted") };
    assert_eq!(denial.reason, DenialReason::ReferenceHeard(A));
}

#[test]
fn a_drifted_candidate_does_not_stand_in_vain() {
    // Given a drifted backup of three balancers; the master dies, the third has the reference's,
    let mut rig = drifted(three_balancers(B));
    let mut out = Vec::new();
    for _ in 0..20 {
        out.extend(rig.pass(H));
        out.extend(rig.beat(W, Beat::idle()));
    }
    // then it leaves it to that one,
    assert_eq!(requests(&out), []);
    // and stands when that one is silent as well.
    let silent_since = rig.now;
    let request = loop {
        let next = rig.node.next_deadline();
        let out = rig.run_to(next);
        if !requests(&out).is_empty() {
            break candidacy(&out);
        }
    };
    assert_eq!(request.exception, Some(Exception::Drift));
    assert!(!request.rank.reference);
    assert!(rig.now.since(silent_since) > LEASE);
    assert!(rig.now.since(silent_since) <= LEASE + millis(1), "{:?}", rig.now.since(silent_since));
}

#[test]
fn it_adds_nothing_to_the_way_of_one_with_the_references_configuration() {
    // Given two backups, one of a brand-new cluster and one of a cluster with a reference,
    let stands_after = |reference: Option<Reference>| {
        let mut rig = Rig::new(config(B));
        rig.reference = reference;
        rig.away = Some(H);
        rig.held = held_by("assoc-a", A);
        hear_master_to(&mut rig, at(10_000));
        let request = stand(&mut rig);
        assert_eq!(request.exception, None);
        rig.now
    };
    assert_eq!(stands_after(None), stands_after(Some(reference(SET_IN, 0, OURS))));
}

#[test]
fn candidates_with_the_references_configuration_come_first() {
    // Given a candidate with another configuration, of a higher priority,
    let mut rig = drifted(with(three_balancers(B), |config| {
        config.groups[0].priorities =
            vec![Some(priority(250)), Some(priority(200)), Some(priority(9))];
    }));
    rig.pass(LEASE * 2);
    let out = rig.pass(H);
    let _ = out;
    // when one with the reference's asks, then it gives way.
    let mut request = rig.vote_request(W, 50);
    request.reference = rig.reference;
    let out = rig.request(W, Request::Vote(request));
    assert_eq!(votes(&out), [Vote::Granted]);
}
