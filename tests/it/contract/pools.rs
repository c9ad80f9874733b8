//! Operators' view of a pool and their actions on it, by its RPCs.

use std::time::Duration;

use rowgate::value::proto::transact_request::Command;
use rowgate::value::proto::{
    Begin, Commit, ListCheckoutsRequest, PausePoolRequest, PausePoolResponse, QueryOptions,
    ReconnectPoolRequest, ResizePoolRequest, ResumePoolRequest, TerminateCheckoutRequest,
    WatchPoolStatsRequest, WatchPoolStatsResponse,
};
use tonic::{Code, Status, Streaming};

use super::contract;
use crate::harness::behind::KEYS;
use crate::harness::client::{Failure, PATIENCE, request_with, with_deadline};
use crate::harness::unit::{batch, keyed};
use crate::harness::wait::eventually_async;
use crate::harness::{Backend, Service};

contract! {
    a_pause_lets_open_work_end_and_queues_what_comes
    a_pause_answers_as_soon_as_the_last_work_has_ended
    a_pause_says_what_is_open_at_its_deadline
    a_pause_that_another_call_ends_says_so
    who_holds_a_connection_is_listed
    a_terminated_transaction_is_told_and_rolled_back
    a_reconnect_closes_idle_connections_now_and_others_later
    bounds_are_changed_and_checked
    a_watch_tells_changes_at_once_and_the_rest_now_and_then
    a_watch_ends_at_its_deadline
    a_watch_ends_when_the_server_does
    calls_that_change_a_pool_name_it
}

contract! {
    with "pool.acquire_timeout = \"200ms\"":
    a_call_that_a_pause_outlasts_is_told_of_it
    a_call_whose_deadline_passes_in_a_pause_is_told_of_the_pause
    only_statements_that_were_sent_are_counted
}

fn main() -> String {
    "main".to_owned()
}

fn wire(duration: Duration) -> Option<prost_types::Duration> {
    duration.try_into().ok()
}

async fn pause(service: &Service, timeout: Duration) -> PausePoolResponse {
    let request = PausePoolRequest { pool: main(), timeout: wire(timeout) };
    let answer = service.pools().pause_pool(with_deadline(request, PATIENCE)).await;
    answer.expect("it pauses").into_inner()
}

async fn resume(service: &Service) -> (bool, u32) {
    let answer = service.pools().resume_pool(ResumePoolRequest { pool: main() }).await;
    let answer = answer.expect("it resumes").into_inner();
    (answer.was_paused, answer.waiting)
}

async fn a_pause_lets_open_work_end_and_queues_what_comes(service: Service) {
    service.client.must("create table t (id integer)", &[]).await;
    let mut transaction = service.client.begin().await;
    transaction.query("insert into t values (1)", &[]).await.expect("it runs");
    let paused = pause(&service, Duration::ZERO).await;
    assert_eq!((paused.paused, paused.still_open), (true, 1), "{paused:?}");
    assert!(service.pool().await.paused);

    let client = service.client.clone();
    let waiting = tokio::spawn(async move { client.query("select count(*) from t", &[]).await });
    service.until_pool("the new call waits", |pool| pool.waiting == 1).await;
    // What was let in goes on.
    transaction.query("insert into t values (2)", &[]).await.expect("it goes on");
    transaction.send(Command::Commit(Commit {})).await;
    transaction.reply().await.expect("it commits");
    let rest = pause(&service, PATIENCE).await;
    assert_eq!((rest.paused, rest.still_open), (true, 0), "{rest:?}");
    assert!(!waiting.is_finished(), "nothing is let in");

    assert_eq!(resume(&service).await, (true, 1));
    let result = waiting.await.expect("no panic").expect("it was let in");
    assert_eq!(result.rows[0].values, [rowgate::value::Value::int64(2)]);
    assert_eq!(resume(&service).await, (false, 0));
}

async fn a_pause_answers_as_soon_as_the_last_work_has_ended(service: Service) {
    let mut transaction = service.client.begin().await;
    transaction.query("select 1", &[]).await.expect("it runs");
    let mut pools = service.pools();
    let request = PausePoolRequest { pool: main(), timeout: None };
    let call = async move { pools.pause_pool(with_deadline(request, PATIENCE)).await };
    let pausing = tokio::spawn(call);
    service.until_pool("it is paused", |pool| pool.paused).await;
    assert!(!pausing.is_finished(), "a transaction is open");
    transaction.send(Command::Commit(Commit {})).await;
    transaction.reply().await.expect("it commits");
    drop(transaction);
    let answer = pausing.await.expect("no panic").expect("it pauses").into_inner();
    assert_eq!((answer.paused, answer.still_open), (true, 0), "{answer:?}");
    assert!(!answer.instance.is_empty() && answer.waited.is_some(), "{answer:?}");
}

