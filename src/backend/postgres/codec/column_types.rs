//! The description of types to callers: the [`DataType`] and the name that users write.

use tokio_postgres::types::{Kind, Type};

use crate::backend::Decimal;
use crate::value::proto::ParameterType;
use crate::value::{Column, DataType};

pub(crate) fn describe_column(name: &str, ty: &Type) -> Column {
    let element_type = element(base(ty)).map_or(DataType::Unspecified, |ty| data_type(&ty));
    Column {
        name: name.to_owned(),
        r#type: data_type(ty).into(),
        element_type: element_type.into(),
        type_name: type_name(ty),
        type_oid: ty.oid(),
        ..Column::default()
    }
}

pub(crate) fn describe_parameter(ty: &Type) -> ParameterType {
    let Column { r#type, element_type, type_name, type_oid, .. } = describe_column("", ty);
    ParameterType { r#type, element_type, type_name, type_oid }
}

/// Returns the precision and scale that the modifier of a numeric type holds; `None` for none.
pub(crate) fn decimal(modifier: i32) -> Option<Decimal> {
    // Behind the length of a header: the precision, and a scale of 11 bits with a sign.
    let packed = modifier.checked_sub(4).filter(|packed| *packed >= 0)?;
    let precision = u8::try_from(packed >> 16).ok()?;
    let scale = i8::try_from(((packed & 0x7ff) ^ 0x400) - 0x400).ok()?;
    Some(Decimal { precision, scale })
}

/// Returns the name that users write: `int4[]`, where the catalog has `_int4`.
pub(crate) fn type_name(ty: &Type) -> String {
    match (element(ty), ty) {
        (Some(element), _) => format!("{}[]", type_name(&element)),
        // Without the quotes `char` is `bpchar`.
        (None, &Type::CHAR) => "\"char\"".to_owned(),
        (None, _) => ty.name().to_owned(),
    }
}

/// Returns the type under any number of domains.
pub(crate) fn base(ty: &Type) -> &Type {
    let mut ty = ty;
    while let Kind::Domain(under) = ty.kind() {
        ty = under;
    }
    ty
}

/// Returns the element type of a true array, `None` for every other type.
///
/// The driver treats every type with a `typelem` as an array; some are not (`int2vector`, base types
/// created with ELEMENT) and have formats of their own. The names of the array types that PostgreSQL
/// creates start with an underscore.
pub(crate) fn element(ty: &Type) -> Option<Type> {
    if *ty == Type::RECORD_ARRAY {
        return Some(Type::RECORD);
    }
    if let Kind::Array(element) = ty.kind()
        && ty.name().starts_with('_')
    {
        return Some(element.clone());
    }
    None
}

/// Returns the delimiter between the elements of an array's text (`pg_type.typdelim`).
///
/// The driver does not fetch it: it is `;` for `box`, `:` for the types of PostGIS, and a comma for
/// the types of all other known extensions.
pub(crate) fn delimiter(element: &Type) -> u8 {
    match (base(element), element.name()) {
        (&Type::BOX, _) => b';',
        (_, "geometry" | "geography") => b':',
        _ => b',',
    }
}

fn data_type(ty: &Type) -> DataType {
    let ty = base(ty);
    if element(ty).is_some() {
        return DataType::Array;
    }
    match ty.kind() {
        Kind::Enum(_) => DataType::Enum,
        Kind::Composite(_) => DataType::Record,
        Kind::Range(_) | Kind::Multirange(_) => DataType::Range,
        Kind::Simple | Kind::Pseudo | Kind::Array(_) | Kind::Domain(_) | _ => builtin(ty),
    }
}

fn builtin(ty: &Type) -> DataType {
    match *ty {
        Type::BOOL => DataType::Bool,
        Type::INT2 => DataType::Int16,
        Type::INT4 => DataType::Int32,
        Type::INT8 | Type::OID => DataType::Int64,
        Type::FLOAT4 => DataType::Float32,
        Type::FLOAT8 => DataType::Float64,
        Type::NUMERIC => DataType::Numeric,
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::CHAR | Type::UNKNOWN => {
            DataType::Text
        }
        Type::BYTEA => DataType::Bytes,
        Type::UUID => DataType::Uuid,
        Type::JSON | Type::JSONB => DataType::Json,
        Type::DATE => DataType::Date,
        Type::TIME => DataType::Time,
        Type::TIMETZ => DataType::Timetz,
        Type::TIMESTAMP => DataType::Timestamp,
        Type::TIMESTAMPTZ => DataType::Timestamptz,
        Type::INTERVAL => DataType::Interval,
        Type::RECORD => DataType::Record,
        _ => DataType::Other,
    }
}

#[cfg(test)]
mod tests {
    use tokio_postgres::types::Field;

    use super::*;

    fn user_type(name: &str, kind: Kind) -> Type {
        Type::new(name.to_owned(), 70_000, kind, "public".to_owned())
    }

    fn described(ty: &Type) -> (DataType, DataType, String) {
        let column = describe_column("c", ty);
        let of = |number: i32| DataType::try_from(number).expect("made from one");
        (of(column.r#type), of(column.element_type), column.type_name)
    }

    #[test]
    fn builtin_types_are_described_as_users_write_them() {
        let none = DataType::Unspecified;
        let cases = [
            (Type::INT4, DataType::Int32, none, "int4"),
            (Type::INT4_ARRAY, DataType::Array, DataType::Int32, "int4[]"),
            (Type::CHAR, DataType::Text, none, "\"char\""),
            (Type::CHAR_ARRAY, DataType::Array, DataType::Text, "\"char\"[]"),
            (Type::OID, DataType::Int64, none, "oid"),
            (Type::JSONB, DataType::Json, none, "jsonb"),
            (Type::TIMESTAMPTZ_ARRAY, DataType::Array, DataType::Timestamptz, "timestamptz[]"),
            (Type::INT4_RANGE, DataType::Range, none, "int4range"),
            (Type::INT4MULTI_RANGE, DataType::Range, none, "int4multirange"),
            (Type::INT2_VECTOR, DataType::Other, none, "int2vector"),
            (Type::RECORD, DataType::Record, none, "record"),
            (Type::RECORD_ARRAY, DataType::Array, DataType::Record, "record[]"),
            (Type::ANYARRAY, DataType::Other, none, "anyarray"),
            (Type::MONEY, DataType::Other, none, "money"),
            (Type::VOID, DataType::Other, none, "void"),
        ];
        for (ty, data_type, element_type, name) in cases {
            assert_eq!(described(&ty), (data_type, element_type, name.to_owned()));
        }
        assert_eq!(describe_column("", &Type::INT4).type_oid, 23);
        assert_eq!(describe_parameter(&Type::INT4_ARRAY).type_name, "int4[]");
    }

    #[test]
    fn a_modifier_holds_precision_and_scale() {
        let of = |precision, scale: i32| decimal((precision << 16 | (scale & 0x7ff)) + 4);
        assert_eq!(of(12, 2), Some(Decimal { precision: 12, scale: 2 }));
        assert_eq!(of(3, -5), Some(Decimal { precision: 3, scale: -5 }));
        assert_eq!(of(1000, 2), None);
        assert_eq!(decimal(-1), None);
    }

    #[test]
    fn users_types_go_by_name_and_domains_by_their_base() {
        let mood = user_type("mood", Kind::Enum(vec!["sad".to_owned()]));
        let moods = user_type("_mood", Kind::Array(mood.clone()));
        let domain = user_type("feeling", Kind::Domain(mood.clone()));
        let deep = user_type("deep", Kind::Domain(user_type("d", Kind::Domain(Type::NUMERIC))));
        let pair = user_type("pair", Kind::Composite(vec![Field::new("a".to_owned(), Type::INT4)]));
        let vector = user_type("vector", Kind::Simple);
        let own = user_type("own", Kind::Array(Type::FLOAT4));
        let none = DataType::Unspecified;
        assert_eq!(described(&mood), (DataType::Enum, none, "mood".to_owned()));
        assert_eq!(described(&moods), (DataType::Array, DataType::Enum, "mood[]".to_owned()));
        assert_eq!(described(&domain), (DataType::Enum, none, "feeling".to_owned()));
        assert_eq!(described(&deep), (DataType::Numeric, none, "deep".to_owned()));
        assert_eq!(described(&pair), (DataType::Record, none, "pair".to_owned()));
        assert_eq!(described(&vector), (DataType::Other, none, "vector".to_owned()));
        assert_eq!(described(&own), (DataType::Other, none, "own".to_owned()));
    }
}
