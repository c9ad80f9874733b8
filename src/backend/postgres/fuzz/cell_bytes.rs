//! Cells of a server, of any type and of any bytes.

use prost::Message as _;
use tokio_postgres::types::{Format, Type};

use super::fuzzed_types::take_type;
use super::sent_parameters::{normalized, sent};
use crate::backend::arrow::ArrowRows;
use crate::backend::postgres::codec::{Intervals, RowDecoder, ValueDecoder, describe_column};
use crate::value::cell::Cell;
use crate::value::proto::RowBatch;
use crate::value::{Kind, RowEncoder, RowsField, Value};

/// The bit of the first byte that asks for the format in which the type does not arrive by itself.
const OTHER_FORMAT: u8 = 1;
/// The bit for a server before PostgreSQL 17.
const FINITE: u8 = 2;

/// Decodes a cell: a byte of switches, two of the type, then the cell.
///
/// Malformed bytes are refused. A value that is read can be written: as a parameter of its type it is the same value. The ways
/// into a result, with and without a tree of values, agree.
pub fn decode_cells(data: &[u8]) {
    let Some((switches, mut raw)) = data.split_first() else { return };
    let Some(ty) = take_type(&mut raw) else { return };
    let intervals =
        if switches & FINITE == 0 { Intervals::WithInfinity } else { Intervals::Finite };
    let decoder = ValueDecoder::new(ty, intervals);
    let format = if switches & OTHER_FORMAT == 0 { decoder.format() } else { Format::Text };
    let Some(value) = decoder.decode(format, raw) else { return };
    assert_comes_back(&decoder, ty, &value);
    if matches!(format, Format::Binary) == matches!(decoder.format(), Format::Binary) {
        let decoder = RowDecoder::new(std::slice::from_ref(ty), intervals);
        assert_ways_agree(&decoder, raw, &value);
        put_in_arrow(&decoder, ty, raw);
    }
}

fn assert_comes_back(decoder: &ValueDecoder, ty: &Type, value: &Value) {
    // Text that the database's encoding or PostgreSQL itself cannot have is refused.
    let Some((bytes, format)) = sent(value, ty) else { return };
    let again = decoder.decode(format, &bytes);
    let again = again.expect("what is sent is a value of the type");
    assert_eq!(normalized(&again), normalized(value), "{ty}: {}", String::from_utf8_lossy(&bytes));
}

fn assert_ways_agree(decoder: &RowDecoder, raw: &[u8], value: &Value) {
    let mut encoder = RowEncoder::new(RowsField::OfBatch);
    let encoded = decoder.encode([Some(raw)].into_iter(), &mut encoder);
    encoded.expect("the value was read before");
    encoder.end_row();
    let rows = encoder.take();
    let batch = RowBatch::decode(rows.as_bytes()).expect("it is a message");
    let found = batch.rows.first().and_then(|row| row.values.first());
    assert_eq!(found.map(Value::encode_to_vec), Some(value.encode_to_vec()));
    let cells = decoder.cells([Some(raw)].into_iter()).expect("it is one column");
    for cell in cells {
        match (cell.expect("the value was read before"), &value.kind) {
            (Cell::Value(other), _) => assert_eq!(normalized(&other), normalized(value)),
            (Cell::Integer(cell), Some(Kind::Int64Value(number))) => assert_eq!(cell, *number),
            (Cell::Bool(cell), Some(Kind::BoolValue(value))) => assert_eq!(cell, *value),
            (Cell::Text(cell), Some(Kind::TextValue(text))) => assert_eq!(cell, text),
            (Cell::Bytes(cell), Some(Kind::BytesValue(bytes))) => assert_eq!(cell, bytes),
            (Cell::Float32(cell), Some(Kind::Float64Value(number))) => {
                assert_eq!(f64::from(cell).to_bits(), number.to_bits());
            }
            (Cell::Float64(cell), Some(Kind::Float64Value(number))) => {
                assert_eq!(cell.to_bits(), number.to_bits());
            }
            // They are text in messages.
            (Cell::Date(_) | Cell::Time(_) | Cell::Timestamp(_), Some(Kind::TextValue(_))) => {}
            (Cell::Timestamptz(_), Some(Kind::TextValue(_) | Kind::TimestampValue(_))) => {}
            (cell, value) => unreachable!("{cell:?} for {value:?}"),
        }
    }
}

fn put_in_arrow(decoder: &RowDecoder, ty: &Type, raw: &[u8]) {
    let Ok(mut rows) = ArrowRows::new(&[describe_column("c", ty)], |_| None) else { return };
    let mut cells = decoder.cells([Some(raw)].into_iter()).expect("it is one column");
    let cell = cells.next().expect("it is one column").expect("the value was read before");
    // A value that its array cannot hold is refused.
    if rows.append(0, cell).is_ok() {
        rows.end_row();
        rows.finish().expect("an array holds what it took");
    }
}
