//! Parameters: checked against the types that PostgreSQL inferred, before anything is sent.
//!
//! Text is sent as text for any type, and the database parses it. The native kinds are sent in binary
//! where the type is as wide as the value, else as a literal.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt::{self, Write};

use bytes::{BufMut, BytesMut};
use tokio_postgres::types::{self, IsNull, ToSql, Type, to_sql_checked};

use super::array::{Dimension, MAX_RANK, element_count, write_array};
use super::column_types::{base, delimiter, element, type_name};
use super::datetime;
use super::quoted_text::write_quoted;
use crate::error::{Error, ErrorKind, Result};
use crate::value::{ArrayValue, Kind, RecordValue, Value};

/// A checked parameter, as it is sent. Its `Debug` shows no value.
pub(crate) enum Parameter<'a> {
    Null,
    Text(Cow<'a, str>),
    Bytes(&'a [u8]),
    Bool(bool),
    Integer {
        number: i64,
        /// The width of the type, in bytes.
        width: usize,
    },
    Float4(f32),
    Float8(f64),
    /// Microseconds since 2000.
    TimestampTz(i64),
}

/// Checks the values of `$1`, `$2` … against the statement's types.
/// Errors name the field, as in `parameters[0]` or `parameters[0].array_value.elements[2]`.
pub(crate) fn encode<'a>(parameters: &'a [Value], types: &[Type]) -> Result<Vec<Parameter<'a>>> {
    if parameters.len() != types.len() {
        let expected = count(types.len(), "parameter");
        let message = format!("the statement has {expected}, not {}", parameters.len());
        return Err(Error::field(ErrorKind::InvalidParameter, "parameters", message));
    }
    let typed = parameters.iter().zip(types).enumerate();
    let encoded = typed.map(|(index, (value, ty))| parameter(value, ty, &Path::Parameter(index)));
    let encoded: Vec<_> = encoded.collect::<Result<_>>()?;
    check_size(&encoded, MAX_MESSAGE)?;
    Ok(encoded)
}

/// The largest message that PostgreSQL takes, in bytes, less what a message has beside values and text. At a
/// larger one it closes the connection, without an answer.
pub(crate) const MAX_MESSAGE: usize = (1 << 30) - (1 << 10);

fn check_size(parameters: &[Parameter<'_>], max: usize) -> Result<()> {
    // Each has its format and its length beside its value.
    let size = parameters.iter().map(|parameter| parameter.encoded_size() + 6).sum::<usize>();
    if size <= max {
        return Ok(());
    }
    let message = format!("they are {size} bytes as sent, and PostgreSQL takes at most {max}");
    Err(Error::field(ErrorKind::InvalidParameter, "parameters", message)
        .with_hint("Send them in several statements."))
}

const TEXT_FITS: &str = "a String accepts all text";

fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
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
        match self {
            Self::Null => return Ok(IsNull::Yes),
            Self::Text(text) => out.put_slice(text.as_bytes()),
            Self::Bytes(bytes) => out.put_slice(bytes),
            Self::Bool(value) => out.put_u8((*value).into()),
            Self::Integer { number, width } => out.put_int(*number, *width),
            Self::Float4(number) => out.put_f32(*number),
            Self::Float8(number) => out.put_f64(*number),
            Self::TimestampTz(micros) => out.put_i64(*micros),
        }
        Ok(IsNull::No)
    }

    fn accepts(_ty: &Type) -> bool {
        true
    }

    fn encode_format(&self, _ty: &Type) -> types::Format {
        let is_text = matches!(self, Self::Null | Self::Text(_));
        if is_text { types::Format::Text } else { types::Format::Binary }
    }

    to_sql_checked!();
}

impl Parameter<'_> {
    fn encoded_size(&self) -> usize {
        match self {
            Self::Null => 0,
            Self::Text(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
            Self::Bool(_) => 1,
            Self::Integer { width, .. } => *width,
            Self::Float4(_) => 4,
            Self::Float8(_) | Self::TimestampTz(_) => 8,
        }
    }

    /// Writes the value as an element of an array or a field of a record, in which NULL is `null`.
    fn write_literal(&self, null: &str, out: &mut String) {
        match self {
            Self::Null => out.write_str(null),
            Self::Text(text) => {
                write_quoted(text, out);
                Ok(())
            }
            Self::Bytes(bytes) => {
                out.push_str("\"\\\\x");
                for byte in *bytes {
                    write!(out, "{byte:02x}").expect(TEXT_FITS);
                }
                out.write_char('"')
            }
            Self::Bool(value) => out.write_char(if *value { 't' } else { 'f' }),
            Self::Integer { number, .. } => write!(out, "{number}"),
            Self::Float4(number) if number.is_finite() => write!(out, "{number:e}"),
            Self::Float4(number) => out.write_str(non_finite(f64::from(*number))),
            Self::Float8(number) if number.is_finite() => write!(out, "{number:e}"),
            Self::Float8(number) => out.write_str(non_finite(*number)),
            Self::TimestampTz(micros) => write!(out, "\"{}\"", datetime::timestamptz(*micros)),
        }
        .expect(TEXT_FITS);
    }
}

