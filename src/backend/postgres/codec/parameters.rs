//! Parameters: checked against the types that PostgreSQL inferred, before anything is sent.
//!
//! Text is sent as text for any type, and the database parses it. The native kinds go in binary where
//! the type is as wide as the value, else as a literal.

use std::error::Error as StdError;
use std::fmt::{self, Write};

use bytes::{BufMut, BytesMut};
use tokio_postgres::types::{self, IsNull, ToSql, Type, to_sql_checked};

use super::array_and_record_text;
use super::array_and_record_text::{Dimension, MAX_RANK};
use super::column_types::{base, delimiter, element, type_name};
use super::datetime;
use crate::error::{Error, ErrorKind, Result};
use crate::value::{ArrayValue, Kind, RecordValue, Value};

/// A checked parameter; it knows in which form it is sent. Its `Debug` shows no value.
pub struct Parameter<'a>(Payload<'a>);

/// Checks the values of `$1`, `$2` … against the statement's types.
///
/// # Errors
/// [`ErrorKind::InvalidParameter`] for a wrong number of values, an unset kind, or a kind that the type
/// does not take; [`ErrorKind::ParameterOutOfRange`] for a value that it cannot hold. Both name the
/// field, as in `parameters[0]` or `parameters[0].array_value.elements[2]`.
pub fn encode<'a>(parameters: &'a [Value], types: &[Type]) -> Result<Vec<Parameter<'a>>> {
    if parameters.len() != types.len() {
        let (given, taken) = (parameters.len(), types.len());
        return Err(Error::field(
            ErrorKind::InvalidParameter,
            "parameters",
            format!("the statement takes {}, not {given}", count(taken, "parameter")),
        ));
    }
    let place = |index| Place::Parameter { index };
    parameters
        .iter()
        .zip(types)
        .enumerate()
        .map(|(index, (value, ty))| payload(value, ty, &place(index)).map(Parameter))
        .collect()
}

fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// What is sent.
enum Payload<'a> {
    Null,
    Text(&'a str),
    /// A literal made here.
    Literal(String),
    Bytes(&'a [u8]),
    Bool(bool),
    Int2(i16),
    Int4(i32),
    Int8(i64),
    Oid(u32),
    Float4(f32),
    Float8(f64),
    TimestampTz(i64),
}

impl fmt::Debug for Parameter<'_> {
    // The driver logs parameters at debug level, and values must never reach a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Parameter(..)")
    }
}

impl ToSql for Parameter<'_> {
    fn to_sql(
        &self,
        _ty: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        match &self.0 {
            Payload::Null => return Ok(IsNull::Yes),
            Payload::Text(text) => out.put_slice(text.as_bytes()),
            Payload::Literal(text) => out.put_slice(text.as_bytes()),
            Payload::Bytes(bytes) => out.put_slice(bytes),
            Payload::Bool(value) => out.put_u8((*value).into()),
            Payload::Int2(number) => out.put_i16(*number),
            Payload::Int4(number) => out.put_i32(*number),
            Payload::Int8(number) => out.put_i64(*number),
            Payload::Oid(number) => out.put_u32(*number),
            Payload::Float4(number) => out.put_f32(*number),
            Payload::Float8(number) => out.put_f64(*number),
            Payload::TimestampTz(micros) => out.put_i64(*micros),
        }
        Ok(IsNull::No)
    }

    fn accepts(_ty: &Type) -> bool {
        true
    }

    fn encode_format(&self, _ty: &Type) -> types::Format {
        match self.0 {
            Payload::Null | Payload::Text(_) | Payload::Literal(_) => types::Format::Text,
            Payload::Bytes(_)
            | Payload::Bool(_)
            | Payload::Int2(_)
            | Payload::Int4(_)
            | Payload::Int8(_)
            | Payload::Oid(_)
            | Payload::Float4(_)
            | Payload::Float8(_)
            | Payload::TimestampTz(_) => types::Format::Binary,
        }
    }

    to_sql_checked!();
}

