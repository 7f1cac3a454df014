//! Faults, decided without a clock or a socket.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use vipward_core::Timestamp;

use super::call::{Parameters, Request};
use super::engine::{Engine, Plan, PlannedAnswer};
use super::faults::Faults;
use super::record::{Caller, Outcome};
use super::resources::{Adopt, PublicNetwork};
use super::state::Cloud;

fn engine(faults: &str) -> Engine {
    let cloud = Cloud::new(PublicNetwork::default(), Adopt::ALL, 1);
    Engine::new(cloud, Faults::from_json(faults.as_bytes()).unwrap(), 2)
}

fn caller(key: &str) -> Caller {
    Caller { access_key: Some(key.to_owned()), source: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)) }
}

fn request(parameters: &[(&str, &str)]) -> Request {
    let pairs = parameters.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
    Request::parse(pairs.collect::<Parameters>())
}

fn claim(interface: &str) -> Request {
    request(&[
        ("Action", "AssociateAddress"),
        ("AllocationId", "eipalloc-0web"),
        ("NetworkInterfaceId", interface),
    ])
}

fn rehearse(interface: &str) -> Request {
    request(&[
        ("Action", "AssociateAddress"),
        ("AllocationId", "eipalloc-0web"),
        ("NetworkInterfaceId", interface),
        ("DryRun", "true"),
    ])
}

fn read() -> Request {
    request(&[("Action", "DescribeAddresses")])
}

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn told(plan: &Plan) -> &str {
    match &plan.answer {
        PlannedAnswer::OfEffect => "truth",
        PlannedAnswer::Error { error, .. } => error.code.as_ref(),
        PlannedAnswer::Closed { .. } => "closed",
        PlannedAnswer::Never => "nothing",
    }
}

fn delay(plan: &Plan) -> Option<Duration> {
    plan.effect.as_ref().map(|effect| effect.after)
}

#[test]
fn without_faults_a_call_takes_effect_at_once() {
    let mut engine = engine("{}");
    let plan = engine.arrive(at(1), &caller("a"), claim("eni-a"));
    assert_eq!((delay(&plan), told(&plan)), (Some(Duration::ZERO), "truth"));
    let effect = plan.effect.unwrap();
    engine.land(at(2), plan.sequence, &effect).unwrap();
    engine.answered(at(3), plan.sequence, "ok");
    let entry = engine.record.entries().next().unwrap();
    assert_eq!((entry.arrived, entry.landed, entry.answered), (at(1), Some(at(2)), Some(at(3))));
    assert!(matches!(&entry.outcome, Outcome::Done { association: Some(_) }));
    assert_eq!(entry.caller.access_key.as_deref(), Some("a"));
    assert_eq!(entry.parameters["NetworkInterfaceId"], "eni-a");
    assert_eq!(entry.request_id, plan.request_id);
}

#[test]
fn request_ids_are_uuids_that_differ() {
    let mut engine = engine("{}");
    let ids: Vec<_> =
        (0..100).map(|_| engine.arrive(at(1), &caller("a"), read()).request_id).collect();
    for id in &ids {
        let groups: Vec<_> = id.split('-').map(str::len).collect();
        assert_eq!(groups, [8, 4, 4, 4, 12], "{id}");
        assert_eq!(id.as_bytes()[14], b'4', "{id}");
        assert!(b"89ab".contains(&id.as_bytes()[19]), "{id}");
    }
    assert_eq!(ids.iter().collect::<std::collections::BTreeSet<_>>().len(), ids.len());
}

