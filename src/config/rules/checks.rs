//! Rules of `[[checks]]`: what is tried, how often, and what failing does.

use vipward_core::{CheckEffect, GroupId};

use super::super::leaf::Span;
use super::super::problem::{Findings, did_you_mean, either};
use super::super::raw::{RawCheck, RawConfig, RawGroup};
use super::super::typed::{Check, CheckKind};
use super::unique;

const TIMEOUT: Span = Span::from_millis(500);

/// Every check that could be read whole.
pub(super) fn checks(raw: &RawConfig, findings: &mut Findings) -> Vec<Check> {
    let checks = raw.checks.iter().enumerate();
    let checks = checks
        .filter_map(|(index, check)| read(&format!("checks[{index}]"), check, raw, findings))
        .collect();
    let named = raw.checks.iter().enumerate();
    unique(
        findings,
        named.filter_map(|(i, check)| Some((format!("checks[{i}].name"), check.name.as_ref()?))),
        "give every check its own name",
    );
    checks
}

fn read(path: &str, raw: &RawCheck, config: &RawConfig, findings: &mut Findings) -> Option<Check> {
    // All are tried before the first missing one ends the check, so that each is reported.
    let kind = kind(path, raw, findings);
    let timeout = timeout(path, raw, findings);
    let effect = effect(path, raw, findings);
    let groups = groups(path, raw, config, findings);
    if effect.is_some_and(|effect| matches!(effect, CheckEffect::Weight(_))) {
        weight_moves(path, raw, config, findings);
    }
    Some(Check {
        name: raw.name.clone()?,
        kind: kind?,
        interval: raw.interval.0,
        timeout: timeout.0,
        rise: raw.rise,
        fall: raw.fall,
        effect: effect?,
        groups: groups?,
    })
}

const KINDS: [&str; 6] = ["http", "tcp", "command", "process", "unit", "interface"];

fn kind(path: &str, raw: &RawCheck, findings: &mut Findings) -> Option<CheckKind> {
    // What the file says, be it readable or not.
    let present: Vec<_> =
        KINDS.into_iter().filter(|key| findings.places.has(&format!("{path}.{key}"))).collect();
    match present.as_slice() {
        [] => {
            findings.error(
                path,
                format!("says nothing to check; add {}", either(&KINDS.map(str::to_owned))),
            );
            None
        }
        [_] => built(path, raw, findings),
        [first, .., last] => {
            findings.error(
                &format!("{path}.{last}"),
                format!("{first} stands here already; a check tries one thing: make two checks"),
            );
            None
        }
    }
}

fn built(path: &str, raw: &RawCheck, findings: &mut Findings) -> Option<CheckKind> {
    if let Some(url) = &raw.http {
        if url.starts_with("https:") {
            findings.error(
                &format!("{path}.http"),
                "https is not in this version; take a plain http page on this machine, tcp, or a \
                 command",
            );
        }
        return Some(CheckKind::Http { url: url.clone() });
    }
    if let Some(addr) = raw.tcp {
        return Some(CheckKind::Tcp { addr });
    }
    if let Some(name) = &raw.process {
        return Some(CheckKind::Process { name: name.clone() });
    }
    if let Some(name) = &raw.interface {
        is_interface(&format!("{path}.interface"), name, findings);
        return Some(CheckKind::Interface { name: name.clone() });
    }
    if let Some(name) = &raw.unit {
        // As systemctl does it: a name without a type is a service.
        let service = if name.contains('.') { "" } else { ".service" };
        return Some(CheckKind::Unit { name: format!("{name}{service}") });
    }
    let argv = raw.command.as_ref()?.argv();
    argv.map(|argv| CheckKind::Command { argv })
        .map_err(|fault| findings.error(&format!("{path}.command"), fault))
        .ok()
}

/// Reports a name that the kernel does not take.
pub(super) fn is_interface(path: &str, name: &str, findings: &mut Findings) {
    let fits = |byte: u8| byte != b'/' && byte != b':' && !byte.is_ascii_whitespace();
    if (1..16).contains(&name.len()) && ![".", ".."].contains(&name) && name.bytes().all(fits) {
        return;
    }
    findings.error(
        path,
        format!(
            "{name:?} is no interface's name: those have at most 15 bytes, without `/`, `:` and \
             blanks; `ip link` lists them"
        ),
    );
}

fn timeout(path: &str, raw: &RawCheck, findings: &mut Findings) -> Span {
    let Some(timeout) = raw.timeout else { return TIMEOUT.min(raw.interval) };
    if timeout > raw.interval {
        findings.error(
            &format!("{path}.timeout"),
            format!(
                "{timeout} is longer than the interval of {}, so runs would overlap; shorten it, \
                 or lengthen the interval",
                raw.interval
            ),
        );
    }
    timeout
}

fn effect(path: &str, raw: &RawCheck, findings: &mut Findings) -> Option<CheckEffect> {
    let weighed = findings.places.has(&format!("{path}.weight"));
    match (raw.fatal, weighed) {
        (true, false) => Some(CheckEffect::Fatal),
        (false, true) => raw.weight.map(CheckEffect::Weight),
        (true, true) => {
            findings.error(
                &format!("{path}.fatal"),
                "a check has a weight or is fatal, not both; take one out",
            );
            None
        }
        (false, false) => {
            if !findings.has_error(&format!("{path}.fatal")) {
                findings.error(
                    path,
                    "failing has no effect; add weight = 1..253 (taken off the priority) or fatal \
                     = true",
                );
            }
            None
        }
    }
}

fn groups(
    path: &str,
    raw: &RawCheck,
    config: &RawConfig,
    findings: &mut Findings,
) -> Option<Vec<GroupId>> {
    let Some(wanted) = &raw.groups else { return Some(Vec::new()) };
    let path = format!("{path}.groups");
    let entries = wanted.iter().enumerate().map(|(i, name)| (format!("{path}[{i}]"), name));
    unique(findings, entries.clone(), "name a group once");
    let all: Option<Vec<&str>> =
        config.groups.as_ref()?.iter().map(|group| group.name.as_deref()).collect();
    let all = all?;
    let mut groups = Vec::new();
    for (path, name) in entries {
        if let Some((id, _)) = (0..).map(GroupId).zip(&all).find(|(_, known)| *known == name) {
            groups.push(id);
        } else {
            let hint = did_you_mean(name, all.iter().copied());
            let names: Vec<_> = all.iter().map(|&name| name.to_owned()).collect();
            let message = format!("no such group {name:?}{hint}; take {}", either(&names));
            findings.error(&path, message);
        }
    }
    Some(groups)
}

/// A lowered priority moves nothing where a better node takes no living master's place.
fn weight_moves(path: &str, raw: &RawCheck, config: &RawConfig, findings: &mut Findings) {
    let concerned = |group: &&RawGroup| match (&raw.groups, &group.name) {
        (Some(groups), Some(name)) => groups.contains(name),
        (None, _) => true,
        (Some(_), None) => false,
    };
    let still: Vec<_> = config
        .groups
        .iter()
        .flatten()
        .filter(|group| !group.preempt)
        .filter(concerned)
        .filter_map(|group| group.name.clone())
        .collect();
    if !still.is_empty() {
        let still = either(&still).replace(" or ", " and ");
        findings.warn(
            &format!("{path}.weight"),
            format!(
                "moves nothing unless preempt = true, which {still} has not: there it only orders \
                 the candidates of the next failover; set preempt = true, or fatal = true here"
            ),
        );
    }
}
