//! The client of the real service against the simulated cloud, over a socket.

use std::time::Duration;

use aws_sdk_ec2::Client;
use aws_sdk_ec2::config::retry::RetryConfig;
use aws_sdk_ec2::config::timeout::TimeoutConfig;
use aws_sdk_ec2::config::{BehaviorVersion, Credentials, Region, StalledStreamProtectionConfig};
use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_ec2::operation::{RequestId, associate_address::AssociateAddressError};
use aws_sdk_ec2::types::Filter;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::{
    AllocationSpec, Entry, Faults, InterfaceSpec, Options, Outcome, Resources, SimulatedCloud,
};

const WEB: &str = "eipalloc-0web";

/// One address, and the interfaces `eni-a` and `eni-b`.
async fn cloud(faults: &str) -> SimulatedCloud {
    let interface = |name: &str, ip: &str| InterfaceSpec {
        id: format!("eni-{name}"),
        instance: Some(format!("i-{name}")),
        private_ips: vec![ip.parse().unwrap()],
    };
    let options = Options {
        resources: Resources {
            allocations: vec![AllocationSpec { id: WEB.to_owned(), public_ip: None }],
            interfaces: vec![interface("a", "10.0.1.10"), interface("b", "10.0.1.11")],
        },
        faults: Faults::from_json(faults.as_bytes()).unwrap(),
        ..Options::default()
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    SimulatedCloud::start(listener, options).unwrap()
}

/// The client of one node, as the daemon makes it: no retries of its own.
fn client(cloud: &SimulatedCloud, key: &str) -> Client {
    client_that_waits(cloud, key, Duration::from_secs(10))
}

/// One that soon gives up, for calls that are never answered.
fn impatient(cloud: &SimulatedCloud, key: &str) -> Client {
    client_that_waits(cloud, key, Duration::from_millis(100))
}

fn client_that_waits(cloud: &SimulatedCloud, key: &str, timeout: Duration) -> Client {
    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .build_https();
    let config = aws_sdk_ec2::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .endpoint_url(cloud.endpoint_url())
        .credentials_provider(Credentials::new(key, "secret", None, None, "test"))
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::builder().operation_timeout(timeout).build())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .http_client(http)
        .build();
    Client::from_conf(config)
}

type Associated = Result<String, SdkError<AssociateAddressError>>;

async fn associate(client: &Client, interface: &str, reassociate: Option<bool>) -> Associated {
    let call = client.associate_address().allocation_id(WEB).network_interface_id(interface);
    let answer = call.set_allow_reassociation(reassociate).send().await?;
    Ok(answer.association_id.unwrap())
}

fn code<E: ProvideErrorMetadata>(error: &E) -> &str {
    error.code().unwrap_or("none")
}

fn holder(cloud: &SimulatedCloud) -> Option<String> {
    cloud.holders()[WEB].association.as_ref().map(|held| held.interface.clone())
}

