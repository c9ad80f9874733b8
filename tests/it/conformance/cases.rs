//! The statements, and what each must come to: a result, or a code.

use rowgate::value::proto::{AccessMode, QueryOptions, Value};
use tonic::Code;

use super::{Answer, mariadb};
use crate::harness::Backend;

/// A statement to run by every way.
pub(super) struct Case {
    /// The subject of the case.
    pub(super) name: &'static str,
    pub(super) database: &'static str,
    pub(super) sql: &'static str,
    pub(super) parameters: Vec<Value>,
    pub(super) access_mode: AccessMode,
    pub(super) options: QueryOptions,
    /// The code; what it returns is not compared with anything but the other ways.
    code: Code,
}

impl Case {
    /// Checks that the first answer is of the kind that the case is about.
    #[track_caller]
    pub(super) fn check(&self, answer: &Answer) {
        let code = match answer {
            Answer::Result { .. } => Code::Ok,
            Answer::Failure { code, .. } => *code,
        };
        assert_eq!(code, self.code, "{}: {answer:?}", self.name);
    }

    pub(super) fn with(self, parameters: &[Value]) -> Self {
        Self { parameters: parameters.to_vec(), ..self }
    }

    fn options(self, options: QueryOptions) -> Self {
        Self { options, ..self }
    }

    pub(super) fn read_only(self) -> Self {
        Self { access_mode: AccessMode::ReadOnly, ..self }
    }
}

pub(super) fn ok(name: &'static str, sql: &'static str) -> Case {
    fails(name, Code::Ok, sql)
}

pub(super) fn fails(name: &'static str, code: Code, sql: &'static str) -> Case {
    Case {
        name,
        database: "",
        sql,
        parameters: Vec::new(),
        access_mode: AccessMode::Unspecified,
        options: QueryOptions::default(),
        code,
    }
}

/// All cases of a backend.
pub(super) fn cases(backend: Backend) -> Vec<Case> {
    let mut cases = reads();
    cases.extend(writes());
    cases.extend(refusals());
    cases.extend(limits());
    match backend {
        Backend::Sqlite => {
            cases.extend(standard());
            cases.extend(definitions());
            cases.extend(of_sqlite());
        }
        Backend::Postgres => {
            cases.extend(standard());
            cases.extend(definitions());
            cases.extend(types_of_postgres());
            cases.extend(of_postgres());
            cases.extend(failures_of_postgres());
        }
        // Definitions would commit a batch or a transaction there, and are refused in them.
        Backend::Mariadb => {
            cases.extend(mariadb::reads());
            cases.extend(mariadb::writes());
            cases.extend(mariadb::refusals());
        }
    }
    cases
}

fn reads() -> Vec<Case> {
    let thousand = "with recursive c(x) as (select 1 union all select x + 1 from c where x < 1000) \
                    select x, 'some text' as text from c";
    vec![
        ok("an integer", "select 1 as n"),
        ok("a null", "select null as a"),
        ok("a text", "select 'ü☃' as text"),
        ok("several columns", "select 1 as a, 'b' as b, 2.5 as c"),
        ok("the same name twice", "select 1 as a, 2 as a"),
        ok("no rows", "select * from t where 1 = 0"),
        ok("rows of a table", "select * from t order by id"),
        ok("a thousand rows", thousand),
        ok("an expression over them", "select count(*), min(n), max(name) from t"),
        ok("a join", "select t.id, p.id from t left join p on t.p = p.id order by t.id"),
        ok("a common table expression", "with c as (select n from t) select sum(n) from c"),
        ok("a parameter twice", "select id from t where id = $1 or n = $1 * 10 order by id")
            .with(&[Value::int64(2)]),
        ok("a read that may only read", "select n from t where id = 1").read_only(),
        ok("a remark before it", "/* a remark */ select 1"),
        ok("a semicolon after it", "select 1;"),
    ]
}

fn writes() -> Vec<Case> {
    let row = [Value::int64(7), Value::text("seven")];
    vec![
        ok("an insert", "insert into t (id, n) values (4, 1)"),
        ok("an insert of several", "insert into t (id, n) values (4, 1), (5, 1)"),
        ok("an insert of none", "insert into t (id, n) select id + 10, 1 from t where id > 100"),
        ok("an insert with parameters", "insert into t (id, n, name) values ($1, 1, $2)")
            .with(&row),
        ok("an update", "update t set n = n + 1 where id <= 2"),
        ok("an update of none", "update t set n = n + 1 where id > 100"),
        ok("a delete", "delete from t where id > 1"),
    ]
}

