//! Decoders of single values of any type, in both wire formats.
//!
//! Both formats give the same value. Text that a native kind cannot hold (a timestamptz beyond
//! protobuf's range, or printed under another DateStyle) stays text, so decoding text cannot fail.

use bytes::Buf;
use tokio_postgres::types::{Format, Kind as TypeKind, Type};

use super::array::{Dimension, MAX_RANK, array_value, element_count, parse_array};
use super::binary_fields::take_field;
use super::column_types;
use super::range::{BoundText, multirange_text, range_text};
use super::record_text::parse_record;
use super::scalar_decoder::ScalarDecoder;
use crate::value::{Kind, RecordValue, Value};

#[derive(Debug, Clone)]
pub(crate) enum ValueDecoder {
    Scalar(ScalarDecoder),
    Array {
        element: Box<Self>,
        delimiter: u8,
    },
    Composite(Box<[FieldDecoder]>),
    Range(BoundText),
    Multirange(BoundText),
    /// An anonymous record. It is read in text: in binary a field of an unknown type could not be
    /// decoded at all, and that would show only after the statement has run.
    Record,
    /// A type without a binary decoder.
    TextOnly,
}

#[derive(Debug, Clone)]
pub(crate) struct FieldDecoder {
    oid: u32,
    decoder: ValueDecoder,
}

/// The intervals of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Intervals {
    /// Before PostgreSQL 17.
    Finite,
    /// The extremes are the infinities.
    WithInfinity,
}

impl ValueDecoder {
    pub(crate) fn new(ty: &Type, intervals: Intervals) -> Self {
        let of = |ty: &Type| Self::new(ty, intervals);
        if let Some(element) = column_types::element(ty) {
            let delimiter = column_types::delimiter(&element);
            return Self::Array { element: Box::new(of(&element)), delimiter };
        }
        match ty.kind() {
            TypeKind::Domain(base) => of(base),
            TypeKind::Enum(_) => Self::Scalar(ScalarDecoder::TEXT),
            TypeKind::Composite(fields) => {
                let types = fields.iter().map(|field| field.type_());
                let field = |ty: &Type| FieldDecoder { oid: ty.oid(), decoder: of(ty) };
                Self::Composite(types.map(field).collect())
            }
            TypeKind::Simple | TypeKind::Pseudo if *ty == Type::RECORD => Self::Record,
            TypeKind::Simple if *ty == Type::INTERVAL && intervals == Intervals::Finite => {
                Self::Scalar(ScalarDecoder::FINITE_INTERVAL)
            }
            TypeKind::Simple | TypeKind::Pseudo => {
                ScalarDecoder::of(ty).map_or(Self::TextOnly, Self::Scalar)
            }
            TypeKind::Range(subtype) => BoundText::of(subtype).map_or(Self::TextOnly, Self::Range),
            TypeKind::Multirange(subtype) => {
                BoundText::of(subtype).map_or(Self::TextOnly, Self::Multirange)
            }
            TypeKind::Array(_) | _ => Self::TextOnly,
        }
    }

    /// Returns true if values of the type can be decoded from the binary format.
    fn reads_binary(&self) -> bool {
        match self {
            Self::Scalar(_) | Self::Range(_) | Self::Multirange(_) => true,
            Self::Array { element, .. } => element.reads_binary(),
            Self::Composite(fields) => fields.iter().all(|field| field.decoder.reads_binary()),
            Self::Record | Self::TextOnly => false,
        }
    }

    /// Returns the format in which values of the type are requested.
    pub(crate) fn format(&self) -> Format {
        if self.reads_binary() { Format::Binary } else { Format::Text }
    }

    /// Decodes a value; `None` when the bytes are not a value of the type.
    pub(crate) fn decode(&self, format: Format, raw: &[u8]) -> Option<Value> {
        match format {
            Format::Binary => self.decode_binary(raw),
            Format::Text => Some(self.decode_text(raw)),
        }
    }

