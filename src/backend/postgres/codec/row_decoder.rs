//! Decoders of whole rows, compiled once per statement.

use tokio_postgres::types::{Kind, Type};

use super::{binary_format, column_types, text_format};
use crate::error::{Error, ErrorKind, Result};
use crate::value::{Row, Value};

/// The form in which a statement's columns arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Each type's binary form.
    Binary,
    /// Each type's canonical text.
    Text,
}

/// Decodes the rows of one statement.
#[derive(Debug, Clone)]
pub struct RowDecoder {
    columns: Box<[Decoder]>,
    format: Format,
}

impl RowDecoder {
    /// Compiles the decoders of a statement's columns.
    #[must_use]
    pub fn new(types: &[Type]) -> Self {
        let columns: Box<[Decoder]> = types.iter().map(Decoder::new).collect();
        let binary = columns.iter().all(Decoder::reads_binary);
        Self { columns, format: if binary { Format::Binary } else { Format::Text } }
    }

    /// The form that [`RowDecoder::decode`] expects of every column: text as soon as one of them has
    /// no binary decoder, as a statement's columns arrive all in one form.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// Decodes one row from the raw values of its columns, `None` for NULL.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] where the bytes cannot be a value of the column's type, or where the
    /// row has another number of columns: a defect of the connection, never of the data.
    pub fn decode<'a>(&self, values: impl Iterator<Item = Option<&'a [u8]>>) -> Result<Row> {
        let mut decoded = Vec::with_capacity(self.columns.len());
        let mut values = values;
        for (index, decoder) in self.columns.iter().enumerate() {
            let Some(raw) = values.next() else { return Err(wrong_width(self.columns.len())) };
            decoded.push(match raw {
                None => Value::null(),
                Some(raw) => {
                    decoder.decode(self.format, raw).ok_or_else(|| malformed(index, raw))?
                }
            });
        }
        if values.next().is_some() {
            return Err(wrong_width(self.columns.len()));
        }
        Ok(Row { values: decoded })
    }
}

fn wrong_width(expected: usize) -> Error {
    Error::new(
        ErrorKind::Internal,
        format!("the database sent a row that has not the {expected} columns it announced"),
    )
}

fn malformed(index: usize, raw: &[u8]) -> Error {
    let (column, size) = (index + 1, raw.len());
    Error::new(
        ErrorKind::Internal,
        format!("the database sent {size} bytes in column {column} that its type cannot have"),
    )
}

