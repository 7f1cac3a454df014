//! Puts the cloud and its faults together: decides for each call when it takes effect and what
//! its caller is told. Pure; the server waits and writes.

use std::time::Duration;

use vipward_core::{Random, Timestamp};

use super::call::{Call, Request, To};
use super::ec2_error::Ec2Error;
use super::faults::{Answer, Fault, Faults, Selector, Throttle};
use super::record::{Caller, Entry, Outcome, Record};
use super::reply::Reply;
use super::state::{Cloud, Interface};

/// The cloud, its faults, and what happened.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) cloud: Cloud,
    pub(crate) record: Record,
    faults: Faults,
    /// The throttles of the faults: that of every call, then those of the rules.
    buckets: Vec<Option<Bucket>>,
    random: Random,
}

/// What is to be done with one call.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) request_id: String,
    pub(crate) action: String,
    /// Names the call in the record.
    pub(crate) sequence: Option<u64>,
    pub(crate) effect: Option<Effect>,
    pub(crate) answer: PlannedAnswer,
}

/// A call that is to take effect.
#[derive(Debug)]
pub(crate) struct Effect {
    pub(crate) after: Duration,
    pub(crate) call: Call,
    /// How old the state is that a describe call shows.
    stale: Duration,
    keep_association: bool,
}

/// What the caller is told.
#[derive(Debug)]
pub(crate) enum PlannedAnswer {
    /// What comes of the effect.
    OfEffect,
    /// An error, whatever comes of the effect.
    Error { after: Duration, error: Ec2Error },
    /// The connection is closed.
    Closed { after: Duration },
    /// Nothing.
    Never,
}

impl Engine {
    pub(crate) fn new(cloud: Cloud, faults: Faults, seed: u64) -> Self {
        let mut engine = Self {
            cloud,
            record: Record::default(),
            faults: Faults::default(),
            buckets: Vec::new(),
            random: Random::new(seed),
        };
        engine.set_faults(faults);
        engine
    }

    pub(crate) fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Replaces all faults. Every throttle starts with a full bucket.
    pub(crate) fn set_faults(&mut self, faults: Faults) {
        let rules = faults.rules.iter().map(|rule| &rule.fault);
        self.buckets = std::iter::once(&faults.fault)
            .chain(rules)
            .map(|fault| fault.throttle.map(Bucket::new))
            .collect();
        self.faults = faults;
    }

    /// Decides what becomes of a call that has just come.
    pub(crate) fn arrive(&mut self, now: Timestamp, caller: &Caller, request: Request) -> Plan {
        let (fault, throttled) = self.select(now, caller, &request);
        let request_id = self.new_request_id();
        let mutates = request.mutates();
        let latency = fault.latency.unwrap_or_default();
        let Decision { effect, answer } = self.decide(&fault, throttled, &request);
        let landing = if mutates { fault.late_landing.unwrap_or_default() } else { Duration::ZERO };
        let effect = effect.map(|call| Effect {
            after: latency + landing,
            call,
            stale: fault.stale_reads.unwrap_or_default(),
            keep_association: fault.keep_association.unwrap_or(false),
        });
        let answer = match answer {
            Told::Truth => PlannedAnswer::OfEffect,
            Told::Error(error) => PlannedAnswer::Error { after: latency, error },
            Told::Closed => PlannedAnswer::Closed { after: latency },
            Told::Nothing => PlannedAnswer::Never,
        };
        let action = request.action.clone();
        let sequence = mutates.then(|| {
            self.record.push(entry(now, caller, request, &request_id, effect.as_ref(), &answer))
        });
        Plan { request_id, action, sequence, effect, answer }
    }

    /// Lets a call take effect, now.
    pub(crate) fn land(
        &mut self,
        now: Timestamp,
        sequence: Option<u64>,
        effect: &Effect,
    ) -> Result<Reply, Ec2Error> {
        self.cloud.keeps_association = effect.keep_association;
        let result = self.cloud.apply(now - effect.stale_for_reads(), &effect.call);
        if let Some(entry) = sequence.and_then(|sequence| self.record.entry(sequence)) {
            entry.landed = Some(now);
            entry.outcome = match &result {
                Ok(Reply::Associated { association_id }) => {
                    Outcome::Done { association: Some(association_id.clone()) }
                }
                Ok(
                    Reply::Disassociated
                    | Reply::Assigned { .. }
                    | Reply::Allocated { .. }
                    | Reply::Addresses(_)
                    | Reply::Interfaces(_)
                    | Reply::Instances(_),
                ) => Outcome::Done { association: None },
                Err(error) => Outcome::Refused { code: error.code.to_string() },
            };
        }
        result
    }

