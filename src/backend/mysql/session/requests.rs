//! The requests of a session.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use parking_lot::Mutex;

use super::{Applies, Session, SessionConnection};
use crate::backend::attempt::PlanUse;
use crate::backend::mysql::connect::connector::text_values;
use crate::backend::mysql::connection::statement_cache::Prepared;
use crate::backend::mysql::connection::{CommandEnd, Connection};
use crate::backend::mysql::error::is_not_preparable;
use crate::backend::mysql::protocol::answers::{Event, PreparedAnswer};
use crate::backend::mysql::protocol::commands::Command;
use crate::backend::mysql::protocol::ok_packet::OkPacket;
use crate::backend::mysql::protocol::packet_stream::StreamFailure;
use crate::backend::mysql::protocol::server_error::ServerError;
use crate::error::{Error, ErrorKind, Result};
use crate::planted_bug::PlantedBug;
use crate::sql::{Analysis, MysqlStatement, MysqlText};

/// Removes what an earlier statement left for later ones to ask for: its warnings, its generated key, its count.
const CLEAR_HISTORY: &str = "SELECT LAST_INSERT_ID(0) FROM (SELECT 1) x";

/// A statement that is ready to run.
#[derive(Debug, Clone)]
pub(crate) enum Runnable {
    Prepared(Arc<Prepared>),
    /// It cannot be prepared, and has no parameters: it is sent as text.
    Text,
}

impl Session {
    /// Waits for a request until the deadline.
    pub(crate) async fn request<T>(
        &mut self,
        request: impl AsyncFnOnce(&mut Connection) -> Result<T, StreamFailure>,
    ) -> Result<T> {
        self.begin_request()?;
        self.answer(request).await
    }

    /// Waits for a part of an answer, also when the deadline has passed: what was killed answers in a moment.
    pub(crate) async fn answer<T>(
        &mut self,
        request: impl AsyncFnOnce(&mut Connection) -> Result<T, StreamFailure>,
    ) -> Result<T> {
        let deadline = self.deadline;
        let SessionConnection { checkout, cancel } = self.parts();
        match cancel.watch(deadline, request(checkout)).await {
            Some(Ok(value)) => Ok(value),
            Some(Err(failure)) => Err(self.stream_failed(failure)),
            None => Err(self.deadline_passed()),
        }
    }

    /// Runs statements of our own in one flight; fails with the first that does.
    pub(crate) async fn run_own(&mut self, statements: &[&str]) -> Result<OkPacket> {
        let ends = self.request(async |on| run_flight(on, statements).await).await?;
        let mut last = OkPacket::default();
        for end in ends {
            last = end.map_err(|error| self.refused(&error, ""))?;
        }
        Ok(last)
    }

    /// Rolls back and runs statements behind; returns true if nothing of the transaction was left. The state of the
    /// transaction is asked for before, as an error tells none.
    pub(crate) async fn roll_back_and_look(&mut self, behind: &[&str]) -> Result<bool> {
        self.connection().queue_own(Command::Ping);
        let end = self.answer(async |on| on.end_of_command().await).await?;
        end.map_err(|error| self.refused(&error, ""))?;
        let state = self.connection().changes.transaction;
        let warned = self.run_own(&["ROLLBACK"]).await?.warnings > 0;
        self.run_own(behind).await?;
        Ok(!warned && !state.is_some_and(|state| state.wrote_without_transaction))
    }

    /// Queries with statements of our own in one flight: the rows of each, in text.
    pub(crate) async fn query_own(
        &mut self,
        statements: &[String],
    ) -> Result<Vec<Vec<Vec<Option<String>>>>> {
        let answers = self.request(async |on| query_flight(on, statements).await).await?;
        let answers: Result<Vec<_>, ServerError> = answers.into_iter().collect();
        answers.map_err(|error| self.refused(&error, ""))
    }

    /// The facts of a statement's text; fails for one that cannot be sent.
    pub(crate) fn facts(analysis: &Analysis) -> Result<Arc<MysqlStatement>> {
        analysis.mysql.clone().ok_or_else(|| {
            Error::new(ErrorKind::Internal, "the statement was read as another dialect's")
        })
    }

