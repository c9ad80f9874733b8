//! Ends of writes that share a commit which the others must not notice.

use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use tokio::signal::unix::SignalKind;

use super::*;

#[tokio::test]
async fn a_write_that_rolls_everything_back_takes_nobody_along() {
    for ends in [
        "INSERT OR ROLLBACK INTO t (id) VALUES (7), (0)",
        "UPDATE OR ROLLBACK t SET id = 0",
        "INSERT INTO refuses VALUES (1)",
    ] {
        let mut group = Group::new(SCHEMA).await;
        let (errors, _) = among_others(&mut group, &[ends]).await;
        let [Some(error)] = errors.as_slice() else { panic!("{ends}: {errors:?}") };
        assert_eq!(error.outcome(), Outcome::NotApplied, "{ends}: {error}");
        assert_eq!(group.ids(), [1, 2], "{ends}");
    }
}

#[tokio::test]
async fn the_error_of_a_write_is_not_that_of_neighbours_who_were_not_applied() {
    let mut group = Group::new(SCHEMA).await;
    let refuses =
        group.batch(batch(&["INSERT INTO t (id) VALUES (7)", "INSERT INTO t (id) VALUES (0)"]));
    let same = group.statement(&insert(7));
    group.turns().await;
    assert_eq!(outcome(refuses).await.expect_err("0 is there").reason(), "UNIQUE_VIOLATION");
    outcome(same).await.expect("7 is not there");
    assert_eq!(group.ids(), [7]);
}

#[tokio::test]
async fn a_commit_that_fails_makes_each_run_by_itself() {
    let mut group = Group::new(SCHEMA).await;
    let fails = Arc::new(AtomicBool::new(true));
    let commits = group.fail_commits(&fails).await;
    let jobs: Vec<_> = [1, 2, 0, 3].map(|id| group.statement(&insert(id))).into();
    group.turns().await;
    let mut reasons = Vec::new();
    for job in jobs {
        reasons.push(outcome(job).await.err().map(|error| error.kind()));
    }
    assert_eq!(reasons, [None, None, Some(ErrorKind::AlreadyExists), None]);
    assert!(commits.load(Ordering::Relaxed) > 3 && !fails.load(Ordering::Relaxed));
    assert_eq!(group.ids(), [1, 2, 3]);
}

#[tokio::test]
async fn a_full_file_fails_only_those_that_do_not_fit() {
    let mut group = Group::new(SCHEMA).await;
    let limited = group.before(|session| {
        let pages: i64 = session
            .connection
            .query_row("SELECT page_count + 2 FROM pragma_page_count", [], |row| row.get(0))
            .expect("a number");
        let limit = format!("PRAGMA max_page_count = {pages}");
        session.authorizer.enter(super::super::authorizer::Phase::Internal);
        session.connection.query_row(&limit, [], |_row| Ok(())).expect("it is set");
    });
    limited.await;
    let large = "INSERT INTO told (last) SELECT zeroblob(100000)";
    let (errors, _) = among_others(&mut group, &[large]).await;
    let [Some(error)] = errors.as_slice() else { panic!("{errors:?}") };
    assert_eq!((error.reason(), error.outcome()), ("DISK_FULL", Outcome::NotApplied));
    assert_eq!(group.ids(), [1, 2]);
}

#[tokio::test]
async fn a_slow_write_keeps_its_own_time_and_harms_nobody() {
    let slow = "INSERT INTO told (last) WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL \
                SELECT x + 1 FROM c WHERE x < 300000) SELECT max(x) FROM c";
    let endless = "INSERT INTO told (last) WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL \
                   SELECT x + 1 FROM c) SELECT max(x) FROM c";
    let mut group = Group::new(SCHEMA).await;
    group.limits.time = Duration::from_millis(10);
    let first = group.statement(&insert(1));
    let slow = group.statement(slow);
    let between = group.statement(&insert(2));
    let sent = Arc::new(statement(endless, vec![]));
    let late = group.add(StatementWrite::new(sent), after(Duration::from_secs(3)));
    let behind = group.statement(&insert(3));
    group.turns().await;
    for job in [first, slow, between, behind] {
        outcome(job).await.expect("it commits");
    }
    let error = outcome(late).await.expect_err("it has no end");
    assert_eq!((error.kind(), error.outcome()), (ErrorKind::DeadlineExceeded, Outcome::NotApplied));
    assert_eq!(group.numbers("SELECT last FROM told"), [300_000]);
    assert_eq!(group.ids(), [1, 2, 3]);
}

