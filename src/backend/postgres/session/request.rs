//! The requests of a session, alone and in pipelines.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio_postgres::Error as DriverError;

use super::Session;
use super::effects::{SessionEffect, StatementEffects};
use super::failure;
use super::reset::SessionConnection;
use super::work::{PlanOrigin, WriteState};
use crate::backend::attempt::PlanUse;
use crate::backend::postgres::codec::{MAX_MESSAGE, Parameter};
use crate::backend::postgres::connect::capabilities::Ability;
use crate::backend::postgres::connection::Connection;
use crate::backend::postgres::connection::pipeline::{
    self, PipelineEnd, PipelineResponses, PipelineStep, StepError, lost_connection,
};
use crate::backend::postgres::connection::prepared::Prepared;
use crate::backend::postgres::protocol::requests::{RequestKind, is_prefix};
use crate::backend::postgres::protocol::simple_query::{first_value, rows};
use crate::backend::resolution::outcome_unknown;
use crate::backend::result_quota::ResultQuota;
use crate::backend::{Preamble, TransactionSetting};
use crate::error::{Error, ErrorKind, Result};
use crate::sql::{Analysis, CustomSettings, changes_definitions, is_atomic};
use crate::value::Value;
use crate::wire_size::widen;

impl Session {
    /// Returns the effects of a statement that is about to be prepared, and adds them to those of the
    /// session: to parse it may run code already. Hides from it what earlier callers drew from sequences, and
    /// the texts that they sent.
    pub(crate) async fn effects_of(&mut self, analysis: &Analysis) -> Result<StatementEffects> {
        let database = Arc::clone(&self.database);
        if analysis.lists_statements {
            self.connection().close_statements();
        }
        self.custom_settings.add(&analysis.custom_settings);
        let is_judged = self.can(Ability::Judgement);
        let effects = if self.checkin.effect == SessionEffect::Anything || !is_judged {
            // Names may have another meaning here than in other sessions, and than before.
            StatementEffects::UNKNOWN
        } else if let Some(known) = database.effects.get(analysis) {
            known
        } else {
            let query = async |on: &mut Connection| database.effects.query(on, analysis).await;
            // The future is large, and nearly no call needs it.
            match Box::pin(self.request("", query)).await {
                Err(error) if failure::lacks_name(&error) => {
                    let answer = self.own_answer(Ability::Judgement, Err(error))?;
                    answer.unwrap_or(StatementEffects::UNKNOWN)
                }
                // It is the names of the statement that cannot be looked up.
                Err(error) if failure::is_inability(&error) && !self.is_in_transaction() => {
                    StatementEffects::UNKNOWN
                }
                answer => answer?,
            }
        };
        self.add_effects(effects).await?;
        Ok(effects)
    }

    /// As [`Self::effects_of`], with the parameters of the statement, which is prepared.
    pub(crate) async fn effects_with_parameters(
        &mut self,
        effects: StatementEffects,
        prepared: &Prepared,
    ) -> Result<StatementEffects> {
        let effects = effects.with_parameters(prepared.parameter_types());
        self.add_effects(effects).await?;
        Ok(effects)
    }

    async fn add_effects(&mut self, effects: StatementEffects) -> Result<()> {
        let is_cleaned = effects.session == SessionEffect::Nothing || self.can(Ability::Reset);
        self.checkin.add(if is_cleaned { effects.session } else { SessionEffect::Anything });
        self.work.may_write |= !effects.reads;
        if effects.session == SessionEffect::Anything {
            self.hide_sequences().await?;
        }
        Ok(())
    }

    /// Hides what earlier callers drew from sequences. In a transaction it would also hide what this caller drew, and
    /// take the transaction's snapshot.
    pub(crate) async fn hide_sequences(&mut self) -> Result<()> {
        if self.connection().sequences_drawn {
            self.run("DISCARD SEQUENCES").await?;
            self.connection().sequences_drawn = false;
        }
        Ok(())
    }

    /// Notes that the next transaction begins with a preamble. To be called before it is opened.
    pub(crate) async fn begins_with(&mut self, preamble: &Preamble) -> Result<()> {
        self.work.begins_with(preamble);
        let given = &self.database.custom_settings;
        let is_left =
            |one: &&TransactionSetting| one.is_custom() && !given.are_begun_with(&one.name);
        let left: String = preamble
            .settings
            .iter()
            .filter(is_left)
            .fold(String::new(), |names, setting| names + &setting.name + ",");
        if !left.is_empty() {
            self.custom_settings.add(&CustomSettings::Named(left.as_str().into()));
        }
        if !left.is_empty() || preamble.changes_meaning() {
            self.add_effects(StatementEffects::UNKNOWN).await?;
        }
        Ok(())
    }

    /// Notes that a statement is about to run, if it may change definitions.
    pub(crate) fn will_run(&mut self, sql: &str, analysis: &Analysis) {
        self.checkin.changes_definitions |= changes_definitions(sql, analysis);
    }

