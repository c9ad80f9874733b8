//! Answers the commands that ask what is in the database and on the server.

use std::io::{self, Write};

use super::catalog_questions::{Listing, like_pattern, relation, relation_name, relations};
use super::run_sql::{Unfinished, alone, in_transaction, told};
use super::server_connection::engine;
use super::sql_session::{Flow, SqlSession};
use crate::cli::command_error::{Result, Text};
use crate::cli::console::{Console, visible};
use crate::cli::query::{Printer, Summary};
use crate::grpc::client::CommandFailure;
use crate::value::proto::transact_request::Command;
use crate::value::proto::{DataType, Release, RollbackTo, Savepoint};
use crate::value::text::text;
use crate::value::{Column, Row, Value};

/// The savepoint before a question in a transaction.
const SAVEPOINT: &str = "rowgate_describe";

/// Lists relations, or describes one.
pub(super) async fn describe_relation(
    session: &mut SqlSession,
    name: Option<&str>,
    console: &mut Console<'_>,
) -> Result<Flow> {
    let dialect = session.connection.database.dialect;
    let Some(asked) = name.filter(|name| !name.contains(['*', '?'])) else {
        return list_relations(session, relations(dialect, false), name, console).await;
    };
    let name = relation_name(asked, dialect);
    let (kind, listings) = relation(dialect);
    let found = match ask(session, kind, &name, console).await {
        Ok(found) => found,
        Err(error) => return told(session, Err(error), Text::alone(kind), console),
    };
    let Some(about) = found.texts().next() else {
        console
            .fail(&format!("there is no relation {}\n  hint: \\d lists them.", visible(asked)))?;
        return Ok(Flow::Failed);
    };
    writeln!(session.output.writer(console), "{}", visible(&about.join(" ")))?;
    for listing in listings {
        match ask(session, listing.sql, &name, console).await {
            Ok(found) => print_listing(session, listing.heading, found, console)?,
            Err(error) => return told(session, Err(error), Text::alone(listing.sql), console),
        }
    }
    Ok(Flow::Continue)
}

/// Lists tables, those that fit a pattern.
pub(super) async fn list_tables(
    session: &mut SqlSession,
    name: Option<&str>,
    console: &mut Console<'_>,
) -> Result<Flow> {
    let listing = relations(session.connection.database.dialect, true);
    list_relations(session, listing, name, console).await
}

async fn list_relations(
    session: &mut SqlSession,
    listing: Listing,
    name: Option<&str>,
    console: &mut Console<'_>,
) -> Result<Flow> {
    match ask(session, listing.sql, &like_pattern(name), console).await {
        Ok(found) if found.rows.is_empty() => {
            writeln!(console.out, "there are no {}", listing.heading)?;
            Ok(Flow::Continue)
        }
        Ok(found) => {
            print_listing(session, "", found, console)?;
            Ok(Flow::Continue)
        }
        Err(error) => told(session, Err(error), Text::alone(listing.sql), console),
    }
}

/// Lists the databases of the server.
pub(super) async fn list_databases(
    session: &mut SqlSession,
    console: &mut Console<'_>,
) -> Result<Flow> {
    let Some(info) = session.connection.server_info().await? else {
        console.fail(&"this caller may not ask for the databases\n  hint: An operator can list GetServerInfo in callers.NAME.rpcs.")?;
        return Ok(Flow::Failed);
    };
    let column = |name: &str| Column {
        name: name.to_owned(),
        r#type: DataType::Text.into(),
        ..Column::default()
    };
    let columns = ["database", "engine", "state"].map(column).to_vec();
    let rows = info.databases.iter().map(|database| {
        let state = if database.available { "available" } else { "unreachable" };
        let values = [&*database.name, &engine(database), state].map(Value::text).to_vec();
        Row { values }
    });
    let found = Collected { columns, rows: rows.collect() };
    print_listing(session, "", found, console)?;
    Ok(Flow::Continue)
}

/// Asks about the database; in a transaction, that also sees what it has changed.
async fn ask(
    session: &mut SqlSession,
    sql: &str,
    name: &str,
    console: &mut Console<'_>,
) -> Result<Collected, Unfinished> {
    let mut found = Collected::default();
    let is_usable = session.transaction.as_ref().is_some_and(|open| !open.is_aborted);
    if !is_usable {
        let request = session.connection.question(sql, &[name]);
        alone(session, request, &mut found, console).await?;
        return Ok(found);
    }
    // A name that is none must not abort the transaction.
    let savepoint = || SAVEPOINT.to_owned();
    command(session, Command::Savepoint(Savepoint { name: savepoint() })).await?;
    let query = session.connection.transact_query(sql, &[name]);
    let asked = in_transaction(session, query, &mut found, console).await;
    if asked.is_err() {
        command(session, Command::RollbackTo(RollbackTo { name: savepoint() })).await?;
    }
    command(session, Command::Release(Release { name: savepoint() })).await?;
    asked.map(|_summary| found)
}

/// Runs a command of a savepoint in the transaction; without one that is left, there is nothing to do.
async fn command(session: &mut SqlSession, command: Command) -> Result<(), Unfinished> {
    let Some(transaction) = &mut session.transaction else { return Ok(()) };
    match transaction.stream.run(command).await {
        Ok(()) => {
            transaction.is_aborted = false;
            Ok(())
        }
        Err(CommandFailure::Command(error)) => {
            transaction.is_aborted = true;
            Err(Unfinished::Failed { error, rows: 0 })
        }
        Err(CommandFailure::Ended(error)) => {
            session.transaction = None;
            Err(Unfinished::Failed { error, rows: 0 })
        }
    }
}

/// A result that is kept.
#[derive(Debug, Default)]
struct Collected {
    columns: Vec<Column>,
    rows: Vec<Row>,
}

impl Collected {
    /// The rows as text.
    fn texts(&self) -> impl Iterator<Item = Vec<String>> {
        self.rows.iter().map(|row| {
            let cells = row.values.iter().zip(&self.columns);
            cells.filter_map(|(value, column)| text(value, column)).collect()
        })
    }
}

impl Printer for Collected {
    fn columns(&mut self, columns: Vec<Column>, _out: &mut dyn Write) -> io::Result<()> {
        self.columns = columns;
        Ok(())
    }

    fn row(&mut self, row: &Row, _out: &mut dyn Write) -> io::Result<()> {
        self.rows.push(row.clone());
        Ok(())
    }

    fn finish(&mut self, _summary: &Summary, _out: &mut dyn Write) -> io::Result<()> {
        Ok(())
    }
}

/// Prints rows below a heading; nothing where there are none.
fn print_listing(
    session: &mut SqlSession,
    heading: &str,
    found: Collected,
    console: &mut Console<'_>,
) -> io::Result<()> {
    if found.rows.is_empty() {
        return Ok(());
    }
    let mut table = session.output.printer(console);
    let out = session.output.writer(console);
    if !heading.is_empty() {
        writeln!(out, "{heading}")?;
    }
    table.columns(found.columns, out)?;
    found.rows.iter().try_for_each(|row| table.row(row, out))?;
    table.end(out)
}
