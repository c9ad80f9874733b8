//! The origins of columns and their nullability, compared with the rows that the statements return.

use std::io::Cursor;

use arrow_ipc::reader::StreamReader;
use rowgate::value::proto::transact_request::Command;
use rowgate::value::proto::{
    DescribeStatementRequest, ExecuteBatchRequest, Nullability, QueryOptions, QueryRequest,
    ResultFormat,
};
use rowgate::value::{Column, Kind};
use tonic::Code;

use crate::harness::client::{PATIENCE, request_with, with_deadline};
use crate::harness::postgres::Postgres;
use crate::harness::unit::{query, statement};
use crate::harness::{Backend, Service};

/// Tables with a NULL wherever one fits.
const TABLES: &str = "
    create table t (id int primary key, name text, n int not null);
    insert into t values (1, null, 1), (2, 'b', 2);
    create table u (id int not null, t_id int);
    insert into u values (1, 1), (3, null);
    create view v as select t.id, u.t_id, u.id as u_id from t left join u on false;
    create materialized view m as select id from v;
    create table part (k int not null, w text) partition by list (k);
    create table part_1 partition of part for values in (1);
    insert into part values (1, null);
    create table ruled (id int not null);
    create table sink (a int);
    create rule ruled_insert as on insert to ruled do instead
        insert into sink values (null) returning a;
    create domain required as int not null;
    create table of_domain (d required);
    create type pair as (a int, b int);
    create table composite (c pair not null);
    insert into composite values (row(null, null));
    create function rows_of_t() returns setof t language sql as 'select null::int, null, null::int';
    create function out_of_t(out id int, out n int) language sql as 'select null::int, null::int';
    create foreign data wrapper w;
    create server s foreign data wrapper w;
    create foreign table remote (a int not null) server s;
    create table mixed (k int not null) partition by list (k);
    create foreign table mixed_1 partition of mixed for values in (1) server s;
    create schema \"Odd Schema\";
    create table \"Odd Schema\".\"left\" (\"Full Name\" text not null);";

/// A parent whose child holds NULL, which later versions refuse.
const LOOSE_CHILD: &str = "
    create table parent (a int not null);
    create table child () inherits (parent);
    alter table child alter a drop not null;
    insert into child values (null);";

async fn service(setup: &str) -> Service {
    let postgres = Postgres::start();
    postgres.psql(setup);
    Service::on(postgres, "").await
}

async fn columns(service: &Service, sql: &str) -> Vec<Column> {
    let request = DescribeStatementRequest { sql: sql.to_owned(), ..Default::default() };
    let answer = service.client.raw().describe_statement(with_deadline(request, PATIENCE)).await;
    answer.unwrap_or_else(|status| panic!("{sql}: {status:?}")).into_inner().columns
}

/// The answer about a column: `t.id!` holds no NULL, `t.id?` may, `t.id` is not known to, `-` has no origin.
fn said(column: &Column) -> String {
    let mark = match column.nullability() {
        Nullability::NotNull => "!",
        Nullability::Nullable => "?",
        Nullability::Unspecified => "",
    };
    let Some(origin) = &column.origin else { return format!("-{mark}") };
    assert!(!origin.schema.is_empty(), "{origin:?}");
    format!("{}.{}{mark}", origin.table, origin.column)
}

fn all_said(columns: &[Column]) -> String {
    columns.iter().map(said).collect::<Vec<_>>().join(" ")
}

async fn described(service: &Service, sql: &str) -> String {
    all_said(&columns(service, sql).await)
}

fn described_as(format: ResultFormat) -> QueryOptions {
    QueryOptions { describe_columns: true, format: format.into(), ..QueryOptions::default() }
}

fn describing(sql: &str) -> QueryRequest {
    request_with(sql, described_as(ResultFormat::Rows))
}

/// Checks what DescribeStatement and Query say of each statement's columns, and that none that is said to hold no NULL
/// returns one.
async fn check(service: &Service, cases: &[(&str, &str)]) {
    for (sql, expected) in cases {
        assert_eq!(described(service, sql).await, *expected, "{sql}");
        let result = service.client.run(describing(sql)).await.expect(sql);
        assert_eq!(all_said(&result.columns), *expected, "{sql}");
        for row in result.rows {
            for (column, value) in result.columns.iter().zip(row.values) {
                let is_null = matches!(value.kind, Some(Kind::NullValue(_)));
                let is_promised = column.nullability() == Nullability::NotNull;
                assert!(!(is_null && is_promised), "{sql} returned NULL as {}", said(column));
            }
        }
    }
}