    fn decode_binary(&self, raw: &[u8]) -> Option<Value> {
        match self {
            Self::Scalar(scalar) => (scalar.binary)(raw),
            Self::Array { element, .. } => array_from_binary(element, raw),
            Self::Composite(fields) => composite_from_binary(fields, raw),
            Self::Range(bound) => range_text(*bound, raw).map(|text| Value::text_or_bytes(&text)),
            Self::Multirange(bound) => {
                multirange_text(*bound, raw).map(|text| Value::text_or_bytes(&text))
            }
            Self::Record | Self::TextOnly => Some(Value::bytes(raw)),
        }
    }

    fn decode_text(&self, raw: &[u8]) -> Value {
        let decoded = match self {
            Self::Scalar(scalar) => (scalar.text)(raw),
            Self::Array { element, delimiter } => array_from_text(element, *delimiter, raw),
            Self::Composite(fields) if fields.is_empty() && raw == b"()" => Some(record(vec![])),
            Self::Composite(fields) => record_from_text(fields, raw),
            Self::Record => record_from_text(&[], raw),
            Self::Range(_) | Self::Multirange(_) | Self::TextOnly => None,
        };
        decoded.unwrap_or_else(|| Value::text_or_bytes(raw))
    }
}

/// Reads the format of `array_send`.
fn array_from_binary(decoder: &ValueDecoder, raw: &[u8]) -> Option<Value> {
    let mut rest = raw;
    let rank = usize::try_from(rest.try_get_i32().ok()?).ok().filter(|rank| *rank <= MAX_RANK)?;
    // A flag for NULLs, and the type of the elements.
    rest = rest.get(8..)?;
    let mut dimensions = Vec::with_capacity(rank);
    for _ in 0..rank {
        let length = rest.try_get_i32().ok()?;
        dimensions.push(Dimension { length, lower_bound: rest.try_get_i32().ok()? });
    }
    let count = element_count(&dimensions)?;
    // PostgreSQL reads one without elements as the empty array, whatever its dimensions are.
    if count == 0 {
        dimensions.clear();
    }
    // Each element takes at least its length: no more is reserved than the bytes can hold.
    if count > rest.len() / 4 {
        return None;
    }
    let mut elements = Vec::with_capacity(count);
    for _ in 0..count {
        elements.push(match take_field(&mut rest)? {
            None => Value::null(),
            Some(element) => decoder.decode_binary(element)?,
        });
    }
    rest.is_empty().then(|| array_value(elements, &dimensions))
}

fn array_from_text(decoder: &ValueDecoder, delimiter: u8, raw: &[u8]) -> Option<Value> {
    let mut elements = Vec::new();
    let dimensions = parse_array(raw, delimiter, &mut |element| {
        elements.push(element.map_or_else(Value::null, |raw| decoder.decode_text(raw)));
    })?;
    Some(array_value(elements, &dimensions))
}

/// Reads the format of `record_send`.
fn composite_from_binary(declared: &[FieldDecoder], raw: &[u8]) -> Option<Value> {
    let mut rest = raw;
    let count = rest.try_get_i32().ok()?;
    let count = usize::try_from(count).ok().filter(|count| *count <= raw.len() / 8)?;
    let mut fields = Vec::with_capacity(count);
    for index in 0..count {
        let oid = rest.try_get_u32().ok()?;
        fields.push(match (take_field(&mut rest)?, declared.get(index)) {
            (None, _) => Value::null(),
            (Some(field), Some(declared)) if declared.oid == oid => {
                declared.decoder.decode_binary(field)?
            }
            // The type was altered since the connection looked it up; the value names its types.
            (Some(field), _) => match Type::from_oid(oid)
                .map(|ty| ValueDecoder::new(&ty, Intervals::WithInfinity))
            {
                Some(decoder) if decoder.reads_binary() => decoder.decode_binary(field)?,
                Some(_) | None => Value::bytes(field),
            },
        });
    }
    rest.is_empty().then(|| record(fields))
}