    /// Makes a statement ready to run: prepares it, unless the connection has.
    pub(crate) async fn prepare(&mut self, sql: &str, text: &MysqlText) -> Result<Runnable> {
        let mut ready = self.prepare_all(&[(sql, text)]).await?;
        let first = ready
            .pop()
            .ok_or_else(|| Error::new(ErrorKind::Internal, "a statement was not prepared"))?;
        first.map_err(|error| self.refused(&error, sql))
    }

    /// As [`Self::prepare`], for several in one flight. Each may fail by itself.
    pub(crate) async fn prepare_all(
        &mut self,
        statements: &[(&str, &MysqlText)],
    ) -> Result<Vec<Result<Runnable, ServerError>>> {
        for (sql, text) in statements {
            self.check_size(text.sql.len(), sql)?;
        }
        if std::mem::take(&mut self.work.plans) == PlanUse::Fresh {
            self.connection().forget_statements();
        }
        self.connection().forget_stale_statements();
        self.connection().close_evicted();
        let mut missing: Vec<(&str, &MysqlText)> = Vec::new();
        let mut places = Vec::with_capacity(statements.len());
        for (sql, text) in statements {
            let connection = self.connection();
            let known = connection.statements.get(sql);
            let is_kept = connection.statements.takes(sql);
            places.push(match known {
                Some(prepared) => Err(prepared),
                None => Ok(match missing.iter().position(|(other, _)| is_kept && other == sql) {
                    Some(same) => same,
                    None => {
                        missing.push((sql, text));
                        missing.len() - 1
                    }
                }),
            });
        }
        let mut prepared = Vec::with_capacity(missing.len());
        if !missing.is_empty() {
            let answers = self.request(async |on| prepare_flight(on, &missing).await).await?;
            for ((sql, text), answer) in missing.iter().zip(answers) {
                prepared.push(self.runnable(sql, text, answer)?);
            }
        }
        let runnables = places.into_iter().map(|place| match place {
            Err(known) => Ok(Runnable::Prepared(known)),
            Ok(number) => prepared[number].clone(),
        });
        Ok(runnables.collect())
    }

    /// Makes a statement runnable that the server has answered for.
    fn runnable(
        &mut self,
        sql: &str,
        text: &MysqlText,
        answer: Result<PreparedAnswer, ServerError>,
    ) -> Result<Result<Runnable, ServerError>> {
        Ok(match answer {
            Ok(answer) => Ok(Runnable::Prepared(self.keep(sql, text, &answer)?)),
            Err(error) if is_not_preparable(&error) && text.order.is_empty() => Ok(Runnable::Text),
            Err(error) => Err(error),
        })
    }

    /// Prepares a statement that is not to be kept.
    pub(crate) async fn prepare_once(
        &mut self,
        text: &MysqlText,
    ) -> Result<Result<PreparedAnswer, ServerError>> {
        self.check_size(text.sql.len(), &text.sql)?;
        let mut answers = self.request(async |on| prepare_flight(on, &[("", text)]).await).await?;
        answers.pop().ok_or_else(|| Error::new(ErrorKind::Internal, "a statement was not prepared"))
    }

    /// Keeps a statement that was prepared. One that is long is closed after its run.
    fn keep(
        &mut self,
        sql: &str,
        text: &MysqlText,
        answer: &PreparedAnswer,
    ) -> Result<Arc<Prepared>> {
        if answer.parameters.len() != text.order.len() {
            let found = answer.parameters.len();
            let why = format!(
                "the database finds {found} parameters in it, and Rowgate {}",
                text.order.len()
            );
            self.connection().queue_own(Command::CloseStatement(answer.id));
            return Err(Error::field(ErrorKind::InvalidSql, "sql", why));
        }
        let connection = self.connection();
        let prepared = Arc::new(Prepared {
            id: answer.id,
            shape: Mutex::default(),
            columns: answer.columns.len(),
            is_passing: !connection.statements.takes(sql),
        });
        if !prepared.is_passing {
            connection.keep(sql, &prepared);
        }
        Ok(prepared)
    }

