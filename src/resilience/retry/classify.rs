//! Classification of a failed attempt by the kind and the outcome of its error.

use crate::error::{Error, Outcome, RetryClass};

/// Returns the retries that are right after an error, however it came about.
pub(crate) fn classify(error: &Error) -> RetryClass {
    match (error.outcome(), error.kind().retry_class()) {
        (Outcome::Applied, _) | (_, RetryClass::Never) => RetryClass::Never,
        (Outcome::Unknown, _) => RetryClass::InDoubt,
        (Outcome::NotApplied, class) => class,
    }
}
