//! The contents of a database of MySQL or MariaDB that its dump program writes otherwise than they are, or not at all.

use super::client_program::numbers;
use super::file_job::refused;
use super::mysql_sequences::{Borrowed, borrowed_sequences};
use crate::backend::{AdminConnection, AdminRows};
use crate::error::Result;

/// The columns whose text may not be their value: FLOAT, of which both servers print six digits, and text in character sets
/// that not all of the dump's UTF-8 leads back to. What is generated is computed anew.
const DOUBTFUL: &str = "SELECT c.table_name, c.column_name, c.character_set_name, t.table_type \
    FROM information_schema.columns c JOIN information_schema.tables t \
        ON t.table_schema = c.table_schema AND t.table_name = c.table_name \
    WHERE c.table_schema = DATABASE() AND t.table_type IN ('BASE TABLE', 'SYSTEM VERSIONED') \
        AND COALESCE(c.generation_expression, '') = '' \
        AND (c.data_type = 'float' AND c.column_type NOT LIKE '%(%' OR c.character_set_name NOT IN \
            ('utf8', 'utf8mb3', 'utf8mb4', 'latin1', 'ascii', 'ucs2', 'utf16', 'utf16le', 'utf32', 'binary')) \
    ORDER BY c.table_name, c.ordinal_position";

/// The tables with a history, and if it counts transactions instead of moments. MariaDB's alone.
const VERSIONED: &str = "SELECT t.table_name, (SELECT COUNT(*) FROM information_schema.columns c \
        WHERE c.table_schema = t.table_schema AND c.table_name = t.table_name \
            AND c.generation_expression = 'ROW START' AND c.data_type = 'bigint') \
    FROM information_schema.tables t \
    WHERE t.table_schema = DATABASE() AND t.table_type = 'SYSTEM VERSIONED' ORDER BY t.table_name";

/// The first version of MariaDB whose server and program can write a history, and read it.
const FIRST_WITH_HISTORY: [u32; 2] = [10, 11];

/// The argument with which the program writes histories.
const WITH_HISTORY: &str = "--dump-history";

/// The result of the look at a database before it is dumped.
pub(super) struct Contents {
    /// Further arguments for the program.
    pub(super) arguments: Vec<&'static str>,
    /// Warnings for people.
    pub(super) warnings: Vec<String>,
}

/// Looks at a database.
///
/// # Errors
/// It has histories that the program does not write.
pub(super) async fn look_at(
    connection: &mut dyn AdminConnection,
    program: &str,
) -> Result<Contents> {
    let versioned = connection.run(VERSIONED).await?;
    let arguments = history(&versioned, program, &connection.server())?;
    let mut warnings = inexact(connection).await?;
    let borrowed = borrowed_sequences(connection).await?;
    warnings.extend(borrowed.iter().map(not_in_the_backup));
    Ok(Contents { arguments, warnings })
}

/// The arguments for tables with a history.
fn history(versioned: &AdminRows, program: &str, server: &str) -> Result<Vec<&'static str>> {
    let named = |rows: Vec<&Vec<Option<String>>>| {
        rows.into_iter().map(|row| text(row, 0)).collect::<Vec<_>>().join(", ")
    };
    if versioned.is_empty() {
        return Ok(Vec::new());
    }
    let by_transaction: Vec<_> = versioned.iter().filter(|row| text(row, 1) != "0").collect();
    if !by_transaction.is_empty() {
        let tables = named(by_transaction);
        let message = format!("no program writes the history of transactions of {tables}");
        return Err(refused(message).with_hint(
            "Give the tables row_start and row_end of TIMESTAMP(6), or DROP SYSTEM VERSIONING.",
        ));
    }
    let is_old = |version: &str| numbers(version).as_slice() < FIRST_WITH_HISTORY.as_slice();
    if is_old(program) || is_old(server) {
        let tables = named(versioned.iter().collect());
        let message = format!(
            "the history of {tables} cannot be written: {program} is asked, and {server}; both must be of 10.11 or later"
        );
        return Err(refused(message).with_hint(
            "Install the client programs of MariaDB 10.11 or later, or make the backup on such a server.",
        ));
    }
    Ok(vec![WITH_HISTORY])
}

