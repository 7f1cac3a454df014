//! The machine of a node's right to stand: Joining, Probation, Ready, Quarantined, Maintenance
//! (design section 6).

use std::sync::Arc;
use std::time::Duration;

use super::Node;
use crate::event::{AlarmName, Event, EventKind};
use crate::group::{Group, Role};
use crate::mutation::{Mutation, active};
use crate::output::Output;
use crate::shared::Cx;
use crate::standing::Absence;
use crate::types::{Standing, Timestamp};

/// At a start without any master so many intervals are waited for the other balancers, who may
/// have the same new configuration.
const FOR_ALL: u32 = 5;

/// What comes of comparing this node's configuration with the reference.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    /// Too little is known yet.
    Wait(Missing),
    /// The cluster is brand new: there is no reference.
    New,
    Equal,
    /// It differs, and an operator admitted it.
    Admitted,
    /// It differs, and so do all others, who equal one another, and there is no master.
    ColdStart,
    Different,
}

/// What is missing for a verdict.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Missing {
    Majority,
    Terms,
    Scan,
    Balancers,
}

impl Node {
    /// One whom no majority answered for too long has to prove itself, before anything that
    /// arrives now is believed. So this comes before the input, as the end of a lease does.
    pub(super) fn lapse(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        let judged = match self.s.standing {
            Standing::Ready | Standing::Probation | Standing::Quarantined => !self.s.is_witness(),
            Standing::Joining | Standing::Maintenance => false,
        };
        let gap = now.since(self.s.answered_at());
        if judged && gap > self.s.grace() && !active(Mutation::ThawUnnoticed) {
            let reason = "no majority of voters answered for longer than restart_grace";
            self.rejoin(now, Absence::Gap(gap), reason, out);
        }
    }

    /// When [`Node::lapse`] strikes, if nothing is heard until then.
    pub(super) fn lapses_at(&self) -> Timestamp {
        if active(Mutation::ThawUnnoticed) {
            return Timestamp::NEVER;
        }
        match self.s.standing {
            Standing::Ready | Standing::Probation | Standing::Quarantined
                if !self.s.is_witness() && !self.s.electorate.is_single() =>
            {
                self.s.answered_at() + self.s.grace() + Duration::from_nanos(1)
            }
            Standing::Ready
            | Standing::Probation
            | Standing::Quarantined
            | Standing::Joining
            | Standing::Maintenance => Timestamp::NEVER,
        }
    }

    /// Has to prove itself from here on.
    pub(super) fn rejoin(
        &mut self,
        now: Timestamp,
        absence: Absence,
        reason: &str,
        out: &mut Vec<Output>,
    ) {
        self.s.gate.absence = absence;
        self.s.gate.joined_at = now;
        self.s.gate.skippable = true;
        self.change_standing(now, Standing::Joining, reason, out);
    }

    /// The one door between standings, so that none goes unjournaled.
    pub(super) fn change_standing(
        &mut self,
        now: Timestamp,
        to: Standing,
        reason: &str,
        out: &mut Vec<Output>,
    ) {
        let from = std::mem::replace(&mut self.s.standing, to);
        self.s.gate.since = now;
        self.s.gate.healthy_since = now;
        self.s.beat_now = true;
        if from == to {
            return;
        }
        let reason: Arc<str> = reason.into();
        out.push(Output::Event(Event::node(EventKind::StandingChanged { from, to, reason })));
        let mut cx = Cx { now, s: &mut self.s, out };
        match to {
            Standing::Quarantined => {}
            // Until it is known again, what was wrong still is.
            Standing::Joining => {}
            Standing::Maintenance | Standing::Probation | Standing::Ready => {
                cx.clear(AlarmName::Quarantined);
                cx.clear(AlarmName::PullFailed);
                cx.s.gate.comparison = None;
                cx.s.gate.pull.failed = None;
            }
        }
        if to == Standing::Ready && !self.groups.iter().any(is_holding) {
            // It is back for good: the next absence counts alone.
            cx.s.gate.absence = Absence::Gap(Duration::ZERO);
        }
        if to.may_lead() && !from.may_lead() && cx.s.gate.absence != Absence::Restart {
            for group in &mut self.groups {
                group.stand_later(&mut cx);
            }
        }
        if !to.may_lead() {
            cx.s.gate.admitted = None;
            for group in &mut self.groups {
                group.give_up(&mut cx, "it may not lead any more");
            }
        }
    }

