//! Statuses, which are made here only.
//!
//! Clients take 8 KiB of headers, and longer ones are lost, so texts are cut: the message to 1 KiB, the
//! details to 4 KiB, `DatabaseError` first and `ErrorInfo` never.

use std::collections::HashMap;

use prost::Message;
use prost_types::Any;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};
use tonic_types::pb;

use crate::clock::milliseconds;
use crate::error::{DatabaseReport, Error};

/// The longest message, in bytes of UTF-8.
const MAX_MESSAGE: usize = 1 << 10;
/// The longest message as `grpc-message` encodes it: a byte that is not printable ASCII becomes three.
const MAX_ENCODED_MESSAGE: usize = 2 << 10;
/// The largest encoded `google.rpc.Status`, in bytes before base64.
const MAX_DETAILS: usize = 4 << 10;

pub(crate) fn status(error: &Error) -> Status {
    let code = code(error);
    let message = message(error.message());
    let pushback =
        error.retry_after().map_or(MetadataValue::from(-1), |delay| milliseconds(delay).into());
    let mut metadata = MetadataMap::new();
    metadata.insert("grpc-retry-pushback-ms", pushback);
    let details = Details::new(error).fitting(code, message).encode_to_vec();
    Status::with_details_and_metadata(code, message, details.into(), metadata)
}

/// Makes the message of an error, for a reply in a stream.
pub(crate) fn reply(error: &Error) -> pb::Status {
    Details::new(error).fitting(code(error), message(error.message()))
}

/// The details of a status beside its code and message.
struct Details {
    info: pb::ErrorInfo,
    report: DatabaseReport,
    retry: Option<pb::RetryInfo>,
    violation: Option<pb::bad_request::FieldViolation>,
}

/// The texts that may be cut, in the order of the cuts.
const CUT: [fn(&mut Details) -> Option<&mut String>; 9] = [
    |details| Some(&mut details.report.detail),
    |details| Some(&mut details.report.hint),
    |details| Some(&mut details.report.data_type),
    |details| Some(&mut details.report.schema),
    |details| Some(&mut details.report.column),
    |details| Some(&mut details.report.table),
    |details| Some(&mut details.report.constraint),
    |details| details.violation.as_mut().map(|violation| &mut violation.description),
    |details| details.violation.as_mut().map(|violation| &mut violation.field),
];

impl Details {
    fn new(error: &Error) -> Self {
        let outcome = ("outcome".to_owned(), error.outcome().as_str().to_owned());
        Self {
            info: pb::ErrorInfo {
                reason: error.reason().to_owned(),
                domain: "rowgate".to_owned(),
                metadata: HashMap::from([outcome]),
            },
            report: DatabaseReport {
                hint: error.advice().into_owned(),
                failed_statement: error.failed_statement(),
                transaction_token: error.transaction_token().unwrap_or_default().to_owned(),
                ..error.report().cloned().unwrap_or_default()
            },
            retry: error.retry_after().map(|delay| pb::RetryInfo {
                retry_delay: prost_types::Duration::try_from(delay).ok(),
            }),
            violation: error.violation().map(|violation| pb::bad_request::FieldViolation {
                field: violation.field.clone(),
                description: violation.description.clone(),
                ..Default::default()
            }),
        }
    }

    /// Encodes all details as one message of at most [`MAX_DETAILS`] bytes.
    fn fitting(mut self, code: Code, message: &str) -> pb::Status {
        let mut status = self.status(code, message);
        for text in CUT {
            let over = status.encoded_len().saturating_sub(MAX_DETAILS);
            if over == 0 {
                break;
            }
            if let Some(text) = text(&mut self) {
                // Each byte less is at least one less of the whole.
                text.truncate(text.floor_char_boundary(text.len().saturating_sub(over)));
                status = self.status(code, message);
            }
        }
        status
    }

    fn status(&self, code: Code, message: &str) -> pb::Status {
        let mut details = vec![
            any("google.rpc.ErrorInfo", &self.info),
            any("rowgate.v1.DatabaseError", &self.report),
        ];
        details.extend(self.retry.as_ref().map(|retry| any("google.rpc.RetryInfo", retry)));
        details.extend(self.violation.as_ref().map(|violation| {
            let field_violations = vec![violation.clone()];
            any("google.rpc.BadRequest", &pb::BadRequest { field_violations })
        }));
        pb::Status { code: code.into(), message: message.to_owned(), details }
    }
}

fn any(name: &str, message: &impl Message) -> Any {
    Any { type_url: format!("type.googleapis.com/{name}"), value: message.encode_to_vec() }
}

