//! Secrets, parameters, rows and literals are planted, and then looked for wherever the server tells something.

use rowgate::value::Value;
use rowgate::value::proto::{
    DescribeStatementRequest, QueryOptions, QueryRequest, StreamQueryRequest,
};
use tonic::metadata::MetadataValue;

use super::{Caller, Collector, sending_to};
use crate::harness::client::{Client, PATIENCE, request, with_deadline};
use crate::harness::http::get;
use crate::harness::postgres::Postgres;
use crate::harness::server::{Server, run};
use crate::harness::unit::{batch, statement};

/// The mark of every secret, value and literal; each has a number after it.
const CANARY: &str = "canary7f3a";

/// Of the role, which the URL spells with escapes.
const PASSWORD: &str = "canary7f3a-1 @pass";
const PARAMETER: &str = "canary7f3a-2";
const ROW: &str = "canary7f3a-3";
const NUMBER: i64 = 730_255_190_417;

/// Its message is its author's word to the caller, and to nobody else.
const RAISED: &str = "raised7f3a";
const RAISES: &str = "do $$ begin raise notice 'canary7f3a-18'; raise exception 'raised7f3a' \
    using detail = 'canary7f3a-19', hint = 'raised7f3a'; end $$";

/// The server under test and what it is asked with.
struct Planted {
    postgres: Postgres,
    server: Server,
    client: Client,
    collector: Collector,
    /// Each thing that must be nowhere.
    canaries: Vec<String>,
    /// The answers to callers.
    reported: Vec<String>,
}

impl Planted {
    async fn start() -> Self {
        let postgres = Postgres::start();
        postgres.psql(&format!("create role planted login superuser password '{PASSWORD}'"));
        let directory = tempfile::tempdir().expect("a directory can be made");
        let keygen = run(directory.path(), &["secret", "keygen"], &[]);
        let key = String::from_utf8(keygen.stdout).expect("text").trim().to_owned();
        let escaped = "canary7f3a-1%20%40pass";
        let url = postgres.url_as("planted", escaped);
        // The same by a token, whose clear text must be nowhere either.
        let token = encrypted(&key, &url);
        let collector = Collector::start();
        let collector_url = collector.url();
        let mut variables = sending_to(&collector_url);
        variables.push(("ROWGATE_SECRET_KEY", &key));
        variables.push(("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer canary7f3a-4"));
        variables.push(("OTEL_TRACES_SAMPLER", "always_on"));
        let settings = format!(
            "[databases.main]\nurl = \"{url}\"\n[databases.sealed]\nurl = \"{token}\"\n\
             [databases.lite]\nurl = \"sqlite:lite.db\"\n\
             [idempotency]\ncreate_table = true\n\
             [telemetry]\nlog_format = \"json\"\nlog_filter = \"trace\"\nslow_query = \"1ms\"\n"
        );
        let server = Server::start_with(&settings, &variables);
        let client = Client::connect(server.grpc()).await;
        let canaries = vec![CANARY.to_owned(), escaped.to_owned(), key, token, NUMBER.to_string()];
        Self { postgres, server, client, collector, canaries, reported: Vec::new() }
    }

    /// Runs a statement on a database, whether it succeeds or not; what was said is kept when it did not.
    async fn query(&mut self, database: &str, sql: &str, parameters: &[Value]) {
        let options = QueryOptions { tag: "harmless".to_owned(), ..QueryOptions::default() };
        let asked = QueryRequest {
            database: database.to_owned(),
            options: Some(options),
            ..request(sql, parameters)
        };
        let mut asked = Caller::new().traces(asked);
        let token = MetadataValue::from_static("Bearer canary7f3a-5");
        asked.metadata_mut().insert("authorization", token);
        asked.metadata_mut().insert("baggage", MetadataValue::from_static("user=canary7f3a-6"));
        if let Err(status) = self.client.raw().query(asked).await {
            self.keep(&status);
        }
    }

    fn keep(&mut self, status: &tonic::Status) {
        let details = String::from_utf8_lossy(status.details()).into_owned();
        self.reported.push(format!("{status:?} {details}"));
    }

    async fn streams_and_describes(&mut self, sql: &str) {
        let query = Some(request(sql, &[]));
        let asked = with_deadline(StreamQueryRequest { query }, PATIENCE);
        let mut client = self.client.raw();
        let mut parts = client.stream_query(asked).await.expect("it begins").into_inner();
        loop {
            match parts.message().await {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(status) => return self.keep(&status),
            }
        }
        let described = DescribeStatementRequest { sql: sql.to_owned(), ..Default::default() };
        if let Err(status) = self.client.raw().describe_statement(described).await {
            self.keep(&status);
        }
    }

    async fn batches(&mut self) {
        let parameter = [Value::text(PARAMETER)];
        let duplicate = "insert into kept (name) values ($1)";
        for key in ["", "a key"] {
            let mut request = batch(&["select 'canary7f3a-7'"]);
            request.statements.push(statement(duplicate, &parameter));
            request.statements.push(statement(duplicate, &parameter));
            let options = QueryOptions { idempotency_key: key.to_owned(), ..Default::default() };
            request.options = Some(options);
            let asked = with_deadline(request, PATIENCE);
            let status =
                self.client.raw().execute_batch(asked).await.expect_err("it is there twice");
            self.keep(&status);
        }
    }

