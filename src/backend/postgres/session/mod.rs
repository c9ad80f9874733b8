//! A connection at work for one caller; however that ends, the next caller sees none of it.
//!
//! It ends in one of: known idle and untouched: back to the pool; anything else: cleaned by a task of
//! its own, off the caller's path, and closed if that fails.

pub(crate) mod database;
pub(crate) mod effects;
pub(crate) mod failure;
pub(crate) mod reset;

use std::sync::Arc;
use std::time::Instant;

use super::codec::Parameter;
use super::connection::{Connection, Opener, Prepared};
use crate::backend::postgres::connection::cancel::Cancel;
use crate::backend::postgres::connection::pipeline::{
    Failure, Pipeline, PipelineResponses, Step, first_value, rows, send_pipeline,
};
use crate::backend::postgres::protocol::requests::{RequestKind, is_prefix};
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Result};
use crate::planted_bug::PlantedBug;
use crate::pool::{Checkout, CloseReason};
use crate::sql::Analysis;
use database::DatabaseContext;
use effects::{SessionEffect, StatementEffects};
use failure::RetryScope;
use reset::{CLEANING_LIMIT, SessionReset};

/// A connection at work.
pub(crate) struct Session {
    checkout: Option<Checkout<Opener>>,
    pub(crate) shared: Arc<DatabaseContext>,
    pub(crate) cancel: Cancel,
    /// Whether a request may be unanswered.
    pub(crate) busy: bool,
    /// What the session may remember of the caller.
    pub(crate) trace: SessionEffect,
    /// Whether what runs may have committed a part of its work before it fails.
    pub(crate) divisible: bool,
    /// Whether the caller asked the database to refuse writes.
    pub(crate) read_only: bool,
    /// Whether nothing of what runs can have been applied: it reads, or a commit is still to come.
    pub(crate) reads: bool,
    /// Whether the catalogs say of all that ran that it can only read.
    pub(crate) only_reads: bool,
    /// The number of the request that applies something: before it is on its way, nothing is.
    pub(crate) decisive: Option<u64>,
    /// The number of the statement that was started last.
    started: u64,
    /// Whether the connection must be closed.
    pub(crate) broken: bool,
    /// Whether what failed may be run again at once.
    pub(crate) again: RetryScope,
    /// Whether a statement has begun to run.
    pub(crate) begun: bool,
    /// Whether statements are prepared anew that are prepared already.
    pub(crate) afresh: bool,
    /// The names of the prepared statements that were sent last.
    pub(crate) at_work: Vec<RequestKind>,
    /// Whether something ran that changes what texts mean.
    redefined: bool,
    /// Whether a write was refused that nobody asked to refuse: the server may be a standby by now.
    pub(crate) is_suspect: bool,
}

impl Session {
    pub(crate) fn new(checkout: Checkout<Opener>, shared: Arc<DatabaseContext>) -> Self {
        let (connector, wire) = (Arc::clone(&shared.connector), Arc::clone(&checkout.wire));
        let cancel = Cancel::new(connector, wire, Arc::clone(checkout.context()));
        // Of a caller who did not wait for the answer.
        checkout.wire.take_unconfirmed();
        Self {
            checkout: Some(checkout),
            shared,
            cancel,
            busy: false,
            trace: SessionEffect::Nothing,
            divisible: false,
            read_only: false,
            reads: true,
            only_reads: true,
            decisive: None,
            started: 0,
            broken: false,
            again: RetryScope::No,
            begun: false,
            afresh: false,
            at_work: Vec::new(),
            redefined: false,
            is_suspect: false,
        }
    }

    pub(crate) fn shared(&self) -> &Arc<DatabaseContext> {
        &self.shared
    }

    pub(crate) fn connection(&mut self) -> &mut Connection {
        self.checkout.as_mut().expect("a session holds its connection until it is dropped")
    }

    /// Says what the statement can do, and hides from it what earlier callers drew from sequences.
    pub(crate) async fn judge(
        &mut self,
        analysis: &Analysis,
        deadline: Deadline,
    ) -> Result<StatementEffects> {
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
        if verdict.trace == SessionEffect::Anything && self.connection().sequences_drawn {
            self.run(deadline, "DISCARD SEQUENCES").await?;
            self.connection().sequences_drawn = false;
        }
        Ok(verdict)
    }

