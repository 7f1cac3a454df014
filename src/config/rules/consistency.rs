//! Rules of `[consistency]`: patterns, expressions and commands that can be used.

use vipward_manifest::{Settings, Variables, Wanted};

use super::super::leaf::Command;
use super::super::problem::Findings;
use super::super::raw::{RawConfig, RawRepair};
use super::super::typed::{Consistency, Repair};

pub(super) fn consistency(raw: &RawConfig, findings: &mut Findings) -> Option<Consistency> {
    let raw = raw.consistency.as_ref()?;
    let commands = raw.commands.iter().enumerate();
    let commands = commands
        .filter_map(|(index, command)| argv(&format!("commands[{index}]"), command, findings))
        .collect();
    let mut one = |key: &str, command: &Option<Command>| {
        command.as_ref().and_then(|command| argv(key, command, findings))
    };
    let (test, reload) = (one("pull_test", &raw.pull_test), one("pull_reload", &raw.pull_reload));
    let repair = match raw.repair {
        RawRepair::Off => Repair::Off,
        RawRepair::Pull => {
            pull_rules(raw.files.is_empty(), test.is_none(), reload.is_none(), findings);
            Repair::Pull { test, reload }
        }
    };
    let wanted = Wanted {
        files: raw.files.clone(),
        ignore: raw.ignore.clone(),
        digest_only: raw.digest_only.clone(),
        pid_file: raw.applied.as_ref().and_then(|applied| applied.pid_file.clone()),
        // Which names and addresses they stand for does not matter to what can be read.
        variables: Variables { node: "node".to_owned(), links: Vec::new() },
    };
    for mistake in Settings::parse(&wanted).err().unwrap_or_default() {
        let index = mistake.index.map(|index| format!("[{index}]")).unwrap_or_default();
        findings.error(&format!("consistency.{}{index}", mistake.key), mistake.sentence);
    }
    Some(Consistency {
        files: raw.files.clone(),
        digest_only: raw.digest_only.clone(),
        ignore: raw.ignore.clone(),
        commands,
        packages: raw.packages.clone(),
        pid_file: wanted.pid_file,
        last_resort: raw.last_resort,
        repair,
    })
}

fn argv(key: &str, command: &Command, findings: &mut Findings) -> Option<Vec<String>> {
    let argv = command.argv();
    argv.map_err(|fault| findings.error(&format!("consistency.{key}"), fault)).ok()
}

fn pull_rules(no_files: bool, no_test: bool, no_reload: bool, findings: &mut Findings) {
    let path = "consistency.repair";
    if no_files {
        findings.error(path, "\"pull\" has nothing to fetch: name the files in consistency.files");
        return;
    }
    if no_test {
        findings.warn(
            path,
            "\"pull\" applies files untested: set consistency.pull_test, like \"nginx -t\"",
        );
    }
    if no_reload {
        findings.warn(
            path,
            "\"pull\" leaves files unloaded: set consistency.pull_reload, like \"systemctl reload \
             nginx\"",
        );
    }
}
