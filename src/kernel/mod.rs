//! The kernel's half of an address: added and removed by netlink, announced by ARP, put back when
//! something else removes it.
//!
//! It works on levels: whatever happens, what the kernel has is read and made as wanted. A missed
//! event or order is made good with the next.

mod announce;
mod budget;
mod item;
mod keeper;
mod place;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use vipward_core::{AddressId, GroupId, Input, Presence};

use keeper::Keeper;

/// What the core wants of each address; one that is not named is left as it is.
pub type Wanted = BTreeMap<(GroupId, AddressId), Presence>;

/// The MAC of this node's network interface, once it is known.
pub type Mac = watch::Receiver<Option<[u8; 6]>>;

/// What the edge needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The addresses that this node's kernel may have.
    pub addresses: Vec<Address>,
    /// Which interface they belong to, where they do not say it themselves.
    pub mac: Mac,
}

/// An address that the kernel may have.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Address {
    /// The address itself; it is added as a /32.
    pub ip: Ipv4Addr,
    /// The interface's name; that with the MAC of the node's network interface if absent.
    pub interface: Option<String>,
    /// Who decides when the kernel has it.
    pub keep: Keep,
}

/// Who decides when the kernel has an address.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Keep {
    /// The core, which is told what the kernel has.
    Ordered(GroupId, AddressId),
    /// Nobody: it is this node's own, present as long as the daemon runs, and left there.
    Always,
}

impl Settings {
    /// Settings without an address yet.
    #[must_use]
    pub fn new(mac: Mac) -> Self {
        Self { addresses: Vec::new(), mac }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self::new(watch::channel(None).1)
    }
}

/// How long the end may take to carry out what is still wanted.
const LAST_ORDERS: Duration = Duration::from_millis(500);

/// Keeps the kernel as wanted until `stop`, and then once more. What it has then, it keeps.
pub async fn run(
    settings: Settings,
    wanted: watch::Receiver<Wanted>,
    inputs: mpsc::Sender<Input>,
    stop: CancellationToken,
) {
    if settings.addresses.is_empty() {
        return;
    }
    let mut keeper = Keeper::new(settings, wanted, inputs);
    let _ = stop.run_until_cancelled(keeper.keep()).await;
    if timeout(LAST_ORDERS, keeper.settle()).await.is_err() {
        tracing::error!("the kernel's addresses could not be made as wanted before the end");
    }
}
