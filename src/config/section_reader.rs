//! Reads the keys of sections out of the entries, and collects the problems of their values.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::entries::{Entries, Entry, literal, quote};
use super::initial_settings::InitialSettings;
use super::problem::{Problem, ValueError};
use super::schema::key::{Key, Section};
use super::schema::value_types::ValueType;
use super::secrets::interpolation::{Resolved, Resolver};
use super::secrets::secret::MASK;
use super::source::Environment;
use super::written::Written;

/// The part of a key that stands for the name of a database or of a caller.
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
const DEFAULT: &str = "default";

impl Setting {
    /// A problem of this value.
    pub(crate) fn problem(&self, why: impl Into<String>) -> Problem {
        Problem::new(&self.key, why).value(&self.value).origin(&self.origin)
    }
}

/// Reads one section after the other.
pub(crate) struct SectionReader<'a> {
    pub(crate) entries: &'a Arc<Entries>,
    pub(crate) environment: &'a Arc<Environment>,
    resolver: Resolver<'a>,
    /// The database or the caller whose sections are read: `NAME` in a key.
    pub(crate) name: String,
    pub(crate) problems: Vec<Problem>,
    pub(crate) warnings: Vec<String>,
    pub(crate) settings: Vec<Setting>,
}

impl<'a> SectionReader<'a> {
    /// Returns the files that values were read from so far.
    pub(crate) fn files(&self) -> BTreeSet<PathBuf> {
        self.resolver.files()
    }

    pub(crate) fn new(entries: &'a Arc<Entries>, environment: &'a Arc<Environment>) -> Self {
        Self {
            entries,
            environment,
            resolver: Resolver::new(environment),
            name: String::new(),
            problems: Vec::new(),
            warnings: Vec::new(),
            settings: Vec::new(),
        }
    }

    /// The configuration, to be read again.
    pub(crate) fn written(&self) -> Written {
        let entries = Arc::clone(self.entries);
        Written { entries, environment: Arc::clone(self.environment) }
    }

    /// The whole name of a key.
    pub(crate) fn full_name(&self, key: &str) -> String {
        key.replace(NAME, &self.name)
    }

    /// The value of a key; without one its constant default, or the default that was derived.
    pub(crate) fn read<T>(&mut self, section: &Section, name: &str, derived: Option<T>) -> T
    where
        T: Serialize + DeserializeOwned,
    {
        let key = section.key(name);
        if matches!(key.value_type, ValueType::Settings) {
            let settings = self.read_settings(&section.full_name(key.name), key);
            return serde_json::from_value(json!(settings)).expect("its field has settings");
        }
        let mut value = key.constant_default().unwrap_or_else(|| {
            serde_json::to_value(derived).expect("values of fields are plain data")
        });
        let shown =
            if value.is_null() { key.default_literal() } else { key.value_type.show(&value) };
        let mut setting = Setting {
            key: self.full_name(&section.full_name(key.name)),
            value: shown,
            origin: DEFAULT.to_owned(),
            status: Status::Default,
        };
        let entry = self.entries.get(&setting.key).filter(|entry| !entry.value.is_null());
        if let Some(entry) = entry {
            match self.check(key, entry) {
                Ok(None) => {}
                Ok(Some(written)) => {
                    value = written.value;
                    let shown = key.value_type.show(&value);
                    setting.value = if written.is_secret { quote(MASK) } else { shown };
                    setting.status = Status::Written;
                    setting.origin.clone_from(&entry.origin);
                }
                Err(problem) => {
                    self.problems.push(problem);
                    setting.status = Status::Invalid;
                    setting.origin.clone_from(&entry.origin);
                }
            }
        }
        self.settings.push(setting);
        serde_json::from_value(value).expect("a checked value fits the field of its key")
    }

    /// The table of settings below a key: each is an entry of its own.
    fn read_settings(&mut self, name: &str, key: &Key) -> InitialSettings {
        let name = self.full_name(name);
        let entries = self.entries;
        if let Some(entry) = entries.get(&name).filter(|entry| !entry.value.is_null())
            && let Err(problem) = self.check(key, entry)
        {
            self.problems.push(problem);
        }
        let start = format!("{name}.");
        let below = entries.range(start.clone()..).take_while(|(key, _)| key.starts_with(&start));
        let mut settings = InitialSettings::default();
        for (key, entry) in below.filter(|(_, entry)| !entry.value.is_null()) {
            let Resolved { value, is_secret } = match self.resolver.resolve(entry) {
                Ok(resolved) => resolved,
                Err(problem) => {
                    self.problems.push(problem);
                    continue;
                }
            };
            let value_shown = if is_secret { quote(MASK) } else { literal(&value) };
            // A point within a name is escaped.
            let added = settings.add(&key[start.len()..].replace("\\u002E", "."), &value);
            let status = if added.is_ok() { Status::Written } else { Status::Invalid };
            if let Err(error) = added {
                let problem = error.of(key).value(abridge(value_shown.clone()));
                self.problems.push(problem.origin(&entry.origin));
            }
            let origin = entry.origin.clone();
            self.settings.push(Setting { key: key.clone(), value: value_shown, origin, status });
        }
        if settings == InitialSettings::default() {
            let value = key.default_literal();
            let origin = DEFAULT.to_owned();
            self.settings.push(Setting { key: name, value, origin, status: Status::Default });
        }
        settings
    }

    /// The value that an entry gives to its key; `None` for the word for its default.
    fn check(&self, key: &Key, entry: &Entry) -> Result<Option<Resolved>, Problem> {
        let Resolved { value: written, is_secret } = self.resolver.resolve(entry)?;
        if key.is_default_word(&written) {
            return Ok(None);
        }
        let checked = key.value_type.check(&written);
        checked.map(|value| Some(Resolved { value, is_secret })).map_err(|error| {
            let is_hidden = is_secret || key.value_type.hides(&written);
            let shown = if is_hidden { MASK.to_owned() } else { abridge(literal(&written)) };
            error.of(&entry.key).value(shown).origin(&entry.origin)
        })
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
        let problem = self.setting(key).problem(error.why);
        self.problems.push(Problem { instead: error.instead, ..problem });
    }

    /// Reports that two keys contradict each other, unless one of them is known to be wrong.
    pub(crate) fn require(&mut self, holds: bool, key: &str, relation: &str, other: &str) {
        let [one, two] = [key, other].map(|key| self.setting(key));
        if holds || [one.status, two.status].contains(&Status::Invalid) {
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
