//! Manifests between honest nodes.

use std::collections::BTreeMap;
use std::sync::Mutex;

use tokio::task::JoinHandle;
use vipward_manifest::{Entry, EntryName, Hash, Manifest};

use super::super::fetch::Limits;
use super::super::header::Envelope;
use super::hostile::{forge_as, from_b};
use super::*;

/// What a node's main runtime knows, for a test.
#[derive(Default)]
pub(super) struct Store {
    pub(super) manifest: Manifest,
    /// Of the manifest, once it was asked for.
    digest: Option<Hash>,
    contents: BTreeMap<EntryName, Vec<u8>>,
    /// Pages and chunks given so far.
    pub(super) asked: usize,
}

pub(super) type Shelf = Arc<Mutex<Store>>;

impl Store {
    fn put(&mut self, name: &EntryName, digest: u8, content: &[u8]) {
        self.digest = None;
        self.manifest.entries.insert(name.clone(), entry(digest, content.len()));
        self.contents.insert(name.clone(), content.to_vec());
    }

    /// As the real one would: from what is there now.
    fn answer(&mut self, request: ManifestRequest) {
        self.asked += 1;
        match request.asked.clone() {
            Asked::Page { .. } => {
                let digest = *self.digest.get_or_insert_with(|| self.manifest.digest());
                request.page(&self.manifest, digest);
            }
            Asked::Chunk { name, digest, offset } => match self.manifest.entries.get(&name) {
                None => request.refuse(ManifestRefusal::Gone),
                Some(entry) if entry.digest_only => request.refuse(ManifestRefusal::DigestOnly),
                Some(entry) if entry.digest != digest => request.refuse(ManifestRefusal::Changed),
                Some(_) => {
                    let content = &self.contents[&name];
                    let offset = usize::try_from(offset).unwrap();
                    request.chunk(content.len() as u64, content.get(offset..).unwrap_or(&[]));
                }
            },
        }
    }
}

pub(super) fn entry(digest: u8, size: usize) -> Entry {
    Entry {
        digest: Hash([digest; 32]),
        file: None,
        size: size as u64,
        digest_only: false,
        unapplied: false,
        problem: None,
    }
}

pub(super) fn file(name: &str) -> EntryName {
    EntryName::File(name.into())
}

/// A manifest of so many files, whose names are so long.
pub(super) fn files(count: usize, length: usize) -> Manifest {
    let name = |index| file(&format!("/etc/nginx/{index:0length$}"));
    Manifest { entries: (0..count).map(|index| (name(index), entry(7, index))).collect() }
}

/// Answers a node's peers until the task is dropped. `before` is called ahead of each answer.
pub(super) fn serve(
    mut requests: mpsc::Receiver<ManifestRequest>,
    shelf: &Shelf,
    mut before: impl FnMut(&mut Store) + Send + 'static,
) -> JoinHandle<()> {
    let shelf = Arc::clone(shelf);
    tokio::spawn(async move {
        while let Some(request) = requests.recv().await {
            let mut store = shelf.lock().unwrap();
            before(&mut store);
            store.answer(request);
        }
    })
}

/// Two nodes; `b` serves what is on the shelf.
async fn nodes(before: impl FnMut(&mut Store) + Send + 'static) -> (Node, Node, Shelf) {
    let settings = pair(1);
    let a = Node::start(settings.clone()).await;
    let b = Node::start(seen_from(&settings, B, 0xb)).await;
    let shelf = Shelf::default();
    drop(serve(b.transport.serve_manifests(), &shelf, before));
    (a, b, shelf)
}

/// Short enough for a test.
pub(super) fn limits() -> Limits {
    Limits {
        dial: Duration::from_millis(300),
        request: Duration::from_millis(400),
        total: PATIENCE,
        pause: Duration::from_millis(2),
        ..Limits::default()
    }
}

