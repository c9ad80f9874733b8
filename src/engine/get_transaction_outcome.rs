//! GetTransactionOutcome: the outcome of a batch, a keyed query or a transaction.

use std::sync::Arc;

use super::attempt_loop::retry;
use super::database::Caller;
use super::databases::Engine;
use super::validate::check_key;
use crate::backend::{TransactionHandle, TransactionOutcome};
use crate::error::{Error, ErrorKind, Result};
use crate::resilience::RetryUnit;
use crate::value::proto::get_transaction_outcome_request::Handle;
use crate::value::proto::{
    GetTransactionOutcomeRequest, GetTransactionOutcomeResponse, TransactionState,
};

impl Engine {
    /// Asks the database for the outcome under a key or a token.
    pub(crate) async fn get_transaction_outcome(
        &self,
        request: GetTransactionOutcomeRequest,
        caller: Caller,
    ) -> Result<GetTransactionOutcomeResponse> {
        let database = self.database_of(&caller, &request.database)?;
        let handle = self.handle(request.handle, &caller)?;
        let deadline = database.deadline(&caller, None);
        let attempts = database.retries.start(RetryUnit::Statement, None);
        let context = database.context(&caller, "GetTransactionOutcome", "");
        let ask = || database.backend.outcome(handle.clone(), deadline, Arc::clone(&context));
        let state = match retry(&*database.backend, &context, attempts, deadline, ask).await?.value
        {
            TransactionOutcome::Applied => TransactionState::Applied,
            TransactionOutcome::NotApplied => TransactionState::NotApplied,
            TransactionOutcome::InProgress => TransactionState::InProgress,
            TransactionOutcome::Unknown => TransactionState::Unknown,
        };
        Ok(GetTransactionOutcomeResponse { state: state.into() })
    }

    fn handle(&self, handle: Option<Handle>, caller: &Caller) -> Result<TransactionHandle> {
        let field = match handle {
            Some(Handle::IdempotencyKey(key)) if !key.is_empty() => {
                check_key(&key, "idempotency_key")?;
                return Ok(TransactionHandle::Key {
                    caller: caller.identity.name.to_string(),
                    key,
                });
            }
            Some(Handle::TransactionToken(token)) if !token.is_empty() => {
                let token = self.transaction_tokens.unbind(&caller.identity, &token)?;
                return Ok(TransactionHandle::Token(token));
            }
            Some(Handle::IdempotencyKey(_)) => "idempotency_key",
            Some(Handle::TransactionToken(_)) => "transaction_token",
            None => "handle",
        };
        let description = "neither idempotency_key nor transaction_token is set";
        Err(Error::field(ErrorKind::InvalidParameter, field, description))
    }
}
