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

/// The reason of errors of units whose key does not protect them.
pub(crate) const NOT_TRANSACTIONAL: &str = "KEY_NOT_TRANSACTIONAL";

/// The error of a unit that would write to a table without transactions: the row of its key could be rolled back without
/// that.
pub(crate) fn not_transactional(table: &str) -> Error {
    let message =
        format!("{table} has no transactions: no idempotency key protects what is written to it");
    Error::new(ErrorKind::FailedPrecondition, message)
        .with_condition(NOT_TRANSACTIONAL)
        .with_hint("Convert the table to InnoDB, or send the call without a key.")
}

/// The error of a unit that has failed, of which a part may have stayed although the row of its key was rolled back: neither
/// the server nor a client may run it again by itself.
pub(crate) fn unprotected(cause: Error) -> Error {
    if cause.reason() == NOT_TRANSACTIONAL {
        return cause;
    }
    let message = format!(
        "{cause}; a part of it may have stayed in tables without transactions, and its key was not stored"
    );
    let mut error = Error::new(ErrorKind::FailedPrecondition, message)
        .with_condition(NOT_TRANSACTIONAL)
        .with_outcome(Outcome::Unknown)
        .with_hint(
            "Look at what is there before you send it again: no idempotency key protects tables without transactions.",
        );
    if let Some(report) = cause.report() {
        error = error.with_report(report.clone());
    }
    if let Some(index) = cause.failed_statement() {
        error = error.with_failed_statement(usize::try_from(index).unwrap_or(usize::MAX));
    }
    if cause.claimed_key() {
        error = error.with_claimed_key();
    }
    let private = cause.cause();
    if private.is_empty() { error } else { error.with_cause(private) }
}

/// The error of a unit that was rolled back, with what the rollback left. One that has a key is not to be run again where
/// a part of it may have stayed.
pub(crate) fn rolled_back(error: Error, left: Outcome, has_key: bool) -> Error {
    match left {
        Outcome::NotApplied => error,
        Outcome::Unknown if has_key => unprotected(error.with_outcome(left)),
        Outcome::Applied | Outcome::Unknown => error.with_outcome(left),
    }
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
