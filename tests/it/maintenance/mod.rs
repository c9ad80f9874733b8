//! Maintenance: what a server does by itself to the file of SQLite, and what `rowgate maintain` does.

mod by_command;

use std::fs;
use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;
use serde_json::Value;

use crate::harness::client::Client;
use crate::harness::http::get;
use crate::harness::server::Server;
use crate::harness::wait::{Stutter, eventually_async, idle_for};

const PATIENCE: Duration = Duration::from_secs(20);

/// A database whose file can give pages back, and a server that maintains it several times a second.
async fn served(directory: &Path, settings: &str) -> (Server, Client) {
    let path = directory.join("shop.db");
    let connection = Connection::open(&path).expect("it is made");
    connection
        .execute_batch("pragma auto_vacuum = incremental; create table t (id integer primary key, n integer, b text);\
                        create index by_n on t (n)")
        .expect("it is made");
    drop(connection);
    let url = format!("sqlite:{}", path.display());
    let server = Server::start(&format!("[databases.main]\nurl = \"{url}\"\n{settings}\n"));
    let client = Client::connect(server.grpc()).await;
    (server, client)
}

async fn maintenance(server: &Server) -> Value {
    get(server.ops(), "/status").await.json()["databases"][0]["maintenance"].clone()
}

const FILL: &str = "with recursive c(i) as (select 1 union all select i + 1 from c where i < 5000) \
                    insert into t select i, i % 7, printf('%0500d', i) from c";

#[tokio::test]
async fn a_run_frees_pages_makes_statistics_empties_the_log_and_is_seen() {
    let directory = tempfile::tempdir().expect("a directory");
    let settings = "sqlite_maintenance_interval = \"100ms\"\nsqlite_log_limit = \"64KiB\"";
    let (server, client) = served(directory.path(), settings).await;
    client.must(FILL, &[]).await;
    let size = |name: &str| fs::metadata(directory.path().join(name)).map_or(0, |file| file.len());
    eventually_async("the log is written into the file", PATIENCE, async || {
        (size("shop.db") > 2 << 20).then_some(())
    })
    .await;
    let full = size("shop.db");
    client.must("delete from t where id > 500", &[]).await;
    eventually_async("the pages are given back", PATIENCE, async || {
        (size("shop.db") < full / 2 && size("shop.db-wal") <= 64 << 10).then_some(())
    })
    .await;
    let seen = eventually_async("the run is told", PATIENCE, async || {
        Some(maintenance(&server).await).filter(|seen| seen["last"]["partial"] == false)
    })
    .await;
    assert!(seen["done"].as_u64() > Some(0) && seen["failed"] == 0, "{seen}");
    assert_eq!(seen["last"]["error"], Value::Null, "{seen}");
    let statistics = client.must("select count(*) from sqlite_stat1 where tbl = 't'", &[]).await;
    assert_eq!(statistics.rows[0].values, [rowgate::value::proto::Value::int64(1)]);
    // The file is smaller before the run that did it has ended.
    eventually_async("the freed pages are counted", PATIENCE, async || {
        let metrics = get(server.ops(), "/metrics").await.body;
        let freed = "rowgate_maintenance_pages_freed_total";
        let line = metrics.lines().find(|line| line.starts_with(freed)).expect("it is there");
        let freed: f64 = line.rsplit_once(' ').expect("a number").1.parse().expect("a number");
        (freed > 100.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn nothing_is_done_where_nothing_was_written() {
    let directory = tempfile::tempdir().expect("a directory");
    let settings = "sqlite_maintenance_interval = \"50ms\"";
    let (server, client) = served(directory.path(), settings).await;
    client.must("insert into t values (1, 1, '')", &[]).await;
    let skipped = async || {
        let seen = maintenance(&server).await;
        (seen["skipped"].as_u64() > Some(2)).then_some(seen)
    };
    let before = eventually_async("runs are skipped", PATIENCE, skipped).await;
    let more = before["skipped"].as_u64().expect("a number") + 5;
    let later = eventually_async("further ones are", PATIENCE, async || {
        Some(maintenance(&server).await).filter(|seen| seen["skipped"].as_u64() > Some(more))
    })
    .await;
    assert_eq!(later["done"], before["done"], "{later}");
    client.must("insert into t values (2, 2, '')", &[]).await;
    eventually_async("a write is followed by a run", PATIENCE, async || {
        (maintenance(&server).await["done"].as_u64() > later["done"].as_u64()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn it_can_be_turned_off() {
    let directory = tempfile::tempdir().expect("a directory");
    let (server, client) = served(directory.path(), "sqlite_maintenance_interval = \"0s\"").await;
    client.must(FILL, &[]).await;
    idle_for(Duration::from_millis(300)).await;
    let seen = maintenance(&server).await;
    assert_eq!((&seen["done"], &seen["last"]), (&0.into(), &Value::Null), "{seen}");
}

#[tokio::test]
async fn writes_go_on_while_pages_are_freed() {
    let directory = tempfile::tempdir().expect("a directory");
    let settings = "sqlite_maintenance_interval = \"20ms\"";
    let (server, client) = served(directory.path(), settings).await;
    client.must(&FILL.replace("5000", "40000"), &[]).await;
    client.must("delete from t where id > 10", &[]).await;
    let (mut slowest, stutter) = (Duration::ZERO, Stutter::watch());
    let mut id = 1_000_000;
    eventually_async("the pages are given back", PATIENCE, async || {
        let start = std::time::Instant::now();
        client.must(&format!("insert into t values ({id}, 1, '')"), &[]).await;
        slowest = slowest.max(start.elapsed());
        id += 1;
        let seen = maintenance(&server).await;
        let file = fs::metadata(directory.path().join("shop.db")).expect("it is there").len();
        (seen["done"].as_u64() > Some(0) && file < 4 << 20).then_some(())
    })
    .await;
    let limit = Duration::from_secs(1) + stutter.allowance();
    assert!(slowest < limit, "a write waited for {slowest:?}");
    eprintln!("{} writes beside the maintenance, the slowest in {slowest:?}", id - 1_000_000);
}
