//! Sockets: how they are made, and how many may use them for how long.

use std::fs::{self, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustix::net::sockopt::{set_tcp_nodelay, set_tcp_user_timeout};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Connections at a time; what comes beyond is closed at once.
const CONNECTIONS: usize = 128;
/// How long a request's head may take, and a kept connection be silent.
const HEAD: Duration = Duration::from_secs(10);
/// The longest head.
const LONGEST_HEAD: usize = 16 << 10;
/// How long a client may leave data unacknowledged before the kernel gives it up.
const UNACKNOWLEDGED_MS: u32 = 10_000;
/// After a failed accept (no file descriptors, say).
const PAUSE: Duration = Duration::from_millis(100);

/// A socket that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// Another daemon answers there.
    #[error("admin.socket {0} is in use: a vipward runs here already, or set another path")]
    InUse(PathBuf),
    /// Something else lies there.
    #[error("admin.socket {0} is there and no socket; remove it, or set another path")]
    NoSocket(PathBuf),
    /// It cannot be made.
    #[error("admin.socket {path} cannot be made: {source}; check the directory's permissions")]
    Unix {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The port cannot be had.
    #[error("admin.listen {address} cannot be used: {source}; free the port, or set another")]
    Tcp {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

/// The operators' socket. Its file is removed with it.
#[derive(Debug)]
pub struct OperatorSocket {
    listener: UnixListener,
    path: PathBuf,
    /// The file's number: another daemon may have put its own there since.
    inode: Option<u64>,
}

impl Drop for OperatorSocket {
    fn drop(&mut self) {
        if inode(&self.path).is_some_and(|now| Some(now) == self.inode) {
            // What stays is replaced at the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn inode(path: &Path) -> Option<u64> {
    Some(fs::symlink_metadata(path).ok()?.ino())
}

/// Makes the operators' socket, for its owner and group only. One that nobody answers on is
/// replaced.
///
/// # Errors
///
/// [`AdminError`], a sentence with the remedy.
pub async fn bind_unix(path: &Path) -> Result<OperatorSocket, AdminError> {
    let failed = |source| AdminError::Unix { path: path.to_owned(), source };
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(failed)?;
    }
    match fs::symlink_metadata(path) {
        Ok(there) if !there.file_type().is_socket() => {
            return Err(AdminError::NoSocket(path.to_owned()));
        }
        Ok(_) => {
            let answer = tokio::time::timeout(PAUSE, tokio::net::UnixStream::connect(path)).await;
            // A full queue of connections is a daemon too.
            if !matches!(&answer, Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused)
            {
                return Err(AdminError::InUse(path.to_owned()));
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    // Made aside and moved into place, so that it never shows with other permissions.
    let mut aside = path.as_os_str().to_owned();
    aside.push(format!(".{}", std::process::id()));
    let aside = PathBuf::from(aside);
    match fs::remove_file(&aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(&aside).map_err(failed)?;
    let placed = fs::set_permissions(&aside, Permissions::from_mode(0o660))
        .and_then(|()| fs::rename(&aside, path));
    if let Err(error) = placed {
        let _ = fs::remove_file(&aside);
        return Err(failed(error));
    }
    Ok(OperatorSocket { listener, path: path.to_owned(), inode: inode(path) })
}

/// Takes the port of `admin.listen`.
///
/// # Errors
///
/// [`AdminError::Tcp`], a sentence with the remedy.
pub async fn bind_tcp(address: SocketAddr) -> Result<TcpListener, AdminError> {
    TcpListener::bind(address).await.map_err(|source| AdminError::Tcp { address, source })
}

/// A connection, whatever it came over.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A socket to accept connections from.
enum Listener {
    Unix(OperatorSocket),
    Tcp(TcpListener),
}

impl Listener {
    async fn accept(&self) -> io::Result<Box<dyn Stream>> {
        match self {
            Self::Unix(socket) => Ok(Box::new(socket.listener.accept().await?.0)),
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // Neither is needed to answer.
                let _ = set_tcp_nodelay(&stream, true);
                let _ = set_tcp_user_timeout(&stream, UNACKNOWLEDGED_MS);
                Ok(Box::new(stream))
            }
        }
    }
}

/// Answers operators until `stop` is cancelled.
pub async fn serve_unix(socket: OperatorSocket, routes: Router, stop: CancellationToken) {
    serve(Listener::Unix(socket), routes, stop).await;
}

/// Answers everybody until `stop` is cancelled.
pub async fn serve_tcp(listener: TcpListener, routes: Router, stop: CancellationToken) {
    serve(Listener::Tcp(listener), routes, stop).await;
}

async fn serve(listener: Listener, routes: Router, stop: CancellationToken) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        let stream = match accepted {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "no connection can be taken");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else { continue };
        let service = TowerToHyperService::new(routes.clone());
        connections.spawn(async move {
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD)
                .max_buf_size(LONGEST_HEAD)
                .serve_connection(TokioIo::new(stream), service);
            // A client that breaks off is its own affair.
            let _ = connection.await;
            drop(permit);
        });
    }
    connections.shutdown().await;
}
