//! Runs an attempt again where `resilience` says so.

use tokio::time::Instant;

use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Outcome, Result};
use crate::resilience::Attempts;
use crate::telemetry::RpcCall;

/// What an attempt returned, and which it was.
#[derive(Debug)]
pub(crate) struct Success<T> {
    pub(crate) value: T,
    /// Attempts made, this one included.
    pub(crate) attempts: u32,
}

/// Runs attempts until one succeeds, or the error of one is the answer.
///
/// An attempt that may have been applied is not forgotten: unless a later one shows that it was not, it
/// is the answer, whatever the later ones failed with.
///
/// # Cancel safety
/// As the attempts; nothing is left behind between them.
pub(crate) async fn retry<T, F>(
    call: &RpcCall,
    mut attempts: Attempts<'_>,
    deadline: Deadline,
    mut attempt: impl FnMut() -> F,
) -> Result<Success<T>>
where
    F: Future<Output = Result<T>>,
{
    let mut doubt = None;
    attempts.begin(Instant::now().into_std());
    loop {
        let error = match attempt().await {
            Ok(value) => {
                return Ok(Success { value, attempts: attempts.made() });
            }
            Err(error) => error,
        };
        let made = attempts.made();
        let pause = attempts.after(&error, deadline, Instant::now().into_std());
        let Some(pause) = pause else {
            return Err(answer(error, doubt, attempts.in_doubt()));
        };
        let pause_ms = pause.as_millis();
        tracing::debug!(attempt = made, reason = error.reason(), pause_ms, "trying again");
        let reason = error.label();
        if is_doubt(&error) {
            doubt = Some(error);
        }
        tokio::time::sleep(pause).await;
        call.trace().retry(made + 1, reason);
    }
}

/// The call's answer: the last error, or that it is not known whether an earlier attempt was applied.
fn answer(last: Error, earlier: Option<Error>, in_doubt: u32) -> Error {
    if in_doubt == 0 || last.outcome() == Outcome::Applied {
        return last;
    }
    if in_doubt > 1 {
        // The token of one attempt says nothing of the others: it would make a lie of NOT_APPLIED.
        let message = format!("{in_doubt} attempts were lost, and each may have been applied");
        let error = Error::new(ErrorKind::OutcomeUnknown, message);
        return error.with_outcome(Outcome::Unknown).with_cause(last);
    }
    match earlier {
        Some(doubt) if !is_doubt(&last) => doubt,
        Some(_) | None => last,
    }
}

fn is_doubt(error: &Error) -> bool {
    error.kind() == ErrorKind::OutcomeUnknown || error.outcome() == Outcome::Unknown
}
