//! What would make this node equal to the master, or why nothing of this kind would.

use std::fmt;
use std::path::Path;

use super::STAGING;
use super::place::Place;
use crate::compare::is_removed;
use crate::read::is_named_as_key;
use crate::{
    Aspect, Difference, Entry, EntryName, FileFacts, Hash, Kind, Manifest, Settings, compare,
};

/// Most files of one pull.
const MOST_FILES: usize = 20_000;
/// Largest file, in bytes.
pub(super) const LARGEST: u64 = 16 << 20;
/// Most bytes of one pull.
const MOST_BYTES: u64 = 256 << 20;
/// Most reasons that a refusal names.
const MOST_REASONS: usize = 5;
/// Deepest path below a pattern's fixed directory.
const DEEPEST: usize = 64;
/// Mode bits that lend a program its owner's rights. None comes from a peer.
const LENT_RIGHTS: u32 = 0o6000;

/// What is to be done to this node's files.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(super) changes: Vec<Change>,
    /// What the other node has; what this one must have in the end.
    pub(super) theirs: Manifest,
    /// What follows from the changes by itself: a command's output, a link's content.
    follows: Vec<EntryName>,
}

/// What is to be done to one file.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) path: String,
    pub(super) place: Place,
    /// What this node has there now.
    pub(super) here: Option<Entry>,
    pub(super) wanted: Action,
}

#[derive(Clone, Debug)]
pub(super) enum Action {
    /// The content that the entry is about, with its mode and owner.
    Write { digest: Hash, size: u64, facts: FileFacts },
    /// A symbolic link to another declared file.
    Link { text: String },
    /// Nothing.
    Remove,
}

impl Change {
    /// The content that it needs from the other node.
    pub(super) fn wanted(&self) -> Option<Wanted> {
        match &self.wanted {
            Action::Write { digest, size, .. } => Some(Wanted {
                name: EntryName::File(self.path.clone()),
                digest: *digest,
                size: *size,
            }),
            Action::Link { .. } | Action::Remove => None,
        }
    }
}

/// A content that is to be fetched, and given to [`super::Staging::add`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Wanted {
    /// The entry.
    pub name: EntryName,
    /// Its digest in the other node's manifest.
    pub digest: Hash,
    /// Its size in bytes.
    pub size: u64,
}

/// Why a pull cannot make the nodes equal, so that nothing of it is done.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refusal {
    /// Entries and reasons: the first few.
    pub reasons: Vec<(EntryName, String)>,
    /// How many there are.
    pub total: usize,
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "a pull cannot make this node equal: ")?;
        for (index, (name, reason)) in self.reasons.iter().enumerate() {
            let comma = if index > 0 { "; " } else { "" };
            write!(formatter, "{comma}{} {reason}", name.words())?;
        }
        match self.total.saturating_sub(self.reasons.len()) {
            0 => Ok(()),
            more => write!(formatter, "; and {more} more"),
        }
    }
}

impl std::error::Error for Refusal {}

impl Plan {
    /// What must change here for `own` to become `theirs`.
    ///
    /// # Errors
    ///
    /// A plan that cannot make the nodes equal is refused as a whole.
    pub fn new(own: &Manifest, theirs: &Manifest, settings: &Settings) -> Result<Self, Refusal> {
        let mut planner =
            Planner { own, theirs, settings, plan: Self::empty(theirs), refused: vec![] };
        let differences = compare(own, theirs);
        for difference in &differences {
            if let Err(reason) = planner.take(difference) {
                planner.refused.push((difference.name.clone(), reason));
            }
        }
        planner.check_whole(&differences);
        planner.finish()
    }

    fn empty(theirs: &Manifest) -> Self {
        Self { changes: Vec::new(), theirs: theirs.clone(), follows: Vec::new() }
    }

    /// What is to be fetched from the other node, in this order or another.
    #[must_use]
    pub fn wanted(&self) -> Vec<Wanted> {
        self.changes.iter().filter_map(Change::wanted).collect()
    }

    /// How many files it writes, links or removes. With none, the balancer has only to load what
    /// is on disk: the stages are the same.
    #[must_use]
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether no file changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Entries that differ too, and are expected to be equal once the files are and the balancer
    /// has loaded them. [`super::Swapped::verify`] tells whether that came true.
    #[must_use]
    pub fn follows(&self) -> &[EntryName] {
        &self.follows
    }
}

