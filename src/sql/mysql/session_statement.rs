//! Finds the statements whose effect is the session's: the database in use, variables, locks, temporary tables.
//!
//! The session is reset behind a call, so alone they promise what is not kept. This is a service to callers, by keywords and
//! names: the reset does not depend on it.

use super::admission_kind::UnitAdmission;
use super::definition::PLAIN_COMMANDS;
use super::set_variables;
use super::tokens::{Kind, Token};
use crate::sql::session_state::{EffectLifetime, SessionState};

const TOGETHER: &str =
    "Send it with the statements that need it, in an ExecuteBatch or a Transact.";
const SCHEMA: &str = "Name the database before the table, as in shop.orders, or configure another \
    database whose URL names it.";
const VARIABLE: &str = "Every session begins with the server's value: change it there, or the configuration of the \
    database.";
const ROWS: &str = "Lock rows with SELECT … FOR UPDATE in a Transact.";
const HOLD: &str = "The lock would be gone with the call. Hold it with a client of the database, for as long as it is needed.";
const READ: &str = "Use SELECT, and StreamQuery to read many rows.";
const PREPARE: &str = "Send the statement itself: the server prepares it and keeps it prepared.";

/// Functions whose effect is the session's.
const FUNCTIONS: [&str; 3] = ["GET_LOCK", "RELEASE_LOCK", "RELEASE_ALL_LOCKS"];

