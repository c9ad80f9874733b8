//! The callers in `/status`: who is configured, what they do now, and what they were refused. Nothing of it is a secret.

use std::time::SystemTime;

use serde_json::{Map, Value, json};

use super::server_status::Status;
use crate::access::CallerState;
use crate::clock::milliseconds;
use crate::telemetry::Refusals;

/// Returns the callers, and the refusals of those that are not known; null where callers are not authenticated.
pub(super) fn callers(status: &Status) -> Value {
    let Some(authenticator) = &status.authenticator else { return Value::Null };
    let refusals = status.telemetry.refusals();
    let configured = authenticator.callers();
    json!({
        "strangers": refused("", &refusals),
        "configured": configured.iter().map(|caller| one(caller, &refusals)).collect::<Vec<_>>(),
    })
}

fn one(caller: &CallerState, refusals: &[Refusals]) -> Value {
    let until =
        |end: SystemTime| milliseconds(end.duration_since(SystemTime::now()).unwrap_or_default());
    json!({
        "name": caller.name,
        "identities": caller.identities.iter().map(|kind| kind.as_str()).collect::<Vec<_>>(),
        "calls": caller.calls,
        "transactions": caller.transactions,
        "tokens": caller.tokens,
        "token_expires_ms": caller.next_expiry.map(until),
        "refused": refused(&caller.name, refusals),
    })
}

/// The refusals of a caller since the start, by reason.
fn refused(caller: &str, all: &[Refusals]) -> Map<String, Value> {
    let own = all.iter().filter(|refusals| refusals.caller == caller);
    own.map(|refusals| (refusals.reason.to_owned(), refusals.count.into())).collect()
}
