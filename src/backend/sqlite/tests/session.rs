//! The effects that a statement may have on its connection, and connections on the file.

use super::*;

#[tokio::test]
async fn a_text_that_is_not_one_statement_runs_nothing() {
    let fixture = fixture();
    for sql in ["", "  ;; ", "-- nothing", "/* nothing */ ;"] {
        let answer = fixture.run(sql).await;
        assert_eq!(answer.columns, None, "{sql}");
        assert_eq!(answer.completion, Completion::default(), "{sql}");
    }
    for sql in [
        "CREATE TABLE a (x); CREATE TABLE b (x)",
        "CREATE TABLE a (x); INSERT INTO a VALUES (1)",
        "CREATE TABLE a (x); nonsense",
        "CREATE TABLE a (x);; ; -- and\n SELECT 1;",
    ] {
        assert_eq!(fixture.refused(sql).await.reason(), "MULTIPLE_STATEMENTS", "{sql}");
    }
    let many = "SELECT 1;".repeat(100_000);
    assert_eq!(fixture.refused(&many).await.reason(), "MULTIPLE_STATEMENTS");
    let nul = fixture.refused("SELECT 1\0; CREATE TABLE a (x)").await;
    assert_eq!(nul.kind(), ErrorKind::InvalidSql);
    assert_eq!(fixture.run(";SELECT ';' ; -- done").await.values(), [&Value::text(";")]);
    assert_eq!(fixture.run("SELECT count(*) FROM sqlite_schema").await.number(), 0);
}

#[tokio::test]
async fn nothing_that_would_leave_a_trace_in_the_session_runs() {
    let fixture = fixture();
    fixture.run("CREATE TABLE t (n)").await;
    let session = [
        "ATTACH ':memory:' AS other",
        "ATTACH '' AS other",
        "ATTACH $1 AS other",
        "DETACH main",
        "VACUUM INTO 'copy.db'",
        "CREATE TEMP TABLE x (n)",
        "CREATE TABLE temp.x (n)",
        "CREATE TABLE Temp.x AS SELECT 1",
        "CREATE VIEW temp.x AS SELECT 1",
        "CREATE VIRTUAL TABLE temp.x USING fts5(a)",
        "CREATE TEMP VIEW x AS SELECT 1",
        "CREATE TEMP TRIGGER x AFTER INSERT ON t BEGIN SELECT 1; END",
        "PRAGMA foreign_keys = OFF",
        "PRAGMA foreign_keys(0)",
        "PRAGMA query_only = 0",
        "PRAGMA synchronous = OFF",
        "PRAGMA journal_mode = DELETE",
        "PRAGMA case_sensitive_like = ON",
        "PRAGMA writable_schema = ON",
        "PRAGMA schema_version = 99",
        "PRAGMA temp_store_directory = '/'",
        "PRAGMA cache_size = 1",
        "SELECT last_insert_rowid()",
        "INSERT INTO t VALUES (changes())",
        "SELECT total_changes()",
        "EXPLAIN ATTACH ':memory:' AS other",
    ];
    for sql in session {
        let sent = if sql.contains("$1") { vec![Value::text("x")] } else { vec![] };
        let error = fixture.query(sql, sent).await.expect_err(sql);
        assert_eq!(error.reason(), "SESSION_STATE", "{sql}: {error}");
        assert_eq!(error.outcome(), Outcome::NotApplied);
    }
    fixture.run("PRAGMA table_info(t)").await;
    for sql in ["BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT a", "RELEASE a", "END", "BEGIN EXCLUSIVE"]
    {
        assert_eq!(fixture.refused(sql).await.kind(), ErrorKind::TransactionControl, "{sql}");
    }
    for sql in ["BEGIN IMMEDIATE", "ROLLBACK", "COMMIT"] {
        let own = Arc::new(batch(&[sql]));
        let refused = fixture.database.execute_batch(own, BatchStrategy::Pipelined).await;
        assert_eq!(refused.expect_err(sql).kind(), ErrorKind::TransactionControl, "{sql}");
    }
    assert!(fixture.refused("SELECT load_extension('x')").await.outcome() == Outcome::NotApplied);
    assert_eq!(fixture.run("SELECT count(*) FROM t").await.number(), 0);
    assert_eq!(fixture.run("PRAGMA foreign_keys").await.number(), 1);
    assert!(!fixture.directory.path().join("copy.db").exists());
    assert_eq!(fixture.database.pool().closed.iter().sum::<u64>(), 0);
}

