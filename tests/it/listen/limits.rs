//! The ends of listeners: too slow, too many, at their deadline, with the server.

use std::time::{Duration, Instant};

use rowgate::value::proto::listen_response::Event;
use tonic::{Code, Request};

use super::{Listener, listen, notify, service, until_sessions};
use crate::harness::client::{Client, with_deadline};
use crate::harness::http;
use crate::harness::wait::eventually_async;

/// Long payloads: so many exceed what HTTP/2 takes for a reader that does not read.
const MANY: usize = 400;

/// The number that was padded with zeros.
fn number_of(payload: &str) -> usize {
    payload.trim_start_matches('0').parse().unwrap_or_default()
}

#[tokio::test]
async fn a_reader_that_is_too_slow_is_ended_and_no_other() {
    let service = service("listen.queue = 20\n").await;
    let slow = Client::connect(service.server.grpc()).await;
    let mut slow = Listener::start(&slow, &["a"]).await;
    let mut fast = Listener::start(&service.client, &["a"]).await;
    for number in 0..MANY {
        let sql = format!("select pg_notify('a', lpad('{number}', 7000, '0'))");
        service.client.must(&sql, &[]).await;
        let (_, payload) = fast.notification().await;
        assert_eq!(number_of(&payload), number);
    }
    let metrics = http::get(service.server.ops(), "/metrics").await.body;
    assert!(
        metrics.contains("rowgate_listen_too_slow_total{db_namespace=\"main\"} 1"),
        "{metrics}"
    );
    let mut came = 0;
    let failure = loop {
        match slow.next().await {
            Ok(Event::Notification(one)) => {
                assert_eq!(number_of(&one.payload), came);
                came += 1;
            }
            Ok(other) => panic!("{other:?}"),
            Err(failure) => break failure,
        }
    };
    assert!(came < MANY, "it was too slow");
    assert_eq!(failure.what(), (Code::Aborted, "LISTENER_TOO_SLOW"), "{failure:?}");
    assert!(failure.report.hint.contains("databases.main.listen.queue"), "{failure:?}");
}

#[tokio::test]
async fn listeners_and_their_channels_are_limited() {
    let service = service("listen.max_listeners = 2\nlisten.max_channels = 2\n").await;
    let client = &service.client;
    let first = Listener::start(client, &["a", "b"]).await;
    let _second = Listener::start(client, &["a"]).await;
    let refused = Listener::refused(client, &["a"]).await;
    assert_eq!(refused.what(), (Code::ResourceExhausted, "TOO_MANY_LISTENERS"), "{refused:?}");
    drop(first);
    eventually_async("there is room again", Duration::from_secs(10), async || {
        let mut listener = Listener::open(client, &["b"]).await.ok()?;
        listener.next().await.ok()
    })
    .await;
    let long = "x".repeat(64);
    let wrong: [(&[&str], &str); 5] = [
        (&[], "channels"),
        (&["a", "b", "c"], "channels"),
        (&["a", ""], "channels[1]"),
        (&["a\0b"], "channels[0]"),
        (&[&long], "channels[0]"),
    ];
    for (channels, field) in wrong {
        let refused = Listener::refused(client, channels).await;
        assert_eq!(refused.what(), (Code::InvalidArgument, "INVALID_OPTION"), "{refused:?}");
        assert_eq!(refused.fields(), [field]);
    }
}

#[tokio::test]
async fn a_listener_ends_at_its_deadline_and_without_one_goes_on() {
    let service = service("max_deadline = \"200ms\"\nlisten.idle_timeout = \"0s\"\n").await;
    let unlimited = service.client.raw().listen(Request::new(listen("", &["a"]))).await;
    let mut unlimited = Listener(unlimited.expect("it is let in").into_inner());
    let limited = with_deadline(listen("", &["a"]), Duration::from_secs(1));
    let start = Instant::now();
    let limited = service.client.raw().listen(limited).await.expect("it is let in");
    let mut limited = Listener(limited.into_inner());
    for listener in [&mut limited, &mut unlimited] {
        assert!(matches!(listener.next().await, Ok(Event::Listening(_))));
    }
    let ended = limited.next().await.expect_err("it has a deadline");
    assert_eq!(ended.what(), (Code::DeadlineExceeded, "DEADLINE"), "{ended:?}");
    assert!(start.elapsed() > Duration::from_millis(900), "{:?}", start.elapsed());
    notify(service.postgres(), "a", "on and on");
    assert_eq!(unlimited.notification().await.1, "on and on");
    drop(unlimited);
    until_sessions(service.postgres(), 0).await;
}

#[tokio::test]
async fn listeners_do_not_hold_up_a_shutdown() {
    let mut service = service("").await;
    let mut listeners = Vec::new();
    for _ in 0..20 {
        listeners.push(Listener::start(&service.client, &["a"]).await);
    }
    let start = Instant::now();
    service.server.signal("TERM");
    for listener in &mut listeners {
        let ended = listener.next().await.expect_err("the server ends");
        assert_eq!(ended.what(), (Code::Unavailable, "SHUTTING_DOWN"), "{ended:?}");
    }
    drop(listeners);
    let status = service.server.exit(Duration::from_secs(10)).await;
    assert!(status.success(), "{status}");
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}
