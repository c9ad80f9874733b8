//! The answer to a call: a response, or the status of an error that is logged and counted here.

use tonic::{Response, Status};

use super::grpc_status;
use crate::error::{Error, LogLine, Result};
use crate::telemetry::RpcCall;

/// The answer to a call.
pub(crate) type Answer<T> = Result<Response<T>, Status>;

/// Makes the answer of a call's result.
pub(crate) fn respond<T>(call: &RpcCall, result: Result<T>) -> Answer<T> {
    result.map(Response::new).map_err(|error| answer(call, &error))
}

/// Logs and counts an error of a call, and makes the status of it.
pub(crate) fn answer(call: &RpcCall, error: &Error) -> Status {
    call.failed(error);
    record(call, error);
    grpc_status::status(error)
}

/// Logs and counts an error in a stream that stays open, and makes the reply of it.
pub(crate) fn detail(call: &RpcCall, error: &Error) -> tonic_types::Status {
    record(call, error);
    grpc_status::reply(error)
}

fn record(call: &RpcCall, error: &Error) {
    call.answered_with(error);
    // A thousand callers that fail for one reason make ten lines a second.
    let Some(suppressed) = call.admit_log_line(error.label()) else { return };
    let about = call.labels();
    let ids = call.trace().ids();
    let is_warning = error.kind().log_line() == LogLine::Warning;
    let cause = if is_warning { error.cause() } else { String::new() };
    // The level of an event is a constant.
    macro_rules! write {
        ($level:ident) => {
            tracing::$level!(
                rpc = call.method(),
                database = about.map(|about| &*about.database),
                caller = about.map(|about| about.caller.as_str()),
                tag = about.map(|about| about.tag.as_str()).filter(is_set),
                statement = call.statement().filter(is_set),
                reason = error.reason(),
                outcome = error.outcome().as_str(),
                sqlstate = error.report().map(|report| report.sqlstate.as_str()).filter(is_set),
                error = Some(message(error)).filter(is_set),
                cause = Some(cause.as_str()).filter(is_set),
                trace_id = ids.as_ref().map(|ids| ids.trace_id.as_str()),
                span_id = ids.as_ref().map(|ids| ids.span_id.as_str()),
                suppressed = Some(suppressed).filter(|suppressed| *suppressed > 0),
                "call failed"
            )
        };
    }
    if is_warning { write!(warn) } else { write!(info) }
}

fn is_set(text: &&str) -> bool {
    !text.is_empty()
}

/// The message, unless it may quote the caller, or the database wrote it: that may quote rows, which are never
/// logged, even where callers see them.
fn message(error: &Error) -> &str {
    let is_quiet = error.kind().log_line() == LogLine::Reason || error.report().is_some();
    if is_quiet { "" } else { error.message() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{DatabaseReport, ErrorKind};

    fn lost() -> Error {
        Error::new(ErrorKind::ConnectionLost, "lost")
    }

    #[test]
    fn a_message_of_the_database_is_not_logged() {
        assert_eq!(message(&lost()), "lost");
        assert_eq!(message(&lost().with_report(DatabaseReport::default())), "");
    }
}
