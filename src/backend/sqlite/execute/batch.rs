//! Units of work on a connection's own thread: how a transaction begins, what runs in it, how it ends.
//!
//! There is one writer, so a unit that has its transaction has the database: two units under one key
//! simply queue. Whatever fails leaves the transaction open; [`Session::clean`] rolls it back before
//! the caller hears of it.

use std::time::Instant;

use super::statement_run::Rows;
use crate::backend::sqlite::row_channel::{Header, RowSender};
use crate::backend::sqlite::session::{Role, Session};
use crate::backend::{Batch, BatchResult, BatchStatement, Completion};
use crate::error::{Error, ErrorKind, Outcome, Result};
use crate::value::proto::ResultSet;
use crate::value::{Row, Value};
use crate::wire_size::encoded_row_size;

/// What to know of a transaction that is over before its end.
const ROLLED_BACK: &str = "SQLite has rolled the whole transaction back, as it does when a write is \
    interrupted or finds no room, for OR ROLLBACK and for RAISE(ROLLBACK). Begin again.";

impl Session {
    /// Begins a transaction: of the writer one that can write from the start, of a reader one that sees
    /// the database as it is now. Any isolation level is as good as SERIALIZABLE here.
    ///
    /// # Errors
    /// When another process holds the lock for too long.
    pub(crate) fn begin(&self) -> Result<()> {
        match self.role {
            Role::Writer => self.control("BEGIN IMMEDIATE"),
            Role::Reader => {
                self.control("BEGIN")?;
                // The first read takes the snapshot.
                self.probe()
            }
        }
    }

    /// Runs a statement in the open transaction.
    ///
    /// # Errors
    /// Why it failed; nothing runs when SQLite has rolled the transaction back.
    pub(crate) fn run_within(
        &self,
        (sql, values): (&str, &[Value]),
        read_only: bool,
        rows: &mut dyn Rows,
    ) -> Result<Completion> {
        self.check_open()?;
        let mut ready = self.ready(sql, read_only || self.role == Role::Reader)?;
        ready.bind(values)?;
        let stepped = self.step(&mut ready, rows);
        if !self.connection.is_autocommit() {
            return stepped;
        }
        match stepped {
            // Nothing of the transaction is left, so NOT_APPLIED, as the error says, is true of it all.
            Err(error) if error.hint().is_none() => Err(error.with_hint(ROLLED_BACK)),
            Err(error) => Err(error),
            // Texts that do so are refused before they run; whichever was not may have committed.
            Ok(_completion) => {
                let message = "the statement ended the transaction that it ran in";
                Err(Error::new(ErrorKind::TransactionControl, message)
                    .with_outcome(Outcome::Unknown)
                    .with_hint("Transactions are ended by commit and rollback, not by SQL text."))
            }
        }
    }

    /// Sees that the transaction is open. SQLite rolls one back by itself when a write in it is
    /// interrupted or the disk is full, and for ON CONFLICT ROLLBACK; what ran then would be applied at
    /// once.
    ///
    /// # Errors
    /// `TransactionAborted`.
    pub(crate) fn check_open(&self) -> Result<()> {
        if !self.connection.is_autocommit() {
            return Ok(());
        }
        let message = "the database has rolled the transaction back";
        Err(Error::new(ErrorKind::TransactionAborted, message).with_hint(ROLLED_BACK))
    }

    /// Commits, unless the call has given up or its deadline passed.
    ///
    /// # Errors
    /// Why nothing was applied: a deferred constraint, say.
    pub(crate) fn commit<T>(&self, outlet: &RowSender<T>) -> Result<()> {
        self.check_open()?;
        outlet.decide()?;
        self.commit_now()
    }

    /// Runs a unit of statements once.
    ///
    /// # Errors
    /// Why nothing of it was applied, and which statement is to blame.
    pub(crate) fn batch(
        &mut self,
        batch: &Batch,
        outlet: &RowSender<BatchResult>,
    ) -> Result<BatchResult> {
        self.begin()?;
        if let Some(key) = &batch.key
            && let Some(claimed) = self.claim(key)?
        {
            return claimed.replay(key);
        }
        let mut room = Room { rows: batch.max_rows, bytes: batch.max_bytes, batch };
        let mut results = Vec::with_capacity(batch.statements.len());
        for (index, one) in batch.statements.iter().enumerate() {
            let result = self.one(one, &mut room, outlet);
            results.push(result.map_err(|error| error.with_failed_statement(index))?);
        }
        batch.check_response(&results)?;
        if let Some(key) = &batch.key {
            self.store(key, &results)?;
        }
        if batch.dry_run {
            self.check_open()?;
            self.rehearse_commit()?;
        } else {
            self.commit(outlet)?;
        }
        Ok(BatchResult { results, replayed: false })
    }

    fn one(
        &mut self,
        one: &BatchStatement,
        room: &mut Room<'_>,
        outlet: &RowSender<BatchResult>,
    ) -> Result<ResultSet> {
        // A statement of few steps ends before SQLite looks.
        if let Some(stop) = outlet.stopped() {
            return Err(stop.into());
        }
        // Each anew: the limit of the one before is not this one's.
        self.arm(outlet, Instant::now() + self.spec.statement_timeout)?;
        let mut rows = Collected { result: ResultSet::default(), room };
        let read_only = rows.room.batch.mode.read_only;
        let completion = self.run_within((&one.sql, &one.parameters), read_only, &mut rows)?;
        if let Some(expect) = one.expect {
            expect.check(completion.rows_affected)?;
        }
        let Completion { rows_affected, command } = completion;
        Ok(ResultSet { rows_affected, command, ..rows.result })
    }
}

/// What of a unit's results still fits.
struct Room<'a> {
    rows: u64,
    bytes: u64,
    batch: &'a Batch,
}

/// The rows of one statement of a unit.
struct Collected<'r, 'b> {
    result: ResultSet,
    room: &'r mut Room<'b>,
}

impl Rows for Collected<'_, '_> {
    fn start(&mut self, header: Header) {
        self.result.has_columns = true;
        self.result.columns = header.columns;
    }

    fn push(&mut self, row: Row) -> Result<()> {
        let size = u64::try_from(encoded_row_size(&row)).unwrap_or(u64::MAX);
        let Room { rows, bytes, batch } = &mut *self.room;
        let message = match (rows.checked_sub(1), bytes.checked_sub(size)) {
            (Some(rows_left), Some(bytes_left)) => {
                (*rows, *bytes) = (rows_left, bytes_left);
                self.result.rows.push(row);
                return Ok(());
            }
            (None, _) => format!("the results have more than {} rows", batch.max_rows),
            (Some(_), None) => format!("the results are larger than {} bytes", batch.max_bytes),
        };
        Err(Error::new(ErrorKind::ResultTooLarge, message).with_hint(
            "Select less, use StreamQuery or Transact, or raise max_rows and max_bytes.",
        ))
    }
}
