//! The limits of a transaction's time.

use tokio::time::Instant;

use super::*;
use crate::value::proto::QueryOptions;

fn timeout(millis: u64) -> QueryOptions {
    QueryOptions { timeout: wire(ms(millis)), ..QueryOptions::default() }
}

#[tokio::test(start_paused = true)]
async fn an_idle_transaction_ends_and_callers_can_only_lower_the_timeout() {
    let settings = [("databases.main.transaction.idle_timeout", "2s")];
    for (asked, expected) in [(None, 2_000), (Some(500), 500), (Some(60_000), 2_000)] {
        let fake = Fake::default();
        let idle_timeout = asked.and_then(|asked| wire(ms(asked)));
        let options = TransactionOptions { idle_timeout, ..TransactionOptions::default() };
        let mut session = Session::open(&engine(&fake, &settings), options).await;
        // A running statement is not idle.
        assert!(matches!(session.ask(query("sleep 3000")).await, Ok(Ok(ReplyBody::Result(_)))));
        let start = Instant::now();
        let error = session.failure().await;
        assert_eq!(error.kind(), ErrorKind::IdleInTransactionTimeout);
        let elapsed = start.elapsed();
        assert!((ms(expected)..ms(expected + 10)).contains(&elapsed), "{elapsed:?} {asked:?}");
        assert_eq!(fake.log(), ["sleep 3000", "dropped"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_without_a_begin_ends() {
    let mut session = Session::start(&engine(&Fake::default(), &[]), None);
    assert_eq!(session.failure().await.kind(), ErrorKind::IdleInTransactionTimeout);
}

#[tokio::test(start_paused = true)]
async fn max_duration_ends_a_transaction_that_waits_or_runs() {
    for command in [None, Some("hang"), Some("sleep 600")] {
        let fake = Fake::default();
        let mut session = Session::open(&engine(&fake, &[]), with_max_duration(ms(500))).await;
        if let Some(sql) = command {
            session.send(query(sql)).await;
            // Received in time, but its turn comes too late.
            session.send(COMMIT).await;
        }
        let error = session.failure().await;
        assert_eq!(
            (error.kind(), error.outcome()),
            (ErrorKind::TransactionTimeout, Outcome::NotApplied)
        );
        assert_eq!(fake.log().last().map(String::as_str), Some("dropped"), "{:?}", fake.log());
    }
}

#[tokio::test(start_paused = true)]
async fn the_answer_of_a_commit_is_awaited_beyond_max_duration() {
    let fake = Fake::with_slow_commits(ms(1_000));
    let mut session = Session::open(&engine(&fake, &[]), with_max_duration(ms(500))).await;
    assert!(matches!(session.ask(COMMIT).await, Ok(Ok(ReplyBody::Committed(_)))));
}

#[tokio::test(start_paused = true)]
async fn the_callers_deadline_counts_from_the_start_of_its_stream() {
    let fake = Fake::default();
    let mut session = Session::start(&engine(&fake, &[]), Some(ms(1_000)));
    let start = Instant::now();
    tokio::time::sleep(ms(600)).await;
    session.send(begin(TransactionOptions::default())).await;
    session.begun().await;
    session.send(query("hang")).await;
    assert_eq!(session.failure().await.kind(), ErrorKind::DeadlineExceeded);
    assert!((ms(940)..ms(960)).contains(&start.elapsed()), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_commit_without_an_answer_at_the_callers_deadline_is_in_doubt() {
    let fake = Fake::with_slow_commits(ms(5_000));
    let mut session = Session::start(&engine(&fake, &[]), Some(ms(1_000)));
    session.send(begin(TransactionOptions::default())).await;
    session.send(COMMIT).await;
    let error = session.failure().await;
    assert_eq!((error.kind(), error.outcome()), (ErrorKind::OutcomeUnknown, Outcome::Unknown));
}

#[tokio::test(start_paused = true)]
async fn a_statement_over_its_timeout_fails_alone() {
    let settings = [("databases.main.default_deadline", "2s")];
    let fake = Fake::default();
    let mut session = Session::open(&engine(&fake, &settings), TransactionOptions::default()).await;
    for (options, expected) in [(timeout(300), 300), (QueryOptions::default(), 2_000)] {
        assert!(matches!(session.ask(savepoint("s")).await, Ok(Ok(ReplyBody::Done(_)))));
        let start = Instant::now();
        assert_eq!(session.fails(query_with("hang", options)).await, ErrorKind::DeadlineExceeded);
        let elapsed = start.elapsed();
        assert!((ms(expected)..ms(expected + 10)).contains(&elapsed), "{elapsed:?}");
        assert!(matches!(session.ask(rollback_to("s")).await, Ok(Ok(ReplyBody::Done(_)))));
    }
    assert!(matches!(session.ask(COMMIT).await, Ok(Ok(ReplyBody::Committed(_)))));
}
