//! Makes a manifest of what the operator named, reading again only what changed.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use crate::applied::{self, Before, Load, Loaded, Running};
use crate::normalise::Rules;
use crate::outside::Outside;
use crate::owners::Owners;
use crate::read::{Content, Reader, Trouble, is_named_as_key};
use crate::settings::Settings;
use crate::stamp::{Meta, Stamp};
use crate::walk::{End, Found, Walk, walk};
use crate::{Entry, EntryName, FileFacts, Hash, Manifest};

/// The bounds of all files together.
const BOUNDS: Bounds = Bounds { files: 20_000, bytes: 1 << 30 };
/// The file system's clock is coarse, and dates a write by its beginning: what changed so recently
/// may change again, or still be changing, and look the same. It is read again the next time.
const SETTLED: Duration = Duration::from_secs(1);
/// Below so many files to read a second thread is not worth its start.
const MANY: usize = 64;

/// Makes manifests, and remembers what it read for the next one.
#[derive(Debug)]
pub struct Scanner {
    settings: Settings,
    known: HashMap<String, Known>,
    /// The balancer's load at the last scan.
    load: Option<Load>,
    scans: u64,
    remarks: Vec<String>,
    bounds: Bounds,
}

/// How much there may be, beyond which it is a problem.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    files: usize,
    bytes: u64,
}

/// What is remembered of a file.
#[derive(Debug)]
struct Known {
    stamp: Stamp,
    /// The stamp tells whether it has changed.
    settled: bool,
    content: Hash,
    length: u64,
    secret: bool,
    loaded: Loaded,
    /// The last scan that saw it.
    seen: u64,
}

impl Scanner {
    /// A scanner that has read nothing yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            known: HashMap::new(),
            load: None,
            scans: 0,
            remarks: Vec::new(),
            bounds: BOUNDS,
        }
    }

    /// Looks at everything, reads what changed since the last time, and puts it together with what
    /// the surroundings know. It takes as long as the disk does; nothing of it is waited for
    /// beyond that.
    pub fn scan(&mut self, outside: &Outside) -> Manifest {
        self.scans += 1;
        // Before the files: one that changes from here on makes for a scan of its own.
        let running = self.settings.pid_file.as_deref().map(applied::running);
        let walk = walk(&self.settings.files, self.bounds.files);
        let mut entries = outside.entries(&self.settings);
        self.remarks =
            walk.missing.iter().map(|root| format!("there is nothing at {root}")).collect();
        let load = match running {
            None => None,
            Some(Running::Since(load)) => Some(load),
            Some(Running::Nothing(why)) => {
                self.remarks.push(why);
                None
            }
            Some(Running::Unknown(why)) => {
                let path = self.settings.pid_file.clone().unwrap_or_default();
                let name = EntryName::File(path.display().to_string());
                let why = format!("it is not known when the balancer loaded its files: {why}");
                entries.push((name.clone(), Entry::problem(&self.settings.node, &name, why)));
                None
            }
        };
        self.add_files(walk, load, &mut entries);
        self.load = load;
        Manifest { entries: entries.into_iter().collect() }
    }

    /// What is no difference, but worth telling the operator, after the last scan.
    #[must_use]
    pub fn remarks(&self) -> &[String] {
        &self.remarks
    }

    /// Whether the balancer was started, stopped or reloaded since the last scan: a reload changes
    /// no file. Cheap enough to ask every second.
    #[must_use]
    pub fn reloaded(&self) -> bool {
        let Some(pid_file) = &self.settings.pid_file else { return false };
        let load = match applied::running(pid_file) {
            Running::Since(load) => Some(load),
            Running::Nothing(_) | Running::Unknown(_) => None,
        };
        load != self.load
    }

    /// What this scanner goes by.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    fn add_files(&mut self, walk: Walk, load: Option<Load>, entries: &mut Vec<(EntryName, Entry)>) {
        #[allow(clippy::disallowed_methods, reason = "a file's time is wall time")]
        let now = SystemTime::now();
        let mut contents = self.read_changed(&walk.found);
        let owners = Owners::read();
        for (at, found) in walk.found.iter().enumerate() {
            let before = self.known.get_mut(&found.path).map(|known| {
                known.seen = self.scans;
                Before { content: known.content, loaded: known.loaded }
            });
            let entry = match (&found.end, contents.remove(&at)) {
                (End::Problem(why), _) => self.problem(&found.path, why.clone()),
                (End::Other(kind, meta), _) => {
                    let facts = facts(Hash::of_parts([kind.as_bytes()]), meta, found, &owners);
                    let gone = before.is_some_and(|before| before.loaded.is_some());
                    let unapplied = gone && load.is_some() && load == self.load;
                    // What is no file has no content to show; where a link leads is shown.
                    Entry { digest_only: found.link.is_none(), unapplied, ..Entry::file(facts, 0) }
                }
                (End::File(_), Some(Err(Trouble::Gone))) => continue,
                (End::File(_), Some(Err(Trouble::Problem(why)))) => self.problem(&found.path, why),
                (End::File(meta), content) => {
                    let mut meta = *meta;
                    if let Some(Ok(content)) = content {
                        meta = content.meta;
                        self.known
                            .insert(found.path.clone(), Known::new(&content, now, self.scans));
                    }
                    let Some(entry) = self.file(found, &meta, before, load, &owners) else {
                        continue;
                    };
                    entry
                }
            };
            entries.push((EntryName::File(found.path.clone()), entry));
        }
        self.forget(load, walk.partial, entries);
    }

    /// The entry of a file whose content is known.
    fn file(
        &mut self,
        found: &Found,
        meta: &Meta,
        before: Option<Before>,
        load: Option<Load>,
        owners: &Owners,
    ) -> Option<Entry> {
        let known = self.known.get_mut(&found.path)?;
        let mut changed = meta.stamp.latest();
        let mut is_key = is_named_as_key(Path::new(&found.path));
        if let Some((target, link)) = &found.link {
            changed = changed.max(link.stamp.latest());
            is_key |= is_named_as_key(Path::new(target));
        }
        if let Some(load) = load {
            known.loaded =
                applied::loaded(known.content, changed, load, before, self.load == Some(load));
        }
        let declared = self.settings.digest_only.matches(Path::new(&found.path));
        let facts = facts(known.content, meta, found, owners);
        Some(Entry {
            digest_only: declared || is_key || known.secret,
            unapplied: load.is_some() && known.loaded != Some(known.content),
            ..Entry::file(facts, known.length)
        })
    }

    /// Forgets what is not there any more; but as long as the balancer has it loaded, it is an
    /// entry that is not applied.
    fn forget(&mut self, load: Option<Load>, partial: bool, entries: &mut Vec<(EntryName, Entry)>) {
        let same_load = load.is_some() && load == self.load;
        let scans = self.scans;
        self.known.retain(|path, known| {
            if known.seen == scans || partial {
                return true;
            }
            let loaded = same_load && known.loaded.is_some();
            if loaded {
                entries.push((EntryName::File(path.clone()), Entry::removed()));
            }
            loaded
        });
    }

    fn problem(&self, path: &str, why: String) -> Entry {
        Entry::problem(&self.settings.node, &EntryName::File(path.to_owned()), why)
    }

    /// Reads the files that may have changed; by their place among the found.
    fn read_changed(&self, found: &[Found]) -> HashMap<usize, Result<Content, Trouble>> {
        let mut contents = HashMap::new();
        let mut changed = Vec::new();
        let mut total = 0;
        for (at, found) in found.iter().enumerate() {
            let End::File(meta) = &found.end else { continue };
            total += meta.stamp.size;
            let is_known = |known: &Known| known.settled && known.stamp == meta.stamp;
            if total > self.bounds.bytes {
                let why = format!("with it, all files have more than {} bytes", self.bounds.bytes);
                contents.insert(at, Err(Trouble::Problem(why)));
            } else if !self.known.get(&found.path).is_some_and(is_known) {
                changed.push((at, Path::new(&found.path)));
            }
        }
        contents.extend(read_all(&changed, &self.settings.rules));
        contents
    }
}

