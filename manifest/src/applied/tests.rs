use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use super::*;
use crate::{EntryName, Manifest, Outside, Scanner, Settings, Variables, Wanted};

#[test]
fn what_was_loaded_of_a_file() {
    let (old, new) = (Hash([1; 32]), Hash([2; 32]));
    let load = Load { balancer: Pid::from_raw(1).unwrap(), started: 100 };
    let early = load.over_by() - Duration::from_secs(1);
    let late = load.over_by() + Duration::from_secs(1);
    let before = |content, loaded| Some(Before { content, loaded });
    let rows = [
        ("first look, older than the load", new, early, None, false, Some(new)),
        ("first look, newer", new, late, None, false, None),
        ("unchanged", new, late, before(new, Some(new)), true, Some(new)),
        ("changed", new, late, before(old, Some(old)), true, Some(old)),
        ("changed by a clock set back", new, early, before(old, Some(old)), true, Some(old)),
        ("put back", old, late, before(new, Some(old)), true, Some(old)),
        ("newer at the first look, and still", new, late, before(new, None), true, None),
        ("newer at the first look, the clock set", new, early, before(new, None), true, None),
        ("a new file", new, late, None, true, None),
        ("reloaded since the change", new, early, before(old, Some(old)), false, Some(new)),
        ("changed and reloaded, and changed again", new, late, before(old, Some(old)), false, None),
        ("touched, and reloaded before", new, late, before(new, Some(new)), false, Some(new)),
    ];
    for (what, content, changed, before, same_load, expected) in rows {
        assert_eq!(loaded(content, changed, load, before, same_load), expected, "{what}");
    }
}

#[test]
fn processes_are_read_whatever_their_name() {
    let pid = Pid::from_raw(7).unwrap();
    let tail = "1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4242 0 0";
    let parsed =
        |name: &str, state: &str| Process::parse(pid, &format!("7 ({name}) {state} {tail}"));
    let found = parsed("a) R (b", "S").unwrap();
    assert_eq!((found.name.as_str(), found.parent, found.started), ("a) R (b", 1, 4242));
    assert!(parsed("nginx", "Z").is_none(), "it has ended");
    for garbage in ["", "7", "7 (", "7 (a)", "7 (a) S", "7 (a) S x y"] {
        assert!(Process::parse(pid, garbage).is_none(), "{garbage}");
    }
}

#[test]
fn pid_files_of_every_kind() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pid");
    assert!(matches!(running(&path), Running::Nothing(_)), "none");
    for (text, expected) in [
        ("", "no process id"),
        ("x\n", "no process id"),
        ("-1\n", "no process id"),
        ("0", "no process id"),
    ] {
        fs::write(&path, text).unwrap();
        assert!(
            matches!(running(&path), Running::Unknown(why) if why.contains(expected)),
            "{text:?}"
        );
    }
    let mut child = Command::new("true").spawn().unwrap();
    fs::write(&path, format!("{}\n", child.id())).unwrap();
    wait_for("the end of a child that nobody waited for", || {
        matches!(running(&path), Running::Nothing(_))
    });
    child.wait().unwrap();
    assert!(matches!(running(&path), Running::Nothing(_)), "ended");
    fs::write(&path, format!(" {} \nmore", std::process::id())).unwrap();
    let Running::Since(load) = running(&path) else { panic!("this process runs") };
    let age = clock_now().duration_since(load.over_by()).unwrap();
    assert!(age < Duration::from_secs(600), "started {age:?} ago");
    fs::remove_file(&path).unwrap();
    symlink("pid", &path).unwrap();
    assert!(matches!(running(&path), Running::Unknown(_)), "a link to itself");
}

#[test]
fn a_load_is_over_just_after_its_process_started() {
    let before = clock_now();
    let mut child = Command::new("sleep").arg("60").spawn().unwrap();
    let Look::Alive(process) = look(Pid::from_child(&child)) else { panic!("it sleeps") };
    let load = Load { balancer: process.pid, started: process.started };
    child.kill().unwrap();
    child.wait().unwrap();
    let slack = Duration::from_millis(1);
    assert!(load.over_by() > before - slack, "never before its start");
    assert!(load.over_by() < clock_now() + Duration::from_millis(20), "nor long after it");
}

#[test]
fn every_process_is_found_without_the_kernels_list() {
    assert!(everyone().contains(&i32::try_from(std::process::id()).unwrap()));
}

#[allow(clippy::disallowed_methods, reason = "files have wall time")]
fn clock_now() -> SystemTime {
    SystemTime::now()
}

