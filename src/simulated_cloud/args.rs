//! The command `vipward simulated-cloud`.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::Args;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::faults::{Fault, Faults, Throttle};
use super::resources::{Adopt, AllocationSpec, InterfaceSpec, PublicNetwork, Resources};
use super::server::{Options, SimulatedCloud};

/// Run a stand-in for the EC2 API, with faults that can be changed while it runs.
///
/// It runs until SIGINT or SIGTERM. Its faults, resources and the record of its calls are at
/// /_vipward/ on the same address. Without --allocation any id of an elastic IP that a call names
/// exists, and without --interface any of an interface or instance.
#[derive(Args, Clone, Debug)]
pub struct SimulatedCloudArgs {
    /// The address to listen at, such as 127.0.0.1:4566; port 0 picks a free one.
    #[arg(long, value_name = "ADDR")]
    pub listen: SocketAddr,
    /// How long each call takes, such as 200ms.
    #[arg(long, value_name = "D", value_parser = humantime::parse_duration)]
    pub latency: Option<Duration>,
    /// How much later each call takes effect that changes something, such as 10s.
    #[arg(long, value_name = "D", value_parser = humantime::parse_duration)]
    pub late_landing: Option<Duration>,
    /// The share of calls, 0 to 1, answered with 500 or 503; half of them take effect.
    #[arg(long, value_name = "R", value_parser = share)]
    pub error_rate: Option<f64>,
    /// Let BURST calls through at once and RATE a second for long; refuse those above.
    #[arg(long, value_name = "BURST,RATE")]
    pub throttle: Option<Throttle>,
    /// How long a change stays invisible to describe calls, such as 2s.
    #[arg(long, value_name = "D", value_parser = humantime::parse_duration)]
    pub stale_reads: Option<Duration>,
    /// An elastic IP: eipalloc-ID, or eipalloc-ID=IP. May be given again.
    #[arg(long, value_name = "ID[=IP]", value_parser = allocation)]
    pub allocation: Vec<AllocationSpec>,
    /// A network interface: eni-ID=i-ID, followed by its addresses, the primary one first, each
    /// after a comma. May be given again.
    #[arg(long, value_name = "ENI[=INSTANCE[,IP...]]", value_parser = interface)]
    pub interface: Vec<InterfaceSpec>,
    /// Where public addresses come from that are not given.
    #[arg(long, value_name = "NETWORK", default_value = "203.0.113.0/24")]
    pub public_network: PublicNetwork,
    /// Refuse every id that was not given by --allocation, --interface or /_vipward/resources.
    #[arg(long)]
    pub strict: bool,
}

/// An argument that cannot be read.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct ArgumentError(String);

impl SimulatedCloudArgs {
    fn options(&self) -> Options {
        let fault = Fault {
            latency: self.latency,
            late_landing: self.late_landing,
            error_rate: self.error_rate,
            throttle: self.throttle,
            stale_reads: self.stale_reads,
            ..Fault::default()
        };
        Options {
            resources: Resources {
                allocations: self.allocation.clone(),
                interfaces: self.interface.clone(),
            },
            faults: Faults { fault, rules: Vec::new() },
            adopt: Adopt {
                allocations: !self.strict && self.allocation.is_empty(),
                interfaces: !self.strict && self.interface.is_empty(),
            },
            public_network: self.public_network,
            seed: None,
        }
    }
}

/// Runs a simulated cloud until SIGINT or SIGTERM.
///
/// # Errors
///
/// If it cannot listen, or its arguments make no sense together.
pub async fn run(args: SimulatedCloudArgs) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be handled")?;
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be handled")?;
    let listener = TcpListener::bind(args.listen).await.map_err(|error| {
        anyhow!("cannot listen at {}: {error}; choose another address", args.listen)
    })?;
    let cloud = SimulatedCloud::start(listener, args.options())?;
    announce(&cloud)?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    cloud.stop().await;
    Ok(())
}

fn announce(cloud: &SimulatedCloud) -> std::io::Result<()> {
    let url = cloud.endpoint_url();
    let mut out = std::io::stdout().lock();
    writeln!(out, "simulated cloud at {url} (use it as endpoint_url)")?;
    writeln!(out, "faults: curl -X PUT {url}/_vipward/faults -d '{{\"latency\":\"200ms\"}}'")?;
    out.flush()
}

