//! What AWS documents, one test each. The answers are those of EC2's API reference, its error
//! list, and of error texts seen in public.

use vipward_core::Timestamp;

use super::call::{Parameters, Request};
use super::ec2_error::Ec2Error;
use super::reply::Reply;
use super::resources::{Adopt, AllocationSpec, InterfaceSpec, PublicNetwork, Resources};
use super::state::{Cloud, Holders};

pub(super) const WEB: &str = "eipalloc-0web";
const API: &str = "eipalloc-0api";

/// Two addresses; `eni-a` of `i-a` with two private addresses, `eni-b` of `i-b` with one.
pub(super) fn cloud() -> Cloud {
    let mut cloud = Cloud::new(PublicNetwork::default(), Adopt::default(), 1);
    let allocation = |id: &str| AllocationSpec { id: id.to_owned(), public_ip: None };
    let interface = |name: &str, ips: &[&str]| InterfaceSpec {
        id: format!("eni-{name}"),
        instance: Some(format!("i-{name}")),
        private_ips: ips.iter().map(|ip| ip.parse().unwrap()).collect(),
    };
    let resources = Resources {
        allocations: vec![allocation(WEB), allocation(API)],
        interfaces: vec![
            interface("a", &["10.0.1.10", "10.0.1.20"]),
            interface("b", &["10.0.1.11"]),
        ],
    };
    cloud.add(&resources).unwrap();
    cloud
}

fn request(action: &str, parameters: &[(&str, &str)]) -> Request {
    let always = [("Action", action), ("Version", "2016-11-15")];
    let pairs = parameters.iter().chain(&always);
    Request::parse(pairs.map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<Parameters>())
}

pub(super) fn call(
    cloud: &mut Cloud,
    second: u64,
    action: &str,
    parameters: &[(&str, &str)],
) -> Result<Reply, Ec2Error> {
    let call = request(action, parameters).call?;
    cloud.apply(Timestamp::from_millis(second * 1_000), &call)
}

pub(super) fn associate(
    cloud: &mut Cloud,
    interface: &str,
    more: &[(&str, &str)],
) -> Result<String, String> {
    let mut parameters = vec![("AllocationId", WEB), ("NetworkInterfaceId", interface)];
    parameters.extend(more);
    match call(cloud, 1, "AssociateAddress", &parameters) {
        Ok(Reply::Associated { association_id }) => Ok(association_id),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error.code.to_string()),
    }
}

pub(super) fn code(result: Result<Reply, Ec2Error>) -> (u16, String) {
    let error = result.unwrap_err();
    (error.status, error.code.into_owned())
}

pub(super) fn holder(holders: &Holders, allocation: &str) -> Option<String> {
    Some(holders.get(allocation)?.association.as_ref()?.interface.clone())
}

#[test]
fn an_address_moves_when_nothing_is_said_of_reassociation() {
    let mut cloud = cloud();
    let first = associate(&mut cloud, "eni-a", &[]).unwrap();
    let second = associate(&mut cloud, "eni-b", &[]).unwrap();
    assert_ne!(first, second);
    assert!(second.starts_with("eipassoc-0") && second.len() == 26, "{second}");
    assert_eq!(holder(&cloud.holders(), WEB).as_deref(), Some("eni-b"));
}

#[test]
fn an_address_moves_with_reassociation_and_not_without() {
    let mut cloud = cloud();
    let held = associate(&mut cloud, "eni-a", &[("AllowReassociation", "false")]).unwrap();
    let parameters =
        [("AllocationId", WEB), ("NetworkInterfaceId", "eni-b"), ("AllowReassociation", "false")];
    let error = call(&mut cloud, 1, "AssociateAddress", &parameters).unwrap_err();
    assert_eq!((error.status, error.code.as_ref()), (400, "Resource.AlreadyAssociated"));
    assert_eq!(
        error.message,
        format!("resource {WEB} is already associated with associate-id {held}")
    );
    assert_eq!(holder(&cloud.holders(), WEB).as_deref(), Some("eni-a"));
    associate(&mut cloud, "eni-b", &[("AllowReassociation", "true")]).unwrap();
    assert_eq!(holder(&cloud.holders(), WEB).as_deref(), Some("eni-b"));
}

