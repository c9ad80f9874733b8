//! Pages that promise to be complete are.

use std::collections::BTreeSet;

use super::source::Source;
use super::{Wrong, files, root};

/// The literals before the tests that are written like a reason.
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

/// The code spans of a page outside blocks, each with the text between it and the span before.
fn spans(page: &str) -> Vec<(String, String)> {
    let outside: String = page.split("```").step_by(2).collect();
    let parts: Vec<_> = outside.split('`').collect();
    parts
        .chunks(2)
        .filter_map(|pair| Some((pair[0].to_owned(), (*pair.get(1)?).to_owned())))
        .collect()
}

/// Returns true if the text has the identifier as a whole word.
fn has_word(text: &str, word: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(start, _)| {
        let before = text[..start].chars().next_back();
        let after = text[start + word.len()..].chars().next();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

/// The sources that a page may name.
struct Tree(Vec<Source>);

impl Tree {
    fn read() -> Self {
        let mut all = vec![Source::new("build.rs", "")];
        for directory in ["src", "tests", "proto", "deploy"] {
            all.extend(files(directory, &[".rs", ".sql", ".proto", ".toml"]));
        }
        Self(all)
    }

    /// The files that a path means, which may leave its first folders out.
    fn at<'a>(&'a self, path: &'a str) -> impl Iterator<Item = &'a Source> {
        let end = format!("/{path}");
        self.0.iter().filter(move |source| source.path == path || source.path.ends_with(&end))
    }

    fn has_folder(&self, folder: &str) -> bool {
        let inside = format!("/{folder}");
        self.0.iter().any(|source| source.path.starts_with(folder) || source.path.contains(&inside))
    }

    /// Returns true if a file has the item, and the type that it is named with.
    fn has_item(&self, item: &[&str]) -> bool {
        let is_type = |word: &&&str| word.starts_with(|c: char| c.is_ascii_uppercase());
        let [before @ .., last] = item else { return true };
        let owner = before.last().filter(is_type);
        self.0.iter().any(|source| {
            has_word(&source.text, last) && owner.is_none_or(|owner| has_word(&source.text, owner))
        })
    }
}

/// The code spans of a page that name a file, a folder or an item that does not exist. An item directly after a path
/// (`a/b.rs`, `Type::item`) must exist in that file.
fn names_nothing(page: &str, tree: &Tree) -> Wrong {
    let is_path = |span: &str| [".rs", ".sql", ".proto"].iter().any(|end| span.ends_with(end));
    let is_placeholder = |span: &str| span.contains(['*', ' ']) || span.contains("NAME");
    let is_name = |word: &&str| {
        !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    // `Session` or `max_rows`; a word such as `status` may mean anything.
    let is_item = |word: &str| {
        let is_type = word.starts_with(|c: char| c.is_ascii_uppercase())
            && word.contains(|c: char| c.is_ascii_lowercase());
        is_type || word.contains('_')
    };
    let mut wrong = Wrong::new();
    let mut path: Option<String> = None;
    for (between, span) in spans(page) {
        let before = path.take().filter(|_| matches!(between.trim(), "," | "(" | ""));
        let words: Vec<_> = span.split("::").collect();
        if is_placeholder(&span) {
            continue;
        }
        if is_path(&span) {
            if tree.at(&span).next().is_none() {
                wrong.push(format!("{span} does not exist"));
            }
            path = Some(span);
        } else if span.ends_with('/') && !span.starts_with('/') {
            if !tree.has_folder(&span) {
                wrong.push(format!("{span} does not exist"));
            }
        } else if words.iter().all(is_name) {
            let last = words[words.len() - 1];
            if let Some(path) = before {
                if !tree.at(&path).any(|source| has_word(&source.text, last)) {
                    wrong.push(format!("{path} has no {span}"));
                }
            } else if (words.len() > 1 || is_item(last)) && !tree.has_item(&words) {
                wrong.push(format!("{span} is nowhere"));
            }
        }
    }
    wrong
}

#[test]
fn the_files_and_items_of_the_map_exist() {
    let tree = Tree::read();
    for page in ["docs/ARCHITECTURE.md", "docs/GLOSSARY.md"] {
        let text = std::fs::read_to_string(root().join(page)).expect("it is there");
        let wrong = names_nothing(&text, &tree);
        assert!(wrong.is_empty(), "{page}: {wrong:#?}");
        assert!(spans(&text).len() > 50, "{page}: its code spans are not found");
    }
}

#[test]
fn a_name_in_the_map_is_compared_as_a_whole_and_in_its_file() {
    let tree = Tree(vec![
        Source::new("src/engine/query.rs", "impl Engine { fn query_once() {} }"),
        Source::new("src/engine/mod.rs", "struct Engine; fn database() {}"),
    ]);
    for good in [
        "`engine/query.rs`, `Engine::query_once`; `Engine::database`, `query_once`",
        "`engine/` and `query.rs` (`query_once`), `max_rows.NAME`, `select 1`",
        "```\n`Engine::nothing`\n```",
    ] {
        assert_eq!(names_nothing(good, &tree), Wrong::new(), "{good}");
    }
    for (bad, reported) in [
        ("`Engine::query`", "Engine::query is nowhere"),
        ("`query_on`", "query_on is nowhere"),
        ("`Engin`", "Engin is nowhere"),
        ("`Backend::database`", "Backend::database is nowhere"),
        ("`engine/query.rs`, `Engine::database`", "engine/query.rs has no Engine::database"),
        ("`engine/query.rs` (`database`)", "engine/query.rs has no database"),
        ("`engine/quer.rs`", "engine/quer.rs does not exist"),
        ("`ngine/query.rs`", "ngine/query.rs does not exist"),
        ("`engines/`", "engines/ does not exist"),
    ] {
        assert_eq!(names_nothing(bad, &tree), [reported], "{bad}");
    }
}

#[test]
fn reasons_are_literals_in_capitals_before_the_tests() {
    let text = "//! A.\nfn f() { g(\"A_B\", \"INSERT\", \"a_b\", \"A B\") }\n#[cfg(test)]\nmod tests {\n    f(\"C_D\")\n}\n";
    assert_eq!(Vec::from_iter(reasons(&Source::new("src/a.rs", text))), ["A_B"]);
    assert_eq!(Vec::from_iter(reasons(&Source::new("src/error/kind.rs", text))), ["A_B", "INSERT"]);
}

/// The file of a module of the integration tests.
fn module_file(path: &[&str]) -> Option<String> {
    let base = root().join("tests/it").join(path.join("/"));
    [base.with_extension("rs"), base.join("mod.rs")]
        .iter()
        .find_map(|file| std::fs::read_to_string(file).ok())
}

#[test]
fn scripts_run_tests_that_exist() {
    let scripts = ["chaos", "measure", "oracle", "restarts", "soak"];
    let mut found = 0;
    for script in scripts {
        let text =
            std::fs::read_to_string(root().join("scripts").join(script)).expect("it is there");
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':');
        for path in words.filter(|word| word.contains("::")) {
            let parts: Vec<_> = path.split("::").collect();
            let (name, module) = parts.split_last().expect("it has parts");
            // A name that no test has runs none, and passes.
            let file = module_file(module).unwrap_or_default();
            assert!(has_word(&file, name), "scripts/{script} runs {path}, which is no test");
            found += 1;
        }
    }
    assert!(found >= 10, "only {found} were found");
}
