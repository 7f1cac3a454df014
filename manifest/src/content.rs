//! The content of an entry, for a peer that wants to see in what it differs.

use std::path::Path;

use crate::outside::Outside;
use crate::read::{Reader, Trouble};
use crate::settings::Settings;
use crate::{EntryName, Hash, Manifest};

/// Why a content is not told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Refused {
    /// There is no such entry, or not any more.
    Gone,
    /// It is another by now than the one that was asked for.
    Changed,
    /// It never leaves this node.
    DigestOnly,
    /// It has none: a link that leads to a directory or nowhere, or what could not be read; why.
    None(String),
}

/// The content of the entry of this digest, as it is on disk: what the rules drop is still in it.
///
/// Only what the manifest has is read, whatever a peer asks for, and only if it is still what the
/// manifest says. It takes as much memory as the content, at most 16 MiB.
///
/// # Errors
/// Why it is not told.
pub fn content(
    settings: &Settings,
    outside: &Outside,
    manifest: &Manifest,
    name: &EntryName,
    digest: Hash,
) -> Result<Vec<u8>, Refused> {
    let entry = manifest.entries.get(name).ok_or(Refused::Gone)?;
    if entry.digest != digest {
        return Err(Refused::Changed);
    }
    if let Some(problem) = &entry.problem {
        return Err(Refused::None(problem.clone()));
    }
    if entry.digest_only {
        return Err(Refused::DigestOnly);
    }
    match name {
        EntryName::Shared => Ok(outside.shared.text.clone().into_bytes()),
        EntryName::Command(command) => {
            let output = outside.commands.get(command).ok_or(Refused::Gone)?;
            output.clone().map_err(Refused::None)
        }
        EntryName::Package(package) => {
            let version = outside.packages.get(package).ok_or(Refused::Gone)?;
            version.clone().map(String::into_bytes).map_err(Refused::None)
        }
        EntryName::File(path) => {
            let facts = entry.file.as_ref().ok_or(Refused::Gone)?;
            let mut whole = Vec::new();
            let read = Reader::new(&settings.rules).read_into(Path::new(path), Some(&mut whole));
            match read {
                Err(Trouble::Gone) if facts.link.is_none() => Err(Refused::Gone),
                Err(Trouble::Gone) => Err(Refused::None("the link leads nowhere".to_owned())),
                Err(Trouble::Problem(why)) => Err(Refused::None(why)),
                Ok(read) if read.secret => Err(Refused::DigestOnly),
                Ok(read) if read.hash != facts.content => Err(Refused::Changed),
                Ok(_) => Ok(whole),
            }
        }
    }
}
