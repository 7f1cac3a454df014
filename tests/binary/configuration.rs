//! Bad input in the configuration file: one sentence each, with the place and the remedy, all of
//! them at once, exit code 2.

use crate::fixture::{Plan, vipward};

/// A change of the good file, the key that is blamed, what the blamed line of the file begins
/// with, and what the sentence must have: the fault and the remedy.
type Row = (&'static str, &'static str, &'static str, &'static str, &'static [&'static str]);

const ROWS: &[Row] = &[
    (
        "heartbeat_interval",
        "heartbeat_intervall",
        "timing.heartbeat_intervall",
        "heartbeat_intervall",
        &["unknown key", "did you mean \"heartbeat_interval\"?"],
    ),
    (
        "\"100ms\"",
        "\"fast\"",
        "timing.heartbeat_interval",
        "heartbeat_interval",
        &["is no duration", "200ms"],
    ),
    ("\"100ms\"", "\"1h\"", "timing.heartbeat_interval", "heartbeat_interval", &["10ms to 10s"]),
    ("\"witness\"\nrole", "\"lb-a\"\nrole", "nodes[2].name", "name = \"lb-a\"", &["duplicate"]),
    ("lb-b = 100", "lb-x = 100", "groups[0].priority.lb-x", "priority", &["no such node", "lb-b"]),
    (
        "\"witness\"\nrole = \"witness\"",
        "\"witness\"\nrole = \"spy\"",
        "nodes[2].role",
        "role",
        &["must be", "witness"],
    ),
    (
        "lb-b = 100",
        "lb-b = 100, witness = 5",
        "groups[0].priority.witness",
        "priority",
        &["witness"],
    ),
    (
        "[limits]",
        "[arbiter]\nkind = \"s3\"\n[limits]",
        "arbiter",
        "[arbiter]",
        &["not in this version", "witness"],
    ),
];

#[test]
fn each_fault_gets_its_place_and_its_remedy() {
    for (old, new, key, blamed, says) in ROWS {
        let plan = Plan::new().with(old, new);
        let ran = plan.check(0, &[]).exits(2);
        let text = std::fs::read_to_string(plan.file(0)).unwrap();
        assert_eq!(ran.stdout, "", "{new}");
        let sentence = ran.sentence();
        let place = sentence.strip_prefix("error: ").expect(sentence);
        let [_file, line, at_key, rest] = *place.splitn(4, ':').collect::<Vec<_>>() else {
            panic!("no FILE:LINE: KEY: SENTENCE: {sentence}")
        };
        assert_eq!(at_key.trim(), *key, "{sentence}");
        let line: usize = line.parse().expect(sentence);
        let line = text.lines().nth(line - 1).unwrap();
        assert!(line.starts_with(blamed), "{sentence}\nblames {line:?}");
        for part in *says {
            assert!(rest.contains(part), "{sentence}\nlacks {part:?}");
        }
    }
}

#[test]
fn two_voters_without_an_arbiter_are_refused_with_the_reason() {
    let mut plan = Plan::new();
    let begin = plan.config.find("[[nodes]]\nname = \"witness\"").unwrap();
    let end = plan.config.find("[[groups]]").unwrap();
    plan.config.replace_range(begin..end, "");
    let ran = plan.check(0, &[]).exits(2);
    let sentence = ran.sentence();
    assert!(sentence.contains(": nodes: two voters without an arbiter"), "{sentence}");
    assert!(sentence.contains("add a third node with role = \"witness\""), "{sentence}");
}

#[test]
fn all_errors_come_at_once_and_run_says_the_same_as_check() {
    let mut plan = Plan::new();
    for (old, new, ..) in [&ROWS[1], &ROWS[4], &ROWS[5]] {
        plan = plan.with(old, new);
    }
    let plan = plan.with("[telemetry]", "[telemetri]");
    let checked = plan.check(0, &[]).exits(2);
    let errors: Vec<&str> = checked.stderr.lines().collect();
    assert_eq!(errors.len(), 4, "{errors:#?}");
    let keys =
        ["timing.heartbeat_interval", "nodes[2].role", "groups[0].priority.lb-x", "telemetri"];
    for (error, key) in errors.iter().zip(keys) {
        assert!(error.contains(&format!(": {key}: ")), "{error}");
    }
    assert_eq!(plan.run(0).exits(2).stderr, checked.stderr);
}

#[test]
fn a_duplicate_link_is_named_with_the_line_of_the_other() {
    let plan = Plan::new();
    let (a, b) = (plan.link(0).to_string(), plan.link(1).to_string());
    let ran = plan.with(&b, &a).check(0, &[]).exits(2);
    let sentence = ran.sentence();
    assert!(sentence.contains(": nodes[1].links[0]: duplicate "), "{sentence}");
    assert!(sentence.contains("nodes[0].links[0] (line ") && sentence.contains(&a), "{sentence}");
}

#[test]
fn files_that_are_not_there_or_no_toml() {
    for command in ["run", "check"] {
        let ran = vipward([command, "--config", "/nonexistent/vipward.toml"]).exits(2);
        let sentence = ran.sentence();
        assert!(sentence.contains("/nonexistent/vipward.toml: does not exist"), "{sentence}");
        let ran = vipward([command, "--config", env!("CARGO_BIN_EXE_vipward")]).exits(2);
        ran.sentence();
    }
}
