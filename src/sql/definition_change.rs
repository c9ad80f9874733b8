//! The statements of PostgreSQL that may change definitions: of tables, types, functions, privileges and so on.
//!
//! After one, all that is known of the database may be out of date. The rule is closed: a statement changes them unless
//! its first word is known not to. Functions that a query calls may, too, which no text tells.

use super::analysis::Analysis;
use super::class::StatementClass;
use super::scanner::{Dialect, Scanner, TokenKind, first_word, is_among};

/// First words of statements that change no definition, whatever follows.
const HARMLESS: &str = "\
    ANALYZE CHECKPOINT CLOSE COPY DEALLOCATE DELETE DISCARD FETCH INSERT LISTEN LOCK MERGE MOVE \
    NOTIFY RESET SET SHOW TRUNCATE UNLISTEN UPDATE VACUUM";

/// First words of statements that contain a query, which may create a table.
const WITH_QUERY: &str = "DECLARE EXECUTE EXPLAIN PREPARE SELECT TABLE VALUES WITH (";

/// Returns true if a statement may change definitions.
pub(crate) fn changes_definitions(sql: &str, analysis: &Analysis) -> bool {
    if analysis.class != StatementClass::Other {
        return false;
    }
    match first_word(sql, Dialect::Postgres) {
        None => false,
        Some(first) if is_among(first, HARMLESS) => false,
        Some(first) if is_among(first, WITH_QUERY) => creates_table(sql),
        Some(_) => true,
    }
}

/// Tells whether a query creates a table: by INTO, or within EXPLAIN by CREATE. Both words are reserved.
fn creates_table(sql: &str) -> bool {
    let mut before = "";
    for token in Scanner::new(sql, Dialect::Postgres) {
        let is_word = token.kind == TokenKind::Word;
        if is_word && is_among(token.text, "CREATE") {
            return true;
        }
        if is_word && is_among(token.text, "INTO") && !is_among(before, "INSERT MERGE") {
            return true;
        }
        before = token.text;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::Analyzer;

    #[test]
    fn a_statement_changes_definitions_unless_it_is_known_not_to() {
        let analyzer = Analyzer::new(Dialect::Postgres, 1 << 20);
        let changes = |sql: &str| changes_definitions(sql, &analyzer.analyze(sql));
        for sql in [
            "create table t (a int)",
            "/* x */ ALTER domain d set default 1",
            "drop function f(int)",
            "comment on table t is 'x'",
            "grant all on t to public",
            "revoke all on t from public",
            "security label on table t is 'x'",
            "import foreign schema s from server r into t",
            "refresh materialized view m",
            "reindex table t",
            "do $$ begin end $$",
            "call p()",
            "load 'x'",
            "select 1 as a into t",
            "with a as (select 1) select * into t from a",
            "explain analyze create table t as select 1",
            "explain analyze select 1 into t",
            "frobnicate",
        ] {
            assert!(changes(sql), "{sql}");
        }
        for sql in [
            "",
            "select 1",
            "select 1 for update",
            "insert into t select 1",
            "with a as (insert into t values (1) returning 1) select * from a",
            "explain insert into t values (1)",
            "explain merge into t using u on true when matched then do nothing",
            "prepare p as insert into t values (1)",
            "execute p",
            "declare c cursor for select 'create', \"into\" from t",
            "fetch all in c",
            "set search_path = x",
            "truncate t",
            "notify n",
            "vacuum t",
        ] {
            assert!(!changes(sql), "{sql}");
        }
    }
}
