//! A connection at work for one caller; however that ends, the next caller sees none of it.
//!
//! It ends in one of: known idle and untouched: back to the pool; anything else: cleaned by a task of
//! its own, off the caller's path, and closed if that fails.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::cancel::Cancel;
use super::clean::{CLEANING_LIMIT, Cleaner};
use super::codec::Parameter;
use super::connection::{Connection, Opener, Prepared};
use super::flight::{Failure, Flight, Landing, Step, first_value, fly, rows};
use super::requests::{Kind, fit};
use super::shared::Shared;
use super::trace::{Trace, Verdict};
use crate::config::{Planted, TargetSession};
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Outcome, Result};
use crate::pool::{Checkout, CloseReason};
use crate::sql::Analysis;

/// A connection at work.
pub(super) struct Lease {
    checkout: Option<Checkout<Opener>>,
    shared: Arc<Shared>,
    cancel: Cancel,
    /// Whether a request may be unanswered.
    pub(super) busy: bool,
    /// What the session may remember of the caller.
    pub(super) trace: Trace,
    /// Whether what runs may have committed a part of its work before it fails.
    pub(super) divisible: bool,
    /// Whether the caller asked the database to refuse writes.
    pub(super) read_only: bool,
    /// Whether nothing of what runs can have been applied: it reads, or a commit is still to come.
    pub(super) reads: bool,
    /// Whether the catalogs say of all that ran that it can only read.
    pub(super) only_reads: bool,
    /// The number of the request that applies something: before it is on its way, nothing is.
    decisive: Option<u64>,
    /// The number of the statement that was started last.
    started: u64,
    /// Whether the connection must be closed.
    broken: bool,
    /// Whether the connection failed and not the statement, of which nothing ran: another may do better.
    pub(super) blameless: bool,
    /// Whether a write was refused that nobody asked to refuse: the server may be a standby by now.
    is_suspect: bool,
}

