//! One small HTTP GET of a JSON document on loopback.

use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;

const PATIENCE: Duration = Duration::from_secs(2);
const BODY_MAX: usize = 1 << 20;

/// The document at `path`, if the server answers 200 in time.
pub(crate) async fn json(server: SocketAddr, path: &str) -> Option<serde_json::Value> {
    tokio::time::timeout(PATIENCE, get(server, path)).await.ok().flatten()
}

async fn get(server: SocketAddr, path: &str) -> Option<serde_json::Value> {
    let stream = TcpStream::connect(server).await.ok()?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
    let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
    let request = hyper::Request::get(path)
        .header("host", server.to_string())
        .body(Empty::<Bytes>::new())
        .ok()?;
    let answer = sender.send_request(request).await.ok()?;
    if answer.status() != hyper::StatusCode::OK {
        return None;
    }
    let body = Limited::new(answer.into_body(), BODY_MAX).collect().await.ok()?.to_bytes();
    serde_json::from_slice(&body).ok()
}
