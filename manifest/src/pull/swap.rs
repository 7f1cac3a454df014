//! The second half of a pull: the files are exchanged, and stay or go back.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Gid, Mode, Uid};

use super::place::{Identity, Place, exchange, move_to, open_directory};
use super::plan::LARGEST;
use super::record::{Record, Shelf, Stage, Step};
use super::step::step;
use super::undo::{self, RolledBack};
use super::work::{Work, over};
use super::{PullError, changed_meanwhile};
use crate::{Manifest, compare, printable};

/// The tree is the new one; the old one lies beside. Dropped, it is rolled back.
pub struct Swapped {
    /// Taken when it is over.
    work: Option<Work>,
}

pub(super) fn swap(work: Work) -> Result<Swapped, PullError> {
    let swapped = work.make_directories().and_then(|()| work.exchange_all());
    let mut whole = Swapped { work: Some(work) };
    match swapped {
        Ok(()) => Ok(whole),
        Err(error) => {
            whole.undo()?;
            Err(error)
        }
    }
}

impl Swapped {
    /// To be called before the balancer is told to load the new files: from here on a rollback
    /// has to tell it again.
    ///
    /// # Errors
    ///
    /// Where that cannot be recorded: roll back.
    pub fn reloading(&mut self) -> Result<(), PullError> {
        let work = self.work.as_mut().ok_or_else(over)?;
        work.record.stage = Stage::Reloading;
        work.shelf.save(&work.record)
    }

    /// Whether this node, scanned again after the reload, has become the other.
    ///
    /// # Errors
    ///
    /// What still differs; roll back, or look again where the balancer takes its time to load.
    pub fn verify(&self, now: &Manifest) -> Result<(), PullError> {
        let work = self.work.as_ref().ok_or_else(over)?;
        let differences = compare(now, &work.theirs);
        let sentence =
            |difference: &crate::Difference| difference.sentence("this node", "the other");
        let told: Vec<String> = differences.iter().take(3).map(sentence).collect();
        if differences.is_empty() {
            return Ok(());
        }
        let (told, total) = (told.join("; "), differences.len());
        Err(PullError::Refused(format!("after the pull {total} entries still differ: {told}")))
    }

    /// The new tree stays. What it replaced is kept in the state directory, below `pull/previous`,
    /// until the next pull.
    ///
    /// # Errors
    ///
    /// [`PullError::Failed`]: it could not be recorded, and was rolled back instead; or it stays,
    /// and cleaning up is left to [`super::recover`].
    pub fn commit(mut self) -> Result<(), PullError> {
        let mut work = self.work.take().ok_or_else(over)?;
        let before = work.record.stage;
        work.record.stage = Stage::Committed;
        if let Err(error) = work.shelf.save(&work.record) {
            work.record.stage = before;
            self.work = Some(work);
            self.undo()?;
            return Err(error);
        }
        let Work { shelf, mut record, .. } = work;
        undo::forward(&shelf, &mut record)
    }

    /// The old tree comes back.
    ///
    /// # Errors
    ///
    /// [`PullError::Torn`]: not all of it; the record is kept.
    pub fn rollback(mut self) -> Result<RolledBack, PullError> {
        self.undo()
    }

    fn undo(&mut self) -> Result<RolledBack, PullError> {
        let Work { shelf, mut record, .. } = self.work.take().ok_or_else(over)?;
        undo::undo(&shelf, &mut record)
    }
}

impl Drop for Swapped {
    fn drop(&mut self) {
        if self.work.is_some() {
            // The record is kept where it fails.
            let _ = self.undo();
        }
    }
}

impl Work {
    fn make_directories(&self) -> Result<(), PullError> {
        for made in &self.record.made {
            let failed = |error: io::Error| {
                PullError::failed(format!("cannot make {}", printable(&made.path())), error)
            };
            let parent = made.open().map_err(failed)?;
            make_directory(&parent, made).map_err(failed)?;
        }
        Ok(())
    }

    fn exchange_all(&self) -> Result<(), PullError> {
        for change in &self.record.steps {
            self.exchange_one(change)?;
        }
        undo::sync(&self.record).map_err(|error| PullError::failed("cannot write", error))
    }

    /// One file, in one step of the file system. What comes out must be what was compared: so
    /// there is no moment in which somebody else's change could be overwritten unseen.
    fn exchange_one(&self, change: &Step) -> Result<(), PullError> {
        let path = change.place.path();
        let beside = self.beside(&change.place)?;
        let slot = (beside, change.slot.as_str());
        let failed = |error: io::Error| {
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists) {
                return changed_meanwhile(&path);
            }
            PullError::failed(format!("cannot put {} in its place", printable(&path)), error)
        };
        let directory = change.place.open().map_err(failed)?;
        let file = (&directory, change.place.name.as_str());
        step();
        match (&change.old, &change.new) {
            (Some(_), Some(_)) => exchange(slot, file).map_err(failed)?,
            (None, Some(_)) => return move_to(slot, file).map_err(failed),
            (Some(_), None) => move_to(file, slot).map_err(failed)?,
            (None, None) => return Ok(()),
        }
        // Larger than it was, or no file at all: changed, too.
        let found = Identity::read(beside, &change.slot, LARGEST).ok().flatten();
        if found.map(|found| found.0) == change.old {
            Ok(())
        } else {
            Err(changed_meanwhile(&path))
        }
    }
}

/// With the mode and the owner of the directory that it is in.
fn make_directory(parent: &OwnedFd, made: &Place) -> io::Result<()> {
    let like = rustix::fs::fstat(parent)?;
    step();
    rustix::fs::mkdirat(parent, made.name.as_str(), Mode::RWXU)?;
    step();
    let directory = open_directory(parent, &made.name)?;
    let own = rustix::fs::fstat(&directory)?;
    if (own.st_uid, own.st_gid) != (like.st_uid, like.st_gid) {
        let (user, group) = (Uid::from_raw(like.st_uid), Gid::from_raw(like.st_gid));
        rustix::fs::fchown(&directory, Some(user), Some(group))?;
    }
    Ok(rustix::fs::fchmod(&directory, Mode::from_raw_mode(like.st_mode & 0o7777))?)
}

/// Copies what a pull replaced or removed to the state directory.
pub(super) fn keep_previous(shelf: &Shelf, record: &Record) -> io::Result<()> {
    step();
    let target = shelf.fresh("previous.new")?;
    for change in record.steps.iter().filter(|change| change.old.is_some()) {
        let beside = undo::open_beside(&change.place.root)?;
        if let Some(kept) = Identity::read(&beside, &change.slot, LARGEST)? {
            step();
            keep(&target, &change.place.path(), &kept)?;
        }
    }
    step();
    // A list of all changes: which files were new is told by it alone.
    fs::write(target.join("changes.json"), serde_json::to_vec_pretty(&record.steps)?)?;
    rustix::fs::syncfs(fs::File::open(&target)?)?;
    step();
    shelf.replace("previous.new", "previous")
}

/// A copy of a file below a directory, by its whole path. The directory is for vipward's eyes.
pub(super) fn keep(below: &Path, path: &str, kept: &(Identity, Vec<u8>)) -> io::Result<()> {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;
    let (identity, content) = kept;
    let target = below.join("files").join(path.trim_start_matches('/'));
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent)?;
    }
    super::record::ignore_missing(fs::remove_file(&target))?;
    if identity.is_link() {
        return std::os::unix::fs::symlink(OsStr::from_bytes(content), &target);
    }
    fs::write(&target, content)?;
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(&target, fs::Permissions::from_mode(identity.permissions() & 0o777))
}
