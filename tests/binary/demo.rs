//! The demo's contract.

use serde_json::Value;

use crate::fixture::vipward;

fn demo(fault: &str) -> Value {
    let ran = vipward(["demo", "--fault", fault, "--json"]).exits(0);
    assert_eq!(ran.stdout.lines().count(), 1, "one document: {ran:?}");
    let told = ran.json();
    for key in [
        "fault",
        "old_master",
        "new_master",
        "term",
        "cause",
        "detect_ms",
        "elect_ms",
        "claim_ms",
        "visible_ms",
        "outage_ms",
        "requests",
        "calls",
        "keepalived_ms",
        "served_again",
        "moves",
    ] {
        assert!(told.get(key).is_some_and(|value| !value.is_null()), "{key} in {told:#}");
    }
    assert_eq!(told["fault"], fault);
    assert_eq!((&told["served_again"], &told["moves"]), (&true.into(), &1.into()), "{told:#}");
    assert_ne!(told["old_master"], told["new_master"]);
    let crashes = matches!(fault, "crash" | "rejoin");
    let cause = if crashes { "master-crashed" } else { "master-silent" };
    assert_eq!(told["cause"], cause, "{told:#}");
    let requests = &told["requests"];
    assert!(requests["lost"].as_u64() < requests["sent"].as_u64(), "{told:#}");
    let call = &told["calls"][0];
    for key in ["node", "operation", "outcome", "ms"] {
        assert!(call.get(key).is_some(), "{key} in {call}");
    }
    told
}

#[test]
fn crash() {
    let _ = demo("crash");
}

#[test]
fn freeze() {
    let _ = demo("freeze");
}

#[test]
fn partition() {
    let _ = demo("partition");
}

#[test]
fn rejoin() {
    let told = demo("rejoin");
    let rejoin = &told["rejoin"];
    let says = |key: &str, word: &str| {
        assert!(rejoin[key].as_str().unwrap().contains(word), "{key} lacks {word}: {rejoin:#}");
    };
    says("reason", "vipward diff");
    says("refusal", "quarantined");
    says("diff", "+    \"moves_per_hour\": 1000");
    assert!(rejoin["ready_ms"].as_f64().unwrap() > 2_000.0, "no probation: {rejoin:#}");
    assert_eq!((&rejoin["lost"], &rejoin["calls"]), (&0.into(), &0.into()), "{rejoin:#}");
}

#[test]
fn for_people_it_draws_a_timeline() {
    let ran = vipward(["demo"]).exits(0);
    for word in ["detect", "elect", "claim", "keepalived"] {
        assert!(ran.stdout.contains(word), "{word} is not in\n{}", ran.stdout);
    }
}
