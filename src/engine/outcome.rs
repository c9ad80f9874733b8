//! GetTransactionOutcome: what became of a unit of work.

use std::time::Duration;

use super::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::value::proto::{GetTransactionOutcomeRequest, GetTransactionOutcomeResponse};

impl Engine {
    /// Says what became of a key or of a token.
    ///
    /// # Errors
    /// `InvalidParameter` when neither is set or the token is none; why the database could not be asked.
    pub async fn transaction_outcome(
        &self,
        _request: GetTransactionOutcomeRequest,
        _grpc_timeout: Option<Duration>,
    ) -> Result<GetTransactionOutcomeResponse> {
        Err(Error::new(ErrorKind::Unsupported, "not built yet"))
    }
}
