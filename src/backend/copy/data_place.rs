//! The place of a failure in the data of a copy.

use crate::error::Error;

/// Names the line of the data, and its column where it is known, in the error of a copy.
pub(crate) fn at_line(error: Error, line: u64, column: Option<&str>) -> Error {
    let message = match column {
        Some(column) => format!("line {line}, column \"{column}\": {}", error.message()),
        None => format!("line {line}: {}", error.message()),
    };
    let mut report = error.report().cloned().unwrap_or_default();
    report.line = line;
    if let Some(column) = column.filter(|_| report.column.is_empty()) {
        column.clone_into(&mut report.column);
    }
    error.with_message(message).with_report(report)
}
