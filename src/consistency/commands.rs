//! Commands whose output counts, and the versions of packages.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use vipward_manifest::{LARGEST_OUTPUT, Outcome, Outside, printable};

use super::Settings;
use crate::program::{self, End, Limits};

/// From being asked to end to being killed.
const GRACE: Duration = Duration::from_secs(1);
/// So many lines are told of what a command says that fails.
const TOLD: usize = 2;
/// So much is kept of what a package manager or a repair's command says.
const KEPT: usize = 4 << 10;

/// Runs every command, all at once, and asks for every version.
pub(super) async fn outside(settings: &Settings, within: Duration) -> Outside {
    let commands = settings.commands.iter().map(|argv| async {
        let printed = output(argv, LARGEST_OUTPUT + 1, within).await;
        (argv.join(" "), printed)
    });
    let packages = settings.packages.iter().map(|package| async {
        let version = version(package, within).await;
        (package.clone(), version)
    });
    let (commands, packages) = tokio::join!(
        futures_util::future::join_all(commands),
        futures_util::future::join_all(packages)
    );
    Outside {
        shared: settings.shared.clone(),
        commands: commands.into_iter().collect(),
        packages: packages.into_iter().collect(),
    }
}

/// What a command prints, errors where they came, if it succeeds.
async fn output(argv: &[String], kept: usize, within: Duration) -> Outcome<Vec<u8>> {
    let limits = Limits { run: within, grace: GRACE };
    let (end, said) = program::run(argv, &[], kept, limits, &CancellationToken::new()).await;
    match end {
        End::Exited(status) if status.success() => Ok(said.bytes()),
        End::Exited(status) => Err(match last_lines(&said.text()) {
            lines if lines.is_empty() => format!("it failed ({status})"),
            lines => format!("it failed ({status}): {lines}"),
        }),
        End::Ended(_) => Err(format!("it did not end within {within:?}")),
        End::NotStarted(error) => Err(format!("it could not be run: {error}")),
    }
}

/// Runs a command of a repair.
pub(super) async fn succeed(argv: &[String], within: Duration) -> Result<(), String> {
    let done = output(argv, KEPT, within).await;
    done.map(drop).map_err(|why| format!("{}: {why}", argv.join(" ")))
}

/// What people read last is where the error is; the very last line often says only that there was
/// one.
fn last_lines(text: &str) -> String {
    let mut lines: Vec<&str> =
        text.lines().rev().map(str::trim).filter(|line| !line.is_empty()).take(TOLD).collect();
    lines.reverse();
    printable(&lines.join("; "))
}

/// The installed version, by whichever package manager knows the package.
async fn version(package: &str, within: Duration) -> Outcome<String> {
    let ask = |argv: [&str; 4]| argv.map(str::to_owned);
    let by_dpkg = ask(["dpkg-query", "-W", "-f=${Version}", package]);
    let by_rpm = ask(["rpm", "-q", "--qf=%{VERSION}-%{RELEASE}", package]);
    let mut failed = String::new();
    for argv in [by_dpkg, by_rpm] {
        match output(&argv, KEPT, within).await {
            Ok(bytes) if !bytes.is_empty() => {
                return Ok(String::from_utf8_lossy(&bytes).trim().to_owned());
            }
            Ok(_) => failed = "it is not installed".to_owned(),
            Err(why) if failed.is_empty() => failed = why,
            Err(_) => {}
        }
    }
    Err(failed)
}
