//! The time for which a prepared statement keeps its meaning.
//!
//! PostgreSQL looks up the rows of a FETCH, EXECUTE or CALL once, when it is prepared, and never again: by the next
//! run the cursor, the statement or the procedure of that name may be another one. It also reads literals then:
//! `'now'` stays one moment, and `'r'::regrole` one role. Such a text is prepared just before each run. The rule
//! is closed: only what is known to keep its meaning is kept.

use super::scanner::{Dialect, Scanner, SqlToken, TokenKind, first_word, is_among};

/// First words of statements whose columns PostgreSQL compares with those of before when it plans anew.
const QUERIES: &str = "SELECT VALUES TABLE WITH INSERT UPDATE DELETE MERGE (";

/// First words of statements that return no rows, whatever follows.
const WITHOUT_ROWS: &str = "\
    ALTER ANALYZE CLOSE CLUSTER COMMENT CREATE DEALLOCATE DECLARE DISCARD DO DROP GRANT LISTEN LOCK \
    NOTIFY PREPARE REFRESH REINDEX RESET REVOKE SET TRUNCATE UNLISTEN";

/// Words in literals of dates and times whose meaning passes.
const MOMENTS: &str = "now today tomorrow yesterday";

/// Types whose literals are looked up in the catalogs, or depend on the day; and functions that take such
/// literals without a sign of it.
const LOOKED_UP: &str = "\
    regclass regcollation regconfig regdictionary regnamespace regoper regoperator regproc \
    regprocedure regrole regtype aclitem timetz to_tsvector to_tsquery plainto_tsquery \
    phraseto_tsquery websearch_to_tsquery json_to_tsvector jsonb_to_tsvector ts_headline ts_lexize";

/// The time for which a prepared statement keeps its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PlanLifetime {
    /// Until definitions change: it may be kept for later runs.
    Kept,
    /// Its only run: it may be prepared before the statements in front of it have run.
    Run,
    /// The moment: it is prepared just before it runs.
    Moment,
}

impl PlanLifetime {
    /// The lifetime of a statement with this text.
    pub(crate) fn of(sql: &str) -> Self {
        let first = first_word(sql, Dialect::Postgres).unwrap_or_default();
        let lifetime = if is_among(first, QUERIES) {
            Self::Kept
        } else if is_among(first, WITHOUT_ROWS) {
            Self::Run
        } else {
            return Self::Moment;
        };
        if has_passing_literal(sql) { Self::Moment } else { lifetime }
    }
}

/// Tells whether a text may have a literal that means something else at another time.
fn has_passing_literal(sql: &str) -> bool {
    let mut before: Option<SqlToken<'_>> = None;
    for token in Scanner::new(sql, Dialect::Postgres) {
        let follows = |text: &str| before.is_some_and(|one| one.text.eq_ignore_ascii_case(text));
        let passes = match token.kind {
            // A string that goes on in another line, or has escapes of Unicode, is not read here.
            TokenKind::String => {
                before.is_some_and(|one| one.kind == TokenKind::String)
                    || follows("&")
                    || names_moment(token.text)
            }
            TokenKind::EscapeString | TokenKind::DollarString => names_moment(token.text),
            TokenKind::Word => {
                is_looked_up(token.text) || follows("TIME") && is_among(token.text, "WITH")
            }
            TokenKind::QuotedName => follows("&") || is_looked_up(token.text.trim_matches('"')),
            TokenKind::Unterminated(_) => true,
            TokenKind::Number | TokenKind::Parameter | TokenKind::Symbol => false,
        };
        if passes {
            return true;
        }
        before = Some(token);
    }
    false
}

/// Tells whether a name is that of a type, of its arrays, or of a function, with literals that are looked up.
fn is_looked_up(name: &str) -> bool {
    is_among(name.trim_start_matches('_'), LOOKED_UP)
}

/// Tells whether a string names a moment, whatever backslashes mean in it.
fn names_moment(string: &str) -> bool {
    if has_word_of_moments(string) {
        return true;
    }
    let mut unescaped = String::new();
    let mut rest = string.chars();
    while let Some(c) = rest.next() {
        match if c == '\\' { rest.next() } else { Some(c) } {
            // The number of a character.
            Some('0'..='7' | 'x' | 'u' | 'U') if c == '\\' => return true,
            Some('b' | 'f' | 'n' | 'r' | 't') if c == '\\' => unescaped.push(' '),
            Some(plain) => unescaped.push(plain),
            None => {}
        }
    }
    unescaped.len() < string.len() && has_word_of_moments(&unescaped)
}

fn has_word_of_moments(string: &str) -> bool {
    string.split(|c: char| !c.is_ascii_alphabetic()).any(|word| is_among(word, MOMENTS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_kept_and_other_statements_are_not() {
        for sql in [
            "select 1",
            "(values (1))",
            "/* x */ ; table t",
            "WITH a AS (SELECT 1) SELECT * FROM a",
            "insert into t values (1) returning *",
            "merge into t using u on true when matched then delete",
        ] {
            assert_eq!(PlanLifetime::of(sql), PlanLifetime::Kept, "{sql}");
        }
        for sql in ["set local x.y = 'z'", "declare c cursor for select 1", "lock t", "notify n"] {
            assert_eq!(PlanLifetime::of(sql), PlanLifetime::Run, "{sql}");
        }
        for sql in [
            "",
            "fetch all in c",
            "FETCH c",
            "move 1 in c",
            "execute p(1)",
            "call p(1)",
            "show all",
            "explain select 1",
            "copy t to stdout",
            "frobnicate",
            "/* does not end",
        ] {
            assert_eq!(PlanLifetime::of(sql), PlanLifetime::Moment, "{sql}");
        }
    }

    #[test]
    fn a_literal_whose_meaning_passes_is_not_kept() {
        for sql in [
            "insert into e values ('now')",
            "insert into e values (' NOW ')",
            "select timestamptz 'now' - interval '1 day'",
            "select 'today'::date, 1",
            "select '{2020-01-01,tomorrow}'::date[]",
            "select '[now,)'::tstzrange",
            "select 'yesterday 14:00'",
            "select $$now$$",
            "select $x$today$x$",
            "select e'\\156ow'",
            "select E'n\\x6fw'",
            "select e'\\now'",
            "select 'n\\ow'",
            "select e'x\\ntoday'",
            "select u&'\\006eow'",
            "select U&'!006eow' uescape '!'",
            "select 'n'\n'ow'",
            "declare c cursor for select 'now'::timestamptz",
            "select 'r'::regrole",
            "select cast('f' as regproc)",
            "select '{t}'::_regclass",
            "select 'f'::\"regtype\"",
            "select '10:00'::timetz",
            "select time with time zone '10:00'",
            "select to_tsvector('english', $1)",
            "select 'does not end",
        ] {
            assert_eq!(PlanLifetime::of(sql), PlanLifetime::Moment, "{sql}");
        }
        for sql in [
            "select now(), current_date",
            "select 'unknown', 'snow', 'nowhere', 'todays'",
            "select '2020-01-01'::date, timestamptz '2020-01-01 10:00Z', 'epoch'::timestamp",
            "select a::timestamp with time zone, b at time zone 'UTC' from t",
            "select a from t where b ~ '^\\d+$' and c = 'C:\\dir'",
            "select e'a\\nb'",
            "select 'happy'::mood, to_regclass('t'), nextval('s')",
            "select 1 -- 'now'",
        ] {
            assert_eq!(PlanLifetime::of(sql), PlanLifetime::Kept, "{sql}");
        }
    }
}
