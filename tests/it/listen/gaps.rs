//! A connection that is lost is told to everybody who listened, and to nobody twice.

use std::time::{Duration, SystemTime};

use tonic::Code;

use super::{Listener, kill, notify, service, until_sessions};
use crate::failover::url;
use crate::harness::behind::Behind;
use crate::harness::client::Client;
use crate::harness::postgres::Postgres;
use crate::harness::proxy::Weather;
use crate::harness::server::Server;
use crate::harness::wait::eventually_async;

#[tokio::test]
async fn a_killed_connection_is_a_gap_for_every_listener_and_then_they_listen_again() {
    let service = service("").await;
    let postgres = service.postgres();
    let mut listeners = Vec::new();
    for number in 0..40 {
        let name = format!("c{}", number % 4);
        listeners.push(Listener::start(&service.client, &[&name, "all"]).await);
    }
    for round in 0..3 {
        let before = SystemTime::now();
        kill(postgres);
        for listener in &mut listeners {
            let since = listener.gap().await;
            let age = before.duration_since(since).expect("the gap begins before the loss");
            assert!(age < Duration::from_secs(40), "{age:?}");
        }
        notify(postgres, "all", &round.to_string());
        for listener in &mut listeners {
            assert_eq!(listener.notification().await, ("all".to_owned(), round.to_string()));
        }
    }
}

#[tokio::test]
async fn a_restart_of_the_database_is_a_gap_and_no_end() {
    let mut service = service("").await;
    let mut listener = Listener::start(&service.client, &["a"]).await;
    for crash in [false, true] {
        if crash {
            service.postgres_mut().crash();
        } else {
            service.postgres_mut().stop();
        }
        // Who comes meanwhile learns why it cannot listen.
        let refused = Listener::refused(&service.client, &["a"]).await;
        assert_eq!(refused.what(), (Code::Unavailable, "DATABASE_UNAVAILABLE"), "{refused:?}");
        service.postgres_mut().resume();
        listener.gap().await;
        notify(service.postgres(), "a", "back");
        assert_eq!(listener.notification().await.1, "back");
    }
}

#[tokio::test]
async fn a_server_that_has_vanished_is_noticed_by_the_check() {
    let settings = "listen.check_interval = \"200ms\"\npool.connect_timeout = \"500ms\"\n";
    let behind = Behind::start(Postgres::start(), settings, &[]).await;
    let mut listener = Listener::start(&behind.client, &["a"]).await;
    notify(&behind.postgres, "a", "1");
    assert_eq!(listener.notification().await.1, "1");
    let before = SystemTime::now();
    behind.proxy.set_weather(Weather { black_hole: true, ..Weather::default() });
    eventually_async("it is noticed", Duration::from_secs(20), async || {
        behind.server.log().contains("listening connection lost").then_some(())
    })
    .await;
    behind.proxy.set_weather(Weather::default());
    let since = listener.gap().await;
    assert!(since <= before, "the gap begins before nothing more was heard");
    notify(&behind.postgres, "a", "2");
    assert_eq!(listener.notification().await.1, "2");
}

#[tokio::test]
async fn listeners_follow_a_failover_to_the_next_primary() {
    let mut first = Postgres::with(&["hot_standby=on"]);
    first.admit_standbys();
    let second = Postgres::standby_of(&first);
    let url = url(&[&first, &second]) + "?target_session_attrs=read-write";
    let server = Server::start(&format!("[databases.main]\nurl = \"{url}\"\n"));
    let client = Client::connect(server.grpc()).await;
    let mut listener = Listener::start(&client, &["a"]).await;
    first.stop();
    second.promote();
    listener.gap().await;
    notify(&second, "a", "from the next one");
    assert_eq!(listener.notification().await.1, "from the next one");
}

#[tokio::test]
async fn nobody_listens_to_a_standby() {
    let primary = Postgres::start();
    primary.admit_standbys();
    let standby = Postgres::standby_of(&primary);
    let server = Server::start(&format!("[databases.main]\nurl = \"{}\"\n", standby.url()));
    let client = Client::connect(server.grpc()).await;
    let refused = Listener::refused(&client, &["a"]).await;
    assert_eq!(refused.what(), (Code::Unavailable, "NOT_PRIMARY"), "{refused:?}");
    assert!(refused.report.hint.contains("target_session_attrs=read-write"), "{refused:?}");
    until_sessions(&standby, 0).await;
}

#[tokio::test]
async fn an_operator_who_replaces_the_connections_replaces_this_one_too() {
    let service = service("").await;
    let mut listener = Listener::start(&service.client, &["a"]).await;
    let request = rowgate::value::proto::ReconnectPoolRequest { pool: "main".to_owned() };
    service.pools().reconnect_pool(request).await.expect("it is there");
    listener.gap().await;
    until_sessions(service.postgres(), 1).await;
}
