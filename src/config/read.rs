//! File text to [`RawConfig`], guided by the JSON Schema: every unknown key, wrong type, missing
//! key and broken bound is found in one pass, with its line.
//!
//! Serde alone would stop at the first. What is wrong is reported and left out, so that the
//! rules between keys are still checked on the rest.

use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeArray, DeInteger, DeTable, DeValue};

use super::leaf::{Kind, Size, Span};
use super::problem::{Findings, closest, did_you_mean, either, join, shown};
use super::raw::RawConfig;
use super::schema::schema;

/// Reads a file as far as it can be read; the rest is in the findings.
pub(super) fn read(text: &str, findings: &mut Findings) -> Option<RawConfig> {
    let (document, faults) = DeTable::parse_recoverable(text);
    let lines = Lines::of(text);
    findings.places.insert("", 1);
    if !faults.is_empty() {
        for fault in faults {
            let line = lines.line(fault.span().map_or(0, |span| span.start));
            findings.error_at(line, format!("is not TOML: {}", one_line(fault.message())));
        }
        return None;
    }
    let schema = schema();
    let mut homes = Vec::new();
    find_homes(&schema, "", &mut homes);
    let mut reader = Reader { findings, lines, homes };
    let table = reader.table("", document.get_ref(), &schema);
    match serde_json::from_value(Value::Object(table)) {
        Ok(raw) => Some(raw),
        Err(error) => {
            findings.error("", format!("cannot be read: {error}"));
            None
        }
    }
}

fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Where the lines of a text begin.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        Self(text.match_indices('\n').map(|(newline, _)| newline + 1).collect())
    }

    fn line(&self, offset: usize) -> usize {
        self.0.partition_point(|start| *start <= offset) + 1
    }
}

/// Every key of the file and the table it belongs to, for keys written in the wrong one.
fn find_homes(schema: &Value, table: &str, homes: &mut Vec<(String, String)>) {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return };
    for (name, property) in properties {
        homes.push((name.clone(), table.to_owned()));
        let below = if table.is_empty() { name.clone() } else { format!("{table}.{name}") };
        if let Some(items) = property.get("items") {
            find_homes(items, &format!("[{below}]"), homes);
        } else {
            find_homes(property, &below, homes);
        }
    }
}

struct Reader<'a> {
    findings: &'a mut Findings,
    lines: Lines,
    homes: Vec<(String, String)>,
}