/// The effect on the session that a statement has, as far as its text tells.
pub(super) fn session_state(
    tokens: &[Token<'_>],
    command: &'static str,
    unit: UnitAdmission,
    sql: &str,
) -> Option<SessionState> {
    match command {
        "USE" => Some(for_session("USE", SCHEMA)),
        "HANDLER" => Some(for_session("HANDLER", READ)),
        "LOCK" if is_word(tokens.get(1), "TABLE TABLES") => Some(for_session("LOCK TABLES", ROWS)),
        "UNLOCK" if is_word(tokens.get(1), "TABLE TABLES") => {
            Some(for_session("UNLOCK TABLES", ROWS))
        }
        "LOCK" if is_word(tokens.get(1), "INSTANCE") => Some(for_session("LOCK INSTANCE", HOLD)),
        "UNLOCK" if is_word(tokens.get(1), "INSTANCE") => {
            Some(for_session("UNLOCK INSTANCE", HOLD))
        }
        "FLUSH" => locking_flush(tokens),
        "BACKUP" => Some(for_session("BACKUP", HOLD)),
        "PREPARE" => Some(for_session("PREPARE", PREPARE)),
        "EXECUTE" if !is_word(tokens.get(1), "IMMEDIATE") => Some(for_session("EXECUTE", PREPARE)),
        "DEALLOCATE" => Some(for_session("DEALLOCATE", PREPARE)),
        "CREATE" if creates_temporary(tokens) => Some(for_unit("CREATE TEMPORARY TABLE")),
        "SET" if is_word(tokens.get(1), "ROLE") => Some(for_session("SET ROLE", VARIABLE)),
        "SET" if !set_variables::are_of_session(tokens, sql) => None,
        "SET" if unit == UnitAdmission::Admitted => Some(for_unit("SET")),
        "SET" => Some(for_session("SET", VARIABLE)),
        _ if PLAIN_COMMANDS.contains(&command) => of_query(tokens),
        _ => None,
    }
}

fn for_session(what: &'static str, hint: &'static str) -> SessionState {
    SessionState { what, lifetime: EffectLifetime::Session, hint }
}

/// The effect that a batch or a transaction keeps to its end.
fn for_unit(what: &'static str) -> SessionState {
    SessionState { what, lifetime: EffectLifetime::Unit, hint: TOGETHER }
}

fn is_word(token: Option<&Token<'_>>, words: &str) -> bool {
    matches!(token.map(|token| token.kind), Some(Kind::Word(text))
        if words.split(' ').any(|word| word.eq_ignore_ascii_case(text)))
}

/// `FLUSH TABLES … WITH READ LOCK`, `FLUSH TABLES … FOR EXPORT`. Names of tables cannot be taken for these words, which are reserved.
fn locking_flush(tokens: &[Token<'_>]) -> Option<SessionState> {
    tokens.windows(2).find_map(|pair| {
        let what = if is_word(pair.first(), "READ") && is_word(pair.get(1), "LOCK") {
            "FLUSH TABLES … WITH READ LOCK"
        } else if is_word(pair.first(), "FOR") && is_word(pair.get(1), "EXPORT") {
            "FLUSH TABLES … FOR EXPORT"
        } else {
            return None;
        };
        Some(for_session(what, HOLD))
    })
}

fn creates_temporary(tokens: &[Token<'_>]) -> bool {
    let replaces = is_word(tokens.get(1), "OR") && is_word(tokens.get(2), "REPLACE");
    is_word(tokens.get(if replaces { 3 } else { 1 }), "TEMPORARY")
}

/// `SELECT … INTO @a`, and locks by name.
fn of_query(tokens: &[Token<'_>]) -> Option<SessionState> {
    tokens.windows(2).enumerate().find_map(|(at, pair)| {
        if is_word(pair.first(), "INTO") && pair[1].kind == Kind::Variable {
            return Some(for_unit("SELECT … INTO @"));
        }
        let is_qualified = at > 0 && tokens[at - 1].kind == Kind::Symbol('.');
        if is_qualified || pair[1].kind != Kind::Symbol('(') {
            return None;
        }
        let name = FUNCTIONS.into_iter().find(|name| is_word(pair.first(), name))?;
        Some(for_unit(name))
    })
}

#[cfg(test)]
mod tests {
    use super::super::MysqlStatement;
    use super::*;

    fn found(sql: &str) -> Option<(&'static str, EffectLifetime)> {
        MysqlStatement::of(sql).session_state.map(|found| (found.what, found.lifetime))
    }

    #[test]
    fn statements_whose_effect_is_the_sessions_are_found() {
        for (sql, what) in [
            ("use shop", "USE"),
            ("USE `shop`", "USE"),
            ("set sql_mode = ''", "SET"),
            ("set session time_zone = '+01:00', @a = 1", "SET"),
            ("set @@session.sql_mode = ''", "SET"),
            ("set names utf8mb4", "SET"),
            ("set role none", "SET ROLE"),
            ("lock tables t write", "LOCK TABLES"),
            ("LOCK TABLE t READ", "LOCK TABLES"),
            ("unlock tables", "UNLOCK TABLES"),
            ("flush tables with read lock", "FLUSH TABLES … WITH READ LOCK"),
            ("FLUSH LOCAL TABLE a, b WITH READ LOCK", "FLUSH TABLES … WITH READ LOCK"),
            (
                "flush tables a with read lock and disable checkpoint",
                "FLUSH TABLES … WITH READ LOCK",
            ),
            ("flush tables a, b for export", "FLUSH TABLES … FOR EXPORT"),
            ("backup stage start", "BACKUP"),
            ("BACKUP LOCK shop.t", "BACKUP"),
            ("backup unlock", "BACKUP"),
            ("lock instance for backup", "LOCK INSTANCE"),
            ("unlock instance", "UNLOCK INSTANCE"),
            ("handler t open", "HANDLER"),
            ("prepare a from 'select 1'", "PREPARE"),
            ("execute a using @b", "EXECUTE"),
            ("deallocate prepare a", "DEALLOCATE"),
        ] {
            assert_eq!(found(sql), Some((what, EffectLifetime::Session)), "{sql}");
        }
        for (sql, what) in [
            ("set @a = 1, @b := 2", "SET"),
            ("set foreign_key_checks = 0", "SET"),
            ("create temporary table t (a int)", "CREATE TEMPORARY TABLE"),
            ("create or replace temporary table t (a int)", "CREATE TEMPORARY TABLE"),
            ("select a, b into @a, @b from t", "SELECT … INTO @"),
            ("select get_lock('a', 1)", "GET_LOCK"),
            ("do release_lock('a')", "RELEASE_LOCK"),
            ("insert into t values (RELEASE_ALL_LOCKS())", "RELEASE_ALL_LOCKS"),
        ] {
            assert_eq!(found(sql), Some((what, EffectLifetime::Unit)), "{sql}");
        }
    }

    #[test]
    fn other_statements_are_left_alone() {
        for sql in [
            "",
            "select 'use shop', `get_lock`",
            "select @a := @a + 1 from t, (select @a := 0) x",
            "select get_lock from t",
            "select mine.get_lock('a')",
            "select is_free_lock('a')",
            "select a from t into outfile '/tmp/a'",
            "insert into t values (1)",
            "insert into t set a = 1",
            "update t set a = 1",
            "set global max_connections = 10",
            "set persist max_connections = 10",
            "set @@global.max_connections = 10, @a = 1",
            "set @@ GLOBAL . max_connections = 10",
            "set password = password('a')",
            "set default role a for b",
            "set transaction isolation level serializable",
            "execute immediate 'select 1'",
            "create table temporary_orders (a int)",
            "drop temporary table t",
            "flush tables",
            "flush tables `read`, `lock`",
            "flush tables t with lock",
            "set statement max_statement_time = 1 for select 1",
            "call p()",
            "/*!40101 set names utf8 */",
        ] {
            assert_eq!(found(sql), None, "{sql}");
        }
    }
}
