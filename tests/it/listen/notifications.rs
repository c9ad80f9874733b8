//! Notifications arrive: in order, as they were sent, at those who listen.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

use rowgate::value::Value;
use rowgate::value::proto::listen_response::Event;

use super::{Listener, notify, service, sessions, until_sessions};
use crate::harness::http;
use crate::harness::process::send;
use crate::harness::server::rowgate;
use crate::harness::wait::eventually;

#[tokio::test]
async fn notifications_come_in_the_order_of_their_commits() {
    let service = service("").await;
    let client = &service.client;
    let mut both = Listener::start(client, &["a", "b"]).await;
    let mut one = Listener::start(client, &["b"]).await;
    let sql = "select pg_notify(case i % 3 when 0 then 'a' when 1 then 'b' else 'c' end, i::text) \
               from generate_series(1, 600) i";
    service.postgres().psql(sql);
    service.postgres().psql("select pg_notify('a', 'last'); select pg_notify('b', 'last')");
    for i in (1..=600).filter(|i| i % 3 != 2) {
        let channel = if i % 3 == 0 { "a" } else { "b" };
        assert_eq!(both.notification().await, (channel.to_owned(), i.to_string()));
        if channel == "b" {
            assert_eq!(one.notification().await, ("b".to_owned(), i.to_string()));
        }
    }
    assert_eq!(both.notification().await, ("a".to_owned(), "last".to_owned()));
    assert_eq!(both.notification().await, ("b".to_owned(), "last".to_owned()));
    assert_eq!(one.notification().await, ("b".to_owned(), "last".to_owned()));
    assert_eq!(sessions(service.postgres()), 1);
}

#[tokio::test]
async fn names_are_exact_and_payloads_arrive_as_they_are() {
    let service = service("").await;
    let longest = "é".repeat(31) + "x";
    let names = ["Orders", "orders", "a\"b\"; drop table t; --", "two words", "\u{1}\t", &longest];
    let mut listener = Listener::start(&service.client, &names).await;
    let control: String = (1..=0x20).filter_map(char::from_u32).collect();
    let long = "x".repeat(7999);
    let payloads = ["", "plain", "'\"\\$$\n\r\t", &control, "日本語 \u{1f600} \u{10ffff}", &long];
    for name in names {
        for payload in payloads {
            let parameters = [Value::text(name), Value::text(payload)];
            service.client.must("select pg_notify($1, $2)", &parameters).await;
            let came = listener.notification().await;
            assert_eq!(came, (name.to_owned(), payload.to_owned()));
        }
    }
    let pid: i32 = service
        .postgres()
        .psql("notify orders, 'by psql'; select pg_backend_pid()")
        .parse()
        .expect("a number");
    match listener.next().await {
        Ok(Event::Notification(one)) => {
            assert_eq!((&*one.payload, one.process_id), ("by psql", pid))
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn all_listeners_share_one_connection_which_ends_behind_the_last_one() {
    let service = service("listen.idle_timeout = \"100ms\"").await;
    let postgres = service.postgres();
    let mut listeners = Vec::new();
    for number in 0..60 {
        let name = format!("c{}", number % 10);
        listeners.push((Listener::start(&service.client, &[&name, "every"]).await, name));
    }
    assert_eq!(sessions(postgres), 1);
    let status = http::get(service.server.ops(), "/status").await.json();
    let listen = &status["databases"][0]["listen"];
    assert_eq!((&listen["listeners"], &listen["channels"]), (&60.into(), &11.into()), "{listen}");
    postgres.psql("notify every, 'to all'; notify c3, 'to some'");
    for (listener, name) in &mut listeners {
        assert_eq!(listener.notification().await.1, "to all");
        if *name == "c3" {
            assert_eq!(listener.notification().await.1, "to some");
        }
    }
    let metrics = http::get(service.server.ops(), "/metrics").await.body;
    for line in [
        "rowgate_listeners{db_namespace=\"main\"} 60",
        "rowgate_listen_notifications_total{db_namespace=\"main\"} 2",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    listeners.truncate(1);
    // What nobody listens to any more is told to the server.
    notify(postgres, "c9", "to nobody");
    notify(postgres, "c0", "still here");
    let (mut last, _) = listeners.remove(0);
    assert_eq!(last.notification().await.1, "still here");
    drop(last);
    until_sessions(postgres, 0).await;
    let mut again = Listener::start(&service.client, &["every"]).await;
    notify(postgres, "every", "again");
    assert_eq!(again.notification().await.1, "again");
    assert_eq!(sessions(postgres), 1);
}

#[tokio::test]
async fn the_command_prints_notifications_as_they_come() {
    let service = service("").await;
    let address = format!("http://{}", service.server.grpc());
    let mut command = rowgate(service.server.directory());
    command.args(["listen", "orders", "--json", "--address", &address]);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("the binary was built");
    let output = child.stdout.take().expect("the pipe was asked for");
    let mut lines = BufReader::new(output).lines().map(|line| line.expect("it is text"));
    assert_eq!(lines.next().as_deref(), Some("{\"event\":\"listening\"}"));
    notify(service.postgres(), "orders", "4711");
    let line = lines.next().expect("it is printed at once");
    let event: serde_json::Value = serde_json::from_str(&line).expect("it is JSON");
    assert_eq!(
        (&event["event"], &event["channel"], &event["payload"]),
        (&"notification".into(), &"orders".into(), &"4711".into())
    );
    assert!(send("INT", &child.id().to_string()));
    let status =
        eventually("it ends", Duration::from_secs(10), || child.try_wait().expect("it is ours"));
    assert!(status.success(), "{status}");
}
