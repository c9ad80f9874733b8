//! The queries that the driver sends by itself, to learn of types that it does not know.
//!
//! It does so in the caller's session, whose search path may put an operator of somebody's before the
//! built-in one: so they are sent with their operators qualified.

use std::borrow::Cow;

/// The starts of those queries; their relations are qualified already.
const STARTS: [&str; 3] = [
    "SELECT t.typname, t.typtype, t.typelem, ",
    "SELECT enumlabel\nFROM pg_catalog.",
    "SELECT attname, atttypid\nFROM pg_catalog.",
];

/// The operators in them.
const OPERATORS: [(&str, &str); 2] =
    [(" = ", " OPERATOR(pg_catalog.=) "), (" > ", " OPERATOR(pg_catalog.>) ")];

/// Returns the text and types of a Parse as they are to be sent.
pub(super) fn qualified(definition: &[u8]) -> Cow<'_, [u8]> {
    let is_drivers = STARTS.iter().any(|start| definition.starts_with(start.as_bytes()));
    match std::str::from_utf8(definition) {
        Ok(text) if is_drivers => {
            let qualify = |text: String, (sign, name): &(&str, &str)| text.replace(sign, name);
            Cow::Owned(OPERATORS.iter().fold(text.to_owned(), qualify).into_bytes())
        }
        Ok(_) | Err(_) => Cow::Borrowed(definition),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_queries_of_the_driver_are_qualified() {
        let drivers = b"SELECT enumlabel\nFROM pg_catalog.pg_enum\nWHERE enumtypid = $1\n\0\0\0";
        let sent = b"SELECT enumlabel\nFROM pg_catalog.pg_enum\nWHERE enumtypid \
            OPERATOR(pg_catalog.=) $1\n\0\0\0";
        assert_eq!(*qualified(drivers), *sent);
        let callers = b"select enumlabel from pg_enum where enumtypid = $1\0\0\0";
        assert_eq!(*qualified(callers), *callers);
    }
}
