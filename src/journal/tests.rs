use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use vipward_core::{
    AddressId, AlarmName, BootId, CallId, Cause, CheckId, CheckState, DenialReason, Event,
    EventKind, Failover, GroupId, Holder, LinkId, NodeId, OwnershipName, RoleName, Standing, Term,
    Timestamp,
};

use super::read::{CURRENT, PREVIOUS};
use super::*;
use crate::names::tests::names;

const PATIENCE: Duration = Duration::from_secs(10);

fn open(directory: &Path, size: u64) -> Journal {
    let directory = directory.to_owned();
    Journal::open(Settings { directory, size, node: "lb-a".to_owned(), boot: BootId(7) })
}

fn entries(directory: &Path) -> Vec<Entry> {
    read(directory, None).unwrap().collect()
}

fn all_kinds() -> Vec<EventKind> {
    let failover = Failover {
        group: GroupId(0),
        term: Term(42),
        from: Some(NodeId(1)),
        to: NodeId(0),
        cause: Some(Cause::MasterSilent),
        detect: Some(Duration::from_micros(640_200)),
        elect: Some(Duration::from_micros(1_400)),
        claim: Some(Duration::from_millis(212)),
        verify: None,
        at: Timestamp::from_millis(1),
    };
    let address = AddressId(0);
    let (peer, link) = (NodeId(1), LinkId(1));
    vec![
        EventKind::StandingChanged {
            from: Standing::Joining,
            to: Standing::Ready,
            reason: "the configuration equals the cluster's".into(),
        },
        EventKind::RoleChanged {
            from: RoleName::Backup,
            to: RoleName::Candidate,
            reason: "the master is silent",
        },
        EventKind::VoteGranted { candidate: peer, exception: None },
        EventKind::VoteDenied {
            candidate: peer,
            reason: DenialReason::PromisedToMaster(NodeId(0)),
        },
        EventKind::CallStarted {
            call: CallId(3),
            operation: "AssociateAddress",
            address: Some(address),
            reason: "takeover",
        },
        EventKind::CallFinished {
            call: CallId(3),
            operation: "AssociateAddress",
            address: Some(address),
            outcome: "ok",
            detail: None,
            request_id: Some("req-1".into()),
            took: Duration::from_micros(212_000),
        },
        EventKind::OwnershipChanged {
            address,
            ownership: OwnershipName::NotOwned,
            holder: Some(Holder::Outside("eni-9".into())),
            reason: "the cloud says so",
        },
        EventKind::PeerUp { peer, boot: BootId(9) },
        EventKind::PeerDown { peer, reason: "silent on every link" },
        EventKind::LinkUp { peer, link },
        EventKind::LinkDown { peer, link },
        EventKind::CheckChanged { check: CheckId(0), state: CheckState::Failing },
        EventKind::ConfigDrift { peer, equal: false },
        EventKind::HandoverRefused { reason: "lb-b is quarantined".into() },
        EventKind::AlarmRaised {
            name: AlarmName::AddressFight(GroupId(0), address),
            message: "something takes it away".into(),
        },
        EventKind::AlarmCleared { name: AlarmName::ConfigDrift(peer) },
        EventKind::FailoverFinished(failover),
    ]
}

