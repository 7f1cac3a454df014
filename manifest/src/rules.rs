//! What comparing, showing and repairing ask of the declared rules. They do not read the rules
//! themselves: whoever scans knows them, so that a line that is dropped there is dropped here.

use crate::{FileFacts, Hash};

/// The rules of `[consistency]`, with the variables (name, links) of one node in them.
pub trait Rules: Send + Sync {
    /// The fixed directory of the pattern that `path` matches, for example `/etc/nginx`, where
    /// `path` lies below. None: no pattern matches, the file is none of ours.
    fn root_of(&self, path: &str) -> Option<String>;

    /// Whether the content of this file must not travel, whatever it is.
    fn is_digest_only(&self, path: &str) -> bool;

    /// Whether a line, given without its line break, is dropped before hashing.
    fn drops(&self, line: &[u8]) -> bool;

    /// The digest that the entry of a file with this content and these facts has.
    fn digest(&self, content: &[u8], facts: &FileFacts) -> Hash;
}

/// The lines of a content, each with its line break; the last may have none.
pub(crate) fn lines(content: &[u8]) -> impl Iterator<Item = &[u8]> {
    content.split_inclusive(|byte| *byte == b'\n')
}

/// A line without its line break, and the break.
pub(crate) fn split_break(line: &[u8]) -> (&[u8], &[u8]) {
    match line {
        [text @ .., b'\n'] => (text, b"\n"),
        text => (text, b""),
    }
}
