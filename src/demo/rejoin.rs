//! The second half of `--fault rejoin`: the dead master comes back with last month's file.
//!
//! What differs is vipward's own file: the hosts of the demo share one file system, so there is
//! no other that each has for itself.

use std::time::Duration;

use anyhow::{Context, bail};
use serde::Serialize;
use serde_json::Value;
use vipward_core::Timestamp;

use super::client::PACE;
use super::lab::{Lab, NAMES};
use super::trial::ms;
use crate::runtime::clock;

/// A node away for longer has to prove itself; the demo's is.
pub(super) const GRACE: Duration = Duration::from_secs(1);
/// How long it is watched then.
pub(super) const PROBATION: Duration = Duration::from_secs(3);
/// How long each stage may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// What last month's file says, and what it ought to say.
const OUTDATED: &str = "moves_per_hour = 12";
const CURRENT: &str = "moves_per_hour = 1000";

/// What became of the node that came back.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Rejoin {
    /// From its start to its quarantine.
    pub(crate) quarantined_ms: f64,
    /// Why, in its own words.
    pub(crate) reason: String,
    /// What `vipward diff` says, as a terminal would show it.
    pub(crate) diff: String,
    /// Why it could not be switched to.
    pub(crate) refusal: String,
    /// From the repair to probation, and from there to being ready.
    pub(crate) probation_ms: f64,
    pub(crate) ready_ms: f64,
    /// Requests that were lost from its start on.
    pub(crate) lost: usize,
    /// Calls that changed something from its start on.
    pub(crate) calls: usize,
}

impl Rejoin {
    /// Whether nothing moved, and it is in service again.
    pub(crate) fn passed(&self) -> bool {
        self.lost == 0 && self.calls == 0
    }
}

/// Brings the dead `host` back with an outdated file, and follows it until it is ready; `tell`
/// is told each stage.
pub(crate) async fn run(lab: &mut Lab, host: usize, tell: &dyn Fn(&str)) -> anyhow::Result<Rejoin> {
    let name = NAMES.get(host).copied().unwrap_or_default();
    let other = NAMES.get(1 - host.min(1)).copied().unwrap_or_default();
    edit(lab, host, CURRENT, OUTDATED)?;
    tokio::time::sleep(GRACE + Duration::from_millis(500)).await;
    tell(&format!("  … {name} comes back, with last month's file: {OUTDATED}"));
    let back = clock::now();
    lab.restart(host)?;
    let (quarantined, status) = reached(lab, host, "quarantined", back).await?;
    let reason = status["standing_reason"].as_str().unwrap_or_default().to_owned();
    let quarantined_ms = ms(quarantined.since(back));
    tell(&format!("\n  {quarantined_ms:>9.1} ms  {name} is quarantined"));
    tell(&format!("                {reason}\n"));
    let refusal = ask(lab, host, &["switchover", "web", "--to", name]).await;
    let refusal = match refusal {
        Ok(_) => bail!("{name} was switched to while it was quarantined"),
        Err(error) => error.to_string(),
    };
    tell(&format!("  $ vipward switchover web --to {name}\n  {refusal}\n"));
    let diff = ask(lab, host, &["diff", other]).await?;
    tell(&format!("  $ vipward diff {other}\n{}\n", indented(&diff)));
    tell("  … the file is put right, and read again by SIGHUP");
    let repaired = clock::now();
    edit(lab, host, OUTDATED, CURRENT)?;
    lab.reload(host)?;
    let (probation, _) = reached(lab, host, "probation", repaired).await?;
    let probation_ms = ms(probation.since(repaired));
    tell(&format!(
        "\n  {probation_ms:>9.1} ms  {name} is on probation: last in line, for {PROBATION:?}"
    ));
    let (ready, _) = reached(lab, host, "ready", probation).await?;
    let ready_ms = ms(ready.since(probation));
    tell(&format!("  {ready_ms:>9.1} ms  {name} is ready"));
    let shots = lab.client.shots();
    let lost = shots.iter().filter(|shot| {
        shot.sent >= back
            && shot.answered.is_none()
            && shot.sent + Duration::from_millis(250) < ready
    });
    let calls = lab.cloud.record();
    let calls = calls.iter().filter(|entry| entry.arrived >= back).count();
    Ok(Rejoin {
        quarantined_ms,
        reason,
        diff,
        refusal,
        probation_ms,
        ready_ms,
        lost: lost.count(),
        calls,
    })
}

/// Waits until the host has that standing. When it did, and its status then.
async fn reached(
    lab: &Lab,
    host: usize,
    standing: &str,
    since: Timestamp,
) -> anyhow::Result<(Timestamp, Value)> {
    loop {
        // Its reason names what differs once that was compared.
        let compared = |status: &Value| {
            status["standing_reason"].as_str().is_some_and(|reason| reason.contains("1 entry"))
        };
        if let Some(status) = lab.status(host).await
            && status["standing"] == standing
            && (standing != "quarantined" || compared(&status))
        {
            return Ok((clock::now(), status));
        }
        if clock::now().since(since) > PATIENCE {
            let name = NAMES.get(host).copied().unwrap_or_default();
            bail!("{name} is not {standing} within {PATIENCE:?}");
        }
        tokio::time::sleep(PACE).await;
    }
}

/// Asks the host's daemon by the command line. What it printed; an error is what it said.
async fn ask(lab: &Lab, host: usize, arguments: &[&str]) -> anyhow::Result<String> {
    let host = lab.hosts.get(host).context("no such host")?;
    let output = tokio::process::Command::new(&host.spec.program)
        .args(arguments)
        .arg("--socket")
        .arg(host.spec.config.with_extension("").join("admin.sock"))
        .output()
        .await
        .context("cannot run vipward")?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

fn edit(lab: &Lab, host: usize, from: &str, to: &str) -> anyhow::Result<()> {
    let path = &lab.hosts.get(host).context("no such host")?.spec.config;
    let text = std::fs::read_to_string(path).context("cannot read a host's configuration")?;
    std::fs::write(path, text.replace(from, to)).context("cannot write a host's configuration")
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}
