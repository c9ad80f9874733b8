//! Keys that do not exist, with the most similar key as a suggestion.

use std::collections::BTreeSet;

use super::entries::Entries;
use super::problem::Problem;
use super::schema::{CALLERS, DATABASES, SectionNames, key_names, table_names};

/// The least similarity of a suggestion, in strsim's measure from 0 to 1.
const SIMILAR: f64 = 0.7;

/// Returns one problem for each key or section that does not exist, and for each section with a value of
/// its own. No value is quoted: it may be a secret.
pub(crate) fn problems(entries: &Entries, names: &SectionNames) -> Vec<Problem> {
    let known = KnownNames::new(names);
    let mut reported = BTreeSet::new();
    let mut problems = Vec::new();
    let tables: BTreeSet<_> = table_names(names).collect();
    let is_in_table = |key: &str| starts(key).any(|start| start != key && tables.contains(start));
    for (key, entry) in entries.iter().filter(|(key, _)| !is_in_table(key)) {
        let problem = match starts(key).find(|start| !known.names.contains(*start)) {
            // Several keys below one misspelt section are one mistake.
            Some(unknown) if reported.insert(unknown) => known.unknown_problem(unknown),
            None if !known.keys.contains(key) && !entry.value.is_null() => {
                known.section_problem(key)
            }
            Some(_) | None => continue,
        };
        problems.push(problem.origin(&entry.origin));
    }
    problems
}

/// Returns true if a misspelt section may define databases that are missing elsewhere.
pub(crate) fn hides_databases(entries: &Entries) -> bool {
    let known = KnownNames::new(&SectionNames::default());
    let mut sections = entries.keys().filter_map(|key| starts(key).next());
    sections.any(|section| {
        !known.names.contains(section) && known.suggestion(section) == Some(DATABASES)
    })
}

struct KnownNames {
    /// In the order of the documentation.
    keys: Vec<String>,
    /// The keys and their sections: `grpc`, `databases.main`, `databases.main.pool`.
    names: BTreeSet<String>,
}

impl KnownNames {
    fn new(names: &SectionNames) -> Self {
        let keys: Vec<_> = key_names(names).collect();
        let names = keys.iter().flat_map(|key| starts(key)).chain([DATABASES, CALLERS]);
        Self { names: names.map(str::to_owned).collect(), keys }
    }

    fn section_problem(&self, section: &str) -> Problem {
        let why = "this is a section, not a key: it has no value of its own";
        let mut inside = self.keys.iter().filter(|key| starts(key).any(|start| start == section));
        let example = inside.next().map(|key| format!("Set a key in it, such as {key}."));
        Problem { instead: example, ..Problem::new(section, why) }
    }

    fn unknown_problem(&self, unknown: &str) -> Problem {
        let list = "`rowgate config example` prints every key.";
        match unknown.rsplit_once('.') {
            Some((parent, _)) if self.keys.iter().any(|key| key == parent) => {
                let why = format!("{parent} is a key, not a section");
                Problem::new(unknown, why).instead(list)
            }
            Some(_) | None => {
                let meant = self.suggestion(unknown).map(|key| format!("Did you mean {key}?"));
                let instead = meant.unwrap_or_else(|| list.to_owned());
                Problem::new(unknown, "there is no such key").instead(instead)
            }
        }
    }

    fn suggestion(&self, unknown: &str) -> Option<&str> {
        most_similar(unknown, self.names.iter().map(String::as_str))
    }
}

/// The known name that is most similar. Its last part weighs twice: sections are often left out, and a
/// common section makes whole names similar.
pub(crate) fn most_similar<'a>(
    unknown: &str,
    known: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    let similarity = |known: &str| {
        let written = last(unknown);
        let meant = last(known);
        // The one knows `ulr` for `url`, the other `maximum` for `max`.
        let part = strsim::normalized_damerau_levenshtein(written, meant)
            .max(strsim::jaro_winkler(written, meant));
        let whole = strsim::normalized_damerau_levenshtein(unknown, known);
        (2.0 * part + whole) / 3.0
    };
    let scored = known.map(|known| (similarity(known), known));
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0));
    best.filter(|(score, _)| *score >= SIMILAR).map(|(_, known)| known)
}

/// `a`, `a.b` and `a.b.c`, when the key is `a.b.c`.
fn starts(key: &str) -> impl Iterator<Item = &str> {
    key.match_indices('.').map(|(at, _)| &key[..at]).chain([key])
}

fn last(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suggested(unknown: &str) -> Option<String> {
        let known = KnownNames::new(&SectionNames::of_databases(["main"]));
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
