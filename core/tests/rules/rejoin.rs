//! Given: a node that comes back to a cluster that has a reference.

use vipward_core::*;

use crate::fixture::*;
use crate::scenes::*;

/// The configuration of all nodes in these scenes.
pub(crate) const OURS: Digest = Digest([7; 32]);
/// Another one.
pub(crate) const OTHER: Digest = Digest([8; 32]);
/// The term of the reference.
pub(crate) const SET_IN: u64 = 5;

pub(crate) fn reference(term: u64, count: u64, digest: Digest) -> Reference {
    Reference { version: ReferenceVersion { term: Term(term), count }, digest }
}

/// `lb-b` started just now; the others know a reference with that digest, and `lb-a` leads.
pub(crate) fn rejoining(config: Config, digest: Digest) -> Rig {
    let mut rig = Rig::start(config, 2, Some(Durable::default()), at(100_000));
    rig.reference = Some(reference(SET_IN, 0, digest));
    rig.held = held_by("assoc-a", A);
    rig.give(Input::DeadlineReached);
    rig
}

/// The same, after everybody was heard and has answered.
pub(crate) fn rejoined(config: Config, digest: Digest) -> Rig {
    let mut rig = rejoining(config, digest);
    hear_all(&mut rig, digest);
    rig
}

/// Heard from `lb-a`, which leads with that digest, and from the witness.
pub(crate) fn hear_all(rig: &mut Rig, digest: Digest) -> Vec<Output> {
    let mut out = rig.beat(W, Beat::idle());
    out.extend(rig.beat(A, leading(digest)));
    out
}

/// What the master says that has that configuration.
pub(crate) fn leading(digest: Digest) -> Beat {
    Beat { digest, holds: true, ..Beat::master(SET_IN) }
}

/// Hears the master and the witness each second.
pub(crate) fn hear_to(rig: &mut Rig, until: Timestamp, digest: Digest) -> Vec<Output> {
    let mut out = Vec::new();
    while rig.now < until {
        out.extend(rig.run_to((rig.now + H).min(until)));
        out.extend(hear_all(rig, digest));
    }
    out
}

pub(crate) fn standing(rig: &Rig) -> Standing {
    rig.node.status(rig.now).standing
}

/// Why this node may not lead, in one sentence.
pub(crate) fn reason(rig: &Rig) -> String {
    rig.node.status(rig.now).standing_reason.map_or_else(String::new, |it| it.to_string())
}

/// A configuration that is scanned.
pub(crate) fn scanned(me: NodeId) -> Config {
    with(config(me), |config| config.scanned = true)
}

pub(crate) fn found(digest: Digest) -> Input {
    Input::Manifest(Inventory { digest, unapplied: Vec::new(), problems: Vec::new() })
}

pub(crate) fn unapplied(digest: Digest) -> Input {
    let unapplied = vec!["/etc/nginx/nginx.conf".into()];
    Input::Manifest(Inventory { digest, unapplied, problems: Vec::new() })
}

/// The files of a node whose own configuration alone is compared change.
pub(crate) fn reload(rig: &mut Rig, digest: Digest) -> Vec<Output> {
    let config = with((*rig.config).clone(), |config| config.shared = digest);
    rig.config = std::sync::Arc::new(config);
    let input = Input::Reload(std::sync::Arc::clone(&rig.config));
    rig.give(input)
}

/// `lb-b`, a Ready backup: `lb-a` leads term 5 with the reference's configuration, which this
/// node has had until just now.
pub(crate) fn drifted(config: Config) -> Rig {
    let mut rig = Rig::new(config);
    rig.reference = Some(reference(SET_IN, 0, OURS));
    rig.away = Some(H);
    rig.held = held_by("assoc-a", A);
    hear_master_to(&mut rig, at(10_000));
    assert_eq!(standing(&rig), Standing::Ready);
    reload(&mut rig, OTHER);
    rig
}
