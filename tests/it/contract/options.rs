//! `QueryOptions`: what is refused, naming the field.

use prost_types::Duration;
use rowgate::value::proto::{QueryOptions, StreamQueryRequest};
use tonic::Code;

use super::contract;
use crate::harness::Service;
use crate::harness::client::{Failure, request_with};

contract! {
    a_good_tag_is_taken
    a_bad_tag_is_refused
    a_timeout_that_is_not_positive_is_refused
    an_unknown_access_mode_is_refused
    a_stream_refuses_the_same
    a_stream_without_a_query_is_refused
}

fn assert_refused(failure: &Failure, field: &str) {
    assert_eq!(failure.what(), (Code::InvalidArgument, "INVALID_OPTION"), "{failure:?}");
    assert!(failure.fields()[0].ends_with(field), "{failure:?}");
}

fn tag(tag: &str) -> QueryOptions {
    QueryOptions { tag: tag.to_owned(), ..QueryOptions::default() }
}

fn timeout(seconds: i64, nanos: i32) -> QueryOptions {
    QueryOptions { timeout: Some(Duration { seconds, nanos }), ..QueryOptions::default() }
}

async fn a_good_tag_is_taken(service: Service) {
    for good in ["orders", "web:checkout/v2.list-items_1", &"x".repeat(64)] {
        service.client.run(request_with("select 1", tag(good))).await.expect(good);
    }
}

async fn a_bad_tag_is_refused(service: Service) {
    for bad in ["two words", "naïve", "a\nb", &"x".repeat(65)] {
        let failure = service.client.run(request_with("select 1", tag(bad))).await.expect_err(bad);
        assert_refused(&failure, "options.tag");
    }
}

async fn a_timeout_that_is_not_positive_is_refused(service: Service) {
    for (seconds, nanos) in [(0, 0), (-1, 0), (0, -1), (-1, -5)] {
        let request = request_with("select 1", timeout(seconds, nanos));
        let failure = service.client.run(request).await.expect_err("it is not positive");
        assert_refused(&failure, "options.timeout");
    }
    service.client.run(request_with("select 1", timeout(5, 0))).await.expect("it is positive");
    // Longer than any deadline can be: it lowers nothing.
    let longest = request_with("select 1", timeout(315_576_000_000, 0));
    service.client.run(longest).await.expect("it is positive");
}

async fn an_unknown_access_mode_is_refused(service: Service) {
    let options = QueryOptions { access_mode: 77, ..QueryOptions::default() };
    let failure = service.client.run(request_with("select 1", options)).await;
    assert_refused(&failure.expect_err("there is no mode 77"), "options.access_mode");
}

async fn a_stream_refuses_the_same(service: Service) {
    for (options, field) in [(tag("two words"), "options.tag"), (timeout(-1, 0), "options.timeout")]
    {
        let failure = service.client.stream(request_with("select 1", options)).await;
        assert_refused(&failure.expect_err("it is refused"), field);
    }
}

async fn a_stream_without_a_query_is_refused(service: Service) {
    let mut client = service.client.raw();
    let answer = client.stream_query(StreamQueryRequest::default()).await;
    let status = answer.expect_err("there is nothing to run");
    let failure = Failure::from(status);
    assert_eq!(failure.code, Code::InvalidArgument);
    assert!(failure.fields()[0].starts_with("query"), "{failure:?}");
}
