//! The answer to a call: a response, or the status of an error that is logged and counted here.

use std::fmt;

use http::HeaderMap;
use tonic::body::Body;
use tonic::{Code, Response, Status};

use super::grpc_status;
use crate::config::ListenAddress;
use crate::error::{Error, ErrorKind, LogLine, Outcome, Result};
use crate::telemetry::RpcCall;

pub(crate) type Answer<T> = Result<Response<T>, Status>;

/// Makes the answer of a call's result.
pub(crate) fn respond<T>(call: &RpcCall, result: Result<T>) -> Answer<T> {
    result.map(Response::new).map_err(|error| answer(call, &error))
}

/// As [`respond`]. `outcome` is that of a success, which it keeps when nobody takes its answer.
pub(crate) fn respond_with<T>(call: &RpcCall, outcome: Outcome, result: Result<T>) -> Answer<T> {
    call.does(outcome);
    respond(call, result)
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
                caller = about.map(|about| &*about.caller),
                tag = about.map(|about| &*about.tag).filter(is_set),
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

/// Replaces a status that tonic made before the call reached a service: a status without our ErrorInfo means to
/// callers that the outcome is unknown. Ours all have details, so one without is tonic's.
pub(crate) fn replace_status(
    call: &RpcCall,
    mut response: http::Response<Body>,
    max_request_size: usize,
) -> http::Response<Body> {
    let status = Status::from_header_map(response.headers());
    if let Some(status) = status.filter(|status| status.details().is_empty())
        && let Some(error) =
            answer_error(call, &status).or_else(|| request_error(&status, max_request_size))
    {
        // The other headers stay, as `grpc-accept-encoding`. Ours are ASCII, so they can be added.
        answer(call, &error).add_header(response.headers_mut()).unwrap_or_default();
    }
    response
}

/// Returns the error of an answer that cannot be sent, after the work of its call.
fn answer_error(call: &RpcCall, status: &Status) -> Option<Error> {
    let is_too_large = status.code() == Code::ResourceExhausted;
    is_too_large.then(|| {
        let error = Error::new(ErrorKind::ResultTooLarge, status.message().to_owned());
        error
            .with_hint("Ask for less at once, or raise grpc.max_response_size.")
            .with_outcome(call.outcome())
    })
}

/// Returns the error of a request that no service has read: its code alone tells the cause.
pub(crate) fn request_error(status: &Status, max_request_size: usize) -> Option<Error> {
    let message = status.message();
    let code = status.code();
    if code == Code::OutOfRange {
        Some(request_too_large(max_request_size))
    } else if code == Code::Internal {
        Some(malformed_request(&message))
    } else if code == Code::Unimplemented {
        let message = if message.is_empty() { "there is no such method" } else { message };
        Some(Error::new(ErrorKind::Unsupported, message.to_owned()))
    } else {
        None
    }
}

/// The headers that answer a call on the operators' port; `services` is the address that it should have gone to.
pub(crate) fn wrong_port(services: &ListenAddress) -> HeaderMap {
    let message = format!(
        "this is not Rowgate's gRPC but Rowgate's port for operators: the services are at {services}"
    );
    let error = Error::new(ErrorKind::Unsupported, message);
    let status = grpc_status::status(&error.with_hint("Use that address."));
    status.into_http::<Body>().into_parts().0.headers
}

/// The error of a request that is larger than one may be.
pub(crate) fn request_too_large(max_request_size: usize) -> Error {
    let message = format!("the request is larger than {max_request_size} bytes");
    let error = Error::new(ErrorKind::ResourceExhausted, message);
    let hint = "Send less at once, or raise grpc.max_request_size.";
    error.with_condition("REQUEST_TOO_LARGE").with_hint(hint)
}

/// The error of a request that cannot be read.
pub(crate) fn malformed_request(why: &dyn fmt::Display) -> Error {
    let message = format!("the request cannot be read: {why}");
    Error::new(ErrorKind::InvalidParameter, message).with_condition("MALFORMED_REQUEST")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::DatabaseReport;

    fn lost() -> Error {
        Error::new(ErrorKind::ConnectionLost, "lost")
    }

    #[test]
    fn an_answer_that_is_too_large_tells_what_became_of_the_work() {
        for outcome in [Outcome::Applied, Outcome::NotApplied] {
            let call = RpcCall::default();
            call.does(outcome);
            let response = Status::resource_exhausted("the response has 9 bytes").into_http();
            let response = replace_status(&call, response, 1);
            let status = Status::from_header_map(response.headers()).expect("it has one");
            assert_eq!(status.code(), Code::ResourceExhausted);
            let details = String::from_utf8_lossy(status.details());
            assert!(details.contains("RESULT_TOO_LARGE"), "{details}");
            assert_eq!(details.contains("NOT_APPLIED"), outcome == Outcome::NotApplied);
        }
    }

    #[test]
    fn a_message_of_the_database_is_not_logged() {
        assert_eq!(message(&lost()), "lost");
        assert_eq!(message(&lost().with_report(DatabaseReport::default())), "");
    }
}
