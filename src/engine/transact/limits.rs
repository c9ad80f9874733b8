//! The limits of one transaction's time.

use std::time::{Duration, Instant};

use crate::clock::now;
use crate::deadline::{CallLimits, Deadline};
use crate::engine::database::Database;
use crate::error::{Error, ErrorKind};

#[derive(Debug, Clone, Copy)]
pub(super) struct TransactionLimits {
    /// The longest wait for the next command.
    pub(super) idle_timeout: Duration,
    /// The moment at which its `max_duration` is over; `None` before it has begun.
    pub(super) max_duration_end: Option<Instant>,
    /// The caller's own deadline, less the time for the answer.
    pub(super) caller_deadline: Option<Deadline>,
}

impl TransactionLimits {
    /// The limits of a stream before `begin`. The caller's timer started with the stream.
    pub(super) fn before_begin(idle_timeout: Duration, grpc_timeout: Option<Duration>) -> Self {
        let unlimited = CallLimits { default: Duration::ZERO, cap: Duration::MAX / 4 };
        let caller_deadline =
            grpc_timeout.map(|timeout| Deadline::of_call(now(), Some(timeout), None, unlimited));
        Self { idle_timeout, max_duration_end: None, caller_deadline }
    }

    /// The moment at which the transaction must have ended; `None` without limits.
    pub(super) fn end(&self) -> Option<Instant> {
        let caller_deadline = self.caller_deadline.map(Deadline::instant);
        self.max_duration_end.into_iter().chain(caller_deadline).min()
    }

    /// The error of a transaction that has not ended in time.
    pub(super) fn overdue(&self, now: Instant) -> Option<Error> {
        let end = self.end().filter(|end| *end <= now)?;
        let (kind, message) = if self.max_duration_end == Some(end) {
            (ErrorKind::TransactionTimeout, "the transaction took longer than its max_duration")
        } else {
            (ErrorKind::DeadlineExceeded, "the deadline passed in the transaction")
        };
        Some(Error::new(kind, message))
    }

    /// The deadline of one command; `timeout` is the command's own.
    pub(super) fn command_deadline(
        self,
        database: &Database,
        timeout: Option<Duration>,
    ) -> Deadline {
        let limits = database.limits();
        let moment = now() + timeout.unwrap_or(limits.default).min(limits.cap);
        let moment = self.max_duration_end.map_or(moment, |end| end.min(moment));
        let own = Deadline::at(moment);
        self.caller_deadline.map_or(own, |deadline| deadline.no_later_than(moment))
    }

    /// The deadline of a COMMIT's answer. `max_duration` bounds when the COMMIT may be sent, not the wait
    /// for its answer: ending that wait early would only leave the outcome unknown.
    pub(super) fn commit_deadline(self, database: &Database) -> Deadline {
        Self { max_duration_end: None, ..self }.command_deadline(database, None)
    }
}
