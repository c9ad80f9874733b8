//! References in a batch: parameters that are values of earlier results.

use rowgate::value::proto::value::Kind;
use rowgate::value::proto::{
    ArrayValue, BatchStatement, ExecuteBatchRequest, QueryOptions, ResultReference, Value,
};
use tonic::Code;

use super::batches::{numbers, table};
use super::contract;
use crate::harness::Service;
use crate::harness::client::request;
use crate::harness::unit::{keyed, statement};

contract! {
    children_get_the_key_of_their_parent_in_the_same_batch
    a_value_arrives_as_the_kind_that_the_result_has
    a_reference_that_leads_to_no_value_rolls_everything_back
    a_reference_is_refused_where_there_is_no_earlier_result
    a_batch_with_references_has_its_dry_run_and_its_key
}

fn reference(statement: u32, column: &str) -> Value {
    Kind::ResultReference(ResultReference { statement, column: column.to_owned() }).into()
}

fn request_of(statements: &[BatchStatement]) -> ExecuteBatchRequest {
    ExecuteBatchRequest { statements: statements.to_vec(), ..ExecuteBatchRequest::default() }
}

/// The page whose example this is.
const PAGE: &str = include_str!("../../../docs/TRANSACTIONS.md");

/// A parent whose key the database makes.
const PARENT: &str = "insert into parents (name) values ($1) returning id, name";

const CHILD: &str = "insert into children values ($1, $2)";

async fn family(service: &Service) {
    let key = service.pick(
        "integer primary key",
        "bigint generated always as identity primary key",
        "bigint auto_increment primary key",
    );
    let parents = format!("create table parents (id {key}, name varchar(20))");
    service.client.must(&parents, &[]).await;
    let children = "create table children (parent bigint, name varchar(20))";
    service.client.must(children, &[]).await;
}

async fn children_get_the_key_of_their_parent_in_the_same_batch(service: Service) {
    for (name, sql) in [("parent", PARENT), ("child", CHILD)] {
        assert!(PAGE.contains(&format!("{name} = \"{sql}\"\n")), "{name}");
    }
    family(&service).await;
    for parent in ["Ada", "Eva"] {
        let batch = request_of(&[
            statement("insert into children values (0, 'nobody')", &[]),
            statement(PARENT, &[Value::text(parent)]),
            statement(CHILD, &[reference(1, "id"), Value::text("first")]),
            statement(CHILD, &[reference(1, "id"), reference(1, "name")]),
        ]);
        let response = service.client.batch(batch).await.expect("it runs");
        assert_eq!(response.results.len(), 4);
        assert_eq!(response.results[3].rows_affected, 1);
    }
    let family = "select p.name, c.name from parents p join children c on c.parent = p.id order by p.id, c.name desc";
    let rows = service.client.must(family, &[]).await.rows;
    let names: Vec<_> = rows.into_iter().map(|row| row.values).collect();
    let pair = |parent: &str, child: &str| vec![Value::text(parent), Value::text(child)];
    let expected =
        [pair("Ada", "first"), pair("Ada", "Ada"), pair("Eva", "first"), pair("Eva", "Eva")];
    assert_eq!(names, expected);
}

async fn a_value_arrives_as_the_kind_that_the_result_has(service: Service) {
    let values = service.pick(
        "select 7 as i, 0.5 as f, 'ü' as t, x'00ff' as b, null as n",
        "select 7::bigint as i, 0.5::float8 as f, 'ü'::text as t, '\\x00ff'::bytea as b, null::text as n",
        "select 7 as i, 0.5e0 as f, 'ü' as t, x'00ff' as b, null as n",
    );
    let types = service.pick(
        "i integer, f real, t text, b blob, n text",
        "i bigint, f float8, t text, b bytea, n text",
        "i bigint, f double, t varchar(9), b varbinary(9), n varchar(9)",
    );
    service.client.must(&format!("create table kinds ({types})"), &[]).await;
    let references = ["i", "f", "t", "b", "n"].map(|column| reference(0, column));
    let batch = request_of(&[
        statement(values, &[]),
        statement("insert into kinds values ($1, $2, $3, $4, $5)", &references),
        statement("select i, f, t, b, n from kinds", &[]),
    ]);
    let response = service.client.batch(batch).await.expect("it runs");
    assert_eq!(response.results[2].rows, response.results[0].rows);
    assert_eq!(response.results[2].rows[0].values[4], Value::null());
}

