//! The first command: what it must be, and the limits that it sets.

use std::time::{Duration, Instant};

use super::super::{Caller, Database, request_hash};
use crate::backend::{BeginRequest, IdempotencyKey};
use crate::deadline::{CallLimits, Deadline};
use crate::engine::now;
use crate::engine::validate::{check_key, check_tag, positive, transaction_mode};
use crate::error::{Error, ErrorKind, Result};
use crate::value::proto::Begin;

/// The limits of one transaction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// The longest wait for the next command.
    pub(crate) idle_timeout: Duration,
    /// When it has taken its longest duration; `None` before it has begun.
    longest: Option<Instant>,
    /// When the caller's own timer leaves just the time for an answer.
    callers: Option<Deadline>,
}

impl Limits {
    /// The limits of a stream on which nothing has begun. The caller's timer started with the stream.
    pub(crate) fn before_begin(idle_timeout: Duration, grpc_timeout: Option<Duration>) -> Self {
        let unlimited = CallLimits { default: Duration::ZERO, cap: Duration::MAX / 4 };
        let callers =
            grpc_timeout.map(|timeout| Deadline::of_call(now(), Some(timeout), None, unlimited));
        Self { idle_timeout, longest: None, callers }
    }

    /// When it must be over; `None`: whenever it likes.
    pub(crate) fn end(&self) -> Option<Instant> {
        [self.longest, self.callers.map(Deadline::instant)].into_iter().flatten().min()
    }

    /// The error of a transaction that is not over when it must be.
    pub(crate) fn overdue(&self, now: Instant) -> Option<Error> {
        if now < self.end()? {
            return None;
        }
        Some(match (self.longest, self.callers.map(Deadline::instant)) {
            (Some(longest), callers) if callers.is_none_or(|callers| longest <= callers) => {
                let message = "the transaction took longer than its max_duration";
                Error::new(ErrorKind::TransactionTimeout, message)
            }
            (Some(_) | None, _) => {
                let message = "the deadline passed in the transaction";
                Error::new(ErrorKind::DeadlineExceeded, message)
            }
        })
    }

    /// The earlier of a moment and the caller's own deadline.
    fn bound(self, moment: Instant) -> Deadline {
        self.callers.map_or(Deadline::at(moment), |callers| callers.no_later_than(moment))
    }
}

impl Database {
    /// Checks the first command and says how the transaction is run, and for how long.
    pub(crate) fn admit_begin(
        &self,
        begin: &Begin,
        caller: &Caller,
        stream: Limits,
    ) -> Result<(BeginRequest, Limits)> {
        let options = begin.transaction.unwrap_or_default();
        check_tag(&begin.tag, "begin.tag")?;
        let mode = transaction_mode(&options, "begin.transaction")?;
        let lower =
            |own: Option<Duration>, server: Duration| own.map_or(server, |own| own.min(server));
        let idle = positive(options.idle_timeout, "begin.transaction.idle_timeout")?;
        let duration = positive(options.max_duration, "begin.transaction.max_duration")?;
        let limits = Limits {
            idle_timeout: lower(idle, self.transaction.idle_timeout),
            longest: Some(now() + lower(duration, self.transaction.max_duration)),
            ..stream
        };
        let key = self.begin_key(begin, mode.read_only)?;
        let deadline = self.command_deadline(None, limits);
        let context = caller.context(&self.name, "Transact", &begin.tag);
        Ok((BeginRequest { mode, key, deadline, context }, limits))
    }

    /// When one command must have ended.
    pub(crate) fn command_deadline(&self, option: Option<Duration>, limits: Limits) -> Deadline {
        let budget = option.unwrap_or(self.limits.default).min(self.limits.cap);
        let moment = now() + budget;
        limits.bound(limits.longest.map_or(moment, |longest| longest.min(moment)))
    }

    /// How long a commit's answer is waited for. The longest duration says when one may be sent: to
    /// wait no longer than that for the answer would only make a doubt of what is known a moment later.
    pub(crate) fn commit_deadline(&self, limits: Limits) -> Deadline {
        let budget = self.limits.default.min(self.limits.cap);
        limits.bound(now() + budget)
    }

    fn begin_key(&self, begin: &Begin, read_only: bool) -> Result<Option<IdempotencyKey>> {
        let (field, key) = ("begin.idempotency_key", &begin.idempotency_key);
        if key.is_empty() {
            return Ok(None);
        }
        check_key(key, field)?;
        if read_only {
            let description = "nothing that is READ_ONLY is kept under a key";
            return Err(Error::field(ErrorKind::InvalidOption, field, description));
        }
        let request_hash = request_hash::of_begin(begin, self.name());
        Ok(Some(IdempotencyKey { caller: String::new(), key: key.clone(), request_hash }))
    }
}
