//! Values as they were written: each with its key and its origin, before its key gives it a meaning.

use std::collections::BTreeMap;

use config::{Map, Value as Parsed, ValueKind};
use serde_json::Value;

/// The suffix of a key whose value is the path of the file that holds the value.
pub(crate) const FILE_SUFFIX: &str = "_file";

/// A value and where it was written. No `Debug`: the value may be a secret.
#[derive(Clone)]
pub(crate) struct Entry {
    /// `databases.main.url`, for `databases.main.url_file` too.
    pub(crate) key: String,
    pub(crate) value: Value,
    pub(crate) origin: String,
    /// `KEY_file = PATH`: the value is the path of the file that contains it.
    pub(crate) is_path: bool,
}

/// The entries in force, by their keys.
pub(crate) type Entries = BTreeMap<String, Entry>;

impl Entry {
    pub(crate) fn new(written: &str, value: impl Into<Value>, origin: String) -> Self {
        let suffix_at = written.len().checked_sub(FILE_SUFFIX.len());
        let parts = suffix_at.and_then(|at| written.split_at_checked(at));
        let stripped = parts.filter(|(key, suffix)| {
            suffix.eq_ignore_ascii_case(FILE_SUFFIX) && !key.is_empty() && !key.ends_with('.')
        });
        let key = stripped.map_or(written, |(key, _)| key).to_owned();
        Self { key, value: value.into(), origin, is_path: stripped.is_some() }
    }
}

/// The entries of a parsed file, in the order of their keys.
pub(crate) fn of_file(table: Map<String, Parsed>, origin: &str) -> Vec<Entry> {
    let mut found = Vec::new();
    collect("", table, origin, &mut found);
    found.sort_by(|a, b| (&a.key, a.is_path).cmp(&(&b.key, b.is_path)));
    found
}

fn collect(prefix: &str, table: Map<String, Parsed>, origin: &str, found: &mut Vec<Entry>) {
    for (name, parsed) in table {
        // A point within a name separates no section: it is escaped, as in a string of TOML.
        let key = format!("{prefix}{}", name.replace('.', "\\u002E"));
        let value = if let ValueKind::Table(table) = parsed.kind {
            if !table.is_empty() {
                collect(&format!("{key}."), table, origin, found);
                continue;
            }
            Value::Null
        } else if let ValueKind::Float(number) = parsed.kind
            && !number.is_finite()
        {
            // JSON has no such number: as text it gets the message for a value of the wrong type.
            number.to_string().into()
        } else {
            parsed.try_deserialize().unwrap_or_default()
        };
        found.push(Entry::new(&key, value, origin.to_owned()));
    }
}

/// A value in TOML's syntax.
pub(crate) fn literal(value: &Value) -> String {
    match value {
        Value::String(text) => quote(text),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(literal).collect::<Vec<_>>().join(", "))
        }
        Value::Null => String::new(),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.to_string(),
    }
}

/// A string in TOML's syntax: JSON's, but for the one control character that JSON lets pass.
pub(crate) fn quote(text: &str) -> String {
    Value::from(text).to_string().replace('\u{7f}', "\\u007F")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_literal_is_read_back_as_the_same_text() {
        let text = "a \"quoted\" \\ line\n\twith \u{7f} and ü";
        let toml = format!("k = {}", quote(text));
        let table = config::Format::parse(&config::FileFormat::Toml, None, &toml).unwrap();
        assert_eq!(table["k"].clone().into_string().unwrap(), text);
    }
}
