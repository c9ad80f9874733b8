//! The variables that SET may set within a transaction.
//!
//! The rule is closed, as some variables commit (`autocommit`), change what COMMIT does (`completion_type`), let a
//! read-only transaction write, or change how later texts are read (`sql_mode`, `character_set_client`).

use super::admission_kind::UnitAdmission::{
    self, Admitted, ImplicitCommit, TransactionControl, UnknownVariable,
};
use super::admission_kind::{SET_AUTOCOMMIT, SET_TRANSACTION};
use super::tokens::{Kind, Token};

/// The variables that are harmless, in order.
const HARMLESS: [&str; 26] = [
    "big_tables",
    "cte_max_recursion_depth",
    "default_week_format",
    "div_precision_increment",
    "eq_range_index_dive_limit",
    "foreign_key_checks",
    "group_concat_max_len",
    "innodb_lock_wait_timeout",
    "insert_id",
    "join_buffer_size",
    "lc_time_names",
    "lock_wait_timeout",
    "max_heap_table_size",
    "max_join_size",
    "max_sort_length",
    "optimizer_search_depth",
    "optimizer_switch",
    "rand_seed1",
    "rand_seed2",
    "sort_buffer_size",
    "sql_big_selects",
    "sql_safe_updates",
    "sql_select_limit",
    "timestamp",
    "tmp_table_size",
    "unique_checks",
];

/// The admission of SET.
pub(super) fn unit(tokens: &[Token<'_>], sql: &str) -> UnitAdmission {
    let target = match tokens.get(1) {
        Some(scope) if is_scope(scope) => tokens.get(2),
        other => other,
    };
    if is_any(target, &["TRANSACTION"]) {
        return TransactionControl(SET_TRANSACTION);
    }
    if is_any(target, &["STATEMENT"]) {
        return TransactionControl("SET STATEMENT without FOR");
    }
    if is_any(target, &["PASSWORD", "DEFAULT", "ROLE", "RESOURCE"]) {
        return ImplicitCommit("SET");
    }
    let name = b"autocommit";
    if sql.as_bytes().windows(name.len()).any(|part| part.eq_ignore_ascii_case(name)) {
        return TransactionControl(SET_AUTOCOMMIT);
    }
    let assignments = tokens.get(1..).unwrap_or_default();
    if are_harmless(assignments, sql) { Admitted } else { UnknownVariable }
}

/// Returns true if all assignments are to variables that are known to be harmless.
pub(super) fn are_harmless(assignments: &[Token<'_>], sql: &str) -> bool {
    each_assignment(assignments).all(|assignment| is_harmless(assignment, sql))
}

/// The assignments and the statement of MariaDB's `SET STATEMENT … FOR …`, from tokens without hints.
pub(super) fn set_statement<'a, 'b>(
    tokens: &'b [Token<'a>],
) -> Option<(&'b [Token<'a>], &'b [Token<'a>])> {
    if !is_any(tokens.first(), &["SET"]) || !is_any(tokens.get(1), &["STATEMENT"]) {
        return None;
    }
    let mut depth = 0_usize;
    let end = tokens.iter().position(|token| {
        match token.kind {
            Kind::Symbol('(') => depth += 1,
            Kind::Symbol(')') => depth = depth.saturating_sub(1),
            Kind::Word(_)
            | Kind::QuotedName(_)
            | Kind::String
            | Kind::Parameter(_)
            | Kind::Variable
            | Kind::Hint
            | Kind::Symbol(_) => {}
        }
        depth == 0 && is_any(Some(token), &["FOR"])
    })?;
    Some((&tokens[2..end], &tokens[end + 1..]))
}

/// Returns true if SET changes this session alone: not the server, an account, or the next transaction.
pub(super) fn are_of_session(tokens: &[Token<'_>], sql: &str) -> bool {
    let beyond = ["PASSWORD", "DEFAULT", "RESOURCE", "TRANSACTION", "STATEMENT"];
    if is_any(tokens.get(1), &beyond) {
        return false;
    }
    let scopes = ["GLOBAL", "PERSIST", "PERSIST_ONLY"];
    each_assignment(tokens.get(1..).unwrap_or_default()).all(|assignment| {
        let Some(first) = assignment.first() else { return true };
        let variable = sql[first.start..first.end].trim_start_matches('@');
        let name = variable.split('.').next().unwrap_or_default();
        let is_global = |word: &str| scopes.iter().any(|scope| scope.eq_ignore_ascii_case(word));
        // With blanks, as in `@@ global . a`, the scope is a token of its own.
        !(is_global(name) || name.is_empty() && is_any(assignment.get(1), &scopes))
    })
}

fn is_scope(token: &Token<'_>) -> bool {
    is_any(Some(token), &["SESSION", "GLOBAL", "LOCAL"])
}

fn is_any(token: Option<&Token<'_>>, words: &[&str]) -> bool {
    matches!(token.map(|token| token.kind), Some(Kind::Word(text))
        if words.iter().any(|word| word.eq_ignore_ascii_case(text)))
}

/// The assignments, which commas outside parentheses divide.
fn each_assignment<'a, 'b>(tokens: &'b [Token<'a>]) -> impl Iterator<Item = &'b [Token<'a>]> {
    let mut depth = 0_usize;
    tokens.split(move |token| {
        match token.kind {
            Kind::Symbol('(') => depth += 1,
            Kind::Symbol(')') => depth = depth.saturating_sub(1),
            Kind::Word(_)
            | Kind::QuotedName(_)
            | Kind::String
            | Kind::Parameter(_)
            | Kind::Variable
            | Kind::Hint
            | Kind::Symbol(_) => {}
        }
        depth == 0 && token.kind == Kind::Symbol(',')
    })
}

