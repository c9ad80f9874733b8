//! Decoders of whole rows, compiled once per statement.

use tokio_postgres::types::{Format, Type};

use super::value_decoder::{Intervals, ValueDecoder};
use crate::error::{Error, ErrorKind, Result};
use crate::value::{Row, RowEncoder, Value};

#[derive(Debug, Clone)]
pub(crate) struct RowDecoder {
    columns: Box<[ValueDecoder]>,
    formats: Box<[Format]>,
}

impl RowDecoder {
    pub(crate) fn new(types: &[Type], intervals: Intervals) -> Self {
        let decoder = |ty: &Type| ValueDecoder::new(ty, intervals);
        let columns: Box<[ValueDecoder]> = types.iter().map(decoder).collect();
        let formats = columns.iter().map(ValueDecoder::format).collect();
        Self { columns, formats }
    }

    /// Returns the formats that [`RowDecoder::decode`] expects of the columns: text of those without a binary decoder.
    /// It does not depend on the neighbours of a column, as text depends on settings that statements change.
    pub(crate) fn formats(&self) -> &[Format] {
        &self.formats
    }

    /// Decodes one row from the raw values of its columns, `None` for NULL. Only a defect of the
    /// connection can make it fail, never the data.
    pub(crate) fn decode<'a>(
        &self,
        columns: impl ExactSizeIterator<Item = Option<&'a [u8]>>,
    ) -> Result<Row> {
        let mut values = Vec::with_capacity(self.columns.len());
        self.read(columns, |decoder, format, raw| {
            let value = raw.map_or_else(|| Some(Value::null()), |raw| decoder.decode(format, raw));
            value.map(|value| values.push(value))
        })?;
        Ok(Row { values })
    }

    /// Encodes one row as [`RowDecoder::decode`] decodes it.
    pub(crate) fn encode<'a>(
        &self,
        columns: impl ExactSizeIterator<Item = Option<&'a [u8]>>,
        row: &mut RowEncoder,
    ) -> Result<()> {
        row.begin_row();
        self.read(columns, |decoder, format, raw| match raw {
            None => {
                row.null();
                Some(())
            }
            Some(raw) => decoder.encode(format, raw, row),
        })
    }

    fn read<'a>(
        &self,
        columns: impl ExactSizeIterator<Item = Option<&'a [u8]>>,
        mut read: impl FnMut(&ValueDecoder, Format, Option<&'a [u8]>) -> Option<()>,
    ) -> Result<()> {
        let width = self.columns.len();
        if columns.len() != width {
            return Err(malformed(format!("a row that does not have {width} columns")));
        }
        let decoders = self.columns.iter().zip(&self.formats);
        for (index, ((decoder, format), raw)) in decoders.zip(columns).enumerate() {
            read(decoder, *format, raw).ok_or_else(|| {
                let size = raw.unwrap_or_default().len();
                malformed(format!("{size} malformed bytes in column {}", index + 1))
            })?;
        }
        Ok(())
    }
}

fn malformed(sent: String) -> Error {
    Error::new(ErrorKind::Internal, format!("the database sent {sent}"))
}

#[cfg(test)]
mod tests {
    use tokio_postgres::types::{Field, Kind as TypeKind};

    use super::*;

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
    fn a_malformed_row_is_an_internal_error() {
        let decoder = RowDecoder::new(&[Type::INT4, Type::TEXT], Intervals::WithInfinity);
        let one = 1_i32.to_be_bytes();
        let row = decoder.decode([Some(&one[..]), None].into_iter()).expect("well-formed");
        assert_eq!(row.values, [Value::int64(1), Value::null()]);
        let rows: [&[Option<&[u8]>]; 3] = [&[None], &[None, None, None], &[Some(b"abc"), None]];
        for row in rows {
            let error = decoder.decode(row.iter().copied()).expect_err("malformed");
            assert_eq!(error.kind(), ErrorKind::Internal);
        }
    }
}
