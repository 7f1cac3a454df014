//! What pages and chunks of a peer may be, and what they make together. No input, no output.

use std::collections::BTreeMap;

use vipward_manifest::{Entry, EntryName, Hash, Manifest};

use super::fetch::FetchProblem;
use super::wire::{Asked, Chunk, Page};

/// A manifest has no more entries: the files that a scan takes, and a few things else.
const MAX_ENTRIES: usize = 20_100;
/// A manifest is no longer, as it travels.
const MAX_MANIFEST: usize = 8 << 20;
/// The content of an entry is no longer.
const MAX_CONTENT: u64 = 16 << 20;

/// A whole manifest of a peer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fetched {
    /// Its digest: the peer tells it, and the entries have it. Worth comparing with what the
    /// peer's heartbeats say.
    pub digest: Hash,
    /// The manifest.
    pub manifest: Manifest,
}

/// Whether something is whole.
#[derive(Debug)]
pub(super) enum Rest<SoFar, Whole> {
    /// There is more to ask for.
    More(SoFar),
    /// It is.
    Done(Whole),
}

/// A manifest that is being read.
#[derive(Debug, Default)]
pub(super) struct Pages {
    /// As the first page told.
    digest: Option<Hash>,
    entries: BTreeMap<EntryName, Entry>,
    bytes: usize,
}

impl Pages {
    /// What is to be asked next.
    pub(super) fn next(&self) -> Asked {
        Asked::Page { of: self.digest, start: self.entries.len() }
    }

    /// Adds a page, which came in so many bytes.
    pub(super) fn add(
        mut self,
        page: Page,
        bytes: usize,
    ) -> Result<Rest<Self, Fetched>, FetchProblem> {
        let Page { digest, start, entries, more } = page;
        if *self.digest.get_or_insert(digest) != digest {
            return wrong("a page is of another manifest than the one before");
        }
        if start != self.entries.len() {
            return wrong("a page begins where none was asked for");
        }
        if more && entries.is_empty() {
            return wrong("a page is empty and yet not the last");
        }
        self.bytes = self.bytes.saturating_add(bytes);
        if self.entries.len().saturating_add(entries.len()) > MAX_ENTRIES {
            return Err(FetchProblem::TooLarge("20,100 entries"));
        }
        if self.bytes > MAX_MANIFEST {
            return Err(FetchProblem::TooLarge("8 MiB"));
        }
        for (name, entry) in entries {
            if self.entries.last_key_value().is_some_and(|(last, _)| *last >= name) {
                return wrong("its entries are repeated or out of order");
            }
            self.entries.insert(name, entry);
        }
        if more {
            return Ok(Rest::More(self));
        }
        let manifest = Manifest { entries: self.entries };
        if manifest.digest() != digest {
            return wrong("its digest is not that of its entries");
        }
        Ok(Rest::Done(Fetched { digest, manifest }))
    }
}

/// A content that is being read.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// How long the whole is, as the first chunk told.
    total: Option<u64>,
    bytes: Vec<u8>,
}

