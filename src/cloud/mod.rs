//! The cloud: carries out the core's [`vipward_core::CloudCall`]s through the AWS SDK, and decides nothing.
//!
//! ```text
//!   CloudCall ──> run ──> Cloud::execute ──> aws-sdk-ec2 ──> EC2, or the simulated cloud
//!                             │                  │
//!   Input::CallFinished <─────┘                  └─ fence: refused by the clock (not_after)
//!   Input::Preflight     <── run_preflight          at the moment the request would leave
//!   Input::OwnershipHint <── run_metadata_hint
//! ```
//!
//! What lies on the way of a takeover is prepared ahead (design 5.7): the ids of this machine
//! (`identity`), credentials (`credentials`), and connections with their TLS handshake done
//! (`connections`). Only `client` and the calls themselves name the SDK's types.

mod call;
mod client;
mod connections;
mod credentials;
mod fence;
mod identity;
mod metadata;
mod outcome;
mod preflight;
mod reach;
mod run;
mod secondary;
mod subnet;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio_util::task::AbortOnDropHandle;
use vipward_core::{AddressId, AddressKind, CallOutcome, GroupId, NodeId, Timestamp};

pub use client::CloudStartError;
pub use metadata::{instance_id, run_metadata_hint};
pub use run::{run, run_preflight};
pub use secondary::Mac;

use connections::Connections;
use credentials::Ahead;
use identity::Own;

/// The node's boot-time clock, handed in.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// How often the connections are used when nothing else uses them. Far below what the SDK's pool
/// (90 s, see `connections`) and a load balancer in front of an endpoint (usually 60 s) keep.
pub const KEEP_WARM: Duration = Duration::from_secs(15);

/// What the cloud edge needs of the configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which cloud.
    pub provider: Provider,
    /// The region; without it the SDK's own chain, which ends at instance metadata.
    pub region: Option<String>,
    /// Where the API is; without it the SDK's own rules.
    pub endpoint_url: Option<String>,
    /// How long one call of the preflight may take.
    pub call_timeout: Duration,
    /// How often idle connections are used ([`KEEP_WARM`]).
    pub keep_warm: Duration,
    /// Who and what is in the cluster.
    pub cluster: Cluster,
}

/// Which cloud, and so where region, credentials and ids come from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Provider {
    /// EC2, or something that speaks its API: the SDK's default credential chain.
    Aws,
    /// The simulated cloud: nothing outside the configuration file is asked.
    Simulated,
}

/// The part of the configuration that a reload may change.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    /// This node.
    pub me: Option<NodeId>,
    /// Every node, by [`NodeId`].
    pub nodes: Vec<NodeIds>,
    /// Every group, by [`GroupId`].
    pub groups: Vec<GroupAddresses>,
}

/// A node's ids in the cloud, as far as the file gives them.
#[derive(Clone, Debug, Default)]
pub struct NodeIds {
    /// Its name.
    pub name: String,
    /// Whether it may hold addresses; a witness may not.
    pub may_hold: bool,
    /// Its instance.
    pub instance_id: Option<String>,
    /// The interface that its addresses are associated with.
    pub network_interface_id: Option<String>,
    /// The addresses of its links.
    pub links: Vec<IpAddr>,
}

/// A group's addresses.
#[derive(Clone, Debug, Default)]
pub struct GroupAddresses {
    /// Its name.
    pub name: String,
    /// Whether this node has a priority in it: only then does the preflight try it.
    pub mine: bool,
    /// What moves, by [`AddressId`].
    pub addresses: Vec<AddressIds>,
}

/// An address's ids in the cloud.
#[derive(Clone, Debug)]
pub enum AddressIds {
    /// An elastic IP.
    ElasticIp {
        /// Its allocation.
        allocation_id: String,
        /// This node's private address that it is bound to; the primary one if absent.
        private_ip: Option<String>,
    },
    /// A secondary private address.
    SecondaryIp {
        /// The address.
        ip: Ipv4Addr,
    },
}

