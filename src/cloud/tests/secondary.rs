//! Secondary private addresses.

use std::sync::Mutex;

use super::*;

const INTERFACES: &str = "DescribeNetworkInterfaces";
const ASSIGN: &str = "AssignPrivateIpAddresses";
const UNASSIGN: &str = "UnassignPrivateIpAddresses";

/// The usual two nodes, and a group of two secondary addresses.
pub(super) fn settings(url: &str) -> Settings {
    let mut settings = super::settings(url);
    let secondary = |last: u8| AddressIds::SecondaryIp { ip: [10, 0, 1, last].into() };
    settings.cluster.groups[0].addresses = vec![secondary(50), secondary(51)];
    settings
}

async fn cloud(stub: &Stub) -> Cloud {
    let cloud = Cloud::connect(settings(&stub.url), Arc::new(())).await.unwrap();
    assert!(cloud.settled(10 * SECOND).await);
    cloud
}

/// An interface as shown, of the instance, with its addresses, the primary one first.
fn interface(id: &str, instance: &str, ips: &[&str]) -> String {
    let items: String = ips
        .iter()
        .map(|ip| format!("<item><privateIpAddress>{ip}</privateIpAddress></item>"))
        .collect();
    format!(
        "<item><networkInterfaceId>{id}</networkInterfaceId><subnetId>subnet-1</subnetId>\
         <macAddress>02:00:00:00:00:0a</macAddress><privateIpAddress>{}</privateIpAddress>\
         <attachment><instanceId>{instance}</instanceId></attachment>\
         <privateIpAddressesSet>{items}</privateIpAddressesSet></item>",
        ips[0]
    )
}

fn set(interfaces: &str) -> Reply {
    ok(INTERFACES, &format!("<networkInterfaceSet>{interfaces}</networkInterfaceSet>"))
}

/// Whether a read asks for this node's own interface, and not for who has an address.
fn own_is_asked(form: &stub::Form) -> bool {
    form["Action"] == INTERFACES && form.contains_key("NetworkInterfaceId.1")
}

/// What EC2 answers while `seen` are the interfaces that have the addresses.
fn showing(form: &stub::Form, seen: &str) -> Reply {
    match &*form["Action"] {
        INTERFACES if own_is_asked(form) => set(&interface("eni-a", "i-a", &["10.0.1.10"])),
        INTERFACES => set(seen),
        // What the preflight tries has no effect: refused for what it says.
        ASSIGN if form["PrivateIpAddress.1"] == "10.0.1.10" => error(400, "InvalidParameterValue"),
        UNASSIGN if form["PrivateIpAddress.1"] == "169.254.169.254" => {
            error(400, "InvalidParameterValue")
        }
        ASSIGN => ok(ASSIGN, "<networkInterfaceId>eni-a</networkInterfaceId>"),
        UNASSIGN => ok(UNASSIGN, "<return>true</return>"),
        _ => error(403, "UnauthorizedOperation"),
    }
}

fn nobody(form: &stub::Form) -> Reply {
    showing(form, "")
}

fn assign(reassign: bool) -> CloudCall {
    call(Operation::Assign { address: AddressId(0), reassign })
}

fn unassign(interface: &str) -> CloudCall {
    let interface = AssociationId(interface.into());
    call(Operation::Unassign { address: AddressId(1), interface })
}

fn read() -> CloudCall {
    let addresses = vec![AddressId(0), AddressId(1)];
    call(Operation::Describe { kind: AddressKind::SecondaryIp, addresses })
}

/// How a read ends while `seen` are the interfaces that have the addresses.
async fn read_while(seen: String) -> CallOutcome {
    let stub = Stub::new(move |form| showing(form, &seen)).await;
    cloud(&stub).await.execute(read(), &clock()).await.outcome
}

