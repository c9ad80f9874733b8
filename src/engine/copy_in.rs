//! CopyIn: rows into a table, all of them or none.
//!
//! It runs in the caller's future: dropped, it rolls back, unless its COMMIT was sent. A caller that goes away looks
//! like one that has sent everything, as some transports tell a reset as an end: so the data has an end of its own.

use std::sync::Arc;

use futures_util::StreamExt;
use tokio::task::coop::unconstrained;
use tokio::time::timeout_at;

use super::arrow_transfer;
use super::attempt_loop::{Success, retry};
use super::caller_data::{CallerData, CopyParts, stalled, wrong_part};
use super::copy_header::{self, ReadHeader};
use super::copy_options;
use super::database::{Caller, Database};
use super::databases::Engine;
use super::request_hash::{self, DataHash};
use super::validate::{
    check_tag, idempotency_key, positive, read_only, refuse_options, refuse_result_options,
};
use crate::access::revoked_error;
use crate::backend::copy::{CopyIn, CopyWriter};
use crate::backend::{BeginRequest, IdempotencyKey, Transaction, TransactionMode, rolled_back};
use crate::clock::now;
use crate::error::{Error, ErrorKind, Result};
use crate::resilience::RetryUnit;
use crate::sql::Analysis;
use crate::value::proto::copy_in_request::Part;
use crate::value::proto::{CopyFormat, CopyInResponse, CopyInStart, ResultSet};

/// The command of the results that are stored under a key.
const COMMAND: &str = "COPY";

impl Engine {
    /// Copies rows into a table.
    ///
    /// # Cancel safety
    /// As [`crate::backend::Backend::execute_batch`].
    pub(crate) async fn copy_in(
        &self,
        mut parts: CopyParts,
        mut caller: Caller,
    ) -> Result<CopyInResponse> {
        let first = timeout_at((now() + self.stall_timeout).into(), parts.next()).await;
        let start = match first {
            Ok(Some(part)) => match part? {
                Part::Start(start) => start,
                Part::Rows(_) | Part::Data(_) | Part::End(_) => return Err(no_start()),
            },
            Ok(None) => return Err(no_start()),
            Err(_elapsed) => return Err(stalled(self.stall_timeout)),
        };
        let database = self.database_of(&caller, &start.database)?;
        // As of any stream without a deadline of its caller's.
        caller.time_left.get_or_insert(database.limits().cap.saturating_mul(2));
        let request = database.validate_copy_in(start, &caller)?;
        let data = CallerData {
            parts,
            stall_timeout: self.stall_timeout,
            has_bytes: request.format != CopyFormat::Rows,
            hash: request.begin.key.as_ref().map(|_key| DataHash::new()),
        };
        let context = Arc::clone(&request.copy.context);
        let copied = Box::pin(database.copy_in(&request, data, &caller)).await;
        copied
            .map_err(|error| self.transaction_tokens.bind(&caller.identity, context.explain(error)))
    }
}

/// A CopyIn that is valid.
struct CopyRequest {
    begin: BeginRequest,
    format: CopyFormat,
    copy: Arc<CopyIn>,
}

impl Database {
    fn validate_copy_in(&self, start: CopyInStart, caller: &Caller) -> Result<CopyRequest> {
        let options = start.options.clone().unwrap_or_default();
        check_tag(&options.tag, "options.tag")?;
        let is_read_only = read_only(options.access_mode, "options.access_mode")?;
        refuse_options(&[
            ("options.access_mode", is_read_only, "a CopyIn writes"),
            ("options.idempotent", options.idempotent, "its data is sent once"),
            ("options.max_rows", options.max_rows != 0, "a CopyIn returns no rows"),
            ("options.max_bytes", options.max_bytes != 0, "a CopyIn returns no rows"),
        ])?;
        refuse_result_options(&options, "the format of a CopyIn is in format")?;
        let format = copy_options::format(start.format)?;
        let text = copy_options::text(format, start.text.as_ref())?;
        let hash = || request_hash::of_copy_in(&start, &self.name);
        let field = "options.idempotency_key";
        let key = idempotency_key(caller, &options.idempotency_key, field, None, hash)?;
        let CopyInStart { schema, table, columns, .. } = start;
        let deadline = self.deadline(caller, positive(options.timeout, "options.timeout")?);
        let context = self.context(caller, "CopyIn", &options.tag);
        let dialect = self.analyzer.dialect;
        let table = copy_options::into_table(schema, table, columns, dialect)?;
        // One value is enough: it is not run.
        let width = table.columns.len().max(1);
        let insert = self.analyzer.analyze(&table.insert(dialect, width, 1));
        let summary = format!("COPY {}", table.name(dialect)).into();
        let analysis = Arc::new(Analysis { command: COMMAND, summary, ..(*insert).clone() });
        context.runs(&analysis.summary);
        caller.identity.policy.check_access_mode(false, "options.access_mode")?;
        let preamble = self.preamble(&options.settings, "options.settings", caller)?;
        let key = request_hash::with_claims(key, preamble.claims.as_deref());
        let max_row_size = self.settings().max_row_size;
        let begin = BeginRequest {
            mode: TransactionMode::default(),
            preamble,
            key,
            deadline,
            context: Arc::clone(&context),
        };
        let copy = CopyIn { table, text, dialect, analysis, max_row_size, deadline, context };
        Ok(CopyRequest { begin, format, copy: Arc::new(copy) })
    }