#[allow(clippy::disallowed_methods, reason = "a test waits in real time")]
fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_secs(20), "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A real Nginx that listens at a socket in a directory of its own.
struct Nginx {
    directory: tempfile::TempDir,
    master: Child,
    scanner: Scanner,
}

impl Nginx {
    /// `None` where there is no Nginx.
    fn start(workers: u32) -> Option<Self> {
        let program = ["/usr/sbin/nginx", "/usr/local/sbin/nginx", "/usr/bin/nginx"];
        let program = program.iter().find(|path| Path::new(path).exists())?;
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let at = directory.path().display();
        fs::create_dir(path("conf")).unwrap();
        let main = format!(
            "user root; worker_processes {workers}; pid {at}/pid; error_log {at}/log; daemon off;\n\
             events {{ worker_connections 64; }}\n\
             http {{ access_log off; client_body_temp_path {at}/t1; proxy_temp_path {at}/t2;\n\
             fastcgi_temp_path {at}/t3; uwsgi_temp_path {at}/t4; scgi_temp_path {at}/t5;\n\
             include conf/*.site; }}\n"
        );
        fs::write(path("nginx.conf"), main).unwrap();
        fs::write(path("conf/a.site"), site(&path("socket"), "one")).unwrap();
        let master = Command::new(program)
            .args(["-p", directory.path().to_str().unwrap(), "-c", "nginx.conf"])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let wanted = Wanted {
            files: vec![format!("{at}/conf/*"), format!("{at}/nginx.conf")],
            ignore: vec!["^# ignored".to_owned()],
            digest_only: Vec::new(),
            pid_file: Some(path("pid")),
            variables: Variables { node: "lb-a".to_owned(), links: Vec::new() },
        };
        let scanner = Scanner::new(Settings::parse(&wanted).unwrap());
        let mut nginx = Self { directory, master, scanner };
        nginx.wait_for_answer("one");
        wait_for("the workers", || nginx.workers().len() == usize::try_from(workers).unwrap());
        nginx.settle();
        Some(nginx)
    }

    /// Waits until a change made now is certainly later than the last load: both the start of a
    /// process and the time of a file are told in ticks of some milliseconds.
    fn settle(&self) {
        let Running::Since(load) = running(&self.path("pid")) else { panic!("it runs") };
        let ticks = Duration::from_millis(20);
        wait_for("the next tick", || clock_now() > load.over_by() + ticks);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, answer: &str) {
        fs::write(self.path(name), site(&self.path("socket"), answer)).unwrap();
    }

    /// The names of what is not applied.
    fn unapplied(&mut self) -> Vec<String> {
        names(&self.scanner.scan(&Outside::default()))
    }

    /// The same, of a scanner that has seen nothing before.
    fn unapplied_at_first_sight(&self) -> Vec<String> {
        names(&Scanner::new(self.scanner.settings().clone()).scan(&Outside::default()))
    }

    fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(Pid::from_child(&self.master), signal).unwrap();
    }

    /// Reloads, and waits until it has happened: no old worker is left that is not told to end.
    fn reload(&mut self, answer: &str) {
        let before = self.workers();
        self.signal(rustix::process::Signal::HUP);
        self.wait_for_answer(answer);
        wait_for("the old workers' end", || {
            let now = self.workers();
            !now.is_empty() && now.iter().all(|worker| !before.contains(worker))
        });
        self.settle();
    }

    /// The workers that are not shutting down.
    fn workers(&self) -> Vec<i32> {
        let Look::Alive(master) = look(Pid::from_child(&self.master)) else { return Vec::new() };
        let title = |process: &Process| about(process.pid, "cmdline").unwrap_or_default();
        let current = |process: &Process| {
            title(process).contains("worker process") && !title(process).contains("shutting")
        };
        master
            .children()
            .filter(current)
            .map(|process| process.pid.as_raw_nonzero().get())
            .collect()
    }

    fn wait_for_answer(&mut self, answer: &str) {
        let socket = self.path("socket");
        wait_for(answer, || ask(&socket).is_ok_and(|text| text.ends_with(answer)));
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        if matches!(self.master.try_wait(), Ok(None)) {
            self.signal(rustix::process::Signal::TERM);
            let _ = self.master.wait();
        }
    }
}

fn names(manifest: &Manifest) -> Vec<String> {
    let name = |name: &EntryName| match name {
        EntryName::File(path) => path.rsplit('/').next().unwrap_or_default().to_owned(),
        EntryName::Shared | EntryName::Command(_) | EntryName::Package(_) => format!("{name:?}"),
    };
    manifest.unapplied().map(name).collect()
}

