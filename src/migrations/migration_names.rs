//! The names of files of migrations: `V1__create_orders.sql`, and those that other tools would read.

use super::finding::Finding;

/// The meaning of a file's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FileRole {
    Migration {
        version: i64,
    },
    /// A file that another tool would run: it would be left out here without a word.
    Foreign(Finding),
    Other,
}

const FORWARD_ONLY: &str =
    "Migrations only go forward here: move it away. A mistake is mended by a further file.";

/// The marks of other tools in a file's text, and what to do about them.
const MARKS: [(&str, &str, &str); 2] = [
    ("-- migrate:up", "dbmate", "remove what follows `-- migrate:down`"),
    ("-- +goose", "goose", "remove its lines `-- +goose …` and what goes down"),
];

/// Returns the meaning of a file's name; `text` is its content, which tells some tools apart.
pub(crate) fn role_of(name: &str, text: &str) -> FileRole {
    let Some(stem) = strip_sql(name) else { return FileRole::Other };
    let first = stem.chars().next().unwrap_or_default();
    let second_is_digit = stem.chars().nth(1).is_some_and(|c| c.is_ascii_digit());
    match first.to_ascii_uppercase() {
        'V' if second_is_digit => versioned(name, stem),
        'R' if stem[1..].starts_with("__") => FileRole::Foreign(Finding::new(
            name,
            "a file that Flyway repeats whenever it changes: each runs once here",
            format!("Rename it to V<next number>__{}.sql.", title(&stem[3..])),
        )),
        'U' if second_is_digit => {
            FileRole::Foreign(Finding::new(name, "a file of Flyway's undo", FORWARD_ONLY))
        }
        '0'..='9' => numbered(name, stem, text),
        _ => FileRole::Other,
    }
}

/// A name that begins with V and a digit.
fn versioned(name: &str, stem: &str) -> FileRole {
    let end = stem[1..].find(|c: char| !c.is_ascii_digit()).map_or(stem.len(), |at| at + 1);
    let [digits, rest] = [&stem[1..end], &stem[end..]];
    let own = rest.strip_prefix("__").filter(|own| !own.is_empty() && title(own) == **own);
    let is_spelt = stem.starts_with('V') && name.ends_with(".sql");
    if let (Some(_), true, Some(version)) = (own, is_spelt, version(digits)) {
        return FileRole::Migration { version };
    }
    let whole = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let parts: String = rest[..rest.len() - whole.len()].replace('.', "");
    let why = "not the name of a migration, which is V, a whole number from 1, two underscores, and letters, digits, - and _";
    FileRole::Foreign(renamed(name, why, &format!("{digits}{parts}"), whole, ""))
}

/// A name that begins with a digit.
fn numbered(name: &str, stem: &str, text: &str) -> FileRole {
    let end = stem.find(|c: char| !c.is_ascii_digit()).unwrap_or(stem.len());
    let [digits, rest] = [&stem[..end], &stem[end..]];
    if !rest.starts_with('_') && !rest.starts_with('-') {
        return FileRole::Other;
    }
    if rest.ends_with(".down") {
        let why = "a file of golang-migrate or sqlx that goes down";
        return FileRole::Foreign(Finding::new(name, why, FORWARD_ONLY));
    }
    let by_text = MARKS.iter().find(|(mark, ..)| text.contains(mark));
    let (tool, more) = match (rest.strip_suffix(".up"), by_text) {
        (Some(_), _) => ("golang-migrate or sqlx", ""),
        (None, Some((_, tool, more))) => (*tool, *more),
        (None, None) => ("sqlx", ""),
    };
    let rest = rest.strip_suffix(".up").unwrap_or(rest);
    FileRole::Foreign(renamed(name, &format!("a file in the layout of {tool}"), digits, rest, more))
}

/// The finding about a file that needs another name.
fn renamed(name: &str, why: &str, digits: &str, rest: &str, more: &str) -> Finding {
    let version = version(digits).map_or_else(|| "<number>".to_owned(), |it| it.to_string());
    let title = title(rest.trim_start_matches(['_', '-', '.']));
    let title = if title.is_empty() { "name".to_owned() } else { title };
    let more = if more.is_empty() { String::new() } else { format!(", and {more}") };
    Finding::new(name, why, format!("Rename it to V{version}__{title}.sql{more}."))
}

fn strip_sql(name: &str) -> Option<&str> {
    let at = name.len().checked_sub(4)?;
    let (stem, ending) = name.split_at_checked(at)?;
    (ending.eq_ignore_ascii_case(".sql") && !stem.is_empty()).then_some(stem)
}

fn version(digits: &str) -> Option<i64> {
    digits.parse().ok().filter(|version| *version > 0)
}

/// Makes a text the second part of a name.
pub(crate) fn title(text: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    text.chars().map(|c| if fits(c) { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrations_have_one_form_of_name() {
        for (name, version) in [
            ("V1__create.sql", 1),
            ("V0042__add-index_2.sql", 42),
            ("V20260131120000__x.sql", 20_260_131_120_000),
        ] {
            assert_eq!(role_of(name, ""), FileRole::Migration { version }, "{name}");
        }
        for name in ["README.md", ".sql", "seed.sql", "view.sql", "Vx__a.sql", "1.sql", "rx.sql"] {
            assert_eq!(role_of(name, ""), FileRole::Other, "{name}");
        }
    }

    #[test]
    fn files_of_other_tools_are_told_their_name() {
        for (name, text, expected) in [
            ("000001_init.up.sql", "", "golang-migrate or sqlx|Rename it to V1__init.sql."),
            ("000001_init.down.sql", "", "goes down|Migrations only go forward"),
            (
                "20200101120000_a.sql",
                "-- migrate:up\ncreate",
                "dbmate|Rename it to V20200101120000__a.sql, and remove what follows",
            ),
            ("00002_a.sql", "-- +goose Up", "goose|Rename it to V2__a.sql, and remove"),
            ("20200101_add users.sql", "", "sqlx|Rename it to V20200101__add_users.sql."),
            ("R__views.sql", "", "repeats|Rename it to V<next number>__views.sql."),
            ("U2__undo.sql", "", "undo|Migrations only go forward"),
            ("V1_a.sql", "", "not the name|Rename it to V1__a.sql."),
            ("v1__a.sql", "", "not the name|Rename it to V1__a.sql."),
            ("V1__a.SQL", "", "not the name|Rename it to V1__a.sql."),
            ("V1.2__a.sql", "", "not the name|Rename it to V12__a.sql."),
            ("V1__.sql", "", "not the name|Rename it to V1__name.sql."),
            ("V0__a.sql", "", "not the name|Rename it to V<number>__a.sql."),
        ] {
            let FileRole::Foreign(Finding { place, why, instead }) = role_of(name, text) else {
                panic!("{name} is taken")
            };
            let (why_part, instead_part) = expected.split_once('|').unwrap();
            assert_eq!(place, name);
            assert!(why.contains(why_part), "{name}: {why}");
            assert!(instead.contains(instead_part), "{name}: {instead}");
        }
    }
}