    async fn transacts(&mut self) {
        let mut transaction = self.client.begin().await;
        for sql in ["select 'canary7f3a-8' || $1", "select $1::integer"] {
            if let Err(failure) = transaction.query(sql, &[Value::text(PARAMETER)]).await {
                self.reported.push(format!("{failure:?}"));
            }
        }
    }

    /// All that the server has told, by where.
    async fn everything(&self) -> Vec<(&'static str, String)> {
        let ops = self.server.ops();
        let checkouts = rowgate::value::proto::ListCheckoutsRequest::default();
        let pools = rowgate::value::proto::pool_service_client::PoolServiceClient::new(
            self.client.channel(),
        );
        let checkouts = pools.clone().list_checkouts(checkouts).await.expect("it is there");
        vec![
            ("log", self.server.log()),
            ("greeting", self.server.greeting().join("\n")),
            ("traces and metrics", self.collector.text()),
            ("/metrics", get(ops, "/metrics").await.body),
            ("/status", get(ops, "/status").await.body),
            ("/readyz", get(ops, "/readyz").await.body),
            ("errors", self.reported.join("\n")),
            ("checkouts", format!("{checkouts:?}")),
        ]
    }
}

/// A text encrypted by the command line.
fn encrypted(key: &str, text: &str) -> String {
    use std::io::Write as _;

    let directory = tempfile::tempdir().expect("a directory can be made");
    let mut command = crate::harness::server::rowgate(directory.path());
    command.args(["secret", "encrypt"]).env("ROWGATE_SECRET_KEY", key);
    command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut child = command.spawn().expect("the binary was built");
    let mut input = child.stdin.take().expect("the pipe was asked for");
    input.write_all(text.as_bytes()).expect("it reads");
    drop(input);
    let output = child.wait_with_output().expect("it ends");
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}

/// Statements that hold, return, refuse, raise or lose what was planted.
async fn ask(planted: &mut Planted) {
    let parameters = [Value::text(PARAMETER), Value::int64(NUMBER)];
    for database in ["main", "sealed", "lite"] {
        for sql in [
            "create table if not exists kept (name text unique, number bigint)",
            "insert into kept values ('canary7f3a-3', 730255190417)",
            "insert into kept values ('canary7f3a-3', 1)",
            "select name, number from kept",
            "select 'canary7f3a-9', * from kept where name <> 'canary7f3a-10'",
            "selec 'canary7f3a-11'",
            "select 'canary7f3a-12' from nowhere where 730255190417 = 1",
            "select 'canary7f3a-13'::integer",
            "select json('canary7f3a-14')",
            "select $tag$canary7f3a-15$tag$ +",
            "select 'canary7f3a-16",
            "select pg_sleep(0.01), 'canary7f3a-17'",
            RAISES,
        ] {
            planted.query(database, sql, &[]).await;
        }
        for sql in [
            "select $1::text, $2::bigint",
            "select $1, $2",
            "insert into kept values ($1, $2)",
            "insert into kept values ($1, $2)",
            "select $1::date, $2::bigint",
            "select $1",
        ] {
            planted.query(database, sql, &parameters).await;
        }
    }
    planted.streams_and_describes("select name, number, 'canary7f3a-22' from kept").await;
    planted.streams_and_describes("select name::integer from kept").await;
    planted.batches().await;
    planted.transacts().await;
    // Connections that are lost, and refused: they are opened with the password.
    planted.postgres.terminate_backends();
    planted.query("main", "select 1", &[]).await;
    planted.postgres.psql("alter role planted password 'canary7f3a-23'");
    planted.postgres.terminate_backends();
    planted.query("main", "select 'canary7f3a-24'", &[]).await;
}

#[tokio::test]
async fn nothing_that_was_planted_is_told_anywhere() {
    let mut planted = Planted::start().await;
    ask(&mut planted).await;
    assert!(planted.reported.len() > 20, "the errors are kept: {:?}", planted.reported);
    let last = Caller::new();
    let asked = QueryRequest { database: "lite".to_owned(), ..request("select 1", &[]) };
    planted.client.raw().query(last.traces(asked)).await.expect("it runs");
    last.trace(&planted.collector);
    for (place, text) in planted.everything().await {
        assert!(!text.is_empty(), "{place} is not read");
        let raised = (place != "errors").then(|| RAISED.to_owned());
        for canary in planted.canaries.iter().chain(&raised) {
            if let Some(at) = text.find(canary.as_str()) {
                let around = text.floor_char_boundary(at.saturating_sub(200))
                    ..text.floor_char_boundary(at + 200);
                panic!("{canary} in {place}: {}", &text[around]);
            }
        }
    }
    // They were where they should be.
    assert!(planted.postgres.psql("select name from kept").contains(ROW));
    let log = planted.server.log();
    assert!(log.contains("TRACE") && log.contains("slow statement"), "everything is asked for");
    assert!(planted.collector.text().contains("select name, number from kept"));
}
