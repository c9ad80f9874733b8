//! MariaDB or MySQL as a server: over its socket, with its connections killed, and crashed.

use rowgate::value::proto::{ReconnectPoolRequest, Value};

use crate::harness::client::{Client, PATIENCE};
use crate::harness::mariadb::Mariadb;
use crate::harness::server::Server;
use crate::harness::wait::eventually_async;
use crate::harness::{Backend, Service};

#[tokio::test]
async fn the_socket_is_a_way_to_the_database() {
    let mariadb = Mariadb::start();
    let url = mariadb.socket_url();
    let server = Server::start(&format!("[databases.main]\nurl = \"{url}\"\n"));
    let client = Client::connect(server.grpc()).await;
    client.must("create table t (id integer primary key)", &[]).await;
    client.must("insert into t values ($1)", &[Value::int64(7)]).await;
    assert_eq!(mariadb.sql("select id from t"), "7");
    let user = client.must("select current_user()", &[]).await;
    assert_eq!(user.rows[0].values, [Value::text("rowgate@%")]);
}

#[tokio::test]
async fn connections_that_the_pool_closes_are_no_aborted_clients() {
    let service = Service::start(Backend::Mariadb).await;
    service.client.must("select 1", &[]).await;
    let count = |name: &str| {
        let row = service.mariadb().sql(&format!("show global status like '{name}'"));
        row.rsplit('\t').next().and_then(|text| text.parse::<u32>().ok()).expect("a number")
    };
    let before = count("Connections");
    let reconnect = ReconnectPoolRequest { pool: "main".to_owned() };
    service.pools().reconnect_pool(reconnect).await.expect("it is there");
    service.client.must("select 1", &[]).await;
    eventually_async("the closed ones are gone", PATIENCE, async || {
        let open = service.pool().await.open;
        // Beside the pool's: the probe, and who asks.
        (count("Threads_connected") <= open + 2 && count("Connections") > before + 1).then_some(())
    })
    .await;
    assert_eq!(count("Aborted_clients"), 0, "{}", service.mariadb().log());
}

#[tokio::test]
async fn reads_go_on_when_connections_are_killed() {
    let service = Service::start(Backend::Mariadb).await;
    for round in 0..5 {
        service.client.must("select 1", &[]).await;
        assert!(service.mariadb().kill_connections() > 0, "round {round}");
        let read = service.client.must("select 2", &[]).await;
        assert_eq!(read.rows[0].values, [Value::int64(2)], "round {round}");
    }
}

#[tokio::test]
async fn what_was_answered_is_there_after_a_crash() {
    let mut service = Service::start(Backend::Mariadb).await;
    service.client.must("create table t (id integer primary key)", &[]).await;
    for id in 1..=20 {
        service.client.must("insert into t values ($1)", &[Value::int64(id)]).await;
    }
    service.mariadb_mut().crash();
    let failure = service.client.must_fail("insert into t values (21)", &[]).await;
    assert_ne!(failure.outcome, "APPLIED", "{failure:?}");
    service.mariadb_mut().resume();
    eventually_async("the database is found again", PATIENCE, async || {
        service.client.query("select 1", &[]).await.ok().map(drop)
    })
    .await;
    let count = service.client.must("select count(*) from t where id <= 20", &[]).await;
    assert_eq!(count.rows[0].values, [Value::int64(20)]);
}
