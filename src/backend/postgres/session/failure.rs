//! The meaning of a failure, to the caller and to the connection: a pure function.

use tokio_postgres::Error as DriverError;
use tokio_postgres::error::DbError;

use super::checkin::Disposition;
use super::in_flight::InFlight;
use super::work::{PlanOrigin, WriteState};
use crate::backend::attempt::RetryScope;
use crate::backend::postgres::error::{
    ends_connection, is_lost_statement, is_misfit, is_stale_plan, is_stale_reference, is_terminated,
};
use crate::backend::postgres::protocol::protocol_state::ProtocolState;
use crate::config::TargetSession;
use crate::error::{Error, ErrorKind};

/// The state of a session in which it fails.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FailureContext {
    pub(crate) writes: WriteState,
    pub(crate) has_begun: bool,
    pub(crate) plan_origin: PlanOrigin,
    pub(crate) was_cancelled: bool,
    /// True if neither the call nor the configuration forbids writes.
    pub(crate) expects_writes: bool,
    pub(crate) required_role: TargetSession,
}

/// A failure, as the driver and the protocol state report it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum SessionFailure {
    /// An error reply, with the kind of error that its SQLSTATE means.
    Reply { kind: ErrorKind, cause: ReplyCause, ends_connection: bool },
    /// No reply, after the request of this number was begun.
    NoReply { cause: NoReplyCause, begun: u64 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReplyCause {
    /// The tables changed under a prepared statement.
    StalePlan,
    /// Something that the statement refers to is gone or was altered; since it was prepared, perhaps.
    StaleReference,
    /// The statement does not fit the definitions; since it was prepared, perhaps.
    Misfit,
    /// A prepared statement is gone, or another has its name.
    LostStatement,
    /// The session was terminated before the statement began.
    Terminated,
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoReplyCause {
    /// A row over the limit made us close the connection.
    RowTooLarge,
    /// A COPY waits for data.
    Copy,
    /// The driver could not encode the request, or could not read its answer.
    Unreadable,
    ConnectionLost,
}

impl SessionFailure {
    pub(crate) fn of_reply(reply: &DbError, kind: ErrorKind, in_flight: &InFlight) -> Self {
        let cause = if is_lost_statement(reply, |name| in_flight.may_name(name)) {
            ReplyCause::LostStatement
        } else if is_stale_plan(reply) {
            ReplyCause::StalePlan
        } else if is_terminated(reply) {
            ReplyCause::Terminated
        } else if is_stale_reference(reply) {
            ReplyCause::StaleReference
        } else if is_misfit(reply) {
            ReplyCause::Misfit
        } else {
            ReplyCause::Other
        };
        Self::Reply { kind, cause, ends_connection: ends_connection(reply) }
    }

    pub(crate) fn without_reply(protocol: &ProtocolState, error: &DriverError) -> Self {
        let cause = if protocol.rejected_a_row() {
            NoReplyCause::RowTooLarge
        } else if protocol.is_copying() {
            NoReplyCause::Copy
        } else if error.is_closed() || protocol.has_ended() {
            NoReplyCause::ConnectionLost
        } else {
            NoReplyCause::Unreadable
        };
        Self::NoReply { cause, begun: protocol.last_sent() }
    }
}

/// The classification of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FailureClass {
    pub(crate) meaning: Meaning,
    pub(crate) disposition: Disposition,
    pub(crate) retry: RetryScope,
}

/// The meaning of a failure to the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// The meaning of its SQLSTATE.
    Sqlstate,
    /// A prepared statement has to be prepared anew.
    PlanChanged,
    /// Our cancel stopped the statement.
    Cancelled,
    /// The server has become a standby.
    NotPrimary,
    RowTooLarge,
    CopyUnsupported,
    /// The driver could not encode the request or read its answer, and nothing was applied.
    Unreadable,
    /// The connection was lost, and nothing was applied.
    ConnectionLost,
    /// The connection was lost, and the writes may have been applied.
    LostDuringWrite,
    /// The driver could not read the answer to writes, which may have been applied.
    UnreadableWrite,
}

