//! Strangers, forgers, recordings and garbage.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::super::auth::Scope;
use super::super::header::Envelope;
use super::*;

/// A raw request with any envelope, signed with the cluster's key.
fn forge(envelope: &Envelope, path: &str, body: &[u8]) -> Vec<u8> {
    forge_as("POST", envelope, path, body)
}

/// The same with any method.
pub(super) fn forge_as(method: &str, envelope: &Envelope, path: &str, body: &[u8]) -> Vec<u8> {
    let keys = Keys::parse(KEY).unwrap();
    let mac = keys.sign(&Scope { method, path, envelope, body });
    let mut headers = hyper::HeaderMap::new();
    envelope.write(&mac, &mut headers).unwrap();
    let length = body.len();
    let mut raw = format!("{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n");
    for (name, value) in &headers {
        raw += &format!("{name}: {}\r\n", value.to_str().unwrap());
    }
    raw += "\r\n";
    [raw.as_bytes(), body].concat()
}

/// What a request of `b` to `a` is wrapped in.
pub(super) fn from_b(sequence: u64) -> Envelope {
    Envelope {
        version: (1, 0),
        cluster: "test".into(),
        from: "b".into(),
        to: "a".into(),
        link: LinkId(0),
        boot: BootId(0xb),
        to_boot: Some(BootId(0xa)),
        sequence,
    }
}

fn beat_body() -> Vec<u8> {
    super::super::wire::encode_request(&heartbeat(1), &pair(1).names()).unwrap()
}

