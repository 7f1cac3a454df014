//! The schema, the contract's example and the reader agree.

use serde_json::Value;

use super::*;

/// The contract's complete example. What this version refuses is marked, and left out below.
const CONTRACT: &str = r#"cluster = "web-prod"
node    = "auto"
[timing]
heartbeat_interval = "200ms"
misses             = 3
probation          = "30s"
reconcile_interval = "30s"
restart_grace      = "15s"
crash_detection    = true
on_stop            = "handover"
[security]
key_file = "/etc/vipward/cluster.key"
tls = { cert = "...", key = "...", ca = "..." }                                # refused
[[nodes]]
name  = "lb-a"
links = ["10.0.1.10:7400", "10.0.9.10:7400"]
instance_id          = "i-0aaa"
network_interface_id = "eni-0aaa"
[[nodes]]
name  = "lb-b"
links = ["10.0.1.11:7400", "10.0.9.11:7400"]
[[nodes]]
name  = "witness"
role  = "witness"
links = ["10.0.2.5:7400"]
[[groups]]
name     = "web"
priority = { lb-a = 200, lb-b = 100 }
preempt  = false
preempt_delay = "60s"
on_isolation  = "hold"
addresses = [
  { kind = "elastic-ip",   allocation_id = "eipalloc-0abc" },
  { kind = "elastic-ip",   allocation_id = "eipalloc-0abd", private_ip = { lb-a = "10.0.1.20" } }, # refused
  { kind = "secondary-ip", ip = "10.0.1.50", interface = "eth0" },
  { kind = "route",        destination = "172.31.255.1/32", route_tables = ["rtb-0abc"] }, # refused
]
[cloud]
provider = "aws"
region   = "eu-west-1"
endpoint_url = "http://127.0.0.1:4566"
call_timeout = "5s"
claim = "fast"
[limits]
moves_per_hour = 12
repairs        = 3
[arbiter]                                                                      # refused
kind = "s3"                                                                    # refused
bucket = "web-prod-vipward"                                                    # refused
table = "t"                                                                    # refused
lease = "5s"                                                                   # refused
[[checks]]
name = "nginx"
http = "http://127.0.0.1:80/healthz"
interval = "1s"
timeout = "500ms"
rise = 2
fall = 3
weight = 50
groups = ["web"]
[consistency]
files    = ["/etc/nginx/**/*"]
commands = ["nginx -v"]
ignore   = ["^\\s*server_name_hash_bucket_size"]
applied  = { pid_file = "/run/nginx.pid" }
digest_only = ["/etc/nginx/ssl/*"]
last_resort = false
repair   = "off"
pull_test   = "nginx -t"
pull_reload = "systemctl reload nginx"
[hooks]
on_master = [["/usr/local/bin/announce", "up"]]
on_backup = []
on_holding = ["/usr/local/bin/announce 'holding on'"]
on_alarm = []
[admin]
socket = "/run/vipward/admin.sock"
listen = "127.0.0.1:7401"
[state]
directory = "/var/lib/vipward"
journal_size = "64MiB"
[telemetry]
log = "json"
level = "info"
otlp_endpoint = "http://127.0.0.1:4317"
"#;

#[test]
fn the_contracts_example_has_no_key_that_the_schema_lacks() {
    // Given the whole example, then every error is a refusal of what is not in this version,
    for error in bad(CONTRACT) {
        assert!(error.contains("not in this version"), "{error}");
    }
    // and without those parts it is good; what is harmless is named.
    let kept: String = CONTRACT
        .lines()
        .filter(|l| !l.ends_with("# refused"))
        .fold(String::new(), |text, line| text + line + "\n");
    let config = good(&kept);
    let named: Vec<_> = config.warnings.iter().map(Problem::path).collect();
    assert_eq!(named, ["checks[0].weight"]);
}

#[test]
fn an_outside_reader_of_the_schema_knows_every_key_of_the_example() {
    let example: Value = toml::from_str(CONTRACT).expect("TOML");
    covered("", &example, &schema());
}

/// Walks the example by the schema, as a validator would.
fn covered(path: &str, value: &Value, schema: &Value) {
    match value {
        Value::Object(table) => {
            for (key, value) in table {
                let path = format!("{path}.{key}");
                let variants = schema["oneOf"].as_array().cloned().unwrap_or_default();
                let variant = variants
                    .iter()
                    .find(|variant| variant["properties"]["kind"]["const"] == table["kind"])
                    .unwrap_or(schema);
                let known =
                    variant["properties"].get(key).unwrap_or(&variant["additionalProperties"]);
                assert!(known.is_object(), "{path} is not in the schema");
                covered(&path, value, known);
            }
        }
        Value::Array(items) => {
            for item in items.iter().filter(|item| item.is_object()) {
                covered(&format!("{path}[]"), item, &schema["items"]);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn the_schema_has_descriptions_bounds_and_words() {
    let schema = schema();
    described("", &schema);
    let timing = &schema["properties"]["timing"]["properties"];
    assert_eq!(timing["heartbeat_interval"]["x-minimum"], "10ms");
    assert_eq!(timing["misses"]["maximum"], 10);
    assert_eq!(timing["on_stop"]["oneOf"][1]["const"], "hold");
    assert_eq!(schema["required"], serde_json::json!(["cluster", "groups", "nodes"]));
    let node = &schema["properties"]["nodes"]["items"];
    assert_eq!(node["required"], serde_json::json!(["links", "name"]));
    assert_eq!(node["additionalProperties"], false);
    assert!(!schema.to_string().contains("null"), "TOML has no null");
}

fn described(path: &str, schema: &Value) {
    for (key, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{key}");
        let text = property["description"].as_str().unwrap_or_default();
        assert!(!text.is_empty(), "{path} has no description");
        described(&path, property);
        described(&path, &property["items"]);
    }
}
