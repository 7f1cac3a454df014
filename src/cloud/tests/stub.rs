//! A server that says what a test tells it to, and remembers what it was asked.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

/// What the stub does with a request.
#[derive(Clone, Debug)]
pub(super) enum Reply {
    /// Answers.
    Answer(u16, String),
    /// Answers later.
    Later(Duration, u16, String),
    /// Promises more than it sends, and closes.
    Truncated(String),
    /// Never answers.
    Hang,
    /// Closes the connection without an answer.
    Close,
}

impl Reply {
    /// The same answer, but later.
    pub(super) fn later(self, delay: Duration) -> Self {
        let Self::Answer(status, text) = self else { panic!("not an answer: {self:?}") };
        Self::Later(delay, status, text)
    }
}

pub(super) type Form = HashMap<String, String>;
type Script = Box<dyn Fn(&Form) -> Reply + Send + Sync>;

pub(super) struct Stub {
    pub(super) url: String,
    seen: Arc<Seen>,
    _serve: AbortOnDropHandle<()>,
}

struct Seen {
    script: Script,
    requests: Mutex<Vec<Form>>,
    connections: AtomicUsize,
}

impl Stub {
    /// Serves every request by `script`.
    pub(super) async fn new(script: impl Fn(&Form) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Seen {
            script: Box::new(script),
            requests: Mutex::default(),
            connections: AtomicUsize::new(0),
        });
        let serving = Arc::clone(&seen);
        let serve = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                serving.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(stream, Arc::clone(&serving)));
            }
        });
        Self { url, seen, _serve: AbortOnDropHandle::new(serve) }
    }

    /// Every request of this action so far.
    pub(super) fn requests(&self, action: &str) -> Vec<Form> {
        let requests = self.seen.requests.lock().unwrap();
        requests.iter().filter(|form| form["Action"] == action).cloned().collect()
    }

    pub(super) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }
}

async fn serve(mut stream: TcpStream, seen: Arc<Seen>) {
    let mut buffer = Vec::new();
    while let Some((path, body)) = read_request(&mut stream, &mut buffer).await {
        let mut form: Form = form_urlencoded::parse(&body).into_owned().collect();
        // Instance metadata: no body, but a path.
        form.entry("Action".to_owned()).or_insert(path);
        let reply = (seen.script)(&form);
        seen.requests.lock().unwrap().push(form);
        let (status, text, promised) = match reply {
            Reply::Answer(status, text) => (status, text, 0),
            Reply::Later(delay, status, text) => {
                tokio::time::sleep(delay).await;
                (status, text, 0)
            }
            Reply::Truncated(text) => (200, text, 1000),
            Reply::Hang => std::future::pending().await,
            Reply::Close => return,
        };
        let length = text.len() + promised;
        let head = format!(
            "HTTP/1.1 {status} Status\r\ncontent-type: text/xml\r\n\
             x-amzn-requestid: req-1\r\nx-aws-ec2-metadata-token-ttl-seconds: 600\r\n\
             content-length: {length}\r\n\r\n{text}"
        );
        if stream.write_all(head.as_bytes()).await.is_err() || promised > 0 {
            return;
        }
    }
}

/// Path and body of the next request; `None` at the end of the connection, also within a request.
async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<(String, Vec<u8>)> {
    loop {
        if let Some(head) = buffer.windows(4).position(|end| end == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&buffer[..head]).to_lowercase();
            let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
            let length: usize = length.map_or(0, |length| length.trim().parse().unwrap());
            if buffer.len() >= head + 4 + length {
                let mut request: Vec<u8> = buffer.drain(..head + 4 + length).collect();
                let path = text.split(' ').nth(1).unwrap_or_default().to_owned();
                return Some((path, request.split_off(head + 4)));
            }
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
}

/// EC2's form of an error.
pub(super) fn error(status: u16, code: &str) -> Reply {
    Reply::Answer(
        status,
        format!(
            "<?xml version=\"1.0\"?><Response><Errors><Error><Code>{code}</Code>\
             <Message>no</Message></Error></Errors><RequestID>req-1</RequestID></Response>"
        ),
    )
}

/// An answer to `action`.
pub(super) fn ok(action: &str, fields: &str) -> Reply {
    Reply::Answer(200, xml(action, fields))
}

pub(super) fn xml(action: &str, fields: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?><{action}Response \
         xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><requestId>req-1</requestId>\
         {fields}</{action}Response>"
    )
}

/// An entry of the answer to `DescribeAddresses`; empty fields are left out.
pub(super) fn address(allocation: &str, association: &str, interface: &str) -> String {
    let field = |name: &str, value: &str| match value {
        "" => String::new(),
        _ => format!("<{name}>{value}</{name}>"),
    };
    format!(
        "<item><publicIp>198.51.100.10</publicIp><allocationId>{allocation}</allocationId>\
         {}{}</item>",
        field("associationId", association),
        field("networkInterfaceId", interface)
    )
}

/// What a healthy EC2 answers to everything that we ask; `interface` holds every address.
pub(super) fn healthy(form: &Form, interface: &str) -> Reply {
    let action = form["Action"].clone();
    match &*action {
        "DescribeAddresses" => {
            let mut ids: Vec<_> =
                form.iter().filter(|(k, _)| k.starts_with("AllocationId")).collect();
            ids.sort();
            let association = if interface.is_empty() { "" } else { "eipassoc-1" };
            let set: String =
                ids.iter().map(|(_, id)| address(id, association, interface)).collect();
            ok(&action, &format!("<addressesSet>{set}</addressesSet>"))
        }
        _ if form.get("DryRun").is_some_and(|dry| dry == "true") => error(412, "DryRunOperation"),
        "AssociateAddress" => {
            ok(&action, "<return>true</return><associationId>eipassoc-2</associationId>")
        }
        "DisassociateAddress" => ok(&action, "<return>true</return>"),
        _ => error(403, "UnauthorizedOperation"),
    }
}
