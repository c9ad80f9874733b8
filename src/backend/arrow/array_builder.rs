//! The values of one column, as they become an array.

use std::borrow::Cow;
use std::sync::Arc;

use arrow_array::builder::{BinaryBuilder, BooleanBuilder, PrimitiveBuilder, StringBuilder};
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type,
    Int64Type, Time64MicrosecondType, TimestampMicrosecondType,
};
use arrow_array::{ArrayRef, ListArray};
use arrow_buffer::{NullBufferBuilder, OffsetBuffer};
use arrow_schema::{ArrowError, DataType as ArrowType, FieldRef, TimeUnit};

use super::{decimal_text, time_text};
use crate::value::cell::Cell;
use crate::value::proto::ArrayValue;
use crate::value::text::text;
use crate::value::{Column, Kind, Value};

/// The largest value of variable size: an array of a batch has offsets of 31 bits.
const MAX_VALUE_SIZE: usize = 1 << 30;

/// The size of an offset in an array, in bytes.
const OFFSET_SIZE: usize = size_of::<i32>();

const NOT_TEXT: &str = "bytes that are not text in UTF-8";

/// The reason why a value does not fit its column. It never quotes the value.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Misfit(pub(super) Cow<'static, str>);

impl From<&'static str> for Misfit {
    fn from(what: &'static str) -> Self {
        Self(what.into())
    }
}

/// The builder of a column's arrays.
pub(super) enum ArrayBuilder {
    Bool(BooleanBuilder),
    Int16(PrimitiveBuilder<Int16Type>),
    Int32(PrimitiveBuilder<Int32Type>),
    Int64(PrimitiveBuilder<Int64Type>),
    Float32(PrimitiveBuilder<Float32Type>),
    Float64(PrimitiveBuilder<Float64Type>),
    Text(StringBuilder),
    Bytes(BinaryBuilder),
    Date(PrimitiveBuilder<Date32Type>),
    Time(PrimitiveBuilder<Time64MicrosecondType>),
    /// The zone as it ends the text.
    Timestamp(PrimitiveBuilder<TimestampMicrosecondType>, &'static str),
    Decimal(PrimitiveBuilder<Decimal128Type>, u8, i8),
    List(Box<ListBuilder>),
}

impl ArrayBuilder {
    /// Makes the builder of a type that the schema has; `None` for any other type.
    pub(super) fn new(data_type: &ArrowType) -> Option<Self> {
        #[expect(clippy::wildcard_enum_match_arm, reason = "the schema has no other types")]
        Some(match data_type {
            ArrowType::Boolean => Self::Bool(BooleanBuilder::new()),
            ArrowType::Int16 => Self::Int16(of(data_type)),
            ArrowType::Int32 => Self::Int32(of(data_type)),
            ArrowType::Int64 => Self::Int64(of(data_type)),
            ArrowType::Float32 => Self::Float32(of(data_type)),
            ArrowType::Float64 => Self::Float64(of(data_type)),
            ArrowType::Utf8 => Self::Text(StringBuilder::new()),
            ArrowType::Binary => Self::Bytes(BinaryBuilder::new()),
            ArrowType::Date32 => Self::Date(of(data_type)),
            ArrowType::Time64(TimeUnit::Microsecond) => Self::Time(of(data_type)),
            ArrowType::Timestamp(TimeUnit::Microsecond, zone) => {
                Self::Timestamp(of(data_type), if zone.is_some() { "+00" } else { "" })
            }
            ArrowType::Decimal128(precision, scale) => {
                Self::Decimal(of(data_type), *precision, *scale)
            }
            ArrowType::List(element) => Self::List(Box::new(ListBuilder::new(element)?)),
            _ => return None,
        })
    }

