//! The forms in which values travel, by their column's type.

use super::temporal::{DateTime, TimeSpan};
use crate::backend::mysql::protocol::column_definition::{self as types, ColumnDefinition};
use crate::backend::mysql::protocol::length_encoded::PacketReader;
use crate::value::cell::Cell;
use crate::value::{RowEncoder, Value};

/// The form of a column's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WireType {
    Null,
    /// An integer of one, two, four or eight bytes.
    Integer {
        width: u8,
        is_unsigned: bool,
    },
    Float,
    Double,
    Text,
    Bytes,
    /// `bit(1)`.
    Bool,
    Date,
    Time {
        decimals: u8,
    },
    DateTime {
        decimals: u8,
    },
    /// A point in time, in the time zone of the session.
    Timestamp {
        decimals: u8,
        /// The seconds that the session's time zone is ahead of UTC.
        ahead: i32,
    },
}

/// A value as it was read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum WireValue<'a> {
    Null,
    Bool(bool),
    Integer(i64),
    Unsigned(u64),
    Float32(f32),
    Float64(f64),
    /// Text, or bytes where it is not valid UTF-8.
    Text(&'a [u8]),
    Bytes(&'a [u8]),
    Date(DateTime),
    Time(TimeSpan, u8),
    DateTime(DateTime, u8),
    /// With the digits of its fraction, and the seconds that it is ahead of UTC.
    Timestamp(DateTime, u8, i32),
}

impl WireType {
    /// The form of a column's values; `None` for a type that is not known.
    pub(super) fn of(column: &ColumnDefinition) -> Option<Self> {
        let decimals = column.decimals;
        let integer = |width| Self::Integer { width, is_unsigned: column.is_unsigned() };
        Some(match column.column_type {
            types::NULL => Self::Null,
            types::TINY => integer(1),
            types::SHORT | types::YEAR => integer(2),
            // It has three bytes in a table alone.
            types::LONG | types::INT24 => integer(4),
            types::LONG_LONG => integer(8),
            types::FLOAT => Self::Float,
            types::DOUBLE => Self::Double,
            types::DATE | types::NEW_DATE => Self::Date,
            types::TIME | types::TIME2 => Self::Time { decimals },
            types::DATETIME | types::DATETIME2 => Self::DateTime { decimals },
            types::TIMESTAMP | types::TIMESTAMP2 => Self::Timestamp { decimals, ahead: 0 },
            types::BIT if column.length == 1 => Self::Bool,
            types::BIT | types::VECTOR | types::GEOMETRY => Self::Bytes,
            types::DECIMAL | types::NEW_DECIMAL | types::JSON | types::ENUM | types::SET => {
                Self::Text
            }
            types::VARCHAR
            | types::TINY_BLOB
            | types::MEDIUM_BLOB
            | types::LONG_BLOB
            | types::BLOB
            | types::VAR_STRING
            | types::STRING => {
                let is_text = column.is_json() || column.is_enum() || column.is_set();
                if column.is_binary() && !is_text { Self::Bytes } else { Self::Text }
            }
            _ => return None,
        })
    }

    /// Reads a value of the binary protocol that is not NULL; `None` for a malformed one.
    pub(super) fn read<'a>(self, reader: &mut PacketReader<'a>) -> Option<WireValue<'a>> {
        Some(match self {
            Self::Null => return None,
            Self::Integer { width, is_unsigned } => integer(reader, width, is_unsigned)?,
            Self::Float => WireValue::Float32(f32::from_le_bytes(reader.array()?)),
            Self::Double => WireValue::Float64(f64::from_le_bytes(reader.array()?)),
            Self::Text => WireValue::Text(reader.string()?),
            Self::Bytes => WireValue::Bytes(reader.string()?),
            Self::Bool => bit(reader.string()?)?,
            Self::Date => WireValue::Date(DateTime::read(reader)?),
            Self::Time { decimals } => WireValue::Time(TimeSpan::read(reader)?, decimals),
            Self::DateTime { decimals } => WireValue::DateTime(DateTime::read(reader)?, decimals),
            Self::Timestamp { decimals, ahead } => {
                WireValue::Timestamp(DateTime::read(reader)?, decimals, ahead)
            }
        })
    }

    /// Reads a value of a row in text that is not NULL; `None` for a malformed one.
    pub(super) fn parse(self, raw: &[u8]) -> Option<WireValue<'_>> {
        let text = || std::str::from_utf8(raw).ok();
        Some(match self {
            Self::Null => return None,
            Self::Integer { is_unsigned: true, .. } => unsigned(text()?.parse().ok()?),
            Self::Integer { is_unsigned: false, .. } => WireValue::Integer(text()?.parse().ok()?),
            Self::Float => WireValue::Float32(text()?.parse().ok()?),
            Self::Double => WireValue::Float64(text()?.parse().ok()?),
            Self::Bytes => WireValue::Bytes(raw),
            Self::Bool => bit(raw)?,
            Self::Text | Self::Date | Self::Time { .. } | Self::DateTime { .. } => {
                WireValue::Text(raw)
            }
            Self::Timestamp { decimals, ahead } => {
                WireValue::Timestamp(DateTime::parse(text()?)?, decimals, ahead)
            }
        })
    }
}

