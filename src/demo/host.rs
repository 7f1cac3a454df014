//! A node of the demo: one process group of the daemon and a small web service.
//!
//! Faults come from outside, by signals to the group; the daemon has no code path for them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// What a host runs.
#[derive(Clone, Debug)]
pub(crate) struct HostSpec {
    /// The `vipward` binary.
    pub(crate) program: PathBuf,
    pub(crate) name: String,
    /// Where its web service listens; a witness has none to speak of.
    pub(crate) service: SocketAddr,
    pub(crate) config: PathBuf,
    pub(crate) log: PathBuf,
    /// Environment of the daemon.
    pub(crate) environment: Vec<(String, String)>,
    /// Where the daemon listens instead of its links, behind a forwarder.
    pub(crate) listen_links: Vec<SocketAddr>,
}

/// A running host. Dropped: killed.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) spec: HostSpec,
    service: Child,
    daemon: Child,
    /// Their numbers may belong to others from there on.
    buried: bool,
}

impl Host {
    /// Starts both processes in a group of their own.
    pub(crate) fn start(spec: HostSpec) -> anyhow::Result<Self> {
        let mut service = Command::new(&spec.program)
            .args(["demo-service", "--name", &spec.name, "--listen", &spec.service.to_string()])
            .stdin(Stdio::piped()) // Its end tells the host that the demo is gone.
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .context("cannot start a host's web service")?;
        match Self::start_daemon(&spec, &service) {
            Ok(daemon) => Ok(Self { spec, service, daemon, buried: false }),
            Err(error) => {
                let _ = service.kill();
                let _ = service.wait();
                Err(error)
            }
        }
    }

    fn start_daemon(spec: &HostSpec, service: &Child) -> anyhow::Result<Child> {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&spec.log)
            .with_context(|| format!("cannot write {}", spec.log.display()))?;
        let group = i32::try_from(service.id()).context("a process id out of range")?;
        let mut command = Command::new(&spec.program);
        command.args(["run", "--config"]).arg(&spec.config).args(["--node", &spec.name]);
        for listen in &spec.listen_links {
            command.args(["--listen-link", &listen.to_string()]);
        }
        command
            .envs(spec.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .process_group(group)
            .spawn()
            .context("cannot start a host's daemon")
    }

    fn group(&self) -> Option<Pid> {
        Pid::from_raw(i32::try_from(self.service.id()).ok()?)
    }

    fn signal_group(&self, signal: Signal) -> anyhow::Result<()> {
        let group = self.group().context("a host without a process group")?;
        kill_process_group(group, signal)
            .with_context(|| format!("cannot signal {}", self.spec.name))
    }

    /// The host's power fails: every process dies at once, its sockets are closed.
    pub(crate) fn crash(&self) -> anyhow::Result<()> {
        self.signal_group(Signal::KILL)
    }

    /// The host stands still, sockets open.
    pub(crate) fn freeze(&self) -> anyhow::Result<()> {
        self.signal_group(Signal::STOP)
    }

    /// And goes on.
    pub(crate) fn thaw(&self) -> anyhow::Result<()> {
        self.signal_group(Signal::CONT)
    }

    /// Asks the daemon to stop; the web service goes on.
    pub(crate) fn stop_daemon(&self) -> anyhow::Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.daemon.id())?).context("no process id")?;
        kill_process(pid, Signal::TERM).context("cannot signal the daemon")
    }

    /// Asks the daemon to read its file again.
    pub(crate) fn reload_daemon(&self) -> anyhow::Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.daemon.id())?).context("no process id")?;
        kill_process(pid, Signal::HUP).context("cannot signal the daemon")
    }

    /// Waits for processes that are dead, or about to be.
    pub(crate) fn bury(&mut self) {
        if std::mem::replace(&mut self.buried, true) {
            return;
        }
        // It may be gone already; then there is nothing to kill.
        let _ = self.signal_group(Signal::KILL);
        let _ = self.service.wait();
        let _ = self.daemon.wait();
    }

    /// The daemon's process id.
    pub(crate) fn daemon_pid(&self) -> u32 {
        self.daemon.id()
    }

    /// Whether the daemon has ended by itself, and its last words.
    pub(crate) fn daemon_ended(&mut self) -> Option<String> {
        let status = self.daemon.try_wait().ok()??;
        let log = std::fs::read_to_string(&self.spec.log).unwrap_or_default();
        let last = log.lines().rev().take(3).collect::<Vec<_>>().join(" | ");
        Some(format!("the daemon of {} ended ({status}): {last}", self.spec.name))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.bury();
    }
}

/// The web service of a host: answers every request with the host's name.
///
/// Threads and blocking sockets: it is there to be killed and frozen. When its standard input
/// ends, the demo is gone, and it takes its process group with it.
pub(crate) fn serve(name: &str, listen: SocketAddr) -> anyhow::Result<()> {
    let listener = TcpListener::bind(listen)
        .with_context(|| format!("the demo's web service cannot listen on {listen}"))?;
    std::thread::spawn(|| {
        let mut end = Vec::new();
        let _ = std::io::stdin().read_to_end(&mut end);
        if let Some(group) = rustix::process::getpgrp().into() {
            let _ = kill_process_group(group, Signal::KILL);
        }
    });
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{name}",
        name.len()
    );
    for connection in listener.incoming() {
        // A connection that broke is the client's loss; the service goes on.
        let Ok(mut connection) = connection else { continue };
        let _ = answer_one(&mut connection, answer.as_bytes());
    }
    Ok(())
}

fn answer_one(connection: &mut TcpStream, answer: &[u8]) -> std::io::Result<()> {
    connection.set_read_timeout(Some(Duration::from_millis(200)))?;
    connection.set_write_timeout(Some(Duration::from_millis(200)))?;
    let mut request = [0_u8; 1024];
    let _ = connection.read(&mut request)?; // One small request in one segment.
    connection.write_all(answer)
}
