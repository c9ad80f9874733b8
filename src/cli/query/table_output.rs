//! A table for people, with a line below that counts the rows.

use std::io::{self, Write};

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table as Grid, presets};

use super::expanded_output::write_expanded;
use super::printer::{Printer, Summary};
use crate::cli::console::{counted, visible};
use crate::value::proto::DataType;
use crate::value::text::text;
use crate::value::{Column, Row, Value};
use crate::wire_size::widen;

/// The rows that are buffered to find the widths of columns; a longer result is printed as several tables.
const MAX_BUFFERED_ROWS: usize = 10_000;

/// The size of their text, in bytes.
const MAX_BUFFERED_TEXT: usize = 4 << 20;

/// The width of a column down to which longer values are wrapped, in [`Layout::Automatic`].
const LEAST_WIDTH: u16 = 12;

/// The text of NULL; the text `NULL` is quoted.
const NULL: &str = "NULL";

/// The width of a column below which nothing is wrapped: a table of more columns is as wide as its values.
const LEAST_WRAPPED: u16 = 4;

/// The form of a table; widths are those of the terminal, in columns of text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Layout {
    /// As wide as its values.
    #[default]
    Natural,
    /// Longer values are wrapped, unless that would leave columns fewer than [`LEAST_WRAPPED`] characters.
    Fitting(u16),
    /// One value a line.
    Expanded(Option<u16>),
    /// Fitting, or expanded where that would make columns too narrow to read.
    Automatic(u16),
}

#[derive(Default)]
pub(crate) struct Table {
    layout: Layout,
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
    buffered_text: usize,
    /// The rows of the tables before.
    printed_rows: u64,
    printed: bool,
}

impl Table {
    pub(crate) fn new(layout: Layout) -> Self {
        Self { layout, ..Self::default() }
    }

    /// Prints the rows that are left, and the names of columns where there are no rows at all.
    pub(crate) fn end(&mut self, out: &mut dyn Write) -> io::Result<()> {
        if self.rows.is_empty() && self.printed { Ok(()) } else { self.flush(out) }
    }

    fn flush(&mut self, out: &mut dyn Write) -> io::Result<()> {
        self.printed = true;
        self.buffered_text = 0;
        let rows = std::mem::take(&mut self.rows);
        let first = self.printed_rows + 1;
        self.printed_rows += widen(rows.len());
        let names: Vec<_> = self.columns.iter().map(|column| visible(&column.name)).collect();
        if let Layout::Expanded(width) = self.layout {
            return write_expanded(&names, &rows, (first, width), out);
        }
        let mut grid = self.grid(&names, &rows);
        if let Layout::Fitting(width) | Layout::Automatic(width) = self.layout {
            let widths = grid.column_max_content_widths();
            if let Layout::Automatic(_) = self.layout {
                // Further tables of the same result look as the first.
                self.layout = automatic(&widths, width);
                if let Layout::Expanded(width) = self.layout {
                    return write_expanded(&names, &rows, (first, width), out);
                }
            }
            let fits = |most| total(widths.iter().map(|own| (*own).min(most))) <= u64::from(width);
            if !fits(u16::MAX) && fits(LEAST_WRAPPED) {
                grid.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
            }
        }
        grid.lines().try_for_each(|line| writeln!(out, "{line}"))
    }

    fn grid(&self, names: &[String], rows: &[Vec<String>]) -> Grid {
        let mut grid = Grid::new();
        grid.load_preset(presets::UTF8_FULL_CONDENSED);
        grid.set_header(names);
        grid.add_rows(rows.iter().map(|row| {
            let cells = row.iter().zip(&self.columns);
            cells.map(|(text, column)| Cell::new(text).set_alignment(alignment(column)))
        }));
        grid
    }
}

/// The layout of a table whose columns have these widths.
fn automatic(widths: &[u16], width: u16) -> Layout {
    let least = total(widths.iter().map(|width| (*width).min(LEAST_WIDTH)));
    if least > u64::from(width) { Layout::Expanded(Some(width)) } else { Layout::Fitting(width) }
}

