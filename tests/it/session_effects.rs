//! Statements that cost a reset of the session: those that may leave something in it, by the catalogs.

use rowgate::value::proto::pool_service_client::PoolServiceClient;
use rowgate::value::proto::{ListPoolStatsRequest, PoolStats};

use crate::harness::Service;
use crate::harness::client::PATIENCE;
use crate::harness::postgres::Postgres;
use crate::harness::wait::eventually_async;

const SETUP: &str = "
    create extension pg_trgm;
    create type mood as enum ('sad', 'happy');
    create table plain (id serial primary key, name text, mood mood, at timestamptz default now());
    create index on plain (lower(name)) where length(name) > 1;
    create table identified (id int generated always as identity, name text);
    create table child (id int primary key, parent int references plain on delete cascade);
    create table grandparent (id int primary key);
    create table parent (id int primary key references grandparent on delete cascade);
    create table triggered (id int primary key references parent on delete cascade);
    create function noop() returns trigger language plpgsql as $$ begin return new; end $$;
    create trigger noop before insert or delete on triggered for each row execute function noop();
    create table parted (id int, at date) partition by range (at);
    create table parted_1 partition of parted for values from ('2026-01-01') to ('2027-01-01');
    create table parted_odd (id int, at date) partition by range (at);
    create table parted_odd_1 partition of parted_odd for values from ('2026-01-01') to ('2027-01-01');
    create trigger noop before insert on parted_odd_1 for each row execute function noop();
    create function own(int) returns int language sql stable as 'select $1';
    create function own_row(plain) returns int language sql stable as 'select 1';
    create view seen as select * from plain;
    create domain even as int check (own(value) % 2 = 0);
    create table domained (id even);
    create table checked (id int check (own(id) > 0));
    create table indexed (id int);
    create function fixed(int) returns int language sql immutable as 'select $1';
    create index on indexed (fixed(id));
    create table ruled (id int);
    create rule also as on insert to ruled do also select own(1);
    create table secured (id int);
    alter table secured enable row level security;
    create sequence numbers;";

/// Statements after which the session is as before.
const TRACELESS: &[&str] = &[
    "select 1 + $1::int4",
    "select * from plain",
    "select p.id, p.name, p.at from plain as p join child as c on c.parent = p.id where p.mood = 'sad'",
    "select count(*), max(lower(name)), now(), random(), gen_random_uuid() from plain",
    "select similarity(name, 'x') from plain",
    "select * from pg_stat_activity",
    "select table_name from information_schema.tables",
    "select * from generate_series(1, 3) as n",
    "insert into plain (name) values ('x') returning id",
    "insert into identified (name) values ('x')",
    "update plain set name = upper(name) where id = 1",
    "insert into plain (id, name) values (1, 'y') on conflict (id) do update set name = excluded.name",
    "insert into child values (1, 1)",
    "insert into parted values (1, '2026-05-05')",
    "delete from parted where id = 1",
    "select * from parted",
    "select nextval('numbers')",
    "select * from plain for update",
    "with gone as (delete from child returning parent) select * from gone",
    "select pg_advisory_xact_lock(1)",
];

/// Statements that may leave something.
const TOUCHING: &[&str] = &[
    "select own(1)",
    "select p.own_row from plain as p",
    "select * from seen",
    "select set_config('my.leak', 'x', false)",
    "select pg_try_advisory_lock(1)",
    "select table_to_xml('seen', true, true, '')",
    "select lastval() from (select nextval('numbers') offset 0) as n",
    "insert into triggered select 1 from plain",
    "delete from parent",
    "delete from grandparent",
    "insert into parted_odd values (1, '2026-05-05')",
    "insert into domained values (2)",
    "insert into checked values (2)",
    "insert into indexed values (2)",
    "insert into ruled values (2)",
    "select * from secured",
    "insert into secured values (1)",
    "select 2::even",
    "set work_mem = '4MB'",
    "create table made (id int)",
    "explain select 1",
];

/// The pool, when no connection is in use: one that is being cleaned still is.
pub(crate) async fn pool(service: &Service) -> PoolStats {
    let mut pools = PoolServiceClient::new(service.client.channel());
    eventually_async("the connection is back", PATIENCE, async || {
        let answer = pools.list_pool_stats(ListPoolStatsRequest::default()).await;
        let pool = answer.expect("it runs").into_inner().pools.remove(0);
        (pool.in_use == 0).then_some(pool)
    })
    .await
}

async fn service(settings: &str) -> Service {
    let postgres = Postgres::start();
    postgres.psql(SETUP);
    Service::on(
        postgres,
        &format!(
            "session_statements = \"allow\"\n{settings}\n[databases.main.pool]\nmin = 1\nmax = 1"
        ),
    )
    .await
}

