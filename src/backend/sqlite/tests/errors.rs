//! The texts of errors.

use super::*;

const BROKEN: [(&str, ErrorKind, &str); 23] = [
    ("INSERT INTO t VALUES (2, 'secret', 1)", ErrorKind::AlreadyExists, "UNIQUE_VIOLATION"),
    ("INSERT INTO t VALUES (1, 'other', 1)", ErrorKind::AlreadyExists, "UNIQUE_VIOLATION"),
    ("INSERT INTO child VALUES (1, 1, 1)", ErrorKind::AlreadyExists, "UNIQUE_VIOLATION"),
    ("CREATE TABLE t (a)", ErrorKind::AlreadyExists, "DUPLICATE_OBJECT"),
    ("INSERT INTO t VALUES (3, NULL, 1)", ErrorKind::FailedPrecondition, "NOT_NULL_VIOLATION"),
    ("INSERT INTO t VALUES (3, 'c', 0)", ErrorKind::FailedPrecondition, "CHECK_VIOLATION"),
    ("INSERT INTO child VALUES (9, 2, 2)", ErrorKind::FailedPrecondition, "FOREIGN_KEY_VIOLATION"),
    ("INSERT INTO late VALUES (9)", ErrorKind::FailedPrecondition, "FOREIGN_KEY_VIOLATION"),
    ("DELETE FROM child", ErrorKind::FailedPrecondition, "RAISE_EXCEPTION"),
    ("INSERT INTO strict_one VALUES ('secret')", ErrorKind::InvalidStatement, "DATATYPE_MISMATCH"),
    ("INSERT INTO t VALUES ('secret', 'c', 1)", ErrorKind::InvalidStatement, "DATATYPE_MISMATCH"),
    ("SELECT * FROM nowhere", ErrorKind::InvalidStatement, "UNDEFINED_TABLE"),
    ("SELECT missing FROM t", ErrorKind::InvalidStatement, "UNDEFINED_COLUMN"),
    ("SELECT missing(1)", ErrorKind::InvalidStatement, "UNDEFINED_FUNCTION"),
    ("SELEC 1", ErrorKind::InvalidStatement, "SYNTAX_ERROR"),
    ("SELECT 'secret", ErrorKind::InvalidStatement, "SYNTAX_ERROR"),
    ("SELECT 1 'secret' 2", ErrorKind::InvalidStatement, "SYNTAX_ERROR"),
    ("SELECT (1", ErrorKind::InvalidStatement, "SYNTAX_ERROR"),
    ("INSERT INTO t VALUES (1)", ErrorKind::InvalidStatement, "SQLITE_ERROR"),
    ("INSERT INTO v VALUES (1)", ErrorKind::InvalidStatement, "SQLITE_ERROR"),
    ("SELECT json('secret')", ErrorKind::InvalidStatement, "SQLITE_ERROR"),
    ("SELECT json_extract('{}', 'secret')", ErrorKind::InvalidStatement, "SQLITE_ERROR"),
    (
        "SELECT sum(9223372036854775807) FROM (VALUES (1), (2))",
        ErrorKind::OutOfRange,
        "NUMERIC_VALUE_OUT_OF_RANGE",
    ),
];

async fn constrained() -> Fixture {
    let fixture = fixture();
    for sql in [
        "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, n CHECK (n > 0))",
        "CREATE TABLE child (t INTEGER REFERENCES t (id), a, b, UNIQUE (a, b))",
        "CREATE TABLE late (t INTEGER REFERENCES t (id) DEFERRABLE INITIALLY DEFERRED)",
        "CREATE TABLE strict_one (a INTEGER) STRICT",
        "CREATE VIEW v AS SELECT 1",
        "CREATE TRIGGER g BEFORE DELETE ON child BEGIN SELECT raise(ABORT, 'keep it'); END",
        "INSERT INTO t VALUES (1, 'secret', 1)",
        "INSERT INTO child VALUES (1, 1, 1)",
    ] {
        fixture.run(sql).await;
    }
    fixture
}

#[tokio::test]
async fn an_error_has_a_kind_and_a_reason_and_quotes_no_value() {
    let fixture = constrained().await;
    for (sql, kind, reason) in BROKEN {
        let error = fixture.refused(sql).await;
        assert_eq!((error.kind(), error.reason()), (kind, reason), "{sql}: {error}");
        assert_eq!(error.outcome(), Outcome::NotApplied, "{sql}");
        assert!(!error.message().contains("secret"), "{sql}: {error}");
    }
}

#[tokio::test]
async fn an_error_names_what_it_is_about_and_where() {
    let fixture = constrained().await;
    let report = |error: Error| error.report().expect("a report").clone();
    let unique = report(fixture.refused("INSERT INTO t VALUES (2, 'secret', 1)").await);
    assert_eq!((unique.table.as_str(), unique.column.as_str()), ("t", "name"));
    let pair = report(fixture.refused("INSERT INTO child VALUES (1, 1, 1)").await);
    assert_eq!((pair.table.as_str(), pair.column.as_str()), ("child", ""));
    let check = report(fixture.refused("INSERT INTO t VALUES (3, 'c', 0)").await);
    assert_eq!(check.constraint, "n > 0");
    let syntax = fixture.refused("  SELECT 'é' FORM t").await;
    assert_eq!(report(syntax).position, 19);
}

#[tokio::test]
async fn a_path_that_does_not_work_is_found_by_use_and_probe() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("file");
    std::fs::write(&file, "no database, but long enough to be taken for one ".repeat(50))
        .expect("written");
    for (path, kind) in [
        (directory.path().join("missing/test.db"), ErrorKind::DatabaseUnavailable),
        (directory.path().to_owned(), ErrorKind::DatabaseUnavailable),
        (file, ErrorKind::DataLoss),
        (":memory:".into(), ErrorKind::BackendMisconfigured),
    ] {
        let target = SqliteTarget { path };
        let database =
            Sqlite::open(&crate::telemetry::Telemetry::silent("test"), &config(&target), &target);
        let probe = database.probe(Duration::from_secs(5)).await.expect_err("it cannot be opened");
        assert_eq!(probe.kind(), kind, "{}: {probe}", target.path.display());
        let used = database.execute(Arc::new(statement("SELECT 1", vec![]))).await.err();
        assert_eq!(used.map(|error| error.kind()), Some(kind), "{}", target.path.display());
    }
}