impl AddressIds {
    /// As people and logs call it.
    fn name(&self) -> String {
        match self {
            Self::ElasticIp { allocation_id, .. } => allocation_id.clone(),
            Self::SecondaryIp { ip } => ip.to_string(),
        }
    }

    /// The allocation of an elastic IP.
    fn allocation(&self) -> Option<&str> {
        match self {
            Self::ElasticIp { allocation_id, .. } => Some(allocation_id),
            Self::SecondaryIp { .. } => None,
        }
    }

    fn kind(&self) -> AddressKind {
        match self {
            Self::ElasticIp { .. } => AddressKind::ElasticIp,
            Self::SecondaryIp { .. } => AddressKind::SecondaryIp,
        }
    }
}

impl Cluster {
    /// An address's name, if there is one of that id.
    fn name(&self, group: GroupId, address: AddressId) -> Option<String> {
        Some(self.address(group, address)?.name())
    }

    /// Whether this node may hold an address of that kind.
    fn has(&self, kind: AddressKind) -> bool {
        let mut mine = self.groups.iter().filter(|group| group.mine);
        mine.any(|group| group.addresses.iter().any(|address| address.kind() == kind))
    }

    /// Whether an elastic IP of this node is bound to a secondary address of it.
    fn binds_private(&self) -> bool {
        let mut mine = self.groups.iter().filter(|group| group.mine);
        mine.any(|group| {
            group
                .addresses
                .iter()
                .any(|address| matches!(address, AddressIds::ElasticIp { private_ip: Some(_), .. }))
        })
    }

    fn secondary(&self, group: GroupId, address: AddressId) -> Option<Ipv4Addr> {
        match self.address(group, address)? {
            AddressIds::SecondaryIp { ip } => Some(*ip),
            AddressIds::ElasticIp { .. } => None,
        }
    }

    fn address(&self, group: GroupId, address: AddressId) -> Option<&AddressIds> {
        self.groups.get(group.index())?.addresses.get(address.index())
    }
}

/// Hears of every call that was carried out for the core: for metrics.
pub trait Observer: Send + Sync {
    /// A call ended. `operation` is the EC2 API's name, `outcome` the contract's.
    fn call(&self, operation: &'static str, outcome: &'static str, took: Duration);
}

/// Hears nothing.
impl Observer for () {
    fn call(&self, _: &'static str, _: &'static str, _: Duration) {}
}

/// How a call ended: the fields of `Input::CallFinished`.
#[derive(Clone, Debug)]
pub struct Finished {
    /// How.
    pub outcome: CallOutcome,
    /// The cloud's name for the request.
    pub request_id: Option<Arc<str>>,
    /// How long it took.
    pub took: Duration,
}

/// The way to the cloud. Cheap to clone; its background tasks end with the last clone.
#[derive(Clone)]
pub struct Cloud {
    shared: Arc<Shared>,
    _upkeep: Arc<AbortOnDropHandle<()>>,
}

/// What calls and background tasks share. Everything in it is read without waiting.
struct Shared {
    settings: Settings,
    /// Something speaks against what the last preflight found.
    doubt: Notify,
    cluster: watch::Sender<Arc<Cluster>>,
    own: watch::Sender<Own>,
    /// The MAC of this node's interface, once known.
    mac: watch::Sender<Option<Mac>>,
    /// `None` until region and credential chain are set up.
    connections: watch::Sender<Option<Arc<Connections>>>,
    credentials: Ahead,
    metadata: Option<metadata::Metadata>,
    observer: Arc<dyn Observer>,
}

