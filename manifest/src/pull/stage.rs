//! The first half of a pull: everything is written beside, and checked, before anything changes.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::fs::{Gid, Mode, OFlags, Uid};

use super::accounts::Accounts;
use super::merge::{Substitutions, merge};
use super::place::Identity;
use super::plan::{Action, Change, LARGEST, Plan, Wanted};
use super::record::{Record, Shelf, Step};
use super::step::step;
use super::work::{Work, over, unreachable};
use super::{PullError, Swapped, changed_meanwhile, swap};
use crate::read::has_private_key;
use crate::{EntryName, FileFacts, Rules, Settings, printable};

/// What a pull needs besides its plan.
#[derive(Clone)]
pub struct Setup {
    /// The state directory: of the record, and of the files that a pull replaced.
    pub state: PathBuf,
    /// The settings of this node.
    pub settings: Arc<Settings>,
    /// Its rules, with the other node's variables.
    pub theirs: Rules,
    /// For node-specific lines of files that are new here.
    pub substitutions: Substitutions,
}

/// Files are being fetched and written beside. Dropped, it is abandoned.
pub struct Staging {
    /// Taken when it is finished.
    work: Option<Work>,
    changes: Vec<Pending>,
    /// Where in them a path is.
    index: BTreeMap<String, usize>,
    setup: Setup,
    accounts: Accounts,
}

/// A change, and what is known of it so far.
struct Pending {
    change: Change,
    step: Option<Step>,
}

/// All files are beside. Dropped, it is abandoned.
pub struct Staged {
    /// Taken when it is swapped.
    work: Option<Work>,
}

impl Staging {
    /// Makes the directories beside the files.
    ///
    /// # Errors
    ///
    /// Where an earlier pull was not finished (see [`super::recover`]), or this machine cannot.
    pub fn begin(plan: Plan, setup: Setup) -> Result<Self, PullError> {
        let shelf = Shelf::of(&setup.state);
        if shelf.load()?.is_some() {
            let sentence = "an earlier pull was not finished; it is brought to an end first";
            return Err(PullError::Refused(sentence.to_owned()));
        }
        let read = |error| PullError::failed("cannot read the names of owners", error);
        let accounts = Accounts::read().map_err(read)?;
        shelf.make()?;
        let mut roots: Vec<String> =
            plan.changes.iter().map(|change| change.place.root.clone()).collect();
        roots.sort();
        roots.dedup();
        let record = Record::new(roots);
        shelf.save(&record)?;
        let Plan { changes, theirs, .. } = plan;
        let mut work = Work { shelf, record, beside: Vec::new(), theirs };
        if let Err(error) = work.make_beside() {
            work.abandon();
            return Err(error);
        }
        let paths = changes.iter().map(|change| change.path.clone());
        let index = paths.enumerate().map(|(index, path)| (path, index)).collect();
        let changes = changes.into_iter().map(|change| Pending { change, step: None }).collect();
        Ok(Self { work: Some(work), changes, index, setup, accounts })
    }

    /// What is still to be fetched.
    #[must_use]
    pub fn wanted(&self) -> Vec<Wanted> {
        let open = self.changes.iter().filter(|change| change.step.is_none());
        open.filter_map(|change| change.change.wanted()).collect()
    }

    /// Takes a content that was fetched: checks it against the other node's manifest, puts this
    /// node's own lines into it, and writes it beside.
    ///
    /// # Errors
    ///
    /// Where the content is not what was named, or this node's file has changed; then the pull is
    /// over, and nothing has changed.
    pub fn add(&mut self, name: &EntryName, content: &[u8]) -> Result<(), PullError> {
        let index = match name {
            EntryName::File(path) => self.index.get(path).copied(),
            EntryName::Shared | EntryName::Command(_) | EntryName::Package(_) => None,
        };
        let open = |index: &usize| {
            let pending = self.changes.get(*index).filter(|pending| pending.step.is_none());
            pending.is_some_and(|pending| pending.change.wanted().is_some())
        };
        let Some(index) = index.filter(open) else {
            return Err(PullError::Refused(format!("{} was not asked for", name.words())));
        };
        let taken = self.take(index, Some(content));
        if taken.is_err() {
            self.abandon_now();
        }
        taken
    }

    /// Everything is there: makes it durable.
    ///
    /// # Errors
    ///
    /// As [`Self::add`].
    pub fn finish(mut self) -> Result<Staged, PullError> {
        for index in 0..self.changes.len() {
            let fetched = self.changes.get(index).is_none_or(|change| change.step.is_some());
            if !fetched {
                self.take(index, None)?;
            }
        }
        let steps: Vec<Step> =
            self.changes.iter_mut().filter_map(|change| change.step.take()).collect();
        let Some(mut work) = self.work.take() else { return Err(over()) };
        let sealed = work.seal(steps);
        // From here on it is abandoned as a staged one.
        let staged = Staged { work: Some(work) };
        sealed.map(|()| staged)
    }

    fn abandon_now(&mut self) {
        if let Some(work) = self.work.take() {
            work.abandon();
        }
    }

