//! Connections that are lost while a statement runs or a commit is under way.

use std::time::Duration;

use rowgate::value::proto::{TransactionState, Value};

use super::{TABLE, WAYS, Way, must_be_true, number, told, write};
use crate::harness::client::Client;
use crate::harness::mariadb::{Mariadb, ROLE};
use crate::harness::proxy::{Cut, Direction, Fault, Place, Proxy, Then};
use crate::harness::server::{self, Server};
use crate::harness::wait::eventually;

/// A database, the proxy before it, and a server on it whose one connection has met every statement.
struct BehindProxy {
    mariadb: Mariadb,
    proxy: Proxy,
    client: Client,
    _server: Server,
}

impl BehindProxy {
    async fn start() -> Self {
        let mariadb = Mariadb::start();
        mariadb.sql(TABLE);
        let direct = format!("127.0.0.1:{}", mariadb.port());
        let proxy = Proxy::start(direct.parse().expect("it is an address")).await;
        let url = mariadb.url().replace(&direct, &proxy.address().to_string());
        let pool = "[databases.main.pool]\nmin = 1\nmax = 1";
        let token = "[access]\ntransaction_token_key = '0123456789abcdef0123456789abcdef'";
        let server =
            Server::start(&format!("{token}\n[databases.main]\nurl = \"{url}\"\n{pool}\n"));
        let install = ["idempotency", "install", "--database-url", &mariadb.url()];
        let installed = server::run(server.directory(), &install, &[]);
        assert!(installed.status.success(), "{installed:?}");
        let client = Client::connect(server.grpc()).await;
        for way in WAYS {
            add(&client, way).await.expect("nothing is wrong yet");
        }
        Self { mariadb, proxy, client, _server: server }
    }

    /// Adds 1 by one of the ways while something goes wrong; returns what the caller was told.
    async fn add_while(&self, fault: Fault, way: Way) -> String {
        let before = number(&self.mariadb);
        let earlier = connections(&self.mariadb);
        let happened = self.proxy.arm(fault);
        let answer = add(&self.client, way).await;
        happened.await.expect("it went wrong");
        let case = format!("{way:?}: {}", told(&answer));
        // What was given up may still be at work: its connection must be gone before anybody looks.
        self.mariadb.kill_connections();
        eventually("they are gone", Duration::from_secs(10), || {
            let now = connections(&self.mariadb);
            earlier.iter().all(|id| !now.contains(id)).then_some(())
        });
        must_be_true(&answer, before, number(&self.mariadb), &case);
        case
    }
}

/// The ids of the server's connections.
fn connections(mariadb: &Mariadb) -> Vec<String> {
    let sql = format!("select id from information_schema.processlist where user = '{ROLE}'");
    mariadb.sql(&sql).lines().map(str::to_owned).collect()
}

/// The value stands in each packet that runs the statement, and nowhere else.
async fn add(client: &Client, way: Way) -> Result<u32, crate::harness::client::Failure> {
    let sql = "update t set n = n + length($1) - 5 where id = 1";
    write(client, way, sql, &Value::text("marked")).await
}

/// The answers when a connection is lost before the commit arrives. A statement that commits by itself
/// may have arrived.
const BEFORE_A_COMMIT: [&str; 5] = [
    "Autocommit: Unknown OUTCOME_UNKNOWN UNKNOWN",
    "Keyed: applied, after more than one attempt",
    "Batch: applied, after more than one attempt",
    "KeyedBatch: applied, after more than one attempt",
    "Transact: Unavailable CONNECTION_LOST NOT_APPLIED",
];

const fn lost(direction: Direction, text: &'static str) -> Fault {
    let then = Then::Lose(Duration::from_millis(50));
    Fault { direction, place: Place::Text(text), then }
}