/// Cuts a text to the longest message, at a character's boundary.
fn message(text: &str) -> &str {
    let mut encoded = 0;
    let fits = |(at, c): (usize, char)| {
        let plain = c.is_ascii_alphanumeric() || "-_.,:;'()/".contains(c);
        encoded += if plain { 1 } else { 3 * c.len_utf8() };
        (at + c.len_utf8() > MAX_MESSAGE || encoded > MAX_ENCODED_MESSAGE).then_some(at)
    };
    let end = text.char_indices().find_map(fits).unwrap_or(text.len());
    &text[..end]
}

fn code(error: &Error) -> Code {
    Code::from_i32(error.code() as i32)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::{
        ProptestConfig, Strategy, prop_assert, prop_assert_eq, prop_oneof, proptest,
    };

    use super::*;
    use crate::error::{ErrorKind, FieldViolation, Outcome};

    /// The limit of clients on all headers together, each with an overhead of 32 bytes (HTTP/2, 6.5.2).
    const MAX_HEADERS: usize = 8 << 10;

    fn info(status: &Status) -> pb::ErrorInfo {
        let details = pb::Status::decode(status.details()).expect("details are a status");
        let any = details.details.first().expect("the first detail");
        pb::ErrorInfo::decode(&*any.value).expect("it is ErrorInfo")
    }

    fn headers(status: &Status) -> usize {
        let mut headers = http::HeaderMap::new();
        status.add_header(&mut headers).expect("it can be sent");
        headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum()
    }

    fn text() -> impl Strategy<Value = String> {
        prop_oneof![".{0,40}", "[a-z ]{0,6000}", "[☃é\u{1F600}\"{}%]{0,3000}"]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn whatever_an_error_says_its_status_fits_and_keeps_its_reason(
            texts in proptest::array::uniform10(text()),
            retry in proptest::bool::ANY,
        ) {
            let [message, hint, constraint, schema, table, column, data_type, detail, field, why] =
                texts;
            let sqlstate = "23505".to_owned();
            let report = DatabaseReport {
                sqlstate, constraint, schema, table, column, data_type, detail, ..Default::default()
            };
            let mut error = Error::new(ErrorKind::AlreadyExists, message.clone())
                .with_condition("UNIQUE_VIOLATION")
                .with_hint(hint)
                .with_report(report)
                .with_violation(FieldViolation { field, description: why });
            if retry {
                error = error.with_retry_after(Duration::from_millis(20));
            }
            let status = status(&error);
            prop_assert!(status.message().len() <= MAX_MESSAGE);
            prop_assert!(message.starts_with(status.message()));
            prop_assert!(status.details().len() <= MAX_DETAILS, "{}", status.details().len());
            prop_assert!(headers(&status) + 300 <= MAX_HEADERS, "{}", headers(&status));
            prop_assert_eq!(info(&status).reason, "UNIQUE_VIOLATION");
            prop_assert_eq!(&info(&status).metadata["outcome"], "NOT_APPLIED");
        }
    }

    #[test]
    fn texts_are_cut_in_their_order_and_no_more_than_needed() {
        let report = DatabaseReport {
            detail: "d".repeat(3000),
            constraint: "c".repeat(3000),
            ..Default::default()
        };
        let error = Error::new(ErrorKind::AlreadyExists, "m").with_hint("h").with_report(report);
        let status = status(&error);
        let details = pb::Status::decode(status.details()).expect("details are a status");
        let report = DatabaseReport::decode(&*details.details[1].value).expect("a report");
        assert_eq!((report.constraint.len(), report.hint.as_str()), (3000, "h"));
        assert!((800..1100).contains(&report.detail.len()), "{}", report.detail.len());
        assert!(status.details().len() > MAX_DETAILS - 8, "{}", status.details().len());
    }

    #[test]
    fn codes_that_are_retried_blindly_say_that_nothing_was_applied() {
        for kind in [ErrorKind::StreamStalled, ErrorKind::ConnectionLost, ErrorKind::PlanChanged] {
            for outcome in [Outcome::Applied, Outcome::Unknown] {
                let status = status(&Error::new(kind, "m").with_outcome(outcome));
                assert_eq!(status.code(), Code::Unknown, "{kind:?}");
                assert_eq!(info(&status).reason, kind.reason());
            }
        }
        let status = status(&Error::new(ErrorKind::StreamStalled, "m"));
        assert_eq!(status.code(), Code::Aborted);
    }
}
