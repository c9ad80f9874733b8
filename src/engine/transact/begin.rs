//! The first command, which opens the transaction.

use std::sync::Arc;
use std::time::Duration;

use super::limits::TransactionLimits;
use crate::backend::{BeginRequest, Transaction};
use crate::clock::now;
use crate::engine::attempt_loop::retry;
use crate::engine::database::{Caller, Database};
use crate::engine::request_hash;
use crate::engine::validate::{check_tag, idempotency_key, positive, transaction_mode};
use crate::error::Result;
use crate::pool::CallContext;
use crate::resilience::RetryUnit;
use crate::value::proto::Begin;

/// An open transaction.
pub(super) struct OpenTransaction {
    pub(super) database: Arc<Database>,
    pub(super) transaction: Box<dyn Transaction>,
    pub(super) limits: TransactionLimits,
    /// Set by a command that failed: only a rollback is possible then.
    pub(super) is_aborted: bool,
    /// It runs under an idempotency key.
    pub(super) has_key: bool,
    pub(super) context: Arc<CallContext>,
}

/// Opens a transaction; `stream` has the limits that apply before it.
pub(super) async fn begin(
    database: &Arc<Database>,
    begin: &Begin,
    caller: &Caller,
    stream: TransactionLimits,
) -> Result<OpenTransaction> {
    let options = begin.transaction.unwrap_or_default();
    check_tag(&begin.tag, "begin.tag")?;
    let mode = transaction_mode(&options, "begin.transaction")?;
    let context = database.context(caller, "Transact", &begin.tag);
    caller.identity.policy.check_access_mode(mode.read_only, "begin.transaction.access_mode")?;
    let preamble = database.preamble(&begin.settings, "begin.settings", caller)?;
    let lower = |own: Option<Duration>, server: Duration| own.map_or(server, |own| own.min(server));
    let idle = positive(options.idle_timeout, "begin.transaction.idle_timeout")?;
    let duration = positive(options.max_duration, "begin.transaction.max_duration")?;
    let settings = &database.settings().transaction;
    let longest = caller.identity.policy.max_deadline(settings.max_duration);
    let limits = TransactionLimits {
        idle_timeout: lower(idle, settings.idle_timeout),
        max_duration_end: Some(now() + lower(duration, longest)),
        ..stream
    };
    let unstored = mode.read_only.then_some("READ_ONLY");
    let hash = || request_hash::of_begin(begin, &database.name);
    let key =
        idempotency_key(caller, &begin.idempotency_key, "begin.idempotency_key", unstored, hash)?;
    let key = request_hash::with_claims(key, preamble.claims.as_deref());
    let deadline = limits.command_deadline(database, None);
    let request = BeginRequest { mode, preamble, key, deadline, context: Arc::clone(&context) };
    let has_key = request.key.is_some();
    let attempts = database.retries.start(RetryUnit::Begin, None);
    let open = || database.backend.begin(request.clone());
    let transaction = retry(&*database.backend, &context, attempts, deadline, open).await?.value;
    database.count_transaction();
    let database = Arc::clone(database);
    Ok(OpenTransaction { database, transaction, limits, is_aborted: false, has_key, context })
}
