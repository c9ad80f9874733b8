//! The values in arrays, as they are sent to the database.

use arrow_array::cast::AsArray as _;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type,
    Decimal256Type, DurationMicrosecondType, DurationMillisecondType, DurationNanosecondType,
    DurationSecondType, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, IntervalDayTimeType, IntervalMonthDayNanoType, IntervalYearMonthType,
    Time32MillisecondType, Time32SecondType, Time64MicrosecondType, Time64NanosecondType,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, IntervalUnit, TimeUnit};

use super::{digits_text, times_text};
use crate::value::proto::ArrayValue;
use crate::value::{Kind, Value};

const NANOS_PER_SECOND: i64 = 1_000_000_000;
const MILLIS_PER_DAY: i64 = 86_400_000;

/// The seconds of the years 1 to 9999, for which there is a message of its own.
const TIMESTAMPS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// The size of a value beside its text or bytes.
const VALUE_SIZE: usize = 8;

/// The reason why a value cannot be sent. It never quotes the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Misfit {
    Invalid(&'static str),
    /// The row is larger than it may be.
    TooLarge,
}

/// The size that a row may still have. A dictionary has its values once, and rows have them many times.
#[derive(Debug)]
pub(super) struct RowBudget {
    size: usize,
    max_size: usize,
}

impl RowBudget {
    pub(super) fn new(max_size: usize) -> Self {
        Self { size: 0, max_size }
    }

    /// The size so far.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Adds a value with content of this size.
    fn take(&mut self, content: usize) -> Result<(), Misfit> {
        self.size = self.size.saturating_add(VALUE_SIZE).saturating_add(content);
        if self.size > self.max_size { Err(Misfit::TooLarge) } else { Ok(()) }
    }
}

/// Makes the value at a place of an array, of a type that was checked.
pub(super) fn value(array: &dyn Array, at: usize, budget: &mut RowBudget) -> Result<Value, Misfit> {
    if array.is_null(at) || *array.data_type() == DataType::Null {
        return budget.take(0).map(|()| Value::null());
    }
    #[expect(clippy::wildcard_enum_match_arm, reason = "the others are scalars")]
    match array.data_type() {
        DataType::Dictionary(..) => {
            let dictionary = array.as_any_dictionary();
            let key = whole(dictionary.keys(), at).and_then(|key| usize::try_from(key).ok());
            let key = key.filter(|key| *key < dictionary.values().len());
            let key = key.ok_or(Misfit::Invalid("a key that its dictionary does not have"))?;
            value(dictionary.values(), key, budget)
        }
        DataType::List(_) => list(&array.as_list::<i32>().value(at), budget),
        DataType::LargeList(_) => list(&array.as_list::<i64>().value(at), budget),
        DataType::FixedSizeList(..) => list(&array.as_fixed_size_list().value(at), budget),
        _ => scalar(array, at, budget),
    }
}

/// Makes the value of a UUID of 16 bytes.
pub(super) fn uuid(array: &dyn Array, at: usize, budget: &mut RowBudget) -> Result<Value, Misfit> {
    if array.is_null(at) {
        return budget.take(0).map(|()| Value::null());
    }
    text(&digits_text::uuid(array.as_fixed_size_binary().value(at)), budget)
}

fn list(elements: &ArrayRef, budget: &mut RowBudget) -> Result<Value, Misfit> {
    budget.take(0)?;
    let elements = (0..elements.len()).map(|at| value(elements, at, budget));
    let elements = elements.collect::<Result<Vec<_>, _>>()?;
    Ok(Kind::ArrayValue(ArrayValue { elements, ..ArrayValue::default() }).into())
}

