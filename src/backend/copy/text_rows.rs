//! Rows as the text of a COPY.

use super::round_trip;
use super::sqlite_affinity::untyped_float;
use super::text_form::{BYTE_ORDER_MARK, CopyText, TextFormat};
use crate::error::{Error, ErrorKind, Result};
use crate::sql::Dialect;
use crate::value::cell::{Cell, cells};
use crate::value::text::{Precision, float, text};
use crate::value::{Column, Kind, Row, Value};

/// The rows of one result as text, or the text that the database has written.
#[derive(Debug)]
pub(crate) struct TextRows {
    /// The columns and the form; `None` if the database writes the text.
    form: Option<(Vec<Column>, CopyText)>,
    /// The database has still to write the header.
    expects_header: bool,
    out: Vec<u8>,
    /// The rows so far.
    count: usize,
}

impl TextRows {
    /// Makes rows of a result; the header, if there is to be one, is there already.
    pub(crate) fn new(columns: &[Column], form: &CopyText) -> Self {
        let mut out = Vec::new();
        if form.header {
            let names = columns.iter().map(|column| Some(column.name.as_bytes()));
            write_line(names, form, &mut out);
        }
        Self { form: Some((columns.to_vec(), form.clone())), expects_header: false, out, count: 0 }
    }

    /// Makes rows that the database writes, behind a header if there is to be one.
    pub(crate) fn written(header: bool) -> Self {
        Self { form: None, expects_header: header, out: Vec::new(), count: 0 }
    }

    /// Adds what the database has written; returns the size of a row, and `None` for the header, which is none.
    pub(crate) fn push_data(&mut self, data: &[u8]) -> Option<usize> {
        self.out.extend_from_slice(data);
        (!std::mem::take(&mut self.expects_header)).then_some(data.len())
    }

    /// Adds a row, a message `Row`; returns the size of its text.
    pub(crate) fn push(&mut self, row: &[u8]) -> Result<usize> {
        let read =
            |error| Error::new(ErrorKind::Internal, "a value cannot be read").with_cause(error);
        let cells = cells(row).map(|cell| cell.map_err(read)).collect::<Result<Vec<_>>>()?;
        self.push_cells(&cells)
    }

    /// Adds a row of these cells; returns the size of its text. Fails for a value of a table that would not come back.
    pub(crate) fn push_cells(&mut self, cells: &[Cell<'_>]) -> Result<usize> {
        let Some((columns, form)) = &self.form else { return Ok(0) };
        let before = self.out.len();
        self.count += 1;
        let mut texts = Vec::with_capacity(columns.len());
        for (cell, column) in cells.iter().zip(columns) {
            if let Some(source) = form.source {
                round_trip::check(cell, column, source, self.count)?;
            }
            let own = form.source.and_then(|source| text_of_dialect(cell, column, source.dialect));
            texts.push(own.map_or_else(|| cell_text(cell, column), CellText::Owned));
        }
        write_line(texts.iter().map(CellText::as_bytes), form, &mut self.out);
        Ok(self.out.len() - before)
    }

    /// Takes out the text so far.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }
}

/// The text of a cell; `None` for NULL.
enum CellText<'a> {
    Null,
    Borrowed(&'a [u8]),
    Owned(String),
}

impl CellText<'_> {
    fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Null => None,
            Self::Borrowed(bytes) => Some(bytes),
            Self::Owned(text) => Some(text.as_bytes()),
        }
    }
}

/// The text of a cell that is another one in a database of its own: MySQL takes the text 0 for the year 2000, and SQLite knows a
/// float without a type by its point.
fn text_of_dialect(cell: &Cell<'_>, column: &Column, dialect: Dialect) -> Option<String> {
    match (dialect, cell) {
        (Dialect::Mysql, Cell::Integer(0)) if column.type_name == "year" => Some("0000".to_owned()),
        (Dialect::Sqlite, Cell::Float64(number)) if column.type_name.is_empty() => {
            Some(untyped_float(*number))
        }
        _ => None,
    }
}

