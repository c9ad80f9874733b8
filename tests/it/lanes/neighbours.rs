//! Statements with effects, and slow ones, among short reads that share sessions: each runs once, and no read notices.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rowgate::value::Value;

use crate::chaos::rows::variable;
use crate::harness::Service;
use crate::harness::client::Client;
use crate::harness::postgres::Postgres;

const SETUP: &str = "
    create table items (id int primary key, made date);
    insert into items select n, date '2001-02-03' from generate_series(1, 1000) as n;
    create table written (statement text, id bigint);
    create sequence drawn;
    create function hidden(bigint) returns bigint language sql volatile
        as 'insert into written values (''hidden'', $1) returning id';
    create function moody(id bigint) returns bigint language plpgsql volatile as $$
        begin
            insert into written values ('moody', id);
            perform set_config('DateStyle', 'German', false), pg_advisory_lock(7), setseed(0.5);
            create temp table if not exists items (id int, made date);
            return id;
        end $$;";

/// Code of somebody's that no name in a statement tells of: with one of these, nothing in the database shares.
const UNNAMED: &str = "
    create function noted(statement text, id bigint) returns bigint language plpgsql volatile as $$
        begin
            insert into written values (statement, id);
            perform set_config('DateStyle', 'German', false);
            return id;
        end $$;
    create function loud(bigint, text) returns bigint language sql volatile as 'select noted($2, $1)';
    create operator public.=== (leftarg = bigint, rightarg = text, function = loud);
    create type wrapped as (id bigint);
    create function unwrapped(bigint) returns wrapped language sql volatile
        as 'select row(noted(''cast'', $1))::wrapped';
    create cast (bigint as wrapped) with function unwrapped(bigint);
    create domain checked as bigint check (noted('domain', value) = value);";

/// The calls of each statement from which the reads are measured by themselves, too, and the time of that.
const LONG_RUN: u64 = 1_000;
const MEASURED: Duration = Duration::from_secs(5);

/// The short read, whose text shows a setting and the table that it names.
const POINT: &str = "select id, made::text from items where id = $1";

/// A statement that is sent among the reads, of which each run leaves one row with its name in `written`.
struct Neighbour {
    name: &'static str,
    sql: &'static str,
    /// Sent once where others are sent so many times: it takes 200 ms of the processor's time.
    one_in: u64,
}

const fn neighbour(name: &'static str, sql: &'static str) -> Neighbour {
    Neighbour { name, sql, one_in: 1 }
}

const NAMED: &[Neighbour] = &[
    neighbour("hidden", "select hidden($1::bigint)"),
    neighbour("moody", "select moody($1::bigint)"),
    neighbour(
        "with",
        "with added as (insert into written values ('with', $1::bigint) returning id) select id from added",
    ),
    neighbour("", "select nextval('drawn') where $1::bigint > 0"),
    neighbour("", "select set_config('DateStyle', 'German', false) where $1::bigint > 0"),
    neighbour("", "select set_config('search_path', 'nowhere', false) where $1::bigint > 0"),
    neighbour("", "select pg_advisory_lock($1::bigint)"),
    neighbour("", "select pg_sleep(0.002) where $1::bigint > 0"),
    Neighbour {
        name: "",
        sql: "select count(*) from generate_series(1, 1500000 + $1::bigint)",
        one_in: 50,
    },
];

const BY_UNNAMED_CODE: &[Neighbour] = &[
    neighbour("operator", "select $1::bigint === 'operator'"),
    neighbour("cast", "select $1::bigint::wrapped"),
    neighbour("domain", "select $1::bigint::checked"),
    neighbour("hidden", "select hidden($1::bigint)"),
];

/// The latencies of the reads of one caller until it is told to stop.
async fn read(client: Client, first: u64, stop: Arc<AtomicBool>) -> Vec<Duration> {
    let mut took = Vec::new();
    let mut number = first;
    while !stop.load(Relaxed) {
        number += 1;
        let id = i64::try_from(number % 1000 + 1).expect("it is small");
        let began = Instant::now();
        let answer = client.must(POINT, &[Value::int64(id)]).await;
        took.push(began.elapsed());
        let expected = [Value::int64(id), Value::text("2001-02-03")];
        assert_eq!(answer.rows[0].values, expected, "a session was changed");
    }
    took
}

