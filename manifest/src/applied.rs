//! Whether what is on disk is what the balancer runs with.
//!
//! A balancer reads its files when it starts and when it is reloaded, so the question is when that
//! was last. The kernel knows when each process started:
//!
//! - Nginx, and what calls its processes as Nginx does: the oldest worker that is not shutting
//!   down. Old workers linger after a reload, and one that crashed is replaced without a reload.
//! - HAProxy with a master: its newest worker. Without one: the process itself.
//! - Anything else: the process itself. A program that reads its files again without starting a
//!   process looks as if it never did.
//!
//! Nothing but the first look rests on the clock. From then on the files' contents are remembered
//! as that load had them, so a clock that is set, a file that is touched, and one that is put back
//! as it was are no changes. On the first look after a load, a file counts as newer if it changed
//! after it: a clock set back in between makes such of it that are not (a reload mends that), and
//! one set forward hides a change made since the load. A change between the balancer's reading and
//! the end of the tick (10 ms) in which its worker starts goes unseen too. And so does a single Nginx worker
//! that crashed: its successor looks like a reload.

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::process::Pid;

use crate::Hash;

/// More than a pid file has.
const LARGEST_PID_FILE: u64 = 64;
/// More than is of interest of a file about a process.
const LARGEST_OF_KERNEL: u64 = 1 << 20;

/// What the balancer of a pid file is up to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Running {
    /// Nothing runs, so there is nothing that is not applied; why.
    Nothing(String),
    /// It runs with the files as they were then.
    Since(Load),
    /// That could not be found out; why.
    Unknown(String),
}

/// A start or reload of the balancer. Told apart by processes, not by clocks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Load {
    balancer: Pid,
    /// Ticks from the machine's start to that of the process that loaded the files.
    started: u64,
}

impl Load {
    /// The first moment of the files' clock that is certainly after it.
    pub(crate) fn over_by(self) -> SystemTime {
        let tick = 1_000_000_000 / rustix::param::clock_ticks_per_second().max(1);
        // Ticks are cut off, not rounded: it started within this one.
        let started = Duration::from_nanos((self.started + 1).saturating_mul(tick));
        let uptime = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let ago = Duration::try_from(uptime).unwrap_or_default().saturating_sub(started);
        #[allow(clippy::disallowed_methods, reason = "a file's time is wall time")]
        let now = SystemTime::now();
        now.checked_sub(ago).unwrap_or(SystemTime::UNIX_EPOCH)
    }
}

/// What the balancer of this pid file is up to.
pub(crate) fn running(pid_file: &Path) -> Running {
    let shown = pid_file.display();
    let text = match read(pid_file, LARGEST_PID_FILE) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let sentence = format!("there is no pid file {shown}: no balancer is known to run");
            return Running::Nothing(sentence);
        }
        Err(error) => return Running::Unknown(format!("the pid file could not be read: {error}")),
    };
    let number: Option<i32> = text.lines().next().and_then(|line| line.trim().parse().ok());
    let Some(pid) = number.filter(|&number| number > 0).and_then(Pid::from_raw) else {
        return Running::Unknown("there is no process id in the pid file".to_owned());
    };
    let number = pid.as_raw_nonzero();
    match look(pid) {
        Look::Alive(process) => {
            let started = process.loaded().unwrap_or(process.started);
            Running::Since(Load { balancer: pid, started })
        }
        Look::Ended => Running::Nothing(format!(
            "process {number} of pid file {shown} has ended: no balancer is known to run"
        )),
        Look::Hidden => Running::Unknown(format!("process {number} is not shown in /proc")),
    }
}

/// What is remembered of a file: its content when the balancer loaded it, if that is known.
pub(crate) type Loaded = Option<Hash>;

/// What was known of a file at the last scan.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Before {
    pub(crate) content: Hash,
    pub(crate) loaded: Loaded,
}

/// What the balancer has of a file whose content is now this. The file is applied if that is the
/// same content.
pub(crate) fn loaded(
    content: Hash,
    changed: SystemTime,
    load: Load,
    before: Option<Before>,
    same_load: bool,
) -> Loaded {
    // As remembered; whoever set the clock or touched the file since.
    if same_load && let Some(Before { loaded: Some(loaded), .. }) = before {
        return Some(loaded);
    }
    if changed <= load.over_by() && !(same_load && before.is_some()) {
        return Some(content);
    }
    // Touched at about the time of the load, but the same before and after it.
    before.filter(|before| !same_load && before.content == content).and_then(|before| before.loaded)
}

/// A process, as the kernel tells of it.
struct Process {
    pid: Pid,
    parent: i32,
    name: String,
    /// In ticks since the machine's start.
    started: u64,
}

enum Look {
    Alive(Process),
    Ended,
    /// It is there, but /proc does not show it to this user.
    Hidden,
}

fn look(pid: Pid) -> Look {
    let Ok(stat) = about(pid, "stat") else {
        let there = rustix::process::test_kill_process(pid);
        return if there == Err(rustix::io::Errno::SRCH) { Look::Ended } else { Look::Hidden };
    };
    Process::parse(pid, &stat).map_or(Look::Ended, Look::Alive)
}

impl Process {
    /// From `PID (NAME) STATE PARENT ...`, where the name may have anything in it. `None` for one
    /// that has ended and was not yet waited for.
    fn parse(pid: Pid, stat: &str) -> Option<Self> {
        let (name, rest) = stat.split_once('(')?.1.rsplit_once(')')?;
        let mut fields = rest.split_ascii_whitespace();
        let ended = matches!(fields.next()?, "Z" | "X");
        let parent = fields.next()?.parse().ok()?;
        let started = fields.nth(17)?.parse().ok()?;
        (!ended).then(|| Self { pid, parent, name: name.to_owned(), started })
    }

    /// When a process began that has loaded the files for this one.
    fn loaded(&self) -> Option<u64> {
        let title = |process: &Self| about(process.pid, "cmdline").unwrap_or_default();
        if title(self).contains(": master process") {
            let current = |process: &Self| {
                let title = title(process);
                title.contains(": worker process") && !title.contains("shutting down")
            };
            return self.children().filter(current).map(|process| process.started).min();
        }
        if self.name == "haproxy" {
            let workers = self.children().filter(|process| process.name == self.name);
            return workers.map(|process| process.started).max();
        }
        None
    }

    fn children(&self) -> impl Iterator<Item = Self> {
        let number = self.pid.as_raw_nonzero().get();
        // Not every kernel keeps this list; then all processes are looked at.
        let listed = about(self.pid, &format!("task/{number}/children"));
        let pids: Vec<i32> = match listed {
            Ok(list) => list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect(),
            Err(_) => everyone(),
        };
        let alive = |pid| match look(Pid::from_raw(pid)?) {
            Look::Alive(process) => Some(process),
            Look::Ended | Look::Hidden => None,
        };
        pids.into_iter().filter_map(alive).filter(move |process| process.parent == number)
    }
}

fn everyone() -> Vec<i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

fn about(pid: Pid, what: &str) -> io::Result<String> {
    read(Path::new(&format!("/proc/{}/{what}", pid.as_raw_nonzero())), LARGEST_OF_KERNEL)
}

fn read(path: &Path, most: u64) -> io::Result<String> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests;