async fn a_pause_says_what_is_open_at_its_deadline(service: Service) {
    let mut transaction = service.client.begin().await;
    transaction.query("select 1", &[]).await.expect("it runs");
    // The caller's deadline alone: the answer comes a little before it, which a busy machine may spoil.
    let mut all = Vec::new();
    for deadline in [500, 2000, 8000].map(Duration::from_millis) {
        let request = PausePoolRequest { pool: main(), timeout: None };
        all.push(service.pools().pause_pool(with_deadline(request, deadline)).await);
        let Some(Ok(answer)) = all.last() else {
            resume(&service).await;
            continue;
        };
        let answer = answer.get_ref();
        assert_eq!((answer.paused, answer.still_open), (true, 1), "{answer:?}");
        let waited = Duration::try_from(answer.waited.expect("it waited")).expect("a duration");
        assert!(waited >= deadline * 4 / 5, "{waited:?} of {deadline:?}");
        break;
    }
    assert!(all.last().is_some_and(Result::is_ok), "it never came in time: {all:?}");
    let negative = prost_types::Duration { seconds: -1, nanos: 0 };
    let request = PausePoolRequest { pool: main(), timeout: Some(negative) };
    let failure = Failure::from(service.pools().pause_pool(request).await.expect_err("negative"));
    assert_eq!(failure.what(), (Code::InvalidArgument, "INVALID_OPTION"));
    assert_eq!(failure.fields(), ["timeout"]);
}

async fn a_pause_that_another_call_ends_says_so(service: Service) {
    let mut transaction = service.client.begin().await;
    transaction.query("select 1", &[]).await.expect("it runs");
    let mut pools = service.pools();
    let request = PausePoolRequest { pool: main(), timeout: None };
    let pausing =
        tokio::spawn(async move { pools.pause_pool(with_deadline(request, PATIENCE)).await });
    service.until_pool("it is paused", |pool| pool.paused).await;
    assert_eq!(resume(&service).await, (true, 0));
    let answer = pausing.await.expect("no panic").expect("it answers").into_inner();
    assert!(!answer.paused && answer.still_open == 1, "{answer:?}");
}

async fn a_call_that_a_pause_outlasts_is_told_of_it(service: Service) {
    pause(&service, PATIENCE).await;
    let failure = service.client.must_fail("select 1", &[]).await;
    assert_eq!(failure.what(), (Code::Unavailable, "POOL_PAUSED"), "{failure:?}");
    assert!(failure.retry_after.is_some(), "{failure:?}");
    resume(&service).await;
    service.client.must("select 1", &[]).await;
}

async fn a_call_whose_deadline_passes_in_a_pause_is_told_of_the_pause(service: Service) {
    pause(&service, PATIENCE).await;
    // By the option, as the client's own timer may be the first at a deadline that it sends.
    let timeout = wire(Duration::from_millis(120));
    let brief = request_with("select 1", QueryOptions { timeout, ..QueryOptions::default() });
    let failure = service.client.run(brief).await.expect_err("the pool is paused");
    assert_eq!(failure.what(), (Code::Unavailable, "POOL_PAUSED"), "{failure:?}");
}

async fn only_statements_that_were_sent_are_counted(service: Service) {
    let client = &service.client;
    client.must("create table t (id integer primary key)", &[]).await;
    if service.backend == Backend::Postgres {
        client.must(KEYS, &[]).await;
    } else {
        service.install_keys();
    }
    let count = async || service.pool().await.statements;
    let before = count().await;
    pause(&service, PATIENCE).await;
    let refused = (0..20).map(|_| client.query("insert into t values (1)", &[]));
    for refused in futures_util::future::join_all(refused).await {
        assert_eq!(refused.expect_err("the pool is paused").reason, "POOL_PAUSED");
    }
    assert_eq!(client.batch(batch(&["select 1"; 3])).await.unwrap_err().reason, "POOL_PAUSED");
    resume(&service).await;
    client.must_fail("selec 1", &[]).await;
    client.must_fail("insert into t values ($1)", &[]).await;
    assert_eq!(count().await, before, "none of them was sent");

    client.must("insert into t values (1)", &[]).await;
    client.batch(batch(&["insert into t values (2)", "select 1"])).await.expect("it runs");
    let keyed = request_with("insert into t values (3)", keyed("k"));
    client.run(keyed).await.expect("it runs");
    let mut transaction = client.begin().await;
    transaction.query("insert into t values (4)", &[]).await.expect("it runs");
    transaction.query("select count(*) from t", &[]).await.expect("it runs");
    transaction.commit().await.expect("it commits");
    client.must_fail("insert into t values (1)", &[]).await;
    assert_eq!(count().await, before + 7, "the last one ran, and failed");
}