    /// Has later statements of the unit prepared anew if one that ran may have changed their meaning: by what
    /// it says, or by a function or a trigger of which nothing is known.
    pub(crate) fn has_run(&mut self, sql: &str, analysis: &Analysis, effects: StatementEffects) {
        if effects.may_redefine(sql, analysis) {
            self.redefine();
        }
    }

    /// Makes one request on the connection, and waits for its answer until the deadline.
    pub(crate) async fn request<T>(
        &mut self,
        sql: &str,
        request: impl AsyncFnOnce(&mut Connection) -> std::result::Result<T, DriverError>,
    ) -> Result<T> {
        self.request_as(Vec::new(), sql, request).await
    }

    /// As [`Self::request`], for scripts and prepared statements of the caller.
    pub(super) async fn request_as<T>(
        &mut self,
        kinds: Vec<RequestKind>,
        sql: &str,
        request: impl AsyncFnOnce(&mut Connection) -> std::result::Result<T, DriverError>,
    ) -> Result<T> {
        self.begin(kinds)?;
        let deadline = self.deadline;
        let SessionConnection { checkout, cancel } = self.parts();
        match cancel.watch(deadline, request(checkout)).await {
            Some(Ok(value)) => {
                self.in_flight.answered();
                Ok(value)
            }
            Some(Err(error)) => Err(self.failed(error, sql)),
            None => Err(self.deadline_passed()),
        }
    }

    /// Prepares a statement on the connection.
    pub(crate) async fn prepare(&mut self, sql: &str) -> Result<Arc<Prepared>> {
        if sql.len() > MAX_MESSAGE {
            let why = format!("it is longer than the {MAX_MESSAGE} bytes that PostgreSQL takes");
            return Err(Error::field(ErrorKind::InvalidSql, "sql", why));
        }
        if std::mem::take(&mut self.work.plans) == PlanUse::Fresh {
            self.connection().forget_definitions();
        }
        let key = self.work.statement_key(sql);
        let is_kept = self.connection().is_prepared(&key);
        // An error of the preparation itself is not due to what was prepared before.
        let before = std::mem::take(&mut self.work.plan_origin);
        let prepared = self.request(sql, async |on| on.prepare_as(&key, sql).await).await?;
        self.work.plan_origin = if is_kept { PlanOrigin::Kept } else { before };
        Ok(prepared)
    }

    /// Returns true if a statement is prepared with the meaning that it has in the transaction to come, and will not be
    /// prepared anew before it.
    pub(crate) fn is_prepared(&mut self, sql: &str) -> bool {
        let key = self.work.statement_key(sql);
        self.work.plans == PlanUse::Cached && self.connection().is_prepared(&key)
    }