fn share(text: &str) -> Result<f64, ArgumentError> {
    let wrong = || ArgumentError(format!("{text:?} is not a share from 0 to 1"));
    let share: f64 = text.parse().map_err(|_| wrong())?;
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err(wrong()) }
}

fn allocation(text: &str) -> Result<AllocationSpec, ArgumentError> {
    let wrong = || ArgumentError(format!("{text:?} is not eipalloc-ID or eipalloc-ID=IP"));
    let (id, ip) = match text.split_once('=') {
        Some((id, ip)) => (id, Some(ip.parse().map_err(|_| wrong())?)),
        None => (text, None),
    };
    if !id.starts_with("eipalloc-") {
        return Err(wrong());
    }
    Ok(AllocationSpec { id: id.to_owned(), public_ip: ip })
}

fn interface(text: &str) -> Result<InterfaceSpec, ArgumentError> {
    let wrong = || ArgumentError(format!("{text:?} is not eni-ID=i-ID, or eni-ID=i-ID,IP"));
    let (id, rest) = text.split_once('=').unwrap_or((text, ""));
    let mut rest = rest.split(',').filter(|part| !part.is_empty());
    let instance = rest.next();
    if !id.starts_with("eni-") || instance.is_some_and(|id| !id.starts_with("i-")) {
        return Err(wrong());
    }
    let private_ips = rest.map(str::parse).collect::<Result<_, _>>().map_err(|_| wrong())?;
    Ok(InterfaceSpec { id: id.to_owned(), instance: instance.map(str::to_owned), private_ips })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: SimulatedCloudArgs,
    }

    fn parse(args: &str) -> Result<Options, String> {
        let words = format!("simulated-cloud --listen 127.0.0.1:0 {args}");
        let command = Command::try_parse_from(words.split_whitespace());
        command.map(|command| command.args.options()).map_err(|error| error.to_string())
    }

    #[test]
    fn arguments_become_options() {
        let options = parse(
            "--latency 200ms --late-landing 10s --error-rate 0.1 --throttle 20,5 --stale-reads 2s",
        )
        .unwrap();
        let expected = r#"{"latency":"200ms","late_landing":"10s","error_rate":0.1,
            "throttle":{"burst":20,"per_second":5},"stale_reads":"2s"}"#;
        assert_eq!(options.faults, Faults::from_json(expected.as_bytes()).unwrap());
        assert_eq!(options.adopt, Adopt::ALL);
        let options =
            parse("--allocation eipalloc-0a=198.51.100.1 --allocation eipalloc-0b").unwrap();
        assert_eq!(options.resources.allocations.len(), 2);
        assert_eq!(options.adopt, Adopt { allocations: false, interfaces: true });
        let options = parse("--interface eni-0a=i-0a,10.0.1.10,10.0.1.20").unwrap();
        assert_eq!(options.resources.interfaces[0].private_ips.len(), 2);
        assert_eq!(options.adopt, Adopt { allocations: true, interfaces: false });
        assert_eq!(parse("--strict").unwrap().adopt, Adopt::default());
    }

    #[test]
    fn wrong_arguments_are_named() {
        for (args, reason) in [
            ("--latency fast", "--latency"),
            ("--error-rate 2", "from 0 to 1"),
            ("--throttle 20", "BURST,RATE"),
            ("--throttle 20,-1", "calls a second"),
            ("--allocation web", "eipalloc-ID"),
            ("--allocation eipalloc-0a=x", "eipalloc-ID=IP"),
            ("--interface eni-0a=web", "eni-ID=i-ID"),
            ("--interface eni-0a=i-0a,x", "eni-ID=i-ID,IP"),
            ("--public-network 10.0.0.0", "203.0.113.0/24"),
        ] {
            let error = parse(args).unwrap_err();
            assert!(error.contains(reason), "{args}: {error}");
        }
    }

    #[tokio::test]
    async fn an_occupied_port_is_said_in_one_sentence() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut args = Command::parse_from(["simulated-cloud", "--listen", "127.0.0.1:0"]).args;
        args.listen = taken.local_addr().unwrap();
        let error = format!("{:#}", run(args).await.unwrap_err());
        assert!(error.contains("in use") && error.lines().count() == 1, "{error}");
    }
}
