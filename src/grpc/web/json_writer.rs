//! Messages as JSON (ProtoJSON), written from their encoded bytes in one pass: no tree of values in between, and fields,
//! those of maps too, in the order in which they were encoded.
//!
//! It writes what this server has encoded: there the values of a repeated field stand together, and any other field
//! stands once.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost::encoding::{WireType, decode_key, decode_varint};
use prost::{DecodeError, Message as _};
use prost_types::{Duration, Timestamp};

use super::json_shapes::{FieldShape, FieldShapes, JsonShapes, KindShape, MessageShape};

/// The largest number up to which each integer is written without a point, 2^53.
const MAX_INTEGER: f64 = 9_007_199_254_740_992.0;

/// Writes one message behind what `out` holds.
///
/// # Errors
/// The bytes are no such message, which is a defect of this server.
pub(crate) fn write_json(
    shapes: &JsonShapes,
    place: usize,
    message: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), Malformed> {
    JsonWriter { shapes, out }.message(place, message)
}

/// Bytes that are no message of the expected type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

impl From<DecodeError> for Malformed {
    fn from(_error: DecodeError) -> Self {
        Self
    }
}

struct JsonWriter<'a> {
    shapes: &'a JsonShapes,
    out: &'a mut Vec<u8>,
}

/// A field as it was encoded.
#[derive(Clone, Copy)]
enum Encoded<'a> {
    Varint(u64),
    Fixed64([u8; 8]),
    Delimited(&'a [u8]),
}

/// A repeated field whose values are being written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OpenField {
    None,
    Array(u32),
    Object(u32),
}

impl JsonWriter<'_> {
    fn message(&mut self, place: usize, message: &[u8]) -> Result<(), Malformed> {
        let shapes = self.shapes;
        match shapes.message(place).ok_or(Malformed)? {
            MessageShape::Timestamp => self.text(&Timestamp::decode(message)?.to_string()),
            MessageShape::Duration => self.text(&Duration::decode(message)?.to_string()),
            MessageShape::Inner { empty, .. } if message.is_empty() => {
                self.out.extend_from_slice(empty.as_bytes());
            }
            MessageShape::Inner { fields, .. } => self.fields(fields, message, false)?,
            MessageShape::Fields(fields) => {
                self.out.push(b'{');
                self.fields(fields, message, true)?;
                self.out.push(b'}');
            }
        }
        Ok(())
    }

    fn fields(
        &mut self,
        fields: &FieldShapes,
        mut message: &[u8],
        has_keys: bool,
    ) -> Result<(), Malformed> {
        let mut open = OpenField::None;
        let mut is_first = true;
        while !message.is_empty() {
            let (number, wire_type) = decode_key(&mut message)?;
            let encoded = take(wire_type, &mut message)?;
            let field = fields.find(number).ok_or(Malformed)?;
            let next = OpenField::of(field, number);
            if next == OpenField::None || next != open {
                self.close(open);
                self.separate(&mut is_first);
                if has_keys {
                    self.out.extend_from_slice(field.key.as_bytes());
                }
                self.open(next);
                open = next;
            } else {
                self.out.push(b',');
            }
            self.value(field, encoded)?;
        }
        self.close(open);
        Ok(())
    }

    fn separate(&mut self, is_first: &mut bool) {
        if !std::mem::take(is_first) {
            self.out.push(b',');
        }
    }

    fn open(&mut self, field: OpenField) {
        match field {
            OpenField::None => {}
            OpenField::Array(_) => self.out.push(b'['),
            OpenField::Object(_) => self.out.push(b'{'),
        }
    }

    fn close(&mut self, field: OpenField) {
        match field {
            OpenField::None => {}
            OpenField::Array(_) => self.out.push(b']'),
            OpenField::Object(_) => self.out.push(b'}'),
        }
    }

    /// Writes a value of a field, or all values of a packed one.
    fn value(&mut self, field: &FieldShape, encoded: Encoded<'_>) -> Result<(), Malformed> {
        let Encoded::Delimited(bytes) = encoded else { return self.scalar(&field.kind, encoded) };
        match &field.kind {
            KindShape::Text => self.text(std::str::from_utf8(bytes).map_err(|_utf8| Malformed)?),
            KindShape::Bytes => self.text(&STANDARD.encode(bytes)),
            KindShape::Message(place) => self.message(*place, bytes)?,
            KindShape::TextMap(entry) => self.entry(*entry, bytes)?,
            kind if field.is_list => self.packed(kind, bytes)?,
            KindShape::Double
            | KindShape::Int32
            | KindShape::Uint32
            | KindShape::Int64
            | KindShape::Uint64
            | KindShape::Bool
            | KindShape::Null
            | KindShape::Enum(_)
            | KindShape::Unsupported => return Err(Malformed),
        }
        Ok(())
    }

    fn packed(&mut self, kind: &KindShape, mut values: &[u8]) -> Result<(), Malformed> {
        let is_double = matches!(kind, KindShape::Double);
        let wire_type = if is_double { WireType::SixtyFourBit } else { WireType::Varint };
        let mut is_first = true;
        while !values.is_empty() {
            self.separate(&mut is_first);
            let value = take(wire_type, &mut values)?;
            self.scalar(kind, value)?;
        }
        Ok(())
    }

    /// Writes an entry of a map: its key, the field 1, and its value, the field 2.
    fn entry(&mut self, entry: usize, mut encoded: &[u8]) -> Result<(), Malformed> {
        let shapes = self.shapes;
        let Some(MessageShape::Fields(fields)) = shapes.message(entry) else {
            return Err(Malformed);
        };
        let mut key: &[u8] = &[];
        // What a value is that was not encoded: an empty text, or an empty message.
        let mut value = Encoded::Delimited(&[]);
        while !encoded.is_empty() {
            let (number, wire_type) = decode_key(&mut encoded)?;
            match (number, take(wire_type, &mut encoded)?) {
                (1, Encoded::Delimited(bytes)) => key = bytes,
                (_, other) => value = other,
            }
        }
        self.text(std::str::from_utf8(key).map_err(|_utf8| Malformed)?);
        self.out.push(b':');
        self.value(fields.find(2).ok_or(Malformed)?, value)
    }

    fn scalar(&mut self, kind: &KindShape, encoded: Encoded<'_>) -> Result<(), Malformed> {
        let text = match (kind, encoded) {
            (KindShape::Double, Encoded::Fixed64(bytes)) => {
                self.double(f64::from_le_bytes(bytes));
                return Ok(());
            }
            (KindShape::Null, Encoded::Varint(_)) => "null".to_owned(),
            (KindShape::Bool, Encoded::Varint(value)) => (value != 0).to_string(),
            (KindShape::Int32, Encoded::Varint(value)) => value.cast_signed().to_string(),
            (KindShape::Uint32, Encoded::Varint(value)) => value.to_string(),
            (KindShape::Int64, Encoded::Varint(value)) => format!("\"{}\"", value.cast_signed()),
            (KindShape::Uint64, Encoded::Varint(value)) => format!("\"{value}\""),
            (KindShape::Enum(names), Encoded::Varint(value)) => {
                let number = i32::try_from(value.cast_signed()).map_err(|_range| Malformed)?;
                names.get(&number).map_or(number.to_string(), |name| format!("\"{name}\""))
            }
            _ => return Err(Malformed),
        };
        self.out.extend_from_slice(text.as_bytes());
        Ok(())
    }

    /// Writes a number; what JSON has no number for is text.
    fn double(&mut self, number: f64) {
        if number.is_nan() {
            self.text("NaN");
        } else if number.is_infinite() {
            self.text(if number > 0.0 { "Infinity" } else { "-Infinity" });
        } else if number.fract() == 0.0 && number.abs() <= MAX_INTEGER {
            self.out.extend_from_slice(format!("{number:.0}").as_bytes());
        } else {
            // Neither a number nor a vector can fail.
            serde_json::to_writer(&mut *self.out, &number).unwrap_or_default();
        }
    }

    fn text(&mut self, text: &str) {
        serde_json::to_writer(&mut *self.out, text).unwrap_or_default();
    }
}