fn non_finite(number: f64) -> &'static str {
    if number.is_nan() {
        "NaN"
    } else if number > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    }
}

/// The path of a value in the request.
#[derive(Clone, Copy)]
enum Path<'a> {
    Parameter(usize),
    Element(&'a Self, usize),
    Field(&'a Self, usize),
}

impl Path<'_> {
    /// Returns the path as `google.rpc.BadRequest` writes it.
    fn field(&self) -> String {
        match self {
            Self::Parameter(index) => format!("parameters[{index}]"),
            Self::Element(of, index) => format!("{}.array_value.elements[{index}]", of.field()),
            Self::Field(of, index) => format!("{}.record_value.fields[{index}]", of.field()),
        }
    }

    /// Returns the path in words, for messages.
    fn subject(&self) -> String {
        match self {
            Self::Parameter(index) => format!("${}", index + 1),
            Self::Element(of, _) => format!("an element of {}", of.subject()),
            Self::Field(of, index) => format!("field {} of {}", index + 1, of.subject()),
        }
    }

    fn invalid(&self, description: impl Into<String>) -> Error {
        Error::field(ErrorKind::InvalidParameter, self.field(), description)
    }

    fn out_of_range(&self, ty: &Type, kind: &str) -> Error {
        let subject = self.subject();
        let name = type_name(ty);
        let description = format!("{subject} is {name}, and the {kind} is out of its range");
        Error::field(ErrorKind::ParameterOutOfRange, self.field(), description)
    }
}

fn parameter<'a>(value: &'a Value, ty: &Type, path: &Path<'_>) -> Result<Parameter<'a>> {
    let Some(kind) = &value.kind else {
        return Err(path.invalid("no kind is set; SQL NULL is a null_value"));
    };
    let target = base(ty);
    let encoded = match kind {
        Kind::NullValue(_) => Some(Parameter::Null),
        Kind::TextValue(text) if text.contains('\0') => {
            let why = "the text contains a NUL character, which PostgreSQL cannot store";
            return Err(path.invalid(why));
        }
        Kind::TextValue(text) => Some(Parameter::Text(text.into())),
        Kind::BoolValue(value) => (*target == Type::BOOL).then_some(Parameter::Bool(*value)),
        Kind::Int64Value(number) => integer(*number, target, path)?,
        Kind::Float64Value(number) => float(*number, target, path)?,
        Kind::BytesValue(bytes) => (*target == Type::BYTEA).then_some(Parameter::Bytes(bytes)),
        Kind::TimestampValue(timestamp) if *target == Type::TIMESTAMPTZ => {
            let micros = datetime::micros_from_timestamp(timestamp.seconds, timestamp.nanos)
                .ok_or_else(|| path.out_of_range(ty, kind.name()))?;
            Some(Parameter::TimestampTz(micros))
        }
        // References are resolved before.
        Kind::TimestampValue(_) | Kind::ResultReference(_) => None,
        Kind::ArrayValue(array) => {
            element(target).map(|element| array_literal(array, &element, path)).transpose()?
        }
        Kind::RecordValue(record) => {
            let fields = composite_fields(target);
            fields.map(|fields| record_literal(record, fields, path)).transpose()?
        }
    };
    encoded.ok_or_else(|| {
        let subject = path.subject();
        let name = type_name(ty);
        let accepted = accepted_kinds(target);
        path.invalid(format!("{subject} is {name} and accepts {accepted}, not {}", kind.name()))
    })
}

fn composite_fields(target: &Type) -> Option<&[types::Field]> {
    if let types::Kind::Composite(fields) = target.kind() { Some(fields) } else { None }
}

fn accepted_kinds(target: &Type) -> &'static str {
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