/// Parameters and writes in words that SQLite and PostgreSQL share.
fn standard() -> Vec<Case> {
    let fails_at = |name, sql| fails(name, Code::InvalidArgument, sql);
    vec![
        ok("values", "values (1, 'a'), (2, null)"),
        ok("an integer parameter", "select cast($1 as integer) + 1").with(&[Value::int64(41)]),
        ok("a text parameter", "select cast($1 as text)").with(&[Value::text("a")]),
        ok("a null parameter", "select cast($1 as text)").with(&[Value::null()]),
        fails_at("a parameter too few", "select cast($1 as integer), cast($2 as integer)")
            .with(&[Value::int64(1)]),
        fails_at("a parameter too many", "select cast($1 as integer)")
            .with(&[Value::int64(1), Value::int64(2)]),
        fails_at("a parameter without a value", "select cast($1 as integer)")
            .with(&[Value { kind: None }]),
        fails_at("transaction control", "/* x */ end"),
        fails_at("transaction control", "-- x\n; release a"),
        fails_at("a misspelt word", "selec 1"),
        ok("an insert that returns", "insert into t (id, n) values (4, 1), (5, 2) returning id, n"),
        ok("an update that returns", "update t set n = n + 1 where id = 1 returning n, name"),
        ok("a delete that returns", "delete from t where id = 2 returning *"),
        ok("nothing on a conflict", "insert into t (id, n) values (1, 1) on conflict do nothing"),
        ok(
            "an update on a conflict",
            "insert into t (id, n) values (1, 1) on conflict (id) do update set n = 99 returning n",
        ),
    ]
}

/// Definitions, which SQLite and PostgreSQL have in transactions.
fn definitions() -> Vec<Case> {
    vec![
        fails("a table there is", Code::AlreadyExists, "create table t (id integer)"),
        fails(
            "a table that may only read",
            Code::FailedPrecondition,
            "create table made (id integer)",
        )
        .read_only(),
        ok("a new table", "create table made (id integer)"),
        ok("a new table of rows", "create table made as select id, n from t"),
        ok("no table to drop", "drop table if exists made"),
        ok("a new index", "create index made_index on t (n)"),
    ]
}

fn refusals() -> Vec<Case> {
    use Code::{AlreadyExists, FailedPrecondition, InvalidArgument, NotFound};
    let fails_at = |name, sql| fails(name, InvalidArgument, sql);
    let mut cases = vec![
        fails_at("a misspelt word later", "select id frmo t where"),
        fails_at("an unknown table", "select * from nowhere"),
        fails_at("an unknown table to write", "insert into nowhere values (1)"),
        fails_at("an unknown column", "select no_column from t"),
        fails_at("an unknown function", "select no_function(1)"),
        fails_at("too many values", "insert into t (id, n) values (4, 1, 2)"),
        fails_at("nothing", ""),
        fails_at("nothing but spaces", "  \n"),
        fails_at("two statements", "select 1; select 2"),
        fails_at("two writes", "insert into t (id, n) values (4, 1); delete from t"),
        fails("a duplicate key", AlreadyExists, "insert into t (id, n) values (4, 1), (1, 1)"),
        fails("a duplicate", AlreadyExists, "update t set name = 'one' where id = 2"),
        fails("a missing value", FailedPrecondition, "insert into t (id) values (4)"),
        fails("a broken rule", FailedPrecondition, "update t set n = -n where id = 1"),
        fails("a broken reference", FailedPrecondition, "update t set p = 99 where id = 1"),
        fails("a reference that is left", FailedPrecondition, "delete from p where id = 1"),
        fails("a write that may only read", FailedPrecondition, "delete from t").read_only(),
        Case { database: "mian", ..fails("an unknown database", NotFound, "select 1") },
    ];
    let control = ["begin", "commit", "rollback", "savepoint a"];
    cases.extend(control.map(|sql| fails("transaction control", InvalidArgument, sql)));
    cases
}

fn limits() -> Vec<Case> {
    let endless =
        "with recursive c(x) as (select 1 union all select x + 1 from c) select count(*) from c";
    let timeout = Some(prost_types::Duration { seconds: 0, nanos: 100_000_000 });
    let options = QueryOptions::default;
    let too_much = |name| fails(name, Code::ResourceExhausted, "select * from t order by id");
    let wrong = |name| fails(name, Code::InvalidArgument, "select 1");
    let negative = Some(prost_types::Duration { seconds: -1, nanos: 0 });
    vec![
        ok("just enough rows", "select id from t order by id")
            .options(QueryOptions { max_rows: 3, ..options() }),
        too_much("too many rows").options(QueryOptions { max_rows: 2, ..options() }),
        too_much("too many bytes").options(QueryOptions { max_bytes: 20, ..options() }),
        fails("no time", Code::DeadlineExceeded, endless)
            .options(QueryOptions { timeout, ..options() }),
        ok("a tag", "select 1").options(QueryOptions { tag: "report".to_owned(), ..options() }),
        wrong("a bad tag").options(QueryOptions { tag: "two words".to_owned(), ..options() }),
        wrong("a bad timeout").options(QueryOptions { timeout: negative, ..options() }),
    ]
}

fn of_sqlite() -> Vec<Case> {
    let mismatch = "insert into t (id, n) values ('x', 1)";
    vec![
        ok("a blob", "select x'00ff'"),
        ok("a float parameter", "select cast($1 as real)").with(&[Value::float64(2.5)]),
        ok("a bytes parameter", "select $1").with(&[Value::bytes(vec![0, 255])]),
        ok("a type that its value says", "select 1, 'a', 2.5, null, x'00'"),
        ok("a division by nothing", "select 1 / 0"),
        ok("replaced", "insert or replace into t (id, n) values (1, 5)"),
        fails("no text for an integer key", Code::InvalidArgument, mismatch),
        fails("no JSON", Code::InvalidArgument, "select json('{')"),
        fails("another file", Code::InvalidArgument, "attach database 'x.db' as x"),
    ]
}

