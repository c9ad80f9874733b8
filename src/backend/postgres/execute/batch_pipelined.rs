//! A unit of work in one or two pipelines: everything is sent at once, and one round trip brings it back.
//!
//! Without a key and without expectations one pipeline is enough: BEGIN, the statements, the number of the
//! transaction, the commit. With either, the commit waits until the results are known.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::row_stream::completion;
use crate::backend::idempotency::in_progress;
use crate::backend::postgres::codec;
use crate::backend::postgres::commit::token::CURRENT;
use crate::backend::postgres::commit::{COMMIT, begin, controls_transaction, was_controlled};
use crate::backend::postgres::connection::Prepared;
use crate::backend::postgres::connection::pipeline::{
    Answer, Failure, Pipeline, PipelineResponses, ResultQuota, Step,
};
use crate::backend::postgres::idempotency::key_table;
use crate::backend::postgres::idempotency::key_table::Conflict;
use crate::backend::postgres::session::Session;
use crate::backend::postgres::session::failure::RetryScope;
use crate::backend::{Batch, BatchResult, BatchStatement};
use crate::error::{Error, ErrorKind, Outcome, Result};
use crate::sql::invalidates_plans;
use crate::value::proto::ResultSet;

/// Makes constraints speak that would wait for a commit.
pub(crate) const CHECK_CONSTRAINTS: &str = "SET CONSTRAINTS ALL IMMEDIATE";

/// A unit at work on a connection, its statements prepared.
struct Unit<'a> {
    batch: &'a Batch,
    session: Session,
    incarnation: String,
    claim: Option<Arc<Prepared>>,
    statements: Vec<Arc<Prepared>>,
}

/// Runs a unit once; an error says whether another connection may do better.
pub(crate) async fn run(
    batch: &Batch,
    session: Session,
) -> std::result::Result<BatchResult, (Error, RetryScope)> {
    let mut unit =
        Unit { batch, session, incarnation: String::new(), claim: None, statements: Vec::new() };
    match unit.prepare().await {
        Ok(true) => {}
        Ok(false) => {
            let Unit { session, incarnation, .. } = unit;
            return super::batch_sequential::run(batch, session, &incarnation).await;
        }
        Err(error) => return Err((error, unit.session.again)),
    }
    let waits = batch.key.is_some() || batch.statements.iter().any(|one| one.expect.is_some());
    if waits { unit.in_two().await } else { unit.in_one().await }
}

impl<'a> Unit<'a> {
    /// Prepares every statement; `false`: they must be prepared one by one, as an earlier one may change
    /// what a later one means, or one cannot be, perhaps because it needs what an earlier one makes.
    async fn prepare(&mut self) -> Result<bool> {
        let deadline = self.batch.deadline;
        self.incarnation = self.session.incarnation(deadline).await?;
        for statement in &self.batch.statements {
            let verdict = self.session.judge(&statement.analysis, deadline).await?;
            self.session.trace = self.session.trace.max(verdict.trace);
        }
        if self.batch.key.is_some() {
            let keys = self.session.keys(deadline).await?;
            let prepared = self.session.prepare(deadline, &keys.claim).await;
            self.claim = Some(prepared.map_err(|error| self.session.of_keys(error))?);
        }
        if self.batch.is_piecemeal.load(Relaxed) || redefine_others(&self.batch.statements) {
            return Ok(false);
        }
        for statement in &self.batch.statements {
            match self.session.prepare(deadline, &statement.sql).await {
                Ok(prepared) => self.statements.push(prepared),
                Err(error) if self.session.again != RetryScope::No || error.report().is_none() => {
                    return Err(error);
                }
                Err(_refused) => return Ok(false),
            }
        }
        let last = self.batch.statements.last();
        if last.is_some_and(|last| invalidates_plans(&last.sql, &last.analysis)) {
            // What is prepared behind it is our own, to store the response.
            self.session.redefine();
        }
        Ok(true)
    }

