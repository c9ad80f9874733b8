//! Deadlines, locks, streams, transactions.

use std::task::Poll;

use super::super::authorizer::Phase;
use super::*;

#[tokio::test]
async fn the_deadline_ends_a_statement_and_its_connection_serves_on() {
    let fixture = fixture_with(|config| config.pool.max = NonZeroUsize::MIN);
    fixture.run("CREATE TABLE t (x)").await;
    let sql = ENDLESS.replace("SELECT x FROM c", "SELECT count(*) FROM c");
    for sql in [sql.clone(), format!("INSERT INTO t {sql}")] {
        let began = Instant::now();
        let deadline = after(Duration::from_millis(100));
        let error = fixture
            .execute(Statement { deadline, ..statement(&sql, vec![]) })
            .await
            .expect_err("it never ends by itself");
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "{error}");
        assert_eq!(error.outcome(), Outcome::NotApplied);
        assert!(began.elapsed() < Duration::from_secs(5));
        assert_eq!(fixture.run("SELECT count(*) FROM t").await.number(), 0);
    }
}

/// Each would take minutes.
const UNINTERRUPTIBLE: [&str; 6] = [
    "SELECT instr(zeroblob(15000000), zeroblob(7000000) || x'01')",
    "SELECT printf('%.*c', 15000000, 'a') LIKE '%' || printf('%.*c', 49000, 'a') || 'b%'",
    "SELECT printf('%.*c', 15000000, 'a') GLOB '*' || printf('%.*c', 49000, 'a') || 'b*'",
    "SELECT replace(printf('%.*c', 15000000, 'a'), printf('%.*c', 7000000, 'a') || 'b', '')",
    "SELECT trim(printf('%.*c', 15000000, 'a'), printf('%.*c', 7000000, 'b') || 'a')",
    "SELECT unhex(printf('%.*c', 15000000, 'x'), printf('%.*c', 7000000, 'y') || 'x')",
];

#[tokio::test]
async fn functions_that_cannot_be_interrupted_leave_the_database_usable() {
    let fixture = fixture_with(|config| {
        config.pool.max = NonZeroUsize::new(4).expect("not zero");
        config.max_row_size = 16 << 20;
    });
    let deadline = || after(Duration::from_millis(200));
    let stuck = UNINTERRUPTIBLE
        .map(|sql| fixture.execute(Statement { deadline: deadline(), ..statement(sql, vec![]) }));
    for error in futures_util::future::join_all(stuck).await {
        let kind = error.expect_err("it takes minutes").kind();
        assert!(matches!(kind, ErrorKind::DeadlineExceeded | ErrorKind::PoolExhausted), "{kind:?}");
    }
    let began = Instant::now();
    let reads = (0..4).map(|_| fixture.query("SELECT 1", vec![]));
    for answer in futures_util::future::join_all(reads).await {
        assert_eq!(answer.expect("there is a connection").number(), 1);
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    fixture.run("CREATE TABLE t (n)").await;
}

#[tokio::test]
async fn no_function_of_a_write_keeps_the_writer_after_its_deadline() {
    let fixture = fixture_with(|config| config.max_row_size = 16 << 20);
    fixture.run("CREATE TABLE t (n)").await;
    for sql in UNINTERRUPTIBLE {
        let began = Instant::now();
        let insert = format!("INSERT INTO t {sql}");
        let write =
            Statement { deadline: after(Duration::from_millis(300)), ..statement(&insert, vec![]) };
        let error = fixture.execute(write).await.expect_err("it takes minutes");
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "{sql}: {error}");
        assert_eq!(error.outcome(), Outcome::NotApplied, "{sql}: {error}");
        fixture.run("INSERT INTO t VALUES (1)").await;
        assert!(began.elapsed() < Duration::from_secs(3), "{sql}: {:?}", began.elapsed());
    }
    assert_eq!(fixture.run("SELECT count(*) FROM t").await.number(), 6);
    assert_eq!(fixture.database.pool().opened, 2);
}

