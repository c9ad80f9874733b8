//! Parameters of native kinds for PostgreSQL's types: what each takes, and where each ends.

use rowgate::value::Kind;
use rowgate::value::proto::{ArrayValue, RecordValue, Value};
use tonic::Code;

use crate::harness::client::Failure;
use crate::harness::{Backend, Service};

fn array(elements: &[Value], dimensions: &[i32], lower_bounds: &[i32]) -> Value {
    let (dimensions, lower_bounds) = (dimensions.to_vec(), lower_bounds.to_vec());
    Kind::ArrayValue(ArrayValue { elements: elements.to_vec(), dimensions, lower_bounds }).into()
}

fn record(fields: &[Value]) -> Value {
    Kind::RecordValue(RecordValue { fields: fields.to_vec() }).into()
}

fn list(elements: &[Value]) -> Value {
    array(elements, &[], &[])
}

/// Returns the value as the database understood it, as text.
async fn understood(service: &Service, declared: &str, value: &Value) -> String {
    let sql = format!("select format('%s', $1::{declared})");
    let result = service.client.must(&sql, std::slice::from_ref(value)).await;
    match result.rows[0].values[0].kind.clone() {
        Some(Kind::TextValue(text)) => text,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn native_kinds_are_taken_where_they_fit() {
    let service = Service::start(Backend::Postgres).await;
    service.postgres().psql("create type pair as (number int4, name text)");
    for (declared, value, wanted) in [
        ("bool", Value::bool(true), "t"),
        ("int2", Value::int64(-32768), "-32768"),
        ("int4", Value::int64(2_147_483_647), "2147483647"),
        ("oid", Value::int64(4_294_967_295), "4294967295"),
        ("numeric", Value::int64(i64::MIN), "-9223372036854775808"),
        ("float4", Value::int64(16_777_216), "1.6777216e+07"),
        ("float8", Value::int64(9_007_199_254_740_992), "9.007199254740992e+15"),
        ("float4", Value::float64(0.1), "0.1"),
        ("float8", Value::float64(f64::NAN), "NaN"),
        ("bytea", Value::bytes([0, 255]), "\\x00ff"),
        ("timestamptz", Value::timestamp(0, 1_500), "1970-01-01 00:00:00.000002+00"),
        ("int4[]", list(&[Value::int64(1), Value::null()]), "{1,NULL}"),
        ("int4[]", list(&[]), "{}"),
        ("int4[]", array(&[1, 2, 3, 4].map(Value::int64), &[2, 2], &[]), "{{1,2},{3,4}}"),
        ("int4[]", array(&[1, 2].map(Value::int64), &[2], &[0]), "[0:1]={1,2}"),
        ("text[]", list(&[Value::text("a b"), Value::text("")]), "{\"a b\",\"\"}"),
        ("numeric[]", list(&[Value::text("1.50"), Value::int64(2)]), "{1.50,2}"),
        ("date[]", list(&[Value::text("2026-01-31")]), "{2026-01-31}"),
        ("pair", record(&[Value::int64(1), Value::text("a b")]), "(1,\"a b\")"),
        ("pair", record(&[Value::null(), Value::null()]), "(,)"),
        ("pair[]", list(&[record(&[Value::int64(1), Value::text("a")])]), "{\"(1,a)\"}"),
    ] {
        assert_eq!(understood(&service, declared, &value).await, wanted, "{declared}: {value:?}");
    }
}

/// Returns true if the second parameter is named. PostgreSQL 13 does not tell which of the texts it could not read.
fn is_blamed(service: &Service, failure: &Failure) -> bool {
    let is_untold = service.postgres().major() < 14 && !failure.report.sqlstate.is_empty();
    is_untold || failure.fields().first().is_some_and(|field| field.starts_with("parameters[1]"))
}

#[tokio::test]
async fn a_value_out_of_range_is_refused_by_its_place() {
    let service = Service::start(Backend::Postgres).await;
    for (declared, value) in [
        ("int2", Value::int64(32_768)),
        ("int4", Value::int64(2_147_483_648)),
        ("oid", Value::int64(-1)),
        ("oid", Value::int64(4_294_967_296)),
        ("float4", Value::int64(16_777_217)),
        ("float8", Value::int64(9_007_199_254_740_993)),
        ("float4", Value::float64(1e300)),
        ("int4[]", list(&[Value::int64(1), Value::int64(2_147_483_648)])),
        ("timestamptz", Value::timestamp(i64::MAX, 0)),
        ("int4", Value::text("2147483648")),
    ] {
        let sql = format!("select 1, $1::int4, $2::{declared}");
        let failure = service.client.must_fail(&sql, &[Value::int64(1), value.clone()]).await;
        assert_eq!(failure.code, Code::OutOfRange, "{declared}: {value:?}: {failure:?}");
        assert!(is_blamed(&service, &failure), "{failure:?}");
    }
}

#[tokio::test]
async fn a_wrong_kind_is_refused_by_its_place() {
    let service = Service::start(Backend::Postgres).await;
    service.postgres().psql("create type pair as (number int4, name text)");
    for (declared, value) in [
        ("int4", Value::bool(true)),
        ("int4", Value::float64(1.0)),
        ("int4", Value::bytes([1])),
        ("bool", Value::int64(1)),
        ("numeric", Value::float64(1.5)),
        ("timestamp", Value::timestamp(0, 0)),
        ("date", Value::timestamp(0, 0)),
        ("bytea", Value::int64(1)),
        ("int4", list(&[Value::int64(1)])),
        ("int4[]", Value::int64(1)),
        ("int4[]", list(&[Value::bool(true)])),
        ("int4[]", array(&[Value::int64(1)], &[2], &[])),
        ("int4[]", array(&[Value::int64(1)], &[1], &[1, 1])),
        ("int4[]", list(&[Value { kind: None }])),
        ("pair", record(&[Value::int64(1)])),
        ("pair", record(&[Value::text("x"), Value::bool(true)])),
        ("int4", record(&[])),
        ("int4", Value::text("two")),
        ("date", Value::text("2026-02-30")),
        ("uuid", Value::text("no")),
        ("jsonb", Value::text("{")),
        ("text", Value::text("nul\0")),
    ] {
        let sql = format!("select $1::int4, $2::{declared}");
        let failure = service.client.must_fail(&sql, &[Value::int64(1), value.clone()]).await;
        let refused = [Code::InvalidArgument, Code::OutOfRange].contains(&failure.code);
        assert!(refused, "{declared}: {value:?}: {failure:?}");
        assert!(is_blamed(&service, &failure), "{declared}: {value:?}: {failure:?}");
    }
}
