//! The types of Arrow that a copy takes.

use arrow_schema::{DataType, Field, Fields};

use crate::backend::copy::BAD_FORMAT;
use crate::error::{Error, ErrorKind, Result};

/// The most digits of a decimal.
const MAX_DIGITS: u8 = 76;

/// The name of Arrow's extension type of UUIDs, and the key that holds it.
const EXTENSION: &str = "ARROW:extension:name";
const UUID: &str = "arrow.uuid";
const UUID_SIZE: i32 = 16;

/// A column of the stream.
#[derive(Debug)]
pub(super) struct InputColumn {
    pub(super) name: String,
    /// The bytes are a UUID.
    pub(super) is_uuid: bool,
}

/// Checks the columns of a stream.
pub(super) fn columns(fields: &Fields) -> Result<Vec<InputColumn>> {
    if fields.is_empty() {
        let message = "the Arrow stream has no columns";
        return Err(Error::new(ErrorKind::InvalidStatement, message).with_condition(BAD_FORMAT));
    }
    fields.iter().map(|field| column(field)).collect()
}

fn column(field: &Field) -> Result<InputColumn> {
    let name = field.name();
    let data_type = field.data_type();
    if !is_supported(data_type) {
        let message = format!(
            "column \"{name}\" is of Arrow's type {data_type}, which a CopyIn does not take"
        );
        return Err(Error::new(ErrorKind::Unsupported, message)
            .with_hint("Make columns of its fields, or text of it, as JSON."));
    }
    let extension = field.metadata().get(EXTENSION).map(String::as_str);
    let is_uuid = extension == Some(UUID) && *data_type == DataType::FixedSizeBinary(UUID_SIZE);
    Ok(InputColumn { name: name.clone(), is_uuid })
}

fn is_supported(data_type: &DataType) -> bool {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the others are scalars or refused")]
    match data_type {
        DataType::List(element) | DataType::LargeList(element) => is_element(element.data_type()),
        DataType::FixedSizeList(element, length) => *length > 0 && is_element(element.data_type()),
        other => is_element(other),
    }
}

/// Returns true for a type without lists.
fn is_element(data_type: &DataType) -> bool {
    is_scalar(if let DataType::Dictionary(_, values) = data_type { values } else { data_type })
}

fn is_scalar(data_type: &DataType) -> bool {
    match data_type {
        DataType::Null
        | DataType::Boolean
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::UInt8
        | DataType::UInt16
        | DataType::UInt32
        | DataType::UInt64
        | DataType::Float16
        | DataType::Float32
        | DataType::Float64
        | DataType::Timestamp(..)
        | DataType::Date32
        | DataType::Date64
        | DataType::Time32(_)
        | DataType::Time64(_)
        | DataType::Duration(_)
        | DataType::Interval(_)
        | DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Utf8View => true,
        DataType::FixedSizeBinary(size) => *size > 0,
        DataType::Decimal32(digits, scale)
        | DataType::Decimal64(digits, scale)
        | DataType::Decimal128(digits, scale)
        | DataType::Decimal256(digits, scale) => {
            (1..=MAX_DIGITS).contains(digits) && scale.unsigned_abs() <= MAX_DIGITS
        }
        DataType::List(_)
        | DataType::LargeList(_)
        | DataType::FixedSizeList(..)
        | DataType::ListView(_)
        | DataType::LargeListView(_)
        | DataType::Struct(_)
        | DataType::Union(..)
        | DataType::Dictionary(..)
        | DataType::Map(..)
        | DataType::RunEndEncoded(..) => false,
    }
}
