//! The limits of a caller: what is over them is refused, and nobody else notices.

use std::time::{Duration, Instant};

use rowgate::value::proto::server_service_client::ServerServiceClient;
use rowgate::value::proto::transact_request::Command;
use rowgate::value::proto::{Begin, GetServerInfoRequest, TransactRequest};
use tonic::Code;

use super::{Guarded, headers};
use crate::harness::Backend;
use crate::harness::client::{Client, Failure, PATIENCE, read_only, request, request_with};
use crate::harness::unit::batch;
use crate::harness::wait::{Stopwatch, eventually_async};

const CALLERS: &[(&str, &str)] = &[
    ("calls", "databases = ['main']\nread_only = false\nrpcs = METHODS\nmax_calls = 2"),
    ("rate", "databases = ['main']\nread_only = false\nrpcs = METHODS\nmax_rate = 5"),
    ("units", "databases = ['main']\nread_only = false\nrpcs = METHODS\nmax_transactions = 1"),
    (
        "small",
        "databases = ['main']\nread_only = false\nrpcs = METHODS\nmax_batch = 2\nmax_rows = 3",
    ),
    ("brief", "databases = ['main']\nread_only = false\nrpcs = METHODS\nmax_deadline = '500ms'"),
    ("sockets", "databases = ['main']\nrpcs = METHODS\nmax_connections = 1"),
    ("free", "databases = ['main']\nread_only = false\nrpcs = METHODS"),
];

const BACKENDS: [Backend; 2] = [Backend::Sqlite, Backend::Postgres];

/// Opens the stream of a transaction and sends nothing.
async fn open(client: &Client) -> Option<Failure> {
    let silent = tokio_stream::pending::<TransactRequest>();
    client.raw().transact(silent).await.err().map(Failure::from)
}

fn check_limit(failure: &Failure, key: &str) {
    assert_eq!(failure.what(), (Code::ResourceExhausted, "CALLER_LIMIT"), "{failure:?}");
    assert_eq!(failure.outcome, "NOT_APPLIED");
    assert!(failure.retry_after.is_some_and(|pause| !pause.is_zero()), "{failure:?}");
    assert!(failure.report.hint.contains(key), "{failure:?}");
}

#[tokio::test]
async fn the_connections_of_a_caller_are_limited() {
    let guarded = Guarded::start(Backend::Sqlite, CALLERS).await;
    let call = async |client: &Client| client.run(request_with("select 1", read_only())).await;
    let first = guarded.client("sockets");
    call(&first).await.expect("the first");
    let another = Client::connect(guarded.service.server.grpc()).await;
    let bearer = format!("Bearer {}", guarded.token("sockets"));
    let second = another.with_headers(headers(&[("authorization", bearer.as_bytes())]));
    let failure = call(&second).await.expect_err("the second");
    check_limit(&failure, "callers.sockets.max_connections");
    call(&first).await.expect("it is the first still");
    // The same connection, another caller.
    let bearer = format!("Bearer {}", guarded.token("free"));
    let free = another.with_headers(headers(&[("authorization", bearer.as_bytes())]));
    free.must("select 1", &[]).await;
}

#[tokio::test]
async fn calls_and_transactions_at_once_are_limited_for_their_caller_alone() {
    for backend in BACKENDS {
        let guarded = Guarded::start(backend, CALLERS).await;
        let free = guarded.client("free");
        for (caller, key, room) in [
            ("calls", "callers.calls.max_calls", 2),
            ("units", "callers.units.max_transactions", 1),
        ] {
            let client = guarded.client(caller);
            let mut held = Vec::new();
            for _ in 0..room {
                held.push(client.transact().await);
            }
            check_limit(&open(&client).await.expect("it is over the limit"), key);
            if caller == "calls" {
                check_limit(&client.must_fail("select 1", &[]).await, key);
            } else {
                client.must("select 1", &[]).await;
            }
            free.must("select 1", &[]).await;
            free.begin().await.rollback().await.expect("it is not disturbed");
            drop(held);
            eventually_async("there is room again", PATIENCE, async || {
                client.query("select 1", &[]).await.ok()
            })
            .await;
            eventually_async("there is room again", PATIENCE, async || {
                open(&client).await.is_none().then_some(())
            })
            .await;
        }
    }
}

