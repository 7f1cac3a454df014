//! The gate of one group: whom a voter lets through, and when a candidate may stand (design
//! section 6). Both ask the same questions, so that nobody stands in vain.

use crate::group::{Group, Role};
use crate::message::{DenialReason, VoteRequest};
use crate::mutation::{Mutation, active};
use crate::reference::{Exception, Reference};
use crate::shared::Shared;
use crate::types::{Cause, Digest, NodeId, Standing, Timestamp};

/// The shortest time there is.
const INSTANT: std::time::Duration = std::time::Duration::from_nanos(1);

/// Why the gate is shut.
pub(crate) struct Shut {
    pub(crate) reason: DenialReason,
    /// By then it may be open.
    pub(crate) until: Option<Timestamp>,
}

impl Group {
    /// Whether a voter lets a candidate through, and if not with the reference's configuration,
    /// why.
    pub(crate) fn lets_through(
        &self,
        s: &Shared,
        from: NodeId,
        request: &VoteRequest,
    ) -> Result<Option<Exception>, Shut> {
        let standing = request.rank.standing;
        let shut = |reason| Err(Shut { reason, until: None });
        let reference = s.gate.highest(request.reference);
        let preempts = request.cause == Cause::Preempt && active(Mutation::QuarantinedPreempts);
        if preempts || (standing.may_lead() && active(Mutation::VoterForgetsDigest)) {
            return Ok(None);
        }
        match standing {
            Standing::Joining | Standing::Maintenance => {
                return shut(DenialReason::Standing(standing));
            }
            Standing::Quarantined | Standing::Probation | Standing::Ready => {}
        }
        let Some(reference) = reference else {
            return if standing.may_lead() {
                Ok(None)
            } else {
                shut(DenialReason::Standing(standing))
            };
        };
        if standing.may_lead() && request.digest == reference.digest {
            return Ok(None);
        }
        let without_condition = match request.exception {
            None => {
                let differs = DenialReason::Digest;
                let reason =
                    if standing.may_lead() { differs } else { DenialReason::Standing(standing) };
                return shut(reason);
            }
            Some(it @ Exception::Admitted) => {
                Some(it).filter(|_| s.is_admitted(from, request.digest, Some(reference)))
            }
            Some(it @ Exception::ColdStart) => {
                Some(it).filter(|_| self.is_cold_start(s, from, request.digest))
            }
            Some(Exception::Drift | Exception::LastResort) => None,
        };
        if without_condition.is_some() {
            return Ok(without_condition);
        }
        // Whatever it named, the voter judges by what it hears itself.
        let exception = match standing {
            Standing::Ready | Standing::Probation => Exception::Drift,
            Standing::Quarantined if s.is_last_resort() => Exception::LastResort,
            Standing::Quarantined | Standing::Joining | Standing::Maintenance => {
                return shut(DenialReason::Standing(standing));
            }
        };
        match self.in_service(s, reference, from) {
            Some((node, until)) => Err(Shut { reason: DenialReason::ReferenceHeard(node), until }),
            None => Ok(Some(exception)),
        }
    }

    /// The candidate's side: from when on this node may stand, and by which exception.
    pub(crate) fn may_stand(&self, s: &Shared) -> Option<(Timestamp, Option<Exception>)> {
        let now = Timestamp::default();
        if self.wait.cause == Cause::Preempt && active(Mutation::QuarantinedPreempts) {
            return Some((now, None));
        }
        let digest = s.digest();
        let leads = s.standing.may_lead();
        let Some(reference) = s.gate.reference else {
            return leads.then_some((now, None));
        };
        if leads && digest == reference.digest {
            return Some((now, None));
        }
        let quarantined = s.standing == Standing::Quarantined;
        if leads && s.is_admitted(s.config.me, digest, Some(reference)) {
            return Some((now, Some(Exception::Admitted)));
        }
        if leads && self.is_cold_start(s, s.config.me, digest) {
            return Some((now, Some(Exception::ColdStart)));
        }
        let exception = if leads {
            Exception::Drift
        } else if quarantined && s.is_last_resort() {
            Exception::LastResort
        } else {
            return None;
        };
        let until = match self.in_service(s, reference, s.config.me) {
            Some((_, until)) => until?,
            None => now,
        };
        Some((until, Some(exception)))
    }

    /// Whether a balancer with the reference's configuration is in service, other than `except`:
    /// Ready or on probation, able to lead this group, and heard. The one heard last, and when it
    /// will have been silent for too long; this node itself has no such time.
    fn in_service(
        &self,
        s: &Shared,
        reference: Reference,
        except: NodeId,
    ) -> Option<(NodeId, Option<Timestamp>)> {
        if active(Mutation::DriftIgnoresBetter) {
            return None;
        }
        let me = s.config.me;
        let able = s.standing.may_lead()
            && s.digest() == reference.digest
            && s.is_healthy(self.id)
            && s.stopping.is_none()
            && s.config.priority(self.id, me).is_some();
        if me != except && able {
            return Some((me, None));
        }
        let heard = s.config.peers().filter(|node| *node != except).filter_map(|node| {
            let beat = s.live_beat(node)?;
            let of_group = beat.groups.iter().find(|of_group| of_group.group == self.id)?;
            let able = beat.standing.may_lead()
                && beat.digest == reference.digest
                && of_group.healthy
                && of_group.priority.is_some();
            let (_, heard_at, _) = s.peer(node)?.beat.as_ref()?;
            able.then_some((node, Some(*heard_at + s.lease() + INSTANT)))
        });
        heard.max_by_key(|(_, until)| *until)
    }

    /// Whether there is no master, and every balancer is heard with that configuration.
    pub(crate) fn is_cold_start(&self, s: &Shared, candidate: NodeId, digest: Digest) -> bool {
        let me = s.config.me;
        let mut others = s.other_balancers().filter(|node| *node != candidate);
        self.leader(s, s.now).is_none()
            && (me == candidate || s.is_witness() || s.digest() == digest)
            && others.all(|node| match s.live_beat(node) {
                Some(beat) => beat.digest == digest,
                None => active(Mutation::ColdStartUnheard),
            })
    }

    /// The master, as far as this node knows one: itself, or one heard with a valid lease.
    pub(crate) fn leader(&self, s: &Shared, now: Timestamp) -> Option<NodeId> {
        if let Role::Master(_) = self.role {
            return (!self.lease_left(s, now).is_zero()).then_some(s.config.me);
        }
        let master = self.master.filter(|master| {
            let patience = master.lease + s.interval();
            master.term == self.term()
                && master.term > self.voter.resigned
                && now.since(master.heard_at) <= patience
                && !s.is_dead(master.node, master.boot)
        });
        master.map(|master| master.node)
    }
}
