//! The loop over the attempts of a call: it retries as `resilience` decides.

use std::sync::Arc;
use std::time::Duration;

use crate::backend::connect_breaker::CallReach;
use crate::backend::{Backend, ServerWait};
use crate::clock::now;
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Outcome, Result};
use crate::pool::CallContext;
use crate::resilience::Attempts;

/// The value of an attempt that succeeded.
#[derive(Debug)]
pub(super) struct Success<T> {
    pub(super) value: T,
    /// Attempts made, this one included.
    pub(super) attempts: u32,
}

/// Runs attempts until one succeeds or an error is final. During a failover it waits for a server first; a
/// wait in vain, or none because too many wait, leaves the error as it is.
///
/// An attempt that may have been applied decides the answer: unless a later one shows that it was not,
/// the call's outcome is unknown, whatever the later ones failed with.
///
/// # Cancel safety
/// As the attempts; nothing is left behind between them.
pub(super) async fn retry<T, F>(
    backend: &dyn Backend,
    context: &Arc<CallContext>,
    mut attempts: Attempts<'_>,
    deadline: Deadline,
    mut attempt: impl FnMut() -> F,
) -> Result<Success<T>>
where
    F: Future<Output = Result<T>>,
{
    let mut unresolved = None;
    attempts.begin(now());
    loop {
        let error = match attempt().await {
            Ok(value) => {
                backend.breaker().note_call(CallReach::Reached);
                return Ok(Success { value, attempts: attempts.made });
            }
            Err(error) => error,
        };
        let made = attempts.made;
        let Some(pause) = attempts.after(&error, deadline, now()) else {
            backend.breaker().note_call(reach(&error));
            return Err(context.explain(answer(error, unresolved, attempts.in_doubt)));
        };
        let wait = match attempts.awaits_server_until {
            Some(until) => {
                let until = deadline.no_later_than(until);
                backend.await_server(until, Arc::clone(context)).await
            }
            None => Ok(ServerWait::NotNeeded),
        };
        let Ok(wait) = wait else {
            backend.breaker().note_call(reach(&error));
            return Err(context.explain(answer(error, unresolved, attempts.in_doubt)));
        };
        // Those that have waited go on in the order of coming.
        let pause = if wait == ServerWait::Over { Duration::ZERO } else { pause };
        let pause_ms = pause.as_millis();
        tracing::debug!(attempt = made, reason = error.reason(), pause_ms, "retrying");
        let reason = error.label();
        if is_unresolved(&error) {
            unresolved = Some(error);
        }
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        context.telemetry().trace().retry(made + 1, reason);
    }
}

/// Tells by the last error of a call if its database was reached.
fn reach(error: &Error) -> CallReach {
    let kind = error.kind();
    let is_failure = matches!(
        kind,
        ErrorKind::DatabaseUnavailable
            | ErrorKind::BackendMisconfigured
            | ErrorKind::ConnectionLost
            | ErrorKind::NotPrimary
    );
    let is_silent = matches!(
        kind,
        ErrorKind::PoolExhausted
            | ErrorKind::PoolPaused
            | ErrorKind::ShuttingDown
            | ErrorKind::DeadlineExceeded
            | ErrorKind::OutcomeUnknown
            | ErrorKind::Cancelled
            | ErrorKind::Terminated
            | ErrorKind::Internal
    );
    if is_failure {
        CallReach::Failed
    } else if is_silent {
        CallReach::Unknown
    } else {
        CallReach::Reached
    }
}

/// Chooses the call's answer: the last error, or an unknown outcome of an earlier attempt.
fn answer(last: Error, earlier: Option<Error>, in_doubt: u32) -> Error {
    if in_doubt == 0 || last.outcome() == Outcome::Applied {
        return last;
    }
    if in_doubt > 1 {
        // The token of one attempt tells nothing about the others: its NOT_APPLIED could be wrong.
        let message = format!("{in_doubt} attempts were lost, and each may have been applied");
        let error = Error::new(ErrorKind::OutcomeUnknown, message);
        return error.with_outcome(Outcome::Unknown).with_cause(last);
    }
    match earlier {
        Some(unresolved) if !is_unresolved(&last) => unresolved,
        Some(_) | None => last,
    }
}

fn is_unresolved(error: &Error) -> bool {
    error.kind() == ErrorKind::OutcomeUnknown || error.outcome() == Outcome::Unknown
}
