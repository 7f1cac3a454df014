//! `vipward status`: the document for tools, a page of text for people.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use serde_json::Value;

use super::ask::failed;
use super::{Exit, print};
use crate::admin::{Client, ClientError};

const GOOD: Style = AnsiColor::Green.on_default();
pub(super) const BAD: Style = AnsiColor::Red.on_default().bold();
pub(super) const FAINT: Style = Style::new().dimmed();
const STRONG: Style = Style::new().bold();

pub(super) async fn status(socket: &Path, json: bool) -> Exit {
    let (document, status) = match ask(socket).await {
        Ok(answer) => answer,
        Err(error) => return failed(&error),
    };
    let text = if json { document } else { page(&status) };
    let masterless = |group: &Value| group["master"].is_null();
    let groups = status["groups"].as_array();
    match print::out(text.trim_end()) {
        Exit::Done if groups.is_some_and(|groups| groups.iter().any(masterless)) => Exit::NoMaster,
        exit @ (Exit::Done | Exit::Failed | Exit::Usage | Exit::NoDaemon | Exit::NoMaster) => exit,
    }
}

/// The document as the daemon wrote it, and the same to read from.
pub(super) async fn ask(socket: &Path) -> Result<(String, Value), ClientError> {
    let text = Client::new(socket).status_text().await?;
    let status = serde_json::from_str(&text).unwrap_or_default();
    Ok((text.trim_end().to_owned(), status))
}

pub(super) fn page(status: &Value) -> String {
    let mut text = String::new();
    let _ = write_page(&mut text, status); // Writing to a string cannot fail.
    text
}

fn write_page(text: &mut String, status: &Value) -> std::fmt::Result {
    let is = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    writeln!(
        text,
        "{STRONG}{}{STRONG:#} in cluster {STRONG}{}{STRONG:#}: {} {FAINT}vipward {}{FAINT:#}",
        is(&status["node"]),
        is(&status["cluster"]),
        is(&status["standing"]),
        is(&status["version"])
    )?;
    if let Some(reason) = status["standing_reason"].as_str() {
        writeln!(text, "  {BAD}{reason}{BAD:#}")?;
    }
    if status["reference"]["consistent"] == false && status["standing_reason"].is_null() {
        writeln!(text, "  {BAD}its configuration differs from the cluster's{BAD:#}")?;
    }
    // What needs a person comes first: a small window shows only the beginning.
    for alarm in status["alarms"].as_array().into_iter().flatten() {
        writeln!(
            text,
            "{BAD}alarm{BAD:#} {} {FAINT}since {}{FAINT:#}: {}",
            is(&alarm["name"]),
            is(&alarm["since"]),
            is(&alarm["message"])
        )?;
    }
    for group in status["groups"].as_array().into_iter().flatten() {
        write_group(text, group)?;
    }
    writeln!(text, "\n{FAINT}peers{FAINT:#}")?;
    for peer in status["peers"].as_array().into_iter().flatten() {
        write_peer(text, peer)?;
    }
    let checks: Vec<&Value> = status["checks"].as_array().into_iter().flatten().collect();
    if !checks.is_empty() {
        writeln!(text, "\n{FAINT}checks{FAINT:#}")?;
    }
    for check in checks {
        let state = is(&check["state"]);
        let style = if state == "passing" { GOOD } else { BAD };
        writeln!(
            text,
            "  {:<12} {style}{state}{style:#} {FAINT}since {}{FAINT:#}{}",
            is(&check["name"]),
            is(&check["since"]),
            check["reason"].as_str().map_or_else(String::new, |reason| format!(": {reason}"))
        )?;
    }
    // A witness has nothing to try.
    let member = |group: &Value| group["role"] != "none";
    let tries = status["groups"].as_array().is_some_and(|groups| groups.iter().any(member));
    if let (true, Some(ago)) =
        (tries && status["preflight"]["ok"] == true, status["preflight"]["checked_ms_ago"].as_u64())
    {
        let ago = Duration::from_millis(ago).as_secs();
        writeln!(text, "\npreflight {GOOD}good{GOOD:#}, {FAINT}tried {ago} s ago{FAINT:#}")?;
    }
    for problem in status["preflight"]["problems"].as_array().into_iter().flatten() {
        writeln!(text, "\n{BAD}preflight{BAD:#} {}", is(problem))?;
    }
    write_failover(text, &status["last_failover"])
}

fn write_group(text: &mut String, group: &Value) -> std::fmt::Result {
    let is = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let role = is(&group["role"]);
    let style = match (role.as_str(), group["master"].is_null()) {
        (_, true) | ("holding", _) => BAD,
        ("master", _) => GOOD,
        _ => Style::new(),
    };
    write!(
        text,
        "\ngroup {STRONG}{}{STRONG:#}: {style}{}{style:#}, master {STRONG}{}{STRONG:#}, term {}",
        is(&group["name"]),
        if role == "none" { "not a member" } else { &role },
        group["master"].as_str().unwrap_or("nobody"),
        group["term"]
    )?;
    // A witness has no priority, and only a master a lease.
    if let (Some(effective), Some(own)) =
        (group["effective_priority"].as_u64(), group["priority"].as_u64())
    {
        let lowered = if effective == own { "" } else { ", lowered by its checks" };
        write!(text, ", priority {effective} of {own}{lowered}")?;
    }
    match group["lease_left_ms"].as_u64() {
        Some(left) if role == "master" => writeln!(text, ", lease {left} ms")?,
        _ => writeln!(text)?,
    }
    for address in group["addresses"].as_array().into_iter().flatten() {
        let age = address["verified_ms_ago"]
            .as_u64()
            .map_or_else(|| "never verified".into(), |ms| format!("verified {ms} ms ago"));
        let id = is(&address["id"]);
        let known =
            address["address"].as_str().map_or_else(|| id.clone(), |it| format!("{it} {id}"));
        match (address["holder"].as_str(), role.as_str()) {
            // It never asks the cloud.
            (None, "none") => writeln!(text, "  {known} {FAINT}not watched from here{FAINT:#}")?,
            (holder, _) => writeln!(
                text,
                "  {known} held by {} ({}) {FAINT}{age}{FAINT:#}",
                holder.unwrap_or("nobody known"),
                is(&address["ownership"])
            )?,
        }
    }
    Ok(())
}