impl Contents {
    /// Where the next chunk begins.
    pub(super) fn offset(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Adds a chunk.
    pub(super) fn add(mut self, chunk: Chunk) -> Result<Rest<Self, Vec<u8>>, FetchProblem> {
        let Chunk { offset, total, bytes } = chunk;
        if offset != self.offset() {
            return wrong("a part begins where none was asked for");
        }
        if *self.total.get_or_insert(total) != total {
            return wrong("its length is another than a part before told");
        }
        if total > MAX_CONTENT {
            return Err(FetchProblem::TooLarge("16 MiB"));
        }
        self.bytes.extend_from_slice(&bytes);
        let read = self.offset();
        if read > total {
            return wrong("it is longer than it tells");
        }
        if bytes.is_empty() && read < total {
            return wrong("a part is empty and yet not the last");
        }
        Ok(if read == total { Rest::Done(self.bytes) } else { Rest::More(self) })
    }
}

fn wrong<T>(what: &str) -> Result<T, FetchProblem> {
    Err(FetchProblem::Wrong(what.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str) -> (EntryName, Entry) {
        let entry = Entry {
            digest: Hash([1; 32]),
            file: None,
            size: 0,
            digest_only: false,
            unapplied: false,
            problem: None,
        };
        (EntryName::File(name.into()), entry)
    }

    fn manifest(names: &[&str]) -> Manifest {
        Manifest { entries: names.iter().map(|name| file(name)).collect() }
    }

    /// Of the manifest of `/b`, `/c` and `/d`.
    fn page(start: usize, names: &[&str], more: bool) -> Page {
        let entries = names.iter().map(|name| file(name)).collect();
        Page { digest: manifest(&["/b", "/c", "/d"]).digest(), start, entries, more }
    }

    fn add(pages: Pages, page: Page) -> Result<Rest<Pages, Fetched>, FetchProblem> {
        pages.add(page, 100)
    }

    fn begun() -> Pages {
        match add(Pages::default(), page(0, &["/b", "/c"], true)) {
            Ok(Rest::More(pages)) => pages,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn pages_make_a_manifest() {
        let (pages, whole) = (begun(), manifest(&["/b", "/c", "/d"]));
        assert_eq!(pages.next(), Asked::Page { of: Some(whole.digest()), start: 2 });
        let Ok(Rest::Done(fetched)) = add(pages, page(2, &["/d"], false)) else { panic!() };
        assert_eq!(fetched, Fetched { digest: whole.digest(), manifest: whole });
        let nothing = Page { digest: manifest(&[]).digest(), ..page(0, &[], false) };
        let nothing = add(Pages::default(), nothing);
        assert!(matches!(nothing, Ok(Rest::Done(_))));
    }

    #[test]
    fn pages_that_do_not_fit_together_are_wrong() {
        let other = Page { digest: Hash([8; 32]), ..page(2, &["/d"], false) };
        let cases = [
            other,
            page(0, &["/d"], false),
            page(3, &["/d"], false),
            page(2, &[], true),
            page(2, &["/c"], false),
            page(2, &["/a"], false),
            page(2, &["/d", "/d"], false),
            page(2, &["/e", "/d"], false),
            page(2, &["/e"], false),
            page(2, &[], false),
        ];
        for page in cases {
            let shown = format!("{page:?}");
            let outcome = add(begun(), page);
            assert!(matches!(outcome, Err(FetchProblem::Wrong(_))), "{shown}: {outcome:?}");
        }
    }

    #[test]
    fn a_manifest_has_bounds() {
        let names: Vec<String> = (0..MAX_ENTRIES).map(|index| format!("/c{index:05}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let full = add(Pages::default(), page(0, &names, true));
        let Ok(Rest::More(full)) = full else { panic!() };
        let beyond = add(full, page(MAX_ENTRIES, &["/d"], false));
        assert!(matches!(beyond, Err(FetchProblem::TooLarge("20,100 entries"))));
        let last = begun().add(page(2, &["/d"], false), MAX_MANIFEST - 100);
        assert!(matches!(last, Ok(Rest::Done(_))));
        let long = begun().add(page(2, &["/d"], false), MAX_MANIFEST - 99);
        assert!(matches!(long, Err(FetchProblem::TooLarge("8 MiB"))));
    }

    #[test]
    fn chunks_make_a_content_and_wrong_ones_none() {
        let chunk = |offset, total, bytes: &[u8]| Chunk { offset, total, bytes: bytes.into() };
        let begun = || match Contents::default().add(chunk(0, 5, b"abc")) {
            Ok(Rest::More(contents)) => contents,
            other => panic!("{other:?}"),
        };
        assert_eq!(begun().offset(), 3);
        let Ok(Rest::Done(bytes)) = begun().add(chunk(3, 5, b"de")) else { panic!() };
        assert_eq!(bytes, b"abcde");
        let Ok(Rest::Done(bytes)) = Contents::default().add(chunk(0, 0, b"")) else { panic!() };
        assert_eq!(bytes, b"");
        for wrong in [
            chunk(2, 5, b"de"),
            chunk(4, 5, b"e"),
            chunk(3, 6, b"de"),
            chunk(3, 5, b"def"),
            chunk(3, 5, b""),
        ] {
            let shown = format!("{wrong:?}");
            assert!(matches!(begun().add(wrong), Err(FetchProblem::Wrong(_))), "{shown}");
        }
        let huge = Contents::default().add(chunk(0, MAX_CONTENT + 1, b"abc"));
        assert!(matches!(huge, Err(FetchProblem::TooLarge("16 MiB"))));
    }
}
