//! Keys whose part is not built yet: refused where safety rests on them, else named in a warning.

use super::super::leaf::Command;
use super::super::problem::Findings;
use super::super::raw::{RawConfig, RawOnStop};

pub(super) fn refuse(raw: &RawConfig, findings: &mut Findings) {
    if findings.places.has("arbiter") {
        findings.error(
            "arbiter",
            "is not in this version, and without it two voters cannot outlive a failure; take it \
             out and add a third node with role = \"witness\"",
        );
    }
    if findings.places.has("security.tls") {
        findings.error(
            "security.tls",
            "is not in this version: messages between nodes are authenticated, not encrypted; \
             take it out, and run the links over a network that you trust or a tunnel",
        );
    }
    if raw.timing.on_stop == RawOnStop::Hold {
        findings
            .warn("timing.on_stop", "\"hold\" is not in this version: a stopped master hands over");
    }
    for key in ["probation", "restart_grace"] {
        let path = format!("timing.{key}");
        if findings.places.has(&path) {
            findings.warn(&path, "is not in this version and has no effect");
        }
    }
    consistency(raw, findings);
}

fn consistency(raw: &RawConfig, findings: &mut Findings) {
    let Some(consistency) = &raw.consistency else { return };
    findings.warn(
        "consistency",
        "is not in this version and has no effect: only vipward's own configuration is compared \
         between the nodes",
    );
    let commands = consistency.commands.iter().enumerate();
    let commands = commands.map(|(i, command)| (format!("consistency.commands[{i}]"), command));
    let single = [("pull_test", &consistency.pull_test), ("pull_reload", &consistency.pull_reload)];
    let single = single
        .into_iter()
        .filter_map(|(key, command)| Some((format!("consistency.{key}"), command.as_ref()?)));
    split(commands.chain(single), findings);
}

/// Reports commands that cannot be split into arguments.
fn split<'a>(commands: impl IntoIterator<Item = (String, &'a Command)>, findings: &mut Findings) {
    for (path, command) in commands {
        if let Err(fault) = command.argv() {
            findings.error(&path, fault);
        }
    }
}