    /// Checks that a packet with so many bytes is not too large for the server: it would cost the connection.
    pub(crate) fn check_size(&mut self, bytes: usize, sql: &str) -> Result<()> {
        let limit = self.connection().server.max_allowed_packet;
        // The command, and the lengths and types of parameters.
        if bytes.saturating_add(PACKET_OVERHEAD) <= limit {
            return Ok(());
        }
        let what =
            if bytes > sql.len() { "the statement with its parameters" } else { "the statement" };
        let message = format!("{what} is larger than the {limit} bytes of max_allowed_packet");
        Err(Error::new(ErrorKind::ResourceExhausted, message)
            .with_hint("Send it in parts, or raise max_allowed_packet on the server."))
    }

    /// Queues the run of a statement of the caller's. Nothing of it is sent before the next answer is waited for.
    pub(crate) fn queue_run(&mut self, runnable: &Runnable, text: &MysqlText, parameters: &[u8]) {
        self.database.statements.fetch_add(1, Relaxed);
        self.work.has_begun = true;
        let connection = self.connection();
        match runnable {
            Runnable::Prepared(prepared) => {
                connection.queue_callers(Command::Execute(prepared.id, parameters));
                if prepared.is_passing {
                    connection.queue_own(Command::CloseStatement(prepared.id));
                }
            }
            Runnable::Text => connection.queue_callers(Command::Query(&text.sql)),
        }
    }

    /// Queues what hides earlier callers' warnings, keys and counts, before the first statement of a caller's that may
    /// ask for them, or that others follow which may; returns the number of answers to read before its own.
    pub(crate) fn queue_clearing(&mut self, is_plain: bool) -> usize {
        // What the caller's own statements left is theirs to ask for.
        if is_plain || self.work.has_begun || PlantedBug::KeptSession.is_planted() {
            return 0;
        }
        let connection = self.connection();
        if !connection.has_history {
            return 0;
        }
        connection.queue_own(Command::Query(CLEAR_HISTORY));
        connection.has_history = false;
        1
    }

    /// Notes what the next answer decides.
    pub(crate) fn applies(&mut self, applies: Applies) {
        self.work.applies = applies;
        let SessionConnection { checkout, cancel } = self.parts();
        let is_commit = applies == Applies::Commit;
        cancel.commit = is_commit.then(|| checkout.state.sent.load(Relaxed));
    }
}

/// The bytes of a packet beside the texts and values in it.
const PACKET_OVERHEAD: usize = 1024;

/// Sends statements of our own and reads how each ended.
async fn run_flight(
    on: &mut Connection,
    statements: &[&str],
) -> Result<Vec<CommandEnd>, StreamFailure> {
    for sql in statements {
        on.queue_own(Command::Query(sql));
    }
    let mut ends = Vec::with_capacity(statements.len());
    for _ in statements {
        ends.push(on.end_of_command().await?);
    }
    Ok(ends)
}

/// Rows in text.
type TextRows = Vec<Vec<Option<String>>>;

async fn query_flight(
    on: &mut Connection,
    statements: &[String],
) -> Result<Vec<Result<TextRows, ServerError>>, StreamFailure> {
    for sql in statements {
        on.queue_own(Command::Query(sql));
    }
    let mut answers = Vec::with_capacity(statements.len());
    for _ in statements {
        let mut rows = TextRows::new();
        answers.push(loop {
            match on.event().await? {
                Event::Columns(_) | Event::ResultEnd(_) | Event::Prepared(_) => {}
                Event::Row(packet) => rows.push(text_values(&packet)),
                Event::Done(_) => break Ok(rows),
                Event::Failed(error) => break Err(error),
            }
        });
    }
    Ok(answers)
}

async fn prepare_flight(
    on: &mut Connection,
    statements: &[(&str, &MysqlText)],
) -> Result<Vec<Result<PreparedAnswer, ServerError>>, StreamFailure> {
    for (_, text) in statements {
        on.queue_own(Command::Prepare(&text.sql));
    }
    let mut answers = Vec::with_capacity(statements.len());
    for _ in statements {
        answers.push(match on.event().await? {
            Event::Prepared(answer) => Ok(answer),
            Event::Failed(error) => Err(error),
            Event::Columns(_) | Event::Row(_) | Event::ResultEnd(_) | Event::Done(_) => {
                return Err(StreamFailure::Malformed("an answer of another kind"));
            }
        });
    }
    Ok(answers)
}
