//! What a manifest of 10,000 files of 64 KiB costs: `cargo bench -p vipward-manifest` measures with
//! this repository's release profile when called as `cargo bench --profile release`.
//!
//! The files are in the page cache. `BENCH_RUNS` (30) and `BENCH_RULES` (1: with three rules of
//! lines to drop) may be set.
#![allow(clippy::unwrap_used, reason = "a bench has nobody to tell but who runs it")]

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use vipward_manifest::{Outside, Scanner, Settings, Variables, Wanted};

const FILES: usize = 10_000;
const SIZE: usize = 64 << 10;

fn main() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let runs: usize = number("BENCH_RUNS").unwrap_or(30);
    let directory = tempfile::tempdir().unwrap();
    make_files(directory.path());
    // A file that changed within the last second is read again: not what is measured here.
    std::thread::sleep(Duration::from_millis(1_200));

    for rules in [0, 3] {
        let settings = settings(directory.path(), rules);
        let before = memory("VmRSS:");
        let mut scanner = Scanner::new(settings.clone());
        scanner.scan(&Outside::default()); // Into the page cache.
        let peak = memory("VmHWM:") - before;
        let first = measure(runs, || {
            let mut scanner = Scanner::new(settings.clone());
            assert_eq!(scanner.scan(&Outside::default()).entries.len(), FILES + 1);
        });
        let again = measure(runs, || drop(scanner.scan(&Outside::default())));
        let manifest = scanner.scan(&Outside::default());
        let digest = measure(runs, || {
            std::hint::black_box(manifest.digest());
        });
        println!("{FILES} files of {} KiB, {rules} rules, {runs} runs:", SIZE >> 10);
        println!("  first build       {first}");
        println!("  unchanged         {again}");
        println!("  tree digest       {digest}");
        println!("  memory at most    +{:.1} MiB", peak as f64 / 1024.0);
    }
}

fn make_files(directory: &Path) {
    for at in 0..FILES {
        let below = directory.join(format!("d{:02}", at % 100));
        fs::create_dir_all(&below).unwrap();
        let mut text = String::with_capacity(SIZE + 100);
        while text.len() < SIZE {
            text.push_str(&format!("    server_name host-{at}-{}.example.com;\n", text.len()));
        }
        text.truncate(SIZE);
        fs::write(below.join(format!("site-{at}.conf")), text).unwrap();
    }
}

fn settings(directory: &Path, rules: usize) -> Settings {
    let rule = ["^\\s*server_name_hash_bucket_size", "# {{node}}$", "listen +{{link:0}}:"];
    let wanted = Wanted {
        files: vec![format!("{}/**/*", directory.display())],
        ignore: rule[..rules].iter().map(|&rule| rule.to_owned()).collect(),
        digest_only: Vec::new(),
        pid_file: None,
        variables: Variables { node: "lb-a".to_owned(), links: vec!["10.0.1.10".parse().unwrap()] },
    };
    Settings::parse(&wanted).unwrap()
}

#[allow(clippy::disallowed_methods, reason = "a bench measures what passes on this machine")]
fn measure(runs: usize, mut what: impl FnMut()) -> String {
    let before = cpu_time();
    let mut times: Vec<Duration> = (0..runs)
        .map(|_| {
            let begun = Instant::now();
            what();
            begun.elapsed()
        })
        .collect();
    let cpu = (cpu_time() - before) / u32::try_from(runs).unwrap();
    times.sort();
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let (least, median, most) = (ms(times[0]), ms(times[runs / 2]), ms(times[runs - 1]));
    let cpu = ms(cpu);
    format!("median {median:8.2} ms (least {least:.2}, most {most:.2}; {cpu:.2} ms of CPU each)")
}

/// What all threads of this process have used.
fn cpu_time() -> Duration {
    let clock = rustix::time::ClockId::ProcessCPUTime;
    rustix::time::clock_gettime(clock).try_into().unwrap()
}

/// A figure of this process in KiB.
fn memory(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
}
