//! The rules between keys: [`RawConfig`] to [`Config`], every broken rule reported.

mod checks;
mod consistency;
mod groups;
mod hooks;
mod nodes;
mod unbuilt;

use std::fmt::Display;
use std::net::SocketAddr;

use vipward_core::{ClaimMode, Timing};

use super::digest::shared;
use super::problem::Findings;
use super::raw::{RawClaim, RawCloud, RawConfig, RawLevel, RawLog, RawProvider};
use super::typed::{
    Admin, Cloud, Config, Level, Limits, LogFormat, Node, NodeChoice, Provider, State, Telemetry,
};

/// Checks every rule; a configuration comes of it only if the findings have no error.
pub(super) fn apply(raw: &RawConfig, findings: &mut Findings) -> Option<Config> {
    unbuilt::refuse(raw, findings);
    let nodes = nodes::nodes(raw, findings);
    let node = choice(raw, findings);
    let timing = timing(raw, findings);
    let groups = groups::groups(raw, &nodes, findings);
    let checks = checks::checks(raw, findings);
    let hooks = hooks::hooks(raw, findings);
    let consistency = consistency::consistency(raw, findings);
    let cloud = cloud(&raw.cloud, findings);
    let admin = admin(raw, &nodes, findings);
    if !findings.errors.is_empty() {
        return None;
    }
    let shared = shared(raw)
        .map_err(|error| findings.error("", format!("has no canonical form: {error}")))
        .ok();
    let (digest, canonical) = shared?;
    Some(Config {
        cluster: raw.cluster.clone()?,
        node,
        timing: timing?,
        probation: raw.timing.probation.0,
        restart_grace: raw.timing.restart_grace.0,
        key_file: raw.security.key_file.clone(),
        nodes,
        groups,
        cloud: cloud?,
        limits: Limits { moves_per_hour: raw.limits.moves_per_hour, repairs: raw.limits.repairs },
        checks,
        consistency: consistency.unwrap_or_default(),
        hooks,
        admin,
        state: State {
            directory: raw.state.directory.clone(),
            journal_size: raw.state.journal_size.0,
        },
        telemetry: telemetry(raw),
        digest,
        canonical,
        warnings: findings.warnings.clone(),
        places: findings.places.clone(),
    })
}

/// Reports every value that an earlier entry has already.
fn unique<T: Display + PartialEq>(
    findings: &mut Findings,
    entries: impl IntoIterator<Item = (String, T)>,
    remedy: &str,
) {
    let mut seen: Vec<(String, T)> = Vec::new();
    for (path, value) in entries {
        if let Some((first, _)) = seen.iter().find(|(_, other)| *other == value) {
            let at =
                findings.places.line(first).map_or_else(String::new, |l| format!(" (line {l})"));
            let message = format!("duplicate {value}: {first}{at} has it already; {remedy}");
            findings.error(&path, message);
        } else {
            seen.push((path, value));
        }
    }
}

fn choice(raw: &RawConfig, findings: &mut Findings) -> NodeChoice {
    if raw.node == "auto" {
        return NodeChoice::Auto;
    }
    if let Some(names) = nodes::names(raw)
        && let Err(fault) = nodes::known(&raw.node, &names)
    {
        findings.error("node", fault);
    }
    NodeChoice::Named(raw.node.clone())
}

fn timing(raw: &RawConfig, findings: &mut Findings) -> Option<Timing> {
    let timing = &raw.timing;
    Timing::new(
        timing.heartbeat_interval.0,
        timing.misses,
        timing.reconcile_interval.0,
        timing.crash_detection,
    )
    .map_err(|error| findings.error("timing", error.to_string()))
    .ok()
}

fn cloud(raw: &RawCloud, findings: &mut Findings) -> Option<Cloud> {
    let endpoint_url = raw.endpoint_url.clone();
    let provider = match (raw.provider, endpoint_url) {
        (RawProvider::Aws, endpoint_url) => Provider::Aws { endpoint_url },
        (RawProvider::Simulated, Some(endpoint_url)) => Provider::Simulated { endpoint_url },
        (RawProvider::Simulated, None) => {
            if !findings.places.has("cloud.endpoint_url") {
                findings.error(
                    "cloud.endpoint_url",
                    "is missing; provider \"simulated\" needs the URL of its \
                     `vipward simulated-cloud`, like \"http://127.0.0.1:4566\"",
                );
            }
            return None;
        }
    };
    let claim = match raw.claim {
        RawClaim::Fast => ClaimMode::Fast,
        RawClaim::Fenced => ClaimMode::Fenced,
    };
    Some(Cloud { provider, region: raw.region.clone(), call_timeout: raw.call_timeout.0, claim })
}

/// The longest path of a Unix socket: `sun_path` has 108 bytes, the last of them zero (unix(7)).
const SOCKET_PATH_MAX: usize = 107;

fn admin(raw: &RawConfig, nodes: &[Node], findings: &mut Findings) -> Admin {
    let Admin { socket, listen } =
        Admin { socket: raw.admin.socket.clone(), listen: raw.admin.listen };
    let length = socket.as_os_str().len();
    if length > SOCKET_PATH_MAX {
        findings.error(
            "admin.socket",
            format!(
                "has {length} bytes, and the path of a Unix socket at most {SOCKET_PATH_MAX}; \
                 take a shorter one"
            ),
        );
    }
    let clash = |link: &&SocketAddr| {
        link.port() == listen.port() && (listen.ip().is_unspecified() || link.ip() == listen.ip())
    };
    for node in nodes {
        if let Some(link) = node.links.iter().find(clash) {
            findings.error(
                "admin.listen",
                format!(
                    "{listen} takes the link {link} of {}; nodes and people need ports of their \
                     own: choose another",
                    node.name
                ),
            );
        }
    }
    Admin { socket, listen }
}

fn telemetry(raw: &RawConfig) -> Telemetry {
    Telemetry {
        log: match raw.telemetry.log {
            RawLog::Json => LogFormat::Json,
            RawLog::Text => LogFormat::Text,
        },
        level: match raw.telemetry.level {
            RawLevel::Error => Level::Error,
            RawLevel::Warn => Level::Warn,
            RawLevel::Info => Level::Info,
            RawLevel::Debug => Level::Debug,
            RawLevel::Trace => Level::Trace,
        },
        otlp_endpoint: raw.telemetry.otlp_endpoint.clone(),
    }
}
