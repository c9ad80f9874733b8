//! The door for fuzzing to the packets of a server: it takes arbitrary bytes and panics where a promise of the code behind it
//! is broken.

use super::codec::column_types::{decimal, describe_column, origin};
use super::codec::row_decoder::RowDecoder;
use super::error::{ErrorContext, Phase, RefusedWrite, from_server_error, is_connection_end};
use super::protocol::column_definition::ColumnDefinition;
use super::protocol::length_encoded::PacketReader;
use super::protocol::server_error::ServerError;
use crate::config::ErrorDetails;
use crate::value::{RowEncoder, RowsField};

/// The columns of a result: more of them tell nothing new.
const MOST_COLUMNS: u8 = 8;
/// The bytes that a text of an error may have.
const LONGEST: usize = 1024;

/// Reads the packets of a result: the number of its columns, the definition of each behind its length, and a row, which is read
/// in both protocols; then all of it as an error.
pub fn decode_packets(data: &[u8]) {
    if let Some((columns, row)) = result(data) {
        decode_row(&columns, row);
    }
    let Some(reply) = ServerError::parse(data) else { return };
    let sql = String::from_utf8_lossy(data);
    for phase in [Phase::Login, Phase::Statement] {
        let refused_write = RefusedWrite::NotPrimary;
        let context = ErrorContext { phase, refused_write, details: ErrorDetails::Safe, sql: &sql };
        let error = from_server_error(&reply, &context);
        assert!(error.message().len() <= LONGEST);
        assert!(!error.reason().is_empty());
    }
    let _is_end = is_connection_end(&reply);
}

/// Splits the data into the columns of a result and a row.
fn result(data: &[u8]) -> Option<(Vec<ColumnDefinition>, &[u8])> {
    let mut reader = PacketReader::new(data);
    let count = reader.u8()? % MOST_COLUMNS + 1;
    let columns = (0..count).map(|_| ColumnDefinition::parse(reader.string()?, true));
    let columns = columns.collect::<Option<_>>()?;
    Some((columns, reader.rest()))
}

fn decode_row(columns: &[ColumnDefinition], row: &[u8]) {
    for column in columns {
        assert!(!describe_column(column).type_name.is_empty() || column.extended.is_some());
        let _parts = (decimal(column), origin(column));
    }
    let Ok(decoder) = RowDecoder::new(columns) else { return };
    let mut encoder = RowEncoder::new(RowsField::OfResult);
    let is_binary = decoder.encode_binary_row(row, &mut encoder).is_ok();
    assert_eq!(decoder.binary_cells(row).all(|cell| cell.is_ok()), is_binary);
    let is_text = decoder.encode_text_row(row, &mut encoder).is_ok();
    assert_eq!(decoder.text_cells(row).all(|cell| cell.is_ok()), is_text);
}
