//! Commands passed from node to node, and their outcomes.

use serde::{Deserialize, Serialize};
use vipward_core::{
    Done, OperatorAnswer, OperatorRequest, OperatorResult, PeerCommand, Refusal, SendNumber,
    Switchover, Term,
};

use super::{Names, StandingWord, WireError};

/// A command.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Order {
    send: u64,
    command: Command,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Command {
    Switchover { group: String, to: Option<String>, force: bool },
    Offer { group: String, term: u64, force: bool },
    Maintenance { on: bool },
}

impl Order {
    pub(super) fn encode(order: &OperatorRequest, names: &Names) -> Result<Self, WireError> {
        Ok(Self {
            send: order.send.0,
            command: match order.command {
                PeerCommand::Switchover(Switchover { group, to, force }) => Command::Switchover {
                    group: names.group(group)?,
                    to: to.map(|node| names.node(node)).transpose()?,
                    force,
                },
                PeerCommand::Offer { group, term, force } => {
                    Command::Offer { group: names.group(group)?, term: term.0, force }
                }
                PeerCommand::Maintenance { on } => Command::Maintenance { on },
            },
        })
    }

    pub(super) fn decode(self, names: &Names) -> Result<OperatorRequest, WireError> {
        Ok(OperatorRequest {
            send: SendNumber(self.send),
            command: match self.command {
                Command::Switchover { group, to, force } => PeerCommand::Switchover(Switchover {
                    group: names.group_id(&group)?,
                    to: to.map(|name| names.node_id(&name)).transpose()?,
                    force,
                }),
                Command::Offer { group, term, force } => {
                    PeerCommand::Offer { group: names.group_id(&group)?, term: Term(term), force }
                }
                Command::Maintenance { on } => PeerCommand::Maintenance { on },
            },
        })
    }
}

