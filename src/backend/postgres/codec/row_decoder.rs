//! Decoders of whole rows, compiled once per statement.

use tokio_postgres::types::{Format, Type};

use super::cell_reader::{self, ReadCell};
use super::value_decoder::{Intervals, ValueDecoder};
use crate::error::{Error, ErrorKind, Result};
use crate::value::cell::Cell;
use crate::value::{RowEncoder, Value};

#[derive(Debug, Clone)]
pub(crate) struct RowDecoder {
    columns: Box<[ValueDecoder]>,
    formats: Box<[Format]>,
    /// The readers of columns whose values need not be decoded on their way into a result.
    cells: Box<[Option<ReadCell>]>,
}

impl RowDecoder {
    pub(crate) fn new(types: &[Type], intervals: Intervals) -> Self {
        let decoder = |ty: &Type| ValueDecoder::new(ty, intervals);
        let columns: Box<[ValueDecoder]> = types.iter().map(decoder).collect();
        let formats = columns.iter().map(ValueDecoder::format).collect();
        let cells = types.iter().map(cell_reader::reader).collect();
        Self { columns, formats, cells }
    }

    /// Returns the formats that [`RowDecoder::encode`] expects of the columns: text of those without a binary decoder.
    /// It does not depend on the neighbours of a column, as text depends on settings that statements change.
    pub(crate) fn formats(&self) -> &[Format] {
        &self.formats
    }

    /// Encodes one row from the raw values of its columns, `None` for NULL. Only a defect of the connection can make
    /// it fail, never the data.
    pub(crate) fn encode<'a>(
        &self,
        columns: impl ExactSizeIterator<Item = Option<&'a [u8]>>,
        row: &mut RowEncoder,
    ) -> Result<()> {
        self.check_width(columns.len())?;
        row.begin_row();
        for (index, (read, raw)) in self.cells.iter().zip(columns).enumerate() {
            let Some(raw) = raw else {
                row.null();
                continue;
            };
            let cell = read.and_then(|read| read(raw));
            if !cell.is_some_and(|cell| cell_reader::encode(cell, row)) {
                row.value(&self.value(index, raw)?);
            }
        }
        Ok(())
    }

    /// As [`RowDecoder::encode`], with values on their way into Arrow's arrays.
    pub(crate) fn cells<'a>(
        &self,
        columns: impl ExactSizeIterator<Item = Option<&'a [u8]>>,
    ) -> Result<impl Iterator<Item = Result<Cell<'a>>>> {
        self.check_width(columns.len())?;
        Ok(self.cells.iter().zip(columns).enumerate().map(|(index, (read, raw))| {
            let Some(raw) = raw else { return Ok(Cell::Null) };
            let cell = read.and_then(|read| read(raw));
            cell.map_or_else(|| self.value(index, raw).map(Cell::Value), Ok)
        }))
    }

    fn check_width(&self, sent: usize) -> Result<()> {
        let width = self.columns.len();
        let text = || malformed(format!("a row that does not have {width} columns"));
        if sent == width { Ok(()) } else { Err(text()) }
    }

    fn value(&self, index: usize, raw: &[u8]) -> Result<Value> {
        let decoder = self.columns.get(index).zip(self.formats.get(index));
        let value = decoder.and_then(|(decoder, format)| decoder.decode(*format, raw));
        let text = || format!("{} malformed bytes in column {}", raw.len(), index + 1);
        value.ok_or_else(|| malformed(text()))
    }
}

fn malformed(sent: String) -> Error {
    Error::new(ErrorKind::Internal, format!("the database sent {sent}"))
}

#[cfg(test)]
mod tests {
    use tokio_postgres::types::{Field, Kind as TypeKind};

    use super::*;
    use crate::value::{Row, RowsField};

    fn user_type(name: &str, kind: TypeKind) -> Type {
        Type::new(name.to_owned(), 70_000, kind, "public".to_owned())
    }

