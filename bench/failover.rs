//! The failover benchmark, as `./bench/run` and `cargo bench` run it.

use std::process::ExitCode;

use clap::Parser as _;
use vipward::demo::{BenchArgs, bench};

fn main() -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(bench(BenchArgs::parse(), env!("CARGO_BIN_EXE_vipward").into())) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