    /// Notes that a call will not take effect after all.
    pub(crate) fn refused(&mut self, now: Timestamp, sequence: Option<u64>, error: &Ec2Error) {
        if let Some(entry) = sequence.and_then(|sequence| self.record.entry(sequence)) {
            entry.landed = Some(now);
            entry.outcome = Outcome::Refused { code: error.code.to_string() };
        }
    }

    /// Notes what the caller was told.
    pub(crate) fn answered(&mut self, now: Timestamp, sequence: Option<u64>, answer: &str) {
        if let Some(entry) = sequence.and_then(|sequence| self.record.entry(sequence)) {
            entry.answered = Some(now);
            entry.answer = Some(answer.to_owned());
        }
    }

    fn decide(&mut self, fault: &Fault, throttled: bool, request: &Request) -> Decision {
        let refused = |error| Decision { effect: None, answer: Told::Error(error) };
        if fault.black_hole.unwrap_or(false) {
            return Decision { effect: None, answer: Told::Nothing };
        }
        if throttled {
            return refused(Ec2Error::throttled());
        }
        let call = match &request.call {
            // An action that does not exist cannot be permitted or not.
            Err(error) if error.code == "InvalidAction" => return refused(error.clone()),
            _ if fault.denies(&request.action) => return refused(Ec2Error::unauthorized()),
            Err(error) => return refused(error.clone()),
            Ok(call) => call.clone(),
        };
        if let Some(error) = self.chance_of_error(fault.error_rate.unwrap_or(0.0)) {
            let takes_effect = request.mutates() && self.random.below(2) == 0;
            return Decision { effect: takes_effect.then_some(call), answer: Told::Error(error) };
        }
        if request.dry_run {
            return refused(Ec2Error::dry_run());
        }
        let answer = match fault.answer.unwrap_or_default() {
            Answer::Normal => Told::Truth,
            Answer::Error => Told::Error(Ec2Error::internal()),
            Answer::Closed => Told::Closed,
            Answer::Never => Told::Nothing,
        };
        Decision { effect: Some(call), answer }
    }

    fn chance_of_error(&mut self, rate: f64) -> Option<Ec2Error> {
        // 53 bits are what a float of this size holds exactly.
        let drawn = (self.random.draw() >> 11) as f64 / (1_u64 << 53) as f64;
        (drawn < rate).then(|| match self.random.below(2) {
            0 => Ec2Error::internal(),
            _ => Ec2Error::unavailable(),
        })
    }

    /// The faults of one call, and whether a throttle stops it. Counts the call in the rules that
    /// pick it.
    fn select(&mut self, now: Timestamp, caller: &Caller, request: &Request) -> (Fault, bool) {
        let facts = Facts::new(&self.cloud, caller, request);
        let mut fault = self.faults.fault.clone();
        let mut buckets = self.buckets.iter_mut();
        let mut throttle = buckets.next().and_then(Option::as_mut);
        for (rule, bucket) in self.faults.rules.iter_mut().zip(buckets) {
            let concerned = request.mutates() || rule.fault.concerns_reads();
            if rule.next == Some(0) || !concerned || !facts.fit(&rule.when) {
                continue;
            }
            if let Some(next) = &mut rule.next {
                *next -= 1;
            }
            fault.overlay(&rule.fault);
            throttle = bucket.as_mut().or(throttle);
        }
        let throttled = throttle.is_some_and(|bucket| !bucket.take(now));
        (fault, throttled)
    }

    /// A random UUID (RFC 9562, version 4), as AWS's request ids are.
    fn new_request_id(&mut self) -> String {
        let (a, b) = (self.random.draw(), self.random.draw());
        format!(
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            a >> 32,
            (a >> 16) & 0xffff,
            a & 0xfff,
            (b >> 48) & 0x3fff | 0x8000,
            b & 0xffff_ffff_ffff,
        )
    }
}

