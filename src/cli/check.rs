//! `vipward check`: the text of the file anywhere; with `--cloud` what this machine, the links
//! and the cloud make of it.

use std::fmt::Display;
use std::path::Path;
use std::time::Duration;

use vipward_core::BootId;

use super::print::err;
use super::{Exit, print, refused};
use crate::admin::{CheckReport, Client, Severity, StatusDocument};
use crate::cloud::Cloud;
use crate::config::{self, Config};
use crate::runtime::{self, Identified, RunError};
use crate::transport::{self, Keys, LinkReport};

/// How long the cloud may take to be ready to be asked.
const SETTLE: Duration = Duration::from_secs(10);

pub(super) async fn check(path: &Path, cloud: bool, node: Option<&str>) -> Exit {
    let config = match config::load(path) {
        Ok(config) => config,
        Err(errors) => return refused(&errors.into()),
    };
    for warning in &config.warnings {
        err(format_args!("warning: {warning}"));
    }
    if let Some(Err(error)) = node.map(|name| config.node(name)) {
        let path = path.display();
        return refused(&RunError::Usage(format!("error: {path}: --node: {error}")));
    }
    let valid = print::out(format_args!(
        "{}: cluster {}, {} nodes, {}: valid",
        path.display(),
        config.cluster,
        config.nodes.len(),
        match config.groups.len() {
            1 => "1 group".to_owned(),
            groups => format!("{groups} groups"),
        }
    ));
    if !cloud || valid != Exit::Done {
        return valid;
    }
    match runtime::identify(path, node).await {
        Ok(identified) => with_cloud(&identified).await,
        Err(error) => refused(&error),
    }
}

async fn with_cloud(identified: &Identified) -> Exit {
    let Identified { config, name, me } = identified;
    let daemon = Client::new(&config.admin.socket);
    if let (Ok(status), Ok(report)) = (daemon.status().await, daemon.check().await) {
        return beside_daemon(config, &status, &report);
    }
    let mut findings = Findings::default();
    for problem in config::machine_problems(config, &key_fault) {
        findings.problem(&problem.to_string());
    }
    if let Ok((_, node)) = config.node(name) {
        for problem in config::port_problems(config, node) {
            findings.problem(&problem.to_string());
        }
    }
    if let Ok(keys) = runtime::read_keys(&config.key_file) {
        // A life of its own, so that no answer meant for a daemon is taken for this command's.
        let boot = BootId(u128::from(getrandom::u64().unwrap_or_default()));
        let settings = runtime::link_settings(config, *me, boot, keys, &[]);
        for report in transport::check_links(&settings).await {
            judge_link(config, &report, &mut findings);
        }
    }
    let member =
        config.groups.iter().any(|it| it.priorities.get(me.index()).is_some_and(Option::is_some));
    if member {
        try_cloud(identified, &mut findings).await;
    } else {
        findings.good("cloud: a witness makes no calls");
    }
    findings.exit()
}

/// What was found; problems fail the check, warnings do not.
#[derive(Default)]
struct Findings {
    problems: usize,
}

impl Findings {
    fn problem(&mut self, text: &str) {
        self.problems += 1;
        err(format_args!("error: {text}"));
    }

    fn good(&mut self, text: impl Display) {
        // A report that cannot be written is none.
        if print::out(text) != Exit::Done {
            self.problems += 1;
        }
    }

    fn exit(&self) -> Exit {
        if self.problems == 0 { Exit::Done } else { Exit::Failed }
    }
}

fn key_fault(text: &str) -> Result<(), String> {
    Keys::parse(text).map(|_| ()).map_err(|error| error.to_string())
}

fn judge_link(config: &Config, report: &LinkReport, findings: &mut Findings) {
    let peer = config.nodes.get(report.peer.index()).map_or("?", |node| node.name.as_str());
    let link = report.link.index();
    match &report.result {
        Ok(round_trip) => {
            judge_round_trip(config, peer, link, *round_trip, findings);
        }
        Err(error) if error.is_silence() => {
            err(format_args!("warning: link {link} to {peer}: {error}"));
        }
        Err(error) => findings.problem(&format!("link {link} to {peer}: {error}")),
    }
}

async fn try_cloud(identified: &Identified, findings: &mut Findings) {
    let settings = runtime::cloud_settings(&identified.config, identified.me);
    let cloud = match Cloud::connect(settings, std::sync::Arc::new(())).await {
        Ok(cloud) => cloud,
        Err(error) => return findings.problem(&error.to_string()),
    };
    cloud.settled(SETTLE).await;
    let problems = cloud.preflight().await;
    if problems.is_empty() {
        findings.good("cloud: every call that a takeover needs is permitted");
    }
    for problem in problems {
        findings.problem(&format!("cloud: {problem}"));
    }
}

/// Beside a running daemon: what it knows, and what its own preflight finds now.
fn beside_daemon(config: &Config, status: &StatusDocument, report: &CheckReport) -> Exit {
    let mut findings = Findings::default();
    findings.good("a daemon runs here and was asked");
    for peer in &status.peers {
        for (index, link) in peer.links.iter().enumerate() {
            match (link.up, link.rtt_us.map(Duration::from_micros)) {
                (true, Some(round_trip)) => {
                    judge_round_trip(config, &peer.name, index, round_trip, &mut findings);
                }
                (true, None) => findings.good(format_args!("link {index} to {}: up", peer.name)),
                (false, _) => err(format_args!("warning: link {index} to {}: silent", peer.name)),
            }
        }
    }
    for finding in &report.findings {
        match finding.severity {
            Severity::Ok => findings.good(format_args!("cloud: {}", finding.message)),
            Severity::Warning => err(format_args!("warning: cloud: {}", finding.message)),
            Severity::Error => findings.problem(&format!("cloud: {}", finding.message)),
        }
    }
    findings.exit()
}

fn judge_round_trip(
    config: &Config,
    peer: &str,
    link: usize,
    round_trip: Duration,
    findings: &mut Findings,
) {
    let millis = round_trip.as_secs_f64() * 1e3;
    findings.good(format_args!("link {link} to {peer}: {millis:.2} ms"));
    let lease = config.timing.lease();
    if lease < round_trip * 2 {
        findings.problem(&format!(
            "timing: the lease of {lease:?} (misses * heartbeat_interval) is below twice the \
             round trip of {round_trip:?} to {peer}; lengthen heartbeat_interval"
        ));
    }
}
