//! What is asked of a manifest, and the pages and chunks that answer.
//!
//! A manifest is read by pages, an entry's content by chunks, each within one body of 64 KiB.
//! Every page but the first names the digest of the whole that the first told, and every chunk
//! the entry's, so that nobody pieces two states together. Contents are base64 in JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use vipward_manifest::{Entry, EntryName, Hash, Manifest};

use super::WireError;

/// Where pages are asked for.
const PAGES: &str = "/v1/manifest";
/// Where contents are asked for.
const CONTENTS: &str = "/v1/manifest/entry";

/// No target is longer: it has to fit into a connection's buffer beside the other headers. The
/// longest path of a file does, each of its bytes escaped.
const MAX_TARGET: usize = 14 * 1024;

/// So much of an entry's content fits into one answer.
pub const MAX_CHUNK: usize = 48_000;

/// What a page has besides its entries: less than this.
const FRAME: usize = 256;

/// What a peer asks of a manifest.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Asked {
    /// Entries in order of their names.
    Page {
        /// The digest of the whole that the first page told; absent from the first request.
        of: Option<Hash>,
        /// How many entries were read before.
        start: usize,
    },
    /// A part of an entry's content, before normalisation.
    Chunk {
        /// Which entry.
        name: EntryName,
        /// Its digest in the manifest: another means that it changed.
        digest: Hash,
        /// Where the part begins.
        offset: u64,
    },
}

impl Asked {
    /// Whether requests for `path` ask for a manifest.
    pub(in crate::transport) fn is_path(path: &str) -> bool {
        path == PAGES || path == CONTENTS
    }

    /// Path and query. `None` if the name is too long to be sent.
    pub(in crate::transport) fn target(&self) -> Option<String> {
        let mut query = form_urlencoded::Serializer::new(String::new());
        let path = match self {
            Self::Page { of, start } => {
                if let Some(of) = of {
                    query.append_pair("of", &of.to_string());
                    query.append_pair("start", &start.to_string());
                }
                PAGES
            }
            Self::Chunk { name, digest, offset } => {
                let (kind, name) = match name {
                    EntryName::Shared => ("shared", ""),
                    EntryName::File(path) => ("file", path.as_str()),
                    EntryName::Command(command) => ("command", command.as_str()),
                    EntryName::Package(package) => ("package", package.as_str()),
                };
                query.append_pair("kind", kind);
                query.append_pair("name", name);
                query.append_pair("digest", &digest.to_string());
                query.append_pair("offset", &offset.to_string());
                CONTENTS
            }
        };
        let query = query.finish();
        let target = if query.is_empty() { path.to_owned() } else { [path, "?", &query].concat() };
        (target.len() <= MAX_TARGET).then_some(target)
    }

    /// Reads path and query. `None` if something is missing, said twice, or not what it should
    /// be; what is not known is passed over.
    pub(in crate::transport) fn read(path: &str, query: Option<&str>) -> Option<Self> {
        let mut said = BTreeMap::new();
        for (key, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            if said.insert(key, value).is_some() {
                return None;
            }
        }
        let get = |key: &str| said.get(key).map(AsRef::as_ref);
        let hash = |text: &str| Hash::try_from(text.to_owned()).ok();
        match path {
            PAGES => match (get("of"), get("start")) {
                (None, None) => Some(Self::Page { of: None, start: 0 }),
                (Some(of), Some(start)) => {
                    Some(Self::Page { of: Some(hash(of)?), start: start.parse().ok()? })
                }
                (Some(_), None) | (None, Some(_)) => None,
            },
            CONTENTS => {
                let name = get("name")?.to_owned();
                let name = match get("kind")? {
                    "shared" if name.is_empty() => EntryName::Shared,
                    "file" => EntryName::File(name),
                    "command" => EntryName::Command(name),
                    "package" => EntryName::Package(name),
                    _ => return None,
                };
                let digest = hash(get("digest")?)?;
                Some(Self::Chunk { name, digest, offset: get("offset")?.parse().ok()? })
            }
            _ => None,
        }
    }
}

/// Some entries, in order.
#[derive(Debug, Deserialize)]
pub(in crate::transport) struct Page {
    /// Of the whole manifest.
    pub(in crate::transport) digest: Hash,
    /// How many entries come before these.
    pub(in crate::transport) start: usize,
    pub(in crate::transport) entries: Vec<(EntryName, Entry)>,
    /// Whether there are more after them.
    pub(in crate::transport) more: bool,
}

