//! Says when something may have changed in what the patterns name, so that nobody has to wait for
//! the next periodic scan. What changed is the scan's business.
//!
//! Directories are watched, not files. All are looked up again after every change, before it is
//! told: whatever is made in a new directory before it is watched, the scan that follows sees.
//! Where the kernel gives no more watches, or not for this file system's changes (a network file
//! system tells those of other machines nowhere), periodic scans remain: the surroundings must do
//! them in any case.

use std::collections::HashSet;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};
use rustix::io::Errno;
use rustix::time::Timespec;

use crate::patterns::Patterns;
use crate::walk::directories;

/// The most directories that are watched; a watch costs the kernel a kilobyte.
const MOST: usize = 10_000;
/// A change is told when nothing more has changed for so long,
const QUIET: Duration = Duration::from_millis(50);
/// or after so many times of that.
const PATIENCE: usize = 10;

/// Watches the directories in which something may match.
#[derive(Debug)]
pub struct Watch {
    patterns: Patterns,
    inotify: Option<OwnedFd>,
    watched: HashSet<i32>,
    limited: Option<String>,
}

/// What a [`Watch`] has seen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Seen {
    /// Something changed: look again.
    Change,
    /// Nothing, in the time given.
    Nothing,
}

impl Watch {
    /// Begins to watch. It always works, if need be as one that never sees anything and says so.
    #[must_use]
    pub fn new(patterns: Patterns) -> Self {
        let mut watch = Self { patterns, inotify: None, watched: HashSet::new(), limited: None };
        match inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC) {
            Ok(inotify) => watch.inotify = Some(inotify),
            Err(error) => watch.limited = Some(limit("watch files", error)),
        }
        watch.look_up();
        watch
    }

    /// Waits for a change. Changes at about the same time are one.
    pub fn wait(&mut self, timeout: Duration) -> Seen {
        let Some(inotify) = &self.inotify else {
            std::thread::sleep(timeout);
            return Seen::Nothing;
        };
        if !is_readable(inotify, timeout) {
            return Seen::Nothing;
        }
        let mut patience = PATIENCE;
        let mut seen = drain(inotify);
        while patience > 0 && is_readable(inotify, QUIET) {
            seen |= drain(inotify);
            patience -= 1;
        }
        if !seen {
            return Seen::Nothing; // Only that a watch of ours has ended.
        }
        self.look_up();
        Seen::Change
    }

    /// Why changes may go unseen until the next periodic scan, if they may.
    #[must_use]
    pub fn limited(&self) -> Option<&str> {
        self.limited.as_deref()
    }

    /// Watches all directories of now, and no others.
    fn look_up(&mut self) {
        let Some(inotify) = &self.inotify else { return };
        let mut watched = HashSet::new();
        let mut limited = None;
        let mut watch = |directory: &Path, events: WatchFlags| {
            if watched.len() >= MOST {
                limited = Some(format!("more than {MOST} directories match: some are not watched"));
                return false;
            }
            match inotify::add_watch(inotify, directory, events) {
                Ok(number) => drop(watched.insert(number)),
                Err(Errno::NOSPC | Errno::NOMEM) => {
                    limited = Some(limit("watch more directories", Errno::NOSPC));
                    return false;
                }
                // It is gone, or not readable: the scan says so.
                Err(_) => {}
            }
            true
        };
        for root in self.patterns.roots() {
            // What may still come into being is told by the nearest directory there is.
            let above = root.ancestors().skip(1).find(|above| above.is_dir());
            let is_file = root.exists() && !root.is_dir();
            let events = if is_file { contents() } else { names() };
            if above.is_some_and(|above| !watch(above, events)) {
                break;
            }
        }
        directories(&self.patterns, |directory| watch(directory, contents()));
        for gone in self.watched.difference(&watched) {
            // Its directory may be gone, and the watch with it.
            let _ = inotify::remove_watch(inotify, *gone);
        }
        self.watched = watched;
        self.limited = limited;
    }
}

/// What changes a manifest: contents when their writer is done, modes and owners, and names.
fn contents() -> WatchFlags {
    WatchFlags::CLOSE_WRITE | WatchFlags::ATTRIB | names()
}

/// What comes into being, goes, or goes by another name. All that matters of a directory above the
/// patterns, which may be a busy one.
fn names() -> WatchFlags {
    WatchFlags::CREATE
        | WatchFlags::DELETE
        | WatchFlags::MOVED_FROM
        | WatchFlags::MOVED_TO
        | WatchFlags::DELETE_SELF
        | WatchFlags::MOVE_SELF
        | WatchFlags::ONLYDIR
}

fn limit(what: &str, error: Errno) -> String {
    let advice = "raise fs.inotify.max_user_watches and max_user_instances";
    format!("the kernel does not let this user {what} ({error}): {advice}")
}

fn is_readable(inotify: &OwnedFd, timeout: Duration) -> bool {
    // Interrupted is as good as waited: whoever waits, waits again.
    let timeout = Timespec::try_from(timeout).ok();
    poll(&mut [PollFd::new(inotify, PollFlags::IN)], timeout.as_ref()).is_ok_and(|ready| ready > 0)
}

