//! Several servers, of which one takes writes: another does after a while, and what was written stays.

pub(crate) mod load;
mod mariadb;
mod secrets;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rowgate::value::proto::Value;

use crate::harness::behind::KEYS;
use crate::harness::client::{Client, PATIENCE};
use crate::harness::postgres::{PASSWORD, Postgres};
use crate::harness::server::Server;
use crate::harness::wait::{Stopwatch, Stutter, eventually, eventually_async};
use load::{Load, keyed};

/// From the end of recovery to the first write.
const RESUMED: Duration = Duration::from_secs(2);

/// From the first write that is refused to the last connection's end.
pub(crate) const LEFT: Duration = Duration::from_secs(1);

const TABLE: &str = "create table t (id bigint primary key, port text not null \
                     default current_setting('port'), at timestamptz not null default clock_timestamp())";

/// The URL of several servers, tried in this order.
pub(crate) fn url(servers: &[&Postgres]) -> String {
    let place = |server: &&Postgres| format!("127.0.0.1:{}", server.port());
    let places: Vec<_> = servers.iter().map(place).collect();
    let password = PASSWORD.replace(' ', "%20");
    format!("postgres://postgres:{password}@{}/postgres", places.join(","))
}

fn configuration(url: &str, more: &str) -> String {
    format!("[databases.main]\nurl = \"{url}\"\n[databases.main.pool]\nmin = 4\nmax = 8\n{more}\n")
}

/// Counts rows by the port of the server that took them.
fn rows(postgres: &Postgres) -> BTreeMap<i64, u16> {
    let text = postgres.psql("select id, port from t");
    let row = |line: &str| {
        let (id, port) = line.split_once('|').expect("two columns");
        (id.parse().expect("a number"), port.parse().expect("a port"))
    };
    text.lines().map(row).collect()
}

/// Waits for more rows.
fn until_more(postgres: &Postgres, what: &str, more: usize) {
    let count = || postgres.psql("select count(*) from t").parse::<usize>().expect("a number");
    let before = count();
    eventually(what, Duration::from_secs(10), || (count() >= before + more).then_some(()));
}

