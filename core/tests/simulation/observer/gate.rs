//! I5: who may lead, judged by the configuration that the world gave each node, by what reached
//! it, and by the reference in force: the highest that a majority has on disk or has told of since
//! it started. No node is asked what it believes.

use vipward_core::{
    Admission, Answer, BootId, Cause, Digest, Durable, Event, EventKind, Heartbeat, Input,
    Reference, Request, Standing, VoteRequest,
};

use crate::clock::{Moment, Nanos};
use crate::observer::{Asked, Election, Life, Observer, letter, nanos};
use crate::plan::{GROUPS, VOTERS};

/// What the judge remembers of all nodes.
#[derive(Default)]
pub(crate) struct Gate {
    /// By node and life, the first being 1.
    boots: [Vec<BootId>; VOTERS],
    /// By node: the highest reference that its disk has had since it was last lost.
    on_disk: [Option<Reference>; VOTERS],
    /// Every reference that was set by one that might.
    references: Vec<Reference>,
    /// What operators asked for: the pairs that they admitted, and to whom they forced a handover.
    asked: Vec<(usize, Digest)>,
    forced: Vec<Option<usize>>,
    /// Every admission that an operator asked for.
    admissions: Vec<Admission>,
    /// How often each was asked to come back from maintenance, and has not.
    asked_back: [u32; VOTERS],
    stands: [[Option<Stand>; GROUPS]; VOTERS],
    /// Grants of the present step; judged when it is over.
    grants: Vec<Grant>,
    /// By node: when its last process died.
    died: [Nanos; VOTERS],
    /// By group: the last handover.
    handed: [Option<Handed>; GROUPS],
}

/// What one life knows, and what the world told it.
#[derive(Clone, Debug)]
pub(crate) struct Passage {
    /// As journaled.
    pub(super) standing: Standing,
    /// What it was told of its configuration, whether that is loaded, and when.
    told: Option<(Digest, bool)>,
    told_at: Nanos,
    /// What it last said of itself.
    said: Option<Said>,
    /// The same before the present step.
    said_before: Option<Said>,
    /// The highest reference that it spoke of, and that reached it.
    spoken: Option<Reference>,
    reached: Option<Reference>,
    /// What was in force when it last had to prove itself, and whether it has.
    floor: Option<Reference>,
    passed: bool,
    absence: Absence,
    /// Since when it is on probation, on its own clock.
    watched_at: Nanos,
    /// When it ceased to be Joining, in real time.
    joined_at: Nanos,
    /// By peer: when the newest of its sends went out that was answered, on its own clock.
    answered: [Option<Nanos>; VOTERS],
    views: [View; VOTERS],
    /// By group: the last term that it led.
    led: [u64; GROUPS],
}

/// Why a node has to prove itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Absence {
    /// Its process started.
    Birth,
    /// No majority answered it for too long, which is never less than the lease it then had.
    Lapse(Nanos),
    /// It was deposed, or in maintenance, for however long.
    Other,
}

/// What a node says of itself in a heartbeat.
#[derive(Clone, Copy, Debug)]
struct Said {
    digest: Digest,
    standing: Standing,
    /// By group: whether it could lead it.
    able: [bool; GROUPS],
}

/// What a node was last told by another.
#[derive(Clone, Copy, Debug, Default)]
struct View {
    boot: Option<BootId>,
    send: u64,
    /// In which life of the speaker.
    life: u32,
    at: Nanos,
    said: Option<Said>,
    /// The life of the other that last answered.
    answered: u32,
}

/// A candidacy, as far as the gate is concerned.
#[derive(Clone, Debug)]
struct Stand {
    term: u64,
    digest: Digest,
    standing: Standing,
    reference: Option<Reference>,
    /// In force when it asked.
    force: Option<Reference>,
    /// Whether it is in service: it has passed the gate, was admitted as far as it knows, or leads
    /// another group.
    serves: bool,
    /// By voter: whether it granted; a better one that it heard then; whether it granted to one of a
    /// cluster whose balancers were all the same.
    granted: [bool; VOTERS],
    better: [Option<usize>; VOTERS],
    cold: [bool; VOTERS],
}

