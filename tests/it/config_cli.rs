//! The command line: configurations with mistakes, secrets that stay secret, exit statuses.

use std::fs;
use std::io::Write as _;
use std::process::{Output, Stdio};

use rowgate::app::App;
use rowgate::config;
use rowgate::telemetry::Telemetry;
use rowgate::value::proto::Value;
use tempfile::TempDir;

use crate::harness::client::Client;
use crate::harness::postgres::Postgres;
use crate::harness::server::{Server, rowgate, run};

fn directory() -> TempDir {
    tempfile::tempdir().expect("a directory can be made")
}

fn with_file(text: &str) -> TempDir {
    let directory = directory();
    fs::write(directory.path().join("rowgate.toml"), text).expect("it is ours");
    directory
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}

const FIVE_MISTAKES: &str = r#"
default_databse = "main"
[grpc]
listen = "nowhere"
workers = 0
[databases.main]
url = "postgres://me:s3cret@db/shop"
[databases.main.pool]
min = 50
max = 10
acquire_timeout = "soon"
"#;

#[test]
fn five_mistakes_are_five_problems_and_status_78() {
    let directory = with_file(FIVE_MISTAKES);
    for command in [&["serve"][..], &[], &["config", "show"], &["config", "check", "--no-connect"]]
    {
        let output = run(directory.path(), command, &[]);
        assert_eq!(output.status.code(), Some(78), "{command:?}");
        let reported = stderr(&output);
        assert!(reported.contains("5 problems"), "{reported}");
        for (key, help) in [
            ("default_databse", "default_database"),
            ("grpc.listen", "127.0.0.1:50051"),
            ("grpc.workers", "1"),
            ("databases.main.pool.min", "databases.main.pool.max"),
            ("databases.main.pool.acquire_timeout", "30s"),
        ] {
            let problem =
                reported.split("\n\n").find(|problem| problem.trim_start().starts_with(key));
            let problem = problem.unwrap_or_else(|| panic!("nothing of {key} in:\n{reported}"));
            assert!(problem.contains(help), "no `{help}` in: {problem}");
            assert!(problem.contains("rowgate.toml"), "not where it is: {problem}");
        }
        assert!(!reported.contains("s3cret"), "{reported}");
        assert!(stdout(&output).is_empty());
    }
}

#[test]
fn the_configuration_is_shown_with_origins_and_without_secrets() {
    let directory = with_file(
        "[databases.main]\nurl = \"postgres://me:first-s3cret@db/shop\"\n\
         [databases.other]\nurl = \"${file:url}\"\n[databases.third]\nurl = \"${env:THIRD}\"\n",
    );
    fs::write(directory.path().join("url"), "postgres://me:second-s3cret@db/a\n").expect("ours");
    let environment = [
        ("THIRD", "postgres://me:third-s3cret@db/b?sslmode=disable"),
        ("ROWGATE__DATABASES__MAIN__POOL__MAX", "7"),
        ("ROWGATE_SECRET_KEY", "Nx7qFVFN15Hrge_mGAf0JLPR-cdHe2IMOoDGevKUrIQ="),
    ];
    let output = run(directory.path(), &["config", "show"], &environment);
    assert!(output.status.success(), "{}", stderr(&output));
    let shown = stdout(&output) + &stderr(&output);
    assert!(!shown.contains("s3cret"), "{shown}");
    assert!(!shown.contains("Nx7q"), "{shown}");
    for (key, origin) in [
        ("databases.main.pool.max = 7", "ROWGATE__DATABASES__MAIN__POOL__MAX"),
        ("databases.main.url = ", "rowgate.toml"),
        ("databases.main.pool.min = ", "default"),
    ] {
        let line = shown.lines().find(|line| line.starts_with(key));
        assert!(line.is_some_and(|line| line.contains(origin)), "{key}, {origin} in:\n{shown}");
    }
}