fn write_peer(text: &mut String, peer: &Value) -> std::fmt::Result {
    let is = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let drift = match peer["consistent"].as_bool() {
        Some(false) => ", its configuration differs",
        Some(true) | None => "",
    };
    writeln!(
        text,
        "  {STRONG}{:<12}{STRONG:#} {} {}{BAD}{drift}{BAD:#}",
        is(&peer["name"]),
        is(&peer["role"]),
        peer["standing"].as_str().unwrap_or("not heard")
    )?;
    for link in peer["links"].as_array().into_iter().flatten() {
        let (style, state) = if link["up"] == true { (GOOD, "up") } else { (BAD, "down") };
        let rtt =
            link["rtt_us"].as_f64().map_or_else(|| "-".into(), |us| format!("{:.2} ms", us / 1e3));
        writeln!(
            text,
            "    {:<22} {style}{state:<4}{style:#} round trip {rtt}, heard {} ms ago",
            is(&link["address"]),
            link["last_heard_ms"]
        )?;
    }
    Ok(())
}

fn write_failover(text: &mut String, failover: &Value) -> std::fmt::Result {
    let Some(to) = failover["to"].as_str() else { return Ok(()) };
    write!(
        text,
        "\n{FAINT}last failover{FAINT:#} {}: {} to {STRONG}{to}{STRONG:#} in term {} ({})",
        failover["at"].as_str().unwrap_or("-"),
        failover["from"].as_str().unwrap_or("nobody"),
        failover["term"],
        failover["cause"].as_str().unwrap_or("cause not known here")
    )?;
    // Only who took over knows all of them.
    let mut sign = ": ";
    for (stage, key) in [
        ("detect", "detect_ms"),
        ("elect", "elect_ms"),
        ("claim", "claim_ms"),
        ("verify", "verify_ms"),
    ] {
        if let Some(ms) = failover[key].as_f64() {
            write!(text, "{sign}{stage} {ms:.1} ms")?;
            sign = ", ";
        }
    }
    writeln!(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn plain(status: &Value) -> String {
        anstream::adapter::strip_str(&page(status)).to_string()
    }

    #[test]
    fn a_witness_is_shown_no_priority_no_lease_and_no_preflight() {
        let status = json!({
            "node": "witness", "cluster": "web-prod", "standing": "ready", "version": "0.1.0",
            "groups": [{"name": "web", "role": "none", "term": 42, "master": "lb-a",
                "lease_left_ms": 0, "priority": null, "effective_priority": null,
                "addresses": [{"kind": "elastic-ip", "id": "eipalloc-0abc", "address": null,
                    "ownership": "unknown", "holder": null, "verified_ms_ago": null}]}],
            "preflight": {"ok": true, "checked_ms_ago": 5, "problems": []},
            "last_failover": {"group": "web", "term": 42, "from": "lb-b", "to": "lb-a",
                "cause": null, "detect_ms": null, "elect_ms": null, "claim_ms": null,
                "verify_ms": null, "at": "2026-01-01T00:00:00Z"}
        });
        let page = plain(&status);
        assert!(page.contains("group web: not a member, master lb-a, term 42\n"), "{page}");
        for absent in ["null", "lease", "preflight", "detect", "?"] {
            assert!(!page.contains(absent), "{absent}: {page}");
        }
    }

    #[test]
    fn a_master_is_shown_its_lease_its_addresses_and_what_its_takeover_took() {
        let status = json!({
            "node": "lb-a", "cluster": "web-prod", "standing": "ready", "version": "0.1.0",
            "groups": [{"name": "web", "role": "master", "term": 42, "master": "lb-a",
                "lease_left_ms": 512, "priority": 200, "effective_priority": 150,
                "addresses": [{"kind": "elastic-ip", "id": "eipalloc-0abc",
                    "address": "198.51.100.10", "ownership": "owned", "holder": "lb-a",
                    "verified_ms_ago": 812}]}],
            "preflight": {"ok": true, "checked_ms_ago": 20411, "problems": []},
            "last_failover": {"group": "web", "term": 42, "from": "lb-b", "to": "lb-a",
                "cause": "master-silent", "detect_ms": 640.2, "elect_ms": 1.4, "claim_ms": 212.0,
                "verify_ms": null, "at": "2026-01-01T00:00:00Z"}
        });
        let page = plain(&status);
        for present in [
            "master, master lb-a, term 42, priority 150 of 200, lowered by its checks, lease 512 ms",
            "198.51.100.10 eipalloc-0abc held by lb-a (owned) verified 812 ms ago",
            "preflight good, tried 20 s ago",
            "lb-b to lb-a in term 42 (master-silent): detect 640.2 ms, elect 1.4 ms, claim 212.0 ms\n",
        ] {
            assert!(page.contains(present), "{present}: {page}");
        }
    }
}