/// Sends a neighbour, each time with another number.
async fn send(client: Client, neighbour: &Neighbour, calls: u64) {
    for number in 1..=calls / neighbour.one_in {
        let number = i64::try_from(number).expect("it is small");
        client.must(neighbour.sql, &[Value::int64(number)]).await;
    }
}

/// The reads per second, and the 99th percentile of their latencies.
fn figures(mut took: Vec<Duration>, over: Duration) -> (f64, Duration) {
    took.sort_unstable();
    let count = u32::try_from(took.len()).expect("they are few");
    (f64::from(count) / over.as_secs_f64(), took[took.len() * 99 / 100])
}

/// Runs eight readers for as long as something else takes.
async fn reads_while(service: &Service, other: impl Future<Output = ()>) -> (f64, Duration) {
    let stop = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..8)
        .map(|reader| tokio::spawn(read(service.client.clone(), reader * 100, Arc::clone(&stop))))
        .collect();
    let began = Instant::now();
    other.await;
    let over = began.elapsed();
    stop.store(true, Relaxed);
    let took = join_all(readers).await;
    let took = took.into_iter().flat_map(|reader| reader.expect("every answer is right"));
    figures(took.collect(), over)
}

/// Sends each neighbour so many times among reads, and judges what is left.
async fn judge(setup: &str, neighbours: &'static [Neighbour], calls: u64) -> Service {
    let postgres = Postgres::start();
    postgres.psql(setup);
    let settings = "session_statements = \"allow\"\npool.max = 24";
    let service = Service::on(postgres, settings).await;
    if calls >= LONG_RUN {
        let (rate, late) = reads_while(&service, tokio::time::sleep(MEASURED)).await;
        eprintln!("reads alone: {rate:.0}/s, p99 {late:?}");
    }
    let sending = async {
        let all = neighbours.iter().map(|neighbour| send(service.client.clone(), neighbour, calls));
        join_all(all).await;
    };
    let (rate, late) = reads_while(&service, sending).await;
    eprintln!(
        "reads beside {} statements of {calls} calls: {rate:.0}/s, p99 {late:?}",
        neighbours.len()
    );
    for Neighbour { name, .. } in neighbours.iter().filter(|neighbour| !neighbour.name.is_empty()) {
        let counts =
            format!("select count(*), count(distinct id) from written where statement = '{name}'");
        let counts = service.postgres().psql(&counts);
        assert_eq!(counts.trim(), format!("{calls}|{calls}"), "each call of {name} ran once");
    }
    let left = "select (select count(*) from pg_locks where locktype = 'advisory'),
        (select count(*) from pg_stat_activity where state like 'idle in transaction%'),
        (select count(*) from pg_class where relname = 'items')";
    assert_eq!(service.postgres().psql(left).trim(), "0|0|1", "locks, transactions, tables");
    service
}

fn calls(default: u64) -> u64 {
    variable("ROWGATE_LANES_CALLS").map_or(default, |text| text.parse().expect("a number"))
}

async fn judge_named(calls: u64) {
    let service = judge(SETUP, NAMED, calls).await;
    let drawn = service.postgres().psql("select last_value from drawn");
    assert_eq!(drawn.trim(), calls.to_string(), "each call drew one number");
    let stats = service.pool().await;
    assert!(stats.lane_statements > calls, "the reads shared sessions: {stats:?}");
    eprintln!("{} reads shared, {:?}", stats.lane_statements, stats.lane_demotions);
}

async fn judge_unnamed(calls: u64) {
    let service = judge(&format!("{SETUP}{UNNAMED}"), BY_UNNAMED_CODE, calls).await;
    let stats = service.pool().await;
    assert_eq!(stats.lane_statements, 0, "an operator or cast may hide in any text: {stats:?}");
}

#[tokio::test]
async fn effects_among_shared_reads_happen_once_and_leave_no_trace() {
    judge_named(200).await;
}

#[tokio::test]
async fn code_that_no_name_tells_of_runs_once_and_keeps_all_reads_alone() {
    judge_unnamed(200).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: scripts/verify lanes runs it"]
async fn effects_among_shared_reads_in_a_long_run() {
    judge_named(calls(10_000)).await;
    judge_unnamed(calls(10_000)).await;
}
