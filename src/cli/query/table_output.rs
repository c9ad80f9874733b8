//! A table for people, with a line below that counts the rows.

use std::io::{self, Write};

use comfy_table::{Cell, CellAlignment, Table as Grid, presets};

use super::printer::{Printer, Summary};
use crate::cli::console::{counted, visible};
use crate::value::proto::DataType;
use crate::value::text::text;
use crate::value::{Column, Row};

/// The rows that are buffered to find the widths of columns; a longer result is printed as several tables.
const MAX_BUFFERED_ROWS: usize = 10_000;

#[derive(Default)]
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
    printed: bool,
}

impl Table {
    fn flush(&mut self, out: &mut dyn Write) -> io::Result<()> {
        let mut grid = Grid::new();
        grid.load_preset(presets::UTF8_FULL_CONDENSED);
        grid.set_header(self.columns.iter().map(|column| Cell::new(visible(&column.name))));
        grid.add_rows(self.rows.drain(..));
        self.printed = true;
        writeln!(out, "{grid}")
    }
}

impl Printer for Table {
    fn columns(&mut self, columns: Vec<Column>, _out: &mut dyn Write) -> io::Result<()> {
        self.columns = columns;
        Ok(())
    }

    fn row(&mut self, row: &Row, out: &mut dyn Write) -> io::Result<()> {
        if self.rows.len() == MAX_BUFFERED_ROWS {
            self.flush(out)?;
        }
        let cells = row.values.iter().zip(&self.columns).map(|(value, column)| {
            let text = text(value, column);
            Cell::new(visible(text.as_deref().unwrap_or("NULL"))).set_alignment(alignment(column))
        });
        self.rows.push(cells.collect());
        Ok(())
    }

    fn finish(&mut self, summary: &Summary, out: &mut dyn Write) -> io::Result<()> {
        if !self.rows.is_empty() || !self.printed {
            self.flush(out)?;
        }
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
        let summary = Summary {
            has_columns: true,
            row_count: u64::try_from(rows.len()).unwrap(),
            rows_affected: if command == "SELECT" { 0 } else { 2 },
            command: command.to_owned(),
            ..Summary::default()
        };
        let mut printer = Table::default();
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