/// Classifies a failure.
pub(crate) fn classify(failure: SessionFailure, context: &FailureContext) -> FailureClass {
    let meaning = meaning(failure, context);
    let (cause, ends_connection) = match failure {
        SessionFailure::Reply { cause, ends_connection, .. } => (cause, ends_connection),
        SessionFailure::NoReply { cause, .. } => {
            // The rest of an answer that cannot be read would be taken for the next one.
            let is_unreadable = cause == NoReplyCause::Unreadable;
            let disposition = if is_unreadable { Disposition::Close } else { Disposition::Reuse };
            return FailureClass { meaning, disposition, retry: RetryScope::None };
        }
    };
    let retry = match cause {
        _ if context.has_begun || context.writes.is_partial => RetryScope::None,
        ReplyCause::Terminated => RetryScope::OtherConnection,
        ReplyCause::StalePlan | ReplyCause::LostStatement => RetryScope::FreshPlans,
        ReplyCause::StaleReference | ReplyCause::Misfit
            if context.plan_origin == PlanOrigin::Kept =>
        {
            RetryScope::FreshPlans
        }
        ReplyCause::StaleReference | ReplyCause::Misfit | ReplyCause::Other => RetryScope::None,
    };
    // When one statement is lost all are, also those that only the driver knows.
    let disposition = if ends_connection || cause == ReplyCause::LostStatement {
        Disposition::Close
    } else if meaning != Meaning::NotPrimary {
        Disposition::Reuse
    } else if context.required_role == TargetSession::Any {
        // The server never was a primary: another name or address may lead to one.
        Disposition::Close
    } else {
        Disposition::CheckRole
    };
    FailureClass { meaning, disposition, retry }
}

fn meaning(failure: SessionFailure, context: &FailureContext) -> Meaning {
    use SessionFailure::{NoReply, Reply};
    let WriteState { applied_by, .. } = context.writes;
    match failure {
        Reply { cause: ReplyCause::StalePlan | ReplyCause::LostStatement, .. } => {
            Meaning::PlanChanged
        }
        Reply { cause: ReplyCause::StaleReference, .. }
            if context.plan_origin == PlanOrigin::Kept =>
        {
            Meaning::PlanChanged
        }
        Reply { kind: ErrorKind::DeadlineExceeded, .. } if context.was_cancelled => {
            Meaning::Cancelled
        }
        Reply { kind: ErrorKind::ReadOnly, .. } if context.expects_writes => Meaning::NotPrimary,
        Reply { kind: ErrorKind::OutcomeUnknown, .. } if applied_by.is_none() => {
            Meaning::ConnectionLost
        }
        Reply { .. } => Meaning::Sqlstate,
        NoReply { cause: NoReplyCause::RowTooLarge, .. } => Meaning::RowTooLarge,
        NoReply { cause: NoReplyCause::Copy, .. } => Meaning::CopyUnsupported,
        NoReply { cause, begun } if applied_by.is_none_or(|number| begun < number) => {
            let is_unreadable = cause == NoReplyCause::Unreadable;
            if is_unreadable { Meaning::Unreadable } else { Meaning::ConnectionLost }
        }
        NoReply { cause: NoReplyCause::Unreadable, .. } => Meaning::UnreadableWrite,
        NoReply { .. } => Meaning::LostDuringWrite,
    }
}

/// Returns true if an error says that the server lacks a name, a syntax or a privilege.
pub(crate) fn is_inability(error: &Error) -> bool {
    let lacks = |code: &str| code.starts_with("42") || code.starts_with("0A");
    error.report().is_some_and(|report| lacks(&report.sqlstate))
}

/// Returns true if an error says that a function, a relation, a column or a privilege is missing.
pub(crate) fn lacks_name(error: &Error) -> bool {
    let missing = ["42883", "42P01", "42703", "42501"];
    error.report().is_some_and(|report| missing.contains(&report.sqlstate.as_str()))
}