#[tokio::test]
async fn calls_a_second_are_limited_for_their_caller_alone() {
    let guarded = Guarded::start(Backend::Sqlite, CALLERS).await;
    let (client, free) = (guarded.client("rate"), guarded.client("free"));
    let start = Instant::now();
    let mut admitted = 0.0;
    for _ in 0..40 {
        match client.query("select 1", &[]).await {
            Ok(_) => admitted += 1.0,
            Err(failure) => check_limit(&failure, "callers.rate.max_rate"),
        }
        free.must("select 1", &[]).await;
    }
    let most = 5.0 + 1.0 + 5.0 * start.elapsed().as_secs_f64();
    assert!((5.0..=most).contains(&admitted), "{admitted} of 40, at most {most}");
    eventually_async("a call is admitted again", Duration::from_secs(5), async || {
        client.query("select 1", &[]).await.ok()
    })
    .await;
}

#[tokio::test]
async fn batches_rows_and_deadlines_are_limited() {
    for backend in BACKENDS {
        let guarded = Guarded::start(backend, CALLERS).await;
        let [small, free, brief] = ["small", "free", "brief"].map(|name| guarded.client(name));
        let three = ["select 1", "select 2", "select 3"];
        // A connection is there then, which a short deadline would not wait for.
        free.batch(batch(&three)).await.expect("it is not limited");
        let failure = small.batch(batch(&three)).await.expect_err("it is too long");
        assert_eq!(failure.what(), (Code::InvalidArgument, "INVALID_PARAMETER"));
        assert!(failure.message.contains("1 to 2 statements"), "{failure:?}");
        small.batch(batch(&three[..2])).await.expect("two are allowed");

        let rows = |count| {
            format!(
                "with recursive n(i) as (select 1 union all select i + 1 from n where i < {count}) \
                 select i from n"
            )
        };
        let failure = small.must_fail(&rows(4), &[]).await;
        assert_eq!(failure.what(), (Code::ResourceExhausted, "RESULT_TOO_LARGE"));
        small.must(&rows(3), &[]).await;
        free.must(&rows(4), &[]).await;

        // Long for a deadline, and short enough for a test that fails.
        let long = rows(100_000_000).replace("select i from n", "select count(*) from n");
        let long = match backend {
            Backend::Sqlite | Backend::Mariadb => long,
            Backend::Postgres => "select pg_sleep(30)".to_owned(),
        };
        let start = Stopwatch::start();
        let failure = brief.must_fail(&long, &[]).await;
        assert_eq!(failure.what(), (Code::DeadlineExceeded, "DEADLINE"), "{failure:?}");
        brief.stream(request(&long, &[])).await.expect_err("it is late");
        let mut transaction = brief.transact().await;
        transaction.send(Command::Begin(Begin::default())).await;
        transaction.reply().await.expect("it opens");
        transaction.query(&long, &[]).await.expect_err("it is late");
        start.assert_within(Duration::from_secs(5), "the three of them");
    }
}

#[tokio::test]
async fn a_caller_is_told_the_limits_that_hold_for_it() {
    let guarded = Guarded::start(Backend::Sqlite, CALLERS).await;
    let own = (1000, 10_000);
    for (caller, limits) in [("small", (2, 3)), ("brief", own), ("free", own)] {
        let client = guarded.client(caller);
        let mut server = ServerServiceClient::new(client.wire());
        let info = server.get_server_info(GetServerInfoRequest {}).await.expect("it is told");
        let info = info.into_inner().databases.remove(0);
        assert_eq!((info.max_batch, info.max_rows), limits, "{info:?}");
        let deadlines = [info.default_deadline, info.max_deadline].map(|it| it.expect("it is set"));
        let is_short = deadlines.iter().all(|it| (it.seconds, it.nanos) == (0, 500_000_000));
        assert_eq!(is_short, caller == "brief", "{deadlines:?}");
    }
}
