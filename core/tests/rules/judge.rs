//! Gives one node random inputs, and judges what it orders.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use vipward_core::*;

use crate::fixture::*;
use crate::ops::Op;

/// A promise of this node, as its own words show it.
#[derive(Clone, Copy, Debug)]
struct Promise {
    to: (NodeId, BootId),
    term: Term,
    until: Timestamp,
}

/// The node and what it said so far.
pub(crate) struct Judge {
    pub(crate) rig: Rig,
    others: [NodeId; 2],
    /// Everything it ordered.
    pub(crate) all: Vec<Output>,
    promise: Option<Promise>,
    pending: Vec<Durable>,
    calls: Vec<CloudCall>,
    sent: Vec<(NodeId, Request)>,
    asked: BTreeMap<u64, (NodeId, BootId, Request)>,
    answered: BTreeSet<u64>,
    decided: BTreeSet<(NodeId, BootId, SendNumber)>,
    last_beats: BTreeMap<(NodeId, u8), Arc<Heartbeat>>,
    last_asks: BTreeMap<(NodeId, u8), VoteRequest>,
    /// By node: the highest term that it asked for or led.
    used: BTreeMap<NodeId, u64>,
    stood: Term,
    elected: Term,
    written: Durable,
    next_id: u64,
    pub(crate) ended: bool,
}

fn lease(choice: u8) -> Duration {
    [LEASE, LEASE, H * 2, H * 5][usize::from(choice % 4)]
}

impl Judge {
    pub(crate) fn new(me: NodeId) -> Self {
        let config = with(mixed(me), |config| {
            let (name, effect) = ("nginx".into(), CheckEffect::Fatal);
            config.checks.push(CheckConfig { name, rise: 1, fall: 1, effect, groups: Vec::new() });
        });
        let mut rig = Rig::new(config);
        (rig.writes, rig.reads) = (false, false);
        let others = match me {
            A => [B, W],
            B => [A, W],
            _ => [A, B],
        };
        Self {
            rig,
            others,
            all: Vec::new(),
            promise: None,
            pending: Vec::new(),
            calls: Vec::new(),
            sent: Vec::new(),
            asked: BTreeMap::new(),
            answered: BTreeSet::new(),
            decided: BTreeSet::new(),
            last_beats: BTreeMap::new(),
            last_asks: BTreeMap::new(),
            used: BTreeMap::new(),
            stood: Term(0),
            elected: Term(0),
            written: Durable::default(),
            next_id: 0,
            ended: false,
        }
    }

    fn other(&self, second: bool) -> NodeId {
        self.others[usize::from(second)]
    }

    pub(crate) fn apply(&mut self, op: &Op) {
        match op {
            Op::Pass(duration) => self.pass(millis(*duration)),
            Op::Sleep(duration) => self.rig.sleep(millis(*duration)),
            Op::Beat { .. } | Op::Ask { .. } | Op::TakeBack { .. } => self.ask(op),
            Op::Reply { from, life, back, kind } => self.reply(*from, *life, *back, *kind),
            Op::Contact { from, life, kind } => self.contact(*from, *life, *kind),
            Op::Check(passed) => {
                self.step(Input::CheckResult { check: CheckId(0), passed: *passed });
            }
            Op::Preflight(good) => {
                let problems = if *good { Vec::new() } else { vec!["no permission".into()] };
                self.step(Input::Preflight { problems });
            }
            Op::Disk(works) => {
                if let Some(durable) = self.pending.pop() {
                    self.pending.clear();
                    let failed = Input::PersistFailed;
                    self.step(if *works { Input::Persisted(durable) } else { failed });
                }
            }
            Op::Hint => self.step(Input::OwnershipHint { group: WEB }),
            Op::Kernel(state) => {
                let state = match state {
                    None => KernelState::Failed { what: "busy".into() },
                    Some(true) => KernelState::Is(Presence::Present),
                    Some(false) => KernelState::Is(Presence::Absent),
                };
                self.step(Input::Kernel { group: WEB, address: AddressId(1), state });
            }
            Op::Call { back, kind, holder } => self.end_call(*back, *kind, *holder),
            Op::Operator { to, force, offered } => self.operator(*to, *force, *offered),
            Op::Reload(choice) => {
                let mut config = (*self.rig.config).clone();
                config.timing = timing(H, [3, 2, 5][usize::from(*choice)]);
                self.step(Input::Reload(Arc::new(config)));
            }
            Op::Stop => self.step(Input::Stop),
        }
    }