    #[test]
    fn a_column_comes_in_text_only_if_its_own_type_has_no_binary_decoder() {
        let mood = user_type("mood", TypeKind::Enum(vec!["sad".to_owned()]));
        let fields =
            vec![Field::new("a".to_owned(), Type::INT4), Field::new("b".to_owned(), mood.clone())];
        let pair = user_type("pair", TypeKind::Composite(fields));
        let is_binary = |types: &[Type]| -> Vec<bool> {
            let decoder = RowDecoder::new(types, Intervals::WithInfinity);
            decoder.formats().iter().map(|format| matches!(format, Format::Binary)).collect()
        };
        let binary = [
            Type::INT4,
            mood,
            pair,
            Type::NUMERIC_ARRAY,
            user_type("d", TypeKind::Domain(Type::DATE)),
            Type::POINT,
            Type::BOX_ARRAY,
            Type::INT4_RANGE,
            Type::TSTZMULTI_RANGE,
            user_type("floats", TypeKind::Range(Type::FLOAT8)),
        ];
        let text_only = [
            Type::MONEY,
            Type::INET,
            Type::INT2_VECTOR,
            Type::RECORD,
            Type::RECORD_ARRAY,
            Type::REGCLASS,
            Type::ANYARRAY,
            user_type("vector", TypeKind::Simple),
            user_type("addresses", TypeKind::Range(Type::INET)),
            user_type("d", TypeKind::Domain(user_type("hstore", TypeKind::Simple))),
            user_type("own", TypeKind::Array(Type::FLOAT4)),
        ];
        assert!(is_binary(&[]).is_empty());
        assert_eq!(is_binary(&binary), [true; 10]);
        assert_eq!(is_binary(&text_only), [false; 11]);
        assert_eq!(is_binary(&[Type::DATE, Type::INET, Type::DATE]), [true, false, true]);
    }

    #[test]
    fn cells_are_the_values_of_a_row_and_malformed_ones_an_error() {
        let decoder =
            RowDecoder::new(&[Type::INT4, Type::TEXT, Type::DATE], Intervals::WithInfinity);
        let one = 1_i32.to_be_bytes();
        let never = i32::MAX.to_be_bytes();
        let cells = |raw: [Option<&'static [u8]>; 3]| {
            let cells = decoder.cells(raw.into_iter()).expect("three columns");
            cells.map(|cell| cell.map(|cell| format!("{cell:?}"))).collect::<Result<Vec<_>>>()
        };
        let read = cells([Some(&[0, 0, 0, 1]), Some(b"a"), None]).expect("well-formed");
        assert_eq!(read, ["Integer(1)", "Text(\"a\")", "Null"]);
        let raw = [Some(&one[..]), Some(b"\xff"), Some(&never[..])];
        let read = decoder.cells(raw.into_iter()).expect("three columns");
        let values = [Value::int64(1), Value::bytes(*b"\xff"), Value::text("infinity")];
        for (cell, value) in read.zip(values).skip(1) {
            let Ok(Cell::Value(cell)) = cell else { panic!("{cell:?}") };
            assert_eq!(cell, value);
        }
        let error = cells([Some(b"abc"), None, None]).expect_err("malformed");
        assert_eq!(error.kind(), ErrorKind::Internal);
        assert!(decoder.cells([None].into_iter()).is_err());
    }

    #[test]
    fn a_malformed_row_is_an_internal_error() {
        let decoder = RowDecoder::new(&[Type::INT4, Type::TEXT], Intervals::WithInfinity);
        let one = 1_i32.to_be_bytes();
        let mut encoder = RowEncoder::new(RowsField::OfResult);
        decoder.encode([Some(&one[..]), None].into_iter(), &mut encoder).expect("well-formed");
        encoder.end_row();
        let rows: [&[Option<&[u8]>]; 3] = [&[None], &[None, None, None], &[Some(b"abc"), None]];
        for row in rows {
            let encoded = decoder.encode(row.iter().copied(), &mut encoder);
            assert_eq!(encoded.expect_err("malformed").kind(), ErrorKind::Internal);
        }
        let rows = encoder.take().decode().expect("rows");
        assert_eq!(rows, [Row { values: vec![Value::int64(1), Value::null()] }]);
    }
}
