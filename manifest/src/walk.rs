//! Finds the files that the patterns name, and reads nothing of them.
//!
//! Symbolic links are followed, to files and to directories: what the balancer would read is what
//! is compared. A link that leads to a directory, or nowhere, is an entry of its own as well, so
//! that where it leads is compared and shown. Everything is bounded, and what lies beyond a bound
//! is a problem with a name.

use std::io;
use std::path::Path;

use rustix::io::Errno;
use walkdir::{DirEntry, WalkDir};

use crate::patterns::Patterns;
use crate::stamp::Meta;

/// The most names that are looked at, files or not, until the patterns are said to be too wide.
const MOST_NAMES: usize = 200_000;
/// How deep below the fixed beginning of a pattern.
const DEEPEST: usize = 32;

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Walk {
    /// By path.
    pub(crate) found: Vec<Found>,
    /// Beginnings of patterns where nothing is.
    pub(crate) missing: Vec<String>,
    /// Something could not be looked at: what is not among the found may be there all the same.
    pub(crate) partial: bool,
    names: usize,
    most: usize,
}

/// A path that is an entry.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) path: String,
    /// If it is a symbolic link: its text, and the link's own facts.
    pub(crate) link: Option<(String, Meta)>,
    pub(crate) end: End,
}

/// What a path leads to.
#[derive(Debug)]
pub(crate) enum End {
    /// A file with a content.
    File(Meta),
    /// Something without one, and what it is.
    Other(&'static str, Meta),
    /// It could not be looked at, and why.
    Problem(String),
}

/// Finds the files that the patterns name, up to so many.
pub(crate) fn walk(patterns: &Patterns, most: usize) -> Walk {
    let mut walk = Walk { most, ..Walk::default() };
    for root in patterns.roots() {
        if walk.below(root, patterns).is_none() {
            break;
        }
    }
    walk.found.sort_by(|a, b| a.path.cmp(&b.path));
    walk
}

/// Goes through all that is below a path, links followed, none twice on one way.
fn entries(root: &Path) -> walkdir::IntoIter {
    // Each directory on the way down is kept open: otherwise a whole listing would be kept in
    // memory instead, however long.
    WalkDir::new(root).follow_links(true).max_depth(DEEPEST).max_open(DEEPEST + 1).into_iter()
}

/// Tells each directory in which something may match, and each directory that a link leads to.
/// It ends when `tell` says so.
pub(crate) fn directories(patterns: &Patterns, mut tell: impl FnMut(&Path) -> bool) {
    for root in patterns.roots() {
        let mut entries = entries(root);
        let mut names = 0;
        while let Some(entry) = entries.next() {
            names += 1;
            if names > MOST_NAMES {
                return;
            }
            // What cannot be entered cannot be watched; the walk for the manifest says so.
            let Ok(entry) = entry else { continue };
            if entry.file_type().is_dir() {
                if !patterns.may_hold(entry.path()) {
                    entries.skip_current_dir();
                } else if !tell(entry.path()) {
                    return;
                }
            } else if entry.path_is_symlink()
                && let Ok(end) = entry.path().canonicalize()
                && let Some(directory) = end.parent()
                && !tell(directory)
            {
                return;
            }
        }
    }
}

impl Walk {
    /// `None` when a bound was met and it makes no sense to go on.
    fn below(&mut self, root: &Path, patterns: &Patterns) -> Option<()> {
        let mut entries = entries(root);
        while let Some(entry) = entries.next() {
            self.names += 1;
            if self.names > MOST_NAMES {
                let sentence = format!("there are more than {MOST_NAMES} names to look at");
                return self.stop(root, &sentence);
            }
            if self.found.len() >= self.most {
                let sentence = format!("more than {} files match", self.most);
                return self.stop(root, &sentence);
            }
            match entry {
                Ok(entry) => {
                    let is_directory = entry.file_type().is_dir();
                    let enter = is_directory && patterns.may_hold(entry.path());
                    if is_directory && !enter {
                        entries.skip_current_dir();
                    }
                    self.entry(&entry, patterns);
                    if enter && entry.depth() == DEEPEST {
                        let sentence = format!(
                            "it is deeper than {DEEPEST} directories below {}",
                            root.display()
                        );
                        self.problem(entry.path(), sentence);
                    }
                }
                Err(error) => self.error(&error, root, patterns),
            }
        }
        Some(())
    }

