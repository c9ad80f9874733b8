//! The values whose text, copied into the same table again, would be another value: they are refused.
//!
//! The counterpart is `backend/inserts`, which makes values of text.

use super::sqlite_affinity::{Affinity, untyped_value};
use super::text_form::TextSource;
use crate::error::{Error, ErrorKind, Result};
use crate::sql::Dialect;
use crate::value::cell::Cell;
use crate::value::{Column, DataType};

/// Fails if the text of a value of a table would be another value there.
pub(super) fn check(
    cell: &Cell<'_>,
    column: &Column,
    source: TextSource,
    row: usize,
) -> Result<()> {
    if !source.is_table || source.dialect != Dialect::Sqlite {
        return Ok(());
    }
    let Some(what) = lost(cell, column) else { return Ok(()) };
    let name = &column.name;
    let declared = match column.type_name.as_str() {
        "" => "without a type".to_owned(),
        declared => format!("of the type {declared}"),
    };
    let message = format!(
        "row {row}, column \"{name}\": {what} in a column {declared} has no text that would be the same value in this table"
    );
    Err(Error::new(ErrorKind::FailedPrecondition, message).with_condition("NOT_IN_TEXT").with_hint(
        "Copy the rows of a query, which need not come back, as `select * from orders` or with hex(column); or copy as rows or Arrow.",
    ))
}

/// The kind of a value that its text does not bring back.
fn lost(cell: &Cell<'_>, column: &Column) -> Option<&'static str> {
    if matches!(cell, Cell::Null) {
        return None;
    }
    let text = if let Cell::Text(text) = cell { Some(&**text) } else { None };
    let is_blob = matches!(cell, Cell::Bytes(_));
    match Affinity::of(column) {
        Affinity::Bytes if !is_blob => Some("a value that is no blob"),
        Affinity::Bytes => None,
        Affinity::Text => is_blob.then_some("a blob"),
        Affinity::Number { .. } if is_blob => Some("a blob"),
        Affinity::Number { .. } => {
            let text = text?;
            let is_boolean = column.r#type() == DataType::Bool;
            let words: &[&str] = if is_boolean { &["t", "f", "true", "false"] } else { &[] };
            let is_word = words.iter().any(|word| text.eq_ignore_ascii_case(word));
            (is_word || is_infinity(text)).then_some("such a text")
        }
        Affinity::Untyped => {
            let text = text?;
            let is_taken = untyped_value(text).is_some() || text.starts_with("\\x");
            is_taken.then_some("a text that looks like a number or a blob")
        }
        Affinity::Any => text.is_none().then_some("a value that is no text"),
    }
}

fn is_infinity(text: &str) -> bool {
    matches!(text, "Infinity" | "-Infinity")
}
