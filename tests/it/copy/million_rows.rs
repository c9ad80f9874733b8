//! A million rows of four columns: their speed beside `psql \copy`, the memory, and a bad row near the end.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rowgate::value::proto::Value;

use crate::harness::postgres::Postgres;
use crate::harness::programs::tool;
use crate::harness::server::run;
use crate::harness::{Backend, Service};

const ROWS: usize = 1_000_000;

/// The largest growth of the server.
const GROWTH: u64 = 16 << 20;

/// The rounds, of which the fastest counts on either side.
const ROUNDS: usize = 3;

const TABLE: &str = "create table t (a bigint, b double precision, c varchar(40), d timestamp)";

/// A file of a million rows, of which one may be bad.
fn file(directory: &Path, bad: Option<usize>) -> PathBuf {
    let name = directory.join("million.csv");
    let row = |line: usize| {
        let a = if bad == Some(line) { "bad".to_owned() } else { line.to_string() };
        let (b, minute) = (line * 7 % 1000, line % 60);
        format!("{a},{b}.25,the text of row {line},2026-01-01 00:{minute:02}:00\n")
    };
    fs::write(&name, (1..=ROWS).map(row).collect::<String>()).expect("the directory is ours");
    name
}

/// Runs `rowgate copy`; returns its time and what it said.
fn copy(service: &Service, arguments: &[&str]) -> (Duration, String) {
    let address = format!("http://{}", service.server.grpc());
    let arguments = [&["copy", "--address", &address, "t"], arguments].concat();
    let began = Instant::now();
    let output = run(service.server.directory(), &arguments, &[]);
    (began.elapsed(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Runs `\copy` of psql; returns its time.
fn psql(postgres: &Postgres, command: &str) -> Duration {
    let began = Instant::now();
    let mut psql = Command::new(tool("psql"));
    let output = psql.arg(postgres.url()).args(["-qc", command]).output().expect("psql runs");
    assert!(output.status.success(), "{output:?}");
    began.elapsed()
}

fn ratio(theirs: Duration, ours: Duration) -> f64 {
    theirs.as_secs_f64() / ours.as_secs_f64()
}

#[tokio::test]
#[ignore = "measures, in a release: scripts/measure runs it"]
async fn a_million_rows_are_copied_as_fast_as_psql_does() {
    let service = Service::start(Backend::Postgres).await;
    service.client.must(TABLE, &[]).await;
    let directory = service.server.directory().to_owned();
    let name = file(&directory, None);
    let name = name.to_str().expect("it is text");
    let out = directory.join("out.csv");
    let out = out.to_str().expect("it is text");
    let fastest = |times: &[Duration]| times.iter().min().copied().expect("there are rounds");
    let [mut ours_in, mut psql_in, mut ours_out, mut psql_out] = [const { Vec::new() }; 4];
    // The first call grows the process once.
    copy(&service, &["--to", out, "--force"]);
    let before = service.server.resident();
    for _ in 0..ROUNDS {
        let postgres = service.postgres();
        postgres.psql("truncate t");
        psql_in.push(psql(postgres, &format!("\\copy t from '{name}' csv")));
        psql_out.push(psql(postgres, &format!("\\copy t to '{out}.psql' csv")));
        postgres.psql("truncate t");
        let (took, said) = copy(&service, &["--from", name]);
        assert!(said.contains("1000000 rows copied"), "{said}");
        ours_in.push(took);
        let (took, said) = copy(&service, &["--to", out, "--force"]);
        assert!(said.contains("1000000 rows copied"), "{said}");
        ours_out.push(took);
        assert!(
            fs::read(out).expect("it is there") == fs::read(format!("{out}.psql")).expect("too")
        );
    }
    let growth = service.server.peak().saturating_sub(before);
    let [into, from] = [
        ratio(fastest(&psql_in), fastest(&ours_in)),
        ratio(fastest(&psql_out), fastest(&ours_out)),
    ];
    println!("in: psql {psql_in:?}, rowgate {ours_in:?}, x {into:.2}");
    println!("out: psql {psql_out:?}, rowgate {ours_out:?}, x {from:.2}");
    println!("the server grew by {} KiB", growth >> 10);
    assert!(into >= 0.8 && from >= 0.8, "{into:.2} and {from:.2} of psql's speed");
    assert!(growth < GROWTH, "it grew by {} KiB", growth >> 10);
}

/// Copies a million rows in and out; returns the growth of the server.
async fn in_and_out(service: &Service) -> u64 {
    service.client.must(TABLE, &[]).await;
    let directory = service.server.directory().to_owned();
    let name = file(&directory, None);
    copy(service, &["--to", "none.csv"]);
    let before = service.server.resident();
    let (took, said) = copy(service, &["--from", name.to_str().expect("it is text")]);
    println!("in after {took:?}: {said}");
    assert!(said.contains("1000000 rows copied"), "{said}");
    let (took, said) = copy(service, &["--to", "out.csv"]);
    println!("out after {took:?}: {said}");
    assert!(said.contains("1000000 rows copied"), "{said}");
    service.server.peak().saturating_sub(before)
}

#[tokio::test]
#[ignore = "measures, in a release: scripts/measure runs it"]
async fn a_million_rows_go_into_sqlite_and_mariadb() {
    for backend in [Backend::Sqlite, Backend::Mariadb] {
        let service = Service::start(backend).await;
        let growth = in_and_out(&service).await;
        println!("{backend:?}: the server grew by {} KiB", growth >> 10);
    }
}

#[tokio::test]
#[ignore = "measures, in a release: scripts/measure runs it"]
async fn a_million_rows_go_out_and_in_as_arrow() {
    for backend in [Backend::Postgres, Backend::Sqlite, Backend::Mariadb] {
        let service = Service::start(backend).await;
        service.client.must(TABLE, &[]).await;
        let name = file(service.server.directory(), None);
        copy(&service, &["--from", name.to_str().expect("it is text")]);
        let arrow = |direction| [direction, "million.arrows", "--format", "arrow"];
        let (took, said) = copy(&service, &arrow("--to"));
        println!("{backend:?}: out after {took:?}: {said}");
        service.client.must("delete from t", &[]).await;
        let before = service.server.resident();
        let (took, said) = copy(&service, &arrow("--from"));
        println!("{backend:?}: in after {took:?}: {said}");
        assert!(said.contains("1000000 rows copied"), "{said}");
        let growth = service.server.peak().saturating_sub(before);
        println!("{backend:?}: the server grew by {} KiB", growth >> 10);
        assert!(growth < GROWTH, "it grew by {} KiB", growth >> 10);
    }
}

#[tokio::test]
#[ignore = "measures, in a release: scripts/measure runs it"]
async fn a_bad_row_behind_900_000_leaves_nothing() {
    let service = Service::start(Backend::Postgres).await;
    service.client.must(TABLE, &[]).await;
    let name = file(service.server.directory(), Some(900_000));
    let (took, said) = copy(&service, &["--from", name.to_str().expect("it is text")]);
    println!("failed after {took:?}: {said}");
    assert!(said.contains("line 900000, column \"a\""), "{said}");
    let left = service.client.must("select count(*) from t", &[]).await;
    assert_eq!(left.rows[0].values, [Value::int64(0)]);
}
