//! The errors of the data of a copy, and their place in it.

use crate::error::{Error, ErrorKind};
use crate::wire_size::widen;

/// The reason of errors in the form of the data, which is PostgreSQL's.
pub(crate) const BAD_FORMAT: &str = "BAD_COPY_FILE_FORMAT";

/// The error of data that is not of its form.
pub(crate) fn bad_data(message: &str, line: u64, column: Option<&str>) -> Error {
    let error = Error::new(ErrorKind::InvalidStatement, message.to_owned());
    at_line(error.with_condition(BAD_FORMAT), line, column)
}

/// The error of a row that is larger than `max_row_size`.
pub(crate) fn row_too_large(limit: usize, line: u64) -> Error {
    let message = format!("the row has more than {} bytes", widen(limit));
    let error = Error::new(ErrorKind::RowTooLarge, message)
        .with_hint("Send less in one row, or raise databases.NAME.max_row_size.");
    at_line(error, line, None)
}

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
