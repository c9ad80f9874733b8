//! The shape of a result: its columns, and how its rows are decoded.

use crate::backend::Decimal;
use crate::backend::mysql::codec::column_types::{decimal, describe_column, origin};
use crate::backend::mysql::codec::row_decoder::RowDecoder;
use crate::backend::mysql::protocol::answers::RawColumns;
use crate::backend::mysql::protocol::column_definition::ColumnDefinition;
use crate::error::{Error, ErrorKind, Result};
use crate::value::Column;
use crate::value::proto::{ColumnOrigin, Nullability};

/// The shape of a result.
#[derive(Debug)]
pub(crate) struct ResultShape {
    /// The definitions that it was made of.
    raw: RawColumns,
    pub(crate) columns: Vec<Column>,
    pub(crate) decoder: RowDecoder,
    decimals: Vec<Option<Decimal>>,
    origins: Vec<Option<ColumnOrigin>>,
    not_null: Vec<bool>,
}

impl ResultShape {
    /// The shape by definitions of columns, in sessions whose clock is so many seconds ahead of UTC; fails if they are malformed, or one has a type that is not known.
    pub(crate) fn new(raw: RawColumns, has_extended_types: bool, ahead: i32) -> Result<Self> {
        let definitions = raw.parse(has_extended_types).ok_or_else(|| {
            let message = "the database describes its columns in a way that cannot be read";
            Error::new(ErrorKind::Internal, message)
        })?;
        Ok(Self {
            raw,
            columns: definitions.iter().map(describe_column).collect(),
            decoder: RowDecoder::new(&definitions)?.in_zone(ahead),
            decimals: definitions.iter().map(decimal).collect(),
            origins: definitions.iter().map(origin).collect(),
            not_null: definitions.iter().map(ColumnDefinition::is_not_null).collect(),
        })
    }

    /// Returns true if a result with these definitions has this shape.
    pub(crate) fn is_of(&self, raw: &RawColumns) -> bool {
        self.raw == *raw
    }

    pub(crate) fn decimal(&self, column: usize) -> Option<Decimal> {
        self.decimals.get(column).copied().flatten()
    }

    /// The columns with their origins and nullability. A column that is never NULL in its table may be in a result of
    /// an outer join.
    pub(crate) fn columns_with_origins(&self, extends_with_nulls: bool) -> Vec<Column> {
        let mut columns = self.columns.clone();
        for (index, column) in columns.iter_mut().enumerate() {
            let Some(Some(origin)) = self.origins.get(index) else { continue };
            column.origin = Some(origin.clone());
            let is_not_null = self.not_null.get(index) == Some(&true);
            if !is_not_null {
                column.set_nullability(Nullability::Nullable);
            } else if !extends_with_nulls {
                column.set_nullability(Nullability::NotNull);
            }
        }
        columns
    }
}