/// Takes all that there is to read. A queue that overflowed is a change like any other.
fn drain(inotify: &OwnedFd) -> bool {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut reader = Reader::new(inotify, &mut buffer);
    let mut seen = false;
    // What comes faster than it is read is read the next time.
    for _ in 0..100_000 {
        match reader.next() {
            Ok(event) => seen |= !event.events().contains(inotify::ReadFlags::IGNORED),
            Err(_) => break,
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::path::PathBuf;

    use super::*;

    const SOON: Duration = Duration::from_secs(10);
    const NOW: Duration = Duration::from_millis(300);

    struct Tree(tempfile::TempDir);

    impl Tree {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn watch(&self, patterns: &[&str]) -> Watch {
            let patterns = patterns.iter().map(|name| self.path(name).display().to_string());
            let watch = Watch::new(Patterns::parse(&patterns.collect::<Vec<_>>()).unwrap());
            assert_eq!(watch.limited(), None);
            watch
        }
    }

    #[test]
    fn every_kind_of_change_is_seen_once() {
        let tree = Tree::new();
        fs::create_dir_all(tree.path("conf/deep")).unwrap();
        fs::write(tree.path("conf/deep/a"), "a").unwrap();
        fs::write(tree.path("elsewhere"), "b").unwrap();
        let mut watch = tree.watch(&["conf/**/*"]);
        let path = |name: &str| tree.path(name);
        let changes: [(&str, &dyn Fn()); 9] = [
            ("written", &|| fs::write(path("conf/deep/a"), "b").unwrap()),
            ("mode", &|| {
                fs::set_permissions(path("conf/deep/a"), fs::Permissions::from_mode(0o600)).unwrap()
            }),
            ("renamed", &|| fs::rename(path("conf/deep/a"), path("conf/deep/b")).unwrap()),
            ("moved in", &|| fs::rename(path("elsewhere"), path("conf/c")).unwrap()),
            ("link", &|| symlink("deep", path("conf/link")).unwrap()),
            ("directory", &|| fs::create_dir_all(path("conf/new/deeper")).unwrap()),
            ("in the new directory", &|| fs::write(path("conf/new/deeper/d"), "d").unwrap()),
            ("removed", &|| fs::remove_file(path("conf/new/deeper/d")).unwrap()),
            ("all removed", &|| fs::remove_dir_all(path("conf")).unwrap()),
        ];
        assert_eq!(watch.wait(NOW), Seen::Nothing);
        for (what, change) in changes {
            change();
            assert_eq!(watch.wait(SOON), Seen::Change, "{what}");
            assert_eq!(watch.wait(NOW), Seen::Nothing, "{what}, once");
        }
    }

    #[test]
    fn what_is_not_there_yet_is_waited_for() {
        let tree = Tree::new();
        let mut watch = tree.watch(&["etc/nginx/**/*"]);
        for name in ["etc", "etc/nginx", "etc/nginx/conf.d"] {
            fs::create_dir(tree.path(name)).unwrap();
            assert_eq!(watch.wait(SOON), Seen::Change, "{name}");
        }
        fs::write(tree.path("etc/nginx/conf.d/a"), "a").unwrap();
        assert_eq!(watch.wait(SOON), Seen::Change);
    }

    #[test]
    fn the_end_of_a_link_is_watched() {
        let tree = Tree::new();
        for name in ["enabled", "available", "modules"] {
            fs::create_dir(tree.path(name)).unwrap();
        }
        fs::write(tree.path("available/a"), "a").unwrap();
        symlink("../available/a", tree.path("enabled/a")).unwrap();
        symlink("../modules", tree.path("enabled/modules")).unwrap();
        let mut watch = tree.watch(&["enabled/**/*"]);
        for name in ["available/a", "modules/b"] {
            fs::write(tree.path(name), "b").unwrap();
            assert_eq!(watch.wait(SOON), Seen::Change, "{name}");
        }
    }

    #[test]
    fn what_does_not_belong_is_not_watched() {
        let tree = Tree::new();
        fs::create_dir_all(tree.path("conf/cache/deep")).unwrap();
        let mut watch = tree.watch(&["conf/*.conf"]);
        fs::write(tree.path("conf/cache/deep/a"), "a").unwrap();
        assert_eq!(watch.wait(NOW), Seen::Nothing);
    }

    #[test]
    fn a_file_of_its_own_is_watched_and_its_neighbours_writes_are_not_above() {
        let tree = Tree::new();
        fs::create_dir(tree.path("etc")).unwrap();
        fs::write(tree.path("etc/a"), "a").unwrap();
        fs::write(tree.path("b"), "b").unwrap();
        let mut watch = tree.watch(&["etc/a"]);
        fs::write(tree.path("etc/a"), "b").unwrap();
        assert_eq!(watch.wait(SOON), Seen::Change);
        let mut watch = tree.watch(&["etc/*"]);
        fs::write(tree.path("b"), "c").unwrap();
        assert_eq!(watch.wait(NOW), Seen::Nothing);
        fs::rename(tree.path("etc"), tree.path("old")).unwrap();
        assert_eq!(watch.wait(SOON), Seen::Change);
    }

    #[test]
    fn many_changes_are_one_and_overflow_nothing() {
        let tree = Tree::new();
        fs::create_dir(tree.path("conf")).unwrap();
        let mut watch = tree.watch(&["conf/*"]);
        // The kernel's queue holds 16,384 events, where two equal ones in a row are one.
        for name in ["conf/0", "conf/1"] {
            fs::write(tree.path(name), "a").unwrap();
        }
        for at in 0..20_000 {
            let mode = fs::Permissions::from_mode(0o600);
            fs::set_permissions(tree.path(&format!("conf/{}", at % 2)), mode).unwrap();
        }
        assert_eq!(watch.wait(SOON), Seen::Change);
        assert_eq!(watch.wait(NOW), Seen::Nothing);
        fs::write(tree.path("conf/0"), "b").unwrap();
        assert_eq!(watch.wait(SOON), Seen::Change, "after the overflow");
    }
}