#[tokio::test]
async fn assigns_with_both_flags_said_and_unassigns_where_it_was_seen() {
    let stub = Stub::new(nobody).await;
    let cloud = cloud(&stub).await;
    for reassign in [true, false] {
        let ended = cloud.execute(assign(reassign), &clock()).await;
        let id = AssociationId("eni-a".into());
        assert_eq!(ended.outcome, CallOutcome::Ok(CallReply::Associated(id)));
        assert_eq!(ended.request_id.as_deref(), Some("req-1"));
    }
    let sent = stub.requests(ASSIGN);
    assert_eq!(sent.len(), 2);
    for (form, reassign) in sent.iter().zip(["true", "false"]) {
        assert_eq!(form["NetworkInterfaceId"], "eni-a");
        assert_eq!(form["PrivateIpAddress.1"], "10.0.1.50");
        assert_eq!(form["AllowReassignment"], reassign);
        assert!(!form.contains_key("PrivateIpAddress.2"));
    }
    let ended = cloud.execute(unassign("eni-z"), &clock()).await;
    assert_eq!(ended.outcome, CallOutcome::Ok(CallReply::Disassociated));
    let sent = stub.requests(UNASSIGN);
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0]["NetworkInterfaceId"], "eni-z");
    assert_eq!(sent[0]["PrivateIpAddress.1"], "10.0.1.51");
}

#[tokio::test]
async fn an_answer_that_does_not_say_what_was_asked_for_is_no_success() {
    let named = "<networkInterfaceId>eni-a</networkInterfaceId>";
    let set = |ip: &str| {
        let item = format!("<item><privateIpAddress>{ip}</privateIpAddress></item>");
        format!("<assignedPrivateIpAddressesSet>{item}</assignedPrivateIpAddressesSet>")
    };
    let answered = async |fields: String| {
        let stub = Stub::new(move |form| match &*form["Action"] {
            ASSIGN => ok(ASSIGN, &fields),
            _ => nobody(form),
        });
        let stub = stub.await;
        cloud(&stub).await.execute(assign(true), &clock()).await.outcome
    };
    for (fields, word) in [
        ("<return>true</return>".to_owned(), "has no networkInterfaceId"),
        ("<networkInterfaceId/>".to_owned(), "has no networkInterfaceId"),
        (named.replace("eni-a", "eni-b"), "names eni-b instead of eni-a"),
        (format!("{named}{}", set("10.0.1.51")), "names other addresses than 10.0.1.50"),
    ] {
        let outcome = answered(fields).await;
        assert!(what(&outcome).contains(word), "{outcome:?}");
    }
    // One that was there already need not be named again.
    for fields in [named.to_owned(), format!("{named}{}", set("10.0.1.50"))] {
        let id = AssociationId("eni-a".into());
        assert_eq!(answered(fields).await, CallOutcome::Ok(CallReply::Associated(id)));
    }
}

#[tokio::test]
async fn neither_is_sent_after_its_time_nor_repeated() {
    let stub = Stub::new(|form| match &*form["Action"] {
        ASSIGN | UNASSIGN => error(503, "RequestLimitExceeded"),
        _ => nobody(form),
    });
    let stub = stub.await;
    let cloud = cloud(&stub).await;
    // Given a clock that passes `not_after` before the call, or between its begin and its sending,
    for in_time in [0, 1] {
        for call in [assign(true), unassign("eni-b")] {
            let looks = AtomicUsize::new(0);
            let clock: Clock = Arc::new(move || {
                let early = looks.fetch_add(1, Ordering::SeqCst) < in_time;
                Timestamp::from_millis(if early { 1_000 } else { 1_001 })
            });
            // then it is not sent.
            let ended = cloud.execute(call, &clock).await;
            assert_eq!(ended.outcome, CallOutcome::NotStarted, "{in_time}");
        }
    }
    assert!(stub.requests(ASSIGN).is_empty() && stub.requests(UNASSIGN).is_empty());
    // In time it is, once.
    for (call, action) in [(assign(true), ASSIGN), (unassign("eni-b"), UNASSIGN)] {
        assert_eq!(cloud.execute(call, &clock()).await.outcome, CallOutcome::Throttled);
        assert_eq!(stub.requests(action).len(), 1);
    }
}

