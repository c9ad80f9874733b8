//! The header of a text on its way into a table: its names say into which columns the data goes.
//!
//! The line is read before the copy starts, whichever database parses the data: PostgreSQL is told the columns in its statement, and
//! skips the line itself. Up to the end of the line, data is kept: no more than the largest row, and one message.

use std::sync::Arc;

use super::caller_data::CallerData;
use super::copy_options;
use crate::backend::copy::{
    BAD_FORMAT, CopyData, CopyIn, CopyTable, CopyText, at_line, is_same_column,
};
use crate::backend::inserts::HeaderReader;
use crate::error::{Error, ErrorKind, Result};
use crate::sql::Dialect;

/// The reason of an error in all databases for a column that there is not.
const UNDEFINED_COLUMN: &str = "UNDEFINED_COLUMN";

/// The start of a text whose header was read.
pub(super) struct ReadHeader {
    /// The copy into the columns that it names.
    pub(super) copy: Arc<CopyIn>,
    /// The data that was read, the line included.
    pub(super) pieces: Vec<CopyData>,
    /// The caller has sent the end.
    pub(super) is_over: bool,
}

/// Reads the header of a text. Columns that the caller has named must be those of the header, in its order.
pub(super) async fn read(
    copy: &Arc<CopyIn>,
    form: &CopyText,
    data: &mut CallerData,
) -> Result<ReadHeader> {
    let mut reader = HeaderReader::new(form, copy.max_row_size);
    let mut pieces = Vec::new();
    let mut is_over = false;
    let names = loop {
        let Some(piece) = data.next(copy.deadline).await? else {
            is_over = true;
            break reader.finish()?;
        };
        if let CopyData::Bytes(bytes) = &piece
            && !bytes.is_empty()
        {
            let names = reader.feed(bytes)?;
            pieces.push(piece);
            if let Some(names) = names {
                break names;
            }
        }
    };
    let CopyTable { schema, table, columns } = copy.table.clone();
    let columns = if columns.is_empty() {
        names
    } else {
        compare(&names, &columns, copy.dialect)?;
        columns
    };
    let table =
        copy_options::table(schema, table, columns).map_err(|error| of_header(error.message()))?;
    if let Some(column) = table.repeated_column(copy.dialect) {
        return Err(of_header(&format!("the header names \"{column}\" twice")));
    }
    let copy = Arc::new(CopyIn { table, ..(**copy).clone() });
    Ok(ReadHeader { copy, pieces, is_over })
}

/// Names the header's line in the error of a column that the table does not have.
pub(super) fn named(error: Error) -> Error {
    if error.reason() == UNDEFINED_COLUMN {
        return at_line(error, 1, None)
            .with_hint("The header names the columns of the table, exactly as they are stored.");
    }
    error
}

/// Fails where the names of a header are not those that the caller gave.
fn compare(names: &[String], columns: &[String], dialect: Dialect) -> Result<()> {
    let differs = |(name, column): &(&String, &String)| !is_same_column(name, column, dialect);
    let difference = names.iter().zip(columns).enumerate().find(|(_, pair)| differs(pair));
    if let Some((index, (name, column))) = difference {
        let place = index + 1;
        let message =
            format!("column {place} of the header is \"{name}\", and columns has \"{column}\"");
        return Err(of_header(&message));
    }
    let given = names.len();
    let wanted = columns.len();
    if given != wanted {
        return Err(of_header(&format!("the header has {given} names, and columns has {wanted}")));
    }
    Ok(())
}

fn of_header(message: &str) -> Error {
    let error = Error::new(ErrorKind::InvalidStatement, message.to_owned());
    at_line(error.with_condition(BAD_FORMAT), 1, None).with_hint(
        "Give no columns to take those of the header, or send the data without a header.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_header_that_is_not_the_callers_columns_is_refused_with_both_names() {
        let why = |names: &[&str], columns: &[&str], dialect| {
            let compared = compare(&owned(names), &owned(columns), dialect);
            compared.err().map(|error| error.message().to_owned()).unwrap_or_default()
        };
        let (exact, folded) = (Dialect::Postgres, Dialect::Sqlite);
        assert_eq!(why(&["id", "name"], &["id", "name"], exact), "");
        assert_eq!(why(&["ID"], &["id"], folded), "");
        let both = "line 1: column 1 of the header is \"ID\", and columns has \"id\"";
        assert_eq!(why(&["ID"], &["id"], exact), both);
        let both = "line 1: column 1 of the header is \"name\", and columns has \"id\"";
        assert_eq!(why(&["name", "id"], &["id", "name"], folded), both);
        let width = "line 1: the header has 1 names, and columns has 2";
        assert_eq!(why(&["id"], &["id", "name"], exact), width);
    }
}