/// How the values of one type are read. What is not native to the value model ends as text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Decoder {
    Bool,
    Int2,
    Int4,
    Int8,
    Oid,
    Float4,
    Float8,
    Bytea,
    TimestampTz,
    /// The binary form is the text, too.
    Text,
    Char,
    Jsonb,
    Uuid,
    Numeric,
    Date,
    Time,
    TimeTz,
    Timestamp,
    Interval,
    Array(Box<ArrayDecoder>),
    Composite(Box<[FieldDecoder]>),
    /// A record whose fields only the value itself knows. Read in text, for in binary a field of an
    /// unknown type could not be read at all, and that would show when the statement has run.
    Record,
    /// A type that is only read in its text form.
    Foreign,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ArrayDecoder {
    pub(crate) element: Decoder,
    pub(crate) delimiter: u8,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FieldDecoder {
    pub(crate) oid: u32,
    pub(crate) decoder: Decoder,
}

impl Decoder {
    pub(crate) fn new(ty: &Type) -> Self {
        if let Some(element) = column_types::element(ty) {
            let delimiter = column_types::delimiter(&element);
            return Self::Array(Box::new(ArrayDecoder { element: Self::new(&element), delimiter }));
        }
        match ty.kind() {
            Kind::Domain(base) => Self::new(base),
            Kind::Enum(_) => Self::Text,
            Kind::Composite(fields) => Self::Composite(
                fields
                    .iter()
                    .map(|field| FieldDecoder {
                        oid: field.type_().oid(),
                        decoder: Self::new(field.type_()),
                    })
                    .collect(),
            ),
            Kind::Simple | Kind::Pseudo => Self::builtin(ty),
            Kind::Array(_) | Kind::Range(_) | Kind::Multirange(_) | _ => Self::Foreign,
        }
    }

    fn builtin(ty: &Type) -> Self {
        match *ty {
            Type::BOOL => Self::Bool,
            Type::INT2 => Self::Int2,
            Type::INT4 => Self::Int4,
            Type::INT8 => Self::Int8,
            Type::OID => Self::Oid,
            Type::FLOAT4 => Self::Float4,
            Type::FLOAT8 => Self::Float8,
            Type::BYTEA => Self::Bytea,
            Type::TIMESTAMPTZ => Self::TimestampTz,
            Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::UNKNOWN => Self::Text,
            Type::XML | Type::JSON | Type::REFCURSOR | Type::CSTRING | Type::VOID => Self::Text,
            Type::CHAR => Self::Char,
            Type::JSONB => Self::Jsonb,
            Type::UUID => Self::Uuid,
            Type::NUMERIC => Self::Numeric,
            Type::DATE => Self::Date,
            Type::TIME => Self::Time,
            Type::TIMETZ => Self::TimeTz,
            Type::TIMESTAMP => Self::Timestamp,
            Type::INTERVAL => Self::Interval,
            Type::RECORD => Self::Record,
            _ => Self::Foreign,
        }
    }

    pub(crate) fn reads_binary(&self) -> bool {
        match self {
            Self::Array(array) => array.element.reads_binary(),
            Self::Composite(fields) => fields.iter().all(|field| field.decoder.reads_binary()),
            Self::Record | Self::Foreign => false,
            Self::Bool
            | Self::Int2
            | Self::Int4
            | Self::Int8
            | Self::Oid
            | Self::Float4
            | Self::Float8
            | Self::Bytea
            | Self::TimestampTz
            | Self::Text
            | Self::Char
            | Self::Jsonb
            | Self::Uuid
            | Self::Numeric
            | Self::Date
            | Self::Time
            | Self::TimeTz
            | Self::Timestamp
            | Self::Interval => true,
        }
    }

    fn decode(&self, format: Format, raw: &[u8]) -> Option<Value> {
        match format {
            Format::Binary => binary_format::decode(self, raw),
            Format::Text => Some(text_format::decode(self, raw)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio_postgres::types::Field;

    use super::*;
    use crate::value::{ArrayValue, Kind as ValueKind, RecordValue};

    fn user_type(name: &str, kind: Kind) -> Type {
        Type::new(name.to_owned(), 70_000, kind, "public".to_owned())
    }

    fn mood() -> Type {
        user_type("mood", Kind::Enum(vec!["sad".to_owned()]))
    }

    fn pair() -> Type {
        let fields =
            vec![Field::new("a".to_owned(), Type::INT4), Field::new("b".to_owned(), mood())];
        user_type("pair", Kind::Composite(fields))
    }

    fn array(elements: Vec<Value>, dimensions: Vec<i32>, lower_bounds: Vec<i32>) -> Value {
        ValueKind::ArrayValue(ArrayValue { elements, dimensions, lower_bounds }).into()
    }

    fn record(fields: Vec<Value>) -> Value {
        ValueKind::RecordValue(RecordValue { fields }).into()
    }

    fn words(words: &[i32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    #[test]
    fn one_column_without_a_binary_decoder_makes_all_text() {
        let format = |types: &[Type]| RowDecoder::new(types).format();
        assert_eq!(format(&[]), Format::Binary);
        assert_eq!(format(&[Type::INT4, mood(), pair(), Type::NUMERIC_ARRAY]), Format::Binary);
        assert_eq!(format(&[user_type("d", Kind::Domain(Type::DATE))]), Format::Binary);
        let foreign = [
            Type::MONEY,
            Type::INET,
            Type::INT4_RANGE,
            Type::INT2_VECTOR,
            Type::RECORD,
            Type::RECORD_ARRAY,
            Type::BOX_ARRAY,
            Type::REGCLASS,
            Type::ANYARRAY,
            user_type("vector", Kind::Simple),
            user_type("d", Kind::Domain(user_type("hstore", Kind::Simple))),
            user_type("own", Kind::Array(Type::FLOAT4)),
        ];
        for ty in foreign {
            assert_eq!(format(&[Type::INT4, ty.clone()]), Format::Text, "{ty}");
        }
    }

    /// The type, a value's binary form, its text form, and the value.
    type Forms = (Type, Vec<u8>, &'static str, Value);

    fn assert_same_in_either_form(cases: Vec<Forms>) {
        for (ty, binary, printed, expected) in cases {
            let decoder = Decoder::new(&ty);
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
        let moods = user_type("_mood", Kind::Array(mood()));
        assert_same_in_either_form(vec![
            (
                Type::INT4_ARRAY,
                words(&[1, 1, 23, 2, 2, 4, 7, -1]),
                "[2:3]={7,NULL}",
                array(vec![Value::int64(7), Value::null()], vec![], vec![2]),
            ),
            (Type::INT4_ARRAY, words(&[0, 0, 23]), "{}", array(vec![], vec![], vec![])),
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
        for decoder in [Decoder::Float4, Decoder::Float8] {
            let value = decoder.decode(Format::Text, b"NaN").and_then(|value| value.kind);
            assert!(matches!(value, Some(ValueKind::Float64Value(number)) if number.is_nan()));
        }
    }

    #[test]
    fn types_without_a_kind_arrive_as_their_text() {
        let decoded = |ty: &Type, raw: &str| Decoder::new(ty).decode(Format::Text, raw.as_bytes());
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
            let value = Decoder::new(&ty).decode(Format::Text, raw.as_bytes());
            assert_eq!(value, Some(Value::text(raw)));
        }
        let latin1 = Decoder::Text.decode(Format::Binary, b"caf\xE9");
        assert_eq!(latin1, Some(Value::bytes(*b"caf\xE9")));
    }

    #[test]
    fn a_composite_altered_since_its_lookup_still_decodes() {
        let decoder = Decoder::new(&pair());
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

    #[test]
    fn a_malformed_row_is_a_defect_of_the_connection() {
        let decoder = RowDecoder::new(&[Type::INT4, Type::TEXT]);
        let one = 1_i32.to_be_bytes();
        let row = decoder.decode([Some(&one[..]), None].into_iter()).expect("well-formed");
        assert_eq!(row.values, [Value::int64(1), Value::null()]);
        let rows: [&[Option<&[u8]>]; 3] = [&[None], &[None, None, None], &[Some(b"abc"), None]];
        for row in rows {
            let error = decoder.decode(row.iter().copied()).expect_err("malformed");
            assert_eq!(error.kind(), ErrorKind::Internal);
        }
    }

    fn some_type() -> impl Strategy<Value = Type> {
        let names = |ty: Type| user_type("_t", Kind::Array(ty));
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
                    user_type("c", Kind::Composite(types.into_iter().map(field).collect()))
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(ty in some_type(), raw: Vec<u8>) {
            let decoder = Decoder::new(&ty);
            let _binary = decoder.decode(Format::Binary, &raw);
            prop_assert!(decoder.decode(Format::Text, &raw).is_some());
        }

        #[test]
        fn almost_arrays_and_records_never_panic(
            ty in some_type(),
            raw in prop::collection::vec(prop_oneof![-1..8_i32, Just(23), Just(i32::MAX)], 0..24),
        ) {
            let _binary = Decoder::new(&ty).decode(Format::Binary, &words(&raw));
        }
    }
}
