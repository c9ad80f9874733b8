//! Running a statement on a connection's own thread.

use rusqlite::types::ValueRef;
use rusqlite::{Row as SqliteRow, Statement};

use super::command::counts_changes;
use super::error::{Step, too_large};
use super::guard::Phase;
use super::parameters;
use super::pipe::Outlet;
use super::session::{Role, Session};
use super::types::{Reading, column};
use crate::backend::Completion;
use crate::error::{Error, ErrorKind, Result};
use crate::value::{Column, Row, Value};

/// A statement on its way to a connection.
#[derive(Debug)]
pub(super) struct Request {
    /// The text.
    pub(super) sql: String,
    /// Its command, as [`command`](super::command::command) finds it.
    pub(super) command: String,
    /// The values of `$1`, `$2` ….
    pub(super) parameters: Vec<Value>,
    /// Whether writes must be refused.
    pub(super) read_only: bool,
}

/// What became of a request.
#[derive(Debug)]
pub(super) enum Ran {
    /// It has run.
    Done(Completion),
    /// It writes, and this connection only reads: nothing has run.
    Writes(Request),
}

impl Session {
    /// Runs a statement; its rows go into the outlet.
    ///
    /// # Errors
    /// Why it failed; nothing of it was applied, unless the error says otherwise.
    pub(super) fn run(&self, request: Request, outlet: &Outlet<Ran>) -> Result<Ran> {
        let mut statement = self.prepare(&request.sql)?;
        let reads = statement.readonly() || statement.is_explain() != 0;
        if !reads && request.read_only {
            return Err(read_only());
        }
        if !reads && self.role == Role::Reader {
            drop(statement);
            return Ok(Ran::Writes(request));
        }
        parameters::bind(&mut statement, &request.parameters)?;
        let Request { sql, command: mut name, .. } = request;
        if name.is_empty() {
            return Ok(Ran::Done(Completion::default()));
        }
        self.guard.enter(Phase::Run);
        let mut rows_affected = 0;
        if reads {
            self.rows(&mut statement, &sql, Step::Read, outlet)?;
            // A common table expression may be called `replace`.
            if name == "INSERT" {
                "SELECT".clone_into(&mut name);
            }
        } else {
            self.write(&mut statement, &sql, &name, outlet)?;
            if counts_changes(&name) {
                rows_affected = self.connection.changes();
            }
        }
        Ok(Ran::Done(Completion { rows_affected, command: name }))
    }

    /// Runs a write in a transaction of its own.
    ///
    /// Not in autocommit, for two reasons. A statement with RETURNING that is given up half-way would
    /// *commit*: SQLite makes all changes before the first row. And a statement that committed by
    /// itself may be reported as interrupted (see [`Session::arm`]); an explicit COMMIT, which nothing
    /// interrupts, tells the truth.
    fn write(
        &self,
        statement: &mut Statement<'_>,
        sql: &str,
        name: &str,
        outlet: &Outlet<Ran>,
    ) -> Result<()> {
        // The one statement that must not be in a transaction. It changes no data. In a transaction
        // that is open already the statement is one of several.
        if name == "VACUUM" || !self.connection.is_autocommit() {
            return self.rows(statement, sql, Step::Write, outlet);
        }
        self.control("BEGIN IMMEDIATE")?;
        self.rows(statement, sql, Step::Write, outlet)?;
        if let Some(stop) = outlet.stopped() {
            return Err(stop.into());
        }
        self.control("COMMIT")
    }

    /// Steps a statement to its end.
    fn rows(
        &self,
        statement: &mut Statement<'_>,
        sql: &str,
        step: Step,
        outlet: &Outlet<Ran>,
    ) -> Result<()> {
        let mut readings: Option<Vec<Reading>> = None;
        let mut rows = statement.raw_query();
        while let Some(row) = rows.next().map_err(|error| self.failed(error, sql, step))? {
            // Not before the first step: a statement compiled earlier learns of a changed schema then.
            let readings = match &mut readings {
                Some(readings) => readings,
                none => {
                    let columns = columns(row.as_ref(), Some(row));
                    let found = columns.iter().map(|column| Reading::of(column.r#type())).collect();
                    outlet.start(columns);
                    none.insert(found)
                }
            };
            outlet.push(self.row(row, readings)?)?;
        }
        drop(rows);
        if readings.is_none() && statement.column_count() > 0 {
            outlet.start(columns(statement, None));
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

/// The error of a write where READ_ONLY was asked.
fn read_only() -> Error {
    Error::new(ErrorKind::ReadOnly, "the statement writes, and the call asked for READ_ONLY")
}

/// The columns of a statement; `row` is its first row, if there is one.
pub(super) fn columns(statement: &Statement<'_>, row: Option<&SqliteRow<'_>>) -> Vec<Column> {
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