/// A column whose text may not be its value.
struct Doubtful {
    name: String,
    /// Of text; a FLOAT has none.
    character_set: Option<String>,
}

impl Doubtful {
    /// The condition for rows whose value is not the one that its text makes.
    fn differs(&self) -> String {
        let column = quoted(&self.name);
        match &self.character_set {
            None => format!("{column} <> CAST(CAST({column} AS CHAR) AS FLOAT)"),
            Some(set) => {
                format!(
                    "BINARY {column} <> BINARY CONVERT(CONVERT({column} USING utf8mb4) USING {set})"
                )
            }
        }
    }

    /// The warning; `None` for text of which all leads back.
    fn warning(&self, table: &str, rows: &str) -> Option<String> {
        let name = &self.name;
        match &self.character_set {
            None => Some(format!(
                "warning: {table}.{name} is a FLOAT, of which the program writes six digits: {rows} rows have more now, and \
                 differ in the backup. DOUBLE is exact"
            )),
            Some(set) => (rows != "0").then(|| {
                format!(
                    "warning: {table}.{name} holds bytes in {rows} rows that are no characters of {set}, or have another \
                     character of its meaning: they differ in the backup"
                )
            }),
        }
    }
}

/// The warnings of columns whose values are not written exactly.
async fn inexact(connection: &mut dyn AdminConnection) -> Result<Vec<String>> {
    let rows = connection.run(DOUBTFUL).await?;
    let mut warnings = Vec::new();
    for of_table in rows.chunk_by(|one, other| one.first() == other.first()) {
        let table = of_table.first().map(|row| text(row, 0)).unwrap_or_default();
        let is_versioned = of_table.iter().any(|row| text(row, 3) == "SYSTEM VERSIONED");
        let columns = of_table.iter().map(|row| Doubtful {
            name: text(row, 1).to_owned(),
            character_set: row.get(2).cloned().flatten(),
        });
        let columns: Vec<_> = columns.collect();
        let counts: Vec<_> = columns
            .iter()
            .map(|column| format!("COUNT(IF({}, 1, NULL))", column.differs()))
            .collect();
        let all = if is_versioned { " FOR SYSTEM_TIME ALL" } else { "" };
        let count = format!("SELECT {} FROM {}{all}", counts.join(", "), quoted(table));
        let counted = connection.run(&count).await?;
        let counted = counted.into_iter().next().unwrap_or_default();
        let of_column =
            |(index, column): (usize, &Doubtful)| column.warning(table, text(&counted, index));
        warnings.extend(columns.iter().enumerate().filter_map(of_column));
    }
    Ok(warnings)
}

fn not_in_the_backup(borrowed: &Borrowed) -> String {
    let Borrowed { table, column, sequence } = borrowed;
    format!(
        "warning: the default of {table}.{column} takes its numbers from {sequence}, a sequence of another database, which is \
         not in the backup"
    )
}

fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

fn text(row: &[Option<String>], index: usize) -> &str {
    row.get(index).and_then(Option::as_deref).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_that_cannot_be_written_is_refused_with_the_names_of_its_tables() {
        let row = |name: &str, count: &str| vec![Some(name.to_owned()), Some(count.to_owned())];
        let new = "mariadb-dump  Ver 10.19 Distrib 10.11.6-MariaDB";
        let old = "mysqldump  Ver 10.19 Distrib 10.6.6-MariaDB";
        let server = "MariaDB 10.11.6";
        let tables = vec![row("prices", "0"), row("stock", "0")];
        assert_eq!(history(&tables, new, server).unwrap(), [WITH_HISTORY]);
        assert!(history(&Vec::new(), old, server).unwrap().is_empty());
        for (program, server) in [(old, server), (new, "MariaDB 10.6.1")] {
            let error = history(&tables, program, server).unwrap_err();
            assert!(error.message().contains("of prices, stock cannot"), "{}", error.message());
        }
        let error = history(&vec![row("a", "0"), row("b", "1")], new, server).unwrap_err();
        assert!(error.message().ends_with("of transactions of b"), "{}", error.message());
    }
}
