//! Scans again and again: at each change that the kernel tells, when the balancer was reloaded,
//! and from time to time, for what no kernel tells.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until};
use vipward_core::{Digest, Input, Inventory};
use vipward_manifest::{Manifest, Outside, Scanner, Seen, Watch};

use super::{Consistency, Known, Peers, Settings, commands};

/// So many may wait for a scan.
pub(super) const REQUESTS: usize = 16;
/// What commands print is asked for this often; files are looked at as well.
const EVERY: Duration = Duration::from_secs(10);
/// How often it is asked whether the balancer was reloaded.
const RELOADED: Duration = Duration::from_millis(500);
/// How soon the thread that watches notices that nobody listens.
const WATCH: Duration = Duration::from_secs(1);
/// So many names are told in a sentence.
const NAMED: usize = 3;

/// Somebody waits for a scan that begins after this.
pub(super) struct Request {
    pub(super) reply: oneshot::Sender<Arc<Known>>,
}

impl<P: Peers> Consistency<P> {
    /// The state as of now: what it was a moment ago is not believed.
    pub(super) async fn scan_now(&self) -> Result<Arc<Known>, String> {
        const ENDS: &str = "the daemon is stopping";
        let (reply, known) = oneshot::channel();
        self.rescan.send(Request { reply }).await.map_err(|_| ENDS)?;
        known.await.map_err(|_| ENDS.to_owned())
    }
}

pub(super) async fn run<P: Peers>(
    consistency: Consistency<P>,
    mut requests: mpsc::Receiver<Request>,
    inputs: mpsc::Sender<Input>,
) {
    let mut changes = consistency.settings.clone();
    let mut told: Option<Inventory> = None;
    loop {
        let settings = Arc::clone(&changes.borrow_and_update());
        let rules = match settings.rules(settings.me) {
            Ok(rules) => Arc::new(rules),
            Err(why) => {
                // The configuration was checked before it came here.
                tracing::error!("the configuration of this node cannot be read: {why}");
                return;
            }
        };
        let mut scanner = Some(Scanner::new((*rules).clone()));
        let mut watch = watch(&rules);
        let mut waiting: Vec<Request> = Vec::new();
        loop {
            while let Ok(request) = requests.try_recv() {
                waiting.push(request);
            }
            let outside = commands::outside(&settings).await;
            let Some((back, outside, manifest)) = scan(scanner.take(), outside).await else {
                return;
            };
            let known = Arc::new(Known {
                digest: manifest.digest(),
                manifest,
                outside,
                scanned: Arc::clone(&rules),
            });
            let inventory = inventory(&known.manifest, &known);
            consistency.known.send_replace(Some(Arc::clone(&known)));
            if told.as_ref() != Some(&inventory) {
                if inputs.send(Input::Manifest(inventory.clone())).await.is_err() {
                    return;
                }
                told = Some(inventory);
            }
            for request in waiting.drain(..) {
                let _ = request.reply.send(Arc::clone(&known)); // Gone if it gave up waiting.
            }
            match pause(back, &mut requests, &mut waiting, (&mut changes, &mut watch)).await {
                Some((back, Why::Again)) => scanner = Some(back),
                Some((_, Why::Settings)) => break,
                None => return,
            }
        }
        for request in waiting {
            // Those who asked between two settings ask the next.
            let _ = consistency.rescan.try_send(request);
        }
    }
}

enum Why {
    Again,
    Settings,
}

/// Waits for a reason to scan. `None`: the daemon ends.
async fn pause(
    scanner: Scanner,
    requests: &mut mpsc::Receiver<Request>,
    waiting: &mut Vec<Request>,
    (changes, seen): (&mut watch::Receiver<Arc<Settings>>, &mut mpsc::Receiver<()>),
) -> Option<(Scanner, Why)> {
    let until = Instant::now() + EVERY;
    let mut scanner = Some(scanner);
    loop {
        let look = (Instant::now() + RELOADED).min(until);
        tokio::select! {
            request = requests.recv() => {
                waiting.push(request?);
                return Some((scanner?, Why::Again));
            }
            // Without a watcher there is the period.
            Some(()) = seen.recv() => return Some((scanner?, Why::Again)),
            changed = changes.changed() => {
                changed.ok()?;
                return Some((scanner?, Why::Settings));
            }
            () = sleep_until(look) => {
                let asked = scanner.take()?;
                let (back, reloaded) = spawn_blocking(move || {
                    let reloaded = asked.reloaded();
                    (asked, reloaded)
                }).await.ok()?;
                if reloaded || Instant::now() >= until {
                    return Some((back, Why::Again));
                }
                scanner = Some(back);
            }
        }
    }
}

/// Watches the files from a thread of its own, for as long as the receiver lives.
fn watch(rules: &vipward_manifest::Settings) -> mpsc::Receiver<()> {
    let (seen, changes) = mpsc::channel(1);
    let patterns = rules.files.clone();
    let started = std::thread::Builder::new().name("watch".to_owned()).spawn(move || {
        let mut watch = Watch::new(patterns);
        let mut told = None;
        while !seen.is_closed() {
            if watch.limited() != told.as_deref() {
                told = watch.limited().map(str::to_owned);
                if let Some(why) = &told {
                    tracing::warn!("changes of files may be seen {EVERY:?} late: {why}");
                }
            }
            match watch.wait(WATCH) {
                // One that waits already stands for this one, too.
                Seen::Change => drop(seen.try_send(())),
                Seen::Nothing => {}
            }
        }
    });
    if let Err(error) = started {
        tracing::warn!("changes of files may be seen {EVERY:?} late: no thread: {error}");
    }
    changes
}

async fn scan(scanner: Option<Scanner>, outside: Outside) -> Option<(Scanner, Outside, Manifest)> {
    let mut scanner = scanner?;
    let scanned = spawn_blocking(move || {
        let manifest = scanner.scan(&outside);
        (scanner, outside, manifest)
    });
    scanned.await.ok()
}

/// What the core hears of it.
fn inventory(manifest: &Manifest, known: &Known) -> Inventory {
    let unapplied = manifest.unapplied().take(NAMED).map(|name| name.words().into());
    let problem = |(name, why): (&vipward_manifest::EntryName, &str)| {
        format!("{}: {}", name.words(), vipward_manifest::printable(why)).into()
    };
    Inventory {
        digest: Digest(known.digest.0),
        unapplied: unapplied.collect(),
        problems: manifest.problems().take(NAMED).map(problem).collect(),
    }
}
