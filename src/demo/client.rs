//! The client: open loop, a new connection every 5 ms to whoever the cloud says holds the
//! address, whatever became of the connections before.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;
use vipward_core::Timestamp;

use crate::runtime::clock;
use crate::simulated_cloud::Holders;

/// A new connection so often.
pub(crate) const PACE: Duration = Duration::from_millis(5);
/// After this a request is lost.
const PATIENCE: Duration = Duration::from_millis(250);

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Shot {
    pub(crate) sent: Timestamp,
    /// When it was answered and by whom; `None`: lost.
    pub(crate) answered: Option<(Timestamp, Arc<str>)>,
}

/// A client at work. Dropped: it stops.
#[derive(Debug)]
pub(crate) struct Client {
    shots: Arc<Mutex<Vec<Shot>>>,
    _task: AbortOnDropHandle<()>,
}

impl Client {
    /// Starts shooting at the holder of `allocation`; `services` tells where the service of each
    /// interface is.
    pub(crate) fn start(
        allocation: String,
        holders: watch::Receiver<Arc<Holders>>,
        services: BTreeMap<String, SocketAddr>,
    ) -> Self {
        let shots = Arc::new(Mutex::new(Vec::new()));
        let task = tokio::spawn(shoot(allocation, holders, services, Arc::clone(&shots)));
        Self { shots, _task: AbortOnDropHandle::new(task) }
    }

    /// Every request whose end is known, in the order of their sending.
    pub(crate) fn shots(&self) -> Vec<Shot> {
        let mut shots = self.shots.lock().unwrap_or_else(PoisonError::into_inner).clone();
        shots.sort_by_key(|shot| shot.sent);
        shots
    }
}

async fn shoot(
    allocation: String,
    holders: watch::Receiver<Arc<Holders>>,
    services: BTreeMap<String, SocketAddr>,
    shots: Arc<Mutex<Vec<Shot>>>,
) {
    let mut pace = tokio::time::interval(PACE);
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
    loop {
        pace.tick().await;
        let target = holders
            .borrow()
            .get(&allocation)
            .and_then(|holding| services.get(&holding.association.as_ref()?.interface).copied());
        let shots = Arc::clone(&shots);
        // Bounded by the patience: fifty are under way at most.
        tokio::spawn(async move {
            let sent = clock::now();
            let answered = match target {
                Some(target) => tokio::time::timeout(PATIENCE, ask(target)).await.ok().flatten(),
                None => None,
            };
            let answered = answered.map(|name| (clock::now(), name));
            shots.lock().unwrap_or_else(PoisonError::into_inner).push(Shot { sent, answered });
        });
    }
}

async fn ask(target: SocketAddr) -> Option<Arc<str>> {
    let mut stream = TcpStream::connect(target).await.ok()?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: demo\r\nConnection: close\r\n\r\n").await.ok()?;
    let mut answer = Vec::with_capacity(256);
    stream.read_to_end(&mut answer).await.ok()?;
    let answer = String::from_utf8(answer).ok()?;
    let (head, name) = answer.split_once("\r\n\r\n")?;
    (head.starts_with("HTTP/1.1 200") && !name.is_empty()).then(|| name.into())
}

/// The longest gap between answers served, less the pace (contract, "The demo"), among shots
/// around `from`.
pub(crate) fn outage(shots: &[Shot], from: Timestamp) -> Duration {
    let mut answers: Vec<Timestamp> =
        shots.iter().filter_map(|shot| shot.answered.as_ref().map(|(at, _)| *at)).collect();
    answers.sort_unstable();
    let gaps = answers.windows(2).filter_map(|pair| match pair {
        [before, after] if *after >= from => Some(after.since(*before)),
        _ => None,
    });
    gaps.max().unwrap_or_default().saturating_sub(PACE)
}

/// The first answer of `name` to a request sent after `from`.
pub(crate) fn first_answer(shots: &[Shot], name: &str, from: Timestamp) -> Option<Timestamp> {
    shots
        .iter()
        .filter(|shot| shot.sent >= from)
        .filter_map(|shot| shot.answered.as_ref())
        .filter(|(_, by)| by.as_ref() == name)
        .map(|(at, _)| *at)
        .min()
}