/// The error of a statement of our own: the caller is not to blame for one that the server does not know.
pub(crate) fn of_own_statement(error: Error, database: &str) -> Error {
    if error.kind() != ErrorKind::InvalidStatement || !is_inability(&error) {
        return error;
    }
    let message = format!("database \"{database}\" does not know a statement that this call needs");
    let report = error.report().cloned().unwrap_or_default();
    Error::new(ErrorKind::Unsupported, message)
        .with_report(report)
        .with_hint("GetServerInfo tells the engine, and what it lacks.")
        .with_cause(error)
}

/// The error of a unit in whose transaction a question of our own failed that was answered before.
pub(crate) fn ability_lost(database: &str) -> Error {
    let message =
        format!("database \"{database}\" does not answer a question any more that it did");
    Error::new(ErrorKind::DatabaseUnavailable, message)
}

/// The error of a request that the driver could not encode, or whose answer it could not read: a defect
/// of this server, and no outage. Nothing was applied.
pub(super) fn unreadable(database: &str) -> Error {
    let message = format!("a message to or from database \"{database}\" could not be processed");
    Error::new(ErrorKind::Internal, message)
        .with_hint("Another attempt would fail as well: change the statement or its parameters.")
}

/// The error of a server that is a standby.
pub(crate) fn not_primary(message: String) -> Error {
    Error::new(ErrorKind::NotPrimary, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::postgres::protocol::protocol_state::ConnectionEnd;

    /// A write that is about to be sent to a primary, and variations of it.
    const WRITE: FailureContext = FailureContext {
        writes: WriteState { applied_by: Some(1), is_partial: false },
        has_begun: false,
        plan_origin: PlanOrigin::New,
        was_cancelled: false,
        expects_writes: true,
        required_role: TargetSession::ReadWrite,
    };
    const READ: FailureContext =
        FailureContext { writes: WriteState { applied_by: None, ..WRITE.writes }, ..WRITE };
    const KEPT: FailureContext = FailureContext { plan_origin: PlanOrigin::Kept, ..WRITE };
    const KEPT_RUNNING: FailureContext = FailureContext { has_begun: true, ..KEPT };
    const RUNNING: FailureContext = FailureContext { has_begun: true, ..WRITE };
    const CANCELLED: FailureContext = FailureContext { was_cancelled: true, ..WRITE };
    const READ_ONLY: FailureContext = FailureContext { expects_writes: false, ..WRITE };
    const ANY_ROLE: FailureContext = FailureContext { required_role: TargetSession::Any, ..WRITE };
    const PARTIAL: FailureContext =
        FailureContext { writes: WriteState { applied_by: Some(1), is_partial: true }, ..WRITE };

    #[test]
    fn a_reply_is_classified_by_its_cause_and_the_state_of_the_session() {
        use Disposition::{CheckRole, Close, Reuse};
        use ErrorKind as Kind;
        use Meaning::{Cancelled, ConnectionLost, NotPrimary, PlanChanged, Sqlstate};
        use ReplyCause::{LostStatement, Misfit, Other, StalePlan, StaleReference, Terminated};
        use RetryScope::{FreshPlans, None, OtherConnection};
        let cases = [
            (Kind::AlreadyExists, Other, WRITE, (Sqlstate, Reuse, None)),
            (Kind::PlanChanged, StalePlan, WRITE, (PlanChanged, Reuse, FreshPlans)),
            (Kind::PlanChanged, StalePlan, RUNNING, (PlanChanged, Reuse, None)),
            (Kind::DatabaseInternal, StaleReference, WRITE, (Sqlstate, Reuse, None)),
            (Kind::DatabaseInternal, StaleReference, KEPT, (PlanChanged, Reuse, FreshPlans)),
            (Kind::DatabaseInternal, StaleReference, KEPT_RUNNING, (PlanChanged, Reuse, None)),
            (Kind::InvalidStatement, Misfit, WRITE, (Sqlstate, Reuse, None)),
            (Kind::InvalidStatement, Misfit, KEPT, (Sqlstate, Reuse, FreshPlans)),
            (Kind::InvalidStatement, Misfit, KEPT_RUNNING, (Sqlstate, Reuse, None)),
            (Kind::InvalidStatement, LostStatement, WRITE, (PlanChanged, Close, FreshPlans)),
            (Kind::InvalidStatement, LostStatement, PARTIAL, (PlanChanged, Close, None)),
            (Kind::ConnectionLost, Terminated, WRITE, (Sqlstate, Close, OtherConnection)),
            (Kind::ConnectionLost, Terminated, RUNNING, (Sqlstate, Close, None)),
            (Kind::DeadlineExceeded, Other, WRITE, (Sqlstate, Reuse, None)),
            (Kind::DeadlineExceeded, Other, CANCELLED, (Cancelled, Reuse, None)),
            (Kind::ReadOnly, Other, WRITE, (NotPrimary, CheckRole, None)),
            (Kind::ReadOnly, Other, ANY_ROLE, (NotPrimary, Close, None)),
            (Kind::ReadOnly, Other, READ_ONLY, (Sqlstate, Reuse, None)),
            (Kind::OutcomeUnknown, Other, WRITE, (Sqlstate, Reuse, None)),
            (Kind::OutcomeUnknown, Other, READ, (ConnectionLost, Reuse, None)),
        ];
        for (kind, cause, context, (meaning, disposition, retry)) in cases {
            let failure =
                SessionFailure::Reply { kind, cause, ends_connection: cause == Terminated };
            let expected = FailureClass { meaning, disposition, retry };
            assert_eq!(classify(failure, &context), expected, "{failure:?} {context:?}");
        }
    }

    #[test]
    fn a_lost_connection_leaves_a_write_in_doubt_once_its_request_was_begun() {
        use NoReplyCause::{ConnectionLost, Copy, RowTooLarge, Unreadable};
        let second =
            FailureContext { writes: WriteState { applied_by: Some(2), ..WRITE.writes }, ..WRITE };
        let cases = [
            (ConnectionLost, 9, READ, Meaning::ConnectionLost),
            (ConnectionLost, 1, second, Meaning::ConnectionLost),
            (ConnectionLost, 2, second, Meaning::LostDuringWrite),
            (Copy, 2, second, Meaning::CopyUnsupported),
            (RowTooLarge, 2, second, Meaning::RowTooLarge),
            (Unreadable, 9, READ, Meaning::Unreadable),
            (Unreadable, 1, second, Meaning::Unreadable),
            (Unreadable, 2, second, Meaning::UnreadableWrite),
        ];
        for (cause, begun, context, meaning) in cases {
            let is_kept = cause != Unreadable;
            let disposition = if is_kept { Disposition::Reuse } else { Disposition::Close };
            let class = FailureClass { meaning, disposition, retry: RetryScope::None };
            assert_eq!(
                classify(SessionFailure::NoReply { cause, begun }, &context),
                class,
                "{cause:?}"
            );
        }
    }

    #[test]
    fn the_cause_of_a_failure_without_a_reply_is_read_from_the_protocol_state() {
        let protocol = ProtocolState::default();
        let error = DriverError::__private_api_timeout();
        let failure = || match SessionFailure::without_reply(&protocol, &error) {
            SessionFailure::NoReply { cause, begun } => (cause, begun),
            SessionFailure::Reply { .. } => panic!("there is no reply"),
        };
        assert_eq!(failure(), (NoReplyCause::Unreadable, 0), "nothing has ended");
        protocol.begin_request(b'Q');
        protocol.received(b'H', b"");
        assert_eq!(failure(), (NoReplyCause::Copy, 1));
        protocol.end(ConnectionEnd::RowTooLarge);
        assert_eq!(failure(), (NoReplyCause::RowTooLarge, 1));
        let protocol = ProtocolState::default();
        protocol.end(ConnectionEnd::Closed);
        let lost = SessionFailure::without_reply(&protocol, &error);
        let SessionFailure::NoReply { cause, .. } = lost else { panic!("there is no reply") };
        assert_eq!(cause, NoReplyCause::ConnectionLost);
    }
}
