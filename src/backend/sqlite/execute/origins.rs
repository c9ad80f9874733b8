//! The origins of a result's columns, as SQLite names them, and their nullability.
//!
//! SQLite traces a column through subqueries and views to a table. NOT NULL is said by a closed rule: the statement
//! cannot put NULL in ([`may_extend_with_nulls`]), names no view, and the table is SQLite's own.

use rusqlite::{Connection, Statement};

use crate::backend::sqlite::authorizer::Phase;
use crate::backend::sqlite::session::Session;
use crate::sql::{Dialect, may_extend_with_nulls};
use crate::value::Column;
use crate::value::proto::{ColumnOrigin, Nullability};

const VIEWS: &str = "SELECT name FROM sqlite_schema WHERE type = 'view'";

/// Tables of modules have no root page, and check nothing.
const IS_OWN_TABLE: &str =
    "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND rootpage > 0 AND name = ? COLLATE NOCASE";

/// Adds their origins to the columns of a statement. What cannot be found stays unspecified.
pub(crate) fn add_origins(
    session: &Session,
    statement: &Statement<'_>,
    sql: &str,
    columns: &mut [Column],
) {
    let phase = session.authorizer.phase();
    session.authorizer.enter(Phase::Internal);
    let connection = &session.connection;
    let promises = !may_extend_with_nulls(sql, Dialect::Sqlite) && names_no_view(connection, sql);
    for (column, found) in columns.iter_mut().zip(statement.columns_with_metadata()) {
        let (Some(schema), Some(table), Some(name)) =
            (found.database_name(), found.table_name(), found.origin_name())
        else {
            continue;
        };
        let known = nullability(connection, [schema, table, name]).unwrap_or_default();
        if promises || known == Nullability::Nullable {
            column.set_nullability(known);
        }
        let [schema, table, name] = [schema, table, name].map(str::to_owned);
        column.origin = Some(ColumnOrigin { schema, table, column: name, table_oid: 0 });
    }
    session.authorizer.enter(phase);
}

/// Returns true if the text certainly names no view. A name can be a keyword, or stand in any quotes.
fn names_no_view(connection: &Connection, sql: &str) -> bool {
    let text = sql.to_ascii_lowercase();
    let may_be_named = |view: &str| {
        // A quote in a name is written twice.
        view.contains(['"', '\'', '`', ']']) || text.contains(&view.to_ascii_lowercase())
    };
    let named = connection.prepare(VIEWS).and_then(|mut views| {
        let names = views.query_map([], |row| row.get::<_, String>(0))?;
        names.map(|name| name.map(|name| may_be_named(&name))).collect::<Result<Vec<_>, _>>()
    });
    named.is_ok_and(|named| !named.contains(&true))
}

/// Looks up the column of a table, by the names of its database, its table and itself.
fn nullability(
    connection: &Connection,
    [schema, table, column]: [&str; 3],
) -> rusqlite::Result<Nullability> {
    let (_, _, not_null, primary_key, _) =
        connection.column_metadata(Some(schema), table, column)?;
    let is_own_table = schema == "main" && connection.prepare(IS_OWN_TABLE)?.exists([table])?;
    Ok(match (not_null, primary_key) {
        (true, _) if is_own_table => Nullability::NotNull,
        // The number of a row is never NULL, other keys may be.
        (false, true) | (true, _) => Nullability::Unspecified,
        (false, false) => Nullability::Nullable,
    })
}
