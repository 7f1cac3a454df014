//! The operator's hooks, and the alarms that run them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::fixture::{Cluster, NAMES, Plan, WITNESS, get, holds_for, now, wait_for, wait_until};

/// What a hook wrote, whole lines only.
fn written(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(str::to_owned).collect()
}

/// A cluster whose hooks write their environment to a file of each point, where the daemon runs.
fn plan(more: &str) -> Plan {
    let mut plan = Plan::new();
    let hooks: String = ["on_master", "on_backup", "on_holding", "on_alarm"]
        .iter()
        .map(|point| {
            let script = format!("env | grep -v ^PWD= >> {point}; echo done >> {point}");
            format!("{point} = [[\"sh\", \"-c\", {script:?}]{}]\n", more.replace("POINT", point))
        })
        .collect();
    plan.config += &format!("\n[hooks]\n{hooks}");
    plan
}

fn file(cluster: &Cluster, node: usize, point: &str) -> PathBuf {
    cluster.plan.path(NAMES[node]).join(point)
}

/// Waits until a hook has run; what it found in its environment.
fn told(cluster: &Cluster, node: usize, point: &str) -> Vec<String> {
    let path = file(cluster, node, point);
    wait_for(&format!("{point} runs at {}", NAMES[node]), || {
        let lines = written(&path);
        lines.last().is_some_and(|last| last == "done").then_some(lines)
    })
}

fn has(lines: &[String], wanted: &[&str]) {
    for line in wanted {
        assert!(lines.iter().any(|it| it == line), "{line} is not in {lines:#?}");
    }
}

#[test]
fn hooks_are_told_the_role_and_its_cause_and_none_of_the_daemons_secrets() {
    let mut cluster = plan("").start();
    cluster.wait_leads(0);
    has(
        &told(&cluster, 0, "on_master"),
        &[
            "VIPWARD_CLUSTER=test",
            "VIPWARD_NODE=lb-a",
            "VIPWARD_GROUP=web",
            "VIPWARD_ROLE=master",
            "VIPWARD_CAUSE=startup",
        ],
    );
    has(&told(&cluster, 1, "on_backup"), &["VIPWARD_NODE=lb-b", "VIPWARD_ROLE=backup"]);
    assert!(!file(&cluster, 1, "on_master").exists());
    cluster.kill(0);
    let lines = told(&cluster, 1, "on_master");
    has(&lines, &["VIPWARD_ROLE=master", "VIPWARD_CAUSE=master-crashed"]);
    // The daemon has credentials in its environment; a hook has not.
    let allowed = |line: &str| {
        let known = ["VIPWARD_", "PATH=", "SHLVL=", "_=", "OLDPWD=", "done"];
        known.iter().any(|known| line.starts_with(known))
    };
    assert!(lines.iter().all(|line| allowed(line)), "{lines:#?}");
    // The journal has what became of it.
    let entry = cluster.wait_journal(1, "the hook", |entry| {
        entry["event"] == "hook-finished" && entry["hook"] == "on_master"
    });
    assert_eq!((&entry["outcome"], &entry["status"]), (&"ok".into(), &0.into()), "{entry}");
    assert_eq!((&entry["group"], &entry["cause"]), (&"web".into(), &"master-crashed".into()));
    assert!(entry["command"].as_str().unwrap().starts_with("sh -c "), "{entry}");
    assert!(entry["ms"].is_u64() && entry["term"].is_u64(), "{entry}");
    // A witness has no role to be told of.
    assert!(!file(&cluster, WITNESS, "on_backup").exists());
}

