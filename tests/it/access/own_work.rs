//! Keys and checkouts: a caller reaches its own alone.

use rowgate::value::proto::get_transaction_outcome_request::Handle;
use rowgate::value::proto::transact_request::Command;
use rowgate::value::proto::{
    Begin, Checkout, ExecuteBatchRequest, ListCheckoutsRequest, PausePoolRequest,
    ReconnectPoolRequest, ResizePoolRequest, ResumePoolRequest, TerminateCheckoutRequest,
    TransactionState, Value,
};
use tonic::Code;

use super::Guarded;
use crate::harness::Backend;
use crate::harness::client::{Client, Failure, PATIENCE, request_with};
use crate::harness::unit::{Transaction, batch, keyed};
use crate::harness::wait::eventually_async;

const RIGHTS: &str = "databases = ['main']\nread_only = false\nrpcs = METHODS";
const CALLERS: &[(&str, &str)] = &[
    ("shop", RIGHTS),
    ("billing", RIGHTS),
    ("admin", "databases = ['main']\nread_only = false\npool_admin = true\nrpcs = METHODS"),
];

const BACKENDS: [Backend; 2] = [Backend::Sqlite, Backend::Postgres];

fn with_key(sql: &str, key: &str) -> ExecuteBatchRequest {
    ExecuteBatchRequest { options: Some(keyed(key)), ..batch(&[sql]) }
}

async fn outcome(client: &Client, key: &str) -> TransactionState {
    client.outcome(Handle::IdempotencyKey(key.to_owned())).await.expect("it is told")
}

#[tokio::test]
async fn a_key_of_another_neither_replays_nor_conflicts_nor_tells() {
    for backend in BACKENDS {
        let keys = "[idempotency]\ncreate_table = true";
        let guarded = Guarded::with(backend, keys, CALLERS).await;
        let (shop, billing) = (guarded.client("shop"), guarded.client("billing"));
        shop.must("create table t (id int)", &[]).await;
        let insert = "insert into t values (1)";
        eventually_async("the table of keys is there", PATIENCE, async || {
            shop.batch(with_key("select 1", "first")).await.ok()
        })
        .await;
        assert!(!shop.batch(with_key(insert, "k")).await.expect("it runs").replayed);
        assert_eq!(outcome(&billing, "k").await, TransactionState::NotApplied, "another's key");
        assert_eq!(outcome(&shop, "k").await, TransactionState::Applied);

        // The same request under the same key, and another one, are billing's own.
        assert!(!billing.batch(with_key(insert, "k")).await.expect("it runs").replayed);
        assert!(billing.batch(with_key(insert, "k")).await.expect("it is replayed").replayed);
        let other = request_with("insert into t values (2)", keyed("q"));
        assert!(!shop.call(other, PATIENCE).await.expect("it runs").replayed);
        let other = request_with("insert into t values (3)", keyed("q"));
        assert!(!billing.call(other, PATIENCE).await.expect("it runs").replayed);
        let failure = shop.batch(with_key("select 2", "k")).await.expect_err("it is its own");
        assert_eq!(failure.reason, "KEY_REUSED");

        let mut open = keyed_transaction(&shop, "open").await;
        open.query("insert into t values (4)", &[]).await.expect("it runs");
        assert_eq!(outcome(&billing, "open").await, TransactionState::NotApplied);
        open.commit().await.expect("it commits");
        let again = keyed_transaction(&billing, "open").await;
        again.commit().await.expect("it is its own key");
        let count = shop.must("select count(*) from t", &[]).await;
        assert_eq!(count.rows[0].values, [Value::int64(5)], "{backend:?}");
    }
}

async fn keyed_transaction(client: &Client, key: &str) -> Transaction {
    let mut transaction = client.transact().await;
    let begin = Begin { idempotency_key: key.to_owned(), ..Begin::default() };
    transaction.send(Command::Begin(begin)).await;
    transaction.reply().await.expect("it opens");
    transaction
}

async fn checkouts(client: &Client) -> Vec<Checkout> {
    let request = ListCheckoutsRequest::default();
    let listed = client.pools().list_checkouts(request).await.expect("they are listed");
    listed.into_inner().checkouts
}

/// Returns the one checkout of a caller, once those of its calls before have been given back.
async fn only_checkout(client: &Client, before: Option<u64>) -> Checkout {
    eventually_async("one is its own", PATIENCE, async || {
        let [its] = <[Checkout; 1]>::try_from(checkouts(client).await).ok()?;
        (Some(its.id) != before).then_some(its)
    })
    .await
}

async fn terminate(client: &Client, checkout: u64) -> Result<(), Failure> {
    let request = TerminateCheckoutRequest { pool: "main".to_owned(), checkout };
    client.pools().terminate_checkout(request).await.map(drop).map_err(Failure::from)
}

#[tokio::test]
async fn a_checkout_of_another_is_not_there() {
    for backend in BACKENDS {
        let guarded = Guarded::start(backend, CALLERS).await;
        let [shop, billing, admin] =
            ["shop", "billing", "admin"].map(|caller| guarded.client(caller));
        shop.must("create table t (id int)", &[]).await;
        let mut open = shop.begin().await;
        // A transaction that has read holds its connection, on SQLite too.
        open.query("select count(*) from t", &[]).await.expect("it runs");
        let its = only_checkout(&shop, None).await;
        assert_eq!((its.caller.as_str(), its.pool.as_str()), ("shop", "main"));
        assert_eq!(checkouts(&billing).await, []);
        let of_all = checkouts(&admin).await;
        assert!(of_all.iter().any(|one| one.id == its.id), "{of_all:?}");

        let mut refused = terminate(&billing, its.id).await.expect_err("it is another's");
        let absent = terminate(&billing, 4_000_000).await.expect_err("it is not there");
        refused.message = refused.message.replace(&its.id.to_string(), "4000000");
        assert_eq!(refused, absent);
        assert_eq!(refused.code, Code::NotFound);
        open.query("select count(*) from t", &[]).await.expect("it goes on");

        terminate(&shop, its.id).await.expect("it is its own");
        let failure = open.reply().await.expect_err("it has ended");
        assert_eq!(failure.reason, "TERMINATED");
        let other = shop.begin().await;
        let its = only_checkout(&shop, Some(its.id)).await;
        terminate(&admin, its.id).await.expect("it administers the pool");
        drop(other);
    }
}

#[tokio::test]
async fn a_pool_is_administered_by_those_alone_who_may() {
    let guarded = Guarded::start(Backend::Sqlite, CALLERS).await;
    let (shop, admin) = (guarded.client("shop"), guarded.client("admin"));
    let pool = || "main".to_owned();
    let mut pools = shop.pools();
    let pause = PausePoolRequest { pool: pool(), timeout: None };
    let resize = ResizePoolRequest { pool: pool(), min: Some(0), max: Some(1) };
    let refused = [
        pools.pause_pool(pause.clone()).await.err(),
        pools.resume_pool(ResumePoolRequest { pool: pool() }).await.err(),
        pools.reconnect_pool(ReconnectPoolRequest { pool: pool() }).await.err(),
        pools.resize_pool(resize).await.err(),
    ];
    for status in refused {
        let failure = Failure::from(status.expect("it is denied"));
        assert_eq!(failure.what(), (Code::PermissionDenied, "ACCESS_DENIED"));
        assert!(failure.report.hint.contains("callers.shop.pool_admin"), "{failure:?}");
    }
    shop.must("select 1", &[]).await;
    admin.pools().pause_pool(pause).await.expect("it administers");
    admin.pools().resume_pool(ResumePoolRequest { pool: pool() }).await.expect("it administers");
}
