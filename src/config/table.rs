//! How the name of a table is written.

use super::problem::Refusal;
use super::shape::{Shape, text};
use super::tree::{Raw, quote};

/// A table's name, with or without its schema. Letters, digits and underscores alone, as no database
/// needs more for a table of our own.
pub(crate) struct Table;

/// The longest identifier that PostgreSQL does not cut off, in bytes.
const LONGEST_IDENTIFIER: usize = 63;

impl Shape for Table {
    type Value = String;

    fn parse(&self, raw: &Raw) -> Result<String, Refusal> {
        let name = text(raw, "the name of a table")?;
        let is_identifier = |part: &str| {
            part.len() <= LONGEST_IDENTIFIER
                && part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        };
        let parts: Vec<_> = name.split('.').collect();
        if parts.len() <= 2 && parts.iter().all(|part| is_identifier(part)) {
            return Ok(name.to_owned());
        }
        Err(Refusal::new("this is not the name of a table").instead(
            "Write a name of letters, digits and underscores, with its schema before a point or \
             without: \"rowgate_idempotency\", \"ops.keys\".",
        ))
    }

    fn show(&self, value: &String) -> String {
        quote(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_have_plain_names() {
        for name in ["rowgate_idempotency", "_k1", "ops.keys", "Ops.Keys"] {
            assert_eq!(parsed(name), Ok(name.to_owned()));
        }
        let long = "k".repeat(64);
        for name in ["", "1k", "a.b.c", "ops.", ".keys", "a b", "k\"; drop table t", "ü", &long] {
            assert!(parsed(name).is_err(), "{name}");
        }
    }

    fn parsed(text: &str) -> Result<String, String> {
        Table.parse(&Raw::Text(text.to_owned())).map_err(|refusal| refusal.why)
    }
}