#[tokio::test]
async fn what_is_not_of_this_cluster_is_refused_counted_and_changes_nothing() {
    let settings = pair(1);
    let to = settings.listen[0];
    let mut a = Node::start(settings).await;
    let body = beat_body();
    let path = "/v1/heartbeat";
    let mut bad_mac = forge(&from_b(1), path, &body);
    let last = bad_mac.len() - 1;
    bad_mac[last] ^= 1;
    let other = |change: fn(&mut Envelope)| {
        let mut envelope = from_b(1);
        change(&mut envelope);
        forge(&envelope, path, &body)
    };
    let huge = vec![b' '; 70_000];
    let cases = [
        (bad_mac, Rejection::BadMac, "403"),
        (other(|e| e.cluster = "other".into()), Rejection::WrongCluster, "403"),
        (other(|e| e.from = "c".into()), Rejection::Stranger, "403"),
        (other(|e| e.from = "a".into()), Rejection::Stranger, "403"),
        (other(|e| e.to = "b".into()), Rejection::Stranger, "403"),
        (other(|e| e.version = (2, 0)), Rejection::Version, "400"),
        (other(|e| e.version = (1, 2)), Rejection::Version, "400"),
        (other(|e| e.link = LinkId(1)), Rejection::Malformed, "400"),
        (forge(&from_b(1), path, &huge), Rejection::Oversized, "413"),
        (forge(&from_b(1), "/v1/nothing", &body), Rejection::Malformed, "404"),
        (b"POST /v1/vote HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(), Rejection::Malformed, "400"),
        (b"\x16\x03\x01\x02\x00 TLS hello\r\n\r\n".to_vec(), Rejection::Malformed, "400"),
    ];
    for (index, (raw, reason, status)) in cases.into_iter().enumerate() {
        let before = a.stats.rejections(reason);
        let heard = say(to, &raw).await;
        a.wait_rejections(reason, before + 1).await;
        assert!(heard.contains(status) || heard.is_empty(), "case {index}: {heard}");
        assert!(!heard.contains("x-vipward-mac"), "case {index}: {heard}");
    }
    // A chunked body of any length is cut as well.
    let mut chunked = String::from_utf8(forge(&from_b(1), path, b"")).unwrap();
    chunked = chunked.replace("content-length: 0", "transfer-encoding: chunked");
    chunked += &format!("11170\r\n{}\r\n0\r\n\r\n", " ".repeat(70_000));
    say(to, chunked.as_bytes()).await;
    a.wait_rejections(Rejection::Oversized, 2).await;
    assert_eq!(a.told(), []);

    // None of it used up the sequence number.
    let _ = say_open(to, &forge(&from_b(1), path, &body)).await;
    a.wait(|input| matches!(input, Input::Request { .. }).then_some(())).await;
}

/// Says something and keeps the connection open.
async fn say_open(to: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream
}

#[tokio::test]
async fn wrong_keys_keep_two_nodes_apart() {
    let settings = pair(1);
    let mut a = Node::start(settings.clone()).await;
    let mut wrong = seen_from(&settings, B, 0xb);
    wrong.keys = Keys::parse(&Keys::generate().unwrap()).unwrap();
    let mut b = Node::start(wrong).await;
    a.transport.send(B, &heartbeat(1));
    b.wait_rejections(Rejection::BadMac, 1).await;
    // The answer to that cannot be authenticated either.
    a.wait_rejections(Rejection::BadMac, 1).await;
    assert_eq!((a.told(), b.told()), (Vec::new(), Vec::new()));
}

#[tokio::test]
async fn a_recording_is_refused_and_worthless_after_a_restart() {
    let settings = pair(1);
    let front = free_address();
    let mut seen_by_a = settings.clone();
    seen_by_a.nodes[1].links[0] = front;
    let back = settings.nodes[1].links[0];
    let mut records = recorder(front, back).await;
    let mut a = Node::start(seen_by_a).await;
    let mut b = Node::start(seen_from(&settings, B, 0xb)).await;

    a.transport.send(B, &heartbeat(1));
    let id = b
        .wait(|input| match input {
            Input::Request { id, .. } => Some(*id),
            _ => None,
        })
        .await;
    let Request::Heartbeat(beat) = heartbeat(1) else { panic!() };
    b.transport.answer(id, answer_to(&beat));
    a.wait_answer().await;
    // The first request asked for the boot; the second is the one that was applied.
    let _asked = records.recv().await.unwrap();
    let applied = records.recv().await.unwrap();
    b.told();

    let heard = say(back, &applied).await;
    assert!(heard.contains("403") && heard.contains("replay"), "{heard}");
    assert_eq!(b.stats.rejections(Rejection::Replay), 1);
    assert_eq!(b.told(), []);

    b.transport.shutdown().await;
    drop(b);
    let mut b = Node::start(seen_from(&settings, B, 0xbb)).await;
    let heard = say(back, &applied).await;
    assert!(heard.contains("409") && heard.contains("x-vipward-mac"), "{heard}");
    assert!(heard.contains(&BootId(0xbb).to_string()), "{heard}");
    // Not even the connection counts as the peer's.
    assert_eq!(b.told(), []);
}

#[tokio::test]
async fn json_that_cannot_be_read_is_refused_even_with_a_good_mac() {
    let settings = pair(1);
    let to = settings.listen[0];
    let mut a = Node::start(settings).await;
    let bodies: [&[u8]; 4] = [b"", b"{", b"[1]", br#"{"send":"seven"}"#];
    for (sequence, body) in (1..).zip(bodies) {
        let heard = say(to, &forge(&from_b(sequence), "/v1/heartbeat", body)).await;
        assert!(heard.contains("400") && heard.contains("x-vipward-mac"), "{heard}");
        a.wait_rejections(Rejection::Malformed, sequence).await;
    }
    let requests = a.told().into_iter().filter(|input| matches!(input, Input::Request { .. }));
    assert_eq!(requests.count(), 0);
}

#[tokio::test]
async fn garbage_does_not_bring_it_down() {
    let settings = pair(1);
    let to = settings.listen[0];
    let mut a = Node::start(settings).await;
    let mut random = Random::new(42);
    let good = forge(&from_b(1), "/v1/heartbeat", &beat_body());
    for round in 0..300u64 {
        let mut bytes = good.clone();
        match round % 3 {
            0 => {
                let length = usize::try_from(random.below(600)).unwrap();
                bytes = (0..length).map(|_| random.draw().to_le_bytes()[0]).collect();
            }
            1 => {
                for _ in 0..=random.below(4) {
                    let at = usize::try_from(random.below(bytes.len() as u64)).unwrap();
                    bytes[at] = random.draw().to_le_bytes()[0];
                }
            }
            _ => bytes.truncate(usize::try_from(random.below(bytes.len() as u64)).unwrap()),
        }
        drop(say_open(to, &bytes).await);
    }
    drop(a.told());
    let _peer = say_open(to, &forge(&from_b(10_000), "/v1/heartbeat", &beat_body())).await;
    a.wait(|input| matches!(input, Input::Request { .. }).then_some(())).await;
}

#[tokio::test]
async fn a_slow_stranger_is_hung_up() {
    let settings = pair(1);
    let to = settings.listen[0];
    let _a = Node::start(settings).await;
    let began = tokio::time::Instant::now();
    let mut slow = say_open(to, b"POST /v1/vote HTTP/1.1\r\n").await;
    // A byte now and then does not help.
    let mut byte = [0];
    loop {
        match timeout(Duration::from_millis(100), slow.read(&mut byte)).await {
            Ok(Ok(0) | Err(_)) => break,
            Ok(Ok(_)) => {}
            Err(_) => {
                let _ = slow.write_all(b"x").await;
            }
        }
        assert!(began.elapsed() < PATIENCE);
    }
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

/// Memory of this process, in bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_get_through_a_crowd_of_strangers_that_costs_little() {
    let settings = pair(1);
    let to = settings.listen[0];
    let kill = process_of(settings.clone());
    let b = Node::start(seen_from(&settings, B, 0xb)).await;
    b.transport.send(A, &heartbeat(1));
    let mut b = b;
    b.wait_answer().await;
    let before = resident();

    // Each sends the longest head, the longest body but its end, and stays.
    let mut crowd = Vec::new();
    let path = "/v1/heartbeat?".to_owned() + &"x".repeat(14_000);
    let raw = forge(&from_b(1), &path, &vec![b' '; 65_536]);
    for index in 0..1_000u64 {
        let Ok(mut stream) = TcpStream::connect(to).await else { continue };
        let _ = timeout(Duration::from_millis(50), stream.write_all(&raw[..raw.len() - 1])).await;
        crowd.push(stream);
        if index % 100 == 0 {
            b.transport.send(A, &heartbeat(index + 2));
            b.wait_answer().await;
        }
    }
    let cost = resident().saturating_sub(before);
    println!("1,000 connections with 64 KiB each cost {} KiB", cost / 1024);
    assert!(cost < 16 << 20, "{cost}");

    // A peer that has to connect anew gets in as well.
    b.transport.shutdown().await;
    let mut b = Node::start(seen_from(&settings, B, 0xbb)).await;
    b.transport.send(A, &heartbeat(1));
    b.wait_answer().await;
    kill();
}

fn process_of(settings: Settings) -> impl FnOnce() {
    super::links::process(settings)
}
