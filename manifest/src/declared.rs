//! The declared rules of a node, as comparing, showing and repairing ask for them.

use std::path::Path;

use crate::rules::Rules;
use crate::settings::Settings;
use crate::{FileFacts, Hash};

impl Rules for Settings {
    fn root_of(&self, path: &str) -> Option<String> {
        self.files.root_of(Path::new(path)).map(|root| root.display().to_string())
    }

    fn is_digest_only(&self, path: &str) -> bool {
        let path = Path::new(path);
        crate::read::is_named_as_key(path) || self.digest_only.matches(path)
    }

    fn drops(&self, line: &[u8]) -> bool {
        self.rules.drops(line)
    }

    fn digest(&self, content: &[u8], facts: &FileFacts) -> Hash {
        FileFacts { content: self.rules.hash(content), ..facts.clone() }.digest()
    }
}
