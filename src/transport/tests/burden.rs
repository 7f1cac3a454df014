//! What a manifest on its way costs the heartbeats: measured, printed, and held to a generous bound.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::manifests::{Shelf, files, serve};
use super::*;

/// Round trips of heartbeats, in order.
#[derive(Default)]
struct Timed(Mutex<Vec<Duration>>, AtomicU64);

impl Observer for Timed {
    fn round_trip(&self, _: NodeId, _: LinkId, took: Duration) {
        self.0.lock().unwrap().push(took);
    }

    fn lost(&self, _: NodeId, _: LinkId) {
        self.1.fetch_add(1, Ordering::Relaxed);
    }

    fn rejected(&self, _: Rejection) {}
}

/// What a heartbeat thread hands to the main runtime.
type Hands = (Fetcher, mpsc::Receiver<ManifestRequest>);

/// From one heartbeat to the next.
const BEAT: Duration = Duration::from_millis(10);

/// A node on a thread of its own, as in the daemon, which answers heartbeats and, if told to,
/// sends one each 10 ms. The returned function ends it and tells what CPU time it took.
fn heartbeat_thread(
    settings: Settings,
    beat_to: Option<NodeId>,
    timed: Arc<Timed>,
) -> (Hands, impl FnOnce() -> Duration) {
    let (end, mut ended) = tokio::sync::oneshot::channel::<()>();
    let (ready, up) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (sender, mut inputs) = mpsc::channel(256);
            let stats = Arc::new(Stats::new(&settings.link_counts(), Some(timed)));
            let transport = bind(settings, sender, stats).await.unwrap();
            ready.send((transport.fetcher(), transport.serve_manifests())).unwrap();
            let mut tick = tokio::time::interval(BEAT);
            // Not several at once after a pause: beyond four under way, the next is lost.
            tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            let mut send = 0;
            loop {
                tokio::select! {
                    _ = &mut ended => break,
                    _ = tick.tick(), if beat_to.is_some() => {
                        send += 1;
                        transport.send(beat_to.unwrap(), &heartbeat(send));
                    }
                    Some(input) = inputs.recv() => {
                        if let Input::Request { id, request: Request::Heartbeat(beat), .. } = input {
                            transport.answer(id, answer_to(&beat));
                        }
                    }
                }
            }
        });
        super::cost::cpu_time()
    });
    let hands = up.recv().unwrap();
    let end = move || {
        let _ = end.send(());
        thread.join().unwrap()
    };
    (hands, end)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_mebibytes_delay_no_heartbeat() {
    let mut settings = pair(1);
    settings.timeouts.heartbeat = PATIENCE;
    let timed = Arc::new(Timed::default());
    // The one that is asked listens before the other's first heartbeat, which else were refused.
    let of_b = seen_from(&settings, B, 0xb);
    let ((_, requests), end_b) = heartbeat_thread(of_b, None, Arc::default());
    let ((fetcher, _), end_a) = heartbeat_thread(settings, Some(B), Arc::clone(&timed));
    let shelf = Shelf::default();
    let manifest = files(20_000, 255);
    let travels: usize =
        manifest.entries.iter().map(|it| serde_json::to_vec(&it).unwrap().len() + 1).sum();
    shelf.lock().unwrap().manifest = manifest;
    drop(serve(requests, &shelf, |_| {}));
    let take = || std::mem::take(&mut *timed.0.lock().unwrap());
    let percentiles = |took: &mut Vec<Duration>| {
        took.sort();
        (took.len(), took[took.len() / 2], took[took.len() * 99 / 100], took[took.len() - 1])
    };
    let hundred = async {
        while timed.0.lock().unwrap().len() < 100 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, hundred).await.unwrap();
    let lost = || timed.1.swap(0, Ordering::Relaxed);
    let rest = (percentiles(&mut take()), lost());
    println!("at rest: ((beats, median, p99, longest), lost) {rest:?}");

    let began = tokio::time::Instant::now();
    let rounds = 3;
    for _ in 0..rounds {
        let fetched = fetcher.fetch_manifest(B).await.unwrap();
        assert_eq!(fetched.manifest, shelf.lock().unwrap().manifest);
    }
    let took = began.elapsed();
    let (mut during, lost) = (take(), lost());
    let pages = shelf.lock().unwrap().asked;
    println!("{travels} bytes, {pages} pages in {rounds} fetches, {took:?}");
    println!("meanwhile: {:?}", (percentiles(&mut during), lost));
    let (cpu_a, cpu_b) = (end_a(), end_b());
    println!("CPU of the heartbeat threads: {cpu_a:?} asking, {cpu_b:?} serving");
    assert!(travels > 15 << 19 && travels < 8 << 20, "{travels}");
    // Most are answered before the next is sent: the machine may be busy, the links are not.
    let prompt = during.iter().filter(|took| **took < BEAT).count();
    let sent = during.len() + usize::try_from(lost).unwrap();
    assert!(prompt * 2 > sent, "{prompt} of {sent}");
}