impl<'a> WireValue<'a> {
    /// Adds the value to a row.
    pub(super) fn encode(self, row: &mut RowEncoder) {
        match self {
            Self::Null => row.null(),
            Self::Bool(value) => row.bool(value),
            Self::Integer(value) => row.int64(value),
            Self::Unsigned(value) => row.text(&value.to_string()),
            Self::Float32(value) => row.float64(value.into()),
            Self::Float64(value) => row.float64(value),
            Self::Text(raw) => match std::str::from_utf8(raw) {
                Ok(text) => row.text(text),
                Err(_invalid) => row.bytes(raw),
            },
            Self::Bytes(raw) => row.bytes(raw),
            Self::Date(date) => row.text(&date.date_text()),
            Self::Time(span, decimals) => row.text(&span.text(decimals)),
            Self::DateTime(at, decimals) => row.text(&at.text(decimals)),
            Self::Timestamp(at, decimals, ahead) => match at.timestamp() {
                Some(local) => row.timestamp(local.seconds - i64::from(ahead), local.nanos),
                None => row.text(&at.text(decimals)),
            },
        }
    }

    /// The value on its way into Arrow's arrays; a date that Arrow cannot hold is its text.
    pub(super) fn cell(self) -> Cell<'a> {
        let text = |text: String| Cell::Value(Value::text(text));
        match self {
            Self::Null => Cell::Null,
            Self::Bool(value) => Cell::Bool(value),
            Self::Integer(value) => Cell::Integer(value),
            Self::Unsigned(value) => text(value.to_string()),
            Self::Float32(value) => Cell::Float32(value),
            Self::Float64(value) => Cell::Float64(value),
            Self::Text(raw) => std::str::from_utf8(raw).map_or(Cell::Bytes(raw), Cell::Text),
            Self::Bytes(raw) => Cell::Bytes(raw),
            Self::Date(date) => {
                date.days_since_1970().map_or_else(|| text(date.date_text()), Cell::Date)
            }
            Self::Time(span, decimals) => {
                span.micros_of_day().map_or_else(|| text(span.text(decimals)), Cell::Time)
            }
            Self::DateTime(at, decimals) => {
                at.micros_since_1970().map_or_else(|| text(at.text(decimals)), Cell::Timestamp)
            }
            Self::Timestamp(at, decimals, ahead) => {
                let micros = at.micros_since_1970().map(|it| it - i64::from(ahead) * 1_000_000);
                micros.map_or_else(|| text(at.text(decimals)), Cell::Timestamptz)
            }
        }
    }
}

fn integer<'a>(
    reader: &mut PacketReader<'a>,
    width: u8,
    is_unsigned: bool,
) -> Option<WireValue<'a>> {
    let signed = match (width, is_unsigned) {
        (1, true) => reader.u8()?.into(),
        (1, false) => i8::from_le_bytes(reader.array()?).into(),
        (2, true) => reader.u16()?.into(),
        (2, false) => i16::from_le_bytes(reader.array()?).into(),
        (4, true) => reader.u32()?.into(),
        (4, false) => i32::from_le_bytes(reader.array()?).into(),
        (_, true) => return reader.u64().map(unsigned),
        (_, false) => i64::from_le_bytes(reader.array()?),
    };
    Some(WireValue::Integer(signed))
}

fn unsigned<'a>(value: u64) -> WireValue<'a> {
    i64::try_from(value).map_or(WireValue::Unsigned(value), WireValue::Integer)
}

/// Reads the one bit of `bit(1)`.
fn bit<'a>(raw: &[u8]) -> Option<WireValue<'a>> {
    match raw {
        [0] => Some(WireValue::Bool(false)),
        [1] => Some(WireValue::Bool(true)),
        _ => None,
    }
}
