//! Two manifests, entry by entry: what is only on one side, and what differs in what.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::printable::printable;
use crate::{Entry, EntryName, FileFacts, Manifest};

/// One entry that is not the same on both nodes.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Difference {
    /// The entry.
    pub name: EntryName,
    /// How it is not the same.
    pub kind: Kind,
}

/// How an entry is not the same on both nodes.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "change", content = "aspects")]
pub enum Kind {
    /// This node has it, the other has not.
    OnlyHere,
    /// The other node has it, this one has not.
    OnlyThere,
    /// Both have it.
    Differs(Vec<Aspect>),
}

/// In what an entry differs that both nodes have.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "aspect")]
pub enum Aspect {
    /// It is compared by its hash alone, and nothing else of it is told.
    Hidden,
    /// Its content.
    Content,
    /// It was removed, but the balancer still has it loaded.
    Removed {
        /// On this node.
        here: bool,
        /// On the other.
        there: bool,
    },
    /// Its permission bits.
    Mode {
        /// On this node.
        here: u32,
        /// On the other.
        there: u32,
    },
    /// Its owner.
    Owner {
        /// On this node.
        here: String,
        /// On the other.
        there: String,
    },
    /// Its group.
    Group {
        /// On this node.
        here: String,
        /// On the other.
        there: String,
    },
    /// Where it leads as a symbolic link; absent where it is none.
    Link {
        /// On this node.
        here: Option<String>,
        /// On the other.
        there: Option<String>,
    },
    /// One node's balancer has not loaded what is on its disk.
    Unapplied {
        /// This node's.
        here: bool,
        /// The other's.
        there: bool,
    },
    /// It could not be read, and why.
    Unreadable {
        /// On this node.
        here: Option<String>,
        /// On the other.
        there: Option<String>,
    },
}

/// What is not the same, in the order of the entries' names. Empty: the nodes are equal.
#[must_use]
pub fn compare(own: &Manifest, theirs: &Manifest) -> Vec<Difference> {
    let names: BTreeSet<&EntryName> = own.entries.keys().chain(theirs.entries.keys()).collect();
    let kind = |name: &EntryName| match (own.entries.get(name), theirs.entries.get(name)) {
        (Some(here), None) if is_removed(here) => Some(removed(true, false)),
        (None, Some(there)) if is_removed(there) => Some(removed(false, true)),
        (Some(_), None) => Some(Kind::OnlyHere),
        (None, Some(_)) => Some(Kind::OnlyThere),
        (Some(here), Some(there)) => aspects(here, there).map(Kind::Differs),
        (None, None) => None,
    };
    let difference =
        |name: &EntryName| kind(name).map(|kind| Difference { name: name.clone(), kind });
    names.into_iter().filter_map(difference).collect()
}

/// An entry without facts that is not applied is that of a file which is no longer there.
pub(crate) fn is_removed(entry: &Entry) -> bool {
    entry.unapplied && entry.file.is_none() && entry.problem.is_none()
}

fn removed(here: bool, there: bool) -> Kind {
    Kind::Differs(vec![Aspect::Removed { here, there }])
}

fn aspects(here: &Entry, there: &Entry) -> Option<Vec<Aspect>> {
    if here.digest == there.digest && here.unapplied == there.unapplied {
        return None;
    }
    if is_removed(here) || is_removed(there) {
        let (here, there) = (is_removed(here), is_removed(there));
        return Some(vec![Aspect::Removed { here, there }]);
    }
    if here.digest_only || there.digest_only {
        return Some(vec![Aspect::Hidden]);
    }
    let mut aspects = Vec::new();
    if here.problem.is_some() || there.problem.is_some() {
        let (here, there) = (here.problem.clone(), there.problem.clone());
        return Some(vec![Aspect::Unreadable { here, there }]);
    }
    if here.digest != there.digest {
        if let (Some(here), Some(there)) = (&here.file, &there.file) {
            compare_facts(here, there, &mut aspects);
        }
        if aspects.is_empty() {
            // No file; or the peer's facts are not what its digest is of.
            aspects.push(Aspect::Content);
        }
    }
    if here.unapplied != there.unapplied {
        aspects.push(Aspect::Unapplied { here: here.unapplied, there: there.unapplied });
    }
    Some(aspects)
}

