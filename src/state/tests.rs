use std::os::unix::fs::symlink;

use vipward_core::{Admission, Digest, NodeId, Reference, ReferenceVersion, Term};

use super::*;

const PATIENCE: Duration = Duration::from_secs(10);

fn settings(directory: &Path, groups: &[&str]) -> Settings {
    let groups = groups.iter().map(ToString::to_string).collect();
    let nodes = ["lb-a", "lb-b"].map(str::to_owned).to_vec();
    Settings { directory: directory.to_owned(), groups, nodes }
}

fn durable(ceiling: u64, elected: &[u64]) -> Durable {
    Durable {
        ceiling: Term(ceiling),
        elected: elected.iter().copied().map(Term).collect(),
        longest_promise: Duration::from_millis(600),
        reference: None,
        admissions: Vec::new(),
        maintenance: false,
    }
}

/// Runs a store through one order and returns what the core is told.
async fn write(store: Store, order: Durable) -> Vec<Input> {
    let (orders, newest) = watch::channel(Some(order));
    let (inputs, mut told) = mpsc::channel(8);
    drop(orders);
    let run = store.run(newest, inputs, CancellationToken::new());
    tokio::time::timeout(PATIENCE, run).await.unwrap();
    let mut all = Vec::new();
    while let Some(input) = told.recv().await {
        all.push(input);
    }
    all
}

#[tokio::test]
async fn what_was_written_is_read_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let (store, loaded) = open(settings(dir.path(), &["web", "mail"])).unwrap();
    assert_eq!(loaded, Loaded::default());
    let order = durable(100, &[42, 7]);
    assert_eq!(write(store, order.clone()).await, [Input::Persisted(order)]);

    // The order of groups changes, and one is new.
    let (store, loaded) = open(settings(dir.path(), &["new", "mail"])).unwrap();
    assert_eq!(loaded.durable, Some(durable(100, &[0, 7])));
    let _ = write(store, durable(200, &[1, 8])).await;

    // The group that was away still has its term.
    let (_, loaded) = open(settings(dir.path(), &["web", "mail", "new"])).unwrap();
    assert_eq!(loaded.durable, Some(durable(200, &[42, 8, 1])));
}

#[tokio::test]
async fn the_gate_is_remembered_by_name() {
    // Given a reference, an admission of each node, and maintenance,
    let version = |count| ReferenceVersion { term: Term(7), count };
    let admission = |node, count| Admission {
        version: version(count),
        node: NodeId(node),
        digest: Digest([2; 32]),
        over: Digest([1; 32]),
    };
    let order = Durable {
        reference: Some(Reference { version: version(1), digest: Digest([1; 32]) }),
        admissions: vec![admission(0, 2), admission(1, 3)],
        maintenance: true,
        ..durable(100, &[42])
    };
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(settings(dir.path(), &["web"])).unwrap();
    let _ = write(store, order.clone()).await;
    // when it is read again, it is the same;
    let (_, loaded) = open(settings(dir.path(), &["web"])).unwrap();
    assert_eq!(loaded.durable, Some(order.clone()));
    // and by a list that has lost the first node, only the other's admission is left, its new id.
    let nodes = vec!["lb-b".to_owned()];
    let settings = Settings { nodes, ..settings(dir.path(), &["web"]) };
    let (_, loaded) = open(settings).unwrap();
    assert_eq!(loaded.durable, Some(Durable { admissions: vec![admission(0, 3)], ..order }));
}

#[test]
fn an_illegible_file_is_set_aside_and_counts_as_lost() {
    for content in ["", "{\"version\":1,\"ceil", "[]", "{\"version\":9}"] {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("state.json"), content).unwrap();
        let (_, loaded) = open(settings(dir.path(), &["web"])).unwrap();
        assert_eq!(loaded.durable, None);
        let lost = loaded.lost.unwrap();
        assert!(lost.contains("state.json.corrupt"), "{lost}");
        let kept = std::fs::read_to_string(dir.path().join("state.json.corrupt")).unwrap();
        assert_eq!(kept, content);
    }
}

#[test]
fn one_daemon_one_directory() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(settings(dir.path(), &["web"])).unwrap();
    let other = dir.path().with_extension("link");
    symlink(dir.path(), &other).unwrap();
    let refused = open(settings(&other, &["web"])).unwrap_err();
    std::fs::remove_file(&other).unwrap();
    assert!(matches!(refused, StateError::InUse(_)), "{refused}");
    drop(store);
    assert!(open(settings(dir.path(), &["web"])).is_ok());
}

#[test]
fn a_missing_directory_is_named_with_the_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let refused = open(settings(&dir.path().join("gone"), &[])).unwrap_err().to_string();
    assert!(refused.contains("gone does not exist") && refused.contains("[state]"), "{refused}");
}

#[tokio::test]
async fn a_disk_that_fails_is_reported_and_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    std::fs::create_dir(&state).unwrap();
    let (store, _) = open(settings(&state, &["web"])).unwrap();
    let away = dir.path().join("away");
    std::fs::rename(&state, &away).unwrap();
    let (orders, newest) = watch::channel(Some(durable(100, &[1])));
    let (inputs, mut told) = mpsc::channel(8);
    let stop = CancellationToken::new();
    let running = tokio::spawn(store.run(newest, inputs, stop.clone()));
    let first = tokio::time::timeout(PATIENCE, told.recv()).await.unwrap();
    assert_eq!(first, Some(Input::PersistFailed));

    // Only the newest is written once the disk is back.
    orders.send_replace(Some(durable(200, &[2])));
    std::fs::rename(&away, &state).unwrap();
    let second = tokio::time::timeout(PATIENCE, told.recv()).await.unwrap();
    assert_eq!(second, Some(Input::Persisted(durable(200, &[2]))));
    stop.cancel();
    tokio::time::timeout(PATIENCE, running).await.unwrap().unwrap();
}