#[derive(Clone, Copy, Debug)]
struct Grant {
    voter: usize,
    to: usize,
    group: usize,
    term: u64,
    reference: Option<Reference>,
}

#[derive(Clone, Copy, Debug)]
struct Handed {
    to: usize,
    at: Nanos,
    /// How many references there had been.
    references: usize,
}

impl Passage {
    pub(super) fn new(standing: Standing) -> Self {
        Self {
            standing,
            told: None,
            told_at: 0,
            said: None,
            said_before: None,
            spoken: None,
            reached: None,
            floor: None,
            passed: false,
            absence: Absence::Birth,
            watched_at: 0,
            joined_at: 0,
            answered: [None; VOTERS],
            views: [View::default(); VOTERS],
            led: [0; GROUPS],
        }
    }
}

impl Life {
    /// When it started, or was last told of its configuration.
    fn changed_at(&self) -> Nanos {
        self.passage.told_at.max(self.born.real)
    }
}

impl Said {
    fn of(beat: &Heartbeat) -> Self {
        let mut able = [false; GROUPS];
        for group in &beat.groups {
            able[group.group.index()] = group.healthy && group.priority.is_some();
        }
        Self { digest: beat.digest, standing: beat.standing, able }
    }

    /// Whether it is in service with that configuration, and could lead the group.
    fn serves(&self, digest: Digest, group: usize) -> bool {
        self.standing.may_lead() && self.digest == digest && self.able[group]
    }
}

impl Observer {
    /// The highest reference that a majority has recorded.
    fn in_force(&self) -> Option<Reference> {
        let mut known: [Option<Reference>; VOTERS] = [None; VOTERS];
        for (node, known) in known.iter_mut().enumerate().take(self.voters) {
            let life = &self.lives[node];
            let spoken = life.passage.spoken.filter(|_| life.alive);
            *known = self.gate.on_disk[node].max(spoken);
        }
        known.sort_unstable_by(|a, b| b.cmp(a));
        known[self.quorum - 1]
    }

    /// A process reads its disk; `tampered` if that is not what was last written.
    pub(crate) fn disk_read(&mut self, node: usize, disk: Option<&Durable>, tampered: bool) {
        let read = disk.and_then(|disk| disk.reference);
        let known = &mut self.gate.on_disk[node];
        *known = if tampered { read } else { (*known).max(read) };
    }

    pub(crate) fn written(&mut self, node: usize, durable: &Durable) {
        let known = &mut self.gate.on_disk[node];
        *known = (*known).max(durable.reference);
    }

    /// A process starts, and has to prove itself.
    pub(super) fn gate_born(&mut self, node: usize, disk: Option<&Durable>) {
        self.gate.boots[node].push(self.lives[node].boot);
        let config = &self.lives[node].config;
        let maintained = disk.is_some_and(|disk| disk.maintenance) && self.is_balancer(node);
        let told = (!config.scanned).then_some((config.shared, true));
        let standing = if maintained { Standing::Maintenance } else { Standing::Joining };
        self.lives[node].passage = Passage { told, ..Passage::new(standing) };
        self.gate.stands[node] = [const { None }; GROUPS];
        self.gate_forgets();
        self.must_pass(node, Absence::Birth);
    }

    pub(super) fn gate_died(&mut self, node: usize, real: Nanos) {
        self.gate.died[node] = real;
        self.gate_forgets();
    }

    /// A process died, or a disk was lost: less may be in force than before.
    fn gate_forgets(&mut self) {
        let force = self.in_force();
        for node in 0..self.voters {
            let floor = &mut self.lives[node].passage.floor;
            if force < *floor {
                *floor = force;
                self.may_pass(node);
            }
        }
    }

    fn is_balancer(&self, node: usize) -> bool {
        !self.lives[node].config.nodes[node].witness
    }

    fn must_pass(&mut self, node: usize, absence: Absence) {
        let floor = self.in_force();
        let passage = &mut self.lives[node].passage;
        passage.absence = absence;
        passage.floor = floor;
        passage.passed = false;
        self.may_pass(node);
    }

