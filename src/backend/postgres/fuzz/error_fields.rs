//! Error replies of a server, with any text in their fields.

use crate::backend::postgres::error::{ErrorReply, redaction};
use crate::config::ErrorDetails;

/// A value of a row, as the server quotes it.
const SECRET: &str = "zqsecret";
/// The bytes that a text of an error may have.
const LONGEST: usize = 1024;

/// Redacts an error: its fields, separated by zero bytes. A value that the server quotes in an error about data is not passed on,
/// whatever stands before it and behind it.
pub fn redact_error(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut fields = text.split('\0');
    let mut next = || fields.next().filter(|field| !field.contains(SECRET)).unwrap_or_default();
    let code = next();
    let before = next();
    let behind = next();
    let message = format!("{before}\"{SECRET}\"{behind}");
    let some = |field: &str| (!field.is_empty()).then(|| field.to_owned());
    let severity = next();
    let local_severity = next();
    let hint = some(next());
    let detail = some(next());
    let context = some(next());
    let routine = some(next());
    let sql = some(next());
    let position = next().parse().ok();
    let reply = ErrorReply {
        code,
        severity,
        local_severity,
        message: &message,
        detail: detail.as_deref(),
        hint: hint.as_deref(),
        context: context.as_deref(),
        routine: routine.as_deref(),
        sql: sql.as_deref(),
        position,
        ..ErrorReply::default()
    };
    let shown = redaction::message(&reply, ErrorDetails::Safe);
    let is_about_data = code.starts_with("22") || code.starts_with("P0") || code.starts_with("XX");
    assert!(!is_about_data || !shown.contains(SECRET), "{shown}");
    assert_eq!(redaction::detail(&reply, ErrorDetails::Safe), "");
    let texts = [
        shown,
        redaction::message(&reply, ErrorDetails::Full),
        redaction::detail(&reply, ErrorDetails::Full),
        redaction::hint(&reply, ErrorDetails::Safe).unwrap_or_default(),
        redaction::hint(&reply, ErrorDetails::Full).unwrap_or_default(),
    ];
    assert!(texts.iter().all(|text| text.len() <= LONGEST), "{texts:?}");
    assert!(reply.parameter().is_none_or(|index| index < usize::MAX));
    assert!(!reply.is_stale_plan() || code == "0A000");
}
