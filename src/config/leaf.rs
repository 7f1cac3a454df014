//! Single values of the file: durations, sizes, commands, and the kinds of string.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// What a string must be, beyond a string. Stands in the schema as `x-kind`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Kind {
    Name,
    Path,
    Url,
    Socket,
    Ip,
    Duration,
    Size,
    InstanceId,
    InterfaceId,
    AllocationId,
}

impl Kind {
    /// What is wrong with `text`, as the end of a sentence, or nothing.
    pub(super) fn fault(self, text: &str) -> Result<(), String> {
        match self {
            Self::Name if is_name(text) => Ok(()),
            Self::Name => Err("is no name: take 1 to 63 letters, digits, '.', '-' or '_', \
                               the first a letter or digit"
                .to_owned()),
            Self::Path if !text.is_empty() && !text.contains('\0') => Ok(()),
            Self::Path => Err("is no path".to_owned()),
            Self::Url => url_fault(text),
            Self::Socket => socket_fault(text),
            Self::Ip => text.parse::<IpAddr>().map(drop).map_err(|_| "is no IP address".to_owned()),
            Self::Duration => text.parse::<Span>().map(drop),
            Self::Size => text.parse::<Size>().map(drop),
            Self::InstanceId => id_fault(text, "i-"),
            Self::InterfaceId => id_fault(text, "eni-"),
            Self::AllocationId => id_fault(text, "eipalloc-"),
        }
    }
}

fn is_name(text: &str) -> bool {
    text.len() <= 63
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
}

fn url_fault(text: &str) -> Result<(), String> {
    let url = text.parse::<hyper::Uri>().map_err(|error| format!("is no URL: {error}"))?;
    match (url.scheme_str(), url.host()) {
        (Some("http" | "https"), Some(host)) if !host.is_empty() => Ok(()),
        _ => Err("is no URL: write it like \"http://127.0.0.1:80/path\"".to_owned()),
    }
}

fn socket_fault(text: &str) -> Result<(), String> {
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() == 0 => Err("has port 0: name a port of 1 to 65535".into()),
        Ok(_) => Ok(()),
        Err(_) => Err("is not IP:port: write it like \"10.0.1.10:7400\" or \
                       \"[2001:db8::10]:7400\" (no host names)"
            .into()),
    }
}

fn id_fault(text: &str, prefix: &str) -> Result<(), String> {
    match text.strip_prefix(prefix) {
        Some(id) if !id.is_empty() && id.chars().all(|c| c.is_ascii_alphanumeric()) => Ok(()),
        Some(_) | None => Err(format!("is no id of that kind: it looks like \"{prefix}0abc\"")),
    }
}

/// A duration, written like "200ms", "1m 30s".
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Span(pub Duration);

impl Span {
    pub(super) const fn from_millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    pub(super) const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        humantime::parse_duration(text).map(Self).map_err(|_| {
            "is no duration: write a number and a unit, like \"200ms\", \"5s\" or \"1m 30s\""
                .to_owned()
        })
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

/// A number of bytes, written like "64MiB".
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Size(pub u64);

const UNITS: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

impl Size {
    pub(super) const fn from_mib(mebibytes: u64) -> Self {
        Self(mebibytes << 20)
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        UNITS
            .iter()
            .find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?.trim_end(), bytes)))
            .and_then(|(number, bytes)| number.parse::<u64>().ok()?.checked_mul(*bytes))
            .map(Self)
            .ok_or_else(|| {
                "is no size: write a whole number and a unit, like \"64MiB\" or \"1GiB\"".to_owned()
            })
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |unit: &&(&str, u64)| self.0 > 0 && self.0.is_multiple_of(unit.1);
        let (unit, bytes) = UNITS.iter().find(fits).unwrap_or(&("B", 1));
        write!(f, "{}{unit}", self.0 / bytes)
    }
}

/// Both are strings in the file; serialising gives each value one spelling.
macro_rules! string_leaf {
    ($type:ident, $kind:expr, $pattern:literal) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern, "x-kind": $kind })
            }
        }
    };
}
string_leaf!(Span, Kind::Duration, "^[0-9.]+ *[a-zµ]+( *[0-9.]+ *[a-zµ]+)*$");
string_leaf!(Size, Kind::Size, "^[0-9]+ *([KMG]iB|[kMG]?B)$");

/// A command: its arguments, or one string to be split into them as a shell would, without any
/// expansion.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum Command {
    /// Program and arguments.
    Argv(#[schemars(length(min = 1))] Vec<String>),
    /// Program and arguments, split at spaces; quotes and backslashes protect.
    Line(#[schemars(length(min = 1))] String),
}

impl Command {
    /// Program and arguments.
    pub(super) fn argv(&self) -> Result<Vec<String>, String> {
        let argv = match self {
            Self::Argv(argv) => argv.clone(),
            Self::Line(line) => shlex::split(line)
                .ok_or("has an unclosed quote or a trailing backslash: close or double it")?,
        };
        match argv.first() {
            None => Err("names no program".to_owned()),
            Some(program) if program.is_empty() => Err("has an empty program name".to_owned()),
            Some(_) if argv.iter().any(|word| word.contains('\0')) => {
                Err("contains a NUL, which no program can be given".to_owned())
            }
            Some(_) => Ok(argv),
        }
    }
}

/// As its arguments, so that both spellings of a command have one digest.
impl Serialize for Command {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.argv().map_err(serde::ser::Error::custom)?.serialize(serializer)
    }
}
