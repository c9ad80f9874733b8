//! Interactive transactions on PostgreSQL: how they end when nobody ends them, that a commit is never
//! given up, and how much they hold.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rowgate::value::proto::transact_request::Command;
use rowgate::value::proto::transact_response::Reply;
use rowgate::value::proto::{Begin, Commit, TransactRequest, TransactionOptions, Value};
use tonic::Code;

use crate::harness::client::{Client, PATIENCE};
use crate::harness::postgres::Postgres;
use crate::harness::proxy::{Cut, Proxy, Weather};
use crate::harness::unit::{Transaction, query};
use crate::harness::wait::{Stopwatch, eventually_async, idle_for};
use crate::harness::{Backend, Service};

/// The longest time until the locks of an ended transaction are free.
const AT_ONCE: Duration = Duration::from_secs(1);

/// The largest growth of the process, whatever is sent to it or asked of it.
const GROWTH: u64 = 24 << 20;

const LONG: &str = "select pg_sleep(60)";

/// A row to lock, and rows whose commit takes so long that several can be started meanwhile.
const TABLES: &str = "create table t (id int primary key, n int);
    insert into t values (1, 0), (2, 0);
    create table slow (id int primary key);
    create function linger() returns trigger language plpgsql as
        $$ begin perform pg_sleep(3); return null; end $$;
    create constraint trigger linger after insert on slow deferrable initially deferred
        for each row execute function linger();";

const LOCK: &str = "update t set n = n + 1 where id = 1";

async fn service(settings: &str) -> Service {
    let postgres = Postgres::start();
    postgres.psql(TABLES);
    Service::on(postgres, settings).await
}

/// A client on the other side of a proxy, which ends as its process would: with its connection.
async fn far(service: &Service) -> (Proxy, Client) {
    let proxy = Proxy::start(service.server.grpc()).await;
    let client = Client::connect(proxy.address()).await;
    (proxy, client)
}

async fn begin(client: &Client, options: TransactionOptions) -> Transaction {
    begin_within(client, options, PATIENCE).await
}

/// A transaction whose caller has a deadline.
async fn begin_within(
    client: &Client,
    options: TransactionOptions,
    whole: Duration,
) -> Transaction {
    let mut transaction = client.transact_within(whole).await;
    let begin = Begin { transaction: Some(options), ..Begin::default() };
    transaction.send(Command::Begin(begin)).await;
    assert!(matches!(transaction.reply().await, Ok(Some(Reply::Begun(_)))));
    transaction
}

/// A transaction that holds the lock of a row.
async fn locking(client: &Client, options: TransactionOptions) -> Transaction {
    let mut transaction = begin(client, options).await;
    transaction.query(LOCK, &[]).await.expect("it runs");
    transaction
}

/// A transaction whose commit is under way.
async fn committing(client: &Client, id: i64, options: TransactionOptions) -> Transaction {
    let mut transaction = begin(client, options).await;
    start_commit(&mut transaction, id).await;
    transaction
}

async fn start_commit(transaction: &mut Transaction, id: i64) {
    let insert = "insert into slow values ($1)";
    transaction.query(insert, &[Value::int64(id)]).await.expect("it runs");
    transaction.send(Command::Commit(Commit {})).await;
}

fn idle(idle_timeout: Duration) -> TransactionOptions {
    let idle_timeout = prost_types::Duration::try_from(idle_timeout).ok();
    TransactionOptions { idle_timeout, ..TransactionOptions::default() }
}

fn lasting(max_duration: Duration) -> TransactionOptions {
    let max_duration = prost_types::Duration::try_from(max_duration).ok();
    TransactionOptions { max_duration, ..TransactionOptions::default() }
}

/// Waits until the database runs so many statements with this text.
async fn running(postgres: &Postgres, count: u32, text: &str) {
    let sql = format!(
        "select count(*) = {count} from pg_stat_activity where state = 'active' \
         and query like '%{text}%' and pid <> pg_backend_pid()"
    );
    eventually_async(text, PATIENCE, async || (postgres.psql(&sql) == "t").then_some(())).await;
}

/// Waits as another caller, for at most so long, for the row that a transaction holds; it sees nothing of that one.
async fn lock_within(service: &Service, most: Duration, what: &str) {
    let start = Stopwatch::start();
    service.client.must(LOCK, &[]).await;
    start.assert_within(most, what);
    let result = service.client.must("update t set n = 0 where id = 1 returning n", &[]).await;
    assert_eq!(result.rows_affected, 1);
}

