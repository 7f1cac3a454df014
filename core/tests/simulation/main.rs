//! A whole cluster in one thread: seeded faults, virtual time, invariants after every event.
//!
//! ```text
//! cargo test --release --test simulation                     20,000 seeds
//! VIPWARD_SEEDS=n cargo test --release --test simulation     n seeds
//! VIPWARD_SEED=n cargo test --release --test simulation      one seed, with its trace
//! ```
//! `VIPWARD_TRACE=full` shows heartbeats as well; `VIPWARD_THREADS` is 2 unless set;
//! `VIPWARD_FIRST` is the first seed; `VIPWARD_CENSUS=1` goes on after a violation.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // It is a test.
#![allow(clippy::wildcard_enum_match_arm)] // The judge looks at what concerns it.

mod clock;
mod cloud;
mod dice;
mod draw;
mod faults;
mod gate;
mod host;
mod kernel;
mod network;
mod observer;
mod plan;
mod process;
mod queue;
mod scenario;
mod show;
mod single;
mod trace;
mod world;

use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::observer::Violation;
use crate::world::World;

/// Seeds unless told otherwise.
const SEEDS: u64 = 20_000;
/// So many lines of a failing seed's trace are shown in a run of many.
const TAIL: usize = 120;

fn number(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} is a number, not {value:?}")))
}

fn main() -> ExitCode {
    // `cargo test FILTER` passes its filter to every test binary.
    let filter = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    if filter.is_some_and(|filter| !"simulation".contains(filter.as_str())) {
        return ExitCode::SUCCESS;
    }
    if !choose_mutation() {
        return ExitCode::from(2);
    }
    match number("VIPWARD_SEED") {
        Some(seed) => replay(seed),
        None => swarm(),
    }
}

#[cfg(feature = "mutations")]
fn choose_mutation() -> bool {
    if std::env::args().any(|argument| argument == "--list-mutations") {
        println!("{}", vipward_core::mutation::NAMES.join("\n"));
        std::process::exit(0);
    }
    let Ok(name) = std::env::var("VIPWARD_MUTATION") else { return true };
    let known = vipward_core::mutation::choose(&name);
    if !known {
        eprintln!("there is no deliberate fault {name:?}");
    }
    known
}

#[cfg(not(feature = "mutations"))]
fn choose_mutation() -> bool {
    true
}

/// What became of a seed.
struct Outcome {
    violation: Option<Violation>,
    steps: u64,
    fingerprint: u64,
    trace: Vec<String>,
}

fn run(seed: u64, traced: bool) -> Outcome {
    let mut world = World::new(seed, traced);
    let violation = catch_unwind(AssertUnwindSafe(|| world.run())).unwrap_or_else(|panic| {
        let what = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|what| (*what).to_owned()));
        Some(Violation { invariant: "panic", what: what.unwrap_or_default() })
    });
    let (steps, fingerprint) = (world.steps, world.trace.fingerprint);
    Outcome { violation, steps, fingerprint, trace: world.trace.lines() }
}

/// Each seed is a test: a line that is counted like any other runner's.
fn result(passed: u64, failed: bool) {
    let word = if failed { "FAILED" } else { "ok" };
    println!(
        "test result: {word}. {passed} passed; {} failed; 0 ignored; 0 measured; 0 filtered out",
        u8::from(failed)
    );
}

/// One seed, with its trace.
fn replay(seed: u64) -> ExitCode {
    let outcome = run(seed, true);
    let mut out = std::io::stdout().lock();
    for line in &outcome.trace {
        let _ = writeln!(out, "{line}"); // A closed pipe is no failure.
    }
    drop(out);
    let mut out = std::io::stdout();
    let _ = match &outcome.violation {
        None => writeln!(out, "seed {seed}: {} steps, no violation", outcome.steps),
        Some(found) => writeln!(out, "seed {seed}: {} violated: {}", found.invariant, found.what),
    };
    let failed = outcome.violation.is_some();
    result(u64::from(!failed), failed);
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

#[allow(clippy::disallowed_methods)] // How long a test takes.
fn swarm() -> ExitCode {
    let seeds = number("VIPWARD_SEEDS").unwrap_or(SEEDS);
    let first = number("VIPWARD_FIRST").unwrap_or(0);
    let threads = number("VIPWARD_THREADS").unwrap_or(2).max(1);
    let census = number("VIPWARD_CENSUS").is_some();
    let next = AtomicU64::new(first);
    let end = AtomicU64::new(first + seeds);
    let (steps, done) = (AtomicU64::new(0), AtomicU64::new(0));
    let failed: Mutex<Option<(u64, Violation)>> = Mutex::new(None);
    let started = std::time::Instant::now();
    std::panic::set_hook(Box::new(|_| {})); // A panic is reported with its seed.
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end.load(Ordering::Relaxed) {
                        break;
                    }
                    let outcome = run(seed, false);
                    steps.fetch_add(outcome.steps, Ordering::Relaxed);
                    let count = done.fetch_add(1, Ordering::Relaxed) + 1;
                    if count.is_multiple_of(2_000) {
                        eprintln!("simulation: {count} of {seeds} seeds");
                    }
                    let violation = outcome.violation.or_else(|| {
                        let again =
                            seed < first + 8 && run(seed, false).fingerprint != outcome.fingerprint;
                        again.then(|| Violation {
                            invariant: "determinism",
                            what: "the seed does not replay exactly".into(),
                        })
                    });
                    if let Some(violation) = violation {
                        if census {
                            println!("{seed} {} {}", violation.invariant, violation.what);
                            continue;
                        }
                        let mut failed = failed.lock().unwrap();
                        if failed.as_ref().is_none_or(|(known, _)| seed < *known) {
                            *failed = Some((seed, violation));
                        }
                        end.fetch_min(seed, Ordering::Relaxed); // Lower ones are still tried.
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    let (steps, done) = (steps.into_inner(), done.into_inner());
    let took = started.elapsed().max(Duration::from_millis(1)).as_secs_f64();
    if let Some((seed, violation)) = &failed {
        let trace = run(*seed, true).trace;
        let hidden = trace.len().saturating_sub(TAIL);
        println!("... {hidden} lines before; VIPWARD_SEED={seed} shows them all");
        for line in &trace[hidden..] {
            println!("{line}");
        }
        println!("seed {seed}: {} violated: {}", violation.invariant, violation.what);
    }
    result(done - u64::from(failed.is_some()), failed.is_some());
    let word = if failed.is_some() { "FAILED" } else { "ok" };
    println!(
        "simulation {word}: {done} seeds, {steps} steps, {:.0} steps/s on {threads} threads, {took:.1} s",
        steps as f64 / took
    );
    if failed.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