#[test]
fn an_encrypted_secret_works_and_a_wrong_key_is_explained() {
    let directory = directory();
    let keygen = || stdout(&run(directory.path(), &["secret", "keygen"], &[])).trim().to_owned();
    let (right, wrong) = (keygen(), keygen());
    let mut command = rowgate(directory.path());
    command.args(["secret", "encrypt"]).env("ROWGATE_SECRET_KEY", &right);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it runs");
    let mut input = child.stdin.take().expect("the pipe was asked for");
    input.write_all(b"postgres://me:s3cret@db/shop").expect("it reads");
    drop(input);
    let token = stdout(&child.wait_with_output().expect("it ends")).trim().to_owned();
    assert!(token.starts_with("fernet:"), "{token}");
    fs::write(
        directory.path().join("rowgate.toml"),
        format!("[databases.main]\nurl = \"{token}\"\n"),
    )
    .expect("it is ours");

    let show =
        |keys: &str| run(directory.path(), &["config", "show"], &[("ROWGATE_SECRET_KEY", keys)]);
    for keys in [right.clone(), format!("{wrong},{right}")] {
        let output = show(&keys);
        assert!(stdout(&output).contains("@db/shop"), "{}", stderr(&output));
    }
    for (keys, reported) in [(wrong.as_str(), "ROWGATE_SECRET_KEY"), ("short", "44 characters")] {
        let output = show(keys);
        assert_eq!(output.status.code(), Some(78));
        let explained = stderr(&output);
        assert!(
            explained.contains("databases.main.url") && explained.contains(reported),
            "{explained}"
        );
        assert!(!explained.contains(keys), "the key itself is shown: {explained}");
    }
    let output = run(directory.path(), &["config", "show"], &[]);
    assert_eq!(output.status.code(), Some(78));
    assert!(stderr(&output).contains("ROWGATE_SECRET_KEY"), "{}", stderr(&output));
}

#[test]
fn the_example_is_a_configuration_and_is_the_file_in_the_repository() {
    let directory = directory();
    let example = stdout(&run(directory.path(), &["config", "example"], &[]));
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/rowgate.example.toml");
    assert_eq!(example, fs::read_to_string(file).expect("it is there"));
    let directory = with_file(&example);
    let output = run(directory.path(), &["config", "check", "--no-connect"], &[]);
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn the_snippet_of_the_readme_may_be_appended_to_the_example() {
    let example = stdout(&run(directory().path(), &["config", "example"], &[]));
    let directory = with_file(&format!(
        "{example}default_database = \"shop\"\n[databases.shop]\nurl = \"sqlite:shop.db\"\n\
         pool.max = 20\n[grpc]\nworkers = 2\n"
    ));
    let output = run(directory.path(), &["config", "show"], &[]);
    assert!(output.status.success(), "{}", stderr(&output));
    let shown = stdout(&output);
    for line in ["databases.shop.pool.max = 20", "grpc.workers = 2"] {
        assert!(shown.contains(line), "no {line} in {shown}");
    }
}

#[test]
fn the_schema_is_json_and_describes_the_keys() {
    let output = run(directory().path(), &["config", "schema"], &[]);
    let schema: serde_json::Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    let listen = &schema["properties"]["grpc"]["properties"]["listen"];
    assert_eq!(listen["default"], "127.0.0.1:50051");
    assert!(listen["description"].as_str().is_some_and(|text| text.contains("--insecure")));
}

#[test]
fn an_open_listener_needs_a_word() {
    let directory = directory();
    let open = ["serve", "--listen", "0.0.0.0:0", "--ops-listen", "127.0.0.1:0"];
    let output = run(directory.path(), &open, &[]);
    assert_eq!(output.status.code(), Some(78), "{}", stderr(&output));
    assert!(stderr(&output).contains("--insecure"), "{}", stderr(&output));
}

#[test]
fn a_port_that_is_taken_is_an_error_and_no_mystery() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let address = taken.local_addr().expect("it is bound").to_string();
    let serve = ["serve", "--listen", &address, "--ops-listen", "127.0.0.1:0"];
    let output = run(directory().path(), &serve, &[]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).contains(&address), "{}", stderr(&output));
}