    /// Whether it could have been compared with a reference and found equal, at any time since it
    /// had to.
    fn may_pass(&mut self, node: usize) {
        let passage = &mut self.lives[node].passage;
        let Some((digest, _)) = passage.told else { return };
        let equal =
            |reference: &Reference| Some(*reference) >= passage.floor && reference.digest == digest;
        passage.passed |= passage.floor.is_none() || self.gate.references.iter().any(equal);
    }

    /// Something is about to be told to a core: whether it was away for too long is judged before.
    pub(super) fn gate_before(&mut self, node: usize, at: Moment, input: &Input) {
        self.judge_absence(node, at);
        self.lives[node].passage.said_before = self.lives[node].passage.said;
        match input {
            Input::Manifest(inventory) => {
                self.told(node, at, (inventory.digest, inventory.is_applied()));
            }
            Input::Reload(config) if !config.scanned => {
                self.told(node, at, (config.shared, true));
            }
            Input::Request { from, boot, request, .. } => {
                let reference = match request {
                    Request::Heartbeat(beat) => {
                        self.view(node, at, from.index(), *boot, beat);
                        beat.reference
                    }
                    Request::Vote(request) => request.reference,
                    Request::TakeBack(_) | Request::Operator(_) => None,
                };
                let reached = &mut self.lives[node].passage.reached;
                *reached = (*reached).max(reference);
            }
            Input::Answer { from, boot, to_boot, answer, .. }
                if *to_boot == self.lives[node].boot =>
            {
                self.gate_answered(node, from.index(), *boot, answer);
            }
            Input::Admit { node: whom, .. } => {
                let whom = whom.index();
                let known = if whom == node {
                    self.lives[node].passage.told.map(|told| told.0)
                } else {
                    self.lives[node].passage.views[whom].said.map(|said| said.digest)
                };
                self.gate.asked.extend(known.map(|digest| (whom, digest)));
            }
            Input::Switchover { switchover, .. } if switchover.force => {
                self.gate.forced.push(switchover.to.map(|to| to.index()));
            }
            Input::Maintenance { node, on: false, .. } => {
                self.gate.asked_back[node.index()] += 1;
            }
            _ => {}
        }
    }

    /// One whom no majority answered for too long has to prove itself again.
    fn judge_absence(&mut self, node: usize, at: Moment) {
        let life = &self.lives[node];
        let Some(others) = self.quorum.checked_sub(2) else { return };
        let mut answered: Vec<Nanos> = life.passage.answered.iter().flatten().copied().collect();
        answered.sort_unstable_by(|a, b| b.cmp(a));
        let answered = answered.get(others).copied().unwrap_or(life.born.local);
        let grace = nanos(life.config.restart_grace).max(nanos(life.config.timing.lease()));
        if at.local > answered + grace {
            let absence = match life.passage.standing {
                Standing::Ready | Standing::Probation | Standing::Quarantined => {
                    Absence::Lapse(nanos(life.config.timing.lease()))
                }
                Standing::Joining | Standing::Maintenance => life.passage.absence,
            };
            self.must_pass(node, absence);
        }
    }

    fn told(&mut self, node: usize, at: Moment, told: (Digest, bool)) {
        let passage = &mut self.lives[node].passage;
        passage.told = Some(told);
        passage.told_at = at.real;
        self.may_pass(node);
    }

    fn life_of(&self, node: usize, boot: BootId) -> u32 {
        let place = self.gate.boots[node].iter().position(|known| *known == boot);
        place.map_or(0, |place| place as u32 + 1)
    }

    fn view(&mut self, node: usize, at: Moment, from: usize, boot: BootId, beat: &Heartbeat) {
        let life = self.life_of(from, boot);
        let view = &mut self.lives[node].passage.views[from];
        let stale = view.boot == Some(boot) && beat.send.0 <= view.send;
        let replaced = life < view.answered;
        if stale || replaced {
            return; // A copy, an older one, or of a life that is known to be over.
        }
        let said = Some(Said::of(beat));
        let boot = Some(boot);
        *view = View { boot, send: beat.send.0, life, at: at.local, said, ..*view };
    }

