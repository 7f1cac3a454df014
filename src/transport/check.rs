//! Tries every link once, for `vipward check --cloud` beside no daemon.
//!
//! It speaks as `NAME#check`: a peer answers that and changes nothing.

use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;
use tokio::time::timeout;
use vipward_core::{LinkId, NodeId};

use super::auth::Keys;
use super::exchange::{self, DialError, ExchangeError, Target};
use super::header::{Envelope, checking_name};
use super::settings::{Path, Settings};
use super::wire::Kind;

/// A connection and two exchanges take no longer, however far the peer is.
const LIMIT: Duration = Duration::from_secs(3);

/// What one link showed.
#[derive(Debug)]
pub struct LinkReport {
    /// To whom.
    pub peer: NodeId,
    /// Which.
    pub link: LinkId,
    /// The round trip on an open connection, or what is wrong.
    pub result: Result<Duration, LinkError>,
}

/// Why a link does not work, in a sentence.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct LinkError(#[from] Failure);

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    #[error("no answer within {LIMIT:?}: the peer is down, or a security group drops the packets")]
    Silent,
    #[error("the peer answered with status {0}")]
    Status(u16),
}

impl LinkError {
    /// Whether nothing answered at all, which a peer that is not started explains.
    #[must_use]
    pub fn is_silence(&self) -> bool {
        match &self.0 {
            Failure::Silent | Failure::Dial(_) => true,
            Failure::Exchange(_) | Failure::Status(_) => false,
        }
    }
}

/// Tries every link to every peer, all at once, as `NAME#check`. Sorted by peer and link.
pub async fn check_links(settings: &Settings) -> Vec<LinkReport> {
    let mut tries = JoinSet::new();
    for peer in settings.peers() {
        for path in settings.paths(peer) {
            let Some(envelope) = envelope(settings, peer, path.link) else { continue };
            let keys = settings.keys.clone();
            tries.spawn(async move {
                let result = match timeout(LIMIT, try_link(path, &keys, envelope)).await {
                    Ok(result) => result,
                    Err(_) => Err(Failure::Silent),
                };
                LinkReport { peer, link: path.link, result: result.map_err(LinkError) }
            });
        }
    }
    let mut reports = Vec::new();
    while let Some(done) = tries.join_next().await {
        reports.extend(done);
    }
    reports.sort_by_key(|report| (report.peer, report.link));
    reports
}

fn envelope(settings: &Settings, peer: NodeId, link: LinkId) -> Option<Envelope> {
    Some(Envelope {
        version: settings.version,
        cluster: settings.cluster.clone(),
        from: checking_name(&settings.nodes.get(settings.me.index())?.name),
        to: settings.nodes.get(peer.index())?.name.clone(),
        link,
        boot: settings.boot,
        to_boot: None,
        sequence: 0,
    })
}

async fn try_link(path: Path, keys: &Keys, mut envelope: Envelope) -> Result<Duration, Failure> {
    let (mut sender, connection) = exchange::handshake(exchange::dial(&path).await?).await?;
    let exchanges = async {
        let mut took = Duration::ZERO;
        // The first warms up; the second is measured.
        for sequence in 1..=2 {
            envelope.sequence = sequence;
            let target = Target::post(Kind::Heartbeat.path());
            let reply =
                exchange::exchange(&mut sender, keys, &envelope, &target, Bytes::new()).await?;
            if reply.status != 200 {
                return Err(Failure::Status(reply.status));
            }
            took = reply.took;
        }
        Ok(took)
    };
    let mut exchanges = std::pin::pin!(exchanges);
    tokio::select! {
        result = exchanges.as_mut() => result,
        // A connection that ended leaves its last word to the exchange.
        _ = connection => exchanges.await,
    }
}