    /// Meets every deadline; none may come again and again at the same instant.
    fn pass(&mut self, duration: Duration) {
        let until = self.rig.now + duration;
        let mut here = 0;
        while self.rig.node.next_deadline() <= until && !self.ended {
            let next = self.rig.node.next_deadline().max(self.rig.now);
            here = if next == self.rig.now { here + 1 } else { 0 };
            assert!(here <= 50, "it never rests at {next:?}");
            self.rig.now = next;
            self.step(Input::DeadlineReached);
        }
        self.rig.now = self.rig.now.max(until);
    }

    fn ask(&mut self, op: &Op) {
        let (from, life, request) = match op {
            Op::Beat { from, life, repeat, mastered, lease: length, elected } => {
                let node = self.other(*from);
                let old = self.last_beats.get(&(node, *life)).filter(|_| *repeat).cloned();
                let beat = old.unwrap_or_else(|| {
                    let mut beat = mastered.map_or(Beat::idle(), |term| {
                        Beat::master(u64::from(term)).lease(lease(*length))
                    });
                    let elected = Elected { term: Term(u64::from(*elected)), node };
                    beat.elected = Some(elected).filter(|it| it.term.0 % 3 == 1);
                    self.rig.heartbeat(node, beat)
                });
                let used = self.used.entry(node).or_default();
                *used = (*used).max(mastered.map_or(0, u64::from));
                self.last_beats.insert((node, *life), Arc::clone(&beat));
                (node, *life, Request::Heartbeat(beat))
            }
            Op::Ask { from, life, repeat, term, lease: length, evidence } => {
                let node = self.other(*from);
                let old = self.last_asks.get(&(node, *life)).filter(|_| *repeat).cloned();
                let request = old.unwrap_or_else(|| {
                    // One candidacy, one term, and none below.
                    let used = self.used.entry(node).or_default();
                    *used = (*used + 1).max(u64::from(*term));
                    let mut request = self.rig.vote_request(node, *used);
                    request.lease = lease(*length);
                    let dead = self.other(!*from);
                    let dead = Evidence { node: dead, boot: boot(dead, 1) };
                    request.evidence = Some(dead).filter(|_| *evidence);
                    request
                });
                self.last_asks.insert((node, *life), request.clone());
                (node, *life, Request::Vote(request))
            }
            Op::TakeBack { from, life, term, resigned, successor } => {
                let node = self.other(*from);
                let term = u64::from(*term);
                let take_back = if *resigned {
                    resignation(term, successor.map(NodeId))
                } else {
                    release(term)
                };
                self.taken_back(node, boot(node, u128::from(*life)), take_back);
                let take_backs = TakeBacks { send: SendNumber(1), list: vec![take_back] };
                (node, *life, Request::TakeBack(take_backs))
            }
            Op::Pass(_)
            | Op::Sleep(_)
            | Op::Reply { .. }
            | Op::Contact { .. }
            | Op::Check(_)
            | Op::Preflight(_)
            | Op::Disk(_)
            | Op::Hint
            | Op::Kernel(_)
            | Op::Call { .. }
            | Op::Operator { .. }
            | Op::Reload(_)
            | Op::Stop => return,
        };
        self.next_id += 1;
        let (id, boot) = (RequestId(self.next_id), boot(from, u128::from(life)));
        self.asked.insert(self.next_id, (from, boot, request.clone()));
        self.step(Input::Request { from, boot, link: LINK, id, request });
    }

