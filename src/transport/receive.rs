//! One incoming request: who sent it, whether that is proved and new, and the core's answer.
//!
//! The order of the checks is the rule: nothing is remembered, counted as a peer's, or told to
//! the core before the MAC, this node's boot id and the sequence number were found good.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};
use vipward_core::{Answer, Input, NodeId, RequestId};

use super::auth::{Mac, Scope};
use super::exchange::{MAX_BODY, read_body, refusal_body};
use super::header::{self, Envelope};
use super::serve::{SERVE_TIME, Signed};
use super::server::{Server, Visit};
use super::shared::lock;
use super::stats::Rejection;
use super::wire::{self, Asked, Kind};

type Reply = Response<Full<Bytes>>;

/// What a path asks for.
#[derive(Clone, Copy, Debug)]
enum Route {
    /// Something for the core.
    Core(Kind),
    /// A part of the manifest.
    Manifest,
}

impl Route {
    fn of(head: &Parts) -> Option<Self> {
        let path = head.uri.path();
        if head.method == Method::POST {
            return Kind::of_path(path).map(Self::Core);
        }
        (head.method == Method::GET && Asked::is_path(path)).then_some(Self::Manifest)
    }
}

/// A request whose sender is proved.
struct Authentic {
    from: NodeId,
    checking: bool,
    envelope: Envelope,
    mac: Mac,
    body: Bytes,
}

impl Server {
    /// Answers one request.
    pub(super) async fn receive(&self, visit: &Visit, request: Request<Incoming>) -> Reply {
        let (head, body) = request.into_parts();
        let Some(route) = Route::of(&head) else {
            return self.refuse(Rejection::Malformed, StatusCode::NOT_FOUND);
        };
        let authentic = match self.authenticate(&head, body).await {
            Ok(authentic) => authentic,
            Err(reason) => return self.refuse(reason, status_of(reason)),
        };
        if authentic.checking {
            let boot = wire::Boot::encode(self.shared.boot);
            return self.seal(StatusCode::OK, boot, &authentic.mac);
        }
        if authentic.envelope.to_boot != Some(self.shared.boot) {
            let boot = wire::Boot::encode(self.shared.boot);
            return self.seal(StatusCode::CONFLICT, boot, &authentic.mac);
        }
        if let Err(reason) = self.admit_once(visit, route, &authentic) {
            return self.refuse(reason, status_of(reason));
        }
        match route {
            Route::Core(kind) => self.ask_core(kind, &authentic).await,
            Route::Manifest => self.ask_manifest(&head, &authentic).await,
        }
    }

    /// Who sent the request, proved by its MAC.
    async fn authenticate(&self, head: &Parts, body: Incoming) -> Result<Authentic, Rejection> {
        if body.size_hint().lower() > MAX_BODY as u64 {
            return Err(Rejection::Oversized);
        }
        let (envelope, mac) = Envelope::read(&head.headers).ok_or(Rejection::Malformed)?;
        let (major, minor) = self.shared.version;
        if envelope.version.0 != major || envelope.version.1.abs_diff(minor) > 1 {
            return Err(Rejection::Version);
        }
        if envelope.cluster != self.shared.cluster {
            return Err(Rejection::WrongCluster);
        }
        let names = &self.shared.names;
        let (sender, checking) = envelope.sender();
        let from = names.node_id(sender).map_err(|_| Rejection::Stranger)?;
        let to = names.node_id(&envelope.to).map_err(|_| Rejection::Stranger)?;
        let own = from == self.shared.me && !checking;
        if to != self.shared.me || own {
            return Err(Rejection::Stranger);
        }
        let body =
            read_body(body).await.map_err(|_| Rejection::Malformed)?.ok_or(Rejection::Oversized)?;
        let method = head.method.as_str();
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        let scope = Scope { method, path, envelope: &envelope, body: &body };
        if !self.shared.keys().verify(&scope, &mac) {
            return Err(Rejection::BadMac);
        }
        Ok(Authentic { from, checking, envelope, mac, body })
    }

    /// Accepts the sequence number, once, and the connection as the peer's.
    fn admit_once(
        &self,
        visit: &Visit,
        route: Route,
        authentic: &Authentic,
    ) -> Result<(), Rejection> {
        let Authentic { from, envelope, .. } = authentic;
        let links = self.shared.link_counts.get(from.index()).copied().unwrap_or(0);
        if envelope.link.0 >= links {
            return Err(Rejection::Malformed);
        }
        let windows = self.windows.get(from.index()).ok_or(Rejection::Stranger)?;
        if !lock(windows).accept(envelope.boot, envelope.link, envelope.sequence) {
            return Err(Rejection::Replay);
        }
        let timeouts = self.shared.timeouts();
        let held = match route {
            Route::Core(kind) => timeouts.of(kind),
            Route::Manifest => SERVE_TIME,
        };
        let deadline = Instant::now() + held + timeouts.idle();
        if self.recognise(visit, *from, deadline) { Ok(()) } else { Err(Rejection::Malformed) }
    }

