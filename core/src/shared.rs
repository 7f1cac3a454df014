//! What all groups of a node share: peers, sends, standing, checks, terms on disk, alarms.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::config::Config;
use crate::electorate::Electorate;
use crate::event::{AlarmName, Event, EventKind};
use crate::handover::Command;
use crate::health::{self, Check};
use crate::input::Durable;
use crate::mutation::{Mutation, active};
use crate::output::{Hook, HookPoint, Output};
use crate::peer::Peer;
use crate::random::Random;
use crate::standing::Gate;
use crate::status::Failover;
use crate::types::{
    BootId, CallId, GroupId, NodeId, Priority, SendNumber, Standing, Term, Timestamp,
};

/// So many sends are remembered; at the fastest pace (H/4, ten misses) forty last a lease.
const REMEMBERED_SENDS: usize = 128;
/// A write that takes longer is not waited for.
const WRITE: Duration = Duration::from_secs(10);
/// So many terms are reserved on disk ahead of use.
const TERMS_AHEAD: u64 = 1_000;

/// One step's surroundings: the time, what the groups share, and the orders so far.
pub(crate) struct Cx<'a> {
    pub(crate) now: Timestamp,
    pub(crate) s: &'a mut Shared,
    pub(crate) out: &'a mut Vec<Output>,
}

impl Cx<'_> {
    /// Writes a line into the journal.
    pub(crate) fn event(&mut self, event: Event) {
        self.out.push(Output::Event(event));
    }

    /// Raises an alarm, once.
    pub(crate) fn raise(&mut self, name: AlarmName, message: impl FnOnce() -> String) {
        if self.s.alarms.contains_key(&name) {
            return;
        }
        let message: Arc<str> = message().into();
        self.s.alarms.insert(name, (self.now, Arc::clone(&message)));
        self.event(Event::node(EventKind::AlarmRaised { name, message: Arc::clone(&message) }));
        let point = HookPoint::Alarm { name, message };
        let group = name.group();
        self.out.push(Output::Hook(Hook { point, group, role: None, term: None, cause: None }));
    }

    /// Clears an alarm, if it is raised.
    pub(crate) fn clear(&mut self, name: AlarmName) {
        if self.s.alarms.remove(&name).is_some() {
            self.event(Event::node(EventKind::AlarmCleared { name }));
        }
    }

    /// Raises or clears.
    pub(crate) fn alarm(&mut self, name: AlarmName, wrong: bool, message: impl FnOnce() -> String) {
        if wrong {
            self.raise(name, message);
        } else {
            self.clear(name);
        }
    }
}

impl Event {
    /// An event of the whole node.
    pub(crate) fn node(kind: EventKind) -> Self {
        Self { group: None, term: None, cause: None, kind }
    }

    /// An event of one group.
    pub(crate) fn group(group: GroupId, term: Term, kind: EventKind) -> Self {
        Self { group: Some(group), term: Some(term), cause: None, kind }
    }
}

/// One send of this boot.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Sent {
    pub(crate) number: SendNumber,
    pub(crate) at: Timestamp,
    /// The lease that it named.
    pub(crate) lease: Duration,
}

