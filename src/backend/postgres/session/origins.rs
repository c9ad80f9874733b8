//! The origins of a result's columns, as the catalogs tell them.
//!
//! The description of a result names table and column by number, where a column is taken from one unchanged. What
//! cannot be looked up stays unspecified: no question of this kind fails a caller's statement.

use std::collections::{BTreeSet, HashMap};

use tokio_postgres::SimpleQueryRow;

use super::Session;
use crate::backend::postgres::connect::capabilities::Ability;
use crate::backend::postgres::connection::Connection;
use crate::backend::postgres::connection::prepared::Prepared;
use crate::backend::postgres::protocol::simple_query::rows;
use crate::error::{ErrorKind, Result};
use crate::sql::{Dialect, may_extend_with_nulls};
use crate::value::Column;
use crate::value::proto::{ColumnOrigin, Nullability};

const CATALOG_QUERY: &str = include_str!("origins.sql");

/// A column of a table, by the numbers of both.
type ColumnNumber = (u32, i16);

/// A column of a table, and if it can hold NULL.
struct TableColumn {
    origin: ColumnOrigin,
    nullability: Nullability,
}

impl Session {
    /// Returns the columns of a prepared statement with their origins and nullability. In an open transaction
    /// a failed query aborts it.
    pub(crate) async fn columns_with_origins(
        &mut self,
        sql: &str,
        prepared: &Prepared,
    ) -> Result<Option<Vec<Column>>> {
        let Some(mut columns) = prepared.columns.clone() else { return Ok(None) };
        let numbers: Vec<_> = prepared.statement.columns().iter().map(number).collect();
        let known = self.table_columns(numbers.iter().flatten().copied().collect()).await?;
        let extends = may_extend_with_nulls(sql, Dialect::Postgres);
        for (column, number) in columns.iter_mut().zip(numbers) {
            let Some(known) = number.and_then(|number| known.get(&number)) else { continue };
            column.origin = Some(known.origin.clone());
            if !extends || known.nullability == Nullability::Nullable {
                column.set_nullability(known.nullability);
            }
        }
        Ok(Some(columns))
    }

    async fn table_columns(
        &mut self,
        numbers: BTreeSet<ColumnNumber>,
    ) -> Result<HashMap<ColumnNumber, TableColumn>> {
        if numbers.is_empty() || !self.can(Ability::Judgement) {
            return Ok(HashMap::new());
        }
        let wanted: Vec<_> = numbers.iter().map(|(oid, id)| format!("({oid}, {id})")).collect();
        let query = CATALOG_QUERY.replace("$1", &wanted.join(", "));
        let query = async |on: &mut Connection| on.client.simple_query(&query).await;
        match self.request("", query).await {
            Ok(messages) => Ok(rows(&messages).filter_map(table_column).collect()),
            Err(error) if error.kind() == ErrorKind::DeadlineExceeded => Err(error),
            Err(_unknown) => Ok(HashMap::new()),
        }
    }
}

fn number(column: &tokio_postgres::Column) -> Option<ColumnNumber> {
    Some((column.table_oid()?, column.column_id()?))
}

/// Reads a row of the answer.
fn table_column(row: &SimpleQueryRow) -> Option<(ColumnNumber, TableColumn)> {
    let text = |index| row.get(index).map(str::to_owned);
    let table_oid = row.get(0)?.parse().ok()?;
    let number = row.get(1)?.parse().ok()?;
    let nullability = match row.get(5) {
        Some("t") => Nullability::NotNull,
        Some("f") => Nullability::Nullable,
        _ => Nullability::Unspecified,
    };
    let origin = ColumnOrigin { schema: text(2)?, table: text(3)?, column: text(4)?, table_oid };
    Some(((table_oid, number), TableColumn { origin, nullability }))
}
