//! What the preflight says.

use std::sync::atomic::AtomicBool;

use super::*;

/// The problems, where `script` answers.
async fn problems(script: impl Fn(&stub::Form) -> Reply + Send + Sync + 'static) -> Vec<String> {
    let stub = Stub::new(script).await;
    cloud(&stub).await.preflight().await
}

fn is_dry(form: &stub::Form) -> bool {
    form.get("DryRun").is_some_and(|dry| dry == "true")
}

#[tokio::test]
async fn a_healthy_node_has_no_problems_and_changes_nothing() {
    let stub = Stub::new(|form| healthy(form, "eni-b")).await;
    assert_eq!(cloud(&stub).await.preflight().await, Vec::<String>::new());
    // Then the exact calls were tried, for each address,
    let tried = stub.requests("AssociateAddress");
    assert_eq!(tried.len(), 2);
    for form in &tried {
        assert!(is_dry(form));
        assert_eq!(form["NetworkInterfaceId"], "eni-a");
        assert_eq!(form["AllowReassociation"], "true");
    }
    let ended = stub.requests("DisassociateAddress");
    assert_eq!(ended.len(), 2);
    assert!(ended.iter().all(|form| is_dry(form) && form["AssociationId"] == "eipassoc-1"));
}

#[tokio::test]
async fn an_address_of_nobody_needs_no_disassociation() {
    let stub = Stub::new(|form| healthy(form, "")).await;
    assert_eq!(cloud(&stub).await.preflight().await, Vec::<String>::new());
    assert!(stub.requests("DisassociateAddress").is_empty());
}

#[tokio::test]
async fn a_missing_permission_is_named() {
    let found = problems(|form| match &*form["Action"] {
        "DisassociateAddress" => error(403, "UnauthorizedOperation"),
        _ => healthy(form, "eni-b"),
    });
    let found = found.await;
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].contains("allow ec2:DisassociateAddress"), "{found:?}");
}

#[tokio::test]
async fn the_wrong_allocation_id_is_named() {
    let found = problems(|form| match &*form["Action"] {
        "DescribeAddresses" if form.values().any(|id| id == "eipalloc-2") => {
            error(400, "InvalidAllocationID.NotFound")
        }
        _ => healthy(form, "eni-b"),
    });
    let found = found.await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("eipalloc-2") && !found[0].contains("eipalloc-1"), "{found:?}");
}

#[tokio::test]
async fn a_holder_outside_the_cluster_is_named() {
    let found = problems(|form| healthy(form, "eni-z")).await;
    assert!(found[0].contains("held by eni-z"), "{found:?}");
}

#[tokio::test]
async fn an_unknown_holder_may_be_a_peer_whose_ids_are_not_known() {
    let stub = Stub::new(|form| healthy(form, "eni-z")).await;
    let mut settings = settings(&stub.url);
    settings.cluster.nodes[1].network_interface_id = None;
    let cloud = Cloud::connect(settings, Arc::new(())).await.unwrap();
    assert!(cloud.settled(10 * SECOND).await);
    assert_eq!(cloud.preflight().await, Vec::<String>::new());
}

#[tokio::test]
async fn one_cause_is_said_once() {
    for (reply, word) in [
        (Reply::Hang, "does not answer DescribeAddresses within 1s"),
        (Reply::Close, "endpoint_url"),
        (error(401, "AuthFailure"), "credentials (AuthFailure)"),
        (error(503, "RequestLimitExceeded"), "throttles"),
    ] {
        let found = problems(move |_| reply.clone()).await;
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains(word), "{found:?}");
        assert!(found[0].ends_with('.'), "{found:?}");
    }
}

#[tokio::test]
async fn an_interface_of_another_instance_and_a_way_out_that_moves_are_seen() {
    let interface = "<networkInterfaceSet><item><networkInterfaceId>eni-a</networkInterfaceId>\
         <attachment><instanceId>i-other</instanceId></attachment></item></networkInterfaceSet>";
    let found = problems(move |form| match &*form["Action"] {
        "DescribeNetworkInterfaces" => ok("DescribeNetworkInterfaces", interface),
        _ => healthy(form, "eni-b"),
    });
    let found = found.await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("belongs to i-other") && found[0].contains("i-a"), "{found:?}");
}

#[tokio::test]
async fn a_node_that_holds_nothing_has_nothing_to_try() {
    let stub = Stub::new(|_| Reply::Close).await;
    let mut settings = settings(&stub.url);
    settings.cluster.groups[0].mine = false;
    let cloud = Cloud::connect(settings, Arc::new(())).await.unwrap();
    assert_eq!(cloud.preflight().await, Vec::<String>::new());
}

#[tokio::test]
async fn the_loop_tells_the_core() {
    let stub = Stub::new(|form| healthy(form, "eni-z")).await;
    let cloud = cloud(&stub).await;
    let (inputs, mut told) = mpsc::channel(4);
    let running = tokio::spawn(run_preflight(cloud, inputs));
    let first = tokio::time::timeout(10 * SECOND, told.recv()).await.unwrap();
    let Some(Input::Preflight { problems }) = first else { panic!("{first:?}") };
    assert!(!problems.is_empty());
    running.abort();
}

#[tokio::test]
async fn a_denied_call_is_followed_by_a_preflight_at_once() {
    let allowed = Arc::new(AtomicBool::new(true));
    let permission = Arc::clone(&allowed);
    let stub = Stub::new(move |form| match &*form["Action"] {
        "AssociateAddress" if !permission.load(Ordering::Relaxed) => {
            error(403, "UnauthorizedOperation")
        }
        _ => healthy(form, "eni-b"),
    });
    let stub = stub.await;
    let cloud = cloud(&stub).await;
    // Given a node that has just proven that it could take over,
    let (inputs, mut told) = mpsc::channel(4);
    let running = tokio::spawn(run_preflight(cloud.clone(), inputs));
    let first = tokio::time::timeout(10 * SECOND, told.recv()).await.unwrap();
    assert!(matches!(&first, Some(Input::Preflight { problems }) if problems.is_empty()));
    // when its claim is denied all the same,
    allowed.store(false, Ordering::Relaxed);
    cloud.execute(associate(true), &clock()).await;
    // then the core is told long before the next minute.
    let second = tokio::time::timeout(10 * SECOND, told.recv()).await.unwrap();
    assert!(matches!(&second, Some(Input::Preflight { problems }) if !problems.is_empty()));
    running.abort();
}
