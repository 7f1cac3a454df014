//! The timeline that a person understands at a glance.

use std::fmt::Write as _;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use vipward_core::Timestamp;

use super::trial::{Trial, ms};

const COLUMNS: u32 = 64;
const OLD: Style = AnsiColor::Blue.on_default();
const NEW: Style = AnsiColor::Green.on_default();
const LOST: Style = AnsiColor::Red.on_default().bold();
const FAINT: Style = Style::new().dimmed();
const STRONG: Style = Style::new().bold();

/// The whole picture, with colours; `anstream` strips them where there is no terminal.
pub(crate) fn draw(trial: &Trial) -> String {
    let mut text = String::new();
    let _ = lanes(&mut text, trial); // Writing to a string cannot fail.
    let _ = stages(&mut text, trial);
    let _ = summary(&mut text, trial);
    text
}

/// When the picture begins and how much time a column is.
fn window(trial: &Trial) -> (Timestamp, Duration) {
    let outage = Duration::from_secs_f64(trial.outage_ms.max(20.0) / 1e3);
    let begin = trial.faulted - outage;
    (begin, outage * 4 / COLUMNS)
}

fn lanes(text: &mut String, trial: &Trial) -> std::fmt::Result {
    let (begin, column) = window(trial);
    let new = trial.new_master.as_deref().unwrap_or("lb-b");
    writeln!(text)?;
    for (who, style) in [(Some(trial.old_master.as_str()), OLD), (Some(new), NEW), (None, LOST)] {
        write!(text, "  {style}{:<9}{style:#} ", who.unwrap_or("lost"))?;
        for index in 0..COLUMNS {
            let from = begin + column * index;
            let to = from + column;
            let here = trial.shots.iter().any(|shot| match (&shot.answered, who) {
                (Some((at, by)), Some(who)) => by.as_ref() == who && (from..to).contains(at),
                (None, None) => (from..to).contains(&shot.sent),
                (Some(_), None) | (None, Some(_)) => false,
            });
            match (here, who) {
                (true, Some(_)) => write!(text, "{style}█{style:#}")?,
                (true, None) => write!(text, "{style}×{style:#}")?,
                (false, _) => write!(text, "{FAINT}·{FAINT:#}")?,
            }
        }
        writeln!(text)?;
    }
    let fault = usize::try_from(COLUMNS / 4).unwrap_or(0);
    writeln!(
        text,
        "  {:<9} {FAINT}{:>fault$}{FAINT:#}{LOST}▲{LOST:#} {} {FAINT}one column is {:.1} ms{FAINT:#}",
        "",
        "",
        trial.fault,
        ms(column)
    )?;
    writeln!(text)
}

fn stages(text: &mut String, trial: &Trial) -> std::fmt::Result {
    let new = trial.new_master.as_deref().unwrap_or("nobody");
    let what = match trial.fault {
        "crash" => "its process group is killed (SIGKILL): daemon and web server",
        "freeze" => "its process group stands still (SIGSTOP), sockets open",
        "partition" => "its links, its clients and its cloud are cut",
        "stop" => "its daemon is asked to stop (SIGTERM)",
        _ => "a handover is asked for",
    };
    row(text, 0.0, "fault", &trial.old_master, what, None)?;
    let mut at = 0.0;
    let how = match trial.cause.as_deref() {
        Some("master-crashed") => "every connection closed, every link refused: it is dead",
        Some("master-silent") => "silent for the master-down interval",
        Some("switchover" | "resigned") => "the master resigned in its favour",
        _ => "no master any more",
    };
    if let Some(detect) = trial.detect_ms {
        at += detect;
        row(text, at, "detect", new, how, Some(detect))?;
    }
    if let Some(elect) = trial.elect_ms {
        at += elect;
        let term = trial.term.unwrap_or(0);
        let what = format!("elected by a majority in term {term}");
        row(text, at, "elect", new, &what, Some(elect))?;
    }
    if let Some(claim) = trial.claim_ms {
        at += claim;
        let call = trial.calls.iter().find(|call| call.outcome == "ok");
        let what = call.map_or_else(String::new, |call| {
            let id: String = call.request_id.chars().take(8).collect();
            format!("{} acknowledged, request {id}…", call.operation)
        });
        row(text, at, "claim", new, &what, Some(claim))?;
    }
    if let Some(visible) = trial.visible_ms {
        at += visible;
        row(text, at, "visible", new, "serves the client", Some(visible))?;
    }
    writeln!(text)
}

fn row(
    text: &mut String,
    at: f64,
    stage: &str,
    who: &str,
    what: &str,
    took: Option<f64>,
) -> std::fmt::Result {
    let took = took.map_or_else(String::new, |took| format!("{took:>9.1} ms"));
    let style = if stage == "fault" { LOST } else { NEW };
    writeln!(
        text,
        "  {FAINT}{at:>+9.1} ms{FAINT:#}  {style}{stage:<8}{style:#} {STRONG}{who:<7}{STRONG:#} \
         {what:<57}{FAINT}{took}{FAINT:#}"
    )
}

fn summary(text: &mut String, trial: &Trial) -> std::fmt::Result {
    let outage = trial.outage_ms;
    writeln!(
        text,
        "  {STRONG}outage {outage:.1} ms{STRONG:#}: {} of {} requests lost, one sent every 5 ms; \
         the address moved {}",
        trial.requests.lost,
        trial.requests.sent,
        match trial.moves {
            1 => "once".to_owned(),
            moves => format!("{moves} times"),
        }
    )?;
    let keepalived = trial.keepalived_ms;
    writeln!(
        text,
        "  a default keepalived waits 3 × 1 s + skew = {:.1} s before its hook even runs{}",
        keepalived / 1e3,
        if outage > 0.0 {
            format!(": {:.0} times as long", keepalived / outage)
        } else {
            String::new()
        }
    )?;
    let verdict = if trial.passed() {
        format!("  {NEW}✔ the address moved by itself, once, and is served again{NEW:#}")
    } else {
        format!("  {LOST}✘ not as it should be: see the calls with --json{LOST:#}")
    };
    writeln!(text, "{verdict}")
}
