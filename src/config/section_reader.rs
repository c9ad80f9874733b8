//! Reads the keys of sections out of the entries, and collects the problems of their values.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::entries::{Entries, Entry, Path, literal, quote};
use super::problem::{Problem, ValueError};
use super::schema::key::{Key, Section};
use super::secrets::secret::MASK;

/// The part of a key that stands for the name of a database.
pub(crate) const NAME: &str = "NAME";

/// The effective value of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// `databases.main.pool.max`
    pub key: String,
    /// The value in TOML's syntax; secrets are masked.
    pub value: String,
    /// `default`, `rowgate.toml`, `environment ROWGATE__…`, `DATABASE_URL`, `flag --listen`.
    pub origin: String,
    /// The relation of the value to what was written.
    pub(crate) status: Status,
}

/// The relation of an effective value to what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// Nothing was written, or a word for the default.
    Default,
    /// The value was written.
    Written,
    /// The default stands in for a value whose problem is reported.
    Invalid,
}

/// The origin of a default.
pub(crate) const DEFAULT: &str = "default";

impl Setting {
    /// A problem of this value.
    pub(crate) fn problem(&self, why: impl Into<String>) -> Problem {
        Problem::new(&self.key, why).value(&self.value).origin(&self.origin)
    }
}

/// Reads one section after the other.
pub(crate) struct SectionReader<'a> {
    entries: &'a Entries,
    /// The database whose sections are read.
    database: String,
    pub(crate) problems: Vec<Problem>,
    pub(crate) warnings: Vec<String>,
    pub(crate) settings: Vec<Setting>,
}

impl<'a> SectionReader<'a> {
    pub(crate) fn new(entries: &'a Entries) -> Self {
        Self {
            entries,
            database: String::new(),
            problems: Vec::new(),
            warnings: Vec::new(),
            settings: Vec::new(),
        }
    }

    /// From now on, `NAME` in a key is this database.
    pub(crate) fn enter_database(&mut self, name: &str) {
        name.clone_into(&mut self.database);
    }

    /// The whole name of a key.
    pub(crate) fn full_name(&self, key: &str) -> String {
        key.replace(NAME, &self.database)
    }

    /// The entry of a key, if anything was written.
    pub(crate) fn entry(&self, key: &str) -> Option<&'a Entry> {
        let path: Path = self.full_name(key).split('.').map(str::to_owned).collect();
        self.entries.get(&path).filter(|entry| entry.value != Some(Value::Null))
    }

    /// The value of a key, or its constant default.
    pub(crate) fn read<T: DeserializeOwned>(&mut self, section: &Section, name: &str) -> T {
        let key = section.key(name);
        let default =
            key.constant_default().expect("a key without a constant has a derived default");
        self.read_value(section, key, default)
    }

    /// The value of a key, or a default that depends on other things.
    pub(crate) fn read_or<T>(&mut self, section: &Section, name: &str, default: T) -> T
    where
        T: Serialize + DeserializeOwned,
    {
        let default = serde_json::to_value(default).expect("values of fields are plain data");
        self.read_value(section, section.key(name), default)
    }

    fn read_value<T: DeserializeOwned>(
        &mut self,
        section: &Section,
        key: &Key,
        default: Value,
    ) -> T {
        let full = section.full_name(key.name);
        let mut setting = Setting {
            key: self.full_name(&full),
            value: String::new(),
            origin: DEFAULT.to_owned(),
            status: Status::Default,
        };
        let mut value = None;
        let is_written = |entry: &&Entry| {
            !entry.value.as_ref().is_some_and(|written| key.is_default_word(written))
        };
        if let Some(entry) = self.entry(&full).filter(is_written) {
            setting.origin.clone_from(&entry.origin);
            value = self.check(key, &setting.key, entry);
            setting.status = if value.is_some() { Status::Written } else { Status::Invalid };
            if entry.is_secret && value.is_some() {
                setting.value = quote(MASK);
            }
        }
        let value = value.unwrap_or(default);
        if setting.value.is_empty() {
            let shown =
                if value.is_null() { key.default_literal() } else { key.value_type.show(&value) };
            setting.value = shown;
        }
        self.settings.push(setting);
        serde_json::from_value(value).expect("a checked value fits the field of its key")
    }

    fn check(&mut self, key: &Key, full: &str, entry: &Entry) -> Option<Value> {
        let written = entry.value.as_ref()?;
        let error = match key.value_type.check(written) {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        let is_hidden = entry.is_secret || key.value_type.hides(written);
        let shown = if is_hidden { MASK.to_owned() } else { abridge(literal(written)) };
        self.problems.push(error.of(full).value(shown).origin(&entry.origin));
        None
    }

    /// The setting of a key that was read.
    pub(crate) fn setting(&self, key: &str) -> &Setting {
        let full = self.full_name(key);
        let found = self.settings.iter().find(|setting| setting.key == full);
        found.expect("keys are compared after their sections are read")
    }

    /// Replaces the value that is shown of a key that was read.
    pub(crate) fn show(&mut self, key: &str, value: String, origin: Option<String>) {
        let full = self.full_name(key);
        let setting = self.settings.iter_mut().find(|setting| setting.key == full);
        if let Some(setting) = setting {
            setting.value = value;
            setting.origin = origin.unwrap_or_else(|| DEFAULT.to_owned());
        }
    }

    /// Reports that a value cannot be used.
    pub(crate) fn report(&mut self, key: &str, error: ValueError) {
        let setting = self.setting(key);
        let problem = setting.problem(error.why);
        self.problems.push(Problem { instead: error.instead, ..problem });
    }

    /// Reports that two keys contradict each other, unless one of them is known to be wrong.
    pub(crate) fn require(&mut self, holds: bool, key: &str, relation: &str, other: &str) {
        let one = self.setting(key);
        let two = self.setting(other);
        if holds || one.status == Status::Invalid || two.status == Status::Invalid {
            return;
        }
        let why = format!("this {relation} {}, which is {}", two.key, two.value);
        self.problems.push(one.problem(why).instead("Change one of them."));
    }
}

/// Shortens a value that is too long to be shown.
fn abridge(literal: String) -> String {
    const LONGEST: usize = 80;
    match literal.char_indices().nth(LONGEST) {
        None => literal,
        Some((end, _)) => format!("{}…", &literal[..end]),
    }
}