#[tokio::test]
async fn a_call_that_is_cancelled_before_its_turn_is_not_applied() {
    let mut group = Group::new(SCHEMA).await;
    let first = group.statement(&insert(1));
    drop(group.statement(&insert(7)));
    let last = group.statement(&insert(2));
    group.turns().await;
    outcome(first).await.expect("it commits");
    outcome(last).await.expect("it commits");
    assert_eq!(group.ids(), [1, 2]);
}

#[tokio::test]
async fn a_call_that_is_nearly_late_shares_no_commit() {
    let mut group = Group::new(SCHEMA).await;
    let commits = group.count_commits().await;
    let first = group.statement(&insert(1));
    let sent = Arc::new(statement(&insert(7), vec![]));
    let near = group.add(StatementWrite::new(sent), after(Duration::from_secs(4)));
    let last = group.statement(&insert(2));
    assert!(group.turn().await);
    outcome(first).await.expect("it commits");
    outcome(last).await.expect("it commits");
    assert_eq!((commits.load(Ordering::Relaxed), group.ids()), (1, vec![1, 2]));
    group.turns().await;
    outcome(near).await.expect("it commits");
    assert_eq!(group.ids(), [1, 2, 7]);
}

/// Lets no file of this process grow beyond a size.
fn bound_files(bytes: Option<u64>) {
    let own = getrlimit(Resource::Fsize);
    setrlimit(Resource::Fsize, Rlimit { current: bytes.or(own.maximum), ..own })
        .expect("it is set");
}

#[test]
fn a_commit_of_unknown_outcome_is_told_so_to_all_who_share_it() {
    let inner = "backend::sqlite::tests::shared_commit::ends::whose_log_cannot_be_written";
    let own = std::env::current_exe().expect("it has a path");
    let ran = std::process::Command::new(own).args([inner, "--exact", "--ignored"]).output();
    let ran = ran.expect("it is started");
    let told = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success() && told.contains("1 passed"), "{told}");
}

#[tokio::test]
#[ignore = "bounds the files of its process: the test above starts it in one of its own"]
async fn whose_log_cannot_be_written() {
    let grown = SignalKind::from_raw(Signal::XFSZ.as_raw());
    let _instead_of_its_end = tokio::signal::unix::signal(grown).expect("it is caught");
    let mut group = Group::new(SCHEMA).await;
    let log = group.path.with_file_name("test.db-wal");
    let bounded = group.before(move |session| {
        let hook = move || {
            bound_files(Some(std::fs::metadata(&log).expect("there is a log").len()));
            false
        };
        session.connection.commit_hook(Some(hook)).expect("it is hooked");
    });
    bounded.await;
    let written = [insert(1), insert(2)].map(|sql| group.statement(&sql));
    // It finds what may not be there.
    let again = group.statement(&insert(1));
    let own = group.statement("INSERT INTO nowhere VALUES (1)");
    let wide = group.statement("INSERT INTO t (id) VALUES (3) RETURNING hex(zeroblob(50000))");
    let batched = group.batch(batch(&["INSERT INTO t (id) VALUES (4)"]));
    assert!(group.turn().await);
    bound_files(None);
    for written in written {
        let error = outcome(written).await.expect_err("its log cannot be written");
        assert_eq!((error.reason(), error.outcome()), ("IO_ERROR", Outcome::Unknown));
    }
    let error = outcome(batched).await.expect_err("its log cannot be written");
    assert_eq!((error.reason(), error.outcome()), ("IO_ERROR", Outcome::Unknown));
    for failed in [again, own] {
        let error = outcome(failed).await.expect_err("it is not applied");
        assert_eq!((error.reason(), error.outcome()), ("IO_ERROR", Outcome::NotApplied));
    }
    // It was to run by itself, and its connection is lost: it runs again on another.
    let error = outcome(wide).await.expect_err("its connection is lost");
    assert_eq!((error.reason(), error.outcome()), ("CONNECTION_LOST", Outcome::NotApplied));
    assert!(group.ids().is_empty(), "none is there, as it happens");
}
