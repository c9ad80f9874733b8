//! The first command: what it must be, and the limits that it sets.

use std::time::{Duration, Instant};

use super::super::admit::{check_key, check_tag, positive, transaction_mode};
use super::super::{Caller, Database, request_hash};
use crate::backend::{BeginRequest, IdempotencyKey};
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Result};
use crate::value::proto::Begin;

/// The limits of one transaction.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// The longest wait for the next command.
    pub(super) idle_timeout: Duration,
    /// When it must be over.
    pub(super) end: Instant,
    /// Whether that is the caller's own deadline.
    pub(super) end_is_the_callers: bool,
}

impl Database {
    /// Checks the first command and says how the transaction is run, and for how long.
    pub(super) fn admit_begin(
        &self,
        begin: &Begin,
        caller: &Caller,
    ) -> Result<(BeginRequest, Limits)> {
        let now = Instant::now();
        let options = begin.transaction.unwrap_or_default();
        check_tag(&begin.tag, "begin.tag")?;
        let mode = transaction_mode(&options, "begin.transaction")?;
        let lower =
            |own: Option<Duration>, server: Duration| own.map_or(server, |own| own.min(server));
        let idle = positive(options.idle_timeout, "begin.transaction.idle_timeout")?;
        let duration = positive(options.max_duration, "begin.transaction.max_duration")?;
        let duration = lower(duration, self.transaction.max_duration);
        // What the caller's own timer leaves, less the reserve for the answer.
        let unlimited = crate::deadline::CallLimits { default: duration, cap: Duration::MAX / 4 };
        let callers =
            caller.time_left.map(|timeout| Deadline::of_call(now, Some(timeout), None, unlimited));
        let end = now + duration;
        let limits = match callers {
            Some(callers) if callers.instant() < end => Limits {
                idle_timeout: lower(idle, self.transaction.idle_timeout),
                end: callers.instant(),
                end_is_the_callers: true,
            },
            Some(_) | None => Limits {
                idle_timeout: lower(idle, self.transaction.idle_timeout),
                end,
                end_is_the_callers: false,
            },
        };
        let key = self.begin_key(begin, mode.read_only)?;
        let deadline = self.command_deadline(None, limits);
        let borrower = caller.borrower("Transact", &begin.tag);
        Ok((BeginRequest { mode, key, deadline, borrower }, limits))
    }

    /// When one command must have ended.
    pub(super) fn command_deadline(&self, option: Option<Duration>, limits: Limits) -> Deadline {
        let budget = option.unwrap_or(self.limits.default).min(self.limits.cap);
        Deadline::at((Instant::now() + budget).min(limits.end))
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
