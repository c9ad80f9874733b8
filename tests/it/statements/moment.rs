//! Texts that mean what is there at the moment: rows of a cursor, a prepared statement, a procedure.

use rowgate::value::proto::{ExecuteBatchRequest, ResultSet, Value};

use super::keeping;
use crate::harness::Service;
use crate::harness::unit::{batch, keyed};

/// Queries, each with other columns than the one before, and their only row.
fn shapes() -> Vec<(&'static str, Vec<Value>)> {
    vec![
        ("select 1", vec![Value::int64(1)]),
        ("select 'abcd'::text", vec![Value::text("abcd")]),
        ("select 7::int8", vec![Value::int64(7)]),
        ("select 12.5::float8", vec![Value::float64(12.5)]),
        ("select true, 'x'::text, 2", vec![Value::bool(true), Value::text("x"), Value::int64(2)]),
        ("select 3::int2", vec![Value::int64(3)]),
        ("select point(1, 2)", vec![Value::text("(1,2)")]),
    ]
}

fn only_row(result: &ResultSet) -> &[Value] {
    assert_eq!((result.rows.len(), result.has_columns), (1, true), "{result:?}");
    assert_eq!(result.columns.len(), result.rows[0].values.len());
    &result.rows[0].values
}

/// Runs the statements in transactions, one for each shape, and checks the row of the last.
async fn in_transactions(service: &Service, prepare: impl Fn(&str) -> Vec<String>, read: &str) {
    for (query, row) in shapes() {
        let mut transaction = service.client.begin().await;
        for sql in prepare(query) {
            transaction.query(&sql, &[]).await.expect("it runs");
        }
        let result = transaction.query(read, &[]).await;
        let result = result.unwrap_or_else(|failure| panic!("{read} of {query}: {failure:?}"));
        assert_eq!(only_row(&result), row, "{read} of {query}");
        transaction.commit().await.expect("it commits");
    }
}

#[tokio::test]
async fn rows_of_a_cursor_have_the_shape_of_this_cursor() {
    let service = keeping(256).await;
    let declare = |query: &str| vec![format!("declare c cursor for {query}")];
    for read in ["fetch 1 from c", "fetch all in c", "/* next */ FETCH c"] {
        in_transactions(&service, declare, read).await;
    }
    service.postgres().psql(
        "create function opened(c refcursor, query text) returns refcursor language plpgsql as \
         $$ begin open c for execute query; return c; end $$",
    );
    let open = |query: &str| vec![format!("select opened('r', $${query}$$)")];
    in_transactions(&service, open, "fetch all in r").await;
    // Again and again in one transaction.
    let mut transaction = service.client.begin().await;
    for (query, row) in shapes() {
        transaction.query(&format!("declare c cursor for {query}"), &[]).await.expect("it runs");
        let result = transaction.query("fetch 1 from c", &[]).await.expect("it runs");
        assert_eq!(only_row(&result), row, "{query}");
        transaction.query("close c", &[]).await.expect("it runs");
    }
    transaction.commit().await.expect("it commits");
}

#[tokio::test]
async fn a_statement_prepared_by_its_caller_has_its_own_shape() {
    let service = keeping(256).await;
    let prepare = |query: &str| vec![format!("prepare p as {query}")];
    in_transactions(&service, prepare, "execute p").await;
}

#[tokio::test]
async fn a_procedure_that_others_replace_returns_what_it_returns_now() {
    let service = keeping(256).await;
    let calls = |ty: &str, value: &str| {
        service.postgres().psql(&format!(
            "drop procedure if exists p; create procedure p(inout x {ty} default null) \
             language plpgsql as $$ begin x := {value}; end $$"
        ));
    };
    for (ty, value, row) in [
        ("int", "1", Value::int64(1)),
        ("text", "'abcd'", Value::text("abcd")),
        ("float8", "0.5", Value::float64(0.5)),
    ] {
        calls(ty, value);
        for _ in 0..2 {
            let result = service.client.must("call p()", &[]).await;
            assert_eq!(only_row(&result), std::slice::from_ref(&row), "{ty}");
        }
        let response = service.client.batch(batch(&["call p()"])).await.expect("it runs");
        assert_eq!(only_row(&response.results[0]), [row], "{ty}");
    }
}

#[tokio::test]
async fn a_batch_reads_the_cursor_that_it_opened() {
    let service = keeping(256).await;
    for (number, (query, row)) in shapes().into_iter().enumerate() {
        for (kind, dry_run) in [(false, false), (true, false), (false, true)] {
            let declare = format!("declare c cursor for {query}");
            let options = kind.then(|| keyed(&format!("cursor {number}")));
            let request =
                ExecuteBatchRequest { options, dry_run, ..batch(&[&declare, "fetch all in c"]) };
            let response = service.client.batch(request).await;
            let response = response.unwrap_or_else(|failure| panic!("{query}: {failure:?}"));
            assert_eq!(response.attempts, 1, "{query}");
            assert_eq!(only_row(&response.results[1]), row, "{query}");
        }
    }
    let statements = ["prepare p as select 'abcd'::text", "execute p", "deallocate p"];
    let response = service.client.batch(batch(&statements)).await.expect("it runs");
    assert_eq!(only_row(&response.results[1]), [Value::text("abcd")]);
}

/// Texts that read the clock, or the catalogs, when they are prepared.
#[tokio::test]
async fn a_literal_means_what_it_means_at_each_run() {
    let service = keeping(256).await;
    service
        .postgres()
        .psql("create table e (at timestamptz, during tstzrange, all_at timestamptz[])");
    let inserts = [
        "insert into e (at) values ('now')",
        "insert into e (at) select timestamptz 'now'",
        "insert into e (during) values ('[now,)')",
        "insert into e (all_at) values ('{2020-01-01,now}')",
        "insert into e (at) values (e'\\156ow')",
        "insert into e (at) values ('n'\n'ow')",
    ];
    for (number, insert) in inserts.into_iter().enumerate() {
        service.client.must(insert, &[]).await;
        let options = Some(keyed(&format!("literal {number}")));
        let request = ExecuteBatchRequest { options, ..batch(&[insert]) };
        service.client.batch(request).await.expect("it runs");
        service.client.batch(batch(&["select 1", insert])).await.expect("it runs");
        let mut transaction = service.client.begin().await;
        transaction.query(insert, &[]).await.expect("it runs");
        let same = "select timestamptz 'now' = now()";
        let result = transaction.query(same, &[]).await.expect("it runs");
        assert_eq!(only_row(&result), [Value::bool(true)]);
        transaction.commit().await.expect("it commits");
        service.client.must(insert, &[]).await;
        let moments = "select count(*), count(distinct (at, during, all_at)) from e";
        assert_eq!(service.postgres().psql(moments), "5|5", "{insert}");
        service.postgres().psql("truncate e");
    }
    let response = service.client.batch(batch(&["select 1", "select timestamptz 'now' = now()"]));
    let response = response.await.expect("it runs");
    assert_eq!(only_row(&response.results[1]), [Value::bool(true)]);
}

#[tokio::test]
async fn a_name_means_the_object_that_has_it_at_each_run() {
    let service = keeping(256).await;
    let named = "select 'named'::regrole::oid = (select oid from pg_roles where rolname = 'named')";
    for _ in 0..3 {
        service.postgres().psql("drop role if exists named");
        service.postgres().psql("create role named");
        for _ in 0..2 {
            let result = service.client.must(named, &[]).await;
            assert_eq!(only_row(&result), [Value::bool(true)]);
        }
    }
}
