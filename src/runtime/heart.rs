//! The one loop: inputs in, `Node::step`, orders out. It owns the core.
//!
//! It runs on a thread of its own with the links, so that nothing else in the process can delay
//! a heartbeat. It waits for nobody: what cannot be handed over at once is dropped and counted,
//! but for cloud calls, whose queue is longer than the core can have under way.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, oneshot, watch};
use vipward_core::{
    CallOutcome, CloudCall, Durable, Event, Hook, Input, Node, NodeId, OperatorId, OperatorResult,
    Output, Status, Switchover, Timestamp,
};

use super::clock;
use crate::consistency;
use crate::kernel::Wanted;
use crate::transport::{Keys, Timeouts, Transport};

/// What others ask of the loop.
pub(crate) enum Ask {
    /// Its account of itself.
    Status(oneshot::Sender<Status>),
    /// An operator's command; the outcome may take as long as it takes.
    Operator(Command, oneshot::Sender<OperatorResult>),
    /// The keys and time-outs of the links from now on.
    Links(Box<Keys>, Timeouts),
}

/// What operators command.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Command {
    /// A planned handover.
    Switchover(Switchover),
    /// A node is to lead with the configuration that it has now.
    Admit(NodeId),
    /// A node out of candidacy, or back.
    Maintenance(NodeId, bool),
}

impl Command {
    fn input(self, id: OperatorId) -> Input {
        match self {
            Self::Switchover(switchover) => Input::Switchover { id, switchover },
            Self::Admit(node) => Input::Admit { id, node },
            Self::Maintenance(node, on) => Input::Maintenance { id, node, on },
        }
    }
}

/// An event and when it happened, by the wall clock.
pub(crate) struct Happened {
    pub(crate) at: SystemTime,
    pub(crate) event: Event,
}

/// Where orders go.
pub(crate) struct Hands {
    pub(crate) transport: Transport,
    pub(crate) calls: mpsc::Sender<CloudCall>,
    pub(crate) kernel: watch::Sender<Wanted>,
    pub(crate) hooks: mpsc::Sender<Hook>,
    pub(crate) consistency: mpsc::Sender<consistency::Order>,
    pub(crate) persist: watch::Sender<Option<Durable>>,
    pub(crate) events: mpsc::Sender<Happened>,
    /// Events that found their queue full.
    pub(crate) events_lost: Arc<AtomicU64>,
    /// Told how late each deadline was met.
    pub(crate) stalled: Box<dyn Fn(Duration) + Send>,
}

/// The loop's state.
pub(crate) struct Heart {
    node: Node,
    hands: Hands,
    /// Operators who wait for an outcome.
    operators: HashMap<OperatorId, oneshot::Sender<OperatorResult>>,
    last_operator: u64,
    /// Calls that could not be handed over: told to the core as not made.
    refused: Vec<CloudCall>,
}

impl Heart {
    pub(crate) fn new(node: Node, hands: Hands) -> Self {
        Self { node, hands, operators: HashMap::new(), last_operator: 0, refused: Vec::new() }
    }

    /// Runs until the core has given everything up.
    pub(crate) async fn beat(
        mut self,
        mut inputs: mpsc::Receiver<Input>,
        mut asks: mpsc::Receiver<Ask>,
    ) -> Transport {
        loop {
            let deadline = self.node.next_deadline();
            let input = tokio::select! {
                biased;
                // Messages before timers: after a pause, what arrived meanwhile is heard first.
                Some(input) = inputs.recv() => input,
                Some(ask) = asks.recv() => match self.on_ask(ask) {
                    Some(input) => input,
                    None => continue,
                },
                () = sleep_until(deadline) => {
                    (self.hands.stalled)(clock::now().since(deadline));
                    Input::DeadlineReached
                }
            };
            if self.step(input) {
                return self.hands.transport;
            }
        }
    }

    fn on_ask(&mut self, ask: Ask) -> Option<Input> {
        match ask {
            Ask::Status(reply) => {
                let _ = reply.send(self.node.status(clock::now())); // Gone if it gave up waiting.
                None
            }
            Ask::Operator(command, reply) => {
                self.last_operator += 1;
                let id = OperatorId(self.last_operator);
                self.operators.retain(|_, waiting| !waiting.is_closed());
                self.operators.insert(id, reply);
                Some(command.input(id))
            }
            Ask::Links(keys, timeouts) => {
                self.hands.transport.set_keys(*keys);
                self.hands.transport.set_timeouts(timeouts);
                None
            }
        }
    }

    /// One step, its orders carried out. Whether it was the last.
    fn step(&mut self, input: Input) -> bool {
        let mut stopped = false;
        for output in self.node.step(clock::now(), input) {
            stopped |= self.carry_out(output);
        }
        while let Some(call) = self.refused.pop() {
            let what = "too many cloud calls are under way".into();
            let outcome = match call.operation.mutates() {
                Some(_) => CallOutcome::NotStarted,
                None => CallOutcome::Error { what },
            };
            let took = Duration::ZERO;
            let input = Input::CallFinished { call: call.id, outcome, request_id: None, took };
            for output in self.node.step(clock::now(), input) {
                stopped |= self.carry_out(output);
            }
        }
        stopped
    }

    fn to_consistency(&self, order: consistency::Order) {
        // The core asks again: both have a time after which they count as failed.
        if let Err(error) = self.hands.consistency.try_send(order) {
            tracing::error!(order = ?error.into_inner(), "dropped: too many such orders wait");
        }
    }

    fn carry_out(&mut self, output: Output) -> bool {
        match output {
            Output::Send { to, request } => self.hands.transport.send(to, &request),
            Output::Answer { id, answer } => self.hands.transport.answer(id, answer),
            Output::Probe { peer } => self.hands.transport.probe(peer),
            Output::Call(call) => {
                if let Err(error) = self.hands.calls.try_send(call) {
                    self.refused.push(error.into_inner());
                }
            }
            Output::Kernel { group, address, wanted } => self.hands.kernel.send_modify(|all| {
                all.insert((group, address), wanted);
            }),
            Output::Hook(hook) => {
                if let Err(error) = self.hands.hooks.try_send(hook) {
                    let point = error.into_inner().point;
                    tracing::error!(hook = point.as_str(), "dropped: too many hooks are waiting");
                }
            }
            Output::Compare { with } => self.to_consistency(consistency::Order::Compare { with }),
            Output::Pull { from, digest } => {
                self.to_consistency(consistency::Order::Pull { from, digest });
            }
            Output::Persist(durable) => {
                self.hands.persist.send_replace(Some(durable));
            }
            Output::OperatorDone { id, result } => {
                if let Some(reply) = self.operators.remove(&id) {
                    let _ = reply.send(result); // Gone if the operator gave up waiting.
                }
            }
            Output::Event(event) => {
                #[allow(clippy::disallowed_methods)] // Shown in the journal, never compared.
                let at = SystemTime::now();
                if self.hands.events.try_send(Happened { at, event }).is_err() {
                    self.hands.events_lost.fetch_add(1, Ordering::Relaxed);
                }
            }
            Output::Stopped => return true,
        }
        false
    }
}

/// Sleeps until the boot-time clock shows `deadline`. The timer itself stops in suspend, so it
/// wakes late after one: the core then sees by its own clock what has lapsed.
async fn sleep_until(deadline: Timestamp) {
    let left = deadline.left(clock::now());
    tokio::time::sleep(left.min(Duration::from_secs(3600))).await;
}
