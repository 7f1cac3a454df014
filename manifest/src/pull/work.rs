//! A pull under way: its record, and the directories beside the files.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Mode, OFlags};

use super::place::{Place, exchange, look, open_directory, open_root};
use super::record::{Record, Shelf, Stage, Step};
use super::step::step;
use super::{PullError, STAGING, changed_meanwhile, undo};
use crate::{Manifest, printable};

/// A pull under way.
pub(super) struct Work {
    pub(super) shelf: Shelf,
    pub(super) record: Record,
    /// Of each root of the record, its staging directory.
    pub(super) beside: Vec<OwnedFd>,
    pub(super) theirs: Manifest,
}

impl Work {
    /// The staging directory of the root that the place is below.
    pub(super) fn beside(&self, place: &Place) -> Result<&OwnedFd, PullError> {
        let index = self.record.roots.iter().position(|root| *root == place.root);
        index.and_then(|index| self.beside.get(index)).ok_or_else(over)
    }

    pub(super) fn make_beside(&mut self) -> Result<(), PullError> {
        for root in &self.record.roots {
            let cannot = |error: io::Error| {
                PullError::failed(format!("cannot write into {root}/{STAGING}"), error)
            };
            let directory = open_root(root).map_err(cannot)?;
            // Nothing of anybody: no record tells of it.
            undo::clear(&directory).map_err(cannot)?;
            step();
            rustix::fs::mkdirat(&directory, STAGING, Mode::RWXU)
                .map_err(|error| cannot(error.into()))?;
            step();
            let beside = open_directory(&directory, STAGING).map_err(cannot)?;
            try_exchange(&beside).map_err(|error| {
                let what = format!("the file system of {root} cannot exchange two files");
                PullError::failed(what, error)
            })?;
            self.beside.push(beside);
        }
        Ok(())
    }

    /// Makes what is beside durable, and says so in the record.
    pub(super) fn seal(&mut self, steps: Vec<Step>) -> Result<(), PullError> {
        let mut missing = BTreeSet::new();
        for step in &steps {
            find_missing_directories(step, &mut missing)?;
        }
        // In this order parents come first.
        self.record.made = missing.into_iter().collect();
        for (beside, root) in self.beside.iter().zip(&self.record.roots) {
            let cannot = |error| PullError::failed(format!("cannot write below {root}"), error);
            // One call for all files; an error of any of them is told by it.
            rustix::fs::syncfs(beside).map_err(cannot)?;
        }
        self.record.steps = steps;
        self.record.stage = Stage::Swapping;
        self.shelf.save(&self.record)
    }

    /// Removes what lies beside. What cannot be removed now, [`super::recover`] tries again.
    pub(super) fn abandon(self) {
        let Self { shelf, record, beside, .. } = self;
        drop(beside);
        if undo::clear_all(&record).is_ok() {
            let _ = shelf.remove();
        }
    }
}

/// Directories on the way to the file that are not there yet.
fn find_missing_directories(step: &Step, found: &mut BTreeSet<Place>) -> Result<(), PullError> {
    let place = &step.place;
    let cannot = |error: io::Error| unreachable(&place.path(), error);
    let mut directory = open_root(&place.root).map_err(cannot)?;
    for (depth, name) in place.directories.iter().enumerate() {
        if look(&directory, name).map_err(cannot)?.is_some() {
            directory = open_directory(&directory, name).map_err(cannot)?;
            continue;
        }
        if step.new.is_none() {
            return Err(changed_meanwhile(&place.path()));
        }
        let missing = place.directories.iter().enumerate().skip(depth);
        for (depth, name) in missing {
            let directories = place.directories.iter().take(depth).cloned().collect();
            let (root, name) = (place.root.clone(), name.clone());
            found.insert(Place { root, directories, name });
        }
        break;
    }
    Ok(())
}

/// Whether this file system exchanges files: better known before than after the first one.
fn try_exchange(beside: &OwnedFd) -> io::Result<()> {
    let create = |name| {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        rustix::fs::openat(beside, name, flags, Mode::RUSR).map(drop)
    };
    step();
    create("one")?;
    create("other")?;
    step();
    exchange((beside, "one"), (beside, "other"))?;
    rustix::fs::unlinkat(beside, "one", AtFlags::empty())?;
    step();
    Ok(rustix::fs::unlinkat(beside, "other", AtFlags::empty())?)
}

pub(super) fn unreachable(path: &str, error: io::Error) -> PullError {
    let what = format!("cannot reach {} without following links", printable(path));
    PullError::failed(what, error)
}

/// After an error, nothing more is done.
pub(super) fn over() -> PullError {
    PullError::Refused("this pull is over".to_owned())
}