impl Reader<'_> {
    fn table(&mut self, path: &str, table: &DeTable<'_>, schema: &Value) -> Map<String, Value> {
        let none = Map::new();
        let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&none);
        let others = schema.get("additionalProperties").filter(|others| others.is_object());
        let mut read = Map::new();
        let mut meant = Vec::new();
        for (key, value) in table {
            let path = join(path, key.get_ref());
            self.findings.places.insert(&path, self.lines.line(key.span().start));
            match properties.get(key.get_ref().as_ref()).or(others) {
                Some(schema) => {
                    if let Some(value) = self.value(&path, value, schema) {
                        read.insert(key.get_ref().to_string(), value);
                    }
                }
                None => meant.extend(self.unknown_key(&path, key.get_ref(), properties)),
            }
        }
        for name in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
            let name = name.as_str().unwrap_or_default();
            if !table.contains_key(name) && !meant.contains(&name) {
                let meaning = properties.get(name).map_or_else(String::new, first_sentence);
                self.findings.error(&join(path, name), format!("is missing; {meaning}"));
            }
        }
        read
    }

    /// Reports a key that the table does not know; what was meant, if that can be told.
    fn unknown_key<'k>(
        &mut self,
        path: &str,
        key: &str,
        known: &'k Map<String, Value>,
    ) -> Option<&'k str> {
        let meant = closest(key, known.keys().map(String::as_str));
        let home = self.homes.iter().find(|(name, _)| name == key).map(|(_, home)| home.as_str());
        let hint = match (meant, home) {
            (Some(name), _) => format!(" (did you mean \"{name}\"?)"),
            (None, Some("")) => "; it belongs above the first [table] of the file".to_owned(),
            (None, Some(home)) => format!("; it belongs in [{home}]"),
            (None, None) => {
                let names: Vec<_> = known.keys().map(String::as_str).collect();
                format!("; known here: {}", names.join(", "))
            }
        };
        self.findings.error(path, format!("unknown key{hint}"));
        meant
    }

    fn value(&mut self, path: &str, value: &Spanned<DeValue<'_>>, schema: &Value) -> Option<Value> {
        if let Some(variants) = schema.get("anyOf").and_then(Value::as_array) {
            return self.any_of(path, value, variants);
        }
        if let Some(variants) = schema.get("oneOf").and_then(Value::as_array) {
            return self.one_of(path, value, variants);
        }
        let expected = schema.get("type").and_then(Value::as_str).unwrap_or_default();
        match (value.get_ref(), expected) {
            (DeValue::Table(table), "object") => {
                Some(Value::Object(self.table(path, table, schema)))
            }
            (DeValue::Array(array), "array") => self.array(path, array, schema),
            (DeValue::String(text), "string") => self.string(path, text, schema),
            (DeValue::Integer(integer), "integer") => self.integer(path, integer, schema),
            (DeValue::Boolean(value), "boolean") => Some(Value::Bool(*value)),
            (DeValue::Table(_), "array") if has_tables(schema) => {
                self.findings.error(path, format!("is a list: write it as [[{path}]]"));
                None
            }
            (found, _) => {
                self.wrong_type(path, found, &[sort(schema)]);
                None
            }
        }
    }

    fn wrong_type(&mut self, path: &str, found: &DeValue<'_>, expected: &[String]) {
        let found = match found {
            DeValue::String(text) => format!("the string {}", shown(text)),
            DeValue::Integer(integer) => format!("the integer {integer}"),
            DeValue::Float(float) => format!("the float {float}"),
            DeValue::Boolean(value) => format!("the boolean {value}"),
            DeValue::Datetime(_) => "a date".to_owned(),
            DeValue::Array(_) => "an array".to_owned(),
            DeValue::Table(_) => "a table".to_owned(),
        };
        self.findings.error(path, format!("must be {}, not {found}", either(expected)));
    }

    /// Values of one of several types.
    fn any_of(
        &mut self,
        path: &str,
        value: &Spanned<DeValue<'_>>,
        variants: &[Value],
    ) -> Option<Value> {
        let found = value.get_ref();
        let fits = |variant: &&Value| match variant.get("type").and_then(Value::as_str) {
            Some("string") => found.is_str(),
            Some("array") => found.is_array(),
            Some("object") => found.is_table(),
            Some(_) | None => false,
        };
        if let Some(variant) = variants.iter().find(fits) {
            return self.value(path, value, variant);
        }
        let expected: Vec<_> = variants.iter().map(sort).collect();
        self.wrong_type(path, found, &expected);
        None
    }

    /// One of several words, or a table whose `kind` says what else it has.
    fn one_of(
        &mut self,
        path: &str,
        value: &Spanned<DeValue<'_>>,
        variants: &[Value],
    ) -> Option<Value> {
        let word_of = |variant: &Value| Some(variant.get("const")?.as_str()?.to_owned());
        let kind_of = |variant: &Value| word_of(variant.get("properties")?.get("kind")?);
        let words: Vec<_> = variants.iter().filter_map(word_of).collect();
        let kinds: Vec<_> = variants.iter().filter_map(kind_of).collect();
        let found = value.get_ref();
        if let (DeValue::String(text), false) = (found, words.is_empty()) {
            return self.word(path, text, &words);
        }
        let (DeValue::Table(table), false) = (found, kinds.is_empty()) else {
            let expected = if words.is_empty() { "a table".to_owned() } else { quoted(&words) };
            self.wrong_type(path, found, &[expected]);
            return None;
        };
        let path_of_kind = join(path, "kind");
        match table.get("kind").map(Spanned::get_ref) {
            Some(DeValue::String(kind)) => {
                self.word(&path_of_kind, kind, &kinds)?;
                let variant = variants.iter().find(|v| kind_of(v).as_deref() == Some(kind))?;
                return Some(Value::Object(self.table(path, table, variant)));
            }
            Some(other) => self.wrong_type(&path_of_kind, other, &[quoted(&kinds)]),
            None => {
                let message = format!("is missing; it is one of {}", quoted(&kinds));
                self.findings.error(&path_of_kind, message);
            }
        }
        None
    }

    fn word(&mut self, path: &str, text: &str, words: &[String]) -> Option<Value> {
        if words.iter().any(|word| word == text) {
            return Some(Value::from(text));
        }
        let hint = did_you_mean(text, words.iter().map(String::as_str));
        let message = format!("must be {}, not {}{hint}", quoted(words), shown(text));
        self.findings.error(path, message);
        None
    }

    fn array(&mut self, path: &str, array: &DeArray<'_>, schema: &Value) -> Option<Value> {
        let items = schema.get("items")?;
        let kind = kind(schema, "x-item-kind");
        let mut read = Vec::new();
        let mut whole = true;
        for (index, item) in array.iter().enumerate() {
            let path = format!("{path}[{index}]");
            self.findings.places.insert(&path, self.lines.line(item.span().start));
            let value = self.value(&path, item, items).filter(|value| match (kind, value) {
                (Some(kind), Value::String(text)) => self.kind(&path, kind, text),
                (Some(_) | None, _) => true,
            });
            // An empty table in place of a wrong one keeps the others at their index.
            match value {
                Some(value) => read.push(value),
                None if has_tables(schema) => read.push(Map::new().into()),
                None => whole = false,
            }
        }
        whole &= self.length(path, array.len(), "entries", schema, ["minItems", "maxItems"]);
        whole.then_some(Value::Array(read))
    }

    fn string(&mut self, path: &str, text: &str, schema: &Value) -> Option<Value> {
        let length = text.chars().count();
        let mut good = self.length(path, length, "characters", schema, ["minLength", "maxLength"]);
        if let Some(kind) = kind(schema, "x-kind") {
            good &= self.kind(path, kind, text) && self.bounds(path, kind, text, schema);
        }
        good.then(|| Value::from(text))
    }

    fn kind(&mut self, path: &str, kind: Kind, text: &str) -> bool {
        let fault = kind.fault(text);
        if let Err(fault) = &fault {
            self.findings.error(path, format!("{} {fault}", shown(text)));
        }
        fault.is_ok()
    }

    /// Bounds of durations and sizes.
    fn bounds(&mut self, path: &str, kind: Kind, text: &str, schema: &Value) -> bool {
        let bound = |name: &str| schema.get(name).and_then(Value::as_str);
        let (Some(least), Some(most)) = (bound("x-minimum"), bound("x-maximum")) else {
            return true;
        };
        let inside = if kind == Kind::Size {
            within::<Size>(text, least, most)
        } else {
            within::<Span>(text, least, most)
        };
        if !inside {
            let message = format!("must be {least} to {most}, not {}", shown(text));
            self.findings.error(path, message);
        }
        inside
    }

    fn integer(&mut self, path: &str, integer: &DeInteger<'_>, schema: &Value) -> Option<Value> {
        let bound = |name: &str| schema.get(name).and_then(Value::as_i64);
        let least = bound("minimum").unwrap_or(i64::MIN);
        let most = bound("maximum").unwrap_or(i64::MAX);
        let value = i64::from_str_radix(integer.as_str(), integer.radix()).ok();
        let value = value.filter(|value| (least..=most).contains(value));
        if value.is_none() {
            self.findings.error(path, format!("must be {least} to {most}, not {integer}"));
        }
        value.map(Value::from)
    }

    fn length(
        &mut self,
        path: &str,
        length: usize,
        unit: &str,
        schema: &Value,
        [least, most]: [&str; 2],
    ) -> bool {
        let bound = |name: &str| schema.get(name).and_then(Value::as_u64);
        let length = u64::try_from(length).unwrap_or(u64::MAX);
        let fault = match (bound(least), bound(most)) {
            (Some(least), _) if length < least && length == 0 => {
                format!("is empty, and must have at least {least}")
            }
            (Some(least), _) if length < least => {
                format!("has {length} {unit}, and must have at least {least}")
            }
            (_, Some(most)) if length > most => {
                format!("has {length} {unit}, and may have at most {most}")
            }
            (_, _) => return true,
        };
        self.findings.error(path, fault);
        false
    }
}

