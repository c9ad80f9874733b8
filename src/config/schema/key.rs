//! The table of keys: what is known of each key before any value is read.

use serde_json::Value;

use super::super::entries::quote;
use super::value_types::ValueType;

/// The URL of the database that exists without any configuration.
pub(crate) const EMBEDDED_URL: &str = "sqlite:rowgate.db";

/// A section: where its keys are, and its purpose.
#[derive(Debug)]
pub(crate) struct Section {
    /// The keys' prefix: `grpc`, `databases.NAME.pool`; empty for the keys of no section.
    pub(crate) path: &'static str,
    pub(crate) about: &'static str,
    pub(crate) keys: &'static [Key],
}

/// A key of the configuration.
#[derive(Debug)]
pub(crate) struct Key {
    /// Its name within the section, which is also the name of the field.
    pub(crate) name: &'static str,
    pub(crate) value_type: ValueType,
    pub(crate) default: DefaultValue,
    /// One or two sentences of documentation.
    pub(crate) about: &'static str,
    pub(crate) change: Change,
}

/// The value of a key that is not given.
#[derive(Debug, Clone, Copy)]
pub(crate) enum DefaultValue {
    /// A constant, as it would be written in a variable.
    Constant(&'static str),
    /// A value that depends on other things, in words.
    Derived(&'static str),
}

/// The way to change a key while the server runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// The server has to be restarted.
    Restart,
    /// Files that the value refers to are read again when they change.
    Reread,
    /// `rowgate pool resize`, until the server ends.
    Resize,
}

impl Section {
    /// A key of this section by its name.
    pub(crate) fn key(&self, name: &str) -> &'static Key {
        let key = self.keys.iter().find(|key| key.name == name);
        key.expect("a section reads the keys that it declares")
    }

    /// The whole name of a key; for a database with `NAME` in place of its name.
    pub(crate) fn full_name(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}

impl Key {
    /// A constant default as a checked value.
    pub(crate) fn constant_default(&self) -> Option<Value> {
        let DefaultValue::Constant(text) = self.default else { return None };
        let checked = self.value_type.check(&Value::from(text));
        Some(checked.expect("a test checks all defaults"))
    }

    /// A value in TOML that means the default: the default itself, or the word for it.
    pub(crate) fn default_literal(&self) -> String {
        use ValueType::{Bool, Integer, Ratio};
        match self.default {
            DefaultValue::Constant(text)
                if matches!(self.value_type, Integer(..) | Ratio | Bool) =>
            {
                text.to_owned()
            }
            DefaultValue::Constant(text) => quote(text),
            DefaultValue::Derived(_) => {
                quote(self.value_type.default_word().unwrap_or(EMBEDDED_URL))
            }
        }
    }

    /// Returns true if a value stands for a default that is derived: `auto`, or an empty path.
    pub(crate) fn is_default_word(&self, written: &Value) -> bool {
        let is_derived = matches!(self.default, DefaultValue::Derived(_));
        is_derived && written.is_string() && written.as_str() == self.value_type.default_word()
    }
}

impl Change {
    /// The way to change the value without a restart, if there is one.
    pub(crate) fn without_restart(self) -> Option<&'static str> {
        match self {
            Self::Restart => None,
            Self::Reread => Some("files that it refers to are read again when they change"),
            Self::Resize => Some("`rowgate pool resize`, until the server ends"),
        }
    }
}
