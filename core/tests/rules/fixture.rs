//! One node under test: built, driven through time, answered.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use vipward_core::*;

pub(crate) use crate::configs::*;
pub(crate) use crate::said::*;

/// The preferred balancer, priority 200.
pub(crate) const A: NodeId = NodeId(0);
/// The other balancer, priority 100.
pub(crate) const B: NodeId = NodeId(1);
/// The witness.
pub(crate) const W: NodeId = NodeId(2);
pub(crate) const WEB: GroupId = GroupId(0);
pub(crate) const EIP: AddressId = AddressId(0);
/// The secondary address of a group that has nothing else.
pub(crate) const SIP: AddressId = AddressId(0);
pub(crate) const LINK: LinkId = LinkId(0);
/// The heartbeat interval.
pub(crate) const H: Duration = Duration::from_secs(1);
/// Three of them.
pub(crate) const LEASE: Duration = Duration::from_secs(3);
/// What a master counts of it.
pub(crate) const OWN_LEASE: Duration = Duration::from_millis(2_700);
/// `(256 - 100)/256 * H` and `(256 - 200)/256 * H`.
pub(crate) const SKEW_B: Duration = Duration::from_nanos(609_375_000);
pub(crate) const SKEW_A: Duration = Duration::from_nanos(218_750_000);
/// The shortest step forward.
pub(crate) const TICK: Duration = Duration::from_nanos(1);

pub(crate) fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

pub(crate) fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) fn timing(heartbeat: Duration, misses: u32) -> Timing {
    Timing::new(heartbeat, misses, Duration::from_secs(30), true).unwrap()
}

pub(crate) fn priority(value: u8) -> Priority {
    Priority::try_from(value).unwrap()
}

/// The `life`-th life of a node.
pub(crate) fn boot(node: NodeId, life: u128) -> BootId {
    BootId(u128::from(node.0) * 1_000 + life)
}

/// With the feature `mutations`: a deliberate fault of the core, to see which tests notice it.
pub(crate) fn choose_mutation() {
    #[cfg(feature = "mutations")]
    if let Ok(name) = std::env::var("VIPWARD_MUTATION") {
        assert!(mutation::choose(&name), "there is no deliberate fault {name:?}");
    }
}

/// One node and a scripted world round it.
pub(crate) struct Rig {
    pub(crate) node: Node,
    pub(crate) config: Arc<Config>,
    pub(crate) now: Timestamp,
    /// What was last written, if anything.
    pub(crate) disk: Option<Durable>,
    /// Whether writing works; while it does not, nothing is answered.
    pub(crate) writes: bool,
    /// Peers that answer every heartbeat and take-back at once.
    pub(crate) answering: Vec<NodeId>,
    /// Whether reads of the cloud are answered at once, with `held`.
    pub(crate) reads: bool,
    pub(crate) held: Option<Association>,
    /// And where an address is held by another than `held` says.
    pub(crate) held_else: BTreeMap<AddressId, Option<Association>>,
    /// By node: its present life.
    pub(crate) lives: Vec<u128>,
    /// What the peers know of the reference, and tell.
    pub(crate) reference: Option<Reference>,
    /// Whether they take over what operators admitted.
    pub(crate) records: bool,
    /// What they say of how long this node was away.
    pub(crate) away: Option<Duration>,
    /// This node's last heartbeat.
    last_beat: Option<Arc<Heartbeat>>,
    /// When one was last answered for no other reason than that.
    answered_at: Timestamp,
    sends: u64,
    ids: u64,
}

impl Rig {
    /// Starts at zero, with a disk that was written before.
    pub(crate) fn new(config: Config) -> Self {
        Self::start(config, 1, Some(Durable::default()), at(0))
    }