#[tokio::test]
async fn a_column_that_is_taken_unchanged_has_the_nullability_of_its_table() {
    let cases = [
        ("select * from t", "t.id! t.name? t.n!"),
        ("select id as a, id + 1, name || 'x', 1 from t", "t.id! - - -"),
        ("select t.id, t_id from t join u on t.id = u.t_id", "t.id! u.t_id?"),
        ("select \"left\".id from u as \"left\"", "u.id!"),
        ("select x.* from (select n, name from t) as x", "t.n! t.name?"),
        ("with x as (select id from t) select * from x", "t.id!"),
        ("select l.n from u, lateral (select n from t where t.id = u.id) as l", "t.n!"),
        ("select (select id from t where false)", "-"),
        ("select max(id) from t where false", "-"),
        ("select id, count(*) from t group by id", "t.id! -"),
        ("table u", "u.id! u.t_id?"),
        ("(select id from u)", "u.id!"),
        ("select (t).* from t", "t.id! t.name? t.n!"),
        ("select t from t", "-"),
        ("select * from part", "part.k! part.w?"),
        ("insert into t values (5, null, 5) returning id, name", "t.id! t.name?"),
        ("update t set n = 6 from u where u.id = t.id returning u.id, n", "u.id! t.n!"),
        ("with d as (delete from t where id = 5 returning *) select n from d", "t.n!"),
        ("select \"Full Name\" from \"Odd Schema\".\"left\"", "left.Full Name!"),
    ];
    check(&service(TABLES).await, &cases).await;
}

#[tokio::test]
async fn a_column_is_not_promised_where_the_statement_can_put_null() {
    let cases = [
        ("select t.id, u.id, t_id from t left join u on false", "t.id u.id u.t_id?"),
        ("select t.id from t right join u on false", "t.id"),
        ("select t.id, u.id from t FULL OUTER join u on false", "t.id u.id"),
        ("select a.id, b.n from u as a natural/**/full join t as b", "u.id t.n"),
        ("select x.id from (select t.id from u left join t on false) as x", "t.id"),
        ("with x as (select t.id from u left join t on false) select * from x", "t.id"),
        (
            "select l.id from u left join lateral (select id from t where false) as l on true",
            "t.id",
        ),
        ("select id from t group by grouping sets ((id), ())", "t.id"),
        ("select id from t group by rollup (id)", "t.id"),
        ("select id, n from t group by cube (id, n)", "t.id t.n"),
        ("select id, t_id, u_id from v", "v.id v.t_id v.u_id"),
        ("select id from m", "m.id"),
        ("select * from rows_of_t()", "- - -"),
        ("select * from out_of_t()", "- -"),
        ("select (c).a, c from composite", "- composite.c!"),
        ("insert into ruled values (1) returning id", "ruled.id"),
        ("select d from of_domain", "of_domain.d"),
        ("select relname from pg_class limit 1", "pg_class.relname"),
    ];
    check(&service(TABLES).await, &cases).await;
}

#[tokio::test]
async fn tables_whose_rows_are_not_all_their_own_promise_nothing() {
    let service = service(TABLES).await;
    assert_eq!(described(&service, "select a from remote").await, "remote.a");
    assert_eq!(described(&service, "select k from mixed").await, "mixed.k");
    if service.postgres().major() < 18 {
        service.postgres().psql(LOOSE_CHILD);
        check(&service, &[("select a from parent", "parent.a")]).await;
    }
}

#[tokio::test]
async fn a_description_follows_the_definitions() {
    let service = service("create table t (a int)").await;
    let sql = "select a from t";
    assert_eq!(described(&service, sql).await, "t.a?");
    service.postgres().psql("alter table t alter a set not null");
    assert_eq!(described(&service, sql).await, "t.a!");
    service.postgres().psql("alter table t rename to old; create table t (a int)");
    assert_eq!(described(&service, sql).await, "t.a?");
}

#[tokio::test]
async fn a_look_up_that_fails_leaves_the_columns_without_origins() {
    let service = service("create table t (a int not null)").await;
    let lose = "alter function pg_catalog.pg_partition_tree(regclass) rename to lost";
    service.postgres().psql(lose);
    assert_eq!(described(&service, "select a from t").await, "-");
}

/// Tables of SQLite with a NULL wherever one fits.
const SQLITE_TABLES: [&str; 10] = [
    "create table t (id integer primary key, name text, n int not null)",
    "insert into t values (1, null, 1), (2, 'b', 2)",
    "create table u (id int not null, t_id int, primary key (id, t_id))",
    "insert into u values (1, 1), (3, null)",
    "create table empty (id int not null)",
    "create table keyed (k text primary key, w text not null) without rowid",
    "create view v as select empty.id, t.n from t left join empty",
    "create view \"odd \"\" name\" as select empty.id from t left join empty",
    "create virtual table words using fts5(word)",
    "create table \"in quotes\" (\"a b\" int not null)",
];

