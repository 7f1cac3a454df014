//! A manifest and its entries: what travels between nodes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A SHA-256. As text, and between nodes: 64 hexadecimal digits.
#[derive(
    Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct Hash(pub [u8; 32]);

/// What an entry is about. Sorted: the shared part first, then files, commands, packages.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EntryName {
    /// The part of vipward's own configuration that all nodes share.
    Shared,
    /// A file, by its absolute path as the patterns found it.
    File(String),
    /// What a command printed, by the command as it is configured.
    Command(String),
    /// The installed version of a package.
    Package(String),
}

/// One part of a node's configuration.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Entry {
    /// Of everything that is compared: content as normalised, mode, owner, link target, problem.
    /// [`FileFacts::digest`] of a file.
    pub digest: Hash,
    /// What else is known of a file. A file that was removed, while the balancer still has it
    /// loaded, is an entry without facts that is `unapplied`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<FileFacts>,
    /// The size of its content in bytes, before normalisation.
    pub size: u64,
    /// Its content never travels: declared so, or a private key, or no file that has a content.
    #[serde(default)]
    pub digest_only: bool,
    /// It is on disk, but the balancer has not loaded it.
    #[serde(default)]
    pub unapplied: bool,
    /// Why it could not be read, in one sentence. It then differs from every other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// What is compared of a file besides its content.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct FileFacts {
    /// Of its content as normalised. What has none (a link that leads nowhere or to a directory,
    /// a socket) has the hash of its kind.
    pub content: Hash,
    /// Permission bits.
    pub mode: u32,
    /// The owner's name, or number where it has none.
    pub owner: String,
    /// The group's name, or number where it has none.
    pub group: String,
    /// Where the path leads, if it is a symbolic link: its text, and what is compared is the
    /// content at its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
}

/// Everything that a node's configuration is made of.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Manifest {
    /// By name.
    pub entries: BTreeMap<EntryName, Entry>,
}