/// Reads files, on two threads if there are many.
fn read_all(files: &[(usize, &Path)], rules: &Rules) -> Vec<(usize, Result<Content, Trouble>)> {
    let next = AtomicUsize::new(0);
    let read = || {
        let mut reader = Reader::new(rules);
        let mut read = Vec::new();
        while let Some((at, path)) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            read.push((*at, reader.read(path)));
        }
        read
    };
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().name("manifest".to_owned());
        // Without a second thread the first reads all.
        let second = (files.len() > MANY).then(|| builder.spawn_scoped(scope, read).ok()).flatten();
        let mut all = read();
        all.extend(second.and_then(|second| second.join().ok()).unwrap_or_default());
        all
    })
}

impl Known {
    fn new(content: &Content, now: SystemTime, seen: u64) -> Self {
        let stamp = content.meta.stamp;
        // A file of the kernel does not tell its size, nor when it changes.
        let ordinary = content.length == stamp.size && stamp.size > 0;
        let settled = ordinary && now.duration_since(stamp.changed).is_ok_and(|age| age > SETTLED);
        let (length, secret) = (content.length, content.secret);
        Self { stamp, settled, content: content.hash, length, secret, loaded: None, seen }
    }
}

fn facts(content: Hash, meta: &Meta, found: &Found, owners: &Owners) -> FileFacts {
    FileFacts {
        content,
        mode: meta.mode,
        owner: owners.user(meta.user),
        group: owners.group(meta.group),
        link: found.link.as_ref().map(|(target, _)| target.clone()),
    }
}

impl Entry {
    pub(crate) fn new(digest: Hash, size: u64) -> Self {
        Self { digest, file: None, size, digest_only: false, unapplied: false, problem: None }
    }

    fn file(facts: FileFacts, size: u64) -> Self {
        Self { file: Some(facts.clone()), ..Self::new(facts.digest(), size) }
    }

    fn removed() -> Self {
        Self { unapplied: true, ..Self::new(Hash::of_parts([&b"removed"[..]]), 0) }
    }

    /// Differs from every other node's, so that nobody is equal by accident.
    pub(crate) fn problem(node: &str, name: &EntryName, why: String) -> Self {
        let what = format!("{name:?}");
        let digest =
            Hash::of_parts([&b"problem"[..], node.as_bytes(), what.as_bytes(), why.as_bytes()]);
        Self { problem: Some(why), digest_only: true, ..Self::new(digest, 0) }
    }
}

#[cfg(test)]
mod tests;
