//! The failover benchmark: the demo's lab, many runs, medians (contract, `bench/run`).

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use serde::Serialize;

use super::lab::{Lab, LabSettings};
use super::trial::{self, Fault, Trial};

/// What the benchmark is asked for.
#[derive(Clone, Copy, Debug, clap::Parser)]
#[command(name = "failover", about = "The failover benchmark")]
pub struct BenchArgs {
    /// Runs of each fault.
    #[arg(long, default_value_t = 100)]
    runs: usize,
    /// Print one JSON document instead of a table.
    #[arg(long)]
    json: bool,
    /// Instead: stay idle for so many minutes beside four busy loops, with and without real-time
    /// priority, and count failovers.
    #[arg(long, value_name = "MINUTES")]
    busy: Option<u64>,
    /// Instead: crashes with and without so many files compared by the gate, in turn.
    #[arg(long, value_name = "FILES", conflicts_with = "busy")]
    gate: Option<usize>,
    /// Passed by `cargo bench`; means nothing here.
    #[arg(long, hide = true)]
    bench: bool,
}

/// How long the daemons are watched for memory and processor time.
const IDLE: Duration = Duration::from_secs(20);
const HEARTBEAT: Duration = Duration::from_millis(100);

#[derive(Debug, Serialize)]
struct Report {
    runs: usize,
    heartbeat_ms: u64,
    crash: Measured,
    silent: Measured,
    stop: Measured,
    switchover: Measured,
    own_overhead_ms: Spread,
    rss_mib: f64,
    cpu_percent: f64,
    /// Trials in which the address did not move exactly once, or was not served again.
    failed: usize,
}

#[derive(Debug, Serialize)]
struct Measured {
    outage_ms: Spread,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Spread {
    median: f64,
    p99: f64,
    max: f64,
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        // Nearest rank: of 100 values the 50th, the 99th and the last.
        let rank = |percent: usize| {
            let rank = (values.len() * percent).div_ceil(100).max(1);
            values.get(rank - 1).copied().unwrap_or(f64::NAN)
        };
        Self { median: rank(50), p99: rank(99), max: rank(100) }
    }
}

/// Runs the benchmark on the `vipward` binary `program` and prints its result. Whether every trial went well.
///
/// # Errors
///
/// If the lab could not be built.
pub async fn bench(args: BenchArgs, program: PathBuf) -> anyhow::Result<bool> {
    if let Some(minutes) = args.busy {
        return busy(&program, Duration::from_secs(60 * minutes)).await;
    }
    if let Some(files) = args.gate {
        return gate(&program, args.runs, files).await;
    }
    let (rss_mib, cpu_percent) = idle(&program).await?;
    let mut trials = Vec::new();
    for fault in [Fault::Crash, Fault::Freeze, Fault::Stop, Fault::Switchover] {
        let mut of_fault = Vec::with_capacity(args.runs);
        for run in 1..=args.runs {
            of_fault.push(one(&settings(&program), fault).await.with_context(|| {
                format!("run {run} of {}: the lab could not be built", fault.as_str())
            })?);
            eprint!("\r{:<11} {run:>4} of {}", fault.as_str(), args.runs);
        }
        eprintln!();
        trials.push(of_fault);
    }
    let report = report(args.runs, &trials, rss_mib, cpu_percent);
    if args.json {
        println!("{}", serde_json::to_string(&report).context("cannot write JSON")?);
    } else {
        print!("{}", table(&report));
    }
    Ok(report.failed == 0)
}

fn settings(program: &Path) -> LabSettings {
    LabSettings { heartbeat: HEARTBEAT, ..LabSettings::new(program.into()) }
}

async fn one(settings: &LabSettings, fault: Fault) -> anyhow::Result<Trial> {
    let mut lab = Lab::start(settings).await?;
    let master = lab.settled(Duration::from_secs(30)).await?;
    trial::run(&lab, master, fault).await
}

fn report(runs: usize, trials: &[Vec<Trial>], rss_mib: f64, cpu_percent: f64) -> Report {
    let outage = |index: usize| Measured {
        outage_ms: Spread::of(
            trials.get(index).into_iter().flatten().map(|trial| trial.outage_ms).collect(),
        ),
    };
    let all = || trials.iter().flatten();
    Report {
        runs,
        heartbeat_ms: u64::try_from(HEARTBEAT.as_millis()).unwrap_or(u64::MAX),
        crash: outage(0),
        silent: outage(1),
        stop: outage(2),
        switchover: outage(3),
        own_overhead_ms: Spread::of(all().filter_map(|trial| trial.own_overhead_ms).collect()),
        rss_mib,
        cpu_percent,
        failed: all().filter(|trial| !trial.passed()).count(),
    }
}