fn cell_text<'a>(cell: &'a Cell<'_>, column: &Column) -> CellText<'a> {
    CellText::Owned(match cell {
        Cell::Null => return CellText::Null,
        Cell::Text(text) => return CellText::Borrowed(text.as_bytes()),
        Cell::Bool(value) => return CellText::Borrowed(bool_text(*value)),
        Cell::Integer(number) => number.to_string(),
        Cell::Float32(number) => float(f64::from(*number), Precision::Single),
        Cell::Float64(number) => float(*number, Precision::of(column)),
        Cell::Bytes(bytes) => crate::value::text::hex(bytes),
        Cell::Value(Value { kind: Some(Kind::TimestampValue(moment)) }) => {
            moment.to_string().replace('T', " ").trim_end_matches('Z').to_owned()
        }
        Cell::Value(value) => match text(value, column) {
            Some(text) => text,
            None => return CellText::Null,
        },
        Cell::Date(days) => moment(i64::from(*days) * 86_400, 0, MomentPart::Date),
        Cell::Time(micros) => micros_text(*micros, MomentPart::Time),
        Cell::Timestamp(micros) | Cell::Timestamptz(micros) => {
            micros_text(*micros, MomentPart::Both)
        }
    })
}

/// PostgreSQL's words.
fn bool_text(value: bool) -> &'static [u8] {
    if value { b"t" } else { b"f" }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MomentPart {
    Date,
    Time,
    Both,
}

fn micros_text(micros: i64, part: MomentPart) -> String {
    moment(micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000), part)
}

/// A moment since 1970 in UTC, or a part of it.
fn moment(seconds: i64, micros: i64, part: MomentPart) -> String {
    let nanos = i32::try_from(micros * 1_000).unwrap_or_default();
    let whole = prost_types::Timestamp { seconds, nanos }.to_string();
    let (date, time) = whole.split_once('T').unwrap_or((&whole, ""));
    let time = time.trim_end_matches('Z');
    match part {
        MomentPart::Date => date.to_owned(),
        MomentPart::Time => time.to_owned(),
        MomentPart::Both => format!("{date} {time}"),
    }
}

/// Writes a line of fields, of which `None` is NULL.
fn write_line<'a>(
    fields: impl ExactSizeIterator<Item = Option<&'a [u8]>>,
    form: &CopyText,
    out: &mut Vec<u8>,
) {
    let is_single = fields.len() == 1;
    for (index, field) in fields.enumerate() {
        if index > 0 {
            out.push(form.delimiter);
        }
        match (field, form.format) {
            (None, _) => out.extend_from_slice(form.null.as_bytes()),
            (Some(field), TextFormat::Csv) => {
                // A line of its own, `\.` is the end of the data, and a mark at its begin would be none of the data.
                let is_taken = is_single && field == b"\\." || index == 0 && is_marked(field);
                write_csv_field(field, form, is_taken, out);
            }
            (Some(field), TextFormat::Text) if index == 0 && is_marked(field) => {
                let (mark, rest) = field.split_at(BYTE_ORDER_MARK.len());
                mark.iter()
                    .for_each(|byte| out.extend_from_slice(format!("\\x{byte:02x}").as_bytes()));
                escape(rest, form.delimiter, out);
            }
            (Some(field), TextFormat::Text) => escape(field, form.delimiter, out),
        }
    }
    out.push(b'\n');
}

fn is_marked(field: &[u8]) -> bool {
    field.starts_with(BYTE_ORDER_MARK.as_bytes())
}

/// Writes a field of CSV, in quotes where it would be read otherwise, or is `taken` for something else.
fn write_csv_field(field: &[u8], form: &CopyText, taken: bool, out: &mut Vec<u8>) {
    let special = |byte: &u8| {
        *byte == form.delimiter || *byte == form.quote || matches!(*byte, b'\n' | b'\r')
    };
    let is_quoted = taken || field == form.null.as_bytes() || field.iter().any(special);
    if !is_quoted {
        out.extend_from_slice(field);
        return;
    }
    out.push(form.quote);
    for byte in field {
        if *byte == form.quote || *byte == form.escape {
            out.push(form.escape);
        }
        out.push(*byte);
    }
    out.push(form.quote);
}

