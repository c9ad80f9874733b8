//! Takes keys out of what was written, and collects what is wrong with them.

use super::Setting;
use super::keys::{AUTO, Key};
use super::problem::{Problem, Refusal};
use super::shape::{MASK, Shape};
use super::tree::{Entries, Entry, Path, Raw, quote};

/// A value that was written, or the default in its place.
pub(crate) struct Found<T> {
    /// The whole key.
    pub(crate) key: String,
    pub(crate) value: T,
    /// As a problem may show it.
    pub(crate) shown: String,
    /// `None`: the default.
    pub(crate) origin: Option<String>,
    /// A problem is already known: comparing it with other keys would only confuse.
    pub(crate) broken: bool,
}

impl<T> Found<T> {
    /// The problem of this value.
    pub(crate) fn problem(&self, why: impl Into<String>) -> Problem {
        Problem::new(&self.key, why)
            .value(&self.shown)
            .origin(self.origin.as_deref().unwrap_or("default"))
    }
}

/// Reads keys of one section after the other.
pub(crate) struct Reader<'a> {
    pub(crate) entries: &'a Entries,
    pub(crate) problems: Vec<Problem>,
    pub(crate) warnings: Vec<String>,
    pub(crate) settings: Vec<Setting>,
    /// What the keys are below of: empty, or `databases.NAME.`.
    prefix: String,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(entries: &'a Entries) -> Self {
        let (problems, warnings, settings) = (Vec::new(), Vec::new(), Vec::new());
        Self { entries, problems, warnings, settings, prefix: String::new() }
    }

    /// From now on, keys are below this.
    pub(crate) fn enter(&mut self, prefix: String) {
        self.prefix = prefix;
    }

    /// The whole name of a key.
    pub(crate) fn full<S>(&self, key: &Key<S>) -> String {
        format!("{}{}", self.prefix, key.name)
    }

    /// Whether a problem of a key is known already.
    pub(crate) fn has_problem<S>(&self, key: &Key<S>) -> bool {
        let key = self.full(key);
        self.problems.iter().any(|problem| problem.key == key)
    }

    /// What was written for a key, if anything.
    pub(crate) fn entry<S>(&self, key: &Key<S>) -> Option<&'a Entry> {
        let path: Path = self.full(key).split('.').map(str::to_owned).collect();
        self.entries.get(&path).filter(|entry| entry.raw != Raw::Nothing)
    }

    /// A key's value, or its constant default.
    pub(crate) fn read<S: Shape>(&mut self, key: &Key<S>) -> Found<S::Value> {
        let default = key.shape.parse(&Raw::Text(key.default.to_owned()));
        let default = default.expect("constant defaults are valid: a test reads them all");
        self.read_or(key, default)
    }

    /// A key's value, or a default that depends on other things.
    pub(crate) fn read_or<S: Shape>(&mut self, key: &Key<S>, default: S::Value) -> Found<S::Value> {
        let found = match self.look(key) {
            Looked::Value(found) => found,
            absent @ (Looked::Absent | Looked::Broken) => Found {
                key: self.full(key),
                shown: key.shape.show(&default),
                value: default,
                origin: None,
                broken: matches!(absent, Looked::Broken),
            },
        };
        self.note(found.key.clone(), found.shown.clone(), found.origin.clone());
        found
    }

    /// A key's value, `None` when it has none; `auto` and an empty string are none.
    pub(crate) fn optional<S: Shape>(&mut self, key: &Key<S>) -> Option<Found<S::Value>> {
        match self.look(key) {
            Looked::Value(found) => Some(found),
            Looked::Absent | Looked::Broken => None,
        }
    }

    /// Records the effective value of a key.
    pub(crate) fn note(&mut self, key: String, value: String, origin: Option<String>) {
        let origin = origin.unwrap_or_else(|| "default".to_owned());
        self.settings.push(Setting { key, value, origin });
    }

    /// Records that the value of a key is refused.
    pub(crate) fn refuse<S: Shape>(&mut self, key: &Key<S>, entry: &Entry, refusal: Refusal) {
        let shown = match entry.secret || key.shape.hides(&entry.raw) {
            true => MASK.to_owned(),
            false => abridge(entry.raw.literal()),
        };
        let problem = refusal.of(self.full(key)).value(shown).origin(&entry.origin);
        self.problems.push(problem);
    }

    fn look<S: Shape>(&mut self, key: &Key<S>) -> Looked<S::Value> {
        let Some(entry) = self.entry(key) else { return Looked::Absent };
        if entry.raw == Raw::Broken {
            return Looked::Broken;
        }
        let automatic = matches!(&entry.raw, Raw::Text(text) if text == key.default);
        if automatic && (key.default == AUTO || key.default.is_empty()) {
            return Looked::Absent;
        }
        match key.shape.parse(&entry.raw) {
            Ok(value) => {
                let shown = if entry.secret { quote(MASK) } else { key.shape.show(&value) };
                let origin = Some(entry.origin.clone());
                Looked::Value(Found { key: self.full(key), value, shown, origin, broken: false })
            }
            Err(refusal) => {
                self.refuse(key, entry, refusal);
                Looked::Broken
            }
        }
    }
}

enum Looked<T> {
    Value(Found<T>),
    Absent,
    Broken,
}

/// A value that is too long to be shown whole.
fn abridge(literal: String) -> String {
    const LONGEST: usize = 80;
    match literal.char_indices().nth(LONGEST) {
        None => literal,
        Some((end, _)) => format!("{}…", &literal[..end]),
    }
}