/// What all groups share.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Shared {
    pub(crate) config: Arc<Config>,
    /// Who votes.
    pub(crate) electorate: Electorate,
    pub(crate) boot: BootId,
    pub(crate) random: Random,
    pub(crate) started: Timestamp,
    /// The latest time seen: time never goes back here.
    pub(crate) now: Timestamp,
    /// Until then this voter may have promised in an earlier life (design 3.2).
    pub(crate) muted_until: Timestamp,
    /// By node; this node's own entry is unused.
    pub(crate) peers: Vec<Peer>,
    sends: VecDeque<Sent>,
    pub(crate) last_send: SendNumber,
    /// The last send that carried everything taken back up to it.
    pub(crate) take_backs_told: SendNumber,
    /// When the last round of heartbeats went out.
    pub(crate) beat_at: Option<Timestamp>,
    /// A heartbeat is wanted at once.
    pub(crate) beat_now: bool,
    pub(crate) standing: Standing,
    pub(crate) gate: Gate,
    pub(crate) checks: Vec<Check>,
    pub(crate) preflight: Vec<Arc<str>>,
    pub(crate) alarms: BTreeMap<AlarmName, (Timestamp, Arc<str>)>,
    /// What is on disk, as far as known.
    pub(crate) disk: Durable,
    /// What was last ordered to be written.
    ordered: Durable,
    /// The highest terms that peers have reserved.
    pub(crate) peer_ceiling: Term,
    /// The longest lease that anybody asked for.
    pub(crate) longest_asked: Duration,
    /// Nothing was read at the start: terms are learnt from a majority first. By node: whose
    /// reserved terms were taken in.
    pub(crate) terms_lost: Option<Vec<bool>>,
    /// Whether the first write of this life has ended, well or not.
    pub(crate) write_ended: bool,
    /// Since when a write is under way.
    pub(crate) writing_since: Option<Timestamp>,
    /// The lease at the start of this life: a restart waits at least as long.
    started_lease: Duration,
    next_call: u64,
    /// Set while the daemon stops: by then at the latest.
    pub(crate) stopping: Option<Timestamp>,
    /// Commands of peers, the newest last.
    pub(crate) commands: VecDeque<Command>,
    /// Everything was given up: the surroundings have been told.
    pub(crate) stopped: bool,
    pub(crate) last_failover: Option<Failover>,
}

impl Shared {
    pub(crate) fn new(
        config: Arc<Config>,
        boot: BootId,
        seed: u64,
        disk: Option<Durable>,
        now: Timestamp,
    ) -> Self {
        let terms_lost = disk.is_none().then(|| {
            let nodes = (0..config.nodes.len()).map(|node| node == config.me.index());
            nodes.collect()
        });
        let mut disk = disk.unwrap_or_default();
        disk.elected.resize(config.groups.len(), Term::default());
        let maintenance = disk.maintenance
            && config.is_balancer(config.me)
            && !active(Mutation::MaintenanceForgotten);
        let standing = if maintenance { Standing::Maintenance } else { Standing::Joining };
        let mute = disk.longest_promise.max(config.timing.lease());
        let muted_until = if active(Mutation::NoMute) { now } else { now + mute };
        Self {
            electorate: Electorate::new(&config),
            boot,
            random: Random::new(seed),
            started: now,
            now,
            muted_until,
            peers: config.nodes.iter().map(|node| Peer::new(node.links)).collect(),
            sends: VecDeque::new(),
            last_send: SendNumber::default(),
            take_backs_told: SendNumber::default(),
            beat_at: None,
            beat_now: true,
            standing,
            gate: Gate::new(disk.reference, disk.admissions.clone(), now),
            checks: config.checks.iter().map(|_| Check::new(now)).collect(),
            preflight: Vec::new(),
            alarms: BTreeMap::new(),
            ordered: Durable::default(),
            peer_ceiling: Term::default(),
            longest_asked: Duration::ZERO,
            disk,
            terms_lost,
            write_ended: false,
            writing_since: Some(now),
            started_lease: config.timing.lease(),
            next_call: 0,
            stopping: None,
            commands: VecDeque::new(),
            stopped: false,
            last_failover: None,
            config,
        }
    }

    pub(crate) fn interval(&self) -> Duration {
        self.config.timing.heartbeat_interval()
    }

    pub(crate) fn lease(&self) -> Duration {
        self.config.timing.lease()
    }

    pub(crate) fn peer(&self, node: NodeId) -> Option<&Peer> {
        self.peers.get(node.index())
    }

    pub(crate) fn is_muted(&self, now: Timestamp) -> bool {
        now < self.muted_until
    }

    /// Whether a peer is heard.
    pub(crate) fn is_live(&self, now: Timestamp, node: NodeId) -> bool {
        self.peer(node).is_some_and(|peer| peer.is_live(now, self.lease()))
    }

    /// Whether a peer was heard that recently.
    pub(crate) fn is_heard_within(&self, node: NodeId, patience: Duration) -> bool {
        self.peer(node).is_some_and(|peer| peer.is_live(self.now, patience))
    }

    /// Whether that life of a peer is known to be dead.
    pub(crate) fn is_dead(&self, node: NodeId, boot: BootId) -> bool {
        self.config.timing.crash_detection && self.peer(node).is_some_and(|peer| peer.is_dead(boot))
    }

