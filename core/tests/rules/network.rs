//! Three nodes on a perfect network in memory, and a cloud that answers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use vipward_core::*;

use crate::fixture::*;

/// One way between two nodes.
const DELAY: Duration = Duration::from_millis(1);
/// How long a cloud call takes.
const CALL: Duration = Duration::from_millis(20);

struct Host {
    node: Option<Node>,
    config: Arc<Config>,
    boot: BootId,
    lives: u128,
    disk: Option<Durable>,
    /// By node: the life that its requests name.
    knows: Vec<Option<BootId>>,
}

/// What is under way.
enum Event {
    /// To a node, if it still lives that life.
    Input { to: NodeId, life: BootId, input: Input },
    /// A request that names the receiver's life.
    Request { from: NodeId, life: BootId, to: NodeId, request: Request },
    /// The end of a cloud call.
    Call { of: NodeId, life: BootId, call: CloudCall },
}

/// The cluster.
pub(crate) struct Net {
    pub(crate) now: Timestamp,
    hosts: Vec<Host>,
    queue: BTreeMap<(Timestamp, u64), Event>,
    sequence: u64,
    asked: BTreeMap<u64, (NodeId, BootId)>,
    cut: BTreeSet<(NodeId, NodeId)>,
    /// Who holds the address, by which association.
    pub(crate) held: Option<Association>,
    associations: u64,
    /// Who associated the address with itself, in order.
    pub(crate) moves: Vec<NodeId>,
    pub(crate) journal: Vec<(Timestamp, NodeId, vipward_core::Event)>,
    pub(crate) told: Vec<OperatorResult>,
    pub(crate) stopped: Vec<NodeId>,
    /// Comparisons and repairs ordered.
    pub(crate) ordered: Vec<(NodeId, Output)>,
}

impl Net {
    /// Starts every node at once, each with an empty disk.
    pub(crate) fn new(configs: impl IntoIterator<Item = Config>) -> Self {
        choose_mutation();
        let configs: Vec<Config> = configs.into_iter().collect();
        let nodes = configs.len();
        let hosts = configs.into_iter().map(|config| Host {
            node: None,
            boot: BootId(0),
            lives: 0,
            disk: None,
            knows: vec![None; nodes],
            config: Arc::new(config),
        });
        let mut net = Self {
            now: at(1_000),
            hosts: hosts.collect(),
            queue: BTreeMap::new(),
            sequence: 0,
            asked: BTreeMap::new(),
            cut: BTreeSet::new(),
            held: None,
            associations: 0,
            moves: Vec::new(),
            journal: Vec::new(),
            told: Vec::new(),
            stopped: Vec::new(),
            ordered: Vec::new(),
        };
        net.ids().for_each(|id| net.start(id));
        net
    }

    /// Two balancers and a witness with a settled master that holds the address.
    pub(crate) fn settled() -> Self {
        let mut net = Self::new([config(A), config(B), config(W)]);
        net.run(Duration::from_secs(20));
        assert_eq!(net.masters(), [A]);
        assert_eq!(net.holder(), Some(A));
        net.forget();
        net
    }

    /// Forgets what was journaled and moved so far.
    pub(crate) fn forget(&mut self) {
        self.moves.clear();
        self.journal.clear();
    }

    fn ids(&self) -> impl Iterator<Item = NodeId> + use<> {
        (0..).map(NodeId).take(self.hosts.len())
    }

    pub(crate) fn start(&mut self, id: NodeId) {
        let now = self.now;
        let host = &mut self.hosts[id.index()];
        host.lives += 1;
        host.boot = boot(id, host.lives);
        host.knows.fill(None);
        let (disk, seed) = (host.disk.clone(), u64::from(id.0));
        host.node = Some(Node::new(Arc::clone(&host.config), host.boot, seed, disk, now));
    }

    /// The process is killed; its peers see their connections close.
    pub(crate) fn kill(&mut self, id: NodeId) {
        self.hosts[id.index()].node = None;
        for peer in self.ids().filter(|peer| *peer != id) {
            self.later(peer, Input::Connections { peer: id, open: 0 });
        }
    }

    /// The machine is gone: silence, and no refusal.
    pub(crate) fn vanish(&mut self, id: NodeId) {
        self.ids().filter(|peer| *peer != id).for_each(|peer| self.cut(id, peer));
    }

    pub(crate) fn cut(&mut self, a: NodeId, b: NodeId) {
        self.cut.extend([(a, b), (b, a)]);
    }