#[tokio::test]
async fn a_read_shows_who_has_each_address() {
    let held = [
        ("eni-a", "i-a", Holder::Node(NodeId(0))),
        ("eni-b", "i-b", Holder::Node(NodeId(1))),
        ("eni-z", "i-z", Holder::Outside("eni-z".into())),
        // Another interface of the same machine: a peer's is the peer's, but on this one the
        // kernel has the address elsewhere.
        ("eni-z", "i-b", Holder::Node(NodeId(1))),
        ("eni-z", "i-a", Holder::Outside("eni-z".into())),
    ];
    for (id, instance, holder) in held {
        // Given a first address held so, as primary or as secondary one, and a second by nobody,
        for ips in [&["10.0.1.11", "10.0.1.50"][..], &["10.0.1.50"]] {
            let outcome = read_while(interface(id, instance, ips)).await;
            let ip = |last: u8| Some([10, 0, 1, last].into());
            let id = AssociationId(id.into());
            let association = Some(Association { id, holder: holder.clone() });
            let expected = vec![
                Observation { address: AddressId(0), ip: ip(50), association },
                Observation { address: AddressId(1), ip: ip(51), association: None },
            ];
            assert_eq!(outcome, CallOutcome::Ok(CallReply::Described(expected)));
        }
    }
}

#[tokio::test]
async fn a_read_asks_for_the_addresses_within_the_nodes_subnet() {
    let stub = Stub::new(nobody).await;
    let ended = cloud(&stub).await.execute(read(), &clock()).await;
    assert!(matches!(ended.outcome, CallOutcome::Ok(_)), "{ended:?}");
    let sent = stub.requests(INTERFACES);
    let asked = sent.iter().find(|form| form.contains_key("Filter.2.Name")).unwrap();
    assert_eq!(asked["Filter.1.Name"], "addresses.private-ip-address");
    assert_eq!(asked["Filter.1.Value.1"], "10.0.1.50");
    assert_eq!(asked["Filter.1.Value.2"], "10.0.1.51");
    assert_eq!(asked["Filter.2.Name"], "subnet-id");
    assert_eq!(asked["Filter.2.Value.1"], "subnet-1");
}

#[tokio::test]
async fn a_read_that_cannot_be_relied_on_is_an_error() {
    let twice = ["eni-a", "eni-b"].map(|id| interface(id, "i-q", &["10.0.1.9", "10.0.1.50"]));
    let nameless = interface("", "i-b", &["10.0.1.11", "10.0.1.50"]);
    for (seen, word) in [(twice.concat(), "shows 10.0.1.50 twice"), (nameless, "who holds")] {
        let outcome = read_while(seen).await;
        assert!(what(&outcome).contains(word), "{outcome:?}");
    }
    // So is one whose subnet is not known: another VPC may have the same addresses.
    let no_subnet = interface("eni-a", "i-a", &["10.0.1.10"]).replace("subnetId", "other");
    for (own, word) in [(no_subnet, "the subnet of eni-a"), (String::new(), "show eni-a")] {
        let stub = Stub::new(move |form| if own_is_asked(form) { set(&own) } else { nobody(form) });
        let stub = stub.await;
        let outcome = cloud(&stub).await.execute(read(), &clock()).await.outcome;
        assert!(what(&outcome).contains(word), "{outcome:?}");
        assert!(stub.requests(INTERFACES).iter().all(|form| !form.contains_key("Filter.2.Name")));
    }
    // What forbids to learn it is told as it is.
    let stub = Stub::new(|form| {
        if own_is_asked(form) { error(403, "UnauthorizedOperation") } else { nobody(form) }
    });
    let stub = stub.await;
    let outcome = cloud(&stub).await.execute(read(), &clock()).await.outcome;
    assert_eq!(outcome, CallOutcome::Denied { code: "UnauthorizedOperation".into() });
}