#[test]
fn the_command_line_is_a_client() {
    let server = Server::start("");
    let address = format!("http://{}", server.grpc());
    let ask = |more: &[&str]| {
        let arguments = [&["query", "--address", &address], more].concat();
        run(server.directory(), &arguments, &[])
    };
    let output = ask(&["select $1 as word, 2 as number", "-p", "a,b", "--format", "csv"]);
    assert_eq!(stdout(&output), "word,number\n\"a,b\",2\n", "{}", stderr(&output));
    let output = ask(&["select 1 as one", "--format", "json"]);
    assert_eq!(stdout(&output), "{\"one\":1}\n", "{}", stderr(&output));
    let output = ask(&["select 1 as one"]);
    assert!(stdout(&output).contains("one"), "{}", stdout(&output));
    let output = ask(&["select * from nowhere"]);
    assert!(!output.status.success());
    assert!(stderr(&output).contains("nowhere"), "{}", stderr(&output));

    let health = |more: &[&str]| {
        let arguments = [&["health", "--address", &address], more].concat();
        run(server.directory(), &arguments, &[]).status.success()
    };
    assert!(health(&["--service", "liveness"]));
    assert!(!health(&["--service", "database.mian"]));
}

#[tokio::test]
async fn an_app_starts_in_a_process_of_somebody_else() {
    let directory = directory();
    let url = format!("sqlite:{}", directory.path().join("app.db").display());
    let pairs = [
        ("grpc.listen", "127.0.0.1:0"),
        ("ops.listen", "127.0.0.1:0"),
        ("databases.main.url", url.as_str()),
    ];
    let config = config::load_from(&pairs).expect("it is valid");
    let telemetry = Telemetry::without_logs(&config.telemetry).expect("nothing is sent");
    let app = App::start(config, &telemetry).expect("it starts");
    let client = Client::connect(app.grpc_address().tcp().expect("it has a port")).await;
    let result = client.must("select $1", &[Value::int64(7)]).await;
    assert_eq!(result.rows[0].values, [Value::int64(7)]);
    let live = crate::harness::http::get(app.ops_address(), "/livez").await;
    assert_eq!(live.status, 200);
    drop(client);
    let ended = tokio::task::spawn_blocking(|| app.shutdown());
    tokio::time::timeout(std::time::Duration::from_secs(10), ended)
        .await
        .expect("it ends within the grace")
        .expect("it does not panic");
}

#[test]
fn a_check_creates_nothing() {
    let directory = directory();
    for url in ["", "sqlite:other.db", "sqlite:missing/other.db"] {
        let variables: &[_] =
            if url.is_empty() { &[] } else { &[("ROWGATE__DATABASES__MAIN__URL", url)] };
        let checked = run(directory.path(), &["config", "check"], variables);
        let is_possible = url != "sqlite:missing/other.db";
        assert_eq!(checked.status.success(), is_possible, "{checked:?}");
        let expected = if is_possible {
            "db does not exist; the server creates it"
        } else {
            "cannot be created: missing: No such file"
        };
        assert!(stdout(&checked).contains(expected), "{checked:?}");
        assert_eq!(fs::read_dir(directory.path()).expect("it is there").count(), 0, "{url}");
    }
}

#[test]
fn a_wrong_port_is_called_what_it_is() {
    let server = Server::start("");
    let postgres = Postgres::start();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let unused = free.local_addr().expect("it is bound").to_string();
    drop(free);
    for (address, what) in [
        (server.ops().to_string(), "not Rowgate's gRPC but Rowgate's port for operators"),
        (format!("127.0.0.1:{}", postgres.port()), "not Rowgate's gRPC but PostgreSQL"),
        (unused, "nothing listens there"),
    ] {
        for command in [&["query", "select 1"][..], &["health"], &["pool", "stats"]] {
            let output =
                run(server.directory(), &[command, &["--address", &address]].concat(), &[]);
            assert_eq!(output.status.code(), Some(1));
            assert!(stderr(&output).contains(what), "{}", stderr(&output));
            assert!(!stderr(&output).contains("broken pipe"), "{}", stderr(&output));
            assert!(!stderr(&output).contains("UNKNOWN"), "nothing was run: {}", stderr(&output));
        }
    }
    let address = silent.local_addr().expect("it is bound").to_string();
    let health = ["health", "--timeout", "300ms", "--address", &address];
    let output = run(server.directory(), &health, &[]);
    assert!(stderr(&output).contains("did not answer within 300ms"), "{}", stderr(&output));
}

