//! Batches, transactions and keys on PostgreSQL, where the wire fails at a chosen place, or many callers
//! want the same row.

use std::time::{Duration, Instant};

use rowgate::value::proto::expectation::Rows;
use rowgate::value::proto::get_transaction_outcome_request::Handle;
use rowgate::value::proto::transact_request::Command;
use rowgate::value::proto::{
    AccessMode, Begin, ExecuteBatchRequest, ExecuteBatchResponse, Expectation, IsolationLevel,
    QueryOptions, TransactionOptions, TransactionState, Value,
};
use tonic::Code;

use crate::harness::behind::{Behind, KEYS};
use crate::harness::client::{Client, Failure, PATIENCE, with_deadline};
use crate::harness::postgres::Postgres;
use crate::harness::proxy::{Cut, Direction, Fault, Place, Then, Weather};
use crate::harness::unit::{Transaction, batch, keyed};
use crate::harness::wait::{Stopwatch, eventually, eventually_async};
use crate::harness::{Backend, Service};

/// The longest time that a caller accepts: there and back, once the database is reachable.
const SOON: Duration = Duration::from_secs(5);

const TOKENS: &str = "[access]\ntransaction_token_key = '0123456789abcdef0123456789abcdef'\n";

/// With one connection, that has met everything: then its next answers are those which are waited for.
async fn behind(connections: u32) -> Behind {
    let postgres = Postgres::start();
    postgres.psql(KEYS);
    postgres.psql("create table t (id serial primary key, n int)");
    let settings = format!("{TOKENS}[databases.main.pool]\nmin = 1\nmax = {connections}");
    let behind = Behind::start(postgres, &settings, &[]).await;
    for request in [batch(&INSERT), under("first", batch(&INSERT))] {
        behind.client.batch(request).await.expect("it runs");
    }
    behind.client.must("delete from t", &[]).await;
    behind
}

/// Loses an answer, from where `text` stands in it.
fn lose(text: &'static str) -> Fault {
    let then = Then::Lose(Duration::from_millis(50));
    Fault { direction: Direction::Down, place: Place::Text(text), then }
}

const INSERT: [&str; 2] = ["insert into t (n) values (1) returning id", "update t set n = n + 1"];

async fn count(client: &Client) -> i64 {
    let result = client.must("select count(*) from t", &[]).await;
    integer(&result.rows[0].values[0])
}

fn integer(value: &Value) -> i64 {
    match value.kind {
        Some(rowgate::value::Kind::Int64Value(integer)) => integer,
        _ => panic!("{value:?} is no integer"),
    }
}

fn under(key: &str, request: ExecuteBatchRequest) -> ExecuteBatchRequest {
    ExecuteBatchRequest { options: Some(keyed(key)), ..request }
}

#[tokio::test]
async fn a_lost_answer_to_a_commit_is_found_out_before_the_caller_is_answered() {
    let behind = behind(1).await;
    for (round, request) in [batch(&INSERT), under("k", batch(&INSERT))].into_iter().enumerate() {
        let happened = behind.proxy.arm(lose("COMMIT\0"));
        let start = Instant::now();
        let response = behind.client.batch(request).await.expect("it was applied");
        happened.await.expect("it was lost");
        assert!(start.elapsed() < SOON, "it took {:?}", start.elapsed());
        assert_eq!((response.attempts, response.results.len()), (1, 2));
        assert_eq!(count(&behind.client).await, i64::try_from(round).expect("small") + 1);
    }
    let mut transaction = behind.client.begin().await;
    transaction.query(INSERT[0], &[]).await.expect("it runs");
    let happened = behind.proxy.arm(lose("COMMIT\0"));
    transaction.commit().await.expect("it was applied");
    happened.await.expect("it was lost");
    assert_eq!(count(&behind.client).await, 3);
}

#[tokio::test]
async fn a_connection_lost_before_the_commit_is_tried_again_unseen() {
    let behind = behind(1).await;
    // Keyed units wait for their results before they commit: the first of them is lost here.
    let happened = behind.proxy.arm(lose("INSERT 0 1\0"));
    let response = behind.client.batch(under("k", batch(&INSERT))).await.expect("it is repeated");
    happened.await.expect("it was lost");
    assert_eq!((response.attempts, response.replayed), (2, false));
    assert_eq!(count(&behind.client).await, 1);
}