/// Returns the statements that reset the session, each run twice.
pub(crate) async fn resetting<'a>(service: &Service, statements: &[&'a str]) -> Vec<&'a str> {
    let mut resetting = Vec::new();
    for &sql in statements {
        for _ in 0..2 {
            let before = pool(service).await.resets;
            let parameters = [rowgate::value::proto::Value::int64(1)];
            let count = usize::from(sql.contains("$1"));
            // Some fail the second time; that changes nothing.
            drop(service.client.query(sql, &parameters[..count]).await);
            if pool(service).await.resets > before && resetting.last() != Some(&sql) {
                resetting.push(sql);
            }
        }
    }
    resetting
}

#[tokio::test]
async fn only_what_may_leave_a_trace_costs_a_reset() {
    let service = service("").await;
    assert_eq!(resetting(&service, TRACELESS).await, [""; 0]);
    assert_eq!(resetting(&service, TOUCHING).await, TOUCHING);
}

/// The statements of pgbench's scripts, and the same on a schema with expressions of built-in functions.
const PGBENCH: &[&str] = &[
    "select abalance from pgbench_accounts where aid = $1",
    "update pgbench_accounts set abalance = abalance + 1 where aid = $1",
    "update pgbench_tellers set tbalance = tbalance + 1 where tid = $1",
    "update pgbench_branches set bbalance = bbalance + 1 where bid = $1",
    "insert into pgbench_history (tid, bid, aid, delta, mtime) values (1, 1, $1, 1, current_timestamp)",
    "select id, name from indexed_by where lower(name) = 'x' and id = $1",
    "insert into indexed_by (name) values ('x')",
    "update indexed_by set name = upper(name) where id = $1",
    "delete from indexed_by where id = $1",
];

#[tokio::test]
async fn the_statements_of_pgbench_need_no_reset() {
    let service = service("").await;
    service.postgres().psql(
        "create table pgbench_accounts (aid int primary key, bid int, abalance int, filler char(84));
         create table pgbench_tellers (tid int primary key, bid int, tbalance int, filler char(84));
         create table pgbench_branches (bid int primary key, bbalance int, filler char(88));
         create table pgbench_history (tid int, bid int, aid int, delta int, mtime timestamp, filler char(22));
         create table indexed_by (id serial primary key, name text check (length(name) < 100),
           at timestamptz default now());
         create index on indexed_by (lower(name)) where name <> '';
         -- PostgreSQL 13 has no statistics on expressions.
         do $$ begin create statistics by_length on (length(name)), (upper(name)) from indexed_by;
         exception when feature_not_supported then null; end $$;",
    );
    assert_eq!(resetting(&service, PGBENCH).await, [""; 0]);
}

#[tokio::test]
async fn an_operator_of_somebodys_makes_everything_suspect() {
    let service = service("").await;
    service.postgres().psql(
        "create function plus(int, text) returns int language sql as 'select own($1)';
         create operator + (leftarg = int, rightarg = text, function = plus);",
    );
    let reading = ["select * from plain", "select count(*) from plain"];
    assert_eq!(resetting(&service, &reading).await, reading);
}

#[tokio::test]
async fn a_trigger_made_later_is_seen_when_the_catalogs_are_asked_anew() {
    let service = service("catalog_ttl = \"0s\"").await;
    let insert = ["insert into plain (name) values ('x')"];
    assert_eq!(resetting(&service, &insert).await, [""; 0]);
    service
        .postgres()
        .psql("create trigger noop before insert on plain for each row execute function noop()");
    assert_eq!(resetting(&service, &insert).await, insert);
}

#[tokio::test]
async fn what_a_sequence_gave_is_hidden_from_whoever_could_ask_for_it() {
    let service = service("").await;
    service.client.must("insert into plain (name) values ('x')", &[]).await;
    let before = pool(&service).await.resets;
    for sql in ["select lastval()", "select currval('plain_id_seq')"] {
        let failure = service.client.must_fail(sql, &[]).await;
        assert_eq!(failure.report.sqlstate, "55000", "{sql}: {failure:?}");
        service.client.must("select nextval('plain_id_seq')", &[]).await;
    }
    let pool = pool(&service).await;
    assert_eq!(pool.resets, before + 2, "only who asked caused a reset: {pool:?}");
}

#[tokio::test]
async fn random_numbers_do_not_follow_from_an_earlier_callers_seed() {
    let service = service("").await;
    let mut numbers = Vec::new();
    for _ in 0..2 {
        service.client.must("select setseed(0.5)", &[]).await;
        numbers.push(service.client.must("select random()", &[]).await.rows);
    }
    assert_ne!(numbers[0], numbers[1]);
}