    async fn copy_in(
        &self,
        request: &CopyRequest,
        mut data: CallerData,
        caller: &Caller,
    ) -> Result<CopyInResponse> {
        let CopyRequest { begin, copy, .. } = request;
        let attempts = self.retries.start(RetryUnit::Begin, None);
        let open = || self.backend.begin(begin.clone());
        let begun = retry(&*self.backend, &copy.context, attempts, copy.deadline, open).await;
        let Success { value: mut transaction, attempts } = match (begun, &begin.key) {
            (Err(error), Some(key)) if error.kind() == ErrorKind::KeyApplied => {
                return self.replay(request, key.clone(), data, error).await;
            }
            (begun, _) => begun?,
        };
        self.count_transaction();
        let copied = tokio::select! {
            biased;
            copied = transfer(&mut *transaction, request, &mut data) => copied,
            // Data that comes fast uses up the budget of the task, with which these events would be seen.
            () = unconstrained(copy.context.terminated()) => Err(copy.context.terminated_error()),
            () = unconstrained(caller.identity.revocation.revoked()) => Err(revoked_error()),
        };
        let rows_affected = match copied {
            Ok(rows) => rows,
            Err(error) => {
                // The caller learns of it when it is undone, as far as that is possible.
                let outcome = transaction.undo(copy.deadline).await;
                let error = rolled_back(error, outcome, begin.key.is_some());
                return Err(if begin.key.is_some() { error.with_claimed_key() } else { error });
            }
        };
        if let Some(hash) = data.hash.take() {
            transaction.store(vec![stored(rows_affected, hash)]);
        }
        transaction.commit(copy.deadline).await?;
        Ok(CopyInResponse { rows_affected, attempts, replayed: false })
    }

    /// Reads the data of a call that was applied before, to see that it is the same.
    async fn replay(
        &self,
        request: &CopyRequest,
        key: IdempotencyKey,
        mut data: CallerData,
        applied: Error,
    ) -> Result<CopyInResponse> {
        let CopyIn { deadline, context, .. } = &*request.copy;
        let stored = self.backend.stored_results(key, *deadline, Arc::clone(context)).await;
        let results = stored.unwrap_or_default();
        let Some(result) = results.and_then(|stored| stored.results.into_iter().next()) else {
            return Err(applied);
        };
        loop {
            match data.next(*deadline).await {
                Ok(Some(_)) => {}
                Ok(None) => break,
                // Whatever becomes of this call, the rows are there.
                Err(_) => return Err(applied),
            }
        }
        let hash = data.hash.take().map(DataHash::end);
        if hash.as_ref() != Some(&result.arrow) {
            let message = "other data was sent under this idempotency key";
            return Err(
                Error::new(ErrorKind::KeyReused, message).with_hint("Use a new key for new data.")
            );
        }
        Ok(CopyInResponse { rows_affected: result.rows_affected, attempts: 1, replayed: true })
    }
}

/// The results that are stored under a key: the count, and the hash of the data in the place of rows.
fn stored(rows_affected: u64, hash: DataHash) -> ResultSet {
    let command = COMMAND.to_owned();
    ResultSet { rows_affected, command, arrow: hash.end(), ..ResultSet::default() }
}

/// Moves the data into the table; returns the number of rows.
async fn transfer(
    transaction: &mut dyn Transaction,
    request: &CopyRequest,
    data: &mut CallerData,
) -> Result<u64> {
    let copy = &request.copy;
    if request.format == CopyFormat::Arrow {
        return arrow_transfer::transfer(transaction, copy, data).await;
    }
    let mut writer: Box<dyn CopyWriter + '_> = match copy.text.as_ref().filter(|it| it.header) {
        Some(form) => {
            let ReadHeader { copy, pieces, is_over } = copy_header::read(copy, form, data).await?;
            let started = transaction.copy_in(copy).await;
            let mut writer = started.map_err(copy_header::named)?;
            for piece in pieces {
                writer.write(piece).await?;
            }
            if is_over {
                return writer.finish().await;
            }
            writer
        }
        None => transaction.copy_in(Arc::clone(copy)).await?,
    };
    while let Some(next) = data.next(copy.deadline).await? {
        if !writer.write(next).await? {
            break;
        }
    }
    writer.finish().await
}

fn no_start() -> Error {
    wrong_part("start", "the first message must be the start")
}
