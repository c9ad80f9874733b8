//! Transactions on a fake database.

mod ends;
mod fake;
mod limits;
mod rows;
mod session;

use crate::engine::{CallerEvent, ReplyBody};
use crate::error::{Error, ErrorKind, Outcome};
use crate::value::proto::transact_request::Command;
use crate::value::proto::{AccessMode, Begin, TransactRequest, TransactResult, TransactionOptions};
use fake::Fake;
use session::{
    COMMIT, ROLLBACK, Session, begin, engine, ms, query, query_with, release, rollback_to,
    savepoint, wire,
};

#[tokio::test(start_paused = true)]
async fn commands_sent_ahead_are_done_and_answered_in_order() {
    let fake = Fake::default();
    let mut session = Session::start(&engine(&fake, &[]), None);
    for command in [
        begin(TransactionOptions::default()),
        savepoint("s"),
        query("a"),
        query("b"),
        release("s"),
        COMMIT,
    ] {
        session.send(command).await;
    }
    session.half_close().await;
    let mut answers = Vec::new();
    while let Some(reply) = session.next().await {
        let reply = reply.expect("all goes well");
        let body = match reply.body.expect("all goes well") {
            ReplyBody::Begun(_) => "begun",
            ReplyBody::Result(TransactResult { more: false, .. }) => "result",
            ReplyBody::BatchResult(_) => "results",
            ReplyBody::Done(_) => "done",
            ReplyBody::Committed(_) => "committed",
            other @ (ReplyBody::Result(_) | ReplyBody::RolledBack(_) | ReplyBody::Error(_)) => {
                panic!("{other:?}")
            }
        };
        answers.push((reply.sequence, body));
    }
    let expected = ["begun", "done", "result", "result", "done", "committed"];
    assert_eq!(answers, (1..).zip(expected).collect::<Vec<_>>());
    assert_eq!(fake.log(), ["Set s", "a", "b", "Release s", "commit", "committed"]);
}

#[tokio::test(start_paused = true)]
async fn an_aborted_transaction_runs_nothing_until_rollback_to() {
    let fake = Fake::default();
    let mut session = Session::open(&engine(&fake, &[]), TransactionOptions::default()).await;
    assert!(matches!(session.ask(savepoint("s")).await, Ok(Ok(ReplyBody::Done(_)))));
    assert_eq!(session.fails(query("fail")).await, ErrorKind::AlreadyExists);
    for command in [query("a"), savepoint("t"), release("s")] {
        assert_eq!(session.fails(command).await, ErrorKind::TransactionAborted);
    }
    assert_eq!(session.fails(rollback_to("unknown")).await, ErrorKind::InvalidStatement);
    assert_eq!(session.fails(query("a")).await, ErrorKind::TransactionAborted);
    assert!(matches!(session.ask(rollback_to("s")).await, Ok(Ok(ReplyBody::Done(_)))));
    assert!(matches!(session.ask(query("b")).await, Ok(Ok(ReplyBody::Result(_)))));
    assert!(matches!(session.ask(COMMIT).await, Ok(Ok(ReplyBody::Committed(_)))));
    let expected =
        ["Set s", "fail", "RollbackTo unknown", "RollbackTo s", "b", "commit", "committed"];
    assert_eq!(fake.log(), expected);
}

