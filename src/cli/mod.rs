//! The command line: what was typed, one file for each subcommand, one exit code for each
//! outcome (contract, "One binary").

mod ask;
mod check;
mod diff;
mod events;
mod frame;
mod print;
mod show;
mod watch;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

use crate::admin::{AdmitOrder, MaintenanceOrder, Order, SwitchoverOrder};
use crate::demo::{DemoArgs, DemoServiceArgs};
use crate::runtime::{self, RunError, RunOptions};
use crate::simulated_cloud::SimulatedCloudArgs;
use crate::{config, demo, simulated_cloud, transport};

/// Keeps the public address of a load balancer on a healthy node, on clouds without multicast.
///
/// Exit codes: 0 done; 1 refused or failed, the reason on stderr; 2 wrong usage or an invalid
/// configuration; 3 no daemon answers; `status` exits 4 when a group has no master.
#[derive(Debug, Parser)]
#[command(name = "vipward", version = crate::VERSION_AND_COMMIT)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show on this machine, in 15 seconds, how an address moves when its master dies.
    Demo(DemoArgs),
    /// Stand in for the EC2 API, with faults that can be changed while it runs.
    SimulatedCloud(SimulatedCloudArgs),
    /// Run the daemon.
    Run {
        /// The configuration file; the same on every node.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// This node's name, instead of `node` of the file.
        #[arg(long, value_name = "NAME")]
        node: Option<String>,
        /// Listen here instead of on this node's links, behind a forwarder; one for each link.
        #[arg(long, value_name = "ADDR", hide = true)]
        listen_link: Vec<SocketAddr>,
    },
    /// Validate a configuration file, and with `--cloud` everything that it needs.
    Check {
        /// The file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Also check this machine, every link, the credentials and the permissions.
        #[arg(long)]
        cloud: bool,
        /// This node's name, instead of `node` of the file.
        #[arg(long, value_name = "NAME")]
        node: Option<String>,
    },
    /// Show roles, terms, standings, links and who holds what.
    Status {
        /// Print one JSON document.
        #[arg(long)]
        json: bool,
        /// Show it again every second, until interrupted.
        #[arg(long)]
        watch: bool,
        #[command(flatten)]
        daemon: Daemon,
    },
    /// Hand a group over to another node, and wait for the outcome.
    Switchover {
        /// The group.
        group: String,
        /// The successor; the best candidate if absent.
        #[arg(long, value_name = "NODE")]
        to: Option<String>,
        /// Override drift and preflight; never fatal checks or a quarantine.
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        daemon: Daemon,
    },
    /// Take a node out of candidacy, handing over first if it is master; or back.
    Maintenance {
        /// Out, or back.
        state: OnOff,
        /// The node; the one that is asked if absent.
        #[arg(long, value_name = "NODE")]
        node: Option<String>,
        #[command(flatten)]
        daemon: Daemon,
    },
    /// Show what differs between the configurations of this node and another.
    Diff {
        /// The other.
        node: String,
        /// Print one JSON document.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        daemon: Daemon,
    },
    /// Let a node lead with the configuration that it has now, though it is not the cluster's.
    Admit {
        /// The node.
        node: String,
        #[command(flatten)]
        daemon: Daemon,
    },
    /// Show the journal: what happened, and why.
    Events {
        /// Go on with what happens from now on.
        #[arg(long)]
        follow: bool,
        /// Since then: RFC 3339, or a duration such as `10m`.
        #[arg(long, value_name = "T")]
        since: Option<String>,
        /// Print one JSON object a line.
        #[arg(long)]
        json: bool,
        /// The configuration file that tells where the journal is, when no daemon answers.
        #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
        config: PathBuf,
        #[command(flatten)]
        daemon: Daemon,
    },
    /// Print a new cluster key.
    Keygen,
    /// Print the JSON Schema of the configuration file.
    Schema,
    /// The web service of a host of the demo.
    #[command(hide = true)]
    DemoService(DemoServiceArgs),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum OnOff {
    On,
    Off,
}

/// Where packages put the file.
const DEFAULT_CONFIG: &str = "/etc/vipward/vipward.toml";
/// Where the daemon is asked when the file does not say.
const DEFAULT_SOCKET: &str = "/run/vipward/admin.sock";

