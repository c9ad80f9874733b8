//! A statement prepared on one connection.

use std::error::Error as StdError;

use tokio_postgres::types::{FromSql, Type};

use crate::backend::postgres::codec::{self, Parameter, RowDecoder};
use crate::error::Result;
use crate::value::{Column, Row, Value};

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

impl Prepared {
    pub(crate) fn parameter_types(&self) -> &[Type] {
        self.statement.params()
    }

    /// Returns true if a parameter has a type that is not built in: the driver remembers what it looked up.
    pub(crate) fn has_looked_up_types(&self) -> bool {
        self.parameter_types().iter().any(|ty| Type::from_oid(ty.oid()).is_none())
    }

    pub(crate) fn encode<'a>(&self, values: &'a [Value]) -> Result<Vec<Parameter<'a>>> {
        codec::encode(values, self.parameter_types())
    }

    pub(crate) fn decode(&self, row: &tokio_postgres::Row) -> Result<Row> {
        let value = |index| row.get::<_, Option<RawColumn<'_>>>(index).map(|RawColumn(raw)| raw);
        self.decoder.decode((0..row.len()).map(value))
    }
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
