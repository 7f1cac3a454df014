//! Connections to the API that are open before they are needed.
//!
//! Measured and read (hyper-util 0.1.21 under aws-smithy-http-client 1.5.2): a connection is
//! kept for **90 s** after its last use, then closed at the next look; any number per host
//! (`pool_idle_timeout`, `pool_max_idle_per_host` of `hyper_util::client::legacy::Builder`, which
//! the SDK leaves as they are). Against a stub: after 80 s idle the same connection served, after
//! 95 s a new one (`tests::warm::measure_the_pool`). TCP keep-alive is off. How long an EC2 endpoint keeps an idle connection is not
//! documented and could not be measured here; load balancers in front of such endpoints usually
//! keep one for 60 s. So each is used every [`super::KEEP_WARM`] (15 s), four times as often.
//!
//! A call over a warm connection costs 0.5 ms on loopback (median of 200, two cores shared by
//! seven busy processes; p99 5 ms), serialising, signing and parsing included.
//!
//! HTTP/1.1 serves one call a connection, so as many are kept as addresses may have to be claimed
//! at once: that many reads are sent at the same time. (A server that speaks HTTP/2 gets one.)
//!
//! **An elastic IP changes the way out.** Where the API is reached through an internet gateway,
//! the connections of this machine carry its public address: the association of another one
//! breaks all of them, silently. So after each claim, and after each time-out, the pool is thrown
//! away: later calls open new connections, and never wait for an answer on a dead one. Calls in
//! flight keep the pool they began with.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_sdk_ec2::Client;
use aws_sdk_ec2::config::Config;
use aws_sdk_ec2::error::SdkError;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use vipward_core::Random;

use super::client::http_client;
use super::secondary::with_address;
use super::{AddressIds, Shared};

/// More than this are not kept open: a call beyond them pays for its own.
const MOST: usize = 8;
/// The first pause while the API cannot be reached.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// The pool in use, and the next one.
pub(super) struct Connections {
    config: Config,
    tls: bool,
    current: watch::Sender<Pool>,
    spare: watch::Sender<Option<Client>>,
    generations: AtomicU64,
    replaced: Notify,
}

/// Connections that share their fate.
#[derive(Clone)]
pub(super) struct Pool {
    pub(super) client: Client,
    generation: u64,
}

impl Connections {
    pub(super) fn new(config: Config, tls: bool) -> Self {
        let pool = Pool { client: build(&config, tls), generation: 0 };
        Self {
            current: watch::Sender::new(pool),
            spare: watch::Sender::new(Some(build(&config, tls))),
            generations: AtomicU64::new(1),
            replaced: Notify::new(),
            config,
            tls,
        }
    }

    /// The pool to make a call with.
    pub(super) fn pool(&self) -> Pool {
        self.current.borrow().clone()
    }

    /// Throws `pool` away, unless that was done already, and opens connections of the next one.
    pub(super) fn replace(&self, pool: &Pool) {
        if self.swap(pool) {
            self.replaced.notify_one();
        }
    }

    fn swap(&self, pool: &Pool) -> bool {
        let next = self.spare.send_replace(None);
        let replaced = self.current.send_if_modified(|current| {
            if current.generation != pool.generation {
                return false;
            }
            current.generation = self.generations.fetch_add(1, Ordering::Relaxed);
            current.client = match &next {
                Some(spare) => spare.clone(),
                None => build(&self.config, self.tls),
            };
            true
        });
        if !replaced && next.is_some() {
            self.spare.send_replace(next);
        }
        replaced
    }

    /// Builds the next pool ahead: with TLS that takes milliseconds.
    async fn prepare(self: &Arc<Self>) {
        if self.spare.borrow().is_some() {
            return;
        }
        let this = Arc::clone(self);
        let built = tokio::task::spawn_blocking(move || build(&this.config, this.tls)).await;
        if let Ok(client) = built {
            self.spare.send_replace(Some(client));
        }
    }
}

impl Pool {
    /// Uses, and so opens, `count` connections at once. False if one of them did not work.
    async fn warm(&self, count: usize, address: &AddressIds, within: Duration) -> bool {
        let mut reads = JoinSet::new();
        for _ in 0..count {
            match address {
                AddressIds::ElasticIp { allocation_id, .. } => {
                    let read = self.client.describe_addresses().allocation_ids(allocation_id);
                    let read = async move { came_back(read.send().await) };
                    reads.spawn(timeout(within, read));
                }
                AddressIds::SecondaryIp { ip } => {
                    let read = self.client.describe_network_interfaces().filters(with_address(*ip));
                    let read = async move { came_back(read.send().await) };
                    reads.spawn(timeout(within, read));
                }
            }
        }
        let mut all = true;
        while let Some(read) = reads.join_next().await {
            all &= matches!(read, Ok(Ok(true)));
        }
        all
    }
}

/// Any answer will do, a refusal too: it came over the connection.
fn came_back<T, E, R>(read: Result<T, SdkError<E, R>>) -> bool {
    match read {
        Ok(_) => true,
        Err(error) => match error {
            SdkError::TimeoutError(_) | SdkError::DispatchFailure(_) => false,
            SdkError::ConstructionFailure(_)
            | SdkError::ResponseError(_)
            | SdkError::ServiceError(_) => true,
            _ => true,
        },
    }
}

fn build(config: &Config, tls: bool) -> Client {
    Client::from_conf(config.to_builder().http_client(http_client(tls)).build())
}

/// Keeps as many connections open as claims may need at once, for ever.
pub(super) async fn keep_warm(shared: &Arc<Shared>) {
    let mut random = Random::new(getrandom::u64().unwrap_or(0));
    let usual = shared.settings.keep_warm.max(Duration::from_millis(10));
    let mut retry = FIRST_RETRY;
    loop {
        let Some(connections) = shared.connections() else { return };
        let pause = if warm_once(shared, &connections).await {
            retry = FIRST_RETRY;
            usual
        } else {
            retry = (retry * 2).min(usual);
            retry
        };
        connections.prepare().await;
        tokio::select! {
            () = tokio::time::sleep(pause - random.up_to(pause / 5)) => {}
            () = connections.replaced.notified() => {}
        }
    }
}

/// One round; false if the API could not be reached.
async fn warm_once(shared: &Shared, connections: &Connections) -> bool {
    let within = shared.settings.call_timeout;
    let cluster = shared.cluster();
    let mut mine = cluster.groups.iter().filter(|group| group.mine);
    let Some(address) = mine.find_map(|group| group.addresses.first()) else { return true };
    // Without credentials the SDK sends nothing.
    if !shared.credentials.loaded(within).await {
        return false;
    }
    let pool = connections.pool();
    let count = shared.concurrency().min(MOST);
    let works = pool.warm(count, address, within).await;
    if !works {
        connections.swap(&pool);
    }
    works
}
