//! The door for fuzzing to Arrow streams: it takes arbitrary bytes and panics where a promise of the code behind it is broken.

use prost::Message as _;

use super::input_rows::{ArrowInput, InputPart};
use crate::error::Result;
use crate::value::Row;

/// The largest message and row, and the rows after which nothing new is read, in bytes.
const MAX_SIZE: usize = 1 << 20;

/// The size of the pieces that cut everything.
const PIECE: usize = 7;

/// Reads a stream, as a whole and in pieces, which have to say the same.
pub fn decode_arrow(data: &[u8]) {
    let whole = read(data, data.len().max(1));
    let pieces = read(data, PIECE);
    match (whole, pieces) {
        (Ok(whole), Ok(pieces)) => {
            assert!(encoded(&whole) == encoded(&pieces), "other rows in pieces");
        }
        (Err(whole), Err(pieces)) => assert_eq!(whole.message(), pieces.message()),
        (whole, pieces) => assert_eq!(whole.is_ok(), pieces.is_ok(), "one way it can be read"),
    }
}

/// The bytes of rows: a NaN differs from itself, its bytes do not.
fn encoded(rows: &[Row]) -> Vec<Vec<u8>> {
    rows.iter().map(Row::encode_to_vec).collect()
}

fn read(data: &[u8], piece: usize) -> Result<Vec<Row>> {
    let mut input = ArrowInput::new(MAX_SIZE);
    let mut rows = Vec::new();
    let mut size = 0;
    for piece in data.chunks(piece) {
        input.feed(piece.to_vec());
        while let Some(part) = input.next()? {
            let InputPart::Rows(more) = part else { continue };
            size += more.iter().map(Row::encoded_len).sum::<usize>();
            rows.extend(more);
            if size > MAX_SIZE {
                return Ok(rows);
            }
        }
    }
    input.finish().map(|()| rows)
}