#[tokio::test]
async fn what_the_database_itself_keeps_may_be_set_and_read() {
    let fixture = fixture();
    fixture.run("PRAGMA user_version = 7").await;
    assert_eq!(fixture.run("PRAGMA user_version").await.number(), 7);
    fixture.run("CREATE TABLE t (n INTEGER PRIMARY KEY, s TEXT)").await;
    fixture.run("CREATE TABLE log (n)").await;
    let body = "INSERT INTO log VALUES (last_insert_rowid()); SELECT 1;";
    fixture.run(&format!("CREATE TRIGGER g AFTER INSERT ON t BEGIN {body} END")).await;
    fixture.run("INSERT INTO t VALUES (41, 'x'), (42, 'y')").await;
    assert_eq!(fixture.run("SELECT max(n) FROM log").await.number(), 42);
    assert_eq!(fixture.run("SELECT count(*) FROM pragma_table_info('t')").await.number(), 2);
    assert_eq!(fixture.run("PRAGMA table_info(t)").await.rows.len(), 2);
    assert_eq!(fixture.run("PRAGMA integrity_check").await.values(), [&Value::text("ok")]);
    for sql in [
        "ANALYZE",
        "REINDEX",
        "VACUUM",
        "CREATE VIRTUAL TABLE f USING fts5(body)",
        "INSERT INTO f VALUES ('some words')",
        "INSERT INTO f (f) VALUES ('optimize')",
        "CREATE VIRTUAL TABLE g4 USING fts4(body)",
        "INSERT INTO g4 VALUES ('some words')",
        "INSERT INTO g4 (g4) VALUES ('optimize')",
        "CREATE VIRTUAL TABLE r USING rtree(id, a, b)",
        "INSERT INTO r VALUES (1, 0, 1)",
        "EXPLAIN QUERY PLAN DELETE FROM t",
        "ALTER TABLE t ADD COLUMN more",
        "ALTER TABLE t RENAME COLUMN more TO less",
        "ALTER TABLE t DROP COLUMN less",
        "ALTER TABLE t RENAME TO u",
        "DROP TABLE u",
        "DROP TABLE r",
    ] {
        fixture.run(sql).await;
    }
    let found = fixture.run("SELECT count(*) FROM f WHERE f MATCH 'words'").await;
    assert_eq!(found.number(), 1);
    let explained = statement("EXPLAIN DELETE FROM log", vec![]);
    let explained = fixture.execute(Statement { read_only: true, ..explained }).await;
    assert!(explained.expect("it only explains").columns.is_some());
}

/// A view of the figures of the statement before, and tables that keep what it showed.
async fn figures() -> Fixture {
    let fixture = fixture();
    let figures = "last_insert_rowid(), changes(), total_changes()";
    for sql in [
        "CREATE TABLE t (n INTEGER PRIMARY KEY)".to_owned(),
        "CREATE TABLE fires (n)".to_owned(),
        "CREATE TABLE log (last, changed, total)".to_owned(),
        format!("CREATE VIEW v AS SELECT {figures}"),
        format!(
            "CREATE TRIGGER g BEFORE INSERT ON fires BEGIN INSERT INTO log SELECT {figures}; END"
        ),
    ] {
        fixture.run(&sql).await;
    }
    fixture
}

#[tokio::test]
async fn no_figure_tells_of_another_callers_statement() {
    let fixture = figures().await;
    let nothing = ["0", "0", "0"].map(|zero| Value::int64(zero.parse().expect("a number")));
    for earlier in ["REPLACE INTO t VALUES (41), (42)", "DELETE FROM t", "DROP TABLE IF EXISTS x"] {
        fixture.run(earlier).await;
        // It reads, but goes to the writer for its first words.
        let read = fixture.run("WITH replace AS (SELECT 1) SELECT v.* FROM replace, v").await;
        assert_eq!(read.values(), nothing.each_ref(), "{earlier}");
        fixture.run(earlier).await;
        fixture.run("INSERT INTO fires VALUES (1)").await;
        fixture.run(earlier).await;
        fixture.run("INSERT INTO log SELECT * FROM v").await;
        fixture.run(earlier).await;
        let key = IdempotencyKey {
            caller: "test".to_owned(),
            key: earlier.to_owned(),
            request_hash: [0; 32],
        };
        let keyed = Batch { key: Some(key), ..batch(&["INSERT INTO log SELECT * FROM v"]) };
        fixture
            .database
            .execute_batch(Arc::new(keyed), BatchStrategy::Pipelined)
            .await
            .expect("applied");
    }
    let logged = fixture.run("SELECT DISTINCT last, changed, total FROM log").await;
    assert_eq!(logged.values(), nothing.each_ref());
}

