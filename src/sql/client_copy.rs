//! Finds COPY to and from the client, so that it can be rejected before it is sent: when the server asks for its
//! data, or sends it, other statements may be on their way, their commit among them.
//!
//! The rule is closed: a COPY is one of the server's own only if it is certain to name a file or a program.

use super::scanner::{Dialect, Scanner, SqlToken, TokenKind};

/// Returns true if a statement of PostgreSQL may be a COPY to or from the client.
pub(crate) fn copies_with_client(sql: &str) -> bool {
    let mut tokens = Scanner::at_first_statement(sql, Dialect::Postgres);
    let is_copy = tokens.next().is_some_and(|first| is_word(&first, "COPY"));
    is_copy && !names_file(tokens)
}

/// Returns true if the first FROM or TO outside parentheses is followed by a literal, or by PROGRAM and one.
fn names_file(mut tokens: Scanner<'_>) -> bool {
    let mut depth = 0_usize;
    let mut is_part_of_name = false;
    while let Some(token) = tokens.next() {
        match token.text {
            "(" => depth += 1,
            ")" => depth = depth.saturating_sub(1),
            // `standard_conforming_strings` decides where such a literal ends.
            text if token.kind == TokenKind::String && text.contains("\\'") => return false,
            _ if depth > 0 || is_part_of_name => {}
            _ if is_word(&token, "FROM") || is_word(&token, "TO") => {
                let target = tokens.next();
                let is_program = target.is_some_and(|target| is_word(&target, "PROGRAM"));
                return (if is_program { tokens.next() } else { target }).is_some_and(is_literal);
            }
            _ => {}
        }
        is_part_of_name = token.text == ".";
    }
    false
}

fn is_word(token: &SqlToken<'_>, word: &str) -> bool {
    token.kind == TokenKind::Word && token.text.eq_ignore_ascii_case(word)
}

fn is_literal(token: SqlToken<'_>) -> bool {
    matches!(token.kind, TokenKind::String | TokenKind::EscapeString | TokenKind::DollarString)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_the_servers_own_only_with_a_file_or_a_program() {
        for sql in [
            "copy t to stdout",
            "COPY t FROM STDIN WITH (FORMAT csv)",
            "/* c */ ;; copy binary s.t (a, b) to stdin",
            "copy s.to to stdout",
            "copy s . from from stdin",
            "copy \"to 'x'\" to stdout",
            "copy (select * from t where a = 'to ''x''') to stdout",
            "copy (select '\\' to ''x''') to stdout",
            "copy (select $$) to 'x'$$) to stdout",
            "copy t to program",
            "copy t to program stdout",
            "copy t",
            "copy t to /* 'x",
            "copy",
        ] {
            assert!(copies_with_client(sql), "{sql}");
        }
        for sql in [
            "copy t to '/tmp/x'",
            "copy t (a) from '/tmp/x' with (null '\\N')",
            "copy s.to to '/tmp/x'",
            "copy (select 'a' as b from t) to E'/tmp/x'",
            "copy t to program 'cat'",
            "copy t to $$/tmp/x$$",
            "copyright",
            "\"copy\" t to stdout",
            "select 'copy t to stdout'",
            "create table copy (t int)",
            "",
        ] {
            assert!(!copies_with_client(sql), "{sql}");
        }
    }
}
