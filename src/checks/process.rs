//! Whether a process of a name runs, from `/proc`.

use std::fs;
use std::path::Path;

use tokio::sync::oneshot;

use super::Failure;

/// The kernel keeps so many bytes of a process's name.
const COMM: usize = 15;

/// A search for one name, on a thread of its own: a sick process can hold up whoever reads its
/// command line, and then no second thread is started.
pub(super) struct ProcessCheck {
    name: String,
    searching: Option<oneshot::Receiver<bool>>,
}

impl ProcessCheck {
    pub(super) fn new(name: String) -> Self {
        Self { name, searching: None }
    }

    pub(super) async fn run(&mut self) -> Result<(), Failure> {
        if let Some(searching) = &mut self.searching {
            match searching.try_recv() {
                Err(oneshot::error::TryRecvError::Empty) => return Err(Failure::Stuck),
                // That answer is old.
                Ok(_) | Err(oneshot::error::TryRecvError::Closed) => self.searching = None,
            }
        }
        let (found, searching) = oneshot::channel();
        let name = self.name.clone();
        std::thread::Builder::new().name("process-check".to_owned()).spawn(move || {
            let _ = found.send(runs(Path::new("/proc"), &name));
        })?;
        let answer = self.searching.insert(searching).await;
        self.searching = None;
        match answer {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(Failure::NoProcess),
        }
    }
}

/// Names are compared first, as reading them cannot hang; command lines only if none fits.
fn runs(proc: &Path, name: &str) -> bool {
    let Ok(entries) = fs::read_dir(proc) else { return false };
    let alive: Vec<_> = entries
        .flatten()
        .filter(|entry| entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit))
        .filter_map(|entry| {
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            let (comm, state) = comm_and_state(&stat)?;
            // A zombie serves nobody.
            (!matches!(state, 'Z' | 'X')).then(|| (entry.path(), comm.to_owned()))
        })
        .collect();
    if name.len() <= COMM && alive.iter().any(|(_, comm)| comm == name) {
        return true;
    }
    alive.iter().any(|(path, _)| argv0_is(path, name))
}

/// The name and the state in `PID (name) S ...`; the name may contain parentheses.
fn comm_and_state(stat: &str) -> Option<(&str, char)> {
    let (_, rest) = stat.split_once('(')?;
    let (comm, rest) = rest.rsplit_once(')')?;
    Some((comm, rest.trim_start().chars().next()?))
}

/// Whether the program's name as it was called is `name`, its folder aside.
fn argv0_is(process: &Path, name: &str) -> bool {
    let Ok(line) = fs::read(process.join("cmdline")) else { return false };
    let argv0 = line.split(|byte| *byte == 0).next().unwrap_or_default();
    argv0.rsplit(|byte| *byte == b'/').next() == Some(name.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_exact_and_zombies_do_not_count() {
        let proc = tempfile::tempdir().unwrap();
        let process = |pid: &str, stat: &str, cmdline: &str| {
            let path = proc.path().join(pid);
            fs::create_dir(&path).unwrap();
            fs::write(path.join("stat"), stat).unwrap();
            fs::write(path.join("cmdline"), cmdline).unwrap();
        };
        process("10", "10 (nginx) S 1", "nginx: master process\0");
        process("11", "11 (haproxy) Z 1", "");
        process("12", "12 (a-name-longer-t) S 1", "/opt/a-name-longer-than-comm\0-x\0");
        process("13", "13 (odd) (x) R 1", "./odd\0");
        for (name, expected) in [
            ("nginx", true),
            ("ngin", false),
            ("haproxy", false),
            ("a-name-longer-than-comm", true),
            ("a-name-longer-t", true),
            ("a-name-longer-than", false),
            ("odd) (x", true),
        ] {
            assert_eq!(runs(proc.path(), name), expected, "{name}");
        }
    }

    #[test]
    fn this_process_runs() {
        let comm = fs::read_to_string("/proc/self/comm").unwrap();
        assert!(runs(Path::new("/proc"), comm.trim_end()));
    }
}
