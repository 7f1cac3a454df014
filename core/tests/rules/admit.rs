//! An operator's override of the gate (design section 6).

use vipward_core::*;

use crate::fixture::*;
use crate::handover::switchover;
use crate::network::Net;
use crate::reading::*;
use crate::rejoin::*;
use crate::scenes::*;

const THIRD: Digest = Digest([9; 32]);

fn admit(node: NodeId) -> Input {
    Input::Admit { id: OperatorId(1), node }
}

fn admitted(out: &[Output]) -> usize {
    events(out).iter().filter(|it| matches!(it.kind, EventKind::Admitted { .. })).count()
}

#[test]
fn it_is_recorded_told_at_once_and_done_when_a_majority_knows() {
    // Given a quarantined node,
    let mut rig = rejoined(config(B), OTHER);
    // when an operator admits it there,
    let out = rig.give(admit(B));
    // then it is journaled, on its way to disk and to the others, and the node is on probation;
    assert_eq!(admitted(&out), 1);
    let told = beats(&out, W)[0].admissions.clone();
    assert_eq!((told[0].node, told[0].digest, told[0].over), (B, OURS, OTHER));
    assert!(told[0].version > reference(SET_IN, 0, OTHER).version);
    assert!(persists(&out).iter().any(|durable| durable.admissions == told));
    assert_eq!(standing(&rig), Standing::Probation);
    assert_eq!(outcomes(&out), []);
    // the operator is told when a majority has it.
    let beat = next_beat(&mut rig, W);
    let answer = rig.answering_beat(W, &beat, Renewal::None, None);
    assert_eq!(outcomes(&rig.give(answer)), [Ok(Done::Admitted(B))]);
}

#[test]
fn without_a_majority_it_is_refused_in_the_end() {
    let mut rig = rejoined(config(B), OTHER);
    rig.records = false;
    rig.give(admit(B));
    let out = hear_to(&mut rig, at(100_000) + LEASE * 2 - millis(1), OTHER);
    assert_eq!(outcomes(&out), []);
    let out = rig.pass(millis(2));
    assert_eq!(outcomes(&out), [Err(Refusal::NoMajority)]);
}

#[test]
fn refused_with_the_reason() {
    let mut rig = rejoined(config(B), OTHER);
    assert_eq!(outcomes(&rig.give(admit(W))), [Err(Refusal::NotABalancer(W))]);
    let nobody = NodeId(9);
    assert_eq!(outcomes(&rig.give(admit(nobody))), [Err(Refusal::NotABalancer(nobody))]);
    rig.pass(LEASE + TICK);
    assert_eq!(outcomes(&rig.give(admit(A))), [Err(Refusal::Silent(A))]);
    let mut rig = rejoined(scanned(B), OTHER);
    assert_eq!(outcomes(&rig.give(admit(B))), [Err(Refusal::NotScanned(B))]);
}

#[test]
fn one_with_the_references_configuration_needs_no_word() {
    let mut rig = rejoined(config(B), OURS);
    let out = rig.give(admit(B));
    assert_eq!((outcomes(&out), admitted(&out)), (vec![Ok(Done::Admitted(B))], 0));
}

#[test]
fn it_ends_when_the_node_changes_again() {
    let mut rig = rejoined(config(B), OTHER);
    rig.give(admit(B));
    assert_eq!(standing(&rig), Standing::Probation);
    reload(&mut rig, THIRD);
    assert_eq!(standing(&rig), Standing::Quarantined);
    assert_eq!(next_beat(&mut rig, W).admissions, []);
    // Changed back, the word does not come back either.
    reload(&mut rig, OURS);
    assert_eq!(standing(&rig), Standing::Quarantined);
}

#[test]
fn it_ends_when_another_reference_is_set() {
    let mut rig = rejoined(config(B), OTHER);
    rig.give(admit(B));
    // The same digest under a new term is no news,
    rig.reference = Some(reference(SET_IN + 1, 0, OTHER));
    rig.beat(A, leading(OTHER));
    assert_eq!(standing(&rig), Standing::Probation);
    // another digest is.
    rig.reference = Some(reference(SET_IN + 1, 1, THIRD));
    rig.beat(A, leading(THIRD));
    assert_eq!(standing(&rig), Standing::Quarantined);
}

