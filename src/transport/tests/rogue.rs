//! A peer that has the cluster's key and answers as no vipward would. Each case ends in an error,
//! in time, and without memory for what it says.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use vipward_manifest::{EntryName, Hash};

use super::super::auth::Mac;
use super::super::fetch::Limits;
use super::manifests::{entry, file, limits};
use super::*;

/// What the rogue does with a request for that path, and with the bytes it would send.
type Behaviour = fn(&str, usize) -> Says;

enum Says {
    /// An answer whose MAC is good.
    Signed(u16, Vec<u8>),
    /// A page.
    Page { digest: u8, start: usize, names: Vec<EntryName>, more: bool },
    /// These bytes, not even HTTP perhaps.
    Raw(Vec<u8>),
    /// A good head, and then a byte now and then.
    Dribble,
    /// Nothing, and the connection stays open.
    Nothing,
}

fn page(digest: u8, start: usize, names: &[&str], more: bool) -> Says {
    Says::Page { digest, start, names: names.iter().map(|name| file(name)).collect(), more }
}

/// The answer as bytes, signed.
fn signed(status: u16, body: &[u8], request: &Mac) -> Vec<u8> {
    let mac = Keys::parse(KEY).unwrap().sign_answer(status, body, request).encode();
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status} x\r\nx-vipward-mac: {mac}\r\ncontent-length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

/// Listens as `b` and behaves so; counts the requests.
async fn rogue(at: SocketAddr, behaviour: Behaviour) -> Arc<AtomicUsize> {
    let listener = TcpListener::bind(at).await.unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(misbehave(stream, behaviour, Arc::clone(&counter)));
        }
    });
    asked
}

