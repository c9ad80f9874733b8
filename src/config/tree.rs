//! What was written, before it means anything: leaves of a tree, each with its origin.

use std::collections::BTreeMap;

use config::{Value, ValueKind};

/// A value as it was written. No `Debug`: it may be a secret.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Raw {
    /// A string.
    Text(String),
    /// A number, as text.
    Number(String),
    /// `true` or `false`.
    Switch(bool),
    /// A list.
    List(Vec<Raw>),
    /// An empty section, or null.
    Nothing,
    /// Something that is already reported as a problem.
    Broken,
}

impl Raw {
    /// As TOML writes it.
    pub(crate) fn literal(&self) -> String {
        match self {
            Self::Text(text) => quote(text),
            Self::Number(number) => number.clone(),
            Self::Switch(switch) => switch.to_string(),
            Self::List(items) => {
                let items: Vec<_> = items.iter().map(Self::literal).collect();
                format!("[{}]", items.join(", "))
            }
            Self::Nothing | Self::Broken => String::new(),
        }
    }
}

/// A key's place: `["databases", "main", "url"]`.
pub(crate) type Path = Vec<String>;

/// A value, its place and where it was written.
#[derive(Clone)]
pub(crate) struct Leaf {
    pub(crate) path: Path,
    pub(crate) raw: Raw,
    pub(crate) origin: String,
}

/// A value after references were resolved.
pub(crate) struct Entry {
    pub(crate) raw: Raw,
    pub(crate) origin: String,
    /// It came out of a reference, and may be a secret.
    pub(crate) secret: bool,
}

/// All layers, one upon the other.
pub(crate) type Entries = BTreeMap<Path, Entry>;

/// The leaves of a parsed file, in the order of their keys.
pub(crate) fn leaves<I>(table: I, origin: &str) -> Vec<Leaf>
where
    I: IntoIterator<Item = (String, Value)>,
{
    let mut found = Vec::new();
    for (key, value) in table {
        collect(vec![key], value, origin, &mut found);
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn collect(path: Path, value: Value, origin: &str, found: &mut Vec<Leaf>) {
    let raw = match value.kind {
        ValueKind::Table(table) if !table.is_empty() => {
            for (key, value) in table {
                let mut path = path.clone();
                path.push(key);
                collect(path, value, origin, found);
            }
            return;
        }
        ValueKind::Table(_) | ValueKind::Nil => Raw::Nothing,
        ValueKind::String(text) => Raw::Text(text),
        ValueKind::Boolean(switch) => Raw::Switch(switch),
        ValueKind::I64(number) => Raw::Number(number.to_string()),
        ValueKind::I128(number) => Raw::Number(number.to_string()),
        ValueKind::U64(number) => Raw::Number(number.to_string()),
        ValueKind::U128(number) => Raw::Number(number.to_string()),
        ValueKind::Float(number) => Raw::Number(number.to_string()),
        ValueKind::Array(items) => Raw::List(items.into_iter().map(item).collect()),
    };
    found.push(Leaf { path, raw, origin: origin.to_owned() });
}

/// An item of a list, which no key takes as a table.
fn item(value: Value) -> Raw {
    let mut leaves = Vec::new();
    collect(Path::new(), value, "", &mut leaves);
    match leaves.pop() {
        Some(leaf) if leaf.path.is_empty() => leaf.raw,
        Some(_) | None => Raw::Nothing,
    }
}

/// A string in TOML's syntax.
pub(crate) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            control if control.is_control() => {
                quoted.push_str(&format!("\\u{:04X}", u32::from(control)));
            }
            plain => quoted.push(plain),
        }
    }
    quoted.push('"');
    quoted
}