fn types_of_postgres() -> Vec<Case> {
    let types = [
        ("booleans", "select true, false, null::bool"),
        ("integers", "select 1::int2, 2::int4, 3::int8, 4::oid"),
        ("floats", "select 1.5::float4, 0.1::float8, '-infinity'::float8"),
        ("numerics", "select 1.50::numeric, 'NaN'::numeric, 1e100::numeric"),
        ("texts", "select 'a'::text, 'b'::varchar(3), 'c'::char(3), 'd'::name"),
        ("bytes", "select '\\x00ff'::bytea"),
        ("dates and times", "select '2026-11-21'::date, '12:00'::time, '12:00+02'::timetz"),
        ("instants", "select '2026-11-21 12:00'::timestamp, 'infinity'::timestamptz"),
        ("spans", "select '1 day 02:00'::interval, '[1,5)'::int4range"),
        ("arrays", "select array[1, null, 3], '{{a,b},{c,d}}'::text[], '[0:1]={7,8}'::int[]"),
        ("records", "select row(1, 'a'), (select t from t where id = 1)"),
        ("documents", "select '{\"a\": 1}'::json, '{\"a\": 1}'::jsonb"),
        ("identifiers", "select '2f1c9c3e-6d0e-4b7e-8c59-0f1f2f3f4f5f'::uuid, '::1'::inet"),
        ("an enum", "select 'happy'::mood, array['sad'::mood]"),
        ("a setting", "show datestyle"),
        ("a plan", "explain (costs off) select 1"),
    ];
    types.into_iter().map(|(name, sql)| ok(name, sql)).collect()
}

fn of_postgres() -> Vec<Case> {
    let instant = Value::timestamp(1_700_000_000, 123_456_000);
    let write_in_read = "with d as (delete from t where id = 1 returning n) select n from d";
    let texts = [Value::text("{1,2}"), Value::text("happy"), Value::text("2026-11-21")];
    vec![
        ok("an instant", "select $1::timestamptz").with(&[instant]),
        ok("a float parameter", "select $1::float8").with(&[Value::float64(2.5)]),
        ok("a bytes parameter", "select $1::bytea").with(&[Value::bytes(vec![0, 255])]),
        ok("texts for any type", "select $1::int[], $2::mood, $3::date").with(&texts),
        ok("a write inside a read", write_in_read),
        ok("all rows gone", "truncate t"),
        ok("a block", "do $$ begin update t set n = 5; end $$"),
        ok("a lock", "select id from t where id = 1 for update"),
        ok("a setting of the call", "select set_config('work_mem', '1MB', true)"),
        ok("an altered table", "alter table t alter column name set default 'nobody'"),
    ]
}

fn failures_of_postgres() -> Vec<Case> {
    use Code::{FailedPrecondition, InvalidArgument, OutOfRange, PermissionDenied, Unimplemented};
    let integer = "select $1::int4";
    let raised = "do $$ begin raise exception 'no' using errcode = 'P0001', hint = 'Ask.'; end $$";
    let own = "do $$ begin raise exception 'own' using errcode = 'ZZ001'; end $$";
    let late = "select 10 / (3 - x) from generate_series(1, 5) x";
    vec![
        fails("a wrong kind", InvalidArgument, integer).with(&[Value::bool(true)]),
        fails("a wrong text", InvalidArgument, integer).with(&[Value::text("x")]),
        fails("a large integer", OutOfRange, integer).with(&[Value::int64(1 << 40)]),
        fails("a NUL in a text", InvalidArgument, "select $1::text").with(&[Value::text("a\0b")]),
        fails("an unknown type", InvalidArgument, "select $1::no_type").with(&[Value::null()]),
        fails("a division by nothing", InvalidArgument, "select 1 / 0"),
        fails("a division by nothing, late", InvalidArgument, late),
        fails("a sum out of range", OutOfRange, "select 2147483647 + 1"),
        fails("a date out of range", OutOfRange, "select '2026-02-30'::date"),
        fails("a text that is no integer", InvalidArgument, "select 'x'::int"),
        fails("an ambiguous column", InvalidArgument, "select id from t join p on true"),
        fails("a subquery of two rows", InvalidArgument, "select (select id from t)"),
        fails("an exception", FailedPrecondition, raised),
        fails("an exception of one's own", FailedPrecondition, own),
        fails("what another owns", PermissionDenied, "select * from hidden"),
        fails("what only superusers may", PermissionDenied, "select pg_read_file('x')"),
        fails("COPY to the client", Unimplemented, "copy t to stdout"),
        fails("COPY from the client", Unimplemented, "copy t from stdin"),
        fails("COPY to a file", PermissionDenied, "copy t to '/tmp/nowhere'"),
        fails("a transaction kept", InvalidArgument, "prepare transaction 'x'"),
        fails("outside a transaction", InvalidArgument, "rollback and chain"),
    ]
}