/// Reads a record whose first fields are declared; further ones are text.
fn record_from_text(declared: &[FieldDecoder], raw: &[u8]) -> Option<Value> {
    let mut fields = Vec::with_capacity(declared.len());
    parse_record(raw, &mut |field| {
        fields.push(match (field, declared.get(fields.len())) {
            (None, _) => Value::null(),
            (Some(raw), Some(declared)) => declared.decoder.decode_text(raw),
            (Some(raw), None) => Value::text_or_bytes(raw),
        });
    })?;
    Some(record(fields))
}

fn record(fields: Vec<Value>) -> Value {
    Kind::RecordValue(RecordValue { fields }).into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio_postgres::types::Field;

    use super::*;
    use crate::value::ArrayValue;

    fn user_type(name: &str, kind: TypeKind) -> Type {
        Type::new(name.to_owned(), 70_000, kind, "public".to_owned())
    }

    fn mood() -> Type {
        user_type("mood", TypeKind::Enum(vec!["sad".to_owned()]))
    }

    fn pair() -> Type {
        let fields =
            vec![Field::new("a".to_owned(), Type::INT4), Field::new("b".to_owned(), mood())];
        user_type("pair", TypeKind::Composite(fields))
    }

    fn decoder_of(ty: &Type) -> ValueDecoder {
        ValueDecoder::new(ty, Intervals::WithInfinity)
    }

    fn array(elements: Vec<Value>, dimensions: Vec<i32>, lower_bounds: Vec<i32>) -> Value {
        Kind::ArrayValue(ArrayValue { elements, dimensions, lower_bounds }).into()
    }

    fn record(fields: Vec<Value>) -> Value {
        Kind::RecordValue(RecordValue { fields }).into()
    }

    fn words(words: &[i32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    /// The type, a value's binary form, its text form, and the value.
    type Forms = (Type, Vec<u8>, &'static str, Value);

    fn assert_same_in_either_form(cases: Vec<Forms>) {
        for (ty, binary, printed, expected) in cases {
            let decoder = decoder_of(&ty);
            assert_eq!(decoder.decode(Format::Binary, &binary), Some(expected.clone()), "{ty}");
            assert_eq!(decoder.decode(Format::Text, printed.as_bytes()), Some(expected), "{ty}");
        }
    }

    #[test]
    fn a_native_value_is_the_same_in_either_form() {
        assert_same_in_either_form(vec![
            (Type::BOOL, vec![1], "t", Value::bool(true)),
            (Type::BOOL, vec![0], "f", Value::bool(false)),
            (Type::INT2, vec![0xFF, 0xFE], "-2", Value::int64(-2)),
            (Type::INT4, words(&[i32::MIN]), "-2147483648", Value::int64(i32::MIN.into())),
            (
                Type::INT8,
                i64::MAX.to_be_bytes().to_vec(),
                "9223372036854775807",
                Value::int64(i64::MAX),
            ),
            (Type::OID, vec![0xFF; 4], "4294967295", Value::int64(u32::MAX.into())),
            (Type::FLOAT4, 2.5_f32.to_be_bytes().to_vec(), "2.5", Value::float64(2.5_f32.into())),
            (Type::FLOAT8, 1e300_f64.to_be_bytes().to_vec(), "1e+300", Value::float64(1e300)),
            (
                Type::FLOAT8,
                f64::NEG_INFINITY.to_be_bytes().to_vec(),
                "-Infinity",
                Value::float64(f64::NEG_INFINITY),
            ),
            (Type::BYTEA, vec![0, 171], "\\x00ab", Value::bytes([0, 171])),
            (Type::BYTEA, vec![], "\\x", Value::bytes([])),
            (
                Type::TIMESTAMPTZ,
                words(&[0, 1]),
                "2000-01-01 00:00:00.000001+00",
                Value::timestamp(946_684_800, 1_000),
            ),
            (Type::TIMESTAMPTZ, words(&[i32::MAX, -1]), "infinity", Value::text("infinity")),
        ]);
    }

    #[test]
    fn a_value_in_text_is_the_same_in_either_form() {
        let uuid = "2f1e8f0e-8f0e-4f0e-8f0e-2f1e8f0e8f0e";
        let uuid_bytes = 0x2f1e_8f0e_8f0e_4f0e_8f0e_2f1e_8f0e_8f0e_u128.to_be_bytes();
        let text = Value::text;
        assert_same_in_either_form(vec![
            (Type::TEXT, b"x".to_vec(), "x", text("x")),
            (Type::VOID, vec![], "", text("")),
            (Type::CHAR, b"r".to_vec(), "r", text("r")),
            (Type::CHAR, vec![0], "", text("")),
            (Type::CHAR, vec![0xC3], "\\303", text("\\303")),
            (Type::JSON, b"{ }".to_vec(), "{ }", text("{ }")),
            (Type::JSONB, b"\x01{}".to_vec(), "{}", text("{}")),
            (Type::UUID, uuid_bytes.to_vec(), uuid, text(uuid)),
            (Type::NUMERIC, vec![0, 1, 0, 0, 0, 0, 0, 1, 0, 7], "7.0", text("7.0")),
            (Type::DATE, words(&[1]), "2000-01-02", text("2000-01-02")),
            (Type::TIME, 1_i64.to_be_bytes().to_vec(), "00:00:00.000001", text("00:00:00.000001")),
            (Type::TIMETZ, words(&[0, 0, -3600]), "00:00:00+01", text("00:00:00+01")),
            (Type::TIMESTAMP, words(&[0, 0]), "2000-01-01 00:00:00", text("2000-01-01 00:00:00")),
            (Type::INTERVAL, words(&[0, 0, 1, 0]), "1 day", text("1 day")),
            (mood(), b"sad".to_vec(), "sad", text("sad")),
        ]);
    }

    #[test]
    fn a_structured_value_is_the_same_in_either_form() {
        let moods = user_type("_mood", TypeKind::Array(mood()));
        assert_same_in_either_form(vec![
            (
                Type::INT4_ARRAY,
                words(&[1, 1, 23, 2, 2, 4, 7, -1]),
                "[2:3]={7,NULL}",
                array(vec![Value::int64(7), Value::null()], vec![], vec![2]),
            ),
            (Type::INT4_ARRAY, words(&[0, 0, 23]), "{}", array(vec![], vec![], vec![])),
            (Type::INT4_ARRAY, words(&[1, 0, 23, 0, 7]), "{}", array(vec![], vec![], vec![])),
            (Type::INT4_ARRAY, words(&[2, 0, 23, 3, 1, 0, 1]), "{}", array(vec![], vec![], vec![])),
            (
                Type::INT4_ARRAY,
                words(&[2, 0, 23, 2, 1, 1, 1, 4, 7, 4, 8]),
                "{{7},{8}}",
                array(vec![Value::int64(7), Value::int64(8)], vec![2, 1], vec![]),
            ),
            (
                moods,
                [words(&[1, 0, 70_000, 1, 1, 3]), b"sad".to_vec()].concat(),
                "{sad}",
                array(vec![Value::text("sad")], vec![], vec![]),
            ),
            (
                pair(),
                words(&[2, 23, 4, 9, 70_000, -1]),
                "(9,)",
                record(vec![Value::int64(9), Value::null()]),
            ),
        ]);
    }

    #[test]
    fn nan_is_read_in_either_form() {
        for ty in [Type::FLOAT4, Type::FLOAT8] {
            let decoder = decoder_of(&ty);
            let value = decoder.decode(Format::Text, b"NaN").and_then(|value| value.kind);
            assert!(matches!(value, Some(Kind::Float64Value(number)) if number.is_nan()));
        }
    }

    #[test]
    fn types_without_a_kind_arrive_as_their_text() {
        let decoded = |ty: &Type, raw: &str| decoder_of(ty).decode(Format::Text, raw.as_bytes());
        let boxes =
            array(vec![Value::text("(1,1),(0,0)"), Value::text("(3,3),(2,2)")], vec![], vec![]);
        assert_eq!(decoded(&Type::BOX_ARRAY, "{(1,1),(0,0);(3,3),(2,2)}"), Some(boxes));
        let anonymous = record(vec![Value::text("1"), Value::null(), Value::text("a b")]);
        assert_eq!(decoded(&Type::RECORD, r#"(1,,"a b")"#), Some(anonymous.clone()));
        let records = array(vec![anonymous], vec![], vec![]);
        assert_eq!(decoded(&Type::RECORD_ARRAY, r#"{"(1,,\"a b\")"}"#), Some(records));
        assert_eq!(decoded(&Type::INT2_VECTOR, "1 2"), Some(Value::text("1 2")));
        assert_eq!(decoded(&Type::BYTEA, "a\\\\b\\001"), Some(Value::bytes(*b"a\\b\x01")));
    }

    #[test]
    fn text_that_a_kind_cannot_hold_stays_text() {
        let cases = [
            (Type::TIMESTAMPTZ, "10000-01-01 00:00:00+00"),
            (Type::TIMESTAMPTZ, "Sat Jan 01 00:00:00 2000 UTC"),
            (Type::INT4, "many"),
            (Type::INT4_ARRAY, "{1"),
        ];
        for (ty, raw) in cases {
            let value = decoder_of(&ty).decode(Format::Text, raw.as_bytes());
            assert_eq!(value, Some(Value::text(raw)));
        }
        let latin1 = decoder_of(&Type::TEXT).decode(Format::Binary, b"caf\xE9");
        assert_eq!(latin1, Some(Value::bytes(*b"caf\xE9")));
    }

    #[test]
    fn a_composite_altered_since_its_lookup_still_decodes() {
        let decoder = decoder_of(&pair());
        let grown = words(&[4, 23, 4, 1, 70_000, -1, 23, 4, 5, 70_001, 4, 6]);
        let fields = vec![
            Value::int64(1),
            Value::null(),
            Value::int64(5),
            Value::bytes(6_i32.to_be_bytes()),
        ];
        assert_eq!(decoder.decode(Format::Binary, &grown), Some(record(fields)));
        let retyped = words(&[1, 20, 8, 0, 1]);
        assert_eq!(decoder.decode(Format::Binary, &retyped), Some(record(vec![Value::int64(1)])));
        let fields = vec![Value::int64(1), Value::null(), Value::text("5")];
        assert_eq!(decoder.decode(Format::Text, b"(1,,5)"), Some(record(fields)));
    }

    fn some_type() -> impl Strategy<Value = Type> {
        let names = |ty: Type| user_type("_t", TypeKind::Array(ty));
        let leaf = prop::sample::select(vec![
            Type::BOOL,
            Type::INT2,
            Type::INT4,
            Type::INT8,
            Type::OID,
            Type::FLOAT4,
            Type::FLOAT8,
            Type::BYTEA,
            Type::TIMESTAMPTZ,
            Type::TEXT,
            Type::CHAR,
            Type::JSONB,
            Type::UUID,
            Type::NUMERIC,
            Type::DATE,
            Type::TIME,
            Type::TIMETZ,
            Type::TIMESTAMP,
            Type::INTERVAL,
            Type::RECORD,
            Type::MONEY,
        ]);
        leaf.prop_recursive(3, 8, 3, move |inner| {
            prop_oneof![
                inner.clone().prop_map(names),
                prop::collection::vec(inner, 0..3).prop_map(|types| {
                    let field = |ty| Field::new("f".to_owned(), ty);
                    user_type("c", TypeKind::Composite(types.into_iter().map(field).collect()))
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(ty in some_type(), raw: Vec<u8>) {
            let decoder = decoder_of(&ty);
            let _binary = decoder.decode(Format::Binary, &raw);
            prop_assert!(decoder.decode(Format::Text, &raw).is_some());
        }

        #[test]
        fn almost_arrays_and_records_never_panic(
            ty in some_type(),
            raw in prop::collection::vec(prop_oneof![-1..8_i32, Just(23), Just(i32::MAX)], 0..24),
        ) {
            let _binary = decoder_of(&ty).decode(Format::Binary, &words(&raw));
        }
    }
}
