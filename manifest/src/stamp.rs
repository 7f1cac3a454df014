//! What the file system says about a file without its content being read.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What changes whenever a file's content may have changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    pub(crate) size: u64,
    modified: SystemTime,
    /// Of content, mode, owner or name: nobody can set it back.
    pub(crate) changed: SystemTime,
}

/// What is compared of a file, or decides what is to be done about it, besides its content.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Meta {
    pub(crate) stamp: Stamp,
    pub(crate) mode: u32,
    pub(crate) user: u32,
    pub(crate) group: u32,
}

impl Stamp {
    /// The latest moment at which the file changed in any way.
    pub(crate) fn latest(&self) -> SystemTime {
        self.modified.max(self.changed)
    }

    /// Whether both are of the same file, whatever its content.
    pub(crate) fn is_same_file(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }
}

impl From<&Metadata> for Meta {
    fn from(metadata: &Metadata) -> Self {
        let stamp = Stamp {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: time(metadata.mtime(), metadata.mtime_nsec()),
            changed: time(metadata.ctime(), metadata.ctime_nsec()),
        };
        let (user, group) = (metadata.uid(), metadata.gid());
        Self { stamp, mode: metadata.mode() & 0o7777, user, group }
    }
}

/// A time of a file. What cannot be told (a damaged file system) is the epoch.
fn time(seconds: i64, nanoseconds: i64) -> SystemTime {
    let part = Duration::from_nanos(nanoseconds.unsigned_abs());
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let second =
        if seconds < 0 { UNIX_EPOCH.checked_sub(whole) } else { UNIX_EPOCH.checked_add(whole) };
    second.and_then(|second| second.checked_add(part)).unwrap_or(UNIX_EPOCH)
}
