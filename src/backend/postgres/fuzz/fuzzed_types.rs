//! The types of which values are made: all built-in ones that the driver knows, and users' types on top of them.

use std::sync::LazyLock;

use tokio_postgres::types::{Field, Kind, Type};

/// The object identifiers that the built-in types have.
const BUILT_IN: std::ops::Range<u32> = 16..7_000;

static TYPES: LazyLock<Vec<Type>> = LazyLock::new(|| {
    let mut types: Vec<_> = BUILT_IN.filter_map(Type::from_oid).collect();
    types.extend(user_types());
    types
});

/// Takes a type from the first two bytes of an input.
pub(super) fn take_type<'a>(data: &mut &'a [u8]) -> Option<&'a Type> {
    let (number, rest) = data.split_first_chunk()?;
    *data = rest;
    TYPES.get(usize::from(u16::from_le_bytes(*number)) % TYPES.len())
}

fn user_type(name: &str, kind: Kind) -> Type {
    Type::new(name.to_owned(), 70_000, kind, "public".to_owned())
}

fn user_types() -> Vec<Type> {
    let fields = |types: &[&Type]| {
        let named = types.iter().map(|ty| Field::new("f".to_owned(), (*ty).clone()));
        Kind::Composite(named.collect())
    };
    let array = |of: &Type| user_type("_own", Kind::Array(of.clone()));
    let mood = user_type("mood", Kind::Enum(vec!["sad".to_owned()]));
    let domain = user_type("price", Kind::Domain(Type::NUMERIC));
    let binary = user_type("pair", fields(&[&Type::INT4, &Type::TEXT, &Type::TIMESTAMPTZ]));
    let simple = [
        &Type::BOOL,
        &Type::INT8,
        &Type::FLOAT4,
        &Type::FLOAT8,
        &Type::BYTEA,
        &Type::NUMERIC,
        &Type::TIMESTAMPTZ,
        &Type::DATE,
        &Type::INTERVAL,
        &Type::UUID,
        &Type::INT4_ARRAY,
        &Type::TEXT_ARRAY,
        &Type::TIMESTAMPTZ_ARRAY,
        &Type::BOX_ARRAY,
        &Type::RECORD,
        &mood,
        &domain,
        &binary,
        // It has no binary decoder, so that the whole is read in text.
        &Type::MONEY,
    ];
    let text = user_type("wide", fields(&simple));
    vec![
        array(&mood),
        array(&domain),
        array(&binary),
        array(&text),
        user_type("empty", fields(&[])),
        user_type("deep", fields(&[&binary, &array(&binary), &Type::NUM_RANGE])),
        user_type("moods", Kind::Range(mood.clone())),
        user_type("spans", Kind::Multirange(Type::TIMESTAMPTZ)),
        mood,
        domain,
        binary,
        text,
    ]
}
