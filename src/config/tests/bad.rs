//! Every rule, broken: one sentence with the place and the remedy.

use super::*;

/// What is exchanged, for what, and how the one error begins (after the file's name) and ends.
type Row<'a> = (&'a str, &'a str, &'a str, &'a str);

fn check(rows: &[Row<'_>]) {
    for (old, new, start, end) in rows {
        let errors = bad(&with(old, new));
        let [error] = errors.as_slice() else { panic!("{new}: {errors:#?}") };
        let told = error.strip_prefix("vipward.toml:").unwrap_or(error);
        assert!(told.starts_with(start), "{new}:\n  {error}\nis not\n  {start}");
        assert!(told.contains(end), "{new}:\n  {error}\nlacks\n  {end}");
        assert!(!error.contains('\n'), "{error}");
    }
}

#[test]
fn keys_and_types() {
    check(&[
        ("misses = 3", "mises = 3", "5: timing.mises: unknown key", "did you mean \"misses\"?"),
        ("[limits]", "[limit]", "26: limit: unknown key", "did you mean \"limits\"?"),
        ("[limits]\n", "[limits]\nclaim = \"fast\"\n", "27: limits.claim: unknown key", "[cloud]"),
        ("[limits]\n", "[limits]\ncluster = \"a\"\n", "27: limits.cluster:", "above the first"),
        ("misses = 3", "zzz = 3", "5: timing.zzz:", "known here: crash_detection, heartbeat_"),
        (
            "name = \"lb-b\"",
            "nam = \"lb-b\"",
            "14: nodes[1].nam: unknown key",
            "did you mean \"name\"?",
        ),
        (
            "misses = 3",
            "misses = \"3\"",
            "5: timing.misses: must be an integer, not the string",
            "",
        ),
        ("misses = 3", "misses = 3.0", "5: timing.misses: must be an integer, not the float", ""),
        ("\"200ms\"", "200", "4: timing.heartbeat_interval: must be a duration in quotes", "200"),
        ("fatal = true", "fatal = \"yes\"", "32: checks[0].fatal: must be a boolean", "\"yes\""),
        ("\"witness\"\nlinks", "\"wittness\"\nlinks", "18: nodes[2].role: must be", "did you mean"),
        ("[[groups]]", "[groups]", "20: groups: is a list", "[[groups]]"),
        ("\"elastic-ip\"", "\"elastic_ip\"", "23: groups[0].addresses[0].kind: must be", "did you"),
        ("kind = \"elastic-ip\", ", "", "23: groups[0].addresses[0].kind: is missing", "\"route\""),
        (
            ", allocation_id = \"eipalloc-0abc\"",
            "",
            "23: groups[0].addresses[0].allocation_id:",
            "",
        ),
        ("cluster = \"web-prod\"\n", "", "1: cluster: is missing", "Name of the cluster"),
        ("cluster = \"web-prod\"", "cluster = \"\"", "1: cluster: \"\" is no name", "1 to 63"),
        ("\"web-prod\"", "\"web prod\"", "1: cluster: \"web prod\" is no name", "letters"),
        ("name = \"nginx\"", "name = \"a/b\"", "29: checks[0].name: \"a/b\" is no name", ""),
    ]);
}

#[test]
fn text_that_is_not_toml() {
    check(&[
        ("misses = 3", "misses =", "5: is not TOML: ", ""),
        ("misses = 3", "misses = 3\nmisses = 4", "6: is not TOML: duplicate key", ""),
        ("[limits]", "[limits", "26: is not TOML: ", ""),
    ]);
}

#[test]
fn bounds() {
    check(&[
        ("200ms", "9ms", "4: timing.heartbeat_interval: must be 10ms to 10s, not \"9ms\"", ""),
        ("200ms", "11s", "4: timing.heartbeat_interval: must be 10ms to 10s, not \"11s\"", ""),
        ("200ms", "fast", "4: timing.heartbeat_interval: \"fast\" is no duration", "\"200ms\""),
        ("200ms", "200", "4: timing.heartbeat_interval: \"200\" is no duration", "and a unit"),
        ("misses = 3", "misses = 1", "5: timing.misses: must be 2 to 10, not 1", ""),
        ("misses = 3", "misses = 11", "5: timing.misses: must be 2 to 10, not 11", ""),
        ("misses = 3", "misses = 99999999999999999999", "5: timing.misses: must be 2 to 10", ""),
        ("misses = 3", "reconcile_interval = \"0s\"", "5: timing.reconcile_interval:", "1s to 1h"),
        ("lb-b = 100", "lb-b = 0", "22: groups[0].priority.lb-b: must be 1 to 254, not 0", ""),
        ("lb-b = 100", "lb-b = 255", "22: groups[0].priority.lb-b: must be 1 to 254, not 255", ""),
        ("lb-b = 100", "lb-b = -1", "22: groups[0].priority.lb-b: must be 1 to 254, not -1", ""),
        ("64MiB", "1KiB", "36: state.journal_size: must be 1MiB to 16GiB, not \"1KiB\"", ""),
        ("64MiB", "64 megs", "36: state.journal_size: \"64 megs\" is no size", "\"64MiB\""),
        ("\"64MiB\"", "64", "36: state.journal_size: must be a size in quotes", "the integer 64"),
        ("moves_per_hour = 12", "repairs = 0", "27: limits.repairs: must be 1 to 60, not 0", ""),
        ("provider = \"aws\"", "call_timeout = \"1h\"", "25: cloud.call_timeout:", "100ms to 1min"),
        ("fatal = true", "weight = 254", "32: checks[0].weight: must be 1 to 253, not 254", ""),
        ("fatal = true", "fatal = true\nrise = 0", "33: checks[0].rise: must be 1 to 100", ""),
    ]);
}

#[test]
fn nodes() {
    let two = "[[nodes]]\nname = \"witness\"\nrole = \"witness\"\nlinks = [\"10.0.2.5:7400\"]\n";
    check(&[
        (
            "name = \"witness\"",
            "name = \"lb-b\"",
            "17: nodes[2].name: duplicate lb-b: nodes[1]",
            "own",
        ),
        (
            "\"10.0.1.11:7400\"",
            "\"10.0.1.10:7400\"",
            "15: nodes[1].links[0]: duplicate 10.0.1.10",
            "line 10",
        ),
        (
            "\"10.0.9.10:7400\"",
            "\"10.0.1.10:7400\"",
            "10: nodes[0].links[1]: duplicate 10.0.1.10",
            "links[0]",
        ),
        ("10.0.2.5:7400", "10.0.2.5", "19: nodes[2].links[0]: \"10.0.2.5\" is not IP:port", ""),
        ("10.0.2.5:7400", "10.0.2.5:0", "19: nodes[2].links[0]: \"10.0.2.5:0\" has port 0", ""),
        ("10.0.2.5:7400", "10.0.2.5:70000", "19: nodes[2].links[0]: ", "is not IP:port"),
        ("10.0.2.5:7400", "witness:7400", "19: nodes[2].links[0]: ", "no host names"),
        ("10.0.2.5:7400", "0.0.0.0:7400", "19: nodes[2].links[0]: 0.0.0.0:7400 is no addr", ""),
        ("[\"10.0.2.5:7400\"]", "[]", "19: nodes[2].links: is empty", "at least 1"),
        ("[\"10.0.2.5:7400\"]", "\"10.0.2.5:7400\"", "19: nodes[2].links: must be an array", ""),
        ("[\"10.0.2.5:7400\"]", "[1]", "19: nodes[2].links[0]: must be a string", "integer 1"),
        (
            "\"i-0aaa\"",
            "\"eni-0aaa\"",
            "11: nodes[0].instance_id: \"eni-0aaa\" is no id",
            "\"i-0abc",
        ),
        (
            "name = \"lb-b\"",
            "name = \"lb-b\"\ninstance_id = \"i-0aaa\"",
            "15: nodes[1].inst",
            "line 11",
        ),
        ("node = \"lb-a\"", "node = \"lb-c\"", "2: node: no such node \"lb-c\"", "did you mean"),
        (two, "", "8: nodes: two voters without an arbiter", "role = \"witness\""),
    ]);
    let errors = bad(&with("10.0.2.5:7400", "[2001:db8::5]:7400"));
    assert!(
        errors[0].contains("cannot speak to") && errors[0].contains("same order"),
        "{errors:?}"
    );
    let errors = bad(&with("10.0.2.5:7400", "127.0.0.1:7400"));
    assert!(errors[0].contains("127.0.0.1:7400 cannot speak to 10.0."), "{errors:?}");
}

#[test]
fn how_many_nodes() {
    let node = |i: usize| format!("[[nodes]]\nname = \"n{i}\"\nlinks = [\"10.0.0.{i}:7400\"]\n");
    let file = |count: usize| {
        let nodes: String = (1..=count).map(node).collect();
        format!("cluster = \"c\"\n{nodes}[[groups]]\nname = \"g\"\npriority = {{ n1 = 1 }}\n")
    };
    assert!(bad(&file(1))[0].contains("nodes: one voter is no cluster"));
    assert!(bad(&file(2))[0].contains("two voters without an arbiter"));
    for count in [3, 4, 9] {
        assert_eq!(good(&file(count)).nodes.len(), count);
    }
    assert!(bad(&file(10))[0].contains("nodes: has 10 entries, and may have at most 9"));
    assert!(bad("cluster = \"c\"\nnodes = []\ngroups = []\n")[0].contains("nodes: is empty"));
}

#[test]
fn groups() {
    let again = "\n[[groups]]\nname = \"b\"\npriority = { lb-b = 1, lb-a = 2 }\n\
                 addresses = [{ kind = \"elastic-ip\", allocation_id = \"eipalloc-0abc\" }]\n[cloud]";
    check(&[
        ("lb-b = 100", "lb-c = 100", "22: groups[0].priority.lb-c: no such node", "did you mean"),
        (
            "lb-b = 100",
            "witness = 9",
            "22: groups[0].priority.witness: witness is a witness",
            "make",
        ),
        ("{ lb-a = 200, lb-b = 100 }", "{}", "22: groups[0].priority: names no node", "lb-a = 200"),
        (
            "[cloud]",
            "[[groups]]\nname=\"web\"\npriority={lb-a=1,lb-b=2}\n[cloud]",
            "25: groups[1].name: duplicate web",
            "",
        ),
        (
            "\n[cloud]",
            again,
            "27: groups[1].addresses[0]: duplicate eipalloc-0abc: groups[0]",
            "once",
        ),
        (
            "\"eipalloc-0abc\"",
            "\"i-0abc\"",
            "23: groups[0].addresses[0].allocation_id: ",
            "eipalloc-",
        ),
        ("[cloud]", "preempt_delay = \"2days\"\n[cloud]", "24: groups[0].preempt_delay: ", "1day"),
    ]);
    // A key that is too far off to be guessed is missing as well.
    let errors = bad(&with("priority = {", "prio = {"));
    assert!(errors[0].contains(":20: groups[0].priority: is missing"), "{errors:#?}");
    assert!(errors[1].contains(":22: groups[0].prio: unknown key"), "{errors:#?}");
}

#[test]
fn checks() {
    let http = "http = \"http://127.0.0.1:80/healthz\"\n";
    check(&[
        (http, "", "28: checks[0]: says nothing to check", "http, tcp, command"),
        (http, "http = \"http://a/\"\ntcp = \"127.0.0.1:80\"\n", "31: checks[0].tcp: http", "two"),
        (http, "http = \"127.0.0.1/x\"\n", "30: checks[0].http: \"127.0.0.1/x\" is no URL", ""),
        (http, "http = \"https://a/\"\n", "30: checks[0].http: https is not in this version", ""),
        (http, "tcp = \"localhost:80\"\n", "30: checks[0].tcp: ", "is not IP:port"),
        (http, "command = []\n", "30: checks[0].command: is empty", ""),
        (http, "command = \"a 'b\"\n", "30: checks[0].command: has an unclosed quote", ""),
        (http, "command = \"  \"\n", "30: checks[0].command: names no program", ""),
        (http, "command = 5\n", "30: checks[0].command: must be an array or a string", ""),
        (http, "process = \"\"\n", "30: checks[0].process: is empty", ""),
        (http, "unit = \"\"\n", "30: checks[0].unit: is empty", ""),
        (http, "interface = \"\"\n", "30: checks[0].interface: is empty", ""),
        (http, "interface = \"eth 0\"\n", "30: checks[0].interface: \"eth 0\" is no", "ip link"),
        (http, "interface = \"a234567890123456\"\n", "30: checks[0].interface: ", "15 bytes"),
        ("fatal = true", "", "28: checks[0]: failing has no effect", "weight = 1..253"),
        ("fatal = true", "fatal = true\nweight = 5", "32: checks[0].fatal: ", "not both"),
        ("fatal = true", "fatal = true\ntimeout = \"2s\"", "33: checks[0].timeout: 2s is", "1s"),
        (
            "fatal = true",
            "fatal = true\ngroups = [\"wep\"]",
            "33: checks[0].groups[0]: no such",
            "web",
        ),
        ("fatal = true", "fatal = true\ngroups = []", "33: checks[0].groups: is empty", ""),
        (
            "fatal = true",
            "fatal = true\ngroups = [\"web\", \"web\"]",
            "33: checks[0].groups[1]:",
            "",
        ),
        (
            "[admin]",
            "[[checks]]\nname = \"nginx\"\nprocess = \"x\"\nfatal = true\n[admin]",
            "34: checks[1].name: duplicate nginx: checks[0].name",
            "",
        ),
    ]);
}

#[test]
fn what_is_not_in_this_version_and_safety_rests_on() {
    let address = "{ kind = \"elastic-ip\", allocation_id = \"eipalloc-0abc\" }";
    check(&[
        (
            "[limits]",
            "[arbiter]\nkind = \"s3\"\nbucket = \"b\"\n[limits]",
            "26: arbiter: is not in",
            "",
        ),
        (
            "[[nodes]]",
            "tls = { cert = \"a\", key = \"b\", ca = \"c\" }\n[[nodes]]",
            "8: security.tls: is",
            "",
        ),
        ("[cloud]", "on_isolation = \"release\"\n[cloud]", "24: groups[0].on_isolation: ", "hold"),
        (
            address,
            "{ kind = \"route\", destination = \"172.31.255.1/32\", route_tables = [\"rtb-0abc\"] }",
            "23: groups[0].addresses[0].kind: ",
            "not in this version",
        ),
        (
            "\"eipalloc-0abc\" }",
            "\"eipalloc-0abc\", private_ip = { lb-a = \"10.0.1.x\" } }",
            "23: groups[0].addresses[0].private_ip.lb-a: ",
            "is no IPv4 address",
        ),
    ]);
}

#[test]
fn secondary_addresses() {
    let address = "{ kind = \"elastic-ip\", allocation_id = \"eipalloc-0abc\" }";
    let secondary = |ip: &str| format!("{{ kind = \"secondary-ip\", ip = \"{ip}\" }}");
    let refused = |new: &str, start: &str, end: &str| check(&[(address, new, start, end)]);
    let at = "23: groups[0].addresses[0]";
    for (ip, told) in [
        ("2001:db8::50", ".ip: 2001:db8::50 is IPv6, which is not in this version"),
        ("10.0.1", ".ip: \"10.0.1\" is no IP address"),
        ("127.0.0.1", ".ip: 127.0.0.1 is no address that an interface of EC2 can have"),
        ("169.254.1.1", ".ip: 169.254.1.1 is no address"),
        ("224.0.0.1", ".ip: 224.0.0.1 is no address"),
        ("0.0.0.0", ".ip: 0.0.0.0 is no address"),
        ("255.255.255.255", ".ip: 255.255.255.255 is no address"),
        ("10.0.1.11", ".ip: 10.0.1.11 is an address of lb-b's links"),
        ("10.0.9.10", ".ip: 10.0.9.10 is an address of lb-a's links"),
        ("10.0.2.5", ".ip: 10.0.2.5 is an address of witness's links"),
    ] {
        refused(&secondary(ip), &format!("{at}{told}"), "");
    }
    refused("{ kind = \"secondary-ip\" }", &format!("{at}.ip: is missing"), "");
    for name in ["eth 0", "a234567890123456", "eth0:1", ".."] {
        let new =
            format!("{{ kind = \"secondary-ip\", ip = \"10.0.1.50\", interface = {name:?} }}");
        refused(&new, &format!("{at}.interface: {name:?} is no interface's name"), "ip link");
    }
    // An address moves with one group, once, however it is written,
    let twice = format!("{}, {}", secondary("10.0.1.50"), secondary("10.0.1.50"));
    let second = "23: groups[0].addresses[1]: duplicate 10.0.1.50: groups[0].addresses[0]";
    refused(&twice, second, "once");
    let again = format!(
        "\n[[groups]]\nname = \"b\"\npriority = {{ lb-b = 1, lb-a = 2 }}\naddresses = [{}]\n[cloud]",
        secondary("10.0.1.50")
    );
    let text = with(address, &secondary("10.0.1.50")).replace("\n[cloud]", &again);
    let errors = bad(&text);
    assert!(errors[0].contains(":27: groups[1].addresses[0]: duplicate 10.0.1.50"), "{errors:?}");
    // and not while an elastic IP stays bound to it.
    let bound = "{ kind = \"elastic-ip\", allocation_id = \"eipalloc-0abc\", \
                 private_ip = { lb-a = \"10.0.1.50\" } }";
    let both = format!("{}, {bound}", secondary("10.0.1.50"));
    refused(&both, &format!("{at}.ip: 10.0.1.50 moves, but eipalloc-0abc is bound"), "at lb-a");
}

#[test]
fn cloud_admin_and_telemetry() {
    let long = format!("socket = \"/{}\"", "a".repeat(107));
    check(&[
        ("\"aws\"", "\"simulated\"", "24: cloud.endpoint_url: is missing", "simulated-cloud"),
        ("\"aws\"", "\"gcp\"", "25: cloud.provider: must be \"aws\" or \"simulated\"", ""),
        (
            "\"aws\"",
            "\"aws\"\nclaim = \"fence\"",
            "26: cloud.claim: must be",
            "did you mean \"fenced\"",
        ),
        ("\"aws\"", "\"aws\"\nendpoint_url = \"localhost\"", "26: cloud.endpoint_url: ", "no URL"),
        ("127.0.0.1:7401", "localhost:7401", "34: admin.listen: ", "is not IP:port"),
        (
            "127.0.0.1:7401",
            "10.0.1.10:7400",
            "34: admin.listen: 10.0.1.10:7400 takes the link",
            "lb-a",
        ),
        ("log = \"json\"", "level = \"loud\"", "38: telemetry.level: must be \"error\", ", ""),
        ("log = \"json\"", "otlp_endpoint = \"x:1\"", "38: telemetry.otlp_endpoint: ", ""),
        ("/etc/vipward/cluster.key", "", "7: security.key_file: \"\" is no path", ""),
    ]);
    let errors = bad(&with("listen = \"127.0.0.1:7401\"", &long));
    assert!(errors[0].contains(":34: admin.socket: has 108 bytes"), "{errors:?}");
}

#[test]
fn all_errors_come_at_once_in_the_order_of_the_lines() {
    let text = with("misses = 3", "mises = 3")
        .replace("200ms", "1ms")
        .replace("lb-b = 100", "lb-x = 100")
        .replace("10.0.2.5:7400", "10.0.2.5")
        .replace("fatal = true", "fatal = true\nweight = 3");
    let errors = bad(&text);
    let starts =
        [":4: timing.h", ":5: timing.m", ":19: nodes[2].l", ":22: groups[0].p", ":32: checks"];
    assert_eq!(errors.len(), starts.len(), "{errors:#?}");
    for (error, start) in errors.iter().zip(starts) {
        assert!(
            error.strip_prefix("vipward.toml").is_some_and(|e| e.starts_with(start)),
            "{error}"
        );
    }
    let shown = parse(&text, "vipward.toml").expect_err("it has faults").to_string();
    assert!(shown.lines().all(|line| line.starts_with("error: vipward.toml:")), "{shown}");
}

#[test]
fn one_wrong_value_makes_no_further_errors() {
    // Given a node without a readable name, its priority is not blamed as well.
    let errors = bad(&with("name = \"lb-b\"", "name = \"lb b\""));
    assert_eq!(errors.len(), 1, "{errors:#?}");
    let errors = bad(&with("lb-a = 200, lb-b = 100", "lb-a = 900"));
    assert_eq!(errors.len(), 1, "{errors:#?}");
}

#[test]
fn hostile_text_is_shown_short_and_escaped() {
    let long = "x".repeat(100_000);
    let errors = bad(&with("web-prod", &format!("\\u001b[31m{long}")));
    assert!(errors[0].len() < 300 && !errors[0].contains('\u{1b}'), "{}", errors[0]);
    let nested = format!("x = {}{}", "[".repeat(10_000), "]".repeat(10_000));
    assert!(!bad(&nested).is_empty());
}

#[test]
fn files_that_cannot_be_read() {
    let directory = tempfile::tempdir().expect("a directory");
    let told = |path: &std::path::Path| load(path).expect_err("it has a fault").to_string();
    assert!(told(&directory.path().join("none.toml")).contains("none.toml: does not exist"));
    assert!(told(directory.path()).contains("is no file"));
    let file = directory.path().join("vipward.toml");
    std::fs::write(&file, [0xff, 0xfe]).expect("a file");
    assert!(told(&file).contains("is not UTF-8"));
    std::fs::write(&file, vec![b'\n'; 2 << 20]).expect("a file");
    assert!(told(&file).contains("is larger than 1048576 bytes"));
    std::fs::write(&file, "").expect("a file");
    assert!(told(&file).contains("vipward.toml:1: nodes: is missing"));
    std::fs::write(&file, GOOD).expect("a file");
    assert!(load(&file).is_ok());
}
