//! Tables and settings that change under prepared statements, in one unit and between calls.

use rowgate::value::proto::{ExecuteBatchRequest, Value};

use super::{exactly, keeping};
use crate::harness::client::{PATIENCE, request};
use crate::harness::unit::{batch, keyed, statement};

#[tokio::test]
async fn a_batch_that_changes_a_table_reads_what_it_made() {
    let service = keeping(256).await;
    let closed = || service.server.log().matches("connection closed").count();
    for (index, (kind, expects)) in
        [(false, false), (true, false), (false, true)].into_iter().enumerate()
    {
        service
            .postgres()
            .psql("drop table if exists m; create table m (a int); insert into m values (1)");
        let run = async |name: &str, sql: [&str; 2]| {
            let options = kind.then(|| keyed(&format!("{name} {index}")));
            let last = if expects && sql[1].starts_with("insert") {
                exactly(1, sql[1])
            } else {
                statement(sql[1], &[])
            };
            let statements = vec![statement(sql[0], &[]), last];
            let request = ExecuteBatchRequest { statements, options, ..batch(&[]) };
            let response = service.client.batch(request).await.expect(name);
            assert_eq!(response.attempts, 1, "{name}");
            response.results[1].rows[0].values.clone()
        };
        // They are prepared from here on, as the table is.
        service.client.must("select * from m", &[]).await;
        service.client.must("insert into m (a) values (2) returning *", &[]).await;
        let before = closed();
        let row =
            run("read", ["alter table m add column b int default 5", "select * from m"]).await;
        assert_eq!(row, [Value::int64(1), Value::int64(5)]);
        let insert = "insert into m (a) values (2) returning *";
        let row = run("returning", ["alter table m add column c int default 6", insert]).await;
        assert_eq!(row, [Value::int64(2), Value::int64(5), Value::int64(6)]);
        let made = ["drop table m", "create table m as select text 'x' as x", "select * from m"];
        let response = service.client.batch(batch(&made)).await.expect("it runs");
        assert_eq!(response.results[2].rows[0].values, [Value::text("x")]);
        assert_eq!(closed(), before, "no connection is to blame");
    }
}

#[tokio::test]
async fn parameters_have_the_types_that_the_batch_gave_their_columns() {
    let service = keeping(256).await;
    service.postgres().psql("create table m (a int)");
    let insert = "insert into m values ($1)";
    service.client.must(insert, &[Value::int64(1)]).await;
    let mut request = batch(&["alter table m alter column a type text"]);
    request.statements.push(statement(insert, &[Value::text("abc")]));
    assert_eq!(service.client.batch(request).await.expect("it runs").attempts, 1);
    assert_eq!(service.postgres().psql("select string_agg(a, ',' order by a) from m"), "1,abc");
}

#[tokio::test]
async fn a_transaction_that_changes_a_table_reads_what_it_made() {
    let service = keeping(256).await;
    service.postgres().psql("create table m (a int); insert into m values (1)");
    let mut transaction = service.client.begin().await;
    let read = "select * from m";
    assert_eq!(transaction.query(read, &[]).await.expect("it runs").columns.len(), 1);
    transaction.savepoint("s").await.expect("it is set");
    for columns in [2, 3] {
        let sql = format!("alter table m add column c{columns} int");
        transaction.query(&sql, &[]).await.expect("it runs");
        assert_eq!(transaction.query(read, &[]).await.expect("it runs").columns.len(), columns);
    }
    transaction.rollback_to("s").await.expect("it goes back");
    assert_eq!(transaction.query(read, &[]).await.expect("it runs").columns.len(), 1);
    transaction.rollback().await.expect("it rolls back");
    assert_eq!(service.client.must(read, &[]).await.columns.len(), 1);
}

#[tokio::test]
async fn a_statement_means_to_the_next_caller_what_it_meant_before() {
    let service = keeping(256).await;
    service
        .postgres()
        .psql("create schema tenant; create table m (a int); create table tenant.m (a text)");
    let insert = "insert into m values ($1)";
    for round in 0..2 {
        let mut transaction = service.client.begin().await;
        transaction.query("set local search_path = tenant", &[]).await.expect("it runs");
        transaction.query(insert, &[Value::text("abc")]).await.expect("it is a text here");
        transaction.commit().await.expect("it commits");
        let mut transaction = service.client.begin().await;
        transaction.query(insert, &[Value::int64(round)]).await.expect("it is a number here");
        transaction.commit().await.expect("it commits");
    }
    assert_eq!(service.postgres().psql("select sum(a) from m"), "1");
}

#[tokio::test]
async fn a_statement_outside_a_transaction_outlives_a_change_of_its_table() {
    let service = keeping(256).await;
    service.postgres().psql("create table m (a int); insert into m values (1)");
    for columns in 1..4 {
        let result = service.client.call(request("select * from m", &[]), PATIENCE).await;
        let response = result.expect("it is prepared anew");
        let result = response.result.expect("it has one");
        assert_eq!((response.attempts, result.columns.len()), (1, columns));
        service.postgres().psql(&format!("alter table m add column c{columns} int"));
        let response = service.client.batch(batch(&["select * from m"])).await.expect("it runs");
        assert_eq!((response.attempts, response.results[0].columns.len()), (1, columns + 1));
        service
            .postgres()
            .psql(&format!("alter table m drop column c{columns}, add column d{columns} int"));
    }
}

/// Two tables of one name, and all that leads from one to the other.
const MOVING: &str = "
    create schema a; create table a.moved (x int); insert into a.moved values (1);
    create schema b; create table b.moved (x text, y int); insert into b.moved values ('b', 2);
    create function go(path text) returns text language plpgsql as
        $$ begin perform set_config('search_path', path, true); return path; end $$;
    create table departures (id int);
    create function depart() returns trigger language plpgsql as
        $$ begin perform public.go('b'); return new; end $$;
    create trigger depart before insert on departures for each row execute function depart();
    create view leaving as select go('b');
    create procedure leave() language plpgsql as $$ begin perform public.go('b'); end $$;";

#[tokio::test]
async fn a_function_that_sets_the_search_path_changes_what_comes_after_it() {
    let service = keeping(256).await;
    service.postgres().psql(MOVING);
    for go in [
        "select public.go('b')",
        "insert into public.departures values (1)",
        "select * from public.leaving",
        "call public.leave()",
        "do $$ begin perform public.go('b'); end $$",
        "explain analyze select public.go('b')",
        "select set_config('search_path', 'b', true)",
    ] {
        for round in 0..4 {
            let mut transaction = service.client.begin().await;
            transaction.query("set local search_path = a", &[]).await.expect("it runs");
            let read = "select * from moved";
            let before = transaction.query(read, &[]).await.expect("it runs");
            assert_eq!(before.rows[0].values, [Value::int64(1)]);
            transaction.query(go, &[]).await.expect("it runs");
            let after = transaction.query(read, &[]).await;
            let after = after.unwrap_or_else(|failure| panic!("{go}, {round}: {failure:?}"));
            assert_eq!(after.rows[0].values, [Value::text("b"), Value::int64(2)], "{go}");
            transaction.commit().await.expect("it commits");
            let statements = ["set local search_path = a", read, go, read];
            let response = service.client.batch(batch(&statements)).await;
            let response = response.unwrap_or_else(|failure| panic!("{go}, {round}: {failure:?}"));
            assert_eq!(response.results[3].rows[0].values, after.rows[0].values, "{go}");
        }
    }
}