impl OpenField {
    fn of(field: &FieldShape, number: u32) -> Self {
        if matches!(field.kind, KindShape::TextMap(_)) {
            Self::Object(number)
        } else if field.is_list {
            Self::Array(number)
        } else {
            Self::None
        }
    }
}

/// Takes one value from the start of `bytes`.
fn take<'a>(wire_type: WireType, bytes: &mut &'a [u8]) -> Result<Encoded<'a>, Malformed> {
    match wire_type {
        WireType::Varint => Ok(Encoded::Varint(decode_varint(bytes)?)),
        WireType::SixtyFourBit => {
            let (value, rest) = bytes.split_first_chunk().ok_or(Malformed)?;
            *bytes = rest;
            Ok(Encoded::Fixed64(*value))
        }
        WireType::LengthDelimited => {
            let length = usize::try_from(decode_varint(bytes)?).map_err(|_range| Malformed)?;
            let (value, rest) = bytes.split_at_checked(length).ok_or(Malformed)?;
            *bytes = rest;
            Ok(Encoded::Delimited(value))
        }
        WireType::ThirtyTwoBit | WireType::StartGroup | WireType::EndGroup => Err(Malformed),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message;
    use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};
    use serde_json::Value as Json;

    use super::*;
    use crate::grpc::web::web_schema::WebSchema;
    use crate::value::proto::{QueryResponse, ResultSet};
    use crate::value::{ArrayValue, Column, FILE_DESCRIPTOR_SET, Kind, Row, Value};

    fn written(name: &str, message: &impl Message) -> String {
        let schema = WebSchema::new().expect("the descriptors are sound");
        let place = schema.shapes.find(name).expect("it is an answer, or in one");
        let mut out = Vec::new();
        write_json(&schema.shapes, place, &message.encode_to_vec(), &mut out).expect("it is one");
        String::from_utf8(out).expect("JSON is UTF-8")
    }

    /// The same, by the library that reads requests.
    fn reflected(name: &str, message: &impl Message) -> Json {
        let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).expect("they are sound");
        let descriptor = pool.get_message_by_name(name).expect("it is there");
        let message = DynamicMessage::decode(descriptor, &*message.encode_to_vec()).expect("one");
        let mut out = serde_json::Serializer::new(Vec::new());
        let options = SerializeOptions::new();
        message.serialize_with_options(&mut out, &options).expect("it can be written");
        serde_json::from_slice(&out.into_inner()).expect("it is JSON")
    }

    /// Makes numbers comparable: `1` and `1.0` are the same in JSON.
    fn plain(json: Json) -> Json {
        match json {
            Json::Number(number) => number.as_f64().into(),
            Json::Array(items) => items.into_iter().map(plain).collect(),
            Json::Object(fields) => {
                fields.into_iter().map(|(key, value)| (key, plain(value))).collect()
            }
            other @ (Json::Null | Json::Bool(_) | Json::String(_)) => other,
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        let scalar = prop_oneof![
            Just(Value::null()),
            any::<bool>().prop_map(Value::bool),
            any::<i64>().prop_map(Value::int64),
            any::<f64>().prop_map(Value::float64),
            (-1_000_000..1_000_000_i32).prop_map(|number| Value::float64(number.into())),
            ".{0,40}".prop_map(Value::text),
            prop::collection::vec(any::<u8>(), 0..40).prop_map(Value::bytes),
            (-62_135_596_800..253_402_300_800_i64, 0..1_000_000_000_i32)
                .prop_map(|(seconds, nanos)| Value::timestamp(seconds, nanos)),
        ];
        scalar.prop_recursive(3, 20, 4, |inner| {
            let dimensions = prop::collection::vec(any::<i32>(), 0..3);
            let elements = prop::collection::vec(inner, 0..4);
            (elements, dimensions).prop_map(|(elements, dimensions)| {
                let array = ArrayValue { elements, dimensions, lower_bounds: vec![-1, 0] };
                Kind::ArrayValue(array).into()
            })
        })
    }

    proptest! {
        #[test]
        fn answers_are_written_as_the_library_writes_them(
            values in prop::collection::vec(value(), 0..5),
            name in ".{0,20}",
            rows_affected in any::<u64>(),
            replayed in any::<bool>(),
        ) {
            let column = Column { name: name.clone(), r#type: 7, type_oid: 23, ..Column::default() };
            let result = ResultSet {
                has_columns: true,
                columns: vec![column.clone(), column],
                rows: vec![Row { values: values.clone() }, Row::default(), Row { values }],
                rows_affected,
                command: name,
                ..ResultSet::default()
            };
            let response = QueryResponse { result: Some(result), attempts: 2, replayed };
            let name = "rowgate.v1.QueryResponse";
            let text = written(name, &response);
            let ours: Json = serde_json::from_str(&text).expect("it is JSON");
            prop_assert_eq!(plain(ours), plain(reflected(name, &response)), "{}", text);
        }
    }

    #[test]
    fn every_answer_and_detail_can_be_written() {
        let schema = WebSchema::new().expect("the descriptors are sound");
        let unsupported =
            schema.shapes.kinds().filter(|(_, kind)| matches!(kind, KindShape::Unsupported));
        assert_eq!(unsupported.map(|(key, _)| key).collect::<Vec<_>>(), Vec::<&str>::new());
        for name in ["google.rpc.ErrorInfo", "rowgate.v1.DatabaseError", "google.rpc.BadRequest"] {
            assert!(schema.shapes.find(name).is_some(), "{name}");
        }
    }

    #[test]
    fn durations_and_maps_are_written_in_their_own_forms() {
        use std::collections::HashMap;
        use tonic_types::pb::{ErrorInfo, RetryInfo};

        let retry_delay = Some(Duration { seconds: 1, nanos: 500_000_000 });
        let retry = RetryInfo { retry_delay };
        assert_eq!(written("google.rpc.RetryInfo", &retry), r#"{"retryDelay":"1.500s"}"#);
        let info = |metadata| ErrorInfo { metadata, ..ErrorInfo::default() };
        let one = HashMap::from([("a".to_owned(), "\"b\"".to_owned())]);
        let expected = r#"{"metadata":{"a":"\"b\""}}"#;
        assert_eq!(written("google.rpc.ErrorInfo", &info(one)), expected);
        let empty = HashMap::from([(String::new(), String::new())]);
        let expected = r#"{"metadata":{"":""}}"#;
        assert_eq!(written("google.rpc.ErrorInfo", &info(empty)), expected);
        assert_eq!(written("google.rpc.ErrorInfo", &info(HashMap::new())), "{}");
    }

    #[test]
    fn what_is_no_message_is_an_error() {
        let schema = WebSchema::new().expect("the descriptors are sound");
        let place = schema.shapes.find("rowgate.v1.QueryResponse").expect("it is an answer");
        for bytes in [&[10, 5][..], &[10, 1, 0xFF], &[0xFF], &[13, 0, 0, 0, 0], &[11], &[8, 1]] {
            let mut out = Vec::new();
            assert_eq!(
                write_json(&schema.shapes, place, bytes, &mut out),
                Err(Malformed),
                "{bytes:?}"
            );
        }
    }
}
