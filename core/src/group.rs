//! One group at one node: its role, its voter, and when it stands.
//!
//! The rules live in the modules beside this one, each an `impl Group`: `election` (candidate
//! and voter), `mastership` (lease, heartbeats, Holding), `handover`, `ownership`.

use std::collections::VecDeque;
use std::time::Duration;

use crate::config::GroupConfig;
use crate::event::{Event, EventKind, RoleName};
use crate::handover::Handover;
use crate::local::Local;
use crate::message::{Denial, Evidence, Promised, Rank, TakeBack};
use crate::mutation::{Mutation, active};
use crate::ownership::Ownership;
use crate::shared::{Cx, Sent, Shared};
use crate::status::Failover;
use crate::types::{
    BootId, Cause, Elected, GroupId, NodeId, Priority, SendNumber, Standing, Term, Timestamp,
};
use crate::voter::Voter;

/// Take-backs kept of one group; older ones end by themselves with the promises they drop.
const REMEMBERED_TAKE_BACKS: usize = 4;
/// Beyond the budget of moves a master must be silent for so many master-down intervals.
const SILENCE_BEYOND_BUDGET: u32 = 10;
/// How long a node that starts without any master waits for its first read of the cloud, and for
/// the holder that the cloud shows to be heard.
const AT_START: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// One group at one node.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Group {
    pub(crate) id: GroupId,
    pub(crate) voter: Voter,
    pub(crate) role: Role,
    /// A candidacy under way; of a Backup or of a Holding master.
    pub(crate) candidacy: Option<Candidacy>,
    /// The highest term known to have been elected.
    pub(crate) elected: Option<Elected>,
    /// The same from an earlier life's disk, which does not tell who.
    pub(crate) elected_floor: Term,
    /// The last master heard with a valid lease.
    pub(crate) master: Option<KnownMaster>,
    /// When to stand.
    pub(crate) wait: Wait,
    /// Not before: set by a candidacy that failed.
    pub(crate) retry_at: Timestamp,
    /// Candidacies in a row that met promises to other candidates.
    pub(crate) collisions: u32,
    /// Whether this voter has denied a worse candidate for its own sake since the last master.
    pub(crate) denied_for_self: bool,
    /// By node: its last answer to a heartbeat of ours.
    pub(crate) answers: Vec<Option<(Timestamp, Option<Promised>)>>,
    pub(crate) take_backs: Vec<PendingTakeBack>,
    pub(crate) handover: Option<Handover>,
    /// Who would preempt this master, and since when it could.
    pub(crate) better: Option<(NodeId, Timestamp)>,
    pub(crate) ownership: Ownership,
    pub(crate) local: Local,
    /// When the master changed, within the last hour.
    pub(crate) moves: VecDeque<Timestamp>,
    /// The account of the takeover under way.
    pub(crate) failover: Option<Failover>,
    /// The last vote's term and the candidate's cause: tells why another came to lead.
    pub(crate) voted: Option<(Term, Cause)>,
}

/// What this node is in the group. Each variant holds what that role needs.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Role {
    /// A witness, or not in the group.
    None,
    /// Observes.
    Backup,
    /// Leads, under a lease.
    Master(Mastership),
    /// Lost its majority or gave its mastership up: serves on and changes nothing.
    Holding(Holding),
}

/// A mastership under a lease.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Mastership {
    pub(crate) term: Term,
    pub(crate) cause: Cause,
    /// The send that asked for the votes: what answers an older one was asked in another term.
    pub(crate) since: SendNumber,
    /// By voter: its newest promise.
    pub(crate) renewals: Vec<Option<Renewed>>,
}

/// A voter's promise as the master counts it: from before the send (design 3.3).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Renewed {
    pub(crate) send: SendNumber,
    pub(crate) sent_at: Timestamp,
    pub(crate) until: Timestamp,
}

/// A former master that serves on.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Holding {
    /// The term that it had.
    pub(crate) term: Term,
    pub(crate) cause: Cause,
    /// It gave its mastership up, and stands again at this time at the earliest.
    pub(crate) resigned_until: Option<Timestamp>,
}

/// A candidacy.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Candidacy {
    pub(crate) term: Term,
    pub(crate) sent: Sent,
    pub(crate) rank: Rank,
    pub(crate) cause: Cause,
    /// By voter, this node included.
    pub(crate) granted: Vec<bool>,
    /// By voter: when it denied, and how.
    pub(crate) denied: Vec<Option<(Timestamp, Denial)>>,
    /// From the last message of the old master to here.
    pub(crate) detect: Option<Duration>,
}