fn compare_facts(here: &FileFacts, there: &FileFacts, aspects: &mut Vec<Aspect>) {
    if here.content != there.content {
        aspects.push(Aspect::Content);
    }
    if here.mode != there.mode {
        aspects.push(Aspect::Mode { here: here.mode, there: there.mode });
    }
    if here.owner != there.owner {
        let (here, there) = (here.owner.clone(), there.owner.clone());
        aspects.push(Aspect::Owner { here, there });
    }
    if here.group != there.group {
        let (here, there) = (here.group.clone(), there.group.clone());
        aspects.push(Aspect::Group { here, there });
    }
    if here.link != there.link {
        let (here, there) = (here.link.clone(), there.link.clone());
        aspects.push(Aspect::Link { here, there });
    }
}

impl EntryName {
    /// What the entry is, in words; safe to print, whoever named it.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::Shared => "the shared part of vipward's own configuration".to_owned(),
            Self::File(path) => format!("file {}", printable(path)),
            Self::Command(command) => format!("output of `{}`", printable(command)),
            Self::Package(package) => format!("package {}", printable(package)),
        }
    }
}

impl Difference {
    /// The difference in one sentence without a full stop; `here` and `there` are the nodes' names.
    #[must_use]
    pub fn sentence(&self, here: &str, there: &str) -> String {
        let name = self.name.words();
        match &self.kind {
            Kind::OnlyHere => format!("{name} is only on {here}"),
            Kind::OnlyThere => format!("{name} is only on {there}"),
            Kind::Differs(aspects) => {
                let told: Vec<String> =
                    aspects.iter().filter_map(|aspect| aspect.words(here, there)).collect();
                if told.is_empty() {
                    format!("{name} differs")
                } else {
                    format!("{name} differs: {}", told.join("; "))
                }
            }
        }
    }
}

impl Aspect {
    /// The aspect in words, safe to print; nothing for what is hidden.
    #[must_use]
    pub fn words(&self, here: &str, there: &str) -> Option<String> {
        Some(match self {
            Self::Hidden => return None,
            Self::Content => "content".to_owned(),
            Self::Removed { here: a, there: b } => {
                format!(
                    "removed, but still loaded by the balancer on {}",
                    which(*a, *b, here, there)
                )
            }
            Self::Mode { here: a, there: b } => {
                format!("mode {a:04o} on {here}, {b:04o} on {there}")
            }
            Self::Owner { here: a, there: b } => {
                format!("owner {} on {here}, {} on {there}", printable(a), printable(b))
            }
            Self::Group { here: a, there: b } => {
                format!("group {} on {here}, {} on {there}", printable(a), printable(b))
            }
            Self::Link { here: a, there: b } => {
                format!("{} on {here}, {} on {there}", link_words(a), link_words(b))
            }
            Self::Unapplied { here: a, there: b } => {
                format!("on disk but not loaded by the balancer on {}", which(*a, *b, here, there))
            }
            Self::Unreadable { here: a, there: b } => {
                let told = [(here, a), (there, b)].map(|(node, problem)| {
                    let problem = problem.as_ref()?;
                    Some(format!("not compared on {node}: {}", printable(problem)))
                });
                told.into_iter().flatten().collect::<Vec<_>>().join("; ")
            }
        })
    }
}

/// The node that it is true of.
fn which<'a>(a: bool, b: bool, here: &'a str, there: &'a str) -> &'a str {
    match (a, b) {
        (true, false) => here,
        (false, true) => there,
        (true, true) | (false, false) => "both",
    }
}