/// The outcome of a command.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct OrderAnswer {
    send: u64,
    result: Outcome,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Outcome {
    Done(DoneWord),
    Refused(RefusalWord),
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
enum DoneWord {
    Leads(String),
    AlreadyMaster(String),
    Accepted,
    Admitted(String),
    Maintenance { node: String, on: bool },
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
enum RefusalWord {
    NoMaster,
    NotMaster,
    NotAMember(String),
    NoSuccessor,
    Silent(String),
    Standing { node: String, standing: StandingWord },
    Unhealthy(String),
    Drift(String),
    Preflight(String),
    MovesExhausted,
    Busy,
    Stopping,
    CallsPending,
    NotElected(String),
    OtherElected(String),
    NotClaimed(String),
    RolledBack(String),
    NoAnswer(String),
    NotABalancer(String),
    NotScanned(String),
    NoMajority,
}

impl OrderAnswer {
    pub(super) fn encode(answer: &OperatorAnswer, names: &Names) -> Result<Self, WireError> {
        let result = match answer.result {
            Ok(done) => Outcome::Done(done_word(done, names)?),
            Err(refusal) => Outcome::Refused(refusal_word(refusal, names)?),
        };
        Ok(Self { send: answer.send.0, result })
    }

    pub(super) fn decode(self, names: &Names) -> Result<OperatorAnswer, WireError> {
        let result: OperatorResult = match self.result {
            Outcome::Done(word) => Ok(done(&word, names)?),
            Outcome::Refused(word) => Err(refusal(word, names)?),
        };
        Ok(OperatorAnswer { send: SendNumber(self.send), result })
    }
}

fn done_word(done: Done, names: &Names) -> Result<DoneWord, WireError> {
    Ok(match done {
        Done::Leads(node) => DoneWord::Leads(names.node(node)?),
        Done::AlreadyMaster(node) => DoneWord::AlreadyMaster(names.node(node)?),
        Done::Accepted => DoneWord::Accepted,
        Done::Admitted(node) => DoneWord::Admitted(names.node(node)?),
        Done::Maintenance(node, on) => DoneWord::Maintenance { node: names.node(node)?, on },
    })
}

fn done(word: &DoneWord, names: &Names) -> Result<Done, WireError> {
    Ok(match word {
        DoneWord::Leads(name) => Done::Leads(names.node_id(name)?),
        DoneWord::AlreadyMaster(name) => Done::AlreadyMaster(names.node_id(name)?),
        DoneWord::Accepted => Done::Accepted,
        DoneWord::Admitted(name) => Done::Admitted(names.node_id(name)?),
        DoneWord::Maintenance { node, on } => Done::Maintenance(names.node_id(node)?, *on),
    })
}

fn refusal_word(refusal: Refusal, names: &Names) -> Result<RefusalWord, WireError> {
    Ok(match refusal {
        Refusal::NoMaster => RefusalWord::NoMaster,
        Refusal::NotMaster => RefusalWord::NotMaster,
        Refusal::NotAMember(node) => RefusalWord::NotAMember(names.node(node)?),
        Refusal::NoSuccessor => RefusalWord::NoSuccessor,
        Refusal::Silent(node) => RefusalWord::Silent(names.node(node)?),
        Refusal::Standing(node, standing) => {
            RefusalWord::Standing { node: names.node(node)?, standing: standing.into() }
        }
        Refusal::Unhealthy(node) => RefusalWord::Unhealthy(names.node(node)?),
        Refusal::Drift(node) => RefusalWord::Drift(names.node(node)?),
        Refusal::Preflight(node) => RefusalWord::Preflight(names.node(node)?),
        Refusal::MovesExhausted => RefusalWord::MovesExhausted,
        Refusal::Busy => RefusalWord::Busy,
        Refusal::Stopping => RefusalWord::Stopping,
        Refusal::CallsPending => RefusalWord::CallsPending,
        Refusal::NotElected(node) => RefusalWord::NotElected(names.node(node)?),
        Refusal::OtherElected(node) => RefusalWord::OtherElected(names.node(node)?),
        Refusal::NotClaimed(node) => RefusalWord::NotClaimed(names.node(node)?),
        Refusal::RolledBack(node) => RefusalWord::RolledBack(names.node(node)?),
        Refusal::NoAnswer(node) => RefusalWord::NoAnswer(names.node(node)?),
        Refusal::NotABalancer(node) => RefusalWord::NotABalancer(names.node(node)?),
        Refusal::NotScanned(node) => RefusalWord::NotScanned(names.node(node)?),
        Refusal::NoMajority => RefusalWord::NoMajority,
    })
}

fn refusal(word: RefusalWord, names: &Names) -> Result<Refusal, WireError> {
    Ok(match word {
        RefusalWord::NoMaster => Refusal::NoMaster,
        RefusalWord::NotMaster => Refusal::NotMaster,
        RefusalWord::NotAMember(name) => Refusal::NotAMember(names.node_id(&name)?),
        RefusalWord::NoSuccessor => Refusal::NoSuccessor,
        RefusalWord::Silent(name) => Refusal::Silent(names.node_id(&name)?),
        RefusalWord::Standing { node, standing } => {
            Refusal::Standing(names.node_id(&node)?, standing.into())
        }
        RefusalWord::Unhealthy(name) => Refusal::Unhealthy(names.node_id(&name)?),
        RefusalWord::Drift(name) => Refusal::Drift(names.node_id(&name)?),
        RefusalWord::Preflight(name) => Refusal::Preflight(names.node_id(&name)?),
        RefusalWord::MovesExhausted => Refusal::MovesExhausted,
        RefusalWord::Busy => Refusal::Busy,
        RefusalWord::Stopping => Refusal::Stopping,
        RefusalWord::CallsPending => Refusal::CallsPending,
        RefusalWord::NotElected(name) => Refusal::NotElected(names.node_id(&name)?),
        RefusalWord::OtherElected(name) => Refusal::OtherElected(names.node_id(&name)?),
        RefusalWord::NotClaimed(name) => Refusal::NotClaimed(names.node_id(&name)?),
        RefusalWord::RolledBack(name) => Refusal::RolledBack(names.node_id(&name)?),
        RefusalWord::NoAnswer(name) => Refusal::NoAnswer(names.node_id(&name)?),
        RefusalWord::NotABalancer(name) => Refusal::NotABalancer(names.node_id(&name)?),
        RefusalWord::NotScanned(name) => Refusal::NotScanned(names.node_id(&name)?),
        RefusalWord::NoMajority => Refusal::NoMajority,
    })
}
