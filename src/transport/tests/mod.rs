//! Transports on loopback: what they tell one another, and what they refuse.

#![allow(clippy::wildcard_enum_match_arm, reason = "a test waits for one input of many")]

mod burden;
mod cost;
mod hostile;
mod links;
mod manifests;
mod rogue;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use vipward_core::*;

use super::*;

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(5);

/// The key of every test cluster, unless a test says otherwise.
const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

const A: NodeId = NodeId(0);
const B: NodeId = NodeId(1);

/// An address of loopback on which nothing listens.
fn free_address() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// Two nodes, `a` and `b`, with so many links each. Seen from `a`.
fn pair(links: usize) -> Settings {
    let node = |name: &str| NodeLinks {
        name: name.into(),
        links: (0..links).map(|_| free_address()).collect(),
    };
    let nodes = vec![node("a"), node("b")];
    Settings {
        cluster: "test".into(),
        version: (1, 0),
        me: A,
        boot: BootId(0xa),
        listen: nodes[0].links.clone(),
        nodes,
        groups: vec!["web".into()],
        keys: Keys::parse(KEY).unwrap(),
        timeouts: Timeouts {
            heartbeat: Duration::from_millis(300),
            vote: Duration::from_millis(700),
            operator: Duration::from_secs(2),
        },
    }
}

/// The same cluster, seen from another node.
fn seen_from(settings: &Settings, me: NodeId, boot: u128) -> Settings {
    let listen = settings.nodes[me.index()].links.clone();
    Settings { me, boot: BootId(boot), listen, ..settings.clone() }
}

/// A transport and what it told its core.
struct Node {
    transport: Arc<Transport>,
    inputs: mpsc::Receiver<Input>,
    stats: Arc<Stats>,
}

impl Node {
    async fn start(settings: Settings) -> Self {
        let (sender, inputs) = mpsc::channel(256);
        let stats = Arc::new(Stats::new(&settings.link_counts(), None));
        let transport = bind(settings, sender, Arc::clone(&stats)).await.unwrap();
        Self { transport: Arc::new(transport), inputs, stats }
    }

    /// The first input from now on that `wanted` takes; the others are passed over.
    async fn wait<T>(&mut self, mut wanted: impl FnMut(&Input) -> Option<T>) -> T {
        let found = async {
            loop {
                let input = self.inputs.recv().await.expect("the transport lives");
                if let Some(found) = wanted(&input) {
                    return found;
                }
            }
        };
        timeout(PATIENCE, found).await.expect("the input comes in time")
    }

    async fn wait_connections(&mut self, wanted: impl Fn(u16) -> bool) -> u16 {
        self.wait(|input| match input {
            Input::Connections { open, .. } if wanted(*open) => Some(*open),
            _ => None,
        })
        .await
    }

    async fn wait_answer(&mut self) -> (LinkId, Answer) {
        self.wait(|input| match input {
            Input::Answer { link, answer, .. } => Some((*link, answer.clone())),
            _ => None,
        })
        .await
    }

    /// Everything told so far.
    fn told(&mut self) -> Vec<Input> {
        std::iter::from_fn(|| self.inputs.try_recv().ok()).collect()
    }

    /// Waits until so many were refused for that reason.
    async fn wait_rejections(&self, reason: Rejection, count: u64) {
        let come = async {
            while self.stats.rejections(reason) < count {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(PATIENCE, come).await.expect("the refusal is counted in time");
    }

    /// Answers every heartbeat, as a core would, until the task is dropped.
    fn answer_all(self) -> tokio::task::JoinHandle<()> {
        let Self { transport, mut inputs, .. } = self;
        tokio::spawn(async move {
            while let Some(input) = inputs.recv().await {
                if let Input::Request { id, request: Request::Heartbeat(beat), .. } = input {
                    transport.answer(id, answer_to(&beat));
                }
            }
        })
    }
}

/// A heartbeat of that number.
fn heartbeat(send: u64) -> Request {
    Request::Heartbeat(Arc::new(Heartbeat {
        send: SendNumber(send),
        sent_at: Timestamp::from_millis(send),
        up_for: Duration::ZERO,
        standing: Standing::Ready,
        digest: Digest([7; 32]),
        shared: Digest([7; 32]),
        reference: None,
        admissions: Vec::new(),
        preflight_ok: true,
        hears: vec![A, B],
        ceiling: Term(100),
        groups: vec![GroupBeat {
            group: GroupId(0),
            priority: Some(Priority::LEAST),
            healthy: true,
            holds: true,
            seen: Term(0),
            mastered: Some(Mastered { term: Term(3), lease: Duration::from_millis(600) }),
            elected: Some(Elected { term: Term(3), node: A }),
        }],
        take_backs: Vec::new(),
    }))
}

fn answer_to(beat: &Heartbeat) -> Answer {
    Answer::Heartbeat(HeartbeatAnswer {
        send: beat.send,
        sent_at: beat.sent_at,
        muted: Duration::ZERO,
        ceiling: Term(100),
        reference: None,
        admissions: Vec::new(),
        away: None,
        groups: vec![GroupBeatAnswer {
            group: GroupId(0),
            renewal: Renewal::Renewed { had_run_out: false },
            promised: None,
            elected: None,
        }],
    })
}

/// A forwarder that stands on `front` and keeps what the client said on each connection.
async fn recorder(front: SocketAddr, back: SocketAddr) -> mpsc::UnboundedReceiver<Vec<u8>> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = TcpListener::bind(front).await.unwrap();
    let (record, records) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let record = record.clone();
            tokio::spawn(async move {
                let server = TcpStream::connect(back).await.unwrap();
                let (mut from_client, mut to_client) = client.into_split();
                let (mut from_server, mut to_server) = server.into_split();
                tokio::spawn(async move {
                    let _ = tokio::io::copy(&mut from_server, &mut to_client).await;
                });
                let mut buffer = vec![0; 64 * 1024];
                while let Ok(read @ 1..) = from_client.read(&mut buffer).await {
                    let _ = record.send(buffer[..read].to_vec());
                    if to_server.write_all(&buffer[..read]).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    records
}

/// Writes raw bytes to a node and reads until it closes the connection or answers.
async fn say(to: SocketAddr, bytes: &[u8]) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = TcpStream::connect(to).await.unwrap();
    let _ = stream.write_all(bytes).await;
    let mut heard = vec![0; 4096];
    let read = timeout(PATIENCE, stream.read(&mut heard)).await.expect("an answer or an end");
    String::from_utf8_lossy(&heard[..read.unwrap_or(0)]).into_owned()
}

fn loopback() -> IpAddr {
    IpAddr::from([127, 0, 0, 1])
}
