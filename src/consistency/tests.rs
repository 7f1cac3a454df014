//! Real files and programs, and a peer in memory.

#![allow(clippy::wildcard_enum_match_arm, reason = "a test waits for one input of many")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::Mutex as StdMutex;

use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use vipward_core::Inventory;
use vipward_manifest::{Refused, Scanner};

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);
const A: NodeId = NodeId(0);
const B: NodeId = NodeId(1);
const WITNESS: NodeId = NodeId(2);

/// What the peer says of itself.
#[derive(Clone, Debug, Default)]
struct Says {
    manifest: Manifest,
    contents: BTreeMap<EntryName, Vec<u8>>,
    /// So many contents are told, and then it is silent.
    at_most: Option<usize>,
    silent: bool,
}

#[derive(Clone, Debug, Default)]
struct Peer(Arc<StdMutex<Says>>);

impl Peers for Peer {
    async fn manifest(&self, _: NodeId) -> Result<Manifest, String> {
        let says = self.0.lock().unwrap();
        if says.silent { Err("no link leads there".into()) } else { Ok(says.manifest.clone()) }
    }

    async fn content(&self, _: NodeId, name: &EntryName, _: Hash) -> Result<Vec<u8>, String> {
        let mut says = self.0.lock().unwrap();
        if says.at_most == Some(0) {
            return Err("no link leads there".into());
        }
        says.at_most = says.at_most.map(|left| left - 1);
        says.contents.get(name).cloned().ok_or_else(|| "there is no such entry".into())
    }
}

/// What a witness looks for.
fn nothing() -> Wanted {
    Wanted {
        files: Vec::new(),
        ignore: Vec::new(),
        digest_only: Vec::new(),
        pid_file: None,
        variables: Variables { node: "witness".into(), links: Vec::new() },
    }
}

/// A node with its files, and a peer that has what these files were a moment ago.
struct Node {
    directory: tempfile::TempDir,
    settings: watch::Sender<Arc<Settings>>,
    peer: Peer,
}

impl Node {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        for name in ["conf", "state", "marks"] {
            fs::create_dir(directory.path().join(name)).unwrap();
        }
        let variables = |node: &str| Variables { node: node.into(), links: Vec::new() };
        let settings = Settings {
            wanted: Wanted {
                files: vec![directory.path().join("conf/**/*").display().to_string()],
                ignore: vec!["^# this is {{node}}$".into()],
                digest_only: vec!["**/*.secret".into()],
                pid_file: None,
                variables: variables("a"),
            },
            commands: Vec::new(),
            packages: Vec::new(),
            shared: Shared { digest: Hash([1; 32]), text: "shared".into() },
            nodes: vec![variables("a"), variables("b"), variables("witness")],
            me: A,
            witnesses: vec![WITNESS],
            pull_test: None,
            pull_reload: None,
            state: directory.path().join("state"),
        };
        let (settings, _) = watch::channel(Arc::new(settings));
        Self { directory, settings, peer: Peer::default() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn file(&self, name: &str) -> EntryName {
        EntryName::File(self.path(name).display().to_string())
    }

    fn change(&self, change: impl FnOnce(&mut Settings)) {
        self.settings.send_modify(|settings| change(Arc::make_mut(settings)));
    }

    /// The peer has what this node has now, as node `b` reads it. Its digest.
    fn given_to_the_peer(&self) -> Digest {
        let settings = Arc::clone(&self.settings.borrow());
        let outside = Outside {
            shared: settings.shared.clone(),
            commands: BTreeMap::new(),
            packages: BTreeMap::new(),
        };
        let manifest = Scanner::new(settings.rules(B).unwrap()).scan(&outside);
        let content = |name: &EntryName| match name {
            EntryName::File(path) => Some((name.clone(), fs::read(path).ok()?)),
            _ => None,
        };
        let contents = manifest.entries.keys().filter_map(content).collect();
        let digest = Digest(manifest.digest().0);
        *self.peer.0.lock().unwrap() = Says { manifest, contents, ..Says::default() };
        digest
    }

    fn start(&self) -> Running {
        let (mut consistency, tasks) =
            Consistency::new(self.settings.subscribe(), self.peer.clone());
        consistency.patience = Patience {
            command: Duration::from_millis(300),
            repair: PATIENCE,
            reloaded: Duration::from_millis(300),
        };
        let (tell, inputs) = mpsc::channel(64);
        let (orders, of_core) = mpsc::channel(4);
        let tasks = vec![
            tokio::spawn(consistency.clone().run(tasks, tell.clone())),
            tokio::spawn(consistency.clone().obey(of_core, tell)),
        ];
        Running { consistency, orders, inputs, tasks }
    }

    /// A command that leaves a mark, and then does what the script says.
    fn script(&self, name: &str, script: &str) -> Option<Vec<String>> {
        let marks = self.path("marks").join(name);
        let script = format!("echo >> {}; {script}", marks.display());
        Some(["sh", "-c", &script].map(str::to_owned).to_vec())
    }

    fn marks(&self, name: &str) -> usize {
        fs::read(self.path("marks").join(name)).map_or(0, |marks| marks.len())
    }
}

/// The edge at work.
struct Running {
    consistency: Consistency<Peer>,
    orders: mpsc::Sender<Order>,
    inputs: mpsc::Receiver<Input>,
    tasks: Vec<JoinHandle<()>>,
}

impl Running {
    async fn next(&mut self) -> Input {
        timeout(PATIENCE, self.inputs.recv()).await.expect("nothing is told").expect("it ended")
    }

