//! Servers that lack what the gateway itself asks for: look-alikes of PostgreSQL, and roles that may not ask.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use rowgate::value::Kind;
use rowgate::value::proto::server_service_client::ServerServiceClient;
use rowgate::value::proto::transact_request::Command;
use rowgate::value::proto::{
    Begin, DatabaseInfo, ExecuteBatchRequest, GetServerInfoRequest, Value,
};
use tonic::Code;

use crate::harness::behind::KEYS;
use crate::harness::client::{Client, Failure, PATIENCE, read_only, request, request_with};
use crate::harness::postgres::Postgres;
use crate::harness::rewriting::{Rewrite, Rewriting, UNKNOWN};
use crate::harness::server::Server;
use crate::harness::unit::{batch, keyed, statement};
use crate::own_statements::{sources, statements};

/// The mark of a caller's statement.
const OURS: &str = "/* caller */";

/// Statements without which nothing can be kept: calls that need them may fail where a server lacks them.
const ESSENTIAL: [&str; 4] = ["BEGIN", "COMMIT", "ROLLBACK", "SET "];

/// Texts of ours that the calls here do not bring about: what is asked of an old server, of one that cannot answer
/// for all settings, of a commit in doubt, of changed roles and custom settings, and what makes or sweeps the table of keys.
const NOT_PROVOKED: [&str; 11] = [
    "pg_catalog.split_part",
    "pg_is_in_recovery",
    "pg_xact_status",
    "set_config",
    "pg_advisory_xact_lock",
    "pg_try_advisory_lock",
    "CREATE TABLE IF NOT EXISTS",
    "delete from",
    "with expired",
    "pg_catalog.now()",
    "where caller",
];

/// The text with single blanks.
fn plain(sql: &str) -> String {
    sql.split_whitespace().collect::<Vec<_>>().join(" ")
}

async fn start(postgres: &Postgres, rewrite: Rewrite) -> (Rewriting, Server, Client) {
    let proxy = Rewriting::start(postgres, rewrite).await;
    let server = Server::start(&format!(
        "[databases.main]\nurl = \"{}\"\nsession_statements = \"allow\"\npool.max = 2\n",
        proxy.url(postgres)
    ));
    let client = Client::connect(server.grpc()).await;
    (proxy, server, client)
}

async fn info(client: &Client) -> DatabaseInfo {
    let mut service = ServerServiceClient::new(client.channel());
    let info = service.get_server_info(GetServerInfoRequest {}).await.expect("it answers");
    info.into_inner().databases.remove(0)
}

/// The account of the calls on a look-alike.
#[derive(Default)]
struct Account {
    /// The rows that were told to be stored.
    stored: usize,
    failures: Vec<Failure>,
}

impl Account {
    /// Counts the rows that a call has stored, or its failure.
    fn add<T>(&mut self, rows: usize, result: Result<T, Failure>) -> Option<T> {
        match result {
            Ok(value) => {
                self.stored += rows;
                Some(value)
            }
            Err(failure) => {
                self.failures.push(failure);
                None
            }
        }
    }
}

/// Makes calls of every kind.
async fn use_it(client: &Client) -> Account {
    let mut account = Account::default();
    let insert = format!("insert into t (v) values ('x') returning v {OURS}");
    let select = format!("select v from t where id = $1 {OURS}");
    for _ in 0..2 {
        account.add(1, client.query(&insert, &[]).await);
        let found = account.add(0, client.query(&select, &[Value::int64(-1)]).await);
        if let Some(found) = found {
            assert_eq!(found.rows[0].values, [Value::text("first")]);
        }
        let both = ExecuteBatchRequest {
            statements: vec![statement(&insert, &[]), statement(&select, &[Value::int64(-1)])],
            ..ExecuteBatchRequest::default()
        };
        account.add(1, client.batch(both.clone()).await);
        account.add(0, client.batch(ExecuteBatchRequest { dry_run: true, ..both }).await);
        let mut reading = request(&select, &[Value::int64(-1)]);
        reading.options = Some(read_only());
        account.add(0, client.run(reading.clone()).await);
        account.add(0, client.stream(reading).await);
        account.add(0, client.query(&format!("select nextval('t_id_seq') {OURS}"), &[]).await);
    }
    let mut transaction = client.transact().await;
    transaction.send(Command::Begin(Begin::default())).await;
    if account.add(0, transaction.reply().await).is_some() {
        let inserted = transaction.query(&insert, &[]).await;
        let rows = usize::from(inserted.is_ok());
        account.add(0, inserted);
        account.add(rows, transaction.commit().await);
    }
    for _ in 0..2 {
        account.add(0, client.query(&format!("select 1 / 0 {OURS}"), &[]).await);
    }
    account
}

