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
use crate::backend::{BatchStatement, Completion, Delivery, Fill, IdempotencyKey, RowSink, fill};
use crate::config::{
    BreakerSettings, ErrorDetails, Idempotency, RetrySettings, SessionStatements, Target,
    TransactionSettings,
};
use crate::sql::Analysis;
use crate::sql::StatementClass;
use crate::value::{ArrayValue, Column, DataType, Kind, Row, Value};

const ENDLESS: &str =
    "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c";

fn pool_settings() -> PoolSettings {
    PoolSettings {
        min: 0,
        max: NonZeroUsize::new(2).expect("not zero"),
        acquire_timeout: Duration::from_secs(10),
        connect_timeout: Duration::from_secs(5),
        max_waiting: 1000,
        overflow: 0,
        idle_timeout: Duration::from_secs(60),
        max_lifetime: Duration::from_secs(3600),
        lifetime_jitter: 0.1,
        validate_after_idle: Duration::from_secs(5),
        leak_threshold: Duration::from_secs(60),
        warm_up: false,
        lanes: 0,
        lane_timeout: Duration::from_millis(50),
        transaction_share: 0.8,
    }
}

struct Fixture {
    directory: TempDir,
    database: Sqlite,
}

fn config(target: &SqliteTarget) -> Database {
    let number = |n| NonZeroUsize::new(n).expect("not zero");
    Database {
        target: Target::Sqlite(target.clone()),
        default_deadline: Duration::from_secs(30),
        max_deadline: Duration::from_secs(300),
        statement_timeout: Duration::from_secs(305),
        lock_timeout: Duration::from_secs(5),
        max_rows: 10_000,
        max_bytes: 3 << 20,
        max_row_size: 1 << 20,
        max_report_size: 64 << 10,
        max_message_size: 1 << 20,
        sqlite_heap_limit: 256 << 20,
        sqlite_unresponsive_after: Duration::from_secs(1),
        sqlite_max_given_up: 20,
        sqlite_group_max: 64,
        sqlite_group_time: Duration::from_millis(20),
        statement_cache: number(8),
        statement_cache_size: 4 << 20,
        analysis_cache: 8 << 20,
        statement_ttl: Duration::from_secs(60),
        catalog_ttl: Duration::from_secs(10),
        failover_wait: Duration::ZERO,
        options: crate::config::SessionOptions::default(),
        pooler: crate::config::PoolerUse::Allow,
        error_details: ErrorDetails::Safe,
        session_statements: SessionStatements::Refuse,
        pool: pool_settings(),
        max_batch: 1000,
        breaker: BreakerSettings { failures: 5, probe_interval: Duration::from_millis(250) },
        retry: RetrySettings {
            max_attempts: 3,
            initial_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(30),
            budget: 0.1,
            conflict_initial_backoff: Duration::from_millis(2),
            conflict_max_backoff: Duration::from_millis(100),
        },
        transaction: TransactionSettings {
            idle_timeout: Duration::from_secs(30),
            max_duration: Duration::from_secs(300),
        },
        idempotency: Idempotency {
            table: "rowgate_idempotency".to_owned(),
            retention: Duration::from_secs(24 * 3600),
            create_table: false,
        },
    }
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
