//! Parses the command line and runs it; nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    abort_on_panic();
    vipward::cli::main()
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
