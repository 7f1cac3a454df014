//! Health checks to effective priority: `rise`, `fall`, `weight`, as in keepalived (design 7).

use crate::config::{CheckConfig, CheckEffect, Config};
use crate::event::CheckState;
use crate::types::{GroupId, Priority, Timestamp};

/// One check's recent past.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Check {
    pub(crate) state: CheckState,
    pub(crate) since: Timestamp,
    /// Results in a row against the present state.
    against: u32,
}

impl Check {
    pub(crate) fn new(now: Timestamp) -> Self {
        Self { state: CheckState::Unknown, since: now, against: 0 }
    }

    /// Takes one result in. Whether the state changed.
    pub(crate) fn result(&mut self, now: Timestamp, passed: bool, config: &CheckConfig) -> bool {
        let (towards, needed) = if passed {
            (CheckState::Passing, config.rise)
        } else {
            (CheckState::Failing, config.fall)
        };
        if self.state == towards {
            self.against = 0;
            return false;
        }
        // From unknown the first pass counts at once: a healthy node need not wait to be so.
        let needed = if self.state == CheckState::Unknown && passed { 1 } else { needed };
        self.against = self.against.saturating_add(1);
        if self.against < needed {
            return false;
        }
        *self = Self { state: towards, since: now, against: 0 };
        true
    }
}

/// This node's priority in `group` after its checks; `None` if it cannot hold the group.
pub(crate) fn effective_priority(
    config: &Config,
    checks: &[Check],
    group: GroupId,
) -> Option<Priority> {
    let configured = config.priority(group, config.me)?;
    let lost = failing(config, checks, group)
        .filter_map(|check| match check.effect {
            CheckEffect::Weight(weight) => Some(weight),
            CheckEffect::Fatal => None,
        })
        .fold(0_u32, u32::saturating_add);
    Some(configured.less(lost))
}

/// Whether no fatal check fails for `group`.
pub(crate) fn is_healthy(config: &Config, checks: &[Check], group: GroupId) -> bool {
    failing(config, checks, group).all(|check| check.effect != CheckEffect::Fatal)
}

fn failing<'a>(
    config: &'a Config,
    checks: &'a [Check],
    group: GroupId,
) -> impl Iterator<Item = &'a CheckConfig> + 'a {
    let states = config.checks.iter().zip(checks);
    states
        .filter(move |(config, check)| check.state == CheckState::Failing && config.concerns(group))
        .map(|(config, _)| config)
}