    /// Takes the machine as far as it goes now.
    pub(super) fn update_standing(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        self.forget_void_admissions();
        if self.s.is_witness() {
            self.join_as_witness(now, out);
            return;
        }
        let deposed =
            std::mem::take(&mut self.s.gate.deposed) && !active(Mutation::DeposedUnnoticed);
        if deposed && self.s.standing.may_lead() {
            let gap = now.since(self.s.answered_at());
            let known = match self.s.gate.absence {
                Absence::Gap(before) => before,
                Absence::Restart => Duration::ZERO,
            };
            let reason = "another was elected while this node was away as a master";
            self.rejoin(now, Absence::Gap(gap.max(known)), reason, out);
        }
        match self.s.standing {
            Standing::Maintenance => {}
            Standing::Joining => self.join(now, out),
            Standing::Quarantined => self.judge_again(now, out),
            Standing::Probation => self.serve_probation(now, out),
            Standing::Ready => {
                self.end_admission(now, out);
            }
        }
        self.advance_leaving(now, out);
    }

    /// A witness votes and never leads: it is Ready as soon as it can vote.
    fn join_as_witness(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        if self.s.standing == Standing::Joining
            && self.s.hears_majority(now)
            && self.s.terms_lost.is_none()
        {
            self.change_standing(now, Standing::Ready, "heard by a majority", out);
        }
    }

    fn join(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        match self.verdict(now) {
            Verdict::Wait(_) => {}
            Verdict::New => {
                let reason = "the cluster is new: no configuration is the reference yet";
                self.change_standing(now, Standing::Ready, reason, out);
            }
            Verdict::Equal => self.return_to_service(now, out),
            Verdict::Admitted => self.enter_by_admission(now, out),
            Verdict::ColdStart if self.s.all_restarted() => {
                let reason = "all balancers started with the same new configuration";
                self.change_standing(now, Standing::Ready, reason, out);
            }
            Verdict::ColdStart => self.enter_by_cold_start(now, out),
            Verdict::Different => {
                let reason = "its configuration differs from the reference";
                self.change_standing(now, Standing::Quarantined, reason, out);
                self.raise_quarantined(now, out);
            }
        }
    }

    /// With the reference's configuration, from Joining: on probation, or Ready at once.
    fn return_to_service(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        if let Some(reason) = self.skips_probation() {
            self.change_standing(now, Standing::Ready, reason, out);
            return;
        }
        let reason = "its configuration is the reference's";
        self.change_standing(now, Standing::Probation, reason, out);
    }