fn scalar(array: &dyn Array, at: usize, budget: &mut RowBudget) -> Result<Value, Misfit> {
    if let Some(number) = whole(array, at) {
        return budget.take(0).map(|()| Value::int64(number));
    }
    #[expect(clippy::wildcard_enum_match_arm, reason = "the others are times, or were refused")]
    match array.data_type() {
        DataType::Boolean => {
            budget.take(0)?;
            Ok(Value::bool(array.as_boolean().value(at)))
        }
        // It does not fit a signed number.
        DataType::UInt64 => text(&native::<UInt64Type>(array, at).to_string(), budget),
        DataType::Float16 => float(native::<Float16Type>(array, at).to_f64(), budget),
        DataType::Float32 => float(native::<Float32Type>(array, at).into(), budget),
        DataType::Float64 => float(native::<Float64Type>(array, at), budget),
        DataType::Utf8 => text(array.as_string::<i32>().value(at), budget),
        DataType::LargeUtf8 => text(array.as_string::<i64>().value(at), budget),
        DataType::Utf8View => text(array.as_string_view().value(at), budget),
        DataType::Binary => bytes(array.as_binary::<i32>().value(at), budget),
        DataType::LargeBinary => bytes(array.as_binary::<i64>().value(at), budget),
        DataType::BinaryView => bytes(array.as_binary_view().value(at), budget),
        DataType::FixedSizeBinary(_) => bytes(array.as_fixed_size_binary().value(at), budget),
        DataType::Decimal32(_, scale) => {
            decimal(&native::<Decimal32Type>(array, at).to_string(), *scale, budget)
        }
        DataType::Decimal64(_, scale) => {
            decimal(&native::<Decimal64Type>(array, at).to_string(), *scale, budget)
        }
        DataType::Decimal128(_, scale) => {
            decimal(&native::<Decimal128Type>(array, at).to_string(), *scale, budget)
        }
        DataType::Decimal256(_, scale) => {
            decimal(&native::<Decimal256Type>(array, at).to_string(), *scale, budget)
        }
        _ => moment(array, at, budget),
    }
}

fn native<T: ArrowPrimitiveType>(array: &dyn Array, at: usize) -> T::Native {
    array.as_primitive::<T>().value(at)
}

/// Reads an integer that is one of 64 bits with a sign.
fn whole(array: &dyn Array, at: usize) -> Option<i64> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the others are no integers")]
    match array.data_type() {
        DataType::Int8 => Some(native::<Int8Type>(array, at).into()),
        DataType::Int16 => Some(native::<Int16Type>(array, at).into()),
        DataType::Int32 => Some(native::<Int32Type>(array, at).into()),
        DataType::Int64 => Some(native::<Int64Type>(array, at)),
        DataType::UInt8 => Some(native::<UInt8Type>(array, at).into()),
        DataType::UInt16 => Some(native::<UInt16Type>(array, at).into()),
        DataType::UInt32 => Some(native::<UInt32Type>(array, at).into()),
        DataType::UInt64 => native::<UInt64Type>(array, at).try_into().ok(),
        _ => None,
    }
}

/// Makes the value of a date, a time, a time span or an interval.
fn moment(array: &dyn Array, at: usize, budget: &mut RowBudget) -> Result<Value, Misfit> {
    let data_type = array.data_type();
    if let Some((ticks, unit)) = ticks(array, at) {
        let per_second = per_second(unit);
        let seconds = ticks.div_euclid(per_second);
        let nanos = ticks.rem_euclid(per_second) * (NANOS_PER_SECOND / per_second);
        return moment_of_ticks(data_type, seconds, nanos, budget);
    }
    #[expect(clippy::wildcard_enum_match_arm, reason = "the others were refused")]
    let written = match data_type {
        DataType::Date32 => times_text::date(native::<Date32Type>(array, at).into()),
        DataType::Date64 => {
            let millis = native::<Date64Type>(array, at);
            if millis % MILLIS_PER_DAY != 0 {
                return Err(Misfit::Invalid("a date that is not a whole day"));
            }
            times_text::date(millis / MILLIS_PER_DAY)
        }
        DataType::Interval(IntervalUnit::YearMonth) => {
            times_text::interval(native::<IntervalYearMonthType>(array, at), 0, 0)
        }
        DataType::Interval(IntervalUnit::DayTime) => {
            let interval = native::<IntervalDayTimeType>(array, at);
            times_text::interval(0, interval.days, i128::from(interval.milliseconds) * 1_000_000)
        }
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            let interval = native::<IntervalMonthDayNanoType>(array, at);
            times_text::interval(interval.months, interval.days, interval.nanoseconds.into())
        }
        _ => return Err(Misfit::Invalid("a value of a type that is not supported")),
    };
    text(&written, budget)
}

