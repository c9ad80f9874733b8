//! Finds PostgreSQL's statements whose effect is the session's: settings, locks, cursors, temporary objects.
//!
//! Outside an interactive transaction the session is reset behind a call, so what such a statement promises
//! is not kept. This is a service to callers, by keywords and names: the reset does not depend on it.

use super::scanner::{Dialect, Scanner, SqlToken, TokenKind, is_among};

/// The statement that was found, and what to do instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SessionState {
    /// Its keywords, or the name of its function.
    pub what: &'static str,
    pub lifetime: EffectLifetime,
    /// A sentence.
    pub hint: &'static str,
}

/// The end of a statement's effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EffectLifetime {
    /// The end of the session.
    Session,
    /// The end of the transaction: it is kept in a batch, and alone it is gone at once.
    Transaction,
    /// The end of the session, but a batch has one to itself.
    Unit,
}

/// The longest text, in bytes, whose tokens are held all at once. A longer one is mostly data: its tokens would take
/// twenty times its size.
const MAX_HELD: usize = 16 << 10;

/// The tokens that are held of a longer text: of its begin, and beside a name that is looked for.
const HELD: usize = 64;

const TRANSACT: &str = "Use a Transact: what it sets up is removed at its end.";
const LOCAL: &str = "Use options.settings, SET LOCAL in an ExecuteBatch, or a Transact.";
const TOGETHER: &str =
    "Send it with the statements that need it, in an ExecuteBatch or a Transact.";
const TEMPORARY: &str = "Use ON COMMIT DROP in an ExecuteBatch, a Transact, a common table expression \
    or an ordinary table.";
const LISTEN: &str = "Use the RPC Listen, which streams the notifications of channels.";
const LOCK: &str = "Use pg_advisory_xact_lock in an ExecuteBatch or a Transact.";
const PREPARE: &str = "Send the statement itself: the server prepares it and keeps it prepared.";
const HOLD: &str = "Use StreamQuery to read many rows, or a Transact.";

/// The effect on the session that a statement of PostgreSQL has, as far as its text tells.
pub(crate) fn session_state(sql: &str) -> Option<SessionState> {
    let scanner = Scanner::at_first_statement(sql, Dialect::Postgres);
    if sql.len() <= MAX_HELD {
        return of_tokens(&scanner.collect::<Vec<_>>());
    }
    let tokens: Vec<SqlToken<'_>> = scanner.take(HELD).collect();
    of_tokens(&tokens).or_else(|| runs_query(&tokens).then(|| of_long_query(sql)).flatten())
}

