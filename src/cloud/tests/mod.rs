//! The edge against a stub: every kind of answer, and what the edge sends.

mod metadata;
mod preflight;
mod secondary;
mod stub;
mod warm;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use vipward_core::{
    AddressId, AddressKind, Association, AssociationId, CallId, CallOutcome, CallReply, CloudCall,
    GroupId, Holder, Input, NodeId, Observation, Operation, Term, Timestamp,
};

use super::*;
use stub::{Reply, Stub, address, error, healthy, ok, xml};

const SECOND: Duration = Duration::from_secs(1);

fn node(name: &str, interface: &str) -> NodeIds {
    NodeIds {
        name: name.to_owned(),
        may_hold: true,
        instance_id: Some(format!("i-{name}")),
        network_interface_id: Some(interface.to_owned()),
        links: Vec::new(),
    }
}

/// Two balancers, of which this is the first, and a group of two addresses.
fn settings(url: &str) -> Settings {
    let allocation =
        |id: &str| AddressIds::ElasticIp { allocation_id: id.to_owned(), private_ip: None };
    Settings {
        provider: Provider::Simulated,
        region: None,
        endpoint_url: Some(url.to_owned()),
        call_timeout: SECOND,
        keep_warm: KEEP_WARM,
        cluster: Cluster {
            me: Some(NodeId(0)),
            nodes: vec![node("a", "eni-a"), node("b", "eni-b")],
            groups: vec![GroupAddresses {
                name: "web".to_owned(),
                mine: true,
                addresses: vec![allocation("eipalloc-1"), allocation("eipalloc-2")],
            }],
        },
    }
}

/// A cloud whose background reads are over: what the stub sees next is the test's.
async fn cloud(stub: &Stub) -> Cloud {
    let cloud = Cloud::connect(settings(&stub.url), Arc::new(())).await.unwrap();
    assert!(cloud.settled(10 * SECOND).await);
    cloud
}

fn clock() -> Clock {
    Arc::new(|| Timestamp::from_millis(1_000))
}

fn call(operation: Operation) -> CloudCall {
    let not_after = operation.mutates().map(|_| Timestamp::from_millis(1_000));
    CloudCall {
        id: CallId(7),
        group: GroupId(0),
        term: Term(3),
        operation,
        not_after,
        timeout: SECOND,
    }
}

fn associate(reassociate: bool) -> CloudCall {
    call(Operation::Associate { address: AddressId(0), reassociate })
}

fn disassociate() -> CloudCall {
    let association = AssociationId("eipassoc-1".into());
    call(Operation::Disassociate { address: AddressId(0), association })
}

fn read() -> CloudCall {
    call(Operation::Describe {
        kind: AddressKind::ElasticIp,
        addresses: vec![AddressId(0), AddressId(1)],
    })
}

/// Answers `AssociateAddress` with `reply` and all else in health; what one such call comes to.
async fn associate_against(reply: Reply) -> (Finished, Stub) {
    let stub = Stub::new(move |form| match &*form["Action"] {
        "AssociateAddress" => reply.clone(),
        _ => healthy(form, "eni-b"),
    });
    let stub = stub.await;
    let ended = cloud(&stub).await.execute(associate(true), &clock()).await;
    (ended, stub)
}

fn what(outcome: &CallOutcome) -> &str {
    let CallOutcome::Error { what } = outcome else { panic!("not an error: {outcome:?}") };
    what
}

#[tokio::test]
async fn associates_with_both_flags_said() {
    let stub = Stub::new(|form| healthy(form, "eni-b")).await;
    let cloud = cloud(&stub).await;
    for reassociate in [true, false] {
        let ended = cloud.execute(associate(reassociate), &clock()).await;
        let id = AssociationId("eipassoc-2".into());
        assert_eq!(ended.outcome, CallOutcome::Ok(CallReply::Associated(id)));
        assert_eq!(ended.request_id.as_deref(), Some("req-1"));
    }
    let sent = stub.requests("AssociateAddress");
    assert_eq!(sent.len(), 2);
    for (form, reassociate) in sent.iter().zip(["true", "false"]) {
        assert_eq!(form["AllocationId"], "eipalloc-1");
        assert_eq!(form["NetworkInterfaceId"], "eni-a");
        assert_eq!(form["AllowReassociation"], reassociate);
        assert!(!form.contains_key("DryRun") && !form.contains_key("InstanceId"));
    }
}

