//! Databases: those of another caller are not there.

use rowgate::value::proto::get_transaction_outcome_request::Handle;
use rowgate::value::proto::server_service_client::ServerServiceClient;
use rowgate::value::proto::transact_request::Command;
use rowgate::value::proto::{
    Begin, DescribeStatementRequest, GetServerInfoRequest, GetTransactionOutcomeRequest,
    ListCheckoutsRequest, ListPoolStatsRequest, PausePoolRequest, QueryRequest,
    ReconnectPoolRequest, ResizePoolRequest, ResumePoolRequest, TerminateCheckoutRequest, Value,
    WatchPoolStatsRequest,
};
use tonic::{Code, Status};

use super::Guarded;
use crate::harness::Backend;
use crate::harness::client::{Client, Failure, request};
use crate::harness::unit::batch;

const CALLERS: &[(&str, &str)] = &[
    ("shop", "databases = ['main']\npool_admin = true\nread_only = false\nrpcs = METHODS"),
    ("clerk", "databases = ['other', 'main']\nread_only = false\nrpcs = METHODS"),
    ("idle", "rpcs = METHODS"),
];

const BACKENDS: [Backend; 2] = [Backend::Sqlite, Backend::Postgres];

/// Names a database in every request that can name one, and returns what came of each.
async fn named_everywhere(client: &Client, database: &str) -> Vec<(&'static str, Status)> {
    let name = || database.to_owned();
    let query = || QueryRequest { database: name(), ..request("select 1", &[]) };
    let mut all = Vec::new();
    let mut add = |what, status: Option<Status>| {
        let status = status.unwrap_or_else(|| panic!("{what} on {database} succeeds"));
        all.push((what, status));
    };
    let mut raw = client.raw();
    add("Query", raw.query(query()).await.err());
    let stream =
        raw.stream_query(rowgate::value::proto::StreamQueryRequest { query: Some(query()) });
    add("StreamQuery", stream.await.err());
    let mut request = batch(&["select 1"]);
    request.database = name();
    add("ExecuteBatch", raw.execute_batch(request).await.err());
    let mut transaction = client.transact().await;
    transaction.send(Command::Begin(Begin { database: name(), ..Begin::default() })).await;
    add("Transact", transaction.raw_reply().await.err());
    let sql = "select 1".to_owned();
    let request = DescribeStatementRequest { database: name(), sql, include_plan: false };
    add("DescribeStatement", raw.describe_statement(request).await.err());
    let handle = Some(Handle::IdempotencyKey("k".to_owned()));
    let request = GetTransactionOutcomeRequest { database: name(), handle };
    add("GetTransactionOutcome", raw.get_transaction_outcome(request).await.err());
    let mut pools = client.pools();
    let pool = name;
    add("ListPoolStats", pools.list_pool_stats(ListPoolStatsRequest { pool: pool() }).await.err());
    let request = WatchPoolStatsRequest { pool: pool(), interval: None };
    add("WatchPoolStats", pools.watch_pool_stats(request).await.err());
    add("ListCheckouts", pools.list_checkouts(ListCheckoutsRequest { pool: pool() }).await.err());
    let request = PausePoolRequest { pool: pool(), timeout: None };
    add("PausePool", pools.pause_pool(request).await.err());
    add("ResumePool", pools.resume_pool(ResumePoolRequest { pool: pool() }).await.err());
    add("ReconnectPool", pools.reconnect_pool(ReconnectPoolRequest { pool: pool() }).await.err());
    let request = ResizePoolRequest { pool: pool(), min: None, max: Some(1) };
    add("ResizePool", pools.resize_pool(request).await.err());
    let request = TerminateCheckoutRequest { pool: pool(), checkout: 1 };
    add("TerminateCheckout", pools.terminate_checkout(request).await.err());
    all
}

#[tokio::test]
async fn the_database_of_another_is_as_one_that_does_not_exist() {
    for backend in BACKENDS {
        let guarded = Guarded::start(backend, CALLERS).await;
        let client = guarded.client("shop");
        let others = named_everywhere(&client, "other").await;
        let absent = named_everywhere(&client, "absent").await;
        assert_eq!(others.len(), 14);
        for ((what, other), (_, absent)) in others.into_iter().zip(absent) {
            let (mut other, absent) = (Failure::from(other), Failure::from(absent));
            other.message = other.message.replace("\"other\"", "\"absent\"");
            assert_eq!(other, absent, "{what}");
            assert_eq!(other.code, Code::NotFound, "{what}: {other:?}");
            assert_eq!(other.report.hint, "Known here: main.", "{what}");
        }
    }
}

#[tokio::test]
async fn a_caller_sees_its_own_databases_and_its_first_one_is_its_default() {
    for backend in BACKENDS {
        let guarded = Guarded::start(backend, CALLERS).await;
        let (shop, clerk, idle) =
            (guarded.client("shop"), guarded.client("clerk"), guarded.client("idle"));
        clerk.must("create table here (id int)", &[]).await;
        clerk.must("insert into here values (7)", &[]).await;
        let row = clerk.must("select id from here", &[]).await;
        assert_eq!(row.rows.len(), 1, "{row:?}");
        shop.must_fail("select id from here", &[]).await;
        let of_main =
            QueryRequest { database: "main".into(), ..request("select id from here", &[]) };
        clerk.run(of_main).await.expect_err("it is in the other database");
        let failure = idle.must_fail("select 1", &[]).await;
        assert_eq!((failure.code, failure.report.hint.as_str()), (Code::NotFound, "Known here: ."));

        let cases: [(&Client, &str, &[&str]); 3] =
            [(&shop, "main", &["main"]), (&clerk, "other", &["main", "other"]), (&idle, "", &[])];
        for (client, default, names) in cases {
            let mut server = ServerServiceClient::new(client.wire());
            let info = server.get_server_info(GetServerInfoRequest {}).await.expect("it is told");
            let info = info.into_inner();
            let seen: Vec<_> = info.databases.iter().map(|one| one.name.as_str()).collect();
            assert_eq!((info.default_database.as_str(), &*seen), (default, names));
            let request = ListPoolStatsRequest::default();
            let stats = client.pools().list_pool_stats(request).await.expect("they are listed");
            let stats = stats.into_inner().pools;
            assert_eq!(stats.iter().map(|pool| pool.pool.as_str()).collect::<Vec<_>>(), names);
            let request = WatchPoolStatsRequest::default();
            let watch = client.pools().watch_pool_stats(request).await.expect("it is watched");
            let first = watch.into_inner().message().await.expect("it is sent");
            let first = first.expect("it is the first").pools;
            assert_eq!(first.iter().map(|pool| pool.pool.as_str()).collect::<Vec<_>>(), names);
        }
        let count = clerk.must("select count(*) from here", &[]).await;
        assert_eq!(count.rows[0].values, [Value::int64(1)]);
    }
}