impl Payload<'_> {
    /// Writes it as a field or element of a literal; a NULL is the caller's.
    fn write_quoted(&self, out: &mut String) {
        match self {
            Self::Null => {}
            Self::Text(text) => array_and_record_text::write_quoted(text, out),
            Self::Literal(text) => array_and_record_text::write_quoted(text, out),
            Self::Bytes(bytes) => {
                out.push_str("\"\\\\x");
                for byte in *bytes {
                    write!(out, "{byte:02x}").expect("a String takes all text");
                }
                out.push('"');
            }
            Self::Bool(value) => out.push(if *value { 't' } else { 'f' }),
            Self::Int2(number) => out.push_str(&number.to_string()),
            Self::Int4(number) => out.push_str(&number.to_string()),
            Self::Int8(number) => out.push_str(&number.to_string()),
            Self::Oid(number) => out.push_str(&number.to_string()),
            Self::Float4(number) => push_float(f64::from(*number), &format!("{number:e}"), out),
            Self::Float8(number) => push_float(*number, &format!("{number:e}"), out),
            Self::TimestampTz(micros) => {
                array_and_record_text::write_quoted(&datetime::timestamptz(*micros), out);
            }
        }
    }
}

fn push_float(number: f64, shortest: &str, out: &mut String) {
    if number.is_nan() {
        out.push_str("NaN");
    } else if number.is_infinite() {
        out.push_str(if number > 0.0 { "Infinity" } else { "-Infinity" });
    } else {
        out.push_str(shortest);
    }
}

/// Where in the request a value stands.
#[derive(Clone, Copy)]
enum Place<'a> {
    Parameter { index: usize },
    Element { of: &'a Place<'a>, index: usize },
    Field { of: &'a Place<'a>, index: usize },
}

impl Place<'_> {
    /// As `google.rpc.BadRequest` writes it.
    fn path(&self) -> String {
        match self {
            Self::Parameter { index } => format!("parameters[{index}]"),
            Self::Element { of, index } => format!("{}.array_value.elements[{index}]", of.path()),
            Self::Field { of, index } => format!("{}.record_value.fields[{index}]", of.path()),
        }
    }

    /// As SQL's users say it.
    fn subject(&self) -> String {
        match self {
            Self::Parameter { index } => format!("${}", index + 1),
            Self::Element { of, .. } => format!("an element of {}", of.subject()),
            Self::Field { of, index } => format!("field {} of {}", index + 1, of.subject()),
        }
    }

    fn invalid(&self, description: impl Into<String>) -> Error {
        Error::field(ErrorKind::InvalidParameter, self.path(), description)
    }

    fn out_of_range(&self, ty: &Type, kind: &str) -> Error {
        let (subject, name) = (self.subject(), type_name(ty));
        Error::field(
            ErrorKind::ParameterOutOfRange,
            self.path(),
            format!("{subject} is {name}, and the {kind} is out of its range"),
        )
    }
}