async fn who_holds_a_connection_is_listed(service: Service) {
    let mut transaction = service.client.transact().await;
    transaction.send(Command::Begin(Begin { tag: "report".to_owned(), ..Begin::default() })).await;
    transaction.reply().await.expect("it opens");
    transaction.query("select 'a secret' as note", &[]).await.expect("it runs");
    let first = service.checkout(|one| one.rpc == "Transact").await;
    assert_eq!((first.pool.as_str(), first.tag.as_str()), ("main", "report"), "{first:?}");
    assert_eq!(first.caller, "127.0.0.1", "{first:?}");
    assert!(first.since.is_some() && first.age.is_some() && !first.leak, "{first:?}");
    assert!(!first.statement.contains("secret"), "no literals: {first:?}");
    let mut second = service.client.transact().await;
    let mode = rowgate::value::proto::TransactionOptions {
        access_mode: rowgate::value::proto::AccessMode::ReadOnly.into(),
        ..Default::default()
    };
    second.send(Command::Begin(Begin { transaction: Some(mode), ..Begin::default() })).await;
    second.reply().await.expect("it opens");
    eventually_async("both are listed, the older first", PATIENCE, async || {
        let all = service.pools().list_checkouts(ListCheckoutsRequest::default()).await;
        let all = all.expect("all pools").into_inner().checkouts;
        (all.len() == 2 && all[0].id == first.id && all[1].id != first.id).then_some(())
    })
    .await;
    drop((transaction, second));
    eventually_async("none is left", PATIENCE, async || {
        service.checkouts().await.is_empty().then_some(())
    })
    .await;
}

async fn a_terminated_transaction_is_told_and_rolled_back(service: Service) {
    service.client.must("create table t (id integer)", &[]).await;
    let mut transaction = service.client.begin().await;
    transaction.query("insert into t values (1)", &[]).await.expect("it runs");
    let checkout = service.checkout(|one| one.rpc == "Transact").await.id;
    let request = TerminateCheckoutRequest { pool: main(), checkout };
    service.pools().terminate_checkout(request.clone()).await.expect("it is there");
    let ended = tokio::time::timeout(PATIENCE, transaction.reply()).await.expect("it is told");
    let failure = ended.expect_err("it is over");
    assert_eq!(failure.what(), (Code::Aborted, "TERMINATED"), "{failure:?}");
    service.until_pool("the connection is back", |pool| pool.in_use == 0).await;
    let count = service.client.must("select count(*) from t", &[]).await;
    assert_eq!(count.rows[0].values, [rowgate::value::Value::int64(0)]);
    let again = service.pools().terminate_checkout(request).await.expect_err("it is over");
    assert_eq!(Failure::from(again).what(), (Code::NotFound, "CHECKOUT_NOT_FOUND"));
}

async fn a_reconnect_closes_idle_connections_now_and_others_later(service: Service) {
    service.until_pool("it is warm", |pool| pool.idle == pool.min).await;
    let mut transaction = service.client.begin().await;
    transaction.query("select 1", &[]).await.expect("it runs");
    let before = service.until_pool("one is at work", |pool| pool.in_use == 1).await;
    let request = ReconnectPoolRequest { pool: main() };
    let answer = service.pools().reconnect_pool(request).await.expect("it runs").into_inner();
    assert_eq!((answer.closed, answer.closing), (before.idle, 1), "{answer:?}");
    // The one at work is let finish.
    transaction.query("select 1", &[]).await.expect("it goes on");
    transaction.send(Command::Commit(Commit {})).await;
    transaction.reply().await.expect("it commits");
    let closed = |pool: &rowgate::value::proto::PoolStats| {
        let admin = rowgate::value::proto::CloseReason::Admin;
        let count = pool.closed.iter().filter(|closed| closed.reason() == admin);
        count.map(|closed| closed.count).sum::<u64>()
    };
    let all = u64::from(before.open);
    eventually_async("all that were open are closed", PATIENCE, async || {
        let pool = service.pool().await;
        assert!(closed(&pool) <= all, "{all} were open: {pool:?}");
        (closed(&pool) == all).then_some(())
    })
    .await;
    service.client.must("select 1", &[]).await;
}

async fn bounds_are_changed_and_checked(service: Service) {
    let before = service.pool().await;
    let resize = async |min, max| {
        let request = ResizePoolRequest { pool: main(), min, max };
        let answer = service.pools().resize_pool(request).await;
        answer.map(tonic::Response::into_inner).map_err(Failure::from)
    };
    let answer = resize(Some(1), Some(3)).await.expect("they fit");
    assert_eq!((answer.previous_min, answer.previous_max), (before.min, before.max));
    let after = service.pool().await;
    assert_eq!((answer.min, answer.max), (after.min, after.max));
    assert!(after.max < before.max, "{answer:?}");
    for (min, max) in [(None, Some(0)), (Some(4), None), (Some(9), Some(8)), (None, None)] {
        let failure = resize(min, max).await.expect_err("they do not fit");
        assert_eq!(failure.what(), (Code::InvalidArgument, "INVALID_OPTION"), "{min:?} {max:?}");
    }
    assert_eq!(service.pool().await.max, after.max);
    service.client.must("select 1", &[]).await;
}

