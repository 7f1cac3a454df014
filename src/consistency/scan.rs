//! Scans again and again: at each change that the kernel tells, when the balancer was reloaded,
//! and from time to time, for what no kernel tells.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until};
use vipward_core::{Digest, Input, Inventory};
use vipward_manifest::{Manifest, Outside, Scanner};

use super::changes::Changes;
use super::{Consistency, Known, Peers, Settings, commands};

/// So many may wait for a scan.
pub(super) const REQUESTS: usize = 16;
/// What commands print is asked for this often; files are looked at as well.
const EVERY: Duration = Duration::from_secs(10);
/// How often it is asked whether the balancer was reloaded.
const RELOADED: Duration = Duration::from_millis(500);
/// From a scan to the next for changes: files that change all the time must not occupy a
/// processor. At least this, and several times as long as the last one took.
const REST: Duration = Duration::from_millis(100);
const REST_FACTOR: u32 = 5;
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
        let mut seen = Changes::of(rules.files.clone()).await;
        let mut scanner = Some(Scanner::new((*rules).clone()));
        let mut waiting: Vec<Request> = Vec::new();
        loop {
            while let Ok(request) = requests.try_recv() {
                waiting.push(request);
            }
            let began = Instant::now();
            let outside = commands::outside(&settings, consistency.patience.command).await;
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
            // What a repair has put in place may go back: it is told when that is over.
            let repairing = consistency.repairing.try_lock().is_err();
            if told.as_ref() != Some(&inventory) && !repairing {
                if inputs.send(Input::Manifest(inventory.clone())).await.is_err() {
                    return;
                }
                told = Some(inventory);
            }
            for request in waiting.drain(..) {
                let _ = request.reply.send(Arc::clone(&known)); // Gone if it gave up waiting.
            }
            let rest = Instant::now() + (began.elapsed() * REST_FACTOR).clamp(REST, EVERY);
            let news = News { requests: &mut requests, settings: &mut changes, files: &mut seen };
            match pause(back, rest, news, &mut waiting).await {
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

/// What may be a reason to scan.
struct News<'a> {
    requests: &'a mut mpsc::Receiver<Request>,
    settings: &'a mut tokio::sync::watch::Receiver<Arc<Settings>>,
    files: &'a mut Changes,
}

/// Waits for a reason to scan; a change of files is one when the rest is over. `None`: the daemon
/// ends.
async fn pause(
    scanner: Scanner,
    rest: Instant,
    news: News<'_>,
    waiting: &mut Vec<Request>,
) -> Option<(Scanner, Why)> {
    let News { requests, settings, files } = news;
    let until = Instant::now() + EVERY;
    let mut scanner = Some(scanner);
    let mut look = Instant::now() + RELOADED;
    let mut changed_files = false;
    loop {
        tokio::select! {
            request = requests.recv() => {
                waiting.push(request?);
                return Some((scanner?, Why::Again));
            }
            changed = settings.changed() => {
                changed.ok()?;
                return Some((scanner?, Why::Settings));
            }
            () = files.next(), if !changed_files => changed_files = true,
            () = sleep_until(rest), if changed_files => return Some((scanner?, Why::Again)),
            () = sleep_until(look.min(until)) => {
                let asked = scanner.take()?;
                let (back, reloaded) = spawn_blocking(move || {
                    let reloaded = asked.reloaded();
                    (asked, reloaded)
                }).await.ok()?;
                if reloaded || Instant::now() >= until {
                    return Some((back, Why::Again));
                }
                scanner = Some(back);
                look = Instant::now() + RELOADED;
            }
        }
    }
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