#[tokio::test]
async fn disassociates_by_association() {
    let stub = Stub::new(|form| healthy(form, "eni-b")).await;
    let ended = cloud(&stub).await.execute(disassociate(), &clock()).await;
    assert_eq!(ended.outcome, CallOutcome::Ok(CallReply::Disassociated));
    let sent = stub.requests("DisassociateAddress");
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0]["AssociationId"], "eipassoc-1");
    assert!(!sent[0].contains_key("PublicIp"));
}

#[tokio::test]
async fn reads_one_observation_for_each_address() {
    // Given a first address held in turn by each of these, and a second held by nobody,
    let held = [
        ("eni-a", Holder::Node(NodeId(0))),
        ("eni-b", Holder::Node(NodeId(1))),
        ("eni-z", Holder::Outside("eni-z".into())),
    ];
    for (interface, holder) in held {
        let set = format!(
            "<addressesSet>{}{}</addressesSet>",
            address("eipalloc-2", "", ""),
            address("eipalloc-1", "eipassoc-1", interface)
        );
        let stub = Stub::new(move |_| ok("DescribeAddresses", &set)).await;
        // when both are read,
        let ended = cloud(&stub).await.execute(read(), &clock()).await;
        // then each is shown in the order asked for.
        let ip = Some("198.51.100.10".parse().unwrap());
        let association = Association { id: AssociationId("eipassoc-1".into()), holder };
        let expected = vec![
            Observation { address: AddressId(0), ip, association: Some(association) },
            Observation { address: AddressId(1), ip, association: None },
        ];
        assert_eq!(ended.outcome, CallOutcome::Ok(CallReply::Described(expected)));
    }
}

#[tokio::test]
async fn an_instance_names_its_node_where_the_interface_does_not() {
    let item = address("eipalloc-1", "eipassoc-1", "")
        .replace("</item>", "<instanceId>i-b</instanceId></item>");
    let set = format!("<addressesSet>{item}{}</addressesSet>", address("eipalloc-2", "", ""));
    let stub = Stub::new(move |_| ok("DescribeAddresses", &set)).await;
    let ended = cloud(&stub).await.execute(read(), &clock()).await;
    let CallOutcome::Ok(CallReply::Described(seen)) = ended.outcome else { panic!("{ended:?}") };
    assert_eq!(seen[0].association.as_ref().unwrap().holder, Holder::Node(NodeId(1)));
}

#[tokio::test]
async fn another_interface_of_the_own_instance_is_not_this_node() {
    // Given addresses at this machine: one at an interface that is no node's, one at the node's own.
    let at = |allocation: &str, interface: &str| {
        let instance = "</networkInterfaceId><instanceId>i-a</instanceId>";
        address(allocation, "eipassoc-1", interface).replace("</networkInterfaceId>", instance)
    };
    let (other, own) = (at("eipalloc-1", "eni-second"), at("eipalloc-2", "eni-a"));
    let set = format!("<addressesSet>{other}{own}</addressesSet>");
    let stub = Stub::new(move |_| ok("DescribeAddresses", &set)).await;
    let ended = cloud(&stub).await.execute(read(), &clock()).await;
    let CallOutcome::Ok(CallReply::Described(seen)) = ended.outcome else { panic!("{ended:?}") };
    let holders: Vec<_> = seen.into_iter().map(|it| it.association.unwrap().holder).collect();
    assert_eq!(holders, [Holder::Outside("eni-second".into()), Holder::Node(NodeId(0))]);
}

#[tokio::test]
async fn error_codes_become_outcomes_and_nothing_is_repeated() {
    let refused = |code: &str| CallOutcome::Refused { code: code.into() };
    let denied = |code: &str| CallOutcome::Denied { code: code.into() };
    for (status, code, expected) in [
        (400, "Resource.AlreadyAssociated", refused("Resource.AlreadyAssociated")),
        (400, "InvalidAllocationID.NotFound", refused("InvalidAllocationID.NotFound")),
        (403, "UnauthorizedOperation", denied("UnauthorizedOperation")),
        (401, "AuthFailure", denied("AuthFailure")),
        (400, "RequestExpired", denied("RequestExpired")),
        (503, "RequestLimitExceeded", CallOutcome::Throttled),
        (400, "Throttling", CallOutcome::Throttled),
    ] {
        let (ended, stub) = associate_against(error(status, code)).await;
        assert_eq!(ended.outcome, expected);
        assert_eq!(ended.request_id.as_deref(), Some("req-1"), "{code}");
        assert_eq!(stub.requests("AssociateAddress").len(), 1, "{code} was repeated");
    }
}

