//! What AWS documents of secondary private addresses, and the faults of their calls.

use std::net::Ipv4Addr;

use vipward_core::Timestamp;

use super::call::{Parameters, Request};
use super::engine::Engine;
use super::faults::Faults;
use super::record::{Caller, Outcome};
use super::reply::Reply;
use super::resources::{Adopt, InterfaceSpec, PublicNetwork, Resources};
use super::state::Cloud;
use super::state_tests::{WEB, associate, call, cloud, code, holder};

const ASSIGN: &str = "AssignPrivateIpAddresses";
const UNASSIGN: &str = "UnassignPrivateIpAddresses";

fn assign(cloud: &mut Cloud, interface: &str, ip: &str, flag: Option<&str>) -> Result<(), String> {
    let mut parameters = vec![("NetworkInterfaceId", interface), ("PrivateIpAddress.1", ip)];
    parameters.extend(flag.map(|flag| ("AllowReassignment", flag)));
    match call(cloud, 1, ASSIGN, &parameters) {
        Ok(Reply::Assigned { interface: on, private_ips }) => {
            assert_eq!((on.as_str(), private_ips), (interface, vec![ip.parse().unwrap()]));
            Ok(())
        }
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(format!("{}: {}", error.code, error.message)),
    }
}

fn unassign(cloud: &mut Cloud, interface: &str, ip: &str) -> Result<Reply, String> {
    let parameters = [("NetworkInterfaceId", interface), ("PrivateIpAddress.1", ip)];
    call(cloud, 1, UNASSIGN, &parameters).map_err(|e| format!("{}: {}", e.code, e.message))
}

/// The interfaces that a read shows with an address.
fn shown(cloud: &mut Cloud, second: u64, ip: &str) -> Vec<String> {
    let filter = [("Filter.1.Name", "addresses.private-ip-address"), ("Filter.1.Value.1", ip)];
    let shown = call(cloud, second, "DescribeNetworkInterfaces", &filter).unwrap();
    let Reply::Interfaces(shown) = shown else { panic!("{shown:?}") };
    shown.into_iter().map(|interface| interface.id).collect()
}

#[test]
fn an_address_moves_with_reassignment_and_not_without() {
    let mut cloud = cloud();
    assign(&mut cloud, "eni-a", "10.0.1.50", None).unwrap();
    assert_eq!(shown(&mut cloud, 2, "10.0.1.50"), ["eni-a"]);
    // The default is the opposite of that of elastic IPs.
    for flag in [None, Some("false")] {
        let refused = assign(&mut cloud, "eni-b", "10.0.1.50", flag).unwrap_err();
        let said = "InvalidParameterValue: [10.0.1.50] assigned, but move is not allowed.";
        assert_eq!(refused, said);
        assert_eq!(shown(&mut cloud, 2, "10.0.1.50"), ["eni-a"]);
    }
    assign(&mut cloud, "eni-b", "10.0.1.50", Some("true")).unwrap();
    assert_eq!(shown(&mut cloud, 2, "10.0.1.50"), ["eni-b"]);
    // Again to the same interface is no error, and adds nothing.
    assign(&mut cloud, "eni-b", "10.0.1.50", Some("false")).unwrap();
    assert_eq!(cloud.interfaces["eni-b"].private_ips.len(), 2);
}

#[test]
fn what_cannot_be_assigned_is_refused() {
    let mut cloud = cloud();
    for (interface, ip, flag, word) in [
        ("eni-b", "10.0.1.10", "true", "InvalidParameterValue"), // The primary one of eni-a,
        ("eni-b", "10.0.1.11", "false", "move is not allowed"),  // and its own.
        ("eni-b", "10.0.2.50", "true", "does not fall within the subnet"),
        ("eni-b", "nonsense", "true", "not a valid IPv4 address"),
        ("eni-x", "10.0.1.50", "true", "InvalidNetworkInterfaceID.NotFound"),
    ] {
        let refused = assign(&mut cloud, interface, ip, Some(flag)).unwrap_err();
        assert!(refused.contains(word), "{interface} {ip}: {refused}");
    }
    let nothing = call(&mut cloud, 1, ASSIGN, &[("NetworkInterfaceId", "eni-a")]);
    assert_eq!(code(nothing), (400, "MissingParameter".to_owned()));
    // Neither call has a dry run.
    for action in [ASSIGN, UNASSIGN] {
        let dry = [
            ("NetworkInterfaceId", "eni-a"),
            ("PrivateIpAddress.1", "10.0.1.50"),
            ("DryRun", "true"),
        ];
        let refused = call(&mut cloud, 1, action, &dry);
        assert_eq!(code(refused), (400, "UnknownParameter".to_owned()));
    }
    assert_eq!(shown(&mut cloud, 2, "10.0.1.50"), [""; 0]);
}

#[test]
fn several_race_without_reassignment_and_one_wins() {
    let mut cloud = cloud();
    let mut try_it = |interface| assign(&mut cloud, interface, "10.0.1.50", Some("false")).is_ok();
    let won = ["eni-b", "eni-a", "eni-a"].map(&mut try_it);
    assert_eq!(won, [true, false, false]);
}

