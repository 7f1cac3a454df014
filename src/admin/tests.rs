use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use vipward_core::{RoleName, Status};

use super::document::tests::{document, status};
use super::*;

const PATIENCE: Duration = Duration::from_secs(10);

/// A runtime that answers with `status`, or with nothing.
fn handle(status: Option<Status>) -> Handle {
    let (asks, mut asked) = mpsc::channel(8);
    tokio::spawn(async move {
        let mut unanswered = Vec::new();
        while let Some(ask) = asked.recv().await {
            match (ask, &status) {
                (Ask::Status { reply }, Some(status)) => {
                    let _ = reply.send(document(status));
                }
                (Ask::Order { order, reply }, _) => {
                    let outcome = match order {
                        Order::Switchover(order) => match order.to.as_deref() {
                            Some("lb-b") => Ok("lb-b leads web".to_owned()),
                            Some(_) | None => Err("no eligible successor".to_owned()),
                        },
                        Order::Maintenance(order) => Ok(format!("{order:?}")),
                        Order::Admit(order) => Ok(format!("{order:?}")),
                    };
                    let _ = reply.send(outcome);
                }
                (Ask::Diff { node, reply }, _) => {
                    let _ = reply.send(Err(format!("{node} is not heard")));
                }
                (Ask::Check { reply }, _) => {
                    let _ = reply.send(CheckReport::default());
                }
                (ask @ Ask::Status { .. }, None) => unanswered.push(ask),
            }
        }
    });
    let events: EventSource = Arc::new(|query| {
        if query.since.as_deref() == Some("yesterday") {
            return Err("yesterday is no time".to_owned());
        }
        let (lines, reader) = mpsc::channel(8);
        let after = query.after.as_deref().and_then(|id| id.strip_prefix('n')?.parse().ok());
        let (follow, after) = (query.follow, after.unwrap_or(0));
        tokio::spawn(async move {
            for seq in after + 1..=2_u64 {
                let line = format!("{{\"seq\":{seq}}}");
                let _ = lines.send((format!("n{seq}"), Arc::from(line))).await;
            }
            if follow {
                lines.closed().await;
            }
        });
        Ok(reader)
    });
    Handle { asks, events, metrics: Arc::new(|| "vipward_term 1\n".to_owned()) }
}