    fn gate_answered(&mut self, node: usize, from: usize, boot: BootId, answer: &Answer) {
        let life = self.life_of(from, boot);
        let asked = self.lives[node].sent(answer.send().0).map(|sent| sent.at.local);
        let passage = &mut self.lives[node].passage;
        let view = &mut passage.views[from];
        view.answered = view.answered.max(life);
        if let Answer::Heartbeat(answer) = answer {
            passage.answered[from] = passage.answered[from].max(asked);
            passage.reached = passage.reached.max(answer.reference);
        }
    }

    /// A core speaks of a reference: whoever does so first has set it.
    fn speaks(&mut self, node: usize, at: Moment, reference: Option<Reference>, said: bool) {
        let Some(reference) = reference else { return };
        let known = self.gate.references.iter().find(|it| it.version == reference.version);
        if known.is_some_and(|known| known.digest != reference.digest) && self.terms_last {
            let who = letter(node);
            self.violate("I5", || format!("{who} knows another reference as {reference:?}"));
        }
        if !self.gate.references.contains(&reference) {
            self.judge_setting(node, at, reference);
            self.gate.references.push(reference);
            for node in 0..self.voters {
                self.may_pass(node);
            }
        }
        let passage = &mut self.lives[node].passage;
        passage.reached = passage.reached.max(Some(reference));
        if said {
            passage.spoken = passage.spoken.max(Some(reference));
        }
    }

    /// Only a master of the first group sets a reference, under a valid lease: to what it has
    /// applied, or to what it was.
    fn judge_setting(&mut self, node: usize, at: Moment, reference: Reference) {
        let life = &self.lives[node];
        let leads = life.masteries[0]
            .as_ref()
            .is_some_and(|m| m.term == reference.version.term.0 && m.ends(self.quorum) > at.local);
        let applied = life.passage.told == Some((reference.digest, true));
        let former = life.passage.reached.is_some_and(|known| known.digest == reference.digest);
        let who = letter(node);
        if !leads {
            self.violate("I5", || format!("{who} sets {reference:?}, and does not lead"));
        } else if !applied && !former {
            let told = life.passage.told;
            self.violate("I5", || format!("{who} sets {reference:?}, and has {told:?}"));
        }
    }

    fn speaks_of(&mut self, node: usize, admissions: &[Admission]) {
        for admission in admissions {
            if self.gate.admissions.contains(admission) {
                continue;
            }
            let whom = admission.node.index();
            let asked = self.gate.asked.contains(&(whom, admission.digest))
                || self.gate.forced.iter().any(|to| to.is_none_or(|to| to == whom));
            if !asked {
                let who = letter(node);
                self.violate("I5", || format!("{who} knows of {admission:?}, which nobody asked"));
            }
            self.gate.admissions.push(*admission);
        }
    }

    pub(super) fn gate_beat(&mut self, node: usize, at: Moment, beat: &Heartbeat) {
        self.lives[node].passage.said = Some(Said::of(beat));
        self.speaks(node, at, beat.reference, true);
        self.speaks_of(node, &beat.admissions);
    }

    pub(super) fn gate_persists(&mut self, node: usize, at: Moment, durable: &Durable) {
        self.speaks(node, at, durable.reference, false);
        self.speaks_of(node, &durable.admissions);
    }

    /// A node answers.
    pub(super) fn gate_answers(
        &mut self,
        voter: usize,
        at: Moment,
        asked: &Asked,
        answer: &Answer,
    ) {
        match answer {
            Answer::Heartbeat(answer) => {
                self.speaks(voter, at, answer.reference, true);
                self.speaks_of(voter, &answer.admissions);
            }
            Answer::Vote(answer) if answer.vote == vipward_core::Vote::Granted => {
                let (group, term) = (answer.group.index(), answer.term.0);
                let to = asked.asker;
                let stand = self.gate.stands[to][group].as_ref().filter(|it| it.term == term);
                if let Some(stand) = stand {
                    let reference = self.lives[voter].passage.spoken.max(stand.reference);
                    self.gate.grants.push(Grant { voter, to, group, term, reference });
                }
            }
            Answer::Operator(answer) => {
                let standing = self.lives[voter].passage.standing;
                let accepted = answer.result == Ok(vipward_core::Done::Accepted);
                if accepted && standing != Standing::Ready {
                    let who = letter(voter);
                    self.violate("I5", || format!("{who} accepts a handover as {standing:?}"));
                }
            }
            Answer::Vote(_) | Answer::TakenBack { .. } => {}
        }
    }