fn site(socket: &Path, answer: &str) -> String {
    format!("server {{ listen unix:{}; return 200 {answer}; }}\n", socket.display())
}

fn ask(socket: &Path) -> io::Result<String> {
    use std::io::Write as _;
    let mut stream = std::os::unix::net::UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

#[test]
fn nginx_and_what_it_has_loaded() {
    let Some(mut nginx) = Nginx::start(2) else {
        return eprintln!("skipped: there is no Nginx");
    };
    let none: [&str; 0] = [];
    assert_eq!(nginx.unapplied(), none, "started with it");
    assert!(!nginx.scanner.reloaded());

    nginx.write("conf/a.site", "two");
    nginx.write("conf/b.other", "");
    assert_eq!(nginx.unapplied(), ["a.site", "b.other"], "changed");
    assert_eq!(nginx.unapplied_at_first_sight(), ["a.site", "b.other"]);

    nginx.write("conf/a.site", "one");
    assert_eq!(nginx.unapplied(), ["b.other"], "put back as it was");
    nginx.write("conf/a.site", "one");
    fs::write(
        nginx.path("conf/a.site"),
        format!("# ignored\n{}", site(&nginx.path("socket"), "one")),
    )
    .unwrap();
    assert_eq!(nginx.unapplied(), ["b.other"], "only what is not compared has changed");

    nginx.write("conf/a.site", "three");
    nginx.reload("three");
    assert!(nginx.scanner.reloaded());
    assert_eq!(nginx.unapplied(), none, "reloaded");
    assert_eq!(nginx.unapplied_at_first_sight(), none);
    assert!(!nginx.scanner.reloaded());

    fs::remove_file(nginx.path("conf/b.other")).unwrap();
    assert_eq!(nginx.unapplied(), ["b.other"], "removed, but loaded");
    nginx.reload("three");
    assert_eq!(nginx.unapplied(), none);

    // A reload that fails leaves the old workers.
    fs::write(nginx.path("conf/a.site"), "nonsense").unwrap();
    nginx.signal(rustix::process::Signal::HUP);
    wait_for("the complaint", || {
        fs::read_to_string(nginx.path("log")).is_ok_and(|log| log.contains("[emerg]"))
    });
    assert_eq!(nginx.unapplied(), ["a.site"], "the reload failed");
    assert_eq!(nginx.unapplied_at_first_sight(), ["a.site"]);
    nginx.write("conf/a.site", "three");

    // A worker that crashed is replaced by one with the old files.
    let workers = nginx.workers();
    nginx.write("conf/a.site", "four");
    let newest = Pid::from_raw(*workers.iter().max().unwrap()).unwrap();
    rustix::process::kill_process(newest, rustix::process::Signal::KILL).unwrap();
    wait_for("another worker", || {
        let now = nginx.workers();
        now.len() == 2 && now != workers
    });
    assert_eq!(nginx.unapplied(), ["a.site"], "a worker crashed");
    assert_eq!(nginx.unapplied_at_first_sight(), ["a.site"]);
    nginx.reload("four");
    assert_eq!(nginx.unapplied(), none);

    nginx.write("conf/a.site", "five");
    nginx.signal(rustix::process::Signal::TERM);
    nginx.master.wait().unwrap();
    assert!(nginx.scanner.reloaded());
    assert_eq!(nginx.unapplied(), none, "nothing runs");
    assert!(nginx.scanner.remarks()[0].contains("no balancer is known to run"));
}

/// A connection keeps an old worker alive: it lingers, shutting down, and does not count.
#[test]
fn an_old_worker_of_nginx_that_lingers_does_not_count() {
    let Some(mut nginx) = Nginx::start(1) else {
        return eprintln!("skipped: there is no Nginx");
    };
    use std::io::Write as _;
    let mut held = std::os::unix::net::UnixStream::connect(nginx.path("socket")).unwrap();
    held.write_all(b"GET / HTTP/1.1\r\nHost: x").unwrap();
    let old = nginx.workers();
    nginx.write("conf/a.site", "two");
    assert_eq!(nginx.unapplied(), ["a.site"]);
    nginx.reload("two");
    assert!(look_alive(old[0]), "the old worker lingers");
    assert_eq!(nginx.unapplied(), [""; 0]);
    drop(held);
}

fn look_alive(pid: i32) -> bool {
    matches!(look(Pid::from_raw(pid).unwrap()), Look::Alive(_))
}