    pub(crate) fn start(config: Config, life: u128, disk: Option<Durable>, now: Timestamp) -> Self {
        choose_mutation();
        let config = Arc::new(config);
        let lives = vec![1; config.nodes.len()];
        let me = boot(config.me, life);
        let node = Node::new(Arc::clone(&config), me, 1, disk.clone(), now);
        let mut rig = Self {
            node,
            config,
            now,
            disk,
            writes: true,
            answering: Vec::new(),
            reads: true,
            held: None,
            held_else: BTreeMap::new(),
            lives,
            reference: None,
            records: true,
            away: None,
            last_beat: None,
            answered_at: now,
            sends: 0,
            ids: 0,
        };
        rig.lives[rig.config.me.index()] = life;
        rig
    }

    /// The process is killed and starts again, with its disk.
    pub(crate) fn restart(&mut self) {
        let me = self.config.me;
        self.lives[me.index()] += 1;
        let life = boot(me, self.lives[me.index()]);
        self.node = Node::new(Arc::clone(&self.config), life, 2, self.disk.clone(), self.now);
    }

    pub(crate) fn me(&self) -> BootId {
        self.boot(self.config.me)
    }

    pub(crate) fn boot(&self, node: NodeId) -> BootId {
        boot(node, self.lives[node.index()])
    }

    /// One input, and what the scripted world answers to its orders.
    pub(crate) fn give(&mut self, input: Input) -> Vec<Output> {
        let mut inputs = std::collections::VecDeque::from([input]);
        let mut all = Vec::new();
        while let Some(input) = inputs.pop_front() {
            let out = self.node.step(self.now, input);
            let sent = crate::reading::last_beat(&out);
            self.last_beat = sent.or(self.last_beat.take());
            for output in &out {
                inputs.extend(self.world(output));
            }
            all.extend(out);
            assert!(all.len() < 10_000, "it never rests");
        }
        all
    }

    fn world(&mut self, output: &Output) -> Option<Input> {
        match output {
            Output::Persist(durable) if self.writes => {
                self.disk = Some(durable.clone());
                Some(Input::Persisted(durable.clone()))
            }
            Output::Call(call) if self.reads && call.operation.mutates().is_none() => {
                Some(finished(call, self.read_of(call)))
            }
            Output::Send { to, request: Request::Heartbeat(beat) }
                if self.answering.contains(to) =>
            {
                Some(self.renewing(*to, beat))
            }
            Output::Send { to, request: Request::TakeBack(TakeBacks { send, .. }) }
                if self.answering.contains(to) =>
            {
                Some(self.answer_from(*to, Answer::TakenBack { send: *send }))
            }
            Output::Persist(_)
            | Output::Call(_)
            | Output::Send { .. }
            | Output::Answer { .. }
            | Output::Probe { .. }
            | Output::Compare { .. }
            | Output::Pull { .. }
            | Output::OperatorDone { .. }
            | Output::Kernel { .. }
            | Output::Hook(_)
            | Output::Event(_)
            | Output::Stopped => None,
        }
    }

    /// What a read of the cloud shows now.
    pub(crate) fn read(&self) -> CallOutcome {
        let seen = Observation { address: EIP, ip: None, association: self.held.clone() };
        CallOutcome::Ok(CallReply::Described(vec![seen]))
    }

    /// What that read of the cloud shows now.
    pub(crate) fn read_of(&self, call: &CloudCall) -> CallOutcome {
        let Operation::Describe { addresses, .. } = &call.operation else { return self.read() };
        let seen = addresses.iter().map(|address| {
            let association = self.held_else.get(address).unwrap_or(&self.held).clone();
            Observation { address: *address, ip: None, association }
        });
        CallOutcome::Ok(CallReply::Described(seen.collect()))
    }

    /// The answer of a peer that renews whatever is asked.
    pub(crate) fn renewing(&self, peer: NodeId, beat: &Heartbeat) -> Input {
        self.answering_beat(peer, beat, Renewal::Renewed { had_run_out: false }, None)
    }

