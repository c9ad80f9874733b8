//! Results in parts.

use prost::Message;

use super::*;
use crate::value::proto::{QueryOptions, ResultSet};

const LIMIT: (&str, &str) = ("grpc.max_response_size", "512KiB");
const CAP: (&str, &str) = ("databases.main.max_bytes", "500KiB");

async fn open(settings: &[(&str, &str)]) -> (Fake, Session) {
    let fake = Fake::default();
    let session = Session::open(&engine(&fake, settings), TransactionOptions::default()).await;
    (fake, session)
}

fn rows(parts: &[ResultSet]) -> usize {
    parts.iter().map(|part| part.received().rows.len()).sum()
}

#[tokio::test(start_paused = true)]
async fn the_first_part_has_the_columns_and_the_last_the_counts() {
    let (_fake, mut session) = open(&[]).await;
    for (sql, count) in [("rows 0 1", 0), ("rows 3 1", 3), ("rows 1000 1000", 1_000)] {
        session.send(query(sql)).await;
        let parts = session.parts().await.expect("it runs");
        assert_eq!(rows(&parts), count, "{sql}");
        assert!(parts.iter().all(|part| part.has_columns && part.encoded_len() < 256 << 10));
        let columns: Vec<usize> = parts.iter().map(|part| part.columns.len()).collect();
        assert!(columns[0] == 1 && columns[1..].iter().all(|columns| *columns == 0), "{sql}");
        let (last, before) = parts.split_last().expect("there is one at least");
        assert_eq!((last.command.as_str(), last.rows_affected), ("SELECT", 0));
        assert!(before.iter().all(|part| part.command.is_empty()), "{sql}");
    }
    session.send(query("change")).await;
    let parts = session.parts().await.expect("it runs");
    let [only] = &parts[..] else { panic!("{parts:?}") };
    assert_eq!((only.has_columns, only.command.as_str(), only.rows_affected), (false, "UPDATE", 1));
}

#[tokio::test(start_paused = true)]
async fn no_part_is_larger_than_a_message_may_be() {
    let (_fake, mut session) = open(&[LIMIT, CAP]).await;
    // Each fits; not both together.
    for sql in ["column 300000 300000", "rows 2 500000", "column 1000 520000"] {
        session.send(query(sql)).await;
        let parts = session.parts().await.expect(sql);
        let largest = parts.iter().map(ResultSet::encoded_len).max();
        assert!(largest < Some((512 << 10) - 64), "{sql}: {largest:?}");
        assert_eq!(parts[0].columns.len(), 1, "{sql}");
    }
    for (sql, kind) in
        [("rows 1 600000", ErrorKind::RowTooLarge), ("column 600000 1", ErrorKind::ResultTooLarge)]
    {
        session.succeeds(savepoint("s")).await;
        assert_eq!(session.fails(query(sql)).await, kind, "{sql}");
        session.succeeds(rollback_to("s")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_result_over_the_bounds_of_its_caller_fails() {
    let (_fake, mut session) = open(&[]).await;
    let rows = QueryOptions { max_rows: 99, ..QueryOptions::default() };
    let bytes = QueryOptions { max_bytes: 9_999, ..QueryOptions::default() };
    for options in [rows, bytes] {
        session.succeeds(savepoint("s")).await;
        let failed = session.fails(query_with("rows 100 100", options)).await;
        assert_eq!(failed, ErrorKind::ResultTooLarge);
        session.succeeds(rollback_to("s")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_takes_nothing_loses_its_transaction() {
    let (fake, mut session) = open(&[("stream.stall_timeout", "2s")]).await;
    session.send(query("rows 1000000 1000")).await;
    session.send(COMMIT).await;
    tokio::time::sleep(ms(1_900)).await;
    assert_eq!(fake.log(), ["rows 1000000 1000"]);
    tokio::time::sleep(ms(200)).await;
    assert_eq!(fake.log(), ["rows 1000000 1000", "dropped"]);
    let error = session.failure().await;
    assert_eq!((error.kind(), error.outcome()), (ErrorKind::StreamStalled, Outcome::NotApplied));
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_holds_a_statement_no_longer_than_its_timeout() {
    let (_fake, mut session) = open(&[]).await;
    session.succeeds(savepoint("s")).await;
    let options = QueryOptions { timeout: wire(ms(200)), ..QueryOptions::default() };
    session.send(query_with("rows 1000000 1000", options)).await;
    tokio::time::sleep(ms(500)).await;
    let error = session.parts().await.expect_err("it was too slow");
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    session.succeeds(rollback_to("s")).await;
    assert!(matches!(session.ask(COMMIT).await, Ok(Ok(ReplyBody::Committed(_)))));
}
