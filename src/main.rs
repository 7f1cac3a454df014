//! Parses the command line and runs it; nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    abort_on_panic();
    #[cfg(feature = "mutations")]
    break_on_purpose();
    vipward::cli::main()
}

/// Turns the deliberate fault on that the environment names. Never in a shipped build.
#[cfg(feature = "mutations")]
fn break_on_purpose() {
    if let Ok(name) = std::env::var("VIPWARD_MUTATION")
        && !vipward_core::mutation::choose(&name)
        && !vipward::runtime::clock::choose(&name)
    {
        eprintln!("there is no deliberate fault {name:?}");
        std::process::exit(2);
    }
}

/// A panic ends the process at once, whichever thread it is on, so that peers see every socket
/// closed (design 3.5). Not `panic = "abort"`: tests are built without it, and the cloud SDK
/// would be built twice.
fn abort_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::abort();
    }));
}