impl Candidacy {
    pub(crate) fn has_grant_of(&self, voter: NodeId) -> bool {
        self.granted.get(voter.index()) == Some(&true)
    }

    pub(crate) fn is_denied_by(&self, voter: NodeId) -> bool {
        self.denied.get(voter.index()).is_some_and(Option::is_some)
    }
}

/// A master heard with a valid lease.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct KnownMaster {
    pub(crate) node: NodeId,
    pub(crate) boot: BootId,
    pub(crate) term: Term,
    pub(crate) heard_at: Timestamp,
    /// How long it is to be believed.
    pub(crate) lease: Duration,
}

/// What a Backup waits for before it stands.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Wait {
    pub(crate) from: Timestamp,
    pub(crate) interval: Duration,
    pub(crate) order: Order,
    pub(crate) cause: Cause,
    pub(crate) evidence: Option<Evidence>,
}

/// How the order of candidates delays this one.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Order {
    /// By skew.
    Skew,
    /// At a start: by skew, but the holder that the cloud shows comes first.
    Start,
    /// The best at once, the n-th `n * H/4` later; that node does not count.
    Position {
        /// The one that is gone.
        without: NodeId,
    },
    /// Named as the successor: at once.
    First,
}

/// Who holds the addresses, at a start without any master.
enum AtStart {
    /// No read has ended yet.
    Unread,
    /// This node.
    Me,
    /// A peer, heard since then.
    Peer(Timestamp),
    /// Somebody who is not heard, or not yet.
    Unheard,
    Nobody,
}

/// A take-back that not every voter has acknowledged.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct PendingTakeBack {
    pub(crate) take_back: TakeBack,
    /// The first send that carries it.
    pub(crate) since: SendNumber,
    /// By node.
    pub(crate) acknowledged: Vec<bool>,
}

impl Group {
    pub(crate) fn new(s: &Shared, id: GroupId, config: &GroupConfig) -> Self {
        let nodes = s.config.nodes.len();
        let member = s.config.priority(id, s.config.me).is_some();
        let seen = if active(Mutation::TermsNotDurable) { Term(0) } else { s.disk.ceiling };
        Self {
            id,
            voter: Voter { seen, ..Voter::default() },
            role: if member { Role::Backup } else { Role::None },
            candidacy: None,
            elected: None,
            elected_floor: s.disk.elected.get(id.index()).copied().unwrap_or_default(),
            master: None,
            wait: Wait {
                from: s.started,
                interval: s.lease(),
                order: Order::Start,
                cause: Cause::Startup,
                evidence: None,
            },
            retry_at: s.started,
            collisions: 0,
            denied_for_self: false,
            answers: vec![None; nodes],
            take_backs: Vec::new(),
            handover: None,
            better: None,
            ownership: Ownership::new(s.started, config),
            local: Local::new(config),
            moves: VecDeque::new(),
            failover: None,
            voted: None,
        }
    }

    /// The role's name for people and the journal.
    pub(crate) fn role_name(&self) -> RoleName {
        match (&self.role, &self.candidacy) {
            (Role::None, _) => RoleName::None,
            (Role::Backup, None) => RoleName::Backup,
            (Role::Backup, Some(_)) => RoleName::Candidate,
            (Role::Master(_), _) => RoleName::Master,
            (Role::Holding(_), _) => RoleName::Holding,
        }
    }

