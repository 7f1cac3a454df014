//! The other side of the listener: `/_vipward/`, to look at the cloud and to change its faults.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use jiff::{SignedDuration, Timestamp as WallTime};
use serde::Serialize;
use serde_json::{Value, json};
use vipward_core::Timestamp;

use super::faults::Faults;
use super::record::{Entry, Outcome};
use super::resources::Resources;
use super::server::{Shared, boot_time};
use super::state::Association;

/// Where these paths begin; EC2 has only `/`.
pub(crate) const PREFIX: &str = "/_vipward/";

pub(crate) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route(
            "/_vipward/faults",
            get(faults).put(put_faults).patch(patch_faults).delete(no_faults),
        )
        .route("/_vipward/resources", get(resources).post(add_resources))
        .route("/_vipward/holders", get(holders))
        .route("/_vipward/record", get(record))
        .with_state(shared)
}

async fn faults(State(shared): State<Arc<Shared>>) -> Json<Faults> {
    Json(shared.engine().faults().clone())
}

async fn put_faults(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    set_faults(&shared, &body)
}

/// Changes the faults that are named and leaves the others; null ends one.
async fn patch_faults(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let patch = match serde_json::from_slice(&body) {
        Ok(Value::Object(patch)) => patch,
        Ok(_) => return refusal(StatusCode::BAD_REQUEST, "the body is not a JSON object"),
        Err(error) => return refusal(StatusCode::BAD_REQUEST, error),
    };
    let mut merged = json!(shared.engine().faults());
    if let Value::Object(keys) = &mut merged {
        for (key, value) in patch {
            if value.is_null() {
                keys.remove(&key);
            } else {
                keys.insert(key, value);
            }
        }
    }
    set_faults(&shared, merged.to_string().as_bytes())
}

async fn no_faults(State(shared): State<Arc<Shared>>) -> Json<Faults> {
    shared.engine().set_faults(Faults::default());
    Json(Faults::default())
}

fn set_faults(shared: &Shared, text: &[u8]) -> Response {
    match Faults::from_json(text) {
        Ok(faults) => {
            shared.engine().set_faults(faults.clone());
            Json(faults).into_response()
        }
        Err(error) => refusal(StatusCode::BAD_REQUEST, error),
    }
}

async fn resources(State(shared): State<Arc<Shared>>) -> Json<Resources> {
    Json(shared.engine().cloud.resources())
}

async fn add_resources(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let resources: Resources = match serde_json::from_slice(&body) {
        Ok(resources) => resources,
        Err(error) => return refusal(StatusCode::BAD_REQUEST, error),
    };
    match shared.add(&resources) {
        Ok(()) => Json(shared.engine().cloud.resources()).into_response(),
        Err(error) => refusal(StatusCode::CONFLICT, error),
    }
}

/// By allocation id: the address and who holds it.
async fn holders(State(shared): State<Arc<Shared>>) -> Json<Value> {
    #[derive(Serialize)]
    struct Holding<'a> {
        public_ip: Ipv4Addr,
        association: Option<&'a Association>,
        since: Option<Moment>,
    }
    let clocks = Clocks::now();
    let holders = shared.holders();
    let shown: serde_json::Map<_, _> = holders
        .iter()
        .map(|(id, holding)| {
            let shown = Holding {
                public_ip: holding.public_ip,
                association: holding.association.as_ref(),
                since: holding.since.map(|since| clocks.moment(since)),
            };
            (id.clone(), json!(shown))
        })
        .collect();
    Json(Value::Object(shown))
}

/// Every call that could change something, oldest first.
async fn record(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let clocks = Clocks::now();
    let engine = shared.engine();
    let calls: Vec<_> = engine.record.entries().map(|entry| call(entry, clocks)).collect();
    Json(json!({ "now": clocks.moment(clocks.boot), "calls": calls }))
}

fn call(entry: &Entry, clocks: Clocks) -> Value {
    #[derive(Serialize)]
    struct Call<'a> {
        sequence: u64,
        request_id: &'a str,
        access_key: Option<&'a str>,
        source: Option<IpAddr>,
        action: &'a str,
        parameters: &'a std::collections::BTreeMap<String, String>,
        outcome: &'static str,
        error: Option<&'a str>,
        association_id: Option<&'a str>,
        answer: Option<&'a str>,
        arrived: Moment,
        landed: Option<Moment>,
        answered: Option<Moment>,
    }
    let (outcome, error, association_id) = match &entry.outcome {
        Outcome::Pending => ("pending", None, None),
        Outcome::Done { association } => ("done", None, association.as_deref()),
        Outcome::Refused { code } => ("refused", Some(code.as_str()), None),
        Outcome::Lost => ("lost", None, None),
    };
    json!(Call {
        sequence: entry.sequence,
        request_id: &entry.request_id,
        access_key: entry.caller.access_key.as_deref(),
        source: entry.caller.source,
        action: &entry.action,
        parameters: &entry.parameters,
        outcome,
        error,
        association_id,
        answer: entry.answer.as_deref(),
        arrived: clocks.moment(entry.arrived),
        landed: entry.landed.map(|landed| clocks.moment(landed)),
        answered: entry.answered.map(|answered| clocks.moment(answered)),
    })
}

/// A point in time, for people and for comparing with another process of this machine.
#[derive(Serialize)]
struct Moment {
    at: String,
    boot_ns: u64,
}

/// Both clocks, read together.
#[derive(Clone, Copy)]
struct Clocks {
    wall: WallTime,
    boot: Timestamp,
}

impl Clocks {
    fn now() -> Self {
        Self { wall: WallTime::now(), boot: boot_time() }
    }

    /// What the wall clock would have shown, had it been set as it is now.
    fn moment(self, boot: Timestamp) -> Moment {
        let ago = SignedDuration::try_from(self.boot.since(boot)).unwrap_or(SignedDuration::ZERO);
        let at = self.wall.checked_sub(ago).unwrap_or(self.wall);
        Moment { at: format!("{at:.6}"), boot_ns: boot.as_nanos() }
    }
}

fn refusal(status: StatusCode, reason: impl std::fmt::Display) -> Response {
    (status, Json(json!({ "error": reason.to_string() }))).into_response()
}