#[tokio::test]
async fn what_may_have_been_applied_is_not_repeated_without_a_key() {
    let behind = behind(1).await;
    // The number of the transaction is lost with the answer to its commit.
    let happened = behind.proxy.arm(lose("SELECT 1\0"));
    let failure = behind.client.batch(batch(&INSERT)).await.expect_err("nobody can know");
    happened.await.expect("it was lost");
    assert_eq!(failure.what(), (Code::Unknown, "OUTCOME_UNKNOWN"), "{failure:?}");
    assert_eq!((failure.outcome.as_str(), failure.retry_after), ("UNKNOWN", None));
    assert_eq!(failure.report.transaction_token, "");
    assert!(count(&behind.client).await <= 1);

    let happened = behind.proxy.arm(lose("INSERT 0 1\0"));
    let failure = behind.client.must_fail("insert into t (n) values (1)", &[]).await;
    happened.await.expect("it was lost");
    assert_eq!(failure.what(), (Code::Unknown, "OUTCOME_UNKNOWN"), "{failure:?}");
    assert!(count(&behind.client).await <= 2);
}

#[tokio::test]
async fn with_a_key_a_doubt_is_settled_in_the_same_call() {
    let behind = behind(1).await;
    // The stored response's answer comes before the transaction's number, which is lost with the rest.
    let happened = behind.proxy.arm(lose("SELECT 1\0"));
    let request = under("k", batch(&["insert into t (n) values (1) returning id"]));
    let response = behind.client.batch(request.clone()).await.expect("the key tells");
    happened.await.expect("it was lost");
    assert_eq!(count(&behind.client).await, 1);
    let again = behind.client.batch(request).await.expect("it is replayed");
    assert!(again.replayed);
    assert_eq!(again.results, response.results);
}

/// Opens a transaction under a key that has written.
async fn written_under(key: &str, client: &Client) -> Transaction {
    let mut transaction = client.transact().await;
    let idempotency_key = key.to_owned();
    transaction.send(Command::Begin(Begin { idempotency_key, ..Begin::default() })).await;
    transaction.reply().await.expect("it opens");
    transaction.query(INSERT[0], &[]).await.expect("it runs");
    transaction
}

#[tokio::test]
async fn the_key_of_a_transaction_tells_what_became_of_its_commit() {
    let behind = behind(1).await;
    let number = "pg_current_xact_id_if_assigned";
    // The answer to the commit is lost, and the transaction's number before it.
    let transaction = written_under("k", &behind.client).await;
    let happened = behind.proxy.arm(lose(number));
    transaction.commit().await.expect("the key is there");
    happened.await.expect("it was lost");
    assert_eq!(count(&behind.client).await, 1);
    // The commit never arrives.
    let transaction = written_under("l", &behind.client).await;
    let happened = behind.proxy.arm(Fault { direction: Direction::Up, ..lose(number) });
    let failure = transaction.commit().await.expect_err("the key is free");
    happened.await.expect("it was lost");
    assert_eq!(failure.what(), (Code::Unavailable, "CONNECTION_LOST"), "{failure:?}");
    assert_eq!(failure.outcome, "NOT_APPLIED");
    let transaction = written_under("l", &behind.client).await;
    transaction.commit().await.expect("the key was not taken");
    assert_eq!(count(&behind.client).await, 2);
}

/// A commit that takes until the advisory lock 1 is free: time to lose its connection.
const SLOW_COMMIT: &str = "create function wait() returns trigger language plpgsql as \
    $$ begin perform pg_advisory_xact_lock(1); return null; end $$; \
    create constraint trigger waiting after insert on t deferrable initially deferred \
    for each row execute function wait()";

