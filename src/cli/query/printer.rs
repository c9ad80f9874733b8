//! Prints a result part by part.

use std::io::{self, Write};

use crate::cli::console::counted;
use crate::value::{Column, Row};

pub(crate) trait Printer {
    /// Takes the columns, before any row. Not called if the statement returns no rows.
    fn columns(&mut self, columns: Vec<Column>, out: &mut dyn Write) -> io::Result<()>;

    /// Prints or buffers a row.
    fn row(&mut self, row: &Row, out: &mut dyn Write) -> io::Result<()>;

    /// Prints the rest of a complete result. Not called either if the statement returns no rows.
    fn finish(&mut self, _summary: &Summary, _out: &mut dyn Write) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug, Default)]
pub(crate) struct Summary {
    pub(crate) has_columns: bool,
    pub(crate) row_count: u64,
    pub(crate) rows_affected: u64,
    pub(crate) command: String,
    /// The server's attempts; 0 if unknown.
    pub(crate) attempts: u32,
    /// Tells whether this is the stored result of an earlier call.
    pub(crate) replayed: bool,
    /// The statement has ended.
    pub(crate) is_whole: bool,
}

impl Summary {
    /// Returns the facts about the call beyond its result.
    pub(crate) fn notes(&self) -> Vec<String> {
        let attempts = (self.attempts > 1).then(|| counted(self.attempts.into(), "attempt"));
        self.replayed.then(|| "replayed".to_owned()).into_iter().chain(attempts).collect()
    }

    /// Returns `INSERT: 1 row affected`; `None` for a command that changes no rows.
    pub(crate) fn change(&self) -> Option<String> {
        let changes = matches!(self.command.as_str(), "INSERT" | "UPDATE" | "DELETE" | "MERGE");
        (changes || self.rows_affected > 0)
            .then(|| format!("{}: {} affected", self.command, counted(self.rows_affected, "row")))
    }

    /// Describes a statement that returns no rows.
    pub(crate) fn without_rows(&self) -> String {
        let command = if self.command.is_empty() { "done" } else { &self.command };
        let result = self.change().unwrap_or_else(|| command.to_owned());
        match self.notes().join("; ") {
            notes if notes.is_empty() => result,
            notes => format!("{result} ({notes})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_without_rows_is_described() {
        let described = |command: &str, rows_affected| {
            Summary { command: command.to_owned(), rows_affected, ..Summary::default() }
                .without_rows()
        };
        assert_eq!(described("INSERT", 1), "INSERT: 1 row affected");
        assert_eq!(described("UPDATE", 0), "UPDATE: 0 rows affected");
        assert_eq!(described("CREATE TABLE", 0), "CREATE TABLE");
        assert_eq!(described("CREATE TABLE AS", 3), "CREATE TABLE AS: 3 rows affected");
        assert_eq!(described("", 0), "done");
        let replayed = Summary { attempts: 2, replayed: true, ..Summary::default() };
        assert_eq!(replayed.without_rows(), "done (replayed; 2 attempts)");
    }
}
