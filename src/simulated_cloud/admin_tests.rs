//! The admin paths, as a person with curl uses them.

use axum::body::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};

use super::{Adopt, Options, SimulatedCloud};

async fn cloud() -> SimulatedCloud {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let options = Options { adopt: Adopt::ALL, ..Options::default() };
    SimulatedCloud::start(listener, options).unwrap()
}

async fn send(
    cloud: &SimulatedCloud,
    method: Method,
    path: &str,
    body: &str,
) -> (StatusCode, String) {
    let stream = TcpStream::connect(cloud.address()).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "localhost")
        .body(Full::new(Bytes::copy_from_slice(body.as_bytes())))
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

async fn json(cloud: &SimulatedCloud, method: Method, path: &str, body: &str) -> Value {
    let (status, text) = send(cloud, method, path, body).await;
    assert_eq!(status, StatusCode::OK, "{text}");
    serde_json::from_str(&text).unwrap()
}

#[tokio::test]
async fn faults_are_put_patched_and_deleted() {
    let cloud = cloud().await;
    let path = "/_vipward/faults";
    let put = json(&cloud, Method::PUT, path, r#"{"latency":"5ms","error_rate":0.5}"#).await;
    assert_eq!(put, json!({"latency": "5ms", "error_rate": 0.5}));
    let patch = r#"{"error_rate":null,"stale_reads":"2s"}"#;
    json(&cloud, Method::PATCH, path, patch).await;
    let shown = json(&cloud, Method::GET, path, "").await;
    assert_eq!(shown, json!({"latency": "5ms", "stale_reads": "2s"}));
    let (status, text) = send(&cloud, Method::PUT, path, r#"{"latancy":"5ms"}"#).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(text.contains("latancy"), "{text}");
    assert_eq!(json(&cloud, Method::GET, path, "").await, shown);
    assert_eq!(json(&cloud, Method::DELETE, path, "").await, json!({}));
}

#[tokio::test]
async fn resources_holders_and_the_record_are_shown() {
    let cloud = cloud().await;
    let resources = r#"{"allocations":[{"id":"eipalloc-0web","public_ip":"198.51.100.10"}],
        "interfaces":[{"id":"eni-a","instance":"i-a","private_ips":["10.0.1.10"]}]}"#;
    json(&cloud, Method::POST, "/_vipward/resources", resources).await;
    // An unsigned call in the query string: enough for a person with curl.
    let call = "/?Action=AssociateAddress&AllocationId=eipalloc-0web&NetworkInterfaceId=eni-a";
    let (status, xml) = send(&cloud, Method::GET, call, "").await;
    assert_eq!(status, StatusCode::OK, "{xml}");
    let holders = json(&cloud, Method::GET, "/_vipward/holders", "").await;
    let held = &holders["eipalloc-0web"];
    assert_eq!(held["public_ip"], "198.51.100.10");
    assert_eq!(held["association"]["interface"], "eni-a");
    assert_eq!(held["association"]["instance"], "i-a");
    let record = json(&cloud, Method::GET, "/_vipward/record", "").await;
    let entry = &record["calls"][0];
    assert_eq!(entry["action"], "AssociateAddress");
    assert_eq!(entry["parameters"]["NetworkInterfaceId"], "eni-a");
    assert_eq!(entry["outcome"], "done");
    assert_eq!(entry["answer"], "ok");
    assert_eq!(entry["association_id"], held["association"]["id"]);
    assert_eq!(entry["landed"]["boot_ns"], held["since"]["boot_ns"]);
    assert!(entry["landed"]["at"].as_str().unwrap().ends_with('Z'));
    assert!(xml.contains(entry["request_id"].as_str().unwrap()), "{xml}");
    let shown = json(&cloud, Method::GET, "/_vipward/resources", "").await;
    assert_eq!(shown["interfaces"][0]["private_ips"], json!(["10.0.1.10"]));
    let other = r#"{"allocations":[{"id":"eipalloc-0web","public_ip":"198.51.100.11"}]}"#;
    let (status, text) = send(&cloud, Method::POST, "/_vipward/resources", other).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(text.contains("198.51.100.10"), "{text}");
}

#[tokio::test]
async fn what_is_no_call_is_refused() {
    let cloud = cloud().await;
    let (status, _) = send(&cloud, Method::DELETE, "/", "").await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
    let (status, _) = send(&cloud, Method::POST, "/", &"x".repeat(2_000_000)).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    let (status, _) = send(&cloud, Method::GET, "/_vipward/nothing", "").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let (status, xml) = send(&cloud, Method::POST, "/", "\u{0}=&&==%ff").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(xml.contains("MissingParameter"), "{xml}");
}
