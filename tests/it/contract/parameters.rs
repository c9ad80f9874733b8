//! Parameters: every kind, and every way to get one wrong.

use rowgate::value::Kind;
use rowgate::value::proto::{ArrayValue, DescribeStatementRequest, Value};
use tonic::Code;

use super::contract;
use crate::harness::Service;
use crate::harness::client::{Failure, request};
use crate::harness::unit::{batch, statement};

contract! {
    every_plain_kind_goes_in_and_comes_out
    a_parameter_may_be_used_twice_and_out_of_order
    extremes_are_exact
    null_is_taken_for_any_type
    text_is_taken_for_a_number
    too_few_parameters_are_refused
    too_many_parameters_are_refused
    as_many_parameters_are_taken_as_the_database_can_have
    more_parameters_than_the_database_can_have_are_refused_everywhere
    an_unset_value_is_refused_by_its_place
    a_wrong_kind_is_refused_by_its_place
    nothing_runs_when_a_parameter_is_wrong
    a_quote_in_a_parameter_is_a_quote
}

/// One typed expression per parameter; SQLite and MariaDB need no types.
fn select(service: &Service, types: &[&str]) -> String {
    let expressions: Vec<_> = types
        .iter()
        .enumerate()
        .map(|(i, ty)| {
            let bare = format!("${}", i + 1);
            service.pick(bare.clone(), format!("{bare}::{ty}"), bare.clone())
        })
        .collect();
    format!("select {}", expressions.join(", "))
}

async fn echo(service: &Service, types: &[&str], parameters: &[Value]) -> Vec<Value> {
    let mut result = service.client.must(&select(service, types), parameters).await;
    result.rows.remove(0).values
}

fn assert_refused(failure: &Failure, field: &str) {
    let refused = (Code::InvalidArgument, "INVALID_PARAMETER");
    assert_eq!(failure.what(), refused, "{failure:?}");
    assert_eq!(failure.fields(), [field], "{failure:?}");
    assert_eq!(failure.outcome, "NOT_APPLIED");
}

async fn every_plain_kind_goes_in_and_comes_out(service: Service) {
    let parameters = [
        Value::int64(-7),
        Value::float64(0.1),
        Value::text("naïve ☃"),
        Value::bytes([0, 255, 10]),
        Value::null(),
    ];
    let types = ["int8", "float8", "text", "bytea", "text"];
    assert_eq!(echo(&service, &types, &parameters).await, parameters);
    // SQLite and MariaDB have no booleans: true is 1 there.
    let wanted = service.pick(Value::int64(1), Value::bool(true), Value::int64(1));
    assert_eq!(echo(&service, &["bool"], &[Value::bool(true)]).await, [wanted]);
}

async fn a_parameter_may_be_used_twice_and_out_of_order(service: Service) {
    let sql = service.pick(
        "select $2, $1, $2",
        "select $2::text, $1::text, $2::text",
        "select $2, $1, $2",
    );
    let result = service.client.must(sql, &[Value::text("a"), Value::text("b")]).await;
    let wanted = [Value::text("b"), Value::text("a"), Value::text("b")];
    assert_eq!(result.rows[0].values, wanted);
}

async fn extremes_are_exact(service: Service) {
    let whole = [Value::int64(i64::MIN), Value::int64(i64::MAX)];
    assert_eq!(echo(&service, &["int8", "int8"], &whole).await, whole);
    let real = [f64::MAX, f64::MIN_POSITIVE, -5e-324].map(Value::float64);
    assert_eq!(echo(&service, &["float8"; 3], &real).await, real);
    let infinite = [f64::INFINITY, -f64::INFINITY].map(Value::float64);
    if service.pick(true, true, false) {
        assert_eq!(echo(&service, &["float8"; 2], &infinite).await, infinite);
    } else {
        // MariaDB has neither, and is not asked.
        let failure = service.client.must_fail("select $1, $2", &infinite).await;
        assert_eq!(failure.code, Code::OutOfRange, "{failure:?}");
        assert_eq!(failure.fields(), ["parameters[0]"], "{failure:?}");
    }
    let text = [Value::text("x".repeat(100_000))];
    assert_eq!(echo(&service, &["text"], &text).await, text);
}

async fn null_is_taken_for_any_type(service: Service) {
    let types = ["int4", "text", "bytea", "float8", "bool", "date", "numeric", "int4[]"];
    let nulls = vec![Value::null(); types.len()];
    assert_eq!(echo(&service, &types, &nulls).await, nulls);
}

async fn text_is_taken_for_a_number(service: Service) {
    service.client.must("create table t (id integer, name text)", &[]).await;
    let row = [Value::text("7"), Value::text("four")];
    service.client.must("insert into t values ($1, $2)", &row).await;
    let found = async |condition: &str, parameter: &str| {
        let sql = format!("select id from t where {condition}");
        let rows = service.client.must(&sql, &[Value::text(parameter)]).await.rows;
        !rows.is_empty() && rows[0].values == [Value::int64(7)]
    };
    assert!(found("id = $1", "7").await);
    assert!(found("id between $1 and 8", "6").await);
    let integer = integer(&service);
    assert!(found(&format!("length(name) = cast($1 as {integer})"), "4").await);
    // In SQLite nothing says that the parameter is a number.
    assert_eq!(found("length(name) = $1", "4").await, service.pick(false, true, true));
}

