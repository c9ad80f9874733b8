//! Parameters of callers, of any kind for any type.

use bytes::BytesMut;
use prost::Message as _;
use tokio_postgres::types::{Format, IsNull, ToSql as _, Type};

use super::fuzzed_types::take_type;
use crate::backend::postgres::codec::{Intervals, ValueDecoder, encode};
use crate::value::{Kind, Value};

/// The most bytes that are sent for one of a caller's message, beside a few of each parameter.
const AMPLIFICATION: usize = 32;

/// Encodes a parameter: two bytes of the type, then a message `Value`.
///
/// It is refused, or sent as a value of its type: the same once it was read and written again.
pub fn encode_parameter(mut data: &[u8]) {
    let Some(ty) = take_type(&mut data) else { return };
    let Ok(value) = Value::decode(data) else { return };
    let Some((bytes, format)) = sent(&value, ty) else { return };
    assert!(bytes.len() <= AMPLIFICATION * (data.len() + 1), "{} bytes", bytes.len());
    let decoder = ValueDecoder::new(ty, Intervals::WithInfinity);
    let read = decoder.decode(format, &bytes).expect("what is sent is a value of the type");
    let Some((bytes, format)) = sent(&read, ty) else {
        // The database refuses text that is no value of the type.
        assert!(has_text(&value), "{ty}: {read:?} was read and is not accepted");
        return;
    };
    let again = decoder.decode(format, &bytes).expect("what is sent is a value of the type");
    assert_eq!(normalized(&again), normalized(&read), "{ty}: {}", String::from_utf8_lossy(&bytes));
}

/// Returns the bytes of a parameter and their format; `None` for one that is refused, and for NULL.
pub(super) fn sent(value: &Value, ty: &Type) -> Option<(Vec<u8>, Format)> {
    let parameters = encode(std::slice::from_ref(value), std::slice::from_ref(ty)).ok()?;
    let [parameter] = parameters.as_slice() else { return None };
    let mut bytes = BytesMut::new();
    let is_null = parameter.to_sql(ty, &mut bytes).expect("a checked parameter is written");
    let format = parameter.encode_format(ty);
    matches!(is_null, IsNull::No).then(|| (bytes.to_vec(), format))
}

/// Returns a value to compare: of all numbers that are none there is one.
pub(super) fn normalized(value: &Value) -> Value {
    let mut value = value.clone();
    normalize(&mut value);
    // Equal values are equal bytes; NaN is not equal to itself.
    value
}

fn normalize(value: &mut Value) {
    const NOT_A_NUMBER: &str = "NaN, of any bits";
    match &mut value.kind {
        Some(Kind::Float64Value(number)) if number.is_nan() => *value = Value::text(NOT_A_NUMBER),
        Some(Kind::ArrayValue(array)) => array.elements.iter_mut().for_each(normalize),
        Some(Kind::RecordValue(record)) => record.fields.iter_mut().for_each(normalize),
        _ => {}
    }
}

/// Returns true for a value with text in it, which may be anything.
fn has_text(value: &Value) -> bool {
    match &value.kind {
        Some(Kind::TextValue(_)) => true,
        Some(Kind::ArrayValue(array)) => array.elements.iter().any(has_text),
        Some(Kind::RecordValue(record)) => record.fields.iter().any(has_text),
        _ => false,
    }
}
