//! Running a statement on a connection's own thread.

use std::sync::Arc;

use rusqlite::types::ValueRef;
use rusqlite::{Row as SqliteRow, Statement as SqliteStatement};

use crate::backend::sqlite::column_types::{Reading, column};
use crate::backend::sqlite::command_tag::{command, counts_changes};
use crate::backend::sqlite::error::{Step, too_large};
use crate::backend::sqlite::parameters;
use crate::backend::sqlite::row_channel::{Header, RowSender};
use crate::backend::sqlite::session::authorizer::Phase;
use crate::backend::sqlite::session::{Compiled, Role, Session};
use crate::backend::{Completion, Statement};
use crate::error::{Error, ErrorKind, Result};
use crate::value::{Column, Row, Value};

/// What became of a statement that was sent to a connection.
#[derive(Debug)]
pub(crate) enum Ran {
    /// It has run.
    Done(Completion),
    /// It writes, and this connection only reads: nothing has run.
    Writes(Arc<Statement>),
}

/// Where a statement's rows go.
pub(crate) trait Rows {
    /// Takes what is known before the first row. Not called for a statement that returns none.
    fn start(&mut self, header: Header);

    /// Takes a row.
    ///
    /// # Errors
    /// Why no more are wanted.
    fn push(&mut self, row: Row) -> Result<()>;
}

impl<T> Rows for &RowSender<T> {
    fn start(&mut self, header: Header) {
        RowSender::start(self, header);
    }

    fn push(&mut self, row: Row) -> Result<()> {
        Ok(RowSender::push(self, row)?)
    }
}

/// A statement that is ready to run.
pub(crate) struct Ready<'session> {
    statement: Compiled<'session>,
    sql: &'session str,
    command: String,
    /// Whether it only reads.
    reads: bool,
}

impl Session {
    /// Runs a statement outside a transaction; its rows go into the outlet.
    ///
    /// # Errors
    /// Why it failed; nothing of it was applied, unless the error says otherwise.
    pub(crate) fn run(&self, sent: Arc<Statement>, outlet: &RowSender<Ran>) -> Result<Ran> {
        let mut ready = self.ready(&sent.sql, sent.read_only)?;
        if !ready.reads && self.role == Role::Reader {
            drop(ready);
            return Ok(Ran::Writes(sent));
        }
        ready.bind(&sent.parameters)?;
        // VACUUM is the one write that must not be in a transaction. It changes no data.
        if ready.reads || ready.command == "VACUUM" {
            return self.step(&mut ready, &mut &*outlet).map(Ran::Done);
        }
        // Not in autocommit, for two reasons. A statement with RETURNING that is given up half-way
        // would *commit*: SQLite makes all changes before the first row. And a statement that
        // committed by itself may be reported as interrupted (see `arm`); an explicit COMMIT, which
        // nothing interrupts, tells the truth.
        self.begin()?;
        let completion = self.step(&mut ready, &mut &*outlet)?;
        drop(ready);
        self.commit(outlet)?;
        Ok(Ran::Done(completion))
    }

    /// Compiles a statement; `read_only`: it must not write.
    ///
    /// # Errors
    /// When SQLite does not accept it, or it may not run here.
    pub(crate) fn ready<'s>(&'s self, sql: &'s str, read_only: bool) -> Result<Ready<'s>> {
        let statement = self.prepare(sql)?;
        let reads = statement.readonly() || statement.is_explain() != 0;
        if !reads && read_only {
            let message = "the statement writes, and the call asked for READ_ONLY";
            return Err(Error::new(ErrorKind::ReadOnly, message));
        }
        Ok(Ready { statement, sql, command: command(sql), reads })
    }

    /// Steps a statement to its end.
    ///
    /// # Errors
    /// How it failed.
    pub(crate) fn step(&self, ready: &mut Ready<'_>, rows: &mut dyn Rows) -> Result<Completion> {
        if ready.command.is_empty() {
            return Ok(Completion::default());
        }
        self.guard.enter(Phase::Run);
        self.rows(ready, rows)?;
        let counts = !ready.reads && counts_changes(&ready.command);
        let rows_affected = if counts { self.connection.changes() } else { 0 };
        // A common table expression may be called `replace`.
        let misnamed = ready.reads && ready.command == "INSERT";
        let command = if misnamed { "SELECT".to_owned() } else { ready.command.clone() };
        Ok(Completion { rows_affected, command })
    }

    fn rows(&self, ready: &mut Ready<'_>, sink: &mut dyn Rows) -> Result<()> {
        let Ready { statement, sql, reads, .. } = ready;
        let (reads, step) = (*reads, if *reads { Step::Read } else { Step::Write });
        let mut readings: Option<Vec<Reading>> = None;
        let mut rows = statement.raw_query();
        while let Some(row) = rows.next().map_err(|error| self.failed(error, sql, step))? {
            // Not before the first step: a statement compiled earlier learns of a changed schema then.
            let readings = match &mut readings {
                Some(readings) => readings,
                none => {
                    let columns = columns(row.as_ref(), Some(row));
                    let found = columns.iter().map(|column| Reading::of(column.r#type())).collect();
                    sink.start(Header { columns, reads });
                    none.insert(found)
                }
            };
            sink.push(self.row(row, readings)?)?;
        }
        drop(rows);
        if readings.is_none() && statement.column_count() > 0 {
            sink.start(Header { columns: columns(statement, None), reads });
        }
        Ok(())
    }

    fn row(&self, row: &SqliteRow<'_>, readings: &[Reading]) -> Result<Row> {
        let mut values = Vec::with_capacity(readings.len());
        let mut size = 0;
        for (index, reading) in readings.iter().enumerate() {
            let (value, bytes) = reading.read(stored(row, index));
            size += bytes;
            values.push(value);
        }
        if size > self.spec.max_row_size { Err(too_large()) } else { Ok(Row { values }) }
    }
}

impl Ready<'_> {
    /// Binds the values of `$1`, `$2` ….
    ///
    /// # Errors
    /// When they are too few or too many, or SQLite has no form for one.
    pub(crate) fn bind(&mut self, values: &[Value]) -> Result<()> {
        parameters::bind(&mut self.statement, values)
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