/// Whether an array's entries are tables.
fn has_tables(schema: &Value) -> bool {
    schema.get("items").is_some_and(|items| items.get("properties").is_some())
}

fn within<T: std::str::FromStr + Ord>(text: &str, least: &str, most: &str) -> bool {
    let (Ok(value), Ok(least), Ok(most)) = (text.parse::<T>(), least.parse(), most.parse()) else {
        return false;
    };
    (least..=most).contains(&value)
}

fn kind(schema: &Value, name: &str) -> Option<Kind> {
    serde_json::from_value(schema.get(name)?.clone()).ok()
}

fn quoted(words: &[String]) -> String {
    either(&words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>())
}

/// What a schema admits, for a sentence.
fn sort(schema: &Value) -> String {
    let kind = kind(schema, "x-kind");
    match (kind, schema.get("type").and_then(Value::as_str).unwrap_or_default()) {
        (Some(Kind::Duration), _) => "a duration in quotes, like \"200ms\"".to_owned(),
        (Some(Kind::Size), _) => "a size in quotes, like \"64MiB\"".to_owned(),
        (_, "array") => "an array".to_owned(),
        (_, "object") => "a table".to_owned(),
        (_, "integer") => "an integer".to_owned(),
        (_, other) => format!("a {other}"),
    }
}

fn first_sentence(schema: &Value) -> String {
    let text = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    let sentence = text.split_once(". ").map_or(text, |(first, _)| first);
    one_line(sentence.trim_end_matches('.'))
}
