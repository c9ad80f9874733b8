//! Functions, PRAGMAs and comments that other builds and libraries take for granted.

use super::*;

#[tokio::test]
async fn the_mathematical_functions_are_there() {
    let fixture = fixture();
    for function in [
        "acos(1)",
        "acosh(1)",
        "asin(0)",
        "asinh(0)",
        "atan(0)",
        "atan2(0, 1)",
        "atanh(0)",
        "ceil(1.5) - 2",
        "ceiling(1.5) - 2",
        "cos(0) - 1",
        "cosh(0) - 1",
        "degrees(0)",
        "exp(0) - 1",
        "floor(1.5) - 1",
        "ln(1)",
        "log(1)",
        "log(10, 1)",
        "log10(1)",
        "log2(1)",
        "mod(4, 2)",
        "floor(pi()) - 3",
        "pow(2, 3) - 8",
        "power(2, 3) - 8",
        "radians(0)",
        "sin(0)",
        "sinh(0)",
        "sqrt(4) - 2",
        "tan(0)",
        "tanh(0)",
        "trunc(1.5) - 1",
        "(SELECT median(value) - 2 FROM json_each('[1,2,3]'))",
        "(SELECT percentile(value, 50) - 2 FROM json_each('[1,2,3]'))",
        "(SELECT percentile_cont(value, 0.5) - 2 FROM json_each('[1,2,3]'))",
        "(SELECT percentile_disc(value, 0.5) - 2 FROM json_each('[1,2,3]'))",
    ] {
        assert_eq!(fixture.run(&format!("SELECT {function} = 0")).await.number(), 1, "{function}");
    }
}

#[tokio::test]
async fn pragmas_that_change_nothing_are_accepted() {
    let fixture = fixture();
    fixture.run("CREATE TABLE t (n PRIMARY KEY)").await;
    for sql in [
        "PRAGMA foreign_keys = ON",
        "PRAGMA foreign_keys(1)",
        "PRAGMA foreign_keys = 'yes'",
        "PRAGMA journal_mode = WAL",
        "PRAGMA main.journal_mode = wal",
        "PRAGMA optimize",
        "PRAGMA main.optimize",
        "PRAGMA optimize(0x10002)",
        "PRAGMA optimize = -1",
        "PRAGMA busy_timeout",
        "PRAGMA cache_size",
        "PRAGMA encoding",
        "PRAGMA locking_mode",
        "PRAGMA mmap_size",
        "PRAGMA temp_store",
    ] {
        fixture.run(sql).await;
        let own = batch(&["INSERT INTO t VALUES (1)", sql, "DELETE FROM t"]);
        let applied = fixture.database.execute_batch(Arc::new(own), BatchStrategy::Pipelined).await;
        assert!(applied.is_ok(), "{sql}: {:?}", applied.err());
    }
    for sql in [
        "PRAGMA foreign_keys = OFF",
        "PRAGMA foreign_keys = 0",
        "PRAGMA foreign_keys = ''",
        "PRAGMA foreign_keys = 'on '",
        "PRAGMA journal_mode = DELETE",
        "PRAGMA busy_timeout = 1",
        "PRAGMA cache_size = 1",
    ] {
        assert_eq!(fixture.refused(sql).await.reason(), "SESSION_STATE", "{sql}");
    }
    assert_eq!(fixture.run("PRAGMA foreign_keys").await.number(), 1);
}

#[tokio::test]
async fn optimize_analyses_what_needs_it() {
    let fixture = fixture();
    fixture.run("CREATE TABLE t (n PRIMARY KEY)").await;
    fixture.run(&format!("INSERT INTO t {ENDLESS} LIMIT 1000")).await;
    fixture.run("PRAGMA optimize(0x10002)").await;
    assert_eq!(fixture.run("SELECT count(*) FROM sqlite_stat1").await.number(), 1);
    let only_reads = Statement { read_only: true, ..statement("PRAGMA optimize", vec![]) };
    let refused = fixture.execute(only_reads).await.expect_err("it writes");
    assert_eq!(refused.kind(), ErrorKind::ReadOnly);
}

#[tokio::test]
async fn the_end_of_the_text_ends_a_comment() {
    let fixture = fixture();
    for sql in [
        "SELECT 1 /*",
        "SELECT 1; /*",
        "SELECT 1 /* /*",
        "SELECT 1 -- /*",
        "SELECT 1 AS \"/*\" /*",
        "SELECT 1 /* ",
        "SELECT 1 /*\n",
        "SELECT 1 /* not ended",
        "SELECT 1 /* not ended \n",
        "SELECT 1; /* ",
        "SELECT 1 /* /* ",
        "SELECT 1 -- /* \n",
        "SELECT 1 /* * / ",
        "SELECT 1 --",
    ] {
        assert_eq!(fixture.run(sql).await.number(), 1, "{sql}");
    }
    assert_eq!(fixture.run("/* nothing").await.columns, None);
}

#[tokio::test]
async fn full_details_are_the_databases_own_words() {
    let fixture = fixture_with(|config| config.error_details = ErrorDetails::Full);
    for sql in [
        "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, n CHECK (n > 0))",
        "CREATE TABLE child (t INTEGER REFERENCES t (id))",
        "INSERT INTO t VALUES (1, 'one', 1)",
    ] {
        fixture.run(sql).await;
    }
    for sql in [
        "INSERT INTO t VALUES (2, 'one', 1)",
        "INSERT INTO t VALUES (2, NULL, 1)",
        "INSERT INTO t VALUES (2, 'two', 0)",
        "INSERT INTO t VALUES ('x', 'two', 1)",
        "INSERT INTO child VALUES (9)",
        "SELECT 'open",
        "SELECT 1 'one' 2",
        "SELECT json('one')",
        "SELECT zeroblob(100000000)",
        "SELECT missing",
    ] {
        let own = fixture.outside();
        own.execute_batch("PRAGMA foreign_keys = ON").expect("it is on");
        own.set_limit(rusqlite::limits::Limit::SQLITE_LIMIT_LENGTH, 1 << 20).expect("it is set");
        let run = own.prepare(sql).and_then(|mut statement| statement.raw_query().next().map(drop));
        let error = run.expect_err(sql);
        let message = if let rusqlite::Error::SqlInputError { msg, .. } = &error {
            msg.clone()
        } else if let rusqlite::Error::SqliteFailure(_, Some(message)) = &error {
            message.clone()
        } else {
            panic!("{sql}: {error}")
        };
        assert_eq!(fixture.refused(sql).await.message(), message, "{sql}");
    }
}
