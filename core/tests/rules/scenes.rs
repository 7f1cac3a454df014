//! Given: a node in each role, well past its start.

use vipward_core::*;

use crate::fixture::*;
use crate::reading::{beats, candidacy, mutating, mutation};

/// The term of the master in these scenes.
pub(crate) const TERM: u64 = 5;

/// `lb-b`, which heard `lb-a` lead term 5 until just now (10 s), and the witness.
pub(crate) fn backup() -> Rig {
    backup_of(config(B))
}

pub(crate) fn backup_of(config: Config) -> Rig {
    let mut rig = Rig::new(config);
    rig.held = held_by("assoc-a", A);
    hear_master_to(&mut rig, at(10_000));
    assert_eq!(rig.role(), RoleName::Backup);
    rig
}

/// Hears `lb-a` lead and the third node each second, the last time at `until`.
pub(crate) fn hear_master_to(rig: &mut Rig, until: Timestamp) {
    while rig.now < until {
        rig.run_to((rig.now + H).min(until));
        rig.beat(W, Beat::idle());
        rig.beat(A, Beat { holds: true, ..Beat::master(TERM) });
    }
}

/// The witness, which heard `lb-a` lead term 5 until just now (10 s), and `lb-b`.
pub(crate) fn witness() -> Rig {
    let mut rig = Rig::new(config(W));
    for second in 1..=10 {
        rig.run_to(at(second * 1_000));
        rig.beat(B, Beat::idle());
        rig.beat(A, Beat::master(TERM));
    }
    assert_eq!(rig.role(), RoleName::None);
    rig
}

/// The witness, free: the master's promise ran out; it hears `lb-b` only.
pub(crate) fn free_witness() -> Rig {
    let mut rig = witness();
    rig.pass(LEASE);
    rig.beat(B, Beat::idle());
    rig
}

/// `lb-b`, a candidate since just now: `lb-a` was silent since 10 s.
pub(crate) fn candidate() -> (Rig, VoteRequest) {
    let mut rig = backup();
    let out = stand(&mut rig);
    (rig, out)
}

/// Runs until the very step in which this node asks for votes; the third node is heard meanwhile.
pub(crate) fn stand(rig: &mut Rig) -> VoteRequest {
    let third = if rig.config.me == W { B } else { W };
    for _ in 0..200 {
        let next = rig.node.next_deadline().min(rig.now + H);
        let out = rig.run_to(next);
        if !crate::reading::requests(&out).is_empty() {
            return candidacy(&out);
        }
        let out = rig.beat(third, Beat::idle());
        if !crate::reading::requests(&out).is_empty() {
            return candidacy(&out);
        }
    }
    panic!("it does not stand");
}

/// `lb-a` in the very step that makes it master: with what that step ordered.
pub(crate) fn elected() -> (Rig, Vec<Output>) {
    elected_of(config(A))
}

pub(crate) fn elected_of(config: Config) -> (Rig, Vec<Output>) {
    let id = match config.groups[0].addresses.first() {
        Some(AddressKind::SecondaryIp) => "eni-b",
        Some(AddressKind::ElasticIp) | None => "assoc-b",
    };
    elected_over(config, held_by(id, B))
}

/// The same, with what the cloud showed until then.
pub(crate) fn elected_over(config: Config, held: Option<Association>) -> (Rig, Vec<Output>) {
    let mut rig = Rig::new(config);
    rig.held = held;
    rig.beat(B, Beat::idle());
    rig.beat(W, Beat::idle());
    rig.run_to(at(3_000));
    rig.beat(B, Beat::idle());
    rig.beat(W, Beat::idle());
    let request = stand(&mut rig);
    rig.answering = rig.config.peers().collect();
    let out = rig.vote(W, &request, Vote::Granted);
    assert_eq!(rig.role(), RoleName::Master);
    (rig, out)
}

/// `lb-a`, master since 20 s before, its address claimed and read; both peers answer.
pub(crate) fn master() -> Rig {
    master_of(config(A))
}

pub(crate) fn master_of(config: Config) -> Rig {
    let (mut rig, out) = elected_of(config);
    if !rig.config.groups[0].addresses.is_empty() {
        claim(&mut rig, &out);
    }
    while rig.now < at(25_000) {
        rig.run_to((rig.now + H).min(at(25_000)));
        beat_all(&mut rig);
    }
    assert_eq!(rig.role(), RoleName::Master);
    rig
}

/// Lets the claim ordered in `out` succeed, fenced or not.
pub(crate) fn claim(rig: &mut Rig, out: &[Output]) {
    let mut call = mutation(out);
    while let Operation::Disassociate { .. } | Operation::Unassign { .. } = call.operation {
        rig.held = None;
        let mut out = rig.finish(&call, CallOutcome::Ok(CallReply::Disassociated));
        while mutating(&out).is_empty() {
            out.extend(rig.pass(millis(100)));
        }
        call = mutation(&out);
    }
    let id = match call.operation {
        Operation::Assign { .. } => "eni-a", // The interface's, and so the same each time.
        Operation::Associate { .. } => "assoc-mine",
        Operation::Describe { .. }
        | Operation::Disassociate { .. }
        | Operation::Unassign { .. } => {
            panic!("a claim ends with a call that gives: {call:?}")
        }
    };
    rig.held = held_by(id, rig.config.me);
    rig.finish(&call, associated(id));
}

/// Every peer's idle heartbeat.
pub(crate) fn beat_all(rig: &mut Rig) {
    let peers: Vec<NodeId> = rig.config.peers().collect();
    for peer in peers {
        rig.beat(peer, Beat::idle());
    }
}

/// `lb-a`, whose peers fell silent until its lease ended just now.
pub(crate) fn holding() -> Rig {
    let mut rig = master();
    rig.answering.clear();
    for _ in 0..40 {
        if rig.role() == RoleName::Holding {
            rig.give(Input::DeadlineReached);
            return rig;
        }
        rig.pass(millis(100));
    }
    panic!("its lease does not end");
}

/// The next heartbeat that this node sends to `peer`.
pub(crate) fn next_beat(rig: &mut Rig, peer: NodeId) -> std::sync::Arc<Heartbeat> {
    for _ in 0..30 {
        let out = rig.pass(millis(50));
        if let Some(beat) = beats(&out, peer).pop() {
            return beat;
        }
    }
    panic!("it sends no heartbeat");
}
