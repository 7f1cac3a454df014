//! A [`DiffDocument`] as a person reads it: a unified diff with the nodes' names in it.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};

use crate::printable::printable;
use crate::{Aspect, ContentDiff, DiffDocument, EntryDiff, EntryName, Hunk, Kind, Side};

const REMOVED: Style = AnsiColor::Red.on_default();
const ADDED: Style = AnsiColor::Green.on_default();
const HUNK: Style = AnsiColor::Cyan.on_default();
const HEADER: Style = Style::new().bold();
const PLAIN: Style = Style::new();

impl DiffDocument {
    /// The document as text, with colours or without. Nothing of what a peer sent reaches a
    /// terminal unescaped.
    #[must_use]
    pub fn paint(&self, colour: bool) -> String {
        let mut page = Page { text: String::new(), colour };
        if self.equal {
            page.line(PLAIN, &format!("{} and {} are equal", self.here, self.there));
        }
        for (index, entry) in self.entries.iter().enumerate() {
            if index > 0 {
                page.line(PLAIN, "");
            }
            self.paint_entry(entry, &mut page);
        }
        page.text
    }

    fn paint_entry(&self, entry: &EntryDiff, page: &mut Page) {
        page.line(HEADER, &entry.sentence);
        let aspects: &[Aspect] = match &entry.difference.kind {
            Kind::Differs(aspects) => aspects,
            Kind::OnlyHere | Kind::OnlyThere => &[],
        };
        for aspect in aspects {
            if let Some((here, there)) = sides(aspect) {
                page.line(REMOVED, &format!("-{here}"));
                page.line(ADDED, &format!("+{there}"));
            }
        }
        match &entry.content {
            ContentDiff::Hidden => {}
            ContentDiff::Same => self.paint_same(aspects, page),
            ContentDiff::Lines { hunks, ignored_here, ignored_there, left_out } => {
                self.paint_names(entry, page);
                hunks.iter().for_each(|hunk| paint_hunk(hunk, page));
                if *left_out > 0 {
                    page.line(HUNK, &format!("… {left_out} more lines are not shown"));
                }
                if ignored_here + ignored_there > 0 {
                    let (here, there) = (&self.here, &self.there);
                    let note = format!(
                        "(not compared: {ignored_here} lines on {here}, {ignored_there} on {there})"
                    );
                    page.line(HUNK, &note);
                }
            }
            ContentDiff::Binary { here, there } => {
                self.paint_sizes("binary contents differ", *here, *there, page);
            }
            ContentDiff::TooLarge { here, there } => {
                self.paint_sizes("the contents are too large to be shown", *here, *there, page);
            }
            ContentDiff::Unavailable { why } => {
                page.line(HUNK, &format!("the lines cannot be shown: {}", printable(why)));
            }
        }
    }

    fn paint_same(&self, aspects: &[Aspect], page: &mut Page) {
        if aspects.contains(&Aspect::Content) {
            page.line(HUNK, "no line differs any more: it changed meanwhile");
        }
    }

    fn paint_names(&self, entry: &EntryDiff, page: &mut Page) {
        let name = match &entry.difference.name {
            EntryName::File(path) => printable(path),
            name @ (EntryName::Shared | EntryName::Command(_) | EntryName::Package(_)) => {
                format!(" {}", name.words())
            }
        };
        let header = |node: &str, absent| {
            if absent { "/dev/null".to_owned() } else { format!("{node}:{name}") }
        };
        let kind = &entry.difference.kind;
        let here = header(&self.here, matches!(kind, Kind::OnlyThere));
        let there = header(&self.there, matches!(kind, Kind::OnlyHere));
        page.line(HEADER, &format!("--- {here}"));
        page.line(HEADER, &format!("+++ {there}"));
    }

    fn paint_sizes(&self, what: &str, here: Option<u64>, there: Option<u64>, page: &mut Page) {
        let size = |node: &str, size: Option<u64>| match size {
            Some(size) => format!("{size} bytes on {node}"),
            None => format!("none on {node}"),
        };
        let sizes = format!("{what}: {}, {}", size(&self.here, here), size(&self.there, there));
        page.line(HUNK, &sizes);
    }
}

/// What a line of its own says of each side.
fn sides(aspect: &Aspect) -> Option<(String, String)> {
    let link = |link: &Option<String>| match link {
        Some(text) => format!("link {}", printable(text)),
        None => "no link".to_owned(),
    };
    match aspect {
        Aspect::Mode { here, there } => {
            Some((format!("mode {here:04o}"), format!("mode {there:04o}")))
        }
        Aspect::Owner { here, there } => {
            Some((format!("owner {}", printable(here)), format!("owner {}", printable(there))))
        }
        Aspect::Group { here, there } => {
            Some((format!("group {}", printable(here)), format!("group {}", printable(there))))
        }
        Aspect::Link { here, there } => Some((link(here), link(there))),
        Aspect::Hidden
        | Aspect::Content
        | Aspect::Removed { .. }
        | Aspect::Unapplied { .. }
        | Aspect::Unreadable { .. } => None,
    }
}

fn paint_hunk(hunk: &Hunk, page: &mut Page) {
    let count = |side| {
        hunk.lines.iter().filter(|line| line.side == side || line.side == Side::Both).count()
    };
    let (here, there) = (count(Side::Here), count(Side::There));
    let range = format!("@@ -{},{here} +{},{there} @@", hunk.here_start, hunk.there_start);
    page.line(HUNK, &range);
    for line in &hunk.lines {
        let (style, sign) = match line.side {
            Side::Both => (PLAIN, ' '),
            Side::Here => (REMOVED, '-'),
            Side::There => (ADDED, '+'),
        };
        page.line(style, &format!("{sign}{}", line.text));
        if line.unended {
            page.line(PLAIN, "\\ No newline at end of file");
        }
    }
}

struct Page {
    text: String,
    colour: bool,
}

impl Page {
    fn line(&mut self, style: Style, text: &str) {
        // The text may come from a document that somebody else wrote.
        let text = printable(text);
        // Writing into a String cannot fail.
        let _ = if self.colour && style != PLAIN {
            writeln!(self.text, "{}{text}{}", style.render(), style.render_reset())
        } else {
            writeln!(self.text, "{text}")
        };
    }
}
