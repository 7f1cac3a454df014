//! The operator's commands.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::leaf::Command;

/// `[hooks]`
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct RawHooks {
    /// Run one after another when this node became Master of a group.
    #[schemars(length(max = 16))]
    pub on_master: Vec<Command>,
    /// Run when another leads it.
    #[schemars(length(max = 16))]
    pub on_backup: Vec<Command>,
    /// Run when this node lost its majority, or gave its mastership up, and serves on.
    #[schemars(length(max = 16))]
    pub on_holding: Vec<Command>,
    /// Run when an alarm was raised.
    #[schemars(length(max = 16))]
    pub on_alarm: Vec<Command>,
}
