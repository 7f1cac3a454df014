//! A GET on a connection of its own: a kept one would hide that nothing accepts any more.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::header::{CONNECTION, HOST, USER_AGENT};
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::Failure;

/// Where a GET goes: an `http://` URL.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HttpTarget {
    host: String,
    port: u16,
    /// The Host header.
    authority: String,
    path: String,
}

/// A URL that cannot be checked.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0:?} is no http:// URL with a host; https is not supported for checks")]
pub struct HttpTargetError(String);

impl FromStr for HttpTarget {
    type Err = HttpTargetError;

    fn from_str(text: &str) -> Result<Self, HttpTargetError> {
        let wrong = || HttpTargetError(text.to_owned());
        let uri: Uri = text.parse().map_err(|_| wrong())?;
        let authority = uri.authority().ok_or_else(wrong)?;
        if uri.scheme_str() != Some("http") || authority.as_str().contains('@') {
            return Err(wrong());
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(wrong());
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Ok(Self {
            host: host.to_owned(),
            port: authority.port_u16().unwrap_or(80),
            authority: authority.as_str().to_owned(),
            path: path.to_owned(),
        })
    }
}

impl fmt::Display for HttpTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority, self.path)
    }
}

/// The most that an answer's head may take.
const LONGEST_HEAD: usize = 64 << 10;

/// Passes on 2xx and 3xx. The body is not waited for.
pub(super) async fn get(target: &HttpTarget) -> Result<(), Failure> {
    let stream = TcpStream::connect((target.host.as_str(), target.port)).await?;
    let mut client = hyper::client::conn::http1::Builder::new();
    let (mut requests, connection) =
        client.max_buf_size(LONGEST_HEAD).handshake(TokioIo::new(stream)).await?;
    let request = Request::get(&target.path)
        .header(HOST, &target.authority)
        .header(USER_AGENT, "vipward")
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(std::io::Error::other)?;
    let answer = requests.send_request(request);
    tokio::pin!(answer, connection);
    let answer = tokio::select! {
        biased;
        answer = &mut answer => answer?,
        // It can end with the answer already there.
        end = &mut connection => {
            end?;
            answer.await?
        }
    };
    match answer.status().as_u16() {
        200..=399 => Ok(()),
        status => Err(Failure::Status(status)),
    }
}