    pub(crate) fn cut_one_way(&mut self, from: NodeId, to: NodeId) {
        self.cut.insert((from, to));
    }

    pub(crate) fn heal(&mut self) {
        self.cut.clear();
    }

    fn schedule(&mut self, after: Duration, event: Event) {
        self.sequence += 1;
        self.queue.insert((self.now + after, self.sequence), event);
    }

    fn later(&mut self, to: NodeId, input: Input) {
        let life = self.hosts[to.index()].boot;
        self.schedule(DELAY, Event::Input { to, life, input });
    }

    /// Gives a node an input now.
    pub(crate) fn give(&mut self, to: NodeId, input: Input) {
        let now = self.now;
        let Some(node) = &mut self.hosts[to.index()].node else { return };
        let out = node.step(now, input);
        for output in out {
            self.carry_out(to, output);
        }
    }

    fn carry_out(&mut self, id: NodeId, output: Output) {
        let life = self.hosts[id.index()].boot;
        match output {
            Output::Send { to, request } => {
                self.schedule(DELAY, Event::Request { from: id, life, to, request });
            }
            Output::Answer { id: request, answer } => {
                let Some((to, to_boot)) = self.asked.remove(&request.0) else { return };
                let input = Input::Answer { from: id, boot: life, to_boot, link: LINK, answer };
                if !self.cut.contains(&(id, to)) {
                    self.schedule(DELAY, Event::Input { to, life: to_boot, input });
                }
            }
            Output::Probe { peer } => self.probe(id, peer),
            Output::Call(call) => self.schedule(CALL, Event::Call { of: id, life, call }),
            Output::Persist(durable) => {
                self.hosts[id.index()].disk = Some(durable.clone());
                let input = Input::Persisted(durable);
                self.schedule(DELAY, Event::Input { to: id, life, input });
            }
            Output::Compare { .. } | Output::Pull { .. } => self.ordered.push((id, output)),
            Output::Kernel { .. } | Output::Hook(_) => {}
            Output::OperatorDone { result, .. } => self.told.push(result),
            Output::Event(event) => self.journal.push((self.now, id, event)),
            Output::Stopped => {
                self.stopped.push(id);
                self.kill(id);
            }
        }
    }

    fn probe(&mut self, from: NodeId, peer: NodeId) {
        if self.cut.contains(&(from, peer)) || self.cut.contains(&(peer, from)) {
            return;
        }
        let host = &self.hosts[peer.index()];
        let input = match host.node {
            Some(_) => Input::BootAnswered { peer, boot: host.boot, link: LINK },
            None => Input::ConnectRefused { peer, link: LINK },
        };
        self.later(from, input);
    }

    fn arrive(&mut self, from: NodeId, life: BootId, to: NodeId, request: Request) {
        if self.cut.contains(&(from, to)) {
            return;
        }
        let known = self.hosts[from.index()].knows[to.index()];
        let host = &self.hosts[to.index()];
        if host.node.is_none() || known != Some(host.boot) {
            let met = host.boot;
            let alive = host.node.is_some();
            if alive {
                self.hosts[from.index()].knows[to.index()] = Some(met);
                self.later(from, Input::Connections { peer: to, open: 2 });
                self.later(to, Input::Connections { peer: from, open: 2 });
            }
            self.probe(from, to);
            return;
        }
        self.sequence += 1;
        self.asked.insert(self.sequence, (from, life));
        let id = RequestId(self.sequence);
        self.give(to, Input::Request { from, boot: life, link: LINK, id, request });
    }

    fn end_call(&mut self, of: NodeId, life: BootId, call: &CloudCall) {
        let reply = match &call.operation {
            Operation::Describe { kind: _, addresses } => {
                let seen = addresses.iter().map(|address| Observation {
                    address: *address,
                    ip: None,
                    association: self.held.clone(),
                });
                CallReply::Described(seen.collect())
            }
            Operation::Associate { .. } | Operation::Assign { .. } => {
                self.associations += 1;
                let id = AssociationId(format!("assoc-{}", self.associations).into());
                self.held = Some(Association { id: id.clone(), holder: Holder::Node(of) });
                self.moves.push(of);
                CallReply::Associated(id)
            }
            Operation::Disassociate { .. } | Operation::Unassign { .. } => {
                self.held = None;
                CallReply::Disassociated
            }
        };
        let outcome = CallOutcome::Ok(reply);
        let input = Input::CallFinished { call: call.id, outcome, request_id: None, took: CALL };
        if self.hosts[of.index()].boot == life {
            self.give(of, input);
        }
    }