impl Lease {
    pub(super) fn new(checkout: Checkout<Opener>, shared: Arc<Shared>) -> Self {
        let (connector, wire) = (Arc::clone(&shared.connector), Arc::clone(&checkout.wire));
        let cancel = Cancel::new(connector, wire, Arc::clone(checkout.borrower()));
        // Of a caller who did not wait for the answer.
        checkout.wire.take_unconfirmed();
        Self {
            checkout: Some(checkout),
            shared,
            cancel,
            busy: false,
            trace: Trace::Nothing,
            divisible: false,
            read_only: false,
            reads: true,
            only_reads: true,
            decisive: None,
            started: 0,
            broken: false,
            blameless: false,
            is_suspect: false,
        }
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(super) fn connection(&mut self) -> &mut Connection {
        self.checkout.as_mut().expect("a lease holds its connection until it is dropped")
    }

    /// Says what the statement can do, and hides from it what earlier callers drew from sequences.
    pub(super) async fn judge(
        &mut self,
        analysis: &Analysis,
        deadline: Deadline,
    ) -> Result<Verdict> {
        let shared = Arc::clone(&self.shared);
        let verdict = match shared.verdicts.recall(analysis) {
            Some(verdict) => verdict,
            None => {
                let (connection, cancel) = self.begin(deadline)?;
                let asked = shared.verdicts.ask(connection, analysis);
                let answer = cancel.watch(deadline, asked).await;
                self.settle(answer, "")?
            }
        };
        self.only_reads &= verdict.reads;
        if verdict.trace == Trace::Anything && self.connection().sequences_drawn {
            self.run(deadline, "DISCARD SEQUENCES").await?;
            self.connection().sequences_drawn = false;
        }
        Ok(verdict)
    }

    /// Prepares a statement on the connection.
    pub(super) async fn prepare(&mut self, deadline: Deadline, sql: &str) -> Result<Arc<Prepared>> {
        let (connection, cancel) = self.begin(deadline)?;
        let answer = cancel.watch(deadline, connection.prepare(sql)).await;
        self.settle(answer, sql)
    }

    /// Runs statements without parameters of our own making.
    pub(super) async fn run(&mut self, deadline: Deadline, sql: &str) -> Result<()> {
        let (connection, cancel) = self.begin(deadline)?;
        let answer = cancel.watch(deadline, connection.client.batch_execute(sql)).await;
        self.settle(answer, sql)
    }

    /// Asks for one value.
    pub(super) async fn value(&mut self, deadline: Deadline, sql: &str) -> Result<Option<String>> {
        let (connection, cancel) = self.begin(deadline)?;
        let answer = cancel.watch(deadline, connection.client.simple_query(sql)).await;
        let messages = self.settle(answer, sql)?;
        Ok(first_value(&messages))
    }

    /// Sends requests together and reads their answers in order; an error: nothing was sent.
    pub(super) async fn fly(&mut self, deadline: Deadline, flight: Flight<'_>) -> Result<Landing> {
        let Flight { steps, room, commits } = flight;
        let wire = Arc::clone(&self.begin(deadline)?.0.wire);
        // Nothing is on its way but what has no number: the driver's own Close of a statement.
        let last = wire.begun() + u64::try_from(steps.len()).unwrap_or(u64::MAX);
        let meant: Vec<Kind> = steps.iter().map(Step::kind).collect();
        if commits {
            self.reads = self.read_only;
            self.decisive = Some(last);
            self.cancel.commit = Some(last);
        }
        let mut answers = Vec::new();
        wire.note();
        let checkout = self.checkout.as_mut().expect("a lease holds its connection until dropped");
        let flying = fly(checkout, steps, room, &mut answers);
        let landed = self.cancel.watch(deadline, flying).await;
        let is_lost = |answer: &std::result::Result<_, Failure>| matches!(answer, Err(failure) if failure.is_lost());
        self.busy = landed.is_none() || answers.iter().any(is_lost);
        if !self.busy {
            self.cancel.commit = None;
        }
        let exchanges = wire.take_noted();
        let all_sent = self.busy || exchanges.len() == meant.len();
        if !all_sent || !fit(&exchanges, &meant) {
            answers = vec![Err(Failure::Ours(self.mistaken(commits)))];
        }
        Ok(Landing::new(answers, exchanges))
    }

    /// What was sent is not what was meant to be, so nothing can be said of what it was answered.
    fn mistaken(&mut self, commits: bool) -> Error {
        self.broken = true;
        let database = &self.shared.database;
        tracing::error!(database, "requests and answers do not fit on a connection");
        if !commits || self.reads {
            return self.lost();
        }
        let message =
            format!("what database \"{database}\" answered does not fit what it was asked");
        Error::new(ErrorKind::OutcomeUnknown, message).with_outcome(Outcome::Unknown)
    }

    /// What a failure in a flight means.
    pub(super) fn misfortune(&mut self, failure: Failure, sql: &str) -> Error {
        match failure {
            Failure::Driver(error) => {
                let busy = self.busy;
                let error = self.failure(error, sql);
                self.busy = busy;
                error
            }
            Failure::Ours(error) => error,
        }
    }

    /// The plan of a statement that was prepared, and so is a single one: nothing of it runs. `None`: a
    /// server older than 16 plans no parameters.
    pub(super) async fn explain(
        &mut self,
        deadline: Deadline,
        sql: &str,
        prepared: &Prepared,
    ) -> Result<Option<String>> {
        let generic = !prepared.statement.params().is_empty();
        let options = if generic { "(GENERIC_PLAN) " } else { "" };
        let explain = format!("EXPLAIN {options}{sql}");
        let (connection, cancel) = self.begin(deadline)?;
        let answer = cancel.watch(deadline, connection.client.simple_query(&explain)).await;
        let messages = match self.settle(answer, &explain) {
            Err(error) if generic && error.kind() == ErrorKind::InvalidStatement => {
                return Ok(None);
            }
            settled => settled?,
        };
        let lines: Vec<&str> = rows(&messages).filter_map(|row| row.get(0)).collect();
        Ok(Some(lines.join("\n")))
    }

    /// Starts a prepared statement; from here on the lease is busy until its rows are done.
    pub(super) async fn start(
        &mut self,
        deadline: Deadline,
        sql: &str,
        prepared: &Prepared,
        parameters: Vec<Parameter<'_>>,
    ) -> Result<tokio_postgres::RowStream> {
        self.started = self.connection().wire.begun() + 1;
        if !self.reads {
            self.decisive = Some(self.started);
        }
        let (connection, cancel) = self.begin(deadline)?;
        let request = connection.client.query_raw(&prepared.statement, parameters);
        let answer = cancel.watch(deadline, request).await;
        let stream = self.settle(answer, sql)?;
        self.busy = true;
        Ok(stream)
    }

    /// The rows of the statement that was started are over; an error: its answer is not what it seems.
    pub(super) fn finished(&mut self) -> Result<()> {
        self.busy = false;
        if self.connection().wire.answered() != self.started {
            return Err(self.mistaken(!self.reads));
        }
        if self.connection().wire.take_unconfirmed() {
            return Err(self.unconfirmed());
        }
        Ok(())
    }

    /// Nothing is begun past the deadline: a cancel may have been sent by then, and none would stop it.
    pub(super) fn begin(&mut self, deadline: Deadline) -> Result<(&mut Connection, &mut Cancel)> {
        if Instant::now() >= deadline.instant() {
            let message = "the deadline passed before all of it was sent to the database";
            return Err(Error::new(ErrorKind::DeadlineExceeded, message));
        }
        self.busy = true;
        self.cancel.begin();
        let checkout = self.checkout.as_mut().expect("a lease holds its connection until dropped");
        Ok((checkout, &mut self.cancel))
    }

    pub(super) fn settle<T>(
        &mut self,
        answer: Option<std::result::Result<T, tokio_postgres::Error>>,
        sql: &str,
    ) -> Result<T> {
        match answer {
            Some(Ok(value)) => {
                self.busy = false;
                Ok(value)
            }
            Some(Err(error)) => Err(self.failure(error, sql)),
            None => Err(self.deadline_passed()),
        }
    }

    /// Starts a cancel of what runs, without waiting for it.
    pub(super) fn cancel(&mut self) {
        self.cancel.send();
    }

    /// What the driver's error means here.
    pub(super) fn failure(&mut self, error: tokio_postgres::Error, sql: &str) -> Error {
        let failure = self.failure_of_a_whole(error, sql);
        if self.divisible && failure.outcome() == Outcome::NotApplied {
            // What it committed before it failed stays.
            return failure.with_outcome(Outcome::Unknown).without_retry_after();
        }
        failure
    }

    /// The same of a statement that is applied as a whole or not at all.
    fn failure_of_a_whole(&mut self, error: tokio_postgres::Error, sql: &str) -> Error {
        if let Some(reported) = error.as_db_error() {
            self.busy = false;
            let blameless =
                super::error::is_stale_statement(reported) || super::error::is_terminated(reported);
            self.broken |= blameless || super::error::ends_connection(reported);
            self.blameless |= blameless && !self.divisible;
            let mapped = super::error::from_statement(reported, sql, self.shared.details);
            if mapped.kind() == ErrorKind::DeadlineExceeded && self.cancel.is_aimed() {
                return Error::new(
                    ErrorKind::DeadlineExceeded,
                    "the deadline passed; the statement was cancelled",
                );
            }
            let writes = !self.read_only && self.shared.connector.takes_writes();
            if mapped.kind() == ErrorKind::ReadOnly && writes {
                match self.connection().kept {
                    // It never was anything else: another name or address may lead elsewhere.
                    TargetSession::Any => self.broken = true,
                    TargetSession::ReadWrite
                    | TargetSession::Primary
                    | TargetSession::ReadOnly
                    | TargetSession::Standby
                    | TargetSession::PreferStandby => self.is_suspect = true,
                }
                return self.not_primary().with_cause(error);
            }
            if mapped.kind() == ErrorKind::OutcomeUnknown && self.reads {
                return self.lost().with_cause(error);
            }
            return mapped;
        }
        let wire = &self.connection().wire;
        if wire.refused_a_row() {
            let outcome = self.outcome();
            return Error::new(ErrorKind::RowTooLarge, "a row is larger than max_row_size")
                .with_outcome(outcome)
                .with_hint("Select less of it, or raise max_row_size.");
        }
        if wire.is_copying() {
            return Error::new(
                ErrorKind::Unsupported,
                "COPY to or from the client is not supported",
            )
            .with_hint("Use StreamQuery to read and parameters to write.");
        }
        let begun = wire.begun();
        if self.reads || self.decisive.is_some_and(|number| begun < number) {
            return self.lost().with_cause(error);
        }
        let database = &self.shared.database;
        let message = format!("the connection to database \"{database}\" was lost during a write");
        Error::new(ErrorKind::OutcomeUnknown, message)
            .with_outcome(Outcome::Unknown)
            .with_cause(error)
    }

    /// The error of a statement that did not answer its cancel in time.
    pub(super) fn deadline_passed(&self) -> Error {
        let database = &self.shared.database;
        if self.reads && !self.divisible {
            let message = format!("the deadline passed while database \"{database}\" was working");
            return Error::new(ErrorKind::DeadlineExceeded, message);
        }
        let message = format!("the deadline passed while database \"{database}\" was writing");
        Error::new(ErrorKind::OutcomeUnknown, message).with_outcome(Outcome::Unknown)
    }

    /// Waits until a statement that was cancelled has ended, and no cancel can hit what is sent next.
    pub(super) async fn settle_cancel(&mut self, deadline: Deadline) -> Result<()> {
        let cancelled = self.cancel.is_sent() || (self.busy && self.cancel.is_aimed());
        if !cancelled {
            return Ok(());
        }
        let checkout = self.checkout.as_ref().expect("a lease holds its connection until dropped");
        let settling = async {
            self.cancel.insist(checkout.wire.quiesce()).await;
            // What was given up before the driver had sent it may still be queued: behind it comes this.
            self.cancel.settled().await && checkout.client.check_connection().await.is_ok()
        };
        match tokio::time::timeout_at(deadline.instant().into(), settling).await {
            Ok(true) => {
                self.busy = false;
                Ok(())
            }
            Ok(false) => {
                self.broken = true;
                Err(self.lost())
            }
            Err(_elapsed) => Err(self.deadline_passed()),
        }
    }

    /// Whether a transaction is open on it, aborted or not, and can be told something.
    pub(super) fn is_in_transaction(&self) -> bool {
        let Some(checkout) = &self.checkout else { return false };
        // What was cancelled will have ended when the next command is sent.
        let settled =
            if self.busy { self.cancel.is_aimed() } else { checkout.wire.in_transaction() };
        settled && !self.broken && !self.is_suspect && !checkout.client.is_closed()
    }

    /// Rolls back an open transaction, and waits for it.
    pub(super) async fn roll_back(mut self) {
        let deadline = Deadline::at(Instant::now() + CLEANING_LIMIT);
        if self.is_in_transaction() && self.settle_cancel(deadline).await.is_ok() {
            // What fails is cleaned or closed when the lease is dropped.
            drop(self.run(deadline, "ROLLBACK").await);
        }
    }

    /// A write was refused that nobody asked to refuse: the server became a standby, for all its connections.
    fn not_primary(&self) -> Error {
        let database = &self.shared.database;
        let message = format!("the server of database \"{database}\" takes no writes: a standby");
        Error::new(ErrorKind::NotPrimary, message).with_retry_after(Duration::from_millis(250))
    }

    fn outcome(&self) -> Outcome {
        if self.reads { Outcome::NotApplied } else { Outcome::Unknown }
    }

    fn lost(&self) -> Error {
        let message = format!("the connection to database \"{}\" was lost", self.shared.database);
        Error::new(ErrorKind::ConnectionLost, message).with_retry_after(Duration::from_millis(100))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(mut checkout) = self.checkout.take() else { return };
        let idle = checkout.wire.is_idle() || Planted::RecycledTransaction.is_there();
        let settled = !self.busy && !self.cancel.is_sent() && idle;
        let tag = checkout.wire.tag();
        if self.broken || tag.starts_with("DEALLOCATE") || tag == "DISCARD ALL" {
            checkout.discard(CloseReason::Dirty);
        } else if checkout.client.is_closed() {
            checkout.discard(CloseReason::Broken);
        } else if settled && self.trace < Trace::Anything && checkout.has_departed() {
            // Nothing that ran can have said so but the server itself.
            self.shared.fail_over(&checkout);
            checkout.discard(CloseReason::Failover);
        } else if settled && self.trace < Trace::Anything && !self.is_suspect {
            checkout.sequences_drawn |= self.trace == Trace::Sequences;
        } else if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let cancel = self.cancel.take();
            let shared = Arc::clone(&self.shared);
            let (trace, is_suspect) = (self.trace, self.is_suspect);
            let cleaner = Cleaner { checkout: Some(checkout), shared, cancel, trace, is_suspect };
            drop(runtime.spawn(cleaner.clean(self.busy)));
        } else {
            checkout.discard(CloseReason::Dirty);
        }
    }
}