    pub(crate) fn answering_beat(
        &self,
        peer: NodeId,
        beat: &Heartbeat,
        renewal: Renewal,
        promised: Option<Promised>,
    ) -> Input {
        let groups = beat.groups.iter().map(|group| GroupBeatAnswer {
            group: group.group,
            renewal: if group.mastered.is_some() { renewal } else { Renewal::None },
            promised,
            elected: None,
        });
        let answer = HeartbeatAnswer {
            send: beat.send,
            sent_at: beat.sent_at,
            muted: Duration::ZERO,
            ceiling: Term(0),
            reference: self.reference.max(beat.reference),
            admissions: if self.records { beat.admissions.clone() } else { Vec::new() },
            away: self.away,
            groups: groups.collect(),
        };
        self.answer_from(peer, Answer::Heartbeat(answer))
    }

    pub(crate) fn answer_from(&self, from: NodeId, answer: Answer) -> Input {
        Input::Answer { from, boot: self.boot(from), to_boot: self.me(), link: LINK, answer }
    }

    /// A new life of `peer` answers this node's next heartbeat over `link`.
    pub(crate) fn new_life_answers(
        &mut self,
        peer: NodeId,
        life: u128,
        link: LinkId,
    ) -> Vec<Output> {
        let answering = std::mem::take(&mut self.answering);
        let beat = crate::scenes::next_beat(self, peer);
        self.answering = answering;
        self.lives[peer.index()] = life;
        let Input::Answer { from, boot, to_boot, answer, .. } =
            self.answering_beat(peer, &beat, Renewal::None, None)
        else {
            panic!("an answer")
        };
        self.give(Input::Answer { from, boot, to_boot, link, answer })
    }

    /// Runs every deadline up to and including `until`.
    pub(crate) fn run_to(&mut self, until: Timestamp) -> Vec<Output> {
        let mut all = Vec::new();
        let mut steps = 0;
        while self.node.next_deadline() <= until {
            steps += 1;
            assert!(steps < 100_000, "it never rests at {:?}", self.now);
            self.now = self.now.max(self.node.next_deadline());
            all.extend(self.give(Input::DeadlineReached));
            if all.contains(&Output::Stopped) {
                return all; // The process has ended.
            }
        }
        self.now = self.now.max(until);
        all
    }

    pub(crate) fn pass(&mut self, duration: Duration) -> Vec<Output> {
        self.run_to(self.now + duration)
    }

    /// Lets no deadline run: as if the process had been asleep.
    pub(crate) fn sleep(&mut self, duration: Duration) {
        self.now = self.now + duration;
    }

    pub(crate) fn request(&mut self, from: NodeId, request: Request) -> Vec<Output> {
        self.ids += 1;
        let boot = self.boot(from);
        self.give(Input::Request { from, boot, link: LINK, id: RequestId(self.ids), request })
    }

    /// The next heartbeat of a peer. While this node has to prove itself, or before it would have
    /// to, the peer answers its last one as well.
    pub(crate) fn beat(&mut self, from: NodeId, beat: Beat) -> Vec<Output> {
        let mut out = self.hear(from, beat);
        let standing = self.node.status(self.now).standing;
        let backup = self.role() == RoleName::Backup && self.now.since(self.answered_at) > H * 5;
        if let Some(last) =
            self.last_beat.clone().filter(|_| standing == Standing::Joining || backup)
        {
            self.answered_at = self.now;
            let answer = self.answering_beat(from, &last, Renewal::None, None);
            out.extend(self.give(answer));
        }
        out
    }

    /// The next heartbeat of a peer, which answers nothing.
    pub(crate) fn hear(&mut self, from: NodeId, beat: Beat) -> Vec<Output> {
        let heartbeat = self.heartbeat(from, beat);
        self.request(from, Request::Heartbeat(heartbeat))
    }