    fn reply(&mut self, from: bool, life: u8, back: u8, kind: u8) {
        let from = self.other(from);
        let own: Vec<&Request> =
            self.sent.iter().filter(|(to, _)| *to == from).map(|(_, request)| request).collect();
        let Some(request) = own.iter().rev().nth(usize::from(back)) else { return };
        let answer = match request {
            Request::Heartbeat(beat) => {
                let renewal = match kind {
                    0..=3 => Renewal::Renewed { had_run_out: kind == 3 && back == 0 },
                    _ => Renewal::None,
                };
                let promised = Promised { node: self.other(true), term: Term(9), left: H };
                let promised = Some(promised).filter(|_| kind == 5);
                let input = self.rig.answering_beat(from, beat, renewal, promised);
                let Input::Answer { answer, .. } = input else { return };
                answer
            }
            Request::Vote(request) => {
                let (send, group, term) = (request.send, request.group, request.term);
                let reason = DenialReason::PromisedToCandidate(from);
                let denial = Denial { reason, seen: term, left: H };
                let vote = if kind < 4 { Vote::Granted } else { Vote::Denied(denial) };
                Answer::Vote(VoteAnswer { send, group, term, vote })
            }
            Request::TakeBack(take_backs) => Answer::TakenBack { send: take_backs.send },
            Request::Operator(request) => {
                let result = if kind < 4 { Ok(Done::Accepted) } else { Err(Refusal::Busy) };
                Answer::Operator(OperatorAnswer { send: request.send, result })
            }
        };
        self.evidence(from);
        let (boot, to_boot) = (boot(from, u128::from(life)), self.rig.me());
        self.step(Input::Answer { from, boot, to_boot, link: LINK, answer });
    }

    fn contact(&mut self, from: bool, life: u8, kind: u8) {
        let peer = self.other(from);
        self.evidence(peer);
        let boot = boot(peer, u128::from(life));
        self.step(match kind {
            0 => Input::ConnectRefused { peer, link: LINK },
            1 => Input::BootAnswered { peer, boot, link: LINK },
            _ => Input::Connections { peer, open: u16::from(kind - 2) },
        });
    }

    fn end_call(&mut self, back: u8, kind: u8, holder: u8) {
        let Some(index) = self.calls.len().checked_sub(usize::from(back) + 1) else { return };
        let call = self.calls.remove(index);
        let held = if holder > 2 { None } else { held_by(&format!("a{kind}"), NodeId(holder)) };
        let outcome = match (kind, &call.operation) {
            (0, _) => CallOutcome::Timeout,
            (1, _) => CallOutcome::Throttled,
            (2, _) => CallOutcome::Refused { code: "no".into() },
            (3, _) => CallOutcome::NotStarted,
            (_, Operation::Describe { .. }) => {
                self.rig.held = held;
                self.rig.read_of(&call)
            }
            (_, Operation::Associate { .. } | Operation::Assign { .. }) => {
                associated(&format!("mine{}", call.id.0))
            }
            (_, Operation::Disassociate { .. } | Operation::Unassign { .. }) => {
                CallOutcome::Ok(CallReply::Disassociated)
            }
        };
        self.step(finished(&call, outcome));
    }

    fn operator(&mut self, to: u8, force: bool, offered: bool) {
        let to = Some(NodeId(to)).filter(|to| to.0 < 4);
        if offered {
            let command = PeerCommand::Offer { group: WEB, term: Term(9), force };
            let request = OperatorRequest { send: SendNumber(1), command };
            let from = self.other(force);
            self.next_id += 1;
            let (id, boot) = (RequestId(self.next_id), boot(from, 1));
            let request = Request::Operator(request);
            self.step(Input::Request { from, boot, link: LINK, id, request });
        } else {
            let switchover = Switchover { group: WEB, to, force };
            self.step(Input::Switchover { id: OperatorId(1), switchover });
        }
    }

    /// Whatever may be evidence against a node frees the promise to it, for this judge.
    fn evidence(&mut self, node: NodeId) {
        self.promise = self.promise.filter(|promise| promise.to.0 != node);
    }

    fn taken_back(&mut self, node: NodeId, boot: BootId, take_back: TakeBack) {
        self.promise = self.promise.filter(|promise| {
            let drops = match take_back.kind {
                TakeBackKind::Release => promise.term == take_back.term,
                TakeBackKind::Resign { .. } => promise.term <= take_back.term,
            };
            promise.to != (node, boot) || !drops
        });
    }

    fn step(&mut self, input: Input) {
        if self.ended {
            return;
        }
        let now = self.rig.now;
        let out = self.rig.node.step(now, input);
        // What it takes back counts before what it then promises: both are of one step.
        let me = (self.rig.config.me, self.rig.me());
        for (_, list) in crate::reading::take_backs(&out) {
            list.iter().for_each(|it| self.taken_back(me.0, me.1, *it));
        }
        for output in &out {
            self.judge(output);
        }
        self.all.extend(out);
        let group = self.rig.group();
        assert!(group.term >= self.elected, "{:?} after {:?}", group.term, self.elected);
        self.elected = group.term;
        let leads = group.role == RoleName::Master;
        assert_eq!(leads, !group.lease_left.is_zero());
        assert!(group.lease_left <= own_lease(H * 5));
    }
}

