//! Fetches a peer's manifest and the contents of its entries. For the main runtime.
//!
//! It uses a connection of its own, so that no heartbeat ever waits behind a page, and everything
//! about it (dialling, checking MACs, reading JSON) runs where it is called. The connection is
//! not told to the core as one of the peer's: the end of a peer is noticed on the heartbeat
//! thread alone, however busy the main runtime is.
//!
//! A peer is believed in nothing: `assemble.rs` has what a manifest may be, here are the times.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::SendRequest;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use vipward_core::NodeId;
use vipward_manifest::{EntryName, Hash};

use super::assemble::{Contents, Fetched, Pages, Rest};
use super::exchange::{self, DialError, ExchangeError, Reply, Target};
use super::link::Link;
use super::serve::SERVE_TIME;
use super::shared::Shared;
use super::stats::Rejection;
use super::wire::{self, Asked, Chunk, ManifestRefusal, Page};

/// So many fetches at once, to all peers; the others wait for their turn.
const AT_ONCE: usize = 2;

/// So often each link is tried for one request.
const ROUNDS: usize = 2;

/// So often a manifest that changed while it was read is read again from the beginning.
const BEGINNINGS: usize = 4;

/// How long a fetch may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// A connection over one link.
    pub(super) dial: Duration,
    /// A request and its whole answer: what the peer may take, and the way.
    pub(super) request: Duration,
    /// Everything: a manifest, or the content of an entry.
    pub(super) total: Duration,
    /// From one request to the next at least, so that the sequence numbers taken here never
    /// leave a late heartbeat behind the receiver's window, and the peer has time for others.
    pub(super) pace: Duration,
    /// Before a peer that is busy is asked again.
    pub(super) pause: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            dial: Duration::from_secs(1),
            request: SERVE_TIME + Duration::from_secs(2),
            total: Duration::from_secs(30),
            pace: Duration::from_millis(1),
            pause: Duration::from_millis(100),
        }
    }
}

/// Why something could not be fetched, in a sentence.
#[derive(Debug, thiserror::Error)]
#[error("cannot fetch {what} of {peer}: {problem}")]
pub struct FetchError {
    /// From whom.
    pub peer: String,
    /// The manifest, or an entry.
    pub what: String,
    /// Why not.
    pub problem: FetchProblem,
}

/// Why something could not be fetched: what the caller may do about it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum FetchProblem {
    /// No link led to an answer that is authenticated.
    #[error("no link leads there ({0}); try again when `vipward status` shows one up")]
    Unreachable(String),
    /// The total time ran out.
    #[error("it took longer than {0:?}; look at the load of that node and its links")]
    Late(Duration),
    /// It does not serve it: an earlier version, or its manifest is not read yet.
    #[error("that node does not know it yet, or has a version without it; try again, or update it")]
    Unserved,
    /// It was another each time.
    #[error("it keeps changing; try again when the change is over")]
    Changed,
    /// There is no such entry, or none any more.
    #[error("there is no such entry any more; compare again")]
    Gone,
    /// That entry's content never travels.
    #[error("its content never leaves that node (digest_only)")]
    DigestOnly,
    /// Beyond a bound of ours.
    #[error("it is beyond {0}; name fewer or smaller files in [consistency]")]
    TooLarge(&'static str),
    /// The peer proved who it is and said what no vipward says.
    #[error("its answer is wrong: {0}; look at the version and the health of that node")]
    Wrong(String),
    /// This node ends.
    #[error("this node is stopping")]
    Stopping,
}

/// Fetches from peers. Cheap to clone; all clones share their bounds.
#[derive(Clone, Debug)]
pub struct Fetcher {
    shared: Arc<Shared>,
    /// By node.
    links: Arc<[Vec<Arc<Link>>]>,
    places: Arc<Semaphore>,
    limits: Limits,
}

impl Fetcher {
    pub(super) fn new(shared: &Arc<Shared>, links: &Arc<[Vec<Arc<Link>>]>) -> Self {
        Self {
            shared: Arc::clone(shared),
            links: Arc::clone(links),
            places: Arc::new(Semaphore::new(AT_ONCE)),
            limits: Limits::default(),
        }
    }

    #[cfg(test)]
    pub(super) fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// A peer's whole manifest, at most 20,100 entries and 8 MiB, within 30 s.
    ///
    /// # Errors
    ///
    /// [`FetchError`]. Nothing that the peer does makes this hang or take more memory.
    pub async fn fetch_manifest(&self, peer: NodeId) -> Result<Fetched, FetchError> {
        self.session(peer).manifest().await
    }

