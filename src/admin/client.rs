//! The other end of the operators' socket, for the command line.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use vipward_manifest::DiffDocument;

use super::handle::{DIFF, ORDER};
use super::routes::Outcome;
use super::{CheckReport, EventQuery, Order, StatusDocument};

/// How long the daemon may take to answer a question.
const ANSWER: Duration = Duration::from_secs(5);
/// A stream that is silent for this long is dead: the daemon sends something more often.
const SILENCE: Duration = Duration::from_secs(30);
/// The longest answer, and the longest line of a stream.
const LONGEST: usize = 16 << 20;

/// Why a question got no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody answers at the socket.
    #[error(
        "no daemon answers at {path}: {why}; is `vipward run` running here? --socket names another"
    )]
    NoDaemon {
        /// The socket.
        path: PathBuf,
        /// What was met.
        why: String,
    },
    /// The socket may not be opened.
    #[error("{0} may not be opened: run as root, or as a member of the socket's group")]
    Forbidden(PathBuf),
    /// The daemon says no.
    #[error("{0}")]
    Refused(String),
}

impl ClientError {
    /// The exit code of the contract.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NoDaemon { .. } => 3,
            Self::Forbidden(_) | Self::Refused(_) => 1,
        }
    }
}

/// Asks the daemon behind one socket.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

