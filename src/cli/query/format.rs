//! The output formats of results.

use std::io::{self, Write};

use super::csv_output::Csv;
use super::json_output::Json;
use super::printer::{Printer, Summary};
use super::table_output::Table;
use crate::cli::console::Console;
use crate::printable::{EscapingWriter, Notation};
use crate::value::proto::ResultSet;
use crate::value::{Column, Row};
use crate::wire_size::widen;

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    Table,
    Json,
    Csv,
}

impl Format {
    /// The printer for a console. Rows must not control a terminal; programs get them as they are.
    pub(crate) fn printer(self, console: &Console<'_>) -> Box<dyn Printer> {
        let escaping = console.is_terminal;
        match self {
            Self::Table => Box::new(Table::default()),
            Self::Json if escaping => Box::new(Escaped(Json::default(), Notation::Json)),
            Self::Csv if escaping => Box::new(Escaped(Csv::default(), Notation::Text)),
            Self::Json => Box::new(Json::default()),
            Self::Csv => Box::new(Csv::default()),
        }
    }
}

/// A printer whose text is escaped.
struct Escaped<P>(P, Notation);

impl<P: Printer> Printer for Escaped<P> {
    fn columns(&mut self, columns: Vec<Column>, out: &mut dyn Write) -> io::Result<()> {
        self.0.columns(columns, &mut EscapingWriter::new(out, self.1))
    }

    fn row(&mut self, row: &Row, out: &mut dyn Write) -> io::Result<()> {
        self.0.row(row, &mut EscapingWriter::new(out, self.1))
    }

    fn finish(&mut self, summary: &Summary, out: &mut dyn Write) -> io::Result<()> {
        self.0.finish(summary, &mut EscapingWriter::new(out, self.1))
    }
}

/// Prints a result set, and completes its summary.
pub(crate) fn print_set(
    set: ResultSet,
    format: Format,
    summary: &mut Summary,
    console: &mut Console<'_>,
) -> io::Result<()> {
    summary.has_columns = set.has_columns;
    summary.row_count = widen(set.rows.len());
    summary.rows_affected = set.rows_affected;
    summary.command = set.command;
    if !set.has_columns {
        return print_without_rows(summary, format, console);
    }
    let mut printer = format.printer(console);
    printer.columns(set.columns, console.out)?;
    set.rows.iter().try_for_each(|row| printer.row(row, console.out))?;
    printer.finish(summary, console.out)
}

/// Prints the summary of a statement without rows, for programs to standard error: they would read it as data.
pub(crate) fn print_without_rows(
    summary: &Summary,
    format: Format,
    console: &mut Console<'_>,
) -> io::Result<()> {
    let to: &mut dyn Write = if format == Format::Table { console.out } else { console.err };
    writeln!(to, "{}", summary.without_rows())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::query::tests::column;
    use crate::value::Value;
    use crate::value::proto::DataType;

    fn printed(format: Format, is_terminal: bool) -> String {
        let mut out = Vec::new();
        let set = ResultSet {
            has_columns: true,
            columns: vec![column("a\u{9b}", DataType::Text)],
            rows: vec![Row { values: vec![Value::text("\u{1b}[2J\u{202e}ü")] }],
            ..ResultSet::default()
        };
        let mut console = Console { out: &mut out, is_terminal, err: &mut io::sink() };
        print_set(set, format, &mut Summary::default(), &mut console).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn rows_do_not_control_a_terminal_and_reach_programs_as_they_are() {
        let json = printed(Format::Json, true);
        assert_eq!(json, "{\"a\\u009b\":\"\\u001b[2J\\u202eü\"}\n");
        assert_eq!(printed(Format::Csv, true), "a\\u{9b}\n\\u{1b}[2J\\u{202e}ü\n");
        assert!(!printed(Format::Table, true).contains(['\u{1b}', '\u{9b}', '\u{202e}']));
        assert_eq!(printed(Format::Csv, false), "a\u{9b}\n\u{1b}[2J\u{202e}ü\n");
    }
}