async fn writes_go_on(client: &Client, what: &str) {
    let number = fastrand::i64(1 << 40..1 << 41);
    eventually_async(what, Duration::from_secs(10), async || {
        client.call(keyed(number), PATIENCE).await.ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_follow_the_primary_to_the_standby_that_takes_its_place() {
    promotions(1).await;
}

/// Lets two servers take turns as the primary, under load; the longest time from the end of recovery to
/// the first write.
pub(crate) async fn promotions(rounds: u32) -> Duration {
    let mut old = Postgres::start();
    old.admit_standbys();
    old.psql(TABLE);
    old.psql(KEYS);
    let mut new = Postgres::standby_of(&old);
    let server = Server::start(&configuration(&url(&[&old, &new]), ""));
    let client = Client::connect(server.grpc()).await;
    writes_go_on(&client, "the first write").await;
    let (mut slowest, stutter) = (Duration::ZERO, Stutter::watch());
    for round in 0..rounds {
        slowest = slowest.max(promotion(&mut old, &new, &client, round).await);
        std::mem::swap(&mut old, &mut new);
    }
    eprintln!("{rounds} promotions; writes resumed {slowest:?} after recovery at the latest");
    let limit = RESUMED + stutter.allowance();
    assert!(slowest <= limit, "writes resumed after {slowest:?} of {limit:?}");
    slowest
}

/// The old primary is stopped, the new one promoted, the old one comes back as its standby; returns how
/// long after its recovery the new one took the first write.
async fn promotion(old: &mut Postgres, new: &Postgres, client: &Client, round: u32) -> Duration {
    // From here on, what is acknowledged is on both.
    old.psql("alter system set synchronous_standby_names = '*'");
    old.reload();
    let load = Load::start(client, 8, round);
    until_more(old, "there is load", 100);
    old.crash();
    let crashed = new.psql("select clock_timestamp()");
    new.promote();
    let promoted = Instant::now();
    until_more(new, "writes are taken", 100);
    old.follow(new);
    // Whichever of them is asked first, the old one must not be taken.
    new.terminate_backends();
    until_more(new, "writes go on beside the old primary", 100);
    let seen = load.end().await;

    let there = rows(new);
    seen.must_agree_with(&there);
    eprintln!("{} written; what failed: {:?}", seen.written.len(), seen.reasons);
    let late = format!("select id from t where port = '{}' and at > '{crashed}'", old.port());
    assert_eq!(new.psql(&late), "", "the old primary took a write too late");
    eventually("the old primary has all of it", Duration::from_secs(10), || {
        (rows(old) == there).then_some(())
    });
    assert_eq!(old.psql("select pg_is_in_recovery()"), "t");
    let on_new = |(id, _): &(&i64, &Instant)| there.get(id) == Some(&new.port());
    let first = seen.written.iter().filter(on_new).map(|(_, at)| *at).min();
    first.expect("some were written").duration_since(promoted)
}

/// Makes a server refuse writes, or take them again, without a word to those who are connected.
pub(crate) fn set_read_only(postgres: &Postgres, read_only: bool) {
    let value = if read_only { "on" } else { "off" };
    // psql's own session is subject to it.
    postgres.psql(&format!("alter system set default_transaction_read_only = {value}"));
    postgres.reload();
}

/// Waits until nobody is connected any more; how long that took.
fn all_left(postgres: &Postgres) -> Duration {
    let start = Stopwatch::start();
    eventually("all connections leave", Duration::from_secs(10), || {
        (postgres.clients() == 0).then_some(())
    });
    let left = start.elapsed();
    start.assert_within(LEFT, "the last connection left");
    left
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_leave_a_primary_that_is_demoted_but_up() {
    demotions(2).await;
}

/// The result of demotions.
#[derive(Debug, Default)]
pub(crate) struct Demoted {
    /// The longest time until the last connection had left.
    pub(crate) left: Duration,
    /// Writes under the demotions, and what those were told that failed.
    pub(crate) written: usize,
    pub(crate) reasons: BTreeMap<String, u32>,
}

/// Demotes each of two servers in turn, while it is up and the other takes its place: every other time
/// under load, where a write that is refused tells; else idle, where the probe finds it.
pub(crate) async fn demotions(rounds: u32) -> Demoted {
    let (mut one, mut other) = (Postgres::start(), Postgres::start());
    for postgres in [&one, &other] {
        postgres.psql(TABLE);
        postgres.psql(KEYS);
    }
    set_read_only(&other, true);
    let health = "[health]\ninterval = \"100ms\"";
    let server = Server::start(&configuration(&url(&[&one, &other]), health));
    let client = Client::connect(server.grpc()).await;
    writes_go_on(&client, "the first write").await;
    assert_eq!(other.clients(), 0, "nobody stays where nothing can be written");

    let mut demoted = Demoted::default();
    for round in 0..rounds {
        assert!(one.clients() > 0, "nobody is there who could leave");
        let left = if round % 2 == 0 {
            demote_under_load(&one, &other, &client, &mut demoted, round).await
        } else {
            set_read_only(&other, false);
            set_read_only(&one, true);
            all_left(&one)
        };
        eprintln!("all had left after {left:?}");
        demoted.left = demoted.left.max(left);
        std::mem::swap(&mut one, &mut other);
        writes_go_on(&client, "a write on the other").await;
    }
    let log = server.log();
    assert!(log.contains("has changed its role") && log.contains("connected to another"), "{log}");
    demoted
}

async fn demote_under_load(
    one: &Postgres,
    other: &Postgres,
    client: &Client,
    demoted: &mut Demoted,
    round: u32,
) -> Duration {
    let load = Load::start(client, 8, round);
    until_more(one, "there is load", 100);
    set_read_only(other, false);
    set_read_only(one, true);
    let left = all_left(one);
    until_more(other, "writes go on", 100);
    let seen = load.end().await;
    let (mut both, then) = (rows(one), rows(other));
    assert_eq!(both.keys().find(|id| then.contains_key(id)), None, "applied twice");
    both.extend(then);
    seen.must_agree_with(&both);
    demoted.written += seen.written.len();
    for (reason, count) in seen.reasons {
        *demoted.reasons.entry(reason).or_default() += count;
    }
    left
}

#[tokio::test]
async fn a_caller_that_makes_its_session_read_only_disturbs_nobody() {
    let (one, other) = (Postgres::start(), Postgres::start());
    set_read_only(&other, true);
    one.psql(TABLE);
    let pool = "session_statements = \"allow\"\n[databases.main.pool]\nmin = 1\nmax = 1";
    let url = url(&[&one, &other]);
    let server = Server::start(&format!("[databases.main]\nurl = \"{url}\"\n{pool}\n"));
    let client = Client::connect(server.grpc()).await;
    let before = backend(&client).await;
    for sql in [
        "set default_transaction_read_only = on",
        "select set_config('default_transaction_read_only', 'on', false)",
        "with x as (select set_config('transaction_read_only', 'on', true) as y) \
         insert into t (id) select length(y) from x",
    ] {
        client.query(sql, &[]).await.map(drop).unwrap_or_default();
    }
    client.must("insert into t (id) values (7)", &[]).await;
    assert_eq!(backend(&client).await, before, "no connection was given up");
    assert!(!server.log().contains("has changed its role"), "{}", server.log());
}

/// The backend that serves a caller.
async fn backend(client: &Client) -> Value {
    client.must("select pg_backend_pid()", &[]).await.rows.remove(0).values.remove(0)
}

#[tokio::test]
async fn a_pool_for_reading_takes_a_standby_and_refuses_writes_for_good() {
    let primary = Postgres::start();
    primary.admit_standbys();
    primary.psql(TABLE);
    let standby = Postgres::standby_of(&primary);
    let both = url(&[&primary, &standby]);
    for session in ["standby", "read-only", "prefer-standby"] {
        let url = format!("{both}?target_session_attrs={session}");
        let server = Server::start(&configuration(&url, ""));
        assert!(server.greeting().iter().any(|line| line.contains(&format!("({session})"))));
        let client = Client::connect(server.grpc()).await;
        let there = client.must("select pg_is_in_recovery()", &[]).await;
        assert_eq!(there.rows[0].values, [Value::bool(true)], "{session}");
        let failure = client.must_fail("insert into t (id) values (1)", &[]).await;
        assert_eq!(failure.reason, "READ_ONLY", "{session}: {failure:?}");
    }
}

#[tokio::test]
async fn when_no_server_will_do_the_operator_learns_why_of_each() {
    let (one, other) = (Postgres::start(), Postgres::start());
    let both = url(&[&one, &other]);
    set_read_only(&one, true);
    let (one_port, other_port) = (one.port(), other.port());
    drop(other);
    let server = Server::start(&configuration(&both, "[health]\ninterval = \"100ms\""));
    let client = Client::connect(server.grpc()).await;
    let failure = client.must_fail("select 1", &[]).await;
    assert_eq!(failure.reason, "DATABASE_UNAVAILABLE", "{failure:?}");
    assert!(!failure.message.contains("127.0.0.1"), "{failure:?}");
    let expected = format!(
        "127.0.0.1:{one_port}: its transactions are read-only by default; \
         127.0.0.1:{other_port}: Connection refused"
    );
    eventually("the log names both", Duration::from_secs(5), || {
        server.log().contains(&expected).then_some(())
    });
}

/// The time that each caller of a planned failover has left.
const LEFT_OF_CALLERS: Duration = Duration::from_secs(10);

/// Writes until told to stop, keyed and without a key in turn; returns the numbers and the failures.
async fn write_through(
    client: Client,
    first: i64,
    stop: tokio::sync::watch::Receiver<bool>,
) -> (Vec<i64>, Vec<String>) {
    let mut written = Vec::new();
    let mut failures = Vec::new();
    for number in first.. {
        if *stop.borrow() {
            break;
        }
        let mut write = keyed(number);
        if number % 2 == 0 {
            write.options = None;
        }
        match client.call(write, LEFT_OF_CALLERS).await {
            Ok(_) => written.push(number),
            // It was in the middle of its commit, and without a key nobody can tell.
            Err(failure) if number % 2 == 0 && failure.outcome == "UNKNOWN" => {}
            Err(failure) => failures.push(format!("{number}: {failure:?}")),
        }
    }
    (written, failures)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_with_time_left_wait_through_a_planned_failover() {
    let mut old = Postgres::start();
    old.admit_standbys();
    old.psql(TABLE);
    old.psql(KEYS);
    let new = Postgres::standby_of(&old);
    let server = Server::start(&configuration(&url(&[&old, &new]), ""));
    let client = Client::connect(server.grpc()).await;
    writes_go_on(&client, "the first write").await;
    old.psql("alter system set synchronous_standby_names = '*'");
    old.reload();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let writing = |caller: i64| {
        tokio::spawn(write_through(client.clone(), caller * 10_000_000, stopped.clone()))
    };
    let callers: Vec<_> = (1..=8).map(writing).collect();
    until_more(&old, "there is load", 100);
    // A fast shutdown: what is in progress is told so, and the standby has all of it.
    old.stop();
    // Those that were in the middle of a commit repeat it meanwhile, and do not stand in line.
    eventually_async("callers wait", Duration::from_secs(5), async || {
        let status = crate::harness::http::get(server.ops(), "/status").await.json();
        let waiting = status["databases"][0]["pool"]["waiting"].as_u64();
        waiting.is_some_and(|waiting| waiting >= 4).then_some(())
    })
    .await;
    new.promote();
    until_more(&new, "writes go on", 100);
    stop.send(true).expect("they listen");
    for caller in callers {
        let (written, failures) = caller.await.expect("no caller panics");
        assert!(failures.is_empty(), "{failures:?}");
        let there = rows(&new);
        let lost: Vec<_> = written.iter().filter(|id| !there.contains_key(id)).collect();
        assert!(lost.is_empty(), "acknowledged and not there: {lost:?}");
    }
}