    /// Hands the request to the core and waits for its answer.
    async fn ask_core(&self, kind: Kind, authentic: &Authentic) -> Reply {
        let Authentic { from, envelope, mac, body, .. } = authentic;
        let request = match wire::decode_request(kind, body, &self.shared.names) {
            Ok(request) => request,
            Err(error) => {
                tracing::warn!(peer = envelope.from, %error, "a peer's request cannot be read");
                self.shared.stats.rejected(Rejection::Malformed);
                let hint = refusal_body(Rejection::Malformed).to_vec();
                return self.seal(StatusCode::BAD_REQUEST, hint, mac);
            }
        };
        let waiting = Waiting::begin(self);
        let (boot, link, id) = (envelope.boot, envelope.link, waiting.id);
        if !self.shared.tell(Input::Request { from: *from, boot, link, id, request }) {
            return self.seal(StatusCode::SERVICE_UNAVAILABLE, b"{}".to_vec(), mac);
        }
        let answer = match timeout(self.shared.timeouts().of(kind), waiting.answer()).await {
            Ok(Some(answer)) => answer,
            Ok(None) | Err(_) => {
                return self.seal(StatusCode::SERVICE_UNAVAILABLE, b"{}".to_vec(), mac);
            }
        };
        match wire::encode_answer(&answer, &self.shared.names) {
            Ok(body) => self.seal(StatusCode::OK, body, mac),
            Err(error) => {
                tracing::error!(%error, "an answer could not be written");
                self.seal(StatusCode::INTERNAL_SERVER_ERROR, b"{}".to_vec(), mac)
            }
        }
    }

    /// Hands the request to those who know the manifest and waits for their answer.
    async fn ask_manifest(&self, head: &Parts, authentic: &Authentic) -> Reply {
        let Authentic { from, mac, .. } = authentic;
        let Some(asked) = Asked::read(head.uri.path(), head.uri.query()) else {
            self.shared.stats.rejected(Rejection::Malformed);
            let hint = refusal_body(Rejection::Malformed).to_vec();
            return self.seal(StatusCode::BAD_REQUEST, hint, mac);
        };
        let signed = self.manifests.ask(&self.shared, *from, mac, asked).await;
        let Signed { status, body, mac } = signed;
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = response(status, body);
        header::write_mac(&mac, response.headers_mut());
        response
    }

    /// An authenticated answer.
    fn seal(&self, status: StatusCode, body: Vec<u8>, request: &Mac) -> Reply {
        let mac = self.shared.keys().sign_answer(status.as_u16(), &body, request);
        let mut response = response(status, Bytes::from(body));
        header::write_mac(&mac, response.headers_mut());
        response
    }

    /// A refusal: counted, not authenticated, and the end of the connection.
    fn refuse(&self, reason: Rejection, status: StatusCode) -> Reply {
        self.shared.stats.rejected(reason);
        let mut response = response(status, refusal_body(reason));
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        response
    }
}

fn response(status: StatusCode, body: Bytes) -> Reply {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

fn status_of(reason: Rejection) -> StatusCode {
    match reason {
        Rejection::BadMac | Rejection::Replay | Rejection::Stranger | Rejection::WrongCluster => {
            StatusCode::FORBIDDEN
        }
        Rejection::Oversized => StatusCode::PAYLOAD_TOO_LARGE,
        Rejection::Malformed | Rejection::Version => StatusCode::BAD_REQUEST,
    }
}

/// A request that waits for the core. Forgotten when its connection ends.
struct Waiting<'a> {
    server: &'a Server,
    id: RequestId,
    answer: oneshot::Receiver<Answer>,
}

impl<'a> Waiting<'a> {
    fn begin(server: &'a Server) -> Self {
        let id = RequestId(server.requests.fetch_add(1, Ordering::Relaxed));
        let (sender, answer) = oneshot::channel();
        lock(&server.pending).insert(id, sender);
        Self { server, id, answer }
    }

    async fn answer(mut self) -> Option<Answer> {
        (&mut self.answer).await.ok()
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        lock(&self.server.pending).remove(&self.id);
    }
}
