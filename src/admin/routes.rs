//! The routes: a path, a question, an answer.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use vipward_core::RoleName;

use super::handle::ORDER;
use super::stream::{EventBody, Framing};
use super::{
    AdmitOrder, CheckReport, EventQuery, Handle, MaintenanceOrder, Order, StatusDocument,
    SwitchoverOrder,
};

/// A request has no more than this to say.
const BODY: usize = 64 << 10;
/// Streams of events at a time.
const STREAMS: usize = 16;
/// How long reading a request and starting its answer may take.
const DEADLINE: Duration = Duration::from_secs(5);

/// The id of the last event that a reader of server-sent events has.
const LAST_EVENT_ID: &str = "last-event-id";

/// The role of the group's node, for proxies that look at headers.
const ROLE_HEADER: &str = "x-vipward-role";

/// The page loads nothing from elsewhere, and nothing is run but its own script.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; \
    script-src 'unsafe-inline'; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'";

/// What the routes share.
#[derive(Clone)]
struct Shared {
    handle: Handle,
    framing: Framing,
    streams: Arc<Semaphore>,
}

/// The answer to an order: a sentence.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Outcome {
    pub(super) message: String,
}

/// `admin.listen`: read-only, for people and tools.
pub fn public_routes(handle: Handle) -> Router {
    let routes = Router::new()
        .route("/", get(page))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/v1/status", get(status))
        .route("/v1/groups/{name}/master", get(master))
        .route("/v1/events", get(events))
        .route("/metrics", get(metrics));
    finish(routes, handle, Framing::Events, DEADLINE)
}

/// `admin.socket`: for operators; whoever may open it may do all this.
pub fn operator_routes(handle: Handle) -> Router {
    let routes = Router::new()
        .route("/v1/status", get(status))
        .route("/v1/switchover", post(switchover))
        .route("/v1/maintenance", post(maintenance))
        .route("/v1/admit", post(admit))
        .route("/v1/diff/{node}", get(diff))
        .route("/v1/check", get(check))
        .route("/v1/events", get(events))
        .route("/metrics", get(metrics));
    finish(routes, handle, Framing::Lines, ORDER + DEADLINE)
}

fn finish(routes: Router<Shared>, handle: Handle, framing: Framing, deadline: Duration) -> Router {
    let streams = Arc::new(Semaphore::new(STREAMS));
    routes
        .layer(DefaultBodyLimit::max(BODY))
        .layer(from_fn(move |request: Request, next: Next| async move {
            let late = (StatusCode::GATEWAY_TIMEOUT, "no answer in time\n");
            timeout(deadline, next.run(request)).await.unwrap_or_else(|_| late.into_response())
        }))
        .with_state(Shared { handle, framing, streams })
}

/// Said when the core's loop does not turn.
fn silent() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, "the daemon's loop does not answer\n").into_response()
}

async fn healthz(State(shared): State<Shared>) -> Response {
    match shared.handle.status().await {
        Some(_) => "ok\n".into_response(),
        None => silent(),
    }
}

async fn readyz(State(shared): State<Shared>) -> Response {
    match shared.handle.status().await {
        Some(status) if status.is_ready() => "ready\n".into_response(),
        Some(status) => {
            let StatusDocument { standing, standing_reason, preflight, muted_ms, .. } = status;
            let mut why = format!("not ready: standing {standing}");
            if let Some(reason) = standing_reason {
                why += &format!(" ({reason})");
            }
            if muted_ms > 0 {
                why += &format!("; votes for nobody for another {muted_ms} ms");
            }
            for problem in preflight.problems {
                why += &format!("; {problem}");
            }
            (StatusCode::SERVICE_UNAVAILABLE, why + "\n").into_response()
        }
        None => silent(),
    }
}

async fn status(State(shared): State<Shared>) -> Response {
    match shared.handle.status().await {
        Some(status) => Json(status).into_response(),
        None => silent(),
    }
}

async fn master(State(shared): State<Shared>, Path(name): Path<String>) -> Response {
    let asked = Instant::now();
    let Some(status) = shared.handle.status().await else { return silent() };
    let Some(group) = status.group(&name) else {
        return (StatusCode::NOT_FOUND, "no such group\n").into_response();
    };
    // The lease is tested now, not when the status was made.
    let lapsed = asked.elapsed() >= Duration::from_millis(group.lease_left_ms);
    let holding = RoleName::Holding.as_str();
    let master = RoleName::Master.as_str();
    let role = if group.role == master && lapsed { holding } else { &group.role };
    let code = if role == master || role == holding {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let mut answer = (code, format!("{role}\n")).into_response();
    if let Ok(role) = HeaderValue::from_str(role) {
        answer.headers_mut().insert(ROLE_HEADER, role);
    }
    answer
}

async fn switchover(State(shared): State<Shared>, Json(order): Json<SwitchoverOrder>) -> Response {
    carried_out(&shared, Order::Switchover(order)).await
}

async fn maintenance(
    State(shared): State<Shared>,
    Json(order): Json<MaintenanceOrder>,
) -> Response {
    carried_out(&shared, Order::Maintenance(order)).await
}

async fn admit(State(shared): State<Shared>, Json(order): Json<AdmitOrder>) -> Response {
    carried_out(&shared, Order::Admit(order)).await
}

async fn carried_out(shared: &Shared, order: Order) -> Response {
    match shared.handle.order(order).await {
        Ok(message) => Json(Outcome { message }).into_response(),
        Err(message) => (StatusCode::CONFLICT, Json(Outcome { message })).into_response(),
    }
}

async fn diff(State(shared): State<Shared>, Path(node): Path<String>) -> Response {
    match shared.handle.diff(node).await {
        Ok(document) => Json(document).into_response(),
        Err(message) => (StatusCode::CONFLICT, Json(Outcome { message })).into_response(),
    }
}

async fn check(State(shared): State<Shared>) -> Response {
    match shared.handle.check().await {
        Some(report) => Json::<CheckReport>(report).into_response(),
        None => silent(),
    }
}

async fn events(
    State(shared): State<Shared>,
    Query(mut query): Query<EventQuery>,
    headers: HeaderMap,
) -> Response {
    let kind = match shared.framing {
        Framing::Lines => "application/x-ndjson",
        Framing::Events => {
            query.follow = true;
            // A browser that was cut off asks again for the same page, and says what it has.
            if let Some(last) = last_event(&headers) {
                query = EventQuery { since: None, after: Some(last), ..query };
            }
            "text/event-stream"
        }
    };
    let Ok(permit) = Arc::clone(&shared.streams).try_acquire_owned() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many streams\n").into_response();
    };
    match (shared.handle.events)(&query) {
        Ok(lines) => {
            let body = Body::new(EventBody::new(lines, shared.framing, permit));
            let headers = [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-store")];
            (headers, body).into_response()
        }
        Err(why) => (StatusCode::BAD_REQUEST, why + "\n").into_response(),
    }
}

fn last_event(headers: &HeaderMap) -> Option<String> {
    let id = headers.get(LAST_EVENT_ID)?.to_str().ok()?.trim();
    (!id.is_empty()).then(|| id.to_owned())
}

async fn metrics(State(shared): State<Shared>) -> Response {
    let text = (shared.handle.metrics)();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

async fn page() -> Response {
    let headers = [
        (header::CONTENT_SECURITY_POLICY, PAGE_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, Html(include_str!("page.html"))).into_response()
}