#[tokio::test]
async fn a_manifest_comes_whole_by_pages_and_the_core_hears_nothing_of_it() {
    let (mut a, mut b, shelf) = nodes(|_| {}).await;
    shelf.lock().unwrap().manifest = files(3_000, 5);
    let fetcher = a.transport.fetcher();
    let fetched = fetcher.fetch_manifest(B).await.unwrap();
    let store = shelf.lock().unwrap();
    assert_eq!(fetched.manifest, store.manifest);
    assert_eq!(fetched.digest, store.manifest.digest());
    println!("3,000 entries came in {} pages", store.asked);
    assert!(store.asked > 3);
    // The first request asked for the peer's life, as every first one does.
    let told = a.told();
    assert!(
        matches!(told[..], [Input::BootAnswered { peer: B, boot: BootId(0xb), .. }]),
        "{told:?}"
    );
    let only_the_connection = |input: &Input| matches!(input, Input::Connections { open: 1, .. });
    assert!(b.told().iter().all(only_the_connection));
    for reason in Rejection::ALL {
        assert_eq!(a.stats.rejections(reason) + b.stats.rejections(reason), 0, "{reason:?}");
    }
}

#[tokio::test]
async fn contents_of_any_length_come_over_one_connection() {
    let (a, mut b, shelf) = nodes(|_| {}).await;
    let mut session = a.transport.fetcher().session(B);
    let long = "/etc/nginx/".to_owned() + &"ä".repeat(2_000);
    let lengths = [0, 1, MAX_CHUNK - 1, MAX_CHUNK, MAX_CHUNK + 1, 5 * MAX_CHUNK];
    for (index, length) in lengths.into_iter().enumerate() {
        let name = if index == 0 { file(&long) } else { EntryName::Command(format!("c {index}")) };
        let content: Vec<u8> = (0..=u8::MAX).cycle().take(length).collect();
        shelf.lock().unwrap().put(&name, 1, &content);
        assert_eq!(session.entry(&name, Hash([1; 32])).await.unwrap(), content, "{length}");
    }
    assert_eq!(session.manifest().await.unwrap().manifest, shelf.lock().unwrap().manifest);
    // Chunks are as long as they can be.
    assert_eq!(shelf.lock().unwrap().asked, 1 + 1 + 1 + 1 + 2 + 5 + 1);
    let most = b.told().iter().fold(0, |most, input| match input {
        Input::Connections { open, .. } => most.max(*open),
        _ => most,
    });
    assert_eq!(most, 1);
    drop(session);
    b.wait_connections(|open| open == 0).await;
}

#[tokio::test]
async fn a_manifest_that_changes_is_read_again_and_never_pieced_together() {
    let mut pages = 0;
    let change_once = move |store: &mut Store| {
        pages += 1;
        if pages == 3 {
            store.put(&file("/etc/nginx/added"), 9, b"");
        }
    };
    let (a, _b, shelf) = nodes(change_once).await;
    shelf.lock().unwrap().manifest = files(3_000, 5);
    let fetcher = a.transport.fetcher().with_limits(limits());
    let fetched = fetcher.fetch_manifest(B).await.unwrap();
    assert_eq!(fetched.manifest.entries.len(), 3_001);
    assert_eq!(fetched.manifest, shelf.lock().unwrap().manifest);

    let always = |store: &mut Store| store.put(&file("/etc/nginx/added"), store.asked as u8, b"");
    let (a, _b, shelf) = nodes(always).await;
    shelf.lock().unwrap().manifest = files(3_000, 5);
    let fetcher = a.transport.fetcher().with_limits(limits());
    let error = fetcher.fetch_manifest(B).await.unwrap_err();
    assert_eq!(error.problem, FetchProblem::Changed);
    assert!(error.to_string().starts_with("cannot fetch the manifest of b: it keeps changing"));
}

#[tokio::test]
async fn an_entry_that_changed_is_gone_or_secret_is_not_given() {
    let changing = file("/etc/nginx/changing");
    let (name, mut chunks) = (changing.clone(), 0);
    let before = move |store: &mut Store| {
        chunks += 1;
        if chunks == 2 {
            store.put(&name, 2, &[1; 100]);
        }
    };
    let (a, _b, shelf) = nodes(before).await;
    shelf.lock().unwrap().put(&changing, 1, &[0; 2 * MAX_CHUNK]);
    let mut secret = entry(1, 0);
    secret.digest_only = true;
    shelf.lock().unwrap().manifest.entries.insert(file("/etc/nginx/key"), secret);
    let fetcher = a.transport.fetcher().with_limits(limits());
    for (name, problem) in [
        (changing, FetchProblem::Changed),
        (file("/etc/nginx/gone"), FetchProblem::Gone),
        (file("/etc/nginx/key"), FetchProblem::DigestOnly),
        (file(&"ä".repeat(5_000)), FetchProblem::TooLarge("the length of a name")),
    ] {
        let error = fetcher.fetch_entry(B, &name, Hash([1; 32])).await.unwrap_err();
        assert_eq!(error.problem, problem, "{error}");
    }
    assert_eq!(shelf.lock().unwrap().asked, 4);
}

