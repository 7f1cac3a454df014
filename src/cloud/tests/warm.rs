//! Connections open ahead, and what a call costs over one.

use super::*;

/// A stub that takes 50 ms, so that reads sent at once need a connection each.
async fn slow() -> Stub {
    Stub::new(|form| healthy(form, "eni-b").later(Duration::from_millis(50))).await
}

pub(super) async fn until(mut condition: impl FnMut() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(10 * SECOND, wait).await.expect("it never happened");
}

#[tokio::test]
async fn as_many_connections_are_open_as_addresses_may_move_at_once() {
    let stub = slow().await;
    let cloud = cloud(&stub).await;
    until(|| stub.requests("DescribeAddresses").len() == 2).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let clock = clock();
    let both = tokio::join!(
        cloud.execute(associate(true), &clock),
        cloud.execute(
            call(Operation::Associate { address: AddressId(1), reassociate: true }),
            &clock
        ),
    );
    assert!(matches!((&both.0.outcome, &both.1.outcome), (CallOutcome::Ok(_), CallOutcome::Ok(_))));
    // Two were opened ahead and used for the claims; the claims have changed the way out, so two
    // more are opened for what follows.
    until(|| stub.connections() == 4).await;
}

#[tokio::test]
async fn an_idle_connection_is_used_again_and_again() {
    let stub = Stub::new(|form| healthy(form, "eni-b")).await;
    let mut settings = settings(&stub.url);
    settings.keep_warm = Duration::from_millis(20);
    settings.cluster.groups[0].addresses.truncate(1);
    let _cloud = Cloud::connect(settings, Arc::new(())).await.unwrap();
    until(|| stub.requests("DescribeAddresses").len() >= 5).await;
    assert_eq!(stub.connections(), 1);
}

#[tokio::test]
async fn after_a_timeout_calls_go_another_way() {
    let stub = Stub::new(|form| match &*form["Action"] {
        "DisassociateAddress" => Reply::Hang,
        _ => healthy(form, "eni-b"),
    });
    let stub = stub.await;
    let cloud = cloud(&stub).await;
    until(|| stub.requests("DescribeAddresses").len() == 2).await;
    let before = stub.connections();
    let mut hanging = disassociate();
    hanging.timeout = Duration::from_millis(50);
    assert_eq!(cloud.execute(hanging, &clock()).await.outcome, CallOutcome::Timeout);
    until(|| stub.connections() > before).await;
}

#[tokio::test]
async fn an_endpoint_that_is_away_is_not_asked_in_a_circle() {
    let stub = Stub::new(|_| Reply::Close).await;
    let _cloud = cloud(&stub).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(stub.connections() <= 4, "{}", stub.connections());
}

/// `cargo test --release -p vipward cloud::tests::warm -- --ignored --nocapture`
#[tokio::test]
#[ignore = "a measurement"]
async fn measure_a_warm_call() {
    let stub = Stub::new(|form| healthy(form, "eni-b")).await;
    let cloud = cloud(&stub).await;
    tokio::time::sleep(SECOND).await;
    for (name, call) in [
        ("read", read()),
        ("disassociate (fenced)", disassociate()),
        ("associate", associate(true)),
    ] {
        let mut took = Vec::new();
        for _ in 0..200 {
            took.push(cloud.execute(call.clone(), &clock()).await.took);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        took.sort_unstable();
        println!("{name}: median {:?}, p99 {:?}, max {:?}", took[100], took[197], took[199]);
    }
}

/// How long the SDK's pool keeps a connection: takes three minutes.
#[tokio::test]
#[ignore = "a measurement"]
async fn measure_the_pool() {
    let stub = Stub::new(|form| healthy(form, "eni-b")).await;
    let mut settings = settings(&stub.url);
    settings.keep_warm = 1000 * SECOND;
    settings.cluster.groups[0].addresses.truncate(1);
    let cloud = Cloud::connect(settings, Arc::new(())).await.unwrap();
    assert!(cloud.settled(10 * SECOND).await);
    let read =
        call(Operation::Describe { kind: AddressKind::ElasticIp, addresses: vec![AddressId(0)] });
    for idle in [0, 80, 95] {
        tokio::time::sleep(idle * SECOND).await;
        let ended = cloud.execute(read.clone(), &clock()).await;
        assert!(matches!(ended.outcome, CallOutcome::Ok(_)));
        println!("after {idle} s idle: {} connections so far", stub.connections());
    }
}