#[test]
fn every_event_has_the_contracts_name_and_fields() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path(), 1 << 20);
    for kind in all_kinds() {
        let event = Event { group: Some(GroupId(0)), term: Some(Term(42)), cause: None, kind };
        journal.write(Record::from_event(&event, &names()));
    }
    assert!(journal.flush(PATIENCE));
    let lines: Vec<Value> = entries(dir.path())
        .iter()
        .map(|entry| serde_json::from_str(&entry.line).unwrap())
        .collect();
    let expected = [
        json!({"event":"standing-changed","from":"joining","to":"ready","reason":"the configuration equals the cluster's"}),
        json!({"event":"role-changed","from":"backup","to":"candidate","reason":"the master is silent"}),
        json!({"event":"vote-granted","candidate":"lb-b"}),
        json!({"event":"vote-denied","candidate":"lb-b","reason":"promised-to-master","promised_to":"lb-a"}),
        json!({"event":"call-started","call_id":3,"operation":"AssociateAddress","address":"eipalloc-0abc","reason":"takeover"}),
        json!({"event":"call-finished","call_id":3,"operation":"AssociateAddress","address":"eipalloc-0abc","outcome":"ok","request_id":"req-1","ms":212.0}),
        json!({"event":"ownership-changed","address":"eipalloc-0abc","ownership":"not-owned","holder":"eni-9","reason":"the cloud says so"}),
        json!({"event":"peer-up","peer":"lb-b","peer_boot":"00000000000000000000000000000009"}),
        json!({"event":"peer-down","peer":"lb-b","reason":"silent on every link"}),
        json!({"event":"link-up","peer":"lb-b","link":1,"link_address":"10.0.9.11:7400"}),
        json!({"event":"link-down","peer":"lb-b","link":1,"link_address":"10.0.9.11:7400"}),
        json!({"event":"check-changed","check":"nginx","state":"failing"}),
        json!({"event":"config-drift","peer":"lb-b","equal":false}),
        json!({"event":"handover-refused","reason":"lb-b is quarantined"}),
        json!({"event":"alarm-raised","name":"address-fight","address":"eipalloc-0abc","message":"something takes it away"}),
        json!({"event":"alarm-cleared","name":"config-drift","peer":"lb-b"}),
        json!({"event":"failover-finished","from":"lb-b","to":"lb-a","cause":"master-silent","detect_ms":640.2,"elect_ms":1.4,"claim_ms":212.0}),
    ];
    assert_eq!(lines.len(), expected.len());
    for (seq, (line, mut expected)) in (1..).zip(lines.into_iter().zip(expected)) {
        let at = line["at"].as_str().unwrap();
        assert!(at.ends_with('Z') && at.len() == "2026-01-01T00:00:00.000Z".len(), "{at}");
        expected["at"] = json!(at);
        expected["seq"] = json!(seq);
        expected["node"] = json!("lb-a");
        expected["boot"] = json!("00000000000000000000000000000007");
        expected["group"] = json!("web");
        expected["term"] = json!(42);
        assert_eq!(line, expected);
    }
}

#[test]
fn what_has_no_meaning_is_absent() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path(), 1 << 20);
    journal.write(Record::stopped("SIGTERM"));
    assert!(journal.flush(PATIENCE));
    let fields = entries(dir.path())[0].fields();
    let keys: Vec<_> = fields.keys().map(String::as_str).collect();
    assert_eq!(keys, ["at", "boot", "event", "node", "reason", "seq"]);
}

#[test]
fn numbers_continue_over_restarts_and_torn_lines() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path(), 1 << 20);
    journal.write(Record::started("0.1.0"));
    journal.write(Record::stopped("SIGTERM"));
    assert!(journal.flush(PATIENCE));
    let path = dir.path().join(CURRENT);
    let mut text = std::fs::read_to_string(&path).unwrap();
    text.push_str("{\"seq\":3,\"at\":\"20");
    std::fs::write(&path, text).unwrap();

    let journal = open(dir.path(), 1 << 20);
    journal.write(Record::started("0.1.0"));
    assert!(journal.flush(PATIENCE));
    let seqs: Vec<_> = entries(dir.path()).iter().map(|entry| entry.seq).collect();
    assert_eq!(seqs, [1, 2, 3]);
}

#[test]
fn rotation_keeps_the_size_and_the_order() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path(), 4096);
    for _ in 0..100 {
        journal.write(Record::stopped("a reason of some length"));
        assert!(journal.flush(PATIENCE));
    }
    let size = |name| std::fs::metadata(dir.path().join(name)).unwrap().len();
    assert!(size(CURRENT) <= 2048 && size(PREVIOUS) <= 2048);
    let seqs: Vec<_> = entries(dir.path()).iter().map(|entry| entry.seq).collect();
    assert_eq!(*seqs.last().unwrap(), 100);
    assert!(seqs.len() > 15 && seqs.windows(2).all(|pair| pair[1] == pair[0] + 1));
}

#[test]
fn a_disk_that_fails_costs_lines_and_names_them_later() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let journal = open(&state, 1 << 20);
    for _ in 0..3 {
        journal.write(Record::started("0.1.0"));
    }
    assert!(journal.flush(PATIENCE));
    std::fs::create_dir(&state).unwrap();
    journal.write(Record::stopped("SIGTERM"));
    assert!(journal.flush(PATIENCE));
    let entries = entries(&state);
    let fields = entries[0].fields();
    assert_eq!((&fields["event"], &fields["lost"]), (&json!("journal-gap"), &json!(3)));
    assert_eq!(entries.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [3, 4]);
}

