//! The conformance list for clients (`clients/conformance`), run by plain gRPC on each backend: what the list says is true
//! of the server.

mod cases;
mod documents;
mod expect;
mod requests;
mod schema;
mod steps;
mod values;

use std::collections::BTreeSet;

use serde_json::Value as Json;

use cases::{Case, LIST, case_files, read};

use crate::harness::mariadb::is_mysql;
use crate::harness::{Backend, Service};

/// As many as make the list worth something.
const ENOUGH: usize = 200;

#[tokio::test]
async fn the_list_is_true_of_sqlite() {
    run(Backend::Sqlite).await;
}

#[tokio::test]
async fn the_list_is_true_of_postgres() {
    run(Backend::Postgres).await;
}

#[tokio::test]
async fn the_list_is_true_of_mariadb() {
    if is_mysql() {
        eprintln!("SKIPPED: the conformance list for clients is written for MariaDB");
        return;
    }
    run(Backend::Mariadb).await;
}

async fn run(backend: Backend) {
    let service = Service::with(backend, "[idempotency]\ncreate_table = true\n").await;
    let mut failures = Vec::new();
    for case in cases::on(backend) {
        let name = case.name.clone();
        let client = service.client.clone();
        // A panic fails its case alone.
        match tokio::spawn(async move { steps::run(&client, &case).await }).await {
            Ok(Ok(())) => {}
            Ok(Err(failure)) => failures.push(format!("{name}: {failure}")),
            Err(panic) => failures.push(format!("{name}: {panic}")),
        }
    }
    assert!(failures.is_empty(), "{} cases failed:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn the_files_follow_their_schema() {
    let schema = read(&LIST.join("schema.json"));
    let mut violations = Vec::new();
    for path in case_files() {
        for backend in cases::BACKENDS {
            let file = cases::file_on(&path, backend);
            let place = format!("{} on {backend}", path.display());
            violations
                .extend(schema::violations(&schema, &file).map(|one| format!("{place}{one}")));
        }
    }
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[test]
fn a_file_that_is_wrong_does_not_follow_the_schema() {
    let schema = read(&LIST.join("schema.json"));
    let file = |step: &str| -> Json {
        let text = format!(r#"{{"about": "", "cases": [{{"name": "a", "steps": [{step}]}}]}}"#);
        serde_json::from_str(&text).expect("JSON")
    };
    let is_wrong = |step: &str| schema::violations(&schema, &file(step)).next().is_some();
    assert!(!is_wrong(r#"{"do": "query", "sql": "select 1", "expect": {"rows": [[1]]}}"#));
    for wrong in [
        r#"{"do": "query"}"#,
        r#"{"do": "qeury", "sql": "select 1"}"#,
        r#"{"do": "query", "sql": "select 1", "expects": {}}"#,
        r#"{"do": "query", "sql": "select 1", "expect": {}}"#,
        r#"{"do": "query", "sql": "select 1", "expect": {"rows": [1]}}"#,
        r#"{"do": "query", "sql": "select 1", "expect": {"rows": [[1.5]]}}"#,
        r#"{"do": "query", "sql": "select 1", "expect": {"rows": [[{"integer": "1"}]]}}"#,
        r#"{"do": "query", "sql": "select 1", "expect": {"rows": [[{"numeric": "1e5"}]]}}"#,
        r#"{"do": "query", "sql": "select 1", "expect": {"error": {"reason": "READ_ONLY"}}}"#,
        r#"{"do": "query", "sql": "select 1", "options": {"timeout": 1}}"#,
    ] {
        assert!(is_wrong(wrong), "{wrong}");
    }
}

#[test]
fn the_cases_are_many_and_each_has_its_name() {
    let mut names = BTreeSet::new();
    for backend in [Backend::Sqlite, Backend::Postgres, Backend::Mariadb] {
        let of_backend: Vec<Case> = cases::on(backend);
        let unique: BTreeSet<_> = of_backend.iter().map(|case| case.name.clone()).collect();
        assert_eq!(unique.len(), of_backend.len(), "two cases of one name");
        names.extend(unique);
    }
    assert!(names.len() >= ENOUGH, "only {} cases", names.len());
}

/// Returns true for a name of PostgreSQL's own conditions, which its documentation lists, and for a number of MySQL's.
fn is_of_a_database(reason: &str) -> bool {
    let names = include_str!("../../../src/backend/postgres/error/sqlstate_names.txt");
    let mut known = names.split_whitespace();
    let is_number = |rest: &str| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit());
    known.any(|name| name == reason) || reason.strip_prefix("ERRNO_").is_some_and(is_number)
}

#[test]
fn every_reason_of_the_list_is_documented() {
    let page = include_str!("../../../docs/ERRORS.md");
    let unknown: BTreeSet<_> = [Backend::Sqlite, Backend::Postgres, Backend::Mariadb]
        .into_iter()
        .flat_map(cases::on)
        .flat_map(|case| case.steps)
        .filter_map(|step| step["expect"]["error"].get("reason").cloned())
        .flat_map(|reason| expect::one_or_more(&reason))
        .filter(|reason| !page.contains(&format!("`{reason}`")))
        .filter(|reason| !is_of_a_database(reason))
        .collect();
    assert_eq!(unknown, BTreeSet::new());
}