#[tokio::test]
async fn whatever_cannot_be_relied_on_is_an_error() {
    let no_field = xml("AssociateAddress", "<return>true</return>");
    for (reply, word) in [
        (error(500, "InternalError"), "500 InternalError"),
        (error(503, "Unavailable"), "503 Unavailable"),
        (Reply::Answer(500, "<html>oops</html>".to_owned()), "500"),
        (Reply::Answer(404, "not here".to_owned()), "404"),
        (Reply::Answer(200, "<Associ".to_owned()), "cannot be understood"),
        (Reply::Answer(200, String::new()), "cannot be understood"),
        (Reply::Answer(200, xml("Other", "")), "cannot be understood"),
        (Reply::Answer(200, no_field), "no associationId"),
        (Reply::Truncated(xml("AssociateAddress", "")), ""),
        (Reply::Close, ""),
    ] {
        let (ended, stub) = associate_against(reply.clone()).await;
        let what = what(&ended.outcome);
        assert!(what.contains(word), "{reply:?}: {what}");
        assert!(!what.contains('\n'));
        assert_eq!(stub.requests("AssociateAddress").len(), 1, "{reply:?} was repeated");
    }
}

#[tokio::test]
async fn an_answer_that_lacks_an_address_or_its_holder_is_an_error() {
    for (set, word) in [
        (address("eipalloc-1", "", ""), "lacks eipalloc-2"),
        (address("eipalloc-1", "eipassoc-1", ""), "who holds eipalloc-1"),
        (address("eipalloc-1", "", "eni-b"), "no associationId for eipalloc-1"),
        (String::new(), "lacks eipalloc-1"),
    ] {
        let set = format!("<addressesSet>{set}</addressesSet>");
        let stub = Stub::new(move |_| ok("DescribeAddresses", &set)).await;
        let ended = cloud(&stub).await.execute(read(), &clock()).await;
        assert!(what(&ended.outcome).contains(word), "{ended:?}");
    }
}

#[tokio::test]
async fn no_answer_is_a_timeout_and_is_not_repeated() {
    let stub = Stub::new(|form| match &*form["Action"] {
        "DescribeAddresses" => healthy(form, "eni-b"),
        _ => Reply::Hang,
    });
    let stub = stub.await;
    let cloud = cloud(&stub).await;
    let mut late = associate(true);
    late.timeout = Duration::from_millis(150);
    let ended = cloud.execute(late, &clock()).await;
    assert_eq!(ended.outcome, CallOutcome::Timeout);
    assert!(ended.took >= Duration::from_millis(150) && ended.took < SECOND);
    assert_eq!(stub.requests("AssociateAddress").len(), 1);
}

#[tokio::test]
async fn a_refused_connection_is_an_error() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let cloud = Cloud::connect(settings(&url), Arc::new(())).await.unwrap();
    assert!(cloud.settled(10 * SECOND).await);
    let ended = cloud.execute(associate(true), &clock()).await;
    assert!(what(&ended.outcome).contains("refused"), "{ended:?}");
}

#[tokio::test]
async fn a_call_whose_time_has_passed_is_not_sent() {
    let stub = Stub::new(|form| healthy(form, "eni-b")).await;
    let cloud = cloud(&stub).await;
    // Given a clock that passes `not_after` before the call, or between its begin and its sending,
    for in_time in [0, 1] {
        let looks = AtomicUsize::new(0);
        let clock: Clock = Arc::new(move || {
            let early = looks.fetch_add(1, Ordering::SeqCst) < in_time;
            Timestamp::from_millis(if early { 1_000 } else { 1_001 })
        });
        for call in [associate(true), disassociate()] {
            // when it is carried out,
            let ended = cloud.execute(call, &clock).await;
            // then it is known to have no effect,
            assert_eq!(ended.outcome, CallOutcome::NotStarted);
        }
    }
    // and the server has seen no such request.
    assert!(stub.requests("AssociateAddress").is_empty());
    assert!(stub.requests("DisassociateAddress").is_empty());
    // A read has no such point.
    let ended = cloud.execute(read(), &clock()).await;
    assert!(matches!(ended.outcome, CallOutcome::Ok(_)));
}