    /// A candidate asks for votes in a new term; its own vote counts if it has one.
    pub(super) fn gate_stands(
        &mut self,
        node: usize,
        at: Moment,
        request: &VoteRequest,
        own: bool,
    ) {
        let (group, term) = (request.group.index(), request.term.0);
        self.speaks(node, at, request.reference, true);
        let passage = &self.lives[node].passage;
        if passage.told.map(|told| told.0) != Some(request.digest) {
            let (who, told) = (letter(node), passage.told);
            return self.violate("I5", || format!("{who} names another digest than {told:?}"));
        }
        let force = self.in_force();
        let admitted = self.is_admitted(node, request.digest, request.reference);
        let masteries = self.lives[node].masteries.iter().flatten();
        let leads = masteries.into_iter().any(|m| m.ends(self.quorum) > at.local);
        let mut stand = Stand {
            term,
            digest: request.digest,
            standing: passage.standing,
            reference: request.reference,
            force,
            serves: passage.passed || leads || admitted,
            granted: [false; VOTERS],
            better: [None; VOTERS],
            cold: [false; VOTERS],
        };
        if own {
            let digest = request.digest;
            stand.better[node] = self.better_heard(node, node, group, digest, request.reference);
        }
        stand.cold[node] = self.is_cold(node, node, request.digest);
        self.gate.stands[node][group] = Some(stand);
    }

    /// Votes granted in this step, once everything that the voter said in it is known.
    pub(super) fn judge_grants(&mut self) {
        while let Some(Grant { voter, to, group, term, reference }) = self.gate.grants.pop() {
            let stand = self.gate.stands[to][group].as_ref();
            // A further copy is answered in the same way, whatever was learnt since.
            let stand = stand.filter(|it| it.term == term && !it.granted[voter]);
            let Some(digest) = stand.map(|stand| stand.digest) else { continue };
            let better = self.better_heard(voter, to, group, digest, reference);
            let cold = self.is_cold(voter, to, digest);
            if let Some(stand) = &mut self.gate.stands[to][group] {
                stand.granted[voter] = true;
                stand.better[voter] = better;
                stand.cold[voter] = cold;
            }
        }
    }

    /// A balancer in service with the reference's configuration that `voter` hears, and that could
    /// lead instead of `candidate`.
    fn better_heard(
        &self,
        voter: usize,
        candidate: usize,
        group: usize,
        own: Digest,
        reference: Option<Reference>,
    ) -> Option<usize> {
        let Reference { digest, .. } = reference?;
        if self.is_admitted(candidate, own, reference) {
            return None;
        }
        let life = &self.lives[voter];
        let reached = life.passage.reached.is_none_or(|known| known.digest == digest);
        if digest == own || !reached {
            return None; // It is as that reference; or what is gone by is not known for sure.
        }
        // Its own standing may have changed before its vote in this step, or after it.
        let said = [life.passage.said_before, life.passage.said];
        let itself = voter != candidate
            && said.into_iter().all(|said| said.is_some_and(|said| said.serves(digest, group)))
            && life.config.groups[group].priorities[voter].is_some();
        if itself {
            return Some(voter);
        }
        let now = self.now[voter];
        let patience = nanos(life.config.timing.lease());
        let heard = |other: &usize| {
            let view = &life.passage.views[*other];
            let is = &self.lives[*other];
            ![voter, candidate].contains(other)
                && is.alive
                && (view.life, view.answered) == (is.number, is.number)
                && now <= view.at + patience
                && view.said.is_some_and(|said| said.serves(digest, group))
        };
        (0..self.voters).find(heard)
    }

