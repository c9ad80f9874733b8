//! `rowgate copy`: files into tables, and tables into files.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use rowgate::value::proto::Value;

use crate::harness::client::PATIENCE;
use crate::harness::process::send;
use crate::harness::server::{binary, rowgate, run};
use crate::harness::wait::eventually;
use crate::harness::{Backend, Service};

const CSV: &str = "id,name\n1,a\n2,\n3,\"say \"\"hi\"\"\"\n";

async fn service(backend: Backend) -> Service {
    let service = Service::start(backend).await;
    service.client.must("create table t (id integer primary key, name varchar(100))", &[]).await;
    service
}

fn copy(service: &Service, arguments: &[&str]) -> Output {
    let address = format!("http://{}", service.server.grpc());
    let arguments = [&["copy", "--address", &address], arguments].concat();
    run(service.server.directory(), &arguments, &[])
}

#[track_caller]
fn says(output: &Output, status: i32, words: &[&str]) {
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{err}");
    for word in words {
        assert!(err.contains(word), "{word} is not in {err}");
    }
}

async fn count(service: &Service) -> Value {
    service.client.must("select count(*) from t", &[]).await.rows[0].values[0].clone()
}

async fn a_file_goes_in_and_comes_out(backend: Backend) {
    let service = service(backend).await;
    let directory = service.server.directory().to_owned();
    fs::write(directory.join("t.csv"), CSV).expect("it is ours");
    says(&copy(&service, &["t", "--from", "t.csv", "--header"]), 0, &["3 rows copied in"]);
    says(&copy(&service, &["t", "--to", "u.csv", "--header"]), 0, &["3 rows copied in"]);
    assert_eq!(fs::read_to_string(directory.join("u.csv")).expect("it is whole"), CSV);
    let out = copy(&service, &["t", "--columns", "name,id", "--format", "text", "--to", "-"]);
    says(&out, 0, &["3 rows copied in"]);
    assert_eq!(String::from_utf8_lossy(&out.stdout), "a\t1\n\\N\t2\nsay \"hi\"\t3\n");
    let query = "select id from t where id > 1 order by id";
    let out = copy(&service, &["--query", query, "--to", "-"]);
    assert_eq!(String::from_utf8_lossy(&out.stdout), "2\n3\n");
}

#[tokio::test]
async fn a_file_goes_in_and_comes_out_of_sqlite() {
    a_file_goes_in_and_comes_out(Backend::Sqlite).await;
}

#[tokio::test]
async fn a_file_goes_in_and_comes_out_of_postgresql() {
    a_file_goes_in_and_comes_out(Backend::Postgres).await;
}

#[tokio::test]
async fn a_file_goes_in_and_comes_out_of_mariadb() {
    a_file_goes_in_and_comes_out(Backend::Mariadb).await;
}

#[tokio::test]
async fn an_arrow_file_goes_out_and_comes_in_again() {
    let service = service(Backend::Postgres).await;
    let directory = service.server.directory().to_owned();
    fs::write(directory.join("t.csv"), CSV).expect("it is ours");
    says(&copy(&service, &["t", "--from", "t.csv", "--header"]), 0, &["3 rows"]);
    let arrow = ["--format", "arrow"];
    says(&copy(&service, &[&["t", "--to", "t.arrows"], &arrow[..]].concat()), 0, &["3 rows"]);
    service.client.must("delete from t", &[]).await;
    says(&copy(&service, &[&["t", "--from", "t.arrows"], &arrow[..]].concat()), 0, &["3 rows"]);
    says(&copy(&service, &["t", "--to", "u.csv", "--header"]), 0, &["3 rows"]);
    assert_eq!(fs::read_to_string(directory.join("u.csv")).expect("it is whole"), CSV);
    let whole = fs::read(directory.join("t.arrows")).expect("it is there");
    fs::write(directory.join("cut.arrows"), &whole[..whole.len() - 8]).expect("it is ours");
    let cut = [&["t", "--from", "cut.arrows"], &arrow[..]].concat();
    says(&copy(&service, &cut), 1, &["it has no end", "BAD_COPY_FILE_FORMAT"]);
    let header = [&["t", "--from", "t.arrows", "--header"], &arrow[..]].concat();
    says(&copy(&service, &header), 2, &["--header, --delimiter and --null"]);
}