impl Cloud {
    /// Starts the way to the cloud. Never waits for the cloud, for instance metadata or for
    /// credentials: they are resolved in the background, with retries, and kept once known.
    /// Until then calls end with an error, and the preflight says what is missing.
    ///
    /// # Errors
    ///
    /// [`CloudStartError`] where the settings cannot work whatever the cloud does.
    pub async fn connect(
        settings: Settings,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, CloudStartError> {
        client::check(&settings)?;
        let metadata = match settings.provider {
            Provider::Aws => metadata::Metadata::unless_disabled(),
            Provider::Simulated => None,
        };
        Ok(Self::start(settings, metadata, observer))
    }

    fn start(
        settings: Settings,
        metadata: Option<metadata::Metadata>,
        observer: Arc<dyn Observer>,
    ) -> Self {
        let shared = Arc::new(Shared {
            own: watch::Sender::new(Own::of_file(&settings.cluster)),
            cluster: watch::Sender::new(Arc::new(settings.cluster.clone())),
            mac: watch::Sender::new(None),
            connections: watch::Sender::new(None),
            credentials: Ahead::default(),
            metadata,
            observer,
            doubt: Notify::new(),
            settings,
        });
        let upkeep = tokio::spawn(upkeep(Arc::clone(&shared)));
        Self { shared, _upkeep: Arc::new(AbortOnDropHandle::new(upkeep)) }
    }

    /// Waits until everything that calls need is known and the first connections are open, at
    /// most for `at_most`; true if so. For the preflight's first run and for `check --cloud`.
    pub async fn settled(&self, at_most: Duration) -> bool {
        let shared = &self.shared;
        let settle = async {
            let (mut connections, mut own) =
                (shared.connections.subscribe(), shared.own.subscribe());
            let known = connections.wait_for(Option::is_some).await.is_ok_and(|c| c.is_some())
                && own.wait_for(|own| own.interface_id.is_some()).await.is_ok();
            known && shared.credentials.loaded(at_most).await
        };
        tokio::time::timeout(at_most, settle).await.unwrap_or(false)
    }

    /// Takes over what a reload of the configuration changed.
    pub fn reload(&self, cluster: Cluster) {
        self.shared.own.send_modify(|own| own.reload(&cluster));
        self.shared.cluster.send_replace(Arc::new(cluster));
    }

    /// The last preflight may be wrong: the next one runs soon ([`run_preflight`]).
    pub fn doubt_preflight(&self) {
        self.shared.doubt.notify_one();
    }

    /// How long the credentials are still good: `None` without any, or when they never expire.
    #[must_use]
    pub fn credentials_expiry(&self) -> Option<Duration> {
        self.shared.credentials.left()
    }

    /// This node's instance id, from the file or instance metadata, once known.
    #[must_use]
    pub fn own_instance_id(&self) -> Option<Arc<str>> {
        self.shared.own.borrow().instance_id.clone()
    }

    /// The MAC address of this node's network interface: `None` until it is known.
    #[must_use]
    pub fn own_mac(&self) -> watch::Receiver<Option<Mac>> {
        self.shared.mac.subscribe()
    }

    /// This node's network interface id, from the file or instance metadata, once known.
    #[must_use]
    pub fn own_interface_id(&self) -> Option<Arc<str>> {
        self.shared.own.borrow().interface_id.clone()
    }
}

impl Shared {
    fn connections(&self) -> Option<Arc<Connections>> {
        self.connections.borrow().clone()
    }

    fn cluster(&self) -> Arc<Cluster> {
        Arc::clone(&self.cluster.borrow())
    }

    /// How many addresses may have to be claimed at once, and so want a connection each.
    fn concurrency(&self) -> usize {
        let cluster = self.cluster.borrow();
        let mine = cluster.groups.iter().filter(|group| group.mine);
        mine.map(|group| group.addresses.len()).sum()
    }
}

/// Everything that is done ahead of a takeover, for as long as the daemon runs.
async fn upkeep(shared: Arc<Shared>) {
    let ready = async {
        let source = client::start(&shared).await;
        tokio::join!(
            shared.credentials.keep(source),
            connections::keep_warm(&shared),
            secondary::learn_own(&shared),
        );
    };
    tokio::join!(identity::resolve(&shared), ready);
}
