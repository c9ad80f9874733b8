//! Calls from their request to their answer, on a scripted database.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;

use super::{Caller, Engine};
use crate::backend::scripted::{Answer, Scripted, Step};
use crate::backend::{
    Backend, BatchResult, BatchStrategy, Completion, Description, Expect, IsolationLevel,
    TransactionHandle, TransactionMode, TransactionOutcome,
};
use crate::config;
use crate::error::{Error, ErrorKind, Outcome, Result};
use crate::value::Value;
use crate::value::proto::expectation::Rows;
use crate::value::proto::get_transaction_outcome_request::Handle;
use crate::value::proto::stream_query_response::Part;
use crate::value::proto::{
    AccessMode, BatchStatement, DescribeStatementRequest, ExecuteBatchRequest, Expectation,
    GetTransactionOutcomeRequest, IsolationLevel as WireIsolation, QueryOptions, QueryRequest,
    ResultSet, TransactionOptions, TransactionState,
};

fn engine(script: &Arc<Scripted>) -> Arc<Engine> {
    engine_with(script, &[])
}

fn engine_with(script: &Arc<Scripted>, settings: &[(&str, &str)]) -> Arc<Engine> {
    let config = config::load_from(settings).expect("the settings are right");
    let main = config.databases["main"].clone();
    let backend: Arc<dyn Backend> = Arc::clone(script) as _;
    Arc::new(Engine::new(vec![("main".to_owned(), main, backend)], &config))
}

fn caller() -> Caller {
    Caller::default()
}

fn error(kind: ErrorKind) -> Error {
    Error::new(kind, "test")
}

fn unknown(token: &str) -> Error {
    error(ErrorKind::OutcomeUnknown).with_outcome(Outcome::Unknown).with_transaction_token(token)
}

fn query(options: QueryOptions) -> QueryRequest {
    QueryRequest { sql: "select 1".to_owned(), options: Some(options), ..Default::default() }
}

fn keyed() -> QueryOptions {
    QueryOptions { idempotency_key: "k-1".to_owned(), ..Default::default() }
}

fn idempotent() -> QueryOptions {
    QueryOptions { idempotent: true, ..Default::default() }
}

fn batch(statements: &[&str]) -> ExecuteBatchRequest {
    let statement = |sql: &&str| BatchStatement { sql: (*sql).to_owned(), ..Default::default() };
    ExecuteBatchRequest {
        statements: statements.iter().map(statement).collect(),
        ..Default::default()
    }
}

fn results(count: usize) -> BatchResult {
    let result = ResultSet { command: "INSERT".to_owned(), rows_affected: 1, ..Default::default() };
    BatchResult { results: vec![result; count], replayed: false }
}

fn batches(outcomes: impl IntoIterator<Item = Result<BatchResult>>) -> Arc<Scripted> {
    Scripted::new(outcomes.into_iter().map(|outcome| Step::Batch(Some(outcome))))
}

fn starts(outcomes: impl IntoIterator<Item = Result<Answer>>) -> Arc<Scripted> {
    Scripted::new(outcomes.into_iter().map(Step::Execute))
}

#[tokio::test(start_paused = true)]
async fn a_query_is_retried_and_its_attempts_are_counted() {
    let script = starts([
        Err(error(ErrorKind::DatabaseUnavailable)),
        Ok(Answer::failing(error(ErrorKind::ConnectionLost))),
        Ok(Answer::rows(&["a", "b"])),
    ]);
    let answer = engine(&script).query(query(QueryOptions::default()), caller()).await.unwrap();
    assert_eq!((answer.attempts, answer.replayed), (3, false));
    assert_eq!(answer.result.map(|result| result.received().rows.len()), Some(2));
}

#[tokio::test(start_paused = true)]
async fn a_query_that_may_have_been_applied_is_not_retried() {
    let script = starts([Ok(Answer::failing(unknown("t")))]);
    let error = engine(&script).query(query(QueryOptions::default()), caller()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown);
}