/// Waits until every call has landed, and gives the record.
async fn landed(cloud: &SimulatedCloud) -> Vec<Entry> {
    for _ in 0..1_000 {
        let record = cloud.record();
        if record.iter().all(|entry| entry.outcome != Outcome::Pending) {
            return record;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("still pending: {:?}", cloud.record());
}

#[tokio::test]
async fn an_address_is_associated_shown_moved_and_released() {
    let cloud = cloud("{}").await;
    let client = client(&cloud, "a");
    let first = associate(&client, "eni-a", None).await.unwrap();
    let shown = client.describe_addresses().allocation_ids(WEB).send().await.unwrap();
    let [address] = shown.addresses() else { panic!("{shown:?}") };
    assert_eq!(address.allocation_id(), Some(WEB));
    assert_eq!(address.public_ip(), Some("203.0.113.1"));
    assert_eq!(address.association_id(), Some(first.as_str()));
    assert_eq!(address.network_interface_id(), Some("eni-a"));
    assert_eq!(address.instance_id(), Some("i-a"));
    assert_eq!(address.private_ip_address(), Some("10.0.1.10"));
    // Absent, the flag means true.
    let second = associate(&client, "eni-b", None).await.unwrap();
    assert_ne!(first, second);
    let stale = client.disassociate_address().association_id(&first).send().await;
    assert_eq!(code(&stale.unwrap_err()), "InvalidAssociationID.NotFound");
    client.disassociate_address().association_id(&second).send().await.unwrap();
    let shown = client.describe_addresses().allocation_ids(WEB).send().await.unwrap();
    assert_eq!(shown.addresses()[0].association_id(), None);
    assert_eq!(shown.addresses()[0].network_interface_id(), None);
    assert_eq!(cloud.record().len(), 4);
}

#[tokio::test]
async fn interfaces_and_instances_are_shown_with_the_address() {
    let cloud = cloud("{}").await;
    let client = client(&cloud, "a");
    let association = associate(&client, "eni-b", None).await.unwrap();
    let filter = Filter::builder().name("association.public-ip").values("203.0.113.1").build();
    let shown = client.describe_network_interfaces().filters(filter).send().await.unwrap();
    let [interface] = shown.network_interfaces() else { panic!("{shown:?}") };
    assert_eq!(interface.network_interface_id(), Some("eni-b"));
    assert_eq!(interface.attachment().unwrap().instance_id(), Some("i-b"));
    assert_eq!(interface.source_dest_check(), Some(true));
    let shown = interface.association().unwrap();
    assert_eq!(shown.association_id(), Some(association.as_str()));
    assert_eq!(interface.private_ip_addresses()[0].private_ip_address(), Some("10.0.1.11"));
    assert_eq!(interface.private_ip_addresses()[0].primary(), Some(true));
    let shown = client.describe_instances().instance_ids("i-b").send().await.unwrap();
    let instance = &shown.reservations()[0].instances()[0];
    assert_eq!(instance.instance_id(), Some("i-b"));
    assert_eq!(instance.public_ip_address(), Some("203.0.113.1"));
    assert_eq!(instance.network_interfaces()[0].network_interface_id(), Some("eni-b"));
}

#[tokio::test]
async fn errors_have_their_code_status_and_request_id() {
    let cloud = cloud("{}").await;
    let client = client(&cloud, "a");
    let refused = associate(&client, "eni-z", None).await.unwrap_err();
    assert_eq!(code(&refused), "InvalidNetworkInterfaceID.NotFound");
    assert_eq!(refused.message(), Some("The networkInterface ID 'eni-z' does not exist"));
    assert_eq!(refused.raw_response().unwrap().status().as_u16(), 400);
    let record = cloud.record();
    assert_eq!(refused.request_id(), Some(record[0].request_id.as_str()));
    assert_eq!(record[0].caller.access_key.as_deref(), Some("a"));
    assert!(matches!(&record[0].outcome, Outcome::Refused { code } if code.ends_with("NotFound")));
    let unknown = client.describe_vpcs().send().await.unwrap_err();
    assert_eq!(code(&unknown), "InvalidAction");
    let answer = client.describe_addresses().send().await.unwrap();
    assert_eq!(answer.request_id().map(str::len), Some(36));
}

#[tokio::test]
async fn dry_runs_tell_permission_from_none_and_change_nothing() {
    let cloud =
        cloud(r#"{"rules":[{"when":{"access_key":"b"},"deny":["AssociateAddress"]}]}"#).await;
    for (key, expected, status) in
        [("a", "DryRunOperation", 412), ("b", "UnauthorizedOperation", 403)]
    {
        let client = client(&cloud, key);
        let call = client.associate_address().allocation_id(WEB).network_interface_id("eni-a");
        let answer = call.dry_run(true).send().await.unwrap_err();
        assert_eq!(code(&answer), expected);
        assert_eq!(answer.raw_response().unwrap().status().as_u16(), status);
    }
    let b = client(&cloud, "b");
    let call = b.disassociate_address().association_id("eipassoc-0").dry_run(true);
    assert_eq!(code(&call.send().await.unwrap_err()), "DryRunOperation");
    let refused = associate(&b, "eni-b", Some(true)).await.unwrap_err();
    assert_eq!(code(&refused), "UnauthorizedOperation");
    assert_eq!(holder(&cloud), None);
    assert_eq!(cloud.record().len(), 1);
}

/// The fence of a claim: it may land as late as it likes.
#[tokio::test]
async fn a_late_associate_without_reassociation_is_refused() {
    let cloud = cloud(
        r#"{"rules":[{"when":{"access_key":"a"},"next":1,"late_landing":"1s","answer":"error"}]}"#,
    )
    .await;
    let (a, b) = (client(&cloud, "a"), client(&cloud, "b"));
    let failed = associate(&a, "eni-a", Some(false)).await.unwrap_err();
    assert_eq!(code(&failed), "InternalError");
    associate(&b, "eni-b", Some(false)).await.unwrap();
    let record = landed(&cloud).await;
    let refused = Outcome::Refused { code: "Resource.AlreadyAssociated".to_owned() };
    assert_eq!(record[0].outcome, refused);
    assert!(record[0].landed > record[1].landed);
    assert_eq!(holder(&cloud).as_deref(), Some("eni-b"));
}

/// The fence of a release: it names what it ends.
#[tokio::test]
async fn a_late_disassociate_with_a_stale_id_is_refused() {
    let cloud = cloud("{}").await;
    let (a, b) = (client(&cloud, "a"), client(&cloud, "b"));
    let first = associate(&a, "eni-a", Some(true)).await.unwrap();
    let late =
        r#"{"rules":[{"when":{"access_key":"a"},"next":1,"late_landing":"1s","answer":"error"}]}"#;
    cloud.set_faults(Faults::from_json(late.as_bytes()).unwrap()).unwrap();
    let failed = a.disassociate_address().association_id(first).send().await.unwrap_err();
    assert_eq!(code(&failed), "InternalError");
    associate(&b, "eni-b", Some(true)).await.unwrap();
    let record = landed(&cloud).await;
    let refused = Outcome::Refused { code: "InvalidAssociationID.NotFound".to_owned() };
    assert_eq!(record[1].outcome, refused);
    assert_eq!(holder(&cloud).as_deref(), Some("eni-b"));
}

/// The hazard that the guard watch exists for: EC2 has no fence of its own.
#[tokio::test]
async fn a_late_unconditional_associate_takes_the_address_back() {
    let cloud = cloud(
        r#"{"rules":[{"when":{"access_key":"a"},"next":1,"late_landing":"1s","answer":"never"}]}"#,
    )
    .await;
    let (a, b) = (impatient(&cloud, "a"), client(&cloud, "b"));
    let mut holders = cloud.watch_holders();
    let timed_out = associate(&a, "eni-a", Some(true)).await.unwrap_err();
    assert!(matches!(timed_out, SdkError::TimeoutError(_)), "{timed_out:?}");
    associate(&b, "eni-b", Some(true)).await.unwrap();
    assert_eq!(holder(&cloud).as_deref(), Some("eni-b"));
    holders.mark_unchanged();
    holders.changed().await.unwrap();
    assert_eq!(holder(&cloud).as_deref(), Some("eni-a"));
    let record = cloud.record();
    assert!(matches!(&record[0].outcome, Outcome::Done { .. }));
    assert!(record[0].landed > record[1].landed);
    assert_eq!(cloud.holders()[WEB].since, record[0].landed);
}

#[tokio::test]
async fn an_answer_can_be_lost_after_the_effect() {
    for answer in ["closed", "never", "error"] {
        let cloud = cloud(&format!(r#"{{"rules":[{{"next":1,"answer":"{answer}"}}]}}"#)).await;
        let client = if answer == "never" { impatient } else { client }(&cloud, "a");
        let error = associate(&client, "eni-a", Some(true)).await.unwrap_err();
        match answer {
            "closed" => assert!(matches!(error, SdkError::DispatchFailure(_)), "{error:?}"),
            "never" => assert!(matches!(error, SdkError::TimeoutError(_)), "{error:?}"),
            _ => assert_eq!(code(&error), "InternalError"),
        }
        assert_eq!(holder(&cloud).as_deref(), Some("eni-a"));
    }
}

#[tokio::test]
async fn several_race_without_reassociation_and_one_wins() {
    let cloud = cloud("{}").await;
    let (a, b) = (client(&cloud, "a"), client(&cloud, "b"));
    for _ in 0..10 {
        let (of_a, of_b) =
            tokio::join!(associate(&a, "eni-a", Some(false)), associate(&b, "eni-b", Some(false)));
        let (won, lost) = if of_a.is_ok() { (of_a, of_b) } else { (of_b, of_a) };
        assert_eq!(code(&lost.unwrap_err()), "Resource.AlreadyAssociated");
        a.disassociate_address().association_id(won.unwrap()).send().await.unwrap();
    }
}

#[tokio::test]
async fn a_throttled_call_is_refused_without_effect() {
    let cloud = cloud(r#"{"throttle":{"burst":1,"per_second":0}}"#).await;
    let client = client(&cloud, "a");
    client.describe_addresses().send().await.unwrap();
    let throttled = associate(&client, "eni-a", Some(true)).await.unwrap_err();
    assert_eq!(code(&throttled), "RequestLimitExceeded");
    assert_eq!(throttled.raw_response().unwrap().status().as_u16(), 503);
    assert_eq!(holder(&cloud), None);
}

#[tokio::test]
async fn a_stale_read_shows_what_was() {
    let cloud = cloud(r#"{"stale_reads":"1h"}"#).await;
    let client = client(&cloud, "a");
    associate(&client, "eni-a", Some(true)).await.unwrap();
    let shown = client.describe_addresses().allocation_ids(WEB).send().await.unwrap();
    assert_eq!(shown.addresses()[0].network_interface_id(), None);
    cloud.set_faults(Faults::from_json(br#"{"stale_reads":"1ms"}"#).unwrap()).unwrap();
    tokio::time::sleep(Duration::from_millis(2)).await;
    let shown = client.describe_addresses().allocation_ids(WEB).send().await.unwrap();
    assert_eq!(shown.addresses()[0].network_interface_id(), Some("eni-a"));
}

#[tokio::test]
async fn a_black_hole_is_a_time_out() {
    let cloud = cloud(r#"{"rules":[{"when":{"access_key":"a"},"black_hole":true}]}"#).await;
    let (a, b) = (impatient(&cloud, "a"), client(&cloud, "b"));
    let error = associate(&a, "eni-a", Some(true)).await.unwrap_err();
    assert!(matches!(error, SdkError::TimeoutError(_)), "{error:?}");
    let error = a.describe_addresses().send().await.unwrap_err();
    assert!(matches!(error, SdkError::TimeoutError(_)), "{error:?}");
    assert_eq!(holder(&cloud), None);
    associate(&b, "eni-b", Some(true)).await.unwrap();
}

#[tokio::test]
async fn a_stopped_cloud_lands_nothing_more() {
    let cloud = cloud(r#"{"late_landing":"1s","answer":"error"}"#).await;
    let holders = cloud.watch_holders();
    let client = client(&cloud, "a");
    let _failed = associate(&client, "eni-a", Some(true)).await.unwrap_err();
    cloud.stop().await;
    assert!(associate(&client, "eni-a", Some(true)).await.is_err());
    assert!(holders.borrow()[WEB].association.is_none());
}

#[tokio::test]
async fn an_answer_takes_far_less_than_a_millisecond() {
    let cloud = cloud("{}").await;
    let client = client(&cloud, "a");
    let mut took = Vec::new();
    for round in 0..200 {
        let interface = if round % 2 == 0 { "eni-a" } else { "eni-b" };
        let start = Instant::now();
        associate(&client, interface, Some(true)).await.unwrap();
        took.push(start.elapsed());
    }
    took.sort();
    let mut inside: Vec<_> =
        cloud.record().iter().map(|it| it.answered.unwrap().since(it.arrived)).collect();
    inside.sort();
    println!("AssociateAddress: client {:?}, server {:?} (medians of 200)", took[100], inside[100]);
    assert!(inside[100] < Duration::from_millis(1), "{:?}", inside[100]);
}
