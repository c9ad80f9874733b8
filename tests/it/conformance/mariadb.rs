//! The statements of MariaDB and MySQL, in their own words. MySQL runs all but those that return what they wrote.

use rowgate::value::proto::Value;
use tonic::Code;

use super::cases::{Case, fails, ok};
use crate::harness::mariadb::is_mysql;

/// Parameters, types, and what only looks.
pub(super) fn reads() -> Vec<Case> {
    let instant = Value::timestamp(1_700_000_000, 123_456_000);
    let mut cases = vec![
        ok("an integer parameter", "select cast($1 as signed) + 1").with(&[Value::int64(41)]),
        ok("a text parameter", "select cast($1 as char)").with(&[Value::text("a")]),
        ok("a null parameter", "select cast($1 as char)").with(&[Value::null()]),
        ok("a float parameter", "select $1 + 0.5").with(&[Value::float64(2.5)]),
        ok("a bytes parameter", "select cast($1 as binary)").with(&[Value::bytes(vec![0, 255])]),
        ok("a bool parameter", "select id from t where $1 and id = 1").with(&[Value::bool(true)]),
        ok("an instant", "select cast($1 as datetime(6))").with(&[instant]),
    ];
    let others = [
        ("a division by nothing", "select 1 / 0"),
        ("a remark of its own", "select 1 # the rest\n"),
        ("a string with a quote", "select 'it\\'s', \"it's\", 'it''s'"),
        ("names in backticks", "select `id` as `the id` from `t` order by `id`"),
        ("integers", "select 1, -1, cast(18446744073709551615 as unsigned), true, false"),
        ("floats", "select 1e0, 0.1e0, 1.7976931348623157e308"),
        ("decimals", "select 1.50, 0.1 + 0.2, sum(n), avg(n) from t"),
        ("texts", "select 'a', n'b', _utf8mb4'c', cast('d' as char(3)) from t where id = 1"),
        ("bytes", "select x'00ff', b'101', cast('a' as binary(3))"),
        ("dates", "select date '2026-11-29', cast('2026-11-29 12:00:00.5' as datetime(3))"),
        ("times", "select time '12:00:00', cast('-838:59:59' as time)"),
        ("documents", "select json_object('a', 1), json_array(1, null)"),
        ("a setting", "show variables like 'sql_mode'"),
        ("a plan", "explain select id from t where id = 1"),
        ("a table's columns", "describe t"),
        ("a lock", "select id from t where id = 1 for update"),
        ("nothing but an expression", "do 1 + 1"),
    ];
    cases.extend(others.map(|(name, sql)| ok(name, sql)));
    let values =
        if is_mysql() { "values row(1, 'a'), row(2, null)" } else { "values (1, 'a'), (2, null)" };
    cases.push(ok("values", values));
    cases
}

/// Writes, and what they count.
pub(super) fn writes() -> Vec<Case> {
    let conflict = "insert into t (id, n) values (1, 1) on duplicate key update n = 99";
    let mut cases = vec![
        ok("nothing on a conflict", "insert ignore into t (id, n) values (1, 1)"),
        ok("an update on a conflict", conflict),
        ok("replaced", "replace into t (id, n) values (3, 5)"),
        ok("a delete in order", "delete from t order by id desc limit 1"),
        ok("an update of what is so already", "update t set n = 10 where id = 1"),
    ];
    if !is_mysql() {
        cases.extend([
            ok(
                "an insert that returns",
                "insert into t (id, n) values (4, 1), (5, 2) returning id, n",
            ),
            ok("a delete that returns", "delete from t where id = 2 returning *"),
            ok("a sequence of numbers", "select seq from seq_1_to_1000"),
        ]);
    }
    cases
}

/// Failures, and what is refused.
pub(super) fn refusals() -> Vec<Case> {
    use Code::{FailedPrecondition, InvalidArgument, OutOfRange, PermissionDenied};
    let signed = "select cast($1 as signed)";
    let two = "select cast($1 as signed), cast($2 as signed)";
    let mut cases = vec![
        fails("a parameter too few", InvalidArgument, two).with(&[Value::int64(1)]),
        fails("a parameter too many", InvalidArgument, signed)
            .with(&[Value::int64(1), Value::int64(2)]),
        fails("a parameter without a value", InvalidArgument, signed).with(&[Value { kind: None }]),
        fails(
            "a write of many that may only read",
            FailedPrecondition,
            "replace into t (id, n) values (1, 1)",
        )
        .read_only(),
    ];
    let others = [
        ("a bare mark", InvalidArgument, "select ?"),
        ("a string left open", InvalidArgument, "select 'a"),
        ("a remark left open", InvalidArgument, "select 1 /* a"),
        ("a text that is no integer", InvalidArgument, "update t set n = 'x' where id = 1"),
        ("a text that is too long", InvalidArgument, "update t set name = repeat('x', 41)"),
        ("a sum out of range", OutOfRange, "select 9223372036854775807 + 1"),
        ("a number out of range", OutOfRange, "update t set n = 3000000000 where id = 1"),
        ("a date that is none", InvalidArgument, "select date '2026-02-30'"),
        ("an ambiguous column", InvalidArgument, "select id from t join p on true"),
        ("a subquery of two rows", InvalidArgument, "select (select id from t)"),
        ("what another owns", PermissionDenied, "select * from mysql.user"),
        ("a file", PermissionDenied, "select 1 into outfile '/tmp/nowhere'"),
        ("transaction control", InvalidArgument, "start transaction"),
        ("transaction control", InvalidArgument, "/*! commit */"),
        ("transaction control", InvalidArgument, "/*!99999 x */ rollback"),
        ("transaction control", InvalidArgument, "# x\nrelease savepoint a"),
        ("transaction control", InvalidArgument, "xa start 'x'"),
    ];
    cases.extend(others.map(|(name, code, sql)| fails(name, code, sql)));
    cases
}