/// Leaves a mark in a session, which no later caller may see.
async fn check_sessions(client: &Client) {
    let mark = format!("select set_config('my.mark', 'left', false) {OURS}");
    let look = format!("select current_setting('my.mark', true) {OURS}");
    for _ in 0..3 {
        drop(client.query(&mark, &[]).await);
        for _ in 0..3 {
            let Ok(seen) = client.query(&look, &[]).await else { continue };
            let kind = &seen.rows[0].values[0].kind;
            assert_ne!(*kind, Some(Kind::TextValue("left".to_owned())), "another's session");
        }
    }
}

/// Uses a server on which one question of ours is unknown.
async fn try_without(postgres: &Postgres, question: &str) {
    let refused = question.to_owned();
    // An engine without a command has it nowhere.
    let lacks =
        ["SAVEPOINT", "DISCARD", "CONSTRAINTS"].into_iter().find(|word| question.contains(word));
    let refuse = move |sql: &str| {
        let is_refused = match lacks {
            Some(word) => sql.contains(word),
            None => plain(sql) == refused,
        };
        is_refused.then(|| UNKNOWN.to_owned())
    };
    postgres.psql("truncate t, rowgate_idempotency; insert into t values (-1, 'first')");
    let (_proxy, server, client) = start(postgres, Arc::new(refuse)).await;
    let account = use_it(&client).await;
    check_sessions(&client).await;
    let key = request_with(&format!("insert into t (v) values ('k') {OURS}"), keyed("other"));
    let mut keys = Account::default();
    keys.add(1, client.call(key, PATIENCE).await);
    let rows = postgres.psql("select count(*) from t").parse::<usize>().expect("it is a number");
    assert_eq!(rows, 1 + account.stored + keys.stored, "without {question}");
    let is_other = question.contains("SAVEPOINT") || question.contains("CONSTRAINTS");
    let is_essential = !is_other && ESSENTIAL.iter().any(|word| question.starts_with(word));
    let own = |failure: &&Failure| failure.reason != "DIVISION_BY_ZERO";
    let failures: Vec<_> = account.failures.iter().filter(own).collect();
    assert!(
        failures.is_empty() || is_essential,
        "without {question}: {failures:?}\n{}",
        server.log()
    );
    for failure in failures.into_iter().chain(&keys.failures) {
        let (code, _) = failure.what();
        let text = format!("{failure:?}");
        assert!(code != Code::InvalidArgument && !text.contains("type cast"), "{question}: {text}");
    }
}

/// Returns the questions of ours that these calls bring about.
async fn questions(postgres: &Postgres) -> BTreeSet<String> {
    let (proxy, _server, client) = start(postgres, Arc::new(|_: &str| None)).await;
    let account = use_it(&client).await;
    assert_eq!(account.failures.len(), 2, "only the divisions fail: {:?}", account.failures);
    check_sessions(&client).await;
    let key = request_with(&format!("insert into t (v) values ('k') {OURS}"), keyed("first"));
    client.call(key, PATIENCE).await.expect("it is stored");
    let seen = proxy.seen().into_iter().filter(|sql| !sql.is_empty() && !sql.contains(OURS));
    seen.map(|sql| plain(&sql)).collect()
}

