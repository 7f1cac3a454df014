use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

const PATIENCE: Duration = Duration::from_secs(10);

async fn verdict(kind: CheckKind, limit: Duration) -> Result<(), Failure> {
    match timeout(limit, Runner::new(kind).attempt()).await {
        Ok(verdict) => verdict,
        Err(_) => Err(Failure::Timeout(limit)),
    }
}

/// A server that answers one request with `answer`, byte for byte.
async fn server(answer: &'static str) -> HttpTarget {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = format!("http://{}/healthz?x=1", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = [0; 1024];
        let read = stream.read(&mut head).await.unwrap();
        assert!(head[..read].starts_with(b"GET /healthz?x=1 HTTP/1.1\r\n"));
        stream.write_all(answer.as_bytes()).await.unwrap();
        // A server that is silent keeps the connection.
        if answer.is_empty() {
            std::future::pending::<()>().await;
        }
    });
    target.parse().unwrap()
}

#[tokio::test]
async fn http_passes_on_success_and_redirection() {
    for (answer, passes) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", true),
        ("HTTP/1.1 204 No Content\r\n\r\n", true),
        ("HTTP/1.1 301 Moved\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", true),
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", false),
        ("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", false),
        ("not http at all\r\n\r\n", false),
    ] {
        let target = server(answer).await;
        let verdict = verdict(CheckKind::Http(target), PATIENCE).await;
        assert_eq!(verdict.is_ok(), passes, "{answer:?}: {verdict:?}");
    }
}

#[tokio::test]
async fn http_silence_is_a_timeout_and_refusal_a_failure() {
    let limit = Duration::from_millis(50);
    let silent = server("").await;
    let verdict_of_silence = verdict(CheckKind::Http(silent), limit).await;
    assert!(matches!(verdict_of_silence, Err(Failure::Timeout(_))), "{verdict_of_silence:?}");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    assert!(verdict(CheckKind::Tcp(address.to_string()), PATIENCE).await.is_ok());
    drop(listener);
    assert!(verdict(CheckKind::Tcp(address.to_string()), PATIENCE).await.is_err());
    let target = format!("http://{address}").parse().unwrap();
    assert!(verdict(CheckKind::Http(target), PATIENCE).await.is_err());
}

#[test]
fn urls() {
    for (text, shown) in [
        ("http://127.0.0.1:80/healthz", Some("http://127.0.0.1:80/healthz")),
        ("http://localhost", Some("http://localhost/")),
        ("http://[::1]:8080/a?b", Some("http://[::1]:8080/a?b")),
        ("https://localhost/", None),
        ("localhost:80", None),
        ("/healthz", None),
        ("http://user@host/", None),
        ("", None),
    ] {
        let target = text.parse::<HttpTarget>();
        assert_eq!(target.ok().map(|target| target.to_string()).as_deref(), shown, "{text}");
    }
}

fn argv(words: &[&str]) -> CheckKind {
    CheckKind::Command(words.iter().map(ToString::to_string).collect())
}

#[tokio::test]
async fn a_commands_exit_status_counts() {
    assert!(verdict(argv(&["true"]), PATIENCE).await.is_ok());
    assert!(matches!(verdict(argv(&["false"]), PATIENCE).await, Err(Failure::Exit(_))));
    assert!(matches!(verdict(argv(&["/gone"]), PATIENCE).await, Err(Failure::Io(_))));
    // No shell: a metacharacter is a character; output however long is dropped.
    assert!(verdict(argv(&["test", "$HOME", "=", "$HOME"]), PATIENCE).await.is_ok());
    assert!(verdict(argv(&["head", "-c", "9000000", "/dev/zero"]), PATIENCE).await.is_ok());
    // Standard input is empty.
    assert!(verdict(argv(&["cat"]), PATIENCE).await.is_ok());
}

#[tokio::test]
async fn a_command_that_hangs_dies_with_its_children() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pid");
    let script = format!("sleep 1000 & echo $! > {}; wait", file.display());
    let slow = verdict(argv(&["sh", "-c", &script]), Duration::from_millis(300)).await;
    assert!(matches!(slow, Err(Failure::Timeout(_))), "{slow:?}");
    let pid = std::fs::read_to_string(&file).unwrap();
    let stat = format!("/proc/{}/stat", pid.trim());
    let gone = async {
        // Gone, or a zombie that nobody has reaped here.
        while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z")) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, gone).await.unwrap();
}

#[tokio::test]
async fn a_check_that_hangs_delays_no_other() {
    let check = |kind, limit| Check {
        name: "x".to_owned(),
        kind,
        interval: Duration::from_millis(10),
        timeout: limit,
    };
    let checks = vec![
        check(argv(&["sleep", "1000"]), Duration::from_secs(1000)),
        check(argv(&["true"]), PATIENCE),
    ];
    let (inputs, mut verdicts) = mpsc::channel(8);
    let stop = CancellationToken::new();
    let reasons = Reasons::default();
    let running = tokio::spawn(run(Settings { checks }, inputs, reasons, stop.clone()));
    for _ in 0..3 {
        let verdict = timeout(PATIENCE, verdicts.recv()).await.unwrap();
        assert_eq!(verdict, Some(Input::CheckResult { check: CheckId(1), passed: true }));
    }
    stop.cancel();
    timeout(PATIENCE, running).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_process_is_found_by_its_name() {
    let comm = std::fs::read_to_string("/proc/self/comm").unwrap();
    let name = comm.trim_end().to_owned();
    assert!(verdict(CheckKind::Process(name), PATIENCE).await.is_ok());
    let none = verdict(CheckKind::Process("no-such-process".to_owned()), PATIENCE).await;
    assert!(matches!(none, Err(Failure::NoProcess)), "{none:?}");
}

#[tokio::test]
async fn why_a_check_fails_is_known_when_its_verdict_comes() {
    let check = |kind| Check {
        name: "x".to_owned(),
        kind,
        interval: Duration::from_millis(10),
        timeout: PATIENCE,
    };
    let dir = tempfile::tempdir().unwrap();
    let flag = dir.path().join("flag");
    let checks = vec![check(argv(&["test", "-e", flag.to_str().unwrap()]))];
    let (inputs, mut verdicts) = mpsc::channel(1);
    let (reasons, stop) = (Reasons::default(), CancellationToken::new());
    let running = tokio::spawn(run(Settings { checks }, inputs, reasons.clone(), stop.clone()));
    for passes in [false, true] {
        loop {
            let verdict = timeout(PATIENCE, verdicts.recv()).await.unwrap();
            if verdict == Some(Input::CheckResult { check: CheckId(0), passed: passes }) {
                break;
            }
        }
        if !passes {
            let reason = reasons.of(CheckId(0)).unwrap_or_default();
            assert_eq!(reason, "the program ended with exit status: 1");
            std::fs::write(&flag, "").unwrap();
        }
    }
    // One verdict may wait in the queue, so the reason is gone by the next at the latest.
    timeout(PATIENCE, verdicts.recv()).await.unwrap();
    assert_eq!(reasons.of(CheckId(0)), None);
    stop.cancel();
    timeout(PATIENCE, running).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_command_finds_nothing_of_the_daemons_environment_but_its_path() {
    assert!(std::env::vars().count() > 2, "the test itself has none");
    let lines =
        "test \"$(env | grep -cvE '^(PATH|PWD|SHLVL|_|OLDPWD)=')\" = 0 && test -n \"$PATH\"";
    assert!(verdict(argv(&["sh", "-c", lines]), PATIENCE).await.is_ok());
}
