//! MariaDB or MySQL: several servers, of which one takes writes; the others have `read_only`, or are not there.

use std::collections::BTreeMap;
use std::time::Duration;

use rowgate::value::Kind;

use super::load::Load;
use super::{LEFT, configuration, writes_go_on};
use crate::harness::client::Client;
use crate::harness::mariadb::{Mariadb, PASSWORD, ROLE};
use crate::harness::server::{self, Server};
use crate::harness::wait::{Stopwatch, eventually};

const TABLE: &str = "create table t (id bigint primary key)";

/// The URL of several servers, tried in this order.
fn url(servers: &[&Mariadb]) -> String {
    let place = |server: &&Mariadb| format!("127.0.0.1:{}", server.port());
    let places: Vec<_> = servers.iter().map(place).collect();
    format!("mysql://{ROLE}:{}@{}/test", PASSWORD.replace(' ', "%20"), places.join(","))
}

/// Makes a server refuse writes, or take them again, without a word to those who are connected.
fn set_read_only(server: &Mariadb, read_only: bool) {
    server.sql(&format!("set global read_only = {}", u8::from(read_only)));
}

/// Two servers with a table and keys each, of which the first takes writes, and a server on both.
async fn service(more: &str) -> (Mariadb, Mariadb, Server, Client) {
    let one = Mariadb::start();
    let other = Mariadb::start();
    let server = Server::start(&configuration(&url(&[&one, &other]), more));
    for mariadb in [&one, &other] {
        mariadb.sql(TABLE);
        let install = ["idempotency", "install", "--database-url", &mariadb.url()];
        let installed = server::run(server.directory(), &install, &[]);
        assert!(installed.status.success(), "{installed:?}");
    }
    set_read_only(&other, true);
    let client = Client::connect(server.grpc()).await;
    (one, other, server, client)
}

fn count(server: &Mariadb) -> usize {
    server.sql("select count(*) from t").parse().expect("a number")
}

fn until_more(server: &Mariadb, what: &str, more: usize) {
    let before = count(server);
    eventually(what, Duration::from_secs(10), || (count(server) >= before + more).then_some(()));
}

/// Waits until nobody is connected any more; how long that took.
fn all_left(server: &Mariadb) -> Duration {
    let start = Stopwatch::start();
    let connected =
        format!("select count(*) from information_schema.processlist where user = '{ROLE}'");
    eventually("all connections leave", Duration::from_secs(10), || {
        (server.sql(&connected) == "0").then_some(())
    });
    let left = start.elapsed();
    start.assert_within(LEFT, "the last connection left");
    left
}

fn rows(server: &Mariadb) -> BTreeMap<i64, u16> {
    let row = |id: &str| (id.parse().expect("a number"), server.port());
    server.sql("select id from t").lines().map(row).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_leave_a_mariadb_that_becomes_read_only() {
    let health = "[health]\ninterval = \"100ms\"";
    let (mut one, mut other, server, client) = service(health).await;
    writes_go_on(&client, "the first write").await;
    for round in 0..4 {
        // Every other time nobody calls, and the probe finds it.
        let load = (round % 2 == 0).then(|| Load::start(&client, 8, round));
        if load.is_some() {
            until_more(&one, "there is load", 100);
        }
        set_read_only(&one, true);
        set_read_only(&other, false);
        let left = all_left(&one);
        eprintln!("all had left after {left:?}");
        if let Some(load) = load {
            until_more(&other, "writes go on", 100);
            let seen = load.end().await;
            let mut both = rows(&one);
            let then = rows(&other);
            assert_eq!(both.keys().find(|id| then.contains_key(id)), None, "applied twice");
            both.extend(then);
            seen.must_agree_with(&both);
            eprintln!("{} written; what failed: {:?}", seen.written.len(), seen.reasons);
        }
        std::mem::swap(&mut one, &mut other);
        writes_go_on(&client, "a write on the other").await;
    }
    assert!(server.log().contains("takes no writes any more"), "{}", server.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_leave_a_mariadb_that_the_probe_finds_read_only_by_a_new_connection() {
    let (one, other, server, client) = service("[health]\ninterval = \"100ms\"").await;
    writes_go_on(&client, "the first write").await;
    let pooled = client.must("select connection_id()", &[]).await;
    let Some(Kind::Int64Value(pooled)) = pooled.rows[0].values[0].kind else {
        panic!("{pooled:?}")
    };
    let pooled = pooled.to_string();
    let ids = format!("select id from information_schema.processlist where user = '{ROLE}'");
    set_read_only(&other, false);
    let all = one.sql(&ids);
    assert!(all.lines().any(|id| id == pooled), "{pooled} of {all}");
    // The probe's is among them.
    let others = all.lines().filter(|id| *id != pooled);
    let kills: String = others.map(|id| format!("; kill {id}")).collect();
    one.sql(&format!("set global read_only = 1{kills}"));
    all_left(&one);
    assert!(server.log().contains("takes no writes any more"), "{}", server.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mariadb_that_is_read_only_or_down_is_passed_over() {
    let (mut one, other, _server, client) = service("").await;
    writes_go_on(&client, "the first write").await;
    assert_eq!((count(&one), count(&other)), (1, 0));
    one.crash();
    set_read_only(&other, false);
    writes_go_on(&client, "a write on the other").await;
    assert_eq!(count(&other), 1);
    one.resume();
    set_read_only(&one, true);
    other.kill_connections();
    writes_go_on(&client, "the one that is back is read-only, and is passed over").await;
    assert_eq!((count(&one), count(&other)), (1, 2));
}

#[tokio::test]
async fn where_every_mariadb_is_read_only_a_write_fails_and_applies_nothing() {
    let (one, other, server, client) = service("").await;
    writes_go_on(&client, "the first write").await;
    set_read_only(&one, true);
    let failure = client.must_fail("insert into t (id) values (7)", &[]).await;
    let reasons = ["NOT_PRIMARY", "DATABASE_UNAVAILABLE"];
    assert!(reasons.contains(&&*failure.reason), "{failure:?}\n{}", server.log());
    assert_eq!(failure.outcome, "NOT_APPLIED", "{failure:?}");
    assert_eq!((count(&one), count(&other)), (1, 0));
}