#[tokio::test]
async fn standard_input_is_loaded_once_under_a_key() {
    let service = service(Backend::Sqlite).await;
    let address = format!("http://{}", service.server.grpc());
    for how in ["3 rows copied in", "3 rows were copied by an earlier call with this key"] {
        let mut command = rowgate(service.server.directory());
        command.args(["copy", "--address", &address, "t", "--from", "-", "--header", "--key", "k"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut running = command.spawn().expect("it starts");
        running.stdin.take().expect("a pipe").write_all(CSV.as_bytes()).expect("it reads");
        says(&running.wait_with_output().expect("it ends"), 0, &[how]);
    }
    assert_eq!(count(&service).await, Value::int64(3));
}

#[tokio::test]
async fn a_bad_row_is_named_and_nothing_is_loaded() {
    let service = service(Backend::Postgres).await;
    fs::write(service.server.directory().join("t.csv"), "1,a\n2,b\nx,c\n").expect("it is ours");
    let output = copy(&service, &["t", "--from", "t.csv"]);
    says(&output, 1, &["line 3, column \"id\"", "INVALID_TEXT_REPRESENTATION"]);
    assert_eq!(count(&service).await, Value::int64(0));
    says(&copy(&service, &["t", "--from", "none.csv"]), 1, &["none.csv cannot be read"]);
    says(&copy(&service, &["t"]), 2, &["--from"]);
}

#[tokio::test]
async fn what_fails_leaves_the_file_of_before() {
    let service = service(Backend::Postgres).await;
    let directory = service.server.directory().to_owned();
    fs::write(directory.join("t.csv"), "before").expect("it is ours");
    let query = "select 1 / (9000 - n), repeat('x', 100) from generate_series(1, 10000) as n";
    let failing = ["--query", query, "--to", "t.csv", "--force"];
    says(&copy(&service, &failing), 1, &["division by zero"]);
    says(&copy(&service, &["none", "--to", "t.csv", "--force"]), 1, &["none"]);
    assert_eq!(fs::read_to_string(directory.join("t.csv")).expect("it is there"), "before");
    assert_eq!(copies(&directory), ["t.csv"]);
}

/// The names of files that begin as the copy's.
fn copies(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("the directory is there").flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| name.starts_with("t.csv")).collect()
}

#[tokio::test]
async fn a_limit_on_the_size_of_files_leaves_no_part_of_one() {
    let service = service(Backend::Sqlite).await;
    let directory = service.server.directory().to_owned();
    let address = format!("http://{}", service.server.grpc());
    let script = "ulimit -f 64; exec \"$0\" \"$@\"";
    let query = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 9000) \
        select hex(zeroblob(50)) from n";
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(binary()).args(["copy", "--address", &address]);
    command.args(["--query", query, "--to", "t.csv"]).current_dir(&directory).stdin(Stdio::null());
    let output = command.output().expect("the shell runs");
    says(&output, 1, &["t.csv cannot be written", "File too large"]);
    assert_eq!(copies(&directory), [""; 0]);
}

#[tokio::test]
async fn an_existing_file_is_replaced_with_force_alone() {
    let service = service(Backend::Sqlite).await;
    let directory = service.server.directory().to_owned();
    // Meant for --from.
    fs::write(directory.join("t.csv"), CSV).expect("it is ours");
    says(&copy(&service, &["t", "--to", "t.csv"]), 1, &["t.csv exists already", "--force"]);
    assert_eq!(fs::read_to_string(directory.join("t.csv")).expect("it is there"), CSV);
    says(&copy(&service, &["t", "--to", "t.csv", "--force"]), 0, &["0 rows copied"]);
    assert_eq!(fs::read_to_string(directory.join("t.csv")).expect("it is there"), "");
    says(&copy(&service, &["t", "--to", "."]), 1, &[". is a directory"]);
    assert_eq!(copies(&directory), ["t.csv"]);
}

#[tokio::test]
async fn a_signal_leaves_no_part_of_a_file() {
    let service = service(Backend::Postgres).await;
    let directory = service.server.directory().to_owned();
    let address = format!("http://{}", service.server.grpc());
    let query = "select repeat('x', 1000), pg_sleep(0.001) from generate_series(1, 1000000)";
    for name in ["INT", "TERM"] {
        let mut command = rowgate(&directory);
        command.args(["copy", "--address", &address, "--query", query, "--to", "t.csv"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let running = command.spawn().expect("it starts");
        eventually("it has begun", PATIENCE, || (!copies(&directory).is_empty()).then_some(()));
        assert!(send(name, &running.id().to_string()), "it has ended already");
        let ended = running.wait_with_output().expect("it ends");
        says(&ended, 1, &["error: interrupted by a signal"]);
        assert_eq!(copies(&directory), [""; 0]);
    }
}

#[tokio::test]
async fn a_header_is_read_and_a_failure_tells_its_outcome() {
    let service = service(Backend::Sqlite).await;
    let directory = service.server.directory().to_owned();
    fs::write(directory.join("t.csv"), "name,id\n7,1\n").expect("it is ours");
    let from = ["t", "--from", "t.csv", "--header"];
    says(&copy(&service, &from), 0, &["1 row copied in"]);
    let rows = service.client.must("select id, name from t", &[]).await.rows;
    assert_eq!(rows[0].values, [Value::int64(1), Value::text("7")]);
    service.client.must("delete from t", &[]).await;
    let outcome = "outcome: NOT_APPLIED, nothing was changed";
    for (columns, why) in [
        ("id, name", "line 1: column 1 of the header is \"name\", and columns has \"id\""),
        ("id,id", "\"id\" is named twice"),
    ] {
        let refused = copy(&service, &[&from[..], &["--columns", columns]].concat());
        says(&refused, 1, &[why, outcome]);
        assert!(String::from_utf8_lossy(&refused.stderr).trim_end().ends_with(outcome));
    }
    says(&copy(&service, &[&from[..], &["--columns", "name, id"]].concat()), 0, &["1 row"]);
    assert_eq!(count(&service).await, Value::int64(1));
}
