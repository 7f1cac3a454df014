//! The digest of the part of the configuration that all nodes must share.

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use vipward_core::Digest;

use super::raw::{RawCheck, RawConfig, RawConsistency, RawGroup, RawHooks, RawNode};

/// What each node may have for itself.
const OWN: [&str; 4] = ["node", "admin", "state", "telemetry"];

/// SHA-256 of the canonical JSON of the file without `node`, `[admin]`, `[state]`, `[telemetry]`.
///
/// Canonical: keys sorted, one spelling for each duration, size and command; nodes and checks by
/// name, for their order has no meaning (that of groups has: the first keeps the reference). A
/// default that is written out equals one that is left out; both are left out here, so that a key
/// added in a later version changes no digest and a rolling upgrade quarantines nobody.
///
/// With it comes the same text, spread over lines for people.
pub(super) fn shared(raw: &RawConfig) -> Result<(Digest, String), serde_json::Error> {
    let canonical = canonical(raw)?;
    let digest = Digest(Sha256::digest(canonical.to_string()).into());
    Ok((digest, format!("{canonical:#}\n")))
}

/// The shared part, in its canonical form.
pub(super) fn canonical(raw: &RawConfig) -> Result<Value, serde_json::Error> {
    let mut shared = raw.clone();
    if let Some(nodes) = &mut shared.nodes {
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
    }
    shared.checks.sort_by(|a, b| a.name.cmp(&b.name));
    for check in &mut shared.checks {
        check.groups.iter_mut().for_each(|groups| groups.sort());
    }
    let mut value = serde_json::to_value(&shared)?;
    drop_null(&mut value);
    let defaults = [
        ("nodes", serde_json::to_value(RawNode::default())?),
        ("groups", serde_json::to_value(RawGroup::default())?),
        ("checks", serde_json::to_value(RawCheck::default())?),
    ];
    for (list, default) in &defaults {
        for entry in value.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            drop_defaults(entry, default);
        }
    }
    let default = RawConfig {
        consistency: Some(RawConsistency::default()),
        hooks: Some(RawHooks::default()),
        ..RawConfig::default()
    };
    drop_defaults(&mut value, &serde_json::to_value(default)?);
    value.sort_all_objects();
    if let Some(table) = value.as_object_mut() {
        OWN.iter().for_each(|key| drop(table.remove(*key)));
    }
    Ok(value)
}

/// Takes out keys that were not given.
fn drop_null(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(drop_null),
        Value::Object(table) => {
            table.retain(|_, value| !value.is_null());
            table.values_mut().for_each(drop_null);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Takes out what equals its default, and tables of which nothing is left.
fn drop_defaults(value: &mut Value, default: &Value) {
    let (Some(table), Some(defaults)) = (value.as_object_mut(), default.as_object()) else {
        return;
    };
    table.retain(|key, value| {
        let Some(default) = defaults.get(key) else { return true };
        drop_defaults(value, default);
        let emptied = default.is_object() && value.as_object().is_some_and(Map::is_empty);
        value != default && !emptied
    });
}