/// The width of a table whose columns have these: each has a blank before and behind it, and a border.
fn total(widths: impl Iterator<Item = u16>) -> u64 {
    widths.map(|width| u64::from(width) + 3).sum::<u64>() + 1
}

/// The text of a value for people, which tells NULL apart from the text.
fn shown(value: &Value, column: &Column) -> String {
    match text(value, column) {
        None => NULL.to_owned(),
        Some(text) if text.trim_matches('\'') == NULL => format!("'{text}'"),
        Some(text) => visible(&text),
    }
}

impl Printer for Table {
    fn columns(&mut self, columns: Vec<Column>, _out: &mut dyn Write) -> io::Result<()> {
        self.columns = columns;
        Ok(())
    }

    fn row(&mut self, row: &Row, out: &mut dyn Write) -> io::Result<()> {
        if self.rows.len() == MAX_BUFFERED_ROWS || self.buffered_text > MAX_BUFFERED_TEXT {
            self.flush(out)?;
        }
        let cells = row.values.iter().zip(&self.columns);
        let cells: Vec<_> = cells.map(|(value, column)| shown(value, column)).collect();
        self.buffered_text += cells.iter().map(String::len).sum::<usize>();
        self.rows.push(cells);
        Ok(())
    }

    fn finish(&mut self, summary: &Summary, out: &mut dyn Write) -> io::Result<()> {
        self.end(out)?;
        let mut notes = vec![counted(summary.row_count, "row")];
        notes.extend(summary.change());
        notes.extend(summary.notes());
        writeln!(out, "({})", notes.join("; "))
    }
}

