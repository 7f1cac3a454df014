//! The kernel's half of an address: added and removed by netlink, announced by ARP, put back when
//! something else removes it.

use std::collections::BTreeMap;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use vipward_core::{AddressId, GroupId, Input, Presence};

/// What the core wants of each address; one that is not named is left as it is.
pub type Wanted = BTreeMap<(GroupId, AddressId), Presence>;

/// What the edge needs to know.
#[derive(Clone, Debug, Default)]
pub struct Settings {}

/// Keeps the kernel as wanted until `stop`, and then once more.
pub async fn run(
    _settings: Settings,
    _wanted: watch::Receiver<Wanted>,
    _inputs: mpsc::Sender<Input>,
    stop: CancellationToken,
) {
    stop.cancelled().await;
}