    /// The requests of all statements.
    fn steps(&self) -> Result<Vec<Step<'a>>> {
        let statements = self.batch.statements.iter().zip(&self.statements).enumerate();
        statements
            .map(|(index, (statement, prepared))| {
                let types = prepared.statement.params();
                let parameters = codec::encode(&statement.parameters, types)
                    .map_err(|error| error.with_failed_statement(index))?;
                Ok(Step::Statement(Arc::clone(prepared), parameters))
            })
            .collect()
    }

    /// BEGIN, the statements, the number of the transaction and the commit, at once.
    async fn in_one(mut self) -> std::result::Result<BatchResult, (Error, RetryScope)> {
        let Batch { mode, deadline, dry_run, max_rows, max_bytes, .. } = *self.batch;
        let mut steps = vec![Step::Script(begin(mode))];
        steps.extend(self.steps().map_err(|error| (error, RetryScope::No))?);
        let last = if dry_run { [CHECK_CONSTRAINTS, "ROLLBACK"] } else { [CURRENT, COMMIT] };
        steps.extend(last.map(|sql| Step::Script(sql.to_owned())));
        let room = ResultQuota::new(max_rows, max_bytes);
        let pipeline = Pipeline { steps, room: &room, commits: !dry_run };
        let landed = self.session.send_pipeline(deadline, pipeline).await;
        let mut landing = landed.map_err(|error| (error, RetryScope::No))?;
        let results = self.results(&mut landing, 0);
        let results = results.map_err(|error| (error, self.session.again))?;
        let [first, second] = [landing.next(), landing.next()];
        let outcome = if dry_run {
            self.settled(first).and_then(|()| self.settled(second)).map(|()| Outcome::NotApplied)
        } else {
            // Without a number nothing was written before the commit, which reads do not in it either.
            let reads = matches!(first, Some(Ok(Answer::Script(None))))
                && (self.session.only_reads || mode.read_only);
            let ended = self.session.conclude((first, second), &self.incarnation, deadline).await;
            ended.map(|()| if reads { Outcome::NotApplied } else { Outcome::Applied })
        };
        finished(self.batch, results, &room, outcome)
    }

    /// BEGIN, the key and the statements; then, once their results are known, the stored response, the
    /// number of the transaction and the commit.
    async fn in_two(mut self) -> std::result::Result<BatchResult, (Error, RetryScope)> {
        let Batch { mode, deadline, dry_run, max_rows, max_bytes, .. } = *self.batch;
        let shared = Arc::clone(self.session.shared());
        let key = self.batch.key.as_ref();
        let claiming = key.map(|key| shared.keys.claiming(key));
        let mut steps = vec![Step::Script(begin(mode))];
        if let (Some(claim), Some(values)) = (&self.claim, &claiming) {
            let parameters = codec::encode(values, claim.statement.params());
            let parameters = parameters.map_err(|error| (error, RetryScope::No))?;
            steps.push(Step::Statement(Arc::clone(claim), parameters));
        }
        steps.extend(self.steps().map_err(|error| (error, RetryScope::No))?);
        let room = ResultQuota::new(max_rows, max_bytes);
        let pipeline = Pipeline { steps, room: &room, commits: false };
        let landed = self.session.send_pipeline(deadline, pipeline).await;
        let mut landing = landed.map_err(|error| (error, RetryScope::No))?;
        if let Some(key) = key
            && let Some(failure) = landing.fail_at(1)
        {
            let error = self.session.misfortune(failure, "");
            let resolved = self.session.claim_failed(error, key, deadline).await;
            return match resolved {
                Ok(Conflict::Replayed(result)) => Ok(result),
                Ok(Conflict::Gone) => Err((in_progress(), RetryScope::No)),
                Err(error) => Err((error, self.session.again)),
            };
        }
        let results = self.results(&mut landing, usize::from(key.is_some()));
        let checked = results.and_then(|results| {
            self.check(results, &room).map_err(|error| key_table::had(key, error))
        });
        let results = match checked {
            Ok(results) => results,
            Err(error) => return Err(self.give_up(error).await),
        };
        if dry_run {
            let checked = self.session.run(deadline, CHECK_CONSTRAINTS).await;
            self.session.roll_back().await;
            return finished(self.batch, results, &room, checked.map(|()| Outcome::NotApplied));
        }
        let ended = self.session.store_and_commit(key, &results, &self.incarnation, deadline).await;
        finished(self.batch, results, &room, ended.map(|()| Outcome::Applied))
    }

    /// What may not be committed: a result with too many rows, or a count that was not expected.
    fn check(&self, results: Vec<ResultSet>, room: &ResultQuota) -> Result<Vec<ResultSet>> {
        if let Some(message) = room.exceeded() {
            return Err(too_large(message));
        }
        self.batch.check_response(&results)?;
        for (index, (statement, result)) in self.batch.statements.iter().zip(&results).enumerate() {
            if let Some(expect) = statement.expect {
                let checked = expect.check(result.rows_affected);
                checked.map_err(|error| error.with_failed_statement(index))?;
            }
        }
        Ok(results)
    }

    async fn give_up(self, error: Error) -> (Error, RetryScope) {
        let again = self.session.again;
        self.session.roll_back().await;
        (error, again)
    }

    /// The results of the statements, or the first failure; `skipped` requests stand between BEGIN and
    /// them.
    fn results(
        &mut self,
        landing: &mut PipelineResponses,
        skipped: usize,
    ) -> Result<Vec<ResultSet>> {
        for _ in 0..=skipped {
            let opened = landing.next();
            self.settled(opened)?;
        }
        let mut results = Vec::with_capacity(self.statements.len());
        for index in 0..self.statements.len() {
            let (answer, tag) = (landing.next(), landing.tag(index + skipped + 1));
            let sql = &self.batch.statements[index].sql;
            let failed = match answer {
                Some(Ok(Answer::Rows(rows))) if !controls_transaction(&tag) => {
                    results.push(result_set(&self.statements[index], rows, &tag));
                    continue;
                }
                Some(Ok(_)) => was_controlled(),
                Some(Err(failure)) => self.before_commit(failure, sql),
                None => self.session.deadline_passed(),
            };
            return Err(
                key_table::had(self.batch.key.as_ref(), failed).with_failed_statement(index)
            );
        }
        Ok(results)
    }

    /// A statement that the database itself says failed took its commit with it, even where the server
    /// crashed; one without an answer may not have.
    fn before_commit(&mut self, failure: Failure, sql: &str) -> Error {
        let replied = matches!(&failure, Failure::Driver(error) if error.as_db_error().is_some());
        let reads = self.session.reads;
        self.session.reads |= replied;
        let error = self.session.misfortune(failure, sql);
        self.session.reads = reads;
        error
    }

    fn settled(&mut self, answer: Option<std::result::Result<Answer, Failure>>) -> Result<()> {
        match answer {
            Some(Ok(_)) => Ok(()),
            Some(Err(failure)) => Err(self.before_commit(failure, "")),
            None => Err(self.session.deadline_passed()),
        }
    }
}

