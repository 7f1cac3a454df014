use std::path::Path;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use vipward_core::{AlarmName, GroupId, Term};

use super::command::KEPT;
use super::lanes::WAITING;
use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

/// What the observer keeps of a command.
#[derive(Debug)]
struct Seen {
    hook: Hook,
    command: Vec<String>,
    outcome: &'static str,
    output: String,
}

struct Told(mpsc::UnboundedSender<Seen>);

impl Observer for Told {
    fn finished(&self, it: &Finished<'_>) {
        let seen = Seen {
            hook: it.hook.clone(),
            command: it.command.to_vec(),
            outcome: it.outcome.as_str(),
            output: it.output.clone(),
        };
        let _ = self.0.send(seen);
    }
}

/// A running edge.
struct Edge {
    settings: watch::Sender<Arc<Settings>>,
    orders: mpsc::Sender<Hook>,
    seen: mpsc::UnboundedReceiver<Seen>,
    stop: CancellationToken,
    running: JoinHandle<()>,
}

impl Edge {
    fn start(settings: Settings) -> Self {
        let (settings, current) = watch::channel(Arc::new(settings));
        let (orders, ordered) = mpsc::channel(256);
        let (told, seen) = mpsc::unbounded_channel();
        let stop = CancellationToken::new();
        let running = tokio::spawn(run(current, ordered, Arc::new(Told(told)), stop.clone()));
        Self { settings, orders, seen, stop, running }
    }

    async fn order(&self, hook: Hook) {
        self.orders.send(hook).await.unwrap();
    }

    async fn next(&mut self) -> Seen {
        timeout(PATIENCE, self.seen.recv()).await.expect("a hook ends").expect("the edge runs")
    }

    /// Stops it and returns all that it still told.
    async fn ended(mut self) -> Vec<Seen> {
        self.stop.cancel();
        timeout(PATIENCE, self.running).await.expect("it ends").unwrap();
        let mut rest = Vec::new();
        while let Ok(seen) = self.seen.try_recv() {
            rest.push(seen);
        }
        rest
    }
}

fn settings(on_master: &[&[&str]], on_backup: &[&[&str]]) -> Settings {
    let argv = |words: &&[&str]| words.iter().map(ToString::to_string).collect();
    Settings {
        cluster: "web-prod".to_owned(),
        node: "lb-a".to_owned(),
        groups: vec!["web".to_owned(), "mail".to_owned()],
        commands: Commands {
            on_master: on_master.iter().map(argv).collect(),
            on_backup: on_backup.iter().map(argv).collect(),
            ..Commands::default()
        },
        limits: Limits::default(),
    }
}

fn limits(run: u64, grace: u64, end: u64) -> Limits {
    let [run, grace, end] = [run, grace, end].map(Duration::from_millis);
    Limits { run, grace, end }
}

fn master(group: u8, term: u64) -> Hook {
    Hook {
        point: HookPoint::Master,
        group: Some(GroupId(group)),
        role: Some(RoleName::Master),
        term: Some(Term(term)),
        cause: Some(Cause::MasterCrashed),
    }
}

fn backup(group: u8, term: u64) -> Hook {
    let (point, role) = (HookPoint::Backup, Some(RoleName::Backup));
    Hook { point, role, cause: None, ..master(group, term) }
}

fn alarm(message: &str) -> Hook {
    let point = HookPoint::Alarm { name: AlarmName::RedundancyLost, message: message.into() };
    Hook { point, group: None, role: None, term: None, cause: None }
}

/// Waits for what a script writes.
async fn written(path: &Path) -> String {
    let written = async {
        loop {
            match std::fs::read_to_string(path) {
                Ok(text) if text.ends_with('\n') => return text,
                Ok(_) | Err(_) => sleep(Duration::from_millis(5)).await,
            }
        }
    };
    timeout(PATIENCE, written).await.expect("the script writes")
}