#[tokio::test]
async fn a_stream_that_nobody_reads_ends_at_the_deadline() {
    let fixture = fixture();
    // Time enough to start.
    let deadline = after(Duration::from_millis(500));
    let stream =
        fixture.database.execute(Arc::new(Statement { deadline, ..statement(ENDLESS, vec![]) }));
    let mut stream = stream.await.expect("it starts");
    tokio::time::sleep_until((deadline.instant() + Duration::from_millis(20)).into()).await;
    let mut sink = RowSink::of_result(usize::MAX);
    let error = fill(&mut *stream, &mut sink).await.expect_err("too late");
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
}

#[tokio::test]
async fn a_dropped_stream_stops_its_statement_and_frees_its_connection() {
    let fixture = fixture_with(|config| config.pool.max = NonZeroUsize::MIN);
    for round in 0..20 {
        let stream = fixture.database.execute(Arc::new(statement(ENDLESS, vec![])));
        let mut stream = stream.await.expect("it starts");
        if round % 2 == 0 {
            let mut sink = RowSink::of_result(1024);
            assert_eq!(fill(&mut *stream, &mut sink).await.expect("rows"), Fill::Full);
        }
        drop(stream);
        let deadline = after(Duration::from_secs(5));
        let next = Statement { deadline, ..statement("SELECT 1", vec![]) };
        assert_eq!(fixture.execute(next).await.expect("the connection is free").number(), 1);
    }
    assert_eq!(fixture.database.pool().opened, 1);
}

#[tokio::test]
async fn a_stream_has_bounded_memory_and_all_its_rows() {
    let fixture = fixture();
    let sql = format!("{ENDLESS} LIMIT 200000");
    let answer = fixture.run(&sql).await;
    assert_eq!(answer.rows.len(), 200_000);
    assert_eq!(answer.rows[199_999].values, [Value::int64(200_000)]);
    assert_eq!(answer.completion.command, "SELECT");
    assert_eq!(answer.completion.rows_affected, 0);
}

#[tokio::test]
async fn writers_wait_for_each_other_and_readers_for_nobody() {
    let fixture = fixture();
    fixture.run("CREATE TABLE t (n INTEGER)").await;
    fixture.run("INSERT INTO t VALUES (0)").await;
    let writes = (0..50).map(|_| fixture.query("UPDATE t SET n = n + 1", vec![]));
    let reads = (0..50).map(|_| fixture.query("SELECT n FROM t", vec![]));
    let (writes, reads) = futures_util::future::join(
        futures_util::future::join_all(writes),
        futures_util::future::join_all(reads),
    )
    .await;
    assert!(reads.iter().all(Result::is_ok));
    assert!(
        writes.iter().all(|write| write.as_ref().is_ok_and(|w| w.completion.rows_affected == 1))
    );
    assert_eq!(fixture.run("SELECT n FROM t").await.number(), 50);
}

#[tokio::test]
async fn a_lock_of_another_process_is_waited_for_but_not_for_ever() {
    let fixture = fixture_with(|config| config.lock_timeout = Duration::from_millis(150));
    fixture.run("CREATE TABLE t (n)").await;
    let other = fixture.outside();
    for deadline in [Duration::from_secs(20), Duration::from_millis(60)] {
        other.execute_batch("BEGIN IMMEDIATE").expect("locked");
        let insert = statement("INSERT INTO t VALUES (1)", vec![]);
        let began = Instant::now();
        let error = fixture
            .execute(Statement { deadline: after(deadline), ..insert })
            .await
            .expect_err("it is locked");
        assert_eq!(error.kind(), ErrorKind::LockNotAvailable, "{error}");
        assert_eq!(error.outcome(), Outcome::NotApplied);
        assert!(error.retry_after().is_some());
        assert!(began.elapsed() >= deadline.min(Duration::from_millis(150)));
        assert_eq!(fixture.run("SELECT count(*) FROM t").await.number(), 0);
        other.execute_batch("COMMIT").expect("unlocked");
    }
    fixture.run("INSERT INTO t VALUES (1)").await;
}

