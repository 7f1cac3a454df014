//! One connection, one request, one answer.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::Instant;

use super::auth::{Keys, Scope};
use super::header::{self, Envelope};
use super::settings::Path;
use super::stats::Rejection;

/// No body is longer, in either direction.
pub(super) const MAX_BODY: usize = 64 * 1024;

/// Hyper's buffer for a connection, which grows up to this and holds the headers: of ours, less
/// than 1 KiB, and at most 14 KiB where the path of a file is in them.
pub(super) const BUFFER: usize = 16 * 1024;

/// What was sent and not acknowledged for so long ends the connection.
const USER_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a connection was not made.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    /// Nothing listens there.
    #[error("the connection was refused: nothing listens there")]
    Refused,
    /// Anything else, which proves nothing.
    #[error("no connection: {0}")]
    Failed(io::Error),
    /// The peer is not HTTP.
    #[error("no HTTP connection: {0}")]
    Http(#[from] hyper::Error),
}

/// A connection over one path, bound to this node's own address.
pub(super) async fn dial(path: &Path) -> Result<TcpStream, DialError> {
    let socket = match path.remote {
        std::net::SocketAddr::V4(_) => TcpSocket::new_v4(),
        std::net::SocketAddr::V6(_) => TcpSocket::new_v6(),
    }
    .map_err(DialError::Failed)?;
    socket.bind((path.local, 0).into()).map_err(DialError::Failed)?;
    let stream = socket.connect(path.remote).await.map_err(|error| {
        if error.kind() == io::ErrorKind::ConnectionRefused {
            DialError::Refused
        } else {
            DialError::Failed(error)
        }
    })?;
    // On one machine, a socket that tries a free port may be given that very port and meet
    // itself: then too, nothing listens there.
    if stream.local_addr().ok() == Some(path.remote) {
        return Err(DialError::Refused);
    }
    tune(&stream);
    Ok(stream)
}

/// Small packets go out at once, and a peer that acknowledges nothing is given up. Best effort:
/// without it the link is slower, not wrong.
pub(super) fn tune(stream: &TcpStream) {
    let millis = u32::try_from(USER_TIMEOUT.as_millis()).unwrap_or(u32::MAX);
    let tuned = stream.set_nodelay(true).is_ok()
        && rustix::net::sockopt::set_tcp_user_timeout(stream, millis).is_ok();
    if !tuned {
        tracing::debug!("a connection's options could not be set");
    }
}

/// The two halves of an HTTP connection: what sends, and what drives it.
pub(super) type Halves = (SendRequest<Full<Bytes>>, Connection<TokioIo<TcpStream>, Full<Bytes>>);

/// Speaks HTTP on a connection.
pub(super) async fn handshake(stream: TcpStream) -> Result<Halves, DialError> {
    Ok(Builder::new().max_buf_size(BUFFER).handshake(TokioIo::new(stream)).await?)
}

/// An authenticated answer.
#[derive(Debug)]
pub(super) struct Reply {
    /// Its status.
    pub(super) status: u16,
    /// Its body.
    pub(super) body: Bytes,
    /// From just before the request was written to the last byte of the answer.
    pub(super) took: Duration,
}

/// Why there is no authenticated answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExchangeError {
    /// The connection broke; the request may not have arrived.
    #[error("the connection broke: {0}")]
    Connection(#[from] hyper::Error),
    /// It is not from the peer, or the peer could not authenticate us.
    #[error("the answer ({status}) is not authenticated{}", said(.body))]
    Unauthenticated {
        /// Its status.
        status: u16,
        /// What it says, for a person.
        body: Bytes,
    },
    /// More than 64 KiB.
    #[error("the answer has more than 64 KiB")]
    Oversized,
    /// A name has characters that a header cannot have.
    #[error("a node's or the cluster's name cannot be sent in a header")]
    Name,
}

/// What a refusal says of itself, if it is one of ours.
fn said(body: &Bytes) -> String {
    Rejection::ALL
        .iter()
        .find(|reason| refusal_body(**reason) == body)
        .map(|reason| format!("; the peer says it refused us for {:?}", reason.as_str()))
        .unwrap_or_default()
}

/// The body of a refusal that is not authenticated: a hint for the person who looks.
pub(super) fn refusal_body(reason: Rejection) -> Bytes {
    Bytes::from(format!("{{\"refused\":\"{}\"}}", reason.as_str()))
}

/// What a request asks for.
#[derive(Clone, Debug)]
pub(super) struct Target {
    method: Method,
    uri: Uri,
}

impl Target {
    /// `POST` to a path.
    pub(super) fn post(path: &'static str) -> Self {
        Self { method: Method::POST, uri: Uri::from_static(path) }
    }

    /// `GET` of a path and query. `None` if they are not that.
    pub(super) fn get(path: String) -> Option<Self> {
        Some(Self { method: Method::GET, uri: Uri::try_from(path).ok()? })
    }
}

/// Sends one request and waits for its authenticated answer, however long that takes.
pub(super) async fn exchange(
    sender: &mut SendRequest<Full<Bytes>>,
    keys: &Keys,
    envelope: &Envelope,
    target: &Target,
    body: Bytes,
) -> Result<Reply, ExchangeError> {
    let Target { method, uri } = target.clone();
    // The very text that the receiver sees.
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mac = keys.sign(&Scope { method: method.as_str(), path, envelope, body: &body });
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    let headers = request.headers_mut();
    headers.insert(HOST, HeaderValue::from_static("vipward"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    envelope.write(&mac, headers).ok_or(ExchangeError::Name)?;

    sender.ready().await?;
    let began = Instant::now();
    let (head, body) = sender.send_request(request).await?.into_parts();
    let body = read_body(body).await?.ok_or(ExchangeError::Oversized)?;
    let took = began.elapsed();
    let status = head.status.as_u16();
    let ours = header::mac(&head.headers)
        .is_some_and(|answer| keys.verify_answer(status, &body, &mac, &answer));
    if ours {
        Ok(Reply { status, body, took })
    } else {
        Err(ExchangeError::Unauthenticated { status, body })
    }
}

/// A whole body; `None` if it is longer than [`MAX_BODY`].
pub(super) async fn read_body(mut body: Incoming) -> Result<Option<Bytes>, hyper::Error> {
    let announced = body.size_hint();
    if announced.lower() > MAX_BODY as u64 {
        return Ok(None);
    }
    // Room for all of it at once: growing would cost up to twice as much. The system gives the
    // memory as it is written, so that an announcement alone costs nothing.
    let room = announced.upper().map_or(MAX_BODY, |upper| upper.min(MAX_BODY as u64) as usize);
    let mut whole = Vec::with_capacity(room);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        if whole.len() + data.len() > MAX_BODY {
            return Ok(None);
        }
        whole.extend_from_slice(&data);
    }
    Ok(Some(Bytes::from(whole)))
}