    /// Lets time pass; at every step at most one node has a valid lease.
    pub(crate) fn run(&mut self, duration: Duration) {
        let until = self.now + duration;
        loop {
            let queued = self.queue.keys().next().map_or(Timestamp::NEVER, |key| key.0);
            let hosts = self.hosts.iter().filter_map(|host| host.node.as_ref());
            let timer = hosts.map(Node::next_deadline).min().unwrap_or(Timestamp::NEVER);
            let next = queued.min(timer);
            if next > until {
                self.now = until;
                return;
            }
            self.now = self.now.max(next);
            if queued <= timer {
                let (_, event) = self.queue.pop_first().unwrap();
                self.apply(event);
            } else {
                for id in self.ids() {
                    let due = self.hosts[id.index()].node.as_ref().map(Node::next_deadline);
                    if due.is_some_and(|due| due <= self.now) {
                        self.give(id, Input::DeadlineReached);
                    }
                }
            }
            assert!(self.masters().len() <= 1, "two masters at {:?}", self.now);
        }
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::Input { to, life, input } => {
                if self.hosts[to.index()].boot == life {
                    self.give(to, input);
                }
            }
            Event::Request { from, life, to, request } => self.arrive(from, life, to, request),
            Event::Call { of, life, call } => self.end_call(of, life, &call),
        }
    }

    /// The files of a node are changed; it is told of it when it starts again.
    pub(crate) fn reconfigure(&mut self, id: NodeId, digest: Digest) {
        let host = &mut self.hosts[id.index()];
        let config = with((*host.config).clone(), |config| config.shared = digest);
        host.config = Arc::new(config);
    }

    /// The files of a node are changed, and it is told at once.
    pub(crate) fn reload(&mut self, id: NodeId, digest: Digest) {
        self.reconfigure(id, digest);
        let config = Arc::clone(&self.hosts[id.index()].config);
        self.give(id, Input::Reload(config));
    }

    /// The process is killed and starts again at once, with other files.
    pub(crate) fn restart_with(&mut self, id: NodeId, digest: Digest) {
        self.kill(id);
        self.reconfigure(id, digest);
        self.start(id);
    }

    /// Everything that a node shows.
    pub(crate) fn whole(&self, id: NodeId) -> Status {
        self.hosts[id.index()].node.as_ref().expect("it runs").status(self.now)
    }

    pub(crate) fn standing(&self, id: NodeId) -> Standing {
        self.whole(id).standing
    }

    pub(crate) fn alarms(&self, id: NodeId) -> Vec<AlarmName> {
        self.whole(id).alarms.into_iter().map(|(name, _, _)| name).collect()
    }

    /// By which exceptions votes were granted since the last [`Net::forget`].
    pub(crate) fn exceptions(&self) -> Vec<Exception> {
        let granted = self.journal.iter().filter_map(|(_, _, event)| {
            if let EventKind::VoteGranted { exception, .. } = event.kind {
                return exception;
            }
            None
        });
        granted.collect()
    }

    pub(crate) fn status(&self, id: NodeId) -> Option<GroupStatus> {
        let node = self.hosts[id.index()].node.as_ref()?;
        Some(node.status(self.now).groups.remove(0))
    }

    pub(crate) fn masters(&self) -> Vec<NodeId> {
        let leads = |id: &NodeId| self.status(*id).is_some_and(|it| it.role == RoleName::Master);
        self.ids().filter(leads).collect()
    }

    pub(crate) fn holder(&self) -> Option<NodeId> {
        let Holder::Node(node) = self.held.as_ref()?.holder else { return None };
        Some(node)
    }

    pub(crate) fn term(&self, id: NodeId) -> Option<Term> {
        Some(self.status(id)?.term)
    }

    /// The role changes journaled since the last [`Net::forget`].
    pub(crate) fn role_changes(&self) -> Vec<(NodeId, RoleName, RoleName)> {
        let changes = self.journal.iter().filter_map(|(_, node, event)| {
            if let EventKind::RoleChanged { from, to, .. } = event.kind {
                return Some((*node, from, to));
            }
            None
        });
        changes.collect()
    }

    /// When a node became master, the first time since the last [`Net::forget`].
    pub(crate) fn elected_at(&self) -> Option<(NodeId, Timestamp)> {
        self.journal.iter().find_map(|(at, node, event)| {
            let elected = matches!(event.kind, EventKind::RoleChanged { to: RoleName::Master, .. });
            elected.then_some((*node, *at))
        })
    }
}