async fn slow_rows(postgres: &Postgres, expected: &str) {
    eventually_async("the commit is finished", PATIENCE, async || {
        (postgres.psql("select string_agg(id::text, ' ' order by id) from slow") == expected)
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_caller_that_is_killed_holds_its_locks_for_less_than_a_second() {
    let service = service("").await;
    let endless = "with recursive c(x) as (select 1 union all select x + 1 from c) \
                   select count(*) from c";
    // Idle; while a statement runs; while it waits for a row; while its rows are not read.
    let waits = "update t set n = 5 where id = 2";
    let unread = "select repeat('x', 1000) from generate_series(1, 10000000)";
    for runs in [None, Some(LONG), Some(endless), Some(waits), Some(unread)] {
        for cut in [Cut::Close, Cut::Reset] {
            let (proxy, client) = far(&service).await;
            let mut holder = begin(&service.client, TransactionOptions::default()).await;
            holder.query("update t set n = 1 where id = 2", &[]).await.expect("it runs");
            let mut transaction = locking(&client, TransactionOptions::default()).await;
            if let Some(sql) = runs {
                transaction.send_query(sql).await;
                let text = sql.replace('\'', "''");
                running(service.postgres(), 1, &text).await;
            }
            assert_eq!(proxy.cut_all(cut), 1);
            lock_within(&service, AT_ONCE, &format!("its lock, after {cut:?} while {runs:?}"))
                .await;
            holder.rollback().await.expect("it rolls back");
            drop(transaction);
        }
    }
    let n = service.postgres().psql("select sum(n) from t");
    assert_eq!(n, "0", "nothing of them is there");
}

#[tokio::test]
async fn an_idle_transaction_whose_backend_dies_is_told_at_once() {
    let mut service = service("").await;
    for end in ["terminated", "timed out", "stopped", "crashed"] {
        let mut transaction = locking(&service.client, TransactionOptions::default()).await;
        match end {
            "terminated" => assert!(service.postgres().terminate_backends() > 0),
            "timed out" => {
                let sql = "set local idle_in_transaction_session_timeout = 100";
                transaction.query(sql, &[]).await.expect("it may");
            }
            "stopped" => service.postgres_mut().stop(),
            _ => service.postgres_mut().crash(),
        }
        let start = Stopwatch::start();
        let failure = transaction.reply().await.expect_err("no command was sent");
        assert_eq!(failure.what(), (Code::Unavailable, "CONNECTION_LOST"), "{end}: {failure:?}");
        assert_eq!(failure.outcome, "NOT_APPLIED", "{end}");
        start.assert_within(AT_ONCE, end);
        if ["stopped", "crashed"].contains(&end) {
            service.postgres_mut().resume();
            let client = &service.client;
            eventually_async("it is back", PATIENCE, async || {
                client.query("select 1", &[]).await.ok().map(drop)
            })
            .await;
        }
    }
    let rows = service.postgres().psql("select sum(n) from t");
    assert_eq!(rows, "0", "nothing of them is there");
}

#[tokio::test]
async fn a_caller_that_falls_silent_holds_its_locks_for_the_idle_timeout() {
    let service = service("").await;
    let (proxy, client) = far(&service).await;
    let limit = Duration::from_secs(1);
    let start = Instant::now();
    let transaction = locking(&client, idle(limit)).await;
    // Its machine is gone, and nothing tells.
    proxy.set_weather(Weather { black_hole: true, ..Weather::default() });
    lock_within(&service, limit + limit / 2, "its lock").await;
    assert!(start.elapsed() >= limit, "it held its lock for {:?} at most", start.elapsed());
    drop(transaction);
}

#[tokio::test]
async fn the_longest_duration_ends_a_statement_that_runs() {
    let service = service("").await;
    let limit = Duration::from_millis(1500);
    let start = Stopwatch::start();
    let mut transaction = locking(&service.client, lasting(limit)).await;
    transaction.send_query(LONG).await;
    running(service.postgres(), 1, "pg_sleep(60)").await;
    lock_within(&service, limit + AT_ONCE, "its lock").await;
    let failure = transaction.result().await.expect_err("it takes too long");
    assert_eq!(failure.what(), (Code::Aborted, "TRANSACTION_TIMEOUT"), "{failure:?}");
    assert!(start.elapsed() >= limit, "it took {:?}", start.elapsed());
    start.assert_within(limit + AT_ONCE, "the end");
}

#[tokio::test]
async fn a_server_that_stops_rolls_back_who_waits_and_does_what_was_sent() {
    let mut service = service("").await;
    let postgres = Arc::new(service.take_postgres());
    let (holding, sent) = (service.client.clone(), Client::connect(service.server.grpc()).await);
    let mut idle = locking(&holding, TransactionOptions::default()).await;
    let mut pipelined = begin(&sent, TransactionOptions::default()).await;
    pipelined.send_query("select pg_sleep(2)").await;
    pipelined.send_query("insert into t values (3, 3)").await;
    pipelined.send(Command::Commit(Commit {})).await;
    running(&postgres, 1, "pg_sleep(2)").await;
    let start = Stopwatch::start();
    service.server.signal("TERM");
    let failure = idle.reply().await.expect_err("the server ends");
    assert_eq!(failure.what(), (Code::Unavailable, "SHUTTING_DOWN"), "{failure:?}");
    assert_eq!(failure.outcome, "NOT_APPLIED");
    start.assert_within(AT_ONCE, "what it was told");
    let lock = format!("set lock_timeout = '1s'; {LOCK}");
    let other = Arc::clone(&postgres);
    tokio::task::spawn_blocking(move || other.psql(&lock)).await.expect("its locks are gone");
    pipelined.result().await.expect("it runs to its end");
    pipelined.result().await.expect("what was sent is done");
    assert!(matches!(pipelined.reply().await, Ok(Some(Reply::Committed(_)))));
    let Service { client, mut server, .. } = service;
    drop((idle, pipelined, holding, sent, client));
    assert!(server.wait_for_exit(Duration::from_secs(10)).success());
    assert_eq!(postgres.psql("select n from t order by id"), "1\n0\n3");
}

#[tokio::test]
async fn a_commit_is_finished_whatever_becomes_of_its_caller() {
    let mut service = service("").await;
    let postgres = service.take_postgres();
    let (proxy, client) = far(&service).await;
    let any = TransactionOptions::default();
    let cancelled = committing(&service.client, 1, any).await;
    let (closed, reset) = (committing(&client, 2, any).await, committing(&client, 3, any).await);
    running(&postgres, 3, "COMMIT").await;
    drop(cancelled);
    proxy.cut_all(Cut::Reset);
    slow_rows(&postgres, "1 2 3").await;
    drop((closed, reset));
}

#[tokio::test]
async fn a_commit_is_finished_although_a_limit_or_the_server_ends() {
    let mut service = service("").await;
    let postgres = service.take_postgres();
    let half = Duration::from_millis(1500);
    let mut limited = committing(&service.client, 1, lasting(half)).await;
    let any = TransactionOptions::default();
    let mut late = begin_within(&service.client, any, half).await;
    start_commit(&mut late, 2).await;
    assert!(matches!(limited.reply().await, Ok(Some(Reply::Committed(_)))));
    // Its caller could not wait for the answer.
    let failure = late.reply().await.expect_err("it takes longer");
    assert_eq!(failure.what(), (Code::Unknown, "OUTCOME_UNKNOWN"), "{failure:?}");
    slow_rows(&postgres, "1 2").await;

    let mut last = committing(&service.client, 3, any).await;
    running(&postgres, 1, "COMMIT").await;
    service.server.signal("TERM");
    assert!(matches!(last.reply().await, Ok(Some(Reply::Committed(_)))));
    slow_rows(&postgres, "1 2 3").await;
}

#[tokio::test]
async fn waiting_for_a_share_and_for_a_connection_is_bounded_together() {
    let settings = "pool.max = 2\npool.transaction_share = 0.5\npool.acquire_timeout = \"2s\"";
    let service = service(settings).await;
    let first = begin(&service.client, TransactionOptions::default()).await;
    let mut others = Vec::new();
    for _ in 0..2 {
        let client = service.client.clone();
        others.push(tokio::spawn(async move { client.query("select pg_sleep(5)", &[]).await }));
    }
    running(service.postgres(), 1, "pg_sleep(5)").await;
    let mut second = service.client.transact().await;
    let start = Stopwatch::start();
    second.send(Command::Begin(Begin::default())).await;
    idle_for(Duration::from_millis(500)).await;
    // The share is free now; the connection is for the query that came before.
    first.rollback().await.expect("it rolls back");
    let failure = second.reply().await.expect_err("all connections are in use");
    let took = start.elapsed();
    assert_eq!(failure.what(), (Code::ResourceExhausted, "POOL_EXHAUSTED"), "{failure:?}");
    assert!(failure.retry_after.is_some(), "{failure:?}");
    assert!(took >= Duration::from_millis(1950), "{took:?}");
    start.assert_within(Duration::from_millis(2200), "the refusal");
    for other in others {
        other.await.expect("no panic").expect("it runs");
    }
}

#[tokio::test]
async fn results_of_any_size_take_constant_memory() {
    let service = Service::start(Backend::Postgres).await;
    let rows =
        |count: u32| format!("select n, repeat('x', 200) from generate_series(1, {count}) n");
    let mut transaction = begin(&service.client, TransactionOptions::default()).await;
    for _ in 0..20 {
        transaction.query(&rows(20_000), &[]).await.expect("it runs");
    }
    let before = service.server.resident();
    transaction.send_query(&rows(1_000_000)).await;
    let (mut seen, mut parts, mut peak) = (0, 0, 0);
    loop {
        let Ok(Some(Reply::Result(part))) = transaction.reply().await else { panic!("a result") };
        seen += part.result_set.expect("it has one").rows.len();
        parts += 1;
        if parts == 10 {
            // Nothing is read for a while, and the socket's buffers are full.
            idle_for(Duration::from_secs(2)).await;
        }
        peak = peak.max(service.server.resident());
        if !part.more {
            break;
        }
    }
    let growth = peak.saturating_sub(before);
    eprintln!("{parts} replies, {} KiB of growth", growth >> 10);
    assert_eq!(seen, 1_000_000);
    assert!(growth < GROWTH, "it grew by {} KiB", growth >> 10);
    transaction.commit().await.expect("it commits");
}

#[tokio::test]
async fn commands_sent_ahead_take_bounded_memory_and_are_all_done() {
    let service = service("").await;
    let mut transaction = begin(&service.client, TransactionOptions::default()).await;
    let before = service.server.resident();
    transaction.send_query("select pg_sleep(2)").await;
    let sender = transaction.sender();
    let sending = tokio::spawn(async move {
        for sequence in 100_u32..200 {
            let text = Value::text("x".repeat(1 << 20));
            let sql = "insert into t values ($1, length($2::text))";
            let insert = query(sql, &[Value::int64(i64::from(sequence)), text]);
            let command = Some(Command::Query(insert));
            sender.send(TransactRequest { sequence, command }).await.expect("it is open");
        }
    });
    running(service.postgres(), 1, "pg_sleep(2)").await;
    idle_for(Duration::from_secs(1)).await;
    let peak = service.server.resident();
    assert!(!sending.is_finished(), "all of it was read");
    let growth = peak.saturating_sub(before);
    eprintln!("{} KiB of growth", growth >> 10);
    assert!(growth < GROWTH, "it grew by {} KiB", growth >> 10);
    for _ in 0..=100 {
        transaction.result().await.expect("it runs");
    }
    sending.await.expect("no panic");
    transaction.sequence = 1_000;
    transaction.commit().await.expect("it commits");
    assert_eq!(service.postgres().psql("select count(*) from t where n = 1 << 20"), "100");
}

#[tokio::test]
async fn what_follows_a_commit_holds_up_no_other_call_of_its_connection() {
    let service = service("").await;
    let mut transaction = committing(&service.client, 1, TransactionOptions::default()).await;
    let sender = transaction.sender();
    running(service.postgres(), 1, "COMMIT").await;
    // Many times what HTTP/2 lets one connection have unread.
    for sequence in 100_u32..300 {
        let command = Some(Command::Query(query("select $1", &[Value::text("x".repeat(1 << 16))])));
        sender.send(TransactRequest { sequence, command }).await.expect("it is read");
    }
    let text = Value::text("x".repeat(1 << 16));
    let sql = "select count(*) from slow where length($1::text) > 0";
    let before = service.client.must(sql, &[text]).await;
    assert_eq!(before.rows[0].values, [Value::int64(0)], "the commit still runs");
    assert!(matches!(transaction.reply().await, Ok(Some(Reply::Committed(_)))));
    transaction.end().await.expect("it ends well");
}
