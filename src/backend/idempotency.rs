//! Idempotency keys of any database: the stored responses and their meaning.

use prost::Message;
use prost::encoding::message::{encode_repeated, encoded_len_repeated};

use super::statement::{BatchResult, IdempotencyKey};
use crate::error::{Error, ErrorKind, Outcome, Result};
use crate::value::proto::{ExecuteBatchResponse, ResultSet};

/// The number of `ExecuteBatchResponse.results`.
const RESULTS: u32 = 1;

/// The encoded results of a unit, as they are stored: an `ExecuteBatchResponse`.
pub(crate) fn stored(results: &[ResultSet]) -> Vec<u8> {
    let mut stored = Vec::with_capacity(encoded_len_repeated(RESULTS, results));
    encode_repeated(RESULTS, results, &mut stored);
    stored
}

/// A row of the table, after the unit that wrote it has committed.
pub(crate) struct Claimed {
    pub(crate) request_hash: Vec<u8>,
    pub(crate) response: Option<Vec<u8>>,
    pub(crate) expired: bool,
}

impl Claimed {
    /// The results of the first run.
    pub(crate) fn replay(self, key: &IdempotencyKey) -> Result<BatchResult> {
        self.check(key)?;
        let response = self.response.as_deref().unwrap_or_default();
        let response = ExecuteBatchResponse::decode(response).map_err(|error| {
            Error::new(ErrorKind::DataLoss, "the stored response of the idempotency key is damaged")
                .with_outcome(Outcome::Applied)
                .with_cause(error)
        })?;
        Ok(BatchResult { results: response.results, replayed: true })
    }

    /// Checks that it was the same request.
    pub(crate) fn check(&self, key: &IdempotencyKey) -> Result<()> {
        if self.request_hash == key.request_hash {
            return Ok(());
        }
        let message = "another request was sent under this idempotency key";
        Err(Error::new(ErrorKind::KeyReused, message).with_hint("Use a new key for a new request."))
    }
}

/// The error of a unit whose first run is not over.
pub(crate) fn in_progress() -> Error {
    let message = "the first call with this idempotency key is not over";
    Error::new(ErrorKind::KeyInProgress, message)
}

/// The error of an interactive transaction that was applied before.
pub(crate) fn applied_before() -> Error {
    let message = "the transaction with this idempotency key was applied before";
    Error::new(ErrorKind::KeyApplied, message).with_outcome(Outcome::Applied)
}

/// A configured table name as SQL: each part between dots is an identifier.
pub(crate) fn quoted(name: &str) -> String {
    let parts = name.split('.').map(|part| format!("\"{}\"", part.replace('"', "\"\"")));
    parts.collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_name_cannot_carry_sql() {
        assert_eq!(quoted("rowgate_idempotency"), "\"rowgate_idempotency\"");
        assert_eq!(quoted("infra.keys"), "\"infra\".\"keys\"");
        assert_eq!(quoted("a\"; drop table t"), "\"a\"\"; drop table t\"");
    }

    #[test]
    fn a_stored_response_is_replayed_to_the_same_request_only() {
        let results = vec![ResultSet { rows_affected: 3, ..Default::default() }];
        let key =
            IdempotencyKey { caller: String::new(), key: "k".to_owned(), request_hash: [7; 32] };
        let claimed = |hash: [u8; 32]| Claimed {
            request_hash: hash.to_vec(),
            response: Some(stored(&results)),
            expired: false,
        };
        let replayed = claimed([7; 32]).replay(&key).expect("the same request");
        assert!(replayed.replayed);
        assert_eq!(replayed.results, results);
        let error = claimed([8; 32]).replay(&key).expect_err("another request");
        assert_eq!(error.kind(), ErrorKind::KeyReused);
    }
}
