//! The errors of answers that cannot be translated: each is a defect of this server, and tells what became of the work.

use tonic::Status;

use crate::error::{Error, ErrorKind, Outcome};
use crate::grpc::respond::answer;
use crate::telemetry::RpcCall;

/// The hint of each of them.
const HINT: &str = "This is a defect of the server. The outcome holds: only what is NOT_APPLIED may be sent again.";

/// The status of an answer that ended without one: nobody knows if its call has succeeded.
pub(super) fn without_status(call: &RpcCall) -> Status {
    defect(call, "the answer ended without a status", Outcome::Unknown)
}

/// The status of a success that has no whole message.
pub(super) fn without_message(call: &RpcCall) -> Status {
    defect(call, "the answer has no message", call.outcome())
}

/// The status of a success whose message cannot be written.
pub(super) fn unwritable(call: &RpcCall) -> Status {
    defect(call, "the answer cannot be written as JSON", call.outcome())
}

fn defect(call: &RpcCall, message: &'static str, outcome: Outcome) -> Status {
    let error = Error::new(ErrorKind::Internal, message).with_hint(HINT);
    answer(call, &error.with_outcome(outcome))
}
