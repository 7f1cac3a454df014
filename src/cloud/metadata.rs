//! Instance metadata (IMDSv2), by the SDK's client: who this machine is, and a hint that one of
//! its addresses moved. `AWS_EC2_METADATA_SERVICE_ENDPOINT` and `AWS_EC2_METADATA_DISABLED` mean
//! what they mean to the SDK.

use std::time::Duration;

use aws_config::imds;
use aws_config::imds::client::error::ImdsError;
use aws_config::provider_config::ProviderConfig;
use tokio::sync::mpsc;
use vipward_core::{AddressKind, GroupId, Input};

use super::Cloud;
use super::client::http_client;
use super::outcome::chain;

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
        Ok(mac.filter(|mac| mac.chars().all(|c| c.is_ascii_hexdigit() || c == ':')))
    }

    /// The MAC of an interface, if it is the primary one.
    pub(super) async fn mac_of(&self, interface: &str) -> Result<Option<String>, String> {
        let primary = self.primary_interface().await?;
        if primary.as_deref() != Some(interface) {
            return Ok(None);
        }
        self.primary_mac().await
    }

    /// The addresses of the interface with this MAC: the public ones, and, where secondary
    /// addresses move, the private ones.
    async fn addresses(&self, mac: &str, private: bool) -> Result<[Option<String>; 2], String> {
        let of = |what: &str| format!("network/interfaces/macs/{mac}/{what}");
        let public = self.get(&of("public-ipv4s")).await?;
        let private = if private { self.get(&of("local-ipv4s")).await? } else { None };
        Ok([public, private])
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

/// Watches this machine's addresses in its metadata, each second, and hints to read the
/// ownership of every group when they change (design 5.4). Only a hint: metadata may be late.
/// Ends when nobody listens, or when there is no metadata to ask.
pub async fn run_metadata_hint(cloud: Cloud, inputs: mpsc::Sender<Input>) {
    let Some(metadata) = &cloud.shared.metadata else { return };
    let mac = loop {
        match metadata.primary_mac().await {
            Ok(Some(mac)) => break mac,
            Ok(None) | Err(_) => tokio::time::sleep(RETRY).await,
        }
        if inputs.is_closed() {
            return;
        }
    };
    let mut seen = None;
    let mut tick = tokio::time::interval(HINT);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !inputs.is_closed() {
        tick.tick().await;
        // A failure is no change; the next second asks again.
        let private = cloud.shared.cluster().has(AddressKind::SecondaryIp);
        let Ok(now) = metadata.addresses(&mac, private).await else { continue };
        let changed = seen.as_ref().is_some_and(|before| *before != now);
        // A full queue drops the hint: what was seen stays as it was, and the next second hints.
        if !changed || hint(&cloud, &inputs) {
            seen = Some(now);
        }
    }
}

fn hint(cloud: &Cloud, inputs: &mpsc::Sender<Input>) -> bool {
    let groups = cloud.shared.cluster().groups.len();
    let mut groups = (0..).map(GroupId).take(groups);
    groups.all(|group| inputs.try_send(Input::OwnershipHint { group }).is_ok())
}
