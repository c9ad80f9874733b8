//! The check that claims of callers are a boundary in a database: its functions are there, and its role cannot pass over
//! policies.

use crate::backend::postgres::claim_session_dangers;
use crate::error::Result;
use crate::value::{Kind, Row, Value};

/// The advice for a database without the functions.
const INSTALL: &str = "(Run rowgate claims install.)";

/// Returns the finding about a database by its answer to the question of its session: good, or a failure.
pub(super) fn check_claims(answer: Result<Vec<Row>>) -> std::result::Result<String, String> {
    let rows = answer.map_err(|error| format!("claims of callers: {error} {INSTALL}"))?;
    let answer = rows.first().and_then(|row| row.values.first());
    let dangers = match answer {
        Some(Value { kind: Some(Kind::TextValue(answer)) }) => claim_session_dangers(answer),
        Some(_) | None => None,
    };
    match dangers {
        Some("") => Ok("claims of callers are accepted".to_owned()),
        Some(dangers) => {
            Err(format!("claims of callers are refused as no boundary: the role {dangers}"))
        }
        None => Err(format!("it does not know claims of callers {INSTALL}")),
    }
}