/// The server gets all of it, and the answer is lost.
const fn unanswered(text: &'static str) -> Fault {
    Fault { direction: Direction::Up, place: Place::Text(text), then: Then::Cut(Cut::Abandon) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_that_never_arrives_is_repeated_where_that_is_safe() {
    let behind = BehindProxy::start().await;
    let mut found = Vec::new();
    for way in WAYS {
        found.push(behind.add_while(lost(Direction::Up, "marked"), way).await);
    }
    assert_eq!(found, BEFORE_A_COMMIT);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_whose_answer_is_lost_is_repeated_where_that_is_safe() {
    let behind = BehindProxy::start().await;
    let mut found = Vec::new();
    for way in WAYS {
        let then = Then::Cut(Cut::Reset);
        let fault = Fault { direction: Direction::Up, place: Place::Text("marked"), then };
        found.push(behind.add_while(fault, way).await);
    }
    assert_eq!(found, BEFORE_A_COMMIT);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_answer_is_lost_is_found_out_by_its_mark_or_its_key() {
    let behind = BehindProxy::start().await;
    for way in [Way::Keyed, Way::Batch, Way::KeyedBatch, Way::Transact] {
        let found_out = format!("{way:?}: applied");
        let mut tries = 0;
        loop {
            let case = behind.add_while(unanswered("COMMIT"), way).await;
            if case == found_out {
                break;
            }
            // A server that is slow to begin with the commit is told first to give it up.
            assert!(BEFORE_A_COMMIT.contains(&case.as_str()), "{case}");
            tries += 1;
            assert!(tries < 20, "{way:?}: no commit was found out");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_never_arrives_is_found_out_and_repeated_where_that_is_safe() {
    let behind = BehindProxy::start().await;
    let mut found = Vec::new();
    for way in [Way::Keyed, Way::Batch, Way::KeyedBatch, Way::Transact] {
        found.push(behind.add_while(lost(Direction::Up, "COMMIT"), way).await);
    }
    let found: Vec<_> = found.iter().map(String::as_str).collect();
    assert_eq!(found, BEFORE_A_COMMIT[1..]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_whose_answer_is_lost_is_repeated_unseen() {
    let behind = BehindProxy::start().await;
    for _ in 0..3 {
        let happened = behind.proxy.arm(unanswered("a mark"));
        let read = behind.client.must("select $1", &[Value::text("a mark")]).await;
        happened.await.expect("it was lost");
        assert_eq!(read.rows[0].values, [Value::text("a mark")]);
    }
}

/// The state that a caller asks for later by the token of an error.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_token_of_a_doubt_tells_later_what_became_of_it() {
    use rowgate::value::proto::get_transaction_outcome_request::Handle;

    let behind = BehindProxy::start().await;
    let before = number(&behind.mariadb);
    let mut transaction =
        behind.client.transact_within(Duration::from_millis(800)).await.begun().await;
    transaction.query("update t set n = n + 1 where id = 1", &[]).await.expect("it runs");
    // The way is gone for longer than the caller waits.
    behind.proxy.lead_to("127.0.0.1:1".parse().expect("it is an address"));
    let happened = behind.proxy.arm(unanswered("COMMIT"));
    let failure = transaction.commit().await.expect_err("nobody can know yet");
    happened.await.expect("it was lost");
    assert_eq!(
        format!("{:?} {} {}", failure.code, failure.reason, failure.outcome),
        "Unknown OUTCOME_UNKNOWN UNKNOWN"
    );
    let direct = format!("127.0.0.1:{}", behind.mariadb.port());
    behind.proxy.lead_to(direct.parse().expect("it is an address"));
    let token = failure.report.transaction_token;
    assert!(!token.is_empty(), "a commit with a mark has a token");
    let state = crate::harness::wait::eventually_async(
        "it is known",
        Duration::from_secs(20),
        async || {
            let handle = Handle::TransactionToken(token.clone());
            behind
                .client
                .outcome(handle)
                .await
                .ok()
                .filter(|it| *it != TransactionState::InProgress)
        },
    )
    .await;
    let applied = number(&behind.mariadb) == before + 1;
    let expected = if applied { TransactionState::Applied } else { TransactionState::NotApplied };
    assert_eq!(state, expected);
}
