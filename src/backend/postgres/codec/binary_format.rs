//! Values from their binary form, as the types' send functions write it.

use super::row_decoder::{ArrayDecoder, Decoder, FieldDecoder};
use super::{array_and_record_text, datetime, numeric};
use crate::value::{Kind, RecordValue, Value};
use tokio_postgres::types::Type;

/// The value; `None` when the bytes cannot be one of this type.
pub(crate) fn decode(decoder: &Decoder, raw: &[u8]) -> Option<Value> {
    Some(match decoder {
        Decoder::Text => Value::text_or_bytes(raw),
        Decoder::Bool => Value::bool(u8::from_be_bytes(raw.try_into().ok()?) != 0),
        Decoder::Int2 => Value::int64(i16::from_be_bytes(raw.try_into().ok()?).into()),
        Decoder::Int4 => Value::int64(i32::from_be_bytes(raw.try_into().ok()?).into()),
        Decoder::Int8 => Value::int64(i64::from_be_bytes(raw.try_into().ok()?)),
        Decoder::Oid => Value::int64(u32::from_be_bytes(raw.try_into().ok()?).into()),
        Decoder::Float4 => Value::float64(f32::from_be_bytes(raw.try_into().ok()?).into()),
        Decoder::Float8 => Value::float64(f64::from_be_bytes(raw.try_into().ok()?)),
        Decoder::Bytea => Value::bytes(raw),
        Decoder::TimestampTz => {
            datetime::timestamptz_value(i64::from_be_bytes(raw.try_into().ok()?))
        }
        Decoder::Char => Value::text(char_text(u8::from_be_bytes(raw.try_into().ok()?))),
        Decoder::Jsonb => match raw.split_first()? {
            (1, json) => Value::text_or_bytes(json),
            (_, _) => return None,
        },
        Decoder::Uuid => Value::text(uuid_text(raw.try_into().ok()?)),
        Decoder::Numeric => Value::text(numeric::to_text(raw)?),
        Decoder::Date => Value::text(datetime::date(i32::from_be_bytes(raw.try_into().ok()?))),
        Decoder::Time => Value::text(datetime::time(i64::from_be_bytes(raw.try_into().ok()?))),
        Decoder::TimeTz => {
            let mut reader = Reader::new(raw);
            let (micros, west) = (reader.i64()?, reader.i32()?);
            reader.end()?;
            Value::text(datetime::timetz(micros, west))
        }
        Decoder::Timestamp => {
            Value::text(datetime::timestamp(i64::from_be_bytes(raw.try_into().ok()?)))
        }
        Decoder::Interval => {
            let mut reader = Reader::new(raw);
            let (micros, days, months) = (reader.i64()?, reader.i32()?, reader.i32()?);
            reader.end()?;
            Value::text(datetime::interval(micros, days, months))
        }
        Decoder::Array(array) => decode_array(array, raw)?,
        Decoder::Composite(fields) => decode_composite(fields, raw)?,
        // Only met in a composite that got another field since its type was looked up: the bytes are
        // all that can be said of it.
        Decoder::Record | Decoder::Foreign => Value::bytes(raw),
    })
}

/// `charout`: a zero byte is the empty text, and what is not ASCII is written in octal.
fn char_text(byte: u8) -> String {
    match byte {
        0 => String::new(),
        1..=0x7F => char::from(byte).to_string(),
        0x80..=0xFF => format!("\\{byte:03o}"),
    }
}

fn uuid_text(bytes: [u8; 16]) -> String {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(36);
    for (index, byte) in bytes.into_iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push(char::from(HEX[usize::from(byte >> 4)]));
        text.push(char::from(HEX[usize::from(byte & 0xF)]));
    }
    text
}

fn decode_array(array: &ArrayDecoder, raw: &[u8]) -> Option<Value> {
    let mut reader = Reader::new(raw);
    let rank = usize::try_from(reader.i32()?)
        .ok()
        .filter(|rank| *rank <= array_and_record_text::MAX_RANK)?;
    let _has_nulls = reader.i32()?;
    let _element_oid = reader.u32()?;
    let mut dimensions = Vec::with_capacity(rank);
    for _ in 0..rank {
        let (length, lower_bound) = (reader.i32()?, reader.i32()?);
        dimensions.push(array_and_record_text::Dimension { length, lower_bound });
    }
    let count = array_and_record_text::element_count(&dimensions)?;
    // Each element has at least its length: no more room is reserved than the bytes can fill.
    if count > reader.0.len() / 4 {
        return None;
    }
    let mut elements = Vec::with_capacity(count);
    for _ in 0..count {
        elements.push(match reader.field()? {
            None => Value::null(),
            Some(element) => decode(&array.element, element)?,
        });
    }
    reader.end()?;
    Some(array_and_record_text::array_value(elements, &dimensions))
}

fn decode_composite(declared: &[FieldDecoder], raw: &[u8]) -> Option<Value> {
    let mut reader = Reader::new(raw);
    let count = usize::try_from(reader.i32()?).ok().filter(|count| *count <= raw.len() / 8)?;
    let mut fields = Vec::with_capacity(count);
    for index in 0..count {
        let oid = reader.u32()?;
        let Some(field) = reader.field()? else {
            fields.push(Value::null());
            continue;
        };
        fields.push(match declared.get(index).filter(|declared| declared.oid == oid) {
            Some(declared) => decode(&declared.decoder, field)?,
            // The type was altered since the connection looked it up; the value tells what it holds.
            None => match Type::from_oid(oid).map(|ty| Decoder::new(&ty)) {
                Some(decoder) if decoder.reads_binary() => decode(&decoder, field)?,
                Some(_) | None => Value::bytes(field),
            },
        });
    }
    reader.end()?;
    Some(Kind::RecordValue(RecordValue { fields }).into())
}

/// Reads big-endian integers from the front of a slice.
#[derive(Debug)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(raw: &'a [u8]) -> Self {
        Self(raw)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*head)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn i16(&mut self) -> Option<i16> {
        self.array().map(i16::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn i32(&mut self) -> Option<i32> {
        self.array().map(i32::from_be_bytes)
    }

    fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_be_bytes)
    }

    /// A length and as many bytes; the length −1 is NULL.
    #[expect(clippy::option_option, reason = "the outer is malformed, the inner is NULL")]
    fn field(&mut self) -> Option<Option<&'a [u8]>> {
        let length = self.i32()?;
        if length == -1 {
            return Some(None);
        }
        let (field, rest) = self.0.split_at_checked(usize::try_from(length).ok()?)?;
        self.0 = rest;
        Some(Some(field))
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.0
    }

    fn end(&self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}