/// The statements of the gateway's source, each by its longest part that is always the same.
fn in_source() -> Vec<String> {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/backend/postgres"), &mut files);
    let texts = files.iter().filter(|file| file.extension().is_some_and(|kind| kind == "rs"));
    let texts = texts.flat_map(|file| statements(&fs::read_to_string(file).expect("it is text")));
    let questions = texts.filter(|sql| sql.contains("pg_catalog.") && sql.contains(' '));
    let longest = |sql: String| {
        let parts = sql.split('{').map(|part| part.split_once('}').map_or(part, |(_, rest)| rest));
        plain(parts.max_by_key(|part| part.len()).unwrap_or_default())
    };
    questions.map(longest).filter(|part| part.contains("pg_catalog.pg_")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_question_of_ours_that_fails_is_the_callers_fault() {
    let postgres = Postgres::start();
    postgres.psql(KEYS);
    postgres.psql(
        "create table t (id bigserial primary key, v text); insert into t values (-1, 'first')",
    );
    let questions = questions(&postgres).await;
    for text in in_source() {
        let is_provoked = questions.iter().any(|question| question.contains(&text));
        let is_known = NOT_PROVOKED.iter().any(|part| text.contains(part));
        assert!(is_provoked || is_known, "no call here brings this about: {text}");
    }
    assert!(questions.len() > 15, "{questions:#?}");
    for question in &questions {
        try_without(&postgres, question).await;
    }
}

#[tokio::test]
async fn a_role_that_may_not_ask_is_told_what_it_lacks() {
    let postgres = Postgres::start();
    postgres.psql(
        "revoke execute on function pg_control_system from public;
         create role low login password 'low'; create table t (v text);
         grant all on t to low",
    );
    let url = postgres.url_as("low", "low");
    let server = Server::start(&format!("[databases.main]\nurl = \"{url}\"\n"));
    let client = Client::connect(server.grpc()).await;
    client.batch(batch(&["insert into t values ('a')"])).await.expect("it is stored");
    let info = info(&client).await;
    assert!(info.engine.starts_with("PostgreSQL "), "{info:?}");
    assert!(info.engine_version.contains("compiled by"), "{info:?}");
    let missing: Vec<_> = info.missing.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(missing, ["transaction tokens"], "{info:?}");
    assert!(info.missing[0].effect.contains("OUTCOME_UNKNOWN"), "{info:?}");
    assert_eq!(server.log().matches("the server lacks abilities").count(), 1, "{}", server.log());
}

#[tokio::test]
async fn cockroachdb_keeps_ddl_in_the_transaction_and_is_believed_nothing() {
    let postgres = Postgres::start();
    let look_alike = |sql: &str| match sql {
        "select pg_catalog.version()" => {
            Some("select 'CockroachDB CCL v24.1.0 (x86_64-pc-linux-gnu, go1.22.2)'".to_owned())
        }
        "SET autocommit_before_ddl = off; " => Some("SET rowgate.ddl = 'kept'".to_owned()),
        _ => None,
    };
    let (_proxy, server, client) = start(&postgres, Arc::new(look_alike)).await;
    let mut processes = BTreeSet::new();
    for _ in 0..4 {
        let sql = "select current_setting('rowgate.ddl'), pg_backend_pid()::text";
        let row = client.must(sql, &[]).await.rows.remove(0);
        assert_eq!(row.values[0], Value::text("kept"));
        processes.insert(format!("{:?}", row.values[1]));
    }
    assert_eq!(processes.len(), 4, "each session is cleaned by closing it");
    let info = info(&client).await;
    assert_eq!(info.engine, "CockroachDB 24.1.0");
    let missing: Vec<_> = info.missing.iter().map(|one| one.name.as_str()).collect();
    let believed =
        ["statement judgement", "session reset", "transaction tokens", "transaction numbers"];
    assert_eq!(missing, believed);
    assert!(server.log().contains("CockroachDB 24.1.0"), "{}", server.log());
}
