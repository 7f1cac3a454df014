//! `vipward events`: the journal, from the daemon or, when none answers, from its file. Who
//! follows it goes on with the daemon's next life, as `journalctl --follow` does with a service.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use super::Exit;
use super::ask::{failed, is_no_daemon};
use super::print::err;
use crate::admin::{Client, ClientError, EventLines, EventQuery};
use crate::journal::{self, Entry};

/// How often a daemon that went away is tried.
const PACE: Duration = Duration::from_millis(500);

pub(super) async fn events(
    socket: &Path,
    config: &Path,
    follow: bool,
    since: Option<&str>,
    json: bool,
) -> Exit {
    if let Some(since) = since
        && let Err(error) = journal::parse_since(since)
    {
        err(format_args!("error: --since: {error}"));
        return Exit::Usage;
    }
    let query = EventQuery { since: since.map(Into::into), after: None, follow };
    let client = Client::new(socket);
    // Until a line is known, what is new is what comes after this moment.
    let began = jiff::Timestamp::now().to_string();
    match client.events(&query).await {
        Ok(lines) => {
            let query = EventQuery { since: query.since.or(Some(began)), ..query };
            copy(&client, lines, query, json).await
        }
        Err(error) if is_no_daemon(&error) && !follow => {
            from_file(config, since, json).unwrap_or_else(|| failed(&error))
        }
        Err(error) => failed(&error),
    }
}

/// Prints all lines; with `follow` also those of the daemon's next lives.
async fn copy(client: &Client, mut lines: EventLines, mut query: EventQuery, json: bool) -> Exit {
    loop {
        match lines.next().await {
            Ok(Some(line)) => {
                if !print(&line, json) {
                    return Exit::Done; // Nobody reads on.
                }
                if let Some(entry) = Entry::parse(&line) {
                    let after = Some(entry.mark().to_string());
                    query = EventQuery { since: None, after, ..query };
                }
            }
            Ok(None) if !query.follow => return Exit::Done,
            Err(error) if !query.follow => return failed(&error),
            Ok(None) | Err(_) => {
                err("warning: the daemon went away; waiting for it");
                match reconnect(client, &query).await {
                    Ok(again) => lines = again,
                    Err(error) => return failed(&error),
                }
                err("the daemon answers again");
            }
        }
    }
}

async fn reconnect(client: &Client, query: &EventQuery) -> Result<EventLines, ClientError> {
    loop {
        tokio::time::sleep(PACE).await;
        match client.events(query).await {
            Err(error) if is_no_daemon(&error) => {}
            answer => return answer,
        }
    }
}

/// What the daemon wrote while it lived; `None` if the file that tells where is not to be had.
fn from_file(config: &Path, since: Option<&str>, json: bool) -> Option<Exit> {
    let config = crate::config::load(config).ok()?;
    let since = since.map(journal::parse_since).transpose().ok()?;
    match journal::read(&config.state.directory, since) {
        Ok(entries) => {
            for entry in entries {
                if !print(&entry.line, json) {
                    break;
                }
            }
            Some(Exit::Done)
        }
        Err(error) => {
            err(format_args!("error: {error}"));
            Some(Exit::Failed)
        }
    }
}

/// Prints one line. Whether somebody still reads.
fn print(line: &str, json: bool) -> bool {
    let mut out = anstream::stdout();
    if json {
        return writeln!(out, "{line}").is_ok();
    }
    let Some(entry) = Entry::parse(line) else { return writeln!(out, "{line}").is_ok() };
    let fields = entry.fields();
    let text = |key: &str| fields.get(key).and_then(|value| value.as_str()).unwrap_or_default();
    let detail: Vec<String> = fields
        .iter()
        .filter(|(key, _)| {
            !matches!(key.as_str(), "seq" | "at" | "node" | "boot" | "group" | "event")
        })
        .map(|(key, value)| match value.as_str() {
            Some(value) if value.contains(' ') => format!("{key}=\"{value}\""),
            Some(value) => format!("{key}={value}"),
            None => format!("{key}={value}"),
        })
        .collect();
    let bold = anstyle::Style::new().bold();
    let faint = anstyle::Style::new().dimmed();
    writeln!(
        out,
        "{faint}{}{faint:#} {:<8} {:<6} {bold}{:<19}{bold:#} {}",
        text("at"),
        text("node"),
        text("group"),
        text("event"),
        detail.join(" ")
    )
    .is_ok()
}
