//! The backend against real files.

mod dialect;
mod errors;
mod rolled_back;
mod running;
mod schema;
mod session;
mod shared_commit;
mod values;

use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::*;
use crate::backend::{
    BatchStatement, Completion, Delivery, Fill, IdempotencyKey, Preamble, RowSink, fill,
};
use crate::config::{ErrorDetails, Target};
use crate::sql::Analysis;
use crate::sql::StatementClass;
use crate::value::{ArrayValue, Column, DataType, Kind, Row, Value};

const ENDLESS: &str =
    "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c";

struct Fixture {
    directory: TempDir,
    database: Sqlite,
}

/// The defaults, with small pools and caches.
fn config(target: &SqliteTarget) -> Database {
    let defaults = crate::config::load_from(&[]).expect("the defaults are right");
    let mut config = defaults.databases["main"].clone();
    let number = |n| NonZeroUsize::new(n).expect("not zero");
    config.target = Target::Sqlite(target.clone());
    config.max_row_size = 1 << 20;
    config.statement_cache = number(8);
    config.pool.min = 0;
    config.pool.max = number(2);
    config.pool.warm_up = false;
    config
}

fn fixture() -> Fixture {
    fixture_with(|_config| {})
}

fn fixture_with(change: impl FnOnce(&mut Database)) -> Fixture {
    let directory = tempfile::tempdir().expect("a directory");
    let target = SqliteTarget { path: directory.path().join("test.db") };
    let mut config = config(&target);
    change(&mut config);
    let database = Sqlite::open(&crate::telemetry::Telemetry::silent("test"), &config, &target);
    Fixture { directory, database }
}

fn analysis(class: StatementClass) -> Arc<Analysis> {
    Arc::new(Analysis { class, ..Analysis::unknown() })
}

fn statement(sql: &str, parameters: Vec<Value>) -> Statement {
    Statement {
        sql: sql.to_owned(),
        parameters,
        analysis: analysis(StatementClass::Other),
        context: CallContext::own("test"),
        read_only: false,
        delivery: Delivery::Whole,
        describe_columns: false,
        needs_names: false,
        preamble: Preamble::default(),
        deadline: after(Duration::from_secs(20)),
    }
}

fn batch(statements: &[&str]) -> Batch {
    let one = |sql: &&str| BatchStatement {
        sql: (*sql).to_owned(),
        parameters: vec![],
        analysis: analysis(StatementClass::Other),
        expect: None,
    };
    Batch {
        statements: statements.iter().map(one).collect(),
        mode: TransactionMode::default(),
        preamble: Preamble::default(),
        context: CallContext::own("test"),
        deadline: after(Duration::from_secs(5)),
        max_rows: 100,
        max_bytes: 10_000,
        max_response: 10_000,
        key: None,
        dry_run: false,
    }
}

fn after(time: Duration) -> Deadline {
    Deadline::at(Instant::now() + time)
}

#[derive(Debug)]
struct Answer {
    columns: Option<Vec<Column>>,
    rows: Vec<Row>,
    completion: Completion,
}

impl Answer {
    fn values(&self) -> Vec<&Value> {
        self.rows.iter().flat_map(|row| &row.values).collect()
    }

    fn number(&self) -> i64 {
        match self.values().as_slice() {
            [Value { kind: Some(Kind::Int64Value(number)) }] => *number,
            other => panic!("not one number: {other:?}"),
        }
    }
}

impl Fixture {
    async fn execute(&self, statement: Statement) -> Result<Answer> {
        let mut stream = self.database.execute(Arc::new(statement)).await?;
        let columns = stream.columns().map(<[Column]>::to_vec);
        let mut rows = Vec::new();
        let mut sink = RowSink::of_result(64 * 1024);
        while fill(&mut *stream, &mut sink).await? == Fill::Full {
            rows.extend(sink.take().decode().expect("rows"));
        }
        rows.extend(sink.take().decode().expect("rows"));
        Ok(Answer { columns, rows, completion: stream.finish().await? })
    }

    async fn query(&self, sql: &str, parameters: Vec<Value>) -> Result<Answer> {
        self.execute(statement(sql, parameters)).await
    }

    async fn run(&self, sql: &str) -> Answer {
        match self.query(sql, vec![]).await {
            Ok(answer) => answer,
            Err(error) => panic!("{sql}: {error}"),
        }
    }

    async fn refused(&self, sql: &str) -> Error {
        match self.query(sql, vec![]).await {
            Ok(answer) => panic!("{sql}: {answer:?}"),
            Err(error) => error,
        }
    }

    /// Another process's connection to the same file.
    fn outside(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.directory.path().join("test.db")).expect("it opens")
    }
}