impl Effect {
    fn stale_for_reads(&self) -> Duration {
        match self.call {
            Call::DescribeAddresses { .. }
            | Call::DescribeNetworkInterfaces { .. }
            | Call::DescribeInstances { .. } => self.stale,
            Call::AssociateAddress(_)
            | Call::DisassociateAddress { .. }
            | Call::AllocateAddress
            | Call::AssignPrivateIpAddresses(_)
            | Call::UnassignPrivateIpAddresses { .. } => Duration::ZERO,
        }
    }
}

struct Decision {
    effect: Option<Call>,
    answer: Told,
}

enum Told {
    Truth,
    Error(Ec2Error),
    Closed,
    Nothing,
}

fn entry(
    now: Timestamp,
    caller: &Caller,
    request: Request,
    request_id: &str,
    effect: Option<&Effect>,
    answer: &PlannedAnswer,
) -> Entry {
    let outcome = match (effect, answer) {
        (Some(_), _) => Outcome::Pending,
        (None, PlannedAnswer::Error { error, .. }) => {
            Outcome::Refused { code: error.code.to_string() }
        }
        (None, PlannedAnswer::OfEffect | PlannedAnswer::Closed { .. } | PlannedAnswer::Never) => {
            Outcome::Lost
        }
    };
    Entry {
        sequence: 0,
        request_id: request_id.to_owned(),
        caller: caller.clone(),
        action: request.action,
        parameters: request.parameters,
        arrived: now,
        landed: effect.is_none().then_some(now),
        answered: None,
        outcome,
        answer: None,
    }
}

/// What selectors look at.
struct Facts<'a> {
    caller: &'a Caller,
    action: &'a str,
    mutates: bool,
    interfaces: Vec<&'a str>,
    instances: Vec<&'a str>,
}

impl<'a> Facts<'a> {
    fn new(cloud: &'a Cloud, caller: &'a Caller, request: &'a Request) -> Self {
        let (mut interfaces, mut instances) = (Vec::new(), Vec::new());
        match request.call.as_ref().ok().and_then(Call::target) {
            Some(To::Interface(id)) => interfaces.push(id),
            Some(To::Instance(id)) => {
                instances.push(id);
                interfaces.extend(cloud.interfaces_of(id).into_iter().map(String::as_str));
            }
            None => {}
        }
        let calls_from = |interface: &Interface| {
            interface.private_ips.iter().any(|ip| caller.source == Some((*ip).into()))
        };
        let callers = cloud.interfaces.iter().filter(|(_, interface)| calls_from(interface));
        interfaces.extend(callers.map(|(id, _)| id.as_str()));
        let attached = interfaces.iter().filter_map(|id| cloud.interfaces.get(*id));
        instances.extend(attached.filter_map(|interface| interface.instance.as_deref()));
        let action = request.action.as_str();
        Self { caller, action, mutates: request.mutates(), interfaces, instances }
    }

    fn fit(&self, selector: &Selector) -> bool {
        let Selector { access_key, source, interface, instance, action, mutating } = selector;
        access_key.as_ref().is_none_or(|key| self.caller.access_key.as_ref() == Some(key))
            && source.is_none_or(|ip| self.caller.source == Some(ip))
            && interface.as_ref().is_none_or(|id| self.interfaces.contains(&id.as_str()))
            && instance.as_ref().is_none_or(|id| self.instances.contains(&id.as_str()))
            && action.as_ref().is_none_or(|action| self.action == action)
            && mutating.is_none_or(|mutating| self.mutates == mutating)
    }
}

/// A throttle's bucket; it starts full.
#[derive(Clone, Debug)]
struct Bucket {
    throttle: Throttle,
    tokens: f64,
    filled: Option<Timestamp>,
}

impl Bucket {
    fn new(throttle: Throttle) -> Self {
        Self { throttle, tokens: f64::from(throttle.burst), filled: None }
    }

    /// Takes one token, if there is one.
    fn take(&mut self, now: Timestamp) -> bool {
        let elapsed = self.filled.map_or(Duration::ZERO, |filled| now.since(filled));
        self.filled = Some(now);
        let filled = self.tokens + elapsed.as_secs_f64() * self.throttle.per_second;
        self.tokens = filled.min(f64::from(self.throttle.burst));
        let enough = self.tokens >= 1.0;
        if enough {
            self.tokens -= 1.0;
        }
        enough
    }
}
