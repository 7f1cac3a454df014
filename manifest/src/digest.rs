//! What is hashed, and in which order. Two nodes compare these digests and nothing else, so every
//! change here is a new version of the format.

use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::{EntryName, FileFacts, Hash, Manifest};

/// The first thing in each tree digest: the version of this format.
const FORMAT: &[u8] = b"vipward manifest 1\n";

impl Hash {
    /// The hash of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The hash of a list: no two lists have the same, however their parts are cut.
    pub(crate) fn of_parts<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            add(&mut hash, part);
        }
        Self(hash.finalize().into())
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl From<Hash> for String {
    fn from(hash: Hash) -> Self {
        hash.to_string()
    }
}

impl TryFrom<String> for Hash {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        const WRONG: &str = "a hash is 64 hexadecimal digits";
        let mut hash = [0; 32];
        let digits = text.as_bytes();
        if digits.len() != 2 * hash.len() {
            return Err(WRONG);
        }
        for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |at: usize| char::from(pair[at]).to_digit(16).ok_or(WRONG);
            *byte = u8::try_from(digit(0)? << 4 | digit(1)?).map_err(|_| WRONG)?;
        }
        Ok(Self(hash))
    }
}

impl FileFacts {
    /// What a file's entry is compared by. Who receives an entry can check that it is in itself
    /// whole, and then a content against [`FileFacts::content`].
    #[must_use]
    pub fn digest(&self) -> Hash {
        let link = self.link.as_deref().unwrap_or_default();
        Hash::of_parts([
            &self.content.0[..],
            &self.mode.to_le_bytes(),
            self.owner.as_bytes(),
            self.group.as_bytes(),
            &[u8::from(self.link.is_some())],
            link.as_bytes(),
        ])
    }
}

impl Manifest {
    /// The tree digest: what a node is compared by. What is not applied makes it another one.
    ///
    /// Where there is nothing but the shared part of vipward's own configuration, it is that
    /// part's digest: that of a node without `[consistency]`, and of a witness.
    #[must_use]
    pub fn digest(&self) -> Hash {
        if let (1, Some(shared)) = (self.entries.len(), self.entries.get(&EntryName::Shared))
            && !shared.unapplied
        {
            return shared.digest;
        }
        let mut hash = Sha256::new();
        hash.update(FORMAT);
        for (name, entry) in &self.entries {
            let (kind, text) = match name {
                EntryName::Shared => (0, ""),
                EntryName::File(path) => (1, path.as_str()),
                EntryName::Command(command) => (2, command.as_str()),
                EntryName::Package(package) => (3, package.as_str()),
            };
            hash.update([kind]);
            add(&mut hash, text.as_bytes());
            hash.update(entry.digest.0);
            hash.update([u8::from(entry.unapplied)]);
        }
        Hash(hash.finalize().into())
    }

    /// The entries that are on disk but not loaded by the balancer.
    pub fn unapplied(&self) -> impl Iterator<Item = &EntryName> {
        self.entries.iter().filter(|(_, entry)| entry.unapplied).map(|(name, _)| name)
    }

    /// The entries that could not be read, and why.
    pub fn problems(&self) -> impl Iterator<Item = (&EntryName, &str)> {
        self.entries.iter().filter_map(|(name, entry)| Some((name, entry.problem.as_deref()?)))
    }
}

/// Its length first, so that "a" then "bc" is not "ab" then "c".
fn add(hash: &mut Sha256, part: &[u8]) {
    hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
    hash.update(part);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Entry;

    fn entry(digest: u8) -> Entry {
        let digest = Hash([digest; 32]);
        Entry { digest, file: None, size: 0, digest_only: false, unapplied: false, problem: None }
    }

    fn manifest<'a>(entries: impl IntoIterator<Item = &'a (EntryName, Entry)>) -> Manifest {
        Manifest { entries: entries.into_iter().cloned().collect() }
    }

    fn name() -> impl Strategy<Value = EntryName> {
        let text = "/[ab]{0,3}";
        prop_oneof![
            Just(EntryName::Shared),
            text.prop_map(EntryName::File),
            text.prop_map(EntryName::Command),
            text.prop_map(EntryName::Package),
        ]
    }

    /// Distinct names, none of them alone the shared part.
    fn entries() -> impl Strategy<Value = Vec<(EntryName, Entry)>> {
        let entry = (any::<u8>(), any::<bool>())
            .prop_map(|(digest, unapplied)| Entry { unapplied, ..entry(digest) });
        prop::collection::btree_map(name(), entry, 2..8).prop_map(|map| map.into_iter().collect())
    }

    proptest! {
        #[test]
        fn order_does_not_matter(entries in entries()) {
            prop_assert_eq!(manifest(&entries).digest(), manifest(entries.iter().rev()).digest());
        }

        #[test]
        fn any_one_change_matters(entries in entries(), at: prop::sample::Index, new in name()) {
            let before = manifest(&entries).digest();
            let at = at.index(entries.len());

            let mut removed = entries.clone();
            removed.remove(at);
            prop_assert_ne!(before, manifest(&removed).digest());

            let mut changed = entries.clone();
            changed[at].1.digest.0[31] ^= 1;
            prop_assert_ne!(before, manifest(&changed).digest());

            let mut loaded = entries.clone();
            loaded[at].1.unapplied ^= true;
            prop_assert_ne!(before, manifest(&loaded).digest());

            if entries.iter().all(|(name, _)| *name != new) {
                let mut renamed = entries.clone();
                renamed[at].0 = new;
                prop_assert_ne!(before, manifest(&renamed).digest());
            }
        }
    }

    #[test]
    fn the_shared_part_alone_is_its_own_digest() {
        let shared = (EntryName::Shared, entry(7));
        assert_eq!(manifest([&shared]).digest(), Hash([7; 32]));
        let file = (EntryName::File("/a".to_owned()), entry(7));
        assert_ne!(manifest([&file]).digest(), Hash([7; 32]));
        assert_ne!(manifest([&shared, &file]).digest(), Hash([7; 32]));
    }

    #[test]
    fn every_fact_of_a_file_counts() {
        let facts = FileFacts {
            content: Hash([1; 32]),
            mode: 0o644,
            owner: "root".to_owned(),
            group: "www".to_owned(),
            link: None,
        };
        let changed = [
            FileFacts { content: Hash([2; 32]), ..facts.clone() },
            FileFacts { mode: 0o640, ..facts.clone() },
            FileFacts { owner: "rootw".to_owned(), group: "ww".to_owned(), ..facts.clone() },
            FileFacts { group: "root".to_owned(), ..facts.clone() },
            FileFacts { link: Some(String::new()), ..facts.clone() },
        ];
        for other in changed {
            assert_ne!(facts.digest(), other.digest(), "{other:?}");
        }
    }

    #[test]
    fn a_hash_travels_as_hexadecimal_text() {
        let hash = Hash::of(b"vipward");
        let text = String::from(hash);
        assert_eq!((text.len(), Hash::try_from(text)), (64, Ok(hash)));
        for wrong in ["", "0", &"0".repeat(63), &"0".repeat(65), &"x".repeat(64), &"é".repeat(32)]
        {
            assert!(Hash::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
    }
}
