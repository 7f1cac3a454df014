//! The JSON Schema of the configuration file.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

use super::raw::RawConfig;

/// The JSON Schema of the configuration file, for editors and for checks elsewhere.
///
/// `x-kind` says what a string must be beyond its `pattern`; `x-minimum` and `x-maximum` bound
/// durations and sizes.
#[must_use]
pub fn schema() -> Value {
    let settings =
        SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<RawConfig>().to_value();
    without_null(&mut schema);
    schema
}

/// TOML has no null: takes it out everywhere. What has no default but null, and yet does not
/// admit null, is marked `required` in `raw`.
fn without_null(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(without_null),
        Value::Object(schema) => {
            require(schema);
            if let Some(Value::Object(default)) = schema.get_mut("default") {
                default.retain(|_, value| !value.is_null());
            }
            if let Some(Value::Array(types)) = schema.get_mut("type") {
                types.retain(|name| name != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    schema.insert("type".to_owned(), only);
                }
            }
            if let Some(Value::Array(variants)) = schema.get_mut("anyOf") {
                variants.retain(|variant| !is_null(variant));
                if let [Value::Object(only)] = variants.as_mut_slice() {
                    let only = std::mem::take(only);
                    schema.remove("anyOf");
                    only.into_iter().for_each(|(key, value)| {
                        schema.entry(key).or_insert(value);
                    });
                }
            }
            schema.values_mut().for_each(without_null);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn require(schema: &mut Map<String, Value>) {
    let Some(Value::Object(properties)) = schema.get_mut("properties") else { return };
    let mut required = Vec::new();
    for (name, property) in properties.iter_mut() {
        let Value::Object(property) = property else { continue };
        if property.get("default") == Some(&Value::Null) {
            property.remove("default");
            if !admits_null(property) {
                required.push(Value::from(name.as_str()));
            }
        }
    }
    if !required.is_empty() {
        schema.insert("required".to_owned(), Value::Array(required));
    }
}

fn admits_null(schema: &Map<String, Value>) -> bool {
    let listed = |key: &str, found: &dyn Fn(&Value) -> bool| {
        schema.get(key).and_then(Value::as_array).is_some_and(|values| values.iter().any(found))
    };
    listed("type", &|name| name == "null") || listed("anyOf", &is_null)
}

fn is_null(schema: &Value) -> bool {
    schema.get("type").is_some_and(|name| name == "null")
}