    /// As [`ArrayBuilder::append`].
    pub(super) fn append_cell(&mut self, cell: Cell<'_>, column: &Column) -> Result<usize, Misfit> {
        match (self, cell) {
            (builder, Cell::Null) => Ok(builder.append_null()),
            (builder, Cell::Value(value)) => builder.append(&value, column),
            (Self::Bool(builder), Cell::Bool(value)) => {
                builder.append_value(value);
                Ok(1)
            }
            (Self::Int16(builder), Cell::Integer(value)) => integer(builder, value),
            (Self::Int32(builder), Cell::Integer(value)) => integer(builder, value),
            (Self::Int64(builder), Cell::Integer(value)) => integer(builder, value),
            (Self::Float32(builder), Cell::Float32(value)) => Ok(push(builder, value)),
            (Self::Float64(builder), Cell::Float64(value)) => Ok(push(builder, value)),
            (Self::Text(builder), Cell::Text(text)) => {
                let size = variable_size(text.as_bytes())?;
                builder.append_value(text);
                Ok(size)
            }
            (Self::Bytes(builder), Cell::Bytes(bytes)) => {
                let size = variable_size(bytes)?;
                builder.append_value(bytes);
                Ok(size)
            }
            (Self::Date(builder), Cell::Date(days)) => Ok(push(builder, days)),
            (Self::Time(builder), Cell::Time(micros)) => Ok(push(builder, micros)),
            (Self::Timestamp(builder, ""), Cell::Timestamp(micros)) => Ok(push(builder, micros)),
            (Self::Timestamp(builder, "+00"), Cell::Timestamptz(micros)) => {
                Ok(push(builder, micros))
            }
            // Values that are not of the type of their column have its form, or are errors.
            (builder, Cell::Bool(value)) => builder.append(&Value::bool(value), column),
            (builder, Cell::Integer(value)) => builder.append(&Value::int64(value), column),
            (builder, Cell::Float64(value)) => builder.append(&Value::float64(value), column),
            (builder, Cell::Text(text)) => builder.append(&Value::text(text), column),
            (builder, Cell::Bytes(bytes)) => builder.append(&Value::bytes(bytes), column),
            _ => Err("a value of another type".into()),
        }
    }

    /// Adds a value of the column, and returns the bytes that it takes.
    pub(super) fn append(&mut self, value: &Value, column: &Column) -> Result<usize, Misfit> {
        let kind = match &value.kind {
            None | Some(Kind::NullValue(_)) => return Ok(self.append_null()),
            Some(kind) => kind,
        };
        match (&mut *self, kind) {
            (Self::Bool(builder), Kind::BoolValue(value)) => {
                builder.append_value(*value);
                Ok(1)
            }
            (Self::Int16(builder), Kind::Int64Value(value)) => integer(builder, *value),
            (Self::Int32(builder), Kind::Int64Value(value)) => integer(builder, *value),
            (Self::Int64(builder), Kind::Int64Value(value)) => integer(builder, *value),
            (Self::Float32(builder), Kind::Float64Value(value)) => {
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "it was widened from this precision"
                )]
                let value = *value as f32;
                Ok(push(builder, value))
            }
            (Self::Float64(builder), Kind::Float64Value(value)) => Ok(push(builder, *value)),
            (Self::Text(builder), kind) => append_text(builder, kind, value, column),
            (Self::Bytes(builder), Kind::BytesValue(value)) => {
                let size = variable_size(value)?;
                builder.append_value(value);
                Ok(size)
            }
            (Self::Date(builder), Kind::TextValue(text)) => {
                parsed(builder, time_text::date(text), text)
            }
            (Self::Time(builder), Kind::TextValue(text)) => {
                parsed(builder, time_text::time(text), text)
            }
            (Self::Timestamp(builder, zone), Kind::TextValue(text)) => {
                parsed(builder, time_text::timestamp(text, zone), text)
            }
            (Self::Timestamp(builder, "+00"), Kind::TimestampValue(value)) => {
                let seconds = value.seconds.checked_mul(time_text::MICROS_PER_SECOND);
                let micros = seconds.and_then(|it| it.checked_add(i64::from(value.nanos / 1_000)));
                Ok(push(builder, micros.ok_or("a time beyond its range")?))
            }
            (Self::Decimal(builder, precision, scale), Kind::TextValue(text)) => {
                parsed(builder, decimal_text::unscaled(text, *precision, *scale), text)
            }
            (Self::List(builder), Kind::ArrayValue(array)) => builder.append(array, column),
            (_, kind) => Err(Misfit(format!("a value of the kind {}", kind.name()).into())),
        }
    }

    fn append_null(&mut self) -> usize {
        match self {
            Self::Bool(builder) => builder.append_null(),
            Self::Int16(builder) => builder.append_null(),
            Self::Int32(builder) => builder.append_null(),
            Self::Int64(builder) => builder.append_null(),
            Self::Float32(builder) => builder.append_null(),
            Self::Float64(builder) => builder.append_null(),
            Self::Text(builder) => builder.append_null(),
            Self::Bytes(builder) => builder.append_null(),
            Self::Date(builder) => builder.append_null(),
            Self::Time(builder) => builder.append_null(),
            Self::Timestamp(builder, _) => builder.append_null(),
            Self::Decimal(builder, ..) => builder.append_null(),
            Self::List(builder) => builder.append_null(),
        }
        OFFSET_SIZE
    }

    /// Takes the array of the values so far.
    pub(super) fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        Ok(match self {
            Self::Bool(builder) => Arc::new(builder.finish()),
            Self::Int16(builder) => Arc::new(builder.finish()),
            Self::Int32(builder) => Arc::new(builder.finish()),
            Self::Int64(builder) => Arc::new(builder.finish()),
            Self::Float32(builder) => Arc::new(builder.finish()),
            Self::Float64(builder) => Arc::new(builder.finish()),
            Self::Text(builder) => Arc::new(builder.finish()),
            Self::Bytes(builder) => Arc::new(builder.finish()),
            Self::Date(builder) => Arc::new(builder.finish()),
            Self::Time(builder) => Arc::new(builder.finish()),
            Self::Timestamp(builder, _) => Arc::new(builder.finish()),
            Self::Decimal(builder, ..) => Arc::new(builder.finish()),
            Self::List(builder) => Arc::new(builder.finish()?),
        })
    }
}