fn table(report: &Report) -> String {
    let mut text = format!(
        "{} runs of each, heartbeat {} ms, three misses, standby priority 100\n\n\
         | milliseconds | median | p99 | max |\n| --- | ---: | ---: | ---: |\n",
        report.runs, report.heartbeat_ms
    );
    for (name, spread) in [
        ("crash (`kill -9`): client outage", report.crash.outage_ms),
        ("silent death (`SIGSTOP`): client outage", report.silent.outage_ms),
        ("stop (`SIGTERM`): client outage", report.stop.outage_ms),
        ("switchover: client outage", report.switchover.outage_ms),
        ("own overhead (neither detection nor cloud)", report.own_overhead_ms),
    ] {
        let Spread { median, p99, max } = spread;
        let _ = writeln!(text, "| {name} | {median:.1} | {p99:.1} | {max:.1} |");
    }
    let _ = writeln!(
        text,
        "\nEach daemon, idle: at most {:.1} MiB resident, {:.2} % of one core. \
         Trials that did not end well: {}.",
        report.rss_mib, report.cpu_percent, report.failed
    );
    text
}

/// The most memory (MiB) and processor time (percent of one core) of any daemon at rest.
async fn idle(program: &Path) -> anyhow::Result<(f64, f64)> {
    let mut lab = Lab::start(&settings(program)).await?;
    lab.settled(Duration::from_secs(30)).await?;
    let pids: Vec<u32> = lab.hosts.iter().map(super::host::Host::daemon_pid).collect();
    let ticks = |pid: u32| -> Option<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let user: f64 = fields.get(11)?.parse().ok()?;
        let system: f64 = fields.get(12)?.parse().ok()?;
        Some(user + system)
    };
    let before: Vec<f64> = pids.iter().filter_map(|pid| ticks(*pid)).collect();
    tokio::time::sleep(IDLE).await;
    let per_second = f64::from(u32::try_from(rustix::param::clock_ticks_per_second())?);
    let cpu = pids.iter().zip(before).filter_map(|(pid, before)| {
        Some((ticks(*pid)? - before) / per_second / IDLE.as_secs_f64() * 100.0)
    });
    let rss = pids.iter().filter_map(|pid| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
        let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
        Some(kib / 1024.0)
    });
    Ok((rss.fold(0.0, f64::max), cpu.fold(0.0, f64::max)))
}

/// What the gate adds to a failover: crashes with and without files to compare, in turn, so that
/// whatever else the machine does meets both alike.
async fn gate(program: &Path, runs: usize, files: usize) -> anyhow::Result<bool> {
    let mut trials: [Vec<Trial>; 2] = [Vec::new(), Vec::new()];
    for run in 1..=runs {
        for (of_kind, compared_files) in trials.iter_mut().zip([0, files]) {
            let settings = LabSettings { compared_files, ..settings(program) };
            let trial = one(&settings, Fault::Crash).await;
            of_kind.push(trial.with_context(|| format!("run {run}: the lab could not be built"))?);
        }
        eprint!("\rcrash {run:>4} of {runs}");
    }
    eprintln!();
    println!(
        "{runs} crashes of each, in turn\n\n\
         | milliseconds | outage, median | p99 | own overhead, median | p99 |\n\
         | --- | ---: | ---: | ---: | ---: |"
    );
    for (name, trials) in ["no files".into(), format!("{files} files")].iter().zip(&trials) {
        let outage = Spread::of(trials.iter().map(|trial| trial.outage_ms).collect());
        let own = Spread::of(trials.iter().filter_map(|trial| trial.own_overhead_ms).collect());
        println!(
            "| gate over {name} | {:.2} | {:.2} | {:.2} | {:.2} |",
            outage.median, outage.p99, own.median, own.p99
        );
    }
    let failed = trials.iter().flatten().filter(|trial| !trial.passed()).count();
    println!("\nTrials that did not end well: {failed}.");
    Ok(failed == 0)
}

/// Idle beside four busy loops: nothing may move.
async fn busy(program: &Path, how_long: Duration) -> anyhow::Result<bool> {
    let mut still = true;
    for realtime in [true, false] {
        let settings = LabSettings { realtime, ..settings(program) };
        let mut lab = Lab::start(&settings).await?;
        let master = lab.settled(Duration::from_secs(30)).await?;
        let calls = lab.cloud.record().len();
        let term = term(&lab, master).await;
        let burn = Burn::start(4)?;
        tokio::time::sleep(how_long).await;
        drop(burn);
        lab.settled(Duration::from_secs(30)).await?;
        let moved = lab.cloud.record().len() - calls;
        let elections = self::term(&lab, master).await.saturating_sub(term);
        still &= moved == 0 && elections == 0;
        println!(
            "{} min beside four busy loops, real-time priority {}: {elections} elections, \
             {moved} mutating calls",
            how_long.as_secs() / 60,
            if realtime { "asked for" } else { "off" },
        );
    }
    Ok(still)
}

async fn term(lab: &Lab, host: usize) -> u64 {
    let status = lab.status(host).await;
    status.and_then(|status| status["groups"][0]["term"].as_u64()).unwrap_or(0)
}

/// Busy loops on threads of their own, until dropped.
struct Burn(Arc<AtomicBool>);

impl Burn {
    fn start(threads: usize) -> anyhow::Result<Self> {
        let burning = Arc::new(AtomicBool::new(true));
        for _ in 0..threads {
            let burning = Arc::clone(&burning);
            std::thread::Builder::new()
                .spawn(move || {
                    while burning.load(Ordering::Relaxed) {
                        std::hint::spin_loop();
                    }
                })
                .context("cannot start a busy loop")?;
        }
        Ok(Self(burning))
    }
}

impl Drop for Burn {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}
