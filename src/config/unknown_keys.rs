//! Keys that do not exist, with the most similar key as a suggestion.

use std::collections::BTreeSet;

use serde_json::Value;

use super::entries::{Entries, Entry, Path};
use super::problem::Problem;
use super::schema::sections::{DATABASES, key_names};

/// The least similarity of a suggestion, in strsim's measure from 0 to 1.
const SIMILAR: f64 = 0.7;

/// Returns one problem for each key or section that does not exist.
pub(crate) fn problems(entries: &Entries, databases: &BTreeSet<String>) -> Vec<Problem> {
    let known = Known::new(databases);
    let mut reported = BTreeSet::new();
    let mut problems = Vec::new();
    for (path, entry) in entries {
        let Some(unknown) = known.first_unknown(path) else {
            problems.extend(known.section_problem(path, entry));
            continue;
        };
        // Several keys below one misspelt section are one mistake.
        if reported.insert(unknown.clone()) {
            problems.push(known.problem(&unknown, entry));
        }
    }
    problems
}

/// Returns true if a misspelt section may define databases that are missing elsewhere.
pub(crate) fn hides_databases(entries: &Entries) -> bool {
    let known = Known::new(&BTreeSet::new());
    let mut sections = entries.keys().filter_map(|path| path.first());
    sections.any(|section| !known.exists(section) && known.suggestion(section) == Some(DATABASES))
}

struct Known {
    keys: BTreeSet<String>,
    /// The prefixes of keys: `grpc`, `databases.main`, `databases.main.pool`.
    sections: BTreeSet<String>,
}

impl Known {
    fn new(databases: &BTreeSet<String>) -> Self {
        let keys: BTreeSet<_> = key_names(databases.iter().map(String::as_str)).collect();
        let mut sections = BTreeSet::from([DATABASES.to_owned()]);
        for key in &keys {
            sections.extend(key.match_indices('.').map(|(at, _)| key[..at].to_owned()));
        }
        Self { keys, sections }
    }

    fn exists(&self, name: &str) -> bool {
        self.keys.contains(name) || self.sections.contains(name)
    }

    /// The shortest start of a path that is neither a key nor a section.
    fn first_unknown(&self, path: &Path) -> Option<String> {
        let mut starts = (1..=path.len()).map(|length| path[..length].join("."));
        starts.find(|start| !self.exists(start))
    }

    /// The problem of a value in the place of a section.
    fn section_problem(&self, path: &Path, entry: &Entry) -> Option<Problem> {
        let section = path.join(".");
        if !self.sections.contains(&section) || entry.value == Some(Value::Null) {
            return None;
        }
        let example = self.keys.iter().find(|key| key.starts_with(&format!("{section}.")));
        let url = format!("{section}.url");
        let example = if self.keys.contains(&url) { Some(&url) } else { example };
        let why = "this is a section, not a key: it has no value of its own";
        let mut problem = Problem::new(section, why).origin(&entry.origin);
        problem.instead = example.map(|key| format!("Set a key in it, such as {key}."));
        Some(problem)
    }

    /// The problem of an unknown key. The value is not quoted: it may be a secret.
    fn problem(&self, unknown: &str, entry: &Entry) -> Problem {
        let parent = unknown.rsplit_once('.').map(|(parent, _)| parent).unwrap_or_default();
        let list = "`rowgate config example` prints every key.";
        let problem = if self.keys.contains(parent) {
            Problem::new(unknown, format!("{parent} is a key, not a section")).instead(list)
        } else {
            let suggestion = self.suggestion(unknown).map(|key| format!("Did you mean {key}?"));
            let instead = suggestion.unwrap_or_else(|| list.to_owned());
            Problem::new(unknown, "there is no such key").instead(instead)
        };
        problem.origin(&entry.origin)
    }

    fn suggestion(&self, unknown: &str) -> Option<&str> {
        if let Some(misplaced) = self.elsewhere(unknown) {
            return Some(misplaced);
        }
        let depth = unknown.matches('.').count();
        let siblings = self.keys.iter().chain(&self.sections);
        let siblings = siblings.filter(|known| known.matches('.').count() == depth);
        let parent = |key: &str| key.rsplit_once('.').map(|(parent, _)| parent.to_owned());
        let is_longer = |one: &str, other: &str| other.len() >= 3 && one.starts_with(other);
        let score = |known: &&String| {
            let written = last(unknown);
            let meant = last(known);
            let is_prefix = is_longer(written, meant) || is_longer(meant, written);
            // `maximum` for `max`.
            if is_prefix && parent(unknown) == parent(known) {
                return 1.0;
            }
            // Whole names are similar because of a common section; the last parts must be similar too.
            let whole = strsim::normalized_damerau_levenshtein(unknown, known);
            let part = strsim::normalized_damerau_levenshtein(written, meant);
            if unknown.contains('.') { f64::midpoint(whole, part) } else { whole }
        };
        let best = siblings.map(|known| (score(&known), known)).max_by(|a, b| a.0.total_cmp(&b.0));
        best.filter(|(score, _)| *score >= SIMILAR).map(|(_, known)| known.as_str())
    }

    /// A key of the same name in another place, preferably in the same section.
    fn elsewhere(&self, unknown: &str) -> Option<&str> {
        let name = last(unknown);
        let section = unknown.split('.').next();
        let mut same = self.keys.iter().filter(|known| last(known) == name).map(String::as_str);
        let first = same.clone().find(|known| known.split('.').next() == section);
        first.or_else(|| same.next())
    }
}

fn last(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suggested(unknown: &str) -> Option<String> {
        let known = Known::new(&BTreeSet::from(["main".to_owned()]));
        known.suggestion(unknown).map(str::to_owned)
    }

    #[test]
    fn a_misspelt_key_is_recognised() {
        let cases = [
            ("grpc.listn", Some("grpc.listen")),
            ("grpc.Listen", Some("grpc.listen")),
            ("grcp", Some("grpc")),
            ("database", Some("databases")),
            ("defaultdatabase", Some("default_database")),
            ("databases.main.ulr", Some("databases.main.url")),
            ("databases.main.pool.maximum", Some("databases.main.pool.max")),
            ("databases.main.poool", Some("databases.main.pool")),
            ("databases.main.connect_timeout", Some("databases.main.pool.connect_timeout")),
            ("grpc.max_rows", Some("databases.main.max_rows")),
            ("telemetry.flux", None),
        ];
        for (unknown, expected) in cases {
            assert_eq!(suggested(unknown).as_deref(), expected, "{unknown}");
        }
    }
}
