//! The demo's contract.

use crate::fixture::vipward;

fn demo(fault: &str) {
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
    let cause = if fault == "crash" { "master-crashed" } else { "master-silent" };
    assert_eq!(told["cause"], cause, "{told:#}");
    let requests = &told["requests"];
    assert!(requests["lost"].as_u64() < requests["sent"].as_u64(), "{told:#}");
    let call = &told["calls"][0];
    for key in ["node", "operation", "outcome", "ms"] {
        assert!(call.get(key).is_some(), "{key} in {call}");
    }
}

#[test]
fn crash() {
    demo("crash");
}

#[test]
fn freeze() {
    demo("freeze");
}

#[test]
fn partition() {
    demo("partition");
}

#[test]
fn for_people_it_draws_a_timeline() {
    let ran = vipward(["demo"]).exits(0);
    for word in ["detect", "elect", "claim", "keepalived"] {
        assert!(ran.stdout.contains(word), "{word} is not in\n{}", ran.stdout);
    }
}
