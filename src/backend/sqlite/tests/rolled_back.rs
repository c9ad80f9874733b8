//! Transactions that SQLite ends by itself.

use super::super::execute::statement_run::{Access, RowConsumer, run_in_transaction};
use super::super::row_channel::ResultHeader;
use super::*;

struct Nowhere;

impl RowConsumer for Nowhere {
    fn start(&mut self, _header: ResultHeader) {}

    fn push(&mut self, _row: &[u8]) -> Result<()> {
        Ok(())
    }
}

fn writer(fixture: &Fixture) -> Session {
    let session =
        Session::open(Arc::clone(&fixture.database.config), Role::Writer).expect("it opens");
    session
        .connection
        .execute_batch(
            "CREATE TABLE t (id INTEGER PRIMARY KEY); CREATE TABLE refuses (id INTEGER);
             CREATE TRIGGER g BEFORE INSERT ON refuses
             BEGIN SELECT RAISE(ROLLBACK, 'not here'); END;
             INSERT INTO t VALUES (1)",
        )
        .expect("the tables are made");
    session
}

fn run(session: &Session, sql: &str) -> Result<Completion> {
    run_in_transaction(session, sql, &[], Access::ReadWrite, &mut Nowhere)
}

fn stored(session: &Session) -> i64 {
    let count = "SELECT count(*) FROM t";
    session.connection.query_row(count, [], |row| row.get(0)).expect("a number")
}

#[tokio::test]
async fn nothing_runs_in_a_transaction_that_sqlite_has_rolled_back() {
    let fixture = fixture();
    let session = writer(&fixture);
    for ends in [
        "INSERT OR ROLLBACK INTO t VALUES (1)",
        "INSERT OR ROLLBACK INTO t VALUES (3), (1) RETURNING id",
        "UPDATE OR ROLLBACK t SET id = 1",
        "INSERT INTO refuses VALUES (1)",
        "INSERT OR IGNORE INTO refuses VALUES (1)",
    ] {
        session.begin().expect("it begins");
        run(&session, "INSERT INTO t VALUES (2)").expect("it runs");
        let ended = run(&session, ends).expect_err(ends);
        assert_eq!(ended.outcome(), Outcome::NotApplied, "{ends}: {ended}");
        assert!(ended.hint().is_some_and(|hint| hint.contains("Begin again")), "{ends}: {ended}");
        let (sender, _receiver) = row_channel::<()>(after(Duration::from_secs(60)).instant());
        for refused in [
            run(&session, "INSERT INTO t VALUES (4)").map(drop),
            run(&session, "SELECT 1").map(drop),
            session.commit(&sender),
        ] {
            let error = refused.expect_err(ends);
            assert_eq!(error.kind(), ErrorKind::TransactionAborted, "{ends}: {error}");
            assert_eq!(error.outcome(), Outcome::NotApplied);
        }
        assert_eq!(stored(&session), 1, "{ends}");
        assert_eq!(session.reset(None), None, "the connection is as good as new");
    }
}

#[tokio::test]
async fn a_statement_that_fails_by_itself_leaves_its_transaction_open() {
    let fixture = fixture();
    let session = writer(&fixture);
    session.begin().expect("it begins");
    run(&session, "INSERT INTO t VALUES (2)").expect("it runs");
    for sql in ["INSERT INTO t VALUES (1)", "INSERT OR FAIL INTO t VALUES (5), (1)", "SELEC"] {
        let error = run(&session, sql).expect_err(sql);
        assert!(error.hint().is_none_or(|hint| !hint.contains("Begin again")), "{sql}: {error}");
    }
    run(&session, "INSERT INTO t VALUES (3)").expect("it is open");
    let (sender, _receiver) = row_channel::<()>(after(Duration::from_secs(60)).instant());
    session.commit(&sender).expect("it commits");
    assert_eq!(stored(&session), 4, "1, 2, 3, and the first row of OR FAIL");
}
