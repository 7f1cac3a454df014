//! What is made to go wrong: a document that can be changed at any time.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How many rules a document can have.
const RULES_MAX: usize = 1_000;

/// The longest time that a fault can name.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// All faults in force. Those of a rule come before those that stand alone, and those of a later
/// rule before those of an earlier one; refusals (`deny`) add up.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// The faults of every call.
    #[serde(flatten)]
    pub fault: Fault,
    /// The faults of some calls.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
}

/// The faults of the calls that a selector picks.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rule {
    /// Which calls.
    pub when: Selector,
    /// Only the next so many of them; absent: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<u32>,
    /// What goes wrong with them.
    #[serde(flatten)]
    pub fault: Fault,
}

/// Picks calls: all that is named must fit, and what is absent fits always.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Selector {
    /// The access key id that the caller signs with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_key: Option<String>,
    /// The address that the caller calls from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<IpAddr>,
    /// The interface that the call names, or that has the address of the caller.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// The instance that the call names, or that interface's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// The action, such as `AssociateAddress`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// Whether the call can change something; a dry run cannot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mutating: Option<bool>,
}

/// What goes wrong with a call.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Fault {
    /// How long a call takes until it takes effect and is answered.
    #[serde(with = "duration", skip_serializing_if = "Option::is_none")]
    pub latency: Option<Duration>,
    /// How much later a call takes effect that changes something.
    #[serde(with = "duration", skip_serializing_if = "Option::is_none")]
    pub late_landing: Option<Duration>,
    /// What the caller is told of a call that takes effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<Answer>,
    /// The share of calls, 0 to 1, that are answered with 500 or 503; half of them take effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_rate: Option<f64>,
    /// How many calls are let through; those above are answered `RequestLimitExceeded`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throttle: Option<Throttle>,
    /// How long a change stays invisible to describe calls.
    #[serde(with = "duration", skip_serializing_if = "Option::is_none")]
    pub stale_reads: Option<Duration>,
    /// Calls are accepted and never answered, and have no effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub black_hole: Option<bool>,
    /// The actions that the caller has no permission for; `*` is all of them.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub deny: BTreeSet<String>,
    /// Whether an address that is associated again with its interface keeps its association id:
    /// AWS does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_association: Option<bool>,
}

/// What the caller is told of a call that takes effect.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// The truth, once it took effect.
    #[default]
    Normal,
    /// `InternalError`, after the latency.
    Error,
    /// The connection is closed without an answer, after the latency.
    Closed,
    /// Nothing: the connection stays open.
    Never,
}

/// A token bucket, EC2's own way of limiting calls.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Throttle {
    /// How many calls it lets through at once.
    pub burst: u32,
    /// How many calls a second it lets through for long.
    pub per_second: f64,
}

impl FromStr for Throttle {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not BURST,RATE such as 20,5");
        let (burst, per_second) = text.split_once(',').ok_or_else(wrong)?;
        let burst = burst.trim().parse().map_err(|_| wrong())?;
        let per_second = per_second.trim().parse().map_err(|_| wrong())?;
        let throttle = Self { burst, per_second };
        throttle.validate().map_err(|error| error.to_string())?;
        Ok(throttle)
    }
}

/// Faults that make no sense.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum FaultsError {
    /// Not a share.
    #[error("error_rate is {0}; give a share of calls, 0 to 1")]
    ErrorRate(f64),
    /// Not a rate.
    #[error("throttle has the rate {0}; give calls a second, 0 to 1000000")]
    Rate(f64),
    /// Too long.
    #[error("{key} is {given:?}; give at most 24h")]
    TooLong {
        /// The fault.
        key: &'static str,
        /// Its time.
        given: Duration,
    },
    /// Too many.
    #[error("there are {0} rules; give at most {RULES_MAX}")]
    TooManyRules(usize),
    /// Not the form of a faults document.
    #[error("these are no faults: {0}")]
    Malformed(String),
}

impl Faults {
    /// Reads a document.
    ///
    /// # Errors
    ///
    /// [`FaultsError`] for a key that is not known, and for a value out of its bounds.
    pub fn from_json(text: &[u8]) -> Result<Self, FaultsError> {
        let faults: Self = serde_json::from_slice(text)
            .map_err(|error| FaultsError::Malformed(error.to_string()))?;
        faults.validate()?;
        Ok(faults)
    }

    /// Checks that all values are within their bounds.
    ///
    /// # Errors
    ///
    /// [`FaultsError`], the first of them.
    pub fn validate(&self) -> Result<(), FaultsError> {
        if self.rules.len() > RULES_MAX {
            return Err(FaultsError::TooManyRules(self.rules.len()));
        }
        self.fault.validate()?;
        self.rules.iter().try_for_each(|rule| rule.fault.validate())
    }
}

impl Fault {
    fn validate(&self) -> Result<(), FaultsError> {
        if let Some(rate) = self.error_rate.filter(|rate| !(0.0..=1.0).contains(rate)) {
            return Err(FaultsError::ErrorRate(rate));
        }
        for (key, time) in [
            ("latency", self.latency),
            ("late_landing", self.late_landing),
            ("stale_reads", self.stale_reads),
        ] {
            if let Some(given) = time.filter(|time| *time > LONGEST) {
                return Err(FaultsError::TooLong { key, given });
            }
        }
        self.throttle.map_or(Ok(()), Throttle::validate)
    }

    /// Lets another fault, which comes before this one, take over what it names.
    pub(crate) fn overlay(&mut self, over: &Self) {
        self.latency = over.latency.or(self.latency);
        self.late_landing = over.late_landing.or(self.late_landing);
        self.answer = over.answer.or(self.answer);
        self.error_rate = over.error_rate.or(self.error_rate);
        self.stale_reads = over.stale_reads.or(self.stale_reads);
        self.black_hole = over.black_hole.or(self.black_hole);
        self.keep_association = over.keep_association.or(self.keep_association);
        self.deny.extend(over.deny.iter().cloned());
    }

    /// Whether it does anything to a call that changes nothing.
    pub(crate) fn concerns_reads(&self) -> bool {
        let only_changes = Self {
            late_landing: self.late_landing,
            keep_association: self.keep_association,
            ..Self::default()
        };
        *self != only_changes
    }

    pub(crate) fn denies(&self, action: &str) -> bool {
        self.deny.contains("*") || self.deny.contains(action)
    }
}

impl Throttle {
    fn validate(self) -> Result<(), FaultsError> {
        if (0.0..=1_000_000.0).contains(&self.per_second) {
            Ok(())
        } else {
            Err(FaultsError::Rate(self.per_second))
        }
    }
}

/// Durations as people write them: `200ms`.
mod duration {
    use super::{Deserialize, Deserializer, Duration, Serializer, fmt};

    #[expect(clippy::ref_option, reason = "serde calls it so")]
    pub(super) fn serialize<S: Serializer>(
        duration: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match duration {
            Some(duration) => {
                let text: &dyn fmt::Display = &humantime::format_duration(*duration);
                serializer.collect_str(text)
            }
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
        humantime::parse_duration(&text).map(Some).map_err(|error| {
            serde::de::Error::custom(format!("{text:?} is not a duration such as 200ms: {error}"))
        })
    }
}