/// Writes a field of the text format.
fn escape(field: &[u8], delimiter: u8, out: &mut Vec<u8>) {
    let is_special = |byte: &u8| *byte == delimiter || matches!(*byte, b'\\' | 8..=13);
    let mut rest = field;
    while let Some(at) = rest.iter().position(is_special) {
        out.extend_from_slice(&rest[..at]);
        out.push(b'\\');
        out.push(match rest[at] {
            8 => b'b',
            b'\t' => b't',
            b'\n' => b'n',
            11 => b'v',
            12 => b'f',
            b'\r' => b'r',
            other => other,
        });
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

/// Writes the values of a row as a line of PostgreSQL's text format, each as its text.
pub(crate) fn write_text_row(row: &Row, out: &mut Vec<u8>) -> Result<()> {
    let form = CopyText::TEXT;
    if row.values.is_empty() {
        let why = "a row has no values";
        return Err(Error::field(ErrorKind::InvalidParameter, "rows", why));
    }
    for (index, value) in row.values.iter().enumerate() {
        if index > 0 {
            out.push(form.delimiter);
        }
        match &value.kind {
            None => return Err(unset_kind()),
            Some(Kind::NullValue(_)) => out.extend_from_slice(form.null.as_bytes()),
            Some(Kind::TextValue(text)) => escape(text.as_bytes(), form.delimiter, out),
            Some(Kind::BoolValue(value)) => out.extend_from_slice(bool_text(*value)),
            Some(Kind::Int64Value(number)) => {
                out.extend_from_slice(number.to_string().as_bytes());
            }
            Some(_) => {
                let text = text(value, &Column::default()).ok_or_else(|| {
                    let why = "a value has no text in the place of a column";
                    Error::field(ErrorKind::InvalidParameter, "rows", why)
                })?;
                escape(text.as_bytes(), form.delimiter, out);
            }
        }
    }
    out.push(b'\n');
    Ok(())
}

/// The error of a value without a kind.
pub(crate) fn unset_kind() -> Error {
    let why = "a value has no kind; set null_value for NULL";
    Error::field(ErrorKind::InvalidParameter, "rows", why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(texts: &[Option<&str>], form: &CopyText) -> String {
        let mut out = Vec::new();
        write_line(texts.iter().map(|text| text.map(str::as_bytes)), form, &mut out);
        String::from_utf8(out).expect("it is text")
    }

    #[test]
    fn csv_is_as_postgresql_writes_it() {
        let cases: [(&[Option<&str>], &str); 6] = [
            (&[Some("a"), None, Some("")], "a,,\"\"\n"),
            (
                &[Some("a,b"), Some("say \"hi\""), Some("x\ny")],
                "\"a,b\",\"say \"\"hi\"\"\",\"x\ny\"\n",
            ),
            (&[Some("\\.")], "\"\\.\"\n"),
            (&[Some("\\."), Some("b")], "\\.,b\n"),
            (&[None], "\n"),
            (&[Some(" a ")], " a \n"),
        ];
        let marked = [Some("\u{feff}a"), Some("\u{feff}b")];
        assert_eq!(written(&marked, &CopyText::CSV), "\"\u{feff}a\",\u{feff}b\n");
        assert_eq!(written(&marked, &CopyText::TEXT), "\\xef\\xbb\\xbfa\t\u{feff}b\n");
        for (fields, expected) in cases {
            assert_eq!(written(fields, &CopyText::CSV), expected);
        }
        let form = CopyText {
            delimiter: b';',
            null: "NULL".into(),
            quote: b'\'',
            escape: b'\\',
            ..CopyText::CSV
        };
        let fields = [Some("NULL"), None, Some(""), Some("it's; \\")];
        assert_eq!(written(&fields, &form), "'NULL';NULL;;'it\\'s; \\\\'\n");
    }

    #[test]
    fn text_is_as_postgresql_writes_it() {
        let fields = [Some("a\tb"), None, Some(""), Some("\\N\n\r\u{8}\u{b}\u{c}")];
        assert_eq!(written(&fields, &CopyText::TEXT), "a\\tb\t\\N\t\t\\\\N\\n\\r\\b\\v\\f\n");
    }

    #[test]
    fn values_become_a_line_that_postgresql_parses() {
        let row = Row {
            values: vec![
                Value::int64(-5),
                Value::null(),
                Value::bool(true),
                Value::text("a\\\t"),
                Value::bytes([0, 255]),
                Value::float64(1.5),
                Value::timestamp(0, 1_000),
            ],
        };
        let mut out = Vec::new();
        write_text_row(&row, &mut out).expect("all have kinds");
        let expected = "-5\t\\N\tt\ta\\\\\\t\t\\\\x00ff\t1.5\t1970-01-01T00:00:00.000001Z\n";
        assert_eq!(String::from_utf8(out).expect("it is text"), expected);
        let unset = Row { values: vec![Value { kind: None }] };
        assert!(write_text_row(&unset, &mut Vec::new()).is_err());
    }

    #[test]
    fn moments_are_written_as_postgresql_writes_them() {
        assert_eq!(micros_text(-1, MomentPart::Both), "1969-12-31 23:59:59.999999");
        assert_eq!(micros_text(3_600_000_000, MomentPart::Time), "01:00:00");
        assert_eq!(moment(-86_400, 0, MomentPart::Date), "1969-12-31");
    }
}
