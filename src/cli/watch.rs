//! `vipward status --watch`: the page, kept up to date, also while the daemon is restarted.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

use super::ask::failed;
use super::frame::{fit, plain};
use super::show::{BAD, FAINT, ask, page};
use super::{Exit, print};
use crate::admin::ClientError;

/// How often the daemon is asked.
const PACE: Duration = Duration::from_secs(1);
/// So many answers long it is said that the daemon was restarted.
const NEWS: u32 = 15;
/// The size of a terminal that does not tell its own.
const USUAL: (usize, usize) = (80, 24);

/// Shows the status until interrupted. A daemon that does not answer at all is an error; one that
/// stops answering is waited for.
pub(super) async fn watch(socket: &Path, json: bool) -> Exit {
    let mut shown = match ask(socket).await {
        Ok((document, status)) => Shown { document, status, gone: None, restarted: None },
        Err(error) => return failed(&error),
    };
    let terminal = !json && io::stdout().is_terminal() && !is_dumb();
    let screen = terminal.then(Screen::enter);
    let pace = async {
        let mut pace = interval(PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            pace.tick().await;
            let written = match (&screen, json) {
                (Some(screen), _) => screen.draw(&shown.frame()),
                (None, _) if shown.gone.is_some() => Ok(()),
                (None, true) => line(&shown.document),
                (None, false) => line(&page(&shown.status)),
            };
            if written.is_err() {
                return; // Nobody reads on.
            }
            let answer = ask(socket).await;
            let was_gone = shown.gone.is_some();
            shown.take(answer);
            if let (None, false, Some(gone)) = (&screen, was_gone, &shown.gone) {
                print::err(format_args!("warning: {gone}; waiting for it"));
            }
        }
    };
    tokio::select! {
        () = pace => {}
        () = interrupted() => {}
    }
    Exit::Done
}

fn is_dumb() -> bool {
    std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb")
}

fn line(text: &str) -> io::Result<()> {
    let mut stdout = anstream::stdout().lock();
    writeln!(stdout, "{text}")?;
    stdout.flush()
}

/// Waits for what ends a command.
async fn interrupted() {
    let wait = |kind| async move {
        match signal(kind) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            Err(_) => std::future::pending().await, // Then the default applies.
        }
    };
    tokio::select! {
        () = wait(SignalKind::interrupt()) => {}
        () = wait(SignalKind::terminate()) => {}
        () = wait(SignalKind::hangup()) => {}
    }
}

/// The last that the daemon told, and what became of it since.
struct Shown {
    document: String,
    status: Value,
    /// Why it does not answer, and since when.
    gone: Option<String>,
    /// When it was restarted, and for how many answers that is still shown.
    restarted: Option<(String, u32)>,
}

impl Shown {
    fn take(&mut self, answer: Result<(String, Value), ClientError>) {
        match answer {
            Ok((document, status)) => {
                let restarted = status["boot"] != self.status["boot"];
                let news = if restarted { Some((now(), NEWS)) } else { self.restarted.take() };
                let left = news.and_then(|(at, left)| Some((at, left.checked_sub(1)?)));
                *self = Self { document, status, gone: None, restarted: left };
            }
            Err(error) if self.gone.is_none() => {
                self.gone = Some(format!("since {}: {error}", now()))
            }
            Err(_) => {}
        }
    }

    fn frame(&self) -> String {
        let page = page(&self.status);
        match (&self.gone, &self.restarted) {
            (Some(gone), _) => {
                let old = plain(&page);
                let lines: String =
                    old.lines().map(|line| format!("{FAINT}{line}{FAINT:#}\n")).collect();
                format!("{BAD}{gone}{BAD:#}\n{FAINT}its last status:{FAINT:#}\n{lines}")
            }
            (None, Some((at, _))) => {
                format!("{BAD}the daemon was restarted; it answers since {at}{BAD:#}\n{page}")
            }
            (None, None) => page,
        }
    }
}

/// The time of day, in UTC as everywhere.
fn now() -> String {
    jiff::Timestamp::now().strftime("%H:%M:%SZ").to_string()
}

/// The terminal's other screen, without a cursor. Dropped, all is as it was.
struct Screen {
    coloured: bool,
}

impl Screen {
    fn enter() -> Self {
        let coloured = anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never;
        let _ = write(b"\x1b[?1049h\x1b[?25l"); // The first frame shows whether somebody reads.
        Self { coloured }
    }

    /// Draws over what is there, in one piece, so that nothing flickers.
    fn draw(&self, text: &str) -> io::Result<()> {
        let (width, height) = size();
        let text = if self.coloured { text.to_owned() } else { plain(text) };
        let lines = fit(&text, width, height);
        let drawn = lines.join("\x1b[K\r\n");
        write(format!("\x1b[?2026h\x1b[H{drawn}\x1b[0m\x1b[K\x1b[J\x1b[?2026l").as_bytes())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = write(b"\x1b[0m\x1b[?25h\x1b[?1049l"); // There is nobody to be told.
    }
}

fn write(bytes: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes)?;
    stdout.flush()
}

/// Columns and lines of the terminal.
fn size() -> (usize, usize) {
    match rustix::termios::tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
        Ok(_) | Err(_) => USUAL,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_daemon_that_goes_away_and_comes_back_is_told_and_its_last_status_kept() {
        let status = |boot: &str, role: &str| {
            let group = json!({"name": "web", "role": role, "term": 4, "master": "lb-a"});
            let status = json!({"node": "lb-a", "boot": boot, "groups": [group]});
            Ok((status.to_string(), status))
        };
        let refused = || ClientError::Refused("gone".to_owned());
        let (document, first) = status("1", "master").unwrap();
        let mut shown = Shown { document, status: first, gone: None, restarted: None };
        let frame = plain(&shown.frame());
        assert!(frame.starts_with("lb-a in cluster"), "{frame}");
        // When it does not answer, its last status is kept, and since when is not forgotten.
        shown.take(Err(refused()));
        let gone = shown.gone.clone();
        shown.take(Err(refused()));
        assert_eq!(shown.gone, gone);
        let frame = plain(&shown.frame());
        assert!(frame.starts_with("since ") && frame.contains("group web: master"), "{frame}");
        // When it answers again in another life, that is said for a while.
        shown.take(status("2", "backup"));
        let frame = plain(&shown.frame());
        assert!(frame.starts_with("the daemon was restarted; it answers since "), "{frame}");
        assert!(frame.contains("group web: backup"), "{frame}");
        for _ in 0..NEWS {
            shown.take(status("2", "backup"));
        }
        assert!(plain(&shown.frame()).starts_with("lb-a in cluster"));
    }
}