    /// Those heard, this node not among them.
    pub(crate) fn heard(&self, now: Timestamp) -> Vec<NodeId> {
        self.config.peers().filter(|peer| self.is_live(now, *peer)).collect()
    }

    /// Whether a majority is heard, this node included.
    pub(crate) fn hears_majority(&self, now: Timestamp) -> bool {
        self.electorate.is_majority(|voter| voter == self.config.me || self.is_live(now, voter))
    }

    /// Notes a lease that somebody asked for: while muted, the mute lasts at least as long.
    pub(crate) fn hear_lease(&mut self, now: Timestamp, lease: Duration) {
        self.longest_asked = self.longest_asked.max(lease);
        if self.is_muted(now) {
            self.muted_until = self.muted_until.max(self.started + lease);
        }
    }

    pub(crate) fn preflight_ok(&self) -> bool {
        self.preflight.is_empty()
    }

    pub(crate) fn effective_priority(&self, group: GroupId) -> Option<Priority> {
        health::effective_priority(&self.config, &self.checks, group)
    }

    pub(crate) fn is_healthy(&self, group: GroupId) -> bool {
        health::is_healthy(&self.config, &self.checks, group)
    }

    /// Numbers a send and remembers it for as long as an answer may count.
    pub(crate) fn new_send(&mut self, now: Timestamp) -> Sent {
        self.last_send = SendNumber(self.last_send.0 + 1);
        let sent = Sent { number: self.last_send, at: now, lease: self.lease() };
        while self.sends.len() >= REMEMBERED_SENDS
            || self.sends.front().is_some_and(|old| old.at + old.lease < now)
        {
            self.sends.pop_front();
        }
        self.sends.push_back(sent);
        sent
    }

    /// The send of that number, if it is remembered.
    pub(crate) fn sent(&self, number: SendNumber) -> Option<Sent> {
        let first = self.sends.front()?.number;
        let index = usize::try_from(number.0.checked_sub(first.0)?).ok()?;
        self.sends.get(index).copied()
    }

    pub(crate) fn new_call(&mut self) -> CallId {
        self.next_call += 1;
        CallId(self.next_call)
    }

    /// Whether a restart would know that `term` was used: it is reserved on disk. A disk that
    /// fails, or hangs for long, is not waited for: voting goes on (design 3.2).
    pub(crate) fn is_reserved(&self, term: Term) -> bool {
        term <= self.disk.ceiling && self.write_ended
            || self.alarms.contains_key(&AlarmName::StateNotWritable)
            || self.now >= self.write_deadline()
    }

    /// Whether everything ordered is on disk.
    pub(crate) fn is_written(&self) -> bool {
        self.disk == self.ordered
    }

    /// When a write under way is no longer waited for.
    pub(crate) fn write_deadline(&self) -> Timestamp {
        self.writing_since.map_or(Timestamp::NEVER, |since| since + WRITE)
    }

    /// Whether a promise of `lease` would be remembered through a restart: it is no longer than
    /// what this node's own configuration or its disk would make it wait.
    pub(crate) fn lease_is_durable(&self, lease: Duration) -> bool {
        lease <= self.started_lease || lease <= self.disk.longest_promise
    }

    /// What ought to be on disk (design 3.2): terms are reserved ahead, so that no write lies on
    /// the failover path. `Some` if it was not ordered yet.
    pub(crate) fn reserve(&mut self, seen: Term, elected: &[Term]) -> Option<Durable> {
        let reserved = self.disk.ceiling.max(self.ordered.ceiling).max(self.peer_ceiling);
        let short = seen.0.saturating_add(TERMS_AHEAD / 2) > reserved.0;
        let ceiling = if short { Term(seen.0.saturating_add(TERMS_AHEAD)) } else { reserved };
        let longest = [self.started_lease, self.longest_asked, self.ordered.longest_promise]
            .into_iter()
            .fold(self.lease().max(self.disk.longest_promise), Duration::max);
        let wanted = Durable {
            ceiling,
            elected: elected.to_vec(),
            longest_promise: longest,
            reference: self.gate.reference,
            admissions: self.gate.admissions.clone(),
            maintenance: self.standing == Standing::Maintenance,
        };
        if self.ordered == wanted {
            return None;
        }
        self.writing_since = self.writing_since.or(Some(self.now));
        self.ordered = wanted;
        Some(self.ordered.clone())
    }
}