async fn a_reference_that_leads_to_no_value_rolls_everything_back(service: Service) {
    table(&service).await;
    service.client.must("insert into t values (1, 1), (2, 1)", &[]).await;
    for (sql, column, why) in [
        ("select id from t where id = 9", "id", "returned no row"),
        ("select id from t", "id", "returned several rows"),
        ("select id from t where id = 1", "other", "no column of the name \"other\""),
        ("select id, n as id from t where id = 1", "id", "several columns of the name \"id\""),
        ("update t set n = 2 where id = 1", "id", "returns no rows: it has no RETURNING"),
    ] {
        let batch = request_of(&[
            statement("insert into t values (3, 3)", &[]),
            statement(sql, &[]),
            statement("insert into t values (4, $1)", &[reference(1, column)]),
        ]);
        let failure = service.client.batch(batch).await.expect_err("it leads nowhere");
        let wanted = (Code::FailedPrecondition, "RESULT_REFERENCE");
        assert_eq!(failure.what(), wanted, "{failure:?}");
        assert_eq!(failure.outcome, "NOT_APPLIED");
        assert_eq!(failure.report.failed_statement, Some(2));
        assert_eq!(failure.fields(), ["statements[2].parameters[0]"]);
        assert!(failure.message.contains(why), "{failure:?}");
        assert_eq!(numbers(&service).await, [Value::int64(1), Value::int64(2)]);
    }
}

async fn a_reference_is_refused_where_there_is_no_earlier_result(service: Service) {
    table(&service).await;
    let insert = "insert into t values (1, $1)";
    let nested = ArrayValue { elements: vec![reference(0, "id")], ..ArrayValue::default() };
    for parameter in [reference(1, "id"), reference(2, "id"), Kind::ArrayValue(nested).into()] {
        let batch =
            request_of(&[statement("select 1 as id", &[]), statement(insert, &[parameter])]);
        let failure = service.client.batch(batch).await.expect_err("it is refused");
        assert_eq!(failure.what(), (Code::InvalidArgument, "INVALID_PARAMETER"), "{failure:?}");
        assert_eq!(failure.report.failed_statement, Some(1));
        assert_eq!(failure.fields(), ["statements[1].parameters[0]"]);
    }
    let alone = request(insert, &[reference(0, "id")]);
    for failure in [
        service.client.run(alone.clone()).await.expect_err("a Query has no earlier result"),
        service.client.stream(alone).await.expect_err("a StreamQuery neither"),
    ] {
        assert_eq!(failure.what(), (Code::InvalidArgument, "INVALID_PARAMETER"), "{failure:?}");
        assert_eq!(failure.fields(), ["parameters[0]"]);
    }
    let mut transaction = service.client.begin().await;
    transaction.query("select 1 as id", &[]).await.expect("it runs");
    let failure = transaction.query(insert, &[reference(0, "id")]).await;
    let failure = failure.expect_err("the client has the result");
    assert_eq!(failure.what(), (Code::InvalidArgument, "INVALID_PARAMETER"), "{failure:?}");
    transaction.rollback().await.expect("it is aborted");
    assert_eq!(numbers(&service).await, []);
}

async fn a_batch_with_references_has_its_dry_run_and_its_key(service: Service) {
    family(&service).await;
    service.install_keys();
    let child = |column: &str| {
        statement("insert into children values ($1, 'child')", &[reference(0, column)])
    };
    let parent = statement(PARENT, &[Value::text("7")]);
    let batch = request_of(&[parent.clone(), child("id")]);
    let rehearsed = ExecuteBatchRequest { dry_run: true, ..batch.clone() };
    service.client.batch(rehearsed).await.expect("it is rehearsed");
    let once =
        |batch: &ExecuteBatchRequest| ExecuteBatchRequest { options: options(), ..batch.clone() };
    for replayed in [false, true] {
        let response = service.client.batch(once(&batch)).await.expect("it runs");
        assert_eq!(response.replayed, replayed);
    }
    let other = request_of(&[parent, child("name")]);
    let failure = service.client.batch(once(&other)).await.expect_err("it is another request");
    assert_eq!(failure.reason, "KEY_REUSED", "{failure:?}");
    let count = service.client.must("select count(*) from children", &[]).await;
    assert_eq!(count.rows[0].values, [Value::int64(1)]);
}

fn options() -> Option<QueryOptions> {
    Some(keyed("family"))
}
