//! The attempts at one call that are made at once and unseen by the caller.

use crate::error::{Error, Result};

/// The number of connections that were ended while idle which one call may meet. Each is closed.
const CONNECTION_ATTEMPTS: usize = 8;

/// The number of times that statements are prepared anew: the tables may change again between that and
/// the run.
const FRESH_PLAN_ATTEMPTS: usize = 3;

/// The use of statements that the connection has prepared: again, or prepared anew.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum PlanUse {
    #[default]
    Cached,
    Fresh,
}

/// The retry that is allowed at once and unseen by the caller: nothing of the failed attempt has begun.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum RetryScope {
    #[default]
    None,
    /// Another connection: this one was ended while it was idle.
    OtherConnection,
    /// Statements that are prepared anew.
    FreshPlans,
}

/// The error of an attempt.
#[derive(Debug)]
pub(crate) struct AttemptError {
    pub(crate) error: Error,
    pub(crate) retry: RetryScope,
}

impl From<Error> for AttemptError {
    /// An error that allows no retry.
    fn from(error: Error) -> Self {
        Self { error, retry: RetryScope::None }
    }
}

/// The result of an attempt.
pub(crate) type AttemptResult<T> = std::result::Result<T, AttemptError>;

/// Runs attempts until one succeeds, or fails with an error that allows no retry.
pub(crate) async fn run_attempts<T, F>(mut attempt: impl FnMut(PlanUse) -> F) -> Result<T>
where
    F: Future<Output = AttemptResult<T>>,
{
    let mut connections_left = CONNECTION_ATTEMPTS;
    let mut fresh_plans_left = FRESH_PLAN_ATTEMPTS;
    let mut plans = PlanUse::Cached;
    loop {
        let AttemptError { error, retry } = match attempt(plans).await {
            Ok(value) => return Ok(value),
            Err(failed) => failed,
        };
        match retry {
            RetryScope::OtherConnection if connections_left > 1 => connections_left -= 1,
            RetryScope::FreshPlans if fresh_plans_left > 0 => {
                fresh_plans_left -= 1;
                plans = PlanUse::Fresh;
            }
            RetryScope::None | RetryScope::OtherConnection | RetryScope::FreshPlans => {
                return Err(error);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    /// Runs attempts that all fail with the same retry allowed, and returns how each used plans.
    async fn attempts(retry: RetryScope) -> Vec<PlanUse> {
        let mut made = Vec::new();
        let failed: Result<()> = run_attempts(|plans| {
            made.push(plans);
            let error = Error::new(ErrorKind::ConnectionLost, "lost");
            std::future::ready(Err(AttemptError { error, retry }))
        })
        .await;
        failed.expect_err("all attempts fail");
        made
    }

    #[tokio::test]
    async fn attempts_are_bounded_for_each_kind_of_retry() {
        use PlanUse::{Cached, Fresh};
        assert_eq!(attempts(RetryScope::None).await, [Cached]);
        assert_eq!(attempts(RetryScope::OtherConnection).await, [Cached; CONNECTION_ATTEMPTS]);
        assert_eq!(attempts(RetryScope::FreshPlans).await, [Cached, Fresh, Fresh, Fresh]);
    }
}