fn payload<'a>(value: &'a Value, ty: &Type, place: &Place<'_>) -> Result<Payload<'a>> {
    let Some(kind) = &value.kind else {
        return Err(place.invalid("no kind is set; SQL NULL is a null_value"));
    };
    let target = base(ty);
    let encoded = match kind {
        Kind::NullValue(_) => Some(Payload::Null),
        Kind::TextValue(text) if text.contains('\0') => {
            return Err(place.invalid("the text holds a NUL character, which PostgreSQL cannot"));
        }
        Kind::TextValue(text) => Some(Payload::Text(text)),
        Kind::BoolValue(value) => (*target == Type::BOOL).then_some(Payload::Bool(*value)),
        Kind::Int64Value(number) => integer(*number, target, place)?,
        Kind::Float64Value(number) => float(*number, target, place)?,
        Kind::BytesValue(bytes) => (*target == Type::BYTEA).then_some(Payload::Bytes(bytes)),
        Kind::TimestampValue(timestamp) if *target == Type::TIMESTAMPTZ => {
            let micros = datetime::micros_from_timestamp(timestamp.seconds, timestamp.nanos)
                .ok_or_else(|| place.out_of_range(ty, kind.name()))?;
            Some(Payload::TimestampTz(micros))
        }
        Kind::TimestampValue(_) => None,
        Kind::ArrayValue(array) => match element(target) {
            Some(element) => Some(Payload::Literal(array_literal(array, &element, place)?)),
            None => None,
        },
        Kind::RecordValue(record) => match composite_fields(target) {
            Some(fields) => Some(Payload::Literal(record_literal(record, fields, place)?)),
            None => None,
        },
    };
    encoded.ok_or_else(|| {
        let (subject, name, kind) = (place.subject(), type_name(ty), kind.name());
        place.invalid(format!("{subject} is {name} and takes {}, not {kind}", taken(target)))
    })
}

fn composite_fields(target: &Type) -> Option<&[types::Field]> {
    if let types::Kind::Composite(fields) = target.kind() { Some(fields) } else { None }
}

/// The kinds that a type takes.
fn taken(target: &Type) -> &'static str {
    if element(target).is_some() {
        return "array_value or text_value";
    }
    if composite_fields(target).is_some() {
        return "record_value or text_value";
    }
    match *target {
        Type::BOOL => "bool_value or text_value",
        Type::INT2 | Type::INT4 | Type::INT8 | Type::OID | Type::NUMERIC => {
            "int64_value or text_value"
        }
        Type::FLOAT4 | Type::FLOAT8 => "float64_value, int64_value or text_value",
        Type::BYTEA => "bytes_value or text_value",
        Type::TIMESTAMPTZ => "timestamp_value or text_value",
        _ => "text_value",
    }
}

