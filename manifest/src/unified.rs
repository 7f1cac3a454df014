//! The differences line by line, as a document: what `vipward diff NODE --json` prints, and what
//! [`crate::paint`] makes text of.
//!
//! Lines that a rule drops are not compared, so they are not shown either: only counted. Line
//! numbers are those of the files as they are.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use similar::{Algorithm, DiffOp, capture_diff_slices_deadline, group_diff_ops};

use crate::lines::{lines, split_break};
use crate::printable::printable_bytes;
use crate::{Aspect, Difference, Kind, Rules};

/// Unchanged lines shown around a change.
const CONTEXT: usize = 3;
/// A content beyond this is not diffed. It is far beyond what a person reads.
const LARGEST: usize = 4 << 20;
/// Most lines shown of one entry.
const MOST_LINES: usize = 2_000;
/// Most lines shown of a document.
const MOST_LINES_IN_ALL: usize = 20_000;
/// Time for one entry; after that the diff gets coarser, but stays right.
const PATIENCE: Duration = Duration::from_millis(500);

/// All differences between two nodes.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct DiffDocument {
    /// The node that was asked.
    pub here: String,
    /// The node that it compared itself with.
    pub there: String,
    /// Whether nothing differs.
    pub equal: bool,
    /// What differs, in the order of the entries' names.
    pub entries: Vec<EntryDiff>,
}

/// One entry that differs.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct EntryDiff {
    /// The entry, and in what it differs.
    #[serde(flatten)]
    pub difference: Difference,
    /// The same in one sentence.
    pub sentence: String,
    /// Its content.
    pub content: ContentDiff,
}

/// What is to be shown of two contents.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "shown")]
pub enum ContentDiff {
    /// Nothing: it is compared by its hash alone.
    Hidden,
    /// Nothing: the contents are the same, but for lines that are not compared.
    Same,
    /// The lines that differ, and some around them.
    Lines {
        /// In order.
        hunks: Vec<Hunk>,
        /// How many lines of this node are not compared.
        ignored_here: usize,
        /// How many of the other node.
        ignored_there: usize,
        /// How many further lines are not shown, because there are too many.
        left_out: usize,
    },
    /// Binary contents that differ.
    Binary {
        /// Size in bytes on this node.
        here: Option<u64>,
        /// On the other.
        there: Option<u64>,
    },
    /// Contents that are too large to be shown.
    TooLarge {
        /// Size in bytes on this node.
        here: Option<u64>,
        /// On the other.
        there: Option<u64>,
    },
    /// A content that could not be had, and why.
    Unavailable {
        /// In one sentence.
        why: String,
    },
}

/// Lines that belong together. Numbers count from 1, as in a unified diff; a side without lines
/// has the number of the line before.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Hunk {
    /// Number of the first line on this node.
    pub here_start: usize,
    /// Number of the first line on the other.
    pub there_start: usize,
    /// The lines.
    pub lines: Vec<HunkLine>,
}

/// One line of a hunk. Its text is safe to print.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct HunkLine {
    /// Where it is.
    pub side: Side,
    /// Its text, without the line break, control characters shown as escapes.
    pub text: String,
    /// It is the last of a file that does not end with a line break.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unended: bool,
}

/// On which node a line is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// On both.
    Both,
    /// On this node only.
    Here,
    /// On the other only.
    There,
}

/// The contents of an entry, as far as they could be had; none on a side that has no such entry.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    /// On this node.
    pub here: Option<Vec<u8>>,
    /// On the other.
    pub there: Option<Vec<u8>>,
}

/// The two nodes of a document, and their rules.
pub struct Nodes<'a> {
    /// This node's name.
    pub here: &'a str,
    /// The other node's.
    pub there: &'a str,
    /// Which lines this node drops.
    pub own: &'a Rules,
    /// Which lines the other drops: the same rules with its own variables.
    pub theirs: &'a Rules,
}

impl DiffDocument {
    /// A document without entries yet: the nodes are equal.
    #[must_use]
    pub fn new(nodes: &Nodes<'_>) -> Self {
        let (here, there) = (nodes.here.to_owned(), nodes.there.to_owned());
        Self { here, there, equal: true, entries: Vec::new() }
    }

    /// Adds what differs in an entry. `contents` is an error in one sentence where one of them
    /// was wanted (see [`Difference::wants_content`]) and could not be had.
    pub fn add(
        &mut self,
        nodes: &Nodes<'_>,
        difference: Difference,
        contents: Result<Contents, String>,
    ) {
        let shown: usize = self.entries.iter().map(|entry| entry.content.line_count()).sum();
        let room = MOST_LINES.min(MOST_LINES_IN_ALL.saturating_sub(shown));
        let content = match contents {
            _ if difference.is_hidden() => ContentDiff::Hidden,
            Ok(contents) => diff(nodes, &contents, room),
            Err(why) => ContentDiff::Unavailable { why: printable_bytes(why.as_bytes()) },
        };
        let sentence = difference.sentence(nodes.here, nodes.there);
        self.equal = false;
        self.entries.push(EntryDiff { difference, sentence, content });
    }
}

