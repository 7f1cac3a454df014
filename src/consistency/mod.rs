//! What this node's configuration is made of, kept up to date; compared with that of others, shown
//! to them, and repaired from theirs (design section 6).
//!
//! ```text
//!  files, commands, packages ──> scan ──> Known ──┬──> Input::Manifest
//!                                                 ├──> peers that ask (serve)
//!  Order::Compare, `vipward diff` ──> compare <───┤
//!  Order::Pull ─────────────────────> pull <──────┘
//! ```
//!
//! Nothing here decides, and nothing of it is on the failover path: the core hears of digests.
//! Files are read on threads that may block; the crate `vipward-manifest` does that.

mod changes;
mod commands;
mod compare;
mod pull;
mod scan;
mod serve;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc, watch};
use vipward_core::{Digest, Input, NodeId, PullOutcome};
use vipward_manifest::{EntryName, Hash, Manifest, Outside, Shared, Variables, Wanted};

pub use serve::Content;

/// How long what an operator named may take.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// A command whose output is compared.
    command: Duration,
    /// The test and the reload of a repair, each.
    repair: Duration,
    /// From a reload that succeeded until the balancer runs with its files, which it does in its
    /// own time.
    reloaded: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            command: Duration::from_secs(5),
            repair: Duration::from_secs(30),
            reloaded: Duration::from_secs(5),
        }
    }
}

/// What the edge needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What to look for, and this node's variables.
    pub wanted: Wanted,
    /// Commands whose output counts: programs and their arguments.
    pub commands: Vec<Vec<String>>,
    /// Packages whose version counts.
    pub packages: Vec<String>,
    /// The part of vipward's own configuration that all nodes share.
    pub shared: Shared,
    /// By node: its name and links, which its files may speak of.
    pub nodes: Vec<Variables>,
    /// Which of them this is.
    pub me: NodeId,
    /// Those that only vote: vipward's own part is all that they have.
    pub witnesses: Vec<NodeId>,
    /// Run before fetched files are kept.
    pub pull_test: Option<Vec<String>>,
    /// Run after.
    pub pull_reload: Option<Vec<String>>,
    /// The state directory: of a repair's record, and of the files that it replaced.
    pub state: PathBuf,
}

/// What the core orders.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Order {
    /// Tell in what this node differs.
    Compare {
        /// From whom.
        with: NodeId,
    },
    /// Repair this node's files.
    Pull {
        /// From whose.
        from: NodeId,
        /// Its digest, which this node is to have afterwards.
        digest: Digest,
    },
}

/// The other nodes' manifests. Errors are one sentence.
pub trait Peers: Clone + Send + Sync + 'static {
    /// A node's whole manifest.
    fn manifest(&self, node: NodeId) -> impl Future<Output = Result<Manifest, String>> + Send;

    /// The content of one of its entries.
    fn content(
        &self,
        node: NodeId,
        name: &EntryName,
        digest: Hash,
    ) -> impl Future<Output = Result<Vec<u8>, String>> + Send;
}

/// A state of this node's configuration.
#[derive(Debug)]
pub struct Known {
    /// What it is made of.
    pub manifest: Manifest,
    /// Of all that.
    pub digest: Hash,
    outside: Outside,
    /// By which it was read.
    scanned: Arc<vipward_manifest::Settings>,
}

/// Keeps this node's configuration known. Cheap to clone.
#[derive(Clone)]
pub struct Consistency<P> {
    settings: watch::Receiver<Arc<Settings>>,
    known: watch::Sender<Option<Arc<Known>>>,
    /// Asks for a scan; answered by the state it found.
    rescan: mpsc::Sender<scan::Request>,
    peers: P,
    /// One repair at a time, and none while the daemon starts.
    repairing: Arc<Mutex<()>>,
    patience: Patience,
}

/// The tasks of the edge, to be run.
pub struct Tasks {
    requests: mpsc::Receiver<scan::Request>,
}

impl<P: Peers> Consistency<P> {
    /// Knows nothing yet. New settings count from the next scan on, which they begin.
    #[must_use]
    pub fn new(settings: watch::Receiver<Arc<Settings>>, peers: P) -> (Self, Tasks) {
        let (rescan, requests) = mpsc::channel(scan::REQUESTS);
        let known = watch::Sender::new(None);
        let (repairing, patience) = (Arc::default(), Patience::default());
        (Self { settings, known, rescan, peers, repairing, patience }, Tasks { requests })
    }

    /// The last state known.
    #[must_use]
    pub fn known(&self) -> Option<Arc<Known>> {
        self.known.borrow().clone()
    }

    /// Scans again and again, and tells the core of each change. First of all it brings a repair
    /// to an end that an earlier life of this process began.
    pub async fn run(self, tasks: Tasks, inputs: mpsc::Sender<Input>) {
        let guard = self.repairing.lock().await;
        self.recover().await;
        drop(guard);
        scan::run(self, tasks.requests, inputs).await;
    }

    /// Carries out the core's orders, one comparison and one repair at a time.
    pub async fn obey(self, mut orders: mpsc::Receiver<Order>, inputs: mpsc::Sender<Input>) {
        while let Some(order) = orders.recv().await {
            let input = match order {
                Order::Compare { with } => {
                    let Some(differences) = self.differences(with).await else { continue };
                    Input::Compared { with, differences }
                }
                Order::Pull { from, digest } => {
                    let pulled = self.pull(from, Hash(digest.0)).await;
                    // What there is now is told before the end is.
                    let _ = self.scan_now().await; // It fails where the daemon ends.
                    let outcome = match pulled {
                        Ok(()) => PullOutcome::Applied,
                        Err(what) => PullOutcome::Failed { what: what.into() },
                    };
                    Input::PullFinished(outcome)
                }
            };
            if inputs.send(input).await.is_err() {
                return;
            }
        }
    }

    fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.borrow())
    }
}

impl Settings {
    fn variables(&self, node: NodeId) -> Option<&Variables> {
        self.nodes.get(node.index())
    }

    /// The declared rules as that node reads them.
    fn rules(&self, node: NodeId) -> Result<vipward_manifest::Settings, String> {
        let variables = self.variables(node).ok_or("that node is not in the list")?.clone();
        let wanted = Wanted { variables, ..self.wanted.clone() };
        vipward_manifest::Settings::parse(&wanted).map_err(|mistakes| {
            let sentences: Vec<_> = mistakes.into_iter().map(|mistake| mistake.sentence).collect();
            sentences.join("; ")
        })
    }

    fn name(&self, node: NodeId) -> &str {
        self.variables(node).map_or("?", |variables| variables.node.as_str())
    }
}

#[cfg(test)]
mod tests;
