//! The configuration file: text to `RawConfig` to [`Config`].
//!
//! ```text
//!  text ── read ──> RawConfig ── rules ──> Config ── core(me) ──> vipward_core::Config
//!           │ keys, types, bounds   │ between keys
//!           └─────────> Findings <──┘   all errors at once, each with key and line
//! ```
//!
//! * `raw`: the file as written; every key, its meaning and its bounds stand there once.
//! * `schema`: the JSON Schema, made of `raw`. `read`: checks a file against it.
//! * `rules`: the rules between keys, and what is not in this version.
//! * `digest`: what nodes compare. `machine`: what only the machine itself can tell.

mod digest;
mod leaf;
mod machine;
mod problem;
mod raw;
mod read;
mod rules;
mod schema;
mod typed;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

pub use machine::{hostname, machine_problems, port_problems, resolve_auto};
pub use problem::{ConfigErrors, Problem};
pub use schema::schema;
pub use typed::*;

use problem::Findings;

/// The largest file that is read; a full cluster's has a few kilobytes.
const FILE_MAX: u64 = 1 << 20;

/// Reads a configuration. `file_name` is what errors and warnings call it.
///
/// # Errors
///
/// [`ConfigErrors`]: everything wrong with it, each with its key and line.
pub fn parse(text: &str, file_name: &str) -> Result<Config, ConfigErrors> {
    let mut findings = Findings::new(file_name);
    let config = read::read(text, &mut findings).and_then(|raw| rules::apply(&raw, &mut findings));
    if let (Some(config), true) = (config, findings.errors.is_empty()) {
        return Ok(config);
    }
    if findings.errors.is_empty() {
        findings.error("", "is not a whole configuration");
    }
    findings.errors.sort_by_key(Problem::line);
    Err(ConfigErrors(findings.errors))
}

/// Reads the configuration file at `path`.
///
/// # Errors
///
/// [`ConfigErrors`]: that it cannot be read, or everything wrong with it.
pub fn load(path: &Path) -> Result<Config, ConfigErrors> {
    let name = path.display().to_string();
    match text(path) {
        Ok(text) => parse(&text, &name),
        Err(fault) => Err(ConfigErrors(vec![Problem::of_file(&name, fault)])),
    }
}

fn text(path: &Path) -> Result<String, String> {
    let metadata = std::fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err("is no file; name the configuration file itself".to_owned());
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    let length = file.take(FILE_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if u64::try_from(length).unwrap_or(u64::MAX) > FILE_MAX {
        return Err(format!("is larger than {FILE_MAX} bytes; is it the right file?"));
    }
    String::from_utf8(bytes).map_err(|_| "is not UTF-8 text; is it the right file?".to_owned())
}

#[allow(clippy::wildcard_enum_match_arm, reason = "the kinds of I/O errors are an open list")]
fn unreadable(error: io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => {
            "does not exist; name another file with --config, or write one".to_owned()
        }
        io::ErrorKind::PermissionDenied => {
            "may not be read by this user; run as its owner, or let this user read it".to_owned()
        }
        _ => format!("cannot be read: {error}"),
    }
}