#[test]
fn a_hook_that_hangs_delays_no_takeover_and_ends_with_the_daemon() {
    // Given hooks that hang, each with a child,
    let hang = ", [\"sh\", \"-c\", \"sleep 100 & echo $! > child-POINT; wait\"]";
    let mut cluster = plan(hang).start();
    cluster.wait_leads(0);
    told(&cluster, 0, "on_master");
    told(&cluster, 1, "on_backup");
    // when the master dies, then the other takes over while its hook still hangs,
    cluster.kill(0);
    cluster.wait_leads(1);
    assert!(!file(&cluster, 1, "on_master").exists(), "it waits for on_backup");
    // and when that stops, the hooks are ended and what waited is told.
    cluster.node(1).signal(Signal::TERM);
    let began = now();
    assert_eq!(cluster.node(1).wait_end(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    let journal = cluster.journal(1);
    let ended = |hook: &str, outcome: &str| {
        let fits = |entry: &&Value| {
            entry["event"] == "hook-finished"
                && entry["hook"] == hook
                && entry["outcome"] == outcome
        };
        journal.iter().filter(fits).count()
    };
    assert_eq!(ended("on_backup", "timeout"), 1, "{journal:#?}");
    assert_eq!(ended("on_master", "dropped"), 2, "{journal:#?}");
    assert_eq!(journal.last().unwrap()["event"], "stopped", "the last word");
    let child = written(&file(&cluster, 1, "child-on_backup")).remove(0);
    let stat = format!("/proc/{child}/stat");
    wait_until("its child is gone", || {
        !std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z"))
    });
}

#[test]
fn a_reload_changes_the_hooks() {
    let mut cluster = plan("").start();
    cluster.wait_leads(0);
    told(&cluster, 1, "on_backup");
    cluster.plan.config = cluster.plan.config.replace(">> on_master", ">> new_hook");
    cluster.plan.file(1);
    cluster.node(1).signal(Signal::HUP);
    wait_until("it reloads", || cluster.node(1).said().contains("configuration reloaded"));
    cluster.kill(0);
    has(&told(&cluster, 1, "new_hook"), &["VIPWARD_ROLE=master"]);
    assert!(!file(&cluster, 1, "on_master").exists());
}

#[test]
fn an_alarm_is_the_same_in_status_metric_journal_and_hook_and_ends_everywhere() {
    const NAME: &str = "redundancy-lost";
    let mut cluster = plan("").start();
    cluster.wait_leads(0);
    let at = cluster.plan.admin(0);
    let gauge = |value: u8| {
        let line = format!("vipward_alarm{{name=\"{NAME}\"}} {value}");
        get(at, "/metrics").is_some_and(|reply| reply.text().lines().any(|it| it == line))
    };
    // It may have been raised while the nodes started one after another.
    wait_until("calm", || {
        let status = cluster.status(0);
        !gauge(1) && status.is_some_and(|status| status["alarms"] == serde_json::json!([]))
    });
    let last = cluster.journal(0).last().unwrap()["seq"].as_u64().unwrap();
    let since = |entry: &Value| entry["seq"].as_u64().is_some_and(|seq| seq > last);
    let hook = file(&cluster, 0, "on_alarm");
    let _ = std::fs::remove_file(&hook);

    cluster.kill(WITNESS);
    let status = cluster.wait_status(0, "the alarm", |status| {
        status["alarms"].as_array().is_some_and(|alarms| alarms.iter().any(|it| it["name"] == NAME))
    });
    let alarm = status["alarms"].as_array().unwrap().iter().find(|it| it["name"] == NAME).unwrap();
    let message = alarm["message"].as_str().unwrap();
    assert!(message.contains("witness"), "{alarm}");
    let raised = cluster.wait_journal(0, "the alarm", |entry| {
        since(entry) && entry["event"] == "alarm-raised" && entry["name"] == NAME
    });
    assert_eq!(raised["message"], message);
    wait_until("the gauge shows it", || gauge(1));
    let lines = told(&cluster, 0, "on_alarm");
    has(&lines, &[&format!("VIPWARD_ALARM={NAME}"), &format!("VIPWARD_MESSAGE={message}")]);
    cluster.wait_journal(0, "its hook", |entry| {
        since(entry)
            && entry["event"] == "hook-finished"
            && entry["hook"] == "on_alarm"
            && entry["outcome"] == "ok"
    });

    cluster.start_again(WITNESS);
    cluster.wait_journal(0, "its end", |entry| {
        since(entry) && entry["event"] == "alarm-cleared" && entry["name"] == NAME
    });
    cluster.wait_status(0, "no alarm", |status| status["alarms"] == serde_json::json!([]));
    wait_until("the gauge ends", || gauge(0));
    let ran = written(&hook);
    holds_for(Duration::from_millis(300), "an end runs no hook", || written(&hook) == ran);
}

#[test]
fn why_a_check_fails_is_in_status_journal_and_log() {
    let mut plan = Plan::new();
    plan.config += "\n[[checks]]\nname = \"lamp\"\ncommand = [\"test\", \"-e\", \"NODE-lamp\"]\n\
                    interval = \"500ms\"\nfall = 2\nweight = 5\n";
    std::fs::write(plan.path("lb-a").join("NODE-lamp"), "").unwrap();
    std::fs::write(plan.path("lb-b").join("NODE-lamp"), "").unwrap();
    let mut cluster = plan.start();
    cluster.wait_leads(0);
    cluster.wait_status(1, "its check passes", |status| {
        let check = &status["checks"][0];
        check["state"] == "passing" && check["reason"].is_null()
    });
    std::fs::remove_file(cluster.plan.path("lb-b").join("NODE-lamp")).unwrap();
    let reason = "the program ended with exit status: 1";
    // On a busy machine a run may be too slow before, which is another reason.
    cluster.wait_journal(1, "the failing check", |entry| {
        entry["event"] == "check-changed"
            && entry["state"] == "failing"
            && entry["reason"] == reason
    });
    cluster.wait_status(1, "the reason", |status| status["checks"][0]["reason"] == reason);
    wait_until("the page shows it", || {
        cluster.ask(1, &["status"]).exits(0).stdout.contains(reason)
    });
    assert!(cluster.node(1).said().contains(reason));
}
