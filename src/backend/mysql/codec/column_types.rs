//! The description of columns to callers: the [`DataType`] and the name that users write.

use crate::backend::Decimal;
use crate::backend::mysql::protocol::column_definition::{
    self as types, ColumnDefinition, ExtendedType,
};
use crate::value::proto::ColumnOrigin;
use crate::value::{Column, DataType};

/// The most bytes that one character takes in the connection's character set, utf8mb4.
const BYTES_PER_CHARACTER: u32 = 4;

/// Digits behind the point that a DECIMAL has at most; other numbers mean that they are not fixed.
const MAX_SCALE: u8 = 30;

/// Describes a column of a result, without its nullability and its origin.
pub(crate) fn describe_column(column: &ColumnDefinition) -> Column {
    Column {
        name: column.name.to_string(),
        r#type: data_type(column).into(),
        type_name: type_name(column),
        ..Column::default()
    }
}

/// Returns the column of a table that a column of a result is taken from; `None` for an expression.
pub(crate) fn origin(column: &ColumnDefinition) -> Option<ColumnOrigin> {
    let is_column = !column.org_table.is_empty() && !column.org_name.is_empty();
    is_column.then(|| ColumnOrigin {
        schema: column.schema.to_string(),
        table: column.org_table.to_string(),
        column: column.org_name.to_string(),
        ..ColumnOrigin::default()
    })
}

/// Returns the precision and scale that a column of a table is declared with; `None` for an expression, whose values
/// may have more digits than its description says.
pub(crate) fn decimal(column: &ColumnDefinition) -> Option<Decimal> {
    let is_decimal = matches!(column.column_type, types::DECIMAL | types::NEW_DECIMAL);
    if !is_decimal || column.org_name.is_empty() || column.decimals > MAX_SCALE {
        return None;
    }
    // The length counts a point and a sign.
    let point = u32::from(column.decimals > 0);
    let sign = u32::from(!column.is_unsigned());
    let precision = column.length.checked_sub(point + sign)?.try_into().ok()?;
    Some(Decimal { precision, scale: column.decimals.try_into().ok()? })
}

/// Returns the name that users write, without lengths: `bigint unsigned`, `varchar`.
fn type_name(column: &ColumnDefinition) -> String {
    if let Some(ExtendedType::Name(name)) = &column.extended {
        return name.to_string();
    }
    let name = match column.column_type {
        _ if column.is_json() => "json",
        _ if column.is_enum() => "enum",
        _ if column.is_set() => "set",
        types::VARCHAR | types::VAR_STRING if column.is_binary() => "varbinary",
        types::VARCHAR | types::VAR_STRING => "varchar",
        types::STRING if column.is_binary() => "binary",
        types::STRING => "char",
        types::TINY_BLOB | types::BLOB | types::MEDIUM_BLOB | types::LONG_BLOB => large(column),
        types::BIT => "bit",
        types::YEAR => "year",
        types::DATE | types::NEW_DATE => "date",
        types::TIME | types::TIME2 => "time",
        types::DATETIME | types::DATETIME2 => "datetime",
        types::TIMESTAMP | types::TIMESTAMP2 => "timestamp",
        types::GEOMETRY => "geometry",
        types::VECTOR => "vector",
        types::NULL => "null",
        _ => return numeric_name(column),
    };
    name.to_owned()
}

fn numeric_name(column: &ColumnDefinition) -> String {
    let name = match column.column_type {
        types::TINY => "tinyint",
        types::SHORT => "smallint",
        types::INT24 => "mediumint",
        types::LONG => "int",
        types::LONG_LONG => "bigint",
        types::FLOAT => "float",
        types::DOUBLE => "double",
        _ => "decimal",
    };
    format!("{name}{}", if column.is_unsigned() { " unsigned" } else { "" })
}

/// Returns the name of a type of large values, which travel under one type: their greatest length tells.
fn large(column: &ColumnDefinition) -> &'static str {
    let (names, size) = if column.is_binary() {
        (["tinyblob", "blob", "mediumblob", "longblob"], 1)
    } else {
        (["tinytext", "text", "mediumtext", "longtext"], BYTES_PER_CHARACTER)
    };
    let [tiny, plain, medium, long] = names;
    match column.length / size {
        0..=0xFF => tiny,
        0x100..=0xFFFF => plain,
        0x1_0000..=0xFF_FFFF => medium,
        _ => long,
    }
}

fn data_type(column: &ColumnDefinition) -> DataType {
    if let Some(ExtendedType::Name(name)) = &column.extended {
        return match &**name {
            "uuid" => DataType::Uuid,
            _ if column.is_binary() => DataType::Bytes,
            _ => DataType::Other,
        };
    }
    match (column.column_type, column.is_unsigned()) {
        _ if column.is_json() => DataType::Json,
        _ if column.is_enum() => DataType::Enum,
        (types::TINY, _) | (types::SHORT, false) | (types::YEAR, _) => DataType::Int16,
        (types::SHORT | types::INT24, _) | (types::LONG, false) => DataType::Int32,
        (types::LONG, true) | (types::LONG_LONG, _) => DataType::Int64,
        (types::FLOAT, _) => DataType::Float32,
        (types::DOUBLE, _) => DataType::Float64,
        (types::DECIMAL | types::NEW_DECIMAL, _) => DataType::Numeric,
        (types::BIT, _) if column.length == 1 => DataType::Bool,
        (types::BIT | types::GEOMETRY | types::VECTOR, _) => DataType::Bytes,
        (types::DATE | types::NEW_DATE, _) => DataType::Date,
        (types::TIME | types::TIME2, _) => DataType::Time,
        (types::DATETIME | types::DATETIME2, _) => DataType::Timestamp,
        (types::TIMESTAMP | types::TIMESTAMP2, _) => DataType::Timestamptz,
        (types::NULL, _) => DataType::Other,
        _ if column.is_set() => DataType::Other,
        _ if column.is_binary() => DataType::Bytes,
        _ => DataType::Text,
    }
}