fn of<T: ArrowPrimitiveType>(data_type: &ArrowType) -> PrimitiveBuilder<T> {
    PrimitiveBuilder::new().with_data_type(data_type.clone())
}

fn push<T: ArrowPrimitiveType>(builder: &mut PrimitiveBuilder<T>, value: T::Native) -> usize {
    builder.append_value(value);
    size_of::<T::Native>()
}

fn integer<T>(builder: &mut PrimitiveBuilder<T>, value: i64) -> Result<usize, Misfit>
where
    T: ArrowPrimitiveType,
    T::Native: TryFrom<i64>,
{
    let fitting = T::Native::try_from(value).map_err(|_beyond| "an integer beyond its range")?;
    Ok(push(builder, fitting))
}

/// Adds what was read from a text, if it could be.
fn parsed<T: ArrowPrimitiveType>(
    builder: &mut PrimitiveBuilder<T>,
    value: Option<T::Native>,
    text: &str,
) -> Result<usize, Misfit> {
    let misfit = match text {
        "infinity" | "-infinity" | "Infinity" | "-Infinity" => "an infinite value",
        "NaN" => "NaN",
        "24:00:00" => "24:00:00",
        _ => "a text that is not of its type",
    };
    value.map(|value| push(builder, value)).ok_or(misfit.into())
}

/// Adds a value as its text; only bytes have none.
fn append_text(
    builder: &mut StringBuilder,
    kind: &Kind,
    value: &Value,
    column: &Column,
) -> Result<usize, Misfit> {
    let written: Cow<'_, str> = match kind {
        Kind::TextValue(text) => text.into(),
        Kind::BytesValue(_) => return Err(NOT_TEXT.into()),
        Kind::NullValue(_)
        | Kind::BoolValue(_)
        | Kind::Int64Value(_)
        | Kind::Float64Value(_)
        | Kind::TimestampValue(_)
        | Kind::ArrayValue(_)
        | Kind::RecordValue(_)
        | Kind::ResultReference(_) => text(value, column).unwrap_or_default().into(),
    };
    let size = variable_size(written.as_bytes())?;
    builder.append_value(written);
    Ok(size)
}

fn variable_size(bytes: &[u8]) -> Result<usize, Misfit> {
    let size = OFFSET_SIZE + bytes.len();
    if bytes.len() <= MAX_VALUE_SIZE { Ok(size) } else { Err("a value of more than 1 GiB".into()) }
}

/// The builder of lists.
pub(super) struct ListBuilder {
    field: FieldRef,
    elements: ArrayBuilder,
    count: i32,
    /// The number of elements before each list, and behind the last one.
    offsets: Vec<i32>,
    validity: NullBufferBuilder,
}

impl ListBuilder {
    fn new(field: &FieldRef) -> Option<Self> {
        let elements = ArrayBuilder::new(field.data_type())?;
        let validity = NullBufferBuilder::new(0);
        Some(Self { field: Arc::clone(field), elements, count: 0, offsets: vec![0], validity })
    }

    fn append(&mut self, array: &ArrayValue, column: &Column) -> Result<usize, Misfit> {
        if array.dimensions.len() > 1 {
            return Err("an array of several dimensions".into());
        }
        if array.lower_bounds.iter().any(|bound| *bound != 1) {
            return Err("an array with another lower bound than 1".into());
        }
        let mut size = OFFSET_SIZE;
        for element in &array.elements {
            size += self.elements.append(element, column)?;
        }
        let added = i32::try_from(array.elements.len()).ok();
        let count = added.and_then(|added| self.count.checked_add(added));
        self.count = count.ok_or("an array with too many elements")?;
        self.offsets.push(self.count);
        self.validity.append_non_null();
        Ok(size)
    }

    fn append_null(&mut self) {
        self.offsets.push(self.count);
        self.validity.append_null();
    }

    fn finish(&mut self) -> Result<ListArray, ArrowError> {
        self.count = 0;
        let offsets = std::mem::replace(&mut self.offsets, vec![0]);
        let offsets = OffsetBuffer::new(offsets.into());
        let elements = self.elements.finish()?;
        ListArray::try_new(Arc::clone(&self.field), offsets, elements, self.validity.finish())
    }
}