impl Difference {
    /// Whether it is compared by its hash alone.
    #[must_use]
    pub fn is_hidden(&self) -> bool {
        matches!(&self.kind, Kind::Differs(aspects) if aspects.contains(&Aspect::Hidden))
    }

    /// Whether its contents, on the sides that have the entry, help to show it.
    #[must_use]
    pub fn wants_content(&self) -> bool {
        match &self.kind {
            Kind::OnlyHere | Kind::OnlyThere => true,
            Kind::Differs(aspects) => {
                let shows =
                    |aspect: &Aspect| matches!(aspect, Aspect::Content | Aspect::Removed { .. });
                aspects.iter().any(shows)
            }
        }
    }
}

impl ContentDiff {
    fn line_count(&self) -> usize {
        match self {
            Self::Lines { hunks, .. } => hunks.iter().map(|hunk| hunk.lines.len()).sum(),
            Self::Hidden
            | Self::Same
            | Self::Binary { .. }
            | Self::TooLarge { .. }
            | Self::Unavailable { .. } => 0,
        }
    }
}

/// A line that is compared, and where it is in its file.
#[derive(Clone, Copy)]
struct Numbered<'a> {
    number: usize,
    line: &'a [u8],
}

impl PartialEq for Numbered<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.line == other.line
    }
}
impl Eq for Numbered<'_> {}
impl std::hash::Hash for Numbered<'_> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.line.hash(state);
    }
}

/// The lines that are compared, and how many are not.
fn compared<'a>(content: &'a [u8], rules: &Rules) -> (Vec<Numbered<'a>>, usize) {
    let mut ignored = 0;
    let mut kept = Vec::new();
    for (index, line) in lines(content).enumerate() {
        if rules.drops(line) {
            ignored += 1;
        } else {
            kept.push(Numbered { number: index + 1, line });
        }
    }
    (kept, ignored)
}

// The diff's deadline is of the library's making; nothing is decided by it.
#[allow(clippy::disallowed_methods)]
fn diff(nodes: &Nodes<'_>, contents: &Contents, room: usize) -> ContentDiff {
    let size = |content: &Option<Vec<u8>>| content.as_ref().map(|content| content.len() as u64);
    let (here_size, there_size) = (size(&contents.here), size(&contents.there));
    let here = contents.here.as_deref().unwrap_or_default();
    let there = contents.there.as_deref().unwrap_or_default();
    if here == there {
        return ContentDiff::Same;
    }
    if here.contains(&0) || there.contains(&0) {
        return ContentDiff::Binary { here: here_size, there: there_size };
    }
    if here.len() > LARGEST || there.len() > LARGEST {
        return ContentDiff::TooLarge { here: here_size, there: there_size };
    }
    let (here, ignored_here) = compared(here, nodes.own);
    let (there, ignored_there) = compared(there, nodes.theirs);
    if here == there {
        return ContentDiff::Same;
    }
    let deadline = Instant::now() + PATIENCE;
    let operations = capture_diff_slices_deadline(Algorithm::Myers, &here, &there, Some(deadline));
    let mut room = room;
    let mut left_out = 0;
    let mut hunks = Vec::new();
    for group in group_diff_ops(operations, CONTEXT) {
        let mut hunk = hunk(&group, &here, &there);
        let shown = hunk.lines.len().min(room);
        left_out += hunk.lines.len() - shown;
        room -= shown;
        hunk.lines.truncate(shown);
        if shown > 0 {
            hunks.push(hunk);
        }
    }
    ContentDiff::Lines { hunks, ignored_here, ignored_there, left_out }
}

fn hunk(group: &[DiffOp], here: &[Numbered<'_>], there: &[Numbered<'_>]) -> Hunk {
    let mut lines = Vec::new();
    let mut push = |side, numbered: &[Numbered<'_>]| {
        lines.extend(numbered.iter().map(|numbered| {
            let (text, line_break) = split_break(numbered.line);
            HunkLine { side, text: printable_bytes(text), unended: line_break.is_empty() }
        }));
    };
    for operation in group {
        let (old, new) = (operation.old_range(), operation.new_range());
        if matches!(operation, DiffOp::Equal { .. }) {
            push(Side::Both, here.get(old).unwrap_or_default());
        } else {
            push(Side::Here, here.get(old).unwrap_or_default());
            push(Side::There, there.get(new).unwrap_or_default());
        }
    }
    let start = |lines: &[Numbered<'_>], ranges: fn(&DiffOp) -> std::ops::Range<usize>| {
        let range = group.iter().map(ranges).find(|range| !range.is_empty());
        let first = range.and_then(|range| lines.get(range.start));
        let before = || {
            let index = group.first().map_or(0, |operation| ranges(operation).start);
            index.checked_sub(1).and_then(|index| lines.get(index)).map_or(0, |line| line.number)
        };
        first.map_or_else(before, |line| line.number)
    };
    let here_start = start(here, DiffOp::old_range);
    let there_start = start(there, DiffOp::new_range);
    Hunk { here_start, there_start, lines }
}

#[cfg(test)]
#[path = "unified_tests.rs"]
mod tests;