    /// Something ran that changes what texts mean, or was undone: statements behind it are prepared anew.
    pub(crate) fn redefine(&mut self) {
        self.redefined = true;
        self.connection().forget_statements();
    }

    /// Undoes what ran since a savepoint.
    pub(crate) fn undone(&mut self) {
        if self.redefined {
            self.connection().forget_statements();
        }
    }

    /// Prepares a statement on the connection.
    pub(crate) async fn prepare(&mut self, deadline: Deadline, sql: &str) -> Result<Arc<Prepared>> {
        if self.afresh {
            self.connection().prepared.pop(sql);
        }
        let (connection, cancel) = self.begin(deadline)?;
        let answer = cancel.watch(deadline, connection.prepare(sql)).await;
        self.settle(answer, sql)
    }

    /// Runs statements without parameters of our own making.
    pub(crate) async fn run(&mut self, deadline: Deadline, sql: &str) -> Result<()> {
        let (connection, cancel) = self.begin(deadline)?;
        let answer = cancel.watch(deadline, connection.client.batch_execute(sql)).await;
        self.settle(answer, sql)
    }

    /// Asks for one value.
    pub(crate) async fn value(&mut self, deadline: Deadline, sql: &str) -> Result<Option<String>> {
        let (connection, cancel) = self.begin(deadline)?;
        let answer = cancel.watch(deadline, connection.client.simple_query(sql)).await;
        let messages = self.settle(answer, sql)?;
        Ok(first_value(&messages))
    }

    /// Sends requests together and reads their answers in order; an error: nothing was sent.
    pub(crate) async fn send_pipeline(
        &mut self,
        deadline: Deadline,
        pipeline: Pipeline<'_>,
    ) -> Result<PipelineResponses> {
        let Pipeline { steps, room, commits } = pipeline;
        let wire = Arc::clone(&self.begin(deadline)?.0.wire);
        // Nothing is on its way but what has no number: the driver's own Close of a statement.
        let last = wire.last_sent() + u64::try_from(steps.len()).unwrap_or(u64::MAX);
        let meant: Vec<RequestKind> = steps.iter().map(Step::kind).collect();
        self.at_work.clone_from(&meant);
        if commits {
            self.reads = self.read_only;
            self.decisive = Some(last);
            self.cancel.commit = Some(last);
        }
        let mut answers = Vec::new();
        wire.record_requests();
        let checkout =
            self.checkout.as_mut().expect("a session holds its connection until dropped");
        let flying = send_pipeline(checkout, steps, room, &mut answers);
        let landed = self.cancel.watch(deadline, flying).await;
        let is_lost = |answer: &std::result::Result<_, Failure>| matches!(answer, Err(failure) if failure.is_lost());
        self.busy = landed.is_none() || answers.iter().any(is_lost);
        if !self.busy {
            self.cancel.commit = None;
        }
        let exchanges = wire.take_recorded();
        self.begun |= exchanges.iter().any(|exchange| exchange.bound);
        let all_sent = self.busy || exchanges.len() == meant.len();
        if !all_sent || !is_prefix(&exchanges, &meant) {
            answers = vec![Err(Failure::Ours(self.mistaken(commits)))];
        }
        Ok(PipelineResponses::new(answers, exchanges))
    }

