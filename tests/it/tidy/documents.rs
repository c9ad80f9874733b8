//! Pages that promise to be complete are.

use std::collections::BTreeSet;

use super::source::Source;
use super::{files, root};

/// What stands between quotes and is written like a reason, before the tests.
fn reasons(source: &Source) -> BTreeSet<String> {
    let constant = |text: &&str| {
        text.contains(|c: char| c.is_ascii_uppercase())
            && text.chars().all(|c| c.is_ascii_uppercase() || c == '_')
    };
    // Elsewhere than with the kinds a word alone may be a keyword of SQL.
    let kinds = source.path == "src/error.rs";
    let literals = source.text.get(..source.code.len()).unwrap_or(&source.text).split('"');
    let constants = literals.filter(constant).filter(|text| kinds || text.contains('_'));
    constants.map(str::to_owned).collect()
}

#[test]
fn every_reason_is_documented() {
    let page = std::fs::read_to_string(root().join("docs/ERRORS.md")).expect("there is the page");
    let gives_reasons = |source: &Source| {
        source.text.contains("fn with_condition")
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

#[test]
fn reasons_are_literals_in_capitals_before_the_tests() {
    let text = "//! A.\nfn f() { g(\"A_B\", \"INSERT\", \"a_b\", \"A B\") }\n#[cfg(test)]\nmod tests {\n    f(\"C_D\")\n}\n";
    assert_eq!(Vec::from_iter(reasons(&Source::new("src/a.rs", text))), ["A_B"]);
    assert_eq!(Vec::from_iter(reasons(&Source::new("src/error.rs", text))), ["A_B", "INSERT"]);
}
