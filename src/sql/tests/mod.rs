//! Statements that are admitted, statements that are not, and texts that must not bring the process down.

mod admitted;
mod bounds;
mod memory;
mod refused;

use super::class::Uses;
use super::{Analysis, Analyzer, Dialect, StatementClass};

fn analyze(sql: &str) -> Analysis {
    (*Analyzer::new(Dialect::Postgres, 1 << 20).analyze(sql)).clone()
}

/// The class in one line: `read f,g / t,u / .a !`, `change …`, `other`.
fn summary(sql: &str) -> String {
    let (kind, uses) = match analyze(sql).class {
        StatementClass::Read(uses) => ("read", uses),
        StatementClass::Change(uses) => ("change", uses),
        StatementClass::Other => return "other".to_owned(),
    };
    let Uses { functions, attributes, relations, exotic } = uses;
    let mut line = format!("{kind} {} / {}", functions.join(","), relations.join(","));
    if !attributes.is_empty() {
        line.push_str(&format!(" / .{}", attributes.join(" .")));
    }
    if exotic {
        line.push_str(" !");
    }
    line
}
