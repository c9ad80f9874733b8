//! The commands of operators. Each is logged with the operator and its address: it changes the service of callers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::deadline::Deadline;
use crate::engine::Database;
use crate::error::{Error, ErrorKind, Result};
use crate::grpc::services::{count, duration};
use crate::pool::{CloseReason, Termination};
use crate::value::proto;

/// The time between two checks for a pool without work.
const CHECK_INTERVAL: Duration = Duration::from_millis(5);

/// Logs a command; the message of an event is a constant.
macro_rules! log {
    ($command:expr, $message:literal $(, $field:ident = $value:expr)*) => {
        tracing::info!(
            pool = $command.database.name(),
            operator = &*$command.operator,
            address = &*$command.address,
            allowed = true,
            $($field = $value,)*
            $message
        )
    };
}

pub(crate) struct PoolCommand<'a> {
    pub(crate) database: &'a Database,
    /// The name of this process, for the response.
    pub(crate) instance: String,
    /// The name of the operator, as of any caller, for the log.
    pub(crate) operator: Arc<str>,
    /// The operator's address, for the log.
    pub(crate) address: Arc<str>,
}

impl PoolCommand<'_> {
    /// Pauses the pool and waits for the work in progress. Dropping it ends the wait; the pool stays paused.
    pub(crate) async fn pause(
        self,
        timeout: Option<prost_types::Duration>,
        grpc_timeout: Option<Duration>,
    ) -> Result<proto::PausePoolResponse> {
        let start = Instant::now();
        let positive = |timeout| {
            Duration::try_from(timeout).map_err(|_negative| {
                let description = format!("a timeout must not be negative; it is {timeout}");
                Error::field(ErrorKind::InvalidOption, "timeout", description)
            })
        };
        let timeout = timeout.map(positive).transpose()?;
        let deadline = Deadline::of_call(start, grpc_timeout, timeout, self.database.limits());
        let control = self.database.backend().control();
        control.pause();
        log!(self, "pool paused");
        loop {
            let snapshot = control.snapshot();
            let left = deadline.left(Instant::now());
            if snapshot.in_use == 0 || !snapshot.paused || left.is_zero() {
                return Ok(proto::PausePoolResponse {
                    instance: self.instance,
                    waited: duration(start.elapsed()),
                    still_open: count(snapshot.in_use),
                    paused: snapshot.paused,
                });
            }
            tokio::time::sleep(CHECK_INTERVAL.min(left)).await;
        }
    }

    pub(crate) fn resume(self) -> proto::ResumePoolResponse {
        let control = self.database.backend().control();
        let before = control.snapshot();
        control.resume();
        log!(self, "pool resumed");
        let waiting = if before.paused { count(before.waiting) } else { 0 };
        proto::ResumePoolResponse { instance: self.instance, waiting, was_paused: before.paused }
    }

    pub(crate) fn reconnect(self) -> proto::ReconnectPoolResponse {
        let control = self.database.backend().control();
        let before = control.snapshot();
        control.flush(CloseReason::Admin);
        log!(self, "pool reconnects");
        proto::ReconnectPoolResponse {
            instance: self.instance,
            closed: count(before.idle),
            closing: count(before.in_use),
        }
    }

    pub(crate) fn resize(
        self,
        request: &proto::ResizePoolRequest,
    ) -> Result<proto::ResizePoolResponse> {
        if request.min.is_none() && request.max.is_none() {
            let description = "min, max or both must be set";
            return Err(Error::field(ErrorKind::InvalidOption, "max", description));
        }
        let control = self.database.backend().control();
        let before = control.snapshot();
        let connections =
            |bound: Option<u32>| bound.map(|bound| usize::try_from(bound).unwrap_or(usize::MAX));
        control.resize(connections(request.min), connections(request.max))?;
        let after = control.snapshot();
        log!(self, "pool resized", min = after.min, max = after.max);
        Ok(proto::ResizePoolResponse {
            instance: self.instance,
            min: count(after.min),
            max: count(after.max),
            previous_min: count(before.min),
            previous_max: count(before.max),
            closing: count(after.open.saturating_sub(after.max)),
        })
    }

    /// Ends the call that has a checkout: any call, or one of the operator's own.
    pub(crate) fn terminate(
        self,
        checkout: u64,
        sees_all: bool,
    ) -> Result<proto::TerminateCheckoutResponse> {
        let pool = self.database.name();
        let control = self.database.backend().control();
        let is_own = || {
            let mut checkouts = control.checkouts().into_iter();
            checkouts.any(|it| it.id == checkout && it.holder.caller == self.operator)
        };
        if !(sees_all || is_own()) || !control.terminate(checkout, Termination::Operator) {
            let message =
                format!("pool \"{pool}\" has no checkout {checkout}, or no longer has it");
            return Err(Error::new(ErrorKind::PoolNotFound, message)
                .with_condition("CHECKOUT_NOT_FOUND")
                .with_hint("List the checkouts with ListCheckouts."));
        }
        log!(self, "checkout terminated", checkout = checkout);
        Ok(proto::TerminateCheckoutResponse { instance: self.instance })
    }
}
