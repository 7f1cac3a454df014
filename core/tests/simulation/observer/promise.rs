//! The voter's side of I1: no voter promises itself to two at once.

use vipward_core::{Answer, Renewal, Vote};

use crate::clock::{Moment, Nanos};
use crate::host::Host;
use crate::observer::lease::Stamp;
use crate::observer::{Asked, Observer, letter};

/// A voter's promise, as the one it was given to may count it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Promise {
    life: u32,
    term: u64,
    /// The send that it answers.
    send: u64,
    /// On the shadow of that one's clock.
    until: Nanos,
    /// On the voter's own clock: for the whole lease, from when it answered; by which life.
    kept: Nanos,
    by: u32,
}

/// A promise made in the present step; judged when the step is over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Made {
    voter: usize,
    group: usize,
    to: usize,
    promise: Promise,
}

impl Observer {
    /// A voter's answer leaves it.
    pub(crate) fn answered(&mut self, voter: usize, at: Moment, asked: &Asked, answer: &Answer) {
        self.gate_answers(voter, at, asked, answer);
        let life = &self.lives[asked.asker];
        if life.number != asked.asker_life {
            return;
        }
        let Some(sent) = life.sent(asked.send).copied() else { return };
        let to = asked.asker;
        match answer {
            Answer::Heartbeat(answer) => {
                for group in &answer.groups {
                    let index = group.group.index();
                    if let Renewal::Renewed { .. } = group.renewal
                        && let Some((term, lease)) = sent.mastered[index]
                    {
                        let stamp = Stamp::new(sent.number, sent.at, lease);
                        self.promised(voter, index, to, term, stamp, at.local + lease);
                    }
                }
            }
            Answer::Vote(answer) => {
                if answer.vote == Vote::Granted
                    && let Some((group, term, lease)) = sent.vote
                {
                    let stamp = Stamp::new(sent.number, sent.at, lease);
                    self.promised(voter, group, to, term, stamp, at.local + lease);
                    self.used[voter] = self.used[voter].max(term);
                }
            }
            Answer::TakenBack { .. } | Answer::Operator(_) => {}
        }
    }

    #[allow(clippy::too_many_arguments)] // Who promised what to whom.
    pub(super) fn promised(
        &mut self,
        voter: usize,
        group: usize,
        to: usize,
        term: u64,
        stamp: Stamp,
        kept: Nanos,
    ) {
        let lease = stamp.lease;
        let known = self.lives[voter].first_lease.max(self.on_disk[voter]);
        if voter != to && lease > known {
            // A restarted voter is muted for the longest lease that it knows of.
            let who = letter(voter);
            self.violate("I1", || format!("{who} promised {lease} ns and would keep {known} ns"));
        }
        let (life, by) = (self.lives[to].number, self.lives[voter].number);
        let (send, until) = (stamp.send, stamp.shadow);
        let promise = Promise { life, term, send, until, kept, by };
        self.made.push(Made { voter, group, to, promise });
    }

    /// No voter promises two at once: while one may still count it, no other gets it.
    pub(super) fn judge_promises(&mut self, real: Nanos, hosts: &[Host]) {
        while let Some(Made { voter, group, to, promise }) = self.made.pop() {
            for other in (0..self.voters).filter(|other| *other != to) {
                let Some(old) = self.promises[voter][group][other] else { continue };
                let shadow = hosts[other].clock.at(real).shadow;
                if shadow < old.until && self.pursues(other, group, old, hosts, real) {
                    self.violate("I1", || {
                        let (v, a, b) = (letter(voter), letter(other), letter(to));
                        let (old, new) = (old.term, promise.term);
                        format!(
                            "{v} promised itself to {b} (group {group}, term {new}) while {a} \
                             may count on its promise of term {old}"
                        )
                    });
                }
            }
            let known = &mut self.promises[voter][group][to];
            // A further copy of the same send promises nothing more.
            let older = known.is_some_and(|old| {
                (old.life, old.by) == (promise.life, promise.by) && old.send >= promise.send
            });
            if !older {
                // Nor does a newer one of its term promise less, after a reload to a shorter
                // lease.
                let same = known.filter(|old| (old.life, old.term) == (promise.life, promise.term));
                let until = same.map_or(0, |old| old.until).max(promise.until);
                let kept = same.filter(|old| old.by == promise.by).map_or(0, |old| old.kept);
                *known = Some(Promise { until, kept: kept.max(promise.kept), ..promise });
            }
        }
    }

    /// Whether this voter's promise to another stands, so that its own vote is not its own.
    pub(super) fn owes_another(
        &self,
        voter: usize,
        group: usize,
        at: Moment,
        hosts: &[Host],
    ) -> bool {
        let others = (0..self.voters).filter(|other| *other != voter);
        let mut owed =
            others.filter_map(|other| Some((other, self.promises[voter][group][other]?)));
        owed.any(|(other, promise)| {
            promise.by == self.lives[voter].number
                && promise.kept > at.local
                && self.pursues(other, group, promise, hosts, at.real)
        })
    }

    /// Whether the one that was promised something has not let go of it.
    fn pursues(
        &self,
        node: usize,
        group: usize,
        old: Promise,
        hosts: &[Host],
        real: Nanos,
    ) -> bool {
        let life = &self.lives[node];
        let local = hosts[node].clock.at(real).local;
        life.alive
            && life.number == old.life
            && (life.candidacies[group].as_ref().is_some_and(|c| c.term == old.term)
                || life.masteries[group]
                    .as_ref()
                    .is_some_and(|m| m.term == old.term && m.ends(self.quorum) > local))
    }
}