impl Page {
    /// Writes as many entries from the `start`-th on as one body of `room` bytes has room for.
    /// `None` if it has no room for even one.
    pub(in crate::transport) fn encode(
        manifest: &Manifest,
        digest: Hash,
        start: usize,
        room: usize,
    ) -> Result<Option<Vec<u8>>, WireError> {
        let mut body = Vec::with_capacity(room);
        let head = format!(r#"{{"digest":"{}","start":{start},"entries":["#, digest);
        body.extend_from_slice(head.as_bytes());
        let mut more = false;
        let mut written = 0;
        for entry in manifest.entries.iter().skip(start) {
            let text = serde_json::to_vec(&entry)?;
            if body.len() + text.len() + FRAME > room {
                more = true;
                break;
            }
            if written > 0 {
                body.push(b',');
            }
            body.extend_from_slice(&text);
            written += 1;
        }
        if more && written == 0 {
            return Ok(None);
        }
        let mut tail = String::from("]");
        let _ = write!(tail, r#","more":{more}}}"#); // Writing to a string cannot fail.
        body.extend_from_slice(tail.as_bytes());
        Ok(Some(body))
    }

    pub(in crate::transport) fn decode(body: &[u8]) -> Result<Self, WireError> {
        Ok(serde_json::from_slice(body)?)
    }
}

/// A part of an entry's content.
#[derive(Debug)]
pub(in crate::transport) struct Chunk {
    /// Where it begins.
    pub(in crate::transport) offset: u64,
    /// How long the whole is.
    pub(in crate::transport) total: u64,
    pub(in crate::transport) bytes: Vec<u8>,
}

#[derive(Deserialize, Serialize)]
struct ChunkBody {
    offset: u64,
    total: u64,
    content: String,
}

impl Chunk {
    pub(in crate::transport) fn encode(
        offset: u64,
        total: u64,
        bytes: &[u8],
    ) -> Result<Vec<u8>, WireError> {
        let content = STANDARD.encode(bytes);
        Ok(serde_json::to_vec(&ChunkBody { offset, total, content })?)
    }

    pub(in crate::transport) fn decode(body: &[u8]) -> Result<Self, WireError> {
        let ChunkBody { offset, total, content } = serde_json::from_slice(body)?;
        let bytes = STANDARD.decode(content).map_err(|_| WireError::Content)?;
        Ok(Self { offset, total, bytes })
    }
}

/// Why a page or a chunk is not given.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ManifestRefusal {
    /// There is no such entry, or none any more.
    Gone,
    /// The manifest or the entry is not what the request names any more.
    Changed,
    /// The entry's content never leaves this node.
    DigestOnly,
    /// An entry's name and facts fit into no page, or a content is beyond the bound.
    TooLarge,
    /// Too much is asked at once; later there is room.
    Busy,
    /// Nobody here knows the manifest: it is not read yet, or this node stops.
    Unserved,
}

impl ManifestRefusal {
    const ALL: [Self; 6] =
        [Self::Gone, Self::Changed, Self::DigestOnly, Self::TooLarge, Self::Busy, Self::Unserved];

    /// Its HTTP status.
    pub(in crate::transport) fn status(self) -> u16 {
        match self {
            Self::Gone => 404,
            Self::Changed => 409,
            Self::DigestOnly => 403,
            Self::TooLarge => 413,
            Self::Busy => 429,
            Self::Unserved => 503,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Changed => "changed",
            Self::DigestOnly => "digest-only",
            Self::TooLarge => "too-large",
            Self::Busy => "busy",
            Self::Unserved => "unserved",
        }
    }

    pub(in crate::transport) fn body(self) -> Vec<u8> {
        format!("{{\"refused\":\"{}\"}}", self.word()).into_bytes()
    }