/// Waits until a process is gone, or a zombie that nobody has reaped here.
async fn gone(pid: &str) {
    let stat = format!("/proc/{}/stat", pid.trim());
    let gone = async {
        while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z")) {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, gone).await.expect("it is gone");
}

#[tokio::test]
async fn a_hook_is_told_its_group_role_term_and_cause_and_nothing_of_the_daemon() {
    // Given a daemon with an environment of its own,
    assert!(std::env::vars().count() > 2, "the test itself has none");
    let mut edge = Edge::start(settings(&[&["env"]], &[&["env"]]));
    edge.order(master(1, 42)).await;
    edge.order(backup(1, 43)).await;
    let path = format!("PATH={}", std::env::var("PATH").unwrap());
    let mut shown = Vec::new();
    for outcome in [edge.next().await, edge.next().await] {
        assert_eq!(outcome.outcome, "ok", "{outcome:?}");
        let mut lines: Vec<_> = outcome.output.lines().map(str::to_owned).collect();
        lines.sort();
        assert_eq!(lines.remove(0), path);
        shown.push(lines);
    }
    let expected = |role: &str, term: &str, cause: &str| {
        [
            format!("VIPWARD_CAUSE={cause}"),
            "VIPWARD_CLUSTER=web-prod".to_owned(),
            "VIPWARD_GROUP=mail".to_owned(),
            "VIPWARD_NODE=lb-a".to_owned(),
            format!("VIPWARD_ROLE={role}"),
            format!("VIPWARD_TERM={term}"),
        ]
    };
    assert_eq!(shown[0], expected("master", "42", "master-crashed"));
    assert_eq!(shown[1], expected("backup", "43", ""));
}

#[tokio::test]
async fn an_alarms_hook_is_told_its_name_and_message() {
    let mut settings = settings(&[], &[]);
    settings.commands.on_alarm = vec![vec!["env".to_owned()]];
    let mut edge = Edge::start(settings);
    edge.order(alarm("witness is\0silent")).await;
    let seen = edge.next().await;
    for line in ["VIPWARD_ALARM=redundancy-lost", "VIPWARD_MESSAGE=witness is silent"] {
        assert!(seen.output.lines().any(|it| it == line), "{line}: {seen:?}");
    }
    assert!(seen.output.lines().any(|line| line == "VIPWARD_GROUP="), "{seen:?}");
}

#[tokio::test]
async fn commands_run_one_after_another_whatever_becomes_of_each() {
    let slow = ["sh", "-c", "sleep 0.1; echo slow; exit 3"];
    let mut edge = Edge::start(settings(
        &[&slow, &["/gone", "x"], &["sh", "-c", "kill -9 $$"], &["sh", "-c", "echo fine >&2"]],
        &[],
    ));
    edge.order(master(0, 1)).await;
    for (command, outcome, output) in [
        ("sh", "failed", "slow"),
        ("/gone", "not-started", ""),
        ("sh", "failed", ""),
        ("sh", "ok", "fine"),
    ] {
        let seen = edge.next().await;
        let found = (seen.command[0].as_str(), seen.outcome, seen.output.as_str());
        assert_eq!(found, (command, outcome, output));
        assert_eq!(seen.hook, master(0, 1));
    }
}

#[tokio::test]
async fn a_hook_beyond_its_limit_is_ended_with_all_that_it_started() {
    let dir = tempfile::tempdir().unwrap();
    let (child, asked) = (dir.path().join("child"), dir.path().join("asked"));
    // Given one that has a child, and says goodbye when asked to; and one that does not listen,
    let polite = format!(
        "trap 'echo bye > {}; exit' TERM; sleep 1000 & echo $! > {}; wait",
        asked.display(),
        child.display()
    );
    let deaf = dir.path().join("deaf");
    let stubborn = format!("trap '' TERM; echo $$ > {}; sleep 1000; sleep 1000", deaf.display());
    let mut settings =
        settings(&[&["sh", "-c", &polite], &["sh", "-c", &stubborn], &["true"]], &[]);
    settings.limits = limits(300, 300, 5_000);
    let mut edge = Edge::start(settings);
    // when they run,
    edge.order(master(0, 1)).await;
    // then each is ended when its time is over, and the next has its turn.
    for outcome in ["timeout", "timeout", "ok"] {
        assert_eq!(edge.next().await.outcome, outcome);
    }
    assert_eq!(written(&asked).await, "bye\n");
    gone(&written(&child).await).await;
    gone(&written(&deaf).await).await;
}

#[tokio::test]
async fn what_a_hook_says_costs_no_memory_and_holds_nothing_up() {
    // More than a pipe takes; and one whose child keeps the pipe when it has ended.
    let mut edge = Edge::start(settings(
        &[
            &["sh", "-c", "head -c 9000000 /dev/zero | tr '\\0' x; echo the end"],
            &["sh", "-c", "echo left; sleep 1000 & echo $!"],
            &["cat"],
        ],
        &[],
    ));
    edge.order(master(0, 1)).await;
    let seen = edge.next().await;
    assert_eq!(seen.outcome, "ok");
    assert!(seen.output.ends_with("xthe end") && seen.output.len() <= KEPT, "{seen:?}");
    let seen = edge.next().await;
    assert_eq!(seen.outcome, "ok");
    let (word, pid) = seen.output.split_once('\n').unwrap();
    assert_eq!(word, "left");
    // It ended in time, so what it left running is its own affair.
    let pid = rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap();
    assert!(rustix::process::test_kill_process(pid).is_ok());
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    // Standard input is empty.
    assert_eq!(edge.next().await.outcome, "ok");
}

#[tokio::test]
async fn one_groups_hook_that_hangs_delays_neither_another_group_nor_an_alarm() {
    let wait = "test $VIPWARD_GROUP = mail || exec sleep 1000";
    let mut settings = settings(&[&["sh", "-c", wait]], &[&["true"]]);
    settings.commands.on_alarm = vec![vec!["true".to_owned()]];
    settings.limits = limits(60_000, 100, 100);
    let mut edge = Edge::start(settings);
    edge.order(master(0, 1)).await;
    edge.order(backup(0, 2)).await;
    edge.order(master(1, 7)).await;
    edge.order(alarm("x")).await;
    let [first, second] = [edge.next().await, edge.next().await];
    for seen in [&first, &second] {
        assert_eq!(seen.outcome, "ok");
        assert_ne!(seen.hook.group, Some(GroupId(0)), "{seen:?}");
    }
    // The one that hangs is ended with the daemon, and what waited for it is told.
    let rest: Vec<_> =
        edge.ended().await.into_iter().map(|seen| (seen.hook, seen.outcome)).collect();
    assert_eq!(rest, [(backup(0, 2), "dropped"), (master(0, 1), "timeout")]);
}

#[tokio::test]
async fn a_role_that_changes_while_hooks_wait_is_told_in_order_and_the_newest_always() {
    let dir = tempfile::tempdir().unwrap();
    let go = dir.path().join("go");
    let wait = format!("until test -e {}; do sleep 0.01; done", go.display());
    let mut edge = Edge::start(settings(&[&["sh", "-c", &wait]], &[&["true"]]));
    // Given one that runs, and more than may wait,
    edge.order(master(0, 0)).await;
    let orders = 2 + WAITING as u64;
    for term in 1..=orders {
        let hook = if term % 2 == 0 { master(0, term) } else { backup(0, term) };
        edge.order(hook).await;
    }
    // then the oldest are left out,
    for term in 1..=2 {
        let seen = edge.next().await;
        assert_eq!((seen.hook.term, seen.outcome), (Some(Term(term)), "dropped"));
    }
    std::fs::write(&go, "").unwrap();
    // and the others run in their order, up to the newest.
    for term in std::iter::once(0).chain(3..=orders) {
        let seen = edge.next().await;
        assert_eq!((seen.hook.term, seen.outcome), (Some(Term(term)), "ok"));
    }
}

#[tokio::test]
async fn a_reload_changes_the_next_hook() {
    let mut edge = Edge::start(settings(&[&["echo", "old"]], &[]));
    edge.order(master(0, 1)).await;
    assert_eq!(edge.next().await.output, "old");
    edge.settings.send_replace(Arc::new(settings(&[&["echo", "new"], &["true"]], &[])));
    edge.order(master(0, 2)).await;
    assert_eq!(edge.next().await.output, "new");
    assert_eq!(edge.next().await.outcome, "ok");
}

#[tokio::test]
async fn the_end_waits_for_what_was_ordered_but_not_for_ever() {
    let mut settings = settings(&[&["sh", "-c", "sleep 0.2"]], &[&["true"]]);
    let edge = Edge::start(settings.clone());
    edge.order(master(0, 1)).await;
    edge.order(backup(0, 2)).await;
    let ended = edge.ended().await;
    assert_eq!(ended.iter().map(|seen| seen.outcome).collect::<Vec<_>>(), ["ok", "ok"]);

    settings.commands.on_master = vec![vec!["sleep".to_owned(), "1000".to_owned()]];
    settings.limits = limits(60_000, 200, 200);
    let edge = Edge::start(settings.clone());
    edge.order(master(0, 1)).await;
    let began = Instant::now();
    let ended = edge.ended().await;
    assert!(began.elapsed() < settings.limits.longest_end(), "{:?}", began.elapsed());
    assert_eq!(ended.iter().map(|seen| seen.outcome).collect::<Vec<_>>(), ["timeout"]);
}