/// The daemon that a command asks.
#[derive(Clone, Debug, clap::Args)]
struct Daemon {
    /// Its admin socket; default: that of /etc/vipward/vipward.toml, else
    /// /run/vipward/admin.sock.
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

impl Daemon {
    fn socket(&self) -> PathBuf {
        self.socket.clone().unwrap_or_else(|| {
            // A file that is missing or wrong is the daemon's business, not this command's.
            config::load(DEFAULT_CONFIG.as_ref())
                .map_or_else(|_| DEFAULT_SOCKET.into(), |config| config.admin.socket)
        })
    }
}

/// How a command ended, for the shell.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Exit {
    Done,
    Failed,
    Usage,
    NoDaemon,
    NoMaster,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::NoDaemon => 3,
            Exit::NoMaster => 4,
        })
    }
}

/// Runs the command that was typed.
#[must_use]
pub fn main() -> ExitCode {
    let Cli { command } = Cli::parse();
    match command {
        Command::Run { config, node, listen_link } => run(config, node, listen_link),
        Command::DemoService(args) => told(demo::serve(&args).map(|()| true)),
        Command::Keygen => keygen(),
        Command::Schema => print::out(format_args!("{:#}", config::schema())),
        Command::Demo(args) => told(on_runtime(demo::run(args)).and_then(|result| result)),
        Command::SimulatedCloud(args) => {
            told(on_runtime(simulated_cloud::run(args)).and_then(|result| result).map(|()| true))
        }
        Command::Check { config, cloud, node } => {
            asked(on_runtime(check::check(&config, cloud, node.as_deref())))
        }
        Command::Status { json, watch, daemon } => {
            let socket = daemon.socket();
            asked(match watch {
                true => on_runtime(watch::watch(&socket, json)),
                false => on_runtime(show::status(&socket, json)),
            })
        }
        Command::Switchover { group, to, force, daemon } => {
            ordered(&daemon, Order::Switchover(SwitchoverOrder { group, to, force }))
        }
        Command::Maintenance { state, node, daemon } => {
            let on = state == OnOff::On;
            ordered(&daemon, Order::Maintenance(MaintenanceOrder { node, on }))
        }
        Command::Diff { node, json, daemon } => {
            asked(on_runtime(diff::diff(&daemon.socket(), &node, json)))
        }
        Command::Admit { node, daemon } => ordered(&daemon, Order::Admit(AdmitOrder { node })),
        Command::Events { follow, since, json, config, daemon } => asked(on_runtime(
            events::events(&daemon.socket(), &config, follow, since.as_deref(), json),
        )),
    }
    .into()
}

fn ordered(daemon: &Daemon, order: Order) -> Exit {
    asked(on_runtime(ask::order(&daemon.socket(), order)))
}

fn run(config: PathBuf, node: Option<String>, listen_links: Vec<SocketAddr>) -> Exit {
    match runtime::run(&RunOptions { config, node, listen_links }) {
        Ok(()) => Exit::Done,
        Err(error) => refused(&error),
    }
}

/// Tells why the daemon does not run, and how the shell is told.
fn refused(error: &RunError) -> Exit {
    let text = error.to_string();
    for line in text.lines() {
        let prefix = if line.starts_with("error") { "" } else { "error: " };
        print::err(format_args!("{prefix}{line}"));
    }
    match error {
        RunError::Config(_) | RunError::Usage(_) => Exit::Usage,
        RunError::Machine(_)
        | RunError::Keys { .. }
        | RunError::State(_)
        | RunError::Links(_)
        | RunError::Cloud(_)
        | RunError::Telemetry(_)
        | RunError::Admin(_)
        | RunError::System { .. } => Exit::Failed,
    }
}

fn keygen() -> Exit {
    match transport::Keys::generate() {
        Ok(key) => print::out(key.trim_end()),
        Err(error) => {
            print::err(format_args!("error: the system has no random numbers: {error}"));
            Exit::Failed
        }
    }
}

fn on_runtime<T>(task: impl Future<Output = T>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| anyhow::anyhow!("cannot start a thread: {error}"))?;
    let done = runtime.block_on(task);
    runtime.shutdown_background();
    Ok(done)
}

/// An outcome that is good, bad, or an error with one sentence.
fn told(outcome: anyhow::Result<bool>) -> Exit {
    match outcome {
        Ok(true) => Exit::Done,
        Ok(false) => Exit::Failed,
        Err(error) => {
            print::err(format_args!("error: {error:#}"));
            Exit::Failed
        }
    }
}

fn asked(outcome: anyhow::Result<Exit>) -> Exit {
    outcome.unwrap_or_else(|error| told(Err(error)))
}
