//! The way to the database leads to a standby that is behind while a commit is in doubt.

use std::net::SocketAddr;
use std::time::Duration;

use rowgate::value::proto::TransactionState;
use rowgate::value::proto::get_transaction_outcome_request::Handle;
use rowgate::value::proto::transact_request::Command;
use rowgate::value::proto::{Begin, Commit};
use tonic::Code;

use super::{SLOW_COMMIT, WAITING, within};
use crate::harness::behind::{Behind, KEYS};
use crate::harness::client::{Failure, PATIENCE};
use crate::harness::postgres::Postgres;
use crate::harness::proxy::Cut;
use crate::harness::unit::batch;
use crate::harness::wait::eventually;

/// A primary behind a proxy, and its standby, which replays nothing any more.
struct Pair {
    behind: Behind,
    standby: Postgres,
}

impl Pair {
    async fn start() -> Self {
        let primary = Postgres::start();
        primary.admit_standbys();
        primary.psql(KEYS);
        primary.psql(SLOW_COMMIT);
        let standby = Postgres::standby_of(&primary);
        standby.psql("select pg_wal_replay_pause()");
        let settings = "[databases.main.pool]\nmin = 1\nmax = 4\n[health]\ninterval = \"1h\"";
        Self { behind: Behind::start(primary, settings, &[]).await, standby }
    }

    fn lead_to_the_standby(&self) {
        self.behind.proxy.lead_to(address(&self.standby));
        self.behind.proxy.cut_all(Cut::Abandon);
    }

    fn lead_back(&self) {
        self.behind.proxy.lead_to(address(&self.behind.postgres));
        self.behind.proxy.cut_all(Cut::Reset);
    }

    fn wait_for_the_commit(&self) {
        tokio::task::block_in_place(|| {
            eventually("the commit waits", PATIENCE, || {
                (self.behind.postgres.psql(WAITING) == "1").then_some(())
            });
        });
    }

    fn is_there(&self, id: i64) -> bool {
        let sql = format!("select count(*) from t where id = {id}");
        self.behind.postgres.psql(&sql) == "1"
    }

    /// The commit that was abandoned comes to its end.
    fn wait_for_the_row(&self, id: i64) {
        tokio::task::block_in_place(|| {
            eventually("it is committed", PATIENCE, || self.is_there(id).then_some(()));
        });
    }
}

fn address(postgres: &Postgres) -> SocketAddr {
    format!("127.0.0.1:{}", postgres.port()).parse().expect("it is an address")
}

fn assert_unknown(failure: &Failure) {
    assert_eq!(failure.what(), (Code::Unknown, "OUTCOME_UNKNOWN"), "{failure:?}");
    assert_eq!((failure.outcome.as_str(), failure.retry_after), ("UNKNOWN", None), "{failure:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_that_is_behind_never_says_that_a_commit_was_lost() {
    let pair = Pair::start().await;
    let client = pair.behind.client.clone();
    let request = within(Duration::from_secs(4), batch(&["insert into t values (1, 3)"]));
    let call = tokio::spawn(async move { client.batch(request).await });
    pair.wait_for_the_commit();
    pair.lead_to_the_standby();
    let failure = call.await.expect("no panic").expect_err("a standby cannot tell");
    assert_unknown(&failure);
    let token = failure.report.transaction_token;
    let ask = async || pair.behind.client.outcome(Handle::TransactionToken(token.clone())).await;
    let failure = ask().await.expect_err("nor can it later");
    assert_eq!(failure.what(), (Code::Unavailable, "NOT_PRIMARY"), "{failure:?}");
    pair.wait_for_the_row(1);
    pair.lead_back();
    assert_eq!(ask().await.expect("the primary tells"), TransactionState::Applied);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_in_doubt_is_settled_once_the_primary_is_back() {
    let pair = Pair::start().await;
    let mut transaction = pair.behind.client.begin().await;
    transaction.query("insert into t values (2, 3)", &[]).await.expect("it runs");
    transaction.send(Command::Commit(Commit {})).await;
    pair.wait_for_the_commit();
    pair.lead_to_the_standby();
    tokio::task::block_in_place(|| {
        eventually("the standby is asked", PATIENCE, || {
            pair.standby
                .log()
                .contains("pg_xact_status")
                .then_some(())
                .or_else(|| (pair.standby.clients() > 0).then_some(()))
        });
    });
    pair.wait_for_the_row(2);
    pair.lead_back();
    transaction.reply().await.expect("it is committed").expect("and says so");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_not_free_because_a_standby_has_not_seen_it() {
    let pair = Pair::start().await;
    let mut transaction = pair.behind.client.transact_within(Duration::from_secs(5)).await;
    let begin = Begin { idempotency_key: "k".to_owned(), ..Begin::default() };
    transaction.send(Command::Begin(begin)).await;
    transaction.reply().await.expect("it opens");
    transaction.query("insert into t values (3, 3)", &[]).await.expect("it runs");
    transaction.send(Command::Commit(Commit {})).await;
    pair.wait_for_the_commit();
    pair.lead_to_the_standby();
    assert_unknown(&transaction.reply().await.expect_err("a standby cannot tell"));
    pair.wait_for_the_row(3);
    let ask = async || pair.behind.client.outcome(Handle::IdempotencyKey("k".to_owned())).await;
    let failure = ask().await.expect_err("it is behind");
    assert_eq!(failure.what(), (Code::Unavailable, "NOT_PRIMARY"), "{failure:?}");
    pair.lead_back();
    assert_eq!(ask().await.expect("the primary tells"), TransactionState::Applied);
}

#[tokio::test]
async fn a_token_of_another_cluster_is_refused() {
    let behind = Behind::start(Postgres::start(), "", &[]).await;
    for number in [700, 99_999_999] {
        let token = Handle::TransactionToken(format!("pg1-123456789-1-5-5-{number}"));
        let failure = behind.client.outcome(token).await.expect_err("it is of another");
        assert_eq!(failure.what(), (Code::InvalidArgument, "INVALID_PARAMETER"), "{failure:?}");
        assert_eq!(failure.fields(), ["transaction_token"], "{failure:?}");
    }
}
