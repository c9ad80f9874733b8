//! Pages that promise to be complete are.

use std::collections::BTreeSet;

use super::source::Source;
use super::{files, root};

/// Returns the quoted texts that are written like a reason, before the tests.
fn reasons(source: &Source) -> BTreeSet<String> {
    let constant = |text: &&str| {
        text.contains(|c: char| c.is_ascii_uppercase())
            && text.chars().all(|c| c.is_ascii_uppercase() || c == '_')
    };
    // Elsewhere than with the kinds a word alone may be a keyword of SQL.
    let kinds = source.path == "src/error/kind.rs";
    let literals = source.text.get(..source.code.len()).unwrap_or(&source.text).split('"');
    let constants = literals.filter(constant).filter(|text| kinds || text.contains('_'));
    constants.map(str::to_owned).collect()
}

#[test]
fn every_reason_is_documented() {
    let page = std::fs::read_to_string(root().join("docs/ERRORS.md")).expect("there is the page");
    let gives_reasons = |source: &Source| {
        source.text.contains("pub enum ErrorKind")
            || source.text.contains("with_condition(\"")
            || source.text.contains("with_condition(condition)")
    };
    let known: BTreeSet<_> = files("src", &[".rs"])
        .iter()
        .filter(|source| gives_reasons(source))
        .flat_map(reasons)
        .collect();
    for (module, reason) in
        [("error", "POOL_EXHAUSTED"), ("sqlite", "SESSION_STATE"), ("grpc", "REQUEST_TOO_LARGE")]
    {
        assert!(known.contains(reason), "the reasons of {module} are not found: {known:?}");
    }
    let missing: Vec<_> =
        known.iter().filter(|reason| !page.contains(&format!("`{reason}`"))).collect();
    assert!(missing.is_empty(), "docs/ERRORS.md does not mention {missing:?}");
}

/// Returns the texts between single backquotes, outside blocks.
fn quoted(page: &str) -> Vec<String> {
    let outside: String = page.split("```").step_by(2).collect();
    outside.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn the_files_and_items_of_the_map_exist() {
    let page = std::fs::read_to_string(root().join("docs/ARCHITECTURE.md")).expect("it is there");
    let mut all = Vec::new();
    for directory in ["src", "tests", "proto", "deploy"] {
        all.extend(files(directory, &[".rs", ".sql", ".proto", ".toml"]));
    }
    let build = Source::new("build.rs", "");
    let is_path = |text: &str| [".rs", ".sql", ".proto"].iter().any(|end| text.ends_with(end));
    let exists = |path: &str| {
        let is =
            |source: &Source| source.path == path || source.path.ends_with(&format!("/{path}"));
        path.contains('*') || all.iter().chain([&build]).any(is)
    };
    let defined = |item: &str| all.iter().any(|source| source.text.contains(item));
    let wrong: Vec<_> = quoted(&page)
        .into_iter()
        .filter(|text| match text.rsplit_once("::") {
            Some((_, item)) if item.chars().all(|c| c.is_alphanumeric() || c == '_') => {
                !defined(item)
            }
            Some(_) => false,
            None => is_path(text) && !text.contains("NAME") && !exists(text),
        })
        .collect();
    assert!(wrong.is_empty(), "docs/ARCHITECTURE.md names {wrong:?}, which are nowhere");
    assert!(quoted(&page).iter().any(|text| is_path(text)), "no file is found in the page");
}

#[test]
fn reasons_are_literals_in_capitals_before_the_tests() {
    let text = "//! A.\nfn f() { g(\"A_B\", \"INSERT\", \"a_b\", \"A B\") }\n#[cfg(test)]\nmod tests {\n    f(\"C_D\")\n}\n";
    assert_eq!(Vec::from_iter(reasons(&Source::new("src/a.rs", text))), ["A_B"]);
    assert_eq!(Vec::from_iter(reasons(&Source::new("src/error/kind.rs", text))), ["A_B", "INSERT"]);
}
