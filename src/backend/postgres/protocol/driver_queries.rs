//! The queries that the driver sends by itself, to learn of types that it does not know.
//!
//! It does so in the caller's session, whose search path may put an operator of somebody's before the
//! built-in one: so they are sent with their operators qualified.

use std::borrow::Cow;

/// Those queries, as the driver writes them: it looks up a type, the labels of an enum, and the fields of a row.
/// Their relations are qualified already.
const QUERIES: [&str; 3] = [
    "SELECT t.typname, t.typtype, t.typelem, r.rngsubtype, t.typbasetype, n.nspname, t.typrelid\n\
     FROM pg_catalog.pg_type t\n\
     LEFT OUTER JOIN pg_catalog.pg_range r ON r.rngtypid = t.oid\n\
     INNER JOIN pg_catalog.pg_namespace n ON t.typnamespace = n.oid\n\
     WHERE t.oid = $1\n",
    "SELECT enumlabel\n\
     FROM pg_catalog.pg_enum\n\
     WHERE enumtypid = $1\n\
     ORDER BY enumsortorder\n",
    "SELECT attname, atttypid\n\
     FROM pg_catalog.pg_attribute\n\
     WHERE attrelid = $1\n\
     AND NOT attisdropped\n\
     AND attnum > 0\n\
     ORDER BY attnum\n",
];

/// The operators in them.
const OPERATORS: [(&str, &str); 2] =
    [(" = ", " OPERATOR(pg_catalog.=) "), (" > ", " OPERATOR(pg_catalog.>) ")];

/// Returns the text and types of a Parse as they are to be sent.
pub(super) fn qualified(definition: &[u8]) -> Cow<'_, [u8]> {
    let found = QUERIES.iter().find_map(|query| {
        let types = definition.strip_prefix(query.as_bytes())?;
        Some((*query, types))
    });
    match found {
        Some((text, types)) if types.starts_with(b"\0") => {
            let qualify = |text: String, (sign, name): &(&str, &str)| text.replace(sign, name);
            let text = OPERATORS.iter().fold(text.to_owned(), qualify);
            Cow::Owned([text.as_bytes(), types].concat())
        }
        Some(_) | None => Cow::Borrowed(definition),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_queries_of_the_driver_are_qualified() {
        let drivers = format!("{}\0\0\0", QUERIES[1]);
        let sent = "SELECT enumlabel\nFROM pg_catalog.pg_enum\nWHERE enumtypid \
            OPERATOR(pg_catalog.=) $1\nORDER BY enumsortorder\n\0\0\0";
        assert_eq!(&*qualified(drivers.as_bytes()), sent.as_bytes());
        let callers = format!("{}limit 1 + length(' = ')\0\0\0", QUERIES[1]);
        assert_eq!(&*qualified(callers.as_bytes()), callers.as_bytes());
    }
}