fn integer(number: i64, target: &Type, path: &Path<'_>) -> Result<Option<Parameter<'static>>> {
    let literal = || Parameter::Text(number.to_string().into());
    let sized = |width| Parameter::Integer { number, width };
    let parameter = match *target {
        Type::INT2 => i16::try_from(number).ok().map(|_| sized(2)),
        Type::INT4 => i32::try_from(number).ok().map(|_| sized(4)),
        Type::INT8 => Some(sized(8)),
        Type::OID => u32::try_from(number).ok().map(|_| sized(4)),
        Type::NUMERIC => Some(literal()),
        // The database parses the decimal digits to the same number where the mantissa can hold it.
        Type::FLOAT4 => is_exact(number, f32::MANTISSA_DIGITS).then(literal),
        Type::FLOAT8 => is_exact(number, f64::MANTISSA_DIGITS).then(literal),
        _ => return Ok(None),
    };
    parameter.map(Some).ok_or_else(|| path.out_of_range(target, "int64_value"))
}

fn is_exact(number: i64, mantissa_bits: u32) -> bool {
    let magnitude = number.unsigned_abs();
    magnitude == 0
        || u64::BITS - magnitude.leading_zeros() - magnitude.trailing_zeros() <= mantissa_bits
}

fn float(number: f64, target: &Type, path: &Path<'_>) -> Result<Option<Parameter<'static>>> {
    if *target == Type::FLOAT8 {
        return Ok(Some(Parameter::Float8(number)));
    }
    if *target != Type::FLOAT4 {
        return Ok(None);
    }
    #[expect(clippy::cast_possible_truncation, reason = "a float4 holds the rounded number")]
    let rounded = number as f32;
    if rounded.is_infinite() && number.is_finite() {
        return Err(path.out_of_range(target, "float64_value"));
    }
    Ok(Some(Parameter::Float4(rounded)))
}

fn array_literal(
    array: &ArrayValue,
    element: &Type,
    path: &Path<'_>,
) -> Result<Parameter<'static>> {
    let dimensions = dimensions(array, path)?;
    let mut out = String::with_capacity(array.elements.len() * 8 + 2);
    write_array(&dimensions, delimiter(element), &mut out, &mut |index, out| {
        let Some(value) = array.elements.get(index) else { return Ok(()) };
        parameter(value, element, &Path::Element(path, index))?.write_literal("NULL", out);
        Ok(())
    })?;
    Ok(Parameter::Text(out.into()))
}

/// Returns the array's dimensions, checked against its elements.
fn dimensions(array: &ArrayValue, path: &Path<'_>) -> Result<Vec<Dimension>> {
    let elements = array.elements.len();
    if elements == 0 && (array.dimensions.is_empty() || array.dimensions.contains(&0)) {
        return Ok(Vec::new());
    }
    let lengths = if array.dimensions.is_empty() {
        let too_many = |_| path.invalid("the array has too many elements");
        vec![i32::try_from(elements).map_err(too_many)?]
    } else {
        array.dimensions.clone()
    };
    if lengths.len() > MAX_RANK {
        return Err(path.invalid(format!("an array has at most {MAX_RANK} dimensions")));
    }
    let bounds = &array.lower_bounds;
    if !bounds.is_empty() && bounds.len() != lengths.len() {
        let rank = count(lengths.len(), "dimension");
        let bounds = count(bounds.len(), "lower bound");
        return Err(path.invalid(format!("the array has {bounds} for {rank}")));
    }
    let bounds = bounds.iter().copied().chain(std::iter::repeat(1));
    let dimensions = lengths.into_iter().zip(bounds);
    let dimensions: Vec<_> =
        dimensions.map(|(length, lower_bound)| Dimension { length, lower_bound }).collect();
    if element_count(&dimensions) != Some(elements) {
        let elements = count(elements, "element");
        return Err(path.invalid(format!("the array's dimensions do not match its {elements}")));
    }
    if dimensions.iter().any(|it| it.lower_bound.checked_add(it.length).is_none()) {
        return Err(path.invalid("the array's indexes exceed 32 bits"));
    }
    Ok(dimensions)
}

fn record_literal(
    record: &RecordValue,
    fields: &[types::Field],
    path: &Path<'_>,
) -> Result<Parameter<'static>> {
    if record.fields.len() != fields.len() {
        let expected = count(fields.len(), "field");
        let given = record.fields.len();
        return Err(path.invalid(format!("{} has {expected}, not {given}", path.subject())));
    }
    let mut out = String::from("(");
    for (index, (value, field)) in record.fields.iter().zip(fields).enumerate() {
        if index > 0 {
            out.push(',');
        }
        parameter(value, field.type_(), &Path::Field(path, index))?.write_literal("", &mut out);
    }
    out.push(')');
    Ok(Parameter::Text(out.into()))
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

    /// Returns the format and the bytes of a parameter; `None` for NULL.
    fn sent(value: Value, ty: &Type) -> Result<Option<(bool, Vec<u8>)>> {
        let values = [value];
        let parameters = encode(&values, std::slice::from_ref(ty))?;
        let mut out = BytesMut::new();
        let parameter = &parameters[0];
        Ok(match parameter.to_sql_checked(ty, &mut out).expect("the parameter is valid") {
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

    fn rejected(value: Value, ty: &Type) -> (ErrorKind, String) {
        let error = sent(value, ty).expect_err("the value is rejected");
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
    fn parameters_over_the_largest_message_are_refused_before_they_are_sent() {
        let parameters = [Parameter::Text("abcd".into()), Parameter::Null, Parameter::Bytes(b"ab")];
        assert!(check_size(&parameters, 24).is_ok());
        let error = check_size(&parameters, 23).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidParameter);
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
            assert_eq!(rejected(Value::int64(number), &ty).0, ErrorKind::ParameterOutOfRange);
        }
    }

    #[test]
    fn a_value_beyond_its_type_is_out_of_range() {
        let cases = [
            (Value::int64(32_768), Type::INT2, "int2, and the int64_value"),
            (Value::int64(-2_147_483_649), Type::INT4, "int4, and the int64_value"),
            (Value::int64(-1), Type::OID, "oid, and the int64_value"),
            (Value::float64(1e39), Type::FLOAT4, "float4, and the float64_value"),
            (Value::timestamp(0, -1), Type::TIMESTAMPTZ, "timestamptz, and the timestamp_value"),
        ];
        for (value, ty, middle) in cases {
            let message = format!("parameters[0]: $1 is {middle} is out of its range");
            assert_eq!(rejected(value, &ty), (ErrorKind::ParameterOutOfRange, message));
        }
    }

    #[test]
    fn an_error_about_a_wrong_kind_lists_the_accepted_kinds() {
        let cases = [
            (Value::int64(1), Type::TEXT, "$1 is text and accepts text_value, not int64_value"),
            (
                Value::bool(true),
                Type::INT4,
                "$1 is int4 and accepts int64_value or text_value, not bool_value",
            ),
            (
                Value::float64(1.0),
                Type::NUMERIC,
                "$1 is numeric and accepts int64_value or text_value, not float64_value",
            ),
            (Value::bytes([1]), Type::TEXT, "$1 is text and accepts text_value, not bytes_value"),
            (
                Value::timestamp(0, 0),
                Type::TIMESTAMP,
                "$1 is timestamp and accepts text_value, not timestamp_value",
            ),
            (
                Value::int64(1),
                Type::INT4_ARRAY,
                "$1 is int4[] and accepts array_value or text_value, not int64_value",
            ),
            (
                array(vec![], vec![], vec![]),
                Type::INT2_VECTOR,
                "$1 is int2vector and accepts text_value, not array_value",
            ),
            (record(vec![]), Type::RECORD, "$1 is record and accepts text_value, not record_value"),
            (Value { kind: None }, Type::INT4, "no kind is set; SQL NULL is a null_value"),
            (
                Value::text("a\0b"),
                Type::TEXT,
                "the text contains a NUL character, which PostgreSQL cannot store",
            ),
        ];
        for (value, ty, description) in cases {
            let message = format!("parameters[0]: {description}");
            assert_eq!(rejected(value, &ty), (ErrorKind::InvalidParameter, message));
        }
    }

    #[test]
    fn the_second_parameter_is_named_as_such() {
        let values = [Value::int64(1), Value::bool(true)];
        let error = encode(&values, &[Type::INT4, Type::INT4]).unwrap_err();
        assert_eq!(error.violation().map(|it| it.field.as_str()), Some("parameters[1]"));
        let error = encode(&values, &[Type::INT4]).unwrap_err();
        assert_eq!(error.message(), "parameters: the statement has 1 parameter, not 2");
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
    fn errors_inside_arrays_and_records_name_the_element() {
        let invalid = ErrorKind::InvalidParameter;
        let cases = [
            (
                array(vec![Value::int64(1), Value::bool(true)], vec![], vec![]),
                Type::INT4_ARRAY,
                invalid,
                "parameters[0].array_value.elements[1]: an element of $1 is int4 and accepts int64_value or text_value, not bool_value",
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
                "parameters[0]: the array's dimensions do not match its 3 elements",
            ),
            (
                array(ints(1), vec![-1, -1], vec![]),
                Type::INT4_ARRAY,
                invalid,
                "parameters[0]: the array's dimensions do not match its 1 element",
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
            assert_eq!(rejected(value, &ty), (kind, message.to_owned()));
        }
    }

    #[test]
    fn debug_shows_no_value() {
        let values = [Value::text("secret")];
        let parameters = encode(&values, &[Type::TEXT]).unwrap();
        assert!(!format!("{parameters:?}").contains("secret"));
    }
}