#[tokio::test]
async fn an_abandoned_write_is_finished_and_a_dropped_one_is_not_half_done() {
    let fixture = fixture();
    fixture.run("CREATE TABLE t (n)").await;
    let insert = format!("INSERT INTO t {ENDLESS} LIMIT 50000 RETURNING n");
    let stream =
        fixture.database.execute(Arc::new(statement(&insert, vec![]))).await.expect("it starts");
    drop(stream);
    assert_eq!(fixture.run("DELETE FROM t").await.completion.rows_affected, 0);

    let stream =
        fixture.database.execute(Arc::new(statement(&insert, vec![]))).await.expect("it starts");
    assert_eq!(stream.abandon().await, Outcome::Applied);
    assert_eq!(fixture.run("SELECT count(*) FROM t").await.number(), 50_000);

    let stream =
        fixture.database.execute(Arc::new(statement(ENDLESS, vec![]))).await.expect("it starts");
    assert_eq!(stream.abandon().await, Outcome::NotApplied);
}

#[tokio::test]
async fn a_write_that_is_told_to_have_failed_is_not_there() {
    let fixture = fixture();
    fixture.run("CREATE TABLE t (call INTEGER)").await;
    let mut acknowledged = Vec::new();
    let (mut failed, mut unknown) = (0, Vec::new());
    for call in 0..400_u32 {
        let sql = format!("INSERT INTO t SELECT $1 FROM ({ENDLESS} LIMIT 3000)");
        let deadline = after(Duration::from_micros(u64::from(call * 37 % 4000)));
        let sent = vec![Value::int64(call.into())];
        match fixture.execute(Statement { deadline, ..statement(&sql, sent) }).await {
            Ok(_) => acknowledged.push(i64::from(call)),
            Err(error) if error.outcome() == Outcome::NotApplied => failed += 1,
            // On a busy machine: it may be there or not.
            Err(error) if error.kind() == ErrorKind::OutcomeUnknown => {
                unknown.push(i64::from(call))
            }
            Err(error) => panic!("{error}"),
        }
    }
    let stored: Vec<i64> = {
        let other = fixture.outside();
        let mut statement = other.prepare("SELECT DISTINCT call FROM t ORDER BY 1").expect("sql");
        let rows = statement.query_map([], |row| row.get(0)).expect("rows");
        rows.collect::<Result<_, _>>().expect("numbers")
    };
    let stored: Vec<i64> = stored.into_iter().filter(|call| !unknown.contains(call)).collect();
    assert_eq!(stored, acknowledged);
    assert!(failed > 0 && !stored.is_empty(), "{failed} failed");
}

/// SQLite looks at the deadline every thousand steps of a statement, also when the step was the one
/// that committed; a cached COMMIT has few steps, so it takes some hundred to meet that.
#[tokio::test]
async fn a_commit_is_never_reported_as_interrupted() {
    let fixture = fixture();
    let config = Arc::clone(&fixture.database.config);
    let mut session = Session::open(config, Role::Writer).expect("it opens");
    let (sender, _receiver) = row_channel::<()>(Instant::now());
    session.arm(&sender, after(Duration::from_secs(60)).instant()).expect("armed");
    session.control("CREATE TABLE t (n)").expect("created");
    session.control("PRAGMA synchronous = OFF").expect("only to save time");
    session.authorizer.enter(Phase::Internal);
    for n in 0..1500 {
        for sql in ["BEGIN IMMEDIATE", "INSERT INTO t VALUES (1)", "COMMIT"] {
            let cached = session.connection.prepare_cached(sql);
            let ran = cached.and_then(|mut cached| cached.raw_execute());
            ran.unwrap_or_else(|error| panic!("{n}: {sql}: {error}"));
        }
    }
}

#[tokio::test]
async fn rows_at_hand_do_not_wait_for_a_slow_one() {
    let fixture = fixture();
    let quick = format!("SELECT count(*) FROM ({ENDLESS} LIMIT 4000) UNION ALL ").repeat(5);
    let sql = format!("{quick} SELECT count(*) FROM ({ENDLESS})");
    let mut stream =
        fixture.database.execute(Arc::new(statement(&sql, vec![]))).await.expect("it starts");
    let mut sink = RowSink::of_result(usize::MAX);
    let quick_rows = std::future::poll_fn(|cx| {
        assert!(stream.poll_rows(cx, &mut sink).is_pending(), "the last row never comes");
        if sink.len() == 5 { Poll::Ready(()) } else { Poll::Pending }
    });
    let began = Instant::now();
    tokio::time::timeout(Duration::from_secs(5), quick_rows).await.expect("they arrive");
    assert!(began.elapsed() < Duration::from_secs(4), "the reader was not woken for them");
}