    /// The plan of a statement that was prepared, and so is a single one: nothing of it runs. `None`: a
    /// server older than 16 plans no parameters.
    pub(crate) async fn explain(
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

    /// Starts a prepared statement; from here on the session is busy until its rows are done.
    pub(crate) async fn start(
        &mut self,
        deadline: Deadline,
        sql: &str,
        prepared: &Prepared,
        parameters: Vec<Parameter<'_>>,
    ) -> Result<tokio_postgres::RowStream> {
        self.started = self.connection().wire.last_sent() + 1;
        if !self.reads {
            self.decisive = Some(self.started);
        }
        let (connection, cancel) = self.begin(deadline)?;
        let request = connection.client.query_raw(&prepared.statement, parameters);
        let answer = cancel.watch(deadline, request).await;
        self.at_work = vec![RequestKind::Statement(prepared.name.clone())];
        let stream = self.settle(answer, sql)?;
        self.begun = true;
        self.busy = true;
        Ok(stream)
    }

    /// The rows of the statement that was started are over; an error: its answer is not what it seems.
    pub(crate) fn finished(&mut self) -> Result<()> {
        self.busy = false;
        if self.connection().wire.last_answered() != self.started {
            return Err(self.mistaken(!self.reads));
        }
        if self.connection().wire.take_unconfirmed() {
            return Err(self.unconfirmed());
        }
        Ok(())
    }

    /// Nothing is begun past the deadline: a cancel may have been sent by then, and none would stop it.
    pub(crate) fn begin(&mut self, deadline: Deadline) -> Result<(&mut Connection, &mut Cancel)> {
        if Instant::now() >= deadline.instant() {
            let message = "the deadline passed before all of it was sent to the database";
            return Err(Error::new(ErrorKind::DeadlineExceeded, message));
        }
        self.busy = true;
        self.at_work.clear();
        self.cancel.begin();
        let checkout =
            self.checkout.as_mut().expect("a session holds its connection until dropped");
        Ok((checkout, &mut self.cancel))
    }

    pub(crate) fn settle<T>(
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
    pub(crate) fn cancel(&mut self) {
        self.cancel.send();
    }

    /// Waits until a statement that was cancelled has ended, and no cancel can hit what is sent next.
    pub(crate) async fn settle_cancel(&mut self, deadline: Deadline) -> Result<()> {
        let cancelled = self.cancel.is_sent() || (self.busy && self.cancel.is_aimed());
        if !cancelled {
            return Ok(());
        }
        let checkout =
            self.checkout.as_ref().expect("a session holds its connection until dropped");
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
    pub(crate) fn is_in_transaction(&self) -> bool {
        let Some(checkout) = &self.checkout else { return false };
        // What was cancelled will have ended when the next command is sent.
        let settled =
            if self.busy { self.cancel.is_aimed() } else { checkout.wire.in_transaction() };
        settled && !self.broken && !self.is_suspect && !checkout.client.is_closed()
    }

    /// Rolls back an open transaction, and waits for it.
    pub(crate) async fn roll_back(mut self) {
        let deadline = Deadline::at(Instant::now() + CLEANING_LIMIT);
        if self.is_in_transaction() && self.settle_cancel(deadline).await.is_ok() {
            // What fails is cleaned or closed when the session is dropped.
            drop(self.run(deadline, "ROLLBACK").await);
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let Some(mut checkout) = self.checkout.take() else { return };
        let idle = checkout.wire.is_idle() || PlantedBug::RecycledTransaction.is_planted();
        let settled = !self.busy && !self.cancel.is_sent() && idle;
        if self.redefined {
            // What was prepared meanwhile means what it meant to this caller.
            checkout.forget_statements();
        }
        if self.broken || checkout.wire.take_deallocated() {
            checkout.discard(CloseReason::Dirty);
        } else if checkout.client.is_closed() {
            checkout.discard(CloseReason::Broken);
        } else if settled && self.trace < SessionEffect::Anything && checkout.has_departed() {
            // Nothing that ran can have said so but the server itself.
            self.shared.fail_over(&checkout);
            checkout.discard(CloseReason::Failover);
        } else if settled && self.trace < SessionEffect::Anything && !self.is_suspect {
            checkout.sequences_drawn |= self.trace == SessionEffect::Sequences;
        } else if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let cancel = self.cancel.take();
            let shared = Arc::clone(&self.shared);
            let (trace, is_suspect) = (self.trace, self.is_suspect);
            let cleaner =
                SessionReset { checkout: Some(checkout), shared, cancel, trace, is_suspect };
            drop(runtime.spawn(cleaner.clean(self.busy)));
        } else {
            checkout.discard(CloseReason::Dirty);
        }
    }
}
