//! What is wrong with a file, and where.

use std::collections::BTreeMap;
use std::fmt;

/// One thing wrong: the place, and a sentence with the remedy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    file: String,
    line: Option<usize>,
    path: String,
    message: String,
}

impl Problem {
    /// A problem with the file as a whole.
    pub(super) fn of_file(file: &str, message: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line: None, path: String::new(), message: message.into() }
    }

    /// The line of the file, counted from 1; `None` where it concerns the whole file.
    #[must_use]
    pub fn line(&self) -> Option<usize> {
        self.line
    }

    /// The key, like `groups[0].priority.lb-c`; empty where it concerns the whole file.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What is wrong and what to do.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

/// `vipward.toml:12: groups[0].priority.lb-c: no such node; ...`
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.path.is_empty() {
            write!(f, ": {}", self.path)?;
        }
        write!(f, ": {}", self.message)
    }
}

/// Everything wrong with a file, in the order of its lines, so that one edit can mend it all.
///
/// Displayed as one line each, `error: FILE:LINE: KEY: SENTENCE`.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub struct ConfigErrors(pub(super) Vec<Problem>);

impl ConfigErrors {
    /// The problems, at least one.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.0
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            let newline = if index == 0 { "" } else { "\n" };
            write!(f, "{newline}error: {problem}")?;
        }
        Ok(())
    }
}

/// The line of every key in a file.
#[derive(Clone, Debug)]
pub(super) struct Places {
    file: String,
    lines: BTreeMap<String, usize>,
}

impl Places {
    pub(super) fn new(file: &str) -> Self {
        Self { file: file.to_owned(), lines: BTreeMap::new() }
    }

    pub(super) fn insert(&mut self, path: &str, line: usize) {
        self.lines.insert(path.to_owned(), line);
    }

    /// Whether the file has the key.
    pub(super) fn has(&self, path: &str) -> bool {
        self.lines.contains_key(path)
    }

    /// Whether the file has a key in the table.
    pub(super) fn has_below(&self, table: &str) -> bool {
        let below = format!("{table}.");
        self.lines.keys().any(|path| path.starts_with(&below))
    }

    /// The line of the key, or of the nearest table around it that the file has.
    pub(super) fn line(&self, path: &str) -> Option<usize> {
        let mut path = path;
        loop {
            if let Some(line) = self.lines.get(path) {
                return Some(*line);
            }
            if path.is_empty() {
                return None;
            }
            path = &path[..path.rfind(['.', '[']).unwrap_or(0)];
        }
    }

    pub(super) fn problem(&self, path: &str, message: impl Into<String>) -> Problem {
        Problem {
            file: self.file.clone(),
            line: self.line(path),
            path: path.to_owned(),
            message: message.into(),
        }
    }
}

/// What reading a file found so far.
#[derive(Debug)]
pub(super) struct Findings {
    pub(super) places: Places,
    pub(super) errors: Vec<Problem>,
    pub(super) warnings: Vec<Problem>,
}

impl Findings {
    pub(super) fn new(file: &str) -> Self {
        Self { places: Places::new(file), errors: Vec::new(), warnings: Vec::new() }
    }

    pub(super) fn error(&mut self, path: &str, message: impl Into<String>) {
        self.errors.push(self.places.problem(path, message));
    }

    /// An error at a line where no key is known.
    pub(super) fn error_at(&mut self, line: usize, message: impl Into<String>) {
        let mut problem = Problem::of_file(&self.places.file, message);
        problem.line = Some(line);
        self.errors.push(problem);
    }

    pub(super) fn has_error(&self, path: &str) -> bool {
        self.errors.iter().any(|error| error.path == path)
    }

    pub(super) fn warn(&mut self, path: &str, message: impl Into<String>) {
        self.warnings.push(self.places.problem(path, message));
    }
}

/// The path of `key` in the table at `path`, quoted where TOML would quote it.
pub(super) fn join(path: &str, key: &str) -> String {
    let bare =
        !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
    let dot = if path.is_empty() { "" } else { "." };
    if bare { format!("{path}{dot}{key}") } else { format!("{path}{dot}{key:?}") }
}

/// The one of `known` that `word` is a slip of the pen from, if any is close enough.
pub(super) fn closest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = 1 + word.chars().count() / 4;
    let known = known.into_iter().map(|name| (strsim::damerau_levenshtein(word, name), name));
    known.filter(|(distance, _)| (1..=allowed).contains(distance)).min().map(|(_, name)| name)
}

/// ` (did you mean "..."?)` where one of `known` is close to `word`.
pub(super) fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    closest(word, known).map_or_else(String::new, |name| format!(" (did you mean \"{name}\"?)"))
}

/// A list for a sentence: `a`, `a or b`, `a, b or c`.
pub(super) fn either(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [word] => word.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

/// A value of the file for a sentence: quoted, escaped, and not endless.
pub(super) fn shown(text: &str) -> String {
    const LONGEST: usize = 60;
    let cut: String = text.chars().take(LONGEST).collect();
    let dots = if cut.len() < text.len() { "..." } else { "" };
    format!("{cut:?}{dots}")
}