#[test]
fn a_full_disk_costs_lines_and_names_them_later() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(CURRENT);
    std::os::unix::fs::symlink("/dev/full", &path).unwrap();
    let journal = open(dir.path(), 1 << 20);
    journal.write(Record::started("0.1.0"));
    journal.write(Record::stopped("SIGTERM"));
    assert!(journal.flush(PATIENCE));
    std::fs::remove_file(&path).unwrap();
    journal.write(Record::started("0.1.0"));
    assert!(journal.flush(PATIENCE));
    let events: Vec<_> =
        entries(dir.path()).iter().map(|entry| entry.fields()["event"].clone()).collect();
    assert_eq!(events, ["journal-gap", "started"]);
}

#[test]
fn a_queue_that_overflows_is_a_gap() {
    let dir = tempfile::tempdir().unwrap();
    // Given a queue that takes nothing,
    let journal = open(dir.path(), 1 << 20);
    let held = journal.inner.queue.lock().unwrap().sender.take();
    journal.write(Record::started("0.1.0"));
    journal.write(Record::started("0.1.0"));
    journal.inner.queue.lock().unwrap().sender = held;
    journal.write(Record::stopped("SIGTERM"));
    assert!(journal.flush(PATIENCE));
    assert_eq!(journal.lost(), 2);
    let entries = entries(dir.path());
    assert_eq!(entries[0].fields()["lost"], json!(2));
    assert_eq!(entries.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [2, 3]);
}

#[test]
fn since_is_a_time_or_a_duration() {
    let day: Since = "2026-01-01T00:00:00Z".parse().unwrap();
    assert_eq!(parse_since("2026-01-01T01:00:00+01:00").unwrap(), day);
    let ago = jiff::Timestamp::now().duration_since(parse_since("10m").unwrap());
    assert!((599..610).contains(&ago.as_secs()));
    assert!(parse_since("yesterday").unwrap_err().to_string().contains("yesterday"));
    assert!(parse_since("999999999999y").is_err());
}

#[test]
fn since_leaves_out_what_was_before() {
    let dir = tempfile::tempdir().unwrap();
    let line = |seq, at| format!("{{\"seq\":{seq},\"at\":\"{at}\",\"event\":\"started\"}}\n");
    let text =
        line(1, "2026-01-01T00:00:00.000Z") + "nonsense\n" + &line(2, "2026-01-02T00:00:00.000Z");
    std::fs::write(dir.path().join(CURRENT), text).unwrap();
    let since = parse_since("2026-01-01T12:00:00Z").unwrap();
    let seqs: Vec<_> = read(dir.path(), Some(since)).unwrap().map(|entry| entry.seq).collect();
    assert_eq!(seqs, [2]);
}

#[test]
fn no_journal_is_an_error_with_its_path() {
    let dir = tempfile::tempdir().unwrap();
    let error = read(dir.path(), None).err().unwrap().to_string();
    assert!(error.contains("journal.jsonl") && error.contains("[state]"), "{error}");
}

#[tokio::test]
async fn a_follower_gets_each_line_once() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path(), 1 << 20);
    for _ in 0..50 {
        journal.write(Record::started("0.1.0"));
    }
    let query = Query { since: Some("1h".to_owned()), follow: true, ..Query::default() };
    let mut lines = journal.stream(&query).unwrap();
    for _ in 0..50 {
        journal.write(Record::started("0.1.0"));
    }
    for seq in 1..=100 {
        let (mark, line) = tokio::time::timeout(PATIENCE, lines.recv()).await.unwrap().unwrap();
        assert_eq!(Entry::parse(&line).unwrap().mark().to_string(), mark);
        assert_eq!(mark.parse::<Mark>().unwrap().seq, seq);
    }
    // Without following, the stream ends.
    let mut lines = journal.stream(&Query::default()).unwrap();
    let mut count = 0;
    while tokio::time::timeout(PATIENCE, lines.recv()).await.unwrap().is_some() {
        count += 1;
    }
    assert_eq!(count, 100);
    let wrong = Query { since: Some("x".to_owned()), ..Query::default() };
    assert!(journal.stream(&wrong).is_err());
}