impl Judge {
    fn judge(&mut self, output: &Output) {
        let now = self.rig.now;
        let me = (self.rig.config.me, self.rig.me());
        match output {
            Output::Send { to, request } => {
                if let Request::Vote(request) = request
                    && *to == self.others[0]
                {
                    assert!(request.term > self.stood, "{:?} again", request.term);
                    self.stood = request.term;
                    if self.rig.node.status(now).muted.is_zero() {
                        self.promises(me, request.term, request.lease);
                    }
                }
                if self.sent.len() > 64 {
                    self.sent.drain(..32);
                }
                self.sent.push((*to, request.clone()));
            }
            Output::Answer { id, answer } => {
                assert!(self.answered.insert(id.0), "answered twice");
                self.judge_answer(*id, answer);
            }
            Output::Call(call) => {
                self.judge_call(call);
                self.calls.push(call.clone());
            }
            Output::Persist(durable) => {
                assert!(durable.ceiling >= self.written.ceiling);
                //LP assert!(durable.longest_promise >= self.written.longest_promise);
                self.written = durable.clone();
                self.pending.push(durable.clone());
            }
            Output::Stopped => self.ended = true,
            Output::Probe { .. }
            | Output::Compare { .. }
            | Output::Pull { .. }
            | Output::OperatorDone { .. }
            | Output::Event(_) => {}
            Output::Kernel { address, wanted, .. } => {
                let expected = match self.rig.role() {
                    RoleName::Master => Some(Presence::Present),
                    RoleName::Backup | RoleName::Candidate => Some(Presence::Absent),
                    RoleName::Holding | RoleName::None => None,
                };
                assert_eq!((address.0, Some(*wanted)), (1, expected));
            }
            Output::Hook(hook) => {
                let told = hook.role.map(|role| (role, self.rig.role()));
                let candidate = Some((RoleName::Backup, RoleName::Candidate));
                assert!(told.is_none_or(|(told, is)| told == is) || told == candidate);
            }
        }
    }

    fn judge_answer(&mut self, id: RequestId, answer: &Answer) {
        let Some((from, boot, request)) = self.asked.get(&id.0).cloned() else { return };
        match (&request, answer) {
            (Request::Vote(request), Answer::Vote(answer)) => {
                let copy = (from, boot, request.send);
                // A later copy is told how the promise stands, and prolongs nothing.
                if self.decided.insert(copy) && answer.vote == Vote::Granted {
                    self.promises((from, boot), request.term, request.lease);
                }
            }
            (Request::Heartbeat(beat), Answer::Heartbeat(answer)) => {
                let copy = (from, boot, beat.send);
                if let Renewal::Renewed { .. } = answer.groups[0].renewal
                    && self.decided.insert(copy)
                {
                    let mastered = beat.groups[0].mastered.expect("renewed without a lease");
                    self.promises((from, boot), mastered.term, mastered.lease);
                }
            }
            _ => {}
        }
    }

    /// The node promised: it must not have promised another before, and nothing shrinks.
    fn promises(&mut self, to: (NodeId, BootId), term: Term, lease: Duration) {
        let now = self.rig.now;
        let until = now + lease;
        self.promise = Some(match self.promise.filter(|promise| promise.until > now) {
            Some(old) if old.to == to => {
                Promise { to, term: old.term.max(term), until: old.until.max(until) }
            }
            Some(old) => panic!("at {now:?} it promised {to:?} though {old:?} runs"),
            None => Promise { to, term, until },
        });
    }

    /// A mutating call: only on a lease with one interval left, and not after that.
    fn judge_call(&self, call: &CloudCall) {
        if call.operation.mutates().is_none() {
            return;
        }
        let group = self.rig.group();
        let now = self.rig.now;
        assert_eq!(group.role, RoleName::Master, "{call:?}");
        assert!(group.lease_left >= H, "{call:?}");
        assert!(call.not_after.expect("a limit") + H <= now + group.lease_left, "{call:?}");
    }
}