    /// The one door between roles, so that none goes unjournaled.
    pub(crate) fn change_role(
        &mut self,
        cx: &mut Cx<'_>,
        cause: Cause,
        reason: &'static str,
        change: impl FnOnce(&mut Self, &mut Cx<'_>),
    ) {
        let from = self.role_name();
        let mastered = matches!(self.role, Role::Master(_));
        let at = cx.out.len();
        change(self, cx);
        let to = self.role_name();
        if from != to && !active(Mutation::RoleUnjournaled) {
            let term = match (&self.role, &self.candidacy) {
                (Role::Master(Mastership { term, .. }), _)
                | (Role::Backup, Some(Candidacy { term, .. }))
                | (Role::Holding(Holding { term, .. }), _) => *term,
                (Role::None | Role::Backup, _) => self.term(),
            };
            let kind = EventKind::RoleChanged { from, to, reason };
            let mut event = Event::group(self.id, term, kind);
            event.cause = Some(cause);
            // Before the orders that follow from it.
            cx.out.insert(at, crate::output::Output::Event(event));
        }
        if mastered && !matches!(self.role, Role::Master(_)) {
            self.ownership.mastership_lost(cx.now);
            self.better = None;
        }
    }

    /// The highest term known to have been elected; zero before the first.
    pub(crate) fn term(&self) -> Term {
        self.elected.map_or(self.elected_floor, |elected| elected.term)
    }

    /// The term of this node's next candidacy.
    pub(crate) fn next_term(&self) -> Term {
        self.voter.seen.max(self.term()).next()
    }

    /// Takes in who was elected, from whomever it comes.
    pub(crate) fn learn_elected(&mut self, cx: &mut Cx<'_>, elected: Elected) {
        let known = self.elected.is_some_and(|known| known.term >= elected.term);
        if known || elected.term < self.elected_floor {
            return;
        }
        let before = self.elected.map(|before| before.node);
        self.elected = Some(elected);
        self.voter.seen = self.voter.seen.max(elected.term);
        if before.is_some_and(|before| before != elected.node) {
            self.moves.push_back(cx.now);
        }
        if elected.node != cx.s.config.me {
            self.ownership.doubt(cx.now);
            self.failover = None;
            cx.s.last_failover = Some(Failover {
                group: self.id,
                term: elected.term,
                from: before,
                to: elected.node,
                cause: self.voted.filter(|(term, _)| *term == elected.term).map(|it| it.1),
                detect: None,
                elect: None,
                claim: None,
                verify: None,
                at: cx.now,
            });
        }
        if elected.node == cx.s.config.me {
            return;
        }
        // The new master has a whole interval to be heard.
        let wait = Wait {
            from: cx.now,
            interval: cx.s.lease(),
            order: Order::Skew,
            cause: Cause::MasterSilent,
            evidence: None,
        };
        if self.candidacy.as_ref().is_some_and(|own| own.term <= elected.term) {
            self.give_up(cx, "another was elected");
            self.wait = wait;
        }
        let (cause, reason) = match &self.role {
            Role::Master(mastership)
                if elected.term > mastership.term && !active(Mutation::NeverDeposed) =>
            {
                cx.s.gate.deposed = true;
                (mastership.cause, "another was elected in a higher term")
            }
            Role::Holding(holding) => {
                let cause = holding.cause;
                // One that resigned was not away.
                cx.s.gate.deposed |= holding.resigned_until.is_none();
                self.give_up(cx, "another was elected");
                (cause, "another was elected")
            }
            Role::None | Role::Backup | Role::Master(_) => return,
        };
        self.change_role(cx, cause, reason, |group, _| group.role = Role::Backup);
        self.wait = wait;
    }

    /// Whether this node may stand at all.
    pub(crate) fn can_stand(&self, s: &Shared) -> bool {
        !matches!(self.role, Role::None)
            && s.stopping.is_none()
            && self.may_stand(s).is_some()
            && s.is_healthy(self.id)
            && s.effective_priority(self.id).is_some()
            && s.is_reserved(self.next_term())
            && (s.preflight_ok() || !active(Mutation::PreflightIsFatal))
    }

    /// This node's place in the order of candidates.
    pub(crate) fn own_rank(&self, s: &Shared) -> Option<Rank> {
        Some(Rank {
            reference: s.is_as_reference(),
            standing: s.standing,
            preflight_ok: s.preflight_ok(),
            holds: self.hints_holder(s, s.config.me),
            priority: s.effective_priority(self.id)?,
            name: std::cmp::Reverse(s.config.me),
        })
    }

    /// A peer's place, from its last heartbeat; `None` if it cannot stand, as far as known.
    pub(crate) fn peer_rank(&self, s: &Shared, node: NodeId) -> Option<Rank> {
        let configured = s.config.priority(self.id, node)?;
        let Some((beat, of_group)) = s.peer(node).and_then(|peer| peer.group(self.id)) else {
            // Never heard: as the file has it, so that equal priorities keep apart at a start.
            return Some(Rank {
                reference: true,
                standing: Standing::Ready,
                preflight_ok: true,
                holds: self.hints_holder(s, node),
                priority: configured,
                name: std::cmp::Reverse(node),
            });
        };
        let quarantined = beat.standing == Standing::Quarantined;
        let last = quarantined && (s.config.last_resort || active(Mutation::QuarantinedPreempts));
        if !(beat.standing.may_lead() || last) || !of_group.healthy {
            return None;
        }
        let reference = s.gate.reference;
        Some(Rank {
            reference: reference.is_none_or(|reference| reference.digest == beat.digest),
            standing: beat.standing,
            preflight_ok: beat.preflight_ok,
            holds: self.hints_holder(s, node),
            priority: of_group.priority?,
            name: std::cmp::Reverse(node),
        })
    }

    /// At a start without any master the holder that the cloud shows comes first: a hint for
    /// the order, the votes decide (design 3.8).
    fn hints_holder(&self, s: &Shared, node: NodeId) -> bool {
        self.master.is_none()
            && (self.ownership.holder() == Some(node) || self.says_it_holds(s, node))
            && !active(Mutation::HolderHintIgnored)
    }

    /// Whether a peer says that it holds every address: where only instance metadata tells who
    /// it is in the cloud, it alone knows.
    pub(crate) fn says_it_holds(&self, s: &Shared, node: NodeId) -> bool {
        let beat = s.peer(node).and_then(|peer| peer.group(self.id));
        s.is_live(s.now, node) && beat.is_some_and(|(_, beat)| beat.holds)
    }

    fn holder_at_start(&self, s: &Shared) -> AtStart {
        if !self.ownership.was_read() {
            return AtStart::Unread;
        }
        if self.ownership.holder() == Some(s.config.me) {
            return AtStart::Me;
        }
        let mut peers = s.config.peers().filter(|peer| {
            s.is_live(s.now, *peer)
                && self.hints_holder(s, *peer)
                && self.peer_rank(s, *peer).is_some()
        });
        match peers.next().and_then(|peer| s.peer(peer)) {
            Some(peer) => AtStart::Peer(peer.boot_since),
            None if self.ownership.is_held() => AtStart::Unheard,
            None => AtStart::Nobody,
        }
    }

    /// How many live nodes come before this one, `without` not counted.
    pub(crate) fn position(&self, s: &Shared, without: Option<NodeId>, unheard: bool) -> u32 {
        let Some(own) = self.own_rank(s) else { return 0 };
        let better = s.config.peers().filter(|peer| {
            let heard = s.is_live(s.now, *peer)
                || (unheard && s.peer(*peer).is_some_and(|peer| peer.beat.is_none()));
            Some(*peer) != without
                && heard
                && self.peer_rank(s, *peer).is_some_and(|rank| rank > own)
        });
        u32::try_from(better.count()).unwrap_or(u32::MAX)
    }

    /// When this node stands, if nothing changes until then.
    pub(crate) fn stands_at(&self, s: &Shared) -> Option<Timestamp> {
        if !self.can_stand(s) || self.candidacy.is_some() {
            return None;
        }
        let me = s.config.me;
        let due = match &self.role {
            Role::None | Role::Master(_) => return None,
            Role::Holding(holding) => self.holding_stands_at(s, *holding)?,
            Role::Backup => self.wait_ends_at(s)?,
        };
        let promise = self.voter.promised_to_other(s.now, me, s.boot);
        let reserved = self.voter.reserved_for_other(s.now, me);
        let free = promise.map(|promise| promise.until).max(reserved.map(|it| it.until));
        let (open, _) = self.may_stand(s)?;
        Some(due.max(self.retry_at).max(free.unwrap_or_default()).max(open))
    }

    /// One that comes back into service may have waited for the master long ago: whoever is heard
    /// by now, or serves on, comes first.
    pub(crate) fn stand_later(&mut self, cx: &mut Cx<'_>) {
        let Some(priority) = cx.s.effective_priority(self.id) else { return };
        if matches!(self.role, Role::Backup) {
            let least = cx.s.standing != Standing::Ready;
            let priority = if least { Priority::LEAST } else { priority };
            let skew = cx.s.config.timing.skew(priority, self.position(cx.s, None, false));
            self.retry_at = self.retry_at.max(cx.now + cx.s.interval() + skew);
        }
    }

    fn wait_ends_at(&self, s: &Shared) -> Option<Timestamp> {
        let timing = &s.config.timing;
        let interval = timing.heartbeat_interval();
        let effective = s.effective_priority(self.id)?;
        // One on probation or with a failing preflight stands behind every other.
        let last = s.standing != Standing::Ready || !s.preflight_ok();
        let priority = if last { Priority::LEAST } else { effective };
        if active(Mutation::StandsWithoutNeed) {
            return Some(self.wait.from + interval);
        }
        let skew = |without| timing.skew(priority, self.position(s, without, true));
        let lost = self.master.map(|master| master.node);
        let mut from = self.wait.from;
        let delay = match self.wait.order {
            Order::Skew => skew(lost),
            Order::Start if active(Mutation::HolderHintIgnored) => skew(None),
            Order::Start => match self.holder_at_start(s) {
                AtStart::Me => Duration::ZERO,
                AtStart::Nobody => skew(None),
                // It comes first, however much later its daemon started.
                AtStart::Peer(since) => {
                    from = from.max(since);
                    interval + skew(None)
                }
                // Known in a moment, or heard in a moment: daemons do not start at once.
                AtStart::Unread | AtStart::Unheard => skew(None) + AT_START.max(interval * 2),
            },
            Order::Position { without } => interval * self.position(s, Some(without), false) / 4,
            Order::First => Duration::ZERO,
        };
        if active(Mutation::SilenceIgnored) && self.wait.cause == Cause::MasterSilent {
            return None;
        }
        let mut patience = self.wait.interval;
        if self.wait.cause == Cause::MasterSilent && self.moves_exhausted(s, s.now) {
            patience *= SILENCE_BEYOND_BUDGET;
        }
        Some(from + patience + delay)
    }

    /// Whether the group has moved as often as the budget allows (design section 5, contract
    /// `moves_per_hour`): then only a master that is surely dead is replaced.
    pub(crate) fn moves_exhausted(&self, s: &Shared, now: Timestamp) -> bool {
        let recent = self.moves.iter().filter(|at| now.since(**at) < HOUR).count();
        recent >= usize::try_from(s.config.moves_per_hour).unwrap_or(usize::MAX)
            && !active(Mutation::UnboundedMoves)
    }

    pub(crate) fn forget_old_moves(&mut self, cx: &mut Cx<'_>) {
        let most = usize::try_from(cx.s.config.moves_per_hour).unwrap_or(usize::MAX).max(1);
        while self.moves.front().is_some_and(|at| cx.now.since(*at) >= HOUR)
            || self.moves.len() > most
        {
            self.moves.pop_front();
        }
    }

    /// Gives something up towards every voter: told at once, and repeated until answered.
    pub(crate) fn take_back(&mut self, cx: &mut Cx<'_>, take_back: TakeBack) {
        if self.take_backs.len() >= REMEMBERED_TAKE_BACKS {
            self.take_backs.remove(0);
        }
        let mut acknowledged = vec![false; cx.s.config.nodes.len()];
        if let Some(own) = acknowledged.get_mut(cx.s.config.me.index()) {
            *own = true;
        }
        let since = SendNumber(cx.s.last_send.0 + 1);
        self.take_backs.push(PendingTakeBack { take_back, since, acknowledged });
    }

    /// A voter answered a send that carried every take-back made up to it.
    pub(crate) fn acknowledge_take_backs(&mut self, from: NodeId, send: SendNumber) {
        for pending in &mut self.take_backs {
            if send >= pending.since
                && let Some(acknowledged) = pending.acknowledged.get_mut(from.index())
            {
                *acknowledged = true;
            }
        }
        self.take_backs.retain(|pending| pending.acknowledged.contains(&false));
    }

    /// Whether a majority has acknowledged everything given up.
    pub(crate) fn taken_back(&self, s: &Shared) -> bool {
        self.take_backs.iter().all(|pending| {
            let has = |voter: NodeId| pending.acknowledged.get(voter.index()) == Some(&true);
            s.electorate.is_majority(has)
        })
    }

    /// When this group must be looked at again, if nothing happens until then.
    pub(crate) fn next_deadline(&self, s: &Shared) -> Timestamp {
        let lease = match &self.role {
            Role::Master(mastership) => mastership.lease_until(s),
            Role::None | Role::Backup | Role::Holding(_) => Timestamp::NEVER,
        };
        let handover = self.handover.as_ref().map_or(Timestamp::NEVER, Handover::deadline);
        lease
            .min(self.candidacy_ends_at(s).unwrap_or(Timestamp::NEVER))
            .min(self.stands_at(s).unwrap_or(Timestamp::NEVER))
            .min(self.waiting_deadline(s))
            .min(handover)
            .min(self.preempt_deadline(s))
            .min(self.address_deadline(s.now))
    }
}
