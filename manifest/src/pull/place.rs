//! A file by descriptors of its directories: nobody can lead a path elsewhere meanwhile.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RenameFlags, Stat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Where a file is.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub(super) struct Place {
    /// The pattern's fixed directory.
    pub(super) root: String,
    /// The names of the directories below it.
    pub(super) directories: Vec<String>,
    /// The file's own name.
    pub(super) name: String,
}

impl Place {
    pub(super) fn path(&self) -> String {
        let mut path = self.root.clone();
        for name in self.directories.iter().chain([&self.name]) {
            path.push('/');
            path.push_str(name);
        }
        path
    }

    /// The directory that the file is in.
    pub(super) fn open(&self) -> io::Result<OwnedFd> {
        open_beneath(open_root(&self.root)?, &self.directories)
    }
}

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);

/// The fixed directory of a pattern. The operator named it: it may lead through links.
pub(super) fn open_root(path: &str) -> io::Result<OwnedFd> {
    let flags = DIRECTORY.difference(OFlags::NOFOLLOW);
    Ok(rustix::fs::openat(CWD, path, flags, Mode::empty())?)
}

/// A directory in a directory, which is no link.
pub(super) fn open_directory(parent: &OwnedFd, name: &str) -> io::Result<OwnedFd> {
    Ok(rustix::fs::openat(parent, name, DIRECTORY, Mode::empty())?)
}

pub(super) fn open_beneath(root: OwnedFd, directories: &[String]) -> io::Result<OwnedFd> {
    directories.iter().try_fold(root, |parent, name| open_directory(&parent, name))
}

/// What is there, without following a link; None if nothing is.
pub(super) fn look(directory: &OwnedFd, name: &str) -> io::Result<Option<Stat>> {
    match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// What tells a file from others, and whether it was changed. Not the device: its number may be
/// another after a restart of the machine. Not the time of the last status change: a rename is one.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Identity {
    pub(super) inode: u64,
    size: i64,
    modified: (i64, i64),
    mode: u32,
    owner: (u32, u32),
    /// Of the content, or of a link's text.
    digest: String,
}

impl Identity {
    /// Of what is there, with its content if it is a file. `limit` bounds its size.
    pub(super) fn read(
        directory: &OwnedFd,
        name: &str,
        limit: u64,
    ) -> io::Result<Option<(Self, Vec<u8>)>> {
        let Some(found) = look(directory, name)? else { return Ok(None) };
        let (stat, content) = match FileType::from_raw_mode(found.st_mode) {
            FileType::RegularFile => {
                // It may be something else by now: neither follow nor wait.
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                let file = rustix::fs::openat(directory, name, flags, Mode::empty())?;
                let stat = rustix::fs::fstat(&file)?;
                (stat, read_bounded(file, limit)?)
            }
            FileType::Symlink => {
                let text = rustix::fs::readlinkat(directory, name, Vec::new())?;
                (found, text.into_bytes())
            }
            FileType::Directory
            | FileType::Fifo
            | FileType::Socket
            | FileType::CharacterDevice
            | FileType::BlockDevice
            | FileType::Unknown => {
                return Err(io::Error::other("it is neither a file nor a link"));
            }
        };
        Ok(Some((Self::of(&stat, &content), content)))
    }

    // The types of these fields differ from platform to platform.
    #[allow(clippy::useless_conversion, clippy::unnecessary_cast)]
    fn of(stat: &Stat, content: &[u8]) -> Self {
        let digest = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
        Self {
            inode: stat.st_ino,
            size: stat.st_size,
            modified: (stat.st_mtime as i64, stat.st_mtime_nsec as i64),
            mode: stat.st_mode,
            owner: (stat.st_uid, stat.st_gid),
            digest,
        }
    }

    pub(super) fn permissions(&self) -> u32 {
        self.mode & 0o7777
    }

    pub(super) fn is_link(&self) -> bool {
        FileType::from_raw_mode(self.mode) == FileType::Symlink
    }

    pub(super) fn owner(&self) -> (u32, u32) {
        self.owner
    }
}

fn read_bounded(file: OwnedFd, limit: u64) -> io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut content = Vec::new();
    std::fs::File::from(file).take(limit + 1).read_to_end(&mut content)?;
    if content.len() as u64 > limit {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is too large"));
    }
    Ok(content)
}

/// Moves a file to where nothing is.
pub(super) fn move_to(from: (&OwnedFd, &str), to: (&OwnedFd, &str)) -> io::Result<()> {
    Ok(rustix::fs::renameat_with(from.0, from.1, to.0, to.1, RenameFlags::NOREPLACE)?)
}

/// Exchanges two files in one step.
pub(super) fn exchange(one: (&OwnedFd, &str), other: (&OwnedFd, &str)) -> io::Result<()> {
    Ok(rustix::fs::renameat_with(one.0, one.1, other.0, other.1, RenameFlags::EXCHANGE)?)
}
