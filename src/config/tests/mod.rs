//! Files in, sentences out.

mod bad;
mod digests;
mod good;
mod machines;
mod schemas;

use super::*;

/// A file without a fault.
const GOOD: &str = r#"cluster = "web-prod"
node = "lb-a"
[timing]
heartbeat_interval = "200ms"
misses = 3
[security]
key_file = "/etc/vipward/cluster.key"
[[nodes]]
name = "lb-a"
links = ["10.0.1.10:7400", "10.0.9.10:7400"]
instance_id = "i-0aaa"
network_interface_id = "eni-0aaa"
[[nodes]]
name = "lb-b"
links = ["10.0.1.11:7400", "10.0.9.11:7400"]
[[nodes]]
name = "witness"
role = "witness"
links = ["10.0.2.5:7400"]
[[groups]]
name = "web"
priority = { lb-a = 200, lb-b = 100 }
addresses = [{ kind = "elastic-ip", allocation_id = "eipalloc-0abc" }]
[cloud]
provider = "aws"
[limits]
moves_per_hour = 12
[[checks]]
name = "nginx"
http = "http://127.0.0.1:80/healthz"
interval = "1s"
fatal = true
[admin]
listen = "127.0.0.1:7401"
[state]
journal_size = "64MiB"
[telemetry]
log = "json"
"#;

/// The file with one piece of its text exchanged.
fn with(old: &str, new: &str) -> String {
    assert!(GOOD.contains(old), "{old} is not in the file");
    GOOD.replacen(old, new, 1)
}

fn good(text: &str) -> Config {
    parse(text, "vipward.toml").unwrap_or_else(|errors| panic!("{errors}\nin\n{text}"))
}

fn bad(text: &str) -> Vec<String> {
    let errors = parse(text, "vipward.toml").expect_err("the file has a fault");
    errors.problems().iter().map(ToString::to_string).collect()
}
