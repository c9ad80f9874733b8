//! The schema of a SQLite file.

use crate::backend::AdminConnection;
use crate::error::Result;

/// Tells the definitions, by type and name. The tables behind a virtual table come with it, and indexes of constraints with
/// their table.
const DEFINITIONS: &str = "SELECT sql FROM main.sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' \
    AND name NOT IN (SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'shadow') \
    ORDER BY CASE type WHEN 'table' THEN 1 WHEN 'index' THEN 2 WHEN 'view' THEN 3 ELSE 4 END, name COLLATE BINARY";

/// Returns the definitions as SQL.
pub(crate) async fn sqlite_schema(connection: &mut dyn AdminConnection) -> Result<String> {
    let rows = connection.run(DEFINITIONS).await?;
    let definitions = rows.into_iter().filter_map(|row| row.into_iter().next().flatten());
    let statements: Vec<_> = definitions.map(|sql| format!("{sql};\n")).collect();
    Ok(statements.join("\n"))
}
