//! Ways back and to an end: each may be cut off anywhere and be begun again.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType};

use super::place::{Identity, exchange, look, move_to, open_directory, open_root};
use super::plan::LARGEST;
use super::record::{Record, Shelf, Stage, Step};
use super::step::step;
use super::swap::{keep, keep_previous};
use super::{PullError, STAGING};
use crate::printable;

/// The old tree is back.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RolledBack {
    /// The balancer may have loaded the new files: it must be told to load the old ones. Call
    /// [`settled`] when it has; until then [`recover`] says so again.
    pub reload: bool,
    /// Files that somebody else changed while the pull ran. They are kept in the state directory,
    /// below `pull/displaced`.
    pub displaced: Vec<String>,
}

/// What there was to bring to an end.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Recovered {
    /// Nothing.
    Nothing,
    /// A pull that had changed nothing yet, or was over but for what lay beside.
    Cleaned,
    /// A pull under way: the old tree is back.
    RolledBack(RolledBack),
    /// A pull that was committed: the new tree stays.
    Kept,
}

/// Brings to an end what an earlier life of this process, or an earlier pull, left. To be called
/// at the start, before the first scan; before each pull; and after every error of
/// [`super::Staged::swap`], [`super::Swapped::commit`] or [`super::Swapped::rollback`]: what it
/// returns tells whether the balancer must load its files again.
///
/// # Errors
///
/// [`PullError::Torn`] where the tree could not be made whole; call it again.
pub fn recover(state: &Path) -> Result<Recovered, PullError> {
    let shelf = Shelf::of(state);
    let Some(mut record) = shelf.load()? else {
        shelf.tidy()?;
        return Ok(Recovered::Nothing);
    };
    match record.stage {
        Stage::Staging => {
            clear_all(&record)?;
            shelf.remove()?;
            Ok(Recovered::Cleaned)
        }
        Stage::Swapping | Stage::Reloading => undo(&shelf, &mut record).map(Recovered::RolledBack),
        Stage::Committed => forward(&shelf, &mut record).map(|()| Recovered::Kept),
        Stage::Clearing => {
            clear_all(&record)?;
            shelf.remove()?;
            Ok(Recovered::Cleaned)
        }
        Stage::ClearingOwed | Stage::Owed => {
            owe(&shelf, &mut record)?;
            let owed = RolledBack { reload: true, displaced: Vec::new() };
            Ok(Recovered::RolledBack(owed))
        }
    }
}

/// The balancer has loaded the old files again, after a rollback that asked for it.
///
/// # Errors
///
/// Where that cannot be recorded: it will be asked for again.
pub fn settled(state: &Path) -> Result<(), PullError> {
    let shelf = Shelf::of(state);
    match shelf.load()? {
        Some(record) if record.stage == Stage::Owed => shelf.remove(),
        Some(_) | None => Ok(()),
    }
}

/// The new tree stays: keeps the old one, and removes what lies beside.
pub(super) fn forward(shelf: &Shelf, record: &mut Record) -> Result<(), PullError> {
    let failed = |error| {
        let what = "the new files are in place, but the earlier ones could not be kept";
        PullError::failed(what, error)
    };
    keep_previous(shelf, record).map_err(failed)?;
    record.stage = Stage::Clearing;
    shelf.save(record)?;
    clear_all(record)?;
    shelf.remove()
}

/// The old tree comes back.
pub(super) fn undo(shelf: &Shelf, record: &mut Record) -> Result<RolledBack, PullError> {
    let reload = record.stage == Stage::Reloading;
    let mut displaced = Vec::new();
    let mut failure = None;
    for change in record.steps.iter().rev() {
        match undo_one(shelf, change) {
            Ok(false) => {}
            Ok(true) => displaced.push(change.place.path()),
            // As many as possible are brought back.
            Err(error) => failure = failure.or(Some((change.place.path(), error))),
        }
    }
    if let Some((path, error)) = failure {
        return Err(PullError::torn(format!("cannot bring {} back", printable(&path)), error));
    }
    remove_made(record);
    sync(record).map_err(|error| PullError::torn("cannot write", error))?;
    // The tree is back. Where cleaning up fails (a full disk), the record stays as it is, and
    // `recover` does all this again.
    let _ = end_undo(shelf, record, reload);
    Ok(RolledBack { reload, displaced })
}

fn end_undo(shelf: &Shelf, record: &mut Record, reload: bool) -> Result<(), PullError> {
    record.stage = if reload { Stage::ClearingOwed } else { Stage::Clearing };
    shelf.save(record)?;
    if reload {
        return owe(shelf, record);
    }
    clear_all(record)?;
    shelf.remove()
}

/// Clears; the record stays, and says that the balancer must load the old tree.
fn owe(shelf: &Shelf, record: &mut Record) -> Result<(), PullError> {
    clear_all(record)?;
    if record.stage != Stage::Owed {
        record.stage = Stage::Owed;
        shelf.save(record)?;
    }
    Ok(())
}