async fn misbehave(mut stream: TcpStream, behaviour: Behaviour, asked: Arc<AtomicUsize>) {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let Ok(byte) = stream.read_u8().await else { return };
            head.push(byte);
        }
        let head = String::from_utf8(head).unwrap();
        let path = head.split(' ').nth(1).unwrap();
        let mac = head.lines().find_map(|line| line.strip_prefix("x-vipward-mac: ")).unwrap();
        let mac = Mac::decode(mac.as_bytes()).unwrap();
        let number = asked.fetch_add(1, Ordering::Relaxed);
        let bytes = match behaviour(path, number) {
            Says::Signed(status, body) => signed(status, &body, &mac),
            Says::Page { digest, start, names, more } => {
                let entries: Vec<_> = names.into_iter().map(|name| (name, entry(1, 0))).collect();
                let body = serde_json::json!(
                    {"digest": Hash([digest; 32]), "start": start, "entries": entries, "more": more}
                );
                signed(200, body.to_string().as_bytes(), &mac)
            }
            Says::Raw(bytes) => bytes,
            Says::Dribble => {
                let whole = signed(200, &vec![b' '; 60_000], &mac);
                for byte in whole {
                    if stream.write_u8(byte).await.is_err() {
                        return;
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                return;
            }
            Says::Nothing => return std::future::pending().await,
        };
        if stream.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

/// Where a page begins that was asked for.
fn start_of(path: &str) -> usize {
    path.rsplit_once("start=").map_or(0, |(_, start)| start.parse().unwrap())
}

/// What fetching the manifest from such a peer says, and how often it was asked.
async fn fetch(behaviour: Behaviour) -> (FetchProblem, usize, Duration) {
    let settings = pair(1);
    let asked = rogue(settings.nodes[1].links[0], behaviour).await;
    let a = Node::start(settings).await;
    let fetcher = a.transport.fetcher().with_limits(limits());
    let began = tokio::time::Instant::now();
    let error = timeout(PATIENCE * 2, fetcher.fetch_manifest(B)).await.unwrap().unwrap_err();
    let sentence = error.to_string();
    assert!(sentence.starts_with("cannot fetch the manifest of b: "), "{sentence}");
    assert!(!sentence.contains('\n') && sentence.len() < 300, "{sentence}");
    (error.problem, asked.load(Ordering::Relaxed), began.elapsed())
}

#[tokio::test]
async fn wrong_pages_are_one_clear_error_each() {
    let cases: [(Behaviour, &str); 13] = [
        (|_, _| page(1, 0, &["/b", "/a"], false), "out of order"),
        (|_, _| page(1, 0, &["/a", "/a"], false), "out of order"),
        (|_, _| page(1, 0, &["/a", "/b"], false), "not that of its entries"),
        (|path, _| page(1, start_of(path), &["/a"], true), "out of order"),
        (|_, _| page(1, 0, &["/a"], true), "begins where none was asked for"),
        (|path, _| page(1, start_of(path), &[], true), "empty and yet not the last"),
        (|path, n| page(n as u8, start_of(path), &["/a"], true), "another manifest"),
        (|_, _| Says::Signed(200, b"\x00\xff garbage".to_vec()), "not what the path asks for"),
        (|_, _| Says::Signed(200, br#"{"digest":"x"}"#.to_vec()), "not what the path asks for"),
        (
            |_, _| {
                let body = r#"{"digest":"zz","start":0,"entries":[],"more":false}"#;
                Says::Signed(200, body.into())
            },
            "64 hexadecimal digits",
        ),
        (|_, _| Says::Signed(200, "[".repeat(60_000).into_bytes()), "not what the path asks for"),
        (|_, _| Says::Signed(204, Vec::new()), "status 204"),
        (|_, _| Says::Signed(409, br#"{"boot":"1"}"#.to_vec()), "status 409"),
    ];
    for (index, (behaviour, said)) in cases.into_iter().enumerate() {
        let (problem, asked, _) = fetch(behaviour).await;
        let FetchProblem::Wrong(what) = &problem else { panic!("case {index}: {problem:?}") };
        assert!(what.contains(said), "case {index}: {what}");
        assert!(asked <= 2, "case {index}: asked {asked} times");
    }
}

#[tokio::test]
async fn what_proves_nothing_is_no_answer() {
    let cases: [Behaviour; 5] = [
        |_, _| Says::Raw(b"\x16\x03\x01 no HTTP\r\n\r\n".to_vec()),
        |_, _| Says::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}".to_vec()),
        // Signed, but in answer to another request.
        |_, _| Says::Raw(signed(200, b"{}", &Mac::decode(ANOTHER).unwrap())),
        |_, _| Says::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n".to_vec()),
        // Another life each time.
        |_, n| Says::Signed(409, format!(r#"{{"boot":"{n:032x}"}}"#).into_bytes()),
    ];
    for (index, behaviour) in cases.into_iter().enumerate() {
        let (problem, asked, _) = fetch(behaviour).await;
        assert!(matches!(problem, FetchProblem::Unreachable(_)), "case {index}: {problem:?}");
        assert!(asked <= 4, "case {index}: asked {asked} times");
    }
}

/// The MAC of a request that was never made.
const ANOTHER: &[u8] = b"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

#[tokio::test]
async fn slow_and_silent_peers_cost_their_time_and_no_more() {
    for behaviour in [(|_, _| Says::Dribble) as Behaviour, |_, _| Says::Nothing] {
        let (problem, asked, took) = fetch(behaviour).await;
        assert_eq!(problem, FetchProblem::Unreachable("no answer within 400ms".into()));
        assert_eq!(asked, 2);
        assert!(took >= limits().request * 2, "{took:?}");
    }
    // One that is busy for ever.
    let settings = pair(1);
    let busy: Behaviour = |_, _| Says::Signed(429, ManifestRefusal::Busy.body());
    rogue(settings.nodes[1].links[0], busy).await;
    let a = Node::start(settings).await;
    let total = Duration::from_millis(200);
    let fetcher = a.transport.fetcher().with_limits(Limits { total, ..limits() });
    let error = fetcher.fetch_manifest(B).await.unwrap_err();
    assert_eq!(error.problem, FetchProblem::Late(total));
}

#[tokio::test]
async fn endless_pages_and_parts_end_at_their_bounds() {
    // Twenty names a page, for ever, in perfect order.
    let (problem, asked, _) = fetch(|path, _| {
        let start = start_of(path);
        let names: Vec<String> = (start..start + 200).map(|it| format!("/{it:09}")).collect();
        page(1, start, &names.iter().map(String::as_str).collect::<Vec<_>>(), true)
    })
    .await;
    assert_eq!(problem, FetchProblem::TooLarge("20,100 entries"));
    assert_eq!(asked, 101);
    let (problem, asked, _) = fetch(|path, _| {
        let start = start_of(path);
        page(1, start, &[&format!("/{start:060000}")], true)
    })
    .await;
    assert_eq!(problem, FetchProblem::TooLarge("8 MiB"));
    assert!(asked <= 140, "{asked}");
}

#[tokio::test]
async fn wrong_parts_of_a_content_are_one_clear_error_each() {
    fn part(offset: u64, total: u64, content: &str) -> Says {
        let body = serde_json::json!({"offset": offset, "total": total, "content": content});
        Says::Signed(200, body.to_string().into_bytes())
    }
    fn offset_of(path: &str) -> u64 {
        path.rsplit_once("offset=").unwrap().1.parse().unwrap()
    }
    let wrong = |text: &str| FetchProblem::Wrong(text.into());
    let cases: [(Behaviour, FetchProblem); 7] = [
        (|path, _| part(offset_of(path), 9, ""), wrong("a part is empty and yet not the last")),
        (|_, _| part(0, 9, "YWJj"), wrong("a part begins where none was asked for")),
        (|_, _| part(0, 2, "YWJj"), wrong("it is longer than it tells")),
        (
            |path, n| part(offset_of(path), 9 + n as u64, "YWJj"),
            wrong("its length is another than a part before told"),
        ),
        (|_, _| part(0, u64::MAX, "YWJj"), FetchProblem::TooLarge("16 MiB")),
        (|_, _| part(0, 3, "not base64!"), wrong("a content is base64")),
        (|_, _| Says::Signed(404, b"{}".to_vec()), FetchProblem::Unserved),
    ];
    for (index, (behaviour, problem)) in cases.into_iter().enumerate() {
        let settings = pair(1);
        rogue(settings.nodes[1].links[0], behaviour).await;
        let a = Node::start(settings).await;
        let fetcher = a.transport.fetcher().with_limits(limits());
        let name = file("/etc/\u{1b}[31m");
        let error = fetcher.fetch_entry(B, &name, Hash([1; 32])).await.unwrap_err();
        assert_eq!(error.problem, problem, "case {index}");
        // A peer's name for a file does not reach the terminal raw.
        assert!(error.to_string().contains(r"the file /etc/\u{1b}[31m"), "{error}");
    }
}
