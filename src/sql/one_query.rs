//! Finds texts that may stand between parentheses: they are one query, which cannot end there and go on.

use super::scanner::{Dialect, Scanner, TokenKind};

/// Returns the text of the one statement, without the semicolon behind it, if its parentheses are all closed.
pub(crate) fn one_query(sql: &str, dialect: Dialect) -> Option<&str> {
    let mut depth = 0_usize;
    let mut end = None;
    let mut scanner = Scanner::new(sql, dialect);
    for token in scanner.by_ref() {
        match (token.kind, token.text) {
            (_, ";") if depth == 0 && !token.is_optional => end = end.or(Some(token.start)),
            _ if end.is_some() => return None,
            (TokenKind::Unterminated(_), _) | (_, ";") => return None,
            // `standard_conforming_strings` decides where such a literal ends.
            (TokenKind::String, text) if text.contains("\\'") => return None,
            (_, "(") => depth += 1,
            (_, ")") => depth = depth.checked_sub(1)?,
            _ => {}
        }
    }
    (depth == 0 && !scanner.is_in_code_comment()).then(|| &sql[..end.unwrap_or(sql.len())])
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
            assert_eq!(one_query(sql, Dialect::Postgres), Some(sql));
        }
        for sql in ["select 1;", "select 1 ; -- )", "select 1;;\n/* end */"] {
            let found = one_query(sql, Dialect::Postgres);
            assert_eq!(found.map(str::trim_end), Some("select 1"), "{sql}");
        }
        for sql in [
            "select 1) to program 'x' --",
            "select 1) to stdout; (select 1",
            "select 1; select 2",
            "select (1;)",
            "select 1; /* ",
            "select (1",
            "select ')(",
            "select '\\') to program ''x'' --'",
            "select 1 /* ",
        ] {
            assert_eq!(one_query(sql, Dialect::Postgres), None, "{sql}");
        }
    }
}