    /// The content of an entry whose digest in that peer's manifest is `digest`: at most 16 MiB,
    /// within 30 s. Before normalisation, so that only the caller can check it by the digest.
    ///
    /// # Errors
    ///
    /// [`FetchError`]; [`FetchProblem::Changed`] if it has another digest by now.
    pub async fn fetch_entry(
        &self,
        peer: NodeId,
        name: &EntryName,
        digest: Hash,
    ) -> Result<Vec<u8>, FetchError> {
        self.session(peer).entry(name, digest).await
    }

    /// Waits for a turn, and ends in time, or with this node.
    async fn bounded<T>(
        &self,
        read: impl Future<Output = Result<T, FetchProblem>>,
    ) -> Result<T, FetchProblem> {
        let limit = self.limits.total;
        let fetched = timeout(limit, async {
            let _place = self.places.acquire().await.map_err(|_| FetchProblem::Stopping)?;
            read.await
        });
        tokio::select! {
            fetched = fetched => fetched.unwrap_or(Err(FetchProblem::Late(limit))),
            () = self.shared.closing.cancelled() => Err(FetchProblem::Stopping),
        }
    }

    /// For several fetches from one peer over one connection, which is made when it is needed.
    #[must_use]
    pub fn session(&self, peer: NodeId) -> Session {
        Session { fetcher: self.clone(), peer, line: None, link: 0, next: Instant::now() }
    }
}

/// Several fetches from one peer. Dropping it closes its connection.
#[derive(Debug)]
pub struct Session {
    fetcher: Fetcher,
    peer: NodeId,
    line: Option<Line>,
    /// Which link is tried next, counted on and on.
    link: usize,
    /// When the next request may be sent.
    next: Instant,
}

#[derive(Debug)]
struct Line {
    sender: SendRequest<Full<Bytes>>,
    link: Arc<Link>,
    _hangup: DropGuard,
}

/// Why one link gave no answer.
#[derive(Debug, thiserror::Error)]
enum NoAnswer {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    #[error("no answer within {0:?}")]
    Silent(Duration),
    #[error("none is configured")]
    NoLink,
    #[error("it names another life of itself each time")]
    OtherLife,
}

