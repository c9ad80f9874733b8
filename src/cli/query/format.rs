//! The output formats of results.

use std::io::{self, Write};

use super::csv_output::Csv;
use super::json_output::Json;
use super::printer::{Printer, Summary};
use super::table_output::Table;
use crate::cli::console::Console;
use crate::value::proto::ResultSet;

/// The output format of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    Table,
    Json,
    Csv,
}

impl Format {
    /// Makes a printer for one result.
    pub(crate) fn printer(self) -> Box<dyn Printer> {
        match self {
            Self::Table => Box::new(Table::default()),
            Self::Json => Box::new(Json::default()),
            Self::Csv => Box::new(Csv::default()),
        }
    }
}

/// Prints a result set, unless the statement returns no rows, and completes its summary.
pub(crate) fn print_set(
    set: ResultSet,
    format: Format,
    summary: &mut Summary,
    out: &mut dyn Write,
) -> io::Result<()> {
    summary.has_columns = set.has_columns;
    summary.row_count = u64::try_from(set.rows.len()).unwrap_or(u64::MAX);
    summary.rows_affected = set.rows_affected;
    summary.command = set.command;
    if !set.has_columns {
        return Ok(());
    }
    let mut printer = format.printer();
    printer.columns(set.columns, out)?;
    set.rows.iter().try_for_each(|row| printer.row(row, out))?;
    printer.finish(summary, out)
}

/// Prints the summary of a statement that returns no rows, in JSON and CSV to standard error: programs would read it as
/// data.
pub(crate) fn print_without_rows(
    summary: &Summary,
    format: Format,
    console: &mut Console<'_>,
) -> io::Result<()> {
    let to: &mut dyn Write = if format == Format::Table { console.out } else { console.err };
    writeln!(to, "{}", summary.without_rows())
}
