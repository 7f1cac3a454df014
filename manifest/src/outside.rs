//! What a manifest has besides files: handed in by the surroundings, which run the programs.

use std::collections::BTreeMap;

use crate::read::has_private_key;
use crate::settings::Settings;
use crate::{Entry, EntryName, Hash};

/// The most that a command may have printed.
pub const LARGEST_OUTPUT: usize = 1 << 20;

/// What the surroundings know of a node's configuration.
#[derive(Clone, Debug, Default)]
pub struct Outside {
    /// The part of vipward's own configuration that all nodes share.
    pub shared: Shared,
    /// What each command printed, by the command as it is configured.
    pub commands: BTreeMap<String, Outcome<Vec<u8>>>,
    /// The installed version of each package.
    pub packages: BTreeMap<String, Outcome<String>>,
}

/// The part of vipward's own configuration that all nodes share.
#[derive(Clone, Debug, Default)]
pub struct Shared {
    /// What it is compared by.
    pub digest: Hash,
    /// Its canonical text.
    pub text: String,
}

/// What came of a command or a question: or why nothing did, in one sentence ("it did not end
/// within 5 s").
pub type Outcome<T> = Result<T, String>;

impl Outside {
    pub(crate) fn entries(&self, settings: &Settings) -> Vec<(EntryName, Entry)> {
        let size = |length: usize| u64::try_from(length).unwrap_or(u64::MAX);
        let shared = Entry::new(self.shared.digest, size(self.shared.text.len()));
        let mut entries = vec![(EntryName::Shared, shared)];
        for (command, outcome) in &self.commands {
            let name = EntryName::Command(command.clone());
            let entry = match outcome {
                Ok(output) if output.len() > LARGEST_OUTPUT => {
                    let why = format!("it printed more than {} MiB", LARGEST_OUTPUT >> 20);
                    Entry::problem(&settings.node, &name, why)
                }
                Ok(output) => Entry {
                    digest_only: has_private_key(output),
                    ..Entry::new(settings.rules.hash(output), size(output.len()))
                },
                Err(why) => Entry::problem(&settings.node, &name, why.clone()),
            };
            entries.push((name, entry));
        }
        for (package, outcome) in &self.packages {
            let name = EntryName::Package(package.clone());
            let entry = match outcome {
                Ok(version) => Entry::new(Hash::of(version.as_bytes()), size(version.len())),
                Err(why) => Entry::problem(&settings.node, &name, why.clone()),
            };
            entries.push((name, entry));
        }
        entries
    }
}
