//! The custom settings (names with a point, `tenant.id`) that a statement of PostgreSQL may give a value.
//!
//! No reset takes one away: where a session had none, it reads as `''` from then on.

use std::sync::Arc;

use super::scanner::{Dialect, Scanner, SqlToken, TokenKind};

/// The custom settings that statements may set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum CustomSettings {
    #[default]
    None,
    /// Those of these names, each followed by a comma. Some are names of other things.
    Named(Arc<str>),
    /// Any: a name is not a literal.
    Any,
}

/// The depth to which bodies in dollar quotes are read.
const DEEPEST: u32 = 3;

/// The bytes of names that are kept of one session.
const MOST_NAMES: usize = 64 << 10;

impl CustomSettings {
    /// Reads the settings that a text may set.
    pub(crate) fn of(sql: &str) -> Self {
        if !has(sql, b"set") {
            return Self::None;
        }
        let mut reader = Reader::default();
        reader.read(sql, 0);
        match (reader.is_any, reader.names.is_empty()) {
            (true, _) => Self::Any,
            (false, true) => Self::None,
            (false, false) => Self::Named(reader.names.into()),
        }
    }

    /// Adds the settings of another statement.
    pub(crate) fn add(&mut self, other: &Self) {
        *self = match (&*self, other) {
            (Self::Named(some), Self::Named(more)) if some.len() + more.len() < MOST_NAMES => {
                if format!(",{some}").contains(&format!(",{more}")) {
                    return;
                }
                Self::Named(format!("{some}{more}").into())
            }
            (Self::None, other) => other.clone(),
            (_, Self::None) => return,
            _ => Self::Any,
        };
    }
}

#[derive(Default)]
struct Reader {
    names: String,
    is_any: bool,
}

impl Reader {
    fn read(&mut self, sql: &str, depth: u32) {
        let tokens: Vec<SqlToken<'_>> = Scanner::new(sql, Dialect::Postgres).collect();
        for (index, token) in tokens.iter().enumerate() {
            let rest = &tokens[index + 1..];
            match token.kind {
                TokenKind::Word if token.text.eq_ignore_ascii_case("set_config") => {
                    self.is_any |= !names_literal(rest);
                }
                TokenKind::Word | TokenKind::QuotedName => self.name(token, rest),
                TokenKind::DollarString if depth < DEEPEST => {
                    let body = token.text.splitn(3, '$').nth(2).unwrap_or_default();
                    self.read(body.rsplitn(3, '$').nth(2).unwrap_or_default(), depth + 1);
                }
                TokenKind::String | TokenKind::DollarString => self.literal(token.text),
                TokenKind::EscapeString => {
                    self.is_any |= token.text.contains('\\');
                    self.literal(token.text);
                }
                TokenKind::Unterminated(_)
                | TokenKind::Number
                | TokenKind::Parameter
                | TokenKind::Symbol => {}
            }
        }
    }

    /// Reads a name with points that starts with a token.
    fn name(&mut self, first: &SqlToken<'_>, rest: &[SqlToken<'_>]) {
        let mut name = unquoted(first.text);
        for [point, part] in rest.as_chunks::<2>().0 {
            if point.text != "." {
                break;
            }
            name = format!("{name}.{}", unquoted(part.text));
        }
        // A name in Unicode escapes is not decoded.
        let is_escaped = first.text.eq_ignore_ascii_case("u")
            && rest.first().is_some_and(|token| token.text == "&");
        self.is_any |= is_escaped;
        self.keep(&name);
    }

    /// Reads a literal: the name of a setting, or a statement that is put together.
    fn literal(&mut self, text: &str) {
        let words = text.split(|c: char| !is_part(c) && c != '.' && c != '"');
        words.for_each(|word| self.keep(&word.replace('"', "")));
        let inner = text.trim_start_matches(|c: char| !is_part(c));
        let is_set = inner.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("set "));
        self.is_any |= has(text, b"set_config") || (is_set && !text.contains('.'));
    }

    fn keep(&mut self, name: &str) {
        let mut parts = name.split('.');
        let is_name = |part: &str| {
            part.starts_with(|c: char| is_part(c) && !c.is_ascii_digit() && c != '$')
                && part.chars().all(is_part)
        };
        if name.contains('.') && parts.all(is_name) {
            self.names.push_str(name);
            self.names.push(',');
            self.is_any |= self.names.len() > MOST_NAMES;
        }
    }
}

/// Returns true if a call that begins with these tokens has a literal as its first argument.
fn names_literal(rest: &[SqlToken<'_>]) -> bool {
    matches!(rest, [open, name, comma, ..]
        if open.text == "(" && name.kind == TokenKind::String && comma.text == ",")
}

fn unquoted(name: &str) -> String {
    name.trim_matches('"').to_owned()
}

/// Returns true for the characters of a name.
fn is_part(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$' || !c.is_ascii()
}

/// Returns true if a text contains these letters, in upper or lower case.
fn has(text: &str, letters: &[u8]) -> bool {
    text.as_bytes().windows(letters.len()).any(|part| part.eq_ignore_ascii_case(letters))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(names: &str) -> CustomSettings {
        CustomSettings::Named(names.into())
    }

    #[test]
    fn names_with_a_point_are_found_wherever_they_stand() {
        for (sql, names) in [
            ("set local tenant.id = '5'", "tenant.id,"),
            ("SET \"tenant\" /**/ . id to 5", "tenant.id,"),
            ("select set_config('tenant.id', $1, true)", "tenant.id,"),
            ("do $$ begin set local a.b = 1; execute 'set local c.d.e = 2'; end $$", "a.b,c.d.e,"),
        ] {
            assert_eq!(CustomSettings::of(sql), named(names), "{sql}");
        }
        for sql in ["select a.b from c.d", "set local work_mem = '1MB'", "update t set n = 1.5"] {
            assert_eq!(CustomSettings::of(sql), CustomSettings::None, "{sql}");
        }
    }

    #[test]
    fn a_name_that_is_no_literal_may_be_any() {
        for sql in [
            "select set_config($1, '5', true)",
            "select set_config('tenant.' || 'id', '5', true)",
            "select set_config(E'tenant\\056id', '5', true)",
            "select set_config('ten'\n'ant.id', '5', true)",
            "do $$ begin execute 'set local ' || 'tenant.id' || ' = 5'; end $$",
            "do 'begin perform set_config(''a'' || ''.b'', ''5'', true); end'",
            "set U&\"\\0061\".b = 1",
        ] {
            assert_eq!(CustomSettings::of(sql), CustomSettings::Any, "{sql}");
        }
    }

    #[test]
    fn the_settings_of_a_session_are_those_of_all_its_statements() {
        let mut all = CustomSettings::None;
        for sql in ["set a.b = 1", "select 1", "set c.d = 1", "set a.b = 2"] {
            all.add(&CustomSettings::of(sql));
        }
        assert_eq!(all, named("a.b,c.d,"));
        all.add(&CustomSettings::Any);
        assert_eq!(all, CustomSettings::Any);
    }
}