struct Planner<'a> {
    own: &'a Manifest,
    theirs: &'a Manifest,
    settings: &'a Settings,
    plan: Plan,
    refused: Vec<(EntryName, String)>,
}

impl Planner<'_> {
    fn take(&mut self, difference: &Difference) -> Result<(), String> {
        match &difference.name {
            EntryName::Shared => Err("is not fetched: copy the file to this node".to_owned()),
            EntryName::Package(_) => Err("is not fetched: install that version".to_owned()),
            EntryName::Command(_) => {
                self.plan.follows.push(difference.name.clone());
                Ok(())
            }
            EntryName::File(path) => self.take_file(path, difference),
        }
    }

    fn take_file(&mut self, path: &str, difference: &Difference) -> Result<(), String> {
        let here = self.own.entries.get(&difference.name);
        let there = self.theirs.entries.get(&difference.name);
        let place = self.place(path)?;
        self.check_entries(path, [here, there])?;
        if is_on_disk(difference) || (there.is_none() && here.is_some_and(is_removed)) {
            // A reload is all.
            self.plan.follows.push(difference.name.clone());
            return Ok(());
        }
        let wanted = match there {
            None => Action::Remove,
            Some(entry) => {
                let facts = entry.file.as_ref().ok_or("has neither mode nor owner there")?;
                match &facts.link {
                    Some(text) => {
                        self.check_target(&place, text)?;
                        if links_to(here, text) {
                            self.plan.follows.push(difference.name.clone());
                            return Ok(());
                        }
                        Action::Link { text: text.clone() }
                    }
                    None => Action::Write {
                        digest: entry.digest,
                        size: entry.size,
                        facts: checked(entry, facts)?.clone(),
                    },
                }
            }
        };
        let here = here.filter(|entry| !is_removed(entry)).cloned();
        self.plan.changes.push(Change { path: path.to_owned(), place, here, wanted });
        Ok(())
    }

    /// Where the file is: beneath the fixed directory of a declared pattern, whatever a peer says.
    fn place(&self, path: &str) -> Result<Place, String> {
        let components = components(path).ok_or("is no plain absolute path")?;
        let root = self.root(path).ok_or("matches no declared pattern")?;
        let fixed = self::components(root).unwrap_or_default();
        let below = components.strip_prefix(fixed.as_slice()).unwrap_or_default();
        let (name, directories) = below.split_last().ok_or("is not below a fixed directory")?;
        if fixed.is_empty() {
            return Err("is declared by a pattern without a fixed directory: name one".to_owned());
        }
        if below.len() > DEEPEST || below.contains(&STAGING) {
            return Err("is no path that is fetched".to_owned());
        }
        let directories = directories.iter().map(|name| (*name).to_owned()).collect();
        Ok(Place { root: format!("/{}", fixed.join("/")), directories, name: (*name).to_owned() })
    }

    /// The fixed directory of the pattern that the path matches.
    fn root(&self, path: &str) -> Option<&str> {
        let path = Path::new(path);
        let files = &self.settings.files;
        let root = files.roots().iter().find(|root| path.starts_with(root));
        let root = root.filter(|_| files.matches(path))?;
        // A pattern may be the path of a file.
        let directory = if root == path { root.parent()? } else { root };
        directory.to_str()
    }

    /// The link on the way to the file, if there is one on either node: behind it, the file lies
    /// elsewhere, and may be out of what is declared.
    fn link_before(&self, path: &str) -> Option<String> {
        let is_link = |name: &EntryName, manifest: &Manifest| {
            let facts = manifest.entries.get(name).and_then(|entry| entry.file.as_ref());
            facts.is_some_and(|facts| facts.link.is_some())
        };
        let above = Path::new(path).ancestors().skip(1).filter_map(Path::to_str);
        let mut names = above.map(|path| EntryName::File(path.to_owned()));
        let link = names.find(|name| is_link(name, self.own) || is_link(name, self.theirs));
        link.map(|name| name.words())
    }

    fn check_entries(&self, path: &str, entries: [Option<&Entry>; 2]) -> Result<(), String> {
        let [here, there] = entries;
        let hidden = entries.into_iter().flatten().any(|entry| entry.digest_only);
        let declared = self.settings.digest_only.matches(Path::new(path));
        if hidden || declared || is_named_as_key(Path::new(path)) {
            let by_hand = if there.is_some() { "copy" } else { "remove" };
            return Err(format!("is touched by no pull: {by_hand} it by hand"));
        }
        if let Some(link) = self.link_before(path) {
            return Err(format!("lies behind a link, {link}"));
        }
        if there.is_some_and(|entry| entry.problem.is_some()) {
            return Err("could not be read there".to_owned());
        }
        if here.is_some_and(|entry| entry.problem.is_some()) {
            return Err("could not be read here".to_owned());
        }
        if there.is_some_and(|entry| entry.unapplied) {
            return Err("is not loaded by the balancer there: reload that first".to_owned());
        }
        if entries.into_iter().flatten().any(|entry| entry.size > LARGEST) {
            return Err(format!("is larger than {LARGEST} bytes"));
        }
        Ok(())
    }

    /// A link may lead to what the other node declares as well, and nowhere else.
    fn check_target(&self, place: &Place, text: &str) -> Result<(), String> {
        let path = place.path();
        let refused =
            || format!("is a link to {}, which no pattern declares there", crate::printable(text));
        let target = resolve(&path, text).ok_or_else(refused)?;
        self.place(&target).map_err(|_| refused())?;
        match self.theirs.entries.get(&EntryName::File(target)) {
            Some(_) => Ok(()),
            None => Err(refused()),
        }
    }

    /// What only all differences together tell.
    fn check_whole(&mut self, differences: &[Difference]) {
        let commands_alone = self.plan.is_empty()
            && differences.iter().all(|found| matches!(found.name, EntryName::Command(_)));
        if commands_alone {
            for name in self.plan.follows.drain(..) {
                self.refused.push((name, "differs, and no file does".to_owned()));
            }
        }
        let bytes: u64 = self.plan.wanted().iter().map(|wanted| wanted.size).sum();
        if let Some(first) = self.plan.changes.first()
            && (self.plan.len() > MOST_FILES || bytes > MOST_BYTES)
        {
            let reason = format!(
                "and others are too much for one pull: {} files, {bytes} bytes",
                self.plan.len()
            );
            self.refused.push((EntryName::File(first.path.clone()), reason));
        }
    }

    fn finish(mut self) -> Result<Plan, Refusal> {
        if self.refused.is_empty() {
            return Ok(self.plan);
        }
        let total = self.refused.len();
        self.refused.truncate(MOST_REASONS);
        Err(Refusal { reasons: self.refused, total })
    }
}