#[tokio::test]
async fn a_slow_follower_is_told_what_it_missed() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path(), 1 << 20);
    let mut lines = journal.stream(&Query { follow: true, ..Query::default() }).unwrap();
    tokio::task::yield_now().await;
    let sent = (FOLLOWER_LAG + AHEAD_AND_MORE) as u64;
    for _ in 0..sent {
        journal.write(Record::started("0.1.0"));
    }
    let (mut seen, mut lost) = (0, 0);
    while seen + lost < sent {
        let (_, line) = tokio::time::timeout(PATIENCE, lines.recv()).await.unwrap().unwrap();
        match Entry::parse(&line).unwrap().fields().get("lost").and_then(Value::as_u64) {
            Some(missed) => lost += missed,
            None => seen += 1,
        }
    }
    assert!(lost > 0);
}

/// More than a follower's own channel takes.
const AHEAD_AND_MORE: usize = 500;

/// Numbers of what a stream has, until one is reached.
async fn numbers(journal: &Journal, query: &Query, until: u64) -> Vec<u64> {
    let mut lines = journal.stream(query).unwrap();
    let mut numbers = Vec::new();
    while numbers.last().is_none_or(|last| *last < until) {
        let (mark, line) = tokio::time::timeout(PATIENCE, lines.recv()).await.unwrap().unwrap();
        assert_eq!(Entry::parse(&line).unwrap().mark().to_string(), mark);
        numbers.push(mark.parse::<Mark>().unwrap().seq);
    }
    numbers
}

#[tokio::test]
async fn a_reader_that_was_cut_off_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path(), 4096);
    for _ in 0..20 {
        journal.write(Record::stopped("a reason of some length"));
        assert!(journal.flush(PATIENCE)); // So that some of it is in the file before.
    }
    assert!(std::fs::metadata(dir.path().join(PREVIOUS)).is_ok());
    let query = |seq, boot: u128| {
        let mark: Mark = format!("{seq}-{}", BootId(boot)).parse().unwrap();
        Query { after: Some(mark), follow: true, since: None }
    };
    assert_eq!(numbers(&journal, &query(17, 7), 20).await, [18, 19, 20]);
    // In the next life of the daemon, too; and what is new comes after it.
    drop(journal);
    let next_life = |directory: &Path| {
        let (directory, node) = (directory.to_owned(), "lb-a".to_owned());
        Journal::open(Settings { directory, size: 4096, node, boot: BootId(8) })
    };
    let journal = next_life(dir.path());
    let following = tokio::spawn({
        let (journal, query) = (journal.clone(), query(19, 7));
        async move { numbers(&journal, &query, 22).await }
    });
    journal.write(Record::started("0.1.0"));
    journal.write(Record::started("0.1.0"));
    assert_eq!(following.await.unwrap(), [20, 21, 22]);
    // A life that was killed did not write its last lines: their numbers come again.
    assert_eq!(numbers(&journal, &query(21, 7), 22).await, [21, 22]);
    assert_eq!(numbers(&journal, &query(21, 8), 22).await, [22]);
    // A life of which nothing is left is older than all.
    let all: Vec<u64> = entries(dir.path()).iter().map(|entry| entry.seq).collect();
    assert_eq!(numbers(&journal, &query(999, 1), 22).await, all);
}

#[test]
fn a_place_in_the_journal_is_a_number_and_a_life() {
    let mark = Mark { seq: 7, boot: "ab".to_owned() };
    assert_eq!(mark.to_string(), "7-ab");
    assert_eq!("7-ab".parse::<Mark>().unwrap(), mark);
    for wrong in ["", "7", "x-ab", "-ab"] {
        assert!(wrong.parse::<Mark>().is_err(), "{wrong}");
    }
}

