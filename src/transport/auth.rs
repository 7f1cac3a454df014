//! The cluster's keys, and what they sign.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac as _};
use sha2::Sha256;

use super::header::Envelope;

/// A key is at least so long.
const KEY_BYTES: usize = 32;

/// The cluster's keys: the first signs, all verify, so that a key can be replaced node by node.
#[derive(Clone)]
pub struct Keys {
    /// Each with its key already absorbed; never empty.
    signer: Hmac<Sha256>,
    others: Vec<Hmac<Sha256>>,
}

/// Never shows a key.
impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({} redacted)", 1 + self.others.len())
    }
}

/// Why a key file cannot be used. Never shows its content.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum KeyError {
    /// No key in it.
    #[error("it has no key; write one with `vipward keygen`")]
    Empty,
    /// Not base64.
    #[error("line {line} is not base64; each line is one key, as `vipward keygen` writes it")]
    NotBase64 {
        /// Counted from 1.
        line: usize,
    },
    /// Fewer than 32 bytes.
    #[error("the key in line {line} has {bytes} bytes, but 32 or more are needed")]
    TooShort {
        /// Counted from 1.
        line: usize,
        /// Its length.
        bytes: usize,
    },
}

impl Keys {
    /// The keys in the text of a key file: one base64 key of 32 bytes or more a line.
    ///
    /// # Errors
    ///
    /// [`KeyError`] with the line.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let mut keys = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line_text = line.trim();
            let line = index + 1;
            if line_text.is_empty() {
                continue;
            }
            let key = STANDARD.decode(line_text).map_err(|_| KeyError::NotBase64 { line })?;
            if key.len() < KEY_BYTES {
                return Err(KeyError::TooShort { line, bytes: key.len() });
            }
            // A key of any length is accepted by HMAC; the error cannot happen.
            let absorbed = Hmac::new_from_slice(&key)
                .map_err(|_| KeyError::TooShort { line, bytes: key.len() })?;
            keys.push(absorbed);
        }
        let mut keys = keys.into_iter();
        let signer = keys.next().ok_or(KeyError::Empty)?;
        Ok(Self { signer, others: keys.collect() })
    }

    /// A new key, as a line of a key file.
    ///
    /// # Errors
    ///
    /// If the operating system gives no random bytes.
    pub fn generate() -> Result<String, getrandom::Error> {
        let mut key = [0; KEY_BYTES];
        getrandom::fill(&mut key)?;
        Ok(STANDARD.encode(key))
    }

    /// Signs a request.
    pub(super) fn sign(&self, scope: &Scope<'_>) -> Mac {
        Mac(scope.absorb(self.signer.clone()).finalize().into_bytes().into())
    }

    /// Whether one of the keys made `mac` for this request.
    pub(super) fn verify(&self, scope: &Scope<'_>, mac: &Mac) -> bool {
        self.all().any(|key| scope.absorb(key.clone()).verify_slice(&mac.0).is_ok())
    }

    /// Signs the answer to the request that `request` authenticated.
    pub(super) fn sign_answer(&self, status: u16, body: &[u8], request: &Mac) -> Mac {
        let key = absorb_answer(self.signer.clone(), status, body, request);
        Mac(key.finalize().into_bytes().into())
    }

    /// Whether one of the keys made `mac` for this answer.
    pub(super) fn verify_answer(&self, status: u16, body: &[u8], request: &Mac, mac: &Mac) -> bool {
        self.all().any(|key| {
            absorb_answer(key.clone(), status, body, request).verify_slice(&mac.0).is_ok()
        })
    }

    fn all(&self) -> impl Iterator<Item = &Hmac<Sha256>> {
        std::iter::once(&self.signer).chain(&self.others)
    }
}

/// All that a request's MAC covers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope<'a> {
    /// `GET` or `POST`.
    pub(super) method: &'a str,
    /// With its query.
    pub(super) path: &'a str,
    /// Who says it to whom.
    pub(super) envelope: &'a Envelope,
    /// What it says.
    pub(super) body: &'a [u8],
}

impl Scope<'_> {
    /// Every field with its length before it, so that no two requests sign alike.
    fn absorb(&self, mut key: Hmac<Sha256>) -> Hmac<Sha256> {
        let envelope = self.envelope;
        let (major, minor) = envelope.version;
        let version = format!("{major}.{minor}");
        let boot = envelope.boot.to_string();
        let to_boot = envelope.to_boot.map_or(String::new(), |boot| boot.to_string());
        let fields: [&[u8]; 12] = [
            b"vipward request",
            version.as_bytes(),
            envelope.cluster.as_bytes(),
            self.method.as_bytes(),
            self.path.as_bytes(),
            self.body,
            envelope.from.as_bytes(),
            envelope.to.as_bytes(),
            &[envelope.link.0],
            boot.as_bytes(),
            to_boot.as_bytes(),
            &envelope.sequence.to_be_bytes(),
        ];
        for field in fields {
            absorb_field(&mut key, field);
        }
        key
    }
}