#[test]
fn the_same_interface_again_is_no_error() {
    let mut cloud = cloud();
    let first = associate(&mut cloud, "eni-a", &[]).unwrap();
    let second = associate(&mut cloud, "eni-a", &[("AllowReassociation", "false")]).unwrap();
    assert_ne!(first, second);
    // Whether AWS gives a new id here is not documented, so the other answer can be had as well.
    cloud.keeps_association = true;
    let third = associate(&mut cloud, "eni-a", &[("AllowReassociation", "false")]).unwrap();
    assert_eq!(second, third);
}

#[test]
fn several_race_without_reassociation_and_one_wins() {
    let mut cloud = cloud();
    let forbid = [("AllowReassociation", "false")];
    let won: Vec<_> = ["eni-a", "eni-b", "eni-b", "eni-a"]
        .iter()
        .map(|interface| associate(&mut cloud, interface, &forbid).is_ok())
        .collect();
    // The last one asks for what it has.
    assert_eq!(won, [true, false, false, true]);
}

#[test]
fn an_address_can_be_bound_to_a_secondary_private_address() {
    let mut cloud = cloud();
    associate(&mut cloud, "eni-a", &[("PrivateIpAddress", "10.0.1.20")]).unwrap();
    let association = cloud.holders()[WEB].association.clone().unwrap();
    assert_eq!(association.private_ip.to_string(), "10.0.1.20");
    assert_eq!(association.instance.as_deref(), Some("i-a"));
    for wrong in ["10.0.1.11", "10.0.1.99", "nonsense"] {
        let refused = associate(&mut cloud, "eni-a", &[("PrivateIpAddress", wrong)]);
        assert_eq!(refused.unwrap_err(), "InvalidParameterValue", "{wrong}");
    }
}

#[test]
fn a_private_address_has_one_elastic_ip_at_most() {
    let mut cloud = cloud();
    associate(&mut cloud, "eni-a", &[]).unwrap();
    let other = [("AllocationId", API), ("NetworkInterfaceId", "eni-a")];
    call(&mut cloud, 2, "AssociateAddress", &other).unwrap();
    assert_eq!(holder(&cloud.holders(), WEB), None);
    assert_eq!(holder(&cloud.holders(), API).as_deref(), Some("eni-a"));
    // On another private address of the interface it has a place.
    associate(&mut cloud, "eni-a", &[("PrivateIpAddress", "10.0.1.20")]).unwrap();
    assert_eq!(holder(&cloud.holders(), API).as_deref(), Some("eni-a"));
}

#[test]
fn an_instance_stands_for_its_only_interface() {
    let mut cloud = cloud();
    let by_instance = [("AllocationId", WEB), ("InstanceId", "i-b")];
    call(&mut cloud, 1, "AssociateAddress", &by_instance).unwrap();
    assert_eq!(holder(&cloud.holders(), WEB).as_deref(), Some("eni-b"));
    let second = InterfaceSpec {
        id: "eni-b2".to_owned(),
        instance: Some("i-b".to_owned()),
        private_ips: Vec::new(),
    };
    cloud.add(&Resources { allocations: Vec::new(), interfaces: vec![second] }).unwrap();
    let refused = call(&mut cloud, 2, "AssociateAddress", &by_instance);
    assert_eq!(code(refused), (400, "InvalidInstanceID".to_owned()));
}

#[test]
fn only_the_current_association_can_be_ended() {
    let mut cloud = cloud();
    let stale = associate(&mut cloud, "eni-a", &[]).unwrap();
    let current = associate(&mut cloud, "eni-b", &[]).unwrap();
    let mut end = |id: &str| call(&mut cloud, 2, "DisassociateAddress", &[("AssociationId", id)]);
    assert_eq!(code(end(&stale)), (400, "InvalidAssociationID.NotFound".to_owned()));
    assert_eq!(end(&current), Ok(Reply::Disassociated));
    assert_eq!(code(end(&current)), (400, "InvalidAssociationID.NotFound".to_owned()));
    assert_eq!(holder(&cloud.holders(), WEB), None);
}

