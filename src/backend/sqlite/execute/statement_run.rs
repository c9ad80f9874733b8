//! Running a statement on a connection's own thread.

use std::sync::atomic::Ordering;

use rusqlite::types::ValueRef;
use rusqlite::{Row as SqliteRow, Statement as SqliteStatement};

use super::origins::add_origins;
use crate::backend::sqlite::authorizer::Phase;
use crate::backend::sqlite::column_types::{ValueConversion, column};
use crate::backend::sqlite::command_tag::{
    command, counts_changes, is_answered_when_compiled, optimizes,
};
use crate::backend::sqlite::error::{Step, too_large};
use crate::backend::sqlite::parameters;
use crate::backend::sqlite::row_channel::{ResultHeader, RowSender};
use crate::backend::sqlite::session::{Compiled, ROLLED_BACK, Role, Session};
use crate::backend::{Completion, Statement};
use crate::error::{Error, ErrorKind, Outcome, Result};
use crate::value::{Column, RowEncoder, RowsField, Value};

/// The consumer of a statement's rows.
pub(crate) trait RowConsumer {
    /// Takes the columns, before the first row. Not called for a statement that returns none.
    fn start(&mut self, header: ResultHeader);

    /// Takes a row: a message `Row`.
    fn push(&mut self, row: &[u8]) -> Result<()>;
}

impl<T> RowConsumer for &RowSender<T> {
    fn start(&mut self, header: ResultHeader) {
        RowSender::start(self, header);
    }

    fn push(&mut self, row: &[u8]) -> Result<()> {
        Ok(RowSender::push(self, row)?)
    }
}

/// The access of a statement to the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    ReadOnly,
    ReadWrite,
}

impl Access {
    /// The access of a statement of a call.
    pub(crate) fn of(read_only: bool) -> Self {
        if read_only { Self::ReadOnly } else { Self::ReadWrite }
    }
}

/// A statement that is ready to run.
struct Prepared<'session> {
    statement: Compiled<'session>,
    sql: &'session str,
    command: String,
    access: Access,
    describe_columns: bool,
}

/// Runs a statement outside a transaction and sends its rows. Returns `None`, and runs nothing, if it writes and
/// this connection only reads.
pub(crate) fn run(
    session: &Session,
    sent: &Statement,
    sender: &RowSender<Option<Completion>>,
) -> Result<Option<Completion>> {
    let command = command(&sent.sql);
    if session.role == Role::Reader && is_answered_when_compiled(&command) {
        // The schema stays as it is until the reset rolls this back.
        session.begin()?;
    }
    let mut prepared = prepare(session, &sent.sql, command, Access::of(sent.read_only))?;
    prepared.describe_columns = sent.describe_columns;
    if sent.needs_names {
        sent.check_columns(Some(&columns(&prepared.statement, None)))?;
    }
    let writes = prepared.access == Access::ReadWrite;
    if writes && session.role == Role::Reader {
        return Ok(None);
    }
    parameters::bind(&mut prepared.statement, &sent.parameters)?;
    // VACUUM is the one write that must not be in a transaction. It changes no data.
    if !writes || prepared.command == "VACUUM" {
        return step(session, prepared, &mut &*sender).map(Some);
    }
    // Not in autocommit, for two reasons. A statement with RETURNING that is cancelled half-way
    // would *commit*: SQLite makes all changes before the first row. And a statement that
    // committed by itself may be reported as interrupted (see `arm`); an explicit COMMIT, which
    // nothing interrupts, reports the truth.
    session.begin()?;
    let completion = step(session, prepared, &mut &*sender)?;
    session.commit(sender)?;
    Ok(Some(completion))
}

/// Runs a statement in the open transaction; nothing runs when SQLite has rolled that back.
pub(crate) fn run_in_transaction(
    session: &Session,
    sql: &str,
    values: &[Value],
    access: Access,
    rows: &mut dyn RowConsumer,
) -> Result<Completion> {
    session.check_open()?;
    let access = if session.role == Role::Reader { Access::ReadOnly } else { access };
    let mut prepared = prepare(session, sql, command(sql), access)?;
    parameters::bind(&mut prepared.statement, values)?;
    let stepped = step(session, prepared, rows);
    if !session.connection.is_autocommit() {
        return stepped;
    }
    Err(match stepped {
        // Nothing of the transaction is left, so the error's NOT_APPLIED is true of all of it.
        Err(error) if error.hint().is_none() => error.with_hint(ROLLED_BACK),
        Err(error) => error,
        // The authorizer denies such texts; one that it did not may have committed.
        Ok(_completion) => {
            let message = "the statement ended the transaction that it ran in";
            Error::new(ErrorKind::TransactionControl, message)
                .with_outcome(Outcome::Unknown)
                .with_hint("Transactions are ended by commit and rollback, not by SQL text.")
        }
    })
}