/// Runs a batch whose connection is lost while it commits; the database is away until the deadline.
async fn doubt(behind: &Behind) -> Failure {
    behind.postgres.psql(SLOW_COMMIT);
    let client = behind.client.clone();
    let mut holder = client.begin().await;
    holder.query("select pg_advisory_xact_lock(1)", &[]).await.expect("it is free");
    let timeout = Some(prost_types::Duration { seconds: 2, nanos: 0 });
    let options = Some(QueryOptions { timeout, ..QueryOptions::default() });
    let request = ExecuteBatchRequest { options, ..batch(&INSERT) };
    let call = tokio::spawn(async move { client.batch(request).await });
    let waiting = "select count(*) from pg_stat_activity where query like '%COMMIT' \
                   and wait_event_type = 'Lock'";
    tokio::task::block_in_place(|| {
        eventually("the commit waits", PATIENCE, || {
            (behind.postgres.psql(waiting) == "1").then_some(())
        });
    });
    behind.proxy.set_weather(Weather { black_hole: true, ..Weather::default() });
    behind.proxy.cut_all(Cut::Reset);
    let start = Stopwatch::start();
    let failure = call.await.expect("no panic").expect_err("nobody can be asked");
    start.assert_within(Duration::from_secs(3), "the end of the call");
    assert_eq!(failure.what(), (Code::Unknown, "OUTCOME_UNKNOWN"), "{failure:?}");
    drop(holder);
    failure
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_tells_later_what_became_of_a_commit() {
    let behind = behind(2).await;
    let token = doubt(&behind).await.report.transaction_token;
    assert!(!token.is_empty(), "the database can be asked later");
    behind.proxy.set_weather(Weather::default());
    let state = eventually_async("it is over", SOON, async || {
        let asked = behind.client.outcome(Handle::TransactionToken(token.clone())).await;
        asked.ok().filter(|state| *state != TransactionState::InProgress)
    })
    .await;
    let there = count(&behind.client).await;
    let expected =
        if there == 1 { TransactionState::Applied } else { TransactionState::NotApplied };
    assert_eq!(state, expected, "the same server knows: there are {there}");
    let (unbound, _tag) = token.split_once('.').expect("it is bound to its caller");
    for foreign in ["pg1-x", unbound] {
        let asked = behind.client.outcome(Handle::TransactionToken(foreign.to_owned())).await;
        let failure = asked.expect_err("that is no token of this caller");
        assert_eq!(failure.code, Code::InvalidArgument, "{foreign}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_of_a_server_that_crashed_never_says_applied() {
    let mut behind = behind(2).await;
    let token = doubt(&behind).await.report.transaction_token;
    tokio::task::block_in_place(|| {
        behind.postgres.crash();
        behind.postgres.resume();
    });
    behind.proxy.set_weather(Weather::default());
    // Numbers that the crash has lost are given again.
    eventually_async("the database is back", SOON, async || {
        behind.client.query("select 1", &[]).await.ok()
    })
    .await;
    let state = behind.client.outcome(Handle::TransactionToken(token)).await.expect("it tells");
    let reported = [TransactionState::NotApplied, TransactionState::Unknown].contains(&state);
    assert!(reported, "{state:?}");
}

#[tokio::test]
async fn a_key_that_has_expired_runs_again() {
    let behind = behind(1).await;
    let request = under("k", batch(&["insert into t (n) values (1) returning id"]));
    let handle = || Handle::IdempotencyKey("k".to_owned());
    let first = behind.client.batch(request.clone()).await.expect("it runs");
    assert_eq!(behind.client.outcome(handle()).await.expect("it tells"), TransactionState::Applied);
    let expire = "update rowgate_idempotency set expires_at = now() - interval '1 s'";
    behind.postgres.psql(expire);
    let state = behind.client.outcome(handle()).await.expect("it tells");
    assert_eq!(state, TransactionState::NotApplied);
    let again = behind.client.batch(request).await.expect("it runs again");
    assert!(!again.replayed);
    assert_ne!(again.results, first.results);
    assert_eq!(count(&behind.client).await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_at_work_elsewhere_is_waited_for_until_the_deadline() {
    let service = Service::start(Backend::Postgres).await;
    service.client.must(KEYS, &[]).await;
    let mut holder = service.client.begin().await;
    holder.query("select pg_advisory_xact_lock(1)", &[]).await.expect("it is free");
    let slow = || under("k", batch(&["select pg_advisory_xact_lock(1)"]));
    let client = service.client.clone();
    let first = tokio::spawn(async move { client.batch(slow()).await });
    let waiting = "select count(*) from pg_locks where not granted and locktype = 'advisory'";
    tokio::task::block_in_place(|| {
        eventually("the first run waits", PATIENCE, || {
            (service.postgres().psql(waiting) == "1").then_some(())
        });
    });
    let timeout = Some(prost_types::Duration { seconds: 1, nanos: 500_000_000 });
    let impatient =
        ExecuteBatchRequest { options: Some(QueryOptions { timeout, ..keyed("k") }), ..slow() };
    let failure = service.client.batch(impatient).await.expect_err("the first is not over");
    assert_eq!(failure.what(), (Code::Aborted, "KEY_IN_PROGRESS"), "{failure:?}");
    assert!(failure.retry_after.is_some(), "{failure:?}");
    holder.commit().await.expect("it commits");
    assert!(!first.await.expect("no panic").expect("it runs").replayed);
    assert!(service.client.batch(slow()).await.expect("it is replayed").replayed);
}

#[tokio::test]
async fn a_batch_is_isolated_as_it_asked() {
    let service = Service::start(Backend::Postgres).await;
    let ask = async |options: TransactionOptions| -> ExecuteBatchResponse {
        let settings = ["transaction_isolation", "transaction_read_only", "transaction_deferrable"];
        let shown = settings.map(|name| format!("select current_setting('{name}')"));
        let request = batch(&shown.each_ref().map(String::as_str));
        let request = ExecuteBatchRequest { transaction: Some(options), ..request };
        service.client.batch(request).await.expect("it runs")
    };
    use IsolationLevel as Level;
    let (read_only, any) = (AccessMode::ReadOnly, AccessMode::Unspecified);
    for (level, mode, deferrable, shown) in [
        (Level::Unspecified, any, false, ["read committed", "off", "off"]),
        (Level::ReadCommitted, any, false, ["read committed", "off", "off"]),
        (Level::RepeatableRead, any, false, ["repeatable read", "off", "off"]),
        (Level::Serializable, any, false, ["serializable", "off", "off"]),
        (Level::Serializable, read_only, true, ["serializable", "on", "on"]),
    ] {
        let options = TransactionOptions {
            isolation_level: level.into(),
            access_mode: mode.into(),
            deferrable,
            ..TransactionOptions::default()
        };
        let response = ask(options).await;
        let values = response.results.iter().map(|result| result.rows[0].values[0].clone());
        assert_eq!(values.collect::<Vec<_>>(), shown.map(Value::text), "{options:?}");
    }
}

/// Sixteen callers increment counters, each so many times, at SERIALIZABLE; no one sees an error. Without
/// keys there is one counter; with keys each caller has its own and reads them all, so that conflicts show
/// late: often where the response is stored.
async fn increments(each: i64, with_keys: bool) {
    let service = Service::start(Backend::Postgres).await;
    service.client.must(KEYS, &[]).await;
    service.client.must("create table counter (id bigint primary key, n bigint)", &[]).await;
    service.client.must("insert into counter select g, 0 from generate_series(0, 15) g", &[]).await;
    let serializable = TransactionOptions {
        isolation_level: IsolationLevel::Serializable.into(),
        ..TransactionOptions::default()
    };
    let request = |caller: i64| {
        let mine = if with_keys { caller } else { 0 };
        let update = format!("update counter set n = n + 1 where id = {mine}");
        let reads = ["select sum(n)::bigint from counter", "select max(n) from counter"];
        let request = batch(&[reads[0], reads[1], &update]);
        ExecuteBatchRequest { transaction: Some(serializable), ..request }
    };
    let start = Instant::now();
    let callers: Vec<_> = (0..16)
        .map(|caller| {
            let (request, client) = (request(caller), service.client.clone());
            tokio::spawn(async move {
                let (mut attempts, mut longest) = (0, Duration::ZERO);
                for turn in 0..each {
                    let start = Instant::now();
                    let request = if with_keys {
                        under(&format!("{caller}-{turn}"), request.clone())
                    } else {
                        request.clone()
                    };
                    let request = with_deadline(request, Duration::from_secs(30));
                    let answer = client.raw().execute_batch(request).await.expect("it is repeated");
                    attempts += i64::from(answer.get_ref().attempts);
                    longest = longest.max(start.elapsed());
                }
                (attempts, longest)
            })
        })
        .collect();
    let (mut attempts, mut longest) = (0, Duration::ZERO);
    for caller in callers {
        let (made, slowest) = caller.await.expect("no caller sees an error");
        attempts += made;
        longest = longest.max(slowest);
    }
    let (total, took) = (16 * each, start.elapsed());
    eprintln!("{total} increments in {attempts} attempts and {took:?}, the slowest in {longest:?}");
    let result = service.client.must("select sum(n)::bigint from counter", &[]).await;
    assert_eq!(result.rows[0].values, [Value::int64(total)]);
    assert!(attempts > total, "nothing collided");
}

#[tokio::test]
async fn no_increment_is_lost_and_no_caller_sees_a_conflict() {
    increments(250, false).await;
}

#[tokio::test]
async fn with_keys_no_caller_sees_a_conflict_either() {
    increments(50, true).await;
}

#[tokio::test]
#[ignore = "takes a minute: scripts/measure runs it"]
async fn sixteen_thousand_increments_all_count() {
    increments(1000, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expectation_costs_a_round_trip_only_where_the_commit_depends_on_it() {
    let behind = behind(1).await;
    let latency = Duration::from_millis(150);
    behind.proxy.set_weather(Weather { latency, ..Weather::default() });
    for (dry_run, rows) in [(true, 9), (true, 1), (false, 1)] {
        let mut request = ExecuteBatchRequest { dry_run, ..batch(&INSERT) };
        request.statements[1].expect = Some(Expectation { rows: Some(Rows::Exactly(rows)) });
        // There and back, twice. The proxy may delay an answer in two parts, and a busy machine all of it.
        let mut is_short = false;
        for _ in 0..if dry_run { 5 } else { 1 } {
            let start = Instant::now();
            let reason = behind.client.batch(request.clone()).await.err().map(|it| it.reason);
            is_short |= start.elapsed() < 4 * latency;
            assert_eq!(reason.as_deref(), (rows == 9).then_some("EXPECTATION_FAILED"));
        }
        assert_eq!(is_short, dry_run);
    }
    assert_eq!(count(&behind.client).await, 1);
}
