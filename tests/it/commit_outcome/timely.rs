//! The answer to a commit in doubt arrives before its caller's own timer fires.

use std::time::Duration;

use rowgate::value::proto::get_transaction_outcome_request::Handle;
use rowgate::value::proto::transact_request::Command;
use rowgate::value::proto::{Commit, TransactionState};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::{SLOW_COMMIT, under};
use crate::harness::Service;
use crate::harness::behind::{Behind, KEYS};
use crate::harness::client::{Failure, PATIENCE, with_deadline};
use crate::harness::postgres::Postgres;
use crate::harness::proxy::Weather;
use crate::harness::unit::batch;
use crate::harness::wait::eventually_async;

/// Deadlines of callers, in milliseconds.
const DEADLINES: [u64; 4] = [100, 200, 500, 1000];

/// Each, once answered in time: a busy machine delays one now and then.
const TRIES: u32 = 5;

async fn service() -> Service {
    let postgres = Postgres::start();
    postgres.psql(KEYS);
    postgres.psql(SLOW_COMMIT);
    let settings = "[databases.main.pool]\nmin = 8\nmax = 30\n[health]\ninterval = \"1h\"";
    let service = Service::on(postgres, settings).await;
    // The catalogs have been asked.
    for number in 0..8 {
        let sql = format!("insert into t values (-{number} - 1, 0)");
        service.client.batch(batch(&[&sql])).await.expect("it runs");
    }
    service
}

/// The server's answer; `None` when the client's own timer was first.
fn of_the_server(status: Status) -> Option<Failure> {
    status.get_error_details().error_info()?;
    Some(Failure::from(status))
}

/// Calls with each deadline until one is answered in time; what was answered.
async fn in_time(call: impl AsyncFn(Duration, u32) -> Option<Failure>) -> Vec<Failure> {
    let mut answers = Vec::new();
    for (round, milliseconds) in (0..).zip(DEADLINES) {
        let mut tried = 0;
        answers.push(loop {
            let limit = Duration::from_millis(milliseconds);
            // A busy machine may be late with the statements as well: no commit was reached then.
            match call(limit, 100 * round + tried).await {
                Some(failure) if failure.outcome != "NOT_APPLIED" => break failure,
                _ => {}
            }
            tried += 1;
            assert!(tried < TRIES, "no answer within {milliseconds} ms");
        });
        eprintln!("{milliseconds} ms: told after {tried} that were not");
    }
    answers
}

async fn assert_told_later(service: &Service, failures: Vec<Failure>) {
    for failure in failures {
        assert_eq!(failure.what(), (Code::Unknown, "OUTCOME_UNKNOWN"), "{failure:?}");
        let token = failure.report.transaction_token;
        assert!(!token.is_empty(), "it can be asked for");
        let state = eventually_async("it is over", PATIENCE, async || {
            let asked = service.client.outcome(Handle::TransactionToken(token.clone())).await;
            asked.ok().filter(|state| *state != TransactionState::InProgress)
        });
        assert_eq!(state.await, TransactionState::Applied);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_outlives_a_short_deadline_is_told_in_time() {
    let service = service().await;
    let answers = in_time(async |limit, id| {
        let sql = format!("insert into t values ({id}, 1.5)");
        let request = with_deadline(batch(&[&sql]), limit);
        of_the_server(service.client.raw().execute_batch(request).await.expect_err("it is late"))
    });
    assert_told_later(&service, answers.await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_keyed_commit_that_outlives_a_short_deadline_is_told_in_time() {
    let service = service().await;
    let answers = in_time(async |limit, id| {
        let sql = format!("insert into t values ({id}, 1.5)");
        let request = with_deadline(under(&id.to_string(), batch(&[&sql])), limit);
        of_the_server(service.client.raw().execute_batch(request).await.expect_err("it is late"))
    });
    assert_told_later(&service, answers.await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_whose_commit_outlives_its_deadline_is_told_in_time() {
    let service = service().await;
    let answers = in_time(async |limit, id| {
        let mut transaction = service.client.transact_within(limit).await;
        transaction.send(Command::Begin(Default::default())).await;
        transaction.send_query(&format!("insert into t values ({id}, 1.5)")).await;
        transaction.send(Command::Commit(Commit {})).await;
        loop {
            match transaction.raw_reply().await {
                Ok(reply) => assert!(reply.is_some(), "it is late"),
                Err(status) => break of_the_server(status),
            }
        }
    });
    assert_told_later(&service, answers.await).await;
}

#[tokio::test]
async fn no_answer_in_time_is_not_an_outcome_that_can_never_be_known() {
    let behind = Behind::start(Postgres::start(), "", &[]).await;
    behind.client.must("select 1", &[]).await;
    behind.proxy.set_weather(Weather { black_hole: true, ..Weather::default() });
    let token = Handle::TransactionToken("pg1-123456789-1-5-5-700".to_owned());
    let asked = behind.client.outcome_within(token, Duration::from_millis(600)).await;
    let failure = asked.expect_err("nobody answers");
    let codes = [Code::DeadlineExceeded, Code::Unavailable];
    assert!(codes.contains(&failure.code), "{failure:?}");
}
