//! ExecuteBatch: statements that are applied together.

use std::time::Duration;

use super::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::value::proto::{ExecuteBatchRequest, ExecuteBatchResponse};

impl Engine {
    /// Runs statements in one transaction, as often as it takes and is allowed.
    ///
    /// # Errors
    /// Why it was not applied, and which statement is to blame; the outcome is in the error.
    pub async fn execute_batch(
        &self,
        _request: ExecuteBatchRequest,
        _grpc_timeout: Option<Duration>,
    ) -> Result<ExecuteBatchResponse> {
        Err(Error::new(ErrorKind::Unsupported, "not built yet"))
    }
}
