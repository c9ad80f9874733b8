//! docs/METRICS.md has what the program has, and the other way round.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rowgate::telemetry::metrics::{RECORDED, described};

use super::scrape::Scrape;
use super::{Caller, ending_after};
use crate::access::Guarded;
use crate::harness::Backend;

/// A row of the table of metrics.
#[derive(Debug)]
struct Row {
    otlp: String,
    kind: String,
    unit: String,
    labels: BTreeSet<String>,
}

fn page() -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/METRICS.md");
    std::fs::read_to_string(path).expect("there is the page")
}

/// Returns the texts between backquotes.
fn quoted(cell: &str) -> BTreeSet<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The tables under a heading: the cells of each row, the heads left out.
fn rows(heading: &str) -> Vec<Vec<String>> {
    let page = page();
    let (_, section) = page.split_once(&format!("\n## {heading}\n")).expect("there is the section");
    let section = section.split("\n## ").next().expect("it has a beginning");
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let cells =
        |row: &str| row.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect();
    rows.map(cells).collect()
}

/// The rows of metrics, by their name at `/metrics`.
fn metrics() -> BTreeMap<String, Row> {
    let one = |cell: &str| quoted(cell).into_iter().next().unwrap_or_default();
    let row = |cells: Vec<String>| {
        assert_eq!(cells.len(), 6, "{cells:?}");
        assert!(!cells[5].is_empty(), "what it is for: {cells:?}");
        let [otlp, unit] = [&cells[1], &cells[3]].map(|cell| one(cell));
        let kind = cells[2].split(',').next().unwrap_or_default().to_owned();
        (one(&cells[0]), Row { otlp, kind, unit, labels: quoted(&cells[4]) })
    };
    let rows: Vec<_> = rows("Metrics").into_iter().map(row).collect();
    let count = rows.len();
    let metrics: BTreeMap<_, _> = rows.into_iter().collect();
    assert_eq!(metrics.len(), count, "a row twice");
    metrics
}

#[test]
fn every_metric_has_its_row_and_every_row_its_metric() {
    let known = RECORDED.into_iter().chain(described());
    let known: BTreeSet<_> =
        known.map(|metric| (metric.name.to_owned(), metric.unit.to_owned())).collect();
    let written = metrics().into_values().map(|row| (row.otlp, row.unit)).collect();
    assert_eq!(known, written);
}

/// A service of which every metric has a value: something was opened, waited for, slow, stopped, refused, and failed.
async fn exercised() -> Guarded {
    let settings = "[telemetry]\nslow_query = \"1ms\"\n";
    let shop = ("shop", "databases = ['main']\nread_only = false\nrpcs = ['Query']");
    let guarded = Guarded::with(Backend::Postgres, settings, &[shop]).await;
    guarded.service.client.must_fail("select 1", &[]).await;
    let client = guarded.client("shop");
    client.must("select pg_sleep(0.01)", &[]).await;
    client.must_fail("select 1 / (select 0)", &[]).await;
    let late = ending_after("select pg_sleep(60)", Duration::from_millis(100));
    client.run(late).await.expect_err("its time is short");
    guarded
}

#[tokio::test]
async fn what_is_scraped_is_as_it_is_written() {
    let guarded = exercised().await;
    let service = &guarded.service;
    let all = |scrape: &Scrape| {
        scrape.types.contains_key("db_client_connection_use_time_seconds")
            && scrape.types.contains_key("rowgate_cancellations_total")
    };
    let scrape = Scrape::until(service, "all have a value", all).await;
    let rows = metrics();
    let written: BTreeSet<_> = rows.keys().map(String::as_str).collect();
    let scraped: BTreeSet<_> = scrape.types.keys().map(String::as_str).collect();
    assert_eq!(
        scraped.into_iter().filter(|name| *name != "target_info").collect::<BTreeSet<_>>(),
        written
    );
    for (name, row) in &rows {
        assert_eq!(scrape.types[name], row.kind, "{name}");
        let labels: BTreeSet<_> = row.labels.iter().map(String::as_str).collect();
        assert_eq!(scrape.labels_of(name), labels, "{name}");
    }
}

#[test]
fn the_values_of_labels_are_written() {
    let rows = rows("Labels");
    let label = |name: &str| {
        let row = rows.iter().find(|cells| quoted(&cells[0]).contains(name));
        quoted(&row.unwrap_or_else(|| panic!("no row of {name}"))[2])
    };
    let of_metrics: BTreeSet<_> = metrics().into_values().flat_map(|row| row.labels).collect();
    let written: BTreeSet<_> = rows.iter().flat_map(|cells| quoted(&cells[0])).collect();
    assert_eq!(of_metrics, written);
    for (name, expected) in [
        ("rowgate_cause", &["abandoned", "caller", "deadline", "operator", "shutdown"][..]),
        ("rowgate_outcome", &["APPLIED", "NOT_APPLIED", "UNKNOWN"]),
        ("rowgate_state", &["closed", "open"]),
        ("db_client_connection_state", &["idle", "used"]),
        ("db_system_name", &["mariadb", "mysql", "postgresql", "sqlite"]),
    ] {
        let expected: BTreeSet<_> = expected.iter().map(|value| (*value).to_owned()).collect();
        assert_eq!(label(name), expected, "{name}");
    }
}

#[tokio::test]
async fn the_attributes_of_spans_are_as_they_are_written() {
    let rows: BTreeMap<String, BTreeSet<String>> = rows("Spans")
        .into_iter()
        .map(|cells| (cells[0].trim_matches('`').to_owned(), quoted(&cells[2])))
        .collect();
    let super::Watched { service, collector } = super::Watched::start(Backend::Postgres).await;
    service.postgres().psql(
        "create sequence tries;
         create function twice() returns int language plpgsql as $$ begin
           if nextval('tries') < 2 then raise exception 'no' using errcode = '40001'; end if;
           return 1 / (select 0);
         end $$",
    );
    let caller = Caller::new();
    let asked = caller.traces(crate::harness::unit::batch(&["select twice()", "select 2"]));
    service.client.raw().execute_batch(asked).await.expect_err("the second fails otherwise");
    let trace = caller.trace(&collector);
    for (span, row) in [
        (trace.server(), "METHOD"),
        (trace.one("acquire"), "acquire"),
        (trace.one("BATCH main"), "OPERATION DATABASE"),
        (trace.one("retry"), "retry"),
    ] {
        let written = rows.get(row).unwrap_or_else(|| panic!("no row of {row}: {rows:?}"));
        let own: BTreeSet<_> = span.attributes.iter().map(|own| own.key.clone()).collect();
        assert!(own.is_subset(written), "{row}: {own:?}");
        let seldom = ["rpc.method_original"].map(str::to_owned);
        let others: Vec<_> = written.difference(&own).filter(|key| !seldom.contains(key)).collect();
        // One that succeeded has no failure.
        assert!(row == "acquire" || others.is_empty(), "{row} has no {others:?}");
    }
}
