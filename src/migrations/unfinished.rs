//! The advice about a file that ran statement by statement, and not to its end.

use super::migration_ledger::{Ledger, LedgerRow};
use super::migration_script::statements;
use super::script_parts::{ScriptMode, ScriptStatement, mode};
use crate::sql::Dialect;

/// The longest part of a statement that is shown.
const SHOWN: usize = 72;

/// The knowledge about the first statement that is not known to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NextStatement {
    /// It failed, and did nothing.
    Untouched,
    MayHaveRun,
}

/// Tells how far a file came, as the ledger knows it, and what to do.
pub(crate) fn advice_for_row(ledger: &Ledger, row: &LedgerRow, dialect: Dialect) -> String {
    let statements = statements(&row.content, dialect).unwrap_or_default();
    advice(ledger, row.version, &statements, row.done, NextStatement::MayHaveRun)
}

/// Returns true if a row has an end that no migrator has noted.
pub(crate) fn is_finished_by_hand(row: &LedgerRow, dialect: Dialect) -> bool {
    let total = statements(&row.content, dialect).map_or(0, |statements| statements.len());
    // One transaction has no row before its end.
    let is_divided = mode(&row.content, dialect) == Ok(ScriptMode::EachAlone);
    is_divided && row.finished_at.is_some() && row.done < total
}

/// Tells how far a file came of which so many statements are known to be done, and what to do.
pub(crate) fn advice(
    ledger: &Ledger,
    version: i64,
    statements: &[ScriptStatement],
    done: usize,
    begun: NextStatement,
) -> String {
    let total = statements.len();
    let mut text = format!("{done} of its {total} statements are known to be done.\n");
    match statements.get(done) {
        Some(next) => {
            let line = next.line;
            let shown = first_words(next);
            let fate = match begun {
                NextStatement::Untouched => "failed and did nothing",
                NextStatement::MayHaveRun => "may have run, in part or whole, or still run",
            };
            text += &format!("Statement {} (line {line}) {fate}: {shown}\n", done + 1);
        }
        None => text += "All have run; only this was not noted.\n",
    }
    text +=
        "Look into the database. Then run one of these there, and `rowgate migrate up` again:\n";
    text += &format!(
        "  once what the file did is undone, so that it runs anew from its first statement:\n    {};\n",
        ledger.forget(version)
    );
    text += &format!(
        "  once you have run the rest of it by hand (mend the file, too: it is not compared any more):\n    {};",
        ledger.finish_by_hand(version)
    );
    text
}

/// The first words of a statement, on one line, without the comments before it.
fn first_words(statement: &ScriptStatement) -> String {
    let skipped = statement.line.saturating_sub(statement.first_line);
    let lines: Vec<_> = statement.sql.lines().skip(skipped).collect();
    let line = lines.join(" ").split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(SHOWN) {
        None => line,
        Some((end, _)) => format!("{}…", &line[..end]),
    }
}
