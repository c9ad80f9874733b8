//! The ends of transactions.

use tokio::time::Instant;

use super::*;

#[tokio::test(start_paused = true)]
async fn closing_takes_effect_after_what_was_sent_and_is_no_commit() {
    let fake = Fake::default();
    let mut session = Session::open(&engine(&fake, &[]), TransactionOptions::default()).await;
    session.send(query("a")).await;
    session.send(query("b")).await;
    session.half_close().await;
    assert!(session.parts().await.is_ok() && session.parts().await.is_ok());
    let error = session.failure().await;
    assert_eq!((error.kind(), error.outcome()), (ErrorKind::NotCommitted, Outcome::NotApplied));
    assert_eq!(fake.log(), ["a", "b", "dropped"]);
}

#[tokio::test(start_paused = true)]
async fn a_disconnected_caller_stops_the_running_command_and_the_waiting_ones() {
    let fake = Fake::default();
    let mut session = Session::open(&engine(&fake, &[]), TransactionOptions::default()).await;
    session.send(query("sleep 5000")).await;
    session.send(COMMIT).await;
    tokio::time::sleep(ms(100)).await;
    let start = Instant::now();
    drop(session);
    while fake.log() != ["sleep 5000", "dropped"] {
        assert!(fake.log().len() < 2, "{:?}", fake.log());
        tokio::time::sleep(ms(1)).await;
    }
    assert!(start.elapsed() < ms(10));
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_was_sent_is_finished_without_its_caller() {
    let fake = Fake::with_slow_commits(ms(500));
    let mut session = Session::open(&engine(&fake, &[]), TransactionOptions::default()).await;
    session.send(COMMIT).await;
    tokio::time::sleep(ms(100)).await;
    assert_eq!(fake.log(), ["commit"]);
    drop(session);
    tokio::time::sleep(ms(500)).await;
    assert_eq!(fake.log(), ["commit", "committed"]);
}

#[tokio::test(start_paused = true)]
async fn a_committed_transaction_stays_committed_when_its_caller_stalls() {
    let fake = Fake::default();
    let mut session = Session::open(&engine(&fake, &[]), TransactionOptions::default()).await;
    session.send(query("a")).await;
    session.send(COMMIT).await;
    // The result waits to be taken, and so the caller cannot learn of the commit.
    tokio::time::sleep(ms(60_000)).await;
    assert_eq!(fake.log(), ["a", "commit", "committed"]);
    let error = session.failure().await;
    assert_eq!((error.kind(), error.outcome()), (ErrorKind::StreamStalled, Outcome::Applied));
}

#[tokio::test(start_paused = true)]
async fn a_command_behind_the_end_is_not_read() {
    for (end, outcome) in [(COMMIT, "committed"), (ROLLBACK, "rollback")] {
        let fake = Fake::default();
        let mut session = Session::open(&engine(&fake, &[]), TransactionOptions::default()).await;
        session.send(end).await;
        session.send(query("a")).await;
        let start = Instant::now();
        session.end().await.expect("it ends well");
        assert_eq!(start.elapsed(), ms(0));
        assert_eq!(fake.log().last().map(String::as_str), Some(outcome));
    }
}

#[tokio::test(start_paused = true)]
async fn the_stream_ends_with_its_last_reply_though_its_caller_has_not_closed() {
    for end in [COMMIT, ROLLBACK] {
        let fake = Fake::default();
        let mut session = Session::open(&engine(&fake, &[]), TransactionOptions::default()).await;
        session.succeeds(end).await;
        let start = Instant::now();
        session.end().await.expect("it ends well");
        assert_eq!(start.elapsed(), ms(0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_draining_server_does_not_wait_for_callers() {
    let fake = Fake::default();
    let engine = engine(&fake, &[]);
    let mut silent = Session::start(&engine, None);
    let mut idle = Session::open(&engine, TransactionOptions::default()).await;
    let start = Instant::now();
    engine.drain((start + ms(60_000)).into_std());
    let mut late = Session::start(&engine, None);
    for session in [&mut silent, &mut idle, &mut late] {
        let error = session.failure().await;
        assert_eq!((error.kind(), error.outcome()), (ErrorKind::ShuttingDown, Outcome::NotApplied));
    }
    assert!(start.elapsed() < ms(10), "{:?}", start.elapsed());
    assert_eq!(fake.log(), ["dropped"]);
}

#[tokio::test(start_paused = true)]
async fn a_draining_server_runs_received_commands_until_the_drain_ends() {
    let fake = Fake::with_slow_commits(ms(2_000));
    let engine = engine(&fake, &[]);
    let mut sessions = Vec::new();
    for commands in [[query("sleep 500"), COMMIT], [query("sleep 500"), query("sleep 5000")]] {
        let mut session = Session::open(&engine, TransactionOptions::default()).await;
        for command in commands {
            session.send(command).await;
        }
        sessions.push(session);
    }
    tokio::time::sleep(ms(1)).await;
    let start = Instant::now();
    engine.drain((start + ms(1_000)).into_std());
    let [committing, busy] = &mut sessions[..] else { panic!("there are two") };
    let error = busy.failure().await;
    assert_eq!((error.kind(), error.outcome()), (ErrorKind::ShuttingDown, Outcome::NotApplied));
    assert!((ms(990)..ms(1_010)).contains(&start.elapsed()), "{:?}", start.elapsed());
    committing.parts().await.expect("it runs");
    assert!(matches!(committing.reply().await, Ok(Ok(ReplyBody::Committed(_)))));
}