#[tokio::test]
async fn a_preflight_tries_calls_that_cannot_succeed_and_needs_no_dry_run() {
    let stub = Stub::new(nobody).await;
    // Given two addresses, and permissions for all calls, then there is nothing to tell,
    assert_eq!(cloud(&stub).await.preflight().await, Vec::<String>::new());
    // and what was tried, once for both, could not have taken any address.
    let [assigned, unassigned] = [ASSIGN, UNASSIGN].map(|action| stub.requests(action));
    let ([assigned], [unassigned]) = (assigned.as_slice(), unassigned.as_slice()) else {
        panic!("{assigned:?} {unassigned:?}");
    };
    assert_eq!(assigned["PrivateIpAddress.1"], "10.0.1.10");
    assert_eq!(assigned["AllowReassignment"], "false");
    assert_eq!(unassigned["PrivateIpAddress.1"], "169.254.169.254");
    for form in [assigned, unassigned] {
        assert_eq!(form["NetworkInterfaceId"], "eni-a");
        assert!(!form.contains_key("DryRun"));
    }
}

#[tokio::test]
async fn a_preflight_names_what_is_not_permitted_or_would_fail() {
    for (action, status, code, word) in [
        (ASSIGN, 403, "UnauthorizedOperation", "allow ec2:AssignPrivateIpAddresses to this node"),
        (UNASSIGN, 403, "UnauthorizedOperation", "allow ec2:UnassignPrivateIpAddresses to this"),
        (INTERFACES, 403, "UnauthorizedOperation", "allow ec2:DescribeNetworkInterfaces to this"),
        (ASSIGN, 400, "PrivateIpAddressLimitExceeded", "PrivateIpAddressLimitExceeded"),
        (UNASSIGN, 400, "InvalidNetworkInterfaceID.NotFound", "correct its network_interface_id"),
        (ASSIGN, 400, "InvalidAction", "with InvalidAction"),
        (ASSIGN, 503, "RequestLimitExceeded", "throttles"),
    ] {
        let stub = Stub::new(move |form| match &*form["Action"] {
            asked if asked == action => error(status, code),
            _ => nobody(form),
        });
        let stub = stub.await;
        let found = cloud(&stub).await.preflight().await;
        assert_eq!(found.len(), 1, "{action} {code}: {found:?}");
        assert!(found[0].contains(word) && found[0].ends_with('.'), "{found:?}");
    }
}

#[tokio::test]
async fn a_preflight_names_a_holder_outside_the_cluster() {
    let held = interface("eni-z", "i-z", &["10.0.1.99", "10.0.1.50"]);
    let stub = Stub::new(move |form| showing(form, &held)).await;
    let found = cloud(&stub).await.preflight().await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("10.0.1.50 is held by eni-z"), "{found:?}");
}

#[tokio::test]
async fn a_preflight_names_an_address_that_the_subnet_cannot_give() {
    // Given metadata that knows the subnet of this node's interface, which is not the primary one,
    let metadata = Stub::new(|form| {
        let path = form["Action"].trim_start_matches("/latest/meta-data/").to_owned();
        let path = path.trim_start_matches("network/interfaces/macs/");
        let value = match path {
            "/latest/api/token" => "token",
            "mac" => "02:00:00:00:00:01",
            "" => "02:00:00:00:00:01/\n02:00:00:00:00:02/",
            "02:00:00:00:00:01/interface-id" => "eni-other",
            "02:00:00:00:00:02/interface-id" => "eni-a",
            "02:00:00:00:00:02/subnet-ipv4-cidr-block" => "10.0.1.48/28",
            _ => return Reply::Answer(404, String::new()),
        };
        Reply::Answer(200, value.to_owned())
    });
    let metadata = metadata.await;
    let stub = Stub::new(nobody).await;
    let mut settings = settings(&stub.url);
    let secondary = |last: u8| AddressIds::SecondaryIp { ip: [10, 0, 1, last].into() };
    // when there are an address outside, one that EC2 keeps, and a good one,
    settings.cluster.groups[0].addresses = vec![secondary(64), secondary(50), secondary(52)];
    let metadata = super::super::metadata::Metadata::at(&metadata.url);
    let cloud = Cloud::start(settings, Some(metadata), Arc::new(()));
    assert!(cloud.settled(10 * SECOND).await);
    // then the first two are named.
    let found = cloud.preflight().await;
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].contains("10.0.1.64 is outside") && found[0].contains("10.0.1.48 to"));
    assert!(found[1].contains("10.0.1.50 is one of the five"), "{found:?}");
    assert_eq!(learnt_mac(&cloud).await, Some([2, 0, 0, 0, 0, 10]));
}