    async fn inventory(&mut self) -> Inventory {
        match self.next().await {
            Input::Manifest(inventory) => inventory,
            other => panic!("{other:?}"),
        }
    }

    /// The outcome of a repair, and the state told last before it.
    async fn pull(&mut self, digest: Digest) -> (PullOutcome, Option<Inventory>) {
        self.orders.send(Order::Pull { from: B, digest }).await.unwrap();
        let mut last = None;
        loop {
            match self.next().await {
                Input::Manifest(inventory) => last = Some(inventory),
                Input::PullFinished(outcome) => return (outcome, last),
                other => panic!("{other:?}"),
            }
        }
    }

    /// Why a repair failed.
    async fn pull_fails(&mut self, digest: Digest) -> String {
        match self.pull(digest).await.0 {
            PullOutcome::Failed { what } => what.to_string(),
            PullOutcome::Applied => panic!("it was applied"),
        }
    }

    async fn quiet(&mut self) {
        let told = timeout(Duration::from_millis(400), self.inputs.recv()).await;
        assert!(told.is_err(), "{told:?}");
    }

    /// As the daemon's end does it.
    async fn stop(self) {
        for task in &self.tasks {
            task.abort();
        }
        for task in self.tasks {
            let _ = task.await;
        }
    }
}

/// Files of the peer that differ in every way from those that this node has then.
fn differing(node: &Node) -> Digest {
    node.write("conf/changed", "# this is b\nnew\n");
    node.write("conf/missing", "only there\n");
    node.write("conf/same", "same\n");
    let digest = node.given_to_the_peer();
    node.write("conf/changed", "# this is a\nold\n");
    fs::remove_file(node.path("conf/missing")).unwrap();
    node.write("conf/stale", "only here\n");
    digest
}

fn is_old(node: &Node) -> bool {
    node.read("conf/changed") == "# this is a\nold\n"
        && !node.path("conf/missing").exists()
        && node.path("conf/stale").exists()
        && !node.path("conf/.vipward-pull").exists()
}

fn is_new(node: &Node) -> bool {
    node.read("conf/changed") == "# this is a\nnew\n"
        && node.read("conf/missing") == "only there\n"
        && !node.path("conf/stale").exists()
        && !node.path("conf/.vipward-pull").exists()
}

// --- scans ---------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_told_once_and_what_is_no_change_never() {
    let node = Node::new();
    node.write("conf/a", "# this is a\n1\n");
    let mut running = node.start();
    let first = running.inventory().await;
    assert!(first.problems.is_empty() && first.unapplied.is_empty());
    node.write("conf/a", "2\n");
    let second = running.inventory().await;
    assert_ne!(second.digest, first.digest);
    node.write("conf/a", "# this is a\n2\n");
    running.quiet().await;
    node.write("conf/a", "1\n");
    assert_eq!(running.inventory().await.digest, first.digest);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_change_all_the_time_do_not_occupy_it() {
    let node = Node::new();
    node.change(|settings| settings.commands = node.script("scans", "true").into_iter().collect());
    let mut running = node.start();
    running.inventory().await;
    let before = node.marks("scans");
    let until = Instant::now() + Duration::from_secs(1);
    for turn in 0.. {
        node.write("conf/a", &format!("{turn}\n"));
        if Instant::now() > until {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let scans = node.marks("scans") - before;
    assert!((1..=10).contains(&scans), "{scans} scans in a second");
    // The last change is not lost.
    let last = running.consistency.scan_now().await.unwrap();
    loop {
        if running.inventory().await.digest.0 == last.digest.0 {
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_hangs_or_fails_is_a_problem_with_a_name() {
    let node = Node::new();
    node.write("conf/a", "1\n");
    node.change(|settings| {
        let scripts =
            [("hangs", "sleep 60"), ("fails", "echo broken >&2; exit 3"), ("well", "echo")];
        settings.commands = scripts.iter().flat_map(|it| node.script(it.0, it.1)).collect();
    });
    let mut running = node.start();
    let inventory = running.inventory().await;
    let told: Vec<&str> = inventory.problems.iter().map(|problem| &**problem).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told.iter()
            .any(|it| it.contains("sleep 60") && it.ends_with("it did not end within 300ms"))
    );
    assert!(told.iter().any(|it| it.contains("exit status: 3") && it.ends_with("broken")));
    // What else there is goes on being known.
    node.write("conf/a", "2\n");
    assert_ne!(running.inventory().await.digest, inventory.digest);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_read_is_a_problem_with_a_name() {
    let node = Node::new();
    // Whoever reads it gets an error, also root.
    symlink("/proc/self/mem", node.path("conf/unreadable")).unwrap();
    let mut running = node.start();
    let inventory = running.inventory().await;
    assert_eq!(inventory.problems.len(), 1);
    assert!(inventory.problems.iter().all(|it| it.contains("conf/unreadable")), "{inventory:?}");
    fs::remove_file(node.path("conf/unreadable")).unwrap();
    assert!(running.inventory().await.problems.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn new_settings_count_at_once_and_nobody_waits_in_vain() {
    let node = Node::new();
    node.write("conf/a", "1\n");
    node.write("marks/b", "2\n");
    let mut running = node.start();
    let first = running.inventory().await;
    let marks = node.path("marks/*").display().to_string();
    node.change(|settings| settings.wanted.files.push(marks));
    let asked = running.consistency.scan_now().await.unwrap();
    let second = running.inventory().await;
    assert_ne!(second.digest, first.digest);
    assert!(asked.digest.0 == second.digest.0 || asked.digest.0 == first.digest.0);
    node.write("marks/b", "3\n");
    assert_ne!(running.inventory().await.digest, second.digest);
}

// --- comparisons ---------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread")]
async fn what_differs_is_named_and_its_lines_are_shown() {
    let node = Node::new();
    node.write("conf/key.secret", "b's\n");
    differing(&node);
    node.write("conf/key.secret", "a's\n");
    let mut running = node.start();
    running.inventory().await;
    running.orders.send(Order::Compare { with: B }).await.unwrap();
    let Input::Compared { with: B, differences } = running.next().await else { panic!() };
    assert_eq!(differences.total, 4);
    let named = differences.named.join(", ");
    for name in ["conf/changed", "conf/missing", "conf/stale", "conf/key.secret"] {
        assert!(named.contains(name), "{named}");
    }
    let document = running.consistency.diff(B).await.unwrap();
    let shown = serde_json::to_string(&document).unwrap();
    for (text, is_shown) in [("old", true), ("new", true), ("only there", true), ("b's", false)] {
        assert_eq!(shown.contains(text), is_shown, "{text}: {shown}");
    }
    assert!(running.consistency.diff(A).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_comparison_is_told_that_was_not_made() {
    let node = Node::new();
    let mut running = node.start();
    running.inventory().await;
    node.peer.0.lock().unwrap().silent = true;
    running.orders.send(Order::Compare { with: B }).await.unwrap();
    running.quiet().await;
    assert_eq!(running.consistency.diff(B).await.unwrap_err(), "no link leads there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_witness_differs_in_the_shared_part_only() {
    let node = Node::new();
    node.write("conf/a", "1\n");
    let shared = |byte| {
        let shared = Shared { digest: Hash([byte; 32]), text: "shared".into() };
        let outside = Outside { shared, commands: BTreeMap::new(), packages: BTreeMap::new() };
        Scanner::new(vipward_manifest::Settings::parse(&nothing()).unwrap()).scan(&outside)
    };
    let mut running = node.start();
    running.inventory().await;
    for (byte, total) in [(1, 0), (2, 1)] {
        node.peer.0.lock().unwrap().manifest = shared(byte);
        running.orders.send(Order::Compare { with: WITNESS }).await.unwrap();
        let Input::Compared { differences, .. } = running.next().await else { panic!() };
        assert_eq!(differences.total, total);
    }
}

// --- repairs -------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_makes_the_files_the_masters_and_tells_so_in_order() {
    let node = Node::new();
    let digest = differing(&node);
    node.change(|settings| {
        settings.pull_test = node.script("test", "true");
        settings.pull_reload = node.script("reload", "true");
    });
    let mut running = node.start();
    assert_ne!(running.inventory().await.digest, digest);
    let (outcome, last) = running.pull(digest).await;
    assert_eq!(outcome, PullOutcome::Applied);
    assert_eq!(last.unwrap().digest, digest);
    assert!(is_new(&node));
    assert_eq!((node.marks("test"), node.marks("reload")), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_fail_the_test_are_not_kept_and_not_loaded() {
    let node = Node::new();
    let digest = differing(&node);
    node.change(|settings| {
        settings.pull_test = node.script("test", "echo directive; echo test failed; exit 1");
        settings.pull_reload = node.script("reload", "true");
    });
    let mut running = node.start();
    let before = running.inventory().await;
    let why = running.pull_fails(digest).await;
    assert!(
        why.contains("directive; test failed") && why.ends_with("the files are as before"),
        "{why}"
    );
    assert!(is_old(&node));
    assert_eq!(node.marks("reload"), 0);
    assert_eq!(running.consistency.scan_now().await.unwrap().digest.0, before.digest.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_not_loaded_are_not_kept_and_the_old_ones_are_loaded_again() {
    let node = Node::new();
    let digest = differing(&node);
    let (new, fails) = (node.path("conf/missing"), "exit 1");
    let script = format!("if [ -e {} ]; then {fails}; fi", new.display());
    node.change(|settings| settings.pull_reload = node.script("reload", &script));
    let mut running = node.start();
    running.inventory().await;
    let why = running.pull_fails(digest).await;
    assert!(
        why.contains("they were not loaded") && why.ends_with("the files are as before"),
        "{why}"
    );
    assert!(is_old(&node));
    assert_eq!(node.marks("reload"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_turn_out_others_are_not_kept() {
    let node = Node::new();
    let digest = differing(&node);
    let spoil = format!("echo spoilt > {}", node.path("conf/same").display());
    node.change(|settings| settings.pull_test = node.script("test", &spoil));
    let mut running = node.start();
    running.inventory().await;
    let why = running.pull_fails(digest).await;
    assert!(why.contains("conf/same"), "{why}");
    assert!(is_old(&node));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_says_another_thing_than_its_heartbeats_is_not_believed() {
    let node = Node::new();
    let digest = differing(&node);
    let mut running = node.start();
    running.inventory().await;
    let why = running.pull_fails(Digest([9; 32])).await;
    assert!(why.contains("the configuration of b has just changed"), "{why}");
    // Nor one whose contents are not those of its manifest.
    let changed = node.file("conf/changed");
    node.peer.0.lock().unwrap().contents.insert(changed, b"# this is b\nevil\n".to_vec());
    let why = running.pull_fails(digest).await;
    assert!(why.contains("conf/changed"), "{why}");
    assert!(is_old(&node));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_falls_silent_in_the_middle_changes_nothing() {
    let node = Node::new();
    let digest = differing(&node);
    let mut running = node.start();
    running.inventory().await;
    for at_most in [0, 1] {
        node.peer.0.lock().unwrap().at_most = Some(at_most);
        assert_eq!(running.pull_fails(digest).await, "no link leads there");
        assert!(is_old(&node));
    }
    node.peer.0.lock().unwrap().at_most = None;
    assert_eq!(running.pull(digest).await.0, PullOutcome::Applied);
    assert!(is_new(&node));
}

/// A repair that hangs in one of its stages, with the new files in place, and the old digest.
async fn hanging(node: &Node, stage: &str) -> (Running, Digest, Digest) {
    let digest = differing(node);
    let marks = node.path("marks").join(stage);
    let hangs = format!("if [ $(wc -l < {}) -eq 1 ]; then sleep 60; fi", marks.display());
    let script = |name| node.script(name, if name == stage { &hangs } else { "true" });
    node.change(|settings| {
        settings.pull_test = script("test");
        settings.pull_reload = script("reload");
    });
    let mut running = node.start();
    let old = running.inventory().await.digest;
    running.orders.send(Order::Pull { from: B, digest }).await.unwrap();
    let begun = async {
        while node.marks(stage) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, begun).await.unwrap();
    assert!(is_new_in_place(node));
    (running, old, digest)
}

fn is_new_in_place(node: &Node) -> bool {
    node.path("conf/missing").exists() && !node.path("conf/stale").exists()
}

/// The next life has the old files, loaded if the new ones may be, and can make the repair.
async fn lives_on(node: &Node, old: Digest, digest: Digest, reloads: usize) {
    let mut running = node.start();
    assert_eq!(running.inventory().await.digest, old);
    assert!(is_old(node));
    assert_eq!(node.marks("reload"), reloads);
    assert_eq!(running.pull(digest).await.0, PullOutcome::Applied);
    assert!(is_new(node));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_that_a_kill_cut_off_is_undone_at_the_next_start_before_anything_is_told() {
    for (stage, reloads) in [("test", 0), ("reload", 2)] {
        let node = Node::new();
        // What still runs of the first life does nothing more: it waits for its program.
        let (_killed, old, digest) = hanging(&node, stage).await;
        lives_on(&node, old, digest, reloads).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_that_a_stop_cut_off_is_undone_at_once_and_loaded_at_the_next_start() {
    for (stage, reloads) in [("test", 0), ("reload", 2)] {
        let node = Node::new();
        let (running, old, digest) = hanging(&node, stage).await;
        running.stop().await;
        assert!(is_old(&node), "{stage}");
        lives_on(&node, old, digest, reloads).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_a_person_may_do_is_said() {
    let node = Node::new();
    node.write("conf/key.secret", "b's\n");
    let digest = differing(&node);
    node.write("conf/key.secret", "a's\n");
    let mut running = node.start();
    running.inventory().await;
    let why = running.pull_fails(digest).await;
    assert!(why.contains("conf/key.secret"), "{why}");
    assert!(is_old(&node));
}

// --- contents for peers --------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread")]
async fn a_content_is_told_as_the_manifest_has_it_or_not_at_all() {
    let node = Node::new();
    node.write("conf/a", "1\n");
    node.write("conf/key.secret", "a's\n");
    let running = node.start();
    let known = running.consistency.scan_now().await.unwrap();
    let digest = |name: &EntryName| known.manifest.entries.get(name).unwrap().digest;
    let (file, secret) = (node.file("conf/a"), node.file("conf/key.secret"));
    let content = Content::default();
    assert_eq!(**content.of(&known, &file, digest(&file)).await.unwrap(), *b"1\n");
    let told = content.of(&known, &secret, digest(&secret)).await;
    assert!(matches!(told, Err(Refused::DigestOnly)), "{told:?}");
    let told = content.of(&known, &node.file("state/x"), Hash([0; 32])).await;
    assert!(matches!(told, Err(Refused::Gone)), "{told:?}");
    // What changed since is not begun to be told.
    node.write("conf/a", "2\n");
    let other = Content::default();
    let told = other.of(&known, &file, digest(&file)).await;
    assert!(matches!(told, Err(Refused::Changed | Refused::Gone)), "{told:?}");
}