async fn too_few_parameters_are_refused(service: Service) {
    let sql = select(&service, &["text", "text"]);
    let failure = service.client.must_fail(&sql, &[Value::text("a")]).await;
    assert_eq!(failure.what(), (Code::InvalidArgument, "INVALID_PARAMETER"), "{failure:?}");
    assert!(failure.fields()[0].starts_with("parameters"), "{failure:?}");
    assert!(failure.message.contains('2') && failure.message.contains('1'), "{}", failure.message);
}

async fn too_many_parameters_are_refused(service: Service) {
    let parameters = [Value::text("a"), Value::text("b")];
    let sql = select(&service, &["text"]);
    let failure = service.client.must_fail(&sql, &parameters).await;
    assert_eq!(failure.what(), (Code::InvalidArgument, "INVALID_PARAMETER"), "{failure:?}");
    assert!(failure.fields()[0].starts_with("parameters"), "{failure:?}");
    let failure = service.client.must_fail("select 1", &parameters).await;
    assert_eq!(failure.what(), (Code::InvalidArgument, "INVALID_PARAMETER"), "{failure:?}");
}

/// The type of whole numbers, in a cast.
fn integer(service: &Service) -> &'static str {
    service.pick("integer", "integer", "signed")
}

/// Asks if 1 is among `$1`, `$2` …
fn among(service: &Service, count: usize) -> String {
    let integer = integer(service);
    let list: Vec<_> = (1..=count).map(|number| format!("cast(${number} as {integer})")).collect();
    format!("select case when 1 in ({}) then 'yes' end", list.join(","))
}

async fn as_many_parameters_are_taken_as_the_database_can_have(service: Service) {
    let max = service.pick(32_766, 65_535, 65_535);
    let mut parameters = vec![Value::int64(7); max];
    parameters[max - 1] = Value::int64(1);
    let result = service.client.must(&among(&service, max), &parameters).await;
    assert_eq!(result.rows[0].values, [Value::text("yes")]);
}

async fn more_parameters_than_the_database_can_have_are_refused_everywhere(service: Service) {
    let client = &service.client;
    let max = service.pick(32_766, 65_535, 65_535);
    for count in [max + 1, 70_000] {
        let sql = among(&service, count);
        let parameters = vec![Value::int64(1); count];
        let refused = client.must_fail(&sql, &parameters).await;
        assert_refused(&refused, "parameters");
        assert!(refused.message.contains(&max.to_string()), "{}", refused.message);
        assert!(refused.retry_after.is_none(), "it never passes: {refused:?}");
        let streamed = client.stream(request(&sql, &parameters)).await;
        assert_refused(&streamed.unwrap_err(), "parameters");
        let mut two = batch(&["select 1"]);
        two.statements.push(statement(&sql, &parameters));
        assert_refused(&client.batch(two).await.unwrap_err(), "statements[1].parameters");
        let mut transaction = client.begin().await;
        assert_refused(&transaction.query(&sql, &parameters).await.unwrap_err(), "parameters");
        // The number alone is enough, without as many values.
        assert_refused(&client.must_fail(&sql, &[]).await, "parameters");
        let describe = DescribeStatementRequest { sql: sql.clone(), ..Default::default() };
        let described = client.raw().describe_statement(describe).await;
        assert_refused(&Failure::from(described.unwrap_err()), "parameters");
    }
    let few = client.must_fail(&format!("select ${}", max + 1), &[Value::int64(1)]).await;
    assert_refused(&few, "parameters");
}

async fn an_unset_value_is_refused_by_its_place(service: Service) {
    let sql = select(&service, &["text", "text"]);
    let parameters = [Value::text("a"), Value { kind: None }];
    assert_refused(&service.client.must_fail(&sql, &parameters).await, "parameters[1]");
}

async fn a_wrong_kind_is_refused_by_its_place(service: Service) {
    let array = ArrayValue { elements: vec![Value::int64(1)], ..ArrayValue::default() };
    let array = Value::from(Kind::ArrayValue(array));
    let sql = select(&service, &["int4", "int4"]);
    let failure = service.client.must_fail(&sql, &[Value::int64(1), array]).await;
    assert_refused(&failure, "parameters[1]");
    assert!(failure.message.contains("array_value"), "{}", failure.message);
}

async fn nothing_runs_when_a_parameter_is_wrong(service: Service) {
    service.client.must("create table t (id integer primary key, name text)", &[]).await;
    let parameters = [Value::int64(1), Value { kind: None }];
    service.client.must_fail("insert into t values ($1, $2)", &parameters).await;
    let result = service.client.must("select * from t", &[]).await;
    assert!(result.rows.is_empty());
}

async fn a_quote_in_a_parameter_is_a_quote(service: Service) {
    let text = [Value::text("'; drop table t; --")];
    assert_eq!(echo(&service, &["text"], &text).await, text);
}
