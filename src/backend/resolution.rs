//! The outcome of a commit that got no answer, asked for until it is known.

use std::time::{Duration, Instant};

use super::TransactionOutcome;
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Outcome, Result};

/// The pause between two attempts to query an outcome.
const PAUSE: Duration = Duration::from_millis(50);
/// The least time that an outcome is queried for, even if the deadline has passed.
const MIN_QUERY_TIME: Duration = Duration::from_millis(30);
/// The latest end of a call past its deadline, in hundredths of the time that is left to the caller: the
/// way back takes a part.
const LATEST_END: u32 = 80;
/// The latest start of a query, in the same measure: a commit that was waited for until its deadline goes
/// on, and its outcome cannot be known yet.
const LATEST_START: u32 = 20;

/// Resolves an error of a commit whose outcome is unknown: queries it until it is known or the deadline
/// passes.
pub(crate) async fn resolve<F>(
    database: &str,
    query: impl Fn() -> F,
    error: Error,
    deadline: Deadline,
) -> Result<()>
where
    F: Future<Output = Result<TransactionOutcome>>,
{
    if Instant::now() >= deadline.late(LATEST_START) {
        return Err(error);
    }
    let minimum = (Instant::now() + MIN_QUERY_TIME).min(deadline.late(LATEST_END));
    let latest = deadline.instant().max(minimum);
    let polling = async {
        loop {
            match query().await {
                Ok(TransactionOutcome::InProgress) | Err(_) => tokio::time::sleep(PAUSE).await,
                Ok(known) => return known,
            }
        }
    };
    match tokio::time::timeout_at(latest.into(), polling).await {
        Ok(TransactionOutcome::Applied) => Ok(()),
        Ok(TransactionOutcome::NotApplied) => Err(connection_lost(database)),
        Ok(TransactionOutcome::InProgress | TransactionOutcome::Unknown) | Err(_) => Err(error),
    }
}

/// The error of an outcome that was not answered in time.
pub(crate) fn outcome_timed_out(database: &str) -> Error {
    let message = format!("the deadline passed before database \"{database}\" answered");
    Error::new(ErrorKind::DeadlineExceeded, message)
}

/// The error of a question about an outcome that was not answered.
pub(crate) fn no_answer(database: &str) -> Error {
    let message = format!("database \"{database}\" does not answer");
    Error::new(ErrorKind::DatabaseUnavailable, message)
}

/// The error of a lost connection; nothing was applied.
pub(crate) fn connection_lost(database: &str) -> Error {
    let message = format!("the connection to database \"{database}\" was lost");
    Error::new(ErrorKind::ConnectionLost, message)
}

/// The error of writes that may have been applied.
pub(crate) fn outcome_unknown(message: String) -> Error {
    Error::new(ErrorKind::OutcomeUnknown, message).with_outcome(Outcome::Unknown)
}
