//! I1 and I4: who may act, computed from the traffic.
//!
//! A promise counts from before the send that it answers, for nine tenths of the lease named
//! there (design 3.3). A master's lease lasts as long as a majority of such promises.

use vipward_core::{Answer, Cause, Renewal, RoleName, Vote, VoteRequest, own_lease};

use crate::clock::{Moment, Nanos};
use crate::host::Host;
use crate::observer::{Election, Heard, Observer, beat_record, letter, nanos, vote_record};
use crate::plan::VOTERS;

/// A promise that a candidate or master has received.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stamp {
    /// The newest send that was answered, and when it was sent.
    pub(crate) send: u64,
    pub(crate) sent: Nanos,
    pub(super) lease: Nanos,
    pub(super) local: Nanos,
    pub(super) shadow: Nanos,
}

/// A candidacy under way.
#[derive(Clone, Debug)]
pub(crate) struct Candidacy {
    pub(crate) term: u64,
    stamps: [Option<Stamp>; VOTERS],
}

/// A mastership.
#[derive(Clone, Debug)]
pub(crate) struct Mastery {
    pub(crate) term: u64,
    pub(crate) elected: Moment,
    pub(crate) stamps: [Option<Stamp>; VOTERS],
    /// A voter's dead life answered late: its promise stands, but nobody need count it.
    pub(crate) ghosts: bool,
}

impl Stamp {
    pub(super) fn new(send: u64, at: Moment, lease: Nanos) -> Self {
        let counted = nanos(own_lease(std::time::Duration::from_nanos(lease)));
        Self { send, sent: at.local, lease, local: at.local + counted, shadow: at.shadow + counted }
    }

    fn later(old: Option<Self>, new: Self) -> Option<Self> {
        match old {
            // After a reload to a shorter lease, the newest send is not the one that lasts.
            Some(old) => Some(Self {
                send: old.send.max(new.send),
                sent: old.sent.max(new.sent),
                lease: new.lease,
                local: old.local.max(new.local),
                shadow: old.shadow.max(new.shadow),
            }),
            None => Some(new),
        }
    }
}

/// The end of what a quorum of stamps allows.
fn until(quorum: usize, stamps: &[Option<Stamp>; VOTERS], of: impl Fn(&Stamp) -> Nanos) -> Nanos {
    let mut ends = [0; VOTERS];
    for (end, stamp) in ends.iter_mut().zip(stamps) {
        *end = stamp.as_ref().map_or(0, &of);
    }
    ends.sort_unstable();
    ends[VOTERS - quorum]
}

impl Mastery {
    /// When it ends on its own clock.
    pub(crate) fn ends(&self, quorum: usize) -> Nanos {
        until(quorum, &self.stamps, |stamp| stamp.local)
    }

    /// When it ends in real time, on the shadow of its clock.
    fn ends_for_all(&self, quorum: usize) -> Nanos {
        until(quorum, &self.stamps, |stamp| stamp.shadow)
    }
}

impl Observer {
    /// Whether a node is master of the group under a lease that is valid for all and for itself.
    pub(crate) fn leads(&self, node: usize, group: usize, at: Moment) -> bool {
        let life = &self.lives[node];
        life.alive
            && life.masteries[group].as_ref().is_some_and(|m| {
                m.ends(self.quorum) > at.local && m.ends_for_all(self.quorum) > at.shadow
            })
    }

    /// The terms of a node's mastership, if it has one.
    pub(crate) fn term_of(&self, node: usize, group: usize) -> Option<u64> {
        self.lives[node].masteries[group].as_ref().map(|mastery| mastery.term)
    }

    pub(super) fn beat_sent(
        &mut self,
        node: usize,
        at: Moment,
        hosts: &[Host],
        beat: &vipward_core::Heartbeat,
    ) {
        let quorum = self.quorum;
        for take_back in &beat.take_backs {
            self.taken_back(node, at, take_back);
        }
        let fresh = self.lives[node].sent(beat.send.0).is_none();
        let record = beat_record(at, beat);
        self.lives[node].remember(record);
        for (group, mastered) in record.mastered.iter().enumerate() {
            let Some((term, lease)) = *mastered else { continue };
            let own_vote = at.local >= self.lives[node].mute_until
                && !self.owes_another(node, group, at, hosts);
            let life = &mut self.lives[node];
            let valid = life.masteries[group]
                .as_mut()
                .filter(|m| m.term == term && m.ends(quorum) > at.local)
                .filter(|_| life.roles[group] == RoleName::Master);
            let Some(mastery) = valid else {
                let known = life.masteries[group].as_ref().filter(|m| m.term == term);
                let ended = known.map(|m| at.local.saturating_sub(m.ends(quorum)));
                self.violate("I1", || {
                    let who = letter(node);
                    let ended = ended.map_or(String::new(), |ns| format!(": it ended {ns} ns ago"));
                    format!("{who} claims the lease of term {term}, which it has not{ended}")
                });
                return;
            };
            if fresh && own_vote {
                let stamp = Stamp::new(beat.send.0, at, lease);
                mastery.stamps[node] = Stamp::later(mastery.stamps[node], stamp);
                self.promised(node, group, node, term, stamp, at.local + lease);
                self.alone(node, group, at, hosts);
            }
        }
    }

