//! Listeners: notifications of channels over one connection, what they are told when it is lost, and how they end.

mod bursts;
mod gaps;
mod limits;
mod notifications;
mod refusals;

use std::time::{Duration, SystemTime};

use rowgate::value::proto::listen_response::Event;
use rowgate::value::proto::{ListenRequest, ListenResponse};
use tokio::time::timeout;
use tonic::Streaming;

use crate::harness::client::{Client, Failure, PATIENCE, with_deadline};
use crate::harness::postgres::Postgres;
use crate::harness::wait::eventually_async;
use crate::harness::{Backend, Service};

/// The sessions in which the gateway listens: what they were asked last tells them.
const SESSIONS: &str = "from pg_stat_activity where query ~ '^(UN)?LISTEN '";

/// A listener of a test.
struct Listener(Streaming<ListenResponse>);

impl Listener {
    /// Begins to listen; the call ends after [`PATIENCE`].
    async fn open(client: &Client, channels: &[&str]) -> Result<Self, Failure> {
        Self::open_on(client, "", channels).await
    }

    async fn open_on(client: &Client, database: &str, channels: &[&str]) -> Result<Self, Failure> {
        let request = listen(database, channels);
        let stream = client.raw().listen(with_deadline(request, PATIENCE)).await?;
        Ok(Self(stream.into_inner()))
    }

    /// Listens, once the server has said so.
    async fn start(client: &Client, channels: &[&str]) -> Self {
        let mut listener = Self::open(client, channels).await.expect("it is let in");
        let event = listener.next().await.expect("it listens");
        assert!(matches!(event, Event::Listening(_)), "{event:?}");
        listener
    }

    /// The failure of a call that never listens.
    async fn refused(client: &Client, channels: &[&str]) -> Failure {
        Self::refused_on(client, "", channels).await
    }

    async fn refused_on(client: &Client, database: &str, channels: &[&str]) -> Failure {
        match Self::open_on(client, database, channels).await {
            Ok(mut listener) => listener.next().await.expect_err("it cannot listen"),
            Err(failure) => failure,
        }
    }

    /// The next event, or the failure that ends the listener.
    async fn next(&mut self) -> Result<Event, Failure> {
        let message = timeout(PATIENCE, self.0.message()).await.expect("an event comes in time")?;
        Ok(message.expect("it ends by a status").event.expect("it is known"))
    }

    /// The channel and the payload of the notification that is next.
    async fn notification(&mut self) -> (String, String) {
        match self.next().await {
            Ok(Event::Notification(one)) => (one.channel, one.payload),
            other => panic!("it is no notification: {other:?}"),
        }
    }

    /// The moment since which notifications may be missing: the next event tells it.
    async fn gap(&mut self) -> SystemTime {
        match self.next().await {
            Ok(Event::Gap(gap)) => gap.since.expect("it is told").try_into().expect("it is a time"),
            other => panic!("it is no gap: {other:?}"),
        }
    }
}

fn listen(database: &str, channels: &[&str]) -> ListenRequest {
    let channels = channels.iter().map(|name| (*name).to_owned()).collect();
    ListenRequest { database: database.to_owned(), channels }
}

/// Returns a service on PostgreSQL.
async fn service(settings: &str) -> Service {
    Service::with(Backend::Postgres, settings).await
}

fn notify(postgres: &Postgres, channel: &str, payload: &str) {
    postgres.psql(&format!("select pg_notify('{channel}', '{payload}')"));
}

/// The number of sessions that listen.
fn sessions(postgres: &Postgres) -> usize {
    postgres.psql(&format!("select count(*) {SESSIONS}")).parse().expect("a number")
}

/// Ends the session that listens.
fn kill(postgres: &Postgres) {
    let killed = postgres.psql(&format!("select count(pg_terminate_backend(pid)) {SESSIONS}"));
    assert_eq!(killed, "1", "one session listens");
}

async fn until_sessions(postgres: &Postgres, count: usize) {
    eventually_async("so many sessions listen", Duration::from_secs(20), async || {
        (sessions(postgres) == count).then_some(())
    })
    .await;
}
