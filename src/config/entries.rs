//! Values as they were written: each with its place and its origin, before its key gives it a meaning.

use std::collections::BTreeMap;

use config::{Value as Parsed, ValueKind};
use serde_json::Value;

/// The suffix of a key whose value is the path of the file that holds the value.
pub(crate) const FILE_SUFFIX: &str = "_file";

/// The place of a key: `["databases", "main", "url"]`.
pub(crate) type Path = Vec<String>;

/// The way in which a value was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// `KEY = VALUE`
    Literal,
    /// `KEY_file = PATH`
    FilePath,
    /// In two ways at once, which is already reported.
    Ambiguous,
}

/// A value, its place and where it was written. No `Debug`: the value may be a secret.
#[derive(Clone)]
pub(crate) struct Leaf {
    pub(crate) path: Path,
    pub(crate) form: Form,
    pub(crate) value: Value,
    pub(crate) origin: String,
}

impl Leaf {
    /// A leaf; the path of `KEY_file` becomes that of `KEY`.
    pub(crate) fn new(mut path: Path, value: Value, origin: String) -> Self {
        let form = if strip_file_suffix(&mut path) { Form::FilePath } else { Form::Literal };
        Self { path, form, value, origin }
    }
}

fn strip_file_suffix(path: &mut Path) -> bool {
    let Some(last) = path.last_mut() else { return false };
    let start = last.len().saturating_sub(FILE_SUFFIX.len());
    let has_suffix = last.get(start..).is_some_and(|end| end.eq_ignore_ascii_case(FILE_SUFFIX));
    let is_file = has_suffix && start > 0;
    if is_file {
        last.truncate(start);
    }
    is_file
}

/// The leaves in force, by their place.
pub(crate) type Leaves = BTreeMap<Path, Leaf>;

/// A value whose references are replaced.
pub(crate) struct Entry {
    /// `None`: it has a problem, which is already reported.
    pub(crate) value: Option<Value>,
    pub(crate) origin: String,
    /// It came out of a reference, and may be a secret.
    pub(crate) is_secret: bool,
}

/// The entries of all layers together.
pub(crate) type Entries = BTreeMap<Path, Entry>;

/// The leaves of a parsed file, in the order of their keys.
pub(crate) fn leaves(table: impl IntoIterator<Item = (String, Parsed)>, origin: &str) -> Vec<Leaf> {
    let mut found = Vec::new();
    for (key, value) in table {
        collect(vec![key], value, origin, &mut found);
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn collect(path: Path, parsed: Parsed, origin: &str, found: &mut Vec<Leaf>) {
    if let ValueKind::Table(table) = &parsed.kind
        && !table.is_empty()
    {
        for (key, value) in table {
            collect([&path[..], std::slice::from_ref(key)].concat(), value.clone(), origin, found);
        }
        return;
    }
    found.push(Leaf::new(path, to_json(parsed), origin.to_owned()));
}

/// Converts a value that is not a section with keys; an empty section is null.
fn to_json(parsed: Parsed) -> Value {
    if let ValueKind::Float(number) = parsed.kind
        && !number.is_finite()
    {
        // JSON has no such number: as text it gets the message for a value of the wrong type.
        return Value::String(number.to_string());
    }
    let json = parsed.try_deserialize().unwrap_or_default();
    if json == Value::Object(serde_json::Map::new()) { Value::Null } else { json }
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
