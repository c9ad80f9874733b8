//! The statements that can return NULL for a column that holds none.
//!
//! An outer join, a set operation, a grouping set, MERGE, and `old` or `new` behind RETURNING put NULL where a table
//! has a value, and the database still names the table's column as the origin. The rule is closed: other commands
//! return rows of statements that are not in the text (EXECUTE, FETCH), and count as such.

use super::scanner::{Dialect, Scanner, SqlToken, TokenKind, is_among};

/// First words of statements whose rows are those of their text.
const SELF_CONTAINED: &str = "SELECT WITH TABLE INSERT UPDATE DELETE (";

/// The same of SQLite, which names an origin also for what RETURNING computes.
const SELF_CONTAINED_SQLITE: &str = "SELECT WITH";

/// Keywords that put NULL in the place of values. They are none in quotes. An aggregate without GROUP BY may be told by
/// HAVING alone.
const EXTENDING: &str =
    "LEFT RIGHT FULL OUTER UNION INTERSECT EXCEPT GROUPING ROLLUP CUBE MERGE EXECUTE FETCH";

/// Words before a parenthesis that is neither a call nor a value. SQLite names an origin for the column of a subquery
/// that is a value, which is NULL if it finds no row, and for columns beside an aggregate, which are NULL over none.
const BEFORE_PARENTHESIS: &str = "IN AND OR NOT WHERE ON AS FROM JOIN";

/// Returns true unless a statement certainly returns the columns of its tables as they are stored.
pub(crate) fn may_extend_with_nulls(sql: &str, dialect: Dialect) -> bool {
    let is_sqlite = dialect == Dialect::Sqlite;
    // The scanner takes an executable comment for a comment.
    if dialect == Dialect::Mysql && ["/*!", "/*M!"].iter().any(|start| sql.contains(start)) {
        return true;
    }
    let first_words = if is_sqlite { SELF_CONTAINED_SQLITE } else { SELF_CONTAINED };
    let mut scanner = Scanner::at_first_statement(sql, dialect).peekable();
    if !scanner.peek().is_some_and(|first| is_among(first.text, first_words)) {
        return true;
    }
    let mut returns = false;
    let mut may_name_versions = false;
    let mut before_is_harmless = false;
    for token in scanner {
        // A session may take a backslash for an escape: then the string ends elsewhere, and may hide a keyword.
        let may_end_elsewhere = token.kind == TokenKind::String && token.text.contains('\\');
        if may_end_elsewhere
            || matches!(token.kind, TokenKind::Unterminated(_))
            || is_word(&token, EXTENDING)
        {
            return true;
        }
        if is_sqlite && (is_word(&token, "HAVING") || token.text == "(" && !before_is_harmless) {
            return true;
        }
        before_is_harmless = is_word(&token, BEFORE_PARENTHESIS);
        returns |= is_word(&token, "RETURNING");
        may_name_versions |= may_name_version(&token);
    }
    returns && may_name_versions
}

fn is_word(token: &SqlToken<'_>, words: &str) -> bool {
    token.kind == TokenKind::Word && is_among(token.text, words)
}

/// Returns true if a token may be `old` or `new`, the versions of a changed row: also in quotes, or in quotes with
/// escapes.
fn may_name_version(token: &SqlToken<'_>) -> bool {
    let is_quoted = token.kind == TokenKind::QuotedName;
    is_word(token, "OLD NEW UESCAPE")
        || is_quoted && (token.text.contains('\\') || is_among(token.text, "\"old\" \"new\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_returns_its_tables_columns_as_they_are_is_let_through() {
        for sql in [
            "select id from t",
            " ;; /* left */ Select \"left\" from t where a = 'left join' -- union",
            "(select id from t)",
            "table t",
            "with x as (select id from t) select * from x, lateral (select x.id) as y",
            "insert into t values (1) returning id, \"t\".\"name\"",
            "select old, new, \"old\" from t",
            "select id from a join b using (id) natural join c cross join d",
        ] {
            assert!(!may_extend_with_nulls(sql, Dialect::Postgres), "{sql}");
        }
    }

    #[test]
    fn what_may_put_null_for_a_value_is_found_in_every_spelling() {
        for sql in [
            "",
            "execute p",
            "fetch all from c",
            "explain analyze select 1",
            "values (1)",
            "select b.id from a lEFt/**/join b on true",
            "select a.id from a right join b on true",
            "select * from a natural full join b",
            "select id from t union all select null",
            "select id from t intersect select id from u",
            "select id from t except select id from u",
            "select id from t group by grouping sets ((id), ())",
            "select id from t group by rollup (id)",
            "select id from t group by cube (id)",
            "with m as (merge into t using s on true when matched then do nothing returning s.id) \
             select * from m",
            "insert into t values (1) returning old.id",
            "insert into t values (1) returning \"old\".id",
            "delete from t returning with (new as n) n.id",
            "insert into t values (1) returning U&\"\\006fld\".id",
            "insert into t values (1) returning U&\"!006fld\" uescape '!'",
            "select id from t /* no end",
            "select b.id, 'it\\'s' from a left join b on a.x = ' y'",
        ] {
            assert!(may_extend_with_nulls(sql, Dialect::Postgres), "{sql}");
        }
    }

    #[test]
    fn in_sqlite_calls_and_subqueries_that_are_values_are_found_too() {
        for sql in ["select a from t /*! left join u on 1 */", "select a from t /*M! , u */"] {
            assert!(may_extend_with_nulls(sql, Dialect::Mysql), "{sql}");
        }
        assert!(!may_extend_with_nulls("select a from t /* left */", Dialect::Mysql));
        let may_extend = |sql| may_extend_with_nulls(sql, Dialect::Sqlite);
        for sql in [
            "select id from t",
            "select id from t where id in (1, 2) and (n > 1 or not (n = 3))",
            "with x as (select id from t) select * from x join (select id from u) as y on (x.id = y.id)",
        ] {
            assert!(!may_extend(sql), "{sql}");
        }
        for sql in [
            "select (select id from t where 0)",
            "select 1, (select id from t where 0)",
            "select id, max(n) from t",
            "select id, [max](n) from t",
            "select id from t having 1",
            "select * from \"t\"(1)",
            "select a.id from b left join a",
            "select id from t union select null",
            "insert into t values (1) returning id",
            "values (1)",
            "select id from t where 'no end",
        ] {
            assert!(may_extend(sql), "{sql}");
        }
    }
}