impl Session {
    /// As [`Fetcher::fetch_manifest`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn manifest(&mut self) -> Result<Fetched, FetchError> {
        let fetcher = self.fetcher.clone();
        let outcome = fetcher.bounded(self.read_manifest()).await;
        outcome.map_err(|problem| self.error("the manifest".into(), problem))
    }

    /// As [`Fetcher::fetch_entry`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn entry(&mut self, name: &EntryName, digest: Hash) -> Result<Vec<u8>, FetchError> {
        let fetcher = self.fetcher.clone();
        let outcome = fetcher.bounded(self.read_entry(name, digest)).await;
        outcome.map_err(|problem| self.error(described(name), problem))
    }

    fn error(&self, what: String, problem: FetchProblem) -> FetchError {
        let peer = self.fetcher.shared.names.node(self.peer);
        FetchError { peer: peer.unwrap_or_else(|_| self.peer.0.to_string()), what, problem }
    }

    async fn read_manifest(&mut self) -> Result<Fetched, FetchProblem> {
        for _ in 0..BEGINNINGS {
            match self.read_pages().await {
                Err(FetchProblem::Changed) => {
                    self.next = Instant::now() + self.fetcher.limits.pause
                }
                outcome => return outcome,
            }
        }
        Err(FetchProblem::Changed)
    }

    async fn read_pages(&mut self) -> Result<Fetched, FetchProblem> {
        let mut pages = Pages::default();
        loop {
            let body = self.ask(&pages.next()).await?;
            let page = Page::decode(&body).map_err(|error| self.unreadable(&error))?;
            match pages.add(page, body.len())? {
                Rest::More(so_far) => pages = so_far,
                Rest::Done(fetched) => return Ok(fetched),
            }
        }
    }

    async fn read_entry(
        &mut self,
        name: &EntryName,
        digest: Hash,
    ) -> Result<Vec<u8>, FetchProblem> {
        let mut contents = Contents::default();
        loop {
            let offset = contents.offset();
            let asked = Asked::Chunk { name: name.clone(), digest, offset };
            let body = self.ask(&asked).await?;
            let chunk = Chunk::decode(&body).map_err(|error| self.unreadable(&error))?;
            match contents.add(chunk)? {
                Rest::More(so_far) => contents = so_far,
                Rest::Done(bytes) => return Ok(bytes),
            }
        }
    }

    fn unreadable(&self, error: &wire::WireError) -> FetchProblem {
        self.fetcher.shared.stats.rejected(Rejection::Malformed);
        FetchProblem::Wrong(error.to_string())
    }

    /// The body of the answer to one request; a busy peer is asked again, until the total time
    /// has run out.
    async fn ask(&mut self, asked: &Asked) -> Result<Bytes, FetchProblem> {
        const TOO_LONG: FetchProblem = FetchProblem::TooLarge("the length of a name");
        let target = asked.target().and_then(Target::get).ok_or(TOO_LONG)?;
        loop {
            let reply = self.send(&target).await?;
            if reply.status == 200 {
                return Ok(reply.body);
            }
            match ManifestRefusal::read(reply.status, &reply.body) {
                Some(ManifestRefusal::Busy) => sleep(self.fetcher.limits.pause).await,
                Some(ManifestRefusal::Gone) => return Err(FetchProblem::Gone),
                Some(ManifestRefusal::Changed) => return Err(FetchProblem::Changed),
                Some(ManifestRefusal::DigestOnly) => return Err(FetchProblem::DigestOnly),
                Some(ManifestRefusal::TooLarge) => {
                    return Err(FetchProblem::TooLarge("what one may send"));
                }
                Some(ManifestRefusal::Unserved) => return Err(FetchProblem::Unserved),
                // A version without manifests answers that, or an end that has begun.
                None if matches!(reply.status, 404 | 503) => return Err(FetchProblem::Unserved),
                None => return Err(FetchProblem::Wrong(format!("status {}", reply.status))),
            }
        }
    }

    /// One request and its authenticated answer, over whichever link gives one.
    async fn send(&mut self, target: &Target) -> Result<Reply, FetchProblem> {
        let links = self.fetcher.links.get(self.peer.index()).map_or(0, Vec::len);
        let mut failure = NoAnswer::NoLink;
        for _ in 0..links * ROUNDS {
            match self.try_link(target).await {
                Ok(reply) => return Ok(reply),
                Err(error) => {
                    tracing::debug!(peer = self.peer.0, %error, "fetching goes on over another link");
                    failure = error;
                    sleep(self.fetcher.limits.pace).await;
                }
            }
        }
        Err(FetchProblem::Unreachable(failure.to_string()))
    }

    /// The same over one link: the connection that is open, or else a new one.
    async fn try_link(&mut self, target: &Target) -> Result<Reply, NoAnswer> {
        let mut line = match self.line.take().filter(|line| !line.sender.is_closed()) {
            Some(line) => line,
            None => self.connect().await?,
        };
        let limits = self.fetcher.limits;
        // Once more if the peer turns out to be in another life.
        for _ in 0..2 {
            sleep_until(self.next).await;
            self.next = Instant::now() + limits.pace;
            let to_boot = self.fetcher.shared.peer_boot(self.peer);
            let envelope = line.link.envelope(to_boot).ok_or(ExchangeError::Name)?;
            let keys = self.fetcher.shared.keys();
            let body = Bytes::new();
            let exchange = exchange::exchange(&mut line.sender, &keys, &envelope, target, body);
            let outcome = timeout(limits.request, exchange).await;
            let reply = outcome.map_err(|_| NoAnswer::Silent(limits.request))?;
            let reply = reply.inspect_err(|error| self.fetcher.shared.count_bad_answer(error))?;
            match wire::Boot::decode(&reply.body) {
                Ok(boot) if reply.status == 409 => line.link.learn_boot(boot),
                Ok(_) | Err(_) => {
                    self.line = Some(line);
                    return Ok(reply);
                }
            }
        }
        Err(NoAnswer::OtherLife)
    }

    /// A new connection over the link whose turn it is.
    async fn connect(&mut self) -> Result<Line, NoAnswer> {
        let links = self.fetcher.links.get(self.peer.index()).ok_or(NoAnswer::NoLink)?;
        let turn = self.link.checked_rem(links.len()).ok_or(NoAnswer::NoLink)?;
        let link = Arc::clone(links.get(turn).ok_or(NoAnswer::NoLink)?);
        self.link += 1;
        let limit = self.fetcher.limits.dial;
        let halves = async { exchange::handshake(exchange::dial(link.path()).await?).await };
        let (sender, connection) =
            timeout(limit, halves).await.map_err(|_| NoAnswer::Silent(limit))??;
        let hangup = CancellationToken::new();
        let (hung_up, closed) = (hangup.clone(), self.fetcher.shared.closed.clone());
        drop(tokio::spawn(async move {
            tokio::select! {
                _ = connection => {}
                () = hung_up.cancelled() => {}
                () = closed.cancelled() => {}
            }
        }));
        Ok(Line { sender, link, _hangup: hangup.drop_guard() })
    }
}

/// An entry in words. Names are a peer's: what cannot be shown is escaped.
fn described(name: &EntryName) -> String {
    match name {
        EntryName::Shared => "the shared configuration".into(),
        EntryName::File(path) => format!("the file {}", path.escape_debug()),
        EntryName::Command(command) => format!("what `{}` prints", command.escape_debug()),
        EntryName::Package(package) => format!("the package {}", package.escape_debug()),
    }
}