    /// Whether `voter` was told that every balancer has that configuration.
    fn is_cold(&self, voter: usize, candidate: usize, digest: Digest) -> bool {
        let life = &self.lives[voter];
        let own =
            |node: usize| node != voter || life.passage.told.is_some_and(|told| told.0 == digest);
        let told = |node: usize| {
            node == voter || life.passage.views[node].said.is_some_and(|said| said.digest == digest)
        };
        (0..self.voters)
            .filter(|node| self.is_balancer(*node) && *node != candidate)
            .all(|node| own(node) && told(node))
    }

    /// A mastership is handed on.
    pub(super) fn gate_handed(&mut self, group: usize, to: Option<usize>, cause: Cause, at: Nanos) {
        let planned = matches!(cause, Cause::Preempt | Cause::Switchover);
        let references = self.gate.references.len();
        self.gate.handed[group] = to.filter(|_| planned).map(|to| Handed { to, at, references });
    }

    pub(super) fn gate_event(&mut self, node: usize, at: Moment, event: &Event) {
        let EventKind::StandingChanged { from, to, .. } = &event.kind else { return };
        let known = std::mem::replace(&mut self.lives[node].passage.standing, *to);
        let who = letter(node);
        if known != *from {
            self.violate("I8", || format!("{who} changes from {from:?}, but was {known:?}"));
        }
        if *to == Standing::Probation {
            self.lives[node].passage.watched_at = at.local;
        }
        if *from == Standing::Joining {
            self.lives[node].passage.joined_at = at.real;
        }
        if known == Standing::Maintenance {
            self.lives[node].passage.absence = Absence::Other;
            match self.gate.asked_back[node].checked_sub(1) {
                Some(left) => self.gate.asked_back[node] = left,
                None => self.violate("I5", || format!("{who} leaves maintenance unasked")),
            }
        }
        if *to == Standing::Ready && self.is_balancer(node) {
            self.judge_probation(node, at, *from);
        }
        if to.may_lead() && !from.may_lead() {
            let told = self.lives[node].passage.told;
            let cold = told.is_some_and(|told| self.is_cold(node, node, told.0));
            self.lives[node].passage.passed |= cold;
        }
    }

    /// Nobody who was away for long is Ready before its probation is over, unless all started
    /// together, or it serves on.
    fn judge_probation(&mut self, node: usize, at: Moment, from: Standing) {
        let life = &self.lives[node];
        let passage = &life.passage;
        let watched = from == Standing::Probation
            && at.local >= passage.watched_at + nanos(life.config.probation);
        let holding = life.roles.contains(&vipward_core::RoleName::Holding);
        if watched || holding || passage.floor.is_none() {
            return;
        }
        // Twice as much for what clocks make of it, and for what was still on its way.
        let grace = 2 * nanos(life.config.restart_grace) + 16 * nanos(life.config.timing.lease());
        let early = match passage.absence {
            Absence::Other => false,
            // After a reload to a longer lease it may not have been too long.
            Absence::Lapse(lease) => nanos(life.config.timing.lease()) <= lease,
            Absence::Birth => {
                // A witness is not asked; what the others said a moment ago still counts.
                let together = (0..self.voters).filter(|it| self.is_balancer(*it)).all(|other| {
                    let other = &self.lives[other];
                    let joining = other.passage.standing == Standing::Joining
                        || at.real - other.passage.joined_at <= grace;
                    other.alive && (at.real - other.born.real <= grace || joining)
                });
                life.born.real - self.gate.died[node] > grace && !together
            }
        };
        if early {
            let (who, absence) = (letter(node), passage.absence);
            self.violate("I5", || format!("{who} skips its probation after its {absence:?}"));
        }
    }

    /// A node has another role: one that was deposed while it was away has to prove itself.
    pub(super) fn gate_deposed(&mut self, node: usize, group: usize) {
        let life = &self.lives[node];
        if life.resigned[group] < life.passage.led[group] {
            self.must_pass(node, Absence::Other);
        }
    }

