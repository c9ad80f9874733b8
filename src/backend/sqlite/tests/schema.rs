//! Connections whose schema was changed by another one.

use super::super::execute::statement_run::{Access, RowConsumer, run_in_transaction};
use super::super::row_channel::ResultHeader;
use super::*;

/// One reader, which has read the schema of `before`.
async fn reader_of(before: &[&str]) -> Fixture {
    let fixture = fixture_with(|config| config.pool.max = NonZeroUsize::MIN);
    for sql in before {
        fixture.run(sql).await;
    }
    fixture.run("SELECT count(*) FROM sqlite_schema").await;
    fixture
}

/// The ways by which a schema changes under a reader.
#[derive(Debug, Clone, Copy)]
enum ChangedBy {
    Writer,
    AnotherProcess,
}

impl ChangedBy {
    const ALL: [Self; 2] = [Self::Writer, Self::AnotherProcess];

    async fn change(self, fixture: &Fixture, sql: &str) {
        match self {
            Self::Writer => drop(fixture.run(sql).await),
            Self::AnotherProcess => fixture.outside().execute_batch(sql).expect(sql),
        }
    }
}

fn describe<'f>(fixture: &'f Fixture, sql: &str) -> BoxFuture<'f, Result<Description>> {
    fixture.database.describe(DescribeRequest {
        sql: sql.into(),
        analysis: analysis(StatementClass::Other),
        include_plan: false,
        deadline: after(Duration::from_secs(5)),
        context: CallContext::own("test"),
    })
}

#[tokio::test]
async fn a_statement_is_compiled_against_the_schema_as_it_is() {
    for by in ChangedBy::ALL {
        let fixture = reader_of(&["CREATE TABLE t (a)", "CREATE VIEW v AS SELECT a FROM t"]).await;
        by.change(&fixture, "ALTER TABLE t ADD COLUMN b").await;
        for sql in [
            "SELECT * FROM t UNION ALL SELECT 1, 2",
            "SELECT (1, 2) = (SELECT * FROM t)",
            "SELECT (1, 2) IN (SELECT * FROM t)",
            "WITH x (c, d) AS (SELECT * FROM t) SELECT * FROM x",
        ] {
            fixture.run(sql).await;
        }
        by.change(&fixture, "DROP VIEW v").await;
        by.change(&fixture, "CREATE VIEW v AS SELECT 1 AS x, 2 AS y").await;
        fixture.run("SELECT * FROM v UNION ALL SELECT 1, 2").await;
    }
}

#[tokio::test]
async fn a_pragma_answers_from_the_schema_as_it_is() {
    let questions = [
        ("PRAGMA table_info(p)", 3),
        ("PRAGMA table_xinfo(p)", 3),
        ("PRAGMA index_list(p)", 3),
        ("PRAGMA index_info(named)", 1),
        ("PRAGMA index_xinfo(named)", 2),
        ("PRAGMA foreign_key_list(p)", 1),
        ("PRAGMA table_list(p)", 1),
        ("SELECT * FROM pragma_table_info('p')", 3),
        ("SELECT * FROM pragma_index_list('p')", 3),
        ("SELECT * FROM pragma_foreign_key_list('p')", 1),
        ("SELECT * FROM sqlite_schema WHERE tbl_name = 'p'", 4),
        ("SELECT * FROM sqlite_schema m, pragma_index_list(m.name) WHERE m.name = 'p'", 3),
    ];
    for by in ChangedBy::ALL {
        for (sql, rows) in questions {
            let fixture = reader_of(&["CREATE TABLE t (a PRIMARY KEY)"]).await;
            fixture.run(sql).await;
            by.change(&fixture, "CREATE TABLE p (a PRIMARY KEY, b UNIQUE, c REFERENCES t)").await;
            by.change(&fixture, "CREATE INDEX named ON p (c)").await;
            for _repeated in 0..2 {
                assert_eq!(fixture.run(sql).await.rows.len(), rows, "{by:?}: {sql}");
            }
            by.change(&fixture, "DROP TABLE p").await;
            assert_eq!(fixture.run(sql).await.rows.len(), 0, "{by:?}: {sql}");
        }
    }
}

#[tokio::test]
async fn a_plan_is_that_of_the_schema_as_it_is() {
    for by in ChangedBy::ALL {
        let fixture = reader_of(&["CREATE TABLE t (a)"]).await;
        let explain = "EXPLAIN QUERY PLAN SELECT a FROM t WHERE a = 1";
        assert!(format!("{:?}", fixture.run(explain).await.rows).contains("SCAN t"));
        by.change(&fixture, "CREATE INDEX i ON t (a)").await;
        let plan = format!("{:?}", fixture.run(explain).await.rows);
        assert!(plan.contains("INDEX i"), "{by:?}: {plan}");
    }
}

#[tokio::test]
async fn a_description_is_that_of_the_schema_as_it_is() {
    for by in ChangedBy::ALL {
        let fixture = reader_of(&["CREATE TABLE t (a)"]).await;
        let sql = "SELECT * FROM t";
        let columns = |described: Description| described.columns.map(|columns| columns.len());
        fixture.run(sql).await;
        let before = describe(&fixture, sql).await.expect("described");
        assert_eq!(columns(before), Some(1));
        by.change(&fixture, "ALTER TABLE t ADD COLUMN b").await;
        let altered = describe(&fixture, sql).await.expect("described");
        assert_eq!(columns(altered), Some(2), "{by:?}");
        by.change(&fixture, "DROP TABLE t").await;
        let dropped = describe(&fixture, sql).await.expect_err("there is none");
        assert_eq!(dropped.reason(), "UNDEFINED_TABLE", "{by:?}");
    }
}

struct Nowhere;

impl RowConsumer for Nowhere {
    fn start(&mut self, _header: ResultHeader) {}

    fn push(&mut self, _row: &[u8]) -> Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn the_writer_sees_the_tables_that_another_process_has_changed() {
    let fixture = reader_of(&["CREATE TABLE t (a)", "INSERT INTO t VALUES (1)"]).await;
    fixture.outside().execute_batch("ALTER TABLE t ADD COLUMN b").expect("altered");
    fixture.run("INSERT INTO t VALUES (1, 2)").await;
    let config = Arc::clone(&fixture.database.config);
    let session = Session::open(config, Role::Writer).expect("it opens");
    session.probe().expect("it reads");
    fixture.outside().execute_batch("ALTER TABLE t ADD COLUMN c").expect("altered");
    session.begin().expect("it begins");
    let insert = "INSERT INTO t VALUES (1, 2, 3)";
    run_in_transaction(&session, insert, &[], Access::ReadWrite, &mut Nowhere).expect("it runs");
}