/// As [`of_tokens`], of a query whose tokens are not held.
fn of_long_query(sql: &str) -> Option<SessionState> {
    let is_sought = |name: &str| {
        let mut known = FUNCTIONS.iter().map(|(known, _)| *known).chain(["set_config", "into"]);
        known.any(|known| known.eq_ignore_ascii_case(name))
    };
    let mut before: [Option<SqlToken<'_>>; 2] = [None; 2];
    for token in Scanner::new(sql, Dialect::Postgres) {
        if is_sought(token.text.trim_matches('"')) {
            let from_here = Scanner::new(&sql[token.start..], Dialect::Postgres).take(HELD);
            let near: Vec<_> = before.into_iter().flatten().chain(from_here).collect();
            let found = of_select_into(&near).or_else(|| of_functions(&near));
            if found.is_some() {
                return found;
            }
        }
        before = [before[1], Some(token)];
    }
    None
}

/// First words of statements that may call any function.
const QUERIES: &str = "SELECT WITH VALUES TABLE INSERT UPDATE DELETE MERGE CALL (";

/// Returns true if a statement begins that may call any function, and runs.
fn runs_query(tokens: &[SqlToken<'_>]) -> bool {
    match tokens {
        [explain, rest @ ..] if is(Some(explain), "EXPLAIN") => {
            let start = rest.iter().position(|token| is(Some(token), QUERIES));
            let options = &rest[..start.unwrap_or(0)];
            options.iter().any(|token| is(Some(token), "ANALYZE ANALYSE"))
        }
        [first, ..] => is_among(first.text, QUERIES),
        [] => false,
    }
}

fn of_tokens(tokens: &[SqlToken<'_>]) -> Option<SessionState> {
    let first = tokens.first()?.text.to_ascii_uppercase();
    let rest = &tokens[1..];
    match first.as_str() {
        "SET" => Some(of_set(rest)),
        "RESET" => Some(session("RESET", LOCAL)),
        "DISCARD" => Some(session("DISCARD", TRANSACT)),
        "LISTEN" => Some(session("LISTEN", LISTEN)),
        "UNLISTEN" => Some(session("UNLISTEN", LISTEN)),
        "PREPARE" => Some(session("PREPARE", PREPARE)),
        "EXECUTE" => Some(session("EXECUTE", PREPARE)),
        "DEALLOCATE" => Some(session("DEALLOCATE", PREPARE)),
        "LOAD" => Some(session("LOAD", TRANSACT)),
        "DECLARE" if holds(rest) => Some(session("DECLARE … WITH HOLD", HOLD)),
        "DECLARE" => Some(transaction("DECLARE", TOGETHER)),
        "CREATE" => of_create(rest),
        "EXPLAIN" => of_explain(rest),
        "SELECT" | "WITH" | "VALUES" | "TABLE" | "INSERT" | "UPDATE" | "DELETE" | "MERGE"
        | "CALL" | "(" => of_select_into(rest).or_else(|| of_functions(tokens)),
        _ => None,
    }
}

fn session(what: &'static str, hint: &'static str) -> SessionState {
    SessionState { what, lifetime: EffectLifetime::Session, hint }
}

fn transaction(what: &'static str, hint: &'static str) -> SessionState {
    SessionState { what, lifetime: EffectLifetime::Transaction, hint }
}

fn is(token: Option<&SqlToken<'_>>, keywords: &str) -> bool {
    token.is_some_and(|token| token.kind == TokenKind::Word && is_among(token.text, keywords))
}

fn of_set(rest: &[SqlToken<'_>]) -> SessionState {
    // A setting may have such a name: `SET local.x = 1`, `SET constraints TO 1`.
    let names_setting = rest.get(1).is_some_and(|next| is_among(next.text, ". = TO"));
    if !names_setting && is(rest.first(), "LOCAL") {
        return transaction("SET LOCAL", TOGETHER);
    }
    if !names_setting && is(rest.first(), "CONSTRAINTS") {
        return transaction("SET CONSTRAINTS", TOGETHER);
    }
    session("SET", LOCAL)
}

/// `DECLARE c … CURSOR WITH HOLD FOR …`
fn holds(rest: &[SqlToken<'_>]) -> bool {
    let end = rest.iter().position(|token| is(Some(token), "FOR")).unwrap_or(rest.len());
    rest[..end].windows(2).any(|pair| is(pair.first(), "WITH") && is(pair.get(1), "HOLD"))
}

fn of_create(rest: &[SqlToken<'_>]) -> Option<SessionState> {
    let kind = rest.iter().find(|token| !is(Some(token), "OR REPLACE LOCAL GLOBAL"));
    let is_temporary = is(kind, "TEMP TEMPORARY") || rest.windows(2).any(is_in_pg_temp);
    if !is_temporary {
        return None;
    }
    let dropped = ["ON", "COMMIT", "DROP"];
    let is_dropped = rest
        .windows(3)
        .any(|words| words.iter().zip(dropped).all(|(word, expected)| is(Some(word), expected)));
    Some(if is_dropped {
        transaction("CREATE TEMP … ON COMMIT DROP", TOGETHER)
    } else {
        session("CREATE TEMP", TEMPORARY)
    })
}

/// `pg_temp.`, or the same schema by its own name, as in `pg_temp_3.`
fn is_in_pg_temp(pair: &[SqlToken<'_>]) -> bool {
    let [schema, point] = pair else { return false };
    let name = schema.text.trim_matches('"').to_ascii_lowercase();
    let number = name.strip_prefix("pg_temp").map(|rest| rest.strip_prefix('_').unwrap_or(rest));
    point.text == "."
        && matches!(schema.kind, TokenKind::Word | TokenKind::QuotedName)
        && number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// `EXPLAIN ANALYZE …` runs its statement.
fn of_explain(rest: &[SqlToken<'_>]) -> Option<SessionState> {
    const STATEMENTS: &str =
        "SELECT WITH VALUES TABLE INSERT UPDATE DELETE MERGE CREATE EXECUTE DECLARE";
    let start = rest.iter().position(|token| is(Some(token), STATEMENTS))?;
    let runs = rest[..start].iter().any(|token| is(Some(token), "ANALYZE ANALYSE"));
    if runs { of_tokens(&rest[start..]) } else { None }
}

/// `SELECT … INTO TEMP t …`
fn of_select_into(rest: &[SqlToken<'_>]) -> Option<SessionState> {
    // What follows a table that is itself called `temp`.
    const CLAUSES: &str = "FROM WHERE GROUP HAVING ORDER LIMIT OFFSET FETCH FOR UNION \
        INTERSECT EXCEPT WINDOW";
    let mut at = 0;
    while let Some(into) = rest[at..].iter().position(|token| is(Some(token), "INTO")) {
        let before = (at + into).checked_sub(1).and_then(|before| rest.get(before));
        at += into + 1;
        // The first word was left out: INSERT INTO, MERGE INTO.
        if at == 1 && into == 0 || is(before, "INSERT MERGE") {
            continue;
        }
        let mut target = &rest[at..];
        if is(target.first(), "LOCAL GLOBAL") {
            target = &target[1..];
        }
        let is_name = target.get(1).is_some_and(|name| {
            matches!(name.kind, TokenKind::Word | TokenKind::QuotedName) && !is(Some(name), CLAUSES)
        });
        let is_temporary = is(target.first(), "TEMP TEMPORARY") && is_name;
        if is_temporary || target.get(..2).is_some_and(is_in_pg_temp) {
            return Some(session("SELECT … INTO TEMP", TEMPORARY));
        }
    }
    None
}

/// Functions whose effect is the session's, and what to do instead.
const FUNCTIONS: [(&str, &str); 12] = [
    ("pg_advisory_lock", LOCK),
    ("pg_advisory_lock_shared", LOCK),
    ("pg_try_advisory_lock", LOCK),
    ("pg_try_advisory_lock_shared", LOCK),
    ("pg_advisory_unlock", LOCK),
    ("pg_advisory_unlock_shared", LOCK),
    ("pg_advisory_unlock_all", LOCK),
    ("pg_export_snapshot", TRANSACT),
    ("pg_replication_origin_session_setup", TRANSACT),
    ("pg_replication_origin_session_reset", TRANSACT),
    ("dblink_connect", TRANSACT),
    ("dblink_connect_u", TRANSACT),
];

/// The first call of such a function.
fn of_functions(tokens: &[SqlToken<'_>]) -> Option<SessionState> {
    (0..tokens.len()).find_map(|at| {
        let token = tokens[at];
        let after = tokens.get(at + 1)?;
        if after.text != "(" || !is_builtin(tokens, at) {
            return None;
        }
        let name = if token.kind == TokenKind::QuotedName {
            token.text.trim_matches('"').to_owned()
        } else if token.kind == TokenKind::Word {
            token.text.to_ascii_lowercase()
        } else {
            return None;
        };
        if name == "set_config" && sets_for_session(&tokens[at + 2..]) {
            return Some(session("set_config(…, false)", LOCAL_CONFIG));
        }
        let known = FUNCTIONS.iter().find(|(known, _)| *known == name);
        known.map(|(what, hint)| session(what, hint))
    })
}

const LOCAL_CONFIG: &str =
    "Pass true, and send it with the statements that need it, in an ExecuteBatch or a Transact.";

/// Returns true unless the name is in a schema of somebody's.
fn is_builtin(tokens: &[SqlToken<'_>], at: usize) -> bool {
    let Some(point) = at.checked_sub(1).filter(|point| tokens[*point].text == ".") else {
        return true;
    };
    let schema = point.checked_sub(1).map(|schema| tokens[schema].text.trim_matches('"'));
    schema.is_none_or(|schema| schema.eq_ignore_ascii_case("pg_catalog"))
        || tokens[at].text.to_ascii_lowercase().starts_with("dblink")
}

/// Tells whether the third argument, or the one named `is_local`, is a literal false.
fn sets_for_session(arguments: &[SqlToken<'_>]) -> bool {
    const FALSE: &str = "false f off no n 0";
    let mut depth = 0_usize;
    let mut index = 0;
    let mut names_local = false;
    for token in arguments {
        match token.text {
            "(" | "[" => depth += 1,
            ")" | "]" if depth == 0 => return false,
            ")" | "]" => depth -= 1,
            "," if depth == 0 => {
                index += 1;
                names_local = false;
            }
            text if text.eq_ignore_ascii_case("is_local") => names_local = true,
            text if depth == 0 && (index == 2 || names_local) => {
                let is_literal = matches!(token.kind, TokenKind::Word | TokenKind::String);
                if is_literal && is_among(text.trim_matches('\''), FALSE) {
                    return true;
                }
            }
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lasts_for_the_session_is_found_in_every_spelling() {
        for (sql, what) in [
            ("set search_path = x", "SET"),
            ("/* a */ ; SeT/**/time zone 'UTC'", "SET"),
            ("set session work_mem = '1MB'", "SET"),
            ("set session authorization bob", "SET"),
            ("set role bob", "SET"),
            ("set names 'utf8'", "SET"),
            ("set local.x = 1", "SET"),
            ("set \"local\" = 1", "SET"),
            ("reset all", "RESET"),
            ("discard temp", "DISCARD"),
            ("listen a", "LISTEN"),
            ("unlisten *", "UNLISTEN"),
            ("prepare p as select 1", "PREPARE"),
            ("execute p(1)", "EXECUTE"),
            ("explain analyze execute p", "EXECUTE"),
            ("deallocate all", "DEALLOCATE"),
            ("load 'auto_explain'", "LOAD"),
            ("declare c scroll cursor with hold for select 1", "DECLARE … WITH HOLD"),
            ("create temp table t (a int)", "CREATE TEMP"),
            ("create local temporary table t as select 1", "CREATE TEMP"),
            ("create or replace temp view v as select 1", "CREATE TEMP"),
            ("create temp sequence s", "CREATE TEMP"),
            ("create temp table t (a int) on commit delete rows", "CREATE TEMP"),
            ("create table pg_temp.t (a int)", "CREATE TEMP"),
            ("create table \"pg_temp\".t (a int)", "CREATE TEMP"),
            ("create function pg_temp_3.f() returns int return 1", "CREATE TEMP"),
            ("explain (analyze, costs off) create temp table t as select 1", "CREATE TEMP"),
            ("select 1 as a into temp t", "SELECT … INTO TEMP"),
            ("select a into local temporary table t from u", "SELECT … INTO TEMP"),
            ("with u as (select 1 as a) select a into pg_temp.t from u", "SELECT … INTO TEMP"),
            ("select pg_try_advisory_lock(42)", "pg_try_advisory_lock"),
            ("select 1 where pg_catalog . PG_ADVISORY_LOCK (1, 2) is null", "pg_advisory_lock"),
            ("(select \"pg_advisory_unlock_all\"())", "pg_advisory_unlock_all"),
            ("insert into t select pg_advisory_lock_shared(1)", "pg_advisory_lock_shared"),
            ("explain analyze select pg_advisory_lock(1)", "pg_advisory_lock"),
            ("select set_config('a.b', f(1, 2), false)", "set_config(…, false)"),
            ("select set_config('a.b', 'x', 'off')", "set_config(…, false)"),
            ("select set_config(is_local => false, a => 'x')", "set_config(…, false)"),
            ("select x.dblink_connect('c', 'dbname=x')", "dblink_connect"),
            ("select pg_export_snapshot()", "pg_export_snapshot"),
        ] {
            let found = session_state(sql);
            let found = found.map(|found| (found.what, found.lifetime));
            assert_eq!(found, Some((what, EffectLifetime::Session)), "{sql}");
        }
    }

    #[test]
    fn what_lasts_for_the_transaction_is_told_apart() {
        for (sql, what) in [
            ("set local search_path = x", "SET LOCAL"),
            ("SET LOCAL role bob", "SET LOCAL"),
            ("set constraints all deferred", "SET CONSTRAINTS"),
            ("create temp table t (a int) on commit drop", "CREATE TEMP … ON COMMIT DROP"),
            ("declare c cursor without hold for select 1", "DECLARE"),
            ("declare c cursor for with hold as (select 1) select * from hold", "DECLARE"),
        ] {
            let found = session_state(sql);
            let found = found.map(|found| (found.what, found.lifetime));
            assert_eq!(found, Some((what, EffectLifetime::Transaction)), "{sql}");
        }
    }

    #[test]
    fn long_texts_are_searched_to_their_end() {
        let data = "(1, 'pg_advisory_lock(1)', 2.5),\n".repeat(2000);
        for (end, what) in [
            ("(1, pg_advisory_lock(1), 2)", Some("pg_advisory_lock")),
            ("(1, pg_catalog . PG_Advisory_Lock (1), 2)", Some("pg_advisory_lock")),
            ("(1, \"pg_advisory_lock\"(1), 2)", Some("pg_advisory_lock")),
            ("(1, set_config('a.b', f(1, 2), false), 2)", Some("set_config(…, false)")),
            ("(1, mine.pg_advisory_lock(1), 2)", None),
            ("(1, set_config('a.b', 'false', true), 2)", None),
            ("(1, pg_advisory_xact_lock(1), 2)", None),
        ] {
            for begin in
                ["insert into temp values", "explain (analyze) insert into t values", "values"]
            {
                let found = session_state(&format!("{begin} {data}{end}"));
                assert_eq!(found.map(|found| found.what), what, "{begin} … {end}");
            }
            let explained = session_state(&format!("explain values {data}{end}"));
            assert_eq!(explained, None);
        }
        let into = format!("select {} 1 into temp t", "1 as into_, ".repeat(2000));
        assert_eq!(session_state(&into).map(|found| found.what), Some("SELECT … INTO TEMP"));
        assert_eq!(session_state(&into.replace("temp t", "t")), None);
    }

    #[test]
    fn other_statements_are_left_alone() {
        for sql in [
            "",
            "select 'set x = 1'",
            "update t set a = 1",
            "insert into temp values (1)",
            "insert into temp select 1",
            "merge into temp using u on true when matched then delete",
            "select 1 as a into temp from t",
            "select 1 as a into t",
            "create table temp (a int)",
            "create index on t (a)",
            "create view v as select pg_try_advisory_lock(1)",
            "drop function pg_advisory_lock(int)",
            "explain select pg_advisory_lock(1)",
            "explain create temp table t as select 1",
            "select pg_advisory_xact_lock(1), pg_try_advisory_xact_lock(2)",
            "select pg_advisory_lock from t",
            "select mine.pg_advisory_lock(1)",
            "select 'pg_advisory_lock(1)', $$pg_advisory_lock(1)$$ -- pg_advisory_lock(1)",
            "select set_config('a.b', 'false', true)",
            "select set_config('a.b', 'x', $1)",
            "select set_config('a.b', 'x', true), 'false'",
            "notify a",
            "do $$ begin set x = 1; end $$",
            "show all",
        ] {
            assert_eq!(session_state(sql), None, "{sql}");
        }
    }
}
