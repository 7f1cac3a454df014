//! I8: every role change and every mutating call is in the journal, before it has effects.

use std::sync::Arc;

use vipward_core::{Cause, Event, EventKind, RoleName};

use crate::clock::{Moment, SEC};
use crate::host::Host;
use crate::observer::{Election, Observer, letter};

/// The journal's hour.
const HOUR: u64 = 3_600 * SEC;

/// A line that the present step has to write.
#[derive(Clone, Debug)]
pub(crate) struct Due {
    pub(crate) node: usize,
    pub(crate) call: u64,
    pub(crate) request_id: Option<Arc<str>>,
}

impl Observer {
    pub(super) fn journaled(&mut self, node: usize, at: Moment, hosts: &[Host], event: &Event) {
        match &event.kind {
            EventKind::RoleChanged { from, to, .. } => {
                let Some(group) = event.group else {
                    return self.violate("I8", || "a role change without its group".into());
                };
                let group = group.index();
                let known = self.lives[node].roles[group];
                let first = !self.lives[node].role_known[group];
                if known != *from && !(first && *from == RoleName::None) {
                    let (known, from) = (known.as_str(), from.as_str());
                    self.violate("I8", || {
                        format!("{} changes from {from}, but was {known}", letter(node))
                    });
                }
                if event.term.is_none() || event.cause.is_none() {
                    self.violate("I8", || "a role change without term or cause".into());
                }
                self.role_changed(node, at, group, *to, event);
                if *to == RoleName::Master {
                    self.alone(node, group, at, hosts);
                }
            }
            EventKind::CallStarted { call, .. } => self.started.push(call.0),
            EventKind::CallFinished { call, request_id, .. } => {
                let due = self.due.take_if(|due| due.node == node && due.call == call.0);
                if due.is_some_and(|due| due.request_id != *request_id) {
                    self.violate("I8", || format!("{call:?} is journaled without its request id"));
                }
            }
            EventKind::OwnershipChanged { address, ownership, .. } => {
                let Some(group) = event.group else {
                    return self.violate("I8", || "an ownership without its group".into());
                };
                let account = &mut self.lives[node].accounts[group.index()][address.index()];
                account.ownership = *ownership;
            }
            EventKind::StandingChanged { .. } => self.gate_event(node, at, event),
            _ => self.alarm_journaled(node, event),
        }
    }

    fn role_changed(&mut self, node: usize, at: Moment, group: usize, to: RoleName, event: &Event) {
        let quorum = self.quorum;
        let life = &mut self.lives[node];
        let from = std::mem::replace(&mut life.roles[group], to);
        life.role_known[group] = true;
        if let Some(mastery) = life.masteries[group].as_ref().filter(|_| to == RoleName::Holding)
            && !mastery.ghosts
            && mastery.ends(quorum) > at.local + life.heartbeat()
        {
            self.let_go = Some((group, mastery.term));
        }
        let life = &mut self.lives[node];
        if to == RoleName::Master {
            let term = event.term.map_or(0, |term| term.0);
            let election = Election { term, node, at: at.real, cause: event.cause };
            self.elected(node, at, group, election);
        } else {
            life.masteries[group] = None;
            if to != RoleName::Candidate {
                life.candidacies[group] = None;
            }
            if to == RoleName::Backup && matches!(from, RoleName::Master | RoleName::Holding) {
                self.gate_deposed(node, group);
            }
        }
    }

    /// A master with more than an interval of lease left gives it up by resigning, and in no other
    /// way (I6).
    pub(super) fn judge_let_go(&mut self, node: usize) {
        let Some((group, term)) = self.let_go.take() else { return };
        if self.lives[node].resigned[group] < term {
            let who = letter(node);
            self.violate("I6", || format!("{who} holds, though its lease of term {term} is valid"));
        }
    }

    pub(super) fn finished_journaled(&mut self, node: usize) {
        self.started.clear();
        if let Some(due) = self.due.take() {
            self.violate("I8", || {
                format!("{} does not journal the end of call {}", letter(node), due.call)
            });
        }
    }

    /// A resignation: counted, if the node had a choice (I7).
    pub(super) fn count_move(&mut self, node: usize, at: Moment, group: usize, cause: Cause) {
        let voluntary = match cause {
            Cause::Switchover | Cause::Preempt | Cause::CheckFailed | Cause::Preventive => true,
            Cause::MasterSilent
            | Cause::MasterCrashed
            | Cause::Resigned
            | Cause::Startup
            | Cause::MajorityRegained => false,
        };
        if !voluntary {
            return;
        }
        let life = &mut self.lives[node];
        life.voluntary[group].retain(|then| at.local - *then < HOUR);
        life.voluntary[group].push(at.local);
        let moves = life.voluntary[group].len();
        // Of two such moves by one node, at least one other brought the group back to it.
        let most = life.config.moves_per_hour as usize;
        if moves > most + 1 {
            self.violate("I7", || {
                format!("{} gives group {group} away {moves} times in an hour", letter(node))
            });
        }
    }
}
