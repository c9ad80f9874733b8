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
    /// The value when none is given, as it would be written in a variable.
    pub(crate) default: &'static str,
    /// The default depends on other things: its text are words.
    pub(crate) is_derived: bool,
    /// One or two sentences of documentation.
    pub(crate) about: &'static str,
    /// The way to change the value while the server runs, if there is one.
    pub(crate) change: Option<&'static str>,
}

/// The changes without a restart.
pub(crate) const REREAD: &str = "files that it refers to are read again when they change";
pub(crate) const RESIZE: &str = "`rowgate pool resize`, until the server ends";

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
        let checked = || self.value_type.check(&Value::from(self.default));
        (!self.is_derived).then(|| checked().expect("a test checks all defaults"))
    }

    /// The words for a default that depends on other things.
    pub(crate) fn derived_default(&self) -> Option<&'static str> {
        self.is_derived.then_some(self.default)
    }

    /// A value in TOML that means the default: the default itself, or the word for it.
    pub(crate) fn default_literal(&self) -> String {
        use ValueType::{Bool, Integer, Ratio, Settings};
        if self.is_derived {
            quote(self.value_type.default_word().unwrap_or(EMBEDDED_URL))
        } else if matches!(self.value_type, Integer(..) | Ratio | Bool | Settings) {
            self.default.to_owned()
        } else {
            quote(self.default)
        }
    }

    /// Returns true if a value stands for a default that is derived: `auto`, or an empty path.
    pub(crate) fn is_default_word(&self, written: &Value) -> bool {
        let word = self.value_type.default_word();
        self.is_derived && word.is_some() && written.as_str() == word
    }
}
