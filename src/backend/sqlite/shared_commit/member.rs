//! One write of a group: it runs in a savepoint of the common transaction, or by itself.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use crate::backend::sqlite::connection::{WorkResult, answer, run_armed};
use crate::backend::sqlite::execute::batch::{run_batch, run_statements};
use crate::backend::sqlite::execute::statement_run::{
    Access, RowConsumer, run, run_in_transaction,
};
use crate::backend::sqlite::row_channel::{ResultHeader, RowSender};
use crate::backend::sqlite::session::Session;
use crate::backend::{Batch, BatchResult, Completion, Statement};
use crate::error::{Error, ErrorKind, Outcome, Result};
use crate::pool::CloseReason;
use crate::value::{RowEncoder, RowsField, size_in_field};

/// The largest rows of one statement that wait for the commit: less than its channel takes without a reader.
const MAX_KEPT_BYTES: usize = 64 * 1024;

/// The state of a member after its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Its result is known, and true if the transaction commits.
    Over,
    /// It must run by itself. Nothing of it is in the transaction.
    Unfit,
    /// The transaction is gone, or must not go on.
    Gone,
}

/// A write that waits for its turn, has had it, or has been answered.
pub(crate) trait Member: Send {
    fn deadline(&self) -> Instant;

    /// Makes SQLite look at this call's deadline and cancellation while it waits for a lock.
    fn arm(&self, session: &mut Session) -> Result<()>;

    /// Runs it in a savepoint of the open transaction, until `until` at most.
    fn run(&mut self, session: &mut Session, until: Instant) -> Turn;

    /// Runs it in a transaction of its own. Returns a reason if the connection must be closed.
    fn run_alone(&mut self, session: &mut Session) -> Option<CloseReason>;

    /// Makes an error its result.
    fn fail(&mut self, error: Error);

    /// Answers, if its result is known; `failure` is that of the common commit.
    fn answer(&mut self, failure: Option<Error>);
}

/// The work of a write.
pub(crate) trait SharedWork: Send + 'static {
    /// The result.
    type Output: Send + 'static;

    /// Does it in the open transaction. Its rows are kept.
    fn run(
        &mut self,
        session: &mut Session,
        sender: &RowSender<Self::Output>,
        until: Instant,
    ) -> Result<Self::Output>;

    /// True if the last run was stopped because it returned too many rows to keep.
    fn is_too_large(&self) -> bool {
        false
    }

    /// Sends the rows that were kept.
    fn deliver(&mut self, sender: &RowSender<Self::Output>);

    /// Does it in a transaction of its own.
    fn run_alone(
        &mut self,
        session: &mut Session,
        sender: &RowSender<Self::Output>,
    ) -> Result<Self::Output>;
}

/// A write and the sender of its result.
pub(crate) struct Write<W: SharedWork> {
    sender: RowSender<W::Output>,
    work: W,
    result: Option<Result<W::Output>>,
}

impl<W: SharedWork> Write<W> {
    pub(crate) fn new(sender: RowSender<W::Output>, work: W) -> Self {
        Self { sender, work, result: None }
    }

    fn try_run(&mut self, session: &mut Session, until: Instant) -> WorkResult<W::Output> {
        catch_unwind(AssertUnwindSafe(|| {
            session.arm(&self.sender, until)?;
            session.control("SAVEPOINT \"rowgate write\"")?;
            self.work.run(session, &self.sender, until)
        }))
    }

    /// Ends the savepoint of a run, which must have left the transaction open.
    fn end_savepoint(&mut self, session: &Session, ran: Result<W::Output>) -> Result<Turn> {
        // From here on the write goes on whatever its caller does; before, a cancellation undoes it alone.
        let result = match ran {
            Ok(output) => self.sender.start_commit().map(|()| output).map_err(Error::from),
            Err(error) => Err(error),
        };
        if result.is_err() {
            session.control("ROLLBACK TO \"rowgate write\"")?;
        }
        session.control("RELEASE \"rowgate write\"")?;
        session.set_figures_back()?;
        if self.work.is_too_large() {
            return Ok(Turn::Unfit);
        }
        self.result = Some(result);
        Ok(Turn::Over)
    }
}

impl<W: SharedWork> Member for Write<W> {
    fn deadline(&self) -> Instant {
        self.sender.deadline()
    }

    fn arm(&self, session: &mut Session) -> Result<()> {
        session.arm(&self.sender, self.sender.deadline())
    }

    fn run(&mut self, session: &mut Session, until: Instant) -> Turn {
        if let Err(stop) = self.sender.check() {
            self.result = Some(Err(stop.into()));
            return Turn::Over;
        }
        let Ok(ran) = self.try_run(session, until) else { return Turn::Gone };
        let fails_alone = ran.as_ref().err().is_none_or(fails_alone);
        if !fails_alone || session.connection.is_autocommit() {
            return Turn::Gone;
        }
        self.end_savepoint(session, ran).unwrap_or(Turn::Gone)
    }