#[tokio::test]
async fn a_rotation_disturbs_neither_a_follower_nor_who_reads_the_files() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path(), 4096);
    let write = |count| {
        for _ in 0..count {
            journal.write(Record::stopped("a reason of some length"));
        }
        assert!(journal.flush(PATIENCE));
    };
    write(10);
    // Given who reads the files, and has begun,
    let mut reading = read(dir.path(), None).unwrap();
    assert_eq!(reading.next().unwrap().seq, 1);
    // and who follows,
    let query = Query { since: Some("1h".to_owned()), follow: true, ..Query::default() };
    let following = tokio::spawn({
        let journal = journal.clone();
        async move { numbers(&journal, &query, 200).await }
    });
    // when it is rotated several times,
    for _ in 0..19 {
        write(10);
        tokio::time::sleep(Duration::from_millis(1)).await; // The follower has its turn.
    }
    // then the one has all that was there when it began, the other each line once,
    assert!(reading.map(|entry| entry.seq).take(9).eq(2..=10));
    let followed = following.await.unwrap();
    assert!(followed.windows(2).all(|pair| pair[1] == pair[0] + 1), "{followed:?}");
    // there are two files, and who asks for a time gets what is in both.
    let names = std::fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(names, 2);
    let all = entries(dir.path());
    let since: Vec<u64> =
        read(dir.path(), Some(all[3].at)).unwrap().map(|entry| entry.seq).collect();
    let wanted: Vec<u64> =
        all.iter().filter(|entry| entry.at >= all[3].at).map(|entry| entry.seq).collect();
    assert_eq!(since, wanted);
    let previous = std::fs::read_to_string(dir.path().join(PREVIOUS)).unwrap();
    let in_previous = previous.lines().filter_map(Entry::parse).any(|it| it.seq == since[0]);
    assert!(in_previous, "{} is in the file before", since[0]);
}

#[tokio::test]
async fn a_disk_that_hangs_holds_nobody_up_and_what_it_cost_is_told_exactly() {
    let dir = tempfile::tempdir().unwrap();
    // Given a disk that hangs,
    let (release, hung) = mpsc::sync_channel::<()>(0);
    let journal = Journal::start(
        Settings {
            directory: dir.path().to_owned(),
            size: 64 << 20,
            node: "lb-a".to_owned(),
            boot: BootId(7),
        },
        move |writer, items| {
            let _ = hung.recv();
            writer.run(items);
        },
    );
    // when far more is written than its queue takes, and a follower looks on,
    let mut live = journal.stream(&Query { follow: true, ..Query::default() }).unwrap();
    let all = QUEUE as u64 + 1_000;
    let began = tokio::time::Instant::now();
    for _ in 0..all {
        journal.write(Record::started("0.1.0"));
    }
    assert!(!journal.flush(Duration::from_millis(20)));
    // then writing waits for nothing, and the follower has its first line,
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let first = tokio::time::timeout(PATIENCE, live.recv()).await.unwrap().unwrap();
    assert!(first.0.ends_with(&BootId(7).to_string()), "{first:?}");
    assert_eq!(journal.lost(), 1_000);
    // and when the disk is back, the journal says how many lines it has not.
    drop(release);
    assert!(journal.flush(PATIENCE));
    journal.write(Record::stopped("SIGTERM"));
    assert!(journal.flush(PATIENCE));
    let entries = entries(dir.path());
    let lost: Vec<_> = entries.iter().filter_map(|it| it.fields().get("lost")?.as_u64()).collect();
    assert_eq!(lost, [1_000]);
    assert_eq!(entries.len(), QUEUE + 2);
    let last_two: Vec<_> = entries.iter().rev().take(2).map(|entry| entry.seq).collect();
    assert_eq!(last_two, [all + 1, all]);
}

#[test]
fn a_directory_that_takes_no_rotation_costs_lines_and_never_more_room() {
    let dir = tempfile::tempdir().unwrap();
    // Given a directory in which the full file cannot be put aside,
    let obstacle = dir.path().join(PREVIOUS);
    std::fs::create_dir_all(obstacle.join("x")).unwrap();
    let journal = open(dir.path(), 4096);
    for _ in 0..100 {
        journal.write(Record::stopped("a reason of some length"));
    }
    assert!(journal.flush(PATIENCE));
    let current = dir.path().join(CURRENT);
    assert!(std::fs::metadata(&current).unwrap().len() <= 2048);
    // when it takes it again, then nothing of before is gone, and the rest is counted.
    std::fs::remove_dir_all(obstacle).unwrap();
    journal.write(Record::stopped("SIGTERM"));
    assert!(journal.flush(PATIENCE));
    let entries = entries(dir.path());
    let mut expected = 1;
    for entry in &entries {
        let lost = entry.fields().get("lost").and_then(Value::as_u64).unwrap_or(1);
        assert_eq!(entry.seq, expected + lost - 1);
        expected += lost;
    }
    assert_eq!(expected, 102);
    let gaps = entries.iter().filter(|entry| entry.fields()["event"] == "journal-gap");
    assert_eq!(gaps.count(), 1);
}
