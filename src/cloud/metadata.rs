//! Instance metadata (IMDSv2), by the SDK's client: who this machine is, and a hint that one of
//! its addresses moved. `AWS_EC2_METADATA_SERVICE_ENDPOINT` and `AWS_EC2_METADATA_DISABLED` mean
//! what they mean to the SDK.

use std::time::Duration;

use aws_config::imds;
use aws_config::imds::client::error::ImdsError;
use aws_config::provider_config::ProviderConfig;
use ipnet::Ipv4Net;
use tokio::sync::mpsc;
use vipward_core::{AddressKind, GroupId, Input};

use super::client::http_client;
use super::outcome::chain;
use super::{Cloud, GroupAddresses};

/// How long one request may take: metadata is on the same host.
const WITHIN: Duration = Duration::from_secs(1);
/// How often the public addresses of this machine are read (design 5.4).
const HINT: Duration = Duration::from_secs(1);
/// How often it is tried again while metadata does not answer.
const RETRY: Duration = Duration::from_secs(15);

const ROOT: &str = "/latest/meta-data";

/// The way to instance metadata.
pub(super) struct Metadata(imds::Client);

impl Metadata {
    pub(super) fn unless_disabled() -> Option<Self> {
        let disabled = std::env::var("AWS_EC2_METADATA_DISABLED");
        if disabled.is_ok_and(|value| value.eq_ignore_ascii_case("true")) {
            return None;
        }
        Some(Self(builder().build()))
    }

    #[cfg(test)]
    pub(super) fn at(endpoint: &str) -> Self {
        Self(builder().endpoint(endpoint).unwrap().build())
    }

    /// This machine's instance.
    pub(super) async fn instance_id(&self) -> Result<Option<String>, String> {
        self.get("instance-id").await
    }

    /// The interface with the primary MAC.
    pub(super) async fn primary_interface(&self) -> Result<Option<String>, String> {
        let Some(mac) = self.primary_mac().await? else { return Ok(None) };
        self.get(&format!("network/interfaces/macs/{mac}/interface-id")).await
    }

    async fn primary_mac(&self) -> Result<Option<String>, String> {
        let mac = self.get("mac").await?;
        Ok(mac.filter(|mac| is_mac(mac)))
    }

    /// The MAC of an interface of this machine.
    pub(super) async fn mac_of(&self, interface: &str) -> Result<Option<String>, String> {
        if self.primary_interface().await?.as_deref() == Some(interface) {
            return self.primary_mac().await;
        }
        let listed = self.get("network/interfaces/macs/").await?.unwrap_or_default();
        // As many as the largest instances have.
        for mac in listed.lines().map(|line| line.trim_end_matches('/')).take(16) {
            if !is_mac(mac) {
                continue;
            }
            let id = self.get(&format!("network/interfaces/macs/{mac}/interface-id")).await?;
            if id.as_deref() == Some(interface) {
                return Ok(Some(mac.to_owned()));
            }
        }
        Ok(None)
    }

    /// The range of the subnet that an interface of this machine is in.
    pub(super) async fn subnet_range(&self, interface: &str) -> Result<Option<Ipv4Net>, String> {
        let Some(mac) = self.mac_of(interface).await? else { return Ok(None) };
        let path = format!("network/interfaces/macs/{mac}/subnet-ipv4-cidr-block");
        Ok(self.get(&path).await?.and_then(|range| range.parse().ok()))
    }

    /// The addresses of that kind of the interface with this MAC.
    async fn addresses(&self, mac: &str, kind: AddressKind) -> Result<Option<String>, String> {
        let what = match kind {
            AddressKind::ElasticIp => "public-ipv4s",
            AddressKind::SecondaryIp => "local-ipv4s",
        };
        self.get(&format!("network/interfaces/macs/{mac}/{what}")).await
    }

    /// One value; `None` if there is none of that name.
    async fn get(&self, path: &str) -> Result<Option<String>, String> {
        // A token and the value.
        let asked = tokio::time::timeout(2 * WITHIN, self.0.get(format!("{ROOT}/{path}"))).await;
        match asked {
            Err(_) => Err("instance metadata does not answer".to_owned()),
            Ok(Ok(value)) => Ok(Some(value.as_ref().trim().to_owned()).filter(|v| !v.is_empty())),
            Ok(Err(ImdsError::ErrorResponse(answer)))
                if answer.response().status().as_u16() == 404 =>
            {
                Ok(None)
            }
            Ok(Err(error)) => Err(format!("instance metadata: {}", chain(&error))),
        }
    }
}

/// Whether a text can be part of a path, as MACs are.
fn is_mac(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_hexdigit() || c == ':')
}

fn builder() -> imds::client::Builder {
    let config = ProviderConfig::without_region().with_http_client(http_client(false));
    imds::Client::builder()
        .configure(&config)
        .max_attempts(1)
        .connect_timeout(WITHIN)
        .read_timeout(WITHIN)
}

/// This machine's instance id, if instance metadata tells it in time: for `node = "auto"`.
pub async fn instance_id(within: Duration) -> Option<String> {
    let metadata = Metadata::unless_disabled()?;
    tokio::time::timeout(within, metadata.instance_id()).await.ok()?.ok().flatten()
}

/// Watches the addresses of this node's interface in its metadata, each second: the public ones
/// for elastic IPs, the private ones for secondary addresses. When they change, hints to read the
/// ownership of every group that has such addresses (design 5.4). Only a hint: metadata may be
/// late. Ends when nobody listens, or when there is no metadata to ask.
pub async fn run_metadata_hint(cloud: Cloud, inputs: mpsc::Sender<Input>) {
    let Some(metadata) = &cloud.shared.metadata else { return };
    let mac = loop {
        if let Some(mac) = watched_mac(&cloud, metadata).await {
            break mac;
        }
        tokio::time::sleep(RETRY).await;
        if inputs.is_closed() {
            return;
        }
    };
    let mut seen = AddressKind::ALL.map(|kind| (kind, None));
    let mut tick = tokio::time::interval(HINT);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !inputs.is_closed() {
        tick.tick().await;
        for (kind, seen) in &mut seen {
            if !cloud.shared.cluster().has(*kind) {
                continue;
            }
            // A failure is no change; the next second asks again.
            let Ok(now) = metadata.addresses(&mac, *kind).await else { break };
            let changed = seen.as_ref().is_some_and(|before| *before != now);
            // A full queue drops the hint: what was seen stays as it was, and the next second
            // hints.
            if !changed || hint(&cloud, &inputs, *kind) {
                *seen = Some(now);
            }
        }
    }
}

/// The MAC of the interface that addresses move to; the primary one where metadata does not know
/// that interface.
async fn watched_mac(cloud: &Cloud, metadata: &Metadata) -> Option<String> {
    let interface = cloud.own_interface_id();
    let own = match &interface {
        Some(interface) => metadata.mac_of(interface).await.ok()?,
        None => None,
    };
    match own {
        Some(mac) => Some(mac),
        None => metadata.primary_mac().await.ok()?,
    }
}

fn hint(cloud: &Cloud, inputs: &mpsc::Sender<Input>, kind: AddressKind) -> bool {
    let cluster = cloud.shared.cluster();
    let of_kind = |(_, group): &(GroupId, &GroupAddresses)| {
        group.addresses.iter().any(|address| address.kind() == kind)
    };
    let mut groups = (0..).map(GroupId).zip(&cluster.groups).filter(of_kind);
    groups.all(|(group, _)| inputs.try_send(Input::OwnershipHint { group }).is_ok())
}