/// A connection's driver, ended with whoever reads from it.
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Client {
    /// A client of the daemon at `socket`. Connects anew for each question.
    #[must_use]
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    /// The status as the daemon wrote it: a newer daemon may say more than this client knows.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub async fn status_text(&self) -> Result<String, ClientError> {
        let bytes = self.get("/v1/status").await?;
        String::from_utf8(bytes.into()).map_err(|error| self.strange(&error))
    }

    /// The status.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub async fn status(&self) -> Result<StatusDocument, ClientError> {
        let text = self.status_text().await?;
        serde_json::from_str(&text).map_err(|error| self.strange(&error))
    }

    /// Gives an order and waits for its outcome, in a sentence.
    ///
    /// # Errors
    ///
    /// [`ClientError`]; `Refused` has the reason.
    pub async fn order(&self, order: &Order) -> Result<String, ClientError> {
        let (path, body) = match order {
            Order::Switchover(order) => ("/v1/switchover", serde_json::to_vec(order)),
            Order::Maintenance(order) => ("/v1/maintenance", serde_json::to_vec(order)),
            Order::Admit(order) => ("/v1/admit", serde_json::to_vec(order)),
        };
        let body = body.map_err(|error| self.strange(&error))?;
        let bytes = self.whole(Method::POST, path, body, ORDER + ANSWER).await?;
        let outcome: Outcome =
            serde_json::from_slice(&bytes).map_err(|error| self.strange(&error))?;
        Ok(outcome.message)
    }

    /// What differs between the daemon's configuration and that of another node.
    ///
    /// # Errors
    ///
    /// [`ClientError`]; `Refused` has the reason.
    pub async fn diff(&self, node: &str) -> Result<DiffDocument, ClientError> {
        let name: String = form_urlencoded::byte_serialize(node.as_bytes()).collect();
        let path = format!("/v1/diff/{}", name.replace('+', "%20"));
        let bytes = self.whole(Method::GET, &path, Vec::new(), DIFF + ANSWER).await?;
        serde_json::from_slice(&bytes).map_err(|error| self.strange(&error))
    }

    /// Lets the daemon run its preflight.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub async fn check(&self) -> Result<CheckReport, ClientError> {
        let bytes = self.whole(Method::GET, "/v1/check", Vec::new(), ORDER).await?;
        serde_json::from_slice(&bytes).map_err(|error| self.strange(&error))
    }

    /// The Prometheus text.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub async fn metrics(&self) -> Result<String, ClientError> {
        let bytes = self.get("/metrics").await?;
        String::from_utf8(bytes.into()).map_err(|error| self.strange(&error))
    }

    /// The journal's lines.
    ///
    /// # Errors
    ///
    /// [`ClientError`]; `Refused` if the query makes no sense.
    pub async fn events(&self, query: &EventQuery) -> Result<EventLines, ClientError> {
        let mut path = form_urlencoded::Serializer::new("/v1/events?".to_owned());
        path.append_pair("follow", if query.follow { "true" } else { "false" });
        if let Some(since) = &query.since {
            path.append_pair("since", since);
        }
        if let Some(after) = &query.after {
            path.append_pair("after", after);
        }
        let path = path.finish().replace("?&", "?");
        let (answer, driver) = self.send(Method::GET, &path, Vec::new(), ANSWER).await?;
        let client = self.clone();
        Ok(EventLines {
            client,
            body: answer.into_body(),
            buffer: BytesMut::new(),
            _driver: driver,
        })
    }

    async fn get(&self, path: &str) -> Result<Bytes, ClientError> {
        self.whole(Method::GET, path, Vec::new(), ANSWER).await
    }

    async fn whole(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
        patience: Duration,
    ) -> Result<Bytes, ClientError> {
        let (answer, _driver) = self.send(method, path, body, patience).await?;
        self.read(answer.into_body()).await
    }

    async fn read(&self, body: Incoming) -> Result<Bytes, ClientError> {
        match timeout(ANSWER, Limited::new(body, LONGEST).collect()).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) => Err(self.silent(error)),
            Err(_) => Err(self.silent("its answer breaks off")),
        }
    }

    /// Sends a request; an answer that is no success becomes an error.
    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
        patience: Duration,
    ) -> Result<(Response<Incoming>, Driver), ClientError> {
        let stream = match timeout(ANSWER, UnixStream::connect(&self.socket)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) if error.kind() == io::ErrorKind::PermissionDenied => {
                return Err(ClientError::Forbidden(self.socket.clone()));
            }
            Ok(Err(error)) => return Err(self.silent(error)),
            Err(_) => return Err(self.silent("no connection in time")),
        };
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream));
        let (mut requests, connection) = handshake.await.map_err(|error| self.silent(error))?;
        let driver = Driver(tokio::spawn(async move {
            // Whatever ends it shows in the answer.
            let _ = connection.await;
        }));
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, "vipward")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| self.strange(&error))?;
        let answer = match timeout(patience, requests.send_request(request)).await {
            Ok(answer) => answer.map_err(|error| self.silent(error))?,
            Err(_) => return Err(self.silent("no answer in time")),
        };
        if answer.status() == StatusCode::OK {
            return Ok((answer, driver));
        }
        let status = answer.status();
        let text = self.read(answer.into_body()).await?;
        Err(self.refused(status, &text))
    }

    fn refused(&self, status: StatusCode, body: &[u8]) -> ClientError {
        let said = match serde_json::from_slice::<Outcome>(body) {
            Ok(outcome) => outcome.message,
            Err(_) => String::from_utf8_lossy(body).trim().to_owned(),
        };
        match status {
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => self.silent(said),
            _ if said.is_empty() => ClientError::Refused(format!("the daemon answered {status}")),
            _ => ClientError::Refused(said),
        }
    }

    fn silent(&self, why: impl ToString) -> ClientError {
        ClientError::NoDaemon { path: self.socket.clone(), why: why.to_string() }
    }

    fn strange(&self, why: &dyn std::error::Error) -> ClientError {
        let socket = self.socket.display();
        ClientError::Refused(format!("{socket} answers what this vipward does not know: {why}"))
    }
}

/// Lines of the journal, one by one.
pub struct EventLines {
    client: Client,
    body: Incoming,
    buffer: BytesMut,
    _driver: Driver,
}

impl EventLines {
    /// The next line, or `None` at the end.
    ///
    /// # Errors
    ///
    /// [`ClientError::NoDaemon`] if the daemon went away.
    pub async fn next(&mut self) -> Result<Option<String>, ClientError> {
        loop {
            while let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(end);
                self.buffer.advance(1);
                // An empty one only shows that the daemon lives.
                if !line.is_empty() {
                    return Ok(Some(String::from_utf8_lossy(&line).into_owned()));
                }
            }
            if self.buffer.len() > LONGEST {
                return Err(self.client.silent("a line without end"));
            }
            match timeout(SILENCE, self.body.frame()).await {
                Ok(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
                // Whatever ended it, the daemon is not there any more.
                Ok(Some(Err(_))) => return Err(self.client.silent("it went away")),
                Ok(None) => return Ok(None),
                Err(_) => return Err(self.client.silent("its stream is silent")),
            }
        }
    }
}
