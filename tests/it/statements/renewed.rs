//! Types that are made anew or altered under statements that use them, by others and through this process.

use rowgate::value::Kind;
use rowgate::value::proto::{ExecuteBatchRequest, RecordValue, ResultSet, Value};

use super::keeping;
use crate::harness::Service;
use crate::harness::unit::{batch, statement};

/// The usual migration of an enum.
const RENEWED: [&str; 6] = [
    "drop function mooded(mood)",
    "alter type mood rename to old_mood",
    "create type mood as enum ('sad', 'happy', 'new')",
    "alter table t alter column m type mood using m::text::mood",
    "create function mooded(mood) returns mood language sql as 'select $1'",
    "drop type old_mood",
];

const SETUP: &str = "
    create type mood as enum ('sad', 'happy');
    create type pair as (a int, b int);
    drop table t;
    create table t (id int, m mood, p pair);
    create function mooded(mood) returns mood language sql as 'select $1';
    create table wide (a int, b int, c int);
    insert into wide values (1, 2, 3);
    create function widest() returns setof wide language sql as 'select * from wide';";

async fn service() -> Service {
    let service = keeping(256).await;
    service.postgres().psql(SETUP);
    service
}

fn record(fields: &[i64]) -> Value {
    let fields = fields.iter().copied().map(Value::int64).collect();
    Kind::RecordValue(RecordValue { fields }).into()
}

/// The same statement in each way; each must succeed at its first attempt.
async fn in_each_way(service: &Service, sql: &str, value: &Value) -> Vec<ResultSet> {
    let one = std::slice::from_ref(value);
    let mut results = vec![service.client.must(sql, one).await];
    let mut request: ExecuteBatchRequest = batch(&["select 1"]);
    request.statements.push(statement(sql, one));
    let mut response = service.client.batch(request).await.expect("the batch runs");
    results.push(response.results.remove(1));
    let mut transaction = service.client.begin().await;
    results.push(transaction.query(sql, one).await.expect("the transaction runs"));
    transaction.commit().await.expect("it commits");
    results
}

const INSERT: &str = "insert into t (m) values ($1) returning m";
const CALL: &str = "select mooded($1)";

#[tokio::test]
async fn an_enum_made_anew_is_taken_at_once() {
    for through in [false, true] {
        let service = service().await;
        for sql in [INSERT, CALL] {
            in_each_way(&service, sql, &Value::text("sad")).await;
        }
        for sql in RENEWED {
            if through {
                service.client.must(sql, &[]).await;
            } else {
                service.postgres().psql(sql);
            }
        }
        for sql in [CALL, INSERT] {
            for result in in_each_way(&service, sql, &Value::text("new")).await {
                assert_eq!(result.rows[0].values, [Value::text("new")], "{sql}, {through}");
            }
        }
    }
}

#[tokio::test]
async fn a_type_that_was_only_renamed_is_not_taken_for_the_new_one() {
    let service = service().await;
    in_each_way(&service, INSERT, &Value::text("sad")).await;
    for sql in &RENEWED[..5] {
        service.postgres().psql(sql);
    }
    for result in in_each_way(&service, INSERT, &Value::text("happy")).await {
        assert_eq!(result.rows[0].values, [Value::text("happy")]);
    }
}

#[tokio::test]
async fn an_altered_composite_takes_as_many_fields_as_it_has() {
    for through in [false, true] {
        let service = service().await;
        let insert = "insert into t (p) values ($1) returning p";
        in_each_way(&service, insert, &record(&[1, 2])).await;
        let alter = "alter type pair add attribute c int";
        if through {
            service.client.must(alter, &[]).await;
        } else {
            service.postgres().psql(alter);
        }
        for result in in_each_way(&service, insert, &record(&[1, 2, 3])).await {
            assert_eq!(result.rows[0].values, [record(&[1, 2, 3])], "through {through}");
        }
        let failure = service.client.must_fail(insert, &[record(&[1])]).await;
        assert_eq!(failure.what().1, "INVALID_PARAMETER", "{failure:?}");
    }
}

#[tokio::test]
async fn a_dropped_column_of_a_functions_rows_is_no_lasting_error() {
    let service = service().await;
    let select = "select w from widest() w";
    service.client.must(select, &[]).await;
    service.postgres().psql("alter table wide drop column b");
    for _ in 0..3 {
        let result = service.client.must(select, &[]).await;
        assert_eq!(result.rows[0].values, [record(&[1, 3])]);
    }
}

#[tokio::test]
async fn an_error_that_stays_is_told_as_it_is() {
    let service = service().await;
    service.postgres().psql(
        "create sequence runs; create function internal() returns int language plpgsql as \
         $$ begin perform nextval('runs'); raise exception 'cache lookup failed for type 7' \
         using errcode = 'XX000'; end $$",
    );
    let failure = service.client.must_fail("select internal()", &[]).await;
    assert_eq!(failure.report.sqlstate, "XX000", "{failure:?}");
    assert_eq!(service.postgres().psql("select last_value from runs"), "1");
    let gone = "select * from wide where a = $1";
    service.client.must(gone, &[Value::int64(1)]).await;
    service.postgres().psql("drop table wide cascade");
    let failure = service.client.must_fail(gone, &[Value::int64(1)]).await;
    assert_eq!(failure.report.sqlstate, "42P01", "{failure:?}");
}
