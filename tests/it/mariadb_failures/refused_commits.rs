//! Commits and rollbacks that the server refuses without an end of the transaction, as a node does that has left its
//! cluster (1047), and connections that end between the statements of a batch that no rollback undoes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use rowgate::value::proto::ExecuteBatchRequest;

use super::{TABLE, Way, increment, must_be_true, number, told};
use crate::harness::client::{Client, Failure};
use crate::harness::mariadb::Mariadb;
use crate::harness::rewriting::Rewriting;
use crate::harness::server::{self, Server};
use crate::harness::unit::statement;

/// The ways that send a COMMIT.
const COMMITTING: [Way; 4] = [Way::Keyed, Way::Batch, Way::KeyedBatch, Way::Transact];

/// The answer of a node without its cluster.
const REFUSAL: &str = "signal sqlstate '08S01' set mysql_errno = 1047, \
                       message_text = 'WSREP has not yet prepared node for application use'";

/// A database, a proxy that replaces statements of ours while it is told to, and a server on it.
struct Refusing {
    mariadb: Mariadb,
    proxy: Rewriting,
    client: Client,
    server: Server,
    /// The number of statements that are still to be replaced.
    refusals: Arc<AtomicUsize>,
}

impl Refusing {
    /// Replaces the statements that one of these texts begins.
    async fn start(beginnings: &'static [&'static str], by: &'static str) -> Self {
        let mariadb = Mariadb::start();
        mariadb.sql(TABLE);
        let refusals = Arc::new(AtomicUsize::new(0));
        let left = Arc::clone(&refusals);
        let replace = move |sql: &str| {
            let is_meant = beginnings.iter().any(|beginning| sql.starts_with(beginning));
            let one_less = |left: usize| left.checked_sub(1);
            (is_meant && left.fetch_update(Relaxed, Relaxed, one_less).is_ok())
                .then(|| by.to_owned())
        };
        let proxy = Rewriting::start_mysql(&mariadb, Arc::new(replace)).await;
        let url = proxy.mysql_url(&mariadb);
        let token = "[access]\ntransaction_token_key = '0123456789abcdef0123456789abcdef'";
        let server = Server::start(&format!("{token}\n[databases.main]\nurl = \"{url}\"\n"));
        let install = ["idempotency", "install", "--database-url", &mariadb.url()];
        let installed = server::run(server.directory(), &install, &[]);
        assert!(installed.status.success(), "{installed:?}");
        let client = Client::connect(server.grpc()).await;
        Self { mariadb, proxy, client, server, refusals }
    }

    /// Adds 1 while so many statements are refused; returns what the caller was told.
    async fn add_while(&self, refusals: usize, way: Way) -> String {
        let before = number(&self.mariadb);
        self.refusals.store(refusals, Relaxed);
        let answer = increment(&self.client, way).await;
        let left = self.refusals.swap(0, Relaxed);
        assert_eq!(left, 0, "{way:?}: {left} were not sent: {:?}", self.proxy.seen());
        must_be_true(&answer, before, number(&self.mariadb), &format!("{way:?}"));
        told(&answer)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_is_refused_and_done_by_what_follows_is_told_as_applied() {
    let refusing = Refusing::start(&["COMMIT"], REFUSAL).await;
    for way in COMMITTING {
        assert_eq!(refusing.add_while(1, way).await, "applied", "{way:?}");
    }
    assert_eq!(number(&refusing.mariadb), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_is_refused_with_what_follows_is_not_applied() {
    let refusing = Refusing::start(&["COMMIT", "SET autocommit=1"], REFUSAL).await;
    for way in COMMITTING {
        // Repeated by the server, but for an interactive transaction: nothing of it was applied.
        let expected = match way {
            Way::Transact => "Unavailable NOT_PRIMARY NOT_APPLIED",
            Way::Autocommit | Way::Keyed | Way::Batch | Way::KeyedBatch => {
                "applied, after more than one attempt"
            }
        };
        assert_eq!(refusing.add_while(2, way).await, expected, "{way:?}");
    }
    assert_eq!(number(&refusing.mariadb), 3);
}

/// Divides by zero behind a row that was changed.
async fn failing_batch(client: &Client) -> Result<u32, Failure> {
    let statements = vec![
        statement("update t set n = n + 1 where id = 1", &[]),
        statement("insert into t values (1, 0)", &[]),
    ];
    let request = ExecuteBatchRequest { statements, ..ExecuteBatchRequest::default() };
    client.batch(request).await.map(|answer| answer.attempts)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_that_is_refused_leaves_nothing() {
    let refusing = Refusing::start(&["ROLLBACK"], REFUSAL).await;
    refusing.refusals.store(1, Relaxed);
    let answer = failing_batch(&refusing.client).await;
    assert_eq!(told(&answer), "AlreadyExists UNIQUE_VIOLATION NOT_APPLIED");
    assert_eq!(refusing.refusals.load(Relaxed), 0, "{:?}", refusing.proxy.seen());
    refusing.refusals.store(1, Relaxed);
    let mut transaction = refusing.client.begin().await;
    transaction.query("update t set n = n + 1 where id = 1", &[]).await.expect("it is open");
    let answer = transaction.rollback().await.map(|()| 1);
    assert_eq!(told(&answer), "applied");
    assert_eq!(refusing.refusals.load(Relaxed), 0, "{:?}", refusing.proxy.seen());
    // A session that was not rolled back would commit it with the next statement.
    increment(&refusing.client, Way::Autocommit).await.expect("another connection is taken");
    assert_eq!(number(&refusing.mariadb), 1, "{}", refusing.server.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_ends_between_statements_that_no_rollback_undoes_is_a_doubt() {
    let refusing = Refusing::start(&["update m set n = n + 10"], "kill connection_id()").await;
    refusing.mariadb.sql("create table m (n int) engine = MyISAM; insert into m values (0)");
    refusing.refusals.store(1, Relaxed);
    let statements =
        vec![statement("update m set n = n + 1", &[]), statement("update m set n = n + 10", &[])];
    let request = ExecuteBatchRequest { statements, ..ExecuteBatchRequest::default() };
    let answer = refusing.client.batch(request).await.map(|answer| answer.attempts);
    assert_eq!(told(&answer), "Unknown CONNECTION_LOST UNKNOWN");
    assert_eq!(refusing.refusals.load(Relaxed), 0, "{:?}", refusing.proxy.seen());
    assert_eq!(refusing.mariadb.sql("select n from m"), "1");
}
