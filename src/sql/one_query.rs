//! Finds texts that may stand between parentheses: they are one query, which cannot end there and go on.

use super::scanner::{Dialect, Scanner, TokenKind};

/// Returns true if a text is one statement whose parentheses are all closed.
pub(crate) fn is_one_query(sql: &str, dialect: Dialect) -> bool {
    let mut depth = 0_usize;
    for token in Scanner::new(sql, dialect) {
        match (token.kind, token.text) {
            (TokenKind::Unterminated(_), _) | (_, ";") => return false,
            // `standard_conforming_strings` decides where such a literal ends.
            (TokenKind::String, text) if text.contains("\\'") => return false,
            (_, "(") => depth += 1,
            (_, ")") => match depth.checked_sub(1) {
                Some(left) => depth = left,
                None => return false,
            },
            _ => {}
        }
    }
    depth == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_could_leave_its_parentheses_is_no_query() {
        for sql in [
            "select 1",
            "select (a), ')' from (values (1)) as t (a) -- )",
            "with t as (select 1) select * from t",
            "select $$ ) $$, \")\"",
        ] {
            assert!(is_one_query(sql, Dialect::Postgres), "{sql}");
        }
        for sql in [
            "select 1) to program 'x' --",
            "select 1) to stdout; (select 1",
            "select 1; select 2",
            "select (1",
            "select ')(",
            "select '\\') to program ''x'' --'",
            "select 1 /* ",
        ] {
            assert!(!is_one_query(sql, Dialect::Postgres), "{sql}");
        }
    }
}
