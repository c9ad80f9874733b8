//! CSV as PostgreSQL's COPY writes it: with a header; NULL is an empty field, the empty text `""`.
//!
//! Written by hand because a CSV writer that does not know NULL quotes both or neither.

use std::io::{self, Write};

use super::printer::Printer;
use crate::value::text::{list, text};
use crate::value::{Column, Row};

#[derive(Default)]
pub(crate) struct Csv {
    columns: Vec<Column>,
}

impl Printer for Csv {
    fn columns(&mut self, columns: Vec<Column>, out: &mut dyn Write) -> io::Result<()> {
        self.columns = columns;
        writeln!(out, "{}", list(&self.columns, |column| field(Some(&column.name))))
    }

    fn row(&mut self, row: &Row, out: &mut dyn Write) -> io::Result<()> {
        let cells = row.values.iter().zip(&self.columns);
        let fields = list(cells, |(value, column)| field(text(value, column).as_deref()));
        writeln!(out, "{fields}")
    }
}

fn field(text: Option<&str>) -> String {
    match text {
        None => String::new(),
        // COPY reads this line as the end of its data.
        Some("\\.") => "\"\\.\"".to_owned(),
        Some(text) if !text.is_empty() && !text.contains([',', '"', '\n', '\r']) => text.to_owned(),
        Some(text) => format!("\"{}\"", text.replace('"', "\"\"")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::query::tests::{array, column};
    use crate::value::Value;
    use crate::value::proto::DataType;

    fn printed(columns: &[&str], rows: Vec<Vec<Value>>) -> String {
        let mut printer = Csv::default();
        let mut out = Vec::new();
        let columns = columns.iter().map(|name| column(name, DataType::Text)).collect();
        printer.columns(columns, &mut out).unwrap();
        for values in rows {
            printer.row(&Row { values }, &mut out).unwrap();
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn null_and_the_empty_text_differ() {
        let row = vec![Value::null(), Value::text(""), Value::text("NULL")];
        assert_eq!(printed(&["a", "b", "c"], vec![row]), "a,b,c\n,\"\",NULL\n");
    }

    #[test]
    fn what_would_break_a_line_is_quoted() {
        let row = vec![Value::text("a,b"), Value::text("say \"hi\"\nbye"), Value::text("\\.")];
        let expected = "\"x,y\",b,c\n\"a,b\",\"say \"\"hi\"\"\nbye\",\"\\.\"\n";
        assert_eq!(printed(&["x,y", "b", "c"], vec![row]), expected);
    }

    #[test]
    fn other_kinds_are_their_text() {
        let row = vec![
            array(vec![Value::int64(1), Value::int64(2)], &[], &[]),
            Value::bytes([255]),
            Value::bool(true),
        ];
        assert_eq!(printed(&["a", "b", "c"], vec![row]), "a,b,c\n\"{1,2}\",\\xff,true\n");
    }

    #[test]
    fn a_result_without_rows_has_its_header() {
        assert_eq!(printed(&["id", "name"], vec![]), "id,name\n");
    }
}
