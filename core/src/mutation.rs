//! Deliberate faults, to prove that the tests have teeth. Compiled in only with the feature
//! `mutations`, which nothing but `./tests/mutations` (the simulation) and `./tests/lab/teeth`
//! (the daemon in the lab) builds; one is chosen by name at run time.

macro_rules! mutations {
    (
        simulation { $($variant:ident = $name:literal, $doc:literal;)* }
        lab { $($lab_variant:ident = $lab_name:literal, $lab_doc:literal;)* }
    ) => {
        /// A deliberate fault.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub(crate) enum Mutation {
            $(#[doc = $doc] $variant,)*
            $(#[doc = $lab_doc] $lab_variant,)*
        }

        /// The deliberate faults that break an invariant: the simulation must catch each.
        #[cfg(feature = "mutations")]
        pub const NAMES: &[&str] = &[$($name),*];

        #[cfg(feature = "mutations")]
        const ALL: &[(&str, Mutation)] = &[
            $(($name, Mutation::$variant),)*
            $(($lab_name, Mutation::$lab_variant),)*
        ];
    };
}

mutations! { simulation {
    RenewIgnoresPromise = "renew-ignores-promise", "A voter renews a master though it promised another.";
    GrantIgnoresPromise = "grant-ignores-promise", "A voter grants though it promised another.";
    GrantAnyTerm = "grant-any-term", "A voter grants a term that it has seen.";
    LeaseFromAnswer = "lease-from-answer", "The lease counts from the answer, not from the send.";
    LeaseWithoutMargin = "lease-without-margin", "The master counts on a tenth more than the promise.";
    NoMute = "no-mute", "A restarted voter votes at once.";
    LateAnswerRevives = "late-answer-revives", "An answer revives a lease that has lapsed.";
    AnyAnswerCounts = "any-answer-counts", "An answer meant for an earlier boot counts.";
    LateGrantCounts = "late-grant-counts", "A grant is counted though the lease that it gives is over.";
    ReleaseDropsAny = "release-drops-any", "A release drops a promise of any term.";
    TermsNotDurable = "terms-not-durable", "Terms start anew after a restart.";
    CallWithoutLease = "call-without-lease", "A call starts with less than one interval of lease left.";
    CallUnconfirmed = "call-unconfirmed", "A later call does not wait for a majority's answer.";
    RetryUnconditional = "retry-unconditional", "A retry after an unknown outcome is unconditional.";
    NoGuardWatch = "no-guard-watch", "Nothing is read after a claim.";
    StaleReadIsMove = "stale-read-is-move", "A stale read is taken for a move.";
    UnboundedRepairs = "unbounded-repairs", "Repairs have no budget.";
    SilenceIsCrash = "silence-is-crash", "One refused link proves a crash.";
    OldBootAnswers = "old-boot-answers", "A request in a new boot proves the old one dead.";
    DeposedByTermSeen = "deposed-by-term-seen", "A master steps down for a higher term merely seen.";
    HoldingActs = "holding-acts", "A master goes on acting when its lease is over.";
    RoleUnjournaled = "role-unjournaled", "A role change is not journaled.";
    KernelKept = "kernel-kept", "A former master's kernel keeps the addresses.";
    KernelNeverGiven = "kernel-never-given", "A master's kernel is not given its addresses.";
    KernelAfterCall = "kernel-after-call", "The cloud is called before the kernel has the address.";
    HoldingDropsKernel = "holding-drops-kernel", "A master that loses its majority drops its addresses.";
    OneReadEmptiesKernel = "one-read-empties-kernel", "A kernel loses an address by one read.";
    StopLeavesKernel = "stop-leaves-kernel", "A daemon stops though its kernel has what another serves.";
    UnassignOwn = "unassign-own", "A fenced claim takes an address off the own interface.";
    HoldingUntold = "holding-untold", "Hooks are not told of the loss of the majority.";
    OneReadIsMove = "one-read-is-move", "One read is enough to call an address without ids moved.";
    VoterForgetsDigest = "voter-forgets-digest", "A voter does not compare a candidate's configuration.";
    QuarantinedPreempts = "quarantined-preempts", "A quarantined node takes a living master's place.";
    StaleReferenceAfterRestart = "stale-reference-after-restart", "The reference is not restored from disk.";
    ReferenceWithoutLease = "reference-without-lease", "A former master sets the reference.";
    JoiningSkipsComparison = "joining-skips-comparison", "A node that joins is not compared with the reference.";
    DriftIgnoresBetter = "drift-ignores-better", "A drifted node leads though one with the reference is in service.";
    AdmissionForAnyDigest = "admission-for-any-digest", "An admission holds for any configuration of the node.";
    ProbationPreempts = "probation-preempts", "A node on probation takes a living master's place.";
    UnappliedSetsReference = "unapplied-sets-reference", "A configuration that is not loaded becomes the reference.";
    ThawUnnoticed = "thaw-unnoticed", "A node that nobody answered for long goes on as before.";
    MaintenanceForgotten = "maintenance-forgotten", "A restart forgets that an operator took the node out.";
    ProbationSkipped = "probation-skipped", "Whoever comes back is Ready at once.";
    LastResortUnasked = "last-resort-unasked", "A quarantined node leads though no last resort is configured.";
    ColdStartUnheard = "cold-start-unheard", "A cold start does not wait for the balancers that are not heard.";
    JoiningAsksNobody = "joining-asks-nobody", "A node that joins compares with what it knows itself.";
    DeposedUnnoticed = "deposed-unnoticed", "A master deposed while it was away goes on as before.";
    HandoverIgnoresDrift = "handover-ignores-drift", "A handover that nobody forced goes to another configuration.";
    ReferenceStays = "reference-stays", "The reference does not follow what the master applies.";
    StandsWithoutNeed = "stands-without-need", "A backup stands while the master is heard.";
} lab {
    // These break what is promised beyond the invariants: how soon, how often, and why.
    ClaimNotSettled = "claim-not-settled", "A claim that succeeded is made again.";
    CrashIgnored = "crash-ignored", "Refused connections are no evidence.";
    SilenceIgnored = "silence-ignored", "A silent master is waited for, for ever.";
    OneLinkIsSilence = "one-link-is-silence", "A peer that is not heard on every link is not heard.";
    StopsSilently = "stops-silently", "A daemon that stops does not resign.";
    FatalIgnored = "fatal-ignored", "A master whose fatal check fails goes on.";
    QuorumIsAll = "quorum-is-all", "Every voter is needed.";
    NoRetry = "no-retry", "A call that failed is not made again.";
    CallsOverlap = "calls-overlap", "A call is made while one for the same address is under way.";
    RetryAtOnce = "retry-at-once", "No pause between retries.";
    HolderHintIgnored = "holder-hint-ignored", "At a start the holder does not come first.";
    SuccessorUnchecked = "successor-unchecked", "A handover is made to a node that cannot lead.";
    PreflightIsFatal = "preflight-is-fatal", "A node whose preflight fails never stands.";
    DiskAwaited = "disk-awaited", "Nothing is claimed before the election is on disk.";
    HooksUntold = "hooks-untold", "No hook is told of a new master.";
    NeverDeposed = "never-deposed", "A master steps down neither at the end of its lease nor for another.";
    UnboundedMoves = "unbounded-moves", "Moves have no budget.";
}}

#[cfg(feature = "mutations")]
mod chosen {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::{ALL, Mutation};

    static CHOSEN: AtomicUsize = AtomicUsize::new(usize::MAX);

    /// Turns one deliberate fault on, for the whole process. Whether there is one of that name.
    pub fn choose(name: &str) -> bool {
        let index = ALL.iter().position(|(known, _)| *known == name);
        CHOSEN.store(index.unwrap_or(usize::MAX), Ordering::Relaxed);
        index.is_some()
    }

    pub(crate) fn active(mutation: Mutation) -> bool {
        ALL.get(CHOSEN.load(Ordering::Relaxed)).is_some_and(|(_, chosen)| *chosen == mutation)
    }
}

#[cfg(feature = "mutations")]
pub use chosen::choose;

#[cfg(feature = "mutations")]
pub(crate) use chosen::active;

/// Never: the shipped core has no faults on purpose.
#[cfg(not(feature = "mutations"))]
pub(crate) const fn active(_mutation: Mutation) -> bool {
    false
}
