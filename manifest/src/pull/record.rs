//! The durable record of a pull: what is being changed, and how far it has come.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::place::{Identity, Place};
use super::step::step;
use super::{PullError, STAGING};

/// Version of the record's format.
const FORMAT: u32 = 1;

/// How far a pull has come; on disk before what it tells begins.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Stage {
    /// Files are written beside; nothing is changed.
    Staging,
    /// Files are being exchanged, or were.
    Swapping,
    /// The balancer was told to load the new ones, or is about to be.
    Reloading,
    /// The new ones stay.
    Committed,
    /// Old or new, the tree is whole; what lies beside is being removed.
    Clearing,
    /// As [`Self::Clearing`]; the tree is the old one, and the balancer may have loaded the new.
    ClearingOwed,
    /// All is removed; the balancer has yet to load the old tree again.
    Owed,
}

/// A change of one file.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Step {
    pub(super) place: Place,
    /// Its name in the staging directory.
    pub(super) slot: String,
    /// What was there, if anything.
    pub(super) old: Option<Identity>,
    /// What is to be there, if anything.
    pub(super) new: Option<Identity>,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Record {
    format: u32,
    pub(super) stage: Stage,
    /// Where the staging directories are.
    pub(super) roots: Vec<String>,
    /// Directories that are made, parents first.
    pub(super) made: Vec<Place>,
    pub(super) steps: Vec<Step>,
}

/// Where vipward keeps records and earlier files.
#[derive(Clone, Debug)]
pub(super) struct Shelf(PathBuf);

impl Record {
    pub(super) fn new(roots: Vec<String>) -> Self {
        Self { format: FORMAT, stage: Stage::Staging, roots, made: Vec::new(), steps: Vec::new() }
    }
}

impl Shelf {
    /// Below the state directory.
    pub(super) fn of(state: &Path) -> Self {
        Self(state.join("pull"))
    }

    pub(super) fn make(&self) -> Result<(), PullError> {
        let failed = |error| PullError::failed(format!("cannot make {}", self.0.display()), error);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0).map_err(failed)
    }

    fn file(&self) -> PathBuf {
        self.0.join("record.json")
    }

    /// The record, if a pull was not finished.
    pub(super) fn load(&self) -> Result<Option<Record>, PullError> {
        let file = self.file();
        let text = match fs::read(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(PullError::torn(format!("cannot read {}", file.display()), error));
            }
        };
        let broken = |error: io::Error| {
            let what = format!(
                "{} is not readable as the record of a pull; \
                 compare the files, {STAGING} beside them, and remove it",
                file.display()
            );
            PullError::torn(what, error)
        };
        let record: Record = serde_json::from_slice(&text).map_err(|error| broken(error.into()))?;
        if record.format != FORMAT {
            return Err(broken(io::Error::other(format!("format {}", record.format))));
        }
        Ok(Some(record))
    }

    /// Writes the record; returns when it would survive a loss of power.
    pub(super) fn save(&self, record: &Record) -> Result<(), PullError> {
        let save = || -> io::Result<()> {
            let text = serde_json::to_vec(record)?;
            let beside = self.0.join("record.new");
            step();
            let mut options = File::options();
            let mut file =
                options.write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
            file.write_all(&text)?;
            file.sync_all()?;
            step();
            fs::rename(&beside, self.file())?;
            step();
            File::open(&self.0)?.sync_all()
        };
        let failed =
            |error| PullError::failed(format!("cannot write {}", self.file().display()), error);
        save().map_err(failed)
    }

    /// The pull is over.
    pub(super) fn remove(&self) -> Result<(), PullError> {
        let remove = || -> io::Result<()> {
            step();
            ignore_missing(fs::remove_file(self.0.join("record.new")))?;
            step();
            ignore_missing(fs::remove_file(self.file()))?;
            step();
            File::open(&self.0)?.sync_all()
        };
        let failed =
            |error| PullError::failed(format!("cannot remove {}", self.file().display()), error);
        remove().map_err(failed)
    }

    /// Removes what a write that was cut off has left.
    pub(super) fn tidy(&self) -> Result<(), PullError> {
        let left = self.0.join("record.new");
        let failed = |error| PullError::failed(format!("cannot remove {}", left.display()), error);
        ignore_missing(fs::remove_file(&left)).map_err(failed)
    }

    /// An empty directory of this name beside the record.
    pub(super) fn fresh(&self, name: &str) -> io::Result<PathBuf> {
        let path = self.0.join(name);
        ignore_missing(fs::remove_dir_all(&path))?;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&path)?;
        Ok(path)
    }

    /// Puts a directory in place of another.
    pub(super) fn replace(&self, new: &str, old: &str) -> io::Result<()> {
        ignore_missing(fs::remove_dir_all(self.0.join(old)))?;
        step();
        fs::rename(self.0.join(new), self.0.join(old))?;
        File::open(&self.0)?.sync_all()
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

pub(super) fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