fn absorb_answer(mut key: Hmac<Sha256>, status: u16, body: &[u8], request: &Mac) -> Hmac<Sha256> {
    let fields: [&[u8]; 4] = [b"vipward answer", &status.to_be_bytes(), body, &request.0];
    for field in fields {
        absorb_field(&mut key, field);
    }
    key
}

fn absorb_field(key: &mut Hmac<Sha256>, field: &[u8]) {
    key.update(&(field.len() as u64).to_be_bytes());
    key.update(field);
}

/// An HMAC-SHA256, in base64 on the wire.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Mac([u8; 32]);

impl Mac {
    /// Reads it from its header.
    pub(super) fn decode(text: &[u8]) -> Option<Self> {
        STANDARD.decode(text).ok()?.try_into().ok().map(Self)
    }

    /// Its header.
    pub(super) fn encode(&self) -> String {
        STANDARD.encode(self.0)
    }
}

#[cfg(test)]
mod tests {
    use vipward_core::{BootId, LinkId};

    use super::*;

    fn envelope() -> Envelope {
        Envelope {
            version: (1, 0),
            cluster: "web".into(),
            from: "a".into(),
            to: "b".into(),
            link: LinkId(0),
            boot: BootId(1),
            to_boot: Some(BootId(2)),
            sequence: 7,
        }
    }

    #[test]
    fn the_mac_covers_every_field() {
        let keys = Keys::parse(&Keys::generate().unwrap()).unwrap();
        let envelope = envelope();
        let scope = Scope { method: "POST", path: "/v1/vote", envelope: &envelope, body: b"{}" };
        let mac = keys.sign(&scope);
        assert!(keys.verify(&scope, &mac));
        let changed = [
            Envelope { version: (1, 1), ..envelope.clone() },
            Envelope { cluster: "web2".into(), ..envelope.clone() },
            Envelope { from: "c".into(), ..envelope.clone() },
            Envelope { from: "ab".into(), to: String::new(), ..envelope.clone() },
            Envelope { to: "c".into(), ..envelope.clone() },
            Envelope { link: LinkId(1), ..envelope.clone() },
            Envelope { boot: BootId(9), ..envelope.clone() },
            Envelope { to_boot: None, ..envelope.clone() },
            Envelope { sequence: 8, ..envelope.clone() },
        ];
        for envelope in &changed {
            assert!(!keys.verify(&Scope { envelope, ..scope }, &mac), "{envelope:?}");
        }
        assert!(!keys.verify(&Scope { method: "GET", ..scope }, &mac));
        assert!(!keys.verify(&Scope { path: "/v1/votes", ..scope }, &mac));
        assert!(!keys.verify(&Scope { body: b"{} ", ..scope }, &mac));
        let answer = keys.sign_answer(200, b"{}", &mac);
        assert!(keys.verify_answer(200, b"{}", &mac, &answer));
        assert!(!keys.verify_answer(409, b"{}", &mac, &answer));
        assert!(!keys.verify_answer(200, b"[]", &mac, &answer));
        assert!(!keys.verify_answer(200, b"{}", &answer, &answer));
    }

    #[test]
    fn the_first_key_signs_and_all_verify() {
        let (old, new) = (Keys::generate().unwrap(), Keys::generate().unwrap());
        let before = Keys::parse(&format!("{old}\n{new}\n")).unwrap();
        let after = Keys::parse(&format!("{new}\n\n{old}\n")).unwrap();
        let only_new = Keys::parse(&new).unwrap();
        let envelope = envelope();
        let scope = Scope { method: "POST", path: "/", envelope: &envelope, body: b"" };
        assert!(after.verify(&scope, &before.sign(&scope)));
        assert!(before.verify(&scope, &after.sign(&scope)));
        assert!(only_new.verify(&scope, &after.sign(&scope)));
        assert!(!only_new.verify(&scope, &before.sign(&scope)));
    }

    #[test]
    fn a_bad_key_file_is_named_by_its_line_and_never_shown() {
        assert_eq!(Keys::parse("\n").unwrap_err(), KeyError::Empty);
        let good = Keys::generate().unwrap();
        let text = format!("{good}\nno key!");
        assert_eq!(Keys::parse(&text).unwrap_err(), KeyError::NotBase64 { line: 2 });
        assert_eq!(Keys::parse("c2hvcnQ=").unwrap_err(), KeyError::TooShort { line: 1, bytes: 5 });
        let shown = format!("{:?}", Keys::parse(&good).unwrap());
        assert_eq!(shown, "Keys(1 redacted)");
    }
}
