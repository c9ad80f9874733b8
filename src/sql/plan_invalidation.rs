//! The statements of PostgreSQL after which later texts may mean something else.
//!
//! A statement is prepared with the tables, types and settings of that moment: its parameters have the types
//! that columns have then, its literals are read by the DateStyle of then. A statement after an ALTER
//! TABLE, a SET or a DEALLOCATE must be prepared after it.

use super::analysis::Analysis;
use super::class::StatementClass;
use super::scanner::{Dialect, is_among, leading_words};

/// First words of statements that change neither tables nor settings nor prepared statements, whatever
/// follows. The functions that they call may, which no text tells.
const PLAIN: &str = "\
    ANALYZE CHECKPOINT CLOSE COMMENT COPY DECLARE DELETE EXECUTE EXPLAIN FETCH GRANT INSERT \
    LISTEN LOCK MERGE MOVE NOTIFY REVOKE SELECT SHOW TABLE TRUNCATE UNLISTEN UPDATE VALUES \
    WITH (";

/// Those of them, and of statements that set something harmless, that run no function and no trigger.
const WITHOUT_CODE: &str = "\
    ANALYZE CHECKPOINT CLOSE COMMENT DECLARE GRANT LISTEN LOCK NOTIFY REVOKE SET SHOW UNLISTEN";

/// Settings that change the meaning of no text: at most the plan, and the resources that it takes.
const HARMLESS: &str = "\
    application_name constraint_exclusion constraints cpu_index_tuple_cost cpu_operator_cost \
    cpu_tuple_cost cursor_tuple_fraction default_statistics_target effective_cache_size \
    effective_io_concurrency enable_async_append enable_bitmapscan enable_gathermerge \
    enable_hashagg enable_hashjoin enable_incremental_sort enable_indexonlyscan \
    enable_indexscan enable_material enable_memoize enable_mergejoin enable_nestloop \
    enable_parallel_append enable_parallel_hash enable_partition_pruning \
    enable_partitionwise_aggregate enable_partitionwise_join enable_seqscan enable_sort \
    enable_tidscan from_collapse_limit geqo geqo_threshold hash_mem_multiplier jit \
    jit_above_cost jit_inline_above_cost jit_optimize_above_cost join_collapse_limit \
    local_preload_libraries logical_decoding_work_mem maintenance_work_mem \
    max_parallel_maintenance_workers max_parallel_workers max_parallel_workers_per_gather \
    min_parallel_index_scan_size min_parallel_table_scan_size parallel_leader_participation \
    parallel_setup_cost parallel_tuple_cost plan_cache_mode random_page_cost \
    recursive_worktable_factor seq_page_cost synchronous_commit temp_buffers work_mem";

/// Returns true if a statement may change the meaning of those after it.
pub(crate) fn invalidates_plans(sql: &str, analysis: &Analysis) -> bool {
    match &analysis.class {
        StatementClass::Read(uses) | StatementClass::Change(uses) => {
            uses.functions.iter().any(|name| name == "set_config") && sets_by_function(sql)
        }
        StatementClass::Other => other_invalidates(sql),
    }
}

/// Returns true if a statement may run functions or triggers, which may change the meaning of those after it.
pub(crate) fn may_run_code(sql: &str, analysis: &Analysis) -> bool {
    let runs = |first: &str| !is_among(first, WITHOUT_CODE);
    analysis.class != StatementClass::Other
        || leading_words(sql, Dialect::Postgres).next().is_some_and(runs)
}

fn other_invalidates(sql: &str) -> bool {
    let mut words = leading_words(sql, Dialect::Postgres);
    let Some(first) = words.next() else { return false };
    if is_among(first, PLAIN) {
        return sets_by_function(sql);
    }
    if !first.eq_ignore_ascii_case("SET") {
        return true;
    }
    let mut setting = words.next().unwrap_or_default();
    if is_among(setting, "LOCAL SESSION") {
        setting = words.next().unwrap_or_default();
    }
    // A setting with a point is an application's own.
    let is_custom = words.next().is_some_and(|next| next.starts_with('.'));
    !is_custom && !is_harmless(setting)
}

/// True for a setting that changes the meaning of no text. One with a point is an application's own.
pub(crate) fn keeps_meaning(setting: &str) -> bool {
    setting.contains('.') || is_harmless(setting)
}

fn is_harmless(setting: &str) -> bool {
    setting.to_ascii_lowercase().ends_with("_timeout") || is_among(setting, HARMLESS)
}

/// Tells whether the text may set something by `set_config`, unless each call names, as a literal, a
/// harmless setting.
fn sets_by_function(sql: &str) -> bool {
    const CALL: &str = "set_config";
    let text = sql.to_ascii_lowercase();
    let mut rest = text.as_str();
    while let Some(at) = rest.find(CALL) {
        rest = rest[at + CALL.len()..].trim_start();
        let literal = rest.strip_prefix('(').map(str::trim_start);
        let name = literal.and_then(|text| text.strip_prefix('\'')?.split('\'').next());
        if !name.is_some_and(keeps_meaning) {
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
    fn a_text_that_changes_tables_settings_or_statements_invalidates_plans() {
        let analyzer = Analyzer::new(Dialect::Postgres, 1 << 20);
        let invalidates = |sql: &str| invalidates_plans(sql, &analyzer.analyze(sql));
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
            assert!(invalidates(sql), "{sql}");
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
            assert!(!invalidates(sql), "{sql}");
        }
    }

    #[test]
    fn a_statement_runs_code_unless_it_is_known_not_to() {
        let analyzer = Analyzer::new(Dialect::Postgres, 1 << 20);
        let runs = |sql: &str| may_run_code(sql, &analyzer.analyze(sql));
        for sql in
            ["select f()", "insert into t values (1)", "fetch c", "explain select 1", "do 'x'"]
        {
            assert!(runs(sql), "{sql}");
        }
        for sql in ["", "set local statement_timeout = 1", "lock t", "show all", "close c"] {
            assert!(!runs(sql), "{sql}");
        }
    }
}