#[test]
fn it_lasts_through_a_restart() {
    let mut rig = rejoined(config(B), OTHER);
    rig.give(admit(B));
    rig.restart();
    rig.give(Input::DeadlineReached);
    hear_all(&mut rig, OTHER);
    assert_eq!(standing(&rig), Standing::Probation);
}

#[test]
fn whoever_learns_of_it_journals_it_once() {
    let mut rig = witness();
    rig.reference = Some(reference(SET_IN, 0, OTHER));
    rig.beat(A, leading(OTHER));
    rig.beat(B, Beat::idle());
    let version = ReferenceVersion { term: Term(SET_IN), count: 1 };
    let admission = Admission { version, node: B, digest: OURS, over: OTHER };
    let beat = Beat { admissions: vec![admission], ..leading(OTHER) };
    assert_eq!(admitted(&rig.beat(A, beat.clone())), 1);
    assert_eq!(admitted(&rig.beat(A, beat)), 0);
    // And tells it on.
    assert_eq!(next_beat(&mut rig, B).admissions, [admission]);
}

#[test]
fn admitted_at_another_node_and_the_master_dies_it_leads() {
    let mut net = Net::settled();
    net.kill(B);
    net.run(H * 30);
    net.reconfigure(B, OTHER);
    net.start(B);
    net.run(H * 5);
    assert_eq!(net.standing(B), Standing::Quarantined);
    net.give(A, admit(B));
    net.run(H);
    assert_eq!(net.told, [Ok(Done::Admitted(B))]);
    assert_eq!(net.standing(B), Standing::Probation);
    net.kill(A);
    net.run(LEASE * 2);
    assert_eq!(net.masters(), [B]);
    assert_eq!(net.exceptions(), [Exception::Admitted]);
}

#[test]
fn a_rollout_by_forced_switchover() {
    // Given a backup with the new configuration,
    let mut net = Net::settled();
    net.reload(B, OTHER);
    net.reload(W, OTHER);
    net.run(H * 2);
    assert_eq!(net.standing(B), Standing::Ready, "drift quarantines nobody");
    net.give(A, switchover(Some(B), false));
    net.run(H);
    assert_eq!(net.told, [Err(Refusal::Drift(B))]);
    // when an operator forces the switchover,
    net.told.clear();
    net.forget();
    net.give(A, switchover(Some(B), true));
    net.run(H * 2);
    // then it leads at once, by that word, and its configuration is the reference;
    assert_eq!(net.told, [Ok(Done::Leads(B))]);
    assert_eq!((net.masters(), &net.moves), (vec![B], &vec![B]));
    assert!(net.exceptions().iter().all(|it| *it == Exception::Admitted));
    assert_eq!(net.whole(A).reference.map(|it| it.digest), Some(OTHER));
    // the old master drifts, until it is changed as well.
    net.run(H * 10);
    assert_eq!(
        (net.standing(A), net.alarms(A)),
        (Standing::Ready, vec![AlarmName::ConfigDrift(A)])
    );
    net.reload(A, OTHER);
    net.run(H * 2);
    assert_eq!((net.alarms(A), net.alarms(B)), (vec![], vec![]));
    assert!(!net.journal.iter().any(|it| matches!(it.2.kind, EventKind::StandingChanged { .. })));
}

#[test]
fn a_forced_switchover_that_a_majority_does_not_record_is_refused() {
    let mut rig = master();
    rig.records = false;
    rig.hear(B, Beat { digest: OTHER, ..Beat::idle() });
    let mut out = rig.give(switchover(Some(B), true));
    for _ in 0..7 {
        out.extend(rig.pass(H));
        out.extend(rig.hear(B, Beat { digest: OTHER, ..Beat::idle() }));
    }
    assert_eq!(outcomes(&out), [Err(Refusal::NoMajority)]);
    assert_eq!((commands(&out), rig.role()), (vec![], RoleName::Master));
}
