//! The place of the ledger in a database: where it is, where it would be made, and where there are others.

use super::finding::Finding;
use super::migration_ledger::Ledger;
use crate::backend::AdminConnection;
use crate::error::{Error, ErrorKind, Result};
use crate::sql::Dialect;

/// The ledger of a database, with what else has its name.
#[derive(Debug)]
pub(crate) struct LedgerPlace {
    pub(crate) ledger: Ledger,
    pub(crate) exists: bool,
    /// Remarks about the place.
    pub(crate) notes: Vec<String>,
    /// The schemas that have a ledger where the search path has none.
    pub(crate) elsewhere: Vec<String>,
}

/// Lists the schemas of the search path that there are, in order; the first is the one in which tables are made.
const PATH_POSTGRES: &str = "SELECT pg_catalog.unnest(pg_catalog.current_schemas(false))";

/// Lists the schemas with a table of the ledger's name, and tells if it has the ledger's columns.
const FIND_POSTGRES: &str = "SELECT n.nspname, (SELECT pg_catalog.count(*) FROM pg_catalog.pg_attribute a \
    WHERE a.attrelid = c.oid AND NOT a.attisdropped AND a.attname IN ('version', 'name', 'checksum', 'content', \
    'started_at', 'finished_at', 'statements_done')) = 7 \
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    WHERE c.relname = 'rowgate_migrations' AND c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_' ORDER BY 1";

const FIND_MYSQL: &str = "SELECT DATABASE(), (SELECT COUNT(*) FROM information_schema.tables \
    WHERE table_schema = DATABASE() AND table_name = 'rowgate_migrations')";

const FIND_SQLITE: &str = "SELECT 'main', (SELECT COUNT(*) FROM main.sqlite_schema \
    WHERE type = 'table' AND name = 'rowgate_migrations')";

impl LedgerPlace {
    /// Finds where the ledger is, or would be.
    pub(crate) async fn find(connection: &mut dyn AdminConnection) -> Result<Self> {
        let dialect = connection.dialect();
        let find = match dialect {
            Dialect::Postgres => return find_in_path(connection).await,
            Dialect::Mysql => FIND_MYSQL,
            Dialect::Sqlite => FIND_SQLITE,
        };
        let found = connection.run(find).await?;
        let mut values = found.into_iter().next().unwrap_or_default().into_iter();
        let Some(Some(schema)) = values.next() else { return Err(no_schema()) };
        let exists = values.next().flatten().is_some_and(|is| is == "1");
        let ledger = Ledger::in_schema(dialect, &schema);
        Ok(Self { ledger, exists, notes: Vec::new(), elsewhere: Vec::new() })
    }

    /// The finding about ledgers of other schemas: one more would have the files run again.
    pub(crate) fn finding(&self) -> Option<Finding> {
        let tables: Vec<_> = self
            .elsewhere
            .iter()
            .map(|schema| Ledger::in_schema(Dialect::Postgres, schema).table().to_owned())
            .collect();
        let first = self.elsewhere.first()?;
        let why = format!("there is none in the search path, and elsewhere {}", tables.join(", "));
        let instead = format!(
            "If that one tells which of these files ran, name its schema in databases.NAME.settings.search_path, as in \
             \"…, {first}\".\nIf it belongs to others, begin one of your own: `rowgate migrate up --new-ledger`."
        );
        Some(Finding::new("the ledger", why, instead))
    }
}

fn no_schema() -> Error {
    let message = "the session has no schema in which a table could be created";
    Error::new(ErrorKind::FailedPrecondition, message).with_hint(
        "Name a database in the URL (MySQL), or a schema in databases.NAME.settings.search_path (PostgreSQL).",
    )
}

/// Finds the first ledger of the search path: files may make schemas in front of it.
async fn find_in_path(connection: &mut dyn AdminConnection) -> Result<LedgerPlace> {
    let path = connection.run(PATH_POSTGRES).await?;
    let path: Vec<String> = path.into_iter().flatten().flatten().collect();
    let Some(first) = path.first() else { return Err(no_schema()) };
    let tables: Vec<(String, bool)> =
        connection.run(FIND_POSTGRES).await?.into_iter().filter_map(table).collect();
    // A table of that name where the ledger would be made is told by its columns that are missing.
    let is_ledger = |schema: &str| {
        tables.iter().any(|(name, has_columns)| name == schema && (*has_columns || name == first))
    };
    let mut ledgers = path.iter().filter(|schema| is_ledger(schema));
    let found = ledgers.next();
    let ledger = Ledger::in_schema(Dialect::Postgres, found.unwrap_or(first));
    let mut notes = Vec::new();
    if found.is_some_and(|found| found != first) {
        let table = ledger.table();
        notes.push(format!(
            "the ledger is {table}, and stays there; new tables are made in {first}"
        ));
    }
    for other in ledgers {
        let other = Ledger::in_schema(Dialect::Postgres, other);
        let [table, other] = [ledger.table(), other.table()];
        notes.push(format!(
            "the ledger is {table}; {other}, further on in the search path, is not read"
        ));
    }
    let elsewhere = match found {
        Some(_) => Vec::new(),
        None => tables.iter().filter(|(_, is)| *is).map(|(schema, _)| schema.clone()).collect(),
    };
    Ok(LedgerPlace { ledger, exists: found.is_some(), notes, elsewhere })
}

fn table(row: Vec<Option<String>>) -> Option<(String, bool)> {
    let [schema, has_columns] = <[Option<String>; 2]>::try_from(row).ok()?;
    Some((schema?, has_columns? == "t"))
}