    /// A node leads, by these voters.
    pub(super) fn judge_gate(
        &mut self,
        node: usize,
        group: usize,
        election: Election,
        voters: [bool; VOTERS],
    ) {
        self.lives[node].passage.led[group] = election.term;
        let handed = self.gate.handed[group].take();
        let stand = self.gate.stands[node][group].take();
        let Some(stand) = stand.filter(|stand| stand.term == election.term) else { return };
        if let Err(why) = self.may_lead(node, &stand, handed, voters) {
            let (who, term) = (letter(node), election.term);
            let Stand { digest, standing, force, .. } = stand;
            self.violate("I5", || {
                let has = digest.0[0];
                let force = force.map(|it| (it.version.term.0, it.version.count, it.digest.0[0]));
                format!(
                    "{who} leads group {group} in term {term} as {standing:?} with {has:x}, {why}; \
                     in force is {force:x?}"
                )
            });
        }
    }

    fn may_lead(
        &self,
        node: usize,
        stand: &Stand,
        handed: Option<Handed>,
        voters: [bool; VOTERS],
    ) -> Result<(), String> {
        let life = &self.lives[node];
        let last_resort = life.config.last_resort;
        match stand.standing {
            Standing::Joining | Standing::Maintenance => return Err("which never leads".into()),
            Standing::Quarantined if !last_resort => return Err("and there is no resort".into()),
            Standing::Quarantined | Standing::Probation | Standing::Ready => {}
        }
        let Some(force) = stand.force else { return Ok(()) };
        let newer = stand.reference.filter(|reference| *reference > force);
        let equal = stand.digest == force.digest
            || newer.is_some_and(|reference| reference.digest == stand.digest);
        if stand.standing.may_lead() && (equal || self.is_admitted(node, stand.digest, stand.force))
        {
            return Ok(());
        }
        let mut granted = (0..self.voters).filter(|voter| voters[*voter]);
        if granted.clone().all(|voter| stand.cold[voter]) {
            return Ok(());
        }
        let forced = self.gate.forced.iter().any(|to| to.is_none_or(|to| to == node));
        let unforced = handed.filter(|handed| {
            // Where anything changed since, it is drift.
            handed.to == node
                && !forced
                && self.lives.iter().all(|life| life.changed_at() < handed.at)
                && handed.references == self.gate.references.len()
        });
        if unforced.is_some() {
            return Err("by a handover that nobody forced".into());
        }
        if stand.standing.may_lead() && !stand.serves {
            return Err("and has not passed the gate".into());
        }
        match granted.find_map(|voter| Some((voter, stand.better[voter]?))) {
            Some((voter, better)) => {
                Err(format!("though {} hears {}", letter(voter), letter(better)))
            }
            None => Ok(()),
        }
    }

    /// Whether an operator admitted it with that configuration, and no other reference was set
    /// since.
    fn is_admitted(&self, node: usize, digest: Digest, force: Option<Reference>) -> bool {
        self.gate.admissions.iter().any(|admission| {
            let void = force.is_some_and(|force| {
                force.version > admission.version && force.digest != admission.over
            });
            (admission.node.index(), admission.digest) == (node, digest) && !void
        })
    }

    /// A node's standing, as journaled.
    pub(crate) fn standing(&self, node: usize) -> Standing {
        self.lives[node].passage.standing
    }

    /// Whether an operator has taken a node out, and it runs.
    pub(crate) fn is_maintained(&self, node: usize) -> bool {
        self.lives[node].alive && self.standing(node) == Standing::Maintenance
    }

    /// Whether what a node has is in force: the reference follows the master of the first group.
    pub(crate) fn is_in_force(&self, node: usize) -> bool {
        let told = self.lives[node].passage.told.map(|told| told.0);
        self.in_force().map(|reference| reference.digest) == told
    }

    /// Whether a node has the highest reference's configuration that any other knows.
    pub(crate) fn has_reference(&self, node: usize) -> bool {
        let lives = self.lives.iter().filter(|life| life.alive);
        let highest = lives.filter_map(|life| life.passage.reached).max();
        let told = self.lives[node].passage.told.map(|told| told.0);
        highest.is_none_or(|reference| Some(reference.digest) == told)
    }
}