/// A public server; asks it once and returns the whole answer.
async fn ask(status: Option<Status>, request: &str) -> String {
    let listener = bind_tcp("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let server = tokio::spawn(serve_tcp(listener, public_routes(handle(status)), stop.clone()));
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("{request}\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let all = stream.read_to_end(&mut answer);
    tokio::time::timeout(PATIENCE, all).await.unwrap().unwrap();
    stop.cancel();
    server.await.unwrap();
    String::from_utf8(answer).unwrap()
}

async fn get(status: Option<Status>, path: &str) -> String {
    ask(status, &format!("GET {path} HTTP/1.1")).await
}

#[tokio::test]
async fn health_and_readiness() {
    assert!(get(Some(status()), "/healthz").await.starts_with("HTTP/1.1 200"));
    let unready = get(Some(status()), "/readyz").await;
    assert!(unready.starts_with("HTTP/1.1 503") && unready.contains("no credentials"), "{unready}");
    let good = Status { preflight_problems: Vec::new(), ..status() };
    assert!(get(Some(good), "/readyz").await.starts_with("HTTP/1.1 200"));
    // The loop does not turn.
    assert!(get(None, "/healthz").await.starts_with("HTTP/1.1 503"));
    assert!(get(None, "/v1/status").await.starts_with("HTTP/1.1 503"));
}

#[tokio::test]
async fn the_master_answers_for_its_group() {
    let role = |role, lease| {
        let mut status = status();
        status.groups[0].role = role;
        status.groups[0].lease_left = Duration::from_millis(lease);
        Some(status)
    };
    for (status, code, shown) in [
        (role(RoleName::Master, 5_000), 200, "master"),
        (role(RoleName::Master, 0), 200, "holding"),
        (role(RoleName::Holding, 0), 200, "holding"),
        (role(RoleName::Backup, 0), 503, "backup"),
        (role(RoleName::Candidate, 0), 503, "candidate"),
        (role(RoleName::None, 0), 503, "none"),
    ] {
        let answer = get(status, "/v1/groups/web/master").await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {code}")), "{answer}");
        assert!(answer.contains(&format!("x-vipward-role: {shown}\r\n")), "{answer}");
    }
    let unknown = get(Some(status()), "/v1/groups/mail/master").await;
    assert!(unknown.starts_with("HTTP/1.1 404"), "{unknown}");
}

#[tokio::test]
async fn status_metrics_and_page() {
    let answer = get(Some(status()), "/v1/status").await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("application/json"), "{head}");
    assert_eq!(serde_json::from_str::<StatusDocument>(body).unwrap(), document(&status()));
    let answer = get(Some(status()), "/metrics").await;
    assert!(answer.contains("text/plain; version=0.0.4") && answer.ends_with("vipward_term 1\n"));
    let page = get(Some(status()), "/").await;
    assert!(page.contains("content-security-policy: default-src 'none'"));
    let (_, page) = page.split_once("\r\n\r\n").unwrap();
    assert!(page.contains("<meta charset=\"utf-8\">"));
    assert!(!page.contains("innerHTML") && !page.contains("http://") && !page.contains("https://"));
}

#[tokio::test]
async fn everybody_may_only_read() {
    for request in [
        "POST /v1/switchover HTTP/1.1",
        "POST /v1/status HTTP/1.1",
        "DELETE /v1/events HTTP/1.1",
        "GET /v1/check HTTP/1.1",
        "GET /nothing HTTP/1.1",
        "nonsense",
    ] {
        let answer = ask(Some(status()), request).await;
        assert!(answer.starts_with("HTTP/1.1 4"), "{request}: {answer}");
    }
}

#[tokio::test]
async fn events_are_server_sent() {
    let listener = bind_tcp("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    tokio::spawn(serve_tcp(listener, public_routes(handle(None)), stop.clone()));
    let text = until(address, "", "id: n2\ndata: {\"seq\":2}\n\n").await;
    assert!(text.contains("content-type: text/event-stream"), "{text}");
    assert!(text.contains("id: n1\ndata: {\"seq\":1}\n\n"), "{text}");
    // A reader that was cut off says what it has, and gets the rest.
    let text = until(address, "Last-Event-ID: n1\r\n", "id: n2\ndata: {\"seq\":2}\n\n").await;
    assert!(!text.contains("id: n1\n"), "{text}");
    // One that has all gets nothing but a sign that the daemon lives.
    let text = until(address, "Last-Event-ID: n2\r\n", ":\n\n").await;
    assert!(!text.contains("data:"), "{text}");
    let text = until(address, "Last-Event-ID: x\r\n", "id: n2\n").await;
    assert!(text.contains("id: n1\n"), "{text}");
    let wrong = get(None, "/v1/events?since=yesterday").await;
    assert!(wrong.starts_with("HTTP/1.1 400") && wrong.contains("no time"), "{wrong}");
    stop.cancel();
}

/// What a reader of server-sent events has when a text has come.
async fn until(address: SocketAddr, header: &str, wanted: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET /v1/events HTTP/1.1\r\nHost: x\r\n{header}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    while !text.contains(wanted) {
        let mut bytes = [0; 1024];
        let read = tokio::time::timeout(PATIENCE, stream.read(&mut bytes)).await.unwrap().unwrap();
        assert!(read > 0, "{text}");
        text.push_str(std::str::from_utf8(&bytes[..read]).unwrap());
    }
    text
}

#[tokio::test]
async fn readers_of_events_that_do_not_read_cost_little_and_hold_nobody_up() {
    // Given a journal that has very much to tell, and counts what it got rid of by reader,
    let taken: Arc<Mutex<Vec<u64>>> = Arc::default();
    let events: EventSource = Arc::new({
        let taken = Arc::clone(&taken);
        move |_| {
            let (lines, reader) = mpsc::channel(8);
            let taken = Arc::clone(&taken);
            let place = taken.lock().unwrap().len();
            taken.lock().unwrap().push(0);
            tokio::spawn(async move {
                let line: Arc<str> = "x".repeat(1000).into();
                for seq in 1.. {
                    if lines.send((String::new(), Arc::clone(&line))).await.is_err() {
                        taken.lock().unwrap()[place] = 0; // The reader is gone.
                        return;
                    }
                    taken.lock().unwrap()[place] = seq;
                }
            });
            Ok(reader)
        }
    });
    let listener = bind_tcp("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let handle = Handle { events, ..handle(Some(status())) };
    tokio::spawn(serve_tcp(listener, public_routes(handle), stop.clone()));
    let ask = || async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        stream
    };
    // when some do not read,
    let mut lazy = Vec::new();
    for _ in 0..15 {
        lazy.push(ask().await);
    }
    let all = |taken: &[u64]| taken.len() == 15 && taken.iter().all(|lines| *lines > 0);
    let mut before = Vec::new();
    let quiet = async {
        // until each has as much as the sockets take,
        loop {
            let now = taken.lock().unwrap().clone();
            if all(&now) && now == before {
                return;
            }
            before = now;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, quiet).await.unwrap();
    // then the daemon keeps little of it: the kernel's buffers are the most.
    assert!(taken.lock().unwrap().iter().all(|lines| *lines < 16_000), "{taken:?}");
    // Who reads is served as ever; who comes beyond the limit is refused; the rest goes on.
    let mut busy = ask().await;
    let mut bytes = vec![0; 1 << 20];
    let mut read = 0;
    while read < 20 << 20 {
        read += tokio::time::timeout(PATIENCE, busy.read(&mut bytes)).await.unwrap().unwrap();
    }
    let mut refused = ask().await;
    let length = refused.read(&mut bytes).await.unwrap();
    let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
    assert!(text.starts_with("HTTP/1.1 503") && text.contains("too many streams"), "{text}");
    // Who goes away makes room.
    drop(lazy);
    let room = async {
        while taken.lock().unwrap().iter().filter(|lines| **lines > 0).count() > 1 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, room).await.unwrap();
    stop.cancel();
}

/// Starts an operators' server and returns a client of it.
async fn operators(path: &Path, status: Option<Status>, stop: &CancellationToken) -> Client {
    let socket = bind_unix(path).await.unwrap();
    tokio::spawn(serve_unix(socket, operator_routes(handle(status)), stop.clone()));
    Client::new(path)
}

#[tokio::test]
async fn operators_ask_and_order() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run/admin.sock");
    let stop = CancellationToken::new();
    let client = operators(&path, Some(status()), &stop).await;
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);

    assert_eq!(client.status().await.unwrap(), document(&status()));
    assert_eq!(client.check().await.unwrap(), CheckReport::default());
    assert_eq!(client.metrics().await.unwrap(), "vipward_term 1\n");
    let switchover = |to: &str| {
        let (group, to) = ("web".to_owned(), Some(to.to_owned()));
        Order::Switchover(SwitchoverOrder { group, to, force: false })
    };
    assert_eq!(client.order(&switchover("lb-b")).await.unwrap(), "lb-b leads web");
    let refused = client.order(&switchover("lb-c")).await.unwrap_err();
    assert_eq!((refused.to_string().as_str(), refused.exit_code()), ("no eligible successor", 1));
    for order in [
        Order::Maintenance(MaintenanceOrder { node: Some("lb-b".to_owned()), on: true }),
        Order::Admit(AdmitOrder { node: "lb-b".to_owned() }),
    ] {
        let told = client.order(&order).await.unwrap();
        assert!(format!("{order:?}").contains(&told), "{told}");
    }
    let refused = client.diff("lb b?").await.unwrap_err();
    assert_eq!((refused.to_string().as_str(), refused.exit_code()), ("lb b? is not heard", 1));

    let mut lines = client.events(&EventQuery::default()).await.unwrap();
    assert_eq!(lines.next().await.unwrap().as_deref(), Some(r#"{"seq":1}"#));
    assert_eq!(lines.next().await.unwrap().as_deref(), Some(r#"{"seq":2}"#));
    assert_eq!(lines.next().await.unwrap(), None);
    let since = Some("yesterday".to_owned());
    let wrong =
        client.events(&EventQuery { since, follow: true, after: None }).await.err().unwrap();
    assert_eq!((wrong.to_string().as_str(), wrong.exit_code()), ("yesterday is no time", 1));

    // A daemon that goes away ends a stream with an error.
    let mut lines =
        client.events(&EventQuery { follow: true, ..EventQuery::default() }).await.unwrap();
    let _ = lines.next().await.unwrap();
    let _ = lines.next().await.unwrap();
    stop.cancel();
    let gone = tokio::time::timeout(PATIENCE, lines.next()).await.unwrap().unwrap_err();
    assert_eq!(gone.exit_code(), 3);
}

#[tokio::test]
async fn no_daemon_is_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("admin.sock");
    let missing = Client::new(&path).status().await.unwrap_err();
    assert_eq!(missing.exit_code(), 3);
    assert!(missing.to_string().contains("admin.sock"), "{missing}");
    // A socket that nobody listens on.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert_eq!(Client::new(&path).status().await.unwrap_err().exit_code(), 3);
    // It is replaced at the next start; then its loop does not turn.
    let stop = CancellationToken::new();
    let client = operators(&path, None, &stop).await;
    assert_eq!(client.status().await.unwrap_err().exit_code(), 3);
    // A second daemon is refused.
    assert!(matches!(bind_unix(&path).await, Err(AdminError::InUse(_))));
    stop.cancel();
}

#[tokio::test]
async fn a_socket_replaces_no_file_and_goes_with_its_daemon() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("admin.sock");
    std::fs::write(&path, "precious").unwrap();
    assert!(matches!(bind_unix(&path).await, Err(AdminError::NoSocket(_))));
    std::fs::remove_file(&path).unwrap();
    let socket = bind_unix(&path).await.unwrap();
    drop(socket);
    assert!(!path.exists());
    let long = dir.path().join("x".repeat(120));
    let refused = bind_unix(&long).await.unwrap_err().to_string();
    assert!(refused.contains("admin.socket"), "{refused}");
}

#[tokio::test]
async fn what_is_too_much_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("admin.sock");
    let stop = CancellationToken::new();
    let client = operators(&path, Some(status()), &stop).await;
    let order = SwitchoverOrder { group: "x".repeat(100_000), to: None, force: false };
    let order = Order::Switchover(order);
    assert_eq!(client.order(&order).await.unwrap_err().exit_code(), 1);
    // So many streams, and no more; the rest goes on.
    let query = EventQuery { follow: true, ..EventQuery::default() };
    let mut streams = Vec::new();
    for _ in 0..16 {
        streams.push(client.events(&query).await.unwrap());
    }
    assert!(client.events(&query).await.is_err());
    assert!(client.status().await.is_ok());
    stop.cancel();
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let taken = bind_tcp("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = taken.local_addr().unwrap();
    let refused = bind_tcp(address).await.unwrap_err().to_string();
    assert!(
        refused.contains(&address.to_string()) && refused.contains("admin.listen"),
        "{refused}"
    );
}
