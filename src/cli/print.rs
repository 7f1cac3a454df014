//! What a command says. Nobody may read it (`vipward schema | head -1`), and the disk that it goes
//! to may be full: neither is a reason to panic, as `println!` would.

use std::fmt::Display;
use std::io::{self, Write as _};

use super::Exit;

/// Writes a line to stdout: the command's result. Colours are for terminals only.
pub(super) fn out(line: impl Display) -> Exit {
    let mut stdout = anstream::stdout().lock();
    match writeln!(stdout, "{line}").and_then(|()| stdout.flush()) {
        Ok(()) => Exit::Done,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done, // Nobody reads on.
        Err(error) => {
            err(format_args!("error: the result cannot be written to stdout: {error}"));
            Exit::Failed
        }
    }
}

/// Writes a line to stderr. If that fails, there is nobody to be told.
pub(super) fn err(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}