#[tokio::test(start_paused = true)]
async fn an_idempotent_query_that_may_have_been_applied_is_retried() {
    let script = starts([Ok(Answer::failing(unknown("t"))), Ok(Answer::rows(&[]))]);
    let answer = engine(&script).query(query(idempotent()), caller()).await.unwrap();
    assert_eq!(answer.attempts, 2);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_outcome_is_the_answer_when_no_later_attempt_resolves_it() {
    let script =
        starts([Err(unknown("first")), Ok(Answer::failing(error(ErrorKind::AlreadyExists)))]);
    let error = engine(&script).query(query(idempotent()), caller()).await.unwrap_err();
    assert_eq!((error.kind(), error.outcome()), (ErrorKind::OutcomeUnknown, Outcome::Unknown));
    assert_eq!(error.transaction_token(), Some("first"));
}

#[tokio::test(start_paused = true)]
async fn several_unknown_outcomes_have_no_token() {
    let script = starts([
        Err(unknown("first")),
        Err(unknown("second")),
        Err(error(ErrorKind::InvalidStatement)),
    ]);
    let error = engine(&script).query(query(idempotent()), caller()).await.unwrap_err();
    assert_eq!((error.kind(), error.outcome()), (ErrorKind::OutcomeUnknown, Outcome::Unknown));
    assert_eq!(error.transaction_token(), None);
}

#[tokio::test(start_paused = true)]
async fn columns_count_towards_the_size_of_a_response() {
    let settings = [("grpc.max_response_size", "512KiB"), ("databases.main.max_bytes", "524287")];
    // The row fits both times; with its columns around it, only the first time.
    for (missing, fits) in [(200, true), (40, false)] {
        let text = "x".repeat((512 << 10) - missing);
        let answer = Answer { abandoned: Outcome::Applied, ..Answer::rows(&[&text]) };
        let script = starts([Ok(answer)]);
        let engine = engine_with(&script, &settings);
        let answer = engine.query(query(QueryOptions::default()), caller()).await;
        let failed = answer.err().map(|error| (error.kind(), error.outcome()));
        let expected = (!fits).then_some((ErrorKind::ResultTooLarge, Outcome::Applied));
        assert_eq!(failed, expected, "{missing}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_retried_only_before_it_has_started() {
    let script = starts([
        Err(error(ErrorKind::ConnectionLost)),
        Ok(Answer::failing(error(ErrorKind::ConnectionLost))),
    ]);
    let engine = engine(&script);
    let parts = engine.stream_query(query(idempotent()), caller()).unwrap();
    let parts: Vec<_> = parts.collect().await;
    assert!(matches!(parts[0], Ok(Part::Header(_))), "{parts:?}");
    let last = parts.last().and_then(|part| part.as_ref().err()).map(Error::kind);
    assert_eq!(last, Some(ErrorKind::ConnectionLost));
    assert_eq!(script.statements().len(), 2);
}

#[tokio::test]
async fn a_stream_has_no_key() {
    let script = Scripted::new([]);
    let error = engine(&script).stream_query(query(keyed()), caller()).err().expect("it fails");
    let field = error.violation().map(|violation| violation.field.as_str());
    assert_eq!((error.kind(), field), (ErrorKind::InvalidOption, Some("options.idempotency_key")));
}

#[tokio::test]
async fn a_description_is_retried() {
    let script = Scripted::new([
        Step::Describe(Err(error(ErrorKind::PlanChanged))),
        Step::Describe(Ok(Description::default())),
    ]);
    let sql = "select 1".to_owned();
    let request = DescribeStatementRequest { sql, ..Default::default() };
    engine(&script).describe_statement(request, caller()).await.unwrap();
}

#[tokio::test]
async fn a_query_with_a_key_is_a_batch_of_one_statement() {
    let replayed = BatchResult { replayed: true, ..results(1) };
    let script = batches([Ok(replayed)]);
    let request = QueryRequest { parameters: vec![Value::int64(7)], ..query(keyed()) };
    let answer = engine(&script).query(request, caller()).await.unwrap();
    assert!(answer.replayed);
    assert_eq!(answer.result.map(|result| result.command), Some("INSERT".to_owned()));
    let [sent] = &script.batches()[..] else { panic!("one batch") };
    assert_eq!(sent.key.as_ref().map(|key| key.key.as_str()), Some("k-1"));
    assert_eq!((sent.statements[0].sql.as_str(), sent.statements.len()), ("select 1", 1));
    assert_eq!(sent.statements[0].parameters, [Value::int64(7)]);
    assert_eq!((sent.mode, sent.dry_run), (TransactionMode::default(), false));
    assert_eq!((sent.max_rows, sent.max_bytes), (10_000, 3 << 20));
}

#[tokio::test]
async fn the_error_of_a_query_with_a_key_names_no_statement() {
    for path in ["parameters[0]", "statements[0].parameters[0]"] {
        let invalid = Error::field(ErrorKind::InvalidParameter, path, "it is wrong");
        let script = batches([Err(invalid.with_failed_statement(0))]);
        let error = engine(&script).query(query(keyed()), caller()).await.unwrap_err();
        assert_eq!(error.failed_statement(), None);
        assert_eq!(error.message(), "parameters[0]: it is wrong");
        let field = error.violation().map(|violation| violation.field.as_str());
        assert_eq!(field, Some("parameters[0]"));
    }
}

#[tokio::test]
async fn a_read_has_no_key() {
    let options = QueryOptions { access_mode: AccessMode::ReadOnly.into(), ..keyed() };
    let script = Scripted::new([]);
    let error = engine(&script).query(query(options), caller()).await.unwrap_err();
    let field = error.violation().map(|violation| violation.field.as_str());
    assert_eq!((error.kind(), field), (ErrorKind::InvalidOption, Some("options.idempotency_key")));
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_retried_until_it_is_serialized() {
    let conflict = |_| Err(error(ErrorKind::SerializationFailure));
    let script = batches((0..40).map(conflict).chain([Ok(results(2))]));
    let answer = engine(&script).execute_batch(batch(&["a", "b"]), caller()).await.unwrap();
    assert_eq!((answer.results.len(), answer.attempts, answer.replayed), (2, 41, false));
    let first = &script.batches()[0];
    assert!(script.batches().iter().all(|sent| Arc::ptr_eq(sent, first)));
}

#[tokio::test(start_paused = true)]
async fn conflicts_end_with_the_deadline() {
    let conflict = || Step::Batch(Some(Err(error(ErrorKind::DeadlockDetected))));
    let script = Scripted::new((0..200).map(|_| conflict()));
    let started = tokio::time::Instant::now();
    let timeout = Caller { time_left: Some(Duration::from_secs(1)), ..caller() };
    let error = engine(&script).execute_batch(batch(&["a"]), timeout).await.unwrap_err();
    assert_eq!((error.kind(), error.outcome()), (ErrorKind::DeadlockDetected, Outcome::NotApplied));
    // Timers count whole milliseconds: the last wait may end with the deadline.
    assert!(started.elapsed() <= Duration::from_millis(951), "{:?}", started.elapsed());
    let made = script.batches().len();
    assert!((10..150).contains(&made), "{made}");
    // The script must be used up.
    let left = 200 - made;
    for _ in 0..left {
        drop(
            script.execute_batch(Arc::clone(&script.batches()[0]), BatchStrategy::Pipelined).await,
        );
    }
}

#[tokio::test(start_paused = true)]
async fn max_attempts_bounds_a_batch() {
    let conflict = || Err(error(ErrorKind::SerializationFailure));
    let script = batches([conflict(), conflict()]);
    let request = ExecuteBatchRequest { max_attempts: 2, ..batch(&["a"]) };
    let error = engine(&script).execute_batch(request, caller()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SerializationFailure);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_may_have_been_applied_is_retried_only_with_a_key() {
    let script = batches([Err(unknown("t"))]);
    let error = engine(&script).execute_batch(batch(&["a"]), caller()).await.unwrap_err();
    assert_eq!((error.kind(), error.transaction_token()), (ErrorKind::OutcomeUnknown, Some("t")));
    let replayed = BatchResult { replayed: true, ..results(1) };
    let unreachable = |_| Err(self::error(ErrorKind::DatabaseUnavailable));
    let outcomes =
        [Err(unknown("t"))].into_iter().chain((0..9).map(unreachable)).chain([Ok(replayed)]);
    let script = batches(outcomes);
    let request = ExecuteBatchRequest { options: Some(keyed()), ..batch(&["a"]) };
    let answer = engine(&script).execute_batch(request, caller()).await.unwrap();
    assert_eq!((answer.attempts, answer.replayed), (11, true));
}

#[tokio::test(start_paused = true)]
async fn a_free_key_resolves_an_earlier_unknown_outcome() {
    let script =
        batches([Err(unknown("t")), Err(error(ErrorKind::ExpectationFailed).with_claimed_key())]);
    let request = ExecuteBatchRequest { options: Some(keyed()), ..batch(&["a"]) };
    let error = engine(&script).execute_batch(request, caller()).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.outcome()),
        (ErrorKind::ExpectationFailed, Outcome::NotApplied)
    );
}

#[tokio::test(start_paused = true)]
async fn waiting_for_the_first_run_of_a_key_is_not_an_attempt() {
    let taken = || Err(error(ErrorKind::KeyInProgress));
    let replayed = BatchResult { replayed: true, ..results(1) };
    let script = batches([taken(), taken(), taken(), Ok(replayed)]);
    let options = Some(keyed());
    let request = ExecuteBatchRequest { options, max_attempts: 1, ..batch(&["a"]) };
    let answer = engine(&script).execute_batch(request, caller()).await.unwrap();
    assert_eq!((answer.attempts, answer.replayed), (1, true));
}

#[tokio::test]
async fn a_batch_reaches_the_database_as_it_was_sent() {
    let script = batches([Ok(results(3))]);
    let mut request = batch(&["a", "b", "c"]);
    let expect = |rows| Some(Expectation { rows: Some(rows) });
    request.statements[0].expect = expect(Rows::Exactly(1));
    request.statements[1].expect = expect(Rows::AtLeast(2));
    request.statements[2].expect = expect(Rows::AtMost(3));
    request.transaction = Some(TransactionOptions {
        isolation_level: WireIsolation::Serializable.into(),
        access_mode: AccessMode::ReadOnly.into(),
        deferrable: true,
        ..Default::default()
    });
    request.options = Some(QueryOptions { max_rows: 5, max_bytes: 6000, ..Default::default() });
    request.dry_run = true;
    engine(&script).execute_batch(request, caller()).await.unwrap();
    let sent = &script.batches()[0];
    let expected: Vec<_> = sent.statements.iter().map(|statement| statement.expect).collect();
    assert_eq!(
        expected,
        [Some(Expect::Exactly(1)), Some(Expect::AtLeast(2)), Some(Expect::AtMost(3))]
    );
    let isolation = Some(IsolationLevel::Serializable);
    assert_eq!(sent.mode, TransactionMode { isolation, read_only: true, deferrable: true });
    assert_eq!((sent.max_rows, sent.max_bytes, sent.dry_run), (5, 6000, true));
    assert_eq!(sent.key, None);
}

/// A change to a valid batch.
type Change = fn(&mut ExecuteBatchRequest);

/// Invalid statements, with the paths of the fields.
const STATEMENTS: &[(ErrorKind, &str, Change)] = &[
    (ErrorKind::InvalidParameter, "statements", |r| r.statements.clear()),
    (ErrorKind::InvalidParameter, "statements", |r| r.statements.push(r.statements[0].clone())),
    (ErrorKind::InvalidSql, "statements[1].sql", |r| r.statements[1].sql = " ".to_owned()),
    (ErrorKind::InvalidSql, "statements[0].sql", |r| r.statements[0].sql = "a\0".to_owned()),
    (ErrorKind::TransactionControl, "statements[1].sql", |r| {
        r.statements[1].sql = "/* x */ commit".to_owned();
    }),
    (ErrorKind::InvalidParameter, "statements[1].parameters[1]", |r| {
        r.statements[1].parameters = vec![Value::null(), Value::default()];
    }),
    (ErrorKind::InvalidParameter, "statements[0].expect", |r| {
        r.statements[0].expect = Some(Expectation::default());
    }),
    (ErrorKind::DatabaseNotFound, "", |r| r.database = "other".to_owned()),
];

/// Options that a batch must not have.
const OPTIONS: &[(&str, Change)] = &[
    ("options.access_mode", |r| options(r).access_mode = 1),
    ("options.access_mode", |r| options(r).access_mode = 77),
    ("options.tag", |r| options(r).tag = "ü".to_owned()),
    ("options.timeout", |r| {
        options(r).timeout = Some(prost_types::Duration::default());
    }),
    ("options.idempotency_key", |r| {
        options(r).idempotency_key = "x".repeat(129);
    }),
    ("options.idempotency_key", |r| {
        options(r).idempotency_key = "a\nb".to_owned();
    }),
    ("options.idempotency_key", |r| {
        options(r).idempotency_key = "k".to_owned();
        r.dry_run = true;
    }),
    ("options.idempotency_key", |r| {
        options(r).idempotency_key = "k".to_owned();
        transaction(r).access_mode = AccessMode::ReadOnly.into();
    }),
    ("transaction.isolation_level", |r| transaction(r).isolation_level = 77),
    ("transaction.access_mode", |r| transaction(r).access_mode = 77),
    ("transaction.deferrable", |r| transaction(r).deferrable = true),
    ("transaction.deferrable", |r| {
        transaction(r).deferrable = true;
        transaction(r).access_mode = AccessMode::ReadOnly.into();
    }),
    ("transaction.idle_timeout", |r| {
        transaction(r).idle_timeout = Some(prost_types::Duration::default());
    }),
    ("transaction.max_duration", |r| {
        transaction(r).max_duration = Some(prost_types::Duration::default());
    }),
];

fn options(request: &mut ExecuteBatchRequest) -> &mut QueryOptions {
    request.options.get_or_insert_default()
}

fn transaction(request: &mut ExecuteBatchRequest) -> &mut TransactionOptions {
    request.transaction.get_or_insert_default()
}

#[tokio::test]
async fn an_invalid_batch_fails_with_the_name_of_its_field() {
    let options = OPTIONS.iter().map(|(path, change)| (ErrorKind::InvalidOption, *path, *change));
    let cases = STATEMENTS.iter().copied().chain(options);
    let script = Scripted::new([]);
    let engine = engine_with(&script, &[("databases.main.max_batch", "2")]);
    for (kind, field, change) in cases {
        let mut request = batch(&["a", "b"]);
        change(&mut request);
        let error = engine.execute_batch(request, caller()).await.unwrap_err();
        let named = error.violation().map_or("", |violation| violation.field.as_str());
        assert_eq!((error.kind(), named), (kind, field), "{error}");
        assert_eq!(error.outcome(), Outcome::NotApplied);
        let index = field.strip_prefix("statements[").map(|rest| &rest[..1]);
        let failed = error.failed_statement().map(|index| index.to_string());
        assert_eq!(failed.as_deref(), index, "{field}");
    }
}

#[tokio::test]
async fn a_batchs_error_names_its_field_within_the_request() {
    let invalid = Error::field(ErrorKind::InvalidParameter, "parameters[3]", "it is wrong");
    let script = batches([Err(invalid.with_failed_statement(1))]);
    let error = engine(&script).execute_batch(batch(&["a", "b"]), caller()).await.unwrap_err();
    assert_eq!(error.message(), "statements[1].parameters[3]: it is wrong");
    assert_eq!(error.failed_statement(), Some(1));
}

#[tokio::test]
async fn results_over_the_response_size_say_that_they_were_applied() {
    let large = || {
        let rows = vec![crate::value::Row { values: vec![Value::text("x".repeat(300 << 10))] }; 2];
        Ok(BatchResult { results: vec![ResultSet { rows, ..Default::default() }], replayed: false })
    };
    for (dry_run, outcome) in [(false, Outcome::Applied), (true, Outcome::NotApplied)] {
        let script = batches([large()]);
        let engine = engine_with(&script, &[("grpc.max_response_size", "512KiB")]);
        let request = ExecuteBatchRequest { dry_run, ..batch(&["a"]) };
        let error = engine.execute_batch(request, caller()).await.unwrap_err();
        assert_eq!((error.kind(), error.outcome()), (ErrorKind::ResultTooLarge, outcome));
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_makes_no_further_attempt() {
    let script = Scripted::new([
        Step::Batch(Some(Err(error(ErrorKind::SerializationFailure)))),
        Step::Batch(None),
    ]);
    let engine = engine(&script);
    let call = engine.execute_batch(batch(&["a"]), caller());
    assert!(tokio::time::timeout(Duration::from_secs(5), call).await.is_err());
    drop(engine);
    tokio::time::sleep(Duration::from_secs(60)).await;
    let sent = script.batches();
    assert_eq!(sent.len(), 2);
    // Three references of the script and two of this list: the dropped call has none.
    assert_eq!(Arc::strong_count(&sent[0]), 4);
}

#[tokio::test(start_paused = true)]
async fn an_outcome_is_asked_for_by_key_or_token() {
    let script = Scripted::new([
        Step::Outcome(Err(error(ErrorKind::DatabaseUnavailable))),
        Step::Outcome(Ok(TransactionOutcome::Applied)),
        Step::Outcome(Ok(TransactionOutcome::NotApplied)),
    ]);
    let engine = engine(&script);
    let ask = |handle| {
        let request = GetTransactionOutcomeRequest { database: String::new(), handle };
        engine.get_transaction_outcome(request, caller())
    };
    let applied = ask(Some(Handle::IdempotencyKey("k".to_owned()))).await.unwrap();
    assert_eq!(applied.state(), TransactionState::Applied);
    let not_applied = ask(Some(Handle::TransactionToken("t".to_owned()))).await.unwrap();
    assert_eq!(not_applied.state(), TransactionState::NotApplied);
    let key = TransactionHandle::Key { caller: String::new(), key: "k".to_owned() };
    assert_eq!(script.handles(), [key.clone(), key, TransactionHandle::Token("t".to_owned())]);
    let key = |key: &str| Some(Handle::IdempotencyKey(key.to_owned()));
    for (handle, kind, field) in [
        (None, ErrorKind::InvalidParameter, "handle"),
        (key(""), ErrorKind::InvalidParameter, "idempotency_key"),
        (key("ü"), ErrorKind::InvalidOption, "idempotency_key"),
        (
            Some(Handle::TransactionToken(String::new())),
            ErrorKind::InvalidParameter,
            "transaction_token",
        ),
    ] {
        let error = ask(handle).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{field}");
        assert_eq!(error.violation().map(|violation| violation.field.as_str()), Some(field));
    }
}

#[tokio::test]
async fn a_statement_without_rows_is_a_result_without_columns() {
    let end = Ok(Completion { rows_affected: 4, command: "UPDATE".to_owned() });
    let script = starts([Ok(Answer { texts: None, end, abandoned: Outcome::Applied })]);
    let answer = engine(&script).query(query(QueryOptions::default()), caller()).await.unwrap();
    let result = answer.result.expect("it has one");
    assert_eq!((result.has_columns, result.rows_affected, answer.attempts), (false, 4, 1));
}
