//! Short reads that share connections: what may, what never does, and that nobody notices.

mod lane_faults;
mod lane_guards;
mod lane_lifetimes;
mod lane_servers;
mod lane_texts;
mod neighbours;

use rowgate::value::Value;
use rowgate::value::proto::{PoolStats, QueryOptions, ResultFormat, ResultSet};

use crate::harness::Service;
use crate::harness::client::{PATIENCE, request_with};
use crate::harness::postgres::Postgres;
use crate::harness::wait::eventually_async;

const SETUP: &str = "
    create table items (id int primary key, name text);
    insert into items select n, 'item ' || n from generate_series(1, 1000) as n;
    create sequence numbers;
    create table log (id int);
    create function hidden() returns int language sql volatile as 'insert into log values (1) returning id';
    create function sneaky() returns int language sql stable as 'select 1';
    create view seen as select * from items;
    create domain positive as int check (value > 0);
    create table secret (id int, owner text);
    insert into secret values (1, 'x');
    alter table secret enable row level security;";

/// Statements that never share a session: they write, observe or change it, or reach somebody's code.
const ALONE: &[&str] = &[
    "select nextval('numbers')",
    "select set_config('my.leak', 'x', true)",
    "select pg_advisory_xact_lock(1)",
    "select pg_sleep(0)",
    "select hidden()",
    "select sneaky()",
    "select 1::positive",
    "select random()",
    "select current_setting('statement_timeout')",
    "select pg_backend_pid()",
    "select count(*) from pg_stat_activity",
    "select count(*) from pg_class",
    "select setting from pg_settings where name = 'default_transaction_read_only'",
    "select * from items where id = 1 for update",
    "update items set name = name where id = 1",
    "show statement_timeout",
    "select count(*) from pg_prepared_statements",
    "select set_config('my.leak', 'x', false)",
    "select pg_try_advisory_lock(2)",
    "select pg_current_xact_id()",
    "select 'now'::timestamptz",
    "select 'items'::regclass",
    "select count(*) from seen",
    "select count(*) from secret",
    "with added as (insert into log values (2) returning id) select id from added",
    "explain select 1",
];

const POINT: &str = "select name from items where id = $1";

async fn service(settings: &str) -> Service {
    let postgres = Postgres::start();
    postgres.psql(SETUP);
    Service::on(postgres, &format!("session_statements = \"allow\"\n{settings}")).await
}

/// Runs a read until it has shared a session with others.
pub(crate) async fn on_lane(service: &Service, sql: &str, parameters: &[Value]) -> ResultSet {
    eventually_async("it runs on a lane", PATIENCE, async || {
        let before = service.pool().await.lane_statements;
        let answer = service.client.must(sql, parameters).await;
        (service.pool().await.lane_statements > before).then_some(answer)
    })
    .await
}

/// The number of statements that were kept off the lanes.
fn demoted(stats: &PoolStats) -> u64 {
    stats.lane_demotions.iter().map(|demotions| demotions.count).sum()
}

#[tokio::test]
async fn short_reads_share_a_session_and_answer_the_same() {
    let service = service("").await;
    let alone = service.client.must(POINT, &[Value::int64(7)]).await;
    let shared = on_lane(&service, POINT, &[Value::int64(7)]).await;
    assert_eq!(alone, shared);
    let acquired = service.pool().await.acquired;
    let calls = (1..=200).map(|id| {
        let client = service.client.clone();
        async move { client.must(POINT, &[Value::int64(id)]).await }
    });
    let answers = futures_util::future::join_all(calls).await;
    for (id, answer) in (1..).zip(answers) {
        assert_eq!(answer.rows[0].values, [Value::text(format!("item {id}"))]);
    }
    let stats = service.pool().await;
    assert!(stats.lanes > 0 && stats.acquired < acquired + 200, "{stats:?}");
    let sessions = "select count(*) from pg_stat_activity where state = 'idle in transaction'";
    assert_eq!(service.postgres().psql(sessions).trim(), "0");
}

#[tokio::test]
async fn a_result_in_arrows_format_is_the_same_from_a_shared_session() {
    let service = service("").await;
    let sql = "select id, name, id / 3::float8, case when id = 7 then null else name end, \
               date '2026-01-31' + id, 1.50::numeric(5, 2) from items where id in (7, 8) order by id";
    let options = || QueryOptions { format: ResultFormat::Arrow.into(), ..QueryOptions::default() };
    let query = async || service.client.run(request_with(sql, options())).await.expect("it runs");
    let alone = query().await;
    on_lane(&service, sql, &[]).await;
    let shared = eventually_async("it runs on a lane", PATIENCE, async || {
        let before = service.pool().await.lane_statements;
        let answer = query().await;
        (service.pool().await.lane_statements > before).then_some(answer)
    })
    .await;
    assert!(!alone.arrow.is_empty());
    assert_eq!(alone, shared);
}

#[tokio::test]
async fn what_may_write_observe_or_reach_code_never_shares_a_session() {
    let service = service("").await;
    on_lane(&service, POINT, &[Value::int64(1)]).await;
    let before = service.pool().await;
    for sql in ALONE {
        for _ in 0..8 {
            service.client.must(sql, &[]).await;
        }
    }
    let after = service.pool().await;
    assert_eq!(after.lane_statements, before.lane_statements, "{after:?}");
    assert_eq!(demoted(&after), demoted(&before), "{after:?}");
    let log = service.postgres().psql("select count(*) from log");
    assert_eq!(log.trim(), "16", "each ran once");
}

#[tokio::test]
async fn streams_and_transactions_share_no_session() {
    let service = service("").await;
    on_lane(&service, POINT, &[Value::int64(1)]).await;
    let before = service.pool().await.lane_statements;
    for _ in 0..8 {
        let request = crate::harness::client::request(POINT, &[Value::int64(1)]);
        service.client.stream(request).await.expect("it runs");
    }
    let mut transaction = service.client.begin().await;
    transaction.query(POINT, &[Value::int64(1)]).await.expect("it runs");
    transaction.commit().await.expect("it commits");
    assert_eq!(service.pool().await.lane_statements, before);
}
