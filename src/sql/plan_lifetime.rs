//! The time for which a prepared statement keeps its meaning.
//!
//! PostgreSQL looks up the rows of a FETCH, EXECUTE or CALL once, when it is prepared, and never again: by the next
//! run the cursor, the statement or the procedure of that name may be another one. Such a text is prepared
//! just before each run. The rule is closed: only what is known to keep its meaning is kept.

use super::scanner::{Dialect, first_word, is_among};

/// First words of statements whose columns PostgreSQL compares with those of before when it plans anew.
const QUERIES: &str = "SELECT VALUES TABLE WITH INSERT UPDATE DELETE MERGE (";

/// First words of statements that return no rows, whatever follows.
const WITHOUT_ROWS: &str = "\
    ALTER ANALYZE CLOSE CLUSTER COMMENT CREATE DEALLOCATE DECLARE DISCARD DO DROP GRANT LISTEN LOCK \
    NOTIFY PREPARE REFRESH REINDEX RESET REVOKE SET TRUNCATE UNLISTEN";

/// Returns true if a statement may be kept prepared for later runs.
pub(crate) fn may_be_kept(sql: &str) -> bool {
    starts_with(sql, QUERIES)
}

/// Returns true if a statement may be prepared before those in front of it have run.
pub(crate) fn may_be_prepared_ahead(sql: &str) -> bool {
    may_be_kept(sql) || starts_with(sql, WITHOUT_ROWS)
}

fn starts_with(sql: &str, words: &str) -> bool {
    first_word(sql, Dialect::Postgres).is_some_and(|first| is_among(first, words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_query_is_kept_prepared() {
        for sql in [
            "select 1",
            "(values (1))",
            "/* x */ ; table t",
            "WITH a AS (SELECT 1) SELECT * FROM a",
            "insert into t values (1) returning *",
            "merge into t using u on true when matched then delete",
        ] {
            assert!(may_be_kept(sql) && may_be_prepared_ahead(sql), "{sql}");
        }
        for sql in ["set local x.y = 'z'", "declare c cursor for select 1", "lock t", "notify n"] {
            assert!(!may_be_kept(sql) && may_be_prepared_ahead(sql), "{sql}");
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
            assert!(!may_be_kept(sql) && !may_be_prepared_ahead(sql), "{sql}");
        }
    }
}