#[tokio::test]
async fn who_does_not_know_its_manifest_says_so() {
    let settings = pair(1);
    let a = Node::start(settings.clone()).await;
    let b = Node::start(seen_from(&settings, B, 0xb)).await;
    let fetcher = a.transport.fetcher().with_limits(limits());
    let problem = async || fetcher.fetch_manifest(B).await.unwrap_err().problem;
    // Nobody listens yet; somebody drops what is asked; nobody listens any more.
    assert_eq!(problem().await, FetchProblem::Unserved);
    let mut requests = b.transport.serve_manifests();
    let dropped = async { drop(requests.recv().await.unwrap()) };
    assert_eq!(tokio::join!(problem(), dropped).0, FetchProblem::Unserved);
    drop(requests);
    assert_eq!(problem().await, FetchProblem::Unserved);
    // A witness of nothing, and a node that does not exist.
    let error = fetcher.fetch_manifest(NodeId(9)).await.unwrap_err();
    assert!(matches!(error.problem, FetchProblem::Unreachable(_)), "{error}");
    let error = fetcher.fetch_manifest(A).await.unwrap_err();
    assert!(matches!(error.problem, FetchProblem::Unreachable(_)), "{error}");
}

#[tokio::test]
async fn a_busy_peer_is_asked_again_and_a_greedy_one_waits() {
    let settings = pair(1);
    let to = settings.listen[0];
    let a = Node::start(settings.clone()).await;
    let mut requests = a.transport.serve_manifests();
    let mut held = Vec::new();
    for sequence in 1..=4 {
        let raw = forge_as("GET", &from_b(sequence), "/v1/manifest", b"");
        let asking = tokio::spawn(async move { say(to, &raw).await });
        held.push((asking, requests.recv().await.unwrap()));
    }
    let heard = say(to, &forge_as("GET", &from_b(5), "/v1/manifest", b"")).await;
    assert!(heard.contains("429") && heard.contains("x-vipward-mac"), "{heard}");
    assert!(requests.try_recv().is_err());

    // As soon as one is answered there is room, and an honest peer gets through.
    let b = Node::start(seen_from(&settings, B, 0xbb)).await;
    let fetcher = b.transport.fetcher().with_limits(limits());
    let fetched = tokio::spawn(async move { fetcher.fetch_manifest(A).await });
    let (asking, request) = held.pop().unwrap();
    request.page(&files(1, 1), files(1, 1).digest());
    assert!(asking.await.unwrap().contains("200"));
    let request = timeout(PATIENCE, requests.recv()).await.unwrap().unwrap();
    assert_eq!((request.from, &request.asked), (B, &Asked::Page { of: None, start: 0 }));
    request.page(&files(1, 1), files(1, 1).digest());
    assert_eq!(fetched.await.unwrap().unwrap().manifest, files(1, 1));
}