#[tokio::test(start_paused = true)]
async fn an_invalid_command_aborts_its_transaction_as_a_failed_statement_does() {
    let long = "x".repeat(64);
    let keyed =
        crate::value::proto::QueryOptions { idempotency_key: "k".to_owned(), ..Default::default() };
    let format = crate::value::proto::ResultFormat::Arrow.into();
    let arrow = crate::value::proto::QueryOptions { format, ..Default::default() };
    let cases = [
        (query(""), ErrorKind::InvalidSql, "sql"),
        (query("commit"), ErrorKind::TransactionControl, "sql"),
        (query_with("a", keyed), ErrorKind::InvalidOption, "options.idempotency_key"),
        (query_with("a", arrow), ErrorKind::InvalidOption, "options.format"),
        (savepoint(""), ErrorKind::InvalidParameter, "name"),
        (savepoint(&long), ErrorKind::InvalidParameter, "name"),
        (savepoint("a\0b"), ErrorKind::InvalidParameter, "name"),
    ];
    for (command, kind, field) in cases {
        let fake = Fake::default();
        let mut session = Session::open(&engine(&fake, &[]), TransactionOptions::default()).await;
        let Ok(Err(error)) = session.ask(command).await else { panic!("{field}") };
        let violation = error.violation().map(|violation| violation.field.as_str());
        assert_eq!((error.kind(), violation), (kind, Some(field)));
        let error = session.ask(COMMIT).await.expect_err("it has failed");
        assert_eq!(
            (error.kind(), error.outcome()),
            (ErrorKind::TransactionAborted, Outcome::NotApplied)
        );
        assert_eq!(fake.log(), ["rollback"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_ends_the_stream() {
    let fake = Fake::default();
    let mut session = Session::open(&engine(&fake, &[]), TransactionOptions::default()).await;
    let error = session.ask(query("lost")).await.expect_err("there is nothing to go on with");
    assert_eq!((error.kind(), error.outcome()), (ErrorKind::ConnectionLost, Outcome::NotApplied));
    assert!(session.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_stream_begins_with_begin_and_has_one() {
    let engine = engine(&Fake::default(), &[]);
    let mut first = Session::start(&engine, None);
    assert_eq!(
        first.ask(query("a")).await.expect_err("no begin").kind(),
        ErrorKind::InvalidCommand
    );
    let mut second = Session::open(&engine, TransactionOptions::default()).await;
    let repeated = second.ask(begin(TransactionOptions::default())).await;
    assert_eq!(repeated.expect_err("it is open").kind(), ErrorKind::InvalidCommand);
    let mut unset = Session::open(&engine, TransactionOptions::default()).await;
    unset.offer(CallerEvent::Command(TransactRequest { sequence: 2, command: None })).await;
    assert_eq!(unset.failure().await.kind(), ErrorKind::InvalidCommand);
}

#[tokio::test(start_paused = true)]
async fn sequences_start_anywhere_and_increase() {
    let fake = Fake::default();
    let engine = engine(&fake, &[]);
    let mut session = Session::start(&engine, None);
    let first = Some(begin(TransactionOptions::default()));
    session.offer(CallerEvent::Command(TransactRequest { sequence: 0, command: first })).await;
    session.begun().await;
    session.sequence = 7;
    assert!(matches!(session.ask(query("a")).await, Ok(Ok(ReplyBody::Result(_)))));
    session.sequence = 7;
    let error = session.ask(COMMIT).await.expect_err("8 was used");
    let field = error.violation().map(|violation| violation.field.as_str());
    assert_eq!((error.kind(), field), (ErrorKind::InvalidCommand, Some("sequence")));
    assert_eq!(fake.log(), ["a", "dropped"]);
}

#[tokio::test(start_paused = true)]
async fn begin_is_checked_before_anything_is_opened() {
    let zero = Some(prost_types::Duration::default());
    let options = TransactionOptions::default();
    let cases = [
        (TransactionOptions { isolation_level: 9, ..options }, "begin.transaction.isolation_level"),
        (TransactionOptions { access_mode: 9, ..options }, "begin.transaction.access_mode"),
        (TransactionOptions { deferrable: true, ..options }, "begin.transaction.deferrable"),
        (TransactionOptions { idle_timeout: zero, ..options }, "begin.transaction.idle_timeout"),
        (TransactionOptions { max_duration: zero, ..options }, "begin.transaction.max_duration"),
    ];
    let begins = cases
        .map(|(options, field)| (Begin { transaction: Some(options), ..Begin::default() }, field));
    let reads = TransactionOptions { access_mode: AccessMode::ReadOnly.into(), ..options };
    let others = [
        (Begin { tag: "no spaces".to_owned(), ..Begin::default() }, "begin.tag"),
        (Begin { idempotency_key: "ü".to_owned(), ..Begin::default() }, "begin.idempotency_key"),
        (
            Begin { idempotency_key: "k".to_owned(), transaction: Some(reads), ..Begin::default() },
            "begin.idempotency_key",
        ),
    ];
    let fake = Fake::default();
    for (begin, field) in begins.into_iter().chain(others) {
        let mut session = Session::start(&engine(&fake, &[]), None);
        let error = session.ask(Command::Begin(begin)).await.expect_err(field);
        let violation = error.violation().map(|violation| violation.field.as_str());
        assert_eq!((error.kind(), violation), (ErrorKind::InvalidOption, Some(field)));
    }
    assert!(fake.log().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_key_is_claimed_with_begin() {
    let fake = Fake::default();
    let mut session = Session::start(&engine(&fake, &[]), None);
    let begin = Begin { idempotency_key: "k-1".to_owned(), ..Begin::default() };
    assert!(matches!(session.ask(Command::Begin(begin)).await, Ok(Ok(ReplyBody::Begun(_)))));
    assert_eq!(fake.keys(), ["k-1"]);
}

#[tokio::test(start_paused = true)]
async fn an_unreadable_message_ends_the_stream_after_the_commands_before_it() {
    let fake = Fake::default();
    let mut session = Session::open(&engine(&fake, &[]), TransactionOptions::default()).await;
    session.send(query("a")).await;
    let invalid = Error::new(ErrorKind::ResourceExhausted, "it is too large");
    session.offer(CallerEvent::Invalid(invalid)).await;
    assert!(session.parts().await.is_ok());
    assert_eq!(session.failure().await.kind(), ErrorKind::ResourceExhausted);
    assert_eq!(fake.log(), ["a", "dropped"]);
}

#[tokio::test(start_paused = true)]
async fn a_rollback_is_answered() {
    let fake = Fake::default();
    let mut session = Session::open(&engine(&fake, &[]), TransactionOptions::default()).await;
    assert!(matches!(session.ask(ROLLBACK).await, Ok(Ok(ReplyBody::RolledBack(_)))));
    session.half_close().await;
    session.end().await.expect("it ends well");
    assert_eq!(fake.log(), ["rollback"]);
}

/// Options with a `max_duration`.
fn with_max_duration(max_duration: std::time::Duration) -> TransactionOptions {
    TransactionOptions { max_duration: wire(max_duration), ..TransactionOptions::default() }
}