    fn run_alone(&mut self, session: &mut Session) -> Option<CloseReason> {
        let Self { sender, work, .. } = self;
        let result = run_armed(session, sender, |session| work.run_alone(session, sender));
        let close_reason = match &result {
            Ok(result) => session.reset(result.as_ref().err()),
            Err(_panic) => Some(CloseReason::Broken),
        };
        self.result = Some(answer(result));
        close_reason
    }

    fn fail(&mut self, error: Error) {
        self.result = Some(Err(error));
    }

    fn answer(&mut self, failure: Option<Error>) {
        let Some(result) = self.result.take() else { return };
        if failure.is_none() && result.is_ok() {
            self.work.deliver(&self.sender);
        }
        self.sender.end(match (result, failure) {
            (Ok(_), Some(failure)) => Err(failure),
            // It may have failed by what another wrote, which may not be there.
            (Err(_), Some(failure)) => Err(failure.with_outcome(Outcome::NotApplied)),
            (result, None) => result,
        });
    }
}

/// Tells whether an error is certainly that of one statement, which leaves the transaction as it was.
fn fails_alone(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::AlreadyExists
            | ErrorKind::FailedPrecondition
            | ErrorKind::InvalidStatement
            | ErrorKind::InvalidOption
            | ErrorKind::InvalidParameter
            | ErrorKind::InvalidSql
            | ErrorKind::ParameterOutOfRange
            | ErrorKind::OutOfRange
            | ErrorKind::RowTooLarge
            | ErrorKind::ResultTooLarge
            | ErrorKind::ExpectationFailed
            | ErrorKind::KeyReused
    )
}

/// A statement.
pub(crate) struct StatementWrite {
    sent: Arc<Statement>,
    kept: KeptRows,
}

impl StatementWrite {
    pub(crate) fn new(sent: Arc<Statement>) -> Self {
        Self { sent, kept: KeptRows::default() }
    }
}

impl SharedWork for StatementWrite {
    type Output = Option<Completion>;

    fn run(
        &mut self,
        session: &mut Session,
        _sender: &RowSender<Self::Output>,
        _until: Instant,
    ) -> Result<Self::Output> {
        self.kept = KeptRows::default();
        let Statement { sql, parameters, .. } = &*self.sent;
        let access = Access::ReadWrite;
        let done = run_in_transaction(session, sql, parameters, access, &mut self.kept)?;
        let header = self.kept.header.as_ref();
        self.sent.check_columns(header.map(|header| header.columns.as_slice()))?;
        Ok(Some(done))
    }

    fn is_too_large(&self) -> bool {
        self.kept.bytes > MAX_KEPT_BYTES
    }

    fn deliver(&mut self, sender: &RowSender<Self::Output>) {
        if let Some(header) = self.kept.header.take() {
            sender.start(header);
        }
        let rows = self.kept.rows.take();
        // A caller that is gone takes none.
        let _sent = rows.iter().try_for_each(|row| sender.push(row));
    }

    fn run_alone(
        &mut self,
        session: &mut Session,
        sender: &RowSender<Self::Output>,
    ) -> Result<Self::Output> {
        // It sends its rows itself.
        self.kept = KeptRows::default();
        run(session, &self.sent, sender)
    }
}

/// The rows of a statement until the commit.
struct KeptRows {
    header: Option<ResultHeader>,
    rows: RowEncoder,
    /// The size of all rows, those included that are too large to keep.
    bytes: usize,
}

impl Default for KeptRows {
    fn default() -> Self {
        Self { header: None, rows: RowEncoder::new(RowsField::OfResult), bytes: 0 }
    }
}

impl RowConsumer for KeptRows {
    fn start(&mut self, header: ResultHeader) {
        self.header = Some(header);
    }

    fn push(&mut self, row: &[u8]) -> Result<()> {
        self.bytes += size_in_field(row.len());
        if self.bytes > MAX_KEPT_BYTES {
            // Nobody is told: the statement runs by itself then.
            let message = "the rows are too large to wait for a shared commit";
            return Err(Error::new(ErrorKind::ResultTooLarge, message));
        }
        self.rows.push(row);
        Ok(())
    }
}

/// A batch.
pub(crate) struct BatchWrite(pub(crate) Arc<Batch>);

impl SharedWork for BatchWrite {
    type Output = BatchResult;

    fn run(
        &mut self,
        session: &mut Session,
        sender: &RowSender<BatchResult>,
        until: Instant,
    ) -> Result<BatchResult> {
        run_statements(session, &self.0, sender, until)
    }

    fn deliver(&mut self, _sender: &RowSender<BatchResult>) {}

    fn run_alone(
        &mut self,
        session: &mut Session,
        sender: &RowSender<BatchResult>,
    ) -> Result<BatchResult> {
        run_batch(session, &self.0, sender)
    }
}
