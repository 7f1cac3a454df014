//! The command `simulated-cloud`, as a process.

use rustix::process::Signal;
use serde_json::json;

use crate::fixture::{ALLOCATION, Cloud, Network, get, request, vipward};

fn start() -> (tempfile::TempDir, Cloud) {
    let directory = tempfile::tempdir().unwrap();
    let at = Network::draw().at(100, 4566);
    let cloud = Cloud::start(at, directory.path(), &[]);
    (directory, cloud)
}

fn ask(cloud: &Cloud, query: &str) -> (u16, String) {
    let form = ("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned());
    let body = format!("Version=2016-11-15&{query}");
    let reply = request(cloud.at, "POST", "/", &[form], body.as_bytes()).unwrap();
    (reply.status, reply.text())
}

#[test]
fn it_answers_and_its_faults_change_while_it_runs() {
    let (_directory, mut cloud) = start();
    let associate =
        format!("Action=AssociateAddress&AllocationId={ALLOCATION}&NetworkInterfaceId=eni-0aaa");
    let (status, told) = ask(&cloud, &associate);
    assert!(status == 200 && told.contains("<associationId>eipassoc-"), "{told}");
    assert_eq!(cloud.holder().as_deref(), Some("eni-0aaa"));

    cloud.faults(&json!({"deny": ["AssociateAddress"]}));
    let (status, told) = ask(&cloud, &associate);
    assert!(status == 403 && told.contains("UnauthorizedOperation"), "{told}");
    let wrong =
        request(cloud.at, "PUT", "/_vipward/faults", &[], b"{\"latencyy\":\"1s\"}").unwrap();
    assert_eq!(wrong.status, 400);
    assert!(wrong.text().contains("latencyy"), "{wrong:?}");
    assert_eq!(get(cloud.at, "/_vipward/faults").unwrap().json()["deny"][0], "AssociateAddress");
    cloud.no_faults();
    assert_eq!(ask(&cloud, &associate).0, 200);

    let record = cloud.record();
    let outcomes: Vec<_> = record.iter().map(|call| call["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["done", "refused", "done"]);
    assert!(cloud.process.said().contains(&format!("simulated cloud at http://{}", cloud.at)));
    cloud.process.signal(Signal::TERM);
    assert_eq!(cloud.process.wait_end(), Some(0));
}

#[test]
fn a_port_in_use_is_one_sentence() {
    let (_directory, cloud) = start();
    let ran = vipward(["simulated-cloud", "--listen", &cloud.at.to_string()]).exits(1);
    let sentence = ran.sentence();
    assert!(sentence.contains(&cloud.at.to_string()) && sentence.contains("in use"), "{sentence}");
    assert!(sentence.contains("choose another address"), "{sentence}");
}
