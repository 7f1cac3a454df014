//! `vipward demo`: three hosts, a simulated cloud and a client on loopback; a fault; a timeline.
//!
//! `lab` builds the world, `trial` injects the fault and measures, `timeline` draws. The
//! benchmark drives the same lab.

mod client;
mod fetch;
mod forward;
mod host;
mod lab;
mod rejoin;
mod timeline;
mod trial;

use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;

pub use bench::*;

mod bench;

use lab::{Lab, LabSettings, NAMES};
use trial::{Fault, Trial};

/// What `vipward demo` is asked for.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct DemoArgs {
    /// What happens to the master.
    #[arg(long, value_enum, default_value = "crash")]
    fault: FaultArg,
    /// Print one JSON document instead of the timeline.
    #[arg(long)]
    json: bool,
}

/// The faults of the demo.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum FaultArg {
    /// Its process group is killed.
    Crash,
    /// Its process group stands still, and goes on after the takeover.
    Freeze,
    /// Its links, its clients and its cloud are cut, and healed after the takeover.
    Partition,
    /// Its process group is killed, and it comes back with another configuration.
    Rejoin,
}

/// The web service of a host of the demo.
#[derive(Clone, Debug, clap::Args)]
pub struct DemoServiceArgs {
    /// What it answers.
    #[arg(long)]
    name: String,
    /// Where it listens.
    #[arg(long)]
    listen: SocketAddr,
}

/// The hidden command behind a host of the demo.
///
/// # Errors
///
/// If its address cannot be listened on.
pub fn serve(args: &DemoServiceArgs) -> anyhow::Result<()> {
    host::serve(&args.name, args.listen)
}

/// Runs the demo. Whether the address moved once and is served again.
///
/// # Errors
///
/// If the world could not be built; the reason is one sentence.
pub async fn run(args: DemoArgs) -> anyhow::Result<bool> {
    let fault = match args.fault {
        FaultArg::Crash => Fault::Crash,
        FaultArg::Freeze => Fault::Freeze,
        FaultArg::Partition => Fault::Partition,
        FaultArg::Rejoin => Fault::Rejoin,
    };
    let tell = |text: &str| {
        if !args.json {
            let _ = writeln!(anstream::stdout(), "{text}"); // A closed pipe ends nothing.
        }
    };
    tell(&format!(
        "\n  vipward demo: {} and {} in front of one elastic IP, {} to vote with\n",
        NAMES[0], NAMES[1], NAMES[2]
    ));
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let settings =
        LabSettings { forwarded: fault == Fault::Partition, ..LabSettings::new(program) };
    tell("  … three daemons and a simulated EC2 start on loopback, heartbeat 100 ms");
    let mut lab = Lab::start(&settings).await?;
    let master = lab.settled(Duration::from_secs(20)).await?;
    let name = NAMES.get(master).copied().unwrap_or_default();
    tell(&format!(
        "  … {name} is elected, holds the address and serves; the standby is proven able"
    ));
    tell(&format!("  … now: {} of {name}, the master", fault.as_str()));
    let mut trial = trial::run(&lab, master, fault).await?;
    if fault == Fault::Rejoin {
        if !args.json {
            print(&trial, false)?;
        }
        trial.rejoin = Some(rejoin::run(&mut lab, master, &tell).await?);
        tell(&rejoin_summary(&trial));
        if !args.json {
            return Ok(trial.passed());
        }
    }
    print(&trial, args.json)?;
    Ok(trial.passed())
}

fn print(trial: &Trial, json: bool) -> anyhow::Result<()> {
    if json {
        let document = serde_json::to_string(trial).context("cannot write JSON")?;
        return writeln!(std::io::stdout(), "{document}").context("cannot write to stdout");
    }
    let _ = write!(anstream::stdout(), "{}", timeline::draw(trial)); // As above.
    Ok(())
}

fn rejoin_summary(trial: &Trial) -> String {
    let Some(rejoin) = &trial.rejoin else { return String::new() };
    let (old, new) = (&trial.old_master, trial.new_master.as_deref().unwrap_or("nobody"));
    let sign = if rejoin.passed() { "✔" } else { "✘" };
    format!(
        "\n  {sign} {new} served all the time: {} requests lost and {} calls made since {old} came back",
        rejoin.lost, rejoin.calls
    )
}

/// Asks the master for a planned handover, as an operator would, and waits for the outcome.
async fn switch_over(lab: &Lab, master: usize) -> anyhow::Result<()> {
    let host = lab.hosts.get(master).context("no such host")?;
    let output = tokio::process::Command::new(&host.spec.program)
        .args(["switchover", "web", "--socket"])
        .arg(host.spec.config.with_extension("").join("admin.sock"))
        .output()
        .await
        .context("cannot run `vipward switchover`")?;
    if !output.status.success() {
        anyhow::bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