#[test]
fn latency_concerns_all_and_late_landing_only_what_changes_something() {
    let mut engine = engine(r#"{"latency":"200ms","late_landing":"1m"}"#);
    let plan = engine.arrive(at(1), &caller("a"), claim("eni-a"));
    assert_eq!(delay(&plan), Some(Duration::from_millis(60_200)));
    let plan = engine.arrive(at(1), &caller("a"), read());
    assert_eq!(delay(&plan), Some(Duration::from_millis(200)));
    let plan = engine.arrive(at(1), &caller("a"), rehearse("eni-a"));
    assert!(matches!(&plan.answer, PlannedAnswer::Error { after, error }
        if *after == Duration::from_millis(200) && error.code == "DryRunOperation"));
}

#[test]
fn the_caller_can_be_told_something_else() {
    for (answer, expected) in [
        ("normal", "truth"),
        ("error", "InternalError"),
        ("closed", "closed"),
        ("never", "nothing"),
    ] {
        let mut engine = engine(&format!(r#"{{"answer":"{answer}","late_landing":"5s"}}"#));
        let plan = engine.arrive(at(1), &caller("a"), claim("eni-a"));
        assert_eq!((told(&plan), delay(&plan)), (expected, Some(Duration::from_secs(5))));
    }
}

#[test]
fn a_rule_can_be_for_the_next_call_of_one_caller() {
    let mut engine = engine(
        r#"{"rules":[{"when":{"access_key":"a"},"next":1,"late_landing":"10s","answer":"error"},
                     {"when":{"access_key":"b"},"next":1,"late_landing":"10s"}]}"#,
    );
    // Neither another caller nor a read uses up what concerns changes only.
    let plan = engine.arrive(at(1), &caller("c"), claim("eni-c"));
    assert_eq!(delay(&plan), Some(Duration::ZERO));
    let _read = engine.arrive(at(1), &caller("b"), read());
    let _rehearsal = engine.arrive(at(1), &caller("b"), rehearse("eni-b"));
    let plan = engine.arrive(at(1), &caller("b"), claim("eni-b"));
    assert_eq!(delay(&plan), Some(Duration::from_secs(10)));
    let plan = engine.arrive(at(1), &caller("b"), claim("eni-b"));
    assert_eq!(delay(&plan), Some(Duration::ZERO));
    let left: Vec<_> = engine.faults().rules.iter().map(|rule| rule.next).collect();
    assert_eq!(left, [Some(1), Some(0)]);
}

#[test]
fn a_permission_can_be_taken_from_an_access_key_an_interface_an_instance_or_a_host() {
    for when in [
        r#"{"access_key":"b"}"#,
        r#"{"interface":"eni-0b"}"#,
        r#"{"instance":"i-0b"}"#,
        r#"{"source":"10.0.1.11"}"#,
    ] {
        let mut engine =
            engine(&format!(r#"{{"rules":[{{"when":{when},"deny":["AssociateAddress"]}}]}}"#));
        let b = Caller { source: Some("10.0.1.11".parse().unwrap()), ..caller("b") };
        // The interface exists before anything is denied to it.
        let named =
            request(&[("Action", "DescribeNetworkInterfaces"), ("NetworkInterfaceId.1", "eni-0b")]);
        let plan = engine.arrive(at(1), &b, named);
        engine.land(at(1), None, &plan.effect.unwrap()).unwrap();
        for request in [claim("eni-0b"), rehearse("eni-0b")] {
            let plan = engine.arrive(at(1), &b, request);
            assert_eq!(told(&plan), "UnauthorizedOperation", "{when}");
            assert!(plan.effect.is_none());
        }
        let plan = engine.arrive(at(1), &b, read());
        assert_eq!(told(&plan), "truth", "{when}");
        let plan = engine.arrive(at(1), &caller("a"), rehearse("eni-0a"));
        assert_eq!(told(&plan), "DryRunOperation", "{when}");
    }
}

#[test]
fn a_throttle_lets_a_burst_through_and_fills_again() {
    let mut engine = engine(r#"{"throttle":{"burst":3,"per_second":2}}"#);
    let mut told_at = |millis| told(&engine.arrive(at(millis), &caller("a"), read())).to_owned();
    let burst: Vec<_> = (0..4).map(|_| told_at(0)).collect();
    assert_eq!(burst, ["truth", "truth", "truth", "RequestLimitExceeded"]);
    assert_eq!(told_at(499), "RequestLimitExceeded");
    assert_eq!(told_at(999), "truth");
    assert_eq!(told_at(999), "RequestLimitExceeded");
}

#[test]
fn a_throttle_of_one_caller_leaves_the_others_alone() {
    let mut engine =
        engine(r#"{"rules":[{"when":{"access_key":"a"},"throttle":{"burst":1,"per_second":0}}]}"#);
    let mut told_to = |key| told(&engine.arrive(at(0), &caller(key), claim("eni-a"))).to_owned();
    assert_eq!(told_to("a"), "truth");
    assert_eq!(told_to("a"), "RequestLimitExceeded");
    assert_eq!(told_to("b"), "truth");
}

#[test]
fn of_the_errors_half_take_effect() {
    let mut engine = engine(r#"{"error_rate":0.5}"#);
    let (mut errors, mut with_effect, mut unavailable) = (0, 0, 0);
    for _ in 0..4_000 {
        let plan = engine.arrive(at(0), &caller("a"), claim("eni-a"));
        if told(&plan) == "truth" {
            continue;
        }
        errors += 1;
        with_effect += u32::from(plan.effect.is_some());
        unavailable += u32::from(told(&plan) == "Unavailable");
    }
    assert!((1_800..2_200).contains(&errors), "{errors}");
    assert!((850..1_150).contains(&with_effect), "{with_effect}");
    assert!((850..1_150).contains(&unavailable), "{unavailable}");
}

#[test]
fn a_black_hole_swallows_everything() {
    let mut engine = engine(r#"{"black_hole":true}"#);
    for request in [claim("eni-a"), read(), rehearse("eni-a")] {
        let plan = engine.arrive(at(0), &caller("a"), request);
        assert!(plan.effect.is_none() && told(&plan) == "nothing");
    }
    let outcomes: Vec<_> = engine.record.entries().map(|it| it.outcome.clone()).collect();
    assert_eq!(outcomes, [Outcome::Lost]);
}

#[test]
fn later_rules_come_before_earlier_ones() {
    let mut engine = engine(
        r#"{"latency":"1s","rules":[{"latency":"2s","deny":["DescribeInstances"]},
            {"when":{"action":"DescribeAddresses"},"latency":"0s","deny":["DisassociateAddress"]}]}"#,
    );
    let plan = engine.arrive(at(0), &caller("a"), read());
    assert_eq!(delay(&plan), Some(Duration::ZERO));
    let plan = engine.arrive(at(0), &caller("a"), claim("eni-a"));
    assert_eq!(delay(&plan), Some(Duration::from_secs(2)));
}

#[test]
fn nonsense_is_refused_and_said_why() {
    for (text, reason) in [
        (r#"{"latancy":"1s"}"#, "latancy"),
        (r#"{"rules":[{"whn":{}}]}"#, "whn"),
        (r#"{"rules":[{"when":{"acess_key":"a"}}]}"#, "acess_key"),
        (r#"{"latency":"1 parsec"}"#, "1 parsec"),
        (r#"{"latency":"48h"}"#, "at most 24h"),
        (r#"{"error_rate":1.5}"#, "0 to 1"),
        (r#"{"throttle":{"burst":1,"per_second":-1}}"#, "calls a second"),
        (r#"{"throttle":{"burst":1}}"#, "per_second"),
        ("[]", "no faults"),
        ("{", "no faults"),
    ] {
        let error = Faults::from_json(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(reason), "{text}: {error}");
    }
}

#[test]
fn a_document_reads_as_it_was_written() {
    let text = r#"{"latency":"200ms","stale_reads":"2s","deny":["*"],"rules":[{"when":{"mutating":true},"next":2,"black_hole":true}]}"#;
    let faults = Faults::from_json(text.as_bytes()).unwrap();
    assert_eq!(serde_json::to_string(&faults).unwrap(), text);
}

#[test]
fn the_record_keeps_the_newest() {
    let mut engine = engine(r#"{"black_hole":true}"#);
    for _ in 0..10_002 {
        let _plan = engine.arrive(at(0), &caller("a"), claim("eni-a"));
    }
    let sequences: Vec<_> = engine.record.entries().map(|entry| entry.sequence).collect();
    assert_eq!((sequences.len(), sequences[0]), (10_000, 2));
    assert!(engine.record.entry(1).is_none());
    assert_eq!(engine.record.entry(2).unwrap().sequence, 2);
}
