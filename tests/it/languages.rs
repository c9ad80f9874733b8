//! Servers whose messages are translated: what callers are told depends on no language.

use rowgate::value::proto::{QueryRequest, Value};
use tonic::Code;

use crate::harness::Service;
use crate::harness::client::{Failure, request};
use crate::harness::postgres::Postgres;

/// Languages that quote differently, leave the severity as it is, or give parameters without their sign.
const LANGUAGES: [&str; 5] = ["de", "fr", "es", "ja", "ru"];

const SECRET: &str = "geheim42";

/// A service whose role may not choose the language.
async fn service(language: &'static str) -> Option<Service> {
    let postgres = Postgres::speaking(language);
    postgres.psql("create role plain login password 'plain'");
    let url = postgres.url_as("plain", "plain");
    let plain = format!("[databases.plain]\nurl = \"{url}\"\n");
    let service = Service::on(postgres, &plain).await;
    let refused = refused(&service, "select 'x'::int", &[]).await;
    let is_translated = refused.message != "invalid input syntax for type integer: \"…\"";
    // The translations are a package of their own on some systems.
    println!("{language}: translated: {is_translated}");
    is_translated.then_some(service)
}

async fn refused(service: &Service, sql: &str, parameters: &[Value]) -> Failure {
    let request = QueryRequest { database: "plain".to_owned(), ..request(sql, parameters) };
    service.client.run(request).await.expect_err(sql)
}

#[tokio::test]
async fn no_language_of_the_server_discloses_a_value() {
    for language in LANGUAGES {
        let Some(service) = service(language).await else { continue };
        let statements = [
            format!("select '{SECRET}'::int"),
            format!("select '{SECRET}'::uuid"),
            format!("select ('{SECRET}'||x)::regclass from generate_series(1, 2) as x"),
            format!("select ('{SECRET}'||x)::date from generate_series(1, 2) as x"),
            format!("select to_timestamp('{SECRET}', 'YYYY')"),
            format!("select '{SECRET}'::jsonb"),
            format!("select 1 '{SECRET}'"),
            format!("select set_config('work_mem', '{SECRET}', true)"),
            format!("select set_config('{SECRET} x', '1', true)"),
            format!("do $$begin raise 'a »{SECRET}« b' using hint = '„{SECRET}“'; end$$"),
            format!("select xmlparse(document '<{SECRET}')"),
            format!("select regexp_matches('a', '({SECRET}')"),
        ];
        for sql in &statements {
            let failure = refused(&service, sql, &[]).await;
            let told = format!("{failure:?}");
            assert!(!told.contains(SECRET), "{language}: {sql}: {told}");
        }
    }
}

#[tokio::test]
async fn the_parameter_to_blame_is_found_in_every_language() {
    for language in LANGUAGES {
        let Some(service) = service(language).await else { continue };
        let parameters = [Value::int64(1), Value::text(SECRET)];
        let failure = refused(&service, "select $1::int, $2::uuid", &parameters).await;
        let what = (Code::InvalidArgument, "INVALID_PARAMETER");
        assert_eq!(failure.what(), what, "{language}: {failure:?}");
        let told = format!("{failure:?}");
        assert!(told.contains("parameters[1]") && !told.contains(SECRET), "{language}: {told}");
    }
}

#[tokio::test]
async fn messages_about_names_are_in_english_too() {
    for language in LANGUAGES {
        let Some(service) = service(language).await else { continue };
        service.postgres().psql(
            "create table u (n int primary key check (n > 0)); insert into u values (1); \
             grant all on u to plain",
        );
        for (sql, message) in [
            ("insert into u values (1)", "unique violation"),
            ("insert into u values (-1)", "check violation"),
            ("insert into u values (null)", "not null violation"),
            ("select missing from u", "undefined column"),
            ("select 1 from missing", "undefined table"),
            ("select missing(1)", "undefined function"),
        ] {
            let failure = refused(&service, sql, &[]).await;
            assert_eq!(failure.message, message, "{language}: {failure:?}");
        }
    }
}

#[tokio::test]
async fn a_role_that_may_choose_hears_english_after_each_reset_too() {
    let service = Service::on(Postgres::speaking("de"), "pool.min = 1\npool.max = 1\n").await;
    let sql = "do $$begin perform set_config('lc_messages', 'C.UTF-8', false); end$$";
    for _ in 0..2 {
        let failure = service.client.query("select missing", &[]).await.expect_err("there is none");
        assert_eq!(failure.message, "column \"missing\" does not exist");
        service.client.must(sql, &[]).await;
    }
}