    /// The refusal that an answer is, if it is one of these.
    pub(in crate::transport) fn read(status: u16, body: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.status() == status && it.body() == body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(entries: usize) -> Manifest {
        let entry = |size| Entry {
            digest: Hash([7; 32]),
            file: None,
            size,
            digest_only: false,
            unapplied: false,
            problem: None,
        };
        let name = |index| EntryName::File(format!("/etc/nginx/{index:05}"));
        Manifest { entries: (0..entries).map(|it| (name(it), entry(it as u64))).collect() }
    }

    #[test]
    fn what_is_asked_survives_the_way_whatever_the_name() {
        let hash = Hash([0xab; 32]);
        let long = "/\u{10ffff}".repeat(819);
        let names = ["", "/etc/a b&c=d?e#f%2F+g", "ä\u{0}\n\"", "nginx -T", &long];
        let mut all = vec![
            Asked::Page { of: None, start: 0 },
            Asked::Page { of: Some(hash), start: 17 },
            Asked::Chunk { name: EntryName::Shared, digest: hash, offset: 0 },
        ];
        for name in names.map(str::to_owned) {
            for name in [
                EntryName::File(name.clone()),
                EntryName::Command(name.clone()),
                EntryName::Package(name),
            ] {
                all.push(Asked::Chunk { name, digest: hash, offset: u64::MAX });
            }
        }
        for asked in all {
            let target = asked.target().unwrap();
            let uri: hyper::Uri = target.parse().unwrap();
            assert!(Asked::is_path(uri.path()));
            assert_eq!(Asked::read(uri.path(), uri.query()), Some(asked));
        }
        let name = EntryName::Command("ä".repeat(4_000));
        assert_eq!(Asked::Chunk { name, digest: hash, offset: 0 }.target(), None);
    }

    #[test]
    fn what_is_not_a_question_is_refused() {
        let hash = Hash([1; 32]);
        let chunk = format!("kind=file&name=/a&digest={hash}&offset=");
        let wrong = [
            ("/v1/manifest", "start=0".to_owned()),
            ("/v1/manifest", format!("of={hash}")),
            ("/v1/manifest", format!("of={hash}&start=-1")),
            ("/v1/manifest", format!("of={hash}0&start=1")),
            ("/v1/manifest", format!("of={hash}&start=1&start=2")),
            ("/v1/manifest/entry", String::new()),
            ("/v1/manifest/entry", format!("{chunk}99999999999999999999")),
            ("/v1/manifest/entry", format!("{chunk}0&name=/b")),
            ("/v1/manifest/entry", format!("kind=secret&name=/a&digest={hash}&offset=0")),
            ("/v1/manifest/entry", format!("kind=shared&name=/a&digest={hash}&offset=0")),
            ("/v1/manifest/other", String::new()),
        ];
        for (path, query) in wrong {
            assert_eq!(Asked::read(path, Some(&query)), None, "{path}?{query}");
        }
        let newer = Asked::read("/v1/manifest", Some("colour=blue"));
        assert_eq!(newer, Some(Asked::Page { of: None, start: 0 }));
    }

    #[test]
    fn pages_have_every_entry_once_and_no_page_is_too_long() {
        let (manifest, digest) = (manifest(1_000), Hash([3; 32]));
        let room = 4_096;
        let (mut start, mut read) = (0, Vec::new());
        loop {
            let body = Page::encode(&manifest, digest, start, room).unwrap().unwrap();
            assert!(body.len() <= room);
            let page = Page::decode(&body).unwrap();
            assert_eq!((page.digest, page.start), (digest, start));
            start += page.entries.len();
            read.extend(page.entries);
            if !page.more {
                break;
            }
            assert!(body.len() > room / 2, "a page of {} bytes", body.len());
        }
        assert_eq!(read, manifest.entries.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn the_empty_the_past_and_the_too_large() {
        let page = |manifest: &Manifest, start| Page::encode(manifest, Hash([0; 32]), start, 1_024);
        for (entries, start) in [(0, 0), (3, 3), (3, usize::MAX)] {
            let body = page(&manifest(entries), start).unwrap().unwrap();
            let read = Page::decode(&body).unwrap();
            assert_eq!((read.entries.len(), read.more), (0, false));
        }
        let mut large = manifest(1);
        large.entries.first_entry().unwrap().get_mut().problem = Some("x".repeat(1_024));
        assert!(page(&large, 0).unwrap().is_none());
    }

    #[test]
    fn a_chunk_of_any_bytes_fits_a_body() {
        let bytes: Vec<u8> = (0..=u8::MAX).cycle().take(MAX_CHUNK).collect();
        let body = Chunk::encode(u64::MAX, u64::MAX, &bytes).unwrap();
        assert!(body.len() <= crate::transport::exchange::MAX_BODY);
        let read = Chunk::decode(&body).unwrap();
        assert_eq!((read.offset, read.total, read.bytes), (u64::MAX, u64::MAX, bytes));
        assert!(Chunk::decode(br#"{"offset":0,"total":1,"content":"no base64"}"#).is_err());
    }

    #[test]
    fn every_refusal_is_known_again() {
        for refusal in ManifestRefusal::ALL {
            assert_eq!(ManifestRefusal::read(refusal.status(), &refusal.body()), Some(refusal));
            assert_eq!(ManifestRefusal::read(200, &refusal.body()), None);
        }
        assert_eq!(ManifestRefusal::read(404, b"{}"), None);
    }
}
