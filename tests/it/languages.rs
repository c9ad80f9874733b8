//! Servers whose messages are translated: what callers are told depends on no language.

use rowgate::value::proto::Value;
use tonic::Code;

use crate::harness::Service;
use crate::harness::client::Failure;
use crate::harness::postgres::Postgres;

/// Languages that quote differently, leave the severity as it is, or give parameters without their sign.
const LANGUAGES: [&str; 5] = ["de", "fr", "es", "ja", "ru"];

const SECRET: &str = "geheim42";

async fn service(language: &'static str) -> Option<Service> {
    let service = Service::on(Postgres::speaking(language), "").await;
    let refused = service.client.query("select 'x'::int", &[]).await.expect_err("it is no number");
    let is_translated = refused.message != "invalid input syntax for type integer: \"…\"";
    // The translations are a package of their own on some systems.
    println!("{language}: translated: {is_translated}");
    is_translated.then_some(service)
}

async fn refused(service: &Service, sql: &str, parameters: &[Value]) -> Failure {
    service.client.query(sql, parameters).await.expect_err(sql)
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