async fn sqlite(setup: &[&str]) -> Service {
    let service = Service::start(Backend::Sqlite).await;
    for sql in setup {
        service.client.must(sql, &[]).await;
    }
    service
}

#[tokio::test]
async fn sqlite_promises_what_its_tables_check_and_the_statement_keeps() {
    let [tables @ .., _, _, _, quoted] = SQLITE_TABLES;
    let service = sqlite(&[&tables[..], &[quoted]].concat()).await;
    let cases = [
        ("select * from t", "t.id t.name? t.n!"),
        ("select n as m, n + 1, 1 from t where id in (1, 2)", "t.n! - -"),
        ("select * from u", "u.id! u.t_id"),
        ("select k, w from keyed", "keyed.k! keyed.w!"),
        ("select x.n from (select n from t) as x join u on (u.id = x.n)", "t.n!"),
        ("with x as (select n from t) select * from x", "t.n!"),
        ("select \"a b\" from [in quotes]", "in quotes.a b!"),
        ("select n from t group by name", "t.n!"),
        ("select empty.id, name from t left join empty", "empty.id t.name?"),
        ("select empty.id from empty right join t", "empty.id"),
        ("select (select id from empty)", "empty.id"),
        ("select id, max(id) from empty", "empty.id -"),
        ("select n from t union all select null", "t.n"),
        ("insert into t values (7, null, 7) returning id, n", "t.id t.n"),
    ];
    check(&service, &cases).await;
}

#[tokio::test]
async fn sqlite_promises_nothing_of_views_and_of_tables_of_modules() {
    let [tables @ .., odd, words, quoted] = SQLITE_TABLES;
    let service = sqlite(&[&tables[..], &[words, quoted]].concat()).await;
    let cases = [
        ("select id, n from v", "empty.id t.n"),
        ("select \"ID\", n from \"V\"", "empty.id t.n"),
        ("select id from 'v'", "empty.id"),
        ("select id from [v]", "empty.id"),
        ("select word from words", "words.word?"),
        ("select n from t", "t.n!"),
    ];
    check(&service, &cases).await;
    service.client.must(odd, &[]).await;
    let cases = [("select id from \"odd \"\" name\"", "empty.id"), ("select n from t", "t.n")];
    check(&service, &cases).await;
}

#[tokio::test]
async fn streams_and_arrow_have_them_too_and_other_results_only_on_request() {
    let setup = "create table t (id int not null, name text)";
    for service in [service(setup).await, sqlite(&[setup]).await] {
        let sql = "select id, name from t";
        // By now it is known to be fast: the calls that ask for no more ride a lane.
        for _ in 0..100 {
            let plain = service.client.must(sql, &[]).await;
            assert_eq!(all_said(&plain.columns), "- -");
        }
        let result = service.client.run(describing(sql)).await.expect("it runs");
        assert_eq!(all_said(&result.columns), "t.id! t.name?");
        let streamed = service.client.stream(describing(sql)).await.expect("it runs");
        assert_eq!(all_said(&streamed.header.columns), "t.id! t.name?");
        let arrow = request_with(sql, described_as(ResultFormat::Arrow));
        let arrow = service.client.run(arrow).await.expect("it runs").arrow;
        let reader = StreamReader::try_new(Cursor::new(arrow), None).expect("a stream");
        let nullable: Vec<_> =
            reader.schema().fields().iter().map(|field| field.is_nullable()).collect();
        assert_eq!(nullable, [false, true]);
    }
}

#[tokio::test]
async fn batches_transactions_and_keys_refuse_to_describe() {
    let service = sqlite(&["create table t (id int not null)"]).await;
    let sql = "select id from t";
    let options = described_as(ResultFormat::Rows);
    let keyed = QueryOptions { idempotency_key: "k".to_owned(), ..options.clone() };
    let failure = service.client.run(request_with(sql, keyed)).await.expect_err("under a key");
    assert_eq!(failure.what(), (Code::InvalidArgument, "INVALID_OPTION"));
    assert!(failure.message.contains("options.describe_columns"), "{failure:?}");
    let batch = ExecuteBatchRequest {
        statements: vec![statement(sql, &[])],
        options: Some(options.clone()),
        ..Default::default()
    };
    let status = service.client.raw().execute_batch(batch).await.expect_err("a batch");
    assert!(status.message().contains("options.describe_columns"), "{status:?}");
    let mut transaction = service.client.begin().await;
    let mut command = query(sql, &[]);
    command.options = Some(options);
    transaction.send(Command::Query(command)).await;
    let reply = format!("{:?}", transaction.reply().await.expect("the transaction goes on"));
    assert!(reply.contains("Error") && reply.contains("options.describe_columns"), "{reply}");
}
