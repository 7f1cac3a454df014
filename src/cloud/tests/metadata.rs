//! Ids and hints from instance metadata.

use std::sync::Mutex;

use super::super::metadata::Metadata;
use super::*;

const MAC: &str = "02:00:00:00:00:01";

/// Metadata with these public addresses; silent while there are none to tell.
pub(super) async fn metadata(public: Arc<Mutex<Option<String>>>) -> Stub {
    Stub::new(move |form| {
        let Some(public) = public.lock().unwrap().clone() else {
            return Reply::Answer(500, String::new());
        };
        let path = form["Action"].trim_start_matches("/latest/").to_owned();
        let value = match &*path {
            "api/token" => "token".to_owned(),
            "meta-data/instance-id" => "i-a".to_owned(),
            "meta-data/mac" => MAC.to_owned(),
            path if path.ends_with("/interface-id") && path.contains(MAC) => "eni-a".to_owned(),
            path if path.ends_with("/public-ipv4s") && !public.is_empty() => public,
            _ => return Reply::Answer(404, String::new()),
        };
        Reply::Answer(200, value)
    })
    .await
}

#[tokio::test]
async fn ids_come_from_metadata_as_soon_as_it_answers_and_addresses_that_move_are_hinted_at() {
    let public = Arc::new(Mutex::new(None));
    let metadata = metadata(Arc::clone(&public)).await;
    let ec2 = Stub::new(|form| healthy(form, "eni-b")).await;
    // Given a node whose ids the file does not give, while metadata is down,
    let mut settings = settings(&ec2.url);
    settings.cluster.nodes[0] = NodeIds { may_hold: true, ..NodeIds::default() };
    let cloud = Cloud::start(settings, Some(Metadata::at(&metadata.url)), Arc::new(()));
    assert!(!cloud.settled(Duration::from_millis(200)).await);
    let problems = cloud.preflight().await;
    assert!(problems[0].contains("set its network_interface_id"), "{problems:?}");
    // when metadata recovers,
    *public.lock().unwrap() = Some(String::new());
    // then the ids are known.
    assert!(cloud.settled(10 * SECOND).await);
    assert_eq!(cloud.own_interface_id().as_deref(), Some("eni-a"));
    assert_eq!(cloud.own_instance_id().as_deref(), Some("i-a"));
    let ended = cloud.execute(associate(true), &clock()).await;
    assert!(matches!(ended.outcome, CallOutcome::Ok(_)), "{ended:?}");
    assert_eq!(ec2.requests("AssociateAddress")[0]["NetworkInterfaceId"], "eni-a");
    // When an address comes, and when metadata only fails and recovers,
    let (inputs, mut told) = mpsc::channel(4);
    let watching = tokio::spawn(run_metadata_hint(cloud, inputs));
    let read = || {
        metadata
            .requests(&format!("/latest/meta-data/network/interfaces/macs/{MAC}/public-ipv4s"))
            .len()
    };
    let wait = async {
        while read() < 1 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(10 * SECOND, wait).await.unwrap();
    assert!(told.try_recv().is_err());
    *public.lock().unwrap() = Some("198.51.100.10".to_owned());
    // then there is one hint.
    let hint = tokio::time::timeout(10 * SECOND, told.recv()).await.unwrap();
    assert_eq!(hint, Some(Input::OwnershipHint { group: GroupId(0) }));
    watching.abort();
}

#[tokio::test]
async fn secondary_addresses_that_move_are_hinted_at() {
    // Given metadata that shows which private addresses this node has,
    let local = Arc::new(Mutex::new("10.0.1.10".to_owned()));
    let shown = Arc::clone(&local);
    let metadata = Stub::new(move |form| {
        let path = form["Action"].as_str();
        let value = match path.trim_start_matches("/latest/") {
            "api/token" => "token".to_owned(),
            "meta-data/mac" => MAC.to_owned(),
            path if path.ends_with("/local-ipv4s") => shown.lock().unwrap().clone(),
            _ => return Reply::Answer(404, String::new()),
        };
        Reply::Answer(200, value)
    });
    let metadata = metadata.await;
    let ec2 = Stub::new(|_| Reply::Close).await;
    let mut settings = secondary::settings(&ec2.url);
    // and a group without such addresses beside the one that has them,
    settings.cluster.groups.insert(0, super::settings(&ec2.url).cluster.groups.remove(0));
    let cloud = Cloud::start(settings, Some(Metadata::at(&metadata.url)), Arc::new(()));
    let (inputs, mut told) = mpsc::channel(4);
    let watching = tokio::spawn(run_metadata_hint(cloud, inputs));
    let path = format!("/latest/meta-data/network/interfaces/macs/{MAC}/local-ipv4s");
    warm::until(|| !metadata.requests(&path).is_empty()).await;
    assert!(told.try_recv().is_err());
    // when another comes, then there is a hint for the group that has them.
    local.lock().unwrap().push_str("\n10.0.1.50");
    let hint = tokio::time::timeout(10 * SECOND, told.recv()).await.unwrap();
    assert_eq!(hint, Some(Input::OwnershipHint { group: GroupId(1) }));
    watching.abort();
}