#[tokio::test]
async fn without_its_own_interface_nothing_is_sent() {
    let stub = Stub::new(|form| healthy(form, "eni-b")).await;
    let mut settings = settings(&stub.url);
    settings.cluster.nodes[0] = NodeIds { may_hold: true, ..NodeIds::default() };
    let cloud = Cloud::connect(settings.clone(), Arc::new(())).await.unwrap();
    assert!(!cloud.settled(Duration::from_millis(300)).await);
    let ended = cloud.execute(associate(true), &clock()).await;
    assert!(what(&ended.outcome).contains("network_interface_id"), "{ended:?}");
    assert!(stub.requests("AssociateAddress").is_empty());
    // A reload that names it is enough.
    settings.cluster.nodes[0] = node("a", "eni-a");
    cloud.reload(settings.cluster);
    let ended = cloud.execute(associate(true), &clock()).await;
    assert!(matches!(ended.outcome, CallOutcome::Ok(_)), "{ended:?}");
}

#[tokio::test]
async fn calls_run_at_once_and_each_end_is_told() {
    struct Count(AtomicUsize);
    impl Observer for Count {
        fn call(&self, operation: &'static str, outcome: &'static str, _: Duration) {
            assert_eq!((operation, outcome), ("AssociateAddress", "ok"));
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let delay = Duration::from_millis(200);
    let stub = Stub::new(move |form| healthy(form, "eni-b").later(delay)).await;
    let count = Arc::new(Count(AtomicUsize::new(0)));
    let cloud = Cloud::connect(settings(&stub.url), Arc::clone(&count) as _).await.unwrap();
    assert!(cloud.settled(10 * SECOND).await);
    let (calls, receive) = mpsc::channel(16);
    let (inputs, mut told) = mpsc::channel(16);
    let running = tokio::spawn(run(cloud, receive, inputs, clock()));
    let started = tokio::time::Instant::now();
    for id in 0..5 {
        calls.send(CloudCall { id: CallId(id), ..associate(true) }).await.unwrap();
    }
    drop(calls);
    let mut ended = Vec::new();
    while let Some(input) = told.recv().await {
        let Input::CallFinished { call, outcome, .. } = input else { panic!("{input:?}") };
        assert!(matches!(outcome, CallOutcome::Ok(_)), "{outcome:?}");
        ended.push(call.0);
    }
    assert!(started.elapsed() < 4 * Duration::from_millis(200), "they waited for each other");
    ended.sort_unstable();
    assert_eq!(ended, [0, 1, 2, 3, 4]);
    assert_eq!(count.0.load(Ordering::SeqCst), 5);
    running.await.unwrap();
}

#[tokio::test]
async fn settings_that_cannot_work_are_named() {
    for (url, provider, word) in [
        (Some("127.0.0.1:4566"), Provider::Aws, "http://HOST:PORT"),
        (Some("ftp://host"), Provider::Aws, "http://HOST:PORT"),
        (None, Provider::Simulated, "simulated-cloud"),
    ] {
        let endpoint_url = url.map(str::to_owned);
        let settings = Settings { provider, endpoint_url, ..settings("") };
        let error = Cloud::connect(settings, Arc::new(())).await.err().unwrap();
        assert!(error.to_string().contains(word), "{error}");
    }
}

/// The SDK's own chain against a real server, set up by the environment:
/// `AWS_EC2_METADATA_SERVICE_ENDPOINT`, `VIPWARD_TEST_ENDPOINT`, `VIPWARD_TEST_ALLOCATION`.
#[tokio::test]
#[ignore = "needs a server"]
async fn region_ids_and_credentials_come_from_metadata() {
    let mut settings = settings(&std::env::var("VIPWARD_TEST_ENDPOINT").unwrap());
    settings.provider = Provider::Aws;
    settings.cluster.nodes[0] = NodeIds { may_hold: true, ..NodeIds::default() };
    let allocation_id = std::env::var("VIPWARD_TEST_ALLOCATION").unwrap();
    settings.cluster.groups[0].addresses =
        vec![AddressIds::ElasticIp { allocation_id, private_ip: None }];
    let started = tokio::time::Instant::now();
    let cloud = Cloud::connect(settings, Arc::new(())).await.unwrap();
    println!("connected after {:?}", started.elapsed());
    assert!(cloud.settled(10 * SECOND).await);
    println!("settled after {:?}, expiry {:?}", started.elapsed(), cloud.credentials_expiry());
    println!("preflight: {:?}", cloud.preflight().await);
    println!("{:?}", cloud.execute(associate(true), &clock()).await);
    println!("{:?}", cloud.execute(associate(false), &clock()).await);
    let one =
        call(Operation::Describe { kind: AddressKind::ElasticIp, addresses: vec![AddressId(0)] });
    println!("{:?}", cloud.execute(one, &clock()).await);
    println!("preflight: {:?}", cloud.preflight().await);
}
