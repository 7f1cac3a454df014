//! From the command line to a running daemon, and back.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use vipward_core::{BootId, Durable, Input, Node, NodeId};

use super::ask::{self, Runtime};
use super::heart::Happened;
use super::manifests::{self, OverLinks};
use super::observers::{Counted, HookTold, stats};
use super::thread::{HeartThread, Started};
use super::{clock, narrator, reload, translate};
use crate::cloud::{self, Cloud, CloudStartError};
use crate::config::{self, Config, ConfigErrors, NodeChoice};
use crate::consistency::{self, Consistency};
use crate::journal::{Journal, Record};
use crate::names::Names;
use crate::state::{self, StateError};
use crate::telemetry::{Metrics, Telemetry, TelemetryError};
use crate::transport::{BindError, Fetcher, KeyError, Keys, ManifestRequest, Stats};
use crate::{admin, checks, hooks, kernel};

/// Inputs that may wait for the core: far more than it ever has.
const INPUTS: usize = 4096;
/// Cloud calls that may wait: one for each address of the largest configuration, and the reads.
const CALLS: usize = 2048;
/// Events that may wait for the journal.
const EVENTS: usize = 4096;
const ASKS: usize = 64;
/// Hooks that may wait for those before them.
const HOOKS: usize = 256;
/// Comparisons and repairs that may wait: the core orders one of each at a time.
const COMPARISONS: usize = 8;
/// How long instance metadata is asked who this machine is, when nothing else tells.
const IDENTITY_PATIENCE: Duration = Duration::from_secs(5);
/// How long the first cloud call waits until ids and credentials are known.
const SETTLE: Duration = Duration::from_secs(1);
/// How long the end waits for what is still to be written.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What `vipward run` is asked for.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// The configuration file.
    pub config: PathBuf,
    /// This node's name, if not as in the file.
    pub node: Option<String>,
    /// Where to listen instead of the own links, behind a forwarder.
    pub listen_links: Vec<SocketAddr>,
}