#[tokio::test]
async fn a_preflight_names_a_private_ip_that_the_interface_does_not_have() {
    let stub = Stub::new(|form| match &*form["Action"] {
        INTERFACES => nobody(form),
        _ => healthy(form, "eni-b"),
    });
    let stub = stub.await;
    for (ip, named) in [("10.0.1.20", true), ("10.0.1.10", false)] {
        let mut settings = super::settings(&stub.url);
        settings.cluster.groups[0].addresses = vec![AddressIds::ElasticIp {
            allocation_id: "eipalloc-1".to_owned(),
            private_ip: Some(ip.to_owned()),
        }];
        let cloud = Cloud::connect(settings, Arc::new(())).await.unwrap();
        assert!(cloud.settled(10 * SECOND).await);
        let found = cloud.preflight().await;
        assert_eq!(found.len(), usize::from(named), "{found:?}");
        let says = |text: &String| text.contains("no address of eni-a") && text.contains(ip);
        assert!(found.iter().all(says), "{found:?}");
    }
}

async fn learnt_mac(cloud: &Cloud) -> Option<Mac> {
    let mut mac = cloud.own_mac();
    let known = tokio::time::timeout(10 * SECOND, mac.wait_for(Option::is_some)).await;
    *known.expect("it was never learnt").unwrap()
}

#[tokio::test]
async fn the_mac_is_learnt_from_ec2() {
    let stub = Stub::new(nobody).await;
    assert_eq!(learnt_mac(&cloud(&stub).await).await, Some([2, 0, 0, 0, 0, 10]));
    // For an elastic IP that is bound to a secondary address of the node as well,
    let mut settings = super::settings(&stub.url);
    settings.cluster.groups[0].addresses = vec![AddressIds::ElasticIp {
        allocation_id: "eipalloc-1".to_owned(),
        private_ip: Some("10.0.1.20".to_owned()),
    }];
    let bound = Cloud::connect(settings, Arc::new(())).await.unwrap();
    assert_eq!(learnt_mac(&bound).await, Some([2, 0, 0, 0, 0, 10]));
}

#[tokio::test]
async fn the_mac_is_learnt_from_metadata_while_the_api_is_away() {
    let metadata = super::metadata::metadata(Arc::new(Mutex::new(Some(String::new())))).await;
    let stub = Stub::new(|_| Reply::Close).await;
    let metadata = super::super::metadata::Metadata::at(&metadata.url);
    let cloud = Cloud::start(settings(&stub.url), Some(metadata), Arc::new(()));
    assert_eq!(learnt_mac(&cloud).await, Some([2, 0, 0, 0, 0, 1]));
}

#[tokio::test]
async fn connections_are_kept_open_by_reads_of_a_secondary_address() {
    let stub = Stub::new(|form| nobody(form).later(Duration::from_millis(50))).await;
    let _cloud = cloud(&stub).await;
    let warming = || {
        let sent = stub.requests(INTERFACES);
        sent.iter().filter(|form| form.contains_key("Filter.1.Name")).count()
    };
    super::warm::until(|| warming() == 2).await;
    // One for each address, and one where the node's own interface was read at the same time.
    assert!((2..=3).contains(&stub.connections()), "{}", stub.connections());
}
