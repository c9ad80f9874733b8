//! The way of an Arrow stream into a table.

use std::sync::Arc;

use tokio::task::yield_now;

use super::caller_data::CallerData;
use super::copy_options;
use crate::backend::Transaction;
use crate::backend::arrow_input::{ArrowInput, InputPart};
use crate::backend::copy::{BAD_FORMAT, CopyData, CopyIn, CopyTable, CopyWriter};
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Result};

/// Moves the rows of a stream into the table; returns their number.
///
/// Columns that the caller has named are those of the stream, in its order. Otherwise each column of the stream goes into the one
/// of its name: by their places alone, two of one type that were swapped would be told by nobody.
pub(super) async fn transfer(
    transaction: &mut dyn Transaction,
    copy: &Arc<CopyIn>,
    data: &mut CallerData,
) -> Result<u64> {
    let mut input = ArrowInput::new(copy.max_row_size);
    let first = next_part(&mut input, data, copy.deadline).await?;
    let Some(InputPart::Columns(names)) = first else {
        return Err(Error::new(ErrorKind::Internal, "an Arrow stream begins with its columns"));
    };
    let copy = Arc::new(with_columns(copy, names)?);
    let mut writer: Box<dyn CopyWriter + '_> = transaction.copy_in(Arc::clone(&copy)).await?;
    while let Some(part) = next_part(&mut input, data, copy.deadline).await? {
        if let InputPart::Rows(rows) = part
            && !writer.write(CopyData::Rows(rows)).await?
        {
            break;
        }
        // A record batch that is in memory is no reason to wait.
        yield_now().await;
    }
    writer.finish().await
}

/// Takes the next part of a stream; `None` at its end, which is that of the data.
async fn next_part(
    input: &mut ArrowInput,
    data: &mut CallerData,
    deadline: Deadline,
) -> Result<Option<InputPart>> {
    loop {
        if let Some(part) = input.next()? {
            return Ok(Some(part));
        }
        match data.next(deadline).await? {
            Some(CopyData::Bytes(piece)) => input.feed(piece),
            Some(CopyData::Rows(_)) => {}
            None => return input.finish().map(|()| None),
        }
    }
}

/// Returns the copy into the columns that a stream of these columns is for.
fn with_columns(copy: &CopyIn, names: Vec<String>) -> Result<CopyIn> {
    let CopyTable { schema, table, columns } = copy.table.clone();
    let wanted = columns.len();
    if wanted != 0 && wanted != names.len() {
        let given = names.len();
        let message = format!("the Arrow stream has {given} columns, and the copy has {wanted}");
        return Err(Error::new(ErrorKind::InvalidStatement, message).with_condition(BAD_FORMAT));
    }
    let columns = if wanted == 0 { names } else { columns };
    let table = copy_options::table(schema, table, columns)?;
    if let Some(column) = table.repeated_column(copy.dialect) {
        let message = format!("the Arrow stream names the column \"{column}\" twice");
        return Err(Error::new(ErrorKind::InvalidStatement, message).with_condition(BAD_FORMAT));
    }
    Ok(CopyIn { table, ..copy.clone() })
}
