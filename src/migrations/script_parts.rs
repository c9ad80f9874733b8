//! The parts of a file's script: its statements, and the directive among its first comments.

use crate::sql::{Dialect, leading_comments};

/// The way in which a file runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ScriptMode {
    /// All or nothing, together with the row of the ledger.
    OneTransaction,
    /// Each statement commits by itself.
    EachAlone,
}

/// A statement of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ScriptStatement {
    /// Its text, with the comments before it.
    pub(crate) sql: String,
    /// The line on which the text begins.
    pub(crate) first_line: usize,
    /// The line of its first word.
    pub(crate) line: usize,
}

/// The start of a comment that is for this program.
const DIRECTIVE: &str = "rowgate:";
const NO_TRANSACTION: &str = "no-transaction";

/// The mode that the first comments of a file ask for; fails with the line of a directive that there is not.
pub(crate) fn mode(text: &str, dialect: Dialect) -> Result<ScriptMode, (usize, String)> {
    let mut mode = match dialect {
        Dialect::Postgres | Dialect::Sqlite => ScriptMode::OneTransaction,
        // It commits at each definition by itself.
        Dialect::Mysql => ScriptMode::EachAlone,
    };
    for comment in leading_comments(text, dialect) {
        let line = 1 + text[..comment.start].matches('\n').count();
        let Some(directive) = directive(comment.text) else { continue };
        if directive != NO_TRANSACTION {
            return Err((line, format!("there is no directive `rowgate: {directive}`")));
        }
        mode = ScriptMode::EachAlone;
    }
    Ok(mode)
}

/// The directive in a comment of any kind.
fn directive(comment: &str) -> Option<&str> {
    let block = comment.strip_prefix("/*").map(|rest| rest.strip_suffix("*/").unwrap_or(rest));
    let line = || comment.strip_prefix("--").or_else(|| comment.strip_prefix('#'));
    block.or_else(line)?.trim().strip_prefix(DIRECTIVE).map(str::trim)
}