#[test]
fn a_query_without_a_statement_is_wrong_usage() {
    let directory = directory();
    for arguments in [&["query"][..], &["query", ""], &["query", "select 1", "--key", ""]] {
        let output = rowgate(directory.path()).args(arguments).stdin(Stdio::null()).output();
        let output = output.expect("it runs");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", stderr(&output));
    }
}

#[test]
fn secrets_are_encrypted_again_with_the_first_key() {
    let directory = directory();
    let keygen = || stdout(&run(directory.path(), &["secret", "keygen"], &[])).trim().to_owned();
    let (old, new) = (keygen(), keygen());
    let ask = |arguments: &[&str], keys: &str, input: &str| {
        let mut command = rowgate(directory.path());
        command.args(arguments).env("ROWGATE_SECRET_KEY", keys).stdin(Stdio::piped());
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
        let mut pipe = child.stdin.take().expect("the pipe was asked for");
        pipe.write_all(input.as_bytes()).expect("it reads");
        drop(pipe);
        child.wait_with_output().expect("it ends")
    };
    let token = stdout(&ask(&["secret", "encrypt"], &old, "postgres://me:s3cret@db/shop"));
    let file = directory.path().join("rowgate.toml");
    let text = format!("# mine\n[databases.main]\nurl = \"{}\"\n", token.trim());
    fs::write(&file, &text).expect("it is ours");
    let both = format!("{new},{old}");
    let reencrypt = ["secret", "reencrypt", "rowgate.toml"];

    let refused = ask(&reencrypt, &new, "");
    assert_eq!(refused.status.code(), Some(78), "{refused:?}");
    assert!(stderr(&refused).contains("rowgate.toml: line 3: the key does not fit"), "{refused:?}");
    assert_eq!(fs::read_to_string(&file).expect("it is there"), text);
    let done = ask(&reencrypt, &both, "");
    assert_eq!(stdout(&done), "rowgate.toml: 1 value encrypted with the first key\n", "{done:?}");
    let shown = run(directory.path(), &["config", "show"], &[("ROWGATE_SECRET_KEY", &new)]);
    assert!(stdout(&shown).contains("@db/shop"), "the old key is not needed: {shown:?}");
    assert!(
        fs::read_to_string(&file).expect("it is there").starts_with("# mine\n[databases.main]")
    );
    assert_eq!(fs::read_dir(directory.path()).expect("it is there").count(), 1);

    let value = stdout(&ask(&["secret", "reencrypt"], &both, &token));
    assert!(value.starts_with("fernet:gAAAA") && value.ends_with('\n') && value != token);
    let nothing = ask(&["secret", "reencrypt"], &both, "s3cret");
    assert_eq!((nothing.status.code(), stdout(&nothing).as_str()), (Some(1), ""), "{nothing:?}");
}

#[test]
fn a_check_leaves_one_file() {
    let directory = tempfile::tempdir().expect("a directory");
    fs::write(directory.path().join("test.db"), "").expect("it is ours");
    for _ in 0..5 {
        let checked = run(
            directory.path(),
            &["config", "check"],
            &[("ROWGATE__DATABASES__MAIN__URL", "sqlite:test.db")],
        );
        assert!(checked.status.success(), "{checked:?}");
        let mut files: Vec<_> = std::fs::read_dir(directory.path())
            .expect("it is there")
            .map(|file| file.expect("it is there").file_name())
            .collect();
        files.retain(|name| name.to_string_lossy().starts_with("test.db"));
        assert_eq!(files, ["test.db"]);
    }
}