#[test]
fn what_is_unknown_or_missing_is_named() {
    let unknown_allocation = [("AllocationId", "eipalloc-0zzz"), ("NetworkInterfaceId", "eni-a")];
    let unknown_interface = [("AllocationId", WEB), ("NetworkInterfaceId", "eni-z")];
    let unknown_instance = [("AllocationId", WEB), ("InstanceId", "i-z")];
    let both = [("AllocationId", WEB), ("NetworkInterfaceId", "eni-a"), ("InstanceId", "i-a")];
    let flag = [("AllocationId", WEB), ("InstanceId", "i-a"), ("AllowReassociation", "maybe")];
    let filter = [("Filter.1.Name", "no-such"), ("Filter.1.Value.1", "x")];
    type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str);
    let table: &[Row] = &[
        ("AssociateAddress", &unknown_allocation, "InvalidAllocationID.NotFound"),
        ("AssociateAddress", &unknown_interface, "InvalidNetworkInterfaceID.NotFound"),
        ("AssociateAddress", &unknown_instance, "InvalidInstanceID.NotFound"),
        ("AssociateAddress", &[("NetworkInterfaceId", "eni-a")], "MissingParameter"),
        ("AssociateAddress", &[("AllocationId", WEB)], "MissingParameter"),
        ("AssociateAddress", &both, "InvalidParameterCombination"),
        ("AssociateAddress", &flag, "InvalidParameterValue"),
        ("DisassociateAddress", &[], "MissingParameter"),
        ("DescribeAddresses", &[("AllocationId.1", "eipalloc-z")], "InvalidAllocationID.NotFound"),
        ("DescribeAddresses", &[("PublicIp.1", "198.51.100.1")], "InvalidAddress.NotFound"),
        ("DescribeAddresses", &filter, "InvalidParameterValue"),
        (
            "DescribeNetworkInterfaces",
            &[("NetworkInterfaceId.1", "eni-z")],
            "InvalidNetworkInterfaceID.NotFound",
        ),
        ("DescribeInstances", &[("InstanceId.1", "i-z")], "InvalidInstanceID.NotFound"),
        ("TerminateInstances", &[], "InvalidAction"),
        ("", &[], "MissingParameter"),
    ];
    for (action, parameters, expected) in table {
        let mut cloud = cloud();
        let refused = call(&mut cloud, 1, action, parameters);
        assert_eq!(code(refused), (400, (*expected).to_owned()), "{action} {parameters:?}");
        assert_eq!(holder(&cloud.holders(), WEB), None);
    }
}

#[test]
fn describe_calls_show_the_past_when_asked_for_it() {
    let mut cloud = cloud();
    for (second, interface) in [(10, "eni-a"), (20, "eni-b")] {
        let parameters = [("AllocationId", WEB), ("NetworkInterfaceId", interface)];
        call(&mut cloud, second, "AssociateAddress", &parameters).unwrap();
    }
    for (second, expected) in
        [(9, None), (10, Some("eni-a")), (19, Some("eni-a")), (20, Some("eni-b"))]
    {
        let shown = call(&mut cloud, second, "DescribeAddresses", &[("AllocationId.1", WEB)]);
        let Ok(Reply::Addresses(shown)) = shown else { panic!("{shown:?}") };
        let interface = shown[0].association.as_ref().map(|held| held.interface.as_str());
        assert_eq!(interface, expected, "at {second} s");
    }
}

#[test]
fn filters_pick_what_fits_all_of_them() {
    let mut cloud = cloud();
    let association = associate(&mut cloud, "eni-a", &[]).unwrap();
    let mut count = |action: &str, filters: &[(&str, &str)]| {
        let pairs: Vec<_> = (1..)
            .zip(filters)
            .flat_map(|(number, (name, value))| {
                [
                    (format!("Filter.{number}.Name"), (*name).to_owned()),
                    (format!("Filter.{number}.Value.1"), "nothing".to_owned()),
                    (format!("Filter.{number}.Value.2"), (*value).to_owned()),
                ]
            })
            .collect();
        let pairs: Vec<_> = pairs.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        match call(&mut cloud, 2, action, &pairs).unwrap() {
            Reply::Addresses(shown) => shown.len(),
            Reply::Interfaces(shown) => shown.len(),
            Reply::Instances(shown) => shown.len(),
            other @ (Reply::Associated { .. }
            | Reply::Assigned { .. }
            | Reply::Disassociated
            | Reply::Allocated { .. }) => panic!("{other:?}"),
        }
    };
    for (name, value) in [
        ("allocation-id", WEB),
        ("public-ip", "203.0.113.1"),
        ("network-interface-id", "eni-a"),
        ("instance-id", "i-a"),
        ("private-ip-address", "10.0.1.10"),
        ("association-id", association.as_str()),
    ] {
        assert_eq!(count("DescribeAddresses", &[(name, value)]), 1, "{name}");
    }
    assert_eq!(count("DescribeAddresses", &[("domain", "vpc")]), 2);
    assert_eq!(count("DescribeAddresses", &[("domain", "vpc"), ("instance-id", "i-b")]), 0);
    assert_eq!(count("DescribeAddresses", &[("tag:Name", "x")]), 0);
    for (name, value) in [
        ("attachment.instance-id", "i-a"),
        ("mac-address", "06:76:0a:00:01:0a"),
        ("addresses.private-ip-address", "10.0.1.20"),
        ("association.public-ip", "203.0.113.1"),
        ("association.allocation-id", WEB),
    ] {
        assert_eq!(count("DescribeNetworkInterfaces", &[(name, value)]), 1, "{name}");
    }
    assert_eq!(count("DescribeNetworkInterfaces", &[("private-ip-address", "10.0.1.20")]), 0);
    assert_eq!(count("DescribeNetworkInterfaces", &[("subnet-id", "subnet-00a000100")]), 2);
    let by_interface = [("network-interface.network-interface-id", "eni-b")];
    assert_eq!(count("DescribeInstances", &by_interface), 1);
}