    fn take(&mut self, index: usize, content: Option<&[u8]>) -> Result<(), PullError> {
        let (Some(work), Some(Pending { change, step: taken })) =
            (&self.work, self.changes.get_mut(index))
        else {
            return Err(over());
        };
        let slot = index.to_string();
        let local = local(change, &self.setup.settings.rules)?;
        let beside = work.beside(&change.place)?;
        match &change.wanted {
            Action::Write { facts, .. } => {
                let missing =
                    || PullError::Refused(format!("{} was not fetched", printable(&change.path)));
                let content = content.ok_or_else(missing)?;
                let merged = self.setup.merge(change, facts, content, local.as_ref())?;
                let owner = self.accounts.owner(change, facts, local.as_ref())?;
                write(beside, &slot, &merged, facts.mode, owner)
                    .map_err(|error| cannot_write(&change.path, error))?;
            }
            Action::Link { text } => {
                step();
                rustix::fs::symlinkat(text.as_str(), beside, slot.as_str())
                    .map_err(|error| cannot_write(&change.path, error))?;
            }
            Action::Remove => {}
        }
        let read = |error| cannot_write(&change.path, error);
        let new = Identity::read(beside, &slot, LARGEST + LARGEST).map_err(read)?;
        let (old, new) = (local.map(|local| local.0), new.map(|new| new.0));
        *taken = Some(Step { place: change.place.clone(), slot, old, new });
        Ok(())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        self.abandon_now();
    }
}

impl Staged {
    /// Exchanges the files: afterwards the tree is the new one, and `pull_test` can look at it.
    ///
    /// # Errors
    ///
    /// Where a file is no longer what was compared, or a rename fails: then all are as before.
    pub fn swap(mut self) -> Result<Swapped, PullError> {
        let work = self.work.take().ok_or_else(over)?;
        swap::swap(work)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if let Some(work) = self.work.take() {
            work.abandon();
        }
    }
}

impl Setup {
    /// What is to be in the file.
    fn merge(
        &self,
        change: &Change,
        facts: &FileFacts,
        content: &[u8],
        local: Option<&(Identity, Vec<u8>)>,
    ) -> Result<Vec<u8>, PullError> {
        let path = printable(&change.path);
        if self.theirs.hash(content) != facts.content {
            let sentence = format!("what was fetched as {path} is not what the manifest names");
            return Err(PullError::Refused(sentence));
        }
        if has_private_key(content) {
            let sentence = format!("{path} is not fetched: there is a private key in it");
            return Err(PullError::Refused(sentence));
        }
        let own = &self.settings.rules;
        let local = local.filter(|(identity, _)| !identity.is_link());
        let local = local.map(|(_, content)| content.as_slice());
        let merged = merge(content, local, (&self.theirs, own), &self.substitutions)
            .map_err(|reason| PullError::Refused(format!("{path} is not fetched: {reason}")))?;
        if own.hash(&merged) != facts.content {
            let sentence = format!(
                "{path} is not fetched: with this node's own lines it would differ from the \
                 other's; copy it by hand"
            );
            return Err(PullError::Refused(sentence));
        }
        Ok(merged)
    }
}

impl Accounts {
    /// Numbers of the owner and the group that the file is to have.
    fn owner(
        &self,
        change: &Change,
        facts: &FileFacts,
        local: Option<&(Identity, Vec<u8>)>,
    ) -> Result<(u32, u32), PullError> {
        let here = change.here.as_ref().and_then(|entry| entry.file.as_ref());
        let same = here.filter(|here| here.owner == facts.owner && here.group == facts.group);
        if let (Some(_), Some((identity, _))) = (same, local)
            && !identity.is_link()
        {
            return Ok(identity.owner());
        }
        let unknown = |what: &str, name: &str| {
            let (path, name) = (printable(&change.path), printable(name));
            PullError::Refused(format!("{path} is not fetched: this machine has no {what} {name}"))
        };
        let user = self.user(&facts.owner).ok_or_else(|| unknown("user", &facts.owner))?;
        let group = self.group(&facts.group).ok_or_else(|| unknown("group", &facts.group))?;
        Ok((user, group))
    }
}

/// What this node has now, which must be what was compared.
fn local(change: &Change, own: &Rules) -> Result<Option<(Identity, Vec<u8>)>, PullError> {
    let cannot = |error: io::Error| unreachable(&change.path, error);
    let changed = || changed_meanwhile(&change.path);
    let found = match change.place.open() {
        Ok(directory) => Identity::read(&directory, &change.place.name, LARGEST).map_err(cannot)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(cannot(error)),
    };
    let Some(entry) = &change.here else {
        return if found.is_none() { Ok(None) } else { Err(changed()) };
    };
    let (identity, content) = found.ok_or_else(changed)?;
    let facts = entry.file.as_ref().ok_or_else(changed)?;
    let same = match &facts.link {
        Some(text) => identity.is_link() && text.as_bytes() == content,
        None => {
            !identity.is_link()
                && identity.permissions() == facts.mode
                && own.hash(&content) == facts.content
        }
    };
    if same { Ok(Some((identity, content))) } else { Err(changed()) }
}

/// Writes a new file with its mode and owner.
fn write(
    directory: &OwnedFd,
    name: &str,
    content: &[u8],
    mode: u32,
    (user, group): (u32, u32),
) -> io::Result<()> {
    step();
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(directory, name, flags, Mode::RUSR | Mode::WUSR)?;
    let mut file = std::fs::File::from(file);
    step();
    file.write_all(content)?;
    step();
    let stat = rustix::fs::fstat(&file)?;
    if (stat.st_uid, stat.st_gid) != (user, group) {
        rustix::fs::fchown(&file, Some(Uid::from_raw(user)), Some(Gid::from_raw(group)))?;
    }
    // After the owner: changing that may take bits away.
    rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))?;
    Ok(())
}

fn cannot_write(path: &str, error: impl Into<io::Error>) -> PullError {
    let what = format!("cannot write the new {} with its mode and owner", printable(path));
    PullError::failed(what, error)
}
