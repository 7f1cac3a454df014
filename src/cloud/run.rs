//! The loops between the core's queue and the cloud.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use vipward_core::{CloudCall, Input, Random};

use super::{Clock, Cloud};

/// Calls under way at once. The core has one per address, and reads; a cluster of hundreds of
/// addresses would wait here rather than open hundreds of connections.
const MOST: usize = 64;
/// The preflight of a standby that could take over.
const PREFLIGHT: Duration = Duration::from_secs(60);
/// Of one that could not.
const PREFLIGHT_FAILING: Duration = Duration::from_secs(5);
/// The least between two, whatever happens meanwhile.
const PREFLIGHT_DOUBTED: Duration = Duration::from_secs(1);
/// What the first preflight waits for: it would only report that nothing is set up yet.
const SETTLE: Duration = Duration::from_secs(3);

/// Carries out every call of `calls`, all at once, and tells the core how each ended. Ends with
/// the queue, when the last call has ended.
pub async fn run(
    cloud: Cloud,
    mut calls: mpsc::Receiver<CloudCall>,
    inputs: mpsc::Sender<Input>,
    clock: Clock,
) {
    let mut under_way = JoinSet::new();
    while let Some(call) = calls.recv().await {
        while under_way.len() >= MOST {
            under_way.join_next().await;
        }
        while under_way.try_join_next().is_some() {}
        under_way.spawn(carry_out(cloud.clone(), call, inputs.clone(), Arc::clone(&clock)));
    }
    while under_way.join_next().await.is_some() {}
}

async fn carry_out(cloud: Cloud, call: CloudCall, inputs: mpsc::Sender<Input>, clock: Clock) {
    let id = call.id;
    let ended = cloud.execute(call, &clock).await;
    let input = Input::CallFinished {
        call: id,
        outcome: ended.outcome,
        request_id: ended.request_id,
        took: ended.took,
    };
    // Without a deadline: an outcome that got lost would block its address for ever.
    if inputs.send(input).await.is_err() {
        tracing::debug!("a cloud call ended after the daemon stopped listening");
    }
}

/// Proves every minute that this node could take over, every 5 s while it could not (design 5.7),
/// and soon after something spoke against the last proof. Ends when nobody listens.
pub async fn run_preflight(cloud: Cloud, inputs: mpsc::Sender<Input>) {
    let mut random = Random::new(getrandom::u64().unwrap_or(0));
    cloud.settled(SETTLE).await;
    loop {
        let problems = cloud.preflight().await;
        let pause = if problems.is_empty() { PREFLIGHT } else { PREFLIGHT_FAILING };
        let problems = problems.into_iter().map(Arc::from).collect();
        if inputs.send(Input::Preflight { problems }).await.is_err() {
            return;
        }
        let doubted = async {
            // A call that is denied is tried again soon; not so the preflight.
            tokio::time::sleep(PREFLIGHT_DOUBTED).await;
            cloud.shared.doubt.notified().await;
        };
        tokio::select! {
            // So that a cluster's nodes do not call at the same moment.
            () = tokio::time::sleep(pause - random.up_to(pause / 5)) => {}
            () = doubted => {}
        }
    }
}
