//! What a node does about a configuration that is not the reference's: says what differs, and
//! fetches it from the master if it may (design section 6).

use std::sync::Arc;
use std::time::Duration;

use super::Node;
use crate::config::Repair;
use crate::event::{AlarmName, Event, EventKind};
use crate::input::{Differences, PullOutcome};
use crate::output::Output;
use crate::reference::Reference;
use crate::shared::Cx;
use crate::standing::{Comparison, FailedPull};
use crate::types::{Digest, NodeId, Standing, Timestamp};

/// A comparison that is not answered is asked for again after so long.
const COMPARISON: Duration = Duration::from_secs(10);
/// A repair that does not end is given up after so long.
const REPAIR: Duration = Duration::from_secs(600);
/// The pauses between repairs: from here, doubled, to there.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));

impl Node {
    /// Asks for what differs, and repairs it if it may.
    pub(super) fn repair(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        self.give_up_pull(now, out);
        if self.s.standing != Standing::Quarantined {
            return;
        }
        self.compare(now, out);
        self.pull(now, out);
    }

    fn compare(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        let other = || self.s.other_balancers().find(|node| self.s.digest_of(*node).is_some());
        let Some(with) = self.reference_holder().or_else(other) else { return };
        let Some(theirs) = self.s.digest_of(with) else { return };
        let digests = (self.s.digest(), theirs);
        let wanted = self.s.gate.comparison.as_ref().is_none_or(|known| {
            let changed = (known.with, known.digests) != (with, digests);
            let asked = now.since(known.asked_at);
            // Not more often, however fast the files change.
            changed && asked >= self.s.interval() || known.found.is_none() && asked >= COMPARISON
        });
        if wanted {
            let comparison = Comparison { with, digests, asked_at: now, found: None };
            self.s.gate.comparison = Some(comparison);
            out.push(Output::Compare { with });
        }
    }

    /// What differs is known: the alarm names it.
    pub(super) fn on_compared(
        &mut self,
        now: Timestamp,
        with: NodeId,
        differences: Differences,
        out: &mut Vec<Output>,
    ) {
        let Some(comparison) = self.s.gate.comparison.as_mut().filter(|it| it.with == with) else {
            return; // Asked of another since, or no longer.
        };
        let news = comparison.found.replace(differences.clone()) != Some(differences);
        if news && self.s.standing == Standing::Quarantined {
            Cx { now, s: &mut self.s, out }.clear(AlarmName::Quarantined);
            self.raise_quarantined(now, out);
        }
    }

    pub(super) fn raise_quarantined(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        let sentence = self.standing_reason(now);
        let mut cx = Cx { now, s: &mut self.s, out };
        cx.raise(AlarmName::Quarantined, || sentence.unwrap_or_default());
    }

    fn pull(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        if now < self.pulls_at() {
            return;
        }
        if let Some((from, digest)) = self.pullable() {
            self.s.gate.pull.running = Some((from, now));
            out.push(Output::Pull { from, digest });
        }
    }

    /// From whom this node could repair itself, and to which digest: the master of the first
    /// group, while it has the reference's.
    fn pullable(&self) -> Option<(NodeId, Digest)> {
        let s = &self.s;
        if s.config.repair == Repair::Off
            || s.standing != Standing::Quarantined
            || s.gate.pull.running.is_some()
            || s.stopping.is_some()
        {
            return None;
        }
        let Reference { digest, .. } = s.gate.reference?;
        let master = self.groups.first()?.leader(s, s.now)?;
        (master != s.config.me && s.digest_of(master) == Some(digest) && s.digest() != digest)
            .then_some((master, digest))
    }

    /// Not before: after a failure with the same digests there is a pause, each longer.
    pub(super) fn pulls_at(&self) -> Timestamp {
        let Some(failed) = &self.s.gate.pull.failed else { return Timestamp::default() };
        let reference = self.s.gate.reference.map_or(Digest::UNKNOWN, |it| it.digest);
        let same = failed.digests == (self.s.digest(), reference);
        let doubled = PAUSE.0.saturating_mul(1 << failed.times.saturating_sub(1).min(16));
        failed.at + if same { doubled.min(PAUSE.1) } else { PAUSE.0 }
    }

    fn give_up_pull(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        let over = |(_, since): (NodeId, Timestamp)| now.since(since) >= REPAIR;
        if self.s.gate.pull.running.is_some_and(over) {
            let what = "it did not end within ten minutes".into();
            self.on_pull_finished(now, PullOutcome::Failed { what }, out);
        }
    }

    pub(super) fn on_pull_finished(
        &mut self,
        now: Timestamp,
        outcome: PullOutcome,
        out: &mut Vec<Output>,
    ) {
        let Some((from, _)) = self.s.gate.pull.running.take() else { return };
        let reference = self.s.gate.reference.map_or(Digest::UNKNOWN, |it| it.digest);
        let digests = (self.s.digest(), reference);
        let mut cx = Cx { now, s: &mut self.s, out };
        cx.event(Event::node(EventKind::PullFinished { from, outcome: outcome.clone() }));
        let what: Arc<str> = match outcome {
            PullOutcome::Applied if digests.0 == digests.1 => {
                cx.s.gate.pull.failed = None;
                cx.clear(AlarmName::PullFailed);
                return;
            }
            PullOutcome::Applied => {
                "what was fetched is applied, and the configuration still differs".into()
            }
            PullOutcome::Failed { what } => what,
        };
        let before = cx.s.gate.pull.failed.take();
        let same = before.as_ref().filter(|before| before.digests == digests);
        let times = same.map_or(0, |before| before.times).saturating_add(1);
        if before.is_none_or(|before| before.what != what) {
            cx.clear(AlarmName::PullFailed);
        }
        let name = cx.s.config.name(from).to_owned();
        cx.s.gate.pull.failed =
            Some(FailedPull { what: Arc::clone(&what), at: now, times, digests });
        cx.raise(AlarmName::PullFailed, || {
            format!(
                "the repair from {name} failed: {what}; it is tried again, or make the \
                 configuration equal by hand"
            )
        });
    }
}
