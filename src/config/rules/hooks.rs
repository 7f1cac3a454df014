//! Rules of `[hooks]`: each command splits into a program and its arguments.

use super::super::leaf::Command;
use super::super::problem::Findings;
use super::super::raw::RawConfig;
use super::super::typed::Hooks;

pub(super) fn hooks(raw: &RawConfig, findings: &mut Findings) -> Hooks {
    let hooks = raw.hooks.clone().unwrap_or_default();
    Hooks {
        on_master: argvs("on_master", &hooks.on_master, findings),
        on_backup: argvs("on_backup", &hooks.on_backup, findings),
        on_holding: argvs("on_holding", &hooks.on_holding, findings),
        on_alarm: argvs("on_alarm", &hooks.on_alarm, findings),
    }
}

fn argvs(key: &str, commands: &[Command], findings: &mut Findings) -> Vec<Vec<String>> {
    let mut read = |(index, command): (usize, &Command)| {
        let argv = command.argv();
        argv.map_err(|fault| findings.error(&format!("hooks.{key}[{index}]"), fault)).ok()
    };
    commands.iter().enumerate().filter_map(&mut read).collect()
}