fn alignment(column: &Column) -> CellAlignment {
    use DataType::{Float32, Float64, Int16, Int32, Int64, Numeric};
    let is_number = matches!(column.r#type(), Int16 | Int32 | Int64 | Float32 | Float64 | Numeric);
    if is_number { CellAlignment::Right } else { CellAlignment::Left }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::query::tests::{array, column};
    use crate::value::Value;

    fn printed(columns: Vec<Column>, rows: Vec<Vec<Value>>, command: &str) -> String {
        printed_as(Layout::Natural, columns, rows, command)
    }

    fn printed_as(
        layout: Layout,
        columns: Vec<Column>,
        rows: Vec<Vec<Value>>,
        command: &str,
    ) -> String {
        let summary = Summary {
            has_columns: true,
            row_count: u64::try_from(rows.len()).unwrap(),
            rows_affected: if command == "SELECT" { 0 } else { 2 },
            command: command.to_owned(),
            ..Summary::default()
        };
        let mut printer = Table::new(layout);
        let mut out = Vec::new();
        printer.columns(columns, &mut out).unwrap();
        for values in rows {
            printer.row(&Row { values }, &mut out).unwrap();
        }
        printer.finish(&summary, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_are_right_aligned_and_null_is_named() {
        let columns = vec![column("number", DataType::Int32), column("text", DataType::Text)];
        let rows = vec![
            vec![Value::int64(1), Value::text("one\ntwo")],
            vec![Value::null(), array(vec![Value::text("a b")], &[], &[])],
        ];
        let expected = "\
┌────────┬─────────┐
│ number ┆ text    │
╞════════╪═════════╡
│      1 ┆ one     │
│        ┆ two     │
│   NULL ┆ {\"a b\"} │
└────────┴─────────┘
(2 rows)
";
        assert_eq!(printed(columns, rows, "SELECT"), expected);
    }

    #[test]
    fn null_is_told_apart_from_texts() {
        let texts = ["NULL", "'NULL'", "", "null", "NULL'"];
        let rows = std::iter::once(vec![Value::null()]);
        let rows = rows.chain(texts.into_iter().map(|text| vec![Value::text(text)])).collect();
        let table = printed(vec![column("a", DataType::Text)], rows, "SELECT");
        let cells: Vec<_> = table.lines().filter(|line| line.starts_with('│')).collect();
        let expected = [
            "│ a        │",
            "│ NULL     │",
            "│ 'NULL'   │",
            "│ ''NULL'' │",
            "│          │",
            "│ null     │",
            "│ 'NULL''  │",
        ];
        assert_eq!(cells, expected);
    }

    #[test]
    fn a_table_fits_the_terminal() {
        let columns = || vec![column("id", DataType::Int32), column("text", DataType::Text)];
        let rows = || vec![vec![Value::int64(1), Value::text("漢字 ".repeat(20))]];
        let lines = |layout| {
            let table = printed_as(layout, columns(), rows(), "SELECT");
            table.lines().map(unicode_width::UnicodeWidthStr::width).collect::<Vec<_>>()
        };
        let wrapped = lines(Layout::Fitting(40));
        assert!(wrapped.iter().all(|width| *width <= 40) && wrapped.len() > 6, "{wrapped:?}");
        assert_eq!(lines(Layout::Automatic(40)), wrapped);
        assert_eq!(lines(Layout::Automatic(200)), lines(Layout::Natural));
        assert!(lines(Layout::Natural).iter().any(|width| *width > 40));
    }

    #[test]
    fn columns_that_would_be_too_narrow_are_expanded() {
        let columns = (0..9).map(|n| column(&format!("column_number_{n}"), DataType::Int32));
        let rows = vec![(0..9).map(Value::int64).collect()];
        let columns: Vec<_> = columns.collect();
        let printed = printed_as(Layout::Automatic(40), columns.clone(), rows, "SELECT");
        assert!(printed.starts_with("─[ 1 ]─"), "{printed}");
        assert!(printed.contains("\ncolumn_number_8 │ 8\n(1 row)\n"), "{printed}");
        let empty = printed_as(Layout::Expanded(None), columns, vec![], "SELECT");
        assert_eq!(empty, "(0 rows)\n");
    }

    #[test]
    fn a_table_whose_columns_could_not_be_read_is_as_wide_as_its_values() {
        let rows = || vec![(0..20).map(|_| Value::text("twelve chars")).collect()];
        let columns = || (0..20).map(|n| column(&format!("c{n}"), DataType::Text)).collect();
        let natural = printed_as(Layout::Natural, columns(), rows(), "SELECT");
        assert_eq!(printed_as(Layout::Fitting(80), columns(), rows(), "SELECT"), natural);
        let wrapped = printed_as(Layout::Fitting(141), columns(), rows(), "SELECT");
        assert_ne!(wrapped, natural);
    }

    #[test]
    fn a_result_without_rows_shows_its_columns() {
        let table = printed(vec![column("id", DataType::Int32)], vec![], "SELECT");
        assert!(table.contains("│ id │") && table.ends_with("(0 rows)\n"), "{table}");
    }

    #[test]
    fn a_write_that_returns_rows_shows_both_counts() {
        let rows = vec![vec![Value::int64(7)]];
        let table = printed(vec![column("id", DataType::Int32)], rows, "INSERT");
        assert!(table.ends_with("(1 row; INSERT: 2 rows affected)\n"), "{table}");
    }

    #[test]
    fn attempts_and_a_replay_are_shown() {
        let summary =
            Summary { has_columns: true, attempts: 3, replayed: true, ..Summary::default() };
        let mut printer = Table::default();
        let mut out = Vec::new();
        printer.columns(vec![column("id", DataType::Int32)], &mut out).unwrap();
        printer.finish(&summary, &mut out).unwrap();
        let table = String::from_utf8(out).unwrap();
        assert!(table.ends_with("(0 rows; replayed; 3 attempts)\n"), "{table}");
    }

    #[test]
    fn values_cannot_control_the_terminal() {
        let rows = vec![vec![Value::text("\u{1b}[2J\tx\u{9b}")]];
        let table = printed(vec![column("id", DataType::Text)], rows, "SELECT");
        assert!(table.contains(r"\u{1b}[2J\tx\u{9b}"), "{table}");
    }

    #[test]
    fn a_long_result_is_printed_in_pieces() {
        let rows = (0..=10_000).map(|number| vec![Value::int64(number)]).collect();
        let table = printed(vec![column("id", DataType::Int64)], rows, "SELECT");
        assert_eq!(table.matches("│    id │").count() + table.matches("│ id    │").count(), 1);
        assert_eq!(table.matches('╞').count(), 2);
        assert!(table.ends_with("(10001 rows)\n"));
    }
}