fn integer(number: i64, target: &Type, place: &Place<'_>) -> Result<Option<Payload<'static>>> {
    let payload = match *target {
        Type::INT2 => i16::try_from(number).ok().map(Payload::Int2),
        Type::INT4 => i32::try_from(number).ok().map(Payload::Int4),
        Type::INT8 => Some(Payload::Int8(number)),
        Type::OID => u32::try_from(number).ok().map(Payload::Oid),
        Type::NUMERIC => Some(Payload::Literal(number.to_string())),
        // The decimal digits are parsed to the same number where the mantissa has room for it.
        Type::FLOAT4 => {
            is_exact(number, f32::MANTISSA_DIGITS).then(|| Payload::Literal(number.to_string()))
        }
        Type::FLOAT8 => {
            is_exact(number, f64::MANTISSA_DIGITS).then(|| Payload::Literal(number.to_string()))
        }
        _ => return Ok(None),
    };
    match payload {
        Some(payload) => Ok(Some(payload)),
        None => Err(place.out_of_range(target, "int64_value")),
    }
}

fn is_exact(number: i64, mantissa_bits: u32) -> bool {
    let magnitude = number.unsigned_abs();
    magnitude == 0
        || u64::BITS - magnitude.leading_zeros() - magnitude.trailing_zeros() <= mantissa_bits
}

fn float(number: f64, target: &Type, place: &Place<'_>) -> Result<Option<Payload<'static>>> {
    if *target == Type::FLOAT8 {
        return Ok(Some(Payload::Float8(number)));
    }
    if *target != Type::FLOAT4 {
        return Ok(None);
    }
    #[expect(clippy::cast_possible_truncation, reason = "rounding is what float4 is given for")]
    let rounded = number as f32;
    if rounded.is_infinite() && number.is_finite() {
        return Err(place.out_of_range(target, "float64_value"));
    }
    Ok(Some(Payload::Float4(rounded)))
}

fn array_literal(array: &ArrayValue, element: &Type, place: &Place<'_>) -> Result<String> {
    let dimensions = dimensions(array, place)?;
    let mut out = String::with_capacity(array.elements.len() * 8 + 2);
    array_and_record_text::write_array(
        &dimensions,
        delimiter(element),
        &mut out,
        &mut |index, out| {
            let place = Place::Element { of: place, index };
            let Some(value) = array.elements.get(index) else { return Ok(()) };
            let payload = payload(value, element, &place)?;
            if let Payload::Null = payload {
                out.push_str("NULL");
            }
            payload.write_quoted(out);
            Ok::<(), Error>(())
        },
    )?;
    Ok(out)
}

/// The array's dimensions, checked against its elements.
fn dimensions(array: &ArrayValue, place: &Place<'_>) -> Result<Vec<Dimension>> {
    let elements = array.elements.len();
    if elements == 0 && (array.dimensions.is_empty() || array.dimensions.contains(&0)) {
        return Ok(Vec::new());
    }
    let lengths = if array.dimensions.is_empty() {
        let length = i32::try_from(elements)
            .map_err(|_too_many| place.invalid("the array has too many elements"))?;
        vec![length]
    } else {
        array.dimensions.clone()
    };
    if lengths.len() > MAX_RANK {
        return Err(place.invalid(format!("an array has at most {MAX_RANK} dimensions")));
    }
    let bounds = &array.lower_bounds;
    if !bounds.is_empty() && bounds.len() != lengths.len() {
        let (bounds, rank) =
            (count(bounds.len(), "lower bound"), count(lengths.len(), "dimension"));
        return Err(place.invalid(format!("the array has {bounds} for {rank}")));
    }
    let bounds = bounds.iter().copied().chain(std::iter::repeat(1));
    let dimensions: Vec<Dimension> = lengths
        .into_iter()
        .zip(bounds)
        .map(|(length, lower_bound)| Dimension { length, lower_bound })
        .collect();
    if array_and_record_text::element_count(&dimensions) != Some(elements) {
        let elements = count(elements, "element");
        return Err(place.invalid(format!("the array's dimensions do not hold its {elements}")));
    }
    if dimensions.iter().any(|it| it.lower_bound.checked_add(it.length).is_none()) {
        return Err(place.invalid("the array's indexes exceed 32 bits"));
    }
    Ok(dimensions)
}

fn record_literal(
    record: &RecordValue,
    fields: &[types::Field],
    place: &Place<'_>,
) -> Result<String> {
    if record.fields.len() != fields.len() {
        let (given, taken) = (record.fields.len(), count(fields.len(), "field"));
        return Err(place.invalid(format!("{} has {taken}, not {given}", place.subject())));
    }
    let mut out = String::from("(");
    for (index, (value, field)) in record.fields.iter().zip(fields).enumerate() {
        if index > 0 {
            out.push(',');
        }
        payload(value, field.type_(), &Place::Field { of: place, index })?.write_quoted(&mut out);
    }
    out.push(')');
    Ok(out)
}

#[cfg(test)]
mod tests {
    use tokio_postgres::types::Field;

    use super::*;

    fn user_type(name: &str, kind: types::Kind) -> Type {
        Type::new(name.to_owned(), 70_000, kind, "public".to_owned())
    }

    fn pair() -> Type {
        let fields = vec![
            Field::new("a".to_owned(), Type::INT4),
            Field::new("b".to_owned(), Type::TEXT_ARRAY),
        ];
        user_type("pair", types::Kind::Composite(fields))
    }

    /// The form and the bytes; `None` for NULL.
    fn sent(value: Value, ty: &Type) -> Result<Option<(bool, Vec<u8>)>> {
        let values = [value];
        let parameters = encode(&values, std::slice::from_ref(ty))?;
        let mut out = BytesMut::new();
        let parameter = &parameters[0];
        Ok(match parameter.to_sql_checked(ty, &mut out).expect("it is checked already") {
            IsNull::Yes => None,
            IsNull::No => {
                let binary = matches!(parameter.encode_format(ty), types::Format::Binary);
                Some((binary, out.to_vec()))
            }
        })
    }

    fn text(value: Value, ty: &Type) -> String {
        let (binary, bytes) = sent(value, ty).unwrap().expect("not null");
        assert!(!binary);
        String::from_utf8(bytes).unwrap()
    }

    fn binary(value: Value, ty: &Type) -> Vec<u8> {
        let (binary, bytes) = sent(value, ty).unwrap().expect("not null");
        assert!(binary);
        bytes
    }

    fn refused(value: Value, ty: &Type) -> (ErrorKind, String) {
        let error = sent(value, ty).expect_err("it should have been refused");
        (error.kind(), error.message().to_owned())
    }

    fn array(elements: Vec<Value>, dimensions: Vec<i32>, lower_bounds: Vec<i32>) -> Value {
        Kind::ArrayValue(ArrayValue { elements, dimensions, lower_bounds }).into()
    }

    fn ints(count: i64) -> Vec<Value> {
        (1..=count).map(Value::int64).collect()
    }

    fn record(fields: Vec<Value>) -> Value {
        Kind::RecordValue(RecordValue { fields }).into()
    }

    #[test]
    fn text_is_sent_as_text_for_any_type() {
        for ty in [Type::INT4, Type::UUID, Type::JSONB, Type::INT4_ARRAY, Type::MONEY, pair()] {
            assert_eq!(text(Value::text("x"), &ty), "x");
            assert_eq!(sent(Value::null(), &ty).unwrap(), None);
        }
    }

    #[test]
    fn native_kinds_take_the_width_of_their_type() {
        assert_eq!(binary(Value::bool(true), &Type::BOOL), [1]);
        assert_eq!(binary(Value::int64(-2), &Type::INT2), [0xFF, 0xFE]);
        assert_eq!(binary(Value::int64(-2), &Type::INT4), [0xFF, 0xFF, 0xFF, 0xFE]);
        assert_eq!(binary(Value::int64(i64::MIN), &Type::INT8), i64::MIN.to_be_bytes());
        assert_eq!(binary(Value::int64(4_294_967_295), &Type::OID), [0xFF; 4]);
        assert_eq!(text(Value::int64(i64::MIN), &Type::NUMERIC), i64::MIN.to_string());
        assert_eq!(binary(Value::float64(0.1), &Type::FLOAT8), 0.1_f64.to_be_bytes());
        assert_eq!(binary(Value::float64(0.1), &Type::FLOAT4), 0.1_f32.to_be_bytes());
        assert_eq!(binary(Value::bytes([0, 255]), &Type::BYTEA), [0, 255]);
        let epoch = Value::timestamp(946_684_800, 1_500);
        assert_eq!(binary(epoch, &Type::TIMESTAMPTZ), 2_i64.to_be_bytes());
        let domain = user_type("age", types::Kind::Domain(Type::INT2));
        assert_eq!(binary(Value::int64(7), &domain), [0, 7]);
    }

    #[test]
    fn integers_go_to_floats_only_when_exact() {
        assert_eq!(text(Value::int64(16_777_216), &Type::FLOAT4), "16777216");
        assert_eq!(text(Value::int64(i64::MIN), &Type::FLOAT4), i64::MIN.to_string());
        assert_eq!(text(Value::int64(0), &Type::FLOAT8), "0");
        for (number, ty) in [(16_777_217, Type::FLOAT4), (9_007_199_254_740_993, Type::FLOAT8)] {
            assert_eq!(refused(Value::int64(number), &ty).0, ErrorKind::ParameterOutOfRange);
        }
    }

    #[test]
    fn what_a_type_cannot_hold_is_out_of_range() {
        let cases = [
            (Value::int64(32_768), Type::INT2, "int2, and the int64_value"),
            (Value::int64(-2_147_483_649), Type::INT4, "int4, and the int64_value"),
            (Value::int64(-1), Type::OID, "oid, and the int64_value"),
            (Value::float64(1e39), Type::FLOAT4, "float4, and the float64_value"),
            (Value::timestamp(0, -1), Type::TIMESTAMPTZ, "timestamptz, and the timestamp_value"),
        ];
        for (value, ty, middle) in cases {
            let message = format!("parameters[0]: $1 is {middle} is out of its range");
            assert_eq!(refused(value, &ty), (ErrorKind::ParameterOutOfRange, message));
        }
    }

    #[test]
    fn a_wrong_kind_is_told_what_the_type_takes() {
        let cases = [
            (Value::int64(1), Type::TEXT, "$1 is text and takes text_value, not int64_value"),
            (
                Value::bool(true),
                Type::INT4,
                "$1 is int4 and takes int64_value or text_value, not bool_value",
            ),
            (
                Value::float64(1.0),
                Type::NUMERIC,
                "$1 is numeric and takes int64_value or text_value, not float64_value",
            ),
            (Value::bytes([1]), Type::TEXT, "$1 is text and takes text_value, not bytes_value"),
            (
                Value::timestamp(0, 0),
                Type::TIMESTAMP,
                "$1 is timestamp and takes text_value, not timestamp_value",
            ),
            (
                Value::int64(1),
                Type::INT4_ARRAY,
                "$1 is int4[] and takes array_value or text_value, not int64_value",
            ),
            (
                array(vec![], vec![], vec![]),
                Type::INT2_VECTOR,
                "$1 is int2vector and takes text_value, not array_value",
            ),
            (record(vec![]), Type::RECORD, "$1 is record and takes text_value, not record_value"),
            (Value { kind: None }, Type::INT4, "no kind is set; SQL NULL is a null_value"),
            (
                Value::text("a\0b"),
                Type::TEXT,
                "the text holds a NUL character, which PostgreSQL cannot",
            ),
        ];
        for (value, ty, description) in cases {
            let message = format!("parameters[0]: {description}");
            assert_eq!(refused(value, &ty), (ErrorKind::InvalidParameter, message));
        }
    }

    #[test]
    fn the_second_parameter_is_named_as_such() {
        let values = [Value::int64(1), Value::bool(true)];
        let error = encode(&values, &[Type::INT4, Type::INT4]).unwrap_err();
        assert_eq!(error.violation().map(|it| it.field.as_str()), Some("parameters[1]"));
        let error = encode(&values, &[Type::INT4]).unwrap_err();
        assert_eq!(error.message(), "parameters: the statement takes 1 parameter, not 2");
        assert_eq!(error.kind(), ErrorKind::InvalidParameter);
    }

    #[test]
    fn arrays_become_literals() {
        let cases = [
            (array(vec![], vec![], vec![]), Type::INT4_ARRAY, "{}"),
            (array(vec![], vec![2, 0], vec![]), Type::INT4_ARRAY, "{}"),
            (array(ints(3), vec![], vec![]), Type::INT4_ARRAY, "{1,2,3}"),
            (array(ints(3), vec![], vec![2]), Type::INT4_ARRAY, "[2:4]={1,2,3}"),
            (array(ints(4), vec![2, 2], vec![]), Type::INT8_ARRAY, "{{1,2},{3,4}}"),
            (array(ints(2), vec![1, 2], vec![1, -1]), Type::INT2_ARRAY, "[1:1][-1:0]={{1,2}}"),
            (
                array(
                    vec![Value::text("a\"\\,"), Value::null(), Value::text("NULL")],
                    vec![],
                    vec![],
                ),
                Type::TEXT_ARRAY,
                r#"{"a\"\\,",NULL,"NULL"}"#,
            ),
            (
                array(vec![Value::bytes([0, 171]), Value::bytes([])], vec![], vec![]),
                Type::BYTEA_ARRAY,
                r#"{"\\x00ab","\\x"}"#,
            ),
            (
                array(
                    vec![
                        Value::float64(f64::NAN),
                        Value::float64(f64::NEG_INFINITY),
                        Value::float64(1e300),
                    ],
                    vec![],
                    vec![],
                ),
                Type::FLOAT8_ARRAY,
                "{NaN,-Infinity,1e300}",
            ),
            (
                array(vec![Value::float64(0.1), Value::int64(2)], vec![], vec![]),
                Type::FLOAT4_ARRAY,
                r#"{1e-1,"2"}"#,
            ),
            (
                array(vec![Value::bool(true), Value::bool(false)], vec![], vec![]),
                Type::BOOL_ARRAY,
                "{t,f}",
            ),
            (
                array(vec![Value::timestamp(946_684_800, 0)], vec![], vec![]),
                Type::TIMESTAMPTZ_ARRAY,
                r#"{"2000-01-01 00:00:00+00"}"#,
            ),
            (
                array(vec![Value::text("(1,1),(0,0)"), Value::text("(3,3),(2,2)")], vec![], vec![]),
                Type::BOX_ARRAY,
                r#"{"(1,1),(0,0)";"(3,3),(2,2)"}"#,
            ),
        ];
        for (value, ty, literal) in cases {
            assert_eq!(text(value, &ty), literal);
        }
    }

    #[test]
    fn records_become_literals() {
        let inner = array(vec![Value::text("x\"y"), Value::null()], vec![], vec![]);
        assert_eq!(
            text(record(vec![Value::int64(1), inner]), &pair()),
            r#"(1,"{\"x\\\"y\",NULL}")"#
        );
        assert_eq!(text(record(vec![Value::null(), Value::text("")]), &pair()), r#"(,"")"#);
    }

    #[test]
    fn what_is_wrong_inside_an_array_or_record_is_named() {
        let invalid = ErrorKind::InvalidParameter;
        let cases = [
            (
                array(vec![Value::int64(1), Value::bool(true)], vec![], vec![]),
                Type::INT4_ARRAY,
                invalid,
                "parameters[0].array_value.elements[1]: an element of $1 is int4 and takes int64_value or text_value, not bool_value",
            ),
            (
                record(vec![Value::int64(1 << 40), Value::null()]),
                pair(),
                ErrorKind::ParameterOutOfRange,
                "parameters[0].record_value.fields[0]: field 1 of $1 is int4, and the int64_value is out of its range",
            ),
            (record(vec![]), pair(), invalid, "parameters[0]: $1 has 2 fields, not 0"),
            (
                array(ints(3), vec![2, 2], vec![]),
                Type::INT4_ARRAY,
                invalid,
                "parameters[0]: the array's dimensions do not hold its 3 elements",
            ),
            (
                array(ints(1), vec![-1, -1], vec![]),
                Type::INT4_ARRAY,
                invalid,
                "parameters[0]: the array's dimensions do not hold its 1 element",
            ),
            (
                array(ints(1), vec![], vec![1, 1]),
                Type::INT4_ARRAY,
                invalid,
                "parameters[0]: the array has 2 lower bounds for 1 dimension",
            ),
            (
                array(ints(1), vec![1; 7], vec![]),
                Type::INT4_ARRAY,
                invalid,
                "parameters[0]: an array has at most 6 dimensions",
            ),
            (
                array(ints(1), vec![], vec![i32::MAX]),
                Type::INT4_ARRAY,
                invalid,
                "parameters[0]: the array's indexes exceed 32 bits",
            ),
        ];
        for (value, ty, kind, message) in cases {
            assert_eq!(refused(value, &ty), (kind, message.to_owned()));
        }
    }

    #[test]
    fn debug_shows_no_value() {
        let values = [Value::text("secret")];
        let parameters = encode(&values, &[Type::TEXT]).unwrap();
        assert!(!format!("{parameters:?}").contains("secret"));
    }
}
