//! The statements of PostgreSQL that are applied completely or not at all.
//!
//! Some commit along the way (procedures and DO blocks that say COMMIT, VACUUM, everything done
//! CONCURRENTLY): when one fails, its earlier commits stay. So an error claims that nothing was
//! applied only for a statement that is known to be atomic.

use super::scanner::{Dialect, first_word, is_among};

/// First words of statements that commit nothing by themselves.
const ATOMIC: &str = "\
    ALTER ANALYZE CHECKPOINT CLOSE COMMENT COPY CREATE DEALLOCATE DECLARE DELETE DISCARD \
    DROP EXECUTE EXPLAIN FETCH GRANT IMPORT INSERT LISTEN LOAD LOCK MERGE MOVE NOTIFY \
    PREPARE REASSIGN REFRESH RESET REVOKE SECURITY SELECT SET SHOW TABLE TRUNCATE UNLISTEN \
    UPDATE VALUES WITH (";

/// A block with none of these is PL/pgSQL that does not commit: it neither says so, nor calls a
/// procedure, nor runs a text that it makes, nor is itself written in another language or with
/// escapes.
const MAY_COMMIT: [&str; 6] = ["COMMIT", "CALL", "EXECUTE", "LANGUAGE", "\\", "U&"];

/// Returns true if a statement that fails has applied nothing, as far as its text tells.
pub(crate) fn is_atomic(sql: &str) -> bool {
    match first_word(sql, Dialect::Postgres) {
        None => true,
        Some(first) if first.eq_ignore_ascii_case("DO") => {
            !MAY_COMMIT.iter().any(|word| contains(sql, word))
        }
        Some(first) => is_among(first, ATOMIC) && !contains(sql, "CONCURRENTLY"),
    }
}

/// Tells whether the word is anywhere in the text, be it in a literal or a comment.
fn contains(sql: &str, word: &str) -> bool {
    sql.as_bytes().windows(word.len()).any(|bytes| bytes.eq_ignore_ascii_case(word.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_that_may_commit_along_the_way_is_not_atomic() {
        for sql in [
            "select 1",
            "(select 1)",
            "/* x */ INSERT into t values (1)",
            "create index i on t (a)",
            "with a as (select 1) select * from a",
            "do $$ begin update t set n = 5; raise exception 'no'; end $$",
            "",
        ] {
            assert!(is_atomic(sql), "{sql}");
        }
        for sql in [
            "do $$ begin commit; end $$",
            "do $$ begin call p(); end $$",
            "do $$ begin execute 'com' || 'mit'; end $$",
            "do language plpython3u $$ plpy.cursor() $$",
            "do E'begin \\x63ommit; end'",
            "do U&'begin !0063ommit; end' uescape '!'",
            "; CALL p()",
            "vacuum t",
            "reindex table t",
            "cluster t",
            "create unique index Concurrently i on t (a)",
            "alter table t detach partition u concurrently",
            "frobnicate",
        ] {
            assert!(!is_atomic(sql), "{sql}");
        }
    }
}
