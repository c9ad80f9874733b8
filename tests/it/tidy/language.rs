//! The rules of language: how comments begin, and names that stand for one thing only.

use std::collections::BTreeMap;

use super::Wrong;
use super::source::Source;

/// Words that open a riddle: a comment says what a thing is or does.
const OPENINGS: [&str; 12] = [
    "What", "Who", "Whom", "Whose", "Whether", "Which", "Where", "When", "Why", "How", "So", "That",
];

/// Finds each block of documentation whose first word is one of [`OPENINGS`].
pub(super) fn opens_with_a_riddle(source: &Source) -> Wrong {
    let marks: &[&str] = if source.path.ends_with(".proto") { &["//"] } else { &["///", "//!"] };
    let mut wrong = Wrong::new();
    let mut is_inside = false;
    for (number, line) in source.text.lines().enumerate() {
        let comment = marks.iter().find_map(|mark| line.trim_start().strip_prefix(mark));
        let first = comment.unwrap_or_default().split_whitespace().next().unwrap_or_default();
        let word = first.trim_end_matches(|c: char| !c.is_alphabetic());
        if comment.is_some() && !is_inside && OPENINGS.contains(&word) {
            wrong.push(format!("{}:{}: {}", source.path, number + 1, line.trim()));
        }
        // A paragraph and a section each open anew.
        is_inside = comment
            .is_some_and(|comment| !comment.trim().is_empty() && !comment.starts_with(" # "));
    }
    wrong
}

/// The part of the tree in which a name stands for one thing: a backend, what backends share, or all else.
fn part(path: &str) -> &'static str {
    let parts = [
        ("src/backend/mysql/", "mysql"),
        ("src/backend/postgres/", "postgres"),
        ("src/backend/sqlite/", "sqlite"),
    ];
    let own = parts.iter().find(|(prefix, _)| path.starts_with(prefix)).map(|(_, name)| *name);
    own.unwrap_or(if path.starts_with("src/backend/") { "backend" } else { "elsewhere" })
}

/// Finds names that stand at two places, unless each is in another backend, or in what backends share.
fn repeated(places: impl Iterator<Item = (String, String)>) -> Wrong {
    let mut by_name: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, path) in places {
        by_name.entry(name).or_default().push(path);
    }
    let clashes = by_name.into_iter().filter(|(_, paths)| {
        let mut parts: Vec<_> = paths.iter().map(|path| part(path)).collect();
        parts.sort_unstable();
        parts.dedup();
        parts.len() < paths.len() || (parts.len() > 1 && parts.contains(&"elsewhere"))
    });
    clashes.map(|(name, paths)| format!("{name}: {}", paths.join(", "))).collect()
}

/// Finds source files of one name.
pub(super) fn files_of_one_name(sources: &[Source]) -> Wrong {
    let files = sources.iter().filter(|source| !source.code.is_empty()).filter_map(|source| {
        let name = source.path.rsplit('/').next()?;
        (name != "mod.rs").then(|| (name.to_owned(), source.path.clone()))
    });
    repeated(files)
}

/// Finds public types of one name.
pub(super) fn types_of_one_name(sources: &[Source]) -> Wrong {
    repeated(sources.iter().flat_map(|source| {
        let types = source.code.lines().filter_map(|line| {
            let item = line.strip_prefix("pub ")?;
            let (kind, rest) = item.split_once(' ')?;
            let name: String = rest.chars().take_while(|c| c.is_alphanumeric()).collect();
            ["struct", "enum", "trait", "type"].contains(&kind).then_some(name)
        });
        types.map(|name| (name, source.path.clone())).collect::<Vec<_>>()
    }))
}

/// Finds `let (a, b) = (x, y)`: two statements in the form of one.
pub(super) fn binds_two_at_once(source: &Source) -> Wrong {
    let lines = source.code.lines().enumerate();
    let pairs = lines.filter(|(_, line)| {
        let bound =
            line.trim_start().strip_prefix("let (").and_then(|rest| rest.split_once(") = "));
        bound.is_some_and(|(names, value)| !names.contains('(') && is_tuple(value))
    });
    pairs.map(|(number, line)| format!("{}:{}: {}", source.path, number + 1, line.trim())).collect()
}

/// Tells whether a value that starts on a line is a tuple, and not an expression in parentheses.
fn is_tuple(value: &str) -> bool {
    let Some(inner) = value.strip_prefix('(') else { return false };
    let mut depth = 1;
    for (at, c) in inner.char_indices() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return inner[at + 1..].trim_start().starts_with(';');
        }
    }
    true
}

#[test]
fn a_comment_that_opens_with_a_riddle_is_found() {
    for (path, text) in [
        ("src/a.rs", "//! What it is.\n"),
        ("src/a.rs", "/// A thing.\nfn f() {}\n/// Whether it is.\nfn g() {}\n"),
        ("src/a.rs", "/// A thing.\n///\n/// That is so.\n"),
        ("src/a.rs", "/// A thing.\n///\n/// # Errors\n/// When it fails.\n"),
        ("a.proto", "// How long, in milliseconds.\nint64 a = 1;"),
    ] {
        assert_eq!(opens_with_a_riddle(&Source::new(path, text)).len(), 1, "{text}");
    }
    for (path, text) in [
        ("src/a.rs", "//! The pool.\n//! What follows is its second line.\n// Why: a reason.\n"),
        ("src/a.rs", "/// Whatever is given is taken.\n"),
        ("a.proto", "// The longest wait.\n"),
    ] {
        assert!(opens_with_a_riddle(&Source::new(path, text)).is_empty(), "{text}");
    }
}

#[test]
fn two_files_or_types_of_one_name_are_found_but_for_backends() {
    let at = |path: &str| Source::new(path, "//! A.\npub struct Key;\npub(crate) struct Inner;\n");
    let clashes = [at("src/pool/keys.rs"), at("src/app/keys.rs"), at("src/app/mod.rs")];
    assert_eq!(files_of_one_name(&clashes), ["keys.rs: src/pool/keys.rs, src/app/keys.rs"]);
    assert_eq!(types_of_one_name(&clashes).len(), 1);
    let twins = [
        at("src/backend/keys.rs"),
        at("src/backend/postgres/a/keys.rs"),
        at("src/backend/sqlite/keys.rs"),
    ];
    assert!(files_of_one_name(&twins).is_empty() && types_of_one_name(&twins).is_empty());
    let twice = [at("src/backend/sqlite/a/keys.rs"), at("src/backend/sqlite/keys.rs")];
    assert_eq!(files_of_one_name(&twice).len(), 1);
}

#[test]
fn two_statements_in_one_are_found() {
    for text in ["    let (a, b) = (x, y);", "let (mut a, b) = (f(x), [1, 2]);", "let (a, b) = (\n"]
    {
        assert_eq!(binds_two_at_once(&Source::new("src/a.rs", text)).len(), 1, "{text}");
    }
    for text in ["let (a, b) = f(x);", "let (a, b) = (x + y).split_at(1);", "let a = (x, y);"] {
        assert!(binds_two_at_once(&Source::new("src/a.rs", text)).is_empty(), "{text}");
    }
}