/// Returns true for `@name = …`, and for a variable of the session that is harmless.
fn is_harmless(assignment: &[Token<'_>], sql: &str) -> bool {
    let rest = match assignment {
        [scope, rest @ ..] if is_any(Some(scope), &["SESSION", "LOCAL"]) => rest,
        all => all,
    };
    let [variable, sign, ..] = rest else { return false };
    let text = &sql[variable.start..variable.end];
    let has_scope = rest.len() < assignment.len();
    let is_known = match variable.kind {
        Kind::Word(name) => is_listed(name),
        Kind::Variable if has_scope => false,
        Kind::Variable => match text.strip_prefix("@@") {
            None => text.len() > 1,
            Some(name) => is_listed(match name.split_once('.') {
                Some((scope, name))
                    if scope.eq_ignore_ascii_case("session")
                        || scope.eq_ignore_ascii_case("local") =>
                {
                    name
                }
                Some(_) | None => name,
            }),
        },
        Kind::QuotedName(_) | Kind::String | Kind::Parameter(_) | Kind::Hint | Kind::Symbol(_) => {
            false
        }
    };
    is_known && matches!(sign.kind, Kind::Symbol('=' | ':'))
}

fn is_listed(name: &str) -> bool {
    HARMLESS.iter().any(|listed| listed.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::super::MysqlStatement;
    use super::*;

    #[test]
    fn only_variables_that_are_known_to_be_harmless_are_set_in_a_unit() {
        for sql in [
            "set @a = 1, @b := 2",
            "set @`a b` = 1, @'c' = 2, @d.e = 3",
            "set foreign_key_checks = 0",
            "set SESSION Lock_Wait_Timeout = 3, local sql_select_limit = default",
            "set @@unique_checks = 0, @@session.timestamp = 5, @@LOCAL.rand_seed1 = 1",
            "set @a = greatest(1, 2), insert_id = (select max(a), 1 from t)",
        ] {
            assert_eq!(MysqlStatement::of(sql).unit, Admitted, "{sql}");
        }
        for sql in [
            "set",
            "set @a",
            "set @ = 1",
            "set completion_type = 1",
            "set @@completion_type = 'RELEASE'",
            "set sql_mode = 'ANSI_QUOTES'",
            "set @a = 1, session sql_mode = ''",
            "set @a = (1), sql_mode = ''",
            "set names latin1",
            "set character set latin1",
            "set character_set_client = gbk",
            "set session_track_state_change = 0",
            "set @@session . sql_mode = ''",
            "set @@`sql_mode` = ''",
            "set `foreign_key_checks` = 0",
            "set autocomm\u{ed}t = 1",
            "set transaction_read_only = 0",
            "set session tx_read_only = off",
            "set time_zone = '+01:00'",
            "set global foreign_key_checks = 0",
            "set persist foreign_key_checks = 0",
            "set @@global.foreign_key_checks = 0",
            "set session @@foreign_key_checks = 0",
            "set foreign_key_checks",
            "set foreign_key_checks = 0,",
            "set x.foreign_key_checks = 0",
            "set @a = 1 , sql_log_bin = 0",
        ] {
            assert_eq!(MysqlStatement::of(sql).unit, UnknownVariable, "{sql}");
        }
    }

    #[test]
    fn comments_hide_no_set_that_controls_transactions() {
        for (sql, expected) in [
            ("set /*+ x */ statement max_statement_time = 1 for commit", "COMMIT"),
            ("set statement a = (select 1 for update) for start transaction", "START TRANSACTION"),
            ("set statement a = 1 for set statement b = 2 for rollback", "ROLLBACK"),
            ("set statement a = 1 for set autocommit = 0", SET_AUTOCOMMIT),
            ("set statement a = 1 /*!99999 for select 1 */ for commit", "COMMIT"),
            ("set/**/session /*+ x */ transaction read write", SET_TRANSACTION),
            ("set /*!50000 autocommit = 0 */", SET_AUTOCOMMIT),
            ("set /*!50000 autocommit = 0, */ @a = 1", SET_AUTOCOMMIT),
            ("set @@autocommit = 0", SET_AUTOCOMMIT),
            ("set @@session.`autocommit` = 0", SET_AUTOCOMMIT),
        ] {
            let found = MysqlStatement::of(sql);
            assert_eq!(found.unit, TransactionControl(expected), "{sql}");
            assert_eq!(found.transaction_control(), Some(expected), "{sql}");
        }
        for (sql, expected) in [
            ("set statement max_statement_time = 1 for select 1", UnknownVariable),
            ("set statement sort_buffer_size = 100, @a = 1 for insert into t values (1)", Admitted),
            ("set statement sort_buffer_size = 100 for drop table t", ImplicitCommit("DROP")),
        ] {
            let found = MysqlStatement::of(sql);
            assert_eq!(found.unit, expected, "{sql}");
            assert_eq!(found.transaction_control(), None, "{sql}");
            assert!(!found.reads && !found.is_plain(), "{sql}");
        }
        let found = MysqlStatement::of("set /*+ x */ password = 'x'").unit;
        assert_eq!(found, ImplicitCommit("SET"));
    }

    #[test]
    fn the_list_is_in_order() {
        assert!(HARMLESS.is_sorted());
    }
}
