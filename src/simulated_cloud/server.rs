//! The listener and its handle.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tower::ServiceExt;
use vipward_core::Timestamp;

use super::admin;
use super::ec2_error::Ec2Error;
use super::engine::{Effect, Engine};
use super::exchange;
use super::faults::{Faults, FaultsError};
use super::record::Entry;
use super::reply::Reply;
use super::resources::{Adopt, PublicNetwork, ResourceError, Resources};
use super::state::{Cloud, Holders};

/// How many connections are served at once; a further one waits.
const CONNECTIONS_MAX: usize = 1_024;

/// How long a connection may be idle. Longer than any endpoint of AWS keeps one, and an end.
const IDLE_MAX: Duration = Duration::from_secs(600);

/// What a simulated cloud starts with.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What exists.
    pub resources: Resources,
    /// What goes wrong.
    pub faults: Faults,
    /// Which ids exist beside those.
    pub adopt: Adopt,
    /// Where public addresses come from that are not given.
    pub public_network: PublicNetwork,
    /// Makes the ids and the chances repeat; absent: they differ each time.
    pub seed: Option<u64>,
}

/// A simulated cloud that runs until it is stopped or dropped.
#[derive(Debug)]
pub struct SimulatedCloud {
    address: SocketAddr,
    shared: Arc<Shared>,
    _stop: DropGuard,
}

impl SimulatedCloud {
    /// Serves the listener, in tasks of the current runtime.
    ///
    /// # Errors
    ///
    /// If the listener has no address, the faults or the resources make no sense, or the system
    /// has no random numbers.
    pub fn start(listener: TcpListener, options: Options) -> Result<Self, StartError> {
        options.faults.validate()?;
        let seed = match options.seed {
            Some(seed) => seed,
            None => getrandom::u64().map_err(io::Error::other)?,
        };
        let mut cloud = Cloud::new(options.public_network, options.adopt, seed);
        cloud.add(&options.resources)?;
        let address = listener.local_addr()?;
        let stop = CancellationToken::new();
        let shared = Arc::new(Shared {
            holders: watch::Sender::new(Arc::new(cloud.holders())),
            engine: Mutex::new(Engine::new(cloud, options.faults, seed.rotate_left(32))),
            tasks: TaskTracker::new(),
            stop: stop.clone(),
        });
        shared.tasks.spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { address, shared, _stop: stop.drop_guard() })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens, as clients of AWS want it.
    #[must_use]
    pub fn endpoint_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Who holds what now. Cheap: a lock for reading, and a pointer.
    #[must_use]
    pub fn holders(&self) -> Arc<Holders> {
        self.shared.holders.borrow().clone()
    }

    /// Who holds what, now and after each change.
    #[must_use]
    pub fn watch_holders(&self) -> watch::Receiver<Arc<Holders>> {
        self.shared.holders.subscribe()
    }

    /// The newest calls that could change something, oldest first.
    #[must_use]
    pub fn record(&self) -> Vec<Entry> {
        self.shared.engine().record.entries().cloned().collect()
    }

    /// The faults in force.
    #[must_use]
    pub fn faults(&self) -> Faults {
        self.shared.engine().faults().clone()
    }

    /// Replaces all faults; they hold for calls that come from now on.
    ///
    /// # Errors
    ///
    /// [`FaultsError`] for a value out of its bounds; the faults stay as they were.
    pub fn set_faults(&self, faults: Faults) -> Result<(), FaultsError> {
        faults.validate()?;
        self.shared.engine().set_faults(faults);
        Ok(())
    }

    /// Adds resources.
    ///
    /// # Errors
    ///
    /// [`ResourceError`] if one of them cannot be; then none is.
    pub fn add(&self, resources: &Resources) -> Result<(), ResourceError> {
        self.shared.add(resources)
    }

    /// Stops at once: connections are closed, and calls that have not landed never do.
    pub async fn stop(self) {
        self.shared.stop.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }
}

/// A simulated cloud that cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The faults make no sense.
    #[error(transparent)]
    Faults(#[from] FaultsError),
    /// The resources make no sense.
    #[error(transparent)]
    Resources(#[from] ResourceError),
    /// The system refuses.
    #[error("the simulated cloud cannot start: {0}")]
    System(#[from] io::Error),
}

/// What the connections share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Held for microseconds, and never while waiting.
    engine: Mutex<Engine>,
    holders: watch::Sender<Arc<Holders>>,
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
}

impl Shared {
    pub(crate) fn engine(&self) -> MutexGuard<'_, Engine> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn holders(&self) -> Arc<Holders> {
        self.holders.borrow().clone()
    }

    pub(crate) fn add(&self, resources: &Resources) -> Result<(), ResourceError> {
        let mut engine = self.engine();
        engine.cloud.add(resources)?;
        self.publish(&engine);
        Ok(())
    }

    /// Shows a change; called with the engine locked, so that changes are shown in their order.
    fn publish(&self, engine: &Engine) {
        self.holders.send_replace(Arc::new(engine.cloud.holders()));
    }

    pub(crate) fn land(&self, sequence: Option<u64>, effect: &Effect) -> Result<Reply, Ec2Error> {
        let mut engine = self.engine();
        let before = engine.cloud.revision;
        // Taken under the lock, so that the order of effects is the order of their times.
        let result = engine.land(boot_time(), sequence, effect);
        if engine.cloud.revision != before {
            self.publish(&engine);
        }
        result
    }
}

/// The machine's clock that counts suspended time, as the daemon's timelines do.
pub(crate) fn boot_time() -> Timestamp {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    Timestamp::from_nanos(seconds.saturating_mul(1_000_000_000).saturating_add(nanos))
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let admin = admin::router(Arc::clone(&shared));
    let accept_all = async {
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, peer)) => {
                    let connection =
                        connection(stream, peer.ip(), place, admin.clone(), Arc::clone(&shared));
                    shared.tasks.spawn(shared.stop.clone().run_until_cancelled_owned(connection));
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection cannot be accepted; trying again");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    };
    let _stopped = shared.stop.run_until_cancelled(accept_all).await;
}

async fn connection(
    stream: TcpStream,
    source: IpAddr,
    _place: OwnedSemaphorePermit,
    admin: Router,
    shared: Arc<Shared>,
) {
    // Answers are single small segments: one that waits for an acknowledgement is late for nothing.
    let _best_effort = stream.set_nodelay(true);
    let service = service_fn(move |request: Request<Incoming>| {
        let (admin, shared) = (admin.clone(), Arc::clone(&shared));
        async move {
            if request.uri().path().starts_with(admin::PREFIX) {
                let answer = admin.oneshot(request.map(Body::new)).await;
                return answer.map_err(|never| match never {});
            }
            exchange::answer(request, source, shared).await
        }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, %source, "a connection ended");
    }
}