/// Brings one file back, wherever the pull was cut off. True: somebody else had changed the new
/// one, and it is kept.
///
/// The new file is told by its inode: vipward made it, beside, on that file system.
fn undo_one(shelf: &Shelf, change: &Step) -> io::Result<bool> {
    let Some(beside) = ignore_missing(open_beside(&change.place.root))? else {
        // The whole root is gone, and what was beside with it.
        return Ok(false);
    };
    let inode = |identity: &Option<Identity>| identity.as_ref().map(|identity| identity.inode);
    let (old, new) = (inode(&change.old), inode(&change.new));
    let slot = (&beside, change.slot.as_str());
    let in_slot = look(&beside, &change.slot)?.map(|stat| stat.st_ino);
    if new.is_some() && in_slot == new {
        // Not exchanged, or exchanged back.
        return Ok(false);
    }
    let Some(directory) = ignore_missing(change.place.open())? else {
        // A directory that was not made yet; or the file's whole directory is gone.
        return if old.is_none() || in_slot.is_none() { Ok(false) } else { Err(gone(change)) };
    };
    let file = (&directory, change.place.name.as_str());
    let in_place = look(&directory, &change.place.name)?.map(|stat| stat.st_ino);
    step();
    match (old, in_slot) {
        // It was new, and is taken away.
        (None, None) => match in_place {
            Some(_) => move_to(file, slot)?,
            None => return Ok(false),
        },
        // It was replaced or removed.
        (Some(_), Some(_)) if in_slot == old || in_place == new => match in_place {
            Some(_) => exchange(slot, file)?,
            None => move_to(slot, file)?,
        },
        // A removed one that is not removed yet, or is back.
        (Some(_), None) if in_place == old => return Ok(false),
        (Some(_), None) => return Err(gone(change)),
        // What somebody else had put there is beside already.
        (None | Some(_), Some(_)) => {}
    }
    displace(shelf, &beside, change)
}

fn gone(change: &Step) -> io::Error {
    let path = printable(&change.place.path());
    io::Error::other(format!(
        "the earlier {path} is no longer in {STAGING}, or its directory is gone"
    ))
}

/// Keeps what was in the new file's place, if it is not the new file as it was written.
fn displace(shelf: &Shelf, beside: &OwnedFd, change: &Step) -> io::Result<bool> {
    if look(beside, &change.slot)?.is_none() {
        return Ok(false);
    }
    let found = Identity::read(beside, &change.slot, LARGEST)?;
    let Some(found) = found.filter(|found| Some(&found.0) != change.new.as_ref()) else {
        return Ok(false);
    };
    step();
    keep(&shelf.path("displaced"), &change.place.path(), &found)?;
    Ok(true)
}

/// Directories that were made go, unless somebody else has put something there.
fn remove_made(record: &Record) {
    for made in record.made.iter().rev() {
        if let Ok(parent) = made.open() {
            step();
            let _ = rustix::fs::unlinkat(&parent, made.name.as_str(), AtFlags::REMOVEDIR);
        }
    }
}

/// Makes the names in all directories concerned durable.
pub(super) fn sync(record: &Record) -> io::Result<()> {
    let mut done = BTreeSet::new();
    for change in &record.steps {
        if !done.insert((&change.place.root, &change.place.directories)) {
            continue;
        }
        // One that is not reached is not there yet, or somebody has moved it.
        if let Ok(directory) = change.place.open() {
            rustix::fs::fsync(&directory)?;
        }
    }
    for directory in record.made.iter().filter_map(|made| made.open().ok()) {
        rustix::fs::fsync(&directory)?;
    }
    for beside in record.roots.iter().filter_map(|root| open_beside(root).ok()) {
        rustix::fs::fsync(&beside)?;
    }
    Ok(())
}

pub(super) fn open_beside(root: &str) -> io::Result<OwnedFd> {
    open_directory(&open_root(root)?, STAGING)
}

/// Removes the staging directories.
pub(super) fn clear_all(record: &Record) -> Result<(), PullError> {
    for root in &record.roots {
        let cleared = ignore_missing(open_root(root)).and_then(|root| match root {
            Some(root) => clear(&root),
            None => Ok(()),
        });
        cleared.map_err(|error| {
            PullError::failed(format!("cannot remove {}/{STAGING}", printable(root)), error)
        })?;
    }
    Ok(())
}

/// Removes the staging directory of a root, if there is one. It holds files and links only.
pub(super) fn clear(root: &OwnedFd) -> io::Result<()> {
    let Some(beside) = ignore_missing(open_directory(root, STAGING))? else { return Ok(()) };
    let mut names = Vec::new();
    for entry in Dir::read_from(&beside)? {
        let entry = entry?;
        if entry.file_type() != FileType::Directory {
            names.push(entry.file_name().to_owned());
        }
    }
    for name in names {
        step();
        rustix::fs::unlinkat(&beside, &name, AtFlags::empty())?;
    }
    step();
    rustix::fs::unlinkat(root, STAGING, AtFlags::REMOVEDIR)?;
    step();
    Ok(rustix::fs::fsync(root)?)
}

fn ignore_missing<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