#[test]
fn only_what_is_there_is_unassigned_and_never_the_primary_one() {
    let mut cloud = cloud();
    let said = "InvalidParameterValue: Some of the specified addresses are not assigned to \
                interface eni-a";
    for ip in ["10.0.1.50", "10.0.1.11", "10.0.1.10", "169.254.169.254"] {
        assert_eq!(unassign(&mut cloud, "eni-a", ip).unwrap_err(), said, "{ip}");
    }
    assert_eq!(unassign(&mut cloud, "eni-a", "10.0.1.20"), Ok(Reply::Disassociated));
    assert_eq!(shown(&mut cloud, 2, "10.0.1.20"), [""; 0]);
    // A fence: what was unassigned by somebody else, or moved, is not there any more.
    assert_eq!(unassign(&mut cloud, "eni-a", "10.0.1.20").unwrap_err(), said);
    assert!(unassign(&mut cloud, "eni-x", "10.0.1.20").unwrap_err().contains("NotFound"));
}

#[test]
fn an_elastic_ip_follows_its_private_address() {
    let mut cloud = cloud();
    let id = associate(&mut cloud, "eni-a", &[("PrivateIpAddress", "10.0.1.20")]).unwrap();
    assign(&mut cloud, "eni-b", "10.0.1.20", Some("true")).unwrap();
    let association = cloud.holders()[WEB].association.clone().unwrap();
    assert_eq!((association.interface.as_str(), association.id), ("eni-b", id));
    assert_eq!(association.instance.as_deref(), Some("i-b"));
    unassign(&mut cloud, "eni-b", "10.0.1.20").unwrap();
    assert_eq!(holder(&cloud.holders(), WEB), None);
}

#[test]
fn each_subnet_has_its_own_addresses() {
    let mut cloud = cloud();
    let elsewhere = InterfaceSpec {
        id: "eni-c".to_owned(),
        instance: None,
        private_ips: vec![Ipv4Addr::new(10, 0, 2, 10), Ipv4Addr::new(10, 0, 1, 50)],
    };
    cloud.add(&Resources { allocations: Vec::new(), interfaces: vec![elsewhere] }).unwrap();
    assign(&mut cloud, "eni-a", "10.0.1.50", Some("false")).unwrap();
    assert_eq!(shown(&mut cloud, 2, "10.0.1.50"), ["eni-a", "eni-c"]);
}

#[test]
fn an_adopted_interface_takes_any_address() {
    let mut cloud = Cloud::new(PublicNetwork::default(), Adopt::ALL, 1);
    for interface in ["eni-0aaa", "eni-0bbb"] {
        assign(&mut cloud, interface, "172.31.5.9", Some("true")).unwrap();
        assert_eq!(shown(&mut cloud, 2, "172.31.5.9"), [interface]);
    }
    // Until it is full.
    let mut add = |last: u8| assign(&mut cloud, "eni-0ccc", &format!("172.31.6.{last}"), None);
    assert!((0..=254).all(|last| add(last).is_ok()));
    assert!(add(255).unwrap_err().starts_with("PrivateIpAddressLimitExceeded"));
}

#[test]
fn a_stale_read_shows_which_interface_had_the_address() {
    let mut cloud = cloud();
    let on = |cloud: &mut Cloud, second, interface| {
        let parameters = [
            ("NetworkInterfaceId", interface),
            ("PrivateIpAddress.1", "10.0.1.50"),
            ("AllowReassignment", "true"),
        ];
        call(cloud, second, ASSIGN, &parameters).unwrap();
    };
    on(&mut cloud, 10, "eni-a");
    on(&mut cloud, 20, "eni-b");
    for (second, expected) in [
        (5, None),
        (10, Some("eni-a")),
        (19, Some("eni-a")),
        (20, Some("eni-b")),
        (99, Some("eni-b")),
    ] {
        let expected: Vec<&str> = expected.into_iter().collect();
        assert_eq!(shown(&mut cloud, second, "10.0.1.50"), expected, "at {second} s");
    }
}

#[test]
fn faults_reach_these_calls_and_the_record_has_them() {
    let at = Timestamp::from_millis;
    let caller = Caller { access_key: Some("a".to_owned()), source: None };
    let request = |flag: &str| {
        let pairs = [
            ("Action", ASSIGN),
            ("NetworkInterfaceId", "eni-b"),
            ("PrivateIpAddress.1", "10.0.1.50"),
            ("AllowReassignment", flag),
        ];
        Request::parse(
            pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).into_iter().collect::<Parameters>(),
        )
    };
    let engine =
        |faults: &str| Engine::new(cloud(), Faults::from_json(faults.as_bytes()).unwrap(), 2);
    // A call lands late: what it then finds decides.
    let mut late = engine(r#"{"rules":[{"when":{"interface":"eni-b"},"late_landing":"10s"}]}"#);
    let plan = late.arrive(at(0), &caller, request("false"));
    let effect = plan.effect.unwrap();
    assert_eq!(effect.after.as_secs(), 10);
    assign(&mut late.cloud, "eni-a", "10.0.1.50", None).unwrap();
    assert!(late.land(at(10_000), plan.sequence, &effect).is_err());
    let entry = late.record.entries().next().unwrap();
    assert_eq!(entry.outcome, Outcome::Refused { code: "InvalidParameterValue".to_owned() });
    assert_eq!((entry.action.as_str(), &*entry.parameters["AllowReassignment"]), (ASSIGN, "false"));
    // A permission is looked at first, a throttle before that.
    for (faults, code) in [
        (r#"{"deny":["AssignPrivateIpAddresses"]}"#, "UnauthorizedOperation"),
        (r#"{"throttle":{"burst":0,"per_second":0}}"#, "RequestLimitExceeded"),
    ] {
        let mut engine = engine(faults);
        let plan = engine.arrive(at(0), &caller, request("true"));
        assert!(plan.effect.is_none());
        let entry = engine.record.entries().next().unwrap();
        assert_eq!(entry.outcome, Outcome::Refused { code: code.to_owned() });
    }
}