/// Whether any but the last may change what those behind it mean.
fn redefine_others(statements: &[BatchStatement]) -> bool {
    let others = statements.split_last().map(|(_, others)| others).unwrap_or_default();
    others.iter().any(|one| invalidates_plans(&one.sql, &one.analysis))
}

/// The result of one statement.
pub(crate) fn result_set(
    prepared: &Prepared,
    rows: Vec<crate::value::Row>,
    tag: &str,
) -> ResultSet {
    let ended = completion(tag);
    ResultSet {
        has_columns: prepared.columns.is_some(),
        columns: prepared.columns.clone().unwrap_or_default(),
        rows,
        rows_affected: ended.rows_affected,
        command: ended.command,
    }
}

fn finished(
    batch: &Batch,
    results: Vec<ResultSet>,
    room: &ResultQuota,
    outcome: Result<Outcome>,
) -> std::result::Result<BatchResult, (Error, RetryScope)> {
    let outcome = outcome.map_err(|error| (error, RetryScope::No))?;
    match room.exceeded() {
        Some(message) => Err((too_large(message).with_outcome(outcome), RetryScope::No)),
        None => {
            let checked = batch.check_response(&results);
            checked.map_err(|error| (error.with_outcome(outcome), RetryScope::No))?;
            Ok(BatchResult { results, replayed: false })
        }
    }
}

pub(crate) fn too_large(message: String) -> Error {
    Error::new(ErrorKind::ResultTooLarge, message)
        .with_hint("Select less, use StreamQuery or Transact, or raise max_rows and max_bytes.")
}