    fn stop(&mut self, root: &Path, sentence: &str) -> Option<()> {
        self.problem(root, format!("{sentence}: narrow the patterns, or leave some out by `!`"));
        None
    }

    fn entry(&mut self, entry: &DirEntry, patterns: &Patterns) {
        let kind = entry.file_type();
        let linked = entry.path_is_symlink();
        if (kind.is_dir() && !linked) || !patterns.matches(entry.path()) {
            return;
        }
        let meta = match entry.metadata() {
            Ok(metadata) => Meta::from(&metadata),
            Err(error) => return self.error(&error, entry.path(), patterns),
        };
        use std::os::unix::fs::FileTypeExt as _;
        let end = match kind {
            kind if kind.is_file() => End::File(meta),
            kind if kind.is_dir() => End::Other("a directory", meta),
            kind if kind.is_fifo() => End::Other("a named pipe", meta),
            kind if kind.is_socket() => End::Other("a socket", meta),
            _ => End::Other("a device", meta),
        };
        self.found(entry.path(), linked, end);
    }

    fn error(&mut self, error: &walkdir::Error, root: &Path, patterns: &Patterns) {
        let path = error.path().unwrap_or(root);
        let code = error.io_error().and_then(io::Error::raw_os_error);
        let absent = [Errno::NOENT, Errno::NOTDIR, Errno::LOOP].map(Errno::raw_os_error);
        let leads_back = error.loop_ancestor().is_some();
        if !leads_back && !code.is_some_and(|code| absent.contains(&code)) {
            let what = error.io_error().map_or_else(|| error.to_string(), ToString::to_string);
            return self.problem(path, format!("it could not be read: {what}"));
        }
        match path.symlink_metadata() {
            Ok(metadata) if metadata.is_symlink() => {
                // One that leads back to a directory above it adds nothing below itself.
                let kind = if leads_back { "a directory" } else { "nothing" };
                if patterns.matches(path) {
                    self.found(path, true, End::Other(kind, Meta::from(&metadata)));
                }
            }
            Ok(_) => {} // It was away for a moment; the change makes for another scan.
            Err(_) if path == root => self.missing.push(root.display().to_string()),
            Err(_) => {} // It was removed meanwhile.
        }
    }

    fn problem(&mut self, path: &Path, sentence: String) {
        self.partial = true;
        self.found(path, false, End::Problem(sentence));
    }

    fn found(&mut self, path: &Path, linked: bool, end: End) {
        let Some(text) = path.to_str() else {
            let sentence =
                "its name is not UTF-8: rename it, or leave it out by a pattern with `!`";
            let path = path.as_os_str().as_encoded_bytes().escape_ascii().to_string();
            return self.found.push(Found {
                path,
                link: None,
                end: End::Problem(sentence.to_owned()),
            });
        };
        let link = match linked.then(|| link(path)).transpose() {
            Ok(link) => link,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => {
                let end = End::Problem(format!("the link could not be read: {error}"));
                return self.found.push(Found { path: text.to_owned(), link: None, end });
            }
        };
        self.found.push(Found { path: text.to_owned(), link, end });
    }
}

fn link(path: &Path) -> io::Result<(String, Meta)> {
    let target = path.read_link()?;
    // One that is not UTF-8 is shown escaped.
    let text = target.to_str().map_or_else(
        || target.as_os_str().as_encoded_bytes().escape_ascii().to_string(),
        ToOwned::to_owned,
    );
    Ok((text, Meta::from(&path.symlink_metadata()?)))
}