/// Whether the balancer has only to load it, here or there.
fn is_on_disk(difference: &Difference) -> bool {
    let Kind::Differs(aspects) = &difference.kind else { return false };
    aspects.iter().all(|aspect| matches!(aspect, Aspect::Unapplied { .. }))
}

fn checked<'a>(entry: &Entry, facts: &'a FileFacts) -> Result<&'a FileFacts, String> {
    if facts.digest() != entry.digest {
        return Err("has a digest there that is not that of its parts".to_owned());
    }
    if facts.mode & LENT_RIGHTS != 0 || facts.mode > 0o7777 {
        return Err(format!("has mode {:04o} there: copy it by hand", facts.mode));
    }
    Ok(facts)
}

fn links_to(entry: Option<&Entry>, text: &str) -> bool {
    let facts = entry.and_then(|entry| entry.file.as_ref());
    facts.and_then(|facts| facts.link.as_deref()) == Some(text)
}

/// The components of an absolute path that goes down only.
fn components(path: &str) -> Option<Vec<&str>> {
    let plain = |name: &&str| !matches!(*name, "" | "." | "..") && !name.contains('\0');
    let names: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
    (path.len() <= 4096 && names.iter().all(plain)).then_some(names)
}

/// Where a link with this text leads, as far as its text tells.
fn resolve(link: &str, text: &str) -> Option<String> {
    let mut names = if text.starts_with('/') { Vec::new() } else { components(link)? };
    names.pop();
    for name in text.split('/') {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()?),
            name => names.push(name),
        }
    }
    Some(format!("/{}", names.join("/")))
}
