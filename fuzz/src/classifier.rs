//! The analysis of statements against PostgreSQL's own parser: what is admitted must be so by its tree, and what has to be found is found.

use libfuzzer_sys::arbitrary::Unstructured;
use rowgate::fuzzing::{AnalyzedText, ClassifiedAs, analyze_text, split_text};
use serde_json::Value;

use crate::parse_tree::{Facts, kind};
use crate::postgres_parser::{Parsed, parse};
use crate::statement_generator::{SECRET, statements};

/// The most parameters of a statement.
const MOST_PARAMETERS: u64 = 65_535;

/// Checks a text: a byte of its form, then the text itself, or the choices of a grammar that makes one.
pub fn check(data: &[u8]) {
    let Some((form, rest)) = data.split_first() else { return };
    if form % 4 == 0 {
        if let Ok(sql) = std::str::from_utf8(rest) {
            check_text(sql);
        }
    } else {
        check_text(&statements(&mut Unstructured::new(rest)));
    }
}

fn check_text(sql: &str) {
    let analyzed = analyze_text(sql);
    let split = split_text(sql);
    let statements = match parse(sql) {
        Parsed::Statements(statements) => statements,
        // Nothing runs.
        Parsed::Refused | Parsed::TooDeep => return,
    };
    check_split(sql, split, &statements);
    match statements.as_slice() {
        [] => assert!(analyzed.transaction_control.is_none(), "{sql:?}"),
        [only] => check_statement(sql, &analyzed, only),
        // The extended protocol refuses it, and SQLite runs the first.
        [first, ..] => {
            check_control(sql, &analyzed, first);
            assert!(matches!(analyzed.class, ClassifiedAs::Other), "{sql:?}: {analyzed:?}");
        }
    }
}

/// The statements are as many, and each is one.
fn check_split(sql: &str, split: Result<Vec<&str>, String>, statements: &[Value]) {
    let split = match split {
        Ok(split) => split,
        Err(why) => {
            // COPY … FROM stdin is a statement whose rows follow it in a file.
            assert!(why.contains("COPY"), "{sql:?}: {why}");
            return;
        }
    };
    assert_eq!(split.len(), statements.len(), "{sql:?}: {split:?}");
    for (part, statement) in split.iter().zip(statements) {
        let Parsed::Statements(parsed) = parse(part) else { continue };
        let [only] = parsed.as_slice() else { panic!("{part:?} of {sql:?} is not one statement") };
        let kinds = [only, statement].map(|statement| kind(statement).map(|(kind, _)| kind));
        assert_eq!(kinds[0], kinds[1], "{part:?} of {sql:?}");
    }
}

fn check_statement(sql: &str, analyzed: &AnalyzedText, statement: &Value) {
    check_control(sql, analyzed, statement);
    let Some((kind, tree)) = kind(statement) else { return };
    let facts = Facts::of(statement);
    let is_with_client = kind == "CopyStmt" && tree.get("filename").is_none();
    assert!(!is_with_client || analyzed.client_copy, "{sql:?}");
    if analyzed.is_atomic {
        let commits = match kind {
            "VacuumStmt" => tree["is_vacuumcmd"] == true,
            "CallStmt" | "ReindexStmt" | "ClusterStmt" => true,
            _ => tree["concurrent"] == true && kind != "RefreshMatViewStmt",
        };
        assert!(!commits, "{sql:?} commits along the way");
    }
    let has_excess = facts.highest_parameter > MOST_PARAMETERS;
    assert!(!has_excess || analyzed.excess_parameter.is_some(), "{sql:?}");
    let is_in_literals_alone = facts.literals.iter().any(|literal| literal.contains(SECRET))
        && !facts.names.iter().any(|name| name.contains(SECRET));
    assert!(!is_in_literals_alone || !analyzed.summary.contains(SECRET), "{sql:?}: {analyzed:?}");
    check_class(sql, analyzed, kind, &facts);
}

/// Transaction control is found, and nothing else is taken for it.
fn check_control(sql: &str, analyzed: &AnalyzedText, statement: &Value) {
    let is_control = match kind(statement) {
        Some(("TransactionStmt", _)) => true,
        // Its name is TRANSACTION, TRANSACTION SNAPSHOT or SESSION CHARACTERISTICS.
        Some(("VariableSetStmt", tree)) => tree["kind"] == "VAR_SET_MULTI",
        _ => false,
    };
    assert_eq!(is_control, analyzed.transaction_control.is_some(), "{sql:?}: {analyzed:?}");
}

fn check_class(sql: &str, analyzed: &AnalyzedText, kind: &str, facts: &Facts) {
    let ClassifiedAs::Plain { reads, functions, attributes, relations, exotic } = &analyzed.class
    else {
        return;
    };
    let shown = || format!("{sql:?}\n{:?}\n{facts:?}", analyzed.class);
    let plain = ["SelectStmt", "InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt"];
    assert!(plain.contains(&kind), "{kind}: {}", shown());
    assert!(!facts.makes_table, "{}", shown());
    assert!(!reads || !facts.changes && !facts.locks, "{}", shown());
    assert!(facts.functions.iter().all(|name| functions.contains(name)), "{}", shown());
    assert!(facts.attributes.iter().all(|name| attributes.contains(name)), "{}", shown());
    let relations: Vec<_> = relations.iter().map(|name| name_parts(name)).collect();
    assert!(facts.relations.iter().all(|name| relations.contains(name)), "{}", shown());
    assert!(*exotic || facts.exotic.is_empty(), "{}", shown());
}

/// The parts of a name as `to_regclass` reads it.
fn name_parts(name: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut is_quoted = false;
    let mut rest = name.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '"' if is_quoted && rest.peek() == Some(&'"') => {
                rest.next();
                parts.last_mut().expect("it has one").push('"');
            }
            '"' => is_quoted = !is_quoted,
            '.' if !is_quoted => parts.push(String::new()),
            c => parts.last_mut().expect("it has one").push(c),
        }
    }
    parts
}
