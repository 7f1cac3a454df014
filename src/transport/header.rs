//! The headers of a request: who says it to whom, in which lives, over which link.

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use vipward_core::{BootId, LinkId};

use super::auth::Mac;
use super::wire;

const VERSION: HeaderName = HeaderName::from_static("x-vipward-version");
const CLUSTER: HeaderName = HeaderName::from_static("x-vipward-cluster");
const FROM: HeaderName = HeaderName::from_static("x-vipward-from");
const TO: HeaderName = HeaderName::from_static("x-vipward-to");
const LINK: HeaderName = HeaderName::from_static("x-vipward-link");
const BOOT: HeaderName = HeaderName::from_static("x-vipward-boot");
const TO_BOOT: HeaderName = HeaderName::from_static("x-vipward-to-boot");
const SEQUENCE: HeaderName = HeaderName::from_static("x-vipward-sequence");
const MAC: HeaderName = HeaderName::from_static("x-vipward-mac");

/// What follows a sender's name when it is `vipward check` beside no daemon.
const CHECK: &str = "#check";

/// All that the headers say, except the MAC over them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Envelope {
    /// Of the protocol: major, minor.
    pub(super) version: (u16, u16),
    /// The cluster's name.
    pub(super) cluster: String,
    /// The sender's name, or `NAME#check`.
    pub(super) from: String,
    /// The receiver's name.
    pub(super) to: String,
    /// Over which link.
    pub(super) link: LinkId,
    /// The sender's life.
    pub(super) boot: BootId,
    /// The receiver's, as far as the sender knows it.
    pub(super) to_boot: Option<BootId>,
    /// Strictly increasing by sender, its life, and link.
    pub(super) sequence: u64,
}

impl Envelope {
    /// Writes the headers. `None` if a name cannot be in one: it has control characters.
    pub(super) fn write(&self, mac: &Mac, headers: &mut HeaderMap) -> Option<()> {
        let (major, minor) = self.version;
        let texts = [
            (VERSION, format!("{major}.{minor}")),
            (CLUSTER, self.cluster.clone()),
            (FROM, self.from.clone()),
            (TO, self.to.clone()),
            (LINK, self.link.0.to_string()),
            (BOOT, self.boot.to_string()),
            (SEQUENCE, self.sequence.to_string()),
            (MAC, mac.encode()),
        ];
        for (name, text) in texts {
            headers.insert(name, HeaderValue::from_maybe_shared(bytes::Bytes::from(text)).ok()?);
        }
        if let Some(boot) = self.to_boot {
            headers.insert(TO_BOOT, HeaderValue::from_str(&boot.to_string()).ok()?);
        }
        Some(())
    }

    /// Reads the headers. `None` if one is missing or not what it should be.
    pub(super) fn read(headers: &HeaderMap) -> Option<(Self, Mac)> {
        let (major, minor) = text(headers, &VERSION)?.split_once('.')?;
        let to_boot = match headers.get(TO_BOOT) {
            None => None,
            Some(value) => Some(wire::boot(value.to_str().ok()?).ok()?),
        };
        let envelope = Self {
            version: (number(major)?, number(minor)?),
            cluster: text(headers, &CLUSTER)?.to_owned(),
            from: text(headers, &FROM)?.to_owned(),
            to: text(headers, &TO)?.to_owned(),
            link: LinkId(number(text(headers, &LINK)?)?),
            boot: wire::boot(text(headers, &BOOT)?).ok()?,
            to_boot,
            sequence: number(text(headers, &SEQUENCE)?)?,
        };
        Some((envelope, mac(headers)?))
    }

    /// The sender's name, and whether it is only checking.
    pub(super) fn sender(&self) -> (&str, bool) {
        match self.from.strip_suffix(CHECK) {
            Some(name) => (name, true),
            None => (&self.from, false),
        }
    }
}

/// How `vipward check` calls itself beside no daemon of that name.
pub(super) fn checking_name(name: &str) -> String {
    format!("{name}{CHECK}")
}

/// The MAC in the headers of a request or an answer.
pub(super) fn mac(headers: &HeaderMap) -> Option<Mac> {
    Mac::decode(headers.get(MAC)?.as_bytes())
}

/// Puts the MAC of an answer into its headers.
pub(super) fn write_mac(mac: &Mac, headers: &mut HeaderMap) {
    if let Ok(value) = HeaderValue::from_str(&mac.encode()) {
        headers.insert(MAC, value);
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    std::str::from_utf8(headers.get(name)?.as_bytes()).ok()
}

fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}
