//! A statement prepared on one connection.

use std::error::Error as StdError;
use std::mem::size_of;

use tokio_postgres::types::{FromSql, Type};

use crate::backend::Decimal;
use crate::backend::postgres::codec::{self, Parameter, RowDecoder};
use crate::error::Result;
use crate::value::cell::Cell;
use crate::value::{Column, RowEncoder, Value};

pub(crate) struct Prepared {
    pub(crate) statement: tokio_postgres::Statement,
    /// The name that the driver gave it, where that was seen.
    pub(crate) name: Option<Vec<u8>>,
    pub(crate) decoder: RowDecoder,
    /// The connection's generation of statements that it belongs to.
    pub(crate) generation: u64,
    /// The columns of its result; `None` when it returns no rows at all.
    pub(crate) columns: Option<Vec<Column>>,
}

/// The weight of a statement beyond its text and columns.
const STATEMENT_BYTES: usize = 1024;

/// The weight of a column beyond its names, which the driver and the answer hold, with its type and decoder.
const COLUMN_BYTES: usize = 2 * size_of::<Column>() + 160;

impl Prepared {
    /// The bytes that it takes in the cache, roughly; `sql` is its text.
    pub(crate) fn weight(&self, sql: &str) -> usize {
        let columns = self.columns.iter().flatten();
        let columns = columns.map(|it| COLUMN_BYTES + 2 * it.name.len() + it.type_name.len());
        STATEMENT_BYTES + 2 * sql.len() + columns.sum::<usize>() + 16 * self.parameter_types().len()
    }

    pub(crate) fn parameter_types(&self) -> &[Type] {
        self.statement.params()
    }

    /// Returns true if a parameter has a type that is not built in: the driver remembers what it looked up.
    pub(crate) fn has_looked_up_types(&self) -> bool {
        self.parameter_types().iter().any(|ty| Type::from_oid(ty.oid()).is_none())
    }

    /// The precision and scale that a column of numeric was declared with.
    pub(crate) fn decimal(&self, column: usize) -> Option<Decimal> {
        let column = self.statement.columns().get(column)?;
        if *column.type_() != Type::NUMERIC {
            return None;
        }
        codec::decimal(column.type_modifier())
    }

    pub(crate) fn encode<'a>(&self, values: &'a [Value]) -> Result<Vec<Parameter<'a>>> {
        codec::encode(values, self.parameter_types())
    }

    /// Encodes a row.
    pub(crate) fn encode_row(
        &self,
        row: &tokio_postgres::Row,
        encoder: &mut RowEncoder,
    ) -> Result<()> {
        self.decoder.encode(raw_columns(row), encoder)
    }

    /// As [`Prepared::encode_row`], with values on their way into Arrow's arrays.
    pub(crate) fn cells<'a>(
        &self,
        row: &'a tokio_postgres::Row,
    ) -> Result<impl Iterator<Item = Result<Cell<'a>>>> {
        self.decoder.cells(raw_columns(row))
    }
}

fn raw_columns(row: &tokio_postgres::Row) -> impl ExactSizeIterator<Item = Option<&[u8]>> {
    let value = |index| row.get::<_, Option<RawColumn<'_>>>(index).map(|RawColumn(raw)| raw);
    (0..row.len()).map(value)
}

/// The bytes of a column as the server sent them.
struct RawColumn<'a>(&'a [u8]);

impl<'a> FromSql<'a> for RawColumn<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn StdError + Sync + Send>> {
        Ok(Self(raw))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}
