//! The timeline that a person understands at a glance, in at most 100 columns.

use std::fmt::Write as _;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use vipward_core::Timestamp;

use super::client::Shot;
use super::trial::{Trial, ms};

/// Columns of a lane, those of them before the fault, and those that the outage is to fill.
const COLUMNS: u32 = 64;
const BEFORE: u32 = 12;
const OUTAGE: u32 = 20;
/// A column is not shorter: two of them make the client's pace.
const SHORTEST: Duration = Duration::from_micros(2500);
/// The picture begins no earlier before the fault: until then the world was being built.
const LEAD: Duration = Duration::from_millis(250);
/// Cells of the bars of the stages.
const CELLS: usize = 18;
/// What a frozen or cut-off master answers after longer than this, it answers once it is back.
const LATE: Duration = Duration::from_millis(10);

const OLD: Style = AnsiColor::Cyan.on_default();
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

/// How many columns lie before the fault, and how much time a column is.
fn window(trial: &Trial) -> (u32, Duration) {
    let outage = Duration::from_secs_f64(trial.outage_ms.max(0.0) / 1e3);
    let column = (outage / OUTAGE).max(SHORTEST);
    let lead = u32::try_from(LEAD.as_nanos() / column.as_nanos()).unwrap_or(BEFORE);
    (lead.min(BEFORE), column)
}

/// Requests by the time of their sending: who served them, or nobody.
fn lanes(text: &mut String, trial: &Trial) -> std::fmt::Result {
    let (before, column) = window(trial);
    let begin = trial.faulted - column * before;
    let new = trial.new_master.as_deref().unwrap_or("lb-b");
    let mut late = false;
    writeln!(text)?;
    for (who, style) in [(Some(trial.old_master.as_str()), OLD), (Some(new), NEW), (None, LOST)] {
        write!(text, "  {style}{:<8}{style:#} ", who.unwrap_or("lost"))?;
        for index in 0..COLUMNS {
            let from = begin + column * index;
            let marks = sent_in(&trial.shots, from, from + column).iter();
            let mark = marks.filter_map(|shot| Mark::of(shot, who, trial)).max();
            late |= mark == Some(Mark::Late);
            match mark {
                Some(mark) => write!(text, "{style}{}{style:#}", mark.as_str())?,
                None => write!(text, "{FAINT}·{FAINT:#}")?,
            }
        }
        writeln!(text)?;
    }
    let fault = usize::try_from(before).unwrap_or(0);
    let (old, shown) = (&trial.old_master, ms(column));
    write!(text, "  {:<8} {:>fault$}{LOST}▲{LOST:#} {}", "", "", trial.fault)?;
    write!(text, "  {FAINT}requests by the time of their sending, a column is {shown:.1} ms")?;
    if late {
        write!(text, "\n  {:<8} {:>fault$}▒ answered late, when {old} was back", "", "")?;
    }
    writeln!(text, "{FAINT:#}\n")
}

/// The requests sent in a column; where there are none, the one before goes on.
fn sent_in(shots: &[Shot], from: Timestamp, to: Timestamp) -> &[Shot] {
    let first = shots.partition_point(|shot| shot.sent < from);
    let end = shots.partition_point(|shot| shot.sent < to);
    let first = if first == end { first.saturating_sub(1) } else { first };
    shots.get(first..end).unwrap_or_default()
}

/// Whether the old master is back after the takeover.
fn comes_back(trial: &Trial) -> bool {
    matches!(trial.fault, "freeze" | "partition")
}

/// What became of a request; the greatest of a column is shown.
#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
enum Mark {
    Late,
    Served,
    Lost,
}

impl Mark {
    /// As the lane of `who` shows it, or that of the lost ones.
    fn of(shot: &Shot, who: Option<&str>, trial: &Trial) -> Option<Self> {
        match (&shot.answered, who) {
            (Some((at, by)), Some(who)) if by.as_ref() == who => {
                let away = comes_back(trial) && shot.sent >= trial.faulted;
                let late = away && who == trial.old_master && at.since(shot.sent) > LATE;
                Some(if late { Self::Late } else { Self::Served })
            }
            (None, None) => Some(Self::Lost),
            (Some(_), _) | (None, Some(_)) => None,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Late => "▒",
            Self::Served => "█",
            Self::Lost => "×",
        }
    }
}

/// What vipward did, each stage with its share of the whole as a bar.
fn stages(text: &mut String, trial: &Trial) -> std::fmt::Result {
    let old = &trial.old_master;
    let new = trial.new_master.as_deref().unwrap_or("nobody");
    let what = match trial.fault {
        "crash" | "rejoin" => "SIGKILL to daemon and web server",
        "freeze" => "SIGSTOP to daemon and web server",
        "partition" => "its links, clients and cloud are cut",
        "stop" => "SIGTERM to the daemon",
        _ => "is asked to hand over",
    };
    writeln!(
        text,
        "  {FAINT}{:>9} ms{FAINT:#}  {LOST}{:<7}{LOST:#}  {:>8}     {LOST}{:<CELLS$}{LOST:#}  \
         {STRONG}{old}{STRONG:#}  {what}",
        "+0.0", "fault", "", "▲"
    )?;
    let detected = match trial.cause.as_deref() {
        Some("master-crashed") => format!("every link refused: {old} is dead"),
        Some("master-silent") => "silence for the master-down interval".to_owned(),
        Some("switchover" | "resigned") => format!("{old} resigned in its favour"),
        _ => "no master any more".to_owned(),
    };
    let elected = format!("elected by a majority in term {}", trial.term.unwrap_or(0));
    let call = trial.calls.iter().find(|call| call.outcome == "ok");
    let claimed = call.map_or_else(String::new, |call| {
        let id: String = call.request_id.chars().take(8).collect();
        format!("{}, request {id}…", call.operation)
    });
    let stages = [
        ("detect", trial.detect_ms, detected),
        ("elect", trial.elect_ms, elected),
        ("claim", trial.claim_ms, claimed),
        ("visible", trial.visible_ms, "serves the client".to_owned()),
    ];
    let all: f64 = stages.iter().filter_map(|(_, took, _)| *took).sum();
    let mut at = 0.0;
    for (stage, took, what) in &stages {
        let Some(took) = took else { continue };
        let bar = bar(at, at + took, all);
        at += took;
        writeln!(
            text,
            "  {FAINT}{at:>+9.1} ms{FAINT:#}  {NEW}{stage:<7}{NEW:#}  {took:>8.1} ms  \
             {NEW}{bar}{NEW:#}  {STRONG}{new}{STRONG:#}  {what}"
        )?;
    }
    writeln!(text)
}

/// A bar between two of `all` milliseconds, on [`CELLS`] cells; at least one of them is filled.
fn bar(from: f64, to: f64, all: f64) -> String {
    let cells = u32::try_from(CELLS).unwrap_or(0);
    let reached = |at: f64| {
        let share = at / all * f64::from(cells);
        (1..=cells).take_while(|cell| f64::from(*cell) <= share).count()
    };
    let start = reached(from).min(CELLS - 1);
    let length = reached(to).saturating_sub(start).max(1);
    format!("{:start$}{:<rest$}", "", "█".repeat(length), rest = CELLS - start)
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
    let quiet = trial.calls.iter().all(|call| call.node != trial.old_master);
    if comes_back(trial) && quiet {
        let old = &trial.old_master;
        writeln!(text, "  {old} was back after the takeover, and made no call to the cloud")?;
    }
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