    pub(crate) fn heartbeat(&mut self, from: NodeId, beat: Beat) -> Arc<Heartbeat> {
        self.sends += 1;
        let groups = self.config.group_ids().map(|group| {
            let configured = self.config.priority(group, from);
            GroupBeat {
                group,
                priority: configured.map(|own| beat.priority.map_or(own, priority)),
                healthy: beat.healthy,
                holds: beat.holds,
                mastered: beat.mastered.filter(|_| group == WEB),
                elected: beat.elected.filter(|_| group == WEB),
                seen: beat.seen,
            }
        });
        Arc::new(Heartbeat {
            send: SendNumber(self.sends),
            sent_at: Timestamp::from_millis(self.sends),
            up_for: beat.up_for,
            standing: beat.standing,
            digest: beat.digest,
            shared: beat.shared,
            reference: self.reference,
            admissions: beat.admissions,
            preflight_ok: beat.preflight_ok,
            hears: Vec::new(),
            ceiling: beat.ceiling,
            groups: groups.collect(),
            take_backs: beat.take_backs,
        })
    }

    pub(crate) fn taking_back(&mut self, from: NodeId, take_back: TakeBack) -> Vec<Output> {
        self.sends += 1;
        let list = vec![take_back];
        self.request(from, Request::TakeBack(TakeBacks { send: SendNumber(self.sends), list }))
    }

    /// A request for this node's vote, as a Ready balancer with its configured priority makes it.
    pub(crate) fn vote_request(&mut self, from: NodeId, term: u64) -> VoteRequest {
        self.sends += 1;
        let rank = Rank {
            reference: true,
            standing: Standing::Ready,
            preflight_ok: true,
            holds: false,
            priority: self.config.priority(WEB, from).unwrap_or(Priority::LEAST),
            name: std::cmp::Reverse(from),
        };
        VoteRequest {
            send: SendNumber(self.sends),
            group: WEB,
            term: Term(term),
            lease: LEASE,
            rank,
            digest: Digest([7; 32]),
            reference: None,
            exception: None,
            cause: Cause::MasterSilent,
            evidence: None,
        }
    }

    pub(crate) fn ask(&mut self, from: NodeId, term: u64) -> Vec<Output> {
        let request = self.vote_request(from, term);
        self.request(from, Request::Vote(request))
    }

    /// The denial of a request, at once or when its wait is over.
    pub(crate) fn refused(&mut self, from: NodeId, term: u64) -> Denial {
        let mut out = self.ask(from, term);
        if crate::reading::votes(&out).is_empty() {
            out = self.pass(H);
        }
        crate::reading::denial(&out)
    }

    /// A peer's vote on this node's request.
    pub(crate) fn vote(&mut self, from: NodeId, request: &VoteRequest, vote: Vote) -> Vec<Output> {
        let (send, group, term) = (request.send, request.group, request.term);
        let answer = Answer::Vote(VoteAnswer { send, group, term, vote });
        let input = self.answer_from(from, answer);
        self.give(input)
    }

    pub(crate) fn finish(&mut self, call: &CloudCall, outcome: CallOutcome) -> Vec<Output> {
        self.give(finished(call, outcome))
    }

    pub(crate) fn group(&self) -> GroupStatus {
        self.node.status(self.now).groups.remove(0)
    }

    pub(crate) fn role(&self) -> RoleName {
        self.group().role
    }

    pub(crate) fn alarms(&self) -> Vec<AlarmName> {
        self.node.status(self.now).alarms.into_iter().map(|(name, _, _)| name).collect()
    }
}

pub(crate) fn finished(call: &CloudCall, outcome: CallOutcome) -> Input {
    Input::CallFinished { call: call.id, outcome, request_id: None, took: millis(10) }
}

pub(crate) fn associated(id: &str) -> CallOutcome {
    CallOutcome::Ok(CallReply::Associated(AssociationId(id.into())))
}

pub(crate) fn held_by(id: &str, node: NodeId) -> Option<Association> {
    Some(Association { id: AssociationId(id.into()), holder: Holder::Node(node) })
}