/// Compiles a statement for this access.
fn prepare<'s>(
    session: &'s Session,
    sql: &'s str,
    command: String,
    allowed: Access,
) -> Result<Prepared<'s>> {
    let statement = if is_answered_when_compiled(&command) {
        session.prepare_once(sql)?
    } else {
        session.prepare(sql)?
    };
    let reads = statement.readonly() && !optimizes(sql, &command);
    let access = Access::of(reads || statement.is_explain() != 0);
    if access == Access::ReadWrite && allowed == Access::ReadOnly {
        let message = "the statement writes, and the call asked for READ_ONLY";
        return Err(Error::new(ErrorKind::ReadOnly, message));
    }
    Ok(Prepared { statement, sql, command, access, describe_columns: false })
}

/// Steps a statement to its end.
fn step(
    session: &Session,
    mut prepared: Prepared<'_>,
    rows: &mut dyn RowConsumer,
) -> Result<Completion> {
    if prepared.command.is_empty() {
        return Ok(Completion::default());
    }
    session.config.statements.fetch_add(1, Ordering::Relaxed);
    session.figures.count(&session.connection);
    session.authorizer.enter(Phase::Run);
    send_rows(session, &mut prepared, rows)?;
    let Prepared { command, access, .. } = prepared;
    let counts = access == Access::ReadWrite && counts_changes(&command);
    let rows_affected = if counts { session.connection.changes() } else { 0 };
    // A common table expression may be called `replace`.
    let misnamed = access == Access::ReadOnly && command == "INSERT";
    let command = if misnamed { "SELECT".to_owned() } else { command };
    Ok(Completion { rows_affected, command })
}

fn send_rows(
    session: &Session,
    prepared: &mut Prepared<'_>,
    consumer: &mut dyn RowConsumer,
) -> Result<()> {
    let reads = prepared.access == Access::ReadOnly;
    let step = if reads { Step::Read } else { Step::Write };
    let Prepared { sql, describe_columns, .. } = *prepared;
    let header = |statement: &SqliteStatement<'_>, first: Option<&SqliteRow<'_>>| {
        let mut columns = columns(statement, first);
        if describe_columns {
            add_origins(session, statement, sql, &mut columns);
        }
        ResultHeader { columns, reads }
    };
    let mut conversions: Option<Vec<ValueConversion>> = None;
    let mut encoder = RowEncoder::new(RowsField::OfResult);
    let mut rows = prepared.statement.raw_query();
    while let Some(row) = rows.next().map_err(|error| session.translate(error, sql, step))? {
        // Not before the first step: a statement compiled earlier learns of a changed schema then.
        let conversions = conversions.get_or_insert_with(|| {
            let header = header(row.as_ref(), Some(row));
            let types = header.columns.iter().map(Column::r#type);
            let found = types.map(ValueConversion::of).collect();
            consumer.start(header);
            found
        });
        encode_row(session, row, conversions, &mut encoder)?;
        consumer.push(encoder.row())?;
    }
    drop(rows);
    if conversions.is_none() && prepared.statement.column_count() > 0 {
        consumer.start(header(&prepared.statement, None));
    }
    Ok(())
}

fn encode_row(
    session: &Session,
    row: &SqliteRow<'_>,
    conversions: &[ValueConversion],
    encoder: &mut RowEncoder,
) -> Result<()> {
    // Before anything is copied: SQLite bounds each value, and this all of them.
    let lengths = (0..conversions.len()).map(|index| length(stored(row, index)));
    if lengths.sum::<usize>() > session.config.max_row_size {
        return Err(too_large());
    }
    encoder.begin_row();
    let mut size = 0;
    for (index, conversion) in conversions.iter().enumerate() {
        size += conversion.encode(stored(row, index), encoder);
    }
    if size > session.config.max_row_size { Err(too_large()) } else { Ok(()) }
}

fn length(value: ValueRef<'_>) -> usize {
    match value {
        ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) => 0,
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.len(),
    }
}

/// The columns of a statement; `row` is its first row, if there is one.
pub(crate) fn columns(statement: &SqliteStatement<'_>, row: Option<&SqliteRow<'_>>) -> Vec<Column> {
    let described = statement.columns().enumerate();
    described
        .map(|(index, described)| {
            let first = row.map(|row| stored(row, index));
            column(described.name(), described.decl_type(), first)
        })
        .collect()
}

fn stored<'r>(row: &'r SqliteRow<'_>, index: usize) -> ValueRef<'r> {
    row.get_ref(index).expect("the index is one of the row's columns")
}
