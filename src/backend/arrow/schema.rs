//! The types of Arrow that columns become.

use arrow_schema::{DataType as ArrowType, Field, TimeUnit};

use crate::value::proto::Nullability;
use crate::value::{Column, DataType};

/// The largest precision of a Decimal128.
const MAX_PRECISION: u8 = 38;

/// The precision and scale that a numeric column is declared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Decimal {
    pub(crate) precision: u8,
    pub(crate) scale: i8,
}

impl Decimal {
    fn as_type(self) -> Option<ArrowType> {
        let Self { precision, scale } = self;
        let has_digits = (1..=MAX_PRECISION).contains(&precision);
        let is_fraction = u8::try_from(scale).is_ok_and(|scale| scale <= precision);
        (has_digits && is_fraction).then_some(ArrowType::Decimal128(precision, scale))
    }
}

/// Returns the field that a column becomes.
pub(super) fn field(column: &Column, decimal: Option<Decimal>) -> Field {
    let declared = column.r#type();
    let data_type = if column.type_name.is_empty() {
        ArrowType::Utf8
    } else if declared == DataType::Array {
        let element = Field::new("item", scalar_type(column.element_type()), true);
        ArrowType::List(element.into())
    } else {
        let decimal = decimal.filter(|_| declared == DataType::Numeric);
        decimal.and_then(Decimal::as_type).unwrap_or_else(|| scalar_type(declared))
    };
    Field::new(&column.name, data_type, column.nullability() != Nullability::NotNull)
}

fn scalar_type(data_type: DataType) -> ArrowType {
    match data_type {
        DataType::Bool => ArrowType::Boolean,
        DataType::Int16 => ArrowType::Int16,
        DataType::Int32 => ArrowType::Int32,
        DataType::Int64 => ArrowType::Int64,
        DataType::Float32 => ArrowType::Float32,
        DataType::Float64 => ArrowType::Float64,
        DataType::Bytes => ArrowType::Binary,
        DataType::Date => ArrowType::Date32,
        DataType::Time => ArrowType::Time64(TimeUnit::Microsecond),
        DataType::Timestamp => ArrowType::Timestamp(TimeUnit::Microsecond, None),
        DataType::Timestamptz => ArrowType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        DataType::Unspecified
        | DataType::Numeric
        | DataType::Text
        | DataType::Uuid
        | DataType::Json
        | DataType::Timetz
        | DataType::Interval
        | DataType::Enum
        | DataType::Array
        | DataType::Range
        | DataType::Record
        | DataType::Other => ArrowType::Utf8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_numeric(precision: u8, scale: i8) -> ArrowType {
        let mut column = Column { type_name: "numeric".to_owned(), ..Column::default() };
        column.set_type(DataType::Numeric);
        field(&column, Some(Decimal { precision, scale })).data_type().clone()
    }

    #[test]
    fn a_numeric_is_a_decimal_only_where_arrow_has_the_digits() {
        assert_eq!(of_numeric(12, 2), ArrowType::Decimal128(12, 2));
        assert_eq!(of_numeric(38, 38), ArrowType::Decimal128(38, 38));
        for (precision, scale) in [(39, 2), (3, 5), (3, -2), (0, 0)] {
            assert_eq!(of_numeric(precision, scale), ArrowType::Utf8, "{precision}, {scale}");
        }
    }

    #[test]
    fn a_column_without_a_declared_type_is_text() {
        let mut column = Column::default();
        column.set_type(DataType::Int64);
        assert_eq!(field(&column, None).data_type(), &ArrowType::Utf8);
        column.type_name = "INTEGER".to_owned();
        assert_eq!(field(&column, None).data_type(), &ArrowType::Int64);
    }
}
