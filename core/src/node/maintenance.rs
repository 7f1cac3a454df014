//! A node is taken out of candidacy by an operator, and brought back (design section 6).

use super::Node;
use super::commands::operator_patience;
use crate::command::{Done, Refusal};
use crate::group::{Group, Role};
use crate::handover::{Reply, reply};
use crate::output::Output;
use crate::shared::Cx;
use crate::standing::{Absence, Leaving};
use crate::types::{Standing, Timestamp};

impl Node {
    /// Takes this node out of candidacy, after it handed over what it leads, or brings it back.
    pub(super) fn set_maintenance(
        &mut self,
        now: Timestamp,
        on: bool,
        answer_to: Reply,
        out: &mut Vec<Output>,
    ) {
        let me = self.s.config.me;
        let is = self.s.standing == Standing::Maintenance;
        let refusal = if self.s.is_witness() {
            Some(Refusal::NotABalancer(me))
        } else if self.s.stopping.is_some() {
            Some(Refusal::Stopping)
        } else if self.s.gate.leaving.is_some() {
            Some(Refusal::Busy)
        } else if on && !is {
            self.cannot_leave()
        } else {
            None
        };
        let mut cx = Cx { now, s: &mut self.s, out };
        if let Some(refusal) = refusal {
            reply(&mut cx, answer_to, Err(refusal));
        } else if is == on {
            reply(&mut cx, answer_to, Ok(Done::Maintenance(me, on)));
        } else if on {
            let until = now + operator_patience(&cx.s.config);
            cx.s.gate.leaving = Some(Leaving { reply: answer_to, until, failed: None });
            for group in &mut self.groups {
                group.leave(&mut cx);
            }
            self.advance_leaving(now, out);
        } else {
            let gap = now.since(self.s.gate.since);
            let reason = "an operator brought it back";
            self.rejoin(now, Absence::Gap(gap), reason, out);
            let mut cx = Cx { now, s: &mut self.s, out };
            reply(&mut cx, answer_to, Ok(Done::Maintenance(me, on)));
        }
    }

    /// Why this node cannot be taken out of candidacy now.
    fn cannot_leave(&self) -> Option<Refusal> {
        self.groups.iter().find_map(|group| match &group.role {
            Role::None | Role::Backup => None,
            Role::Holding(_) if !self.s.hears_majority(self.s.now) => Some(Refusal::NoMajority),
            Role::Holding(_) => Some(Refusal::Busy),
            Role::Master(_) if group.handover.is_some() => Some(Refusal::Busy),
            Role::Master(_) => {
                let nobody = group.best_successor(&self.s, false).is_none();
                nobody.then_some(Refusal::NoSuccessor)
            }
        })
    }

    /// On the way into maintenance: when everything is handed over, or could not be.
    pub(super) fn advance_leaving(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        let Some(leaving) = self.s.gate.leaving else { return };
        let me = self.s.config.me;
        let mut cx = Cx { now, s: &mut self.s, out };
        if let Some(refusal) = leaving.failed {
            cx.s.gate.leaving = None;
            reply(&mut cx, leaving.reply, Err(refusal));
            return;
        }
        let serves = |group: &Group| {
            group.handover.is_some() || matches!(group.role, Role::Master(_) | Role::Holding(_))
        };
        if self.groups.iter().any(serves) {
            // It may have been elected meanwhile, or have lost its majority.
            if leaving.until <= now {
                self.s.gate.leaving = None;
                let refusal = self.cannot_leave().unwrap_or(Refusal::Busy);
                reply(&mut Cx { now, s: &mut self.s, out }, leaving.reply, Err(refusal));
            }
            return;
        }
        self.s.gate.leaving = None;
        let reason = "an operator took it out of candidacy";
        self.change_standing(now, Standing::Maintenance, reason, out);
        let mut cx = Cx { now, s: &mut self.s, out };
        reply(&mut cx, leaving.reply, Ok(Done::Maintenance(me, true)));
    }
}
