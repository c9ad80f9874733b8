//! Bounds: on results, on requests, and the configuration that sets them.

use rowgate::value::proto::{QueryOptions, Value};
use tonic::Code;

use super::contract;
use crate::harness::Service;
use crate::harness::client::request_with;

contract! {
    a_result_over_max_rows_is_refused
    a_result_over_max_bytes_is_refused
    a_stream_over_max_rows_is_refused
    a_write_over_a_cap_tells_what_became_of_it
    an_oversized_request_is_refused_and_the_next_is_served
    a_result_over_the_default_caps_is_refused
}

mod capped {
    use super::*;
    use crate::contract::contract;

    contract! {
        with "max_rows = 10\nmax_bytes = \"1KiB\"":
        the_configured_caps_hold
        options_only_lower_the_caps
        a_stream_is_not_bound_by_the_caps_of_a_unary_result
    }

    async fn the_configured_caps_hold(service: Service) {
        assert_eq!(service.client.must(&numbers(&service, 10), &[]).await.rows.len(), 10);
        assert_too_large(&service, &numbers(&service, 11), QueryOptions::default()).await;
        let repeated = "select repeat('x', 1200)";
        let wide = service.pick("select hex(zeroblob(600))", repeated, repeated);
        assert_too_large(&service, wide, QueryOptions::default()).await;
    }

    async fn options_only_lower_the_caps(service: Service) {
        assert_too_large(&service, &numbers(&service, 6), max_rows(5)).await;
        assert_too_large(&service, &numbers(&service, 11), max_rows(1000)).await;
    }

    async fn a_stream_is_not_bound_by_the_caps_of_a_unary_result(service: Service) {
        let request = request_with(&numbers(&service, 1000), QueryOptions::default());
        let streamed =
            service.client.stream(request).await.expect("a stream has no cap of its own");
        assert_eq!(streamed.rows.len(), 1000);
    }
}

/// A statement of `count` rows, 1, 2, 3 ….
pub(super) fn numbers(service: &Service, count: u32) -> String {
    // There the expression below is read to its end before its first row is there.
    if service.pick(false, false, true) && !service.mariadb().is_mysql() {
        return format!("select seq as n from seq_1_to_{count}");
    }
    format!(
        "with recursive c(n) as (select 1 union all select n + 1 from c where n < {count}) \
         select n from c"
    )
}

fn max_rows(max_rows: u64) -> QueryOptions {
    QueryOptions { max_rows, ..QueryOptions::default() }
}

fn max_bytes(max_bytes: u64) -> QueryOptions {
    QueryOptions { max_bytes, ..QueryOptions::default() }
}

async fn assert_too_large(service: &Service, sql: &str, options: QueryOptions) {
    let failure = service.client.run(request_with(sql, options)).await.expect_err(sql);
    assert_eq!(failure.what(), (Code::ResourceExhausted, "RESULT_TOO_LARGE"), "{failure:?}");
    assert_eq!(failure.outcome, "NOT_APPLIED", "{failure:?}");
}

async fn a_result_over_max_rows_is_refused(service: Service) {
    let exact = request_with(&numbers(&service, 3), max_rows(3));
    assert_eq!(service.client.run(exact).await.expect("three of three").rows.len(), 3);
    assert_too_large(&service, &numbers(&service, 4), max_rows(3)).await;
    assert_too_large(&service, &numbers(&service, 1_000_000), max_rows(3)).await;
}

async fn a_result_over_max_bytes_is_refused(service: Service) {
    let sql = numbers(&service, 1000);
    service.client.run(request_with(&sql, max_bytes(100_000))).await.expect("they fit");
    assert_too_large(&service, &sql, max_bytes(1000)).await;
}

async fn a_stream_over_max_rows_is_refused(service: Service) {
    let exact = service.client.stream(request_with(&numbers(&service, 3), max_rows(3))).await;
    assert_eq!(exact.expect("three of three").rows.len(), 3);
    let failure = service.client.stream(request_with(&numbers(&service, 4), max_rows(3))).await;
    let failure = failure.expect_err("four of three");
    assert_eq!(failure.what(), (Code::ResourceExhausted, "RESULT_TOO_LARGE"), "{failure:?}");
}

async fn a_write_over_a_cap_tells_what_became_of_it(service: Service) {
    service.client.must("create table t (id integer primary key)", &[]).await;
    let sql = "insert into t values (1), (2), (3) returning id";
    let failure = service.client.run(request_with(sql, max_rows(2))).await;
    let failure = failure.expect_err("three of two");
    assert_eq!(failure.what(), (Code::ResourceExhausted, "RESULT_TOO_LARGE"), "{failure:?}");
    let result = service.client.must("select count(*) from t", &[]).await;
    let wanted = match failure.outcome.as_str() {
        "APPLIED" => Value::int64(3),
        "NOT_APPLIED" => Value::int64(0),
        unknown => panic!("the server knows: {unknown}"),
    };
    assert_eq!(result.rows[0].values, [wanted], "{failure:?}");
}

async fn an_oversized_request_is_refused_and_the_next_is_served(service: Service) {
    // A little, and far over the limit: both are refused at the length in front of the message.
    for size in [5 << 20, 40 << 20] {
        let large = [Value::text("x".repeat(size))];
        let failure = service.client.must_fail("select $1", &large).await;
        assert_eq!(failure.what(), (Code::ResourceExhausted, "REQUEST_TOO_LARGE"), "{failure:?}");
        assert_eq!(failure.outcome, "NOT_APPLIED");
        service.client.must("select 1", &[]).await;
    }
}

async fn a_result_over_the_default_caps_is_refused(service: Service) {
    assert_too_large(&service, &numbers(&service, 10_001), QueryOptions::default()).await;
    let repeated = "select repeat('x', 3200000)";
    let wide = service.pick("select hex(zeroblob(1600000))", repeated, repeated);
    assert_too_large(&service, wide, QueryOptions::default()).await;
    service.client.must("select 1", &[]).await;
}