    pub(super) fn vote_sent(
        &mut self,
        node: usize,
        at: Moment,
        hosts: &[Host],
        request: &VoteRequest,
    ) {
        let (group, term, lease) = (request.group.index(), request.term.0, nanos(request.lease));
        let life = &mut self.lives[node];
        life.remember(vote_record(at, request));
        if life.candidacies[group].as_ref().is_some_and(|c| c.term == term) {
            return;
        }
        let role = life.roles[group];
        if !matches!(role, RoleName::Candidate | RoleName::Holding) {
            let what = || format!("{} asks for votes as {}", letter(node), role.as_str());
            self.violate("I8", what);
            return;
        }
        let Heard { from, term: heard, until, .. } = life.heard[group];
        let leads = self.leads(from, group, hosts[from].clock.at(at.real))
            && self.term_of(from, group) == Some(heard);
        if request.cause == Cause::MasterSilent && leads && at.local < until {
            let what = || format!("{} stands, though it hears the master", letter(node));
            self.violate("I6", what);
            return;
        }
        let own_vote = at.local >= self.lives[node].mute_until;
        self.gate_stands(node, at, request, own_vote);
        let mut candidacy = Candidacy { term, stamps: [None; VOTERS] };
        if own_vote {
            let stamp = Stamp::new(request.send.0, at, lease);
            candidacy.stamps[node] = Some(stamp);
            self.promised(node, group, node, term, stamp, at.local + lease);
        }
        self.lives[node].candidacies[group] = Some(candidacy);
        let stood = self.stood[node][group];
        if self.terms_last && term <= stood {
            let what = || format!("{} stands in term {term} after term {stood}", letter(node));
            self.violate("I4", what);
        }
        self.stood[node][group] = stood.max(term);
        self.used[node] = self.used[node].max(term);
    }

    /// An answer reached the node that asked; copies and late ones as well.
    pub(super) fn on_answer(
        &mut self,
        node: usize,
        at: Moment,
        hosts: &[Host],
        from: usize,
        answer: &Answer,
    ) {
        match answer {
            Answer::Heartbeat(answer) => {
                let Some(sent) = self.lives[node].sent(answer.send.0).copied() else { return };
                for group in &answer.groups {
                    let index = group.group.index();
                    if let Renewal::Renewed { had_run_out } = group.renewal
                        && let Some((term, lease)) = sent.mastered[index]
                    {
                        let stamp = Stamp::new(sent.number, sent.at, lease);
                        self.renewed(node, at, from, index, term, stamp, had_run_out);
                        self.alone(node, index, at, hosts);
                    }
                }
            }
            Answer::Vote(answer) if answer.vote == Vote::Granted => {
                let sent = self.lives[node].sent(answer.send.0).copied();
                let vote = sent.and_then(|sent| Some((sent, sent.vote?)));
                let Some((sent, (group, term, lease))) = vote else { return };
                let stamp = Stamp::new(sent.number, sent.at, lease);
                let life = &mut self.lives[node];
                if let Some(candidacy) = &mut life.candidacies[group]
                    && candidacy.term == term
                {
                    candidacy.stamps[from] = Stamp::later(candidacy.stamps[from], stamp);
                }
            }
            Answer::Vote(_) | Answer::TakenBack { .. } | Answer::Operator(_) => {}
        }
    }

    #[allow(clippy::too_many_arguments)] // What an answer says, and where.
    fn renewed(
        &mut self,
        node: usize,
        at: Moment,
        from: usize,
        group: usize,
        term: u64,
        stamp: Stamp,
        had_run_out: bool,
    ) {
        let quorum = self.quorum;
        let mastery = &mut self.lives[node].masteries[group];
        let Some(current) = mastery.as_mut().filter(|m| m.term == term) else { return };
        let old = current.stamps[from];
        // Of a dead life's promise the core need not know.
        let stopped = had_run_out
            && !current.ghosts
            && old.is_some_and(|old| old.local > at.local && old.send < stamp.send);
        if current.ends(quorum) <= at.local || stopped {
            // A lapsed lease stays lapsed; and a promise that ran out while it was still counted
            // shows that this clock stood still.
            *mastery = None;
            return;
        }
        current.stamps[from] = Stamp::later(old, stamp);
    }

    /// Nobody else holds a valid lease while this one does.
    pub(super) fn alone(&mut self, node: usize, group: usize, at: Moment, hosts: &[Host]) {
        if !self.leads(node, group, at) {
            return;
        }
        for other in (0..self.voters).filter(|other| *other != node) {
            if self.leads(other, group, hosts[other].clock.at(at.real)) {
                let terms = (self.term_of(node, group), self.term_of(other, group));
                self.violate("I1", || {
                    let (a, b) = (letter(node), letter(other));
                    format!("{a} and {b} both hold a valid lease of group {group}: {terms:?}")
                });
            }
        }
    }

    /// A node journals that it is master now.
    pub(super) fn elected(&mut self, node: usize, at: Moment, group: usize, election: Election) {
        let quorum = self.quorum;
        let term = election.term;
        let candidacy = self.lives[node].candidacies[group].take();
        let stamps = candidacy.filter(|c| c.term == term).map(|c| c.stamps);
        let granted = stamps.map_or([false; VOTERS], |stamps| stamps.map(|stamp| stamp.is_some()));
        self.judge_gate(node, group, election, granted);
        let mastery = stamps.map(|stamps| Mastery { term, elected: at, stamps, ghosts: false });
        if mastery.as_ref().is_none_or(|m| m.ends(quorum) <= at.local) {
            let who = letter(node);
            self.violate("I1", || format!("{who} leads in term {term} without a majority"));
        }
        self.lives[node].masteries[group] = mastery;
        let last = self.elections[group].iter().map(|old| old.term).max().unwrap_or(0);
        // One whose clock stood still between its request and its votes believes to have won
        // what others have won since; it has no valid lease, and acts on none.
        let valid = self.leads(node, group, at);
        if self.terms_last && valid && term <= last {
            let who = letter(node);
            self.violate("I4", || format!("{who} is elected in term {term} after term {last}"));
        }
        self.elections[group].push(election);
    }
}
