//! What happened, for a person to read, and for a replay to be compared with.

use std::fmt::Write as _;

use vipward_core::{Answer, Input, Output, Request};

use crate::clock::{MS, Nanos};
use crate::plan::{Plan, VOTERS};
use crate::show;

/// The trace of one seed.
pub(crate) struct Trace {
    lines: Option<Vec<String>>,
    names: Vec<String>,
    /// Whether heartbeats are shown too.
    full: bool,
    live: bool,
    /// Of every event: a replay has the same.
    pub(crate) fingerprint: u64,
}

impl Trace {
    pub(crate) fn new(on: bool, plan: &Plan) -> Self {
        let names = (0..plan.voters()).map(|node| plan.name(node).to_owned()).collect();
        let asked = std::env::var("VIPWARD_TRACE").unwrap_or_default();
        let (full, live) = (asked == "full" || asked == "live", asked == "live");
        Self { lines: on.then(Vec::new), names, full, live, fingerprint: 0 }
    }

    pub(crate) fn lines(self) -> Vec<String> {
        self.lines.unwrap_or_default()
    }

    fn mark(&mut self, at: Nanos, node: usize, what: u64) {
        let mixed = self.fingerprint ^ at ^ (node as u64) << 56 ^ what << 48;
        self.fingerprint = mixed.wrapping_mul(0x0100_0000_01b3).rotate_left(17);
    }

    /// A line, made only if somebody reads it.
    pub(crate) fn line(&mut self, at: Nanos, node: usize, what: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            let name = self.names.get(node).map_or("", String::as_str);
            let (millis, rest) = (at / MS, at % MS / 1_000);
            let mut line = String::new();
            let (secs, millis) = (millis / 1_000, millis % 1_000);
            let _ = write!(line, "{secs:5}.{millis:03}_{rest:03} {name:10} ");
            line.push_str(&what());
            if self.live {
                eprintln!("{line}"); // For a step that never ends.
            }
            lines.push(line);
        }
    }

    pub(crate) fn input(&mut self, plan: &Plan, at: Nanos, node: usize, input: &Input) {
        self.mark(at, node, 1);
        if self.lines.is_none() {
            return;
        }
        let noise = matches!(
            input,
            Input::DeadlineReached
                | Input::Request { request: Request::Heartbeat(_), .. }
                | Input::Answer { answer: Answer::Heartbeat(_), .. }
        );
        if self.full || !noise {
            self.line(at, node, || format!("<- {}", show::input(plan, input)));
        }
    }

    pub(crate) fn output(&mut self, plan: &Plan, at: Nanos, node: usize, output: &Output) {
        self.mark(at, node.min(VOTERS), 2);
        if self.lines.is_none() {
            return;
        }
        let noise = matches!(
            output,
            Output::Send { request: Request::Heartbeat(_), .. }
                | Output::Answer { answer: Answer::Heartbeat(_), .. }
        );
        if self.full || !noise {
            self.line(at, node, || format!("   -> {}", show::output(plan, output)));
        }
    }
}