    /// Why probation is skipped, if it is.
    fn skips_probation(&self) -> Option<&'static str> {
        if active(Mutation::ProbationSkipped) {
            Some("on purpose")
        } else if self.groups.iter().any(is_holding) {
            Some("its configuration is the reference's, and it serves on")
        } else if self.s.was_away_briefly() {
            Some("its configuration is the reference's, and it was away only briefly")
        } else if self.s.all_restarted() {
            Some("its configuration is the reference's, and all balancers started together")
        } else {
            None
        }
    }

    fn enter_by_admission(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        let reason = "an operator admitted it with its configuration";
        self.change_standing(now, Standing::Probation, reason, out);
        self.s.gate.skippable = false;
        self.s.gate.admitted = Some(self.s.digest());
    }

    fn enter_by_cold_start(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        let reason = "there is no master, and all balancers have the same new configuration";
        self.change_standing(now, Standing::Probation, reason, out);
        self.s.gate.skippable = false;
    }

    /// A quarantined node, when anything may have changed.
    fn judge_again(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        match self.verdict(now) {
            Verdict::Wait(_) | Verdict::Different => {}
            Verdict::Admitted => self.enter_by_admission(now, out),
            Verdict::ColdStart => self.enter_by_cold_start(now, out),
            Verdict::New | Verdict::Equal => {
                let reason = "its configuration is the reference's now";
                self.change_standing(now, Standing::Probation, reason, out);
                self.s.gate.skippable = false;
            }
        }
    }

    fn serve_probation(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        if self.end_admission(now, out) {
            return;
        }
        if self.s.gate.skippable
            && self.s.is_as_reference()
            && let Some(reason) = self.skips_probation()
        {
            self.change_standing(now, Standing::Ready, reason, out);
            return;
        }
        if !self.is_well(now) {
            self.s.gate.healthy_since = now;
        } else if self.probation_ends_at() <= now {
            self.change_standing(now, Standing::Ready, "healthy for all of its probation", out);
        }
    }

    /// When probation is over, if the node stays healthy.
    pub(super) fn probation_ends_at(&self) -> Timestamp {
        if self.s.standing != Standing::Probation {
            return Timestamp::NEVER;
        }
        self.s.gate.healthy_since + self.s.config.probation
    }

    /// Whether no fatal check fails and a majority is heard.
    fn is_well(&self, now: Timestamp) -> bool {
        self.s.hears_majority(now)
            && self.s.config.group_ids().all(|group| {
                self.s.config.priority(group, self.s.config.me).is_none()
                    || self.s.is_healthy(group)
            })
    }

    /// One in service by an operator's word alone goes back when that word does not hold any
    /// more. Whether it did.
    fn end_admission(&mut self, now: Timestamp, out: &mut Vec<Output>) -> bool {
        let Some(admitted) = self.s.gate.admitted else { return false };
        let digest = self.s.digest();
        let reference = self.s.gate.reference;
        if self.s.is_as_reference() {
            self.s.gate.admitted = None;
            return false;
        }
        let leads = self.groups.iter().any(|group| matches!(group.role, Role::Master(_)));
        let holds = digest == admitted && self.s.is_admitted(self.s.config.me, digest, reference);
        if leads || holds {
            return false;
        }
        let reason = "its configuration is not the one that an operator admitted, or the \
                      reference is another since";
        self.change_standing(now, Standing::Quarantined, reason, out);
        self.raise_quarantined(now, out);
        true
    }

    /// Compares this node's configuration with the reference.
    pub(super) fn verdict(&self, now: Timestamp) -> Verdict {
        let s = &self.s;
        if s.terms_lost.is_some() {
            return Verdict::Wait(Missing::Terms);
        }
        let joining = s.standing == Standing::Joining;
        if joining && !s.is_reported() {
            return Verdict::Wait(Missing::Majority);
        }
        let Some(digest) = s.digest().known() else { return Verdict::Wait(Missing::Scan) };
        let Some(reference) = s.gate.reference else { return Verdict::New };
        if digest == reference.digest || active(Mutation::JoiningSkipsComparison) {
            return Verdict::Equal;
        }
        if s.is_admitted(s.config.me, digest, Some(reference)) {
            return Verdict::Admitted;
        }
        // The reference follows the master of the first group: another group's does not count.
        let first = self.groups.first();
        if first.is_none_or(|group| group.is_cold_start(s, s.config.me, digest)) {
            return Verdict::ColdStart;
        }
        let patience = s.interval() * FOR_ALL;
        let undecided = joining
            && now.since(s.gate.joined_at) < patience
            && first.is_none_or(|group| group.leader(s, now).is_none())
            && s.other_balancers().all(|node| s.digest_of(node).is_none_or(|it| it == digest));
        if undecided {
            return Verdict::Wait(Missing::Balancers);
        }
        Verdict::Different
    }
}

/// Whether the node lost its mastership of that group and serves on.
fn is_holding(group: &Group) -> bool {
    matches!(&group.role, Role::Holding(holding) if holding.resigned_until.is_none())
}