#[tokio::test]
async fn only_proved_new_requests_of_this_life_are_handed_on() {
    let settings = pair(1);
    let to = settings.listen[0];
    let mut a = Node::start(settings).await;
    let mut requests = a.transport.serve_manifests();
    let page = "/v1/manifest";
    let hash = Hash([1; 32]);
    let chunk = format!("/v1/manifest/entry?kind=file&name=%2Fa&digest={hash}&offset=0");
    let get = |envelope: &Envelope, path: &str| forge_as("GET", envelope, path, b"");
    let altered = |path: &str, other: &str| {
        String::from_utf8(get(&from_b(1), path)).unwrap().replace(path, other).into_bytes()
    };
    let other = |change: fn(&mut Envelope)| {
        let mut envelope = from_b(1);
        change(&mut envelope);
        get(&envelope, page)
    };
    let plain = format!("GET {page} HTTP/1.1\r\nhost: x\r\n\r\n").into_bytes();
    let refused = [
        (plain, Rejection::Malformed, "400"),
        (altered(page, "/v1/manifest?start=1"), Rejection::BadMac, "403"),
        (altered(&chunk, &chunk.replace("%2Fa", "%2Fb")), Rejection::BadMac, "403"),
        (other(|e| e.from = "c".into()), Rejection::Stranger, "403"),
        (other(|e| e.cluster = "other".into()), Rejection::WrongCluster, "403"),
        (forge_as("POST", &from_b(1), page, b""), Rejection::Malformed, "404"),
        (get(&from_b(1), "/v1/manifest/"), Rejection::Malformed, "404"),
        (forge_as("GET", &from_b(1), page, &vec![b' '; 70_000]), Rejection::Oversized, "413"),
    ];
    for (index, (raw, reason, status)) in refused.into_iter().enumerate() {
        let before = a.stats.rejections(reason);
        let heard = say(to, &raw).await;
        a.wait_rejections(reason, before + 1).await;
        assert!(heard.contains(status) || heard.is_empty(), "case {index}: {heard}");
        assert!(!heard.contains("x-vipward-mac"), "case {index}: {heard}");
    }
    // Another life, or `vipward check`: authenticated, told the life, and nothing more.
    for change in
        [|e: &mut Envelope| e.to_boot = None, |e: &mut Envelope| e.from = "b#check".into()]
    {
        let heard = say(to, &other(change)).await;
        assert!(heard.contains(&BootId(0xa).to_string()), "{heard}");
    }
    assert_eq!(a.told(), []);
    assert!(requests.try_recv().is_err());

    // The same sequence number is good once, for whatever it asks.
    let raw = get(&from_b(1), &chunk);
    let asking = tokio::spawn(async move { say(to, &raw).await });
    let request = timeout(PATIENCE, requests.recv()).await.unwrap().unwrap();
    request.chunk(3, b"abc");
    assert!(asking.await.unwrap().contains(r#""content":"YWJj""#));
    let beat = super::super::wire::encode_request(&heartbeat(1), &pair(1).names()).unwrap();
    for again in [
        get(&from_b(1), &chunk),
        get(&from_b(1), page),
        forge_as("POST", &from_b(1), "/v1/heartbeat", &beat),
    ] {
        let heard = say(to, &again).await;
        assert!(heard.contains("403") && heard.contains("replay"), "{heard}");
    }
    // What is not a question is refused, by a peer too.
    let heard = say(to, &get(&from_b(2), "/v1/manifest?start=1")).await;
    assert!(heard.contains("400") && heard.contains("x-vipward-mac"), "{heard}");
    assert!(requests.try_recv().is_err());
}

#[tokio::test]
async fn a_fetch_goes_on_over_another_link_and_ends_with_its_node() {
    let settings = pair(2);
    let mut seen_by_a = settings.clone();
    // Link 0 accepts and says nothing.
    let hole = TcpListener::bind("127.0.0.1:0").await.unwrap();
    seen_by_a.nodes[1].links[0] = hole.local_addr().unwrap();
    let a = Node::start(seen_by_a).await;
    let b = Node::start(seen_from(&settings, B, 0xb)).await;
    let shelf = Shelf::default();
    shelf.lock().unwrap().manifest = files(3_000, 5);
    let serving = serve(b.transport.serve_manifests(), &shelf, |_| {});
    let fetcher = a.transport.fetcher().with_limits(limits());
    let fetched = fetcher.fetch_manifest(B).await.unwrap();
    assert_eq!(fetched.manifest, shelf.lock().unwrap().manifest);

    // Nobody answers any more: the fetch ends when the node does, not later.
    serving.abort();
    let mut requests = b.transport.serve_manifests();
    let slow = fetcher.clone().with_limits(Limits { request: PATIENCE, ..limits() });
    let waiting = tokio::spawn(async move {
        let mut session = slow.session(B);
        session.entry(&file("/a"), Hash([1; 32])).await
    });
    // The hole is tried first, so it is given up only after the request's time-out.
    drop(hole);
    let _held = timeout(PATIENCE, requests.recv()).await.unwrap().unwrap();
    a.transport.shutdown().await;
    let error = timeout(PATIENCE, waiting).await.unwrap().unwrap().unwrap_err();
    assert_eq!(error.problem, FetchProblem::Stopping);
    let error = fetcher.fetch_manifest(B).await.unwrap_err();
    assert_eq!(error.problem, FetchProblem::Stopping);
}

/// The main runtime has several threads: what is fetched there may move between them.
#[test]
fn fetching_may_move_between_threads() {
    fn may_move<T: Send>(_: &T) {}
    fn check(fetcher: &Fetcher, name: &EntryName) {
        may_move(&fetcher.fetch_manifest(B));
        may_move(&fetcher.fetch_entry(B, name, Hash([0; 32])));
    }
    let _ = check;
}
