//! The output formats of results.

use std::io::{self, Write};

use super::csv_output::Csv;
use super::json_output::Json;
use super::printer::{Printer, Summary};
use super::table_output::Table;
use crate::cli::console::Console;
use crate::value::proto::ResultSet;
use crate::wire_size::widen;

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    Table,
    Json,
    Csv,
}

impl Format {
    pub(crate) fn printer(self) -> Box<dyn Printer> {
        match self {
            Self::Table => Box::new(Table::default()),
            Self::Json => Box::new(Json::default()),
            Self::Csv => Box::new(Csv::default()),
        }
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
    let mut printer = format.printer();
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