    /// Prepares a statement and encodes its parameters. If they do not fit the types that a kept statement
    /// has, it is prepared anew: these may have changed since.
    pub(crate) async fn prepare_with<'a>(
        &mut self,
        sql: &str,
        values: &'a [Value],
    ) -> Result<(Arc<Prepared>, Vec<Parameter<'a>>)> {
        let mut prepared = self.prepare(sql).await?;
        let mut parameters = prepared.encode(values);
        let may_be_old =
            self.work.plan_origin == PlanOrigin::Kept || prepared.has_looked_up_types();
        if parameters.is_err() && may_be_old {
            let key = self.work.statement_key(sql);
            self.connection().forget_statement(&key);
            prepared = self.prepare(sql).await?;
            parameters = prepared.encode(values);
        }
        Ok((prepared, parameters?))
    }

    /// Runs statements of our own, without parameters.
    pub(crate) async fn run(&mut self, sql: &str) -> Result<()> {
        let ran = self.request(sql, async |on| on.client.batch_execute(sql).await).await;
        ran.map_err(|error| failure::of_own_statement(error, &self.database.name))
    }

    /// Queries one value.
    pub(crate) async fn query_value(&mut self, sql: &str) -> Result<Option<String>> {
        let messages = self.request(sql, async |on| on.client.simple_query(sql).await).await;
        let messages =
            messages.map_err(|error| failure::of_own_statement(error, &self.database.name))?;
        Ok(first_value(&messages))
    }

    /// As [`Self::query_value`], for a question that takes an ability; `None` without it.
    pub(crate) async fn ask(&mut self, ability: Ability, sql: &str) -> Result<Option<String>> {
        if !self.can(ability) {
            return Ok(None);
        }
        let messages = self.request(sql, async |on| on.client.simple_query(sql).await).await;
        let messages = self.own_answer(ability, messages)?;
        Ok(messages.and_then(|messages| first_value(&messages)))
    }

    /// The answer to a question of our own; `None` from a server that has lost the ability. In a transaction,
    /// which has failed with it, that is an error, and the next attempt does not ask.
    fn own_answer<T>(&mut self, ability: Ability, answer: Result<T>) -> Result<Option<T>> {
        match answer {
            Err(error) if failure::is_inability(&error) => {
                self.connection().capabilities.lose(ability);
                if self.connection().protocol.in_transaction() {
                    return Err(failure::ability_lost(&self.database.name));
                }
                Ok(None)
            }
            answer => answer.map(Some),
        }
    }

    /// Returns the plan of a prepared statement, which is a single one and does not run; `None` from a
    /// server that plans none, or, older than 16, no parameters.
    pub(crate) async fn explain(
        &mut self,
        sql: &str,
        prepared: &Prepared,
    ) -> Result<Option<String>> {
        let is_generic = !prepared.parameter_types().is_empty();
        let options = if is_generic { "(GENERIC_PLAN) " } else { "" };
        let explain = format!("EXPLAIN {options}{sql}");
        let plan = async |on: &mut Connection| on.client.simple_query(&explain).await;
        match self.request(&explain, plan).await {
            // The statement itself was prepared, so that it is the plan that cannot be had.
            Err(error) if failure::is_inability(&error) => Ok(None),
            explained => {
                let messages = explained?;
                let lines: Vec<&str> = rows(&messages).filter_map(|row| row.get(0)).collect();
                Ok(Some(lines.join("\n")))
            }
        }
    }

    /// Sends requests together and reads their answers in order; after an error nothing was sent.
    pub(crate) async fn send_pipeline(
        &mut self,
        steps: Vec<PipelineStep<'_>>,
        quota: &ResultQuota,
        end: PipelineEnd,
    ) -> Result<PipelineResponses> {
        let expected: Vec<RequestKind> = steps.iter().map(PipelineStep::kind).collect();
        let callers = steps.iter().filter(|step| matches!(step, PipelineStep::Statement(..)));
        let callers = widen(callers.count());
        self.begin(expected.clone())?;
        self.database.statements.fetch_add(callers, Relaxed);
        let protocol = Arc::clone(&self.connection().protocol);
        // Only requests without a number are on their way: the driver's own Close of a statement.
        let last = protocol.last_sent() + widen(steps.len());
        if end == PipelineEnd::Commit {
            let applied_by = (!self.work.forbids_writes).then_some(last);
            self.work.writes = WriteState { applied_by, is_partial: false };
            self.parts().cancel.commit = Some(last);
        }
        let mut results = Vec::new();
        protocol.record_requests();
        let deadline = self.deadline;
        let SessionConnection { checkout, cancel } = self.parts();
        let sent = pipeline::send(checkout, steps, quota, &mut results);
        let is_late = cancel.watch(deadline, sent).await.is_none();
        if !is_late && !lost_connection(&results) {
            self.in_flight.answered();
            self.parts().cancel.commit = None;
        }
        let exchanges = protocol.take_recorded();
        self.work.has_begun |= exchanges.iter().any(|exchange| exchange.bound);
        let all_sent = self.in_flight.is_busy() || exchanges.len() == expected.len();
        if !all_sent || !is_prefix(&exchanges, &expected) {
            results = vec![Err(StepError::Response(self.mismatched()))];
        }
        Ok(PipelineResponses::new(results, exchanges))
    }

    /// Has the next request apply what it writes; one that only reads applies nothing.
    pub(crate) fn autocommit(&mut self, sql: &str, effects: StatementEffects) {
        let next = self.connection().protocol.last_sent() + 1;
        let applied_by = (!effects.reads).then_some(next);
        // What only reads commits nothing along the way.
        let is_partial = !effects.reads && !is_atomic(sql);
        self.work.writes = WriteState { applied_by, is_partial };
    }

    /// Starts a prepared statement; from here on the session is busy until its rows are over.
    pub(crate) async fn start(
        &mut self,
        sql: &str,
        prepared: &Prepared,
        parameters: Vec<Parameter<'_>>,
    ) -> Result<tokio_postgres::RowStream> {
        let number = self.connection().protocol.last_sent() + 1;
        let kinds = vec![RequestKind::Statement(prepared.name.clone())];
        let database = Arc::clone(&self.database);
        let start = async |on: &mut Connection| {
            database.statements.fetch_add(1, Relaxed);
            on.client.query_raw(&prepared.statement, parameters).await
        };
        let stream = self.request_as(kinds, sql, start).await?;
        self.work.has_begun = true;
        self.in_flight.reads_rows(number);
        Ok(stream)
    }

    /// Ends the rows of the statement that was started; fails if the answer is not that of the statement, or
    /// no standby confirmed its commit.
    pub(crate) fn rows_ended(&mut self) -> Result<()> {
        let answered = self.connection().protocol.last_answered();
        if self.in_flight.answered() != Some(answered) {
            return Err(self.mismatched());
        }
        self.check_confirmed()
    }

    /// Fails when a commit succeeded that no standby has confirmed: the database only warns of it, but
    /// it may not survive a failover.
    pub(crate) fn check_confirmed(&mut self) -> Result<()> {
        if !self.connection().protocol.take_unconfirmed() || self.work.forbids_writes {
            return Ok(());
        }
        let database = &self.database.name;
        Err(outcome_unknown(format!(
            "no synchronous standby of database \"{database}\" confirmed the commit in time"
        )))
    }
}