fn link_words(link: &Option<String>) -> String {
    match link {
        Some(text) => format!("a link to {}", printable(text)),
        None => "no link".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Hash;

    fn entry(digest: u8) -> Entry {
        let file = FileFacts {
            content: Hash([digest; 32]),
            mode: 0o644,
            owner: "root".into(),
            group: "root".into(),
            link: None,
        };
        let digest = Hash([digest; 32]);
        Entry {
            digest,
            file: Some(file),
            size: 3,
            digest_only: false,
            unapplied: false,
            problem: None,
        }
    }

    fn with(mut entry: Entry, change: impl FnOnce(&mut Entry)) -> Entry {
        change(&mut entry);
        entry
    }

    fn facts(entry: &mut Entry) -> &mut FileFacts {
        entry.file.as_mut().unwrap()
    }

    fn manifest(entry: Option<Entry>) -> Manifest {
        let name = EntryName::File("/etc/x".to_owned());
        Manifest { entries: entry.into_iter().map(|entry| (name.clone(), entry)).collect() }
    }

    #[test]
    fn says_in_what_an_entry_differs() {
        let removed = || with(entry(1), |entry| (entry.file, entry.unapplied) = (None, true));
        let same_content = |mode| {
            with(entry(2), |entry| {
                (facts(entry).content, facts(entry).mode) = (Hash([1; 32]), mode);
            })
        };
        let table: [(Option<Entry>, Option<Entry>, &[&str]); 16] = [
            (
                Some(entry(1)),
                Some(same_content(0o600)),
                &["file /etc/x differs: mode 0644 on a, 0600 on b"],
            ),
            (
                Some(removed()),
                None,
                &["file /etc/x differs: removed, but still loaded by the balancer on a"],
            ),
            (
                None,
                Some(removed()),
                &["file /etc/x differs: removed, but still loaded by the balancer on b"],
            ),
            (
                Some(removed()),
                Some(entry(1)),
                &["file /etc/x differs: removed, but still loaded by the balancer on a"],
            ),
            (Some(entry(1)), Some(entry(1)), &[]),
            (Some(entry(1)), None, &["file /etc/x is only on a"]),
            (None, Some(entry(1)), &["file /etc/x is only on b"]),
            (Some(entry(1)), Some(entry(2)), &["file /etc/x differs: content"]),
            (
                Some(entry(1)),
                Some(with(entry(2), |entry| facts(entry).mode = 0o600)),
                &["file /etc/x differs: content; mode 0644 on a, 0600 on b"],
            ),
            (
                Some(entry(1)),
                Some(with(entry(2), |entry| facts(entry).owner = "www\x1b".to_owned())),
                &["file /etc/x differs: content; owner root on a, www\\x1b on b"],
            ),
            (
                Some(entry(1)),
                Some(with(entry(2), |entry| facts(entry).group = "adm".to_owned())),
                &["file /etc/x differs: content; group root on a, adm on b"],
            ),
            (
                Some(with(entry(1), |entry| facts(entry).link = Some("../y".to_owned()))),
                Some(entry(2)),
                &["file /etc/x differs: content; a link to ../y on a, no link on b"],
            ),
            (
                Some(with(entry(1), |entry| entry.unapplied = true)),
                Some(entry(1)),
                &["file /etc/x differs: on disk but not loaded by the balancer on a"],
            ),
            (
                Some(with(entry(1), |entry| entry.unapplied = true)),
                Some(with(entry(1), |entry| entry.unapplied = true)),
                &[],
            ),
            (
                Some(with(entry(1), |entry| entry.problem = Some("no permission".to_owned()))),
                Some(with(entry(2), |entry| facts(entry).mode = 0)),
                &["file /etc/x differs: not compared on a: no permission"],
            ),
            (
                Some(with(entry(1), |entry| entry.digest_only = true)),
                Some(with(entry(2), |entry| facts(entry).mode = 0)),
                &["file /etc/x differs"],
            ),
        ];
        for (own, theirs, expected) in table {
            let found = compare(&manifest(own.clone()), &manifest(theirs.clone()));
            let told: Vec<String> = found.iter().map(|found| found.sentence("a", "b")).collect();
            assert_eq!(told, expected, "{own:?} against {theirs:?}");
        }
    }

    #[test]
    fn keeps_the_order_of_the_names() {
        let names = [
            EntryName::Package("nginx".to_owned()),
            EntryName::File("/b".to_owned()),
            EntryName::Shared,
            EntryName::File("/a".to_owned()),
            EntryName::Command("nginx -v".to_owned()),
        ];
        let own = Manifest {
            entries: names.iter().take(3).map(|name| (name.clone(), entry(1))).collect(),
        };
        let theirs =
            Manifest { entries: names.iter().map(|name| (name.clone(), entry(2))).collect() };
        let told: Vec<String> =
            compare(&own, &theirs).iter().map(|found| found.name.words()).collect();
        assert_eq!(
            told,
            [
                "the shared part of vipward's own configuration",
                "file /a",
                "file /b",
                "output of `nginx -v`",
                "package nginx",
            ]
        );
    }
}
