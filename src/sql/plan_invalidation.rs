//! Which of PostgreSQL's statements may change what the texts behind them mean.
//!
//! A statement is prepared with the tables, types and settings of that moment: its parameters have the types
//! that columns have then, its literals are read by the DateStyle of then. What is to run behind an ALTER
//! TABLE, a SET or a DEALLOCATE is prepared behind it.

use super::analysis::{Analysis, Dialect, StatementClass};
use super::transaction_control::words;

/// First words of statements that change neither tables nor settings nor prepared statements, whatever
/// follows. What they call may, which nobody can tell.
const PLAIN: [&str; 26] = [
    "ANALYZE",
    "CHECKPOINT",
    "CLOSE",
    "COMMENT",
    "COPY",
    "DECLARE",
    "DELETE",
    "EXECUTE",
    "EXPLAIN",
    "FETCH",
    "GRANT",
    "INSERT",
    "LISTEN",
    "LOCK",
    "MERGE",
    "MOVE",
    "NOTIFY",
    "REVOKE",
    "SELECT",
    "SHOW",
    "TABLE",
    "TRUNCATE",
    "UNLISTEN",
    "UPDATE",
    "VALUES",
    "WITH",
];

/// Settings that no text is read by.
const HARMLESS: [&str; 6] = [
    "application_name",
    "constraints",
    "synchronous_commit",
    "work_mem",
    "local_preload_libraries",
    "maintenance_work_mem",
];

/// Whether what comes behind a statement may mean something else than before it.
#[must_use]
pub fn redefines(sql: &str, analysis: &Analysis) -> bool {
    match &analysis.class {
        StatementClass::Read(uses) | StatementClass::Change(uses) => {
            uses.functions.iter().any(|name| name == "set_config") && sets_by_function(sql)
        }
        StatementClass::Other => other_redefines(sql),
    }
}

fn other_redefines(sql: &str) -> bool {
    let mut words = words(sql, Dialect::Postgres);
    let Some(first) = words.next() else { return false };
    let is = |keyword: &&str| first.eq_ignore_ascii_case(keyword);
    if first == "(" || PLAIN.iter().any(is) {
        return sets_by_function(sql);
    }
    if !is(&"SET") {
        return true;
    }
    let mut name = words.next().unwrap_or_default();
    if ["LOCAL", "SESSION"].iter().any(|scope| name.eq_ignore_ascii_case(scope)) {
        name = words.next().unwrap_or_default();
    }
    // A setting with a point is an application's own.
    words.next() != Some(".") && !is_harmless(name)
}

fn is_harmless(setting: &str) -> bool {
    let setting = setting.to_ascii_lowercase();
    setting.ends_with("_timeout") || HARMLESS.contains(&setting.as_str())
}

/// Whether the text may set something by `set_config`, unless each time it names, as a literal, a setting
/// that nothing is read by.
fn sets_by_function(sql: &str) -> bool {
    const CALL: &str = "set_config";
    let text = sql.to_ascii_lowercase();
    let mut rest = text.as_str();
    while let Some(at) = rest.find(CALL) {
        rest = rest[at + CALL.len()..].trim_start();
        let literal = rest.strip_prefix('(').map(str::trim_start);
        let name = literal.and_then(|text| text.strip_prefix('\'')?.split('\'').next());
        if !name.is_some_and(|name| name.contains('.') || is_harmless(name)) {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::Analyzer;

    #[test]
    fn what_changes_tables_settings_or_statements_is_told_by_its_text() {
        let analyzer = Analyzer::new(Dialect::Postgres, 1 << 20);
        let told = |sql: &str| redefines(sql, &analyzer.analyze(sql));
        for sql in [
            "alter table t add column b int",
            "/* x */ create table t (a int)",
            "drop table t",
            "do $$ begin execute 'deallocate all'; end $$",
            "call p()",
            "deallocate all",
            "discard plans",
            "reset all",
            "set search_path = tenant",
            "set local datestyle = 'DMY'",
            "set session role other",
            "select set_config('search_path', 'tenant', true)",
            "select set_config($1, 'tenant', true)",
            "select set_config ( 'app.x', '1', true), set_config('role', 'x', true)",
            "frobnicate",
        ] {
            assert!(told(sql), "{sql}");
        }
        for sql in [
            "",
            "select 1",
            "(select 1)",
            "insert into t values (1) returning *",
            "select * from t for update",
            "with a as (delete from t returning 1) select * from a",
            "select f()",
            "truncate t",
            "lock table t",
            "set local statement_timeout = '1s'",
            "set local app.tenant = '7'",
            "set constraints all deferred",
            "select set_config('app.tenant', $1, true)",
            "select set_config('statement_timeout', '5s', true)",
        ] {
            assert!(!told(sql), "{sql}");
        }
    }
}