#[tokio::test]
async fn the_figures_of_ones_own_transaction_are_told() {
    let fixture = figures().await;
    fixture.run("INSERT INTO t VALUES (1), (2), (3)").await;
    let own = batch(&["INSERT INTO t VALUES (50), (51)", "INSERT INTO log SELECT * FROM v"]);
    fixture.database.execute_batch(Arc::new(own), BatchStrategy::Pipelined).await.expect("applied");
    let logged = fixture.run("SELECT * FROM log").await;
    assert_eq!(logged.values(), [&Value::int64(51), &Value::int64(2), &Value::int64(2)]);
}

#[tokio::test]
async fn a_connections_own_table_is_out_of_reach() {
    let fixture = figures().await;
    fixture.run("INSERT INTO t VALUES (1)").await;
    for sql in [
        "INSERT INTO log SELECT *, 1, 1 FROM \"rowgate figures\"",
        "UPDATE \"rowgate figures\" SET n = 1",
        "INSERT INTO temp.\"rowgate figures\" VALUES (1)",
        "DELETE FROM temp.\"rowgate figures\"",
        "DROP TABLE \"rowgate figures\"",
    ] {
        assert_ne!(fixture.refused(sql).await.outcome(), Outcome::Applied, "{sql}");
    }
}

#[tokio::test]
async fn read_only_refuses_writes() {
    let fixture = fixture();
    fixture.run("CREATE TABLE t (n)").await;
    let changes = "WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x RETURNING n";
    for (sql, class) in [
        (changes, StatementClass::Other),
        ("DELETE FROM t", StatementClass::Other),
        ("DROP TABLE t", StatementClass::Read(crate::sql::class::Uses::default())),
        ("PRAGMA user_version = 1", StatementClass::Other),
        ("VACUUM", StatementClass::Other),
    ] {
        let refused =
            Statement { read_only: true, analysis: analysis(class), ..statement(sql, vec![]) };
        let error = fixture.execute(refused).await.expect_err(sql);
        assert_eq!(error.kind(), ErrorKind::ReadOnly, "{sql}: {error}");
    }
    assert_eq!(fixture.run("SELECT count(*) FROM t").await.number(), 0);
    let allowed = Statement { read_only: true, ..statement("SELECT 1", vec![]) };
    assert_eq!(fixture.execute(allowed).await.expect("it reads").number(), 1);
}

#[tokio::test]
async fn the_file_is_made_on_first_use_and_has_a_write_ahead_log() {
    let fixture = fixture();
    let path = fixture.directory.path().join("test.db");
    assert!(!path.exists());
    let (one, two) = futures_util::future::join(
        fixture.database.warm_up(2),
        fixture.database.probe(Duration::from_secs(5)),
    )
    .await;
    one.and(two).expect("it can be made");
    assert!(path.exists());
    let mode: String = fixture
        .outside()
        .query_row("PRAGMA journal_mode", [], |row| row.get(0))
        .expect("it has a mode");
    assert_eq!(mode, "wal");
    for file in ["test.db", "test.db-wal", "test.db-shm"] {
        let of_file = std::fs::metadata(fixture.directory.path().join(file)).expect("it is there");
        let mode = std::os::unix::fs::PermissionsExt::mode(&of_file.permissions());
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    // FULL, and readers refuse to write by themselves.
    assert_eq!(fixture.run("PRAGMA synchronous").await.number(), 2);
}

#[tokio::test]
async fn many_connections_may_open_a_new_file_at_once() {
    let fixture = fixture_with(|config| {
        config.pool.max = NonZeroUsize::new(8).expect("not zero");
    });
    let reads = (0..8).map(|_| fixture.query("SELECT 1", vec![]));
    let writes = (0..2)
        .map(|n| fixture.query(if n == 0 { "CREATE TABLE t (a)" } else { "ANALYZE" }, vec![]));
    for answer in futures_util::future::join_all(reads).await {
        answer.expect("it opened");
    }
    for answer in futures_util::future::join_all(writes).await {
        answer.expect("it opened");
    }
}

#[tokio::test]
async fn a_closed_database_takes_no_calls() {
    let fixture = fixture();
    fixture.run("SELECT 1").await;
    fixture.database.close();
    assert_eq!(fixture.refused("SELECT 1").await.kind(), ErrorKind::ShuttingDown);
    let pool = fixture.database.pool();
    assert_eq!((pool.open, pool.statements), (0, 1), "what was refused did not run");
}