/// Why the daemon does not run. Each is a sentence with the place and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The configuration is invalid: exit code 2.
    #[error("{0}")]
    Config(#[from] ConfigErrors),
    /// The node that was named on the command line is not in the file: exit code 2.
    #[error("{0}")]
    Usage(String),
    /// This machine lacks something; a line each.
    #[error("{0}")]
    Machine(String),
    /// The keys.
    #[error("{path}: {source}", path = path.display())]
    Keys {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: KeyError,
    },
    /// The state directory.
    #[error(transparent)]
    State(#[from] StateError),
    /// The links.
    #[error(transparent)]
    Links(#[from] BindError),
    /// The cloud.
    #[error(transparent)]
    Cloud(#[from] CloudStartError),
    /// Logs and metrics.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    /// The admin interface.
    #[error(transparent)]
    Admin(#[from] admin::AdminError),
    /// The system.
    #[error("cannot {what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why not.
        source: std::io::Error,
    },
}

/// A configuration, and which of its nodes this machine is.
#[derive(Clone, Debug)]
pub(crate) struct Identified {
    pub(crate) config: Config,
    pub(crate) name: String,
    pub(crate) me: NodeId,
}

/// Reads the file and finds out which node this machine is.
pub(crate) async fn identify(path: &Path, node: Option<&str>) -> Result<Identified, RunError> {
    let config = config::load(path)?;
    let name = match (node, &config.node) {
        (Some(name), _) => name.to_owned(),
        (None, NodeChoice::Named(name)) => name.clone(),
        (None, NodeChoice::Auto) => {
            let hostname = config::hostname();
            match config::resolve_auto(&config, &hostname, None) {
                Ok(name) => name,
                Err(_) => {
                    let instance = cloud::instance_id(IDENTITY_PATIENCE).await;
                    config::resolve_auto(&config, &hostname, instance.as_deref())
                        .map_err(|problem| RunError::Machine(format!("error: {problem}")))?
                }
            }
        }
    };
    // What the file names, it has: only the command line can be wrong here.
    let (me, _) = config
        .node(&name)
        .map_err(|error| RunError::Usage(format!("error: {}: --node: {error}", path.display())))?;
    Ok(Identified { config, name, me })
}

/// Runs the daemon until it is asked to stop.
///
/// # Errors
///
/// [`RunError`] if it could not start; once it runs, nothing from outside ends it.
pub fn run(options: &RunOptions) -> Result<(), RunError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("vipward")
        .enable_all()
        .build()
        .map_err(|source| RunError::System { what: "start a thread", source })?;
    let ended = runtime.block_on(Daemon::run(options));
    // What still runs has no say any more: a hung disk or a hung check does not hold the end up.
    runtime.shutdown_timeout(Duration::from_millis(200));
    ended
}

/// The hooks' task: it ends after the others, and has its own patience.
struct RunningHooks {
    settings: watch::Sender<Arc<hooks::Settings>>,
    running: tokio::task::JoinHandle<()>,
}

/// The configuration's edge, and the settings that a reload changes.
struct RunningConsistency {
    settings: watch::Sender<Arc<consistency::Settings>>,
    edge: Consistency<OverLinks>,
}

/// What lives as long as the daemon.
struct Daemon {
    identified: Identified,
    boot: BootId,
    names: watch::Sender<Arc<Names>>,
    telemetry: Telemetry,
    journal: Journal,
    cloud: Cloud,
    inputs: mpsc::Sender<Input>,
    stats: Arc<Stats>,
    /// Why checks fail.
    reasons: checks::Reasons,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Daemon {
    async fn run(options: &RunOptions) -> Result<(), RunError> {
        let identified = identify(&options.config, options.node.as_deref()).await?;
        let Identified { config, name, me } = &identified;
        for warning in &config.warnings {
            let _ = writeln!(std::io::stderr(), "warning: {warning}"); // Nobody may be there.
        }
        let key_fault = |text: &str| Keys::parse(text).map(|_| ()).map_err(|it| it.to_string());
        let problems = config::machine_problems(config, &key_fault);
        if !problems.is_empty() {
            let lines: Vec<String> = problems.iter().map(|it| format!("error: {it}")).collect();
            return Err(RunError::Machine(lines.join("\n")));
        }
        let keys = read_keys(&config.key_file)?;
        let boot = BootId(u128::from_le_bytes(random()?));
        let names = Arc::new(translate::names(config, *me, boot));
        let telemetry = crate::telemetry::init(&translate::telemetry(config, name))?;
        let (store, loaded) = state::open(translate::state(config))?;
        let journal = Journal::open(translate::journal(config, name, boot));
        journal.write(Record::started(crate::VERSION));
        if let Some(lost) = &loaded.lost {
            tracing::error!("{lost}");
            journal.write(Record::alarm_raised("state-lost", lost));
        }
        let check_settings = translate::checks(config, *me)
            .map_err(|sentence| RunError::Machine(format!("error: {sentence}")))?;
        let counted = Arc::new(Counted(telemetry.metrics().clone()));
        let cloud = Cloud::connect(translate::cloud(config, *me), counted).await?;
        let (inputs, core_inputs) = mpsc::channel(INPUTS);
        let names = watch::Sender::new(names);
        let stats = stats(&identified, boot, &keys, options, &telemetry, &names);
        let daemon = Self {
            boot,
            names,
            telemetry,
            journal,
            cloud,
            inputs,
            stats,
            reasons: checks::Reasons::default(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            identified: identified.clone(),
        };
        daemon.serve(options, keys, core_inputs, (store, loaded.durable), check_settings).await
    }

    async fn serve(
        self,
        options: &RunOptions,
        keys: Keys,
        core_inputs: mpsc::Receiver<Input>,
        (store, durable): (state::Store, Option<Durable>),
        check_settings: checks::Settings,
    ) -> Result<(), RunError> {
        let Identified { config, name, me } = &self.identified;
        let core = config.core(name).map_err(|e| RunError::Machine(format!("error: {e}")))?;
        let links = translate::links(config, *me, self.boot, keys, &options.listen_links);
        let (calls, core_calls) = mpsc::channel(CALLS);
        let (events, core_events) = mpsc::channel(EVENTS);
        let (asks, core_asks) = mpsc::channel(ASKS);
        let (persist, orders) = watch::channel(None);
        let (kernel, wanted) = watch::channel(kernel::Wanted::new());
        let (hooks, core_hooks) = mpsc::channel(HOOKS);
        let (comparisons, orders_of_core) = mpsc::channel(COMPARISONS);
        let seed = u64::from_le_bytes(random()?);
        let node = Node::new(Arc::new(core), self.boot, seed, durable, clock::now());
        let metrics = self.telemetry.metrics().clone();
        let events_lost = Arc::new(AtomicU64::new(0));
        let heart = HeartThread {
            node,
            links,
            inputs: self.inputs.clone(),
            stats: Arc::clone(&self.stats),
            calls,
            kernel,
            hooks,
            consistency: comparisons,
            persist,
            events,
            events_lost: Arc::clone(&events_lost),
            metrics: metrics.clone(),
        };
        let Started { end: ended, fetcher, requests } = heart.start(core_inputs, core_asks).await?;
        let consistency = self.spawn_consistency(fetcher, requests, orders_of_core);

        self.spawn_edges(store, orders, core_calls, (core_events, events_lost));
        let hooks = self.spawn_local(wanted, core_hooks);
        let checks_stop = self.stop.child_token();
        let (inputs, reasons) = (self.inputs.clone(), self.reasons.clone());
        self.spawn(checks::run(check_settings, inputs, reasons, checks_stop.clone()));
        let runtime = Arc::new(Runtime::new(
            asks,
            self.names.subscribe(),
            Arc::clone(&self.stats),
            self.cloud.clone(),
            self.reasons.clone(),
            consistency.edge,
            self.is_member(),
        ));
        self.serve_admin(&runtime, metrics.clone()).await?;
        self.spawn_preflight(&runtime);
        self.spawn(ask::observe(Arc::clone(&runtime), metrics));
        tracing::info!(node = %name, boot = %self.boot, version = crate::VERSION, "running");
        let reloads = reload::Reloads {
            path: options.config.clone(),
            node: options.node.clone(),
            current: self.identified.clone(),
            boot: self.boot,
            inputs: self.inputs.clone(),
            names: self.names.clone(),
            cloud: self.cloud.clone(),
            journal: self.journal.clone(),
            runtime,
            checks: (self.tasks.clone(), self.stop.clone(), checks_stop),
            reasons: self.reasons.clone(),
            hooks: hooks.settings.clone(),
            consistency: consistency.settings,
        };
        reload::obey_signals(reloads, self.inputs.clone(), ended).await;
        self.end(hooks).await;
        Ok(())
    }

    fn spawn_edges(
        &self,
        store: state::Store,
        orders: watch::Receiver<Option<Durable>>,
        calls: mpsc::Receiver<vipward_core::CloudCall>,
        (events, lost): (mpsc::Receiver<Happened>, Arc<AtomicU64>),
    ) {
        let inputs = || self.inputs.clone();
        let clock: cloud::Clock = Arc::new(clock::now);
        self.spawn(store.run(orders, inputs(), self.stop.clone()));
        let (cloud, to_core) = (self.cloud.clone(), inputs());
        self.spawn(async move {
            // A call before the way is set up could only fail; the first read waits for it.
            cloud.settled(SETTLE).await;
            cloud::run(cloud, calls, to_core, clock).await;
        });
        self.tasks.spawn(narrator::narrate(
            events,
            self.names.subscribe(),
            self.journal.clone(),
            self.telemetry.metrics().clone(),
            self.reasons.clone(),
            lost,
        ));
    }

    /// What this node's configuration is made of, for the core, for peers and for operators.
    fn spawn_consistency(
        &self,
        fetcher: Fetcher,
        requests: mpsc::Receiver<ManifestRequest>,
        orders: mpsc::Receiver<consistency::Order>,
    ) -> RunningConsistency {
        let Identified { config, me, .. } = &self.identified;
        let (settings, current) = watch::channel(Arc::new(translate::consistency(config, *me)));
        let (edge, tasks) = Consistency::new(current, OverLinks(fetcher));
        self.spawn(edge.clone().run(tasks, self.inputs.clone()));
        self.spawn(edge.clone().obey(orders, self.inputs.clone()));
        self.spawn(manifests::serve(edge.clone(), requests));
        RunningConsistency { settings, edge }
    }

    /// What belongs to this machine: the kernel's addresses, and the operator's hooks. Both end
    /// their work before the daemon ends.
    fn spawn_local(
        &self,
        wanted: watch::Receiver<kernel::Wanted>,
        orders: mpsc::Receiver<vipward_core::Hook>,
    ) -> RunningHooks {
        let Identified { config, me, name } = &self.identified;
        let settings = translate::kernel(config, *me, self.cloud.own_mac());
        self.tasks.spawn(kernel::run(settings, wanted, self.inputs.clone(), self.stop.clone()));
        let (settings, current) = watch::channel(Arc::new(translate::hooks(config, name)));
        let told = Arc::new(HookTold {
            names: self.names.subscribe(),
            journal: self.journal.clone(),
            metrics: self.telemetry.metrics().clone(),
        });
        let running = tokio::spawn(hooks::run(current, orders, told, self.stop.clone()));
        RunningHooks { settings, running }
    }

    /// Whether this node can hold any group. A witness calls no cloud.
    fn is_member(&self) -> bool {
        let Identified { config, me, .. } = &self.identified;
        let mut groups = config.groups.iter();
        groups.any(|group| group.priorities.get(me.index()).is_some_and(Option::is_some))
    }

    fn spawn_preflight(&self, runtime: &Arc<Runtime>) {
        if !self.is_member() {
            runtime.preflight_ended(); // There is nothing to try.
            return;
        }
        // On its way to the core, each result is dated for the status.
        let (problems, mut found) = mpsc::channel(1);
        let (inputs, runtime) = (self.inputs.clone(), Arc::clone(runtime));
        self.spawn(async move {
            while let Some(input) = found.recv().await {
                runtime.preflight_ended();
                if inputs.send(input).await.is_err() {
                    return;
                }
            }
        });
        self.spawn(cloud::run_preflight(self.cloud.clone(), problems));
        self.spawn(cloud::run_metadata_hint(self.cloud.clone(), self.inputs.clone()));
    }

    async fn serve_admin(&self, runtime: &Arc<Runtime>, metrics: Metrics) -> Result<(), RunError> {
        let config = &self.identified.config.admin;
        let (handle, answers) = ask::handle(Arc::clone(runtime), self.journal.clone(), metrics);
        let socket = admin::bind_unix(&config.socket).await?;
        let listener = admin::bind_tcp(config.listen).await?;
        self.spawn(answers);
        let operators = admin::operator_routes(handle.clone());
        self.tasks.spawn(admin::serve_unix(socket, operators, self.stop.clone()));
        let public = admin::public_routes(handle);
        self.tasks.spawn(admin::serve_tcp(listener, public, self.stop.clone()));
        Ok(())
    }

    /// Runs a task until the daemon stops.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            let _ = stop.run_until_cancelled(task).await;
        });
    }

    /// The heart has stopped: the rest ends, and last words are written.
    async fn end(self, hooks: RunningHooks) {
        self.stop.cancel();
        drop(self.inputs);
        self.tasks.close();
        let _ = tokio::time::timeout(LAST_WORDS, self.tasks.wait()).await;
        // The address is a successor's by now: nobody else waits for the operator's commands.
        let patience = hooks.settings.borrow().limits.longest_end();
        let _ = tokio::time::timeout(patience, hooks.running).await;
        self.journal.write(Record::stopped("asked to"));
        let (journal, telemetry) = (self.journal, self.telemetry);
        let last = tokio::task::spawn_blocking(move || {
            journal.flush(LAST_WORDS);
            telemetry.shutdown(LAST_WORDS);
        });
        let _ = tokio::time::timeout(LAST_WORDS * 2, last).await;
    }
}

/// Reads the cluster's keys.
pub(crate) fn read_keys(path: &Path) -> Result<Keys, RunError> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        let shown = path.display();
        RunError::Machine(format!(
            "error: security.key_file: {shown} cannot be read: {error}; make vipward's user its \
             owner, mode 0600"
        ))
    })?;
    Keys::parse(&text).map_err(|source| RunError::Keys { path: path.into(), source })
}

fn random<const N: usize>() -> Result<[u8; N], RunError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| RunError::System {
        what: "draw random numbers",
        source: std::io::Error::other(error),
    })?;
    Ok(bytes)
}
