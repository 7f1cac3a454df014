//! Who this machine is in the cloud: from the file, or else from instance metadata.

use std::sync::Arc;
use std::time::Duration;

use ipnet::Ipv4Net;
use vipward_core::Random;

use super::{Cluster, Shared};

/// The longest pause between two tries.
const LONGEST_RETRY: Duration = Duration::from_secs(15);

/// This machine's ids, kept once known.
#[derive(Clone, Debug, Default)]
pub(super) struct Own {
    pub(super) instance_id: Option<Arc<str>>,
    pub(super) interface_id: Option<Arc<str>>,
    /// The interface's subnet, once seen: where its secondary addresses are looked for.
    pub(super) subnet: Option<Arc<str>>,
    /// The interface's primary private address, once seen.
    pub(super) primary: Option<std::net::Ipv4Addr>,
    /// The subnet's addresses, once metadata told them.
    pub(super) range: Option<Ipv4Net>,
    /// Why they are not known.
    trouble: Option<Arc<str>>,
}

impl Own {
    /// What the file says.
    pub(super) fn of_file(cluster: &Cluster) -> Self {
        let mut own = Self::default();
        own.reload(cluster);
        own
    }

    /// Takes over what the file says, and keeps the rest.
    pub(super) fn reload(&mut self, cluster: &Cluster) {
        let ids = cluster.me.and_then(|me| cluster.nodes.get(me.index()));
        let Some(ids) = ids else { return };
        if let Some(id) = &ids.instance_id {
            self.instance_id = Some(id.as_str().into());
        }
        if let Some(id) = &ids.network_interface_id {
            self.interface_id = Some(id.as_str().into());
        }
    }

    /// The sentence for a call or a preflight that needs the interface.
    pub(super) fn missing(&self) -> String {
        let why = self.trouble.as_deref().unwrap_or("instance metadata has not answered yet");
        format!("this node's network interface is not known ({why}): set its network_interface_id")
    }
}

/// Asks instance metadata until both ids are known.
pub(super) async fn resolve(shared: &Shared) {
    let Some(metadata) = &shared.metadata else {
        shared.own.send_modify(|own| own.trouble = Some("there is no metadata to ask".into()));
        return;
    };
    let mut random = Random::new(getrandom::u64().unwrap_or(0));
    let mut retry = Duration::from_secs(1);
    loop {
        let (instance, interface) = {
            let own = shared.own.borrow();
            (own.instance_id.is_some(), own.interface_id.is_some())
        };
        if instance && interface {
            return;
        }
        let asked = async {
            let found = if instance { None } else { metadata.instance_id().await? };
            let primary = if interface { None } else { metadata.primary_interface().await? };
            Ok::<_, String>((found, primary))
        };
        let asked = asked.await;
        shared.own.send_modify(|own| match asked {
            Ok((found, primary)) => {
                own.instance_id = own.instance_id.take().or(found.map(Arc::from));
                own.interface_id = own.interface_id.take().or(primary.map(Arc::from));
                own.trouble = Some("instance metadata does not name it".into());
            }
            Err(error) => own.trouble = Some(error.into()),
        });
        tokio::time::sleep(retry / 2 + random.up_to(retry / 2)).await;
        retry = (retry * 2).min(LONGEST_RETRY);
    }
}