/// Makes the value of what is counted in units of time.
fn moment_of_ticks(
    data_type: &DataType,
    seconds: i64,
    nanos: i64,
    budget: &mut RowBudget,
) -> Result<Value, Misfit> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the others are times of the day")]
    let written = match data_type {
        DataType::Timestamp(_, Some(_)) if TIMESTAMPS.contains(&seconds) => {
            budget.take(0)?;
            return Ok(Value::timestamp(seconds, i32::try_from(nanos).unwrap_or_default()));
        }
        DataType::Timestamp(_, Some(_)) => times_text::timestamp(seconds, nanos, "+00"),
        DataType::Timestamp(_, None) => times_text::timestamp(seconds, nanos, ""),
        DataType::Duration(_) => {
            times_text::span(i128::from(seconds) * i128::from(NANOS_PER_SECOND) + i128::from(nanos))
        }
        _ => {
            let time = times_text::time(seconds, nanos);
            time.ok_or(Misfit::Invalid("a time that is not one of a day"))?
        }
    };
    text(&written, budget)
}

/// Reads what is counted in units of time.
fn ticks(array: &dyn Array, at: usize) -> Option<(i64, TimeUnit)> {
    use TimeUnit::{Microsecond, Millisecond, Nanosecond, Second};
    #[expect(clippy::wildcard_enum_match_arm, reason = "the others are not counted so")]
    Some(match array.data_type() {
        DataType::Time32(Second) => (native::<Time32SecondType>(array, at).into(), Second),
        DataType::Time32(Millisecond) => {
            (native::<Time32MillisecondType>(array, at).into(), Millisecond)
        }
        DataType::Time64(Microsecond) => (native::<Time64MicrosecondType>(array, at), Microsecond),
        DataType::Time64(Nanosecond) => (native::<Time64NanosecondType>(array, at), Nanosecond),
        DataType::Timestamp(unit, _) => {
            let ticks = match unit {
                Second => native::<TimestampSecondType>(array, at),
                Millisecond => native::<TimestampMillisecondType>(array, at),
                Microsecond => native::<TimestampMicrosecondType>(array, at),
                Nanosecond => native::<TimestampNanosecondType>(array, at),
            };
            (ticks, *unit)
        }
        DataType::Duration(unit) => {
            let ticks = match unit {
                Second => native::<DurationSecondType>(array, at),
                Millisecond => native::<DurationMillisecondType>(array, at),
                Microsecond => native::<DurationMicrosecondType>(array, at),
                Nanosecond => native::<DurationNanosecondType>(array, at),
            };
            (ticks, *unit)
        }
        _ => return None,
    })
}

fn per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => NANOS_PER_SECOND,
    }
}

fn float(number: f64, budget: &mut RowBudget) -> Result<Value, Misfit> {
    budget.take(0).map(|()| Value::float64(number))
}

fn decimal(units: &str, scale: i8, budget: &mut RowBudget) -> Result<Value, Misfit> {
    text(&digits_text::decimal(units, scale), budget)
}

fn text(text: &str, budget: &mut RowBudget) -> Result<Value, Misfit> {
    budget.take(text.len()).map(|()| Value::text(text))
}

fn bytes(bytes: &[u8], budget: &mut RowBudget) -> Result<Value, Misfit> {
    budget.take(bytes.len()).map(|()| Value::bytes(bytes))
}