#[test]
fn a_cloud_that_adopts_takes_the_ids_it_is_told() {
    let mut cloud = Cloud::new("127.1.0.0/24".parse().unwrap(), Adopt::ALL, 1);
    let parameters = [
        ("AllocationId", "eipalloc-0abc"),
        ("NetworkInterfaceId", "eni-0aaa"),
        ("PrivateIpAddress", "10.0.1.20"),
    ];
    call(&mut cloud, 1, "AssociateAddress", &parameters).unwrap();
    let held = cloud.holders()["eipalloc-0abc"].clone();
    assert_eq!(held.public_ip.to_string(), "127.1.0.1");
    let association = held.association.unwrap();
    assert_eq!(association.instance.as_deref(), Some("i-0aaa"));
    assert_eq!(association.private_ip.to_string(), "10.0.1.20");
    let by_instance = [("AllocationId", "eipalloc-0abc"), ("InstanceId", "i-0bbb")];
    call(&mut cloud, 2, "AssociateAddress", &by_instance).unwrap();
    assert_eq!(holder(&cloud.holders(), "eipalloc-0abc").as_deref(), Some("eni-0bbb"));
    // What has not the form of an id is unknown still.
    for (action, name, id) in [
        ("DescribeAddresses", "AllocationId.1", "nonsense"),
        ("DescribeNetworkInterfaces", "NetworkInterfaceId.1", "eni-"),
        ("DescribeInstances", "InstanceId.1", "i-<x>"),
    ] {
        let refused = call(&mut cloud, 3, action, &[(name, id)]).unwrap_err();
        assert!(refused.code.ends_with(".NotFound"), "{refused:?}");
    }
}

#[test]
fn resources_are_added_all_or_none() {
    let mut cloud = cloud();
    let allocation = |id: &str, ip: Option<&str>| AllocationSpec {
        id: id.to_owned(),
        public_ip: ip.map(|ip| ip.parse().unwrap()),
    };
    let mut add = |allocations| {
        cloud.add(&Resources { allocations, interfaces: Vec::new() }).map_err(|e| e.to_string())
    };
    let error = add(vec![allocation("eipalloc-0new", None), allocation(WEB, Some("203.0.113.9"))]);
    assert!(error.unwrap_err().contains("exists already"));
    let error = add(vec![allocation("eipalloc-0new", Some("203.0.113.1"))]);
    assert!(error.unwrap_err().contains("belongs to eipalloc-0web"));
    add(vec![allocation(WEB, None), allocation("eipalloc-0new", Some("198.51.100.10"))]).unwrap();
    assert_eq!(cloud.resources().allocations.len(), 3);
    let small = "203.0.113.0/30".parse().unwrap();
    let mut full = Cloud::new(small, Adopt::default(), 1);
    assert!(call(&mut full, 1, "AllocateAddress", &[]).is_ok());
    assert!(call(&mut full, 1, "AllocateAddress", &[]).is_ok());
    let refused = call(&mut full, 1, "AllocateAddress", &[]);
    assert_eq!(code(refused), (400, "AddressLimitExceeded".to_owned()));
}

#[test]
fn text_from_outside_is_escaped() {
    let mut cloud = cloud();
    let error = call(&mut cloud, 1, "<&>\u{1}", &[]).unwrap_err();
    let xml = error.to_xml("id");
    assert!(xml.contains("&lt;&amp;&gt;\u{fffd}"), "{xml}");
}