async fn watch(
    service: &Service,
    interval: Option<Duration>,
) -> Result<Streaming<WatchPoolStatsResponse>, Status> {
    let request = WatchPoolStatsRequest { pool: main(), interval: interval.and_then(wire) };
    service.pools().watch_pool_stats(request).await.map(tonic::Response::into_inner)
}

async fn next(stream: &mut Streaming<WatchPoolStatsResponse>) -> WatchPoolStatsResponse {
    let message = tokio::time::timeout(PATIENCE, stream.message()).await.expect("in time");
    message.expect("it goes on").expect("it goes on")
}

async fn a_watch_tells_changes_at_once_and_the_rest_now_and_then(service: Service) {
    let mut changes = watch(&service, Some(Duration::from_secs(3600))).await.expect("it begins");
    let first = next(&mut changes).await;
    assert_eq!(first.pools.len(), 1, "{first:?}");
    assert!(!first.instance.is_empty() && !first.pools[0].paused, "{first:?}");
    pause(&service, Duration::ZERO).await;
    while !next(&mut changes).await.pools[0].paused {}
    resume(&service).await;
    while next(&mut changes).await.pools[0].paused {}

    // Of what is at rest something is told at the interval.
    let mut often = watch(&service, Some(Duration::from_millis(100))).await.expect("it begins");
    let start = std::time::Instant::now();
    for _ in 0..5 {
        next(&mut often).await;
    }
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(350), "more than ten a second: five in {took:?}");
    for wrong in [Duration::from_millis(99), Duration::from_secs(3601)] {
        let failure = Failure::from(watch(&service, Some(wrong)).await.expect_err("out of bounds"));
        assert_eq!(failure.what(), (Code::InvalidArgument, "INVALID_OPTION"));
        assert_eq!(failure.fields(), ["interval"]);
    }
}

async fn a_watch_ends_at_its_deadline(service: Service) {
    let request = WatchPoolStatsRequest::default();
    let request = with_deadline(request, Duration::from_millis(500));
    let stream = service.pools().watch_pool_stats(request).await.expect("it begins");
    let mut stream = stream.into_inner();
    let ended = loop {
        match stream.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it ended without a status"),
            Err(status) => break Failure::from(status),
        }
    };
    assert_eq!(ended.what(), (Code::DeadlineExceeded, "DEADLINE"));
}

async fn a_watch_ends_when_the_server_does(service: Service) {
    let mut stream = watch(&service, None).await.expect("it begins");
    next(&mut stream).await;
    service.server.signal("TERM");
    let ended = loop {
        let message = tokio::time::timeout(PATIENCE, stream.message()).await.expect("it ends");
        if let Err(status) = message {
            break Failure::from(status);
        }
    };
    assert_eq!(ended.what(), (Code::Unavailable, "SHUTTING_DOWN"));
    let mut server = service.server;
    // On a thread of its own: the client must be able to hear that it shall go.
    let exit = tokio::task::spawn_blocking(move || server.wait_for_exit(Duration::from_secs(10)));
    assert!(exit.await.expect("no panic").success());
}

async fn calls_that_change_a_pool_name_it(service: Service) {
    for (pool, what) in [
        ("", (Code::InvalidArgument, "INVALID_OPTION")),
        ("mian", (Code::NotFound, "POOL_NOT_FOUND")),
    ] {
        let (mut pools, pool) = (service.pools(), pool.to_owned());
        let request = PausePoolRequest { pool: pool.clone(), timeout: None };
        let paused = pools.pause_pool(request).await.map(drop);
        let resumed = pools.resume_pool(ResumePoolRequest { pool: pool.clone() }).await.map(drop);
        let request = ReconnectPoolRequest { pool: pool.clone() };
        let reconnected = pools.reconnect_pool(request).await.map(drop);
        let request = ResizePoolRequest { pool: pool.clone(), min: None, max: Some(1) };
        let resized = pools.resize_pool(request).await.map(drop);
        let request = TerminateCheckoutRequest { pool: pool.clone(), checkout: 1 };
        let terminated = pools.terminate_checkout(request).await.map(drop);
        for refused in [paused, resumed, reconnected, resized, terminated] {
            let failure = Failure::from(refused.expect_err("no such pool"));
            assert_eq!(failure.what(), what, "{failure:?}");
            assert!(failure.report.hint.contains("main"), "{failure:?}");
        }
    }
    assert!(!service.pool().await.paused);
}
